//! What producers and analysts send: a recorded intrusion, and around it generated events of thousands of keys, out of
//! order, doubled, broken, in frames and in both wire forms, and commands.

use std::collections::VecDeque;

use async_nats::HeaderMap;
use bytes::Bytes;
use serde_json::{Value, json};

use crate::random::Random;

/// Hosts on which most happens, so that rules match, and hosts that are seen now and then.
const HOT_HOSTS: u64 = 60;
const HOSTS: u64 = 4_000;
const USERS: u64 = 400;
/// Event time of the first event: 2025-06-01T00:00:00Z.
const BEGIN_MILLIS: i64 = 1_748_736_000_000;
/// Event time between two events.
const STEP_MILLIS: i64 = 700;
/// How many of the newest messages may be sent again.
const REPEATED_OF: usize = 300;

/// A message for the input log.
#[derive(Clone, Debug)]
pub struct Message {
    /// Where it goes.
    pub subject: String,
    /// What it says of its form.
    pub headers: HeaderMap,
    /// What it holds.
    pub body: Bytes,
}

impl Message {
    /// Without headers.
    pub fn plain(subject: impl Into<String>, body: impl Into<Bytes>) -> Self {
        Message { subject: subject.into(), headers: HeaderMap::new(), body: body.into() }
    }

    /// What moves log time on, and means nothing else.
    pub fn tick() -> Self {
        Message::plain("control.tick", "")
    }

    fn of_form(subject: String, form: &str, body: Vec<u8>) -> Self {
        let mut headers = HeaderMap::new();
        headers.insert("Content-Type", form);
        Message { subject, headers, body: body.into() }
    }
}

/// An endless stream of messages that follows from a seed.
pub struct Workload {
    random: Random,
    recorded: VecDeque<Message>,
    now_millis: i64,
    number: u64,
    newest: VecDeque<Message>,
}

impl Workload {
    /// The recorded intrusion, woven into what follows from the seed.
    pub fn new(seed: u64) -> Self {
        let text = std::fs::read_to_string("tests/data/demo.ndjson").expect("the demo");
        let recorded = text.lines().map(|line| {
            let event: Value = serde_json::from_str(line).expect("an event");
            let subject = format!("events.default.{}", event["source"].as_str().expect("a source"));
            Message::plain(subject, line.to_owned())
        });
        Workload {
            random: Random::new(seed),
            recorded: recorded.collect(),
            now_millis: BEGIN_MILLIS,
            number: 0,
            newest: VecDeque::new(),
        }
    }

    /// The next `count` messages. `incident` is the id of one that was opened, if there is any.
    pub fn burst(&mut self, count: usize, incident: Option<&str>) -> Vec<Message> {
        let mut burst: Vec<Message> = (0..count).map(|_| self.next()).collect();
        // Every burst has something for the dead letters, and often somebody decides on an incident.
        burst.push(self.garbage());
        if let Some(incident) = incident.filter(|_| self.random.percent(60)) {
            burst.push(self.command(incident));
        }
        burst
    }

    /// What is left of the recorded intrusion.
    pub fn rest_of_recorded(&mut self) -> Vec<Message> {
        self.recorded.drain(..).collect()
    }

    fn next(&mut self) -> Message {
        let message = match self.random.of(0..100) {
            0..25 if !self.recorded.is_empty() => {
                return self.recorded.pop_front().expect("there is one");
            }
            25..32 if !self.newest.is_empty() => {
                let at = self.random.of(0..self.newest.len() as u64) as usize;
                return self.newest[at].clone();
            }
            32..35 => return self.garbage(),
            35..39 => self.frame(),
            39..45 => {
                let event = self.event();
                let body = rmp_serde::to_vec_named(&event).expect("plain data");
                Message::of_form(subject(&event), "application/msgpack", body)
            }
            _ => {
                let event = self.event();
                Message::plain(subject(&event), event.to_string())
            }
        };
        self.newest.push_back(message.clone());
        if self.newest.len() > REPEATED_OF {
            self.newest.pop_front();
        }
        message
    }

    fn event(&mut self) -> Value {
        self.number += 1;
        self.now_millis += STEP_MILLIS;
        let random = &mut self.random;
        // A few minutes late often, beyond the lateness sometimes, ahead of every clock now and then.
        let at = match random.of(0..100) {
            0..20 => self.now_millis - random.of(0..400_000) as i64,
            20..22 => self.now_millis - random.of(0..4_000_000) as i64,
            22 => self.now_millis + 400_000_000_000,
            _ => self.now_millis,
        };
        let hosts = if random.percent(70) { HOT_HOSTS } else { HOSTS };
        let host = format!("host-{}.example", random.of(0..hosts));
        let users = if random.percent(50) { HOT_HOSTS } else { USERS };
        let user = format!("user{}", random.of(0..users));
        let mut event = match random.of(0..6) {
            0..3 => {
                let outcome = if random.percent(65) { "failure" } else { "success" };
                json!({"source": "edr", "kind": "logon", "user": user, "fields": {"outcome": outcome}})
            }
            3 => {
                json!({"source": "edr", "kind": "process_start", "user": user, "fields": {"pid": random.of(1..9_000)}})
            }
            4 => {
                json!({"source": "fim", "kind": "file_change", "fields": {"path": format!("C:\\{}", random.of(0..50))}})
            }
            _ => json!({"source": "network", "kind": "network_conn", "fields": {"dst_ip": "192.0.2.7"}}),
        };
        event["id"] = json!(format!("event-{}", self.number));
        event["host_id"] = json!(host);
        event["severity"] = json!(random.one_of(&["info", "low", "medium", "high"]));
        if !random.percent(1) {
            event["ts"] = json!(jiff::Timestamp::from_millisecond(at).expect("a time").to_string());
        }
        event
    }

    /// Several events of one source in one message, one of them perhaps broken.
    fn frame(&mut self) -> Message {
        let first = self.event();
        let mut events = vec![first.to_string()];
        for _ in 0..self.random.of(1..6) {
            let mut event = self.event();
            event["source"] = first["source"].clone();
            if self.random.percent(10) {
                event["ts"] = json!("yesterday");
            }
            events.push(event.to_string());
        }
        let (form, body) = match self.random.percent(50) {
            true => ("application/json", format!("[{}]", events.join(","))),
            false => ("application/x-ndjson", events.join("\n")),
        };
        Message::of_form(subject(&first), form, body.into_bytes())
    }

    fn garbage(&mut self) -> Message {
        let number = self.random.next();
        match self.random.of(0..8) {
            0 => Message::plain("events.default.edr", format!("no json {number}")),
            1 => Message::plain("events.default.fim", format!("{{\"source\":\"fim\",\"n\":{number},\"ts\":")),
            2 => Message::plain("events.default.edr", format!("{{\"source\":\"fim\",\"n\":{number}}}")),
            3 => Message::plain(
                "events.default.network",
                format!("{{\"host_id\":\"h\",\"ts\":\"soon\",\"n\":{number}}}"),
            ),
            4 => Message::plain("events.default.edr", number.to_be_bytes().repeat(9)),
            5 => Message::of_form(
                "events.default.edr".to_owned(),
                "application/msgpack",
                vec![0x84, 0xa1, number as u8],
            ),
            6 => Message::plain("control.default.incident", format!("{{\"incident\":{number}}}")),
            _ => Message::plain("events.onlytenant", format!("{{\"n\":{number}}}")),
        }
    }

    /// Somebody decides on an incident. What cannot be decided that way is refused, which is an output as well.
    fn command(&mut self, incident: &str) -> Message {
        let status =
            self.random.one_of(&["triaged", "investigating", "resolved", "dismissed", "open", "soon"]);
        let command =
            json!({"incident": incident, "status": status, "actor": "analyst", "reason": "so it is"});
        Message::plain("control.default.incident", command.to_string())
    }
}

fn subject(event: &Value) -> String {
    format!("events.default.{}", event["source"].as_str().expect("a source"))
}
