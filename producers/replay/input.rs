//! Where recorded events come from: lines of files, a stretch of a stream, or either of them sorted by time.

use std::collections::VecDeque;
use std::sync::atomic::Ordering;

use crate::lines::{Line, Lines};
use crate::recorded::{Recorded, Selection};
use crate::stretch::Stretch;

/// Bytes of events that are held to be sorted.
const SORTED_BYTES_MAX: usize = 2 << 30;
/// What an event takes beside its bytes.
const EVENT_OVERHEAD_BYTES: usize = 160;
/// Sorted events that are given out at once.
const BATCH_EVENTS: usize = 256;

/// What was read.
#[derive(Default)]
pub struct Read {
    /// Events, or lines that should be.
    pub events: u64,
    /// Of those: not asked for.
    pub passed_over: u64,
    /// Of those: lines that name no source.
    pub unknown: u64,
    /// Lines longer than a message can be.
    pub too_long: u64,
    /// What stands in the stream and is no event.
    pub unread: u64,
}

/// Recorded events, in batches.
pub struct Input {
    from: From,
    selection: Selection,
    tenant: String,
}

enum From {
    Lines(Lines),
    Stretch(Box<Stretch>),
    Sorted { events: VecDeque<Recorded>, total: u64 },
}

impl Input {
    /// The lines of files.
    pub fn lines(lines: Lines, selection: Selection, tenant: &str) -> Self {
        Input { from: From::Lines(lines), selection, tenant: tenant.to_owned() }
    }

    /// A stretch of a stream.
    pub fn stretch(stretch: Stretch, selection: Selection) -> Self {
        Input { from: From::Stretch(Box::new(stretch)), selection, tenant: String::new() }
    }

    /// How far the reading got, and how far it will get: bytes of files, messages of a stream, sorted events.
    pub fn progress(&self) -> (u64, Option<u64>) {
        match &self.from {
            From::Lines(lines) => (lines.bytes_read.load(Ordering::Relaxed), lines.bytes_total),
            From::Stretch(stretch) => (0, Some(stretch.messages())),
            From::Sorted { events, total } => (total - events.len() as u64, Some(*total)),
        }
    }

    /// Reads everything and sorts it by the time at which it happened; what happened at one time stays in its order.
    ///
    /// # Errors
    /// When it cannot be read, or is too much to be held.
    pub async fn sorted(mut self, read: &mut Read) -> anyhow::Result<Self> {
        let mut events = Vec::new();
        let mut bytes = 0;
        while let Some(batch) = self.next(read).await? {
            bytes += batch.iter().map(|event| event.body.len() + EVENT_OVERHEAD_BYTES).sum::<usize>();
            anyhow::ensure!(
                bytes <= SORTED_BYTES_MAX,
                "too many events to sort ({} GiB): ask for fewer with --since, --until, --source or --entity",
                SORTED_BYTES_MAX >> 30
            );
            events.extend(batch);
        }
        events.sort_by_key(|event: &Recorded| event.occurred_at);
        let total = events.len() as u64;
        Ok(Input { from: From::Sorted { events: events.into(), total }, ..self })
    }

    /// The next events that are asked for; `None` at the end.
    ///
    /// # Errors
    /// When they cannot be read.
    pub async fn next(&mut self, read: &mut Read) -> anyhow::Result<Option<Vec<Recorded>>> {
        let events = match &mut self.from {
            From::Sorted { events, .. } => {
                let batch: Vec<Recorded> = events.drain(..events.len().min(BATCH_EVENTS)).collect();
                return Ok((!batch.is_empty()).then_some(batch));
            }
            From::Lines(lines) => match lines.batches.recv().await {
                None => return Ok(None),
                Some(batch) => {
                    batch?.into_iter().filter_map(|line| take_line(&self.tenant, line, read)).collect()
                }
            },
            From::Stretch(stretch) => match stretch.next().await? {
                None => return Ok(None),
                Some(batch) => {
                    read.events += batch.events.len() as u64;
                    read.unread = stretch.unread;
                    batch.events
                }
            },
        };
        let before = events.len();
        let taken: Vec<Recorded> = events.into_iter().filter(|event| self.selection.takes(event)).collect();
        read.passed_over += (before - taken.len()) as u64;
        Ok(Some(taken))
    }
}

fn take_line(tenant: &str, line: Line, read: &mut Read) -> Option<Recorded> {
    read.events += 1;
    let Line::Whole(line) = line else {
        read.too_long += 1;
        return None;
    };
    let (event, names_source) = Recorded::line(tenant, line);
    read.unknown += u64::from(!names_source);
    Some(event)
}
