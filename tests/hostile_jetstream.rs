//! What no producer should send, and some do, on a real server: each ends in the dead-letter stream byte for byte, is counted,
//! and the worker takes the next message. `tests/scenarios/poison.yaml` has more kinds, and no server.

mod support;

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use async_nats::HeaderMap;
use async_nats::jetstream::{self, Context};
use rustix::process::{Pid, Signal, kill_process};
use sightline_schemas::wire::{EVENT_BYTES_MAX, Form};
use support::nats::NatsServer;
use support::site::{PATIENCE, sightline};

const SUBJECT: &str = "events.default.app";
const COMMANDS: &str = "control.default.incident";
/// What the worker may take at most. The largest input is 12 MB, and a batch of them is in memory at a time.
const RESIDENT_BYTES_MAX: u64 = 512 << 20;

const RULES: &str = "\
rules:
  - id: two_steps
    title: First and then second
    window: 5m
    by: [host_id]
    steps:
      - name: one
        match: {source: app, kind: one}
      - name: two
        match: {source: app, kind: two}
";

/// A message that somebody sends.
#[derive(Clone)]
struct Poison {
    what: &'static str,
    subject: String,
    headers: Vec<(&'static str, String)>,
    body: Vec<u8>,
    /// Its headers as they go over the wire, which no client would send.
    raw_headers: Option<&'static [u8]>,
    /// The dead letters that it becomes: index in the frame, reason, bytes.
    letters: Vec<(u32, &'static str, Vec<u8>)>,
}

impl Poison {
    /// One dead letter of the whole message.
    fn whole(what: &'static str, reason: &'static str, body: impl Into<Vec<u8>>) -> Self {
        let body = body.into();
        let letters = vec![(0, reason, body.clone())];
        Poison { what, subject: SUBJECT.to_owned(), headers: Vec::new(), body, raw_headers: None, letters }
    }

    fn in_form(self, form: Form) -> Self {
        self.with("Content-Type", form.content_type())
    }

    fn with(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }

    fn on(mut self, subject: impl Into<String>) -> Self {
        self.subject = subject.into();
        self
    }

    fn with_raw_headers(mut self, block: &'static [u8]) -> Self {
        self.raw_headers = Some(block);
        self
    }

    /// As a frame: these of its members are dead letters.
    fn members(mut self, letters: &[(u32, &'static str, &[u8])]) -> Self {
        self.letters =
            letters.iter().map(|(index, reason, bytes)| (*index, *reason, bytes.to_vec())).collect();
        self
    }
}

/// Bytes that no compression makes smaller, the same each time.
fn noise(bytes: usize) -> Vec<u8> {
    let mut state = 0x9E37_79B9_7F4A_7C15u64;
    let mut noise = Vec::with_capacity(bytes + 8);
    while noise.len() < bytes {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        noise.extend_from_slice(&state.to_le_bytes());
    }
    noise.truncate(bytes);
    noise
}

fn fields(count: usize) -> Vec<u8> {
    let fields: Vec<String> = (0..count).map(|number| format!("\"{number:x}\":0")).collect();
    format!("{{\"kind\":\"one\",\"fields\":{{{}}}}}", fields.join(",")).into_bytes()
}

/// A map of one member in a map of one member, and so on.
fn nested_message_pack(depth: usize) -> Vec<u8> {
    let mut bytes = b"\x81\xa1a".repeat(depth);
    bytes.push(0xc0);
    bytes
}

/// So many MiB of blanks, compressed.
fn bomb(mebibytes: usize) -> Vec<u8> {
    let mut packer = zstd::Encoder::new(Vec::new(), 1).expect("in memory");
    let blanks = vec![b' '; 1 << 20];
    for _ in 0..mebibytes {
        packer.write_all(&blanks).expect("in memory");
    }
    packer.finish().expect("in memory")
}

/// Everything, for a server that takes messages of `payload_bytes_max`.
fn poisons(payload_bytes_max: usize) -> Vec<Poison> {
    let good = br#"{"kind":"other"}"#;
    let long_text = format!("{{\"kind\":\"one\",\"title\":\"{}\"}}", "x".repeat(payload_bytes_max - 1_000));
    let frame = [&b"["[..], good, b",{\"kind\":\"one\",\"ts\":\"never\"},", good, b"]"].concat();
    let (fields_count, largest, long_letters) = match payload_bytes_max > EVENT_BYTES_MAX {
        true => (1_000_000, "too_large", vec![(0, "too_large", long_text.clone().into_bytes())]),
        // As long as a message may be, and no longer than an event may.
        false => (50_000, "undecodable", Vec::new()),
    };
    let long_name = "x".repeat(3_000);
    vec![
        Poison::whole("text that is no JSON", "undecodable", "rubbish"),
        Poison::whole("JSON that ends too early", "undecodable", r#"{"kind":"one""#),
        Poison::whole("nothing", "undecodable", ""),
        Poison::whole("text that is not UTF-8", "undecodable", b"{\"kind\":\"\xff\xfe\"}".to_vec()),
        Poison::whole("bytes that are no MessagePack", "undecodable", noise(1_000))
            .in_form(Form::MessagePack),
        Poison::whole(
            "MessagePack that promises four billion values",
            "undecodable",
            b"\xdf\xff\xff\xff\xff\xa1a".to_vec(),
        )
        .in_form(Form::MessagePack),
        Poison::whole(
            "MessagePack that promises four billion bytes",
            "undecodable",
            b"\x81\xa1a\xdb\xff\xff\xff\xffx".to_vec(),
        )
        .in_form(Form::MessagePack),
        Poison::whole(
            "a frame that promises four billion events",
            "too_large",
            b"\xdd\xff\xff\xff\xff\x80".to_vec(),
        )
        .in_form(Form::MessagePack),
        Poison::whole("JSON, 200,000 deep", "too_large", "[".repeat(200_000).replacen('[', "{\"a\":[", 1)),
        Poison::whole("MessagePack, 100,000 deep", "too_large", nested_message_pack(100_000))
            .in_form(Form::MessagePack),
        Poison::whole("an event of very many fields", "too_large", fields(fields_count)),
        Poison {
            letters: long_letters,
            ..Poison::whole("a text as long as a message may be", "", long_text)
        },
        Poison::whole("a message as large as the server takes", largest, noise(payload_bytes_max)),
        Poison::whole("a frame with one bad member", "", frame).members(&[(
            1,
            "bad_time",
            br#"{"kind":"one","ts":"never"}"#,
        )]),
        Poison::whole(
            "lines, one of them broken",
            "",
            "{\"kind\":\"other\"}\n{\"kind\"\n{\"kind\":\"other\"}\n",
        )
        .in_form(Form::Ndjson)
        .members(&[(1, "undecodable", b"{\"kind\"")]),
        Poison::whole("a frame of too many events", "too_large", format!("[{}1]", "1,".repeat(70_000))),
        Poison::whole("a frame that unpacks to half a GiB", "too_large", bomb(512))
            .in_form(Form::Ndjson)
            .with("Content-Encoding", "zstd"),
        Poison::whole("a form that nobody reads", "undecodable", "a,b,c").with("Content-Type", "text/csv"),
        Poison::whole("a form with a name without end", "undecodable", "a,b,c")
            .with("Content-Type", "x".repeat(60_000)),
        Poison::whole("a header that is not UTF-8", "undecodable", r#"{"kind":"one"}"#)
            .with_raw_headers(b"NATS/1.0\r\nX: \xff\xfe\r\n\r\n"),
        Poison::whole("a header without a colon", "undecodable", r#"{"kind":"one"}"#)
            .with_raw_headers(b"NATS/1.0\r\nno colon\r\n\r\n"),
        Poison::whole("a header with a blank in its name", "undecodable", r#"{"kind":"one"}"#)
            .with_raw_headers(b"NATS/1.0\r\na b: c\r\n\r\n"),
        Poison::whole("a compression that nobody reads", "undecodable", "x")
            .with("Content-Encoding", "y".repeat(60_000)),
        Poison::whole("a subject as long as a line", "bad_subject", "{}")
            .on(format!("events.default.{long_name}")),
        Poison::whole("a tenant as long as a line", "bad_subject", r#"{"kind":"one"}"#)
            .on(format!("events.{long_name}.app")),
        Poison::whole("an event of another tenant", "subject_mismatch", r#"{"kind":"one","tenant":"other"}"#),
        Poison::whole("a command that is none", "bad_command", noise(200_000)).on(COMMANDS),
        Poison::whole("a command with a status without end", "bad_command", {
            let status = "y".repeat(500_000);
            format!(r#"{{"incident":"0123456789abcdef0123456789abcdef","status":"{status}","actor":"x"}}"#)
        })
        .on(COMMANDS),
        Poison::whole("a command for no incident", "bad_command", {
            r#"{"incident":"0123456789abcdef0123456789abcdef","status":"closed","actor":"x"}"#
        })
        .on(COMMANDS),
        Poison::whole("rules that are none", "bad_command", "rules: []").on("control.rules"),
        Poison::whole("rules that unpack to half a GiB", "bad_command", bomb(512))
            .on("control.rules")
            .with("Content-Encoding", "zstd"),
    ]
}

struct Worker {
    child: Child,
    api: SocketAddr,
    log: std::path::PathBuf,
}

impl Worker {
    fn start(url: &str, dir: &std::path::Path) -> Self {
        let rules = dir.join("rules.yaml");
        std::fs::write(&rules, RULES).expect("written");
        let api = SocketAddr::from(([127, 0, 0, 1], support::nats::free_port()));
        let log = dir.join("worker.log");
        let mut command = sightline(&["run", "--nats-url", url, "--set", "log.format=json"]);
        for (path, value) in [
            ("rules.paths", rules.display().to_string()),
            ("state.dir", dir.join("state").display().to_string()),
            ("state.checkpoint_every", "200ms".to_owned()),
            ("api.listen", api.to_string()),
        ] {
            command.args(["--set", &format!("{path}={value}")]);
        }
        let out = std::fs::File::options().create(true).append(true).open(&log).expect("a log");
        let child = command.stdout(Stdio::null()).stderr(out).spawn().expect("it runs");
        Worker { child, api, log }
    }

    fn ask(&self, path: &str) -> Option<String> {
        let mut stream = TcpStream::connect(self.api).ok()?;
        stream.set_read_timeout(Some(PATIENCE)).ok()?;
        stream.write_all(format!("GET {path} HTTP/1.0\r\nHost: localhost\r\n\r\n").as_bytes()).ok()?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).ok()?;
        Some(answer.split_once("\r\n\r\n")?.1.to_owned())
    }

    /// Waits until it has worked off everything up to `seq`.
    fn reaches(&mut self, seq: u64) {
        let until = Instant::now() + 2 * PATIENCE;
        loop {
            let position = self.ask("/state").and_then(|state| {
                let state: serde_json::Value = serde_json::from_str(&state).ok()?;
                state["log"]["position"].as_u64()
            });
            if position.is_some_and(|position| position >= seq) {
                return;
            }
            let ended = self.child.try_wait().expect("our own child");
            let said = || std::fs::read_to_string(&self.log).unwrap_or_default();
            assert!(
                ended.is_none() && Instant::now() < until,
                "at {position:?} of {seq}, {ended:?}:\n{}",
                said()
            );
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    fn resident_bytes_max(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).expect("it lives");
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("a high-water mark");
        line.trim().trim_end_matches(" kB").parse::<u64>().expect("a number") * 1_024
    }

    fn stop(&mut self) {
        kill_process(Pid::from_child(&self.child), Signal::TERM).expect("our own child");
        assert_eq!(self.child.wait().expect("it ends").code(), Some(0));
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Says to the server what no client would, and waits until it has taken it.
fn publish_raw(url: &str, subject: &str, headers: &[u8], body: &[u8]) {
    let mut stream = TcpStream::connect(url.trim_start_matches("nats://")).expect("it listens");
    stream.set_read_timeout(Some(PATIENCE)).expect("a time");
    let mut said = format!(
        "CONNECT {{\"verbose\":false,\"headers\":true}}\r\nHPUB {subject} {} {}\r\n",
        headers.len(),
        headers.len() + body.len()
    )
    .into_bytes();
    said.extend_from_slice(headers);
    said.extend_from_slice(body);
    said.extend_from_slice(b"\r\nPING\r\n");
    stream.write_all(&said).expect("sent");
    let mut answer = String::new();
    let mut part = [0; 1_024];
    while !answer.contains("PONG") {
        let bytes = stream.read(&mut part).expect("answered");
        assert!(bytes > 0 && !answer.contains("-ERR"), "{answer}");
        answer.push_str(&String::from_utf8_lossy(&part[..bytes]));
    }
}

/// Publishes, and gives the sequence.
async fn publish(url: &str, bus: &Context, poison: &Poison) -> u64 {
    if let Some(headers) = poison.raw_headers {
        let mut events = bus.get_stream("EVENTS").await.expect("a stream");
        let before = events.cached_info().state.last_sequence;
        publish_raw(url, &poison.subject, headers, &poison.body);
        let until = Instant::now() + PATIENCE;
        loop {
            let last = events.info().await.expect("its state").state.last_sequence;
            if last > before {
                return last;
            }
            assert!(Instant::now() < until, "{} is not stored", poison.what);
        }
    }
    let mut headers = HeaderMap::new();
    for (name, value) in &poison.headers {
        headers.insert(*name, value.as_str());
    }
    let sent = if poison.headers.is_empty() {
        bus.publish(poison.subject.clone(), poison.body.clone().into()).await
    } else {
        bus.publish_with_headers(poison.subject.clone(), headers, poison.body.clone().into()).await
    };
    let stored = sent.unwrap_or_else(|error| panic!("{}: {error}", poison.what)).await;
    stored.unwrap_or_else(|error| panic!("{}: {error}", poison.what)).sequence
}

async fn incident_pair(bus: &Context, host: &str) -> u64 {
    let mut last = 0;
    for kind in ["one", "two"] {
        let event = format!(
            r#"{{"source":"app","source_event_id":"{host}-{kind}","kind":"{kind}","host_id":"{host}","ts":"2026-05-08T12:00:00Z"}}"#
        );
        last = bus.publish(SUBJECT, event.into()).await.expect("sent").await.expect("stored").sequence;
    }
    last
}

/// Dead letters by the position of their input: reason and bytes, parts joined.
async fn letters(bus: &Context) -> BTreeMap<(u64, u32), (String, Vec<u8>)> {
    let mut stream = bus.get_stream("DEADLETTER").await.expect("a stream");
    let last = stream.info().await.expect("its state").state.last_sequence;
    let mut letters: BTreeMap<(u64, u32), (String, Vec<u8>)> = BTreeMap::new();
    for seq in 1..=last {
        let message = stream.get_raw_message(seq).await.expect("stored");
        let header = |name: &str| message.headers.get(name).map(|value| value.as_str().to_owned());
        let position = header("Sightline-Position").expect("a position");
        let mut numbers = position.split('.').map(|number| number.parse::<u64>().expect("a number"));
        let (at, index, ordinal) =
            (numbers.next().expect("seq"), numbers.next().expect("index"), numbers.next());
        let index = u32::try_from(index).expect("an index");
        let letter = letters.entry((at, index)).or_default();
        let part = header("Sightline-Part").unwrap_or_else(|| "1/1".to_owned());
        assert_eq!(
            part.split('/').next(),
            Some(&*(ordinal.expect("an ordinal") + 1).to_string()),
            "parts in order"
        );
        letter.0 = header("Sightline-Reason").expect("a reason");
        letter.1.extend_from_slice(&message.payload);
    }
    letters
}

async fn nothing_stops_the_worker(config: &str, payload_bytes_max: usize) {
    let server = NatsServer::start_with(config);
    let url = server.url();
    let dir = support::nats::folder();
    assert!(sightline(&["stream", "setup", "--nats-url", &url]).output().expect("it runs").status.success());
    let client = async_nats::ConnectOptions::new().connect(&url).await.expect("connected");
    let bus = jetstream::new(client);
    let mut worker = Worker::start(&url, dir.path());
    // The rules are in the log.
    worker.reaches(1);

    let mut expected = BTreeMap::new();
    let mut what = BTreeMap::new();
    for poison in poisons(payload_bytes_max) {
        let seq = publish(&url, &bus, &poison).await;
        what.insert(seq, poison.what);
        for (index, reason, bytes) in poison.letters {
            expected.insert((seq, index), (reason.to_owned(), bytes));
        }
    }
    let last = incident_pair(&bus, "web-01").await;
    worker.reaches(last);
    let resident = worker.resident_bytes_max();

    let found = letters(&bus).await;
    for (place, (reason, bytes)) in &expected {
        let name = what[&place.0];
        let (said, kept) = found.get(place).unwrap_or_else(|| panic!("{name} is no dead letter"));
        assert_eq!(said, reason, "{name}");
        assert!(kept == bytes, "{name}: {} bytes are kept of {}", kept.len(), bytes.len());
    }
    let more: Vec<_> = found.keys().filter(|place| !expected.contains_key(*place)).collect();
    assert!(more.is_empty(), "dead letters that nobody expects: {more:?}");

    let metrics = worker.ask("/metrics").expect("it answers");
    let counted: u64 = metrics
        .lines()
        .filter(|line| line.starts_with("sightline_dead_letters_total{"))
        .filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok())
        .map(|count| count as u64)
        .sum();
    assert_eq!(counted, expected.len() as u64, "{metrics}");
    let incidents = bus.get_stream("INCIDENTS").await.expect("a stream").cached_info().state.messages;
    assert_eq!(incidents, 1, "what is right among it is found");
    println!("{} dead letters, the worker took at most {} MiB", found.len(), resident >> 20);
    assert!(resident < RESIDENT_BYTES_MAX, "the worker took {resident} bytes");

    // All of it once more, from the beginning: nothing is said twice, and it gets as far.
    worker.stop();
    std::fs::remove_dir_all(dir.path().join("state")).expect("the checkpoint is gone");
    let mut worker = Worker::start(&url, dir.path());
    let last = incident_pair(&bus, "web-02").await;
    worker.reaches(last);
    assert_eq!(letters(&bus).await, found);
    assert_eq!(bus.get_stream("INCIDENTS").await.expect("a stream").cached_info().state.messages, 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_input_stops_a_worker_whose_server_takes_a_mebibyte() {
    nothing_stops_the_worker("", 1 << 20).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_input_stops_a_worker_whose_server_takes_twelve_megabytes() {
    nothing_stops_the_worker("max_payload: 12582912\nmax_pending: 64MB", 12 << 20).await;
}
