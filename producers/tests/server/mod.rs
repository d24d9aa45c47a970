//! A nats-server of our own: a free port of the loopback device, a temporary directory, gone with the test.
#![expect(dead_code, reason = "shared by tests, each of which uses a part of it")]

use std::ffi::OsString;
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use async_nats::HeaderMap;
use async_nats::jetstream::{self, consumer::AckPolicy, consumer::pull};
use futures_util::StreamExt;
use sightline_schemas::subject::{EVENTS_STREAM, EVENTS_SUBJECTS};

/// How long a server may take to listen.
const START_MAX: Duration = Duration::from_secs(20);

/// How long it may take to answer.
const ANSWER_MAX: Duration = Duration::from_secs(240);

/// A message of the log.
pub struct Stored {
    pub subject: String,
    pub content_type: Option<String>,
    pub headers: HeaderMap,
    pub body: Vec<u8>,
}

pub struct Server {
    child: Child,
    port: u16,
    /// Where it stores.
    pub store: tempfile::TempDir,
}

impl Server {
    /// Starts one without any stream.
    pub fn start() -> Self {
        let port = free_port();
        let store = tempfile::tempdir().expect("temporary directory");
        Server { child: launch(port, store.path()), port, store }
    }

    /// Starts one that takes events.
    pub async fn with_events() -> Self {
        let server = Self::start();
        server.create_stream().await;
        server
    }

    pub async fn create_stream(&self) {
        let config = jetstream::stream::Config {
            name: EVENTS_STREAM.to_owned(),
            subjects: EVENTS_SUBJECTS.map(str::to_owned).to_vec(),
            ..jetstream::stream::Config::default()
        };
        self.jetstream().await.create_stream(config).await.expect("stream created");
    }

    pub fn url(&self) -> String {
        format!("nats://127.0.0.1:{}", self.port)
    }

    pub async fn jetstream(&self) -> jetstream::Context {
        // On a machine that does a lot besides, an answer may take far longer than the client's own limits.
        let options = async_nats::ConnectOptions::new()
            .connection_timeout(ANSWER_MAX)
            .request_timeout(Some(ANSWER_MAX));
        let mut context = jetstream::new(options.connect(self.url()).await.expect("the server listens"));
        context.set_timeout(ANSWER_MAX);
        context
    }

    /// Ends the server as a crash does.
    pub fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// Starts it again with what it stored.
    pub fn restart(&mut self) {
        self.kill();
        self.child = launch(self.port, self.store.path());
    }

    /// All messages of the log.
    pub async fn messages(&self) -> Vec<Stored> {
        let mut stream = self.jetstream().await.get_stream(EVENTS_STREAM).await.expect("the stream is there");
        let last = stream.info().await.expect("the server answers").state.last_sequence;
        let config = pull::Config { ack_policy: AckPolicy::None, ..pull::Config::default() };
        let consumer = stream.create_consumer(config).await.expect("a consumer");
        let mut log = Vec::new();
        while (log.len() as u64) < last {
            // No more than there are, as the server is not to wait for any; and no more than it sends ahead, were they large.
            let left = usize::try_from(last).expect("small") - log.len();
            let batch = consumer.batch().max_messages(left.min(50));
            let mut batch = batch.messages().await.expect("the server answers");
            while let Some(message) = batch.next().await {
                let message = message.expect("a message").message;
                let headers = message.headers.unwrap_or_default();
                log.push(Stored {
                    subject: message.subject.to_string(),
                    content_type: headers.get("Content-Type").map(ToString::to_string),
                    headers,
                    body: message.payload.to_vec(),
                });
            }
        }
        log
    }

    /// All messages of the log: subject, body, header `Nats-Msg-Id`.
    pub async fn log(&self) -> Vec<(String, Vec<u8>, Option<String>)> {
        let id = |headers: &HeaderMap| headers.get("Nats-Msg-Id").map(ToString::to_string);
        let messages = self.messages().await.into_iter();
        messages.map(|message| (message.subject, message.body, id(&message.headers))).collect()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.kill();
    }
}

fn free_port() -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
    listener.local_addr().expect("bound").port()
}

fn launch(port: u16, store: &Path) -> Child {
    let mut child = Command::new(binary())
        .args(["--jetstream", "--addr", "127.0.0.1", "--port", &port.to_string(), "--store_dir"])
        .arg(store)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("nats-server starts: set NATS_SERVER_BIN to one, or put it into PATH");
    let start = Instant::now();
    while TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_err() {
        assert!(child.try_wait().expect("our child").is_none(), "nats-server ended at once");
        assert!(start.elapsed() < START_MAX, "nats-server does not listen");
        std::thread::sleep(Duration::from_millis(20));
    }
    child
}

/// `$NATS_SERVER_BIN`, else what the deploy script names, else whatever PATH holds.
fn binary() -> OsString {
    if let Some(given) = std::env::var_os("NATS_SERVER_BIN") {
        return given;
    }
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/nats-server.sh");
    let found =
        script.exists().then(|| Command::new(&script).stderr(Stdio::inherit()).output().ok()).flatten();
    match found {
        Some(output) if output.status.success() => {
            String::from_utf8_lossy(&output.stdout).trim().to_owned().into()
        }
        _ => OsString::from("nats-server"),
    }
}
