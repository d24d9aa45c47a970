//! The connection: how to get one, and what it says about itself.

use std::fmt;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use async_nats::{Client, ConnectErrorKind, ConnectOptions, Event, ServerAddr, ServerError};
use serde::{Deserialize, Serialize};
use tokio::sync::watch;

use crate::bus::BusError;

/// Longest pause between two attempts to get a lost connection back: the client's own grows to 4 s, in which the input
/// piles up.
const RECONNECT_DELAY_MAX: Duration = Duration::from_millis(200);
/// The same error of the client is logged so often.
const SAME_ERROR_EVERY: Duration = Duration::from_secs(30);
/// Longest pause between two attempts to get the first connection.
const FIRST_CONNECT_DELAY_MAX: Duration = Duration::from_secs(5);
/// How long one request to the server may take.
pub(super) const REQUEST_TIMEOUT: Duration = Duration::from_secs(5);
/// A server error older than this explains nothing any more.
const SERVER_ERROR_AGE_MAX: Duration = Duration::from_secs(60);

/// How to reach the bus, and as whom.
///
/// `Debug` shows no secrets. `Serialize` does: it writes what `Deserialize` reads.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ConnectSettings {
    /// One or more server addresses, separated by commas.
    pub url: String,
    /// The name under which the server lists this connection.
    pub name: String,
    /// A `.creds` file: user JWT and seed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub creds_file: Option<PathBuf>,
    /// A file that holds an nkey seed (`SU…`).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub nkey_seed_file: Option<PathBuf>,
    /// User name; goes with `password`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// Password; goes with `user`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub password: Option<String>,
    /// A token, where the server asks for one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub token: Option<String>,
    /// PEM file of the authorities that may vouch for the server. Makes TLS a requirement.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tls_ca: Option<PathBuf>,
    /// PEM file of our own certificate; goes with `tls_key`. Makes TLS a requirement.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tls_cert: Option<PathBuf>,
    /// PEM file of the key of `tls_cert`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tls_key: Option<PathBuf>,
    /// Prefix of the subjects on which replies come. Roles that share one can read each other's replies.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub inbox_prefix: Option<String>,
}

impl Default for ConnectSettings {
    fn default() -> Self {
        ConnectSettings {
            url: "nats://127.0.0.1:4222".to_owned(),
            name: "sightline".to_owned(),
            creds_file: None,
            nkey_seed_file: None,
            user: None,
            password: None,
            token: None,
            tls_ca: None,
            tls_cert: None,
            tls_key: None,
            inbox_prefix: None,
        }
    }
}

impl ConnectSettings {
    /// Whether it must be TLS, whatever the server says.
    pub(super) fn wants_tls(&self) -> bool {
        self.tls_ca.is_some() || self.tls_cert.is_some()
    }

    /// The addresses as they may be shown: without user, password or token.
    pub fn shown_url(&self) -> String {
        let shown = self.url.split(',').map(|address| match address.rsplit_once('@') {
            Some((before, host)) => {
                let scheme =
                    before.split_once("://").map_or(String::new(), |(scheme, _)| format!("{scheme}://"));
                format!("{scheme}***@{host}")
            }
            None => address.to_owned(),
        });
        shown.collect::<Vec<_>>().join(",")
    }
}

impl fmt::Debug for ConnectSettings {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let hidden = |secret: &Option<String>| secret.as_ref().map(|_| "***");
        out.debug_struct("ConnectSettings")
            .field("url", &self.shown_url())
            .field("name", &self.name)
            .field("creds_file", &self.creds_file)
            .field("nkey_seed_file", &self.nkey_seed_file)
            .field("user", &self.user)
            .field("password", &hidden(&self.password))
            .field("token", &hidden(&self.token))
            .field("tls_ca", &self.tls_ca)
            .field("tls_cert", &self.tls_cert)
            .field("tls_key", &self.tls_key)
            .field("inbox_prefix", &self.inbox_prefix)
            .finish()
    }
}

/// What to do when the server cannot be reached at the first attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FirstConnect {
    /// Say so: for commands that a person waits for.
    OrFail,
    /// Go on trying, and log it: for services that may start before their server. Wrong credentials still fail.
    KeepTrying,
}

/// What the connection has said about itself, written by its event callback.
#[derive(Debug)]
struct Health {
    /// Counts the times that the connection was made; 1 is the first.
    connects: watch::Sender<u64>,
    last_server_error: Mutex<Option<(Instant, String)>>,
    /// What the client said of its attempts to connect, and when it was logged.
    last_client_error: Mutex<Option<(Instant, String)>>,
}

impl Health {
    /// Logs what the client says, but not with every attempt, of which there are some in a second.
    fn log_client_error(&self, text: String) {
        let mut last = self.last_client_error.lock().unwrap_or_else(PoisonError::into_inner);
        if last.as_ref().is_some_and(|(at, known)| *known == text && at.elapsed() < SAME_ERROR_EVERY) {
            return;
        }
        tracing::warn!(event = text, "bus_event");
        *last = Some((Instant::now(), text));
    }

    fn take_in(&self, event: &Event) {
        match event {
            Event::Connected => {
                self.connects.send_modify(|count| *count += 1);
                tracing::info!(connects = *self.connects.borrow(), "bus_connected");
            }
            Event::Disconnected => tracing::warn!("bus_disconnected"),
            Event::ServerError(error) => {
                let text = match error {
                    ServerError::Other(text) => text.clone(),
                    other => other.to_string(),
                };
                // A refused subject looks like a time-out to whoever waits for the reply; this is the only trace of it.
                tracing::error!(error = %text, "bus_server_error");
                *self.last_server_error.lock().unwrap_or_else(PoisonError::into_inner) =
                    Some((Instant::now(), text));
            }
            Event::SlowConsumer(subscription) => {
                tracing::error!(subscription, "bus_messages_dropped_by_client")
            }
            // The ordinary end, which we asked for ourselves.
            Event::Draining | Event::Closed => tracing::debug!(event = %event, "bus_event"),
            other => self.log_client_error(other.to_string()),
        }
    }
}

/// A connection to the bus. Clones share it.
#[derive(Clone, Debug)]
pub struct Connection {
    client: Client,
    context: async_nats::jetstream::Context,
    health: Arc<Health>,
    settings: Arc<ConnectSettings>,
}

impl Connection {
    /// How it was made, and others can be.
    pub(super) fn settings(&self) -> &ConnectSettings {
        &self.settings
    }

    pub(super) fn client(&self) -> &Client {
        &self.client
    }

    pub(super) fn context(&self) -> &async_nats::jetstream::Context {
        &self.context
    }

    /// Changes with every new connection; whatever was under way before it may be lost.
    pub fn connects(&self) -> watch::Receiver<u64> {
        self.health.connects.subscribe()
    }

    /// Whether there is a connection right now.
    pub fn is_connected(&self) -> bool {
        self.client.connection_state() == async_nats::connection::State::Connected
    }

    /// The server's version, such as `2.10.4`.
    pub fn server_version(&self) -> String {
        self.client.server_info().version
    }

    /// The last thing the server complained about, if that was within the last minute.
    pub fn last_server_error(&self) -> Option<String> {
        let last = self.health.last_server_error.lock().unwrap_or_else(PoisonError::into_inner);
        last.as_ref().filter(|(at, _)| at.elapsed() <= SERVER_ERROR_AGE_MAX).map(|(_, text)| text.clone())
    }

    /// `error`, and what the server said lately, which may be the cause of it.
    pub(super) fn explain(&self, error: impl fmt::Display) -> String {
        match self.last_server_error() {
            Some(server) => format!("{error} (the server said: {server})"),
            None => error.to_string(),
        }
    }

    /// A passing failure of `what`, explained.
    pub(super) fn retry(&self, what: &'static str, error: impl fmt::Display) -> BusError {
        BusError::Retry { what, why: self.explain(error) }
    }

    /// Sends what is still buffered and closes the connection.
    pub async fn close(&self) {
        if let Err(error) = self.client.drain().await {
            tracing::warn!(%error, "bus_close_failed");
        }
    }
}

/// Connects. The connection afterwards comes back by itself, for as long as it takes.
///
/// # Errors
/// [`BusError::Stop`] when settings or credentials are wrong, [`BusError::Retry`] when no server answered and `first`
/// says not to wait for one.
pub async fn connect(settings: &ConnectSettings, first: FirstConnect) -> Result<Connection, BusError> {
    let addresses = addresses(settings)?;
    let health = Arc::new(Health {
        connects: watch::Sender::new(0),
        last_server_error: Mutex::new(None),
        last_client_error: Mutex::new(None),
    });
    let mut delay = RECONNECT_DELAY_MAX;
    loop {
        let options = login_of_address(options(settings, &health).await?, settings, &addresses);
        let error = match options.connect(&addresses[..]).await {
            Ok(client) => {
                let mut context = async_nats::jetstream::new(client.clone());
                context.set_timeout(REQUEST_TIMEOUT);
                // Told apart by its count, the first connection must not look like a second one to who reads at once.
                let mut connects = health.connects.subscribe();
                let _ = tokio::time::timeout(REQUEST_TIMEOUT, connects.wait_for(|count| *count > 0)).await;
                return Ok(Connection { client, context, health, settings: Arc::new(settings.clone()) });
            }
            Err(error) => error,
        };
        let what = format!("cannot connect to {}: {error}", settings.shown_url());
        match error.kind() {
            ConnectErrorKind::ServerParse
            | ConnectErrorKind::Tls
            | ConnectErrorKind::Authentication
            | ConnectErrorKind::AuthorizationViolation => return Err(BusError::Stop(what)),
            _ if is_tls(&error) => return Err(BusError::Stop(what)),
            _ if first == FirstConnect::OrFail => {
                let why = format!(
                    "{what}; start a nats-server with JetStream there, or name yours in nats.url (NATS_URL)"
                );
                return Err(BusError::Retry { what: "connect", why });
            }
            _ => tracing::warn!(url = settings.shown_url(), %error, ?delay, "bus_unreachable"),
        }
        tokio::time::sleep(delay).await;
        delay = (delay * 2).min(FIRST_CONNECT_DELAY_MAX);
    }
}

/// One side does not trust the other's certificate. The client calls that an IO error, like a cable that is not there, but
/// no waiting mends it.
fn is_tls(error: &async_nats::ConnectError) -> bool {
    let source = std::error::Error::source(error).and_then(|source| source.downcast_ref::<std::io::Error>());
    // What the TLS library's own errors become.
    source.is_some_and(|source| source.kind() == std::io::ErrorKind::InvalidData)
}

pub(super) fn addresses(settings: &ConnectSettings) -> Result<Vec<ServerAddr>, BusError> {
    let parse = |(index, address): (usize, &str)| {
        // Not the address itself in the error: it may hold a password.
        address.trim().parse::<ServerAddr>().map_err(|error| {
            BusError::Stop(format!(
                "address {} of {} cannot be read: {error}",
                index + 1,
                settings.shown_url()
            ))
        })
    };
    settings.url.split(',').enumerate().map(parse).collect()
}

async fn options(settings: &ConnectSettings, health: &Arc<Health>) -> Result<ConnectOptions, BusError> {
    let listener = Arc::clone(health);
    let mut options = ConnectOptions::new()
        .name(&settings.name)
        .request_timeout(Some(REQUEST_TIMEOUT))
        .reconnect_delay_callback(|attempts| {
            RECONNECT_DELAY_MAX
                .min(Duration::from_millis(20).saturating_mul(u32::try_from(attempts).unwrap_or(u32::MAX)))
        })
        .event_callback(move |event| {
            let listener = Arc::clone(&listener);
            async move { listener.take_in(&event) }
        });
    if let Some(prefix) = &settings.inbox_prefix {
        options = options.custom_inbox_prefix(prefix);
    }
    if let Some(path) = &settings.creds_file {
        options = options
            .credentials(&read(path, "creds_file").await?)
            .map_err(|error| BusError::Stop(format!("creds_file {}: {error}", path.display())))?;
    }
    if let Some(path) = &settings.nkey_seed_file {
        options = options.nkey(read(path, "nkey_seed_file").await?.trim().to_owned());
    }
    options = match (&settings.user, &settings.password) {
        (Some(user), Some(password)) => options.user_and_password(user.clone(), password.clone()),
        (None, None) => options,
        _ => {
            return Err(BusError::Stop("user and password go together: only one of them is set".to_owned()));
        }
    };
    if let Some(token) = &settings.token {
        options = options.token(token.clone());
    }
    if let Some(path) = &settings.tls_ca {
        options = options.require_tls(true).add_root_certificates(path.clone());
    }
    match (&settings.tls_cert, &settings.tls_key) {
        (Some(cert), Some(key)) => {
            Ok(options.require_tls(true).add_client_certificate(cert.clone(), key.clone()))
        }
        (None, None) => Ok(options),
        _ => Err(BusError::Stop("tls_cert and tls_key go together: only one of them is set".to_owned())),
    }
}

fn login_of_address(
    options: ConnectOptions,
    settings: &ConnectSettings,
    addresses: &[ServerAddr],
) -> ConnectOptions {
    match address_login(settings, addresses) {
        None => options,
        Some((user, Some(password))) => options.user_and_password(user.to_owned(), password.to_owned()),
        Some((token, None)) => options.token(token.to_owned()),
    }
}

/// `nats://user:password@host` and `nats://token@host`, as NATS's own tools read them; the client leaves them out. Whoever
/// logs in by a setting does not by an address.
pub(super) fn address_login<'a>(
    settings: &ConnectSettings,
    addresses: &'a [ServerAddr],
) -> Option<(&'a str, Option<&'a str>)> {
    let other = settings.creds_file.is_some()
        || settings.nkey_seed_file.is_some()
        || settings.user.is_some()
        || settings.token.is_some();
    let login = addresses.iter().find_map(|address| Some((address.username()?, address.password())));
    login.filter(|_| !other)
}

pub(super) async fn read(path: &PathBuf, setting: &str) -> Result<String, BusError> {
    let text = tokio::fs::read_to_string(path).await;
    text.map_err(|error| BusError::Stop(format!("{setting} {}: {error}", path.display())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_secret_is_shown() {
        let settings = ConnectSettings {
            url: "nats://anna:geheim1@a:4222,tls://geheim2@b:4222,c:4222".to_owned(),
            user: Some("anna".to_owned()),
            password: Some("geheim3".to_owned()),
            token: Some("geheim4".to_owned()),
            ..ConnectSettings::default()
        };
        let shown = format!("{settings:?}");
        assert!(!shown.contains("geheim"), "{shown}");
        assert_eq!(settings.shown_url(), "nats://***@a:4222,tls://***@b:4222,c:4222");
    }

    #[test]
    fn an_unreadable_address_is_named_without_its_secret() {
        let settings =
            ConnectSettings { url: "nats://u:geheim@:x:y".to_owned(), ..ConnectSettings::default() };
        let error = addresses(&settings).expect_err("no address").to_string();
        assert!(!error.contains("geheim"), "{error}");
    }
}
