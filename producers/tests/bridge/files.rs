//! Files that are followed: through rotation, truncation and restarts; and a subject that a stream keeps.

use std::collections::BTreeSet;
use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::Path;

use serde_json::Value;

use crate::server::Server;
use crate::stage::{
    Running, command, count, events, once, piped, server_with_streams, stored, wait_for_events,
    wait_for_stored, words,
};

fn append(path: &Path, numbers: std::ops::Range<u32>) {
    let mut file = OpenOptions::new().create(true).append(true).open(path).expect("opened");
    for number in numbers {
        writeln!(file, "{{\"source\":\"app\",\"kind\":\"line\",\"n\":{number}}}").expect("written");
    }
}

fn numbers(events: &[Value]) -> Vec<u64> {
    let mut numbers: Vec<u64> = events.iter().map(|event| event["n"].as_u64().expect("a number")).collect();
    numbers.sort_unstable();
    numbers
}

fn arguments(path: &Path) -> [&str; 4] {
    ["--look-every", "20ms", "native", path.to_str().expect("plain path")]
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_is_followed_through_rotation_truncation_and_a_line_without_its_end() {
    let server = server_with_streams().await;
    let place = tempfile::tempdir().expect("a temporary directory");
    let (state, log) = (place.path().join("state"), place.path().join("app.log"));
    append(&log, 0..100);
    let running = Running::start(&mut command(&server.url(), &state, "logs", &arguments(&log)));
    wait_for_events(&server, 100).await;

    // Put aside; the writer still has the old file, then begins the new one.
    std::fs::rename(&log, place.path().join("app.log.1")).expect("renamed");
    append(&place.path().join("app.log.1"), 100..110);
    wait_for_events(&server, 110).await;
    append(&log, 110..120);
    wait_for_events(&server, 120).await;

    // Cut, and written anew.
    File::create(&log).expect("cut");
    running.wait_for("file_cut");
    append(&log, 120..130);
    wait_for_events(&server, 130).await;

    // A line comes in two parts.
    let mut file = OpenOptions::new().append(true).open(&log).expect("opened");
    file.write_all(b"{\"source\":\"app\",\"kind\":\"line\",").expect("written");
    std::thread::sleep(std::time::Duration::from_millis(200));
    assert_eq!(events(&server).await.len(), 130);
    file.write_all(b"\"n\":130}\n").expect("written");
    wait_for_events(&server, 131).await;

    let (code, said) = running.stop();
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("native: read 131, sent 131, duplicate 0, rejected 0"), "{said}");
    assert_eq!(numbers(&events(&server).await), (0..131).collect::<Vec<_>>());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_rotated_twice_while_nobody_looked_is_read_in_order_and_once() {
    let server = server_with_streams().await;
    let place = tempfile::tempdir().expect("a temporary directory");
    let (state, log) = (place.path().join("state"), place.path().join("app.log"));
    append(&log, 0..10);
    let output = once(&server, &state, "logs", &arguments(&log));
    assert!(words(&output).contains("native: read 10, sent 10"), "{}", words(&output));

    append(&log, 10..20);
    let pause = || std::thread::sleep(std::time::Duration::from_millis(20));
    pause();
    std::fs::rename(&log, place.path().join("app.log.2")).expect("renamed");
    append(&log, 20..30);
    pause();
    std::fs::rename(&log, place.path().join("app.log.1")).expect("renamed");
    append(&log, 30..40);
    let output = once(&server, &state, "logs", &arguments(&log));
    assert!(words(&output).contains("native: read 30, sent 30, duplicate 0"), "{}", words(&output));
    assert_eq!(numbers(&events(&server).await), (0..40).collect::<Vec<_>>());

    // The file is gone, and what was not read of it: that is said, and the next is read.
    append(&log, 40..50);
    // Held open, so that the disk gives its number to no other.
    let _held = File::open(&log).expect("opened");
    std::fs::remove_file(&log).expect("removed");
    append(&log, 50..60);
    let output = once(&server, &state, "logs", &arguments(&log));
    assert!(words(&output).contains("native: read 10, sent 10"), "{}", words(&output));
    assert!(words(&output).contains("gaps 1"), "{}", words(&output));
}

#[tokio::test(flavor = "multi_thread")]
async fn two_lines_that_say_the_same_are_two_events_and_rubbish_is_kept() {
    let server = server_with_streams().await;
    let place = tempfile::tempdir().expect("a temporary directory");
    let (state, log) = (place.path().join("state"), place.path().join("app.log"));
    let line = "{\"source\":\"app\",\"kind\":\"line\",\"n\":7}\n";
    let long = format!("{{\"source\":\"app\",\"n\":\"{}\"}}\n", "x".repeat(1 << 20));
    std::fs::write(&log, format!("{line}{line}not json\n\n{long}{line}")).expect("written");
    let output = once(&server, &state, "logs", &arguments(&log));
    assert_eq!(output.status.code(), Some(0), "{}", words(&output));
    assert!(words(&output).contains("native: read 5, sent 3, duplicate 0, rejected 2"), "{}", words(&output));
    let letters = stored(&server, "DEADLETTER").await;
    assert_eq!((letters.len(), letters[0].payload.as_slice()), (1, &b"not json"[..]));
    // What is larger than the server takes is kept in the file.
    let kept = std::fs::read_to_string(state.join("rejects.ndjson")).expect("kept");
    assert!(kept.len() > 1 << 20 && kept.contains("\"reason\":\"too_large\""), "{} bytes", kept.len());

    // The same from a pipe, twice from its beginning: the same events, once.
    let piped = || {
        piped(
            &mut command(&server.url(), &place.path().join("other"), "logs", &["native", "-"]),
            format!("{line}{line}").as_bytes(),
        )
    };
    let first = piped();
    assert!(words(&first).contains("native: read 2, sent 2, duplicate 0"), "{}", words(&first));
    let second = piped();
    assert!(words(&second).contains("native: read 2, sent 0, duplicate 2"), "{}", words(&second));
}

/// A bridge that follows a file while the server is killed and comes back; gives what it said.
async fn through_an_outage(server: &mut Server, state: &Path, log: &Path, more: &[&str]) -> String {
    append(log, 0..10);
    let mut arguments = arguments(log).to_vec();
    arguments.extend(["--patience", "300ms"]);
    arguments.extend(more);
    let running = Running::start(&mut command(&server.url(), state, "logs", &arguments));
    wait_for_events(server, 10).await;
    server.kill();
    append(log, 10..20);
    let mut file = OpenOptions::new().append(true).open(log).expect("opened");
    file.write_all(b"rubbish\n").expect("written");
    append(log, 20..30);
    running.wait_for("bus_away");
    running.wait_for("rejected");
    if more.contains(&"--no-spool") {
        running.wait_for("rejected record kept in a file");
    }
    server.restart();
    wait_for_events(server, 30).await;
    running.wait_for("bus_back");
    let (code, said) = running.stop();
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("sent 30, duplicate 0, rejected 1"), "{said}");
    assert_eq!(numbers(&events(server).await), (0..30).collect::<Vec<_>>());
    said
}

#[tokio::test(flavor = "multi_thread")]
async fn while_the_bus_is_away_everything_waits_on_disk_and_rejected_lines_too() {
    let mut server = server_with_streams().await;
    let place = tempfile::tempdir().expect("a temporary directory");
    let (state, log) = (place.path().join("state"), place.path().join("app.log"));
    through_an_outage(&mut server, &state, &log, &[]).await;
    let letters = wait_for_stored(&server, "DEADLETTER", 1).await;
    assert_eq!(letters[0].payload.as_slice(), b"rubbish");
    assert!(!state.join("rejects.ndjson").exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_spool_a_file_waits_and_rejected_lines_are_kept_in_another() {
    let mut server = server_with_streams().await;
    let place = tempfile::tempdir().expect("a temporary directory");
    let (state, log) = (place.path().join("state"), place.path().join("app.log"));
    through_an_outage(&mut server, &state, &log, &["--no-spool"]).await;
    let kept = std::fs::read_to_string(state.join("rejects.ndjson")).expect("kept");
    assert!(kept.contains("\"text\":\"rubbish\"") && kept.contains("\"reason\":\"undecodable\""), "{kept}");
    assert_eq!(count(&server, "EVENTS").await, 30, "each leaves alone");
}

pub fn pack(from: &Path, to: &Path) {
    let bytes = std::fs::read(from).expect("read");
    let file = File::create(to).expect("created");
    if to.extension().is_some_and(|extension| extension == "zst") {
        zstd::stream::copy_encode(&bytes[..], file, 1).expect("packed");
    } else {
        let mut packer = flate2::write::GzEncoder::new(file, flate2::Compression::fast());
        packer.write_all(&bytes).expect("packed");
        packer.finish().expect("packed");
    }
    // Packers keep the time.
    let changed = std::fs::metadata(from).expect("there").modified().expect("a time");
    File::options().write(true).open(to).expect("opened").set_modified(changed).expect("set");
    std::fs::remove_file(from).expect("removed");
}

#[tokio::test(flavor = "multi_thread")]
async fn packed_files_are_read_and_what_was_sent_before_they_were_packed_is_not_read_again() {
    let server = server_with_streams().await;
    let place = tempfile::tempdir().expect("a temporary directory");
    let (state, log) = (place.path().join("state"), place.path().join("app.log"));
    let beside = |name: &str| place.path().join(name);
    let pause = || std::thread::sleep(std::time::Duration::from_millis(20));
    append(&log, 0..10);
    once(&server, &state, "logs", &arguments(&log));
    // Ten more; then it is put aside and packed before anybody read them, and another one after it.
    append(&log, 10..20);
    pause();
    pack(&log, &beside("app.log.3.gz"));
    append(&log, 20..30);
    pause();
    pack(&log, &beside("app.log.2.zst"));
    append(&log, 30..40);
    pause();
    std::fs::rename(&log, beside("app.log.1")).expect("renamed");
    append(&log, 40..50);
    let output = once(&server, &state, "logs", &arguments(&log));
    assert!(words(&output).contains("native: read 40, sent 40, duplicate 0"), "{}", words(&output));
    assert!(!words(&output).contains("gaps"), "{}", words(&output));

    // Asked for by name, the packed ones have nothing that was not sent; one that nobody saw has.
    pack(&beside("app.log.1"), &beside("app.log.1.gz"));
    append(&beside("old"), 50..60);
    pack(&beside("old"), &beside("app.log.4.gz"));
    let names: Vec<String> = ["app.log", "app.log.1.gz", "app.log.2.zst", "app.log.3.gz", "app.log.4.gz"]
        .map(|name| beside(name).display().to_string())
        .to_vec();
    let mut all = vec!["native"];
    all.extend(names.iter().map(String::as_str));
    let output = once(&server, &state, "logs", &all);
    assert!(words(&output).contains("native: read 10, sent 10, duplicate 0"), "{}", words(&output));
    let output = once(&server, &state, "logs", &all);
    assert!(!words(&output).contains("sent 1"), "{}", words(&output));
    assert_eq!(numbers(&events(&server).await), (0..60).collect::<Vec<_>>());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_lines_of_an_audit_event_that_come_apart_are_one_event() {
    let server = server_with_streams().await;
    let place = tempfile::tempdir().expect("a temporary directory");
    let (state, log) = (place.path().join("state"), place.path().join("audit.log"));
    let path = log.to_str().expect("plain path").to_owned();
    let arguments = ["--look-every", "20ms", "auditd", &path];
    let write = |text: &str| {
        let mut file = OpenOptions::new().create(true).append(true).open(&log).expect("opened");
        file.write_all(text.as_bytes()).expect("written");
    };
    let sample = std::fs::read_to_string(crate::stage::data("logs/auditd.log")).expect("a sample");
    let start = sample.find("type=SYSCALL msg=audit(1778241601").expect("the event of a started program");
    let lines: Vec<&str> = sample[start..].split_inclusive('\n').take(6).collect();
    let running = Running::start(&mut command(&server.url(), &state, "logs", &arguments));
    for line in &lines {
        write(line);
        std::thread::sleep(std::time::Duration::from_millis(100));
    }
    // Its last line has no other behind it, and it is no last line either: it waits, and then leaves.
    write("type=SYSCALL msg=audit(1778241699.001:900): arch=c000003e syscall=2 success=no\n");
    let log = wait_for_events(&server, 2).await;
    let (code, said) = running.stop();
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("auditd: read 2, sent 2"), "{said}");
    assert_eq!(log[0]["fields"]["types"].as_array().map(Vec::len), Some(6), "{}", log[0]);
    assert_eq!(
        (&log[0]["kind"], &log[1]["fields"]["serial"]),
        (&Value::from("process_start"), &Value::from("900"))
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_is_read_once_and_our_own_streams_are_not() {
    let server = server_with_streams().await;
    let place = tempfile::tempdir().expect("a temporary directory");
    let state = place.path().join("state");
    let context = server.jetstream().await;
    let config = async_nats::jetstream::stream::Config {
        name: "RAW".to_owned(),
        subjects: vec!["raw.>".to_owned()],
        ..Default::default()
    };
    context.create_stream(config).await.expect("stream created");
    for number in 0..700 {
        let body = format!("{{\"source\":\"app\",\"kind\":\"line\",\"n\":{}}}", number % 350);
        context.publish("raw.app", body.into()).await.expect("sent").await.expect("stored");
    }
    let run = || once(&server, &state, "logs", &["native", "--subject", "raw.app"]);
    let output = run();
    assert!(
        words(&output).contains("native: read 700, sent 700, duplicate 0, rejected 0"),
        "{}",
        words(&output)
    );
    let output = run();
    assert!(!words(&output).contains("sent 7"), "{}", words(&output));
    assert_eq!(events(&server).await.len(), 700);
    assert!(count(&server, "EVENTS").await < 100, "they travel in frames");
    let output = once(&server, &state, "logs", &["native", "--subject", "events.default.app"]);
    assert_eq!(output.status.code(), Some(3));
    assert!(words(&output).contains("it would feed itself"), "{}", words(&output));
    let distinct: BTreeSet<String> =
        events(&server).await.iter().map(|event| event["source_event_id"].to_string()).collect();
    assert_eq!(distinct.len(), 700);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_packed_in_a_way_that_is_not_read_is_refused_by_name_with_what_to_do() {
    const XZ: &[u8] = b"\xfd7zXZ\0\0\x04";
    let server = server_with_streams().await;
    let place = tempfile::tempdir().expect("a temporary directory");
    let (state, log, old) =
        (place.path().join("state"), place.path().join("app.log"), place.path().join("old"));
    std::fs::write(&old, XZ).expect("written");
    let output = once(&server, &state, "logs", &["native", old.to_str().expect("plain path")]);
    assert_eq!(output.status.code(), Some(3), "{}", words(&output));
    assert!(
        words(&output).contains("is packed with xz") && words(&output).contains("xz -dc"),
        "{}",
        words(&output)
    );

    // Put aside and packed before it was read to its end: that is a gap, and the file is named.
    append(&log, 0..10);
    once(&server, &state, "logs", &arguments(&log));
    append(&log, 10..20);
    // Held open, so that the disk gives its number to no other.
    let _held = File::open(&log).expect("opened");
    std::fs::remove_file(&log).expect("removed");
    std::fs::write(place.path().join("app.log.1.xz"), XZ).expect("written");
    append(&log, 20..30);
    let output = once(&server, &state, "logs", &arguments(&log));
    assert!(words(&output).contains("sent 10") && words(&output).contains("gaps 1"), "{}", words(&output));
    assert!(words(&output).contains("app.log.1.xz"), "{}", words(&output));
}

/// The lines of an audit event, each a message of its own.
async fn publish(server: &Server, subject: &str, lines: &[&str]) {
    let client = async_nats::connect(server.url()).await.expect("the server listens");
    for line in lines {
        client.publish(subject.to_owned(), (*line).to_owned().into()).await.expect("sent");
    }
    client.flush().await.expect("sent");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_lines_of_an_audit_event_are_one_event_on_a_subject_too() {
    let server = server_with_streams().await;
    let place = tempfile::tempdir().expect("a temporary directory");
    let sample = std::fs::read_to_string(crate::stage::data("logs/auditd.log")).expect("a sample");
    let start = sample.find("type=SYSCALL msg=audit(1778241601").expect("the event of a started program");
    let lines: Vec<&str> = sample[start..].lines().take(6).collect();
    // Its last line has no other behind it, and it is no last line either: it waits, and then leaves.
    let last = "type=SYSCALL msg=audit(1778241699.001:900): arch=c000003e syscall=2 success=no";

    // No stream keeps it.
    let arguments = ["auditd", "--subject", "audit.lines"];
    let running = Running::start(&mut command(&server.url(), &place.path().join("a"), "logs", &arguments));
    running.wait_for("no stream keeps this subject");
    std::thread::sleep(std::time::Duration::from_millis(300));
    publish(&server, "audit.lines", &lines).await;
    publish(&server, "audit.lines", &[last]).await;
    let log = wait_for_events(&server, 2).await;
    let (code, said) = running.stop();
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("auditd: read 2, sent 2"), "{said}");
    assert_eq!(log[0]["fields"]["types"].as_array().map(Vec::len), Some(6), "{}", log[0]);
    assert_eq!(log[1]["fields"]["serial"], "900");

    // A stream keeps it; one message holds several lines.
    let config = async_nats::jetstream::stream::Config {
        name: "RAW".to_owned(),
        subjects: vec!["raw.>".to_owned()],
        ..Default::default()
    };
    server.jetstream().await.create_stream(config).await.expect("stream created");
    let several = lines[..3].join("\n");
    publish(&server, "raw.audit", &[several.as_str(), lines[3], lines[4], lines[5], last]).await;
    let run = || once(&server, &place.path().join("b"), "logs", &["auditd", "--subject", "raw.audit"]);
    let output = run();
    assert!(words(&output).contains("auditd: read 2, sent 2"), "{}", words(&output));
    let output = run();
    assert!(words(&output).contains("auditd: read 0, sent 0"), "{}", words(&output));
    let log = events(&server).await;
    assert_eq!(log[2]["fields"]["types"].as_array().map(Vec::len), Some(6), "{}", log[2]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_is_read_on_when_its_server_was_away() {
    let mut server = server_with_streams().await;
    let place = tempfile::tempdir().expect("a temporary directory");
    let config = async_nats::jetstream::stream::Config {
        name: "RAW".to_owned(),
        subjects: vec!["raw.>".to_owned()],
        ..Default::default()
    };
    server.jetstream().await.create_stream(config).await.expect("stream created");
    let line = |number: u32| format!("{{\"source\":\"app\",\"kind\":\"line\",\"n\":{number}}}");
    let lines: Vec<String> = (0..20).map(line).collect();
    let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
    publish(&server, "raw.app", &lines[..10]).await;
    let arguments = ["native", "--subject", "raw.app"];
    let running = Running::start(&mut command(&server.url(), place.path(), "logs", &arguments));
    wait_for_events(&server, 10).await;
    // What reads the stream on the server is gone with it.
    server.restart();
    publish(&server, "raw.app", &lines[10..]).await;
    let log = wait_for_events(&server, 20).await;
    let (code, said) = running.stop();
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("native: read 20, sent 20, duplicate 0, rejected 0"), "{said}");
    assert_eq!(numbers(&log), (0..20).collect::<Vec<_>>());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_was_packed_before_it_was_noted_that_it_was_read_is_read_once() {
    let server = server_with_streams().await;
    let place = tempfile::tempdir().expect("a temporary directory");
    let (state, log) = (place.path().join("state"), place.path().join("app.log"));
    std::fs::write(&log, "").expect("written");
    once(&server, &state, "logs", &arguments(&log));
    append(&log, 0..100);
    // All of it is kept, and that it is so is not noted.
    let mut dies = command(&server.url(), &state, "logs", &arguments(&log));
    let mut running = Running::start(dies.env("SIGHTLINE_CRASH_POINT", "after_kept:1"));
    running.wait_for("crash point after_kept");
    running.kill();
    append(&log, 100..110);
    std::thread::sleep(std::time::Duration::from_millis(20));
    pack(&log, &place.path().join("app.log.1.gz"));
    // Often under the number of the one that is gone; its first lines are those of the other.
    append(&log, 0..5);
    let output = once(&server, &state, "logs", &arguments(&log));
    assert!(words(&output).contains("native: read 115, sent 15, duplicate 100"), "{}", words(&output));
    let mut expected: Vec<u64> = (0..110).chain(0..5).collect();
    expected.sort_unstable();
    assert_eq!(numbers(&wait_for_events(&server, 115).await), expected);
}
