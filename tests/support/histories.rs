//! Random rules and random histories for them, from a seed.

use std::collections::BTreeMap;

use bytes::Bytes;
use serde_json::json;
use sightline::bus::LogMessage;
use sightline_schemas::subject::{CONTROL_TICK, EventSubject};
use sightline_schemas::{EventTime, Severity};

use super::oracle::{Compare, Event, Exception, Grown, Measure, Need, Only, Rematch, Rule, Step, Wanted};

/// Chance, from a seed: xorshift64*.
#[derive(Clone, Debug)]
pub struct Chance(u64);

impl Chance {
    /// From a seed.
    pub fn new(seed: u64) -> Self {
        // Neighbouring seeds must not begin alike.
        Chance((seed.wrapping_add(1)).wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    /// A number below `end`.
    pub fn below(&mut self, end: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        let bits = self.0.wrapping_mul(0x2545_f491_4f6c_dd1d);
        ((bits >> 33) % end as u64) as usize
    }

    /// A number from `from` to `to`, both included.
    pub fn between(&mut self, from: i64, to: i64) -> i64 {
        from + self.below((to - from + 1) as usize) as i64
    }

    /// True once in `times`.
    pub fn once_in(&mut self, times: usize) -> bool {
        self.below(times) == 0
    }

    /// One of several.
    pub fn pick<T: Copy>(&mut self, of: &[T]) -> T {
        of[self.below(of.len())]
    }
}

/// What enters the log.
#[derive(Clone, Debug)]
pub enum Entry {
    Event(Event),
    /// Sets the status of one of the incidents that are active by then.
    Status {
        pick: usize,
        status: &'static str,
    },
}

/// Rules, a history, and how to run it.
#[derive(Clone, Debug)]
pub struct Case {
    pub rules: Vec<Rule>,
    pub history: Vec<Entry>,
    /// In seconds.
    pub late: i64,
    pub coalesce: i64,
    pub partitions: usize,
    pub batch: usize,
}

const KINDS: [&str; 4] = ["k0", "k1", "k2", "k3"];
const BYS: [&[&str]; 5] = [&["a"], &["b"], &["a", "b"], &["host_id"], &[]];

/// The case of a seed.
pub fn case(seed: u64) -> Case {
    let mut chance = Chance::new(seed);
    let mut rules = event_rules(&mut chance);
    let chained = chance.below(3);
    for _ in 0..chained {
        let rule = chain_rule(&mut chance, &rules);
        rules.push(rule);
    }
    // By a chance of its own: what seeds came to stays what it was.
    let mut alike = Chance::new(!seed);
    if alike.once_in(2) {
        add_alike(&mut alike, &mut rules);
    }
    let late = chance.pick(&[0, 3, 10, 1_000]);
    // What is settled later cannot be ended yet, and what is not settled cannot be told from the definition.
    let may_end = !rules.iter().any(Rule::can_be_undone);
    Case {
        history: history(&mut chance, late, may_end),
        rules,
        late,
        coalesce: chance.pick(&[0, 1, 5, 100_000]),
        partitions: chance.pick(&[1, 2, 7]),
        batch: chance.pick(&[1, 2, 5, 1_000]),
    }
}

fn event_rules(chance: &mut Chance) -> Vec<Rule> {
    let count = 1 + chance.below(3);
    let group = (count > 1 && chance.once_in(3)).then(|| "g".to_owned());
    let mut rules: Vec<Rule> = Vec::new();
    for at in 0..count {
        let mut rule = rule(chance, at);
        let ordered = rule.ordered;
        rule.steps = (0..1 + chance.below(3)).map(|at| event_step(chance, at, ordered)).collect();
        if !ordered && chance.once_in(8) {
            rule.steps.truncate(1);
            let forget = chance.pick(&[3, 10, 50, 1_000]);
            rule.steps[0].need = Need::New { learn: chance.pick(&[0, 5, 30]), forget };
        }
        if ordered {
            with_bounds(chance, &mut rule);
        }
        raise_by_values(chance, &mut rule);
        // Whoever builds on it hears of it all the same.
        rule.generate = group.is_some() || !chance.once_in(8);
        if group.is_some() {
            rule.group.clone_from(&group);
            if let Some(first) = rules.first() {
                rule.by.clone_from(&first.by);
                rule.optional.clone_from(&first.optional);
                rule.rematch = first.rematch;
            }
        }
        rules.push(rule);
    }
    rules
}

/// Adds rules that ask of events what one of the rules asks, and want other numbers of them in other windows.
fn add_alike(chance: &mut Chance, rules: &mut Vec<Rule>) {
    let of_events = |rule: &&Rule| rule.steps.iter().all(|step| step.of_rule.is_none());
    let like: Vec<Rule> = rules.iter().filter(of_events).cloned().collect();
    for at in 0..1 + chance.below(3) {
        let like = &like[chance.below(like.len())];
        let named = rule(chance, at);
        let mut new = Rule {
            id: format!("t{at}"),
            group: None,
            by: like.by.clone(),
            optional: like.optional.clone(),
            ordered: like.ordered,
            exceptions: Vec::new(),
            steps: like.steps.clone(),
            until: like.until,
            raises: Vec::new(),
            ..named
        };
        for step in &mut new.steps {
            step.gap_min = step.gap_min.min(new.window);
            if let Need::Count(Wanted([Some((Compare::Gte | Compare::Gt, least)), None]))
            | Need::Distinct(Wanted([Some((Compare::Gte | Compare::Gt, least)), None])) = &mut step.need
            {
                // The definition looks at every choice of events: of a sequence that is too many soon.
                *least += if like.ordered { 0.0 } else { chance.below(3) as f64 };
            }
        }
        rules.push(new);
    }
}

/// A sequence with what must not happen, and least gaps.
fn with_bounds(chance: &mut Chance, rule: &mut Rule) {
    for step in rule.steps.iter_mut().skip(1) {
        if chance.once_in(5) {
            step.gap_min = chance.between(1, 3).min(rule.window).min(step.gap.unwrap_or(rule.window));
        }
    }
    if chance.once_in(4) {
        rule.until = Some(chance.pick(&KINDS));
    }
    if !chance.once_in(3) {
        return;
    }
    let at = chance.below(rule.steps.len() + 1);
    let is_last = at == rule.steps.len();
    let mut absent = event_step(chance, 9, false);
    absent.need = Need::Count(Wanted::from(1));
    absent.absent = Some(chance.pick(&[1, 3, 8, 30]));
    absent.alive = (is_last && chance.once_in(2)).then(|| (chance.pick(&KINDS), chance.once_in(2)));
    rule.steps.insert(at, absent);
    // What came first comes first no longer.
    let first = rule.steps.iter().position(|step| step.absent.is_none()).unwrap_or(0);
    rule.steps[first].gap = None;
}

/// A rule whose steps are to come.
fn rule(chance: &mut Chance, at: usize) -> Rule {
    let by = chance.pick(&BYS).to_vec();
    let optional = by.iter().copied().filter(|_| chance.once_in(4)).collect();
    let rematch = match chance.below(4) {
        0 => Rematch::Reopen { unless_unspecified: chance.once_in(4) },
        _ => Rematch::New,
    };
    Rule {
        id: format!("r{at}"),
        severity: chance.pick(&Severity::ALL),
        severity_max: chance.once_in(4),
        window: chance.pick(&[1, 3, 5, 10, 20, 40]),
        ordered: chance.once_in(2),
        distinct_events: !chance.once_in(4),
        group: None,
        by,
        optional,
        suppress: if chance.once_in(3) { chance.pick(&[1, 5, 15, 40]) } else { 0 },
        rematch,
        generate: true,
        raises: if chance.once_in(4) { raises(chance) } else { Vec::new() },
        coalesce: chance.once_in(4).then(|| chance.pick(&[0, 2, 7, 50_000])),
        listed: chance.once_in(4).then(|| chance.pick(&[2, 3, 5])),
        exceptions: if chance.once_in(4) { exceptions(chance) } else { Vec::new() },
        steps: Vec::new(),
        until: None,
    }
}

fn raises(chance: &mut Chance) -> Vec<(Grown, usize, Severity)> {
    let kinds = [Grown::Events, Grown::Matches, Grown::Hosts, Grown::Users, Grown::Sources, Grown::Score];
    let one = |chance: &mut Chance| {
        let grown = chance.pick(&kinds);
        let least = if grown == Grown::Score { 1 + chance.below(60) } else { 1 + chance.below(4) };
        (grown, least, chance.pick(&Severity::ALL))
    };
    (0..1 + chance.below(2)).map(|_| one(chance)).collect()
}

/// Now and then one more threshold, on the values that a step counts.
fn raise_by_values(chance: &mut Chance, rule: &mut Rule) {
    let counts = |step: &Step| matches!(step.need, Need::Distinct(_) | Need::New { .. });
    if let Some(step) = rule.steps.iter().position(counts)
        && chance.once_in(2)
    {
        rule.raises.push((Grown::Values(step), 1 + chance.below(3), chance.pick(&Severity::ALL)));
    }
}

fn exceptions(chance: &mut Chance) -> Vec<Exception> {
    let one = |chance: &mut Chance| {
        let mut exception = Exception {
            kind: chance.once_in(2).then(|| chance.pick(&KINDS)),
            tagged: chance.once_in(3),
            b: chance.once_in(3).then(|| chance.pick(&["x", "yy"])),
            expires: chance.once_in(2).then(|| 1_000 + chance.between(0, 60)),
        };
        if exception.kind.is_none() && exception.b.is_none() {
            exception.tagged = true;
        }
        exception
    };
    (0..1 + chance.below(2)).map(|_| one(chance)).collect()
}

fn event_step(chance: &mut Chance, at: usize, ordered: bool) -> Step {
    let mut kinds: Vec<&'static str> = (0..chance.below(3)).map(|_| chance.pick(&KINDS)).collect();
    kinds.sort_unstable();
    kinds.dedup();
    let need = need(chance, ordered);
    let key_from = if chance.once_in(8) { BTreeMap::from([("a", "b")]) } else { BTreeMap::new() };
    Step {
        name: format!("s{at}"),
        kinds,
        tagged: chance.once_in(5),
        of_rule: None,
        only: None,
        need,
        gap_min: 0,
        gap: (ordered && at > 0 && chance.once_in(3)).then(|| chance.between(0, 8)),
        absent: None,
        alive: None,
        key_from,
    }
}

fn need(chance: &mut Chance, ordered: bool) -> Need {
    let least = |least| Need::Count(Wanted::from(least));
    match chance.below(10) {
        0 if !ordered => Need::Distinct(wanted(chance)),
        1 if !ordered => measured(chance),
        2 if !ordered => Need::Count(wanted(chance)),
        0..=1 => least(2),
        2 => least(if ordered { 2 } else { 3 }),
        _ => least(1),
    }
}

/// From so many on; now and then with limits.
fn wanted(chance: &mut Chance) -> Wanted {
    let least = (1 + chance.below(3)) as f64;
    let more = least + chance.below(2) as f64;
    let at_least = chance.pick(&[(Compare::Gte, least), (Compare::Gt, least - 1.0)]);
    Wanted(match chance.below(8) {
        0 => [Some(at_least), Some((Compare::Lte, more))],
        1 => [Some(at_least), Some((Compare::Lt, more + 1.0))],
        2 => [Some(at_least), Some((Compare::Neq, more))],
        3 => [
            Some(chance.pick(&[(Compare::Eq, least), (Compare::Neq, least), (Compare::Lt, least + 1.0)])),
            None,
        ],
        _ => [Some(at_least), None],
    })
}

fn measured(chance: &mut Chance) -> Need {
    let measure = chance.pick(&[
        Measure::Sum,
        Measure::Avg,
        Measure::Min,
        Measure::Max,
        Measure::Median,
        Measure::Percentile(75),
    ]);
    let than = chance.pick(&[-1.0, 1.0, 1.5, 2.0, 4.0]);
    let above = chance.pick(&[Compare::Gte, Compare::Gt]);
    let below = chance.pick(&[Compare::Lte, Compare::Lt]);
    let wanted = match chance.below(6) {
        0 => [Some((below, than)), None],
        1 => [Some((chance.pick(&[Compare::Eq, Compare::Neq]), than)), None],
        2 => [Some((above, than)), Some((below, than + 1.5))],
        _ => [Some((above, than)), None],
    };
    Need::Measure(measure, Wanted(wanted))
}

/// A rule on the completions of rules, and maybe on events too.
fn chain_rule(chance: &mut Chance, below: &[Rule]) -> Rule {
    let mut new = rule(chance, below.len());
    let ordered = new.ordered;
    let steps = 1 + chance.below(2);
    for at in 0..steps {
        let mut step = event_step(chance, at, ordered);
        // Completions of one rule, the last one more often than not: chains get long.
        if at == 0 || chance.once_in(2) {
            let target = if chance.once_in(2) { below.len() - 1 } else { chance.below(below.len()) };
            step.of_rule = Some(target);
            step.kinds.clear();
            step.tagged = false;
            step.key_from.clear();
            if at == 0 {
                // A completion of a completion passes on its key alone.
                new.by.clone_from(&below[target].by);
                if below[target].steps.iter().all(|step| step.of_rule.is_none()) && chance.once_in(2) {
                    new.by = chance.pick(&BYS).to_vec();
                }
                new.optional = new.by.iter().copied().filter(|_| chance.once_in(4)).collect();
            }
            let parts = &below[target].by;
            if !parts.is_empty() && chance.once_in(3) {
                let (part, value) = (chance.pick(parts), chance.pick(&["x", "yy"]));
                step.only = Some(Only { part, value, negated: chance.once_in(2) });
            }
        }
        new.steps.push(step);
    }
    // Neither can hosts, users and sources be counted, of which that event is the one that tells.
    let is_open = |grown: Grown| matches!(grown, Grown::Hosts | Grown::Users | Grown::Sources);
    new.raises.retain(|(grown, _, _)| !is_open(*grown));
    // What a second completion lacks for the key it must not be asked for; and which of the events of one instant gives
    // a completion its values is open, so these are not counted.
    for step in &mut new.steps {
        let Some(target) = step.of_rule else { continue };
        let passed_on = below[target].steps.iter().any(|step| step.of_rule.is_some());
        if passed_on && !new.by.iter().all(|part| below[target].by.contains(part)) {
            *step = Step { of_rule: None, only: None, kinds: vec!["k0"], ..step.clone() };
        }
        if step.of_rule.is_some() && !matches!(step.need, Need::Count(_)) {
            step.need = Need::Count(Wanted::from(2));
        }
    }
    new
}

fn history(chance: &mut Chance, late: i64, may_end: bool) -> Vec<Entry> {
    let count = 2 + chance.below(18);
    let span = chance.pick(&[0, 5, 30, 60, 120]);
    let keys = 1 + chance.below(2);
    let tenants = if chance.once_in(4) { 2 } else { 1 };
    let mut arrivals: Vec<(i64, usize, Event)> = Vec::new();
    for at in 0..count {
        let event = event(chance, at as u32, span, keys, tenants);
        // An event arrives when no other one is ahead of it by more than the lateness.
        let delay = chance.between(0, late);
        if chance.once_in(8) {
            arrivals.push((event.at + chance.between(0, late), count + at, event.clone()));
        }
        arrivals.push((event.at + delay, at, event));
    }
    if chance.once_in(3) {
        arrivals.sort_by_key(|(_, _, event)| (event.at, event.number));
    } else {
        arrivals.sort_by_key(|(arrival, number, _)| (*arrival, *number));
    }
    let mut history: Vec<Entry> = arrivals.into_iter().map(|(_, _, event)| Entry::Event(event)).collect();
    if chance.once_in(2) {
        for _ in 0..1 + chance.below(4) {
            let statuses = ["triaged", "contained", "resolved", "dismissed", "closed"];
            let status = chance.pick(if may_end { &statuses } else { &statuses[..2] });
            let pick = chance.below(1_000);
            history.insert(chance.below(history.len() + 1), Entry::Status { pick, status });
        }
    }
    history
}

fn event(chance: &mut Chance, number: u32, span: i64, keys: usize, tenants: usize) -> Event {
    let names = ["x", "yy", "z"];
    let name = |chance: &mut Chance| names[chance.below(keys)];
    let mut fields = BTreeMap::new();
    for (field, never_in) in [("b", 6), ("v", 6), ("n", 6), ("host_id", 5), ("user", 3)] {
        if !chance.once_in(never_in) {
            let value = match field {
                "v" => chance.pick(&["1", "2", "3", "4"]),
                "n" => chance.pick(&["-1", "0.5", "1", "2", "3.5"]),
                "user" => chance.pick(&["ana", "ben"]),
                _ => name(chance),
            };
            fields.insert(field, value);
        }
    }
    let a = match chance.below(10) {
        0 => vec![],
        1 => vec!["x", "yy"],
        _ => vec![name(chance)],
    };
    Event {
        tenant: if chance.below(tenants) == 0 { "default" } else { "other" },
        source: chance.pick(&["s1", "s2"]),
        number,
        kind: chance.pick(&KINDS),
        tagged: chance.once_in(3),
        severity: chance.pick(&Severity::ALL),
        at: 1_000 + chance.between(0, span),
        a,
        fields,
    }
}

/// An event as a message of the input log.
pub fn event_message(event: &Event, seq: u64, received_at: EventTime) -> LogMessage {
    let mut body = json!({
        "source_event_id": event.number.to_string(),
        "kind": event.kind,
        "severity": event.severity.as_str(),
        "ts": EventTime::from_micros(event.at * 1_000_000).to_string(),
        "tags": if event.tagged { vec!["t"] } else { vec![] },
        "fields": {"a": event.a},
    });
    for (field, value) in &event.fields {
        match *field {
            "host_id" | "user" => body[*field] = json!(value),
            _ => body["fields"][*field] = json!(value),
        }
    }
    let subject = EventSubject { tenant: event.tenant.to_owned(), source: event.source.to_owned() };
    LogMessage {
        seq,
        subject: Some(subject.subject().into()),
        content_type: None,
        content_encoding: None,
        received_at: Some(received_at),
        body: Bytes::from(serde_json::to_vec(&body).expect("an event is plain data")),
    }
}

/// A message that says nothing but the time.
pub fn tick(seq: u64, received_at: EventTime) -> LogMessage {
    LogMessage {
        seq,
        subject: Some(CONTROL_TICK.into()),
        content_type: None,
        content_encoding: None,
        received_at: Some(received_at),
        body: Bytes::new(),
    }
}
