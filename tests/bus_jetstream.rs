//! The input log and the streams on a real nats-server: exact, whatever happens to the server, the consumer or the stream.

mod support;

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;
use futures_util::StreamExt;
use nkeys::KeyPair;
use serde_json::json;
use sightline::bus::jetstream::streams::Outcome;
use sightline::bus::jetstream::{
    ConnectSettings, FirstConnect, JetStreamEvents, Shrink, StreamSettings, connect, setup,
};
use sightline::bus::{BusError, EventLog, LogMessage};
use support::bus::{Bus, SUBJECT, number};
use support::nats::NatsServer;

const WAIT: Duration = Duration::from_millis(200);

/// The next batch, however often the bus has to be asked.
async fn batch(events: &mut JetStreamEvents, max: usize) -> Vec<LogMessage> {
    loop {
        match events.next_batch(max, WAIT).await {
            Ok(batch) => return batch,
            Err(BusError::Retry { .. }) => {}
            Err(error) => panic!("{error}"),
        }
    }
}

/// Reads `first..=last`, each of them once and in order.
async fn expect_events(events: &mut JetStreamEvents, first: u64, last: u64, max: usize) {
    let mut next = first;
    while next <= last {
        let left = usize::try_from(last + 1 - next).expect("small");
        for message in batch(events, max.min(left)).await {
            assert_eq!((message.seq, number(&message.body)), (next, next));
            assert_eq!(message.subject.as_deref(), Some(SUBJECT));
            assert!(message.received_at.is_some());
            next += 1;
        }
    }
    assert_eq!(next, last + 1);
}

/// The error that reading comes to, after whatever can still be read.
async fn reading_error(events: &mut JetStreamEvents) -> BusError {
    // Many more calls than any test needs: a reader that finds nothing wrong fails, and does not hang.
    for _ in 0..200 {
        match events.next_batch(100, WAIT).await {
            Ok(_) | Err(BusError::Retry { .. }) => {}
            Err(error) => return error,
        }
    }
    panic!("reading goes on without an error");
}

#[tokio::test]
async fn events_come_in_order_and_once_whatever_the_batch_size() {
    let bus = Bus::start().await;
    bus.publish(1, 5_000).await;
    for max in [1, 7, 1_000, 100_000] {
        let mut events = bus.events(1).await;
        expect_events(&mut events, 1, 5_000, max).await;
        assert!(batch(&mut events, max).await.is_empty());
    }
    let mut events = bus.events(4_990).await;
    expect_events(&mut events, 4_990, 5_000, 4).await;
    bus.publish(5_001, 5_010).await;
    expect_events(&mut events, 5_001, 5_010, 100).await;
}

#[tokio::test]
async fn headers_and_appended_messages_are_read_back() {
    let bus = Bus::start().await;
    let mut events = bus.events(1).await;
    assert!(events.last_on("control.rules").await.expect("answered").is_none());
    let headers = [("Content-Type", "application/json".to_owned()), ("Content-Encoding", "zstd".to_owned())];
    for number in 1..=3_u64 {
        let body = Bytes::from(number.to_string());
        assert_eq!(events.append("control.rules", &headers, body).await.expect("stored"), number);
    }
    let read = batch(&mut events, 1).await;
    assert_eq!(read[0].content_type.as_deref(), Some("application/json"));
    assert_eq!(read[0].content_encoding.as_deref(), Some("zstd"));
    let first = events.first_on("control.rules").await.expect("answered").expect("stored");
    let last = events.last_on("control.rules").await.expect("answered").expect("stored");
    assert_eq!((first.seq, last.seq, number(&last.body)), (1, 3, 3));
    assert_eq!((first.received_at, &first.content_type), (read[0].received_at, &read[0].content_type));
    let info = events.info().await.expect("answered");
    assert_eq!((info.first_seq, info.last_seq), (1, 3));
    assert!(info.id.starts_with("EVENTS@2") && info.id.ends_with('Z'), "{}", info.id);
}

#[tokio::test]
async fn a_consumer_deleted_on_the_server_is_made_anew() {
    let bus = Bus::start().await;
    bus.publish(1, 30_000).await;
    let mut events = bus.events(1).await;
    let mut deleted = 0;
    // Each round is longer than what is on its way when the consumer dies.
    for round in 0..4 {
        expect_events(&mut events, round * 7_000 + 1, (round + 1) * 7_000, 1_000).await;
        let stream = bus.stream("EVENTS").await;
        let names: Vec<String> = stream.consumer_names().map(|name| name.expect("a name")).collect().await;
        for name in names {
            stream.delete_consumer(&name).await.expect("deleted");
            deleted += 1;
        }
    }
    assert!(deleted >= 3, "{deleted}");
    expect_events(&mut events, 28_001, 30_000, 1_000).await;
    assert!(batch(&mut events, 1).await.is_empty());
}

#[tokio::test]
async fn a_server_killed_while_events_are_read_costs_none() {
    let mut bus = Bus::start().await;
    bus.publish(1, 20_000).await;
    let mut events = bus.events(1).await;
    expect_events(&mut events, 1, 3_000, 500).await;
    bus.restart().await;
    expect_events(&mut events, 3_001, 20_000, 500).await;
    assert!(batch(&mut events, 1).await.is_empty());
    bus.restart().await;
    bus.publish(20_001, 20_100).await;
    expect_events(&mut events, 20_001, 20_100, 500).await;
}

#[tokio::test]
async fn purged_events_are_a_gap_that_is_named_until_the_reader_goes_on() {
    let bus = Bus::start().await;
    bus.publish(1, 10_000).await;
    let mut events = bus.events(1).await;
    expect_events(&mut events, 1, 100, 100).await;
    let stream = bus.stream("EVENTS").await;
    stream.purge().sequence(9_001).await.expect("purged");
    let mut events = bus.events(101).await;
    for _ in 0..2 {
        let error = reading_error(&mut events).await;
        assert!(matches!(error, BusError::Gap { first: 101, last: 9_000 }), "{error}");
    }
    events.seek(9_001).await.expect("positioned");
    expect_events(&mut events, 9_001, 10_000, 100).await;
    // Nothing is left, and nothing comes: an idle reader must find out all the same.
    bus.publish(10_001, 10_010).await;
    expect_events(&mut events, 10_001, 10_001, 1).await;
    drop(events);
    let mut events = bus.events(10_002).await;
    stream.purge().await.expect("purged");
    let error = reading_error(&mut events).await;
    assert!(matches!(error, BusError::Gap { first: 10_002, last: 10_010 }), "{error}");
}

#[tokio::test]
async fn an_idle_reader_finds_out_that_the_log_was_purged() {
    let bus = Bus::start().await;
    let mut events = bus.events(1).await;
    assert!(batch(&mut events, 1).await.is_empty());
    let stream = bus.stream("EVENTS").await;
    // An empty stream whose next sequence is moved on, as after a purge that was quicker than the delivery.
    stream.purge().sequence(501).await.expect("purged");
    let error = reading_error(&mut events).await;
    assert!(matches!(error, BusError::Gap { first: 1, last: 500 }), "{error}");
}

#[tokio::test]
async fn a_message_deleted_in_the_middle_is_a_gap_of_one() {
    let bus = Bus::start().await;
    bus.publish(1, 100).await;
    let stream = bus.stream("EVENTS").await;
    for seq in [50, 51, 60] {
        stream.delete_message(seq).await.expect("deleted");
    }
    let mut events = bus.events(1).await;
    expect_events(&mut events, 1, 49, 1_000).await;
    let error = reading_error(&mut events).await;
    assert!(matches!(error, BusError::Gap { first: 50, last: 51 }), "{error}");
    events.seek(52).await.expect("positioned");
    expect_events(&mut events, 52, 59, 1_000).await;
    let error = reading_error(&mut events).await;
    assert!(matches!(error, BusError::Gap { first: 60, last: 60 }), "{error}");
    events.seek(61).await.expect("positioned");
    expect_events(&mut events, 61, 100, 1_000).await;
}

#[tokio::test]
async fn a_log_that_is_created_anew_is_another_log() {
    let bus = Bus::start().await;
    bus.publish(1, 100).await;
    let mut events = JetStreamEvents::new(bus.connection.clone(), "EVENTS");
    let before = events.info().await.expect("answered");
    events.seek(1).await.expect("positioned");
    expect_events(&mut events, 1, 100, 1_000).await;
    bus.plain.delete_stream("EVENTS").await.expect("deleted");
    setup(&bus.connection, &StreamSettings::default(), Shrink::Refuse).await.expect("streams");
    // More than before: the sequence alone would not show it.
    bus.publish(1, 200).await;
    for _ in 0..2 {
        assert!(matches!(reading_error(&mut events).await, BusError::Replaced));
    }
    let after = events.info().await.expect("answered");
    assert_ne!(before.id, after.id);
    events.seek(after.first_seq).await.expect("positioned");
    expect_events(&mut events, 1, 200, 1_000).await;
}

#[tokio::test]
async fn a_log_that_ends_before_our_place_is_another_log() {
    let bus = Bus::start().await;
    bus.publish(1, 10).await;
    let mut events = bus.events(50).await;
    assert!(matches!(reading_error(&mut events).await, BusError::Replaced));
}

#[tokio::test]
async fn setting_up_twice_changes_nothing_and_deletes_nothing_unasked() {
    let bus = Bus::start().await;
    let settings = StreamSettings::default();
    let outcomes = |reports: Vec<sightline::bus::jetstream::streams::StreamReport>| {
        reports.into_iter().map(|report| report.outcome).collect::<Vec<_>>()
    };
    let again = setup(&bus.connection, &settings, Shrink::Refuse).await.expect("set up");
    assert_eq!(outcomes(again), [const { Outcome::Unchanged }; 4]);

    bus.publish(1, 1_000).await;
    let smaller = StreamSettings { events_max_bytes: 20_000, ..settings.clone() };
    let error = setup(&bus.connection, &smaller, Shrink::Refuse).await.expect_err("refused").to_string();
    assert!(error.contains("EVENTS") && error.contains("20000"), "{error}");
    assert_eq!(bus.stream("EVENTS").await.cached_info().state.messages, 1_000);

    let changed = setup(&bus.connection, &smaller, Shrink::Allow).await.expect("set up");
    let expected = format!("max_bytes {} -> 20000", settings.events_max_bytes);
    let unchanged = || Outcome::Unchanged;
    assert_eq!(outcomes(changed), [Outcome::Changed(vec![expected]), unchanged(), unchanged(), unchanged()]);
    assert!(bus.stream("EVENTS").await.cached_info().state.messages < 1_000);
}

#[tokio::test]
async fn a_server_without_room_says_what_is_asked_for_and_which_setting_to_lower() {
    let server = NatsServer::start_with("jetstream { store_dir: \"$STORE_DIR\", max_file_store: 3GB }");
    let settings = ConnectSettings { url: server.url(), ..ConnectSettings::default() };
    let connection = connect(&settings, FirstConnect::OrFail).await.expect("connected");
    let error = setup(&connection, &StreamSettings::default(), Shrink::Refuse).await.expect_err("no room");
    assert!(matches!(error, BusError::Stop(_)), "{error}");
    let error = error.to_string();
    for part in [
        "stream EVENTS is left as it is",
        "6GiB (streams.events_max_bytes 4GiB, streams.incidents_max_bytes 512MiB, ",
        "this account has 0B reserved and no limit of its own",
        "`max_file_store`",
        "Lower streams.events_max_bytes first",
    ] {
        assert!(error.contains(part), "{part}: {error}");
    }
    let smaller = StreamSettings { events_max_bytes: 512 << 20, ..StreamSettings::default() };
    let reports = setup(&connection, &smaller, Shrink::Refuse).await.expect("room for these");
    assert!(reports.iter().all(|report| report.outcome == Outcome::Created), "{reports:?}");
}

#[tokio::test]
async fn an_account_without_room_is_told_before_anything_is_made() {
    let server = NatsServer::start_with(
        "jetstream { store_dir: \"$STORE_DIR\", max_file_store: 8GB }\n\
         accounts { A { jetstream: { max_file: 1GB }, users: [ { user: anna, password: p } ] } }",
    );
    let settings = ConnectSettings {
        url: server.url(),
        user: Some("anna".to_owned()),
        password: Some("p".to_owned()),
        ..ConnectSettings::default()
    };
    let connection = connect(&settings, FirstConnect::OrFail).await.expect("connected");
    let most = StreamSettings { events_max_bytes: 768 << 20, ..StreamSettings::default() };
    let small = StreamSettings {
        incidents_max_bytes: 64 << 20,
        deadletter_max_bytes: 64 << 20,
        evidence_max_bytes: 64 << 20,
        ..most.clone()
    };
    let error = setup(&connection, &most, Shrink::Refuse).await.expect_err("no room").to_string();
    assert!(error.contains("may keep 1GiB, of which 0B are taken and 1GiB are left"), "{error}");
    // Nothing was made: as much as fits can be.
    let reports = setup(&connection, &small, Shrink::Refuse).await.expect("room for these");
    assert!(reports.iter().all(|report| report.outcome == Outcome::Created), "{reports:?}");
    let error = setup(&connection, &most, Shrink::Refuse).await.expect_err("no room").to_string();
    assert!(error.contains("of which 960MiB are taken and 64MiB are left"), "{error}");
}

#[tokio::test]
async fn evidence_can_be_neither_deleted_nor_purged() {
    let bus = Bus::start().await;
    let stored = bus.plain.publish("evidence.default.api", "as it came".into()).await.expect("sent");
    let seq = stored.await.expect("stored").sequence;
    let evidence = bus.stream("EVIDENCE").await;
    assert!(evidence.delete_message(seq).await.is_err());
    assert!(evidence.purge().await.is_err());
    // Nor are the two switches taken back.
    let mut config = evidence.cached_info().config.clone();
    (config.deny_delete, config.deny_purge) = (false, false);
    assert!(bus.plain.update_stream(config).await.is_err());
    assert_eq!(evidence.get_raw_message(seq).await.expect("there").payload.as_ref(), b"as it came");
}

#[tokio::test]
async fn a_server_that_comes_later_is_waited_for_and_wrong_credentials_are_not() {
    let mut server = NatsServer::start_with("authorization { user: anna, password: right }");
    server.kill();
    let right = ConnectSettings {
        url: server.url(),
        user: Some("anna".to_owned()),
        password: Some("right".to_owned()),
        ..ConnectSettings::default()
    };
    let error = connect(&right, FirstConnect::OrFail).await.expect_err("nobody is there");
    assert!(matches!(error, BusError::Retry { .. }), "{error}");
    let waiting = tokio::spawn({
        let right = right.clone();
        async move { connect(&right, FirstConnect::KeepTrying).await }
    });
    server.revive();
    assert!(waiting.await.expect("no panic").expect("connected").is_connected());
    let wrong = ConnectSettings { password: Some("wrong".to_owned()), ..right };
    let error = connect(&wrong, FirstConnect::KeepTrying).await.expect_err("refused");
    assert!(matches!(error, BusError::Stop(_)), "{error}");
}

/// The input log comes over a connection of its own, which logs in once more.
#[tokio::test]
async fn whatever_lets_us_in_lets_us_read() {
    const USER: &str = "authorization { user: anna, password: right }";
    const TOKEN: &str = "authorization { token: secret }";
    let plain = |url: String| ConnectSettings { url, ..ConnectSettings::default() };
    let (anna, right) = (Some("anna".to_owned()), Some("right".to_owned()));
    let by_user = |url| ConnectSettings { user: anna.clone(), password: right.clone(), ..plain(url) };
    let by_token = |url| ConnectSettings { token: Some("secret".to_owned()), ..plain(url) };
    let by_address =
        |login: &'static str| move |url: String| plain(url.replace("//", &format!("//{login}@")));
    let ways: [(&str, &dyn Fn(String) -> ConnectSettings); 4] = [
        (USER, &by_user),
        (USER, &by_address("anna:right")),
        (TOKEN, &by_token),
        (TOKEN, &by_address("secret")),
    ];
    for (authorization, settings) in ways {
        let server = NatsServer::start_with(authorization);
        reads(&settings(server.url())).await;
    }
}

/// A JSON Web Token as NATS has them.
fn token(issuer: &KeyPair, subject: &KeyPair, nats: serde_json::Value) -> String {
    let (issuer_key, subject_key) = (issuer.public_key(), subject.public_key());
    let claims = json!({ "jti": subject_key, "iat": 1_700_000_000, "iss": issuer_key, "sub": subject_key, "name": "test", "nats": nats });
    let header = json!({ "typ": "JWT", "alg": "ed25519-nkey" });
    let encode = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
    let signed =
        format!("{}.{}", encode(header.to_string().as_bytes()), encode(claims.to_string().as_bytes()));
    let signature = issuer.sign(signed.as_bytes()).expect("a key that signs");
    format!("{signed}.{}", encode(&signature))
}

#[tokio::test]
async fn a_credentials_file_lets_us_read() {
    let (operator, system, account, user) =
        (KeyPair::new_operator(), KeyPair::new_account(), KeyPair::new_account(), KeyPair::new_user());
    let limits = json!({ "subs": -1, "data": -1, "payload": -1, "imports": -1, "exports": -1, "wildcards": true,
        "conn": -1, "leaf": -1, "mem_storage": -1, "disk_storage": -1, "streams": -1, "consumer": -1 });
    let of_account = json!({ "type": "account", "version": 2, "limits": limits });
    let of_system = json!({ "type": "account", "version": 2, "limits": { "subs": -1, "data": -1, "payload": -1,
        "imports": -1, "exports": -1, "wildcards": true, "conn": -1, "leaf": -1 } });
    let of_user = json!({ "type": "user", "version": 2, "subs": -1, "data": -1, "payload": -1 });
    let server = NatsServer::start_with(&format!(
        "operator: {}\nresolver: MEMORY\nsystem_account: {}\nresolver_preload {{ {}: {}, {}: {} }}",
        token(&operator, &operator, json!({ "type": "operator", "version": 2 })),
        system.public_key(),
        system.public_key(),
        token(&operator, &system, of_system),
        account.public_key(),
        token(&operator, &account, of_account),
    ));
    let dir = tempfile::tempdir().expect("a directory");
    let creds = dir.path().join("nats.creds");
    let text = format!(
        "-----BEGIN NATS USER JWT-----\n{}\n------END NATS USER JWT------\n\n\
         -----BEGIN USER NKEY SEED-----\n{}\n------END USER NKEY SEED------\n",
        token(&account, &user, of_user),
        user.seed().expect("our own key"),
    );
    std::fs::write(&creds, text).expect("written");
    let settings =
        ConnectSettings { url: server.url(), creds_file: Some(creds), ..ConnectSettings::default() };
    reads(&settings).await;
}

/// Writes a message, and reads it back.
async fn reads(settings: &ConnectSettings) {
    let connection = connect(settings, FirstConnect::OrFail).await.expect("connected");
    setup(&connection, &StreamSettings::default(), Shrink::Refuse).await.expect("streams");
    let mut events = JetStreamEvents::new(connection, "EVENTS");
    events.append("events.default.edr", &[], "{}".into()).await.expect("stored");
    events.seek(1).await.expect("a place");
    let batch = events.next_batch(10, Duration::from_secs(10)).await.expect("read");
    let bodies: Vec<&[u8]> = batch.iter().map(|message| &message.body[..]).collect();
    assert_eq!(bodies, [b"{}"], "{settings:?}");
}

#[tokio::test]
async fn a_subject_that_is_not_allowed_is_named_where_it_looks_like_a_time_out() {
    let server = NatsServer::start_with(
        r#"authorization { users = [ { user: anna, password: p, permissions: { publish: { deny: "control.>" } } } ] }"#,
    );
    let settings = ConnectSettings {
        url: server.url(),
        user: Some("anna".to_owned()),
        password: Some("p".to_owned()),
        ..ConnectSettings::default()
    };
    let connection = connect(&settings, FirstConnect::OrFail).await.expect("connected");
    setup(&connection, &StreamSettings::default(), Shrink::Refuse).await.expect("streams");
    let mut events = JetStreamEvents::new(connection, "EVENTS");
    let error = events.append("control.tick", &[], Bytes::new()).await.expect_err("not allowed").to_string();
    assert!(error.contains("Permissions Violation") && error.contains("control.tick"), "{error}");
}
