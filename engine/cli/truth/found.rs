//! Firings as incident messages state them.
//!
//! An incident holds all that belongs together and may therefore hold more evidence than the truth names, such as each of
//! three writes of one download. Compared is what the truth states, which is mostly the first of a kind.

use std::collections::{BTreeMap, BTreeSet};

use sightline_schemas::incident::Evidence;
use sightline_schemas::{EventId, EventTime, Incident, IncidentId, IncidentMessage};

use super::{Firing, RULES, set, short_host};

/// By time, event and step: one event may satisfy several steps.
type InOrder<'m> = BTreeMap<(EventTime, EventId, &'m str), &'m Evidence>;

/// An incident at its last version, with the evidence of all versions: each message lists the first and the last events
/// of a step, so that what came in the middle of a flood is only in the earlier ones.
struct Whole<'m> {
    last: &'m Incident,
    evidence: InOrder<'m>,
}

/// The firings of the rules in the truth file, and how many incidents other rules have.
pub fn found(messages: &[IncidentMessage]) -> (Vec<Firing>, BTreeMap<String, u64>) {
    let wholes = wholes(messages);
    let mut firings = Vec::new();
    let mut unlisted: BTreeMap<String, u64> = BTreeMap::new();
    for whole in &wholes {
        let rule = whole.last.rule.id.as_str();
        match RULES.iter().find(|(_, id)| *id == rule) {
            Some((letter, _)) => firings.extend(whole.firings(letter, &wholes)),
            None => *unlisted.entry(rule.to_owned()).or_default() += 1,
        }
    }
    // A dump is one of its host and program, in however many incidents it appears.
    let mut seen = BTreeSet::new();
    firings.sort_by(|a, b| a.facts.get("dump").cmp(&b.facts.get("dump")));
    firings.retain(|firing| {
        !firing.facts.contains_key("dump") || seen.insert((firing.rule, firing.identity.clone()))
    });
    (firings, unlisted)
}

fn wholes(messages: &[IncidentMessage]) -> Vec<Whole<'_>> {
    let mut wholes: Vec<Whole<'_>> = Vec::new();
    let mut places: BTreeMap<IncidentId, usize> = BTreeMap::new();
    for message in messages {
        let incident = &message.incident;
        let place = *places.entry(incident.id).or_insert_with(|| {
            wholes.push(Whole { last: incident, evidence: InOrder::new() });
            wholes.len() - 1
        });
        let whole = &mut wholes[place];
        if incident.version >= whole.last.version {
            whole.last = incident;
        }
        let listed = incident.events.iter();
        whole
            .evidence
            .extend(listed.map(|event| ((event.occurred_at, event.id, event.step.as_str()), event)));
    }
    wholes
}

impl<'m> Whole<'m> {
    /// The evidence of a step, in event time order.
    fn step(&self, name: &'m str) -> impl Iterator<Item = &'m Evidence> + '_ {
        self.evidence.values().copied().filter(move |event| event.step == name)
    }

    fn first(&self, step: &'m str) -> Option<&'m Evidence> {
        self.step(step).next()
    }

    /// The last evidence of a step up to a time.
    fn last_until(&self, step: &'m str, at: EventTime) -> Option<&'m Evidence> {
        self.step(step).filter(|event| event.occurred_at <= at).last()
    }

    fn key(&self, part: &str) -> &'m str {
        self.last.scope.parts.iter().find(|named| named.name == part).map_or("", |named| &named.value)
    }

    /// When each host was first seen, in that order.
    fn hosts(&self) -> Vec<(String, EventTime)> {
        let mut hosts: Vec<(String, EventTime)> = Vec::new();
        for event in self.evidence.values() {
            let host = event.host_id.as_deref().unwrap_or_default().to_lowercase();
            if !host.is_empty() && !hosts.iter().any(|(known, _)| *known == host) {
                hosts.push((host, event.occurred_at));
            }
        }
        hosts
    }

    fn firings(&self, letter: &str, all: &[Whole<'_>]) -> Vec<Firing> {
        match letter {
            "A" => vec![self.drop_and_run()],
            "B" => vec![self.phish_host_visited()],
            "C" => self.drop_run_dump(),
            "D" => vec![self.shared_c2()],
            "E" => vec![self.spray_roast_fan_out(all)],
            "G" => vec![self.shared_dropped_file()],
            "H" => vec![self.remote_logon_then_shell()],
            other => unreachable!("the list of rules has no letter {other}"),
        }
    }

    /// `first` is when the file was first written, `last` when it was first run; it may be written in several steps (the
    /// browser's stream, the finished file) and run more than once.
    fn drop_and_run(&self) -> Firing {
        let run = self.first("run");
        let facts =
            [("image", field(run, "image")), ("dropped", time(self.first("dropped"))), ("run", time(run))];
        Firing::new("A", &[self.key("host_id"), self.key("sha256")], &facts)
    }

    /// The host is the visitor's; the report has none. `last` is the first report, which completes the rule.
    fn phish_host_visited(&self) -> Firing {
        let visit = self.first("visit");
        let facts = [("visit", time(visit)), ("report", time(self.first("report")))];
        Firing::new("B", &[host(visit), self.key("site"), &time(visit)], &facts)
    }

    /// The truth has one entry for each program that dumps on a host, at the first time it does. One incident holds them
    /// all, as the rule's key is the host.
    fn drop_run_dump(&self) -> Vec<Firing> {
        let mut seen = BTreeSet::new();
        let dumps = self.step("dump");
        dumps
            .filter(|dump| seen.insert(field(Some(dump), "source_image").to_lowercase()))
            .map(|dump| {
                // Of several programs that were run before, the truth names the latest.
                let run = self.last_until("dropped_and_run", dump.occurred_at);
                let access = field(Some(dump), "granted_access");
                let facts = [("access", access), ("run", time(run)), ("dump", time(Some(dump)))];
                Firing::new("C", &[host(Some(dump)), &field(Some(dump), "source_image")], &facts)
            })
            .collect()
    }

    /// `at` is when the second host first talked to the address.
    fn shared_c2(&self) -> Firing {
        let hosts = self.hosts();
        let second = hosts.get(1).map_or("-".to_owned(), |(_, at)| at.to_string());
        let facts = [("hosts", set(hosts.iter().map(|(host, _)| host))), ("second host", second)];
        Firing::new("D", &[self.key("dst_ip")], &facts)
    }

    /// The values counted are in the incidents of the rules that this one builds on; a completion tells when the counting
    /// first came to enough.
    fn spray_roast_fan_out(&self, all: &[Whole<'_>]) -> Firing {
        let user = self.key("user");
        let part = |step: &'m str, rule: &str, part: &str| {
            let completion = self.first(step);
            let key = if part == "user" { user.to_owned() } else { field(completion, part) };
            let incident = all.iter().find(|whole| whole.last.rule.id == rule && whole.key(part) == key);
            let values = incident
                .map_or(String::new(), |whole| set(whole.last.explain.iter().flat_map(|step| &step.values)));
            format!("{} {key} {values}", time(completion))
        };
        let facts = [
            ("spray", part("spray", "password_spray", "host_id")),
            ("roast", part("roast", "kerberoast", "user")),
            ("fan-out", part("fan_out", "winrm_fan_out", "user")),
            ("complete", time(self.first("fan_out"))),
        ];
        Firing::new("E", &[user], &facts)
    }

    /// `first` and `at` are when the first and the second host got the file.
    fn shared_dropped_file(&self) -> Firing {
        let hosts = self.hosts();
        let at =
            |place: usize| hosts.get(place).map_or("-".to_owned(), |(_, at): &(_, EventTime)| at.to_string());
        let names = set(hosts.iter().map(|(host, _)| host));
        let facts = [("hosts", names), ("first host", at(0)), ("second host", at(1))];
        Firing::new("G", &[self.key("sha256")], &facts)
    }

    /// The truth names the shell, and of all logons before it the latest.
    fn remote_logon_then_shell(&self) -> Firing {
        let shell = self.first("shell");
        let logon = shell.and_then(|shell| self.last_until("logon", shell.occurred_at));
        let facts = [
            ("image", field(shell, "image")),
            ("parent", field(shell, "parent_image")),
            ("shell", time(shell)),
            ("logon", time(logon)),
        ];
        Firing::new("H", &[short_host(self.key("host_id")), &time(shell)], &facts)
    }
}

fn time(event: Option<&Evidence>) -> String {
    event.map_or("-".to_owned(), |event| event.occurred_at.to_string())
}

fn host(event: Option<&Evidence>) -> &str {
    event.and_then(|event| event.host_id.as_deref()).unwrap_or_default()
}

fn field(event: Option<&Evidence>, name: &str) -> String {
    let named = event.and_then(|event| event.why.iter().find(|named| named.name == name));
    named.map_or(String::new(), |named| named.value.clone())
}
