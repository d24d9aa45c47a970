//! The floor plan as a test: who may import whom, how long a file may be, where a package is at home, what the core must
//! not know, and what no file that ships may say.
//!
//! Each check is a function from a tree of files to its findings. It runs on this project, where it must find nothing,
//! and on small made-up trees, where it must find what was put there.

mod checks;
mod source;

use std::path::Path;
use std::sync::LazyLock;

use source::{Tree, read_tree};

type Check = fn(&Tree) -> Vec<String>;

fn keeps(check: Check) {
    static PROJECT: LazyLock<Tree> = LazyLock::new(|| read_tree(Path::new(env!("CARGO_MANIFEST_DIR"))));
    assert!(
        PROJECT.contains_key("engine/lib.rs") && PROJECT.contains_key("schemas/lib.rs"),
        "the tree is here"
    );
    let findings = check(&PROJECT);
    assert!(findings.is_empty(), "{} findings:\n{}", findings.len(), findings.join("\n"));
}

/// `files` are paths and texts; `expected` are the beginnings of the findings, in order.
#[track_caller]
fn finds(check: Check, files: &[(&str, &str)], expected: &[&str]) {
    let tree = files.iter().map(|(path, text)| ((*path).to_owned(), (*text).to_owned())).collect();
    let findings = check(&tree);
    let same = findings.len() == expected.len()
        && findings.iter().zip(expected).all(|(finding, expected)| finding.starts_with(expected));
    assert!(same, "found {findings:#?}, expected {expected:#?}");
}

#[test]
fn imports_point_downward() {
    keeps(checks::imports);
    let clean = [
        ("engine/worker/run.rs", "use crate::bus::EventLog;\nuse crate::{state, telemetry::Metrics};"),
        ("engine/cli/run.rs", "use crate::service;"),
        ("engine/main.rs", "use sightline::cli;"),
        ("engine/core/detect/x.rs", "use crate::bus_like; // crate::api\nuse sightline_schemas::Event;"),
        ("engine/bus/jetstream/pull.rs", "use super::super::BusError;"),
        ("tests/worker.rs", "use sightline::{api, bus};"),
    ];
    finds(checks::imports, &clean, &[]);
    let upward = [
        ("engine/bus/file.rs", "use crate::{\n    bus::BusError,\n    state::table,\n};"),
        ("engine/core/hit.rs", "use sightline::worker;"),
        ("engine/state/mod.rs", "fn f() { crate::bus::g() }"),
        ("engine/telemetry/logging.rs", "use super::super::worker;"),
        ("engine/worker/run.rs", "use crate::api::{self, Readiness};"),
        ("producers/publisher.rs", "use sightline_core::rule;"),
        ("schemas/event.rs", "use sightline_core::rule;"),
    ];
    let expected = [
        "engine/bus/file.rs:3: `bus` imports `state`",
        "engine/core/hit.rs:1: `core` imports `worker`",
        "engine/state/mod.rs:1: `state` imports `bus`",
        "engine/telemetry/logging.rs:1: `super::super::` leaves the room",
        "engine/worker/run.rs:1: `worker` imports `api`",
        "producers/publisher.rs:1: `producers` imports `core`",
        "schemas/event.rs:1: `schemas` imports `core`",
    ];
    finds(checks::imports, &upward, &expected);
}

#[test]
fn files_are_short() {
    keeps(checks::lengths);
    let lines = |count: usize| "//! x\n".repeat(count);
    let (whole, over, tests_over) = (lines(500), lines(501), lines(801));
    let clean = [("engine/a.rs", &*whole), ("tests/a.rs", &over), ("README.md", &tests_over)];
    finds(checks::lengths, &clean, &[]);
    let long = [("benches/a.rs", &*tests_over), ("engine/a.rs", &over), ("schemas/b.rs", &over)];
    finds(checks::lengths, &long, &["benches/a.rs: 801", "engine/a.rs: 501 lines", "schemas/b.rs: 501"]);
}

#[test]
fn packages_stay_at_home() {
    keeps(checks::package_homes);
    let clean = [
        ("engine/bus/jetstream/pull.rs", "use async_nats::Client;"),
        ("engine/state/sled_store.rs", "fn f() { sled::open() }"),
        (
            "engine/state/recovery.rs",
            "let sled = 1; // sled::open\n#[cfg(test)]\nmod tests { use sled::Db; }",
        ),
        ("engine/telemetry/metrics/mod.rs", "use prometheus::Registry;"),
        ("tests/bus.rs", "use async_nats::Client;"),
    ];
    finds(checks::package_homes, &clean, &[]);
    let astray = [
        ("engine/cli/stream.rs", "\nuse async_nats::jetstream;"),
        ("engine/state/store.rs", "fn f() -> sled::Db { g() }"),
        ("engine/worker/run.rs", "use dashmap as map;\nuse prometheus::Gauge;"),
        ("engine/worker/start.rs", "use humantime::Duration;\nuse rmp_serde::from_slice;"),
    ];
    let expected = [
        "engine/cli/stream.rs:2: `async_nats` is at home in",
        "engine/state/store.rs:1: `sled` is at home in",
        "engine/worker/run.rs:1: `dashmap`",
        "engine/worker/run.rs:2: `prometheus`",
        "engine/worker/start.rs:2: `rmp_serde`",
        "engine/worker/start.rs:1: `humantime`",
    ];
    finds(checks::package_homes, &astray, &expected);
}

#[test]
fn the_core_is_pure() {
    keeps(checks::pure_core);
    let manifest = "engine/core/Cargo.toml";
    let clean = [
        (
            manifest,
            "[dependencies]\nregex.workspace = true\ntimeless = \"1\"\n[dev-dependencies]\ntempfile = \"3\"",
        ),
        ("engine/core/key.rs", "use std::net::IpAddr;\n#[cfg(test)]\nmod tests { use std::fs; }"),
    ];
    finds(checks::pure_core, &clean, &[]);
    let impure = [
        (
            manifest,
            "[dependencies]\nregex = \"1\"\ntokio.workspace = true\nfutures-util = \"0.3\"\n[dependencies.sled]\n",
        ),
        ("engine/core/key.rs", "use std::fs;\npub async fn f() {}"),
        ("engine/core/time.rs", "fn now() { std::time::Instant::now() }"),
    ];
    let expected = [
        "engine/core/Cargo.toml:3: the core names `tokio`",
        "engine/core/Cargo.toml:4: the core names `futures-util`",
        "engine/core/Cargo.toml:5: the core names `sled`",
        "engine/core/key.rs:1: `std::fs`",
        "engine/core/key.rs:2: `async`",
        "engine/core/time.rs:1: `std::time::Instant`",
    ];
    finds(checks::pure_core, &impure, &expected);
    finds(checks::pure_core, &[], &["engine/core/Cargo.toml: is missing"]);
}

#[test]
fn every_file_begins_with_its_story() {
    keeps(checks::stories);
    finds(checks::stories, &[("engine/a/mod.rs", "//! The room.\nmod b;"), ("tests/a.rs", "use b;")], &[]);
    finds(
        checks::stories,
        &[("engine/a/mod.rs", "mod b;\n//! Late.")],
        &["engine/a/mod.rs:1: begins without"],
    );
}

#[test]
fn modules_have_names() {
    keeps(checks::names);
    finds(checks::names, &[("engine/bus/reply.rs", "fn common() {} // mod utils\nmod helpful;")], &[]);
    let empty =
        [("engine/a.rs", "\npub mod helpers {}"), ("engine/utils/b.rs", ""), ("producers/manager.rs", "")];
    let expected = [
        "engine/a.rs:2: module `helpers`",
        "engine/utils/b.rs:1: `utils`",
        "producers/manager.rs:1: `manager`",
    ];
    finds(checks::names, &empty, &expected);
}

#[test]
fn what_ships_is_finished() {
    keeps(checks::finished);
    let clean = [
        (
            "engine/a.rs",
            "x.unwrap_or(1); // todo!\nlet a = \".unwrap()\";\n#[cfg(test)]\nmod tests { fn f() { x.unwrap() } }",
        ),
        ("tests/support/mod.rs", "#![allow(dead_code)]"),
    ];
    finds(checks::finished, &clean, &[]);
    let unfinished = [
        ("engine/a.rs", "#[allow(dead_code)]\nfn f() { todo!() }"),
        ("schemas/b.rs", "\nx.unwrap();\nunimplemented!(\"later\")"),
    ];
    let expected = [
        "engine/a.rs:2: `todo!`",
        "engine/a.rs:1: `#[allow(`",
        "schemas/b.rs:2: `.unwrap()`",
        "schemas/b.rs:3: `unimplemented!`",
    ];
    finds(checks::finished, &unfinished, &expected);
}

#[test]
fn no_file_names_a_place_on_one_machine() {
    keeps(checks::own_places);
    let (work, worktree) = (concat!("see /wo", "rk/x"), concat!("in /tmp", "/wt/a"));
    let others = concat!("a/wo", "rk/b, /workers/");
    let clean = [("README.md", others), (".ci/run", concat!("../sha", "red/data"))];
    finds(checks::own_places, &clean, &[]);
    let named = [("README.md", work), ("engine/a.rs", worktree)];
    finds(checks::own_places, &named, &["README.md:1: names", "engine/a.rs:1: names"]);
}
