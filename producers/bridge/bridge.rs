//! What every source needs: the way to the bus, the counts, the cursors, the mappings, and the word to stop.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use sightline_producers::{Connect, Publisher, PublisherConfig};
use tokio::sync::watch;

use crate::arguments::Common;
use crate::cursor::Cursors;
use crate::endpoint;
use crate::ledger::{Ledger, Tally};
use crate::mapping::Shelf;
use crate::outbox::Outbox;
use crate::personal::Personal;
use crate::record::Press;
use crate::rejects::RejectFile;

/// Longest pause between two attempts to reach the server at the start.
const CONNECT_PAUSE_MAX: Duration = Duration::from_secs(5);

/// A bridge that is open for its source.
pub struct Bridge {
    /// The way to the bus.
    pub outbox: Outbox,
    /// The counts.
    pub ledger: Ledger,
    /// How far was read.
    pub cursors: Cursors,
    /// Stop when the source has nothing more to give.
    pub once: bool,
    /// Whether to stop.
    pub stop: watch::Receiver<bool>,
    shelf: Shelf,
    personal: Option<Arc<Personal>>,
    tenant: String,
}

impl Bridge {
    /// Opens everything that the options name.
    ///
    /// # Errors
    /// When an option cannot be used, or, with `--once`, no server takes the connection.
    pub async fn open(common: &Common) -> anyhow::Result<Self> {
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
        let (outbox, cursors) = if common.dry_run {
            (Outbox::dry(tenant), Cursors::forgotten()?)
        } else {
            let cursors = Cursors::open(&common.state)?;
            let client = connect(&common.connect, common.once, stop.clone()).await?;
            let config = PublisherConfig { patience: common.patience, ..PublisherConfig::default() };
            let events = Publisher::start(client.clone(), config.clone()).await?;
            let beside = Publisher::start(client, config).await?;
            let file = common.rejects.clone().unwrap_or_else(|| common.state.join("rejects.ndjson"));
            (Outbox::to_bus(tenant, events, beside, RejectFile::at(file)), cursors)
        };
        let ledger = Ledger::default();
        if let Some(listen) = common.listen {
            let address = endpoint::serve(listen, ledger.clone(), outbox.clone(), stop.clone())
                .await
                .map_err(anyhow::Error::msg)?;
            tracing::info!(%address, "endpoint");
        }
        Ok(Bridge {
            outbox,
            ledger,
            cursors,
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

/// Connects; a bridge that is to run on waits for a server that is not there yet.
async fn connect(
    connect: &Connect,
    once: bool,
    mut stop: watch::Receiver<bool>,
) -> anyhow::Result<sightline_producers::Client> {
    let mut pause = Duration::from_millis(200);
    loop {
        let error = match connect.open("sightline-bridge").await {
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
