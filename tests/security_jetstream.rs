//! Who may do what on the bus, on a real server with the configurations of `deploy/`: the whole way of an event works
//! under those roles, and everything else is refused.

mod support;

use std::io::{BufRead, BufReader};
use std::process::{Child, Stdio};
use std::time::Duration;

use async_nats::HeaderMap;
use async_nats::jetstream::{self, stream::Info};
use futures_util::StreamExt;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use sightline::bus::BusError;
use sightline::bus::jetstream::{ConnectSettings, FirstConnect, connect};
use sightline_producers::{Connect, Message, Publisher, PublisherConfig};
use sightline_schemas::wire::Form;
use support::certificates::Authority;
use support::nats::folder;
use support::site::{PATIENCE, Player, Proof, Site};

const RULES: &str = "\
rules:
  - id: two_steps
    title: First and then second
    severity: high
    window: 5m
    by: [host_id]
    steps:
      - name: one
        match: {source: edr, kind: one}
      - name: two
        match: {source: edr, kind: two}
";

/// A worker as a process, ended with the test.
struct Worker(Child);

impl Worker {
    fn start(site: &Site) -> Self {
        let rules = site.file("rules.yaml");
        std::fs::write(&rules, RULES).expect("written");
        let set = |path: &str, value: &std::path::Path| format!("{path}={}", value.display());
        let arguments = [
            "run",
            "--set",
            &set("rules.paths", &rules),
            "--set",
            &set("state.dir", &site.file("state")),
            "--set",
            "api.listen=",
            "--set",
            "log.format=json",
        ];
        let log = std::fs::File::create(site.file("worker.log")).expect("a log");
        let mut command = site.command("engine", &arguments);
        Worker(command.stdout(Stdio::null()).stderr(log).spawn().expect("it runs"))
    }

    /// Asks it to stop, and gives its exit code.
    fn stop(mut self) -> Option<i32> {
        kill_process(Pid::from_child(&self.0), Signal::TERM).expect("our own child");
        self.0.wait().expect("it ends").code()
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn done(command: &mut std::process::Command) -> String {
    let output = command.output().expect("it runs");
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("UTF-8")
}

/// The producers' own library, as the role of a producer.
async fn publish(site: &Site, events: &[Value]) {
    let mut to = Connect::to(site.url());
    to.ca = Some(site.authority.file.clone());
    to.inbox_prefix = Some("_INBOX_producer_edr".to_owned());
    match site.proof {
        Proof::Nkey => to.nkey = Some(site.file("producer_edr.nk")),
        Proof::Certificate => {
            to.cert = Some(site.file("producer_edr.pem"));
            to.key = Some(site.file("producer_edr.key"));
        }
    }
    let publisher =
        Publisher::start(to.open("test").await.expect("connected"), PublisherConfig::default()).await;
    let publisher = publisher.expect("it may hear its answers");
    for event in events {
        let message = Message::raw("default", "edr", event.to_string(), Form::Json);
        publisher.publish(message).await.expect("taken");
    }
    publisher.flush().await.expect("stored");
}

fn event(kind: &str, second: u32) -> Value {
    json!({"source": "edr", "source_event_id": format!("{kind}-{second}"), "kind": kind, "host_id": "web-01",
           "occurred_at": format!("2026-05-08T12:00:{second:02}Z")})
}

async fn stream(site: &Site, name: &str) -> Info {
    let operator = jetstream::new(site.client("operator").await.client);
    operator.get_stream(name).await.expect("a stream").cached_info().clone()
}

async fn next(heard: &mut async_nats::Subscriber) -> Value {
    let message = tokio::time::timeout(PATIENCE, heard.next()).await.expect("in time").expect("subscribed");
    serde_json::from_slice(&message.payload).expect("an incident")
}

/// Waits until a stream holds this many messages: what was published before it is worked off.
async fn holds(site: &Site, name: &str, messages: u64) {
    let arrived = async {
        while stream(site, name).await.state.messages < messages {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let log = || std::fs::read_to_string(site.file("worker.log")).unwrap_or_default();
    tokio::time::timeout(PATIENCE, arrived)
        .await
        .unwrap_or_else(|_| panic!("{name}: {}\n{}", log(), site.server.log()));
}

/// From the making of the streams to a changed status, each by who may do it.
async fn the_whole_way(proof: Proof) {
    let site = Site::start(proof);
    let table = done(&mut site.command("operator", &["stream", "setup"]));
    assert_eq!(table.matches("created").count(), 4, "{table}");
    let dashboard = site.client("dashboard").await;
    let mut incidents = dashboard.hears("incidents.default.>").await;

    let worker = Worker::start(&site);
    // Its rules hold from where they are announced on.
    holds(&site, "EVENTS", 1).await;
    publish(&site, &[event("one", 1), event("two", 2)]).await;
    let opened = next(&mut incidents).await;
    assert_eq!(
        (&opened["change"], &opened["incident"]["rule"]["id"]),
        (&json!("opened"), &json!("two_steps")),
        "{opened}"
    );

    let id = opened["incident"]["id"].as_str().expect("an id");
    done(&mut site.command("analyst", &["incident", "set", id, "triaged"]));
    let changed = next(&mut incidents).await;
    assert_eq!(
        (&changed["change"], &changed["incident"]["status"]),
        (&json!("status_changed"), &json!("triaged")),
        "{changed}"
    );

    // What cannot be read is kept by the engine.
    let raw = Message::raw("default", "edr", "rubbish", Form::Json);
    let producer = site.client("producer_edr").await.client;
    producer.publish(raw.subject().to_owned(), raw.body().clone()).await.expect("sent");
    holds(&site, "DEADLETTER", 1).await;

    // Those who operate look, too.
    let mut tail = site.command("operator", &["tail", "--since", "all", "--format", "json"]);
    let mut tail = tail.stdout(Stdio::piped()).spawn().expect("it runs");
    let mut line = String::new();
    BufReader::new(tail.stdout.take().expect("a pipe")).read_line(&mut line).expect("a line");
    tail.kill().expect("our own child");
    tail.wait().expect("it ends");
    assert_eq!(serde_json::from_str::<Value>(&line).expect("JSON"), opened);

    assert_eq!(worker.stop(), Some(0));
    // It goes on under the same permissions, and its consumers are no longer there.
    let worker = Worker::start(&site);
    publish(&site, &[event("one", 30), event("two", 31)]).await;
    assert_eq!(next(&mut incidents).await["change"], "updated");
    assert_eq!(worker.stop(), Some(0));
    let log = std::fs::read_to_string(site.file("worker.log")).expect("a log");
    assert!(!log.contains("bus_server_error"), "{log}");
    assert!(!site.server.log().contains("Violation"), "{}", site.server.log());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_whole_way_of_an_event_works_under_the_roles_of_nkeys() {
    the_whole_way(Proof::Nkey).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_whole_way_of_an_event_works_under_the_roles_of_certificates() {
    the_whole_way(Proof::Certificate).await;
}

/// What each role may not publish, and may not hear.
const FORBIDDEN: [(&str, &[&str], &[&str]); 5] = [
    (
        "producer_edr",
        &[
            "events.other.edr",
            "events.default.iris",
            "events.default",
            "evidence.other.edr",
            "evidence.default.iris",
            "incidents.default.high.two_steps",
            "deadletter.default.edr",
            "control.rules",
            "control.tick",
            "control.default.incident",
            "$JS.API.INFO",
            "$JS.API.STREAM.INFO.EVENTS",
            "$JS.API.STREAM.CREATE.MINE",
            "$JS.API.STREAM.PURGE.EVENTS",
            "$JS.API.STREAM.DELETE.EVENTS",
            "$JS.API.STREAM.MSG.GET.EVENTS",
            "$JS.API.DIRECT.GET.EVENTS",
            "$JS.API.CONSUMER.CREATE.EVENTS",
            "$JS.API.CONSUMER.CREATE.INCIDENTS",
            "_INBOX_engine.x",
            "_INBOX_dashboard.x",
        ],
        &[
            "events.>",
            "events.default.edr",
            "incidents.>",
            "control.>",
            "deadletter.>",
            "_INBOX_engine.>",
            "_INBOX.>",
            ">",
        ],
    ),
    (
        "dashboard",
        &[
            "incidents.default.high.two_steps",
            "events.default.edr",
            "control.default.incident",
            "control.rules",
            "$JS.API.STREAM.INFO.INCIDENTS",
            "$JS.API.STREAM.MSG.GET.INCIDENTS",
            "$JS.API.STREAM.PURGE.INCIDENTS",
            "$JS.API.CONSUMER.CREATE.INCIDENTS",
            "$JS.API.CONSUMER.CREATE.INCIDENTS.mine.incidents.default.>",
            "$JS.API.CONSUMER.CREATE.EVENTS",
            "_INBOX_engine.x",
        ],
        &[
            "incidents.other.>",
            "incidents.>",
            "events.>",
            "control.>",
            "deadletter.>",
            "_INBOX_engine.>",
            "_INBOX_analyst.>",
            ">",
        ],
    ),
    (
        "analyst",
        &[
            "control.other.incident",
            "control.rules",
            "control.tick",
            "events.default.edr",
            "incidents.default.high.two_steps",
            "$JS.API.STREAM.MSG.GET.INCIDENTS",
            "$JS.API.CONSUMER.CREATE.INCIDENTS",
        ],
        &[
            "incidents.other.>",
            "incidents.>",
            "events.>",
            "control.>",
            "deadletter.>",
            "_INBOX_dashboard.>",
            ">",
        ],
    ),
    (
        "engine",
        &[
            "events.default.edr",
            "evidence.default.edr",
            "control.default.incident",
            "$JS.API.STREAM.CREATE.MINE",
            "$JS.API.STREAM.UPDATE.EVENTS",
            "$JS.API.STREAM.DELETE.EVENTS",
            "$JS.API.STREAM.DELETE.INCIDENTS",
            "$JS.API.STREAM.DELETE.DEADLETTER",
            "$JS.API.STREAM.PURGE.EVENTS",
            "$JS.API.STREAM.PURGE.INCIDENTS",
            "$JS.API.STREAM.PURGE.DEADLETTER",
            "$JS.API.STREAM.MSG.DELETE.EVENTS",
            "$JS.API.STREAM.MSG.DELETE.INCIDENTS",
            "$JS.API.STREAM.SNAPSHOT.EVENTS",
            "$JS.API.STREAM.RESTORE.EVENTS",
            "$JS.API.CONSUMER.CREATE.INCIDENTS",
            "$JS.API.CONSUMER.DELETE.EVENTS.other",
            "$JS.API.CONSUMER.DURABLE.CREATE.EVENTS.other",
        ],
        &[
            "events.>",
            "incidents.>",
            "_INBOX_operator.>",
            "_INBOX_producer_edr.>",
            "$JS.API.>",
            "$SYS.>",
            ">",
        ],
    ),
    (
        "operator",
        &[
            "events.default.edr",
            "control.rules",
            "control.default.incident",
            "incidents.default.high.two_steps",
        ],
        &["events.>", "incidents.>", "_INBOX_engine.>", "$SYS.>"],
    ),
];

async fn what_is_forbidden_is_refused(proof: Proof) {
    let site = Site::start(proof);
    done(&mut site.command("operator", &["stream", "setup"]));
    for (role, publish, hear) in FORBIDDEN {
        let player = site.client(role).await;
        for subject in publish {
            player.may_not_publish(subject).await;
        }
        for subject in hear {
            player.may_not_hear(subject).await;
        }
    }
    for name in ["EVENTS", "INCIDENTS", "DEADLETTER"] {
        assert_eq!(stream(&site, name).await.state.last_sequence, 0, "{name}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_forbidden_act_is_refused_under_the_roles_of_nkeys() {
    what_is_forbidden_is_refused(Proof::Nkey).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_forbidden_act_is_refused_under_the_roles_of_certificates() {
    what_is_forbidden_is_refused(Proof::Certificate).await;
}

/// Publishes with an answer to be sent to `reply`, and hears in an inbox of its own that the server has taken both.
async fn answer_goes_to(player: &Player, subject: &str, reply: &str) {
    player.client.publish_with_reply(subject.to_owned(), reply.to_owned(), "{}".into()).await.expect("sent");
    let inbox = player.client.new_inbox();
    let mut answers = player.hears(&inbox).await;
    player.client.publish_with_reply(subject.to_owned(), inbox, "{}".into()).await.expect("sent");
    tokio::time::timeout(PATIENCE, answers.next()).await.expect("in time").expect("stored");
}

/// The server writes its answer to a publish wherever the publisher says, past all permissions.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_servers_answer_cannot_be_sent_where_the_role_may_not_write() {
    let site = Site::start(Proof::Nkey);
    done(&mut site.command("operator", &["stream", "setup"]));
    let producer = site.client("producer_edr").await;
    let astray = [
        "events.other.edr",
        "events.default.iris",
        "evidence.other.edr",
        "control.rules",
        "control.tick",
        "control.default.incident",
        "incidents.default.high.two_steps",
        "deadletter.default.edr",
        "$JS.API.STREAM.PURGE.EVENTS",
        "$JS.API.STREAM.DELETE.EVENTS",
        "_INBOX_engine.x",
    ];
    for reply in astray {
        answer_goes_to(&producer, "events.default.edr", reply).await;
    }
    let analyst = site.client("analyst").await;
    for reply in
        ["control.other.incident", "control.rules", "incidents.default.high.two_steps", "events.default.edr"]
    {
        answer_goes_to(&analyst, "control.default.incident", reply).await;
    }
    // What was published, and not one answer.
    let events = stream(&site, "EVENTS").await;
    assert_eq!(events.state.last_sequence, 2 * (astray.len() as u64 + 4));
    let operator = jetstream::new(site.client("operator").await.client);
    let stored = operator.get_stream("EVENTS").await.expect("a stream");
    for seq in 1..=events.state.last_sequence {
        let message = stored.get_raw_message(seq).await.expect("stored");
        let own =
            if seq <= 2 * astray.len() as u64 { "events.default.edr" } else { "control.default.incident" };
        assert_eq!((&*message.subject, &message.payload[..]), (own, &b"{}"[..]));
    }
    for name in ["INCIDENTS", "DEADLETTER", "EVIDENCE"] {
        assert_eq!(stream(&site, name).await.state.last_sequence, 0, "{name}");
    }
}

/// Headers that make a server delete or skip messages are for streams that allow them.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_header_of_a_producer_deletes_a_message() {
    let site = Site::start(Proof::Nkey);
    done(&mut site.command("operator", &["stream", "setup"]));
    publish(&site, &[event("one", 1)]).await;
    let producer = site.client("producer_edr").await;
    for (name, value) in [("Nats-Rollup", "all"), ("Nats-Rollup", "sub"), ("Nats-TTL", "1s")] {
        let mut headers = HeaderMap::new();
        headers.insert(name, value);
        let answer = producer.client.request_with_headers("events.default.edr", headers, "{}".into()).await;
        let answer: Value = serde_json::from_slice(&answer.expect("answered").payload).expect("JSON");
        assert!(answer["error"]["code"].is_u64(), "{name}: {answer}");
    }
    let events = stream(&site, "EVENTS").await.state;
    assert_eq!((events.first_sequence, events.last_sequence), (1, 1));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_has_no_key_is_nobody() {
    let site = Site::start(Proof::Nkey);
    let dir = folder();
    let path = dir.path().to_str().expect("UTF-8").to_owned();
    done(&mut support::site::sightline(&["nats-keys", &path, "engine"]));
    let mut settings = ConnectSettings {
        url: site.url(),
        tls_ca: Some(site.authority.file.clone()),
        nkey_seed_file: Some(dir.path().join("engine.nk")),
        ..ConnectSettings::default()
    };
    // Another key under the same name, and none at all.
    stops(&settings, "authorization violation").await;
    settings.nkey_seed_file = None;
    stops(&settings, "authorization violation").await;
    // And the right one, to see that nothing else was wrong.
    settings.nkey_seed_file = Some(site.file("engine.nk"));
    connect(&settings, FirstConnect::OrFail).await.expect("connected");
    // In clear, nobody gets as far as that.
    let plain = ConnectSettings { url: site.server.url(), tls_ca: None, ..settings.clone() };
    assert!(connect(&plain, FirstConnect::OrFail).await.is_err());
    // A server that another authority vouches for is not ours.
    let other = Authority::new(&dir.path().join("ca.pem"));
    stops(&ConnectSettings { tls_ca: Some(other.file), ..settings }, "invalid peer certificate").await;
}

/// Refused for good, with this reason.
async fn stops(settings: &ConnectSettings, reason: &str) {
    match connect(settings, FirstConnect::OrFail).await {
        Err(BusError::Stop(why)) => assert!(why.contains(reason), "{why}"),
        other => panic!("{reason}: {other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_a_certificate_of_our_authority_that_names_a_user_is_let_in() {
    let site = Site::start(Proof::Certificate);
    let dir = folder();
    let other = Authority::new(&dir.path().join("ca.pem"));
    let foreign = other.client("engine", &dir.path().join("foreign"));
    let unknown = site.authority.client("nobody", &dir.path().join("unknown"));
    let known = site.authority.client("engine", &dir.path().join("known"));
    let with = |pair: Option<&support::certificates::Pair>| ConnectSettings {
        url: site.url(),
        tls_ca: Some(site.authority.file.clone()),
        tls_cert: pair.map(|pair| pair.cert.clone()),
        tls_key: pair.map(|pair| pair.key.clone()),
        ..ConnectSettings::default()
    };
    for (settings, who) in
        [(with(Some(&foreign)), "foreign"), (with(Some(&unknown)), "unknown"), (with(None), "none")]
    {
        match connect(&settings, FirstConnect::OrFail).await {
            Err(BusError::Stop(_)) => {}
            other => panic!("{who}: {other:?}"),
        }
    }
    connect(&with(Some(&known)), FirstConnect::OrFail).await.expect("connected");
}
