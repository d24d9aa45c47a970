//! Lines out of files: plain, gzip or zstd, told apart by their first bytes; read on a thread of its own.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use anyhow::Context;
use sightline_producers::packing::Packing;
use tokio::sync::mpsc;

/// Longest line. The server takes no message above 8 MiB with the shipped configuration.
pub const LINE_BYTES_MAX: usize = 8 << 20;
/// Lines handed over at once, so that handing over costs nothing a line.
const BATCH_LINES: usize = 256;
/// ... but no more than this many bytes, or a few long lines fill the memory.
const BATCH_BYTES_MAX: usize = 1 << 20;
/// Batches that wait to be published.
const BATCHES_WAITING: usize = 8;

/// One line of a file.
#[derive(Debug, PartialEq, Eq)]
pub enum Line {
    /// Its bytes, without the line end.
    Whole(Vec<u8>),
    /// It is longer than [`LINE_BYTES_MAX`] and was skipped.
    TooLong,
}

/// A file that could be opened.
pub struct Input {
    name: String,
    reader: Box<dyn Read + Send>,
    /// Bytes on disk; `None` for a stream.
    bytes: Option<u64>,
}

impl Input {
    /// Opens a file; `-` is standard input.
    ///
    /// # Errors
    /// When it cannot be opened, or is packed in a way that is not read.
    pub fn open(path: &Path) -> anyhow::Result<Self> {
        if path == Path::new("-") {
            return Ok(Input {
                name: "standard input".to_owned(),
                reader: Box::new(io::stdin()),
                bytes: None,
            });
        }
        let name = path.display().to_string();
        let file = File::open(path).with_context(|| format!("cannot open {name}"))?;
        let about = file.metadata().with_context(|| format!("cannot open {name}"))?;
        anyhow::ensure!(!about.is_dir(), "cannot read {name}: it is a directory");
        let bytes = about.is_file().then_some(about.len());
        let input = Input { name, reader: Box::new(file), bytes };
        // A pipe with a name tells it when it is read.
        if bytes.is_some() {
            let mut head = Vec::new();
            File::open(path)?.take(Packing::HEAD_BYTES as u64).read_to_end(&mut head)?;
            if let Packing::Sealed(sealed) = Packing::of(&head) {
                anyhow::bail!(sealed.refusal(&input.name));
            }
        }
        Ok(input)
    }
}

/// Opens all files before the first line is read, so that a wrong name is found at once.
///
/// # Errors
/// When one of them cannot be opened.
pub fn open_all(paths: &[PathBuf]) -> anyhow::Result<Vec<Input>> {
    paths.iter().map(|path| Input::open(path)).collect()
}

/// The lines of all files in order, and how far the reading got.
pub struct Lines {
    /// Batches of lines, then the end; an error ends it too.
    pub batches: mpsc::Receiver<anyhow::Result<Vec<Line>>>,
    /// Bytes read so far, as they are on disk.
    pub bytes_read: Arc<AtomicU64>,
    /// Bytes on disk of all files; `None` where one is a stream.
    pub bytes_total: Option<u64>,
}

impl Lines {
    /// Starts to read.
    pub fn read(inputs: Vec<Input>) -> Self {
        let bytes_total = inputs.iter().map(|input| input.bytes).sum();
        let bytes_read = Arc::new(AtomicU64::new(0));
        let (to, batches) = mpsc::channel(BATCHES_WAITING);
        let counter = Arc::clone(&bytes_read);
        // Detached on purpose: it ends with its last batch, or when nobody takes them any more.
        std::thread::spawn(move || {
            for input in inputs {
                let name = input.name.clone();
                let done = read_input(input, &counter, &to).with_context(|| format!("cannot read {name}"));
                match done {
                    Ok(true) => {}
                    Ok(false) => return,
                    Err(error) => return drop(to.blocking_send(Err(error))),
                }
            }
        });
        Lines { batches, bytes_read, bytes_total }
    }
}

/// Sends all lines of one input; `false` when nobody takes them any more.
fn read_input(
    input: Input,
    bytes_read: &Arc<AtomicU64>,
    to: &mpsc::Sender<anyhow::Result<Vec<Line>>>,
) -> io::Result<bool> {
    let mut reader = decompressed(Counted { inner: input.reader, bytes: Arc::clone(bytes_read) })?;
    loop {
        let (mut batch, mut bytes) = (Vec::new(), 0);
        let mut more = true;
        while more && batch.len() < BATCH_LINES && bytes < BATCH_BYTES_MAX {
            match next_line(&mut reader) {
                Ok(Some(Line::Whole(line))) if line.iter().all(u8::is_ascii_whitespace) => {}
                Ok(Some(line)) => {
                    bytes += if let Line::Whole(line) = &line { line.len() } else { 0 };
                    batch.push(line);
                }
                Ok(None) => more = false,
                Err(error) => {
                    // The lines before the damage are good.
                    let _ = to.blocking_send(Ok(batch));
                    return Err(error);
                }
            }
        }
        if !batch.is_empty() && to.blocking_send(Ok(batch)).is_err() {
            return Ok(false);
        }
        if !more {
            return Ok(true);
        }
    }
}

fn next_line(reader: &mut dyn BufRead) -> io::Result<Option<Line>> {
    let mut line = Vec::new();
    // One byte more than allowed shows that there is more; two more for the line end.
    let read = reader.take(LINE_BYTES_MAX as u64 + 3).read_until(b'\n', &mut line)?;
    if read == 0 {
        return Ok(None);
    }
    let ended = line.last() == Some(&b'\n');
    if ended {
        line.pop();
        if line.last() == Some(&b'\r') {
            line.pop();
        }
    }
    if line.len() <= LINE_BYTES_MAX {
        return Ok(Some(Line::Whole(line)));
    }
    if !ended {
        reader.skip_until(b'\n')?;
    }
    Ok(Some(Line::TooLong))
}

fn decompressed(reader: Counted) -> io::Result<Box<dyn BufRead>> {
    let mut reader = BufReader::with_capacity(1 << 16, reader);
    // A pipe may give its first bytes one by one, so they are gathered rather than peeked at.
    let mut start = Vec::new();
    reader.by_ref().take(Packing::HEAD_BYTES as u64).read_to_end(&mut start)?;
    let packing = Packing::of(&start);
    let whole = io::Cursor::new(start).chain(reader);
    Ok(match packing {
        // Multi: files that were appended to one another are one file, as gzip itself reads them.
        Packing::Gzip => Box::new(BufReader::new(flate2::bufread::MultiGzDecoder::new(whole))),
        Packing::Zstd => Box::new(BufReader::new(zstd::Decoder::with_buffer(whole)?)),
        Packing::Plain => Box::new(whole),
        Packing::Sealed(sealed) => return Err(io::Error::other(sealed.refusal("it"))),
    })
}

struct Counted {
    inner: Box<dyn Read + Send>,
    bytes: Arc<AtomicU64>,
}

impl Read for Counted {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(buffer)?;
        self.bytes.fetch_add(read as u64, Ordering::Relaxed);
        Ok(read)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn lines_of(bytes: &[u8]) -> anyhow::Result<Vec<Line>> {
        let mut file = tempfile::NamedTempFile::new()?;
        file.write_all(bytes)?;
        let mut lines = Lines::read(open_all(&[file.path().to_owned()])?);
        let mut all = Vec::new();
        while let Some(batch) = lines.batches.blocking_recv() {
            all.extend(batch?);
        }
        assert_eq!(lines.bytes_read.load(Ordering::Relaxed), lines.bytes_total.expect("a file has a size"));
        Ok(all)
    }

    fn gzip(text: &[u8]) -> Vec<u8> {
        let mut writer = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        writer.write_all(text).expect("memory");
        writer.finish().expect("memory")
    }

    #[test]
    fn a_file_reads_the_same_plain_and_compressed() {
        let text = b"{\"a\":1}\r\n\n  \n{\"b\":2}\nlast";
        let expected = [&b"{\"a\":1}"[..], b"{\"b\":2}", b"last"].map(|line| Line::Whole(line.to_vec()));
        let zstd = zstd::encode_all(&text[..], 1).expect("memory");
        let twice = [gzip(b"{\"a\":1}\n"), gzip(b"{\"b\":2}\nlast")].concat();
        for (what, bytes) in
            [("plain", text.to_vec()), ("gzip", gzip(text)), ("zstd", zstd), ("gzips", twice)]
        {
            assert_eq!(lines_of(&bytes).expect(what), expected, "{what}");
        }
        assert_eq!(lines_of(b"").expect("empty"), []);
        assert_eq!(lines_of(b"x").expect("one byte"), [Line::Whole(b"x".to_vec())]);
    }

    #[test]
    fn what_is_packed_in_another_way_is_refused_before_anything_is_read() {
        let mut file = tempfile::NamedTempFile::new().expect("temporary file");
        file.write_all(b"\xfd7zXZ\0\0\x04").expect("written");
        let refused = Input::open(file.path()).err().map(|error| error.to_string()).unwrap_or_default();
        assert!(refused.contains("is packed with xz") && refused.contains("xz -dc"), "{refused}");
    }

    #[test]
    fn a_line_that_is_too_long_is_skipped_and_the_next_one_is_read() {
        for (over, expected) in
            [(0, Line::Whole(vec![b'x'; LINE_BYTES_MAX])), (1, Line::TooLong), (9, Line::TooLong)]
        {
            let mut text = vec![b'x'; LINE_BYTES_MAX + over];
            text.extend(b"\nnext");
            assert_eq!(
                lines_of(&text).expect("readable"),
                [expected, Line::Whole(b"next".to_vec())],
                "{over} over"
            );
        }
    }

    #[test]
    fn a_damaged_file_gives_the_lines_before_the_damage_and_an_error() {
        let mut bytes = gzip(b"{\"a\":1}\n{\"b\":2}\n");
        bytes.truncate(bytes.len() - 6);
        let mut file = tempfile::NamedTempFile::new().expect("temporary file");
        file.write_all(&bytes).expect("written");
        let mut lines = Lines::read(open_all(&[file.path().to_owned()]).expect("there"));
        let first = lines.batches.blocking_recv().expect("a batch").expect("whole lines");
        assert_eq!(first.len(), 2);
        assert!(lines.batches.blocking_recv().expect("an end").is_err());
    }
}
