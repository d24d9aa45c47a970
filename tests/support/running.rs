//! A worker of ours as it runs, and how people ask it.

use std::path::Path;
use std::process::{Child, Stdio};
use std::time::Duration;

use super::cli::{run, sightline};
use super::nats::{NatsServer, free_port};

/// A tenth of a second each: how often a worker is asked before it counts as silent.
const ASKED_MAX: u32 = 600;

/// A running worker. It is killed when this goes.
pub struct Running {
    child: Child,
    /// The server's address.
    pub url: String,
    /// The worker's API, as host and port.
    pub api: String,
    listen: String,
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Running {
    /// Sets the streams up and starts a worker on them, with these rules and a state below `dir`.
    pub fn start(server: &NatsServer, dir: &Path, rules: &str) -> Self {
        let url = server.url();
        assert_eq!(run(&["--nats-url", &url, "stream", "setup"]).0, 0);
        let api = format!("127.0.0.1:{}", free_port());
        let listen = format!("api.listen={api}");
        let state = format!("state.dir={}", dir.join("state").display());
        let rules = format!("rules.paths=[{rules}]");
        let sets = ["--set", &state, "--set", &rules, "--set", &listen, "--set", "worker.tick_every=100ms"];
        let arguments = [&["run", "--nats-url", &url], &sets[..]].concat();
        let child = sightline(&arguments).stdout(Stdio::null()).stderr(Stdio::null()).spawn();
        Running { child: child.expect("it runs"), url, api, listen }
    }

    /// Runs a command with the settings of this worker.
    pub fn asked(&self, arguments: &[&str]) -> (i32, String, String) {
        run(&[arguments, &["--nats-url", &self.url, "--set", &self.listen]].concat())
    }

    /// The same until it says all of these.
    pub fn until(&self, arguments: &[&str], parts: &[&str]) -> String {
        for _ in 0..ASKED_MAX {
            let (code, out, _) = self.asked(arguments);
            if code == 0 && parts.iter().all(|part| out.contains(part)) {
                return out;
            }
            std::thread::sleep(Duration::from_millis(100));
        }
        panic!("{arguments:?} never says {parts:?}: {:?}", self.asked(arguments));
    }

    /// Makes the worker read its rules again.
    pub fn hang_up(&self) {
        let pid = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(pid, rustix::process::Signal::HUP).expect("our own child");
    }

    /// Publishes events, one a line.
    pub fn publish(&self, events: &str) {
        let runtime = tokio::runtime::Runtime::new().expect("a runtime");
        runtime.block_on(async {
            let bus = async_nats::jetstream::new(async_nats::connect(&self.url).await.expect("connected"));
            for line in events.lines() {
                let sent = bus.publish("events.default.edr", line.to_owned().into()).await.expect("sent");
                sent.await.expect("stored");
            }
        });
    }
}
