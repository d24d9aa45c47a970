//! The mappings there are: those that ship, and those of a directory, which take the place of shipped ones of their name.

use std::collections::BTreeMap;
use std::path::Path;

use super::{Mapping, Problem, read};

macro_rules! shipped {
    ($($name:literal),* $(,)?) => {
        /// Names and texts of the mappings that ship.
        pub const SHIPPED: &[(&str, &str)] =
            &[$(($name, include_str!(concat!("../../mappings/", $name, ".yaml")))),*];
    };
}

shipped!(
    "auditd",
    "cloudtrail",
    "csv",
    "darkwatch",
    "ecs",
    "hometitle",
    "iris-alert",
    "iris-ioc",
    "native",
    "nxlog",
    "ocsf",
    "openctem",
    "packetwatch",
    "phishkit",
    "removebrokers",
    "sentracore",
    "sentry",
    "spamshield",
    "streamtrace",
    "suricata",
    "syslog",
    "voiceprint",
    "wazuh",
    "winlogbeat",
    "zeek",
);

/// All mappings by name.
pub struct Shelf {
    mappings: BTreeMap<String, Mapping>,
}

/// Why the mappings cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ShelfError {
    /// The directory cannot be read: mend the option.
    #[error("cannot read the mappings in {directory}: {source}")]
    Unreadable {
        /// The directory or file.
        directory: String,
        /// Why not.
        source: std::io::Error,
    },
    /// Some are wrong: mend the files.
    #[error("{}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))]
    Wrong(Vec<Problem>),
}

impl Shelf {
    /// The shipped mappings, and over them those of `directory`.
    ///
    /// # Errors
    /// When the directory cannot be read, or a mapping in it is wrong.
    pub fn open(directory: Option<&Path>) -> Result<Self, ShelfError> {
        let mut mappings = BTreeMap::new();
        let mut problems = Vec::new();
        for (name, text) in SHIPPED {
            match read(&format!("mappings/{name}.yaml"), name, text) {
                Ok(mapping) => drop(mappings.insert((*name).to_owned(), mapping)),
                Err(wrong) => problems.extend(wrong),
            }
        }
        if let Some(directory) = directory {
            let unreadable = |path: &Path, source| ShelfError::Unreadable {
                directory: path.display().to_string(),
                source,
            };
            for entry in std::fs::read_dir(directory).map_err(|error| unreadable(directory, error))? {
                let path = entry.map_err(|error| unreadable(directory, error))?.path();
                let is_yaml =
                    path.extension().is_some_and(|extension| extension == "yaml" || extension == "yml");
                let Some(name) = path.file_stem().and_then(|stem| stem.to_str()).filter(|_| is_yaml) else {
                    continue;
                };
                match read_file(&path) {
                    Ok(Ok(mapping)) => drop(mappings.insert(name.to_owned(), mapping)),
                    Ok(Err(wrong)) => problems.extend(wrong),
                    Err(error) => return Err(unreadable(&path, error)),
                }
            }
        }
        if problems.is_empty() { Ok(Shelf { mappings }) } else { Err(ShelfError::Wrong(problems)) }
    }

    /// The mapping of a name.
    pub fn get(&self, name: &str) -> Option<&Mapping> {
        self.mappings.get(name)
    }

    /// All of them, by name.
    pub fn all(&self) -> impl Iterator<Item = &Mapping> {
        self.mappings.values()
    }
}

/// Reads and checks the mapping of one file, which is named after it.
///
/// # Errors
/// When the file cannot be read; what is wrong with the mapping is inside.
pub fn read_file(path: &Path) -> std::io::Result<Result<Mapping, Vec<Problem>>> {
    let text = std::fs::read_to_string(path)?;
    let name = path.file_stem().and_then(|stem| stem.to_str()).unwrap_or_default();
    Ok(read(&path.display().to_string(), name, &text))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_ships_is_right() {
        let shelf = Shelf::open(None).map_err(|wrong| wrong.to_string()).expect("right");
        assert_eq!(shelf.all().count(), SHIPPED.len());
    }

    #[test]
    fn a_mapping_of_the_directory_takes_the_place_of_a_shipped_one() {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let write = |name: &str, text: &str| {
            std::fs::write(directory.path().join(name), text).expect("written");
        };
        write("suricata.yaml", "about: ours\nevent: {source: ids}\n");
        write("door.yml", "about: doors\nevent: {source: door}\n");
        write("notes.txt", "no mapping");
        let shelf = Shelf::open(Some(directory.path())).expect("both are right");
        assert_eq!(shelf.get("suricata").map(|mapping| mapping.about.as_str()), Some("ours"));
        assert!(shelf.get("door").is_some());
        write("door.yml", "about: doors\n");
        let wrong = Shelf::open(Some(directory.path())).err().expect("no source").to_string();
        assert!(wrong.contains("door.yml:1: `event.source`"), "{wrong}");
    }
}
