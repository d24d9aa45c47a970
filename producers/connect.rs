//! Opening the connection: where the server is and who we are, from flags or from the environment.

use std::path::{Path, PathBuf};
use std::time::Duration;

pub use async_nats::Client;
use async_nats::{ConnectOptions, Event, ServerAddr};

/// Longest pause between two attempts to reconnect. The client's own rises to 4 s, which a restart of the server would
/// turn into seconds without events.
const RECONNECT_PAUSE_MAX: Duration = Duration::from_millis(200);

/// Where the server is and who we are. The variables are the ones that the `nats` command reads too.
#[derive(Clone, clap::Args)]
pub struct Connect {
    /// Server to connect to; several are separated by commas.
    #[arg(
        long,
        visible_alias = "nats-url",
        env = "NATS_URL",
        default_value = "nats://127.0.0.1:4222",
        help_heading = "Connection"
    )]
    pub url: String,
    /// Credentials file (JWT and key).
    #[arg(long, env = "NATS_CREDS", value_name = "FILE", help_heading = "Connection")]
    pub creds: Option<PathBuf>,
    /// File with the seed of an nkey.
    #[arg(
        long,
        env = "NATS_NKEY",
        value_name = "FILE",
        conflicts_with = "creds",
        help_heading = "Connection"
    )]
    pub nkey: Option<PathBuf>,
    /// User name.
    #[arg(long, env = "NATS_USER", requires = "password", help_heading = "Connection")]
    pub user: Option<String>,
    /// Password. Better given in the environment: other users of the machine can read a command line.
    #[arg(
        long,
        env = "NATS_PASSWORD",
        hide_env_values = true,
        requires = "user",
        help_heading = "Connection"
    )]
    pub password: Option<String>,
    /// Certificate authority of the server (PEM). Turns TLS on.
    #[arg(long, env = "NATS_CA", value_name = "FILE", help_heading = "Connection")]
    pub ca: Option<PathBuf>,
    /// Our certificate, where the server asks for one (PEM).
    #[arg(long, env = "NATS_CERT", value_name = "FILE", requires = "key", help_heading = "Connection")]
    pub cert: Option<PathBuf>,
    /// The key of our certificate (PEM).
    #[arg(long, env = "NATS_KEY", value_name = "FILE", requires = "cert", help_heading = "Connection")]
    pub key: Option<PathBuf>,
    /// Where answers come to. Each role that has permissions needs a prefix of its own, or one reads another's answers.
    #[arg(long, env = "NATS_INBOX_PREFIX", value_name = "PREFIX", help_heading = "Connection")]
    pub inbox_prefix: Option<String>,
}

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// A file of the options cannot be used: mend the options.
    #[error("cannot use {path}: {source}", path = path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: std::io::Error,
    },
    /// The address is none: mend the options.
    #[error("cannot read server address {url:?}: {source}; expected nats://host:4222 or tls://host:4222")]
    Address {
        /// The text given.
        url: String,
        /// What is wrong with it.
        source: std::io::Error,
    },
    /// No server answers there, or it refuses us: try again later, or mend the options.
    #[error("cannot connect to {url}: {source}; is a nats-server running there?")]
    Server {
        /// The address tried, without user and password.
        url: String,
        /// What the server or the network said.
        source: async_nats::ConnectError,
    },
}

impl Connect {
    /// A connection to `url` without credentials.
    pub fn to(url: impl Into<String>) -> Self {
        Connect {
            url: url.into(),
            creds: None,
            nkey: None,
            user: None,
            password: None,
            ca: None,
            cert: None,
            key: None,
            inbox_prefix: None,
        }
    }

    /// Connects, and stays connected: a lost connection is opened again for as long as the client lives. `name` is what
    /// the server shows for it.
    ///
    /// # Errors
    /// When an option cannot be used, or no server takes the connection now.
    pub async fn open(&self, name: &str) -> Result<Client, ConnectError> {
        let servers = self.servers()?;
        let options = self.options(name, &servers).await?;
        options
            .connect(&servers)
            .await
            .map_err(|source| ConnectError::Server { url: self.without_secrets(&servers), source })
    }

    /// A connection that is opened as soon as a server takes it, now or later: for those who keep what they have on disk
    /// until then.
    ///
    /// # Errors
    /// When an option cannot be used.
    pub async fn open_when_possible(&self, name: &str) -> Result<Client, ConnectError> {
        let servers = self.servers()?;
        let options = self.options(name, &servers).await?.retry_on_initial_connect();
        options
            .connect(&servers)
            .await
            .map_err(|source| ConnectError::Server { url: self.without_secrets(&servers), source })
    }

    fn servers(&self) -> Result<Vec<ServerAddr>, ConnectError> {
        let address = |text: &str| {
            text.trim()
                .parse::<ServerAddr>()
                .map_err(|source| ConnectError::Address { url: hide_user_info(text), source })
        };
        self.url.split(',').map(address).collect()
    }

    /// Addresses may hold `user:password@`, which must not reach a log.
    fn without_secrets(&self, servers: &[ServerAddr]) -> String {
        let shown: Vec<String> = servers.iter().map(|at| format!("{}:{}", at.host(), at.port())).collect();
        shown.join(", ")
    }

    async fn options(&self, name: &str, servers: &[ServerAddr]) -> Result<ConnectOptions, ConnectError> {
        let mut options = ConnectOptions::new()
            .name(name)
            .reconnect_delay_callback(|attempt| {
                RECONNECT_PAUSE_MAX
                    .min(Duration::from_millis(20 * u64::try_from(attempt).unwrap_or(u64::MAX).min(10)))
            })
            // A refused subject looks like a time-out to the one who publishes; its text arrives only here.
            .event_callback(report);
        // As NATS's own tools read an address; the client leaves this out.
        let login = servers.iter().find_map(|at| Some((at.username()?, at.password())));
        if let (Some((user, password)), None, None, None) = (login, &self.creds, &self.nkey, &self.user) {
            options = match password {
                Some(password) => options.user_and_password(user.to_owned(), password.to_owned()),
                None => options.token(user.to_owned()),
            };
        }
        if let Some(path) = &self.creds {
            options = options.credentials_file(path).await.map_err(|source| unusable(path, source))?;
        }
        if let Some(path) = &self.nkey {
            let seed = tokio::fs::read_to_string(path).await.map_err(|source| unusable(path, source))?;
            options = options.nkey(seed.trim().to_owned());
        }
        if let (Some(user), Some(password)) = (&self.user, &self.password) {
            options = options.user_and_password(user.clone(), password.clone());
        }
        if let Some(path) = &self.ca {
            // Opened here, so that a wrong path is named instead of "TLS error".
            readable(path).await?;
            options = options.add_root_certificates(path.clone()).require_tls(true);
        }
        if let (Some(cert), Some(key)) = (&self.cert, &self.key) {
            readable(cert).await?;
            readable(key).await?;
            options = options.add_client_certificate(cert.clone(), key.clone()).require_tls(true);
        }
        if let Some(prefix) = &self.inbox_prefix {
            options = options.custom_inbox_prefix(prefix);
        }
        Ok(options)
    }
}

async fn report(event: Event) {
    match event {
        Event::Connected => tracing::info!("connected"),
        // The client was dropped: the ordinary end of a program.
        Event::Closed => tracing::debug!("connection closed"),
        Event::Disconnected => tracing::warn!("connection lost, trying again"),
        Event::ServerError(error) => tracing::error!(%error, "the server refuses"),
        Event::ClientError(error) => tracing::error!(%error, "the client fails"),
        other => tracing::warn!(event = %other, "connection"),
    }
}

async fn readable(path: &Path) -> Result<(), ConnectError> {
    tokio::fs::File::open(path).await.map(drop).map_err(|source| unusable(path, source))
}

fn unusable(path: &Path, source: std::io::Error) -> ConnectError {
    ConnectError::File { path: path.to_owned(), source }
}

/// The address from behind the `@`, if there is one.
fn hide_user_info(url: &str) -> String {
    url.rsplit_once('@').map_or_else(|| url.to_owned(), |(_, host)| host.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn an_error_names_the_server_and_hides_the_password() {
        let error = Connect::to("nats://joe:secret@127.0.0.1:1")
            .open("test")
            .await
            .expect_err("nobody listens on port 1");
        assert!(error.to_string().contains("127.0.0.1:1"), "{error}");
        assert!(!error.to_string().contains("secret"), "{error}");
    }

    #[tokio::test]
    async fn an_error_names_the_file_that_is_missing() {
        for place in 0..3 {
            let mut connect = Connect::to("nats://127.0.0.1:1");
            let missing = Some(PathBuf::from("/nowhere/at-all"));
            match place {
                0 => connect.creds = missing,
                1 => connect.nkey = missing,
                _ => connect.ca = missing,
            }
            let error = connect.open("test").await.expect_err("no such file");
            assert!(error.to_string().contains("/nowhere/at-all"), "{error}");
        }
    }
}
