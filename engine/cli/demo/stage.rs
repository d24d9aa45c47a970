//! The folder and the processes of the demo: started in order, ended in the opposite one, each by its own process id.

use std::fs::{DirBuilder, File};
use std::io::{ErrorKind, Read, Seek, SeekFrom, Write};
use std::net::{Ipv4Addr, TcpListener};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, anyhow, bail};
use rustix::process::{Pid, Signal, kill_process};
use tokio::process::{Child, Command};
use tokio::time::{Instant, sleep, timeout};

use crate::cli::exit::CliError;
use crate::cli::http::{self, Target};

/// How long server and worker may take to be there: far more than they need, for busy machines.
const START_MAX: Duration = Duration::from_secs(60);
/// How long a process may take to end by itself.
const END_MAX: Duration = Duration::from_secs(10);
/// How often to look whether something is there.
const LOOK_EVERY: Duration = Duration::from_millis(25);
/// How much of a log is shown when its process fails.
const LOG_TAIL_BYTES: u64 = 2_000;

/// A temporary folder and what runs in it. Dropped without [`Stage::end`], everything is killed.
pub struct Stage {
    /// In the order in which they were started.
    children: Vec<(&'static str, Child)>,
    folder: Folder,
}

impl Stage {
    /// An empty stage.
    pub fn new(keep: bool) -> Result<Self, CliError> {
        Ok(Stage { children: Vec::new(), folder: Folder::new(keep)? })
    }

    /// Where everything lies.
    pub fn folder(&self) -> &Path {
        &self.folder.path
    }

    /// Starts a nats-server with JetStream on a free loopback port, and gives its address.
    pub async fn start_server(&mut self, program: &Path) -> Result<String, CliError> {
        let config = self.folder().join("nats.conf");
        let store = yaml(&self.folder().join("jetstream"));
        // The server takes a free port itself and writes down which: nobody can take it in between.
        std::fs::write(&config, format!("listen: \"127.0.0.1:-1\"\njetstream {{ store_dir: {store} }}\n"))?;
        let mut command = Command::new(program);
        command.arg("-c").arg(&config).arg("--ports_file_dir").arg(self.folder());
        let pid = match self.start("nats-server", command) {
            Err(error) if error.kind() == ErrorKind::NotFound => {
                let program = program.display();
                return Err(CliError::Usage(format!(
                    "cannot find {program}: `deploy/nats-server.sh` finds or fetches a nats-server; name it with \
                     --nats-server or NATS_SERVER_BIN"
                )));
            }
            started => started?,
        };
        let name = program.file_name().unwrap_or_default().to_string_lossy();
        let ports = self.folder().join(format!("{name}_{pid}.ports"));
        let until = Instant::now() + START_MAX;
        loop {
            // Written in one go, but not so renamed: what cannot be read yet is read again.
            let text = std::fs::read(&ports).unwrap_or_default();
            let url = serde_json::from_slice::<serde_json::Value>(&text).ok();
            let url = url.as_ref().and_then(|ports| ports.pointer("/nats/0")?.as_str());
            if let Some(url) = url {
                return Ok(url.to_owned());
            }
            self.all_alive()?;
            if Instant::now() > until {
                return Err(self.failed("nats-server", "does not start").into());
            }
            sleep(LOOK_EVERY).await;
        }
    }

    /// Starts a worker of this program with settings of its own, and gives the address of its API once it is ready.
    pub async fn start_worker(&mut self, url: &str, rules: &Path) -> Result<String, CliError> {
        let rules =
            std::fs::canonicalize(rules).with_context(|| format!("cannot read {}", rules.display()))?;
        let api = format!("127.0.0.1:{}", free_port()?);
        let (rules, state) = (yaml(&rules), yaml(&self.folder().join("state")));
        let settings = self.folder().join("sightline.yaml");
        // Ticks come fast, as a person waits for the last update. Small streams fit on any disk.
        let text = format!(
            "nats:\n  url: {url}\nstreams:\n  events_max_bytes: 256MiB\n  incidents_max_bytes: 64MiB\n  \
             deadletter_max_bytes: 64MiB\nrules:\n  paths: [{rules}]\nworker:\n  tick_every: 200ms\nstate:\n  \
             dir: {state}\n  checkpoint_every: 1s\napi:\n  listen: {api}\nlog:\n  format: json\n"
        );
        std::fs::write(&settings, text)?;
        for arguments in [&["stream", "setup"][..], &["run"]] {
            let mut command = Command::new(std::env::current_exe().context("cannot find this program")?);
            command.args(arguments).arg("--config").arg(&settings);
            if arguments == ["run"] {
                self.start("sightline", command)?;
            } else {
                self.start("setup", command)?;
                self.finished("setup").await?;
            }
        }
        let until = Instant::now() + START_MAX;
        loop {
            match http::get(&Target::local(&api), "/readyz").await {
                Ok(answer) if answer.status == 200 => return Ok(api),
                _ => {}
            }
            self.all_alive()?;
            if Instant::now() > until {
                return Err(self.failed("sightline", "is not ready").into());
            }
            sleep(LOOK_EVERY).await;
        }
    }

    /// Starts to replay events. The progress bar and what it says at the end go to our stderr.
    pub fn start_replay(&mut self, url: &str, events: &Path) -> Result<(), CliError> {
        let own = std::env::current_exe().context("cannot find this program")?;
        let program = own.with_file_name("sightline-replay");
        let mut command = Command::new(&program);
        command.args(["--url", url, "--tenant", "default"]).arg(events).stderr(Stdio::inherit());
        match self.start("replay", command) {
            Ok(_) => Ok(()),
            Err(error) if error.kind() == ErrorKind::NotFound => Err(CliError::Usage(format!(
                "cannot find {}: build it with `cargo build --workspace`",
                program.display()
            ))),
            Err(error) => Err(error.into()),
        }
    }

    /// Starts a process and gives its id. Its words go to a log file, where the command does not say otherwise.
    fn start(&mut self, name: &'static str, mut command: Command) -> std::io::Result<u32> {
        let log = File::create(self.log(name))?;
        if name != "replay" {
            command.stderr(log.try_clone()?);
        }
        // Settings meant for others must not reach the demo's own server and worker.
        for (variable, _) in std::env::vars_os() {
            let text = variable.to_string_lossy();
            if text.starts_with("NATS_") || text.starts_with("SIGHTLINE_") {
                command.env_remove(&variable);
            }
        }
        // A group of its own: Ctrl-C reaches us alone, and we end the others in order.
        let child = command.stdin(Stdio::null()).stdout(log).process_group(0).kill_on_drop(true).spawn()?;
        let pid = child.id().unwrap_or_default();
        self.children.push((name, child));
        Ok(pid)
    }

    /// Whether a process has ended well; an error if it has not ended well.
    pub fn has_ended(&mut self, name: &'static str) -> anyhow::Result<bool> {
        let Some(at) = self.children.iter().position(|(other, _)| *other == name) else { return Ok(true) };
        match self.children[at].1.try_wait()? {
            None => Ok(false),
            Some(status) if status.success() => {
                self.children.remove(at);
                Ok(true)
            }
            Some(status) => Err(self.failed(name, &format!("ended with {status}"))),
        }
    }

    async fn finished(&mut self, name: &'static str) -> anyhow::Result<()> {
        while !self.has_ended(name)? {
            sleep(LOOK_EVERY).await;
        }
        Ok(())
    }

    /// Makes sure that what should run does.
    pub fn all_alive(&mut self) -> anyhow::Result<()> {
        for at in 0..self.children.len() {
            let (name, child) = &mut self.children[at];
            let name = *name;
            if name == "replay" {
                continue;
            }
            if let Some(status) = child.try_wait()? {
                bail!(self.failed(name, &format!("ended with {status}")));
            }
        }
        Ok(())
    }

    fn log(&self, name: &str) -> PathBuf {
        self.folder().join(format!("{name}.log"))
    }

    /// An error with the last that the process said.
    fn failed(&self, name: &str, how: &str) -> anyhow::Error {
        let mut tail = Vec::new();
        if let Ok(mut log) = File::open(self.log(name)) {
            let length = log.metadata().map_or(0, |about| about.len());
            let read = log
                .seek(SeekFrom::Start(length.saturating_sub(LOG_TAIL_BYTES)))
                .and_then(|_| log.read_to_end(&mut tail));
            if let Err(error) = read {
                return anyhow!("{name} {how}, and its log cannot be read: {error}");
            }
        }
        let tail = String::from_utf8_lossy(&tail);
        anyhow!("{name} {how}; the end of its log:\n{}", tail.trim_end())
    }

    /// Ends everything that runs, last started first.
    pub async fn end(&mut self) {
        while let Some((_, mut child)) = self.children.pop() {
            end(&mut child).await;
        }
    }
}

/// Asks a process to end, and kills it if it does not.
async fn end(child: &mut Child) {
    // No id: it has ended and was waited for, and the number may be another process's by now.
    let Some(pid) = child.id().and_then(|id| Pid::from_raw(id.try_into().ok()?)) else { return };
    let asked = kill_process(pid, Signal::TERM);
    if asked.is_err() || timeout(END_MAX, child.wait()).await.is_err() {
        // Nothing is left to be done about a process that cannot even be killed.
        let _ = child.kill().await;
    }
}

/// A folder that nobody else can read, gone with the stage unless it is to be kept.
struct Folder {
    path: PathBuf,
    keep: bool,
}

impl Folder {
    fn new(keep: bool) -> Result<Self, CliError> {
        let own = std::process::id();
        for attempt in 0..100 {
            let path = std::env::temp_dir().join(format!("sightline-demo-{own}-{attempt}"));
            match DirBuilder::new().mode(0o700).create(&path) {
                Ok(()) => return Ok(Folder { path, keep }),
                Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
                Err(error) => {
                    return Err(anyhow!("cannot create the folder {}: {error}", path.display()).into());
                }
            }
        }
        Err(anyhow!("{} is full of folders of earlier demos", std::env::temp_dir().display()).into())
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        if !self.keep
            && let Err(error) = std::fs::remove_dir_all(&self.path)
        {
            // Not `eprintln`: it panics where stderr is gone.
            let _ = writeln!(std::io::stderr(), "cannot remove {}: {error}", self.path.display());
        }
    }
}

/// Nobody keeps it for us: a worker that comes too late says so and ends.
fn free_port() -> std::io::Result<u16> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port())
}

/// A path as a text in YAML, and in nats-server's own format.
fn yaml(path: &Path) -> String {
    serde_json::Value::from(path.to_string_lossy()).to_string()
}
