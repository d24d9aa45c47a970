//! One life of the worker: a process of its own, so that it can be killed.

use std::fs::File;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use sightline::api::Access;
use sightline::config::Config;
use sightline::crash_point::{CrashPoint, ENV as CRASH_POINT};
use sightline::service;
use sightline::telemetry::logging;
use sightline_schemas::control::{RuleFile, RulesMessage};

/// Names the settings file of the worker that this process is to be.
const CONFIG: &str = "CRASH_TEST_WORKER_CONFIG";
/// The test of this binary that is no test but the worker.
const ROLE: &str = "the_worker";
/// How long anything may take that comes by itself: far more than it needs.
const PATIENCE: Duration = Duration::from_secs(60);

/// How a life is led. None of it may change what is published.
#[derive(Clone, Debug)]
pub struct Life {
    /// `worker.partitions`
    pub partitions: u64,
    /// `worker.batch_messages`
    pub batch_messages: u64,
    /// `worker.tick_every`, in milliseconds.
    pub tick_every_millis: u64,
    /// Rule files.
    pub rules: Vec<&'static str>,
    /// Where to die by itself, and at which pass.
    pub dies_at: Option<(CrashPoint, u64)>,
}

impl Life {
    /// A life with nothing special about it, that adds nothing to the log by itself.
    pub fn quiet() -> Self {
        Life {
            partitions: 1,
            batch_messages: 1_000,
            tick_every_millis: 3_600_000,
            rules: vec!["rules", "tests/crash/rules.yaml"],
            dies_at: None,
        }
    }

    fn settings(&self, url: &str, state: &Path) -> String {
        format!(
            "nats: {{url: \"{url}\"}}\nrules: {{paths: {:?}}}\n\
             engine: {{coalesce: 300ms, idle: 2s, incident_idle: 20s}}\n\
             worker: {{partitions: {}, batch_messages: {}, batch_wait: 20ms, tick_every: {}ms, drain_timeout: 60s}}\n\
             state: {{dir: {:?}, checkpoint_every: 100ms}}\n\
             api: {{listen: \"127.0.0.1:0\"}}\nlog: {{level: info, format: json}}\n",
            self.rules, self.partitions, self.batch_messages, self.tick_every_millis, state,
        )
    }
}

/// A worker that runs, or ran.
pub struct Process {
    child: Child,
    log: PathBuf,
}

impl Process {
    /// Starts a worker. Its settings and its log are `<name>.yaml` and `<name>.log` in `dir`.
    pub fn start(life: &Life, url: &str, state: &Path, dir: &Path, name: &str) -> Self {
        let config = dir.join(format!("{name}.yaml"));
        let log = dir.join(format!("{name}.log"));
        std::fs::write(&config, life.settings(url, state)).expect("settings written");
        let output = File::create(&log).expect("a log file");
        let mut command = Command::new(std::env::current_exe().expect("this binary"));
        command.args([ROLE, "--exact", "--ignored", "--nocapture", "--test-threads=1"]);
        command.env(CONFIG, &config).env_remove(CRASH_POINT).env_remove(logging::ENV_FILTER);
        if let Some((point, nth)) = life.dies_at {
            command.env(CRASH_POINT, format!("{}:{nth}", point.name()));
        }
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(output);
        Process { child: command.spawn().expect("this binary runs"), log }
    }

    /// Whether it has ended.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().expect("our own child")
    }

    /// Kills it (SIGKILL).
    pub fn kill(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// Asks it to stop (SIGTERM).
    pub fn ask_to_stop(&self) {
        kill_process(Pid::from_child(&self.child), Signal::TERM).expect("our own child");
    }

    /// Waits until it has ended, and gives its exit code.
    pub fn wait(&mut self) -> Option<i32> {
        self.until("it ends", |process| process.ended()).code()
    }

    /// Asks it to stop, and waits until it has; it must do so without an error.
    pub fn stop(&mut self) {
        self.ask_to_stop();
        assert_eq!(self.wait(), Some(0), "{}", self.said());
    }

    /// Everything that it has logged.
    pub fn said(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// The log lines that say this.
    pub fn lines(&self, message: &str) -> Vec<Value> {
        let said = self.said();
        let lines = said.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        lines.filter(|line| line["message"].as_str() == Some(message)).collect()
    }

    /// The crash point at which it died, if it did.
    pub fn died_at(&self) -> Option<CrashPoint> {
        let said = self.said();
        let name = said.lines().find_map(|line| line.strip_prefix("crash point "))?;
        CrashPoint::ALL.iter().copied().find(|point| point.name() == name)
    }

    /// Where its API listens, once it does.
    pub fn api(&self) -> Option<SocketAddr> {
        self.lines("api listening").first()?["listen"].as_str()?.parse().ok()
    }

    /// What its API answers.
    pub fn ask(&self, path: &str) -> Option<String> {
        let mut stream = TcpStream::connect(self.api()?).ok()?;
        stream.set_read_timeout(Some(Duration::from_secs(5))).ok()?;
        let request = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).ok()?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).ok()?;
        answer.split_once("\r\n\r\n").map(|(_, body)| body.to_owned())
    }

    /// Sequence of the last message that it has worked through.
    pub fn position(&self) -> Option<u64> {
        serde_json::from_str::<Value>(&self.ask("/state")?).ok()?["log"]["position"].as_u64()
    }

    /// Waits for something that comes by itself.
    pub fn until<T>(&mut self, what: &str, mut look: impl FnMut(&mut Self) -> Option<T>) -> T {
        let until = Instant::now() + PATIENCE;
        loop {
            if let Some(found) = look(self) {
                return found;
            }
            assert!(Instant::now() < until, "waited in vain until {what}:\n{}", self.said());
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}

/// The other side: this process is a worker. Returns only where it was not started as one.
pub fn be_the_worker() {
    let Some(path) = std::env::var_os(CONFIG) else { return };
    let loaded = Config::load(Some(Path::new(&path)), std::iter::empty(), &[]);
    let config = loaded.unwrap_or_else(|errors| panic!("{errors}")).config;
    logging::init(&config.log).expect("the only one that logs");
    let mut runtime = tokio::runtime::Builder::new_multi_thread();
    let runtime = runtime.worker_threads(2).enable_all().build().expect("a runtime");
    let read_rules = || Ok(rules(&config));
    let api = Access::read(&config.api).expect("it listens on loopback");
    let ended = runtime.block_on(service::run(&config, api.as_ref(), &read_rules));
    if let Err(error) = &ended {
        eprintln!("error: {error:#}");
    }
    std::process::exit(i32::from(ended.is_err()));
}

fn rules(config: &Config) -> RulesMessage {
    let mut files = Vec::new();
    for path in &config.rules.paths {
        let paths = match std::fs::read_dir(path) {
            Ok(entries) => entries.map(|entry| entry.expect("an entry").path()).collect(),
            Err(_) => vec![PathBuf::from(path)],
        };
        // Beside the rules lie their tests.
        let is_rules = |path: &PathBuf| {
            let name = path.to_string_lossy();
            name.ends_with(".yaml") && !name.ends_with(".test.yaml")
        };
        let paths = paths.into_iter().filter(is_rules);
        files.extend(paths.map(|path| RuleFile {
            name: path.display().to_string(),
            text: std::fs::read_to_string(&path).expect("a rule file"),
        }));
    }
    files.sort_by(|a, b| a.name.cmp(&b.name));
    RulesMessage { files, settings: config.engine.settings(), ..RulesMessage::default() }
}
