//! Logs that people have, by a mapping: from files that are followed, from standard input, from a subject.
//!
//! [`tail`] follows a file through rotation and truncation and knows after a crash on which line it was ([`place`]);
//! [`lines`] takes lines out of what was read, and [`group`] joins those that tell of one event; [`rotation`] finds the files
//! that were put aside, and [`packed`] unfolds them; [`stdin`] reads a pipe; [`subject`] reads what others publish.

mod group;
mod lines;
mod packed;
mod place;
mod rotation;
mod stdin;
mod subject;
mod tail;

use std::path::Path;

use anyhow::anyhow;
use bytes::Bytes;
use sightline_producers::packing::Packing;
use sightline_producers::{Connect, crash_point};

use crate::Ended;
use crate::arguments::Logs;
use crate::bridge::Bridge;
use crate::delivery::now;
use crate::format::{Format, too_long};
use crate::mapping::Origin;
use crate::record::{Input, Item, Press};
use lines::Line;
use tail::{Ground, Tail};

/// Follows the sources that the options name.
pub async fn run(bridge: &mut Bridge, arguments: &Logs, connect: &Connect) -> Result<(), Ended> {
    let press = bridge.press(&arguments.mapping).map_err(Ended::Usage)?;
    if matches!(press.format(), Format::Csv(columns) if columns.is_empty()) {
        return Err(Ended::Usage(anyhow!(
            "a table has its columns named in its first line, which is gone when the file has been rotated: copy the \
             mapping with `sightline-bridge mapping show {}`, and add `columns: [timestamp, …]`",
            arguments.mapping
        )));
    }
    if let Some(name) = &arguments.subject {
        return subject::run(bridge, &press, name, connect).await;
    }
    if arguments.files.iter().any(|file| file == Path::new("-")) {
        if arguments.files.len() > 1 {
            return Err(Ended::Usage(anyhow!("standard input is read alone: name files, or `-`")));
        }
        return stdin::run(bridge, &press).await;
    }
    for file in &arguments.files {
        if let Ok(Packing::Sealed(sealed)) = packed::packing(file) {
            return Err(Ended::Usage(anyhow!(sealed.refusal(&file.display().to_string()))));
        }
    }
    files(bridge, &press, arguments).await
}

/// Looks at each file in turn, for as long as any has more.
async fn files(bridge: &mut Bridge, press: &Press, arguments: &Logs) -> Result<(), Ended> {
    let tally = bridge.tally(press.name());
    let mut tails = Vec::new();
    let ground = Ground { cursors: &bridge.cursors, folder: &bridge.folder, once: bridge.once };
    for path in &arguments.files {
        tails.push(Tail::new(path, press, ground).map_err(anyhow::Error::from)?);
    }
    loop {
        let mut more = false;
        for tail in &mut tails {
            let begun = match tail.first_place() {
                Ok(Some(known)) => {
                    bridge.cursors.put(vec![known]).await.map_err(anyhow::Error::from)?;
                    tracing::info!(file = %tail.path().display(), "following");
                    Ok(())
                }
                Ok(None) => Ok(()),
                Err(error) => Err(error),
            };
            let batch = match begun.and_then(|()| tail.read()) {
                Ok(batch) => batch,
                // Not there yet, or not for us to read: it may come. With --once, now or never.
                Err(error) => {
                    let why = format!("{}: {error}", tail.path().display());
                    if bridge.once {
                        return Err(Ended::Incomplete(anyhow!(why)));
                    }
                    if !bridge.ledger.failing().contains_key(press.name()) {
                        tracing::warn!(why, "source_failed");
                    }
                    tally.source_failed(&why);
                    continue;
                }
            };
            tally.source_well();
            if batch.is_empty() {
                continue;
            }
            more = true;
            if batch.lost {
                tally.gap();
            }
            let origin = Origin { file: Some(tail.path().display().to_string()), ..Origin::default() };
            let mut items = Vec::with_capacity(batch.lines.len());
            for line in batch.lines {
                items.extend(items_of(press, line.line, line.place, &origin));
            }
            if bridge.delivery.deliver_all(&tally, items, &mut bridge.stop).await.is_err() {
                return Ok(());
            }
            // When all of it is kept: a crash before this sends the batch again, under the same ids.
            if let Some(left) = &batch.left {
                place::leave(press, left, &bridge.cursors).await.map_err(anyhow::Error::from)?;
                crash_point!(AfterLeaving);
            }
            bridge.cursors.put(vec![tail.advance(batch.after)]).await.map_err(anyhow::Error::from)?;
        }
        if bridge.stopping() {
            return Ok(());
        }
        if !more && (bridge.once || bridge.pause(arguments.look_every).await) {
            return Ok(());
        }
    }
}

/// What a line becomes.
fn items_of(press: &Press, line: Line, place: Option<String>, origin: &Origin) -> Vec<Item> {
    let content_type = match press.format() {
        Format::Json => "application/json",
        _ => "text/plain",
    };
    let input = |bytes: Bytes| Input { bytes, content_type, place, origin: origin.clone() };
    match line {
        Line::Whole(bytes) => press.make(&input(bytes), now()),
        Line::TooLong(bytes) => {
            let reject = too_long(bytes.len());
            vec![press.reject(&input(bytes), None, reject)]
        }
    }
}
