//! A real nats-server for one test: on a free port, in a temporary directory, gone when the test is.

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::net::{Ipv4Addr, SocketAddrV4, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

/// How long a server may take to start: far more than it needs, as several tests may start theirs on a busy machine.
const START_MAX: Duration = Duration::from_secs(30);

/// A running nats-server with JetStream.
#[derive(Debug)]
pub struct NatsServer {
    child: Child,
    port: u16,
    name: String,
    /// What it is started with.
    arguments: Vec<String>,
    /// Holds the configuration, the log and the store; deleted with it.
    dir: tempfile::TempDir,
}

impl NatsServer {
    /// Starts a server with default settings.
    pub fn start() -> Self {
        Self::start_with("")
    }

    /// Starts a server with `config` (nats-server's own format) beside port, name and store directory. A JetStream block
    /// of its own must say `store_dir: "$STORE_DIR"`.
    pub fn start_with(config: &str) -> Self {
        let dir = folder();
        let store = dir.path().join("store").display().to_string();
        let jetstream =
            if config.contains("jetstream") { "" } else { "jetstream { store_dir: \"$STORE_DIR\" }\n" };
        let text = format!("{jetstream}{config}\n").replace("$STORE_DIR", &store);
        std::fs::write(dir.path().join("nats.conf"), text).expect("configuration written");
        Self::start_in(dir, "nats.conf", &[])
    }

    /// Starts a server with the configuration `config` in `dir`, a folder as [`folder`] makes it. Address, name and the
    /// `more` arguments come from here, and all else from the file.
    pub fn start_in(dir: tempfile::TempDir, config: &str, more: &[String]) -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let name = format!("test-{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        // A free port may be taken by somebody else before the server has it; then the next one is tried.
        for _ in 0..20 {
            let port = free_port();
            let mut arguments = vec!["-c".to_owned(), dir.path().join(config).display().to_string()];
            for (flag, value) in [("-a", "127.0.0.1"), ("-p", &port.to_string()), ("-n", &name)] {
                arguments.extend([flag.to_owned(), value.to_owned()]);
            }
            arguments.extend_from_slice(more);
            let mut child = spawn(dir.path(), &arguments);
            if ready(&mut child, port, &name) {
                return NatsServer { child, port, name, arguments, dir };
            }
            stop(&mut child);
        }
        panic!(
            "nats-server does not start: {}",
            std::fs::read_to_string(dir.path().join("log")).unwrap_or_default()
        );
    }

    /// The address for clients.
    pub fn url(&self) -> String {
        format!("nats://127.0.0.1:{}", self.port)
    }

    /// The server's process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// The folder of its configuration.
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// What the server has logged so far.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.dir.path().join("log")).unwrap_or_default()
    }

    /// Where the server keeps its streams.
    pub fn store_dir(&self) -> PathBuf {
        self.dir.path().join("store")
    }

    /// Kills the server (SIGKILL). [`NatsServer::revive`] starts it again.
    pub fn kill(&mut self) {
        stop(&mut self.child);
    }

    /// Stops the server where it stands (SIGSTOP): connections stay, and nobody answers.
    pub fn hang(&self) {
        let pid = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(pid, rustix::process::Signal::STOP).expect("our own child");
    }

    /// Starts a killed server again, on the same port and store.
    pub fn revive(&mut self) {
        self.child = spawn(self.dir.path(), &self.arguments);
        assert!(
            ready(&mut self.child, self.port, &self.name),
            "nats-server does not come back on port {}",
            self.port
        );
    }

    /// Kills the server (SIGKILL) and starts it again, on the same port and store.
    pub fn restart(&mut self) {
        self.kill();
        self.revive();
    }
}

impl Drop for NatsServer {
    fn drop(&mut self) {
        stop(&mut self.child);
    }
}

/// The nats-server to use: found or fetched once.
pub fn binary() -> &'static Path {
    static BINARY: OnceLock<PathBuf> = OnceLock::new();
    BINARY.get_or_init(|| {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy/nats-server.sh");
        let run = Command::new("sh").arg(&script).stderr(Stdio::inherit()).output().expect("sh runs");
        assert!(run.status.success(), "{} found no nats-server, see above", script.display());
        PathBuf::from(String::from_utf8(run.stdout).expect("a path").trim())
    })
}

/// A folder for a server.
pub fn folder() -> tempfile::TempDir {
    tempfile::Builder::new().prefix("sightline-nats-").tempdir().expect("a temporary directory")
}

/// A port that was free a moment ago.
pub fn free_port() -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
    listener.local_addr().expect("bound").port()
}

fn spawn(dir: &Path, arguments: &[String]) -> Child {
    let log = File::options().create(true).append(true).open(dir.join("log")).expect("a log file");
    Command::new(binary())
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(log.try_clone().expect("a log file"))
        .stderr(log)
        .spawn()
        .expect("nats-server runs")
}

/// Waits until the server of this name answers on `port`; false when it ended, or another one did.
fn ready(child: &mut Child, port: u16, name: &str) -> bool {
    let until = Instant::now() + START_MAX;
    while Instant::now() < until {
        if child.try_wait().expect("our own child").is_some() {
            return false;
        }
        if let Some(greeting) = greeting(port) {
            return greeting.contains(&format!("\"server_name\":\"{name}\""));
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    false
}

/// The first line that a server says: `INFO {…}`.
fn greeting(port: u16) -> Option<String> {
    let stream = TcpStream::connect(SocketAddrV4::new(Ipv4Addr::LOCALHOST, port)).ok()?;
    stream.set_read_timeout(Some(Duration::from_secs(2))).ok()?;
    let mut line = String::new();
    BufReader::new(stream).read_line(&mut line).ok()?;
    line.starts_with("INFO").then_some(line)
}

fn stop(child: &mut Child) {
    // It may have ended by itself.
    let _ = child.kill();
    let _ = child.wait();
}
