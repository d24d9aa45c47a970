//! rsigma as the reference: a program of its own beside this one, built when it is needed.

use std::collections::BTreeSet;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use sightline_core::rule::Source;

/// Whether the log source of a rule is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Routing {
    /// An event whose `product`, `category` or `service` says otherwise is not meant.
    Logsource,
    /// Every rule is asked for every event.
    None,
}

/// The program.
pub struct Reference(PathBuf);

impl Reference {
    /// Builds it, in a folder of its own in `target`.
    ///
    /// # Errors
    /// When its packages cannot be had here.
    pub fn build() -> Result<Self, String> {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let target =
            std::env::var_os("CARGO_TARGET_DIR").map_or(root.join("target"), PathBuf::from).join("rsigma");
        let build = Command::new(env!("CARGO"))
            .args(["build", "--locked", "--quiet", "--manifest-path"])
            .arg(root.join("tests/rsigma/Cargo.toml"))
            .arg("--target-dir")
            .arg(&target)
            .env_remove("CARGO_PROFILE_DEV_OPT_LEVEL")
            .output()
            .map_err(|error| error.to_string())?;
        match build.status.success() {
            true => Ok(Reference(target.join("debug/sightline-rsigma"))),
            false => Err(String::from_utf8_lossy(&build.stderr).into_owned()),
        }
    }

    /// Event and rule of each detection.
    pub fn detections(
        &self,
        files: &[Source],
        lines: &[String],
        routing: Routing,
    ) -> BTreeSet<(usize, String)> {
        let folder = tempfile::tempdir().expect("a temporary directory");
        for (at, file) in files.iter().enumerate() {
            std::fs::write(folder.path().join(format!("{at:06}.yml")), &file.text)
                .expect("it can be written");
        }
        let mut command = Command::new(&self.0);
        command.arg(folder.path()).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        if routing == Routing::Logsource {
            command.arg("--logsource");
        }
        let mut child = command.spawn().expect("it was built");
        let mut stdin = child.stdin.take().expect("it is piped");
        let lines = lines.join("\n");
        let writer =
            std::thread::spawn(move || stdin.write_all(lines.as_bytes()).expect("it reads to the end"));
        let output = child.wait_with_output().expect("it ends");
        writer.join().expect("it was written");
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{said}");
        assert!(said.is_empty(), "rsigma takes fewer rules: {said}");
        let pair = |line: &str| {
            let (event, rule) = line.split_once('\t').expect("two columns");
            (event.parse().expect("a number"), rule.to_owned())
        };
        String::from_utf8(output.stdout).expect("text").lines().map(pair).collect()
    }
}
