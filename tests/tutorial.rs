//! The tutorial, as a newcomer follows it: files are saved, commands are run, and what they print is what stands there.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// A block of the tutorial.
enum Block {
    /// A file to save.
    Save { name: String, text: String },
    /// Commands, each with what it prints.
    Run(Vec<(String, Vec<String>)>),
}

/// The blocks in order. What stands before a block of a file names it in backticks behind "Save this as".
fn blocks(text: &str) -> Vec<Block> {
    let mut blocks = Vec::new();
    let mut file = None;
    let mut lines = text.lines();
    while let Some(line) = lines.next() {
        if let Some(rest) = line.split("Save this as `").nth(1) {
            file = rest.split('`').next().map(str::to_owned);
        }
        let Some(language) = line.strip_prefix("```") else { continue };
        let body: Vec<&str> = lines.by_ref().take_while(|line| *line != "```").collect();
        match language {
            "console" => {
                let mut commands: Vec<(String, Vec<String>)> = Vec::new();
                for line in body {
                    match (line.strip_prefix("$ "), commands.last_mut()) {
                        (Some(command), _) => commands.push((command.to_owned(), Vec::new())),
                        (None, Some((_, printed))) => printed.push(line.to_owned()),
                        (None, None) => panic!("{line:?} is printed by no command"),
                    }
                }
                blocks.push(Block::Run(commands));
            }
            _ => {
                let name = file.take().expect("the text says where to save it");
                blocks.push(Block::Save { name, text: body.join("\n") + "\n" });
            }
        }
    }
    blocks
}

/// What a command prints, to either output, in the order of the outputs.
fn printed(folder: &Path, command: &str) -> Vec<String> {
    let binary = PathBuf::from(assert_cmd::cargo::cargo_bin!("sightline"));
    let own = binary.parent().expect("a folder").display().to_string();
    let path = format!("{own}:{}", std::env::var("PATH").expect("a path"));
    let output = Command::new("sh")
        .args(["-c", command])
        .current_dir(folder)
        .env_clear()
        .env("PATH", path)
        .stdin(Stdio::null())
        .output()
        .expect("it runs");
    let text = [output.stdout, output.stderr].concat();
    String::from_utf8(text).expect("UTF-8").lines().map(|line| line.trim_end().to_owned()).collect()
}

/// `…` stands for whatever follows on its line.
fn fits(expected: &str, found: &str) -> bool {
    match expected.split_once('…') {
        Some((begin, _)) => found.starts_with(begin),
        None => expected.trim_end() == found,
    }
}

#[test]
fn every_command_of_the_tutorial_prints_what_stands_there() {
    let tutorial = Path::new(env!("CARGO_MANIFEST_DIR")).join("rules/TUTORIAL.md");
    let text = fs::read_to_string(tutorial).expect("the tutorial");
    let folder = tempfile::tempdir().expect("a temporary directory");
    let mut run = 0;
    for block in blocks(&text) {
        match block {
            Block::Save { name, text } => {
                let path = folder.path().join(name);
                fs::create_dir_all(path.parent().expect("a folder")).expect("made");
                fs::write(path, text).expect("saved");
            }
            Block::Run(commands) => {
                for (command, expected) in commands {
                    let found = printed(folder.path(), &command);
                    let same = expected.len() == found.len()
                        && expected.iter().zip(&found).all(|(expected, found)| fits(expected, found));
                    assert!(same, "$ {command}\nexpected {expected:#?}\nfound {found:#?}");
                    run += 1;
                }
            }
        }
    }
    assert!(run >= 8, "{run} commands");
}
