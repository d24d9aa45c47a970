//! What every source needs: the way to the bus, the counts, the cursors, the mappings, and the word to stop.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use sightline_producers::{
    Client, Connect, Framing, Outbox, OutboxConfig, Publisher, PublisherConfig, SpoolConfig, Survives,
};
use tokio::sync::watch;

use crate::arguments::{Common, Survival};
use crate::cursor::Cursors;
use crate::delivery::{Bus, Delivery};
use crate::endpoint;
use crate::ledger::{Ledger, Tally};
use crate::mapping::Shelf;
use crate::personal::Personal;
use crate::record::Press;
use crate::rejects::RejectFile;

/// Longest pause between two attempts to reach the server at the start.
const CONNECT_PAUSE_MAX: Duration = Duration::from_secs(5);

/// What the server shows for us.
const NAME: &str = "sightline-bridge";
/// How long a bridge waits for a server before it goes on without one.
const FIRST_CONNECT_MAX: Duration = Duration::from_secs(2);
/// How often it looks for it.
const LOOK_EVERY: Duration = Duration::from_millis(10);
/// How long a bridge that is told to stop waits for what is on disk: the next start sends the rest.
const STOP_WAIT_MAX: Duration = Duration::from_secs(5);

/// With `--once`, senders that sent nothing for this long have nothing more to give.
const QUIET: Duration = Duration::from_secs(5);

/// A bridge that is open for its source.
pub struct Bridge {
    /// The way to the bus.
    pub delivery: Delivery,
    /// The counts.
    pub ledger: Ledger,
    /// How far was read.
    pub cursors: Cursors,
    /// For files that are needed for a while.
    pub folder: PathBuf,
    /// Stop when the source has nothing more to give.
    pub once: bool,
    /// Whether to stop.
    pub stop: watch::Receiver<bool>,
    shelf: Shelf,
    personal: Option<Arc<Personal>>,
    tenant: String,
}

impl Bridge {
    /// Opens everything that the options name. `frame` is how many events go into one message, unless the options say.
    ///
    /// # Errors
    /// When an option cannot be used, or no server takes the connection and nothing can be kept until one does.
    pub async fn open(common: &Common, frame: u32) -> anyhow::Result<Self> {
        let shelf = Shelf::open(common.mappings.as_deref())?;
        let personal = match &common.personal_key_file {
            Some(path) => Some(Arc::new(Personal::open(path, &common.country_code)?)),
            None => None,
        };
        let (stopper, stop) = watch::channel(false);
        tokio::spawn(async move {
            asked_to_stop().await;
            // Nobody listens any more: the program ends by itself.
            let _ = stopper.send(true);
        });
        let tenant = &common.tenant;
        let (delivery, cursors) = if common.dry_run {
            (Delivery::dry(tenant), Cursors::forgotten()?)
        } else {
            let cursors = Cursors::open(&common.state)?;
            (Delivery::to_bus(tenant, bus(common, frame, stop.clone()).await?), cursors)
        };
        tokio::spawn(delivery.clone().watch(stop.clone()));
        let ledger = Ledger::default();
        if let Some(listen) = common.listen {
            let address = endpoint::serve(listen, ledger.clone(), delivery.clone(), stop.clone())
                .await
                .map_err(anyhow::Error::msg)?;
            tracing::info!(%address, "endpoint");
        }
        Ok(Bridge {
            delivery,
            ledger,
            cursors,
            folder: if common.dry_run { std::env::temp_dir() } else { common.state.clone() },
            once: common.once,
            stop,
            shelf,
            personal,
            tenant: tenant.clone(),
        })
    }

    /// What makes events of the records of a source, by the mapping of that name.
    ///
    /// # Errors
    /// When there is no such mapping, or it needs a key that is not there.
    pub fn press(&self, mapping: &str) -> anyhow::Result<Press> {
        let found = self.shelf.get(mapping).cloned().with_context(|| {
            let names: Vec<&str> = self.shelf.all().map(|mapping| mapping.name.as_str()).collect();
            format!("there is no mapping {mapping:?}; there are {}", names.join(", "))
        })?;
        Press::new(&self.tenant, found, self.personal.clone()).map_err(anyhow::Error::msg)
    }

    /// The counts of a source.
    pub fn tally(&self, source: &str) -> Arc<Tally> {
        self.ledger.of(source)
    }

    /// Says when a source that others send to is at its end: told to stop, or, with `--once`, when nobody has sent anything
    /// for a while.
    pub fn end(&self) -> watch::Receiver<bool> {
        if !self.once {
            return self.stop.clone();
        }
        let (ended, end) = watch::channel(false);
        let (mut stop, ledger) = (self.stop.clone(), self.ledger.clone());
        tokio::spawn(async move {
            let mut before = ledger.read();
            loop {
                tokio::select! {
                    () = tokio::time::sleep(QUIET) => {}
                    // An error means that the program ends.
                    _ = stop.wait_for(|stop| *stop) => break,
                }
                let now = ledger.read();
                if now == before {
                    break;
                }
                before = now;
            }
            // Nobody listens any more: it has ended by itself.
            let _ = ended.send(true);
        });
        end
    }

    /// Waits, or hears the word to stop before: true then.
    pub async fn pause(&self, pause: Duration) -> bool {
        let mut stop = self.stop.clone();
        tokio::select! {
            () = tokio::time::sleep(pause) => false,
            // An error means that nobody can say it any more.
            _ = stop.wait_for(|stop| *stop) => true,
        }
    }

    /// Whether to stop.
    pub fn stopping(&self) -> bool {
        *self.stop.borrow()
    }
}

/// The way to the bus that the options describe.
async fn bus(common: &Common, frame: u32, stop: watch::Receiver<bool>) -> anyhow::Result<Bus> {
    let asked = &common.spool;
    let client = if asked.none || common.once {
        connect(&common.connect, common.once, stop).await?
    } else {
        // The spool takes what comes before there is a server; where there is one, it is there in a moment.
        let client = common.connect.open_when_possible(NAME).await?;
        let _ = tokio::time::timeout(FIRST_CONNECT_MAX, connected(&client)).await;
        client
    };
    let spool = (!asked.none).then(|| SpoolConfig {
        path: asked.directory.clone().unwrap_or_else(|| common.state.join("spool")),
        bytes_max: asked.bytes_max,
        survives: match asked.survives {
            Survival::ProcessDeath => Survives::ProcessDeath,
            Survival::PowerLoss => Survives::PowerLoss,
        },
    });
    let framing = match &spool {
        Some(_) => framing(asked.frame.unwrap_or(frame), &client),
        // After a crash, the same events would be packed otherwise, and the server would not know the frame again.
        None => Framing::off(),
    };
    let publisher = PublisherConfig { patience: common.patience, ..PublisherConfig::default() };
    let beside = Publisher::start(client.clone(), publisher.clone()).await?;
    let flush_wait = if common.once { common.patience } else { common.patience.min(STOP_WAIT_MAX) };
    let spooled = spool.is_some();
    let config = OutboxConfig { framing, spool, publisher, flush_wait, ..OutboxConfig::default() };
    let file = common.rejects.clone().unwrap_or_else(|| common.state.join("rejects.ndjson"));
    Ok(Bus {
        outbox: Outbox::start(client, config).await?,
        beside,
        file: RejectFile::at(file),
        spooled,
        patience: common.patience,
    })
}

/// Waits for a connection. The server has said then what it takes.
async fn connected(client: &Client) {
    while client.server_info().max_payload == 0 {
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

/// Frames that the server takes: half of its longest message, where that is known and less than usual.
fn framing(events_max: u32, client: &Client) -> Framing {
    let usual = Framing::default();
    let bytes_max = match client.server_info().max_payload {
        0 => usual.bytes_max,
        most => usual.bytes_max.min(most / 2),
    };
    Framing { events_max, bytes_max, ..usual }
}

/// Connects; a bridge that is to run on waits for a server that is not there yet.
///
/// # Errors
/// When an option cannot be used, or, with `once`, no server takes the connection.
pub async fn connect(
    connect: &Connect,
    once: bool,
    mut stop: watch::Receiver<bool>,
) -> anyhow::Result<Client> {
    let mut pause = Duration::from_millis(200);
    loop {
        let error = match connect.open(NAME).await {
            Ok(client) => return Ok(client),
            Err(error) => error,
        };
        let waits = matches!(error, sightline_producers::ConnectError::Server { .. }) && !once;
        if !waits {
            return Err(error.into());
        }
        tracing::warn!(%error, "no_server_yet");
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            _ = stop.wait_for(|stop| *stop) => return Err(error.into()),
        }
        pause = (pause * 2).min(CONNECT_PAUSE_MAX);
    }
}

/// SIGTERM from a service manager, SIGINT from a person.
async fn asked_to_stop() {
    use tokio::signal::unix::{SignalKind, signal};
    match signal(SignalKind::terminate()) {
        Ok(mut terminate) => {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = tokio::signal::ctrl_c() => {}
            }
        }
        Err(error) => {
            tracing::warn!(%error, "cannot listen for SIGTERM");
            let _ = tokio::signal::ctrl_c().await;
        }
    }
    tracing::info!("stopping");
}
