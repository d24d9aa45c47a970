//! The fuzzers of `fuzz/` in short, on any toolchain: the same entries, and bytes out of the recorded and golden data, changed
//! by chance from a seed.
//!
//! `SIGHTLINE_TEST_FUZZ_SECONDS` says for how long each entry is tried, and `SIGHTLINE_TEST_FUZZ_SEED` with which number to begin. What
//! fails says its number, and begun with that fails again. With `SIGHTLINE_TEST_FUZZ_CORPUS=FOLDER` they write what they begin
//! with, for the fuzzers.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::process::{Resource, Rlimit, setrlimit};
use sightline::{config, hostile_input};

/// Longest input that is made. Longer ones are `tests/hostile_jetstream.rs`' business.
const INPUT_BYTES_MAX: usize = 96 << 10;
/// Address space of the process: one allocation that an input could swell is beyond it, and ends the test.
const ADDRESS_SPACE_BYTES_MAX: u64 = 4 << 30;
/// What the process has held at most in the end. What it keeps takes a tenth.
const RESIDENT_BYTES_MAX: u64 = 512 << 20;
/// Longest time for one input, on a busy machine: far more than any takes, and less than for ever.
const ONE_INPUT_MAX: Duration = Duration::from_secs(20);

/// xorshift64*: small, and the same everywhere.
struct Chance(u64);

impl Chance {
    fn new(seed: u64) -> Self {
        Chance(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1)
    }

    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_F491_4F6C_DD1D)
    }

    /// Below `end`; 0 where that is 0.
    fn below(&mut self, end: usize) -> usize {
        usize::try_from(self.next() % (end.max(1) as u64)).expect("below a usize")
    }

    fn pick<'a, T>(&mut self, all: &'a [T]) -> &'a T {
        &all[self.below(all.len())]
    }
}

/// Bytes at which readers turn.
const TOKENS: [&[u8]; 40] = [
    b"{",
    b"}",
    b"[",
    b"]",
    b":",
    b",",
    b"\"",
    b"\\",
    b"\n",
    b"\0",
    b"- ",
    b"&a ",
    b"*a",
    b"<<: ",
    b"!!",
    b"|",
    b">",
    b"'",
    b"\xff",
    b"\xc3",
    b"\xdd\xff\xff\xff\xff",
    b"\xdf\xff\xff\xff\xff",
    b"\xdb\xff\xff\xff\xff",
    b"\xc1",
    b"\xd4",
    b"null",
    b"1e999",
    b"-9223372036854775809",
    b"18446744073709551616",
    b"NaN",
    b"true",
    b"\xe2\x80\xae",
    b"\xf0\x9f\xa6\x80",
    b"(a*)*b",
    b"9999-12-31T23:59:59Z",
    b"-9999-01-01T00:00:00Z",
    b"366d",
    b"=",
    b".",
    b"any: ",
];

/// Input number `seed`: one of the corpus, or two joined, changed in some places.
fn input(corpus: &[Vec<u8>], seed: u64) -> Vec<u8> {
    let mut chance = Chance::new(seed);
    let mut bytes = chance.pick(corpus).clone();
    if chance.below(4) == 0 {
        let other = chance.pick(corpus);
        let (at, from) = (chance.below(bytes.len() + 1), chance.below(other.len() + 1));
        bytes.truncate(at);
        bytes.extend_from_slice(&other[from..]);
    }
    for _ in 0..1 + chance.below(8) {
        change(&mut bytes, &mut chance);
    }
    bytes.truncate(INPUT_BYTES_MAX);
    bytes
}

fn change(bytes: &mut Vec<u8>, chance: &mut Chance) {
    let at = chance.below(bytes.len() + 1);
    let to = (at + chance.below(32)).min(bytes.len());
    match chance.below(8) {
        0 if at < bytes.len() => bytes[at] ^= 1 << chance.below(8),
        1 if at < bytes.len() => bytes[at] = u8::try_from(chance.below(256)).expect("a byte"),
        2 => drop(bytes.drain(at..to)),
        3 => {
            let copy = bytes[at..to].to_vec();
            let repeated = copy.repeat(1 + chance.below(200));
            bytes.splice(at..at, repeated);
        }
        4 | 5 => {
            let token = *chance.pick(&TOKENS);
            bytes.splice(at..at, token.iter().copied());
        }
        6 => {
            let token = chance.pick(&TOKENS).repeat(1 + chance.below(300));
            bytes.splice(at..to, token);
        }
        _ => bytes.truncate(at),
    }
}

fn number(variable: &str, otherwise: u64) -> u64 {
    match std::env::var(variable) {
        Err(_) => otherwise,
        Ok(text) => text.parse().unwrap_or_else(|_| panic!("{variable}={text}: expected a whole number")),
    }
}

fn fuzz(name: &str, entry: fn(&[u8]), corpus: &[Vec<u8>]) {
    if let Some(folder) = std::env::var_os("SIGHTLINE_TEST_FUZZ_CORPUS") {
        return write(&PathBuf::from(folder).join(name), corpus);
    }
    let (name, corpus) = (name.to_owned(), corpus.to_vec());
    // With the stack that the program gives its threads.
    let fuzzing =
        std::thread::Builder::new().stack_size(8 << 20).spawn(move || fuzz_here(&name, entry, &corpus));
    if let Err(panic) = fuzzing.expect("a thread").join() {
        std::panic::resume_unwind(panic);
    }
}

fn fuzz_here(name: &str, entry: fn(&[u8]), corpus: &[Vec<u8>]) {
    let limit = Rlimit { current: Some(ADDRESS_SPACE_BYTES_MAX), maximum: Some(ADDRESS_SPACE_BYTES_MAX) };
    setrlimit(Resource::As, limit).expect("a process may limit itself");
    for bytes in corpus {
        entry(bytes);
    }
    let seconds = Duration::from_secs(number("SIGHTLINE_TEST_FUZZ_SECONDS", 3));
    let (first, begun) = (number("SIGHTLINE_TEST_FUZZ_SEED", 1), Instant::now());
    let mut seed = first;
    while seed == first || begun.elapsed() < seconds {
        let bytes = input(corpus, seed);
        let from = Instant::now();
        if catch_unwind(AssertUnwindSafe(|| entry(&bytes))).is_err() || from.elapsed() > ONE_INPUT_MAX {
            panic!(
                "{name} fails after {:?} with input {seed} of {} bytes: SIGHTLINE_TEST_FUZZ_SEED={seed}\n{}",
                from.elapsed(),
                bytes.len(),
                bytes[..bytes.len().min(2_000)].escape_ascii()
            );
        }
        seed += 1;
    }
    let resident = resident_bytes_max();
    println!("{name}: {} inputs in {:?}, at most {} MiB", seed - first, begun.elapsed(), resident >> 20);
    assert!(resident < RESIDENT_BYTES_MAX, "{name} took {resident} bytes");
}

/// `VmHWM` of this process.
fn resident_bytes_max() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").expect("Linux says");
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("a high-water mark");
    line.trim().trim_end_matches(" kB").parse::<u64>().expect("a number") * 1_024
}

fn write(folder: &Path, corpus: &[Vec<u8>]) {
    std::fs::create_dir_all(folder).expect("a folder");
    for (number, bytes) in corpus.iter().enumerate() {
        std::fs::write(folder.join(format!("seed-{number}")), bytes).expect("written");
    }
}

fn read(path: &str) -> Vec<u8> {
    std::fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join(path)).expect("a file of the project")
}

fn text(path: &str) -> String {
    String::from_utf8(read(path)).expect("text")
}

/// `how` before the bytes: what the entry reads of the first byte.
fn told(how: u8, bytes: &[u8]) -> Vec<u8> {
    [&[how], bytes].concat()
}

#[test]
fn no_event_is_too_much() {
    let demo = text("tests/data/demo.ndjson");
    let lines: Vec<&str> = demo.lines().step_by(97).collect();
    let mut corpus: Vec<Vec<u8>> = lines.iter().map(|line| told(0, line.as_bytes())).collect();
    corpus.push(told(2, lines[..8].join("\n").as_bytes()));
    corpus.push(told(0x20, lines[0].as_bytes()));
    corpus.push(told(0x40, b"default.edr"));
    let golden = [
        (0, "event.json"),
        (3, "event.msgpack"),
        (0, "frame.json"),
        (4, "frame.msgpack"),
        (2, "frame.ndjson"),
        (0, "sentracore.json"),
        (0, "trace.json"),
    ];
    corpus.extend(golden.map(|(how, name)| told(how, &read(&format!("schemas/golden/{name}")))));
    fuzz("event", hostile_input::event, &corpus);
}

#[test]
fn no_rule_file_is_too_much() {
    let mut corpus: Vec<Vec<u8>> = Vec::new();
    for entry in std::fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("rules")).expect("rules") {
        let path = entry.expect("a file").path();
        if path.extension().is_some_and(|ending| ending == "yaml") {
            let text = std::fs::read_to_string(path).expect("text");
            // One rule at a time says more than all of them.
            let rules: Vec<&str> = text.split("\n  - id:").collect();
            corpus.extend(rules[1..].iter().map(|rule| format!("rules:\n  - id:{rule}").into_bytes()));
            corpus.push(text.into_bytes());
        }
    }
    corpus.sort();
    fuzz("rules", hostile_input::rules, &corpus);
}

#[test]
fn no_settings_file_is_too_much() {
    let corpus = [
        config::template().into_bytes(),
        read("deploy/sightline.yaml"),
        b"engine:\n  sources:\n    edr: {severity: low, class: alert, kind: event, require: [host_id]}\n".to_vec(),
        b"nats:\n  url: nats://a:b@c:1,tls://d\n  user: a\n  password: '1e3'\napi:\n  token: 0123456789abcdef\n".to_vec(),
        b"worker:\n  partitions: 2\n\0rules.paths=[a, b]\0SIGHTLINE_NATS_URL=nats://a:1".to_vec(),
        b"\0engine.sources={edr: {severity: low}}\0NATS_TOKEN=x".to_vec(),
    ];
    fuzz("config", hostile_input::config, &corpus);
}

#[test]
fn no_command_is_too_much() {
    let id = hostile_input::incident_id();
    let command = |status: &str, more: &str| {
        told(0, format!(r#"{{"incident":"{id}","status":"{status}","actor":"anna"{more}}}"#).as_bytes())
    };
    let rules = text("schemas/golden/rules.json");
    let packed = zstd::bulk::compress(rules.as_bytes(), 1).expect("in memory");
    let corpus = [
        command("triaged", ""),
        command("closed", r#","reason":"no harm","resolution":"benign""#),
        command("open", ""),
        told(0, &read("schemas/golden/incident_command.json")),
        told(4, rules.as_bytes()),
        told(5, &packed),
        told(6, b""),
        told(7, b"default.incident"),
    ];
    fuzz("command", hostile_input::command, &corpus);
}

#[test]
fn no_checkpoint_is_too_much() {
    fuzz("checkpoint", hostile_input::checkpoint, &hostile_input::checkpoint_samples());
}
