//! `check(scenario)`: runs it in every configuration and compares what comes out with what must.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Debug;

use sightline::bus::{LogMessage, Output};
use sightline_schemas::control::RulesMessage;
use sightline_schemas::incident::Reading;
use sightline_schemas::subject::{HEADER_DETAIL, HEADER_REASON, HEADER_SUBJECT};
use sightline_schemas::{Change, EventId, EventTime, IncidentMessage};

use super::outcome::{broken_promises, latest, messages, remaining};
use super::runs::{Run, batches, batches_without_room, fresh, restarts};
use super::scenario::{Expect, ExpectedIncident, Scenario, ScenarioFile, rules_message, time};
use super::script::Script;

/// Most shuffled arrivals of one scenario; all of them where there are fewer.
const SHUFFLES_MAX: usize = 20;
/// Most restarts of one scenario: beyond that, one after every few messages.
const RESTARTS_MAX: usize = 250;

/// Checks every scenario of a file. Panics with all that is wrong.
pub fn check_file(name: &str) {
    let file = super::scenario::read(name);
    let mut wrong = Vec::new();
    for scenario in &file.scenarios {
        let found = check(&file, scenario);
        if !found.is_empty() {
            wrong.push(format!("{name}: {}\n  {}", scenario.name, found.join("\n  ")));
        }
    }
    assert!(wrong.is_empty(), "{} of {} scenarios\n{}", wrong.len(), file.scenarios.len(), wrong.join("\n"));
}

/// Everything that is wrong with what comes of a scenario.
pub fn check(file: &ScenarioFile, scenario: &Scenario) -> Vec<String> {
    let base = EventTime::parse(&file.base).expect("`base` is a time");
    let rules = if scenario.rules.is_empty() { &file.rules } else { &scenario.rules };
    let rules = rules_message(rules, &[&file.settings, &scenario.settings]);
    let mut templates = file.events.clone();
    templates.extend(scenario.events.clone());
    let mut script = Script::new(base, templates, vec![file.settings.clone(), scenario.settings.clone()]);

    let (log, plain) = told(scenario, &rules, &mut script);
    let said = messages(&plain.incidents);
    let mut wrong = broken_promises(&said);
    wrong.extend(altered_letters(&log, &plain.dead_letters));
    let mut expectation = Expectation { base, names: &script.names, said: &said, wrong: Vec::new() };
    expectation.check(&scenario.expect, &plain);
    wrong.extend(expectation.wrong);

    for partitions in [1, 2, 7] {
        for batch in [1, 3, 1000] {
            let run = batches(&rules, &log, partitions, batch);
            wrong.extend(different(&plain, &run, &format!("{partitions} partitions, batches of {batch}")));
        }
    }
    for (partitions, batch) in [(1, 1), (2, 3)] {
        let run = batches_without_room(&rules, &log, partitions, batch);
        let how = format!("{partitions} partitions, batches of {batch}, no room for states");
        wrong.extend(different(&plain, &run, &how));
    }
    let every = log.len().div_ceil(RESTARTS_MAX);
    let run = restarts(&rules, &log, every);
    wrong.extend(different(&plain, &run, &format!("a restart after every {every} messages")));
    if let Some(expected) = scenario.expect.keys
        && run.keys != expected
    {
        wrong.push(format!("{} keys are remembered, expected {expected}", run.keys));
    }
    if scenario.shuffle {
        wrong.extend(shuffled(&rules, &log, &script.is_event, &said));
    }
    wrong
}

/// Runs a scenario message by message, so that commands can name the incidents of the messages before.
fn told(scenario: &Scenario, rules: &RulesMessage, script: &mut Script) -> (Vec<LogMessage>, Run) {
    let mut machine = fresh(rules, 1);
    let mut run = Run::default();
    let mut log = Vec::new();
    let mut take = |message: LogMessage, run: &mut Run| {
        run.take(machine.apply(std::slice::from_ref(&message)));
        log.push(message);
    };
    for input in &scenario.input {
        let said = messages(&run.incidents);
        script.write(input, &said).into_iter().for_each(|message| take(message, &mut run));
    }
    let coalesce = rules.settings.coalesce_micros;
    take(script.last_tick(coalesce), &mut run);
    (log, run)
}

/// Dead letters hold the bytes as they came.
fn altered_letters(log: &[LogMessage], letters: &[Output]) -> Vec<String> {
    let altered = letters.iter().filter(|letter| {
        let seq = usize::try_from(letter.place.position.seq).expect("a small number");
        let came = &log[seq - 1].body;
        // An event out of a frame is a part of what came.
        !letter.body.is_empty() && !came.windows(letter.body.len()).any(|part| part == &letter.body[..])
    });
    altered.map(|letter| format!("dead letter {} is not what came", letter.place.position)).collect()
}

fn different(plain: &Run, run: &Run, how: &str) -> Option<String> {
    let first = |a: &[Output], b: &[Output]| -> String {
        let at = a.iter().zip(b).position(|(a, b)| a != b).unwrap_or(a.len().min(b.len()));
        let show =
            |outputs: &[Output]| outputs.get(at).map(|it| (it.place, it.subject.clone(), it.body.clone()));
        format!("message {at} of {} and {}\n    {:?}\n    {:?}", a.len(), b.len(), show(a), show(b))
    };
    if plain.incidents != run.incidents {
        return Some(format!("{how}: other incidents, {}", first(&plain.incidents, &run.incidents)));
    }
    if plain.dead_letters != run.dead_letters {
        return Some(format!("{how}: other dead letters, {}", first(&plain.dead_letters, &run.dead_letters)));
    }
    (plain.counts != run.counts).then(|| format!("{how}: {:?}, not {:?}", run.counts, plain.counts))
}

/// Events arrive in other orders, within the stretches between two other messages. Log times stay where they are.
fn shuffled(
    rules: &RulesMessage,
    log: &[LogMessage],
    is_event: &[bool],
    said: &[IncidentMessage],
) -> Vec<String> {
    let expected = remaining(said);
    let mut wrong = Vec::new();
    for order in orders(is_event) {
        let mut other = log.to_vec();
        for (place, from) in order.iter().enumerate() {
            other[place] =
                LogMessage { seq: log[place].seq, received_at: log[place].received_at, ..log[*from].clone() };
        }
        let run = batches(rules, &other, 2, 3);
        let messages = messages(&run.incidents);
        wrong.extend(broken_promises(&messages).into_iter().map(|it| format!("arrival {order:?}: {it}")));
        let found = remaining(&messages);
        if found != expected {
            wrong.push(format!("arrival {order:?}\n    leaves   {found:?}\n    in order {expected:?}"));
            break;
        }
    }
    wrong
}

/// Orders of a log's messages that move events only, and only inside a stretch of events.
fn orders(is_event: &[bool]) -> BTreeSet<Vec<usize>> {
    let count = is_event.len();
    let movable = is_event.iter().filter(|is_event| **is_event).count();
    let mut orders = BTreeSet::new();
    let mut seed = 0x9e37_79b9_7f4a_7c15_u64;
    let mut random = |below: usize| {
        // xorshift64: the same orders in every run.
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        (seed % below as u64) as usize
    };
    // Enough draws to meet every order of up to five events almost surely.
    let (wanted, draws) = if movable <= 5 { (120, 2_000) } else { (SHUFFLES_MAX, SHUFFLES_MAX) };
    for _ in 0..draws {
        let mut order: Vec<usize> = (0..count).collect();
        let mut from = 0;
        while from < count {
            let to = (from..count).find(|at| !is_event[*at]).unwrap_or(count);
            for at in from..to {
                order.swap(at, at + random(to - at));
            }
            from = to + 1;
        }
        orders.insert(order);
        if orders.len() >= wanted {
            break;
        }
    }
    orders
}

/// Compares what came out with what a scenario expects.
struct Expectation<'e> {
    base: EventTime,
    names: &'e BTreeMap<String, (EventId, EventTime)>,
    said: &'e [IncidentMessage],
    wrong: Vec<String>,
}

impl Expectation<'_> {
    fn same<T: PartialEq + Debug>(&mut self, what: &str, found: &T, expected: Option<&T>) {
        if let Some(expected) = expected
            && found != expected
        {
            self.wrong.push(format!("{what}: {found:?}, expected {expected:?}"));
        }
    }

    fn check(&mut self, expect: &Expect, run: &Run) {
        let kinds: Vec<String> = self.said.iter().map(|message| message.change.as_str().to_owned()).collect();
        self.same("messages", &kinds, expect.messages.as_ref());
        if expect.messages_max.is_some_and(|most| kinds.len() > most) {
            self.wrong.push(format!("{} messages, expected at most {:?}", kinds.len(), expect.messages_max));
        }
        self.same("events", &run.counts.events, expect.events.as_ref());
        self.same("duplicates", &run.counts.duplicates, expect.duplicates.as_ref());
        self.same("late", &run.counts.late, expect.late.as_ref());
        self.same("suspect", &run.counts.suspect, expect.suspect.as_ref());
        self.same("commands", &run.counts.commands, expect.commands.as_ref());
        self.dead_letters(expect, &run.dead_letters);
        self.incidents(&expect.incidents);
    }

    fn dead_letters(&mut self, expect: &Expect, letters: &[Output]) {
        let header = |letter: &Output, name: &str| -> String {
            letter
                .headers
                .iter()
                .find(|(known, _)| *known == name)
                .map(|(_, it)| it.clone())
                .unwrap_or_default()
        };
        if letters.len() != expect.dead_letters.len() {
            let details: Vec<String> = letters.iter().map(|letter| header(letter, HEADER_DETAIL)).collect();
            let expected = expect.dead_letters.len();
            self.wrong.push(format!("{} dead letters, expected {expected}: {details:#?}", letters.len()));
            return;
        }
        for (letter, expected) in letters.iter().zip(&expect.dead_letters) {
            let place = letter.place.position.to_string();
            let what = format!("dead letter {place}");
            self.same(&what, &header(letter, HEADER_REASON), Some(&expected.reason));
            self.same(&what, &place, expected.at.as_ref());
            self.same(&what, &header(letter, HEADER_SUBJECT), expected.subject.as_ref());
            let detail = header(letter, HEADER_DETAIL);
            if expected.detail.as_ref().is_some_and(|part| !detail.contains(part)) {
                self.wrong.push(format!("{what}: {detail:?}, expected it to say {:?}", expected.detail));
            }
        }
    }

    fn incidents(&mut self, expected: &[ExpectedIncident]) {
        let said = self.said;
        let mut found: Vec<&IncidentMessage> =
            latest(said).into_values().filter(|message| message.change != Change::Merged).collect();
        let told =
            |message: &IncidentMessage| said.iter().position(|it| it.incident.id == message.incident.id);
        found.sort_by_key(|message| (message.incident.first_event_at, told(message)));
        let name = |message: &IncidentMessage| {
            let incident = &message.incident;
            (incident.tenant.clone(), incident.rule.id.clone(), incident.scope.key.clone())
        };
        let mut pairs: Vec<&IncidentMessage> = Vec::new();
        for wanted in expected {
            let key = (wanted.tenant.clone(), wanted.rule.clone(), wanted.key.clone());
            match found.iter().position(|message| name(message) == key) {
                Some(at) => pairs.push(found.remove(at)),
                None => {
                    self.wrong.push(format!("no incident of {key:?}"));
                    let rest: Vec<_> = found.iter().map(|message| name(message)).collect();
                    self.wrong.push(format!("there are still {rest:?}"));
                    return;
                }
            }
        }
        for message in found {
            let what = name(message);
            self.wrong
                .push(format!("an incident that nobody expects: {what:?}, {:?}", message.incident.explain));
        }
        for (message, wanted) in pairs.iter().zip(expected) {
            self.incident(message, wanted, &pairs);
        }
    }

    fn incident(&mut self, message: &IncidentMessage, wanted: &ExpectedIncident, all: &[&IncidentMessage]) {
        let it = &message.incident;
        let what = |part: &str| format!("{} {} {part}", wanted.rule, wanted.key);
        let base = self.base;
        let at = |text: &Option<String>| text.as_ref().map(|text| time(text, base));
        self.same(&what("status"), &it.status.as_str().to_owned(), wanted.status.as_ref());
        self.same(&what("resolution"), &it.resolution, wanted.resolution.map(Some).as_ref());
        self.same(&what("severity"), &it.severity.as_str().to_owned(), wanted.severity.as_ref());
        self.same(&what("count"), &it.event_count, wanted.count.as_ref());
        self.same(&what("suppressed"), &it.suppressed_count, wanted.suppressed.as_ref());
        self.same(&what("first"), &it.first_event_at, at(&wanted.first).as_ref());
        self.same(&what("last"), &it.last_event_at, at(&wanted.last).as_ref());
        self.same(&what("host_id"), &it.host_id, wanted.host_id.clone().map(Some).as_ref());
        self.same(&what("sources"), &it.sources, wanted.sources.as_ref());
        self.same(&what("hosts"), &it.hosts, wanted.hosts.as_ref());
        self.same(&what("users"), &it.users, wanted.users.as_ref());
        self.same(&what("tags"), &it.tags, wanted.tags.as_ref());
        self.same(&what("group"), &it.group, wanted.group.clone().map(Some).as_ref());
        self.same(&what("version"), &it.version, wanted.version.as_ref());
        self.same(&what("reopened"), &it.reopen_count, wanted.reopened.as_ref());
        let scope = it.scope.parts.iter().map(|part| (part.name.clone(), part.value.clone())).collect();
        self.same(&what("scope"), &scope, wanted.scope.as_ref());
        let needed = it.explain.iter().map(|step| (step.step.clone(), step.needed)).collect();
        self.same(&what("needed"), &needed, wanted.needed.as_ref());
        for (step, values) in wanted.values.iter().flatten() {
            let found = it.explain.iter().find(|explain| explain.step == *step).map(|it| it.values.clone());
            self.same(&what(step), &found, Some(&Some(values.clone())));
        }
        self.same(&what("title"), &it.title, wanted.title.as_ref());
        self.same(&what("description"), &it.description, wanted.description.as_ref());
        self.same(&what("attack"), &it.attack, wanted.attack.clone().map(Some).as_ref());
        self.same(&what("listed"), &it.events.len(), wanted.listed.as_ref());
        if let Some(changed) = &wanted.changed {
            let said: Vec<_> = self.said.iter().filter(|message| message.incident.id == it.id).collect();
            let found = said.get(changed.nth).and_then(|message| message.status_change.clone());
            let found = found.map(|change| (change.actor, change.reason.unwrap_or_default()));
            let expected = Some((changed.actor.clone(), changed.reason.clone()));
            self.same(&what("change"), &found, Some(&expected));
        }
        for (step, absent) in wanted.absent.iter().flatten() {
            let found = it.explain.iter().find(|explain| explain.step == *step);
            let found = found.map(|explain| (explain.absent, explain.unknown));
            self.same(&what(step), &found, Some(&Some(*absent)));
        }
        for (step, read) in wanted.read.iter().flatten() {
            let found = it.explain.iter().find(|explain| explain.step == *step);
            let found = found.and_then(|explain| explain.reading.clone()).map(|reading| {
                let number = |read: Reading| (read.value, read.events);
                (reading.of, reading.takes, number(reading.first), number(reading.last))
            });
            self.same(&what(step), &found, Some(&Some(read.clone())));
        }
        let previous = wanted.previous.map(|at| Some(all[at].incident.id));
        self.same(&what("previous"), &it.previous_incident, previous.as_ref());
        let merged = self.said.iter().filter(|message| message.incident.merged_into == Some(it.id)).count();
        self.same(&what("merged"), &merged, wanted.merged.as_ref());
        self.evidence(message, wanted, &what("evidence"));
    }

    fn evidence(&mut self, message: &IncidentMessage, wanted: &ExpectedIncident, what: &str) {
        let events = &message.incident.events;
        if let Some(expected) = &wanted.evidence {
            let mut found: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
            for evidence in events {
                let full = format!("{}/{}", evidence.rule, evidence.step);
                let step = if expected.contains_key(&full) { full } else { evidence.step.clone() };
                found.entry(step).or_default().insert(self.name(evidence.id));
            }
            let expected: BTreeMap<String, BTreeSet<String>> = expected
                .iter()
                .map(|(step, names)| {
                    (step.clone(), names.iter().map(|name| self.name(self.id(name))).collect())
                })
                .collect();
            self.same(what, &found, Some(&expected));
        }
        for (name, fields) in wanted.why.iter().flatten() {
            let id = self.id(name);
            for (field, value) in fields {
                let found =
                    events.iter().filter(|evidence| evidence.id == id).flat_map(|evidence| &evidence.why);
                let found =
                    found.filter(|named| named.name == *field).map(|named| named.value.clone()).next();
                self.same(&format!("{what} {name}.{field}"), &found, Some(&Some(value.clone())));
            }
        }
        for (name, severity) in wanted.evidence_severity.iter().flatten() {
            let id = self.id(name);
            let found =
                events.iter().find(|evidence| evidence.id == id).map(|it| it.severity.as_str().to_owned());
            self.same(&format!("{what} {name} severity"), &found, Some(&Some(severity.clone())));
        }
    }

    /// The id of an event of the scenario, or of a completion at the time of one: `rule:RULE/KEY@EVENT`.
    fn id(&self, name: &str) -> EventId {
        if let Some((place, event)) = name.strip_prefix("rule:").and_then(|rest| rest.rsplit_once('@')) {
            let (rule, key) = place.split_once('/').expect("a completion is written rule:RULE/KEY@EVENT");
            return EventId::of_completion(
                "default",
                rule,
                &key.replace(" | ", "\u{1f}"),
                self.known(event).1,
            );
        }
        self.known(name).0
    }

    fn known(&self, name: &str) -> (EventId, EventTime) {
        match self.names.get(name) {
            Some(known) => *known,
            None => panic!("no event of the scenario is called {name}"),
        }
    }

    /// The name of an event, or its id where it is none of the scenario's own.
    fn name(&self, id: EventId) -> String {
        let known = self.names.iter().find(|(_, known)| known.0 == id);
        known.map_or_else(|| id.to_string(), |(name, _)| name.clone())
    }
}
