//! Where replayed events go: into the log, to whoever subscribes, or nowhere, counted.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use anyhow::Context;
use async_nats::HeaderMap;
use serde_json::json;
use sightline_producers::connect::Client;
use sightline_producers::frame::{Frame, Framer, Ready};
use sightline_producers::{Framing, Publisher};
use sightline_schemas::EventId;
use sightline_schemas::subject::{HEADER_CONTENT_TYPE, HEADER_POSITION, HEADER_REPLAY, REPLAY_END, replay};

use crate::recorded::Recorded;

/// Takes events.
pub enum Target {
    /// Publishes them into the input log and sees to it that they arrive.
    Log {
        /// Brings messages into the log.
        publisher: Publisher,
        /// Packs events into messages.
        framer: Framer<()>,
        /// Names this run in the messages.
        run: String,
    },
    /// Publishes them for whoever subscribes now.
    Subscribers {
        /// The connection.
        client: Client,
        /// Names this run in the messages.
        run: String,
        /// Events so far.
        sent: u64,
    },
    /// Publishes nothing: events and messages by subject.
    Nowhere {
        /// Packs events into messages.
        framer: Framer<()>,
        /// Events and messages.
        subjects: BTreeMap<String, (u64, u64)>,
        /// Whether they would go to whoever subscribes.
        to_subscribers: bool,
    },
}

/// Packs so many events into a message. Whoever replays waits for full frames.
pub fn framer(events_max: u32) -> Framer<()> {
    Framer::new(Framing { events_max, linger: Duration::MAX, ..Framing::default() })
}

/// Names a run of this program.
pub fn run_of(client: &Client) -> String {
    client.new_inbox().rsplit('.').next().unwrap_or_default().to_owned()
}

impl Target {
    /// Takes an event.
    ///
    /// # Errors
    /// When the connection was closed.
    pub async fn take(&mut self, event: Recorded) -> anyhow::Result<()> {
        match self {
            Target::Log { publisher, framer, run } => {
                let full = add(framer, &event);
                publish(publisher, full, run).await
            }
            Target::Subscribers { client, run, sent } => {
                let mut headers = HeaderMap::new();
                headers.insert(HEADER_CONTENT_TYPE, event.form.content_type());
                headers.insert(HEADER_REPLAY, run.as_str());
                if let Some(position) = event.position {
                    headers.insert(HEADER_POSITION, position.to_string());
                }
                let subject = replay(&event.tenant, &event.source);
                client
                    .publish_with_headers(subject, headers, event.body.into())
                    .await
                    .context("cannot publish")?;
                *sent += 1;
                Ok(())
            }
            Target::Nowhere { framer, subjects, to_subscribers } => {
                if *to_subscribers {
                    count(subjects, replay(&event.tenant, &event.source), 1);
                } else {
                    let full = add(framer, &event);
                    full.into_iter().for_each(|frame| count_frame(subjects, &frame));
                }
                Ok(())
            }
        }
    }

    /// Sends what is left, and waits until all of it is where it belongs. `complete` says whether all events were taken.
    ///
    /// # Errors
    /// When some events did not get there.
    pub async fn finish(&mut self, complete: bool) -> anyhow::Result<()> {
        match self {
            Target::Log { publisher, framer, run } => {
                let rest = framer.finish();
                publish(publisher, rest, run).await?;
                publisher.flush().await?;
            }
            Target::Subscribers { client, run, sent } => {
                let mut headers = HeaderMap::new();
                headers.insert(HEADER_CONTENT_TYPE, "application/json");
                headers.insert(HEADER_REPLAY, run.as_str());
                let body = json!({ "v": 1, "replay": run, "total": sent, "complete": complete }).to_string();
                client
                    .publish_with_headers(REPLAY_END, headers, body.into())
                    .await
                    .context("cannot publish")?;
                client.flush().await.context("cannot publish")?;
            }
            Target::Nowhere { framer, subjects, .. } => {
                framer.finish().iter().for_each(|frame| count_frame(subjects, frame));
            }
        }
        Ok(())
    }

    /// Events that are where they belong.
    pub fn arrived(&self) -> u64 {
        match self {
            Target::Log { publisher, .. } => publisher.counts().acknowledged,
            Target::Subscribers { sent, .. } => *sent,
            Target::Nowhere { .. } => 0,
        }
    }
}

fn add(framer: &mut Framer<()>, event: &Recorded) -> Vec<Frame<()>> {
    let id = EventId::from_raw(&event.tenant, &event.source, &event.body);
    let (tenant, source) = (&*event.tenant, &*event.source);
    let ready = Ready { tenant, source, form: event.form, body: &event.body, id, trace: None };
    framer.add(ready, None, Instant::now)
}

async fn publish(publisher: &Publisher, frames: Vec<Frame<()>>, run: &str) -> anyhow::Result<()> {
    for frame in frames {
        publisher.publish(frame.message.with_header(HEADER_REPLAY, run)).await?;
    }
    Ok(())
}

fn count_frame(subjects: &mut BTreeMap<String, (u64, u64)>, frame: &Frame<()>) {
    let events = u64::from(frame.message.events());
    count(subjects, frame.message.subject().to_owned(), events);
}

fn count(subjects: &mut BTreeMap<String, (u64, u64)>, subject: String, events: u64) {
    let (sent, messages) = subjects.entry(subject).or_default();
    *sent += events;
    *messages += 1;
}
