//! What is seen: incidents as they open, until everything is said.

use std::io::{IsTerminal, Write};
use std::time::{Duration, Instant};

use anyhow::{Context, anyhow};
use sightline_schemas::{Change, IncidentMessage};

use super::Args;
use super::stage::Stage;
use crate::bus::EventLog;
use crate::bus::jetstream::{
    ConnectSettings, Connection, FeedStart, FirstConnect, IncidentFeed, JetStreamEvents, connect,
};
use crate::cli::exit::CliError;
use crate::cli::http::{self, Target};
use crate::cli::paint::{Colors, Paint};
use crate::cli::timeline;
use sightline_schemas::subject::{EVENTS_STREAM, INCIDENTS_STREAM};

/// How long the worker may take to come to the end of the events.
const CATCH_UP_MAX: Duration = Duration::from_secs(120);
/// The worker writes a tick every 200 ms while something is still to be said. When the input has been still for several
/// times as long, nothing is.
const STILL: Duration = Duration::from_millis(1_000);
/// How long to listen before looking after the processes.
const LISTEN: Duration = Duration::from_millis(50);

/// What was seen.
pub struct Played {
    /// Every incident message, in order.
    pub messages: Vec<IncidentMessage>,
    events: u64,
    first_incident: Option<Duration>,
    last_message: Option<Duration>,
}

impl Played {
    /// One line of numbers.
    pub fn summary(&self) -> String {
        let opened = self.messages.iter().filter(|message| message.change == Change::Opened).count();
        let after = |time: Option<Duration>| {
            time.map_or("never".to_owned(), |time| format!("after {:.2} s", time.as_secs_f64()))
        };
        format!(
            "{} messages in, {} out: {opened} incidents, the first {}, and their updates, the last {}\n",
            self.events,
            self.messages.len(),
            after(self.first_incident),
            after(self.last_message)
        )
    }
}

/// Sets the stage, replays the events, and follows what comes out.
pub async fn play(stage: &mut Stage, args: &Args, colors: Colors) -> Result<Played, CliError> {
    let url = stage.start_server(&args.nats_server).await?;
    let settings =
        ConnectSettings { url: url.clone(), name: "sightline-demo".to_owned(), ..ConnectSettings::default() };
    let connection = connect(&settings, FirstConnect::OrFail).await?;
    say(colors.stderr, &format!("nats-server {} listens on {url}", connection.server_version()))?;
    let api = stage.start_worker(&url, &args.rules).await?;
    say(colors.stderr, &format!("sightline is ready, its API listens on http://{api}"))?;
    let feed = IncidentFeed::open(&connection, INCIDENTS_STREAM, "incidents.>", FeedStart::All).await?;
    let began = Instant::now();
    let mut seen = Seen {
        feed,
        messages: Vec::new(),
        last_seq: 0,
        first: None,
        last: began,
        paint: colors.stdout,
        bar: true,
    };
    stage.start_replay(&url, &args.events)?;
    while !stage.has_ended("replay")? {
        seen.listen(LISTEN).await?;
        stage.all_alive()?;
    }
    seen.bar = false;
    let events = settled(stage, &connection, &api, &mut seen).await?;
    connection.close().await;
    let since = |at: Instant| at - began;
    Ok(Played {
        first_incident: seen.first.map(since),
        last_message: seen.first.map(|_| since(seen.last)),
        messages: seen.messages,
        events,
    })
}

fn say(paint: Paint, text: &str) -> std::io::Result<()> {
    writeln!(std::io::stderr(), "{}", paint.dim(text))
}

/// Listens until the worker has taken in everything and said all there is to say. Gives how long the input log is.
async fn settled(
    stage: &mut Stage,
    connection: &Connection,
    api: &str,
    seen: &mut Seen,
) -> Result<u64, CliError> {
    let mut input = JetStreamEvents::new(connection.clone(), EVENTS_STREAM);
    let mut output = JetStreamEvents::new(connection.clone(), INCIDENTS_STREAM);
    let until = Instant::now() + CATCH_UP_MAX;
    let (mut last, mut still_since) = (0, Instant::now());
    let replayed = input.info().await?.last_seq;
    loop {
        seen.listen(LISTEN).await?;
        stage.all_alive()?;
        let (input_last, output_last) = (input.info().await?.last_seq, output.info().await?.last_seq);
        let caught_up = position(api).await? >= input_last && seen.last_seq >= output_last;
        // What the worker holds back comes with a tick, a while after the last message that it worked through.
        if last != input_last || !caught_up {
            (last, still_since) = (input_last, Instant::now());
        }
        if caught_up && still_since.elapsed() >= STILL {
            return Ok(replayed);
        }
        if Instant::now() > until {
            return Err(anyhow!("the worker does not come to the end of the events").into());
        }
    }
}

/// How far the worker is in the input log.
async fn position(api: &str) -> anyhow::Result<u64> {
    let answer = http::get(&Target::local(api), "/state").await?;
    let state: serde_json::Value = serde_json::from_slice(&answer.body).context("/state tells no state")?;
    state.pointer("/log/position").and_then(serde_json::Value::as_u64).context("/state tells no position")
}

/// What came out so far.
struct Seen {
    feed: IncidentFeed,
    messages: Vec<IncidentMessage>,
    last_seq: u64,
    first: Option<Instant>,
    last: Instant,
    paint: Paint,
    /// Whether the replayer's progress bar may stand in the line where the next incident is printed.
    bar: bool,
}

impl Seen {
    /// Prints what comes, until nothing has for a while.
    async fn listen(&mut self, wait: Duration) -> Result<(), CliError> {
        while let Some(message) = self.feed.next(wait).await? {
            self.last_seq = message.seq;
            // Gaps in the input are no incidents, and there is none in a stream of a few thousand events.
            let Ok(message) = serde_json::from_slice::<IncidentMessage>(&message.body) else { continue };
            if message.change == Change::Opened {
                self.first.get_or_insert_with(Instant::now);
                self.print(&message)?;
            }
            self.last = Instant::now();
            self.messages.push(message);
        }
        Ok(())
    }

    fn print(&self, message: &IncidentMessage) -> std::io::Result<()> {
        let mut out = std::io::stdout().lock();
        if self.bar && out.is_terminal() && std::io::stderr().is_terminal() {
            // The bar draws itself again below.
            out.write_all(b"\r\x1b[2K")?;
        }
        writeln!(out, "{}", timeline::whole(&message.incident, self.paint))?;
        out.flush()
    }
}
