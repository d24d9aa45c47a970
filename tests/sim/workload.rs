//! What producers, analysts and operators put into the input log.

use bytes::Bytes;
use serde_json::{Map, Value, json};
use sightline_schemas::subject::{CONTROL_RULES, CONTROL_TICK, HEADER_CONTENT_ENCODING, HEADER_CONTENT_TYPE};
use sightline_schemas::{EventTime, IncidentId};

use crate::random::Random;
use crate::rules::{rules_body, some_rules};

const SECOND: i64 = 1_000_000;
/// 2026-05-08T12:00:00Z
const BEGINNING: i64 = 1_778_241_600 * SECOND;

/// One message, and how many events, commands and rule changes it holds, whatever they are worth.
#[derive(Clone, Debug, Default)]
pub struct Push {
    pub at: EventTime,
    pub subject: String,
    pub headers: Vec<(&'static str, String)>,
    pub body: Bytes,
    pub events: u64,
    pub commands: u64,
    pub rules: u64,
    pub unreadable: bool,
}

/// Makes messages.
#[derive(Debug)]
pub struct Workload {
    random: Random,
    now: i64,
    hosts: u64,
    disorder: u64,
    repeats: u64,
    garbage: u64,
    before: Vec<Push>,
}

impl Workload {
    pub fn new(mut random: Random) -> Self {
        let hosts = 1 + random.below(4);
        let disorder = *random.pick(&[0, 20, 60]);
        let repeats = *random.pick(&[0, 5, 25]);
        let garbage = *random.pick(&[0, 4, 15]);
        Workload { random, now: BEGINNING, hosts, disorder, repeats, garbage, before: Vec::new() }
    }

    /// Log time, as the bus stamps it.
    pub fn now(&self) -> EventTime {
        EventTime::from_micros(self.now)
    }

    /// Time goes on.
    pub fn pass(&mut self, micros: i64) {
        self.now += micros;
    }

    /// The next message. `known` are incidents that dashboards have seen: tenant and id.
    pub fn next(&mut self, known: &[(String, IncidentId)]) -> Push {
        let random = &mut self.random;
        self.now += match random.below(1_000) {
            0..600 => random.between(0, 2 * SECOND),
            600..900 => random.between(0, 30 * SECOND),
            900..960 => -random.between(0, 5 * SECOND),
            960..990 => random.between(60 * SECOND, 600 * SECOND),
            990..998 => 25 * 3_600 * SECOND,
            _ => 31 * 86_400 * SECOND,
        };
        let at = self.now();
        let mut push = match self.random.below(100) {
            0..3 => Push { subject: CONTROL_TICK.to_owned(), ..Push::default() },
            3..6 => self.rules(),
            6..16 => self.command(known),
            _ if self.random.percent(self.garbage) => self.garbage(),
            _ if self.random.percent(self.repeats) && !self.before.is_empty() => {
                self.random.pick(&self.before).clone()
            }
            _ if self.random.percent(15) => self.frame(),
            _ => self.event(),
        };
        push.at = at;
        if push.events > 0 {
            self.before.push(push.clone());
        }
        push
    }

    fn rules(&mut self) -> Push {
        let rules = some_rules(&mut self.random);
        let (headers, body) = rules_body(&mut self.random, &rules);
        Push { subject: CONTROL_RULES.to_owned(), headers, body, rules: 1, ..Push::default() }
    }

    fn command(&mut self, known: &[(String, IncidentId)]) -> Push {
        let random = &mut self.random;
        let unknown = ("acme".to_owned(), IncidentId::from_bytes([7; 16]));
        let newest = &known[known.len().saturating_sub(4)..];
        let (tenant, incident) = match random.below(10) {
            0 => &unknown,
            1..4 if !known.is_empty() => random.pick(known),
            _ if !newest.is_empty() => random.pick(newest),
            _ => &unknown,
        };
        let tenant = if random.percent(5) { "somebody-else" } else { tenant };
        let words = ["triaged", "investigating", "resolved", "dismissed", "closed", "open", "nonsense"];
        let command = json!({"incident": incident, "status": random.pick(&words), "actor": "ana"});
        let (subject, body) = match random.below(20) {
            0 => (format!("control.{tenant}.incident"), b"no command".to_vec()),
            1 => (format!("control.{tenant}.nothing"), command.to_string().into_bytes()),
            _ => (format!("control.{tenant}.incident"), command.to_string().into_bytes()),
        };
        Push { subject, body: Bytes::from(body), commands: 1, ..Push::default() }
    }

    fn subject(&mut self) -> String {
        let tenant = if self.random.percent(70) { "acme" } else { "umbrella" };
        format!("events.{tenant}.{}", self.random.pick(&["edr", "net", "idp"]))
    }

    fn event(&mut self) -> Push {
        let subject = self.subject();
        let value = self.one(false);
        let (form, body) = match self.random.below(4) {
            0 => ("application/msgpack", rmp_serde::to_vec_named(&value).expect("plain data")),
            _ => ("application/json", value.to_string().into_bytes()),
        };
        let headers = vec![(HEADER_CONTENT_TYPE, form.to_owned())];
        Push { subject, headers, body: Bytes::from(body), events: 1, ..Push::default() }
    }

    fn frame(&mut self) -> Push {
        let subject = self.subject();
        let events = 1 + self.random.below(6);
        let with_garbage = self.garbage > 0;
        let values: Vec<Value> = (0..events).map(|_| self.one(with_garbage)).collect();
        let (form, body) = match self.random.below(3) {
            0 => ("application/msgpack", rmp_serde::to_vec_named(&values).expect("plain data")),
            1 => ("application/json", Value::Array(values).to_string().into_bytes()),
            _ => {
                let lines: Vec<String> = values.iter().map(Value::to_string).collect();
                ("application/x-ndjson", lines.join("\n").into_bytes())
            }
        };
        let headers = vec![(HEADER_CONTENT_TYPE, form.to_owned())];
        Push { subject, headers, body: Bytes::from(body), events, ..Push::default() }
    }

    fn garbage(&mut self) -> Push {
        let mut push = Push { subject: self.subject(), events: 1, unreadable: true, ..Push::default() };
        let good = self.one(false).to_string();
        let header = |name, value: &str| vec![(name, value.to_owned())];
        push.body = Bytes::from(good.clone());
        match self.random.below(6) {
            0 => push.body = Bytes::from_static(b"{\"kind\": \"login"),
            1 => push.body = Bytes::from(format!("[{good}, {{]")),
            2 => push.headers = header(HEADER_CONTENT_TYPE, "text/csv"),
            3 => push.headers = header(HEADER_CONTENT_ENCODING, "gzip"),
            4 => push.subject = "events.acme".to_owned(),
            _ => push.headers = header(HEADER_CONTENT_TYPE, "application/msgpack"),
        }
        push
    }

    fn one(&mut self, maybe_garbage: bool) -> Value {
        let random = &mut self.random;
        let mut event = Map::new();
        let mut set = |name: &str, value: Value| event.insert(name.to_owned(), value);
        let kind =
            *random.pick(&["login_failed", "login_failed", "login", "process", "conn", "ioc", "noise"]);
        set("kind", json!(kind));
        set("host_id", json!(format!("host{}", random.below(self.hosts))));
        set("user", json!(format!("user{}", random.below(4))));
        set("severity", json!(random.pick(&["low", "medium", "high", "critical"])));
        let address = |random: &mut Random| format!("10.0.0.{}", random.below(4));
        let command = random.pick(&["enc payload", "dir"]);
        set(
            "fields",
            json!({"src_ip": address(random), "dst_ip": address(random), "ioc": address(random), "command": command}),
        );
        if random.percent(50) {
            set("source_event_id", json!(random.below(1 << 20).to_string()));
        }
        let behind = match random.below(100) {
            late if late < self.disorder => *random.pick(&[10, 60, 300, 900, 7_200]) * SECOND,
            _ => random.between(0, 3 * SECOND),
        };
        let ts = self.now - random.below(behind as u64 + 1) as i64;
        match random.below(100) {
            0..4 => {}
            4..6 => drop(set("ts", json!(EventTime::from_micros(self.now + 3_600 * SECOND).to_string()))),
            6..8 if maybe_garbage => drop(set("ts", json!("yesterday"))),
            8..10 if maybe_garbage => drop(set("tenant", json!("nobody"))),
            10..50 => drop(set("ts", json!(EventTime::from_micros(ts - ts % SECOND).to_string()))),
            _ => drop(set("ts", json!(EventTime::from_micros(ts).to_string()))),
        }
        Value::Object(event)
    }
}
