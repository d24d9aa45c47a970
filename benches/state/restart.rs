//! From the start of the process to ready, with 1,000,000 keys in the checkpoint: the program itself, on a nats-server.
//!
//! `cargo bench --bench state -- restart [KEYS]`; `NATS_SERVER_BIN` names the server.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::nats::NatsServer;
use crate::population::{RULES, event, home, line};
use futures_util::stream::{FuturesUnordered, StreamExt};
use rustix::process::{Pid, Signal, kill_process};
use sightline_schemas::EventTime;

const TARGET: Duration = Duration::from_secs(2);
const PROGRAM: &str = env!("CARGO_BIN_EXE_sightline");
const API: &str = "127.0.0.1:19464";

/// Runs it with these arguments.
pub fn run_with(arguments: &[String]) {
    let keys = arguments.first().map_or(1_000_000, |text| text.parse().expect("a number"));
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    runtime.expect("a runtime").block_on(run(keys));
}

async fn run(keys: u64) {
    let server = NatsServer::start();
    let home = home();
    let config = home.path().join("sightline.yaml");
    std::fs::write(home.path().join("rules.yaml"), RULES).expect("writable");
    let settings = format!(
        "nats: {{url: \"{}\"}}\nrules: {{paths: [{:?}]}}\nstate: {{dir: {:?}, checkpoint_every: 1s}}\n\
         api: {{listen: \"{API}\"}}\nlog: {{level: warn}}\n",
        server.url(),
        home.path().join("rules.yaml"),
        home.path().join("state"),
    );
    std::fs::write(&config, settings).expect("writable");
    let mut setup = Command::new(PROGRAM);
    setup.args(["stream", "setup", "--config"]).arg(&config).stdout(Stdio::null());
    assert!(setup.status().is_ok_and(|status| status.success()), "streams");

    let mut worker = start(&config);
    until_ready();
    let client = async_nats::connect(server.url()).await.expect("connected");
    let events = async_nats::jetstream::new(client);
    let mut under_way = FuturesUnordered::new();
    let mut now = EventTime::parse("2026-05-08T12:00:00Z").expect("a time");
    for number in 0..keys {
        now = now.plus(37);
        let body = event("auth.login_failed", &format!("host-{number:08}"), None, number, now);
        let sent = events.publish("events.default.sentry", body.into()).await.expect("sent");
        under_way.push(async move { sent.await.expect("stored") });
        if under_way.len() > 500 {
            under_way.next().await;
        }
    }
    while under_way.next().await.is_some() {}
    until(|state| state["log"]["position"].as_u64() >= Some(keys) && state["keys"].as_u64() >= Some(keys));
    stop(&mut worker);

    let mut times = Vec::new();
    for _ in 0..5 {
        let began = Instant::now();
        let mut worker = start(&config);
        until_ready();
        times.push(began.elapsed());
        until(|state| state["keys"].as_u64() >= Some(keys));
        stop(&mut worker);
    }
    times.sort();
    let median = times[times.len() / 2].as_secs_f64();
    line(&format!("restart_to_ready_{keys}_keys"), median, TARGET.as_secs_f64(), "s");
    println!("  {times:.2?}");
}

fn start(config: &Path) -> Child {
    let mut run = Command::new(PROGRAM);
    run.arg("run").arg("--config").arg(config).spawn().expect("the program")
}

fn stop(worker: &mut Child) {
    kill_process(Pid::from_child(worker), Signal::TERM).expect("our own child");
    assert!(worker.wait().is_ok_and(|status| status.success()), "it stops without an error");
}

fn ask(path: &str) -> Option<(bool, String)> {
    let mut stream = TcpStream::connect(API).ok()?;
    stream
        .write_all(format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").as_bytes())
        .ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    let is_ok = answer.starts_with("HTTP/1.1 200");
    Some((is_ok, answer.split_once("\r\n\r\n")?.1.to_owned()))
}

fn until_ready() {
    while !ask("/readyz").is_some_and(|(is_ok, _)| is_ok) {
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn until(holds: impl Fn(&serde_json::Value) -> bool) {
    loop {
        let state = ask("/state").and_then(|(_, body)| serde_json::from_str(&body).ok());
        if state.is_some_and(|state| holds(&state)) {
            return;
        }
        std::thread::sleep(Duration::from_millis(50));
    }
}
