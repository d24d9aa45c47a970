//! The binary as people and scripts run it, away from whatever settings they have of their own.

use std::path::Path;
use std::process::{Command, Output, Stdio};

/// The command, in the project's folder.
pub fn sightline(arguments: &[&str]) -> Command {
    let mut command = Command::new(assert_cmd::cargo::cargo_bin!("sightline"));
    command.current_dir(env!("CARGO_MANIFEST_DIR")).args(arguments).stdin(Stdio::null());
    for (variable, _) in std::env::vars_os() {
        let text = variable.to_string_lossy();
        if text.starts_with("NATS_") || text.starts_with("SIGHTLINE_") || text == "NO_COLOR" {
            command.env_remove(&variable);
        }
    }
    command
}

/// Exit code, stdout and stderr.
pub fn run(arguments: &[&str]) -> (i32, String, String) {
    told(sightline(arguments).output().expect("it runs"))
}

/// The same of something that has run.
pub fn told(output: Output) -> (i32, String, String) {
    let text = |bytes| String::from_utf8(bytes).expect("UTF-8");
    (output.status.code().expect("it ends by itself"), text(output.stdout), text(output.stderr))
}

/// Runs it and expects this exit code, and these parts in what it says on stderr.
pub fn check(arguments: &[&str], code: i32, words: &[&str]) {
    let (ended, out, err) = run(arguments);
    assert_eq!(ended, code, "{arguments:?}\n{out}\n{err}");
    for part in words {
        assert!(err.contains(part), "{arguments:?} does not say {part:?}:\n{err}");
    }
}

/// A file with this text, by its path.
pub fn file(dir: &Path, name: &str, text: &str) -> String {
    let path = dir.join(name);
    std::fs::write(&path, text).expect("written");
    path.to_str().expect("UTF-8").to_owned()
}

/// A folder that goes with the test.
pub fn folder() -> tempfile::TempDir {
    tempfile::Builder::new().prefix("sightline-cli-").tempdir().expect("a temporary folder")
}
