//! What the tree must keep to. Each check takes a tree and gives its findings, one line each: where, what, and what to do.

use crate::source::{Tree, code, is_test, line_of, paths_from, shipped_code, words};

/// Rooms and crates with what each may import, lowest first. State and bus never meet.
const ROOMS: [(&str, &[&str]); 11] = [
    ("schemas", &[]),
    ("core", &["schemas"]),
    ("producers", &["schemas"]),
    ("state", &["schemas", "core"]),
    ("bus", &["schemas"]),
    ("config", &["schemas"]),
    ("telemetry", &["schemas", "config"]),
    ("worker", &["schemas", "core", "state", "bus", "config", "telemetry"]),
    ("api", &["schemas", "core", "state", "bus", "config", "telemetry", "worker"]),
    ("service", &["schemas", "core", "state", "bus", "config", "telemetry", "worker", "api"]),
    ("cli", &["schemas", "core", "state", "bus", "config", "telemetry", "worker", "api", "service"]),
];

/// Crates of ours, by the name that `use` knows them by.
const CRATES: [(&str, &str); 3] =
    [("sightline_schemas", "schemas"), ("sightline_core", "core"), ("sightline_producers", "producers")];

/// The files in which a package may be named, besides tests. A prefix ending in `/` is a folder.
const HOMES: [(&str, &[&str]); 19] = [
    (
        "async_nats",
        &[
            "engine/bus/jetstream/",
            "producers/lib.rs",
            "producers/publisher.rs",
            "producers/connect.rs",
            "producers/replay/",
            "producers/bridge/logs/subject.rs",
        ],
    ),
    ("sled", &["engine/state/sled_store.rs", "producers/bridge/cursor.rs"]),
    ("dashmap", &["engine/state/table.rs"]),
    ("prometheus", &["engine/telemetry/metrics/"]),
    ("rmp_serde", &["schemas/", "engine/worker/checkpoint.rs", "engine/state/"]),
    (
        "humantime",
        &[
            "engine/config/",
            "engine/core/rule/",
            "engine/cli/",
            "engine/bus/jetstream/streams.rs",
            "producers/replay/",
            "producers/publish_error.rs",
            "producers/bridge/arguments.rs",
        ],
    ),
    ("axum", &["engine/api/", "producers/bridge/endpoint.rs", "producers/bridge/receive/"]),
    ("reqwest", &["producers/bridge/poll/http.rs"]),
    ("csv", &["producers/bridge/format/"]),
    (
        "tokio_rustls",
        &["engine/api/", "engine/cli/http.rs", "engine/bus/jetstream/login.rs", "producers/bridge/receive/"],
    ),
    ("rayon", &["engine/worker/reading.rs"]),
    ("rustls_native_certs", &["engine/bus/jetstream/login.rs"]),
    ("hyper", &["producers/bridge/receive/server.rs"]),
    ("hyper_util", &["producers/bridge/receive/server.rs"]),
    ("nkeys", &["engine/cli/nats_keys.rs", "engine/bus/jetstream/login.rs"]),
    (
        "base64",
        &[
            "engine/bus/jetstream/by_hand.rs",
            "engine/bus/jetstream/login.rs",
            "engine/core/predicate/encoded.rs",
        ],
    ),
    ("comfy_table", &["engine/cli/"]),
    ("indicatif", &["producers/replay/", "engine/cli/"]),
    (
        "serde_saphyr",
        &["engine/core/rule/tree.rs", "engine/config/yaml.rs", "producers/bridge/mapping/tree.rs"],
    ),
];

/// Packages that wait, read or write, or know a clock or chance, and whatever begins like them.
const IMPURE: [&str; 30] = [
    "anyhow",
    "async",
    "axum",
    "chrono",
    "clap",
    "crossbeam",
    "dashmap",
    "fs",
    "futures",
    "getrandom",
    "hyper",
    "jiff",
    "mio",
    "nix",
    "notify",
    "parking_lot",
    "prometheus",
    "rand",
    "rayon",
    "reqwest",
    "rustix",
    "sled",
    "smol",
    "socket2",
    "tempfile",
    "time",
    "tokio",
    "tracing",
    "ureq",
    "uuid",
];

/// The same in the standard library.
const IMPURE_STD: [&str; 8] =
    ["fs", "io", "env", "process", "thread", "os", "time::Instant", "time::SystemTime"];

/// Names that say nothing of what a module is about.
const EMPTY_NAMES: [&str; 12] = [
    "common", "handler", "handlers", "helper", "helpers", "manager", "managers", "misc", "shared", "util",
    "utils", "stuff",
];

/// What may not be written in code that ships, and what to write instead.
const UNFINISHED: [(&str, &str); 6] = [
    (".unwrap()", "use `expect(\"why it cannot fail\")`, or give the error on"),
    ("todo!", "finish it"),
    ("unimplemented!", "finish it"),
    ("dbg!", "use `tracing`"),
    ("#[allow(", "use `#[expect(lint, reason = \"…\")]`"),
    ("#![allow(", "use `#![expect(lint, reason = \"…\")]`"),
];

/// Most lines of a file that ships, and of one that tests or measures.
const LINES_MAX: usize = 500;
const TEST_LINES_MAX: usize = 800;

/// Places on somebody's own machine. In two halves, so that this file names none.
const OWN_PLACES: [&str; 4] =
    [concat!("/wo", "rk/"), concat!("/tmp", "/wt"), concat!("../sha", "red"), concat!("/ro", "ot/")];

fn rust(tree: &Tree) -> impl Iterator<Item = (&String, &String)> {
    let ours = |path: &str| {
        ["engine/", "schemas/", "producers/", "tests/", "benches/"].iter().any(|dir| path.starts_with(dir))
    };
    tree.iter().filter(move |(path, _)| path.ends_with(".rs") && ours(path))
}

/// The room or crate that a file belongs to; `None` for those that may import anything.
fn room(path: &str) -> Option<&'static str> {
    if is_test(path) && !path.starts_with("engine/") {
        return None;
    }
    let rest = path.strip_prefix("engine/").unwrap_or(path);
    let first = rest.split('/').next().unwrap_or(rest);
    let first = first.strip_suffix(".rs").unwrap_or(first);
    ROOMS.iter().find(|(name, _)| *name == first).map(|(name, _)| *name)
}

/// Imports point downward only.
pub fn imports(tree: &Tree) -> Vec<String> {
    let mut findings = Vec::new();
    for (path, text) in rust(tree) {
        let Some(room) = room(path) else { continue };
        let allowed = ROOMS.iter().find(|(name, _)| *name == room).map_or(&[][..], |(_, below)| below);
        let code = code(text);
        let mut named: Vec<(usize, &str)> = Vec::new();
        // Inside these crates, `crate::` names their own rooms.
        if !["schemas", "core", "producers"].contains(&room) {
            named.extend(paths_from(&code, "crate"));
            climbs(path, &shipped_code(path, text), &mut findings);
        }
        named.extend(paths_from(&code, "sightline"));
        for (name, of) in CRATES {
            named.extend(words(&code, name).map(|at| (at, of)));
        }
        for (at, target) in named {
            let known = ROOMS.iter().any(|(name, _)| *name == target);
            if known && target != room && !allowed.contains(&target) {
                findings.push(format!(
                    "{path}:{}: `{room}` imports `{target}`, and may import only {allowed:?}: move what both need into \
                     one of these, or let the caller pass it in",
                    line_of(&code, at)
                ));
            }
        }
    }
    findings
}

/// A chain of `super::` that leaves its room hides where it goes.
fn climbs(path: &str, code: &str, findings: &mut Vec<String>) {
    let rest = path.strip_prefix("engine/").unwrap_or(path);
    let module = rest.strip_suffix("/mod.rs").or_else(|| rest.strip_suffix(".rs")).unwrap_or(rest);
    let out_of_room = "super::".repeat(module.split('/').count());
    if let Some(at) = code.find(&out_of_room) {
        findings.push(format!(
            "{path}:{}: `{out_of_room}` leaves the room: write `crate::<room>`, so that imports can be checked",
            line_of(code, at)
        ));
    }
}

/// A file is one idea and has a length to match.
pub fn lengths(tree: &Tree) -> Vec<String> {
    let too_long = |(path, text): (&String, &String)| {
        let lines_max = if is_test(path) { TEST_LINES_MAX } else { LINES_MAX };
        let lines = text.lines().count();
        (lines > lines_max).then(|| {
            format!("{path}: {lines} lines, at most {lines_max}: find its second idea and give that a file of its own")
        })
    };
    rust(tree).filter_map(too_long).collect()
}

/// A package is named in its home only.
pub fn package_homes(tree: &Tree) -> Vec<String> {
    let mut findings = Vec::new();
    for (path, text) in rust(tree) {
        let code = shipped_code(path, text);
        for (package, homes) in HOMES {
            let at_home =
                homes.iter().any(|home| path == home || home.ends_with('/') && path.starts_with(home));
            let used = words(&code, package).find(|at| {
                let before = code[..*at].trim_end();
                code[at + package.len()..].starts_with("::") && !before.ends_with("::")
                    || before.ends_with("use")
            });
            if let Some(at) = used.filter(|_| !at_home) {
                findings.push(format!(
                    "{path}:{}: `{package}` is at home in {homes:?}: ask for what is needed there, or, if this is a \
                     home too, add it to the list in {}",
                    line_of(&code, at),
                    file!()
                ));
            }
        }
    }
    findings
}

/// The core waits for nothing, reads nothing and writes nothing: its manifest and its source say so.
pub fn pure_core(tree: &Tree) -> Vec<String> {
    const MANIFEST: &str = "engine/core/Cargo.toml";
    let mut findings = Vec::new();
    let Some(manifest) = tree.get(MANIFEST) else { return vec![format!("{MANIFEST}: is missing")] };
    let mut section = "";
    for (number, line) in manifest.lines().enumerate() {
        let line = line.trim();
        if line.starts_with('[') {
            section = line;
        }
        let name = match section.strip_prefix("[dependencies.").and_then(|rest| rest.strip_suffix(']')) {
            Some(name) if line.starts_with('[') => name,
            _ if section == "[dependencies]" => line.split(['.', '=', ' ']).next().unwrap_or_default(),
            _ => continue,
        };
        let impure = |package: &&&str| {
            name.strip_prefix(**package).is_some_and(|rest| rest.is_empty() || rest.starts_with(['-', '_']))
        };
        if let Some(package) = IMPURE.iter().find(impure) {
            findings.push(format!(
                "{MANIFEST}:{}: the core names `{name}` ({package}), and has no clock, no chance, no IO and no waiting: \
                 let the worker do it and pass the result in",
                number + 1
            ));
        }
    }
    for (path, text) in rust(tree).filter(|(path, _)| path.starts_with("engine/core/")) {
        let code = shipped_code(path, text);
        let of_std = IMPURE_STD.iter().map(|name| format!("std::{name}"));
        for word in of_std.chain(["async".to_owned(), "await".to_owned()]) {
            if let Some(at) = words(&code, &word).next() {
                findings.push(format!(
                    "{path}:{}: `{word}` in the core, which is a function of the log: let the worker do it",
                    line_of(&code, at)
                ));
            }
        }
    }
    findings
}

/// Every file begins by saying what it is about; a `mod.rs` tells the story of its room.
pub fn stories(tree: &Tree) -> Vec<String> {
    let silent = |(path, text): &(&String, &String)| !is_test(path) && !text.starts_with("//! ");
    rust(tree)
        .filter(silent)
        .map(|(path, _)| format!("{path}:1: begins without `//! …`: say in a line what it is about"))
        .collect()
}

/// A module is named after what it is about.
pub fn names(tree: &Tree) -> Vec<String> {
    let mut findings = Vec::new();
    for (path, text) in rust(tree).filter(|(path, _)| !is_test(path)) {
        let mut empty: Vec<(usize, &str)> = Vec::new();
        let parts = path.split('/').map(|part| part.strip_suffix(".rs").unwrap_or(part));
        empty.extend(parts.filter(|part| EMPTY_NAMES.contains(part)).map(|part| (1, part)));
        let code = code(text);
        for at in words(&code, "mod") {
            let name = code[at + 3..].trim_start();
            let name = &name[..name.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(name.len())];
            if EMPTY_NAMES.contains(&name) {
                let line = line_of(&code, at);
                findings.push(format!("{path}:{line}: module `{name}`: name it after what it is about"));
            }
        }
        findings.extend(
            empty
                .into_iter()
                .map(|(line, part)| format!("{path}:{line}: `{part}`: name it after what it is about")),
        );
    }
    findings
}

/// What ships is finished and cannot fail by accident.
pub fn finished(tree: &Tree) -> Vec<String> {
    let mut findings = Vec::new();
    for (path, text) in rust(tree) {
        let code = shipped_code(path, text);
        for (pattern, instead) in UNFINISHED {
            for (at, _) in code.match_indices(pattern) {
                findings.push(format!(
                    "{path}:{}: `{pattern}` in code that ships: {instead}",
                    line_of(&code, at)
                ));
            }
        }
    }
    findings
}

/// Whoever clones the project has other directories than whoever wrote it.
pub fn own_places(tree: &Tree) -> Vec<String> {
    let mut findings = Vec::new();
    for (path, text) in tree.iter().filter(|(path, _)| !path.starts_with(".ci/")) {
        for place in OWN_PLACES {
            let begins =
                |at: &usize| !text[..*at].ends_with(|c: char| c.is_alphanumeric() || "._-<>}".contains(c));
            if let Some(at) = text.match_indices(place).map(|(at, _)| at).find(begins) {
                findings.push(format!(
                    "{path}:{}: names `{place}`, a place on one machine: take it as an argument or from the environment",
                    line_of(text, at)
                ));
            }
        }
    }
    findings
}
