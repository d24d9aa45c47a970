//! Standard input: a pipe from something that writes lines.
//!
//! Nothing can be read again from a pipe. A line is named by its number and its bytes, so that the same pipe read twice from
//! its beginning gives the same events, and two lines that say the same are two.

use std::io::Read;

use tokio::sync::mpsc;

use super::group::{EVENT_WAIT, Grouping, Held, Placed};
use super::items_of;
use super::lines::{Line, Splitter, bytes_max};
use crate::Ended;
use crate::bridge::Bridge;
use crate::mapping::Origin;
use crate::record::{Press, content_key};

const READ_BYTES: usize = 64 << 10;

/// Reads until the end of the input, whether or not `--once` is said.
pub async fn run(bridge: &mut Bridge, press: &Press) -> Result<(), Ended> {
    let tally = bridge.tally(press.name());
    let (sender, mut batches) = mpsc::channel(2);
    let bytes_max = bytes_max(press.holds_many());
    std::thread::spawn(move || read(bytes_max, &sender));
    let mut held = Held::new(Grouping::of(press.format()));
    let mut number: u64 = 0;
    let mut ended = false;
    while !ended {
        let batch = tokio::select! {
            batch = batches.recv() => batch,
            () = tokio::time::sleep(EVENT_WAIT), if !held.is_empty() => Some(Ok(Vec::new())),
            _ = bridge.stop.wait_for(|stop| *stop) => None,
        };
        let mut lines = Vec::new();
        match batch {
            Some(Ok(more)) => {
                for line in more {
                    number += 1;
                    let (Line::Whole(bytes) | Line::TooLong(bytes)) = &line;
                    let place = Some(format!("stdin:{number}:{}", content_key(bytes)));
                    lines.push(Placed { line, place, offset: number });
                }
            }
            Some(Err(error)) => return Err(anyhow::anyhow!("standard input: {error}").into()),
            None => ended = true,
        }
        let lines = held.take(lines, ended);
        let mut items = Vec::with_capacity(lines.len());
        for placed in lines {
            items.extend(items_of(press, placed.line, placed.place, &Origin::default()));
        }
        if bridge.delivery.deliver_all(&tally, items, &mut bridge.stop).await.is_err() {
            return Ok(());
        }
    }
    Ok(())
}

fn read(bytes_max: usize, batches: &mpsc::Sender<std::io::Result<Vec<Line>>>) {
    let mut input = std::io::stdin().lock();
    let mut splitter = Splitter::new(bytes_max, false);
    let mut buffer = vec![0; READ_BYTES];
    loop {
        let (fed, ended) = match input.read(&mut buffer) {
            Ok(0) => (splitter.finish().into_iter().collect(), true),
            Ok(got) => (splitter.feed(&buffer[..got]), false),
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => continue,
            Err(error) => {
                let _ = batches.blocking_send(Err(error));
                return;
            }
        };
        let lines: Vec<Line> = fed.into_iter().filter_map(|(line, _)| line).collect();
        if batches.blocking_send(Ok(lines)).is_err() || ended {
            return;
        }
    }
}
