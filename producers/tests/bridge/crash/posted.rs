//! What is posted to the receivers: a sender that tries again whatever was not answered, until it is.

use std::path::Path;
use std::process::Command;
use std::sync::mpsc;
use std::thread::JoinHandle;
use std::time::Duration;

use serde_json::{Value, json};
use sightline_producers::crash_point::CrashPoint;

use super::campaign::{Source, survives};
use super::ends::Expected;
use super::kills;
use crate::posted::KEY;
use crate::server::Server;
use crate::stage::{command, free_port, try_post};

/// Requests that a life adds.
const STEP: usize = 30;

/// A request, and what must become of it.
struct Request {
    path: String,
    headers: Vec<(&'static str, &'static str)>,
    body: Vec<u8>,
    status: u16,
    comes_to: Expected,
}

struct Posted {
    source: &'static str,
    port: u16,
    arguments: Vec<String>,
    request: fn(usize) -> Request,
    sent: usize,
    expected: Expected,
    sender: Option<(mpsc::Sender<Request>, JoinHandle<u32>)>,
}

impl Posted {
    fn new(source: &'static str, place: &Path, request: fn(usize) -> Request) -> Self {
        let (port, keys, personal) = (free_port(), place.join("keys"), place.join("personal"));
        std::fs::write(&keys, format!("{KEY}\n")).expect("written");
        std::fs::write(&personal, "07".repeat(32)).expect("written");
        let of = |path: &Path| path.to_str().expect("plain path").to_owned();
        let arguments = [
            "--bind".to_owned(),
            format!("127.0.0.1:{port}"),
            "--api-keys".to_owned(),
            of(&keys),
            "--personal-key-file".to_owned(),
            of(&personal),
        ];
        let (requests, queue) = mpsc::channel();
        let sender = std::thread::spawn(move || send_all(port, &queue));
        let (arguments, sender) = (arguments.to_vec(), Some((requests, sender)));
        Posted { source, port, arguments, request, sent: 0, expected: Expected::default(), sender }
    }
}

/// Posts each until it is answered, by whichever bridge listens then; gives how often nobody answered.
fn send_all(port: u16, queue: &mpsc::Receiver<Request>) -> u32 {
    let mut unanswered = 0;
    for request in queue {
        loop {
            match try_post(port, &request.path, &request.headers, &request.body) {
                Some((status, answer)) if status != 503 => {
                    assert_eq!(status, request.status, "{}: {answer}", request.path);
                    break;
                }
                _ => {
                    unanswered += 1;
                    std::thread::sleep(Duration::from_millis(15));
                }
            }
        }
    }
    unanswered
}

impl Source for Posted {
    fn command(&self, url: &str, state: &Path) -> Command {
        let arguments: Vec<&str> = self.arguments.iter().map(String::as_str).collect();
        command(url, state, self.source, &arguments)
    }

    async fn more(&mut self, _server: &Server, _bus_is_there: bool) {
        for _ in 0..STEP {
            let request = (self.request)(self.sent);
            self.sent += 1;
            self.expected += request.comes_to;
            let (requests, _) = self.sender.as_ref().expect("not settled");
            requests.send(request).expect("the sender lives");
        }
    }

    async fn settle(&mut self, _server: &Server) {
        let (requests, sender) = self.sender.take().expect("settled once");
        drop(requests);
        let unanswered = tokio::task::spawn_blocking(|| sender.join()).await.expect("no panic");
        let unanswered = unanswered.expect("every request is answered as it must be");
        println!(
            "{}: {} requests on port {}, {unanswered} times without an answer",
            self.source, self.sent, self.port
        );
    }

    fn expected(&self) -> Expected {
        self.expected
    }

    fn points(&self) -> &'static [CrashPoint] {
        if self.source == "streamtrace" { WITH_EVIDENCE } else { WITH_REJECTS }
    }

    fn passes(&self) -> u64 {
        8
    }
}

const WITH_REJECTS: &[CrashPoint] = &[
    CrashPoint::AfterRead,
    CrashPoint::AfterHandOver,
    CrashPoint::HalfRecord,
    CrashPoint::AfterRecord,
    CrashPoint::AfterReject,
    CrashPoint::AfterKept,
    CrashPoint::AfterSend,
    CrashPoint::AfterAcknowledgement,
    CrashPoint::AfterSpoolCursor,
];

const WITH_EVIDENCE: &[CrashPoint] = &[
    CrashPoint::AfterRead,
    CrashPoint::AfterEvidence,
    CrashPoint::AfterHandOver,
    CrashPoint::HalfRecord,
    CrashPoint::AfterRecord,
    CrashPoint::AfterReject,
    CrashPoint::AfterKept,
    CrashPoint::AfterSend,
    CrashPoint::AfterAcknowledgement,
    CrashPoint::AfterSpoolCursor,
];

fn json_request(path: &str, body: &Value, status: u16, events: usize, letters: usize) -> Request {
    Request {
        path: path.to_owned(),
        headers: vec![("X-Api-Key", KEY)],
        body: body.to_string().into_bytes(),
        status,
        comes_to: Expected { events, letters, evidence: 0 },
    }
}

/// A sensor's event, with a key of its own or without one, alone or five together of which one is none.
fn of_sentracore(at: usize) -> Request {
    const PATH: &str = "/api/v1/ingest/events";
    let event = |part: usize| {
        let mut event = json!({"source": "powershell-hunt", "host_id": "win-01", "kind": "process_start", "number": at, "part": part});
        if at.is_multiple_of(2) {
            event["source_event_id"] = format!("{at}-{part}").into();
        }
        event
    };
    if !at.is_multiple_of(3) {
        return json_request(PATH, &event(0), 200, 1, 0);
    }
    let mut batch: Vec<Value> = (0..5).map(event).collect();
    batch[3].as_object_mut().expect("an object").remove("host_id");
    json_request(PATH, &batch.into(), 200, 4, 1)
}

fn of_openctem(at: usize) -> Request {
    let event = |part: usize| {
        json!({"event_type": if part == 2 { "teleport" } else { "network_connect" }, "observed_at": "2026-05-08T12:00:00Z",
               "endpoint_asset_id": "asset-1", "agent_id": "a1", "properties": {"remote_ip": "192.0.2.7", "number": at, "part": part}})
    };
    let events: Vec<Value> = (0..4).map(event).collect();
    json_request("/api/v1/telemetry-events", &json!({ "events": events }), 202, 3, 1)
}

/// Typed events, raw JSON, a table and syslog, in turn; each with something in it that is no event.
fn of_streamtrace(at: usize) -> Request {
    const TYPED: &str = "/v1/ingest/events";
    const RAW: &str = "/v1/ingest/raw";
    let (path, body, events, letters) = match at % 4 {
        0 => {
            let event = |part: usize| json!({"event_type": "auth.login", "occurred_at": "2026-04-09T12:00:00Z", "actor": {"id": "alice"}, "number": at, "part": part});
            let events = json!([event(0), {"event_type": "no time", "number": at}, event(2)]);
            (TYPED, events.to_string(), 2, 1)
        }
        1 => (
            RAW,
            json!([{"kind": "raw", "number": at}, {"kind": "raw", "number": at, "occurred_at": "soon"}])
                .to_string(),
            1,
            1,
        ),
        2 => {
            let row = |time: &str, user: &str| format!("{time},{user},203.0.113.10,web{at},high\n");
            let rows = [
                row("2026-04-09T12:00:00Z", "alice"),
                row("not-a-date", "bob"),
                row("2026-04-09T12:00:02Z", "carol"),
            ];
            (RAW, format!("timestamp,user,source_ip,host,level\n{}", rows.concat()), 2, 1)
        }
        // Two lines that say the same are two events.
        _ => {
            let line = format!("<34>1 2026-04-09T12:00:00Z web{at} sshd 123 - - Failed password\n");
            (RAW, format!("{line}{line}bad {at}\n"), 2, 1)
        }
    };
    let mut headers = vec![("X-Api-Key", KEY), ("X-Source-Id", "portal")];
    if at % 4 == 3 {
        headers.push(("X-Parser-Id", "syslog"));
    }
    let comes_to = Expected { events, letters, evidence: 1 };
    Request { path: path.to_owned(), headers, body: body.into_bytes(), status: 202, comes_to }
}

/// The five in turn, under ids that repeat from service to service; one alert of each ten is none.
fn of_shieldai(at: usize) -> Request {
    let services = ["darkwatch", "spamshield", "voiceprint", "hometitle", "removebrokers"];
    let path = format!("/api/v1/alerts/{}", services[at % 5]);
    let mut alert = json!({"id": format!("id-{}", at / 5), "userId": "u1", "severity": "high", "email": "Bob@Example.com",
                           "listing": "ssn 219-09-9999", "detectedAt": "2026-05-08T12:00:00Z"});
    if at % 10 == 7 {
        alert["detectedAt"] = "never".into();
        return json_request(&path, &alert, 400, 0, 1);
    }
    json_request(&path, &alert, 202, 1, 0)
}

async fn posted(source: &'static str, request: fn(usize) -> Request) {
    survives(source, kills(), |place| Posted::new(source, place, request)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn sentracores_receiver_survives_being_killed_at_any_moment() {
    posted("sentracore", of_sentracore).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn openctems_receiver_survives_being_killed_at_any_moment() {
    posted("openctem", of_openctem).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn streamtraces_receiver_survives_being_killed_at_any_moment() {
    posted("streamtrace", of_streamtrace).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn shieldais_receiver_survives_being_killed_at_any_moment() {
    posted("shieldai", of_shieldai).await;
}
