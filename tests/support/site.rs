//! A server as it ships for a network: the configuration of `deploy/`, with keys and certificates made for one test.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_nats::{Client, ConnectOptions, Event, Subscriber};

use super::certificates::Authority;
use super::nats::{NatsServer, folder, free_port};

/// The roles that the shipped configurations know.
pub const ROLES: [&str; 5] = ["operator", "engine", "producer_edr", "dashboard", "analyst"];
/// How long an answer may take that certainly comes: far longer than it takes.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// How clients prove who they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Proof {
    /// `deploy/nats-nkey.conf`.
    Nkey,
    /// `deploy/nats-mtls.conf`.
    Certificate,
}

/// The server, and where the keys of the roles are.
pub struct Site {
    /// The server.
    pub server: NatsServer,
    /// How clients prove who they are.
    pub proof: Proof,
    /// Who vouches for the server, and for the clients.
    pub authority: Authority,
}

impl Site {
    /// Makes keys as the documents say, and starts the server with the file that ships, of which only the folders are others.
    pub fn start(proof: Proof) -> Self {
        let dir = folder();
        let path = dir.path().to_owned();
        let authority = Authority::new(&path.join("ca.pem"));
        authority.server(&path.join("server"));
        let config = match proof {
            Proof::Nkey => {
                let mut command = sightline(&["nats-keys", path.to_str().expect("UTF-8")]);
                let output = command.args(ROLES).output().expect("it runs");
                assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
                "nats-nkey.conf"
            }
            Proof::Certificate => {
                for role in ROLES {
                    authority.client(role, &path.join(role));
                }
                "nats-mtls.conf"
            }
        };
        let shipped = Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy").join(config);
        let text = std::fs::read_to_string(shipped).expect("it ships");
        assert!(text.contains("/etc/nats/"), "the folder of the keys");
        let here = format!("{}/", path.display());
        let text = text.replace("/etc/nats/", &here).replace("/var/lib/nats/", &here);
        std::fs::write(path.join(config), text).expect("written");
        let more = ["-m".to_owned(), free_port().to_string()];
        Site { server: NatsServer::start_in(dir, config, &more), proof, authority }
    }

    /// The address for clients that speak TLS.
    pub fn url(&self) -> String {
        self.server.url().replace("nats://", "tls://")
    }

    /// A file in the folder of the keys.
    pub fn file(&self, name: &str) -> PathBuf {
        self.server.dir().join(name)
    }

    /// The settings with which a program is `role`, as environment variables.
    pub fn environment(&self, role: &str) -> Vec<(&'static str, String)> {
        let path = |ending: &str| self.file(&format!("{role}.{ending}")).display().to_string();
        let mut variables = vec![
            ("NATS_URL", self.url()),
            ("NATS_CA", self.authority.file.display().to_string()),
            ("NATS_INBOX_PREFIX", format!("_INBOX_{role}")),
        ];
        match self.proof {
            Proof::Nkey => variables.push(("NATS_NKEY", path("nk"))),
            Proof::Certificate => variables.extend([("NATS_CERT", path("pem")), ("NATS_KEY", path("key"))]),
        }
        variables
    }

    /// A program of ours as `role`.
    pub fn command(&self, role: &str, arguments: &[&str]) -> Command {
        let mut command = sightline(arguments);
        command.envs(self.environment(role));
        command
    }

    /// The options of a plain client as `role`, with the inboxes of `inbox`.
    pub fn options(&self, role: &str, inbox: &str) -> ConnectOptions {
        let options = ConnectOptions::new()
            .add_root_certificates(self.authority.file.clone())
            .require_tls(true)
            .custom_inbox_prefix(format!("_INBOX_{inbox}"));
        match self.proof {
            Proof::Nkey => {
                let seed = std::fs::read_to_string(self.file(&format!("{role}.nk"))).expect("a seed");
                options.nkey(seed.trim().to_owned())
            }
            Proof::Certificate => options
                .add_client_certificate(self.file(&format!("{role}.pem")), self.file(&format!("{role}.key"))),
        }
    }

    /// A plain client as `role`, which hears what the server refuses.
    pub async fn client(&self, role: &str) -> Player {
        let refusals = Arc::new(Mutex::new(Vec::new()));
        let heard = Arc::clone(&refusals);
        let options = self.options(role, role).event_callback(move |event| {
            let heard = Arc::clone(&heard);
            async move {
                if let Event::ServerError(error) = event {
                    heard.lock().expect("no test fails here").push(error.to_string());
                }
            }
        });
        let client = options.connect(self.url()).await.expect("the role is known");
        Player { role: role.to_owned(), client, refusals }
    }
}

/// The binary, without the settings of whoever runs the tests.
pub fn sightline(arguments: &[&str]) -> Command {
    let mut command = Command::new(assert_cmd::cargo::cargo_bin!("sightline"));
    command.current_dir(env!("CARGO_MANIFEST_DIR")).args(arguments).stdin(Stdio::null());
    for (variable, _) in std::env::vars_os() {
        let text = variable.to_string_lossy();
        if text.starts_with("NATS_") || text.starts_with("SIGHTLINE_") {
            command.env_remove(&variable);
        }
    }
    command
}

/// A plain client in a role.
pub struct Player {
    role: String,
    /// The client.
    pub client: Client,
    refusals: Arc<Mutex<Vec<String>>>,
}

impl Player {
    /// Publishes, which the server must refuse.
    pub async fn may_not_publish(&self, subject: &str) {
        self.client.publish(subject.to_owned(), "{}".into()).await.expect("sent");
        self.refused("Publish", subject).await;
    }

    /// Subscribes, which the server must refuse.
    pub async fn may_not_hear(&self, subject: &str) {
        let _kept = self.client.subscribe(subject.to_owned()).await.expect("sent");
        self.refused("Subscription", subject).await;
    }

    /// Subscribes. The server has the subscription when this returns.
    pub async fn hears(&self, subject: &str) -> Subscriber {
        let subscriber = self.client.subscribe(subject.to_owned()).await.expect("sent");
        self.client.flush().await.expect("the server has it");
        subscriber
    }

    /// Waits for the server's word, which names the subject.
    async fn refused(&self, what: &str, subject: &str) {
        self.client.flush().await.expect("sent");
        let expected = format!("permissions violation for {what} to \"{subject}\"").to_lowercase();
        let said = || {
            let refusals = self.refusals.lock().expect("no test fails here");
            refusals.iter().any(|text| text.to_lowercase().contains(&expected))
        };
        let heard = async {
            while !said() {
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        };
        if tokio::time::timeout(PATIENCE, heard).await.is_err() {
            panic!("{} is not refused {what} to {subject}: {:?}", self.role, self.refusals);
        }
    }
}
