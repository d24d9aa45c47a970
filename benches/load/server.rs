//! A nats-server of the bench's own: on a free port, in a temporary directory, gone when the bench is.

use std::net::{Ipv4Addr, SocketAddrV4, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// How long a server may take to start.
const START_MAX: Duration = Duration::from_secs(20);

/// A running nats-server with JetStream on disk.
pub struct Server {
    child: Child,
    port: u16,
    _dir: tempfile::TempDir,
}

impl Server {
    /// Starts one. An error says what is missing.
    pub fn start() -> Result<Self, String> {
        let binary = binary()?;
        let dir = tempfile::Builder::new()
            .prefix("sightline-bench-")
            .tempdir()
            .map_err(|error| error.to_string())?;
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).map_err(|error| error.to_string())?;
        let port = listener.local_addr().map_err(|error| error.to_string())?.port();
        drop(listener);
        let config = format!(
            "listen: \"127.0.0.1:{port}\"\njetstream {{ store_dir: \"{}\" }}\nmax_payload: 8MB\n",
            dir.path().join("store").display()
        );
        let path = dir.path().join("nats.conf");
        std::fs::write(&path, config).map_err(|error| error.to_string())?;
        let child = Command::new(binary.trim())
            .arg("-c")
            .arg(&path)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .map_err(|error| format!("{binary}: {error}"))?;
        let server = Server { child, port, _dir: dir };
        let until = Instant::now() + START_MAX;
        while Instant::now() < until {
            if TcpStream::connect(SocketAddrV4::new(Ipv4Addr::LOCALHOST, port)).is_ok() {
                return Ok(server);
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        Err("nats-server does not start".to_owned())
    }

    /// The address for clients.
    pub fn url(&self) -> String {
        format!("nats://127.0.0.1:{}", self.port)
    }

    /// The server's process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn binary() -> Result<String, String> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("benches/ lies in the project");
    let run = Command::new("sh").arg(root.join("deploy/nats-server.sh")).stderr(Stdio::inherit()).output();
    let run = run.map_err(|error| format!("sh: {error}"))?;
    match run.status.success() {
        true => String::from_utf8(run.stdout).map_err(|error| error.to_string()),
        false => Err("there is no nats-server".to_owned()),
    }
}
