//! `sightline nats-keys`: an nkey for each role that the server's configuration names.

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use anyhow::Context;
use nkeys::{KeyPair, KeyPairType};

use crate::cli::exit::{CliError, Exit};

/// What a file with a seed ends in.
const SEED_ENDING: &str = "nk";
/// The public keys, as nats-server's configuration includes them.
const KEYS_FILE: &str = "keys.conf";

/// Where the keys are, and whose are missing.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Folder of the keys: one file ROLE.nk with the seed of each role, which is its secret, and keys.conf with the public
    /// keys, for the server's configuration to include
    #[arg(value_name = "FOLDER")]
    dir: PathBuf,
    /// Roles to make a key for, such as `engine` or `producer_edr`; one that has a key keeps it
    #[arg(value_name = "ROLE", value_parser = role)]
    roles: Vec<String>,
}

/// A role's name is part of a variable and of a file name.
fn role(text: &str) -> Result<String, String> {
    let allowed = |c: char| c.is_ascii_alphanumeric() || c == '_';
    if !text.is_empty() && text.len() <= 64 && text.chars().all(allowed) {
        Ok(text.to_owned())
    } else {
        Err("expected letters, digits and `_`".to_owned())
    }
}

/// Makes the keys that are missing, and writes the public ones of all roles in the folder.
///
/// # Errors
/// When a file cannot be written, or holds no seed of a user.
pub fn run(args: &Args) -> Result<Exit, CliError> {
    for role in &args.roles {
        make_missing(&args.dir.join(role).with_extension(SEED_ENDING))?;
    }
    let mut text = String::from(
        "# Public keys of the roles, written by `sightline nats-keys`. The server refuses a key that no user has.\n",
    );
    let mut out = std::io::stdout();
    for (role, path) in seeds(&args.dir)? {
        let public = public_key(&path)?;
        text.push_str(&format!("KEY_{role}: {public}\n"));
        writeln!(out, "{role} {public}")?;
    }
    let path = args.dir.join(KEYS_FILE);
    fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))?;
    Ok(Exit::Done)
}

/// Readable by its owner alone, from its first moment on. A seed that is there is never written over.
fn make_missing(path: &Path) -> anyhow::Result<()> {
    let opened = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path);
    let mut file = match opened {
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => return Ok(()),
        opened => opened.with_context(|| format!("cannot write {}", path.display()))?,
    };
    let seed = KeyPair::new_user().seed().context("a new key has a seed")?;
    writeln!(file, "{seed}").with_context(|| format!("cannot write {}", path.display()))
}

/// Every role with a seed in the folder, by name.
fn seeds(dir: &Path) -> anyhow::Result<Vec<(String, PathBuf)>> {
    let list = || format!("cannot list {}", dir.display());
    let mut found = Vec::new();
    for entry in fs::read_dir(dir).with_context(list)? {
        let path = entry.with_context(list)?.path();
        let name = path.file_stem().and_then(|name| name.to_str()).and_then(|name| role(name).ok());
        if let (Some(name), true) = (name, path.extension().is_some_and(|ending| ending == SEED_ENDING)) {
            found.push((name, path));
        }
    }
    found.sort();
    Ok(found)
}

fn public_key(path: &Path) -> anyhow::Result<String> {
    let text = fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    let pair = KeyPair::from_seed(text.trim()).ok().filter(|pair| pair.key_pair_type() == KeyPairType::User);
    // Nothing of its text in the error: it may be the secret of something else.
    Ok(pair.with_context(|| format!("{} holds no seed of a user (SU…)", path.display()))?.public_key())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn make(dir: &Path, roles: &[&str]) -> String {
        let roles = roles.iter().map(|role| (*role).to_owned()).collect();
        run(&Args { dir: dir.to_owned(), roles }).expect("made");
        fs::read_to_string(dir.join(KEYS_FILE)).expect("the public keys")
    }

    #[test]
    fn a_role_keeps_its_key_and_its_seed_is_its_owners_alone() {
        let dir = tempfile::tempdir().expect("a folder");
        let first = make(dir.path(), &["engine"]);
        let seed = dir.path().join("engine.nk");
        assert_eq!(fs::metadata(&seed).expect("a file").permissions().mode() & 0o777, 0o600);
        assert!(!first.contains(fs::read_to_string(&seed).expect("a seed").trim()));
        let second = make(dir.path(), &["engine", "dashboard"]);
        let engine = first.lines().last().expect("a key");
        assert!(engine.starts_with("KEY_engine: U") && second.contains(engine), "{first}{second}");
        assert!(second.lines().nth(1).is_some_and(|line| line.starts_with("KEY_dashboard: U")), "{second}");
    }

    #[test]
    fn what_is_no_seed_is_named_and_not_shown() {
        let dir = tempfile::tempdir().expect("a folder");
        fs::write(dir.path().join("other.nk"), "geheim").expect("written");
        let error =
            run(&Args { dir: dir.path().to_owned(), roles: Vec::new() }).expect_err("no seed").to_string();
        assert!(error.contains("other.nk") && !error.contains("geheim"), "{error}");
        for wrong in ["", "a-b", "../x", "ä"] {
            assert!(role(wrong).is_err(), "{wrong}");
        }
    }
}
