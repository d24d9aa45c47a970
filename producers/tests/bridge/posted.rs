//! What is posted: accepted when it is in the log, refused with the reason, and never counted twice.

use std::net::{Ipv4Addr, UdpSocket};

use serde_json::{Value, json};

use crate::stage::{Running, command, count, free_port, post, server_with_streams, stored, wait_for_events};

pub const KEY: &str = "0123456789abcdef0123456789abcdef";

/// A receiver on a free port that knows one key.
pub fn receiver(url: &str, place: &std::path::Path, source: &str, more: &[&str]) -> (Running, u16) {
    let keys = place.join("keys");
    std::fs::write(&keys, format!("# the test\n{KEY}\n")).expect("written");
    let port = free_port();
    let (bind, keys) = (format!("127.0.0.1:{port}"), keys.to_str().expect("plain path").to_owned());
    let mut arguments = vec!["--bind", &bind, "--api-keys", &keys, "--patience", "1s"];
    arguments.extend(more);
    let running = Running::start(&mut command(url, &place.join("state"), source, &arguments));
    running.wait_for("listening");
    (running, port)
}

#[tokio::test(flavor = "multi_thread")]
async fn sentracore_accepts_what_it_documents_and_names_what_is_missing() {
    let server = server_with_streams().await;
    let place = tempfile::tempdir().expect("a temporary directory");
    let (running, port) = receiver(&server.url(), place.path(), "sentracore", &[]);
    let ingest = |body: &Value| {
        post(port, "/api/v1/ingest/events", &[("X-Api-Key", KEY)], body.to_string().as_bytes())
    };
    let minimal = json!({"source": "powershell-hunt", "host_id": "win-01", "kind": "process_start"});
    let (status, answer) = ingest(&minimal);
    assert_eq!((status, &answer["duplicate"]), (200, &json!(false)), "{answer}");
    assert_eq!(ingest(&minimal).1, json!({"id": answer["id"], "duplicate": true}));

    let without = |name: &str| {
        let mut event = minimal.clone();
        event.as_object_mut().expect("an object").remove(name);
        event
    };
    for name in ["host_id", "source", "kind"] {
        let (status, answer) = ingest(&without(name));
        assert!(
            status == 400 && answer["error"].as_str().is_some_and(|why| why.contains(name)),
            "{name}: {answer}"
        );
    }
    let both = json!({"source": "sentrafim", "host_id": "h", "kind": "k", "ts": "2025-01-01T10:15:00Z", "timestamp": "2025-01-01T10:16:00Z"});
    let (status, answer) = ingest(&both);
    assert!(
        status == 400
            && answer["error"]
                .as_str()
                .is_some_and(|why| why.contains("`ts` and `timestamp`") || why.contains("`timestamp`")),
        "{answer}"
    );
    let old =
        json!({"source": "sentrafim", "host_id": "h", "kind": "k", "timestamp": "2025-01-01T10:16:00Z"});
    assert_eq!(ingest(&old).0, 200);
    let (status, answer) =
        ingest(&json!([old, {"source": "x"}, {"source": "s", "host_id": "h", "kind": "k2"}]));
    assert_eq!(
        (status, &answer["accepted"], &answer["duplicates"], &answer["rejected"]),
        (200, &json!(2), &json!(1), &json!(1)),
        "{answer}"
    );
    assert_eq!(answer["errors"][0]["index"], 1);

    for headers in [vec![], vec![("X-Api-Key", "wrong")], vec![("X-Api-Key", "")]] {
        assert_eq!(post(port, "/api/v1/ingest/events", &headers, minimal.to_string().as_bytes()).0, 401);
    }
    assert_eq!(post(port, "/api/v1/ingest/events", &[("X-Api-Key", KEY)], b"{broken").0, 400);

    let log = wait_for_events(&server, 3).await;
    assert_eq!(log.len(), 3);
    // Severity low is the sensors' default; a time that was not given is not invented.
    assert_eq!((&log[0]["severity"], log[0].get("occurred_at")), (&json!("low"), None));
    let letters = stored(&server, "DEADLETTER").await;
    assert_eq!(letters.len(), 6);
    assert!(letters.iter().any(|letter| letter.payload.as_slice() == b"{broken"));

    let (code, said) = running.stop();
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("sent 3, duplicate 2, rejected 6"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_spool_nothing_is_accepted_before_it_is_in_the_log() {
    let mut server = server_with_streams().await;
    let place = tempfile::tempdir().expect("a temporary directory");
    let (running, port) = receiver(&server.url(), place.path(), "sentracore", &["--no-spool"]);
    let event =
        json!({"source": "powershell-hunt", "host_id": "win-02", "kind": "process_start"}).to_string();
    let ingest = || post(port, "/api/v1/ingest/events", &[("X-Api-Key", KEY)], event.as_bytes());
    server.kill();
    assert_eq!(ingest().0, 503);
    server.restart();
    crate::stage::wait("the bus is back", || match ingest() {
        (200, _) => Ok(()),
        (_, answer) => Err(answer.to_string()),
    });
    let (code, said) = running.stop();
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("handed back"), "{said}");
    assert_eq!(count(&server, "EVENTS").await, 1);
    assert!(!place.path().join("state/spool").exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn openctem_takes_up_to_a_hundred_events_and_a_batch_sent_again_adds_nothing() {
    let server = server_with_streams().await;
    let place = tempfile::tempdir().expect("a temporary directory");
    let (running, port) = receiver(&server.url(), place.path(), "openctem", &[]);
    let telemetry = |body: &Value| {
        let bearer = format!("Bearer {KEY}");
        post(port, "/api/v1/telemetry-events", &[("Authorization", &bearer)], body.to_string().as_bytes())
    };
    let event = |number: u32| {
        json!({"event_type": "network_connect", "observed_at": "2026-05-08T12:00:00Z", "endpoint_asset_id": "asset-1",
               "agent_id": "a1", "properties": {"remote_ip": format!("192.0.2.{number}"), "foo": 1}})
    };
    let mut batch: Vec<Value> = (0..23).map(event).collect();
    batch.push(json!({"event_type": "teleport", "observed_at": "2026-05-08T12:00:00Z"}));
    batch.push(json!({"event_type": "other", "severity": "info"}));
    let (status, answer) = telemetry(&json!({ "events": batch }));
    assert_eq!((status, &answer["accepted"]), (202, &json!(23)), "{answer}");
    let errors: Vec<&str> =
        answer["errors"].as_array().expect("errors").iter().filter_map(Value::as_str).collect();
    assert!(errors[0].starts_with("events[23]: `event_type` is \"teleport\""), "{errors:?}");
    assert!(errors[1].starts_with("events[24]: `observed_at` is missing"), "{errors:?}");
    let (status, answer) = telemetry(&json!({ "events": batch }));
    assert_eq!(
        (status, &answer["accepted"], &answer["duplicates"]),
        (202, &json!(23), &json!(23)),
        "{answer}"
    );
    assert_eq!(telemetry(&json!({"events": (0..101).map(event).collect::<Vec<_>>()})).0, 400);
    assert_eq!(telemetry(&json!({"events": []})).0, 400);
    assert_eq!(telemetry(&json!({"events": [{"event_type": "other"}]})).0, 400);

    let log = wait_for_events(&server, 23).await;
    assert_eq!(log.len(), 23);
    assert_eq!(log[0]["occurred_at"], "2026-05-08T12:00:00Z");
    assert_eq!(
        (&log[0]["severity"], &log[0]["host_id"], &log[0]["source"]),
        (&json!("info"), &json!("asset-1"), &json!("agent"))
    );
    assert_eq!(log[0]["entities"][0], json!({"type": "ip", "value": "192.0.2.0", "role": "remote_ip"}));
    drop(running);
}

#[tokio::test(flavor = "multi_thread")]
async fn streamtrace_keeps_the_bytes_as_they_came_and_every_event_points_to_them() {
    const SAMPLE: &str = r#"{"event_type":"auth.login","occurred_at":"2026-04-09T12:00:00Z","actor":{"id":"alice"},"network":{"src_ip":"203.0.113.10"}}"#;
    const HASH: &str = "b2f3c7c952a16fa7864001f79e08d26e7e820c7a28992588f175f47719fa206d";
    let server = server_with_streams().await;
    let place = tempfile::tempdir().expect("a temporary directory");
    let (running, port) = receiver(&server.url(), place.path(), "streamtrace", &[]);
    let bearer = format!("Bearer {KEY}");
    let send = |path: &str, more: &[(&str, &str)], body: &[u8]| {
        let mut headers = vec![("Authorization", bearer.as_str()), ("X-Source-Id", "portal")];
        headers.extend(more);
        post(port, path, &headers, body)
    };
    let (status, answer) =
        send("/v1/ingest/events", &[("Content-Type", "application/json")], SAMPLE.as_bytes());
    assert_eq!(
        (status, &answer["accepted"], &answer["raw_event_id"]),
        (202, &json!(1), &json!(HASH)),
        "{answer}"
    );
    let evidence = stored(&server, "EVIDENCE").await;
    assert_eq!(
        (evidence[0].subject.as_str(), evidence[0].payload.as_slice()),
        ("evidence.default.portal", SAMPLE.as_bytes())
    );
    assert_eq!(evidence[0].headers.get("Sightline-Blake3").map(ToString::to_string).as_deref(), Some(HASH));
    let log = wait_for_events(&server, 1).await;
    assert_eq!(
        log[0]["refs"]["raw"],
        json!({"stream": "EVIDENCE", "seq": 1, "blake3": HASH, "bytes": 123, "content_type": "application/json"})
    );
    assert_eq!(
        (&log[0]["source"], &log[0]["occurred_at"]),
        (&json!("portal"), &json!("2026-04-09T12:00:00Z"))
    );

    // One bad event of three; a client's `received_at` counts for nothing and its source is the header's.
    let three = json!([
        {"event_type": "a", "occurred_at": "2026-04-09T12:00:01Z", "received_at": "1999-01-01T00:00:00Z", "source": {"source_id": "x"}},
        {"event_type": "b"},
        {"event_type": "c", "occurred_at": "2026-04-09T12:00:02Z", "extra": 1},
    ]);
    let (status, answer) = send("/v1/ingest/events", &[], three.to_string().as_bytes());
    assert_eq!(
        (status, &answer["accepted"], &answer["rejected"][0]["index"]),
        (202, &json!(2), &json!(1)),
        "{answer}"
    );
    assert!(
        answer["rejected"][0]["error"].as_str().is_some_and(|why| why.contains("occurred_at")),
        "{answer}"
    );

    // A table whose second row has no time that can be read.
    let table = std::fs::read(crate::stage::data("logs/csv.csv")).expect("a sample");
    let (status, answer) = send("/v1/ingest/raw", &[], &table);
    assert_eq!(
        (status, &answer["accepted"], &answer["rejected"][0]["index"]),
        (202, &json!(2), &json!(1)),
        "{answer}"
    );
    let log = wait_for_events(&server, 5).await;
    let row = log.iter().find(|event| event["user"] == "alice").expect("the first row");
    for (pointer, value) in [
        ("/network/src_ip", "203.0.113.10"),
        ("/device/hostname", "web01"),
        ("/severity", "high"),
        ("/actor/id", "alice"),
        ("/occurred_at", "2026-04-09T12:00:00Z"),
    ] {
        assert_eq!(row.pointer(pointer), Some(&json!(value)), "{row}");
    }
    assert!(log.iter().all(|event| event["user"] != "bob"));
    let letters = stored(&server, "DEADLETTER").await;
    assert!(letters.iter().any(|letter| String::from_utf8_lossy(&letter.payload).contains("\"row\":2")));

    let lines = b"<34>1 2026-04-09T12:00:00Z web01 sshd 123 - - Failed password\n<34>1 2026-04-09T12:00:00Z web01 sshd 123 - - Failed password\nbad\n";
    let (status, answer) = send("/v1/ingest/raw", &[("X-Parser-Id", "syslog")], lines);
    assert_eq!(
        (status, &answer["accepted"], &answer["rejected"][0]["index"]),
        (202, &json!(2), &json!(2)),
        "{answer}"
    );
    assert_eq!(send("/v1/ingest/raw", &[("X-Parser-Id", "xml")], b"<a/>").0, 400);
    assert_eq!(send("/v1/ingest/events", &[], b"nonsense").1["error"]["code"], "PARSE_ERROR");
    assert_eq!(send("/v1/ingest/events", &[], b" ").1["error"]["code"], "VALIDATION_FAILED");
    assert_eq!(
        post(port, "/v1/ingest/events", &[], SAMPLE.as_bytes()).1["error"]["code"],
        "AUTHENTICATION_FAILED"
    );
    let (code, said) = running.stop();
    assert_eq!(code, Some(0), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn syslog_comes_in_over_udp_and_tcp_in_lines_and_by_octets() {
    use std::io::Write;
    let server = server_with_streams().await;
    let place = tempfile::tempdir().expect("a temporary directory");
    let (udp, tcp) = (free_port(), free_port());
    let (udp_at, tcp_at) = (format!("127.0.0.1:{udp}"), format!("127.0.0.1:{tcp}"));
    let arguments = ["--udp", &udp_at, "--tcp", &tcp_at];
    let running =
        Running::start(&mut command(&server.url(), &place.path().join("state"), "syslog", &arguments));
    running.wait_for("listening_tcp");
    let message = "<34>1 2026-04-09T12:00:00Z web01 sshd 123 - - Failed password";
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).expect("bound");
    for _ in 0..2 {
        socket.send_to(message.as_bytes(), (Ipv4Addr::LOCALHOST, udp)).expect("sent");
    }
    let mut stream = std::net::TcpStream::connect((Ipv4Addr::LOCALHOST, tcp)).expect("connected");
    write!(stream, "{message}\n{} {message}not syslog\n<13>no host\n", message.len()).expect("written");
    drop(stream);
    let log = wait_for_events(&server, 5).await;
    let (code, said) = running.stop();
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("syslog: read 6, sent 5, duplicate 0, rejected 1"), "{said}");
    assert_eq!(
        log.iter().filter(|event| event["host_id"] == "web01" && event["severity"] == "critical").count(),
        4
    );
    // Where a message names no host, whoever sent it is one.
    assert!(log.iter().any(|event| event["host_id"] == "127.0.0.1" && event.get("occurred_at").is_none()));
    assert!(log.iter().all(|event| event["refs"]["raw"]["stream"] == "EVIDENCE"));
}

#[tokio::test(flavor = "multi_thread")]
async fn shieldais_five_services_become_one_schema_and_no_number_leaves_in_clear() {
    let server = server_with_streams().await;
    let place = tempfile::tempdir().expect("a temporary directory");
    let key = place.path().join("personal");
    std::fs::write(&key, "07".repeat(32)).expect("written");
    let (running, port) = receiver(
        &server.url(),
        place.path(),
        "shieldai",
        &["--personal-key-file", key.to_str().expect("plain path")],
    );
    let send = |service: &str, body: &str| {
        post(port, &format!("/api/v1/alerts/{service}"), &[("X-Api-Key", KEY)], body.as_bytes())
    };
    let alerts = [
        (
            "darkwatch",
            json!({"id": "dw-1", "userId": "u1", "severity": "high", "email": "Bob@Example.com", "breach": "X", "detectedAt": "2026-05-08T12:00:00Z"}),
        ),
        (
            "spamshield",
            json!({"id": "ss-1", "userId": "u1", "from": "+1 (555) 201-7788", "to": "bob", "detectedAt": "2026-05-08T13:00:00Z"}),
        ),
        (
            "voiceprint",
            json!({"id": "vp-1", "userId": "u1", "synthetic": 0.97, "phone": "555-201-7788", "detectedAt": "2026-05-09T12:00:00Z"}),
        ),
        (
            "hometitle",
            json!({"id": "ht-1", "userId": "u1", "change": "deed", "owner": {"email": "bob@example.com"}, "detectedAt": "2026-05-10T12:00:00Z"}),
        ),
        (
            "removebrokers",
            json!({"id": "rb-1", "userId": "u1", "broker": "B", "listing": "Bob, ssn 219-09-9999, 219099999", "detectedAt": "2026-05-10T13:00:00Z"}),
        ),
    ];
    for (service, alert) in &alerts {
        let (status, answer) = send(service, &alert.to_string());
        assert_eq!((status, &answer["accepted"]), (202, &json!(1)), "{service}: {answer}");
    }
    // Again, and the same id of another service.
    assert_eq!(send("darkwatch", &alerts[0].1.to_string()).1["duplicates"], 1);
    let same_id = json!({"id": "dw-1", "userId": "u1", "from": "x", "detectedAt": "2026-05-08T13:00:00Z"});
    assert_eq!(send("spamshield", &same_id.to_string()).1["duplicates"], 0);
    // What is refused holds no number either.
    assert_eq!(send("removebrokers", "{\"ssn\":\"219-09-9999\", broken").0, 400);
    assert_eq!(send("removebrokers", "{\"id\":\"x\",\"ssn\":219099999,\"detectedAt\":\"never\"}").0, 400);
    assert_eq!(send("nothing", "{}").0, 404);
    let (code, said) = running.stop();
    assert_eq!(code, Some(0), "{said}");

    let log = wait_for_events(&server, 6).await;
    assert_eq!(log.len(), 6);
    for ((service, alert), event) in alerts.iter().zip(&log) {
        assert_eq!((&event["source"], &event["source_event_id"]), (&json!(service), &alert["id"]));
        assert_eq!((&event["user"], &event["class"]), (&json!("u1"), &json!("alert")));
        assert!(
            event["kind"].is_string() && event["severity"].is_string() && event["title"].is_string(),
            "{event}"
        );
    }
    assert_eq!(
        log.iter().map(|event| event["severity"].as_str()).collect::<Vec<_>>()[..2],
        [Some("high"), Some("low")]
    );
    let entity = |at: usize, kind: &str| {
        let entities = log[at]["entities"].as_array().expect("entities");
        entities.iter().find(|entity| entity["type"] == kind).expect("found").clone()
    };
    assert_eq!(entity(0, "email")["value"], entity(3, "email")["value"]);
    assert_eq!(entity(1, "phone")["value"], "+15552017788");
    assert_eq!(entity(2, "phone")["value"], "+15552017788");
    let number = entity(4, "ssn#")["value"].as_str().expect("text").to_owned();
    assert!(number.starts_with("kh1:") && number.ends_with(":9999"), "{number}");
    assert_eq!(stored(&server, "DEADLETTER").await.len(), 2);

    // Nowhere: not in what the server stores, not in what the bridge keeps, not in what it said.
    let mut searched = 0;
    let mut clear = Vec::new();
    search(server.store.path(), &mut searched, &mut clear);
    search(&place.path().join("state"), &mut searched, &mut clear);
    assert!(searched > 3 && clear.is_empty(), "{clear:?}");
    assert!(!said.contains("219-09-9999") && !said.contains("219099999"), "{said}");
}

/// Files that hold the number.
fn search(directory: &std::path::Path, searched: &mut usize, clear: &mut Vec<String>) {
    for entry in std::fs::read_dir(directory).expect("readable").flatten() {
        let path = entry.path();
        if path.is_dir() {
            search(&path, searched, clear);
        } else if let Ok(bytes) = std::fs::read(&path) {
            *searched += 1;
            let holds = |needle: &[u8]| bytes.windows(needle.len()).any(|window| window == needle);
            if holds(b"219-09-9999") || holds(b"219099999") {
                clear.push(path.display().to_string());
            }
        }
    }
}
