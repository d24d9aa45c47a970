//! The binary as people and scripts use it: what it prints where, and how it ends.

mod support;

use std::io::{BufRead, BufReader, Read};
use std::path::PathBuf;
use std::process::{Child, Stdio};

use rustix::process::{Pid, Signal, kill_process};
use support::cli::{check, file, folder, run, sightline, told};
use support::nats::NatsServer;

const TRUTH: &str = "tests/data/demo_truth.json";
const EVENTS: &str = "tests/data/demo.ndjson";

#[test]
fn usage_errors_end_with_3_and_help_with_0() {
    check(&["--help"], 0, &[]);
    check(&["backtest", "--help"], 0, &[]);
    check(&["--version"], 0, &[]);
    check(&[], 3, &["Usage:"]);
    check(&["tial"], 3, &["unrecognized subcommand", "tail"]);
    check(&["check", "--format", "xml"], 3, &["invalid value 'xml'"]);
    check(&["backtest"], 3, &["required"]);
    check(&["--set", "worker.partitions", "config", "show"], 3, &["expected PATH=VALUE"]);
    check(&["check", "no/such/rules"], 3, &["cannot read rules from no/such/rules"]);
    check(&["backtest", "--rules", "rules", "--truth", EVENTS, EVENTS], 3, &["is no truth file"]);
    check(
        &["state", "--api", "https://127.0.0.1:1"],
        3,
        &["say who vouches for its certificate with --ca FILE"],
    );
    check(&["tail", "--since", "yesterday"], 3, &["expected `all`, `new`, or a duration"]);
}

#[test]
fn what_the_world_refuses_ends_with_1() {
    check(&["backtest", "--rules", "rules", "no/such/file"], 1, &["cannot read events from no/such/file"]);
    // A port that was free a moment ago.
    check(
        &["--nats-url", "nats://127.0.0.1:1", "stream", "setup"],
        1,
        &["cannot connect to nats://127.0.0.1:1"],
    );
    check(&["state", "--api", "127.0.0.1:1"], 1, &["cannot ask http://127.0.0.1:1/state"]);
}

#[test]
fn rules_that_are_right_are_counted() {
    let (code, out, err) = run(&["check", "rules"]);
    assert_eq!((code, &*err), (0, ""));
    assert!(out.starts_with("ok: 42 rules in 7 files"), "{out}");
    let (code, out, _) = run(&["check", "--format", "json", "rules/trace.yaml"]);
    let report: serde_json::Value = serde_json::from_str(&out).expect("JSON");
    // Rules of a group keep their state together.
    let expected = serde_json::json!({"ok": true, "files": 1, "rules": 3, "units": 1, "problems": []});
    assert_eq!((code, report), (0, expected));
}

const BROKEN: &str = "\
rules:
  - id: first
    title: One
    severity: hihg
    window: 5x
    steps:
      - name: a
        match: {source: edr, field_equal: {x: 1}}
";

#[test]
fn all_that_is_wrong_with_rules_is_told_at_once_and_ends_with_2() {
    let dir = folder();
    let broken = file(dir.path(), "broken.yaml", BROKEN);
    check(
        &["check", &broken],
        2,
        &[
            "broken.yaml:4:15",
            "hihg",
            "broken.yaml:5:13",
            "5x",
            "broken.yaml:8:30",
            "field_equals",
            "3 errors",
        ],
    );
    // The same words wherever rules are read.
    check(&["backtest", "--rules", &broken, EVENTS], 2, &["broken.yaml:4:15", "broken.yaml:8:30"]);
    let settings = format!("rules.paths={broken}");
    check(&["run", "--set", &settings], 2, &["broken.yaml:4:15", "broken.yaml:8:30"]);

    let (code, out, _) = run(&["check", "--format", "json", &broken]);
    let report: serde_json::Value = serde_json::from_str(&out).expect("JSON");
    let places: Vec<(u64, u64)> = report["problems"]
        .as_array()
        .expect("a list")
        .iter()
        .filter_map(|problem| Some((problem["line"].as_u64()?, problem["column"].as_u64()?)))
        .collect();
    assert_eq!((code, &report["ok"], &places[..]), (2, &false.into(), &[(4, 15), (5, 13), (8, 30)][..]));
}

#[test]
fn colour_is_for_those_who_want_it() {
    let dir = folder();
    let broken = file(dir.path(), "broken.yaml", BROKEN);
    let colored = |arguments: &[&str]| run(arguments).2.contains('\x1b');
    assert!(!colored(&["check", &broken]), "no terminal, no colour");
    assert!(colored(&["--color", "always", "check", &broken]));
    assert!(!colored(&["--color", "never", "check", &broken]));
}

#[test]
fn two_backtests_say_the_same_byte_for_byte() {
    let arguments = ["backtest", "--rules", "rules", EVENTS];
    let (code, first, words) = run(&arguments);
    assert_eq!(code, 0);
    assert!(words.contains("incidents opened  34"), "{words}");
    let with = |more: &[&str]| run(&[&arguments[..], more].concat()).1;
    assert!(!first.is_empty() && first == with(&[]));
    assert!(first == with(&["--set", "worker.partitions=4", "--set", "worker.batch_messages=7"]));
    let text = with(&["--format", "text"]);
    assert!(text == with(&["--format", "text"]) && !text.contains('\x1b'));
    assert!(text.contains(" CRITICAL  spray_roast_fan_out  user=pgustavo\n"), "{text}");
}

#[test]
fn backtest_reads_standard_input() {
    let events = std::fs::File::open(EVENTS).expect("the events");
    let output = sightline(&["backtest", "--rules", "rules", "-"]).stdin(events).output();
    let (code, out, _) = told(output.expect("it runs"));
    assert_eq!((code, out), (0, run(&["backtest", "--rules", "rules", EVENTS]).1));
}

#[test]
fn what_is_found_in_the_recorded_intrusions_is_what_is_in_them() {
    let arguments = ["backtest", "--rules", "rules", "--truth", TRUTH, EVENTS];
    check(&arguments, 0, &["22 of 22 expected firings found, 0 missing, 0 extra"]);
}

#[test]
fn a_firing_that_is_missing_or_extra_or_different_ends_with_1() {
    let dir = folder();
    let truth = std::fs::read_to_string(TRUTH).expect("the truth");
    let mut truth: serde_json::Value = serde_json::from_str(&truth).expect("JSON");
    let expected = truth["expected"].as_array_mut().expect("a list");
    // The first is no longer known of, the second was run later, and the last was never there.
    expected.remove(0);
    expected[0]["last"] = "2023-08-16T00:34:59Z".into();
    let mut other = expected.last().expect("not empty").clone();
    other["host"] = "ELSEWHERE".into();
    expected.push(other);
    let wrong = file(dir.path(), "truth.json", &truth.to_string());
    let arguments = ["backtest", "--rules", "rules", "--truth", &wrong, EVENTS];
    check(&arguments, 1, &["EXTRA", "MISSING", "elsewhere", "DIFFERS in run: expected 2023-08-16t00:34:59z"]);
    check(&arguments, 1, &["20 of 22 expected firings found, 1 missing, 1 extra, 1 that differ"]);
}

#[test]
fn lines_that_are_no_event_are_told_and_end_with_1_only_if_asked() {
    let dir = folder();
    let events = file(dir.path(), "events.ndjson", "{\"source\":\"edr\"\nnonsense\n");
    check(&["backtest", "--rules", "rules", &events], 0, &["line 2: not taken:", "dead letters      2"]);
    check(&["backtest", "--rules", "rules", "--strict", &events], 1, &["dead letters      2"]);
}

#[test]
fn a_reader_who_has_had_enough_is_no_error() {
    let mut child = sightline(&["backtest", "--rules", "rules", EVENTS])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("it runs");
    let mut first = String::new();
    let mut out = BufReader::with_capacity(64, child.stdout.take().expect("a pipe"));
    out.read_line(&mut first).expect("a line");
    drop(out);
    let (code, _, err) = told(child.wait_with_output().expect("it ends"));
    assert_eq!((code, &*err), (0, ""), "after {first}");
}

#[test]
fn the_template_is_a_settings_file_that_changes_nothing() {
    let (code, template, _) = run(&["config", "template"]);
    assert_eq!(code, 0);
    let dir = folder();
    let path = file(dir.path(), "sightline.yaml", &template);
    check(&["--config", &path, "config", "check"], 0, &[]);
    let values = |shown: String| -> Vec<String> {
        shown.lines().map(|line| line.split("  #").next().unwrap_or_default().trim_end().to_owned()).collect()
    };
    let (_, with_file, _) = run(&["--config", &path, "config", "show"]);
    let (_, defaults, _) = run(&["config", "show"]);
    assert!(with_file.contains("sightline.yaml:"), "{with_file}");
    assert_eq!(values(with_file), values(defaults));
}

#[test]
fn the_shipped_settings_can_be_used() {
    check(&["--config", "deploy/sightline.yaml", "config", "check"], 0, &[]);
}

#[test]
fn config_show_says_where_a_value_comes_from() {
    let dir = folder();
    let path =
        file(dir.path(), "own.yaml", "worker:\n  partitions: 2\nnats:\n  password: geheim\n  user: u\n");
    let mut command =
        sightline(&["config", "show", "--set", "worker.batch_wait=9ms", "--log-level", "debug"]);
    let output = command.env("SIGHTLINE_CONFIG", &path).env("NATS_URL", "nats://bus:4222").output();
    let (code, out, err) = told(output.expect("it runs"));
    assert_eq!((code, &*err), (0, ""));
    for (value, origin) in [
        ("partitions: 2", "own.yaml:2:15"),
        ("url: nats://bus:4222", "env NATS_URL"),
        ("batch_wait: 9ms", "flag worker.batch_wait"),
        ("level: debug", "flag log.level"),
        ("tick_every: 1s", "default"),
        ("password: \"***\"", "own.yaml:4:13"),
    ] {
        let line = out.lines().find(|line| line.trim_start().starts_with(value)).unwrap_or_default();
        assert!(line.ends_with(origin), "{value}: {line:?} in\n{out}");
    }
    assert!(!out.contains("geheim"), "{out}");
}

#[test]
fn all_that_is_wrong_with_settings_is_told_at_once_and_ends_with_3() {
    let dir = folder();
    let path = file(dir.path(), "own.yaml", "worker:\n  partition: 2\nlog:\n  level: loud\n");
    let words =
        ["own.yaml:2:3", "did you mean `worker.partitions`?", "own.yaml:4:10", "unknown setting `nats.urk`"];
    check(&["--config", &path, "--set", "nats.urk=x", "config", "check"], 3, &words);
    check(&["--config", &path, "--set", "nats.urk=x", "run"], 3, &words);
    check(
        &["--set", "api.listen=0.0.0.0:9464", "config", "check"],
        3,
        &["can be reached from other machines"],
    );
}

#[test]
fn an_incident_command_that_means_nothing_is_not_sent() {
    let id = "0123456789abcdef0123456789abcdef";
    let set = |more: &[&str], words: &[&str]| check(&[&["incident", "set"], more].concat(), 3, words);
    set(&["12", "closed"], &["expected 32 hexadecimal digits"]);
    set(
        &[id, "done"],
        &["status \"done\": use open, triaged, investigating, contained, resolved, dismissed"],
    );
    set(&[id, "resolved", "--resolution", "won"], &["resolution \"won\": use fixed, false_positive"]);
    set(&[id, "open", "--resolution", "fixed"], &["takes no resolution"]);
}

#[test]
fn completions_and_man_pages_know_every_command() {
    for shell in ["bash", "zsh", "fish"] {
        let (code, out, _) = run(&["completions", shell]);
        assert!(code == 0 && out.contains("backtest"), "{shell}");
    }
    assert!(run(&["man"]).1.contains(".TH sightline 1"));
    let dir = folder();
    let pages = dir.path().join("man1");
    assert_eq!(run(&["man", pages.to_str().expect("UTF-8")]).0, 0);
    assert!(pages.join("sightline-stream-setup.1").is_file());
}

#[test]
fn streams_are_set_up_and_a_command_is_stored() {
    let server = NatsServer::start();
    let url = server.url();
    let on_server = |more: &[&str]| run(&[&["--nats-url", &url, "--color", "never"], more].concat());
    let (code, out, err) = on_server(&["stream", "setup"]);
    assert!(code == 0 && out.matches("created").count() == 4, "{out}\n{err}");
    let (_, again, _) = on_server(&["stream", "setup"]);
    assert_eq!(again.matches("unchanged").count(), 4, "{again}");

    let id = "0123456789abcdef0123456789abcdef";
    let (code, out, err) = on_server(&["incident", "set", id, "closed", "--actor", "anna"]);
    assert_eq!((code, out), (0, format!("stored as EVENTS 1: {id} closed\n")), "{err}");
}

/// A backtest's first incident, as a worker would publish it.
fn an_incident() -> String {
    let (_, messages, _) = run(&["backtest", "--rules", "rules", EVENTS]);
    messages.lines().next().expect("an incident").to_owned()
}

fn publish(url: &str, subject: &str, body: &str) {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    runtime.block_on(async {
        let bus = async_nats::jetstream::new(async_nats::connect(url).await.expect("connected"));
        let sent = bus.publish(subject.to_owned(), body.to_owned().into()).await.expect("sent");
        sent.await.expect("stored");
    });
}

#[test]
fn tail_follows_what_is_asked_for_across_a_restart_of_the_server() {
    let mut server = NatsServer::start();
    let url = server.url();
    assert_eq!(run(&["--nats-url", &url, "stream", "setup"]).0, 0);
    let incident = an_incident();
    publish(&url, "incidents.other.medium.password_spray", &incident);
    publish(&url, "incidents.default.medium.password_spray", &incident);
    let arguments = ["tail", "--since", "all", "--tenant", "default", "--format", "json", "--nats-url", &url];
    let mut tail =
        sightline(&arguments).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().expect("it runs");
    let mut lines = BufReader::new(tail.stdout.take().expect("a pipe"));
    let mut line = String::new();
    lines.read_line(&mut line).expect("a line");
    assert_eq!(line.trim_end(), incident);
    server.restart();
    let later = incident.replace("\"version\":1", "\"version\":2");
    publish(&url, "incidents.default.medium.password_spray", &later);
    line.clear();
    lines.read_line(&mut line).expect("a line");
    assert_eq!(line.trim_end(), later, "the next one, not the first again");
    send(&tail, Signal::INT);
    assert_eq!(tail.wait().expect("it ends").code(), Some(0));
    let mut rest = String::new();
    lines.read_to_string(&mut rest).expect("the rest");
    assert_eq!(rest, "", "the other tenant's is not shown");
}

fn send(child: &Child, signal: Signal) {
    kill_process(Pid::from_child(child), signal).expect("our own child");
}

/// The replayer is another crate's program: there only where the whole workspace was built.
fn replayer() -> Option<PathBuf> {
    let path = assert_cmd::cargo::cargo_bin!("sightline").with_file_name("sightline-replay");
    path.is_file().then_some(path)
}

#[test]
fn the_demo_finds_what_is_there_and_leaves_nothing_behind() {
    let Some(_) = replayer() else {
        eprintln!("left out: sightline-replay is not built; `cargo build --workspace` builds it");
        return;
    };
    let dir = folder();
    let mut command = sightline(&["demo"]);
    command.env("NATS_SERVER_BIN", support::nats::binary()).env("TMPDIR", dir.path());
    // Settings for another server and worker do not reach the demo.
    command.env("NATS_URL", "nats://127.0.0.1:1").env("SIGHTLINE_WORKER_PARTITIONS", "3");
    let (code, out, err) = told(command.output().expect("it runs"));
    assert_eq!(code, 0, "{out}\n{err}");
    assert!(out.contains("22 of 22 expected firings found, 0 missing, 0 extra"), "{out}");
    assert!(out.contains(" CRITICAL  drop_run_dump  host_id=mkt01.pandalab.com\n"), "{out}");
    let left: Vec<_> = std::fs::read_dir(dir.path()).expect("the folder").collect();
    assert!(left.is_empty(), "{left:?}");
}

#[test]
fn an_interrupted_demo_ends_what_it_started() {
    // Ctrl-C, and the terminal closed.
    for signal in [Signal::INT, Signal::HUP] {
        interrupted_demo(signal);
    }
}

fn interrupted_demo(signal: Signal) {
    let dir = folder();
    let mut command = sightline(&["demo"]);
    command.env("NATS_SERVER_BIN", support::nats::binary()).env("TMPDIR", dir.path()).stdout(Stdio::null());
    let mut demo = command.stderr(Stdio::piped()).spawn().expect("it runs");
    let mut words = BufReader::new(demo.stderr.take().expect("a pipe"));
    let mut line = String::new();
    words.read_line(&mut line).expect("a line");
    let address = line.rsplit("nats://").next().expect("an address").trim().to_owned();
    assert!(std::net::TcpStream::connect(&address).is_ok(), "{line}");
    send(&demo, signal);
    assert_eq!(demo.wait().expect("it ends").code(), Some(1));
    assert!(std::net::TcpStream::connect(&address).is_err(), "the server is still there");
    assert_eq!(std::fs::read_dir(dir.path()).expect("the folder").count(), 0);
}

#[test]
fn the_demo_says_what_it_misses() {
    let mut command = sightline(&["demo", "--nats-server", "/no/such/nats-server"]);
    let (code, _, err) = told(command.output().expect("it runs"));
    assert!(code == 3 && err.contains("deploy/nats-server.sh"), "{err}");
    check(&["demo", "--truth", "no/such/file"], 3, &["cannot read no/such/file"]);
}
