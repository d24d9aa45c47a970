//! pySigma's SQLite backend as the reference: a program in Python, with packages of its own in `target`.

use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::Value;

/// The program.
pub struct Reference {
    script: PathBuf,
    packages: PathBuf,
}

impl Reference {
    /// Fetches its packages, where they are not there yet.
    ///
    /// # Errors
    /// When there is no Python, or the packages cannot be had here.
    pub fn fetch() -> Result<Self, String> {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let folder = root.join("tests/sigma");
        let target = std::env::var_os("CARGO_TARGET_DIR").map_or(root.join("target"), PathBuf::from);
        let packages = target.join("pysigma");
        let marker = packages.join("complete");
        let wanted = std::fs::read_to_string(folder.join("requirements.txt")).expect("it is there");
        if std::fs::read_to_string(&marker).ok().as_deref() != Some(&wanted) {
            let pip = Command::new("python3")
                .args([
                    "-m",
                    "pip",
                    "install",
                    "--quiet",
                    "--disable-pip-version-check",
                    "--upgrade",
                    "--target",
                ])
                .arg(&packages)
                .arg("--requirement")
                .arg(folder.join("requirements.txt"))
                .output()
                .map_err(|error| format!("python3: {error}"))?;
            if !pip.status.success() {
                return Err(String::from_utf8_lossy(&pip.stderr).into_owned());
            }
            std::fs::write(&marker, wanted).map_err(|error| error.to_string())?;
        }
        Ok(Reference { script: folder.join("pysigma.py"), packages })
    }

    /// Its answers to cases, in their order.
    pub fn answers(&self, cases: &[String]) -> Vec<Value> {
        let mut child = Command::new("python3")
            .arg(&self.script)
            .env("PYTHONPATH", &self.packages)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("python3 was there");
        let mut stdin = child.stdin.take().expect("it is piped");
        let lines = cases.join("\n") + "\n";
        let writer = std::thread::spawn(move || {
            // Where it ends before its end, its own words say why.
            let _ = stdin.write_all(lines.as_bytes());
        });
        let stdout = BufReader::new(child.stdout.take().expect("it is piped"));
        let answers: Vec<Value> =
            stdout.lines().map(|line| serde_json::from_str(&line.expect("text")).expect("JSON")).collect();
        writer.join().expect("it was written");
        assert!(child.wait().expect("it ends").success(), "the reference failed at case {}", answers.len());
        assert_eq!(answers.len(), cases.len());
        answers
    }
}
