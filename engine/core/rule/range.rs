//! What a counted or measured number must be.

use std::fmt;

/// How a number stands to another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Comparison {
    /// Greater or equal.
    Gte,
    /// Greater.
    Gt,
    /// Less or equal.
    Lte,
    /// Less.
    Lt,
    /// Equal.
    Eq,
    /// Not equal.
    Neq,
}

impl Comparison {
    /// All of them with the names that a rule uses.
    pub const NAMES: [(&'static str, Comparison); 8] = [
        ("at_least", Comparison::Gte),
        ("at_most", Comparison::Lte),
        ("gte", Comparison::Gte),
        ("gt", Comparison::Gt),
        ("lte", Comparison::Lte),
        ("lt", Comparison::Lt),
        ("eq", Comparison::Eq),
        ("neq", Comparison::Neq),
    ];
}

/// An end of a range.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Edge {
    at: f64,
    included: bool,
}

/// The numbers that are wanted: from one end to another, either of which may be missing, without some.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Range {
    low: Option<Edge>,
    high: Option<Edge>,
    never: Vec<f64>,
}

impl Range {
    /// This much or more.
    pub fn at_least(least: u32) -> Self {
        Range::default().and(Comparison::Gte, f64::from(least))
    }

    /// Of the numbers of this range those that also stand so to `than`.
    #[must_use]
    pub fn and(mut self, comparison: Comparison, than: f64) -> Self {
        match comparison {
            Comparison::Gte => self.raise(Edge { at: than, included: true }),
            Comparison::Gt => self.raise(Edge { at: than, included: false }),
            Comparison::Lte => self.lower(Edge { at: than, included: true }),
            Comparison::Lt => self.lower(Edge { at: than, included: false }),
            Comparison::Eq => {
                self.raise(Edge { at: than, included: true });
                self.lower(Edge { at: than, included: true });
            }
            Comparison::Neq => self.never.push(than),
        }
        self
    }

    fn raise(&mut self, edge: Edge) {
        let tighter = self.low.is_none_or(|low| edge.at > low.at || (edge.at == low.at && !edge.included));
        if tighter {
            self.low = Some(edge);
        }
    }

    fn lower(&mut self, edge: Edge) {
        let tighter =
            self.high.is_none_or(|high| edge.at < high.at || (edge.at == high.at && !edge.included));
        if tighter {
            self.high = Some(edge);
        }
    }

    /// Whether the number is in it.
    pub fn holds(&self, number: f64) -> bool {
        let above = self.low.is_none_or(|low| number > low.at || (low.included && number == low.at));
        let below = self.high.is_none_or(|high| number < high.at || (high.included && number == high.at));
        above && below && !self.never.contains(&number)
    }

    /// How far a number lies outside of its ends; 0 where it lies between them.
    pub fn distance(&self, number: f64) -> f64 {
        let below = self.low.map_or(0.0, |low| low.at - number);
        let above = self.high.map_or(0.0, |high| number - high.at);
        below.max(above).max(0.0)
    }

    /// How much of the way from nothing to it a number is, from 0 to 1; 1 for numbers in it alone.
    pub fn nearness(&self, number: f64) -> f64 {
        if self.holds(number) {
            return 1.0;
        }
        let scale = [self.low, self.high].into_iter().flatten().map(|edge| edge.at.abs()).fold(1.0, f64::max);
        0.99 * scale / (scale + self.distance(number))
    }

    /// Whether no number is in it.
    pub fn is_empty(&self) -> bool {
        match (self.low, self.high) {
            (Some(low), Some(high)) => {
                low.at > high.at
                    || (low.at == high.at && !(low.included && high.included && self.holds(low.at)))
            }
            _ => false,
        }
    }

    /// Whether no whole number from 1 is in it: nothing that is counted can come to it.
    pub fn has_no_count(&self) -> bool {
        let least = self.least_count();
        !(least..least.saturating_add(self.never.len() as u32 + 1)).any(|count| self.holds(f64::from(count)))
    }

    /// Whether a number that only grows never leaves it again.
    pub fn is_open_above(&self) -> bool {
        self.high.is_none() && self.never.iter().all(|number| self.low.is_some_and(|low| *number < low.at))
    }

    /// The smallest count, from 1, that the lower end lets through.
    pub fn least_count(&self) -> u32 {
        let Some(low) = self.low else { return 1 };
        let whole = low.at.ceil();
        let least = if whole == low.at && !low.included { whole + 1.0 } else { whole };
        // A float becomes a whole number by saturation: what is below 1 is 1.
        (least as u32).max(1)
    }
}

/// As people say it: `at least 3 and less than 10`.
impl fmt::Display for Range {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut said = Vec::new();
        match (self.low, self.high) {
            (Some(low), Some(high)) if low.at == high.at => said.push(format!("exactly {}", low.at)),
            (low, high) => {
                said.extend(low.map(|low| match low.included {
                    true => format!("at least {}", low.at),
                    false => format!("more than {}", low.at),
                }));
                said.extend(high.map(|high| match high.included {
                    true => format!("at most {}", high.at),
                    false => format!("less than {}", high.at),
                }));
            }
        }
        said.extend(self.never.iter().map(|number| format!("not {number}")));
        out.write_str(&said.join(" and "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn conditions_narrow_a_range_in_any_order() {
        let range =
            Range::at_least(3).and(Comparison::Lt, 10.0).and(Comparison::Gt, 3.0).and(Comparison::Neq, 5.0);
        let held: Vec<u32> = (0..12).filter(|number| range.holds(f64::from(*number))).collect();
        assert_eq!(held, [4, 6, 7, 8, 9]);
        assert_eq!(range.least_count(), 4);
        assert!(!range.is_open_above() && !range.is_empty());
    }

    #[test]
    fn a_range_that_nothing_comes_to_is_known() {
        assert!(Range::default().and(Comparison::Gt, 5.0).and(Comparison::Lt, 5.0).is_empty());
        assert!(Range::default().and(Comparison::Eq, 5.0).and(Comparison::Neq, 5.0).is_empty());
        assert!(Range::default().and(Comparison::Lt, 1.0).has_no_count());
        assert!(Range::default().and(Comparison::Gt, 2.0).and(Comparison::Lt, 3.0).has_no_count());
        assert!(!Range::default().and(Comparison::Eq, 2.0).has_no_count());
        assert!(Range::at_least(3).is_open_above());
        assert!(Range::at_least(3).and(Comparison::Neq, 2.0).is_open_above());
        assert!(!Range::at_least(3).and(Comparison::Neq, 4.0).is_open_above());
    }

    #[test]
    fn a_number_outside_is_so_far_away_and_a_range_says_what_it_takes() {
        let range = Range::at_least(3).and(Comparison::Lt, 10.0).and(Comparison::Neq, 5.0);
        assert_eq!([1.0, 3.0, 10.0, 12.0].map(|number| range.distance(number)), [2.0, 0.0, 0.0, 2.0]);
        assert_eq!(range.to_string(), "at least 3 and less than 10 and not 5");
        assert_eq!(Range::default().and(Comparison::Eq, 0.5).to_string(), "exactly 0.5");
        let near: Vec<f64> = [0.0, 1.0, 2.0, 4.0].map(|number| range.nearness(number)).into();
        assert!(near.is_sorted() && near[2] < 1.0 && near[3] == 1.0, "{near:?}");
        assert!(range.nearness(5.0) < 1.0 && range.nearness(10.0) < 1.0);
    }
}
