//! Files that are followed: plain ones, ones that are put aside and packed while the bridge lives or is dead, and an audit
//! log, whose lines belong together.

use std::fs::OpenOptions;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use sightline_producers::crash_point::CrashPoint;

use super::campaign::{Source, WITH_CURSOR, survives};
use super::ends::Expected;
use super::kills;
use crate::files::pack;
use crate::server::Server;
use crate::stage::command;

/// Lines that a piece adds; a life adds three pieces. More than are read at once.
const PIECE: usize = 400;

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// Numbered lines, some of which are no events; put aside in every other life.
    Rotated,
    /// The same, packed in the same moment: with gzip and zstd in turn.
    Packed,
    /// Audit events of several lines each.
    Audit,
}

struct Followed {
    kind: Kind,
    log: PathBuf,
    parts: usize,
    written: usize,
    expected: Expected,
}

impl Followed {
    fn new(kind: Kind, place: &Path) -> Self {
        let log = place.join("app.log");
        std::fs::write(&log, "").expect("written");
        Followed { kind, log, parts: 0, written: 0, expected: Expected::default() }
    }

    fn append(&mut self) {
        let mut text = String::new();
        for at in self.written..self.written + PIECE {
            match self.kind {
                Kind::Audit => text.push_str(&audit_event(at)),
                _ if at % 100 == 99 => text.push_str(&format!("no event {at}\n")),
                _ => text.push_str(&format!("{{\"source\":\"app\",\"kind\":\"line\",\"number\":{at}}}\n")),
            }
            let letters = usize::from(self.kind != Kind::Audit && at % 100 == 99);
            self.expected += Expected { events: 1 - letters, letters, evidence: 0 };
        }
        self.written += PIECE;
        // Nobody reads half of what is written at once.
        let mut file = OpenOptions::new().create(true).append(true).open(&self.log).expect("opened");
        file.write_all(text.as_bytes()).expect("written");
    }

    fn rotate(&self) {
        let aside = PathBuf::from(format!("{}.{}", self.log.display(), self.parts));
        std::fs::rename(&self.log, &aside).expect("renamed");
        if self.kind == Kind::Packed {
            let ending = if self.parts.is_multiple_of(4) { "gz" } else { "zst" };
            pack(&aside, &PathBuf::from(format!("{}.{ending}", aside.display())));
        }
    }
}

/// What one call of the kernel leaves; every third without a line that says that it is the last.
pub fn audit_event(at: usize) -> String {
    let stamp = format!("msg=audit(1778241601.{:03}:{})", at % 1_000, at + 1);
    let end = if at.is_multiple_of(3) {
        String::new()
    } else {
        format!("type=PROCTITLE {stamp}: proctitle=636174\n")
    };
    format!(
        "type=SYSCALL {stamp}: arch=c000003e syscall=59 success=yes exe=\"/usr/bin/cat\" key=\"k\"\n\
         type=EXECVE {stamp}: argc=2 a0=\"cat\" a1=\"{at}\"\ntype=CWD {stamp}: cwd=\"/root\"\n{end}"
    )
}

impl Source for Followed {
    fn command(&self, url: &str, state: &Path) -> Command {
        let mapping = if self.kind == Kind::Audit { "auditd" } else { "native" };
        command(url, state, "logs", &["--look-every", "5ms", mapping, self.log.to_str().expect("plain path")])
    }

    async fn more(&mut self, _server: &Server, _bus_is_there: bool) {
        let rotates = self.kind != Kind::Audit && self.parts % 2 == 1;
        for piece in 0..3 {
            self.append();
            // Files that are put aside one after the other have different times.
            tokio::time::sleep(Duration::from_millis(30)).await;
            if rotates && piece == 1 {
                self.rotate();
            }
        }
        self.parts += 1;
    }

    fn expected(&self) -> Expected {
        self.expected
    }

    fn differing(&self) -> &'static [&'static str] {
        // A line is named by the number of its file on the disk, too.
        &["/source_event_id"]
    }

    fn points(&self) -> &'static [CrashPoint] {
        if self.kind == Kind::Audit { WITH_CURSOR } else { ROTATED }
    }

    fn knows(&self) -> Option<&'static str> {
        // What was put aside before a bridge ever looked is none of its business.
        Some("following")
    }
}

const ROTATED: &[CrashPoint] = &[
    CrashPoint::AfterRead,
    CrashPoint::AfterHandOver,
    CrashPoint::HalfRecord,
    CrashPoint::AfterRecord,
    CrashPoint::AfterReject,
    CrashPoint::AfterKept,
    CrashPoint::AfterLeaving,
    CrashPoint::BeforeCursorFlush,
    CrashPoint::AfterCursor,
    CrashPoint::AfterSend,
    CrashPoint::AfterAcknowledgement,
    CrashPoint::AfterSpoolCursor,
];

async fn followed(name: &str, kind: Kind) {
    survives(name, kills(), |place| Followed::new(kind, place)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_is_put_aside_survives_being_killed_at_any_moment() {
    followed("a rotated file", Kind::Rotated).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_is_packed_survives_being_killed_at_any_moment() {
    followed("a packed file", Kind::Packed).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_audit_log_survives_being_killed_at_any_moment() {
    followed("an audit log", Kind::Audit).await;
}
