//! Rule files, from disk to a rules message.

use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use sightline_schemas::control::RuleFile;

/// Reads rule files: files as they are named, folders with all their `.yaml` and `.yml` files, hidden ones left out.
///
/// # Errors
/// When a path cannot be read, or there is no rule file at all.
pub fn read(paths: &[PathBuf]) -> anyhow::Result<Vec<RuleFile>> {
    let mut found = Vec::new();
    for path in paths {
        collect(path, &mut found)?;
    }
    found.sort();
    found.dedup();
    if found.is_empty() {
        let paths: Vec<String> = paths.iter().map(|path| path.display().to_string()).collect();
        bail!("no rule file (.yaml) in {}", paths.join(", "));
    }
    let read = |path: PathBuf| {
        let text =
            std::fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
        Ok(RuleFile { name: path.display().to_string(), text })
    };
    found.into_iter().map(read).collect()
}

fn collect(path: &Path, found: &mut Vec<PathBuf>) -> anyhow::Result<()> {
    let about =
        std::fs::metadata(path).with_context(|| format!("cannot read rules from {}", path.display()))?;
    if about.is_file() {
        found.push(path.to_owned());
        return Ok(());
    }
    for entry in std::fs::read_dir(path).with_context(|| format!("cannot read folder {}", path.display()))? {
        let entry = entry.with_context(|| format!("cannot read folder {}", path.display()))?.path();
        let hidden = entry.file_name().is_some_and(|name| name.to_string_lossy().starts_with('.'));
        let yaml = entry.extension().is_some_and(|ending| ending == "yaml" || ending == "yml");
        if !hidden && (entry.is_dir() || yaml) {
            collect(&entry, found)?;
        }
    }
    Ok(())
}
