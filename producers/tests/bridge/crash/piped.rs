//! What comes through a pipe, from a subject, and out of a recording: lines that are written again from the beginning,
//! messages that a stream keeps, and a file that is replayed again.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use async_nats::jetstream::stream::{Config, RetentionPolicy};
use futures_util::future::join_all;
use sightline_producers::crash_point::CrashPoint;

use super::campaign::{POINTS, Source, WITH_CURSOR, survives};
use super::ends::Expected;
use super::files::audit_event;
use super::kills;
use crate::server::Server;
use crate::stage::{Running, command};

/// A pipe into which somebody writes the same lines in every life, from the first one on.
struct Pipe {
    lines: usize,
}

impl Source for Pipe {
    fn command(&self, url: &str, state: &Path) -> Command {
        let mut command = command(url, state, "logs", &["native", "-"]);
        command.stdin(std::process::Stdio::piped());
        command
    }

    fn started(&mut self, running: &mut Running) {
        let line = |at: usize| format!("{{\"source\":\"app\",\"kind\":\"line\",\"number\":{}}}\n", at / 2);
        let pieces =
            (0..self.lines).step_by(100).map(|from| (from..from + 100).map(line).collect::<String>());
        running.write(pieces.collect(), Duration::from_millis(3));
    }

    async fn more(&mut self, _server: &Server, _bus_is_there: bool) {}

    fn expected(&self) -> Expected {
        Expected { events: self.lines, ..Expected::default() }
    }

    fn points(&self) -> &'static [CrashPoint] {
        POINTS
    }

    fn ends_by_itself(&self) -> bool {
        true
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pipe_that_is_written_again_from_its_beginning_is_read_once() {
    survives("standard input", kills(), |_| Pipe { lines: 6_000 }).await;
}

/// Messages on a subject that a stream keeps.
struct Subject {
    mapping: &'static str,
    retention: RetentionPolicy,
    made: bool,
    /// Parts that were given, of which the stream has `there`.
    parts: usize,
    there: usize,
}

/// Events that a part adds.
const EVENTS: usize = 150;

impl Subject {
    fn new(mapping: &'static str, retention: RetentionPolicy) -> Self {
        Subject { mapping, retention, made: false, parts: 0, there: 0 }
    }

    fn messages(&self, part: usize) -> Vec<String> {
        let events = part * EVENTS..(part + 1) * EVENTS;
        match self.mapping {
            // A line a message, as a shipper sends them.
            "auditd" => {
                events.flat_map(|at| audit_event(at).lines().map(str::to_owned).collect::<Vec<_>>()).collect()
            }
            _ => events
                .map(|at| format!("{{\"source\":\"app\",\"kind\":\"line\",\"number\":{}}}", at / 2))
                .collect(),
        }
    }
}

impl Source for Subject {
    fn command(&self, url: &str, state: &Path) -> Command {
        command(url, state, "logs", &[self.mapping, "--subject", "raw.app"])
    }

    async fn more(&mut self, server: &Server, bus_is_there: bool) {
        self.parts += 1;
        if !bus_is_there {
            return;
        }
        let context = server.jetstream().await;
        if !std::mem::replace(&mut self.made, true) {
            let (subjects, retention) = (vec!["raw.>".to_owned()], self.retention);
            let config = Config { name: "RAW".to_owned(), subjects, retention, ..Config::default() };
            context.create_stream(config).await.expect("stream created");
        }
        for part in self.there..self.parts {
            let mut sent = Vec::new();
            for message in self.messages(part) {
                sent.push(context.publish("raw.app", message.into()).await.expect("sent"));
            }
            for stored in join_all(sent.into_iter().map(IntoFuture::into_future)).await {
                stored.expect("stored");
            }
        }
        self.there = self.parts;
    }

    fn expected(&self) -> Expected {
        Expected { events: self.parts * EVENTS, ..Expected::default() }
    }

    fn differing(&self) -> &'static [&'static str] {
        // A message is named by when its stream was made, too.
        &["/source_event_id"]
    }

    fn points(&self) -> &'static [CrashPoint] {
        if self.retention == RetentionPolicy::Limits { WITH_CURSOR } else { ACKNOWLEDGED }
    }
}

const ACKNOWLEDGED: &[CrashPoint] = &[
    CrashPoint::AfterRead,
    CrashPoint::AfterHandOver,
    CrashPoint::HalfRecord,
    CrashPoint::AfterRecord,
    CrashPoint::AfterKept,
    CrashPoint::BeforeStreamAck,
    CrashPoint::AfterSend,
    CrashPoint::AfterAcknowledgement,
    CrashPoint::AfterSpoolCursor,
];

#[tokio::test(flavor = "multi_thread")]
async fn a_subject_that_a_stream_keeps_survives_being_killed_at_any_moment() {
    survives("a subject", kills(), |_| Subject::new("native", RetentionPolicy::Limits)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn audit_events_whose_lines_are_messages_survive_being_killed_at_any_moment() {
    survives("audit messages", kills(), |_| Subject::new("auditd", RetentionPolicy::Limits)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_work_queue_survives_being_killed_at_any_moment() {
    survives("a work queue", kills().min(4), |_| Subject::new("native", RetentionPolicy::WorkQueue)).await;
}

/// A recording that is replayed from its beginning in every life.
struct Recording {
    file: PathBuf,
    frame: &'static str,
    lines: usize,
}

impl Source for Recording {
    fn command(&self, url: &str, _state: &Path) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_sightline-replay"));
        command.args(["--url", url, "--frame", self.frame]).arg(&self.file);
        command
            .stdin(std::process::Stdio::null())
            .stdout(std::process::Stdio::null())
            .stderr(std::process::Stdio::piped());
        command
    }

    async fn more(&mut self, _server: &Server, _bus_is_there: bool) {}

    fn expected(&self) -> Expected {
        Expected { events: self.lines, ..Expected::default() }
    }

    fn points(&self) -> &'static [CrashPoint] {
        &[CrashPoint::AfterSend, CrashPoint::AfterAcknowledgement]
    }

    fn ends_by_itself(&self) -> bool {
        true
    }

    fn passes(&self) -> u64 {
        self.lines as u64 / self.frame.parse::<u64>().expect("a number")
    }
}

async fn recording(name: &str, frame: &'static str) {
    survives(name, kills(), |place| {
        let (file, lines) = (place.join("day.ndjson"), 8_000);
        let line = |at: usize| format!("{{\"source\":\"s{}\",\"source_event_id\":\"{at}\"}}\n", at % 3);
        std::fs::write(&file, (0..lines).map(line).collect::<String>()).expect("written");
        Recording { file, frame, lines }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replay_that_is_begun_again_adds_nothing_twice() {
    recording("replay", "1").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replay_in_frames_that_is_begun_again_adds_nothing_twice() {
    recording("replay in frames", "100").await;
}
