//! Again and again: whenever one of the files changes.

use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use tokio::signal::unix::{SignalKind, signal};

use crate::cli::exit::{CliError, Exit};

/// How often to look. Fast enough for somebody who has just saved a file, slow enough to cost nothing.
const LOOK_EVERY: Duration = Duration::from_millis(250);

/// Does `once`, and again whenever a file under `paths` changes, until interrupted.
pub async fn again_and_again(
    paths: &[PathBuf],
    mut once: impl FnMut() -> Result<(), CliError>,
) -> Result<Exit, CliError> {
    // From here on, and not only while waiting: whoever interrupts a run wants it to end as one that was asked to.
    let mut interrupts = signal(SignalKind::interrupt())?;
    loop {
        let seen = state(paths);
        once()?;
        eprintln!("watching; Ctrl-C ends it");
        while state(paths) == seen {
            tokio::select! {
                _ = interrupts.recv() => return Ok(Exit::Done),
                () = tokio::time::sleep(LOOK_EVERY) => {}
            }
        }
    }
}

/// The files, when they were last changed, and how long they are. What cannot be read has none of these.
fn state(paths: &[PathBuf]) -> Vec<(PathBuf, Option<SystemTime>, u64)> {
    let mut found = Vec::new();
    paths.iter().for_each(|path| look(path, &mut found));
    found.sort();
    found
}

fn look(path: &Path, found: &mut Vec<(PathBuf, Option<SystemTime>, u64)>) {
    let about = std::fs::metadata(path).ok();
    if about.as_ref().is_some_and(std::fs::Metadata::is_dir) {
        for entry in std::fs::read_dir(path).into_iter().flatten().flatten() {
            look(&entry.path(), found);
        }
        return;
    }
    let changed = about.as_ref().and_then(|about| about.modified().ok());
    found.push((path.to_owned(), changed, about.map_or(0, |about| about.len())));
}
