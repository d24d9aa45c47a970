//! What the documents point at is there.

use std::fs;
use std::path::{Path, PathBuf};

/// Folders whose files the documents name from the root of the project.
const ROOTS: [&str; 7] = ["engine/", "schemas/", "producers/", "deploy/", "rules/", "benches/", "tests/"];

fn documents(directory: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(directory).expect("a directory that can be listed") {
        let path = entry.expect("an entry").path();
        let name = path.file_name().expect("a name").to_string_lossy().into_owned();
        if path.is_dir() {
            if name != "target" && !name.starts_with('.') {
                documents(&path, found);
            }
        } else if name.ends_with(".md") {
            found.push(path);
        }
    }
}

/// The targets of links `[…](target)`, without those inside code.
fn links(text: &str) -> Vec<String> {
    let mut found = Vec::new();
    for line in prose(text) {
        let outside = line.split('`').step_by(2).collect::<String>();
        let targets = outside.split("](").skip(1).filter_map(|rest| rest.split(')').next());
        found.extend(targets.map(str::to_owned));
    }
    found
}

/// Words in backticks that look like a file of this project.
fn named_files(text: &str) -> Vec<String> {
    let is_path = |word: &&str| {
        ROOTS.iter().any(|root| word.starts_with(root))
            && word.chars().all(|c| c.is_ascii_alphanumeric() || "/._-".contains(c))
    };
    let in_code = prose(text).flat_map(|line| line.split('`').skip(1).step_by(2));
    in_code.filter(is_path).map(str::to_owned).collect()
}

/// The lines that are not in a block of code.
fn prose(text: &str) -> impl Iterator<Item = &str> {
    let mut in_block = false;
    text.lines().filter(move |line| {
        let fence = line.trim_start().starts_with("```");
        in_block ^= fence;
        !in_block && !fence
    })
}

/// The anchor that a heading gets, as GitHub makes it.
fn anchor(heading: &str) -> String {
    let kept = heading.trim().chars().filter(|c| c.is_alphanumeric() || " -_".contains(*c));
    kept.map(|c| if c == ' ' { '-' } else { c.to_ascii_lowercase() }).collect()
}

/// What a document points at and is not there.
fn dangling(root: &Path, document: &Path, text: &str) -> Vec<String> {
    let here = document.parent().expect("a document is in a folder");
    let mut missing = Vec::new();
    for link in links(text) {
        if link.contains("://") || link.starts_with("mailto:") {
            continue;
        }
        let (file, heading) = link.split_once('#').unwrap_or((&link, ""));
        let target = if file.is_empty() { document.to_owned() } else { here.join(file) };
        let there = target.exists()
            && (heading.is_empty() || {
                let text = fs::read_to_string(&target).unwrap_or_default();
                prose(&text)
                    .filter(|line| line.starts_with('#'))
                    .any(|line| anchor(line.trim_start_matches('#')) == heading)
            });
        if !there {
            missing.push(link);
        }
    }
    missing.extend(named_files(text).into_iter().filter(|file| !root.join(file).exists()));
    missing
}

#[test]
fn links_and_named_files_are_there() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut found = Vec::new();
    documents(root, &mut found);
    assert!(found.contains(&root.join("schemas/README.md")), "{found:?}");
    let mut missing = Vec::new();
    for document in found {
        let text = fs::read_to_string(&document).expect("a document is text");
        let name = document.strip_prefix(root).expect("it is in the project").display();
        missing.extend(dangling(root, &document, &text).into_iter().map(|what| format!("{name}: {what}")));
    }
    assert!(missing.is_empty(), "not there:\n{}", missing.join("\n"));
}

#[test]
fn what_is_not_there_is_found() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let text = "# A first\n[a](gone.md) [b](#a-first) [c](#a-second) `[d](gone.md)` [e](https://example.test/gone)\n\
                `engine/gone.rs` `engine/lib.rs` `engine/*.gone` `tests/gone/`\n```\n[f](gone.md) `engine/gone.rs`\n```\n";
    let folder = tempfile::tempdir().expect("a temporary directory");
    let document = folder.path().join("a.md");
    fs::write(&document, text).expect("it can be written");
    assert_eq!(dangling(root, &document, text), ["gone.md", "#a-second", "engine/gone.rs", "tests/gone/"]);
}
