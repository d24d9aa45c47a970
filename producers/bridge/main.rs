//! `sightline-bridge`: every source onto the bus.
//!
//! A source gives [`record::Input`]s: [`poll`] asks services, [`receive`] is asked, [`logs`] reads files and subjects. A
//! [`record::Press`] makes events of them, by a [`mapping`], after [`format`] has taken the records out of their bytes and
//! [`personal`] identifiers are hidden. The [`delivery`] brings events, [`evidence`] and [`rejects`] onto the bus, by way of a
//! spool on disk, and gives each its end in the [`ledger`]. When they are kept, and only then, the [`cursor`] moves.
//!
//! Words go to standard error, data (`--dry-run`, `mapping show`) to standard output.

mod arguments;
mod bridge;
mod cursor;
mod delivery;
mod endpoint;
mod evidence;
mod format;
mod ledger;
mod logs;
mod mapping;
mod personal;
mod poll;
mod receive;
mod record;
mod rejects;

use std::io::Write;
use std::process::ExitCode;

use sightline_producers::program::{self, EXIT_INCOMPLETE, EXIT_USAGE, end};

use crate::arguments::{Arguments, Command, Common, MappingAction};
use crate::bridge::Bridge;

fn main() -> ExitCode {
    let arguments: Arguments = match program::begin("info,async_nats=error,sled=warn") {
        Ok(arguments) => arguments,
        Err(code) => return code,
    };
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return end(&error, EXIT_USAGE),
    };
    let code = runtime.block_on(run(&arguments.command));
    // A thread that waits for standard input would hold the end up.
    runtime.shutdown_background();
    code
}

async fn run(command: &Command) -> ExitCode {
    if let Command::Mapping(command) = command {
        return mappings(&command.what);
    }
    let Some(common) = common(command) else { return ExitCode::SUCCESS };
    let mut bridge = match Bridge::open(common, frame(command)).await {
        Ok(bridge) => bridge,
        Err(error) => return end(&error, EXIT_USAGE),
    };
    let ended = source(&mut bridge, command, common).await;
    let waiting = bridge.delivery.close().await;
    for line in bridge.ledger.summary() {
        eprintln!("{line}");
    }
    let refused =
        bridge.delivery.metrics().filter(|_| !common.spool.none).map_or(0, |metrics| metrics.counts.refused);
    if waiting > 0 {
        eprintln!("{waiting} events wait on disk for the bus: the next start sends them");
    }
    if refused > 0 {
        eprintln!(
            "the server refused {refused} events for good: they are kept in `refused` in the spool, with the reason"
        );
    }
    match ended {
        Err(Ended::Usage(error)) => end(&error, EXIT_USAGE),
        Err(Ended::Incomplete(error)) => end(&error, EXIT_INCOMPLETE),
        // Nobody may ever start it again.
        Ok(()) if common.once && waiting > 0 => ExitCode::from(EXIT_INCOMPLETE),
        Ok(()) if bridge.ledger.adds_up() && refused == 0 => ExitCode::SUCCESS,
        Ok(()) => ExitCode::from(EXIT_INCOMPLETE),
    }
}

/// Events of one message, unless the options say. What is polled is little, and read again whole when the state is lost:
/// alone, each event has an id that the server knows again.
fn frame(command: &Command) -> u32 {
    match command {
        Command::Iris(_) | Command::Sentry(_) | Command::Phishkit(_) | Command::Packetwatch(_) => 1,
        _ => sightline_producers::Framing::default().events_max,
    }
}

/// Why a source ended before it was done.
pub enum Ended {
    /// The options are wrong.
    Usage(anyhow::Error),
    /// The world is.
    Incomplete(anyhow::Error),
}

impl From<anyhow::Error> for Ended {
    fn from(error: anyhow::Error) -> Self {
        Ended::Incomplete(error)
    }
}

async fn source(bridge: &mut Bridge, command: &Command, common: &Common) -> Result<(), Ended> {
    match command {
        Command::Iris(poll) => poll::run(bridge, poll, poll::Service::iris).await,
        Command::Sentry(poll) => poll::run(bridge, poll, poll::Service::sentry).await,
        Command::Phishkit(poll) => poll::run(bridge, poll, poll::Service::phishkit).await,
        Command::Packetwatch(poll) => poll::run(bridge, poll, poll::Service::packetwatch).await,
        Command::Sentracore(receive) => receive::run(bridge, receive, receive::SENTRACORE).await,
        Command::Openctem(receive) => receive::run(bridge, receive, receive::OPENCTEM).await,
        Command::Streamtrace(receive) => receive::run(bridge, receive, receive::STREAMTRACE).await,
        Command::Shieldai(receive) => receive::run(bridge, receive, receive::SHIELDAI).await,
        Command::Syslog(syslog) => receive::syslog::run(bridge, syslog).await,
        Command::Logs(arguments) => logs::run(bridge, arguments, &common.connect).await,
        Command::Mapping(_) => Ok(()),
    }
}

fn common(command: &Command) -> Option<&Common> {
    Some(match command {
        Command::Iris(poll)
        | Command::Sentry(poll)
        | Command::Phishkit(poll)
        | Command::Packetwatch(poll) => &poll.common,
        Command::Sentracore(receive)
        | Command::Openctem(receive)
        | Command::Streamtrace(receive)
        | Command::Shieldai(receive) => &receive.common,
        Command::Syslog(syslog) => &syslog.common,
        Command::Logs(logs) => &logs.common,
        Command::Mapping(_) => return None,
    })
}

fn mappings(action: &MappingAction) -> ExitCode {
    let mut out = std::io::stdout().lock();
    match action {
        MappingAction::List => {
            let shelf = match mapping::Shelf::open(None) {
                Ok(shelf) => shelf,
                Err(error) => return end(&error, EXIT_USAGE),
            };
            for mapping in shelf.all() {
                // A closed pipe (`| head`) is no failure.
                let _ = writeln!(out, "{:<14} {}", mapping.name, mapping.about);
            }
            ExitCode::SUCCESS
        }
        MappingAction::Show { name } => {
            match mapping::shelf::SHIPPED.iter().find(|(shipped, _)| shipped == name) {
                Some((_, text)) => {
                    let _ = out.write_all(text.as_bytes());
                    ExitCode::SUCCESS
                }
                None => {
                    let why =
                        format!("there is no mapping {name:?}; `sightline-bridge mapping list` names all");
                    end(&why, EXIT_USAGE)
                }
            }
        }
        MappingAction::Check { files } => {
            let mut wrong = false;
            for path in files {
                match mapping::shelf::read_file(path) {
                    Ok(Ok(mapping)) => drop(writeln!(out, "{}: {}", path.display(), mapping.about)),
                    Ok(Err(problems)) => {
                        wrong = true;
                        problems.iter().for_each(|problem| eprintln!("{problem}"));
                    }
                    Err(error) => {
                        return end(&format!("cannot read {}: {error}", path.display()), EXIT_USAGE);
                    }
                }
            }
            if wrong { ExitCode::from(EXIT_INCOMPLETE) } else { ExitCode::SUCCESS }
        }
    }
}
