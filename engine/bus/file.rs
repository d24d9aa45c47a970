//! A file or a pipe as the two logs: NDJSON lines in, lines out. For backtests, and for a look without a server.

use std::collections::{BTreeMap, VecDeque};
use std::fs::File;
use std::io::{BufRead, BufReader, Cursor, ErrorKind, Read, Write};
use std::time::Duration;

use bytes::Bytes;
use sightline_schemas::subject::{HEADER_CONTENT_ENCODING, HEADER_CONTENT_TYPE};

use crate::bus::{BusError, EventLog, LastOutput, LogInfo, LogMessage, Output, OutputLog};

/// Longest line that is kept whole: twice what a server takes as one message by default. What is longer is cut off
/// here, so that intake refuses it as a dead letter, and memory stays bounded whatever the file is.
const LINE_BYTES_MAX: usize = 2 << 20;
/// How much is read from the file at a time.
const READ_BYTES: usize = 256 << 10;

/// Opens `path`, or standard input for `-`, and unpacks gzip and zstd, known by their first bytes, as it is read.
///
/// # Errors
/// When the file cannot be opened or read.
pub fn open(path: &str) -> std::io::Result<Box<dyn BufRead + Send>> {
    let mut raw: Box<dyn Read + Send> = match path {
        "-" => Box::new(std::io::stdin()),
        path => Box::new(File::open(path)?),
    };
    let mut first = Vec::with_capacity(4);
    raw.by_ref().take(4).read_to_end(&mut first)?;
    let whole = BufReader::with_capacity(READ_BYTES, Cursor::new(first.clone()).chain(raw));
    Ok(match first[..] {
        [0x1f, 0x8b, ..] => {
            Box::new(BufReader::with_capacity(READ_BYTES, flate2::bufread::MultiGzDecoder::new(whole)))
        }
        [0x28, 0xb5, 0x2f, 0xfd] => {
            Box::new(BufReader::with_capacity(READ_BYTES, zstd::stream::read::Decoder::with_buffer(whole)?))
        }
        _ => Box::new(whole),
    })
}

/// The lines of a file as an input log: message `n` is the `n`th line that is not blank.
///
/// Reading blocks the task, as long as the file or pipe does. What is appended comes before the next line.
pub struct FileEvents {
    name: String,
    lines: Box<dyn BufRead + Send>,
    ended: bool,
    /// Sequence of the next message to give out.
    next: u64,
    appended: VecDeque<LogMessage>,
    /// The first and the last message that was appended on each subject.
    subjects: BTreeMap<String, (LogMessage, LogMessage)>,
}

impl std::fmt::Debug for FileEvents {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("FileEvents")
            .field("name", &self.name)
            .field("next", &self.next)
            .finish_non_exhaustive()
    }
}

impl FileEvents {
    /// The lines that `lines` gives; `name` says in messages what this is.
    pub fn new(name: &str, lines: Box<dyn BufRead + Send>) -> Self {
        FileEvents {
            name: name.to_owned(),
            lines,
            ended: false,
            next: 1,
            appended: VecDeque::new(),
            subjects: BTreeMap::new(),
        }
    }

    /// Whether everything was given out.
    pub fn finished(&self) -> bool {
        self.ended && self.appended.is_empty()
    }

    fn next_message(&mut self) -> Result<Option<LogMessage>, BusError> {
        let message = match self.appended.pop_front() {
            Some(message) => Some(message),
            None => self.next_line()?.map(|body| LogMessage {
                seq: self.next,
                subject: None,
                content_type: None,
                content_encoding: None,
                received_at: None,
                body,
            }),
        };
        self.next += u64::from(message.is_some());
        Ok(message)
    }

    /// The next line that is not blank, without its end; `None` at the end of the file.
    fn next_line(&mut self) -> Result<Option<Bytes>, BusError> {
        while !self.ended {
            let mut line = Vec::new();
            let read = read_line(&mut *self.lines, &mut line);
            let ended =
                read.map_err(|error| BusError::Stop(format!("cannot read {}: {error}", self.name)))?;
            self.ended = ended;
            if !line.trim_ascii().is_empty() {
                return Ok(Some(Bytes::from(line)));
            }
        }
        Ok(None)
    }
}

/// Reads up to the end of the line, keeping the first [`LINE_BYTES_MAX`] bytes. Whether that was the end of the file.
fn read_line(lines: &mut (dyn BufRead + Send), line: &mut Vec<u8>) -> std::io::Result<bool> {
    loop {
        let chunk = match lines.fill_buf() {
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            chunk => chunk?,
        };
        let end = chunk.iter().position(|byte| *byte == b'\n');
        let text = &chunk[..end.unwrap_or(chunk.len())];
        line.extend_from_slice(&text[..text.len().min(LINE_BYTES_MAX - line.len())]);
        let (used, at_end) = (end.map_or(chunk.len(), |end| end + 1), chunk.is_empty());
        lines.consume(used);
        if end.is_some() || at_end {
            if line.last() == Some(&b'\r') {
                line.pop();
            }
            return Ok(at_end);
        }
    }
}

impl EventLog for FileEvents {
    /// `last_seq` is the newest message that is known of: how many lines follow is seen when they are read.
    async fn info(&mut self) -> Result<LogInfo, BusError> {
        let last_seq = self.next - 1 + self.appended.len() as u64;
        Ok(LogInfo { id: format!("file:{}", self.name), first_seq: 1, last_seq })
    }

    async fn seek(&mut self, seq: u64) -> Result<(), BusError> {
        if seq.max(1) < self.next {
            return Err(BusError::Stop(format!("{} cannot be read again from line {seq}", self.name)));
        }
        while self.next < seq && self.next_message()?.is_some() {}
        Ok(())
    }

    async fn next_batch(&mut self, max: usize, _wait: Duration) -> Result<Vec<LogMessage>, BusError> {
        let mut batch = Vec::new();
        while batch.len() < max {
            let Some(message) = self.next_message()? else {
                break;
            };
            batch.push(message);
        }
        Ok(batch)
    }

    async fn last_on(&mut self, subject: &str) -> Result<Option<LogMessage>, BusError> {
        Ok(self.subjects.get(subject).map(|(_, last)| last.clone()))
    }

    async fn first_on(&mut self, subject: &str) -> Result<Option<LogMessage>, BusError> {
        Ok(self.subjects.get(subject).map(|(first, _)| first.clone()))
    }

    async fn append(
        &mut self,
        subject: &str,
        headers: &[(&'static str, String)],
        body: Bytes,
    ) -> Result<u64, BusError> {
        let header =
            |wanted| headers.iter().find(|(name, _)| *name == wanted).map(|(_, value)| value.clone());
        let message = LogMessage {
            seq: self.next + self.appended.len() as u64,
            subject: Some(subject.into()),
            content_type: header(HEADER_CONTENT_TYPE),
            content_encoding: header(HEADER_CONTENT_ENCODING),
            received_at: None,
            body,
        };
        let seq = message.seq;
        let entry = self.subjects.entry(subject.to_owned());
        entry
            .and_modify(|(_, last)| *last = message.clone())
            .or_insert_with(|| (message.clone(), message.clone()));
        self.appended.push_back(message);
        Ok(seq)
    }
}

/// An output log that writes each body as a line, and remembers nothing.
pub struct LinesOut {
    out: Box<dyn Write + Send>,
}

impl std::fmt::Debug for LinesOut {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str("LinesOut")
    }
}

impl LinesOut {
    /// Writes to `out`, which should be buffered; [`OutputLog::flush`] empties it.
    pub fn new(out: Box<dyn Write + Send>) -> Self {
        LinesOut { out }
    }
}

fn cannot_write(error: &std::io::Error) -> BusError {
    match error.kind() {
        ErrorKind::BrokenPipe => BusError::Stop("output closed".to_owned()),
        _ => BusError::Stop(format!("cannot write the output: {error}")),
    }
}

impl OutputLog for LinesOut {
    async fn open(&mut self, _log: &str) -> Result<Option<LastOutput>, BusError> {
        Ok(None)
    }

    async fn all_on(&mut self, _subject: &str) -> Result<Vec<(String, Bytes)>, BusError> {
        Ok(Vec::new())
    }

    async fn publish(&mut self, outputs: Vec<Output>) -> Result<(), BusError> {
        for output in outputs {
            let written = self.out.write_all(&output.body).and_then(|()| self.out.write_all(b"\n"));
            written.map_err(|error| cannot_write(&error))?;
        }
        Ok(())
    }

    async fn poll(&mut self) -> Result<usize, BusError> {
        Ok(0)
    }

    async fn flush(&mut self) -> Result<(), BusError> {
        self.out.flush().map_err(|error| cannot_write(&error))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn bodies(log: &mut FileEvents, max: usize) -> Vec<(u64, String)> {
        let batch = log.next_batch(max, Duration::ZERO).await.expect("readable");
        batch
            .iter()
            .map(|message| (message.seq, String::from_utf8_lossy(&message.body).into_owned()))
            .collect()
    }

    fn pair(seq: u64, body: &str) -> (u64, String) {
        (seq, body.to_owned())
    }

    #[tokio::test]
    async fn lines_are_messages_and_appended_ones_come_next() {
        let mut log = FileEvents::new("t", Box::new(Cursor::new("a\r\n\n  \nb\nc")));
        assert_eq!(log.append("control.rules", &[], Bytes::from("r")).await.expect("taken"), 1);
        assert_eq!(bodies(&mut log, 2).await, [pair(1, "r"), pair(2, "a")]);
        assert_eq!(log.append("control.tick", &[], Bytes::from("t")).await.expect("taken"), 3);
        assert!(!log.finished());
        assert_eq!(bodies(&mut log, 9).await, [pair(3, "t"), pair(4, "b"), pair(5, "c")]);
        assert!(log.finished());
        assert!(bodies(&mut log, 9).await.is_empty());
        let last = log.last_on("control.tick").await.expect("known").expect("appended");
        assert_eq!((last.seq, &last.body[..]), (3, &b"t"[..]));
    }

    #[tokio::test]
    async fn a_line_without_end_is_cut_off_and_the_next_one_is_whole() {
        let text = format!("{}\nb\n", "x".repeat(LINE_BYTES_MAX + 5));
        let mut log = FileEvents::new("t", Box::new(BufReader::with_capacity(1_000, Cursor::new(text))));
        let batch = bodies(&mut log, 9).await;
        assert_eq!((batch[0].1.len(), &batch[1]), (LINE_BYTES_MAX, &pair(2, "b")));
    }

    #[tokio::test]
    async fn packed_files_read_like_plain_ones() {
        let dir = tempfile::tempdir().expect("a directory");
        let text = "a\nb\n".repeat(50_000);
        let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        gzip.write_all(text.as_bytes()).expect("memory");
        let packed = [
            ("plain", text.clone().into_bytes()),
            ("gzip", gzip.finish().expect("memory")),
            ("zstd", zstd::encode_all(text.as_bytes(), 1).expect("memory")),
            ("short", b"a".to_vec()),
            ("empty", Vec::new()),
        ];
        for (name, bytes) in packed {
            let path = dir.path().join(name);
            std::fs::write(&path, bytes).expect("written");
            let mut log = FileEvents::new(name, open(path.to_str().expect("text")).expect("opened"));
            let count = bodies(&mut log, usize::MAX).await.len();
            let expected = match name {
                "short" => 1,
                "empty" => 0,
                _ => 100_000,
            };
            assert_eq!((name, count), (name, expected));
        }
    }
}
