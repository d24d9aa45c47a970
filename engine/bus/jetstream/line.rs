//! A line of its own for the messages of a consumer: read in large pieces by a task, cut where they lie, and taken over in
//! batches.
//!
//! The client hands each message over by itself, in memory of its own: as much work as what the worker then does with it.
//! All that a line does is to answer pings, to ask for more where there is room, and to say why it ended.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::{Bytes, BytesMut};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tokio::time::Instant;

use super::login::{LoggedIn, Socket};
use super::reply::{self, Delivered};
use super::wire::{self, Said};
use crate::bus::LogMessage;

/// Room for one read: some hundred messages of the usual size.
const ROOM_BYTES: usize = 256 << 10;
/// With less room than this left, other room is made.
const ROOM_BYTES_MIN: usize = 32 << 10;

/// What a line is to ask for, again and again.
#[derive(Debug)]
pub(super) struct Pulls {
    /// The subject that messages come on.
    pub(super) inbox: String,
    /// The subject to ask on.
    pub(super) subject: String,
    /// The question, as JSON.
    pub(super) body: String,
    /// For how many messages it asks.
    pub(super) messages: usize,
}

/// An open line. Dropped, it hangs up.
#[derive(Debug)]
pub(super) struct Line {
    shared: Arc<Shared>,
    task: JoinHandle<()>,
}

#[derive(Debug)]
struct Shared {
    held: Mutex<Held>,
    /// Something came.
    news: Notify,
    /// Messages were taken over.
    room: Notify,
}

#[derive(Debug)]
struct Held {
    messages: VecDeque<LogMessage>,
    /// Asked for, and neither here nor called off.
    outstanding: usize,
    /// With no more than so many outstanding or not taken over it is time to ask for more.
    enough: usize,
    last_heard: Instant,
    /// Why nothing comes any more.
    ended: Option<String>,
}

impl Held {
    fn has_room(&self) -> bool {
        self.outstanding + self.messages.len() <= self.enough
    }
}

impl Shared {
    fn held(&self) -> MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Line {
    /// Reads over `logged_in` what `pulls` asks for.
    pub(super) fn open(logged_in: LoggedIn, pulls: Pulls) -> Self {
        let held = Held {
            messages: VecDeque::new(),
            outstanding: 0,
            enough: pulls.messages / 2,
            last_heard: Instant::now(),
            ended: None,
        };
        let shared = Arc::new(Shared { held: Mutex::new(held), news: Notify::new(), room: Notify::new() });
        let ours = Arc::clone(&shared);
        let task = tokio::spawn(async move {
            let mut reader = Reader::new(logged_in, pulls, Arc::clone(&ours));
            let Err(why) = reader.run().await;
            ours.held().ended = Some(why);
            ours.news.notify_one();
        });
        Line { shared, task }
    }

    /// Moves what has come into `ready`, until that holds `max`. Why the line ended, where it did and nothing is left.
    pub(super) fn take(&self, ready: &mut VecDeque<LogMessage>, max: usize) -> Result<(), String> {
        let mut held = self.shared.held();
        if held.messages.is_empty() {
            return held.ended.take().map_or(Ok(()), Err);
        }
        let count = held.messages.len().min(max.saturating_sub(ready.len()));
        ready.extend(held.messages.drain(..count));
        if held.has_room() {
            self.shared.room.notify_one();
        }
        Ok(())
    }

    /// Returns when something may have come.
    pub(super) async fn news(&self) {
        self.shared.news.notified().await;
    }

    /// When the server last sent anything.
    pub(super) fn last_heard(&self) -> Instant {
        self.shared.held().last_heard
    }
}

struct Reader {
    socket: Box<dyn Socket>,
    pulls: Pulls,
    shared: Arc<Shared>,
    room: BytesMut,
    /// Bytes of a message of which the beginning is here.
    wanted: usize,
    found: Found,
}

impl Reader {
    fn new(logged_in: LoggedIn, pulls: Pulls, shared: Arc<Shared>) -> Self {
        Reader {
            socket: logged_in.socket,
            pulls,
            shared,
            room: logged_in.room,
            wanted: 0,
            found: Found::default(),
        }
    }

    async fn run(&mut self) -> Result<Infallible, String> {
        let subscribe = format!("SUB {} 1\r\n", self.pulls.inbox);
        self.write(subscribe.as_bytes()).await?;
        loop {
            self.top_up().await?;
            let free = self.room.capacity() - self.room.len();
            if free < ROOM_BYTES_MIN || self.room.len() + free < self.wanted {
                self.room.reserve(ROOM_BYTES.max(self.wanted.saturating_sub(self.room.len())));
            }
            let read = tokio::select! {
                read = self.socket.read_buf(&mut self.room) => read,
                () = self.shared.room.notified() => continue,
            };
            match read {
                Ok(0) => return Err("the server hung up".to_owned()),
                Ok(_) => self.take_in().await?,
                Err(error) => return Err(error.to_string()),
            }
        }
    }

    async fn write(&mut self, bytes: &[u8]) -> Result<(), String> {
        // TLS keeps what is written until it is told to let go.
        let written = async {
            self.socket.write_all(bytes).await?;
            self.socket.flush().await
        };
        written.await.map_err(|error: std::io::Error| error.to_string())
    }

    /// Asks for more when half of what was asked for has been taken over, so that the server never waits for us.
    async fn top_up(&mut self) -> Result<(), String> {
        {
            let mut held = self.shared.held();
            if !held.has_room() {
                return Ok(());
            }
            held.outstanding += self.pulls.messages;
        }
        let Pulls { inbox, subject, body, .. } = &self.pulls;
        let asked = format!("PUB {subject} {inbox} {}\r\n{body}\r\n", body.len());
        self.write(asked.as_bytes()).await
    }

    /// Takes in all that is whole of what was read.
    async fn take_in(&mut self) -> Result<(), String> {
        if self.room.len() < self.wanted {
            return Ok(());
        }
        let (mut at, mut pinged, mut ended) = (0, false, None);
        while ended.is_none() {
            match wire::first(&self.room[at..]) {
                Ok(Ok((said, taken))) => {
                    match said {
                        Said::Message(message) => {
                            let body = at + taken - message.body.len() - 2;
                            ended = self.found.take(&message, body).err();
                        }
                        Said::Ping => pinged = true,
                        Said::Complaint(text) => ended = Some(format!("the server said: {text}")),
                        Said::Info(_) | Said::Pong | Said::Else => {}
                    }
                    at += taken;
                }
                Ok(Err(least)) => {
                    self.wanted = least;
                    break;
                }
                Err(why) => ended = Some(why.to_owned()),
            }
        }
        let whole = self.room.split_to(at).freeze();
        {
            let mut held = self.shared.held();
            held.last_heard = Instant::now();
            held.outstanding = held.outstanding.saturating_sub(std::mem::take(&mut self.found.answered));
            held.messages.extend(self.found.cut_out_of(&whole));
        }
        self.shared.news.notify_one();
        if let Some(why) = ended {
            return Err(why);
        }
        match pinged {
            true => self.write(b"PONG\r\n").await,
            false => Ok(()),
        }
    }
}

/// Messages of one read.
#[derive(Default)]
struct Found {
    messages: Vec<LogMessage>,
    /// How many of those that were asked for came or will not come.
    answered: usize,
    /// Where the body of each lies in what was read.
    bodies: Vec<Range<usize>>,
    /// The subject of the last one: most come on few.
    subject: Option<Arc<str>>,
}

impl Found {
    /// A message, of which the body lies at `at`. An error says why there will be no more.
    fn take(&mut self, message: &wire::Message<'_>, at: usize) -> Result<(), String> {
        // First of all: a producer may write a status line into the headers of its own message.
        if let Some(delivered) = Delivered::parse(message.reply) {
            self.answered += 1;
            let subject = match &self.subject {
                Some(subject) if **subject == *message.subject => Arc::clone(subject),
                _ => Arc::clone(self.subject.insert(Arc::from(message.subject))),
            };
            self.messages.push(delivered.message(subject, message.headers, message.body));
            self.bodies.push(at..at + message.body.len());
            return Ok(());
        }
        self.answered += reply::called_off(message.headers)?;
        Ok(())
    }

    /// All of them, with their bodies as slices of what was read.
    fn cut_out_of(&mut self, whole: &Bytes) -> impl Iterator<Item = LogMessage> {
        self.messages.drain(..).zip(self.bodies.drain(..)).map(|(message, body)| {
            match message.body.is_empty() {
                true => LogMessage { body: whole.slice(body), ..message },
                false => message,
            }
        })
    }
}
