//! Rule files, from disk to checked rules.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use sightline_core::rule::case::is_case_file;
use sightline_core::rule::check::Checked;
use sightline_core::rule::{Diagnostic, Source, check, lists};
use sightline_schemas::control::{EngineSettings, RuleFile};

use crate::cli::exit::CliError;
use crate::cli::paint::Paint;
use crate::worker::machine::sources;

/// The path that means standard input.
const STDIN: &str = "-";

/// Reads rule files: files as they are named, folders with all their `.yaml` and `.yml` files, hidden ones and files of
/// tests left out.
///
/// # Errors
/// When a path cannot be read, or there is no rule file at all.
pub fn read(paths: &[PathBuf]) -> anyhow::Result<Vec<RuleFile>> {
    let mut files = read_with_cases(paths)?;
    files.retain(|file| !is_case_file(&file.name));
    if files.is_empty() {
        bail!("only files of tests in {}, and no rule file", named(paths));
    }
    Ok(files)
}

/// The same, with files of tests.
///
/// # Errors
/// As [`read`].
pub fn read_with_cases(paths: &[PathBuf]) -> anyhow::Result<Vec<RuleFile>> {
    let mut found = Vec::new();
    for path in paths {
        collect(path, &mut found)?;
    }
    found.sort();
    found.dedup();
    if found.is_empty() {
        bail!("no rule file (.yaml) in {}", named(paths));
    }
    let read = |path: PathBuf| {
        let text = match path.as_os_str() == STDIN {
            true => std::io::read_to_string(std::io::stdin()),
            false => std::fs::read_to_string(&path),
        };
        let text = text.with_context(|| format!("cannot read {}", path.display()))?;
        Ok(RuleFile { name: path.display().to_string(), text })
    };
    let mut files: Vec<RuleFile> = found.into_iter().map(read).collect::<anyhow::Result<_>>()?;
    // What the lists of the rules hold travels with the rules. A file that is not there is said by the checker, in place.
    let lists = files.iter().flat_map(|file| {
        lists::files_named_by(&file.text).into_iter().filter_map(|name| lists::beside(&file.name, &name))
    });
    let lists: BTreeSet<String> = lists.filter(|name| files.iter().all(|file| file.name != *name)).collect();
    for name in lists.into_iter().filter(|name| Path::new(name).is_file()) {
        files.push(read(PathBuf::from(name))?);
    }
    Ok(files)
}

fn named(paths: &[PathBuf]) -> String {
    paths.iter().map(|path| path.display().to_string()).collect::<Vec<_>>().join(", ")
}

fn collect(path: &Path, found: &mut Vec<PathBuf>) -> anyhow::Result<()> {
    if path.as_os_str() == STDIN {
        found.push(path.to_owned());
        return Ok(());
    }
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
        // Mappings are chosen by name: several that lie together are for different events.
        let mappings = entry.is_dir() && entry.file_name().is_some_and(|name| name == "mappings");
        if !hidden && !mappings && (entry.is_dir() || yaml) {
            collect(&entry, found)?;
        }
    }
    Ok(())
}

/// Rule files and what the checker says of them.
pub struct Judged {
    /// The files.
    pub files: Vec<Source>,
    /// The rules, or everything that is wrong with them.
    pub verdict: Result<Checked, Vec<Diagnostic>>,
}

impl Judged {
    /// Reads and checks rule files.
    ///
    /// # Errors
    /// When they cannot be read: wrong rules are a verdict.
    pub fn read(paths: &[PathBuf], settings: &EngineSettings) -> Result<Self, CliError> {
        let files = read(paths).map_err(|error| CliError::Usage(format!("{error:#}")))?;
        let files = sources(&files);
        let verdict = check(&files, settings);
        Ok(Judged { files, verdict })
    }

    /// The same with files of tests among the files, behind those of rules: the verdict is on the rules.
    ///
    /// # Errors
    /// As [`Judged::read`].
    pub fn read_with_cases(paths: &[PathBuf], settings: &EngineSettings) -> Result<Self, CliError> {
        let files = read_with_cases(paths).map_err(|error| CliError::Usage(format!("{error:#}")))?;
        let (rules, cases): (Vec<Source>, Vec<Source>) =
            sources(&files).into_iter().partition(|file| !is_case_file(&file.name));
        let verdict = check(&rules, settings);
        Ok(Judged { files: [rules, cases].concat(), verdict })
    }

    /// What is wrong or odd, all of it.
    pub fn problems(&self) -> &[Diagnostic] {
        match &self.verdict {
            Ok(checked) => &checked.warnings,
            Err(problems) => problems,
        }
    }

    /// What is wrong or odd, for people.
    pub fn rendered(&self, paint: Paint) -> String {
        let rendered: Vec<String> =
            self.problems().iter().map(|problem| problem.render(&self.files, paint.diagnostics())).collect();
        rendered.join("\n\n")
    }
}

/// Makes sure that the rules can be used.
///
/// # Errors
/// [`CliError::Rules`] with everything that is wrong with them.
pub fn usable(paths: &[PathBuf], settings: &EngineSettings, paint: Paint) -> Result<Judged, CliError> {
    let judged = Judged::read(paths, settings)?;
    match judged.verdict {
        Ok(_) => Ok(judged),
        Err(_) => Err(CliError::Rules(judged.rendered(paint))),
    }
}
