//! The whole story: the background with the attacks in it, in the order of time.

use std::iter::Peekable;

use serde::Serialize;
use sightline_producers::Draft;
use sightline_schemas::EventTime;

use crate::attacks::Attack;
use crate::background::{Background, Population};

/// What a story consists of.
#[derive(Clone, Debug)]
pub struct Plot {
    /// Decides about everything that is left to chance.
    pub seed: u64,
    /// Events of the background.
    pub count: u64,
    /// Who is there.
    pub population: Population,
    /// When it begins.
    pub start: EventTime,
    /// Background events in a second of event time.
    pub per_second: f64,
    /// The attacks, each as often as it is played.
    pub attacks: Vec<&'static Attack>,
    /// How often each is played.
    pub rounds: u64,
}

/// One attack that was played.
#[derive(Debug, Serialize)]
pub struct Played {
    attack: &'static str,
    rules: &'static [&'static str],
    first: EventTime,
    last: EventTime,
    events: usize,
}

/// The events of a plot.
pub struct Story {
    background: Background,
    left: u64,
    next: Option<(EventTime, Draft)>,
    attacks: Peekable<std::vec::IntoIter<(EventTime, Draft)>>,
    /// What is played.
    pub played: Vec<Played>,
}

impl Story {
    /// Begins a story: attacks are spread evenly over the time of the background.
    pub fn begin(plot: &Plot) -> Self {
        let plays: Vec<(u64, &Attack)> = (0..plot.rounds)
            .flat_map(|round| plot.attacks.iter().map(move |attack| (round, *attack)))
            .collect();
        let span_micros = (plot.count as f64 / plot.per_second * 1e6) as u64;
        let (mut events, mut played) = (Vec::new(), Vec::new());
        for (at, (round, attack)) in plays.iter().enumerate() {
            let offset = span_micros / (plays.len() as u64 + 1) * (at as u64 + 1);
            let start = plot.start.plus(i64::try_from(offset).unwrap_or(i64::MAX));
            let of_attack = attack.events(plot.seed, *round, start);
            if let (Some((first, _)), Some((last, _))) = (of_attack.first(), of_attack.last()) {
                let (first, last, events) = (*first, *last, of_attack.len());
                played.push(Played { attack: attack.name, rules: attack.rules, first, last, events });
            }
            events.extend(of_attack);
        }
        // Stable: events of one instant stay in the order of their attack.
        events.sort_by_key(|(at, _)| *at);
        let mut story = Story {
            background: Background::new(plot.seed, plot.population, plot.start, plot.per_second),
            left: plot.count,
            next: None,
            attacks: events.into_iter().peekable(),
            played,
        };
        story.advance();
        story
    }

    fn advance(&mut self) {
        self.next = (self.left > 0).then(|| self.background.next());
        self.left = self.left.saturating_sub(1);
    }
}

impl Iterator for Story {
    type Item = (EventTime, Draft);

    fn next(&mut self) -> Option<(EventTime, Draft)> {
        let attack_is_next = match (&self.next, self.attacks.peek()) {
            (Some((background, _)), Some((attack, _))) => attack < background,
            (None, _) => true,
            (Some(_), None) => false,
        };
        if attack_is_next {
            return self.attacks.next();
        }
        let next = self.next.take();
        self.advance();
        next
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::attacks::ATTACKS;

    fn plot(seed: u64) -> Plot {
        Plot {
            seed,
            count: 2_000,
            population: Population { hosts: 20 },
            start: EventTime::from_micros(0),
            per_second: 10.0,
            attacks: ATTACKS.iter().collect(),
            rounds: 2,
        }
    }

    #[test]
    fn a_seed_gives_the_same_story_and_another_one_another() {
        let story = |seed| Story::begin(&plot(seed)).collect::<Vec<_>>();
        assert_eq!(story(1), story(1));
        assert_ne!(story(1), story(2));
    }

    #[test]
    fn time_rises_and_nothing_is_missing() {
        let story = Story::begin(&plot(1));
        let of_attacks: usize = story.played.iter().map(|played| played.events).sum();
        let events: Vec<_> = story.collect();
        assert_eq!(events.len(), 2_000 + of_attacks);
        assert!(events.is_sorted_by_key(|(at, _)| *at));
    }
}
