//! A bridge that runs, and what it left behind.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use async_nats::jetstream::consumer::{AckPolicy, pull};
use futures_util::StreamExt;
use serde_json::Value;
use sightline_schemas::subject::{
    DEADLETTER_STREAM, DEADLETTER_SUBJECTS, EVENTS_STREAM, EVIDENCE_STREAM, EVIDENCE_SUBJECTS,
};
use sightline_schemas::wire::{self, Form};

use crate::server::Server;

/// How long anything that must happen may take, on a machine that does a lot besides.
pub const LONG: Duration = Duration::from_secs(240);

/// A server that takes events, dead letters and evidence.
pub async fn server_with_streams() -> Server {
    let server = Server::with_events().await;
    for (name, subjects) in [(DEADLETTER_STREAM, DEADLETTER_SUBJECTS), (EVIDENCE_STREAM, EVIDENCE_SUBJECTS)] {
        let config = async_nats::jetstream::stream::Config {
            name: name.to_owned(),
            subjects: subjects.map(str::to_owned).to_vec(),
            ..Default::default()
        };
        server.jetstream().await.create_stream(config).await.expect("stream created");
    }
    server
}

/// A file of the project's test data.
pub fn data(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/data").join(path)
}

pub fn recorded(path: &str) -> Value {
    let text = std::fs::read(data("contracts").join(path)).expect("a recorded answer");
    let mut recorded: Value = serde_json::from_slice(&text).expect("JSON");
    recorded["body"].take()
}

pub fn free_port() -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
    listener.local_addr().expect("bound").port()
}

/// `sightline-bridge SOURCE …` with a state directory of its own.
pub fn command(server_url: &str, state: &Path, source: &str, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_sightline-bridge"));
    command.arg(source).args(["--url", server_url, "--state"]).arg(state).args(arguments);
    command.env_remove("RUST_LOG").stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// Runs a bridge with `--once` to its end.
pub fn once(server: &Server, state: &Path, source: &str, arguments: &[&str]) -> Output {
    let mut command = command(&server.url(), state, source, arguments);
    command.arg("--once").output().expect("the bridge runs")
}

/// Runs a bridge over standard input.
pub fn piped(command: &mut Command, input: &[u8]) -> Output {
    let mut child = command.stdin(Stdio::piped()).spawn().expect("the bridge runs");
    // It may end without reading anything.
    let _ = child.stdin.take().expect("piped").write_all(input);
    child.wait_with_output().expect("our child")
}

pub fn words(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// The lines of JSON that it wrote.
pub fn printed(output: &Output) -> Vec<Value> {
    let text = String::from_utf8_lossy(&output.stdout);
    text.lines().map(|line| serde_json::from_str(line).expect("a JSON line")).collect()
}

/// A bridge that runs on.
pub struct Running {
    child: Child,
    said: Arc<Mutex<String>>,
    printed: Arc<Mutex<String>>,
}

/// Gathers what comes, line by line.
fn hear(from: impl Read + Send + 'static) -> Arc<Mutex<String>> {
    let heard = Arc::new(Mutex::new(String::new()));
    let all = Arc::clone(&heard);
    std::thread::spawn(move || {
        let mut reader = BufReader::new(from);
        let mut line = String::new();
        while reader.read_line(&mut line).is_ok_and(|bytes| bytes > 0) {
            all.lock().expect("nobody panics with it").push_str(&line);
            line.clear();
        }
    });
    heard
}

impl Running {
    pub fn start(command: &mut Command) -> Self {
        let mut child = command.stdout(Stdio::piped()).spawn().expect("the bridge runs");
        let said = hear(child.stderr.take().expect("piped"));
        let printed = hear(child.stdout.take().expect("piped"));
        Running { child, said, printed }
    }

    /// The lines that it wrote to standard output.
    pub fn printed(&self) -> Vec<String> {
        self.printed.lock().expect("nobody panics with it").lines().map(str::to_owned).collect()
    }

    pub fn said(&self) -> String {
        self.said.lock().expect("nobody panics with it").clone()
    }

    /// Waits until it said something.
    #[track_caller]
    pub fn wait_for(&self, what: &str) {
        wait(what, || self.said().contains(what).then_some(()).ok_or_else(|| self.said()));
    }

    /// Writes pieces into its standard input, one after the other, and closes it; as far as it lives to read them.
    pub fn write(&mut self, pieces: Vec<String>, pause: Duration) {
        let mut stdin = self.child.stdin.take().expect("piped");
        std::thread::spawn(move || {
            for piece in pieces {
                if stdin.write_all(piece.as_bytes()).is_err() {
                    return;
                }
                std::thread::sleep(pause);
            }
        });
    }

    pub fn is_alive(&mut self) -> bool {
        self.child.try_wait().expect("our own child").is_none()
    }

    /// Kills it where it stands.
    pub fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// Asks it to stop, and gives its exit code and all that it said.
    pub fn stop(self) -> (Option<i32>, String) {
        let pid = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(pid, rustix::process::Signal::TERM).expect("our own child");
        self.ended()
    }

    /// Waits until it ended, and gives its exit code and all that it said.
    pub fn ended(mut self) -> (Option<i32>, String) {
        let until = Instant::now() + LONG;
        let status = loop {
            match self.child.try_wait().expect("our own child") {
                Some(status) => break status,
                None if Instant::now() > until => panic!("it does not stop: {}", self.said()),
                None => std::thread::sleep(Duration::from_millis(20)),
            }
        };
        // The thread that listens hears the rest within a moment.
        std::thread::sleep(Duration::from_millis(100));
        (status.code(), self.said())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Waits until `ready` gives something; says what it last gave instead.
#[track_caller]
pub fn wait<T>(what: &str, mut ready: impl FnMut() -> Result<T, String>) -> T {
    let until = Instant::now() + LONG;
    loop {
        match ready() {
            Ok(value) => return value,
            Err(instead) if Instant::now() > until => panic!("never: {what}; instead: {instead}"),
            Err(_) => std::thread::sleep(Duration::from_millis(50)),
        }
    }
}

/// A message of a stream.
pub struct Stored {
    pub subject: String,
    pub payload: Vec<u8>,
    pub headers: async_nats::HeaderMap,
}

/// How many messages a stream holds.
pub async fn count(server: &Server, name: &str) -> usize {
    let mut stream = server.jetstream().await.get_stream(name).await.expect("the stream is there");
    let count = stream.info().await.expect("the server answers").state.messages;
    usize::try_from(count).expect("few")
}

/// All messages of a stream.
pub async fn stored(server: &Server, name: &str) -> Vec<Stored> {
    let count = count(server, name).await;
    let stream = server.jetstream().await.get_stream(name).await.expect("the stream is there");
    let config = pull::Config { ack_policy: AckPolicy::None, ..Default::default() };
    let consumer = stream.create_consumer(config).await.expect("a consumer");
    let mut messages = Vec::with_capacity(count);
    while messages.len() < count {
        let left = (count - messages.len()).min(1_000);
        let mut batch = consumer.fetch().max_messages(left).messages().await.expect("a batch");
        while let Some(message) = batch.next().await {
            let (message, _) = message.expect("a message").split();
            messages.push(Stored {
                subject: message.subject.to_string(),
                payload: message.payload.to_vec(),
                headers: message.headers.unwrap_or_default(),
            });
        }
    }
    messages
}

/// The events of the log, those of frames too.
pub async fn events(server: &Server) -> Vec<Value> {
    let mut events = Vec::new();
    for message in stored(server, EVENTS_STREAM).await {
        let content_type = message.headers.get("Content-Type").map(ToString::to_string);
        let form = Form::of(content_type.as_deref()).expect("a form of ours");
        for event in wire::split(&message.payload, form).expect("a frame") {
            events.push(serde_json::from_slice(event).expect("JSON"));
        }
    }
    events
}

/// The events of the log, as soon as there are so many.
pub async fn wait_for_events(server: &Server, expected: usize) -> Vec<Value> {
    let until = Instant::now() + LONG;
    loop {
        let there = events(server).await;
        if there.len() >= expected {
            return there;
        }
        assert!(Instant::now() < until, "{} of {expected} events", there.len());
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// The messages of a stream, as soon as there are so many.
pub async fn wait_for_stored(server: &Server, name: &str, expected: usize) -> Vec<Stored> {
    let until = Instant::now() + LONG;
    while count(server, name).await < expected {
        assert!(Instant::now() < until, "{} of {expected} in {name}", count(server, name).await);
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    stored(server, name).await
}

/// What stands at an address of this machine: status and body.
pub fn get(port: u16, path: &str) -> Option<(u16, String)> {
    request(port, &format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"), b"")
}

/// Posts a body: status and answer, as soon as there is one.
pub fn post(port: u16, path: &str, headers: &[(&str, &str)], body: &[u8]) -> (u16, Value) {
    wait("an answer", || try_post(port, path, headers, body).ok_or_else(|| "nobody listens".to_owned()))
}

/// Posts a body: status and answer, if there is one.
pub fn try_post(port: u16, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Option<(u16, Value)> {
    let more: String = headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
    let head = format!(
        "POST {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: {}\r\n{more}\r\n",
        body.len()
    );
    let (status, text) = request(port, &head, body)?;
    Some((status, serde_json::from_str(&text).unwrap_or(Value::String(text))))
}

fn request(port: u16, head: &str, body: &[u8]) -> Option<(u16, String)> {
    let mut stream = std::net::TcpStream::connect((Ipv4Addr::LOCALHOST, port)).ok()?;
    stream.write_all(head.as_bytes()).ok()?;
    stream.write_all(body).ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    let (head, body) = answer.split_once("\r\n\r\n")?;
    let status = head.split(' ').nth(1)?.parse().ok()?;
    Some((status, body.to_owned()))
}
