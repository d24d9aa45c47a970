//! The engine as a service: telemetry and API, connection, worker; until told to stop, and anew where the log was replaced.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use sightline_schemas::control::RulesMessage;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::watch;

use crate::api::{self, Access};
use crate::bus::BusError;
use crate::bus::jetstream::connect::{ConnectSettings, Connection, FirstConnect, connect};
use crate::bus::jetstream::event_log::JetStreamEvents;
use crate::bus::jetstream::output_log::{InFlight, JetStreamOutputs};
use crate::config::{Config, NatsConfig};
use crate::state::{Durability, Room, SledStore};
use crate::telemetry::Readiness;
use crate::telemetry::metrics::Metrics;
use crate::worker::inspect::Status;
use crate::worker::run::{Settings, Worker};
use crate::worker::start::WorkerError;

/// How long to wait before trying again to begin.
const BEGIN_DELAY: Duration = Duration::from_secs(1);

/// What an operator asks of a running worker.
struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hangup: Signal,
}

enum Asked {
    Stop,
    Reload,
}

impl Signals {
    fn listen() -> anyhow::Result<Self> {
        let listen = |kind| signal(kind).context("cannot listen for signals");
        Ok(Signals {
            terminate: listen(SignalKind::terminate())?,
            interrupt: listen(SignalKind::interrupt())?,
            hangup: listen(SignalKind::hangup())?,
        })
    }

    async fn next(&mut self) -> Asked {
        tokio::select! {
            _ = self.terminate.recv() => Asked::Stop,
            _ = self.interrupt.recv() => Asked::Stop,
            _ = self.hangup.recv() => Asked::Reload,
        }
    }

    /// Waits until the operator asks to stop.
    async fn stop(&mut self) {
        while !matches!(self.next().await, Asked::Stop) {}
    }
}

/// Runs until SIGTERM or SIGINT, and answers over HTTP as `api` says. `read_rules` reads the rules as they are on disk now: at the start, and on SIGHUP.
///
/// # Errors
/// When it cannot begin or go on: another worker owns the output or the checkpoint, the login is refused, ….
pub async fn run(
    config: &Config,
    api: Option<&Access>,
    read_rules: &dyn Fn() -> anyhow::Result<RulesMessage>,
) -> anyhow::Result<()> {
    let mut rules = read_rules()?;
    let mut signals = Signals::listen()?;
    let metrics = Metrics::new();
    let readiness = Readiness::new();
    let status = Status::new(readiness.clone(), config.worker.partitions);
    let (stop_api, api_stops) = watch::channel(false);
    if let Some(access) = api {
        let inspect = Arc::new(status.clone());
        api::serve(access, metrics.clone(), readiness.clone(), inspect, api_stops).await?;
    }
    let nats = connect_settings(&config.nats);
    let connection = tokio::select! {
        connection = connect(&nats, FirstConnect::KeepTrying) => connection?,
        // Without a server this takes for ever, and nothing is begun yet that would need an end.
        () = signals.stop() => return Ok(()),
    };
    tokio::spawn(count_reconnects(connection.connects(), metrics.clone()));
    loop {
        let begun = begin(config, &connection, &metrics, &readiness, &status, &mut signals).await?;
        let Some(mut worker) = begun else { break };
        match attend(config, &mut worker, &mut rules, read_rules, &mut signals).await {
            Ok(Left::BetweenTurns) => {
                drain(config, &mut worker).await?;
                break;
            }
            Ok(Left::MidTurn) => {
                // What this turn decided is not all said, so its state must not be written down. Nothing is lost by it:
                // the next start replays from the checkpoint before.
                tracing::warn!("gave up waiting for the output; the next start has more to replay");
                break;
            }
            Err(WorkerError::Bus(BusError::Replaced)) => {
                tracing::error!("the input log was deleted and created again: beginning anew");
                worker.finish_checkpoint().await;
            }
            Err(error) => {
                worker.finish_checkpoint().await;
                return Err(error.into());
            }
        }
    }
    // The API ends with the process; asking it first lets open requests end well.
    let _ = stop_api.send(true);
    connection.close().await;
    tracing::info!("stopped");
    Ok(())
}

/// Counts the connections behind the first one, as long as there is somebody who makes them.
async fn count_reconnects(mut connects: watch::Receiver<u64>, metrics: Metrics) {
    let mut counted = 1.max(*connects.borrow_and_update());
    while connects.changed().await.is_ok() {
        let made = *connects.borrow_and_update();
        (counted..made).for_each(|_| metrics.reconnected());
        counted = counted.max(made);
    }
}

type JetStreamWorker = Worker<JetStreamEvents, JetStreamOutputs, JetStreamOutputs>;

/// Begins, for as long as it takes. `None` where the operator asked to stop meanwhile.
async fn begin(
    config: &Config,
    connection: &Connection,
    metrics: &Metrics,
    readiness: &Readiness,
    status: &Status,
    signals: &mut Signals,
) -> anyhow::Result<Option<JetStreamWorker>> {
    let streams = &config.streams;
    loop {
        let events = JetStreamEvents::new(connection.clone(), &streams.events);
        let incidents = JetStreamOutputs::new(connection.clone(), &streams.incidents, InFlight::default());
        let dead_letters =
            JetStreamOutputs::new(connection.clone(), &streams.deadletter, InFlight::default());
        let store = Box::new(SledStore::at(&config.state.dir, Durability::Power));
        let settings = settings(config);
        let (metrics, readiness, status) = (metrics.clone(), readiness.clone(), status.clone());
        let begun =
            Worker::begin(events, incidents, dead_letters, store, settings, metrics, readiness, status).await;
        match begun {
            Ok(worker) => return Ok(Some(worker)),
            Err(WorkerError::Bus(BusError::Retry { what, why })) => {
                tracing::warn!(
                    what,
                    why,
                    "cannot begin yet; do the streams exist? `sightline stream setup` makes them"
                );
            }
            Err(error) => return Err(error.into()),
        }
        if let Ok(Asked::Stop) = tokio::time::timeout(BEGIN_DELAY, signals.next()).await {
            return Ok(None);
        }
    }
}

/// Where the loop was left.
enum Left {
    BetweenTurns,
    MidTurn,
}

/// Turns the loop until the operator asks to stop.
async fn attend(
    config: &Config,
    worker: &mut JetStreamWorker,
    rules: &mut RulesMessage,
    read_rules: &dyn Fn() -> anyhow::Result<RulesMessage>,
    signals: &mut Signals,
) -> Result<Left, WorkerError> {
    let mut announced = false;
    loop {
        if !announced {
            match worker.announce(rules, config.rules.warm).await {
                Ok(_) => announced = true,
                Err(BusError::Retry { what, why }) => {
                    tracing::warn!(what, why, "cannot announce the rules yet")
                }
                Err(error) => return Err(error.into()),
            }
        }
        let asked = {
            let mut turn = std::pin::pin!(worker.turn());
            tokio::select! {
                biased;
                turned = &mut turn => {
                    turned?;
                    None
                }
                asked = signals.next() => {
                    // A turn is not broken off while there is hope: what it decided must be said.
                    match tokio::time::timeout(config.worker.drain_timeout, &mut turn).await {
                        Ok(turned) => turned.map(|_| Some(asked))?,
                        Err(_) if matches!(asked, Asked::Stop) => return Ok(Left::MidTurn),
                        Err(_) => turn.await.map(|_| Some(asked))?,
                    }
                }
            }
        };
        match asked {
            None => worker.refresh_lag().await?,
            Some(Asked::Stop) => return Ok(Left::BetweenTurns),
            Some(Asked::Reload) => match read_rules() {
                Ok(read) => {
                    *rules = read;
                    announced = false;
                }
                Err(error) => tracing::error!(%error, "rules not reloaded; the old ones stay in force"),
            },
        }
    }
}

async fn drain(config: &Config, worker: &mut JetStreamWorker) -> anyhow::Result<()> {
    tracing::info!("draining");
    match tokio::time::timeout(config.worker.drain_timeout, worker.drain()).await {
        Ok(drained) => {
            drained.context("could not drain")?;
            crash_point!(AfterDrain);
            Ok(())
        }
        Err(_) => {
            // Nothing is lost by it: the next start replays from the checkpoint before.
            tracing::warn!("gave up draining; the next start has more to replay");
            Ok(())
        }
    }
}

fn settings(config: &Config) -> Settings {
    let worker = &config.worker;
    Settings {
        partitions: worker.partitions,
        batch_messages: worker.batch_messages,
        batch_wait: worker.batch_wait,
        tick_every: worker.tick_every,
        checkpoint_every: config.state.checkpoint_every,
        room: Room::within(worker.memory_budget),
        scratch_dir: Some(scratch_dir(&config.state.dir)),
    }
}

/// Beside the checkpoints, as everything that is not theirs.
fn scratch_dir(state_dir: &Path) -> PathBuf {
    let mut name = state_dir.as_os_str().to_owned();
    name.push(".scratch");
    name.into()
}

/// The connection settings of a configuration.
pub fn connect_settings(nats: &NatsConfig) -> ConnectSettings {
    let nats = nats.clone();
    ConnectSettings {
        url: nats.url,
        name: nats.name,
        creds_file: nats.creds_file,
        nkey_seed_file: nats.nkey_seed_file,
        user: nats.user,
        password: nats.password,
        token: nats.token,
        tls_ca: nats.tls_ca,
        tls_cert: nats.tls_cert,
        tls_key: nats.tls_key,
        inbox_prefix: nats.inbox_prefix,
    }
}
