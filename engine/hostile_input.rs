//! The places where bytes of others come in, each as one function of bytes: for the fuzzers in `fuzz/` and for
//! `tests/fuzz_short.rs`. Only with the feature `hostile-input`; a build for use has none of it.
//!
//! Each runs the code that a worker runs, from the bytes to what it would publish or write, and asserts what must hold
//! whatever they are. No room of the house: it looks into all of them, as a test does.

use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use sightline_core::rule::case::cases;
use sightline_core::rule::diagnostic::Color;
use sightline_core::rule::{RuleSet, Source};
use sightline_schemas::control::{EngineSettings, RuleFile, RulesMessage};
use sightline_schemas::subject::{CONTROL_RULES, CONTROL_TICK};
use sightline_schemas::{EventTime, IncidentMessage};

use crate::bus::{LogMessage, Output};
use crate::config::Config;
use crate::state;
use crate::state::table::StateTable;
use crate::worker::machine::{Applied, Machine, compile};

/// Most bytes of a message that the engine may want to publish: the server takes 1 MiB if nobody says otherwise.
const MESSAGE_BYTES_MAX: usize = 1 << 20;
/// Most bytes of a subject: with the reply it stands on one line, and the server ends a connection whose line is longer
/// than 4,096 bytes.
const SUBJECT_BYTES_MAX: usize = 1_024;
/// 2026-05-08T12:00:00Z, when the first message of a log is received.
const NOON_MICROS: i64 = 1_778_241_600_000_000;

/// The incident that the messages of [`command`] are about.
const OPENING: [&str; 3] = [
    r#"{"source":"powershell-hunt","host_id":"win-01","kind":"process_start","ts":"2026-05-08T11:55:00Z","tags":["suspicious"]}"#,
    r#"{"source":"sentrafim","host_id":"win-01","kind":"file_change","ts":"2026-05-08T11:56:00Z","fields":{"path":"C:\\AppData\\Roaming\\x"}}"#,
    r#"{"source":"stealershield","host_id":"win-01","kind":"network_http","ts":"2026-05-08T11:57:00Z","tags":["unknown_domain"]}"#,
];

/// The shipped rules, compiled once.
fn shipped() -> &'static (RulesMessage, Arc<RuleSet>) {
    static SHIPPED: OnceLock<(RulesMessage, Arc<RuleSet>)> = OnceLock::new();
    SHIPPED.get_or_init(|| {
        let files = [
            ("intrusion.yaml", include_str!("../rules/intrusion.yaml")),
            ("sentracore.yaml", include_str!("../rules/sentracore.yaml")),
            ("streamtrace.yaml", include_str!("../rules/streamtrace.yaml")),
            ("trace.yaml", include_str!("../rules/trace.yaml")),
        ];
        let files = files.map(|(name, text)| RuleFile { name: name.to_owned(), text: text.to_owned() });
        let message = RulesMessage { files: files.to_vec(), ..RulesMessage::default() };
        let rules = compile(&message).expect("the shipped rules are right");
        (message, Arc::new(rules))
    })
}

fn machine(message: RulesMessage, rules: Arc<RuleSet>) -> Machine {
    let table = Arc::new(StateTable::default());
    Machine::with_rules("fuzz@1", rules, message, table, 1, 0, EventTime::MIN)
}

fn message(seq: u64, subject: &str, body: &[u8]) -> LogMessage {
    LogMessage {
        seq,
        subject: Some(subject.into()),
        content_type: None,
        content_encoding: None,
        received_at: Some(EventTime::from_micros(NOON_MICROS + i64::try_from(seq).unwrap_or(0) * 1_000)),
        body: Bytes::copy_from_slice(body),
    }
}

/// The messages that open the incident.
fn opening() -> Vec<LogMessage> {
    let sources = ["powershell-hunt", "sentrafim", "stealershield"];
    let numbered = (1..).zip(OPENING.iter().zip(sources));
    numbered
        .map(|(seq, (event, source))| message(seq, &format!("events.default.{source}"), event.as_bytes()))
        .collect()
}

/// Takes messages in, and looks at what they bring about.
fn apply(machine: &mut Machine, batch: &[LogMessage]) -> Applied {
    let applied = machine.apply(batch);
    for output in applied.incidents.iter().chain(&applied.dead_letters) {
        assert_can_be_published(output);
    }
    applied
}

fn assert_can_be_published(output: &Output) {
    let headers: usize = output.headers.iter().map(|(name, value)| name.len() + value.len() + 4).sum();
    // A KiB more for the headers that the output log writes itself.
    assert!(
        headers + output.body.len() + 1_024 <= MESSAGE_BYTES_MAX,
        "{} bytes for one message",
        output.body.len()
    );
    let plain = output.subject.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'*' && byte != b'>');
    assert!(output.subject.len() <= SUBJECT_BYTES_MAX && plain, "subject {:?}", output.subject);
}

/// What a checkpoint writes of each state can be read again, and is the same.
fn assert_states_come_back(machine: &Machine) {
    machine.table().for_each(|_, state| state::hostile::assert_comes_back(state));
}

/// The body of a message on `events.>`. The first byte says in which form it comes, and how it is announced.
pub fn event(data: &[u8]) {
    let Some((&how, body)) = data.split_first() else { return };
    let mut input = message(1, "events.default.edr", body);
    input.content_type = match how & 7 {
        0 | 1 => None,
        2 => Some("application/x-ndjson".to_owned()),
        3 | 4 => Some("application/msgpack".to_owned()),
        5 => Some("application/json; charset=utf-8".to_owned()),
        // The announcement itself is not ours.
        _ => Some(String::from_utf8_lossy(&body[..body.len().min(64)]).into_owned()),
    };
    input.content_encoding = match how >> 3 & 3 {
        0 | 1 => None,
        2 => Some("zstd".to_owned()),
        _ => Some("gzip".to_owned()),
    };
    if how & 0x20 != 0 {
        // Of a file: no subject, and no clock but the events'.
        input.subject = None;
        input.received_at = None;
    }
    if how & 0x40 != 0 {
        let name: String =
            String::from_utf8_lossy(body).chars().filter(|c| !c.is_whitespace()).take(4_000).collect();
        input.subject = Some(format!("events.{name}").into());
    }
    let (rules, compiled) = shipped();
    let mut machine = machine(rules.clone(), Arc::clone(compiled));
    // Twice: what is known already is another way.
    let again = LogMessage { seq: 2, ..input.clone() };
    apply(&mut machine, &[input, again]);
    apply(&mut machine, &[message(3, CONTROL_TICK, b"")]);
    assert_states_come_back(&machine);
}

/// A rule file, and the tests in it.
pub fn rules(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let file = RuleFile { name: "fuzz.yaml".to_owned(), text: text.to_owned() };
    let settings = EngineSettings { coalesce_micros: 0, ..EngineSettings::default() };
    let rules = RulesMessage { files: vec![file], settings, ..RulesMessage::default() };
    let sources = [Source { name: "fuzz.yaml".to_owned(), text: text.to_owned() }];
    let (_, problems) = cases(&sources);
    for problem in problems {
        problem.render(&sources, Color::Plain);
    }
    match compile(&rules) {
        Err((files, problems)) => {
            assert!(!problems.is_empty(), "refused without a reason");
            for problem in &problems {
                problem.render(&files, Color::Ansi);
                problem.line(&files);
            }
        }
        Ok(compiled) => {
            let mut machine = machine(rules, Arc::new(compiled));
            apply(&mut machine, &opening());
            assert_states_come_back(&machine);
        }
    }
}

/// A settings file; behind a zero byte, a setting and its value as an environment variable or a flag give them.
pub fn config(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let mut parts = text.split('\0');
    let file = parts.next().unwrap_or_default();
    let pair = |text: &str| text.split_once('=').map(|(path, value)| (path.to_owned(), value.to_owned()));
    let flags: Vec<(String, String)> = parts.next().and_then(pair).into_iter().collect();
    let variables: Vec<(String, String)> = parts.next().and_then(pair).into_iter().collect();
    match Config::load_text("fuzz.yaml", file, variables.into_iter(), &flags) {
        Err(errors) => {
            assert!(!errors.0.is_empty(), "refused without a reason");
            assert!(!errors.to_string().is_empty());
        }
        Ok(loaded) => {
            let shown = loaded.origins.show();
            let again = Config::load_text("shown.yaml", &shown, std::iter::empty(), &[]);
            // Secrets are not shown, so only the others must come back.
            if !shown.contains("***") {
                let again =
                    again.unwrap_or_else(|errors| panic!("shown and not understood: {errors}\n{shown}"));
                assert_eq!(again.config, loaded.config, "{shown}");
            }
        }
    }
}

/// A message on `control.>`, after an incident was opened. The first byte says on which subject.
pub fn command(data: &[u8]) {
    let Some((&how, body)) = data.split_first() else { return };
    let (rules, compiled) = shipped();
    let mut machine = machine(rules.clone(), Arc::clone(compiled));
    let opened = apply(&mut machine, &opening());
    assert_eq!(opened.incidents.len(), 1, "the incident that the commands are about");
    let mut input = message(4, "control.default.incident", body);
    match how & 7 {
        0..=3 => {}
        4 => input.subject = Some(CONTROL_RULES.into()),
        5 => {
            input.subject = Some(CONTROL_RULES.into());
            input.content_encoding = Some("zstd".to_owned());
        }
        6 => input.subject = Some(CONTROL_TICK.into()),
        _ => {
            let name: String =
                String::from_utf8_lossy(body).chars().filter(|c| !c.is_whitespace()).take(4_000).collect();
            input.subject = Some(format!("control.{name}").into());
        }
    }
    apply(&mut machine, &[input]);
    assert_states_come_back(&machine);
}

/// What a checkpoint holds: blocks, manifest, chunks, and the states in them.
pub fn checkpoint(data: &[u8]) {
    state::hostile::read(data);
}

/// States as a checkpoint holds them, of the incident that the commands are about, and blocks: what a fuzzer of
/// [`checkpoint()`] begins with.
pub fn checkpoint_samples() -> Vec<Vec<u8>> {
    let (rules, compiled) = shipped();
    let mut machine = machine(rules.clone(), Arc::clone(compiled));
    apply(&mut machine, &opening());
    let mut samples = state::hostile::samples();
    machine.table().for_each(|_, state| samples.push(state::hostile::sample(state)));
    samples
}

/// The incident that the messages of [`command`] are about, by its id.
pub fn incident_id() -> String {
    let (rules, compiled) = shipped();
    let mut machine = machine(rules.clone(), Arc::clone(compiled));
    let opened = apply(&mut machine, &opening()).incidents;
    let said: IncidentMessage = serde_json::from_slice(&opened[0].body).expect("an incident");
    said.incident.id.to_string()
}
