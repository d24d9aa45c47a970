//! Where events come from, for commands that look at the past: files, or the input log as far as it is kept.

use std::time::Duration;

use anyhow::Context;
use sightline_schemas::subject::CONTROL_RULES;

use crate::bus::file::{self, FileEvents};
use crate::bus::jetstream::JetStreamEvents;
use crate::bus::{BusError, EventLog, LogMessage};
use crate::cli::bus;
use crate::cli::exit::CliError;
use crate::config::{Config, NatsConfig};

/// How long to wait for messages that the server says it has.
const WAIT: Duration = Duration::from_secs(5);

/// Events of the past.
#[derive(Clone, Debug)]
pub enum Input {
    /// The lines of files, `-` for standard input; several files are one log.
    Files(Vec<String>),
    /// What the server keeps of the input log, up to its end at the moment of asking. It is only read.
    Stream {
        /// The server.
        nats: Box<NatsConfig>,
        /// The name of the stream.
        stream: String,
    },
}

impl Input {
    /// Files, or the stream where that is asked for.
    ///
    /// # Errors
    /// When it is neither or both.
    pub fn of(files: &[String], from_stream: bool, config: &Config) -> Result<Self, CliError> {
        match (files.is_empty(), from_stream) {
            (false, false) => Ok(Input::Files(files.to_vec())),
            (true, true) => {
                let (nats, stream) = (Box::new(config.nats.clone()), config.streams.events.clone());
                Ok(Input::Stream { nats, stream })
            }
            (true, false) => {
                let help = "name files of events, `-` for standard input, or say --from-stream";
                Err(CliError::Usage(format!("no events: {help}")))
            }
            (false, true) => Err(CliError::Usage("files and --from-stream: leave one out".to_owned())),
        }
    }

    /// Gives all messages to `take`, in order, so many at a time. Rules in the log are left out: whoever looks at the past
    /// brings rules along.
    ///
    /// # Errors
    /// When a file or the server cannot be read, or `take` has had enough.
    pub async fn read(
        &self,
        batch: usize,
        take: &mut (dyn FnMut(&[LogMessage]) -> anyhow::Result<()> + Send),
    ) -> anyhow::Result<()> {
        match self {
            Input::Files(files) => read_files(files, batch, take).await,
            Input::Stream { nats, stream } => {
                let connection = bus::connected(nats).await.map_err(anyhow::Error::new)?;
                let mut log = JetStreamEvents::new(connection.clone(), stream);
                let read = read_stream(&mut log, batch, take).await;
                connection.close().await;
                read.with_context(|| format!("cannot read the stream {stream}"))
            }
        }
    }
}

async fn read_files(
    files: &[String],
    batch: usize,
    take: &mut (dyn FnMut(&[LogMessage]) -> anyhow::Result<()> + Send),
) -> anyhow::Result<()> {
    let mut seq = 0;
    for path in files {
        let reader = file::open(path)
            .map_err(|error| anyhow::Error::new(error).context(format!("cannot read events from {path}")))?;
        let mut events = FileEvents::new(path, reader);
        loop {
            let mut messages = events.next_batch(batch, Duration::ZERO).await?;
            if messages.is_empty() {
                break;
            }
            for message in &mut messages {
                seq += 1;
                message.seq = seq;
            }
            take(&messages)?;
        }
    }
    Ok(())
}

async fn read_stream(
    log: &mut JetStreamEvents,
    batch: usize,
    take: &mut (dyn FnMut(&[LogMessage]) -> anyhow::Result<()> + Send),
) -> anyhow::Result<()> {
    let about = log.info().await?;
    log.seek(about.first_seq).await?;
    let mut done = about.first_seq.saturating_sub(1);
    while done < about.last_seq {
        match log.next_batch(batch, WAIT).await {
            Ok(messages) => {
                let Some(last) = messages.last() else { continue };
                done = last.seq;
                let of_old = |message: &LogMessage| message.seq <= about.last_seq;
                let rules = |message: &LogMessage| message.subject.as_deref() == Some(CONTROL_RULES);
                let kept: Vec<LogMessage> =
                    messages.into_iter().filter(|message| of_old(message) && !rules(message)).collect();
                take(&kept)?;
            }
            Err(BusError::Gap { first, last }) => {
                tracing::warn!(first, last, "messages are gone from the stream");
                done = last;
                log.seek(last + 1).await?;
            }
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}
