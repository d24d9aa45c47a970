//! Rules and events as they are kept: an archive of rules, files of events.

use std::io::{BufRead, BufReader, Read};
use std::path::Path;

use sightline_core::rule::Source;

/// The rules of a `tar.zst`, in order of their names.
pub fn rules(path: &Path) -> Vec<Source> {
    let file = std::fs::File::open(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let mut bytes = Vec::new();
    zstd::Decoder::new(file).expect("zstd").read_to_end(&mut bytes).expect("zstd");
    let mut files = Vec::new();
    let mut at = 0;
    // A name that is too long for a header stands in an entry before it.
    let mut long_name = None;
    // A header of 512 bytes for each file: its name, at 124 its size in octal digits, at 156 its sort.
    while let Some(header) = bytes.get(at..at + 512).filter(|header| header[0] != 0) {
        let text = |range: std::ops::Range<usize>| {
            let field =
                header[range].split(|byte| matches!(byte, 0 | b' ')).next().expect("one piece at least");
            String::from_utf8(field.to_vec()).expect("plain names")
        };
        let (name, prefix) = (text(0..100), text(345..500));
        let size = usize::from_str_radix(&text(124..136), 8).expect("octal digits");
        let body = &bytes[at + 512..at + 512 + size];
        let name = if prefix.is_empty() || prefix.contains(' ') { name } else { format!("{prefix}/{name}") };
        let name = long_name.take().unwrap_or(name);
        if header[156] == b'L' {
            long_name = Some(String::from_utf8_lossy(body).trim_end_matches('\0').to_owned());
        } else if matches!(header[156], b'0' | 0) && name.ends_with(".yml") {
            files.push(Source { name, text: String::from_utf8(body.to_vec()).expect("rules are text") });
        }
        at += 512 + size.div_ceil(512) * 512;
    }
    files.sort_by(|a, b| a.name.cmp(&b.name));
    files
}

/// The rules of a folder, in order of their names.
pub fn folder(path: &Path) -> Vec<Source> {
    let mut files: Vec<Source> = std::fs::read_dir(path)
        .unwrap_or_else(|error| panic!("{}: {error}", path.display()))
        .map(|entry| entry.expect("an entry").path())
        .filter(|path| path.extension().is_some_and(|ending| ending == "yml"))
        .map(|path| Source {
            name: path.file_name().expect("a name").to_string_lossy().into_owned(),
            text: std::fs::read_to_string(&path).expect("rules are text"),
        })
        .collect();
    files.sort_by(|a, b| a.name.cmp(&b.name));
    files
}

/// The first lines of a `zst`.
pub fn lines(path: &Path, most: usize) -> Vec<String> {
    let file = std::fs::File::open(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let reader = BufReader::new(zstd::Decoder::new(file).expect("zstd"));
    reader.lines().take(most).map(|line| line.expect("text")).collect()
}
