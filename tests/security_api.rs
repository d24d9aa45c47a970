//! Who may ask the worker over HTTP, what the programs tell of secrets (nothing), and of what events hold (nothing).

mod support;

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use support::certificates::{Authority, Pair};
use support::nats::NatsServer;
use support::site::{PATIENCE, sightline};
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use tokio_rustls::rustls::{self, ClientConfig, ClientConnection, RootCertStore, StreamOwned};

const TOKEN: &str = "0123456789abcdef0123456789abcdef";

fn folder() -> tempfile::TempDir {
    tempfile::Builder::new().prefix("sightline-api-").tempdir().expect("a temporary folder")
}

fn file(dir: &Path, name: &str, text: &str) -> PathBuf {
    let path = dir.join(name);
    std::fs::write(&path, text).expect("written");
    path
}

fn told(output: Output) -> (Option<i32>, String) {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (output.status.code(), text(&output.stdout) + &text(&output.stderr))
}

/// A worker whose API answers. It needs no bus for that.
struct Worker {
    child: Child,
    address: SocketAddr,
    log: PathBuf,
}

impl Worker {
    fn start(dir: &Path, settings: &[String]) -> Self {
        Worker::start_with(dir, settings, |_| {})
    }

    fn start_with(dir: &Path, settings: &[String], more: impl FnOnce(&mut Command)) -> Self {
        let mut command = sightline(&["run", "--set", "log.format=json"]);
        command.args(["--set", &format!("state.dir={}", dir.join("state").display())]);
        for setting in settings {
            command.args(["--set", setting]);
        }
        let log = dir.join("worker.log");
        let out = std::fs::File::create(&log).expect("a log");
        command.stdout(out.try_clone().expect("a log")).stderr(out);
        more(&mut command);
        let child = command.spawn().expect("it runs");
        let mut worker = Worker { child, address: SocketAddr::from(([0, 0, 0, 0], 0)), log };
        let said = worker.until("the API listens", |worker| {
            let said = worker.said();
            said.lines().find(|line| line.contains("api listening")).map(str::to_owned)
        });
        let line: serde_json::Value = serde_json::from_str(&said).expect("JSON");
        let bound: SocketAddr = line["listen"].as_str().expect("an address").parse().expect("an address");
        worker.address = SocketAddr::from(([127, 0, 0, 1], bound.port()));
        worker
    }

    fn said(&self) -> String {
        std::fs::read_to_string(&self.log).expect("a log")
    }

    fn until<T>(&mut self, what: &str, mut look: impl FnMut(&mut Self) -> Option<T>) -> T {
        let until = Instant::now() + PATIENCE;
        loop {
            if let Some(found) = look(self) {
                return found;
            }
            let ended = self.child.try_wait().expect("our own child");
            assert!(ended.is_none() && Instant::now() < until, "{what}: {ended:?}\n{}", self.said());
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    fn stop(&mut self) {
        kill_process(Pid::from_child(&self.child), Signal::TERM).expect("our own child");
        self.child.wait().expect("it ends");
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The status of the answer to `GET path`, and the answer as it came.
fn exchange(mut stream: impl Read + Write, path: &str, authorization: Option<&str>) -> Option<(u16, String)> {
    let authorization = authorization.map_or(String::new(), |value| format!("Authorization: {value}\r\n"));
    let request = format!("GET {path} HTTP/1.0\r\nHost: localhost\r\n{authorization}\r\n");
    stream.write_all(request.as_bytes()).ok()?;
    let mut answer = Vec::new();
    // A connection that is cut gives what came before.
    let _ = stream.read_to_end(&mut answer);
    let answer = String::from_utf8_lossy(&answer).into_owned();
    let status = answer.strip_prefix("HTTP/1.")?.get(2..5)?.parse().ok()?;
    Some((status, answer))
}

fn connect(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(address).expect("it listens");
    stream.set_read_timeout(Some(PATIENCE)).expect("a time");
    stream
}

/// As [`exchange`], over TLS with a server that `authority` vouches for.
fn ask(
    address: SocketAddr,
    authority: &Authority,
    own: Option<&Pair>,
    path: &str,
    authorization: Option<&str>,
) -> Option<(u16, String)> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(&authority.file).expect("PEM")).expect("an authority");
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let builder = builder.expect("versions").with_root_certificates(roots);
    let config = match own {
        None => builder.with_no_client_auth(),
        Some(pair) => {
            let chain = vec![CertificateDer::from_pem_file(&pair.cert).expect("PEM")];
            let key = PrivateKeyDer::from_pem_file(&pair.key).expect("PEM");
            builder.with_client_auth_cert(chain, key).expect("a pair")
        }
    };
    let name = ServerName::IpAddress(IpAddr::from(Ipv4Addr::LOCALHOST).into());
    let client = ClientConnection::new(Arc::new(config), name).expect("a client");
    exchange(StreamOwned::new(client, connect(address)), path, authorization)
}

struct Pki {
    dir: tempfile::TempDir,
    authority: Authority,
    server: Pair,
}

impl Pki {
    fn new() -> Self {
        let dir = folder();
        let authority = Authority::new(&dir.path().join("ca.pem"));
        let server = authority.server(&dir.path().join("server"));
        Pki { dir, authority, server }
    }

    fn settings(&self, listen: &str) -> Vec<String> {
        vec![
            format!("api.listen={listen}"),
            format!("api.tls_cert={}", self.server.cert.display()),
            format!("api.tls_key={}", self.server.key.display()),
        ]
    }
}

#[test]
fn who_does_not_know_the_token_sees_nothing() {
    let pki = Pki::new();
    let token = file(pki.dir.path(), "token", &format!("{TOKEN}\n"));
    let mut settings = pki.settings("127.0.0.1:0");
    settings.push(format!("api.token_file={}", token.display()));
    let worker = Worker::start(pki.dir.path(), &settings);
    let status = |path: &str, authorization: Option<&str>| {
        let (status, answer) =
            ask(worker.address, &pki.authority, None, path, authorization).expect("answered");
        assert!(status == 200 || !answer.contains("sightline_"), "{answer}");
        status
    };
    for path in ["/metrics", "/state"] {
        assert_eq!(status(path, None), 401, "{path}");
        let longer = format!("Bearer {TOKEN}0");
        for wrong in
            ["", "Bearer", "Bearer ", "Bearer 0", &longer[..longer.len() - 2], &longer, TOKEN, "Basic eDp5"]
        {
            assert_eq!(status(path, Some(wrong)), 401, "{path} {wrong:?}");
        }
        assert_eq!(status(path, Some(&format!("Bearer {TOKEN}"))), 200, "{path}");
        assert_eq!(status(path, Some(&format!("bearer {TOKEN}"))), 200, "{path}");
    }
    // Probes have no token, and learn nothing of what is watched.
    assert_eq!((status("/healthz", None), status("/readyz", None)), (200, 503));
    // In clear, nobody is answered.
    assert_eq!(exchange(connect(worker.address), "/healthz", None), None);
    assert!(!worker.said().contains(TOKEN));
}

#[test]
fn only_certificates_of_the_named_authority_are_let_in() {
    let pki = Pki::new();
    let stem = |name: &str| pki.dir.path().join(name);
    let known = pki.authority.client("prometheus", &stem("known"));
    let foreign = Authority::new(&stem("foreign_ca.pem")).client("prometheus", &stem("foreign"));
    let mut settings = pki.settings("127.0.0.1:0");
    settings.push(format!("api.tls_client_ca={}", pki.authority.file.display()));
    let worker = Worker::start(pki.dir.path(), &settings);
    for path in ["/healthz", "/metrics", "/state"] {
        assert_eq!(
            ask(worker.address, &pki.authority, None, path, None),
            None,
            "{path} without a certificate"
        );
        assert_eq!(
            ask(worker.address, &pki.authority, Some(&foreign), path, None),
            None,
            "{path} with another's"
        );
        let answered = ask(worker.address, &pki.authority, Some(&known), path, None).expect("answered");
        assert_eq!(answered.0, 200, "{path}");
    }
}

#[test]
fn who_says_nothing_keeps_nobody_else_waiting() {
    let pki = Pki::new();
    let worker = Worker::start(pki.dir.path(), &pki.settings("127.0.0.1:0"));
    let silent: Vec<TcpStream> = (0..40).map(|_| connect(worker.address)).collect();
    let answered = ask(worker.address, &pki.authority, None, "/healthz", None).expect("answered");
    assert_eq!(answered.0, 200);
    drop(silent);
}

#[test]
fn the_state_is_asked_for_over_tls_too() {
    let pki = Pki::new();
    let token = file(pki.dir.path(), "token", TOKEN);
    let client = pki.authority.client("anna", &pki.dir.path().join("anna"));
    let mut settings = pki.settings("127.0.0.1:0");
    settings.push(format!("api.token_file={}", token.display()));
    settings.push(format!("api.tls_client_ca={}", pki.authority.file.display()));
    let worker = Worker::start(pki.dir.path(), &settings);
    let api = format!("https://{}", worker.address);
    let ask = |settings: &[String], own: Option<&Pair>| {
        let ca = pki.authority.file.to_str().expect("UTF-8");
        let mut command = sightline(&["state", "--format", "json", "--api", &api, "--ca", ca]);
        for setting in settings {
            command.args(["--set", setting]);
        }
        if let Some(own) = own {
            command.arg("--cert").arg(&own.cert).arg("--key").arg(&own.key);
        }
        told(command.output().expect("it runs"))
    };
    let (code, text) = ask(&settings, Some(&client));
    assert!(code == Some(0) && text.contains("\"partitions\":1"), "{text}");
    let (code, text) = ask(&[], Some(&client));
    assert!(code == Some(1) && text.contains("asks for the token"), "{text}");
    assert_eq!(ask(&settings, None).0, Some(1));
    let (code, text) = told(sightline(&["state", "--api", &api]).output().expect("it runs"));
    assert!(code == Some(3) && text.contains("--ca FILE"), "{text}");
}

/// On a network, TLS and a question: every way to leave one out is refused before anything listens.
#[test]
fn an_api_on_a_network_is_protected_or_not_there() {
    let pki = Pki::new();
    let tls = pki.settings("0.0.0.0:0");
    let token = format!("api.token={TOKEN}");
    let client_ca = format!("api.tls_client_ca={}", pki.authority.file.display());
    let open =
        ["set api.tls_cert and api.tls_key", "api.token_file, api.token and api.tls_client_ca", "0.0.0.0:0"];
    let refused = |settings: &[&str], words: &[&str]| {
        for command in [&["config", "check"][..], &["run"]] {
            let mut command = sightline(command);
            for setting in settings {
                command.args(["--set", setting]);
            }
            let (code, text) = told(command.output().expect("it runs"));
            assert_eq!(code, Some(3), "{settings:?}: {text}");
            for word in words {
                assert!(text.contains(word), "{settings:?} does not say {word}: {text}");
            }
            assert!(!text.contains(TOKEN), "{text}");
        }
    };
    refused(&["api.listen=0.0.0.0:0"], &open);
    refused(&["api.listen=[::]:0"], &open[..2]);
    refused(&["api.listen=0.0.0.0:0", &token], &open);
    refused(&[&tls[0], &tls[1], &tls[2]], &open);
    refused(&[&tls[0], &tls[1], &token], &["api.tls_cert without api.tls_key"]);
    refused(&[&tls[0], &client_ca], &["api.tls_client_ca without api.tls_cert"]);
    refused(&["api.token=short"], &["api.token: expected at least 16 visible ASCII characters"]);
    refused(&["api.token_file=/nowhere/token"], &["api.token_file: cannot use /nowhere/token"]);
    refused(&[&token, "api.token_file=/x"], &["keep one of them"]);
    let none = format!("api.tls_cert={}", file(pki.dir.path(), "none.pem", "geheim").display());
    refused(&[&none, &tls[2]], &["none.pem: it holds no certificate (PEM)"]);

    for question in [&token, &client_ca] {
        let mut settings = tls.clone();
        settings.push(question.clone());
        Worker::start(pki.dir.path(), &settings).stop();
    }
}

/// All secrets that the programs can be given, each of its own kind.
const SECRETS: [&str; 6] = [
    "geheim-url-0000000",
    "geheim-password-0",
    "geheim-nats-token",
    "geheim-api-token0",
    "geheim-file-token",
    "geheim-broken-000",
];

#[test]
fn no_secret_is_told_by_any_command() {
    let dir = folder();
    let server = NatsServer::start_with("authorization { user: anna, password: \"geheim-password-0\" }");
    let at = server.url().replace("nats://", "");
    let mut all = String::new();
    let mut run = |arguments: &[&str], env: &[(&str, &str)], level: &str| {
        let mut command = sightline(arguments);
        command.args(["--log-level", level]).envs(env.iter().copied());
        all.push_str(&told(command.output().expect("it runs")).1);
    };
    let config = file(
        dir.path(),
        "sightline.yaml",
        "nats:\n  url: nats://joe:geheim-url-0000000@127.0.0.1:1\n  user: anna\n  password: geheim-password-0\n\
         api:\n  token: geheim-api-token0\n",
    );
    let broken = file(
        dir.path(),
        "broken.yaml",
        "nats:\n  password: {geheim-broken-000: 1}\n  token: [geheim-broken-000]\n  url: geheim-broken-000@@ x\n\
         api:\n  token: geheim-broken-000: x\n",
    );
    let unreadable =
        file(dir.path(), "unreadable.yaml", "nats:\n  password: \"geheim-broken-000\n  token: x\n");
    let no_seed = file(dir.path(), "seed", "geheim-broken-000");
    let token_file = file(dir.path(), "token", "geheim-file-token");
    let text = |path: &PathBuf| path.to_str().expect("UTF-8").to_owned();
    let (config, broken, unreadable) = (text(&config), text(&broken), text(&unreadable));
    let set_token_file = format!("api.token_file={}", token_file.display());
    let right = format!("nats://anna:geheim-password-0@{at}");
    let wrong = format!("nats://anna:geheim-url-0000000@{at}");
    for level in ["info", "debug", "trace"] {
        for file in [&config, &broken, &unreadable] {
            for command in
                [&["config", "show"][..], &["config", "check"], &["stream", "setup"], &["tail"], &["state"]]
            {
                run(&[command, &["--config", file]].concat(), &[], level);
            }
        }
        for url in [&right, &wrong] {
            run(&["stream", "setup", "--nats-url", url], &[], level);
            run(&["stream", "setup"], &[("NATS_URL", url)], level);
        }
        run(
            &["config", "show"],
            &[("NATS_TOKEN", "geheim-nats-token"), ("SIGHTLINE_API_TOKEN", "geheim-api-token0")],
            level,
        );
        run(&["stream", "setup"], &[("NATS_URL", &server.url()), ("NATS_TOKEN", "geheim-nats-token")], level);
        run(&["stream", "setup"], &[("NATS_URL", &server.url()), ("NATS_NKEY", &text(&no_seed))], level);
        run(&["stream", "setup"], &[("NATS_URL", &server.url()), ("NATS_CREDS", &text(&no_seed))], level);
        run(&["config", "show", "--set", &set_token_file], &[], level);
        run(&["state", "--set", &set_token_file, "--api", "http://127.0.0.1:1"], &[], level);
        run(&["state", "--api", "http://joe:geheim-broken-000@127.0.0.1:1"], &[], level);
        run(&["stream", "setup", "--set", "nats.password=geheim-broken-000"], &[], level);
    }
    // A worker at work with all of them, asked over its API.
    let mut worker = Worker::start(
        dir.path(),
        &[
            "api.listen=127.0.0.1:0".to_owned(),
            format!("nats.url={right}"),
            set_token_file,
            "log.level=debug".to_owned(),
        ],
    );
    worker.until("it works", |worker| worker.said().contains("rules in force").then_some(()));
    all.push_str(
        &exchange(connect(worker.address), "/metrics", Some("Bearer geheim-file-token")).expect("answered").1,
    );
    all.push_str(
        &exchange(connect(worker.address), "/state", Some("Bearer geheim-file-token")).expect("answered").1,
    );
    worker.stop();
    all.push_str(&worker.said());
    assert!(all.contains("***") && all.contains("password"), "it shows that there is a secret:\n{all}");
    for secret in SECRETS {
        let told = all.lines().find(|line| line.contains(secret));
        assert_eq!(told, None, "{secret} is told");
    }
}

/// What stands in events, wherever it stands, is not for those who only operate.
#[test]
fn nothing_of_an_event_is_in_a_metric_or_in_the_log() {
    const MARK: &str = "Zx9Marke";
    let server = NatsServer::start();
    let url = server.url();
    let dir = folder();
    assert!(sightline(&["stream", "setup", "--nats-url", &url]).output().expect("it runs").status.success());
    let rules = file(
        dir.path(),
        "rules.yaml",
        "rules:\n  - {id: seen, by: [host_id], steps: [{name: started, match: {kind: process_start}}]}\n",
    );
    let settings = [
        "api.listen=127.0.0.1:0".to_owned(),
        format!("nats.url={url}"),
        format!("rules.paths={}", rules.display()),
        "state.checkpoint_every=100ms".to_owned(),
    ];
    let mut worker = Worker::start(dir.path(), &settings);
    let ready =
        |worker: &mut Worker| (exchange(connect(worker.address), "/readyz", None)?.0 == 200).then_some(());
    worker.until("it is ready", ready);
    let event = |kind: &str, second: u32| {
        format!(
            r#"{{"source":"powershell-hunt","source_event_id":"{MARK}{second}","kind":"{kind}","ts":"2026-05-08T12:00:{second:02}Z",
                "host_id":"{MARK}","user":"{MARK}@example.org","severity":"{MARK}","class":"alert","tags":["suspicious","{MARK}"],"title":"{MARK}",
                "description":"{MARK}","actor":{{"user":"{MARK}"}},"entities":[{{"type":"email","value":"{MARK}@example.org"}}],
                "fields":{{"{MARK}":"{MARK}","path":"C:\\AppData\\Roaming\\{MARK}"}}}}"#
        )
    };
    let mut bodies: Vec<(String, String)> = (0..20)
        .map(|second| ("events.default.powershell-hunt".to_owned(), event("process_start", second)))
        .collect();
    let rubbish = [
        MARK.to_string(),
        format!("{{\"{MARK}\":"),
        format!("{{\"source\":\"{MARK}\",\"kind\":\"x\"}}"),
        format!("{{\"source\":\"powershell-hunt\",\"tenant\":\"{MARK}\"}}"),
        format!("{{\"source\":\"powershell-hunt\",\"ts\":\"{MARK}\"}}"),
        format!("{{\"source\":\"powershell-hunt\",\"class\":\"{MARK}\"}}"),
        format!("{{\"source\":\"powershell-hunt\",\"kind\":{{\"{MARK}\":1}}}}"),
        format!(
            "{{\"source\":\"powershell-hunt\",\"ts\":\"2026-05-08T12:00:00Z\",\"timestamp\":\"{MARK}\"}}"
        ),
    ];
    bodies.extend(rubbish.map(|body| ("events.default.powershell-hunt".to_owned(), body)));
    for body in [
        MARK.to_string(),
        format!("{{\"incident\":\"{MARK}\",\"status\":\"{MARK}\",\"actor\":\"{MARK}\"}}"),
        format!(
            "{{\"incident\":\"0123456789abcdef0123456789abcdef\",\"status\":\"closed\",\"actor\":\"{MARK}\",\"reason\":\"{MARK}\"}}"
        ),
    ] {
        bodies.push(("control.default.incident".to_owned(), body));
    }
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let last = runtime.block_on(async {
        let bus = async_nats::jetstream::new(async_nats::connect(&url).await.expect("connected"));
        let mut last = 0;
        for (subject, body) in bodies {
            last = bus.publish(subject, body.into()).await.expect("sent").await.expect("stored").sequence;
        }
        last
    });
    worker.until("all of it is worked off", |worker| {
        let (_, answer) = exchange(connect(worker.address), "/state", None)?;
        let state: serde_json::Value = serde_json::from_str(answer.split_once("\r\n\r\n")?.1).ok()?;
        (state["log"]["position"].as_u64()? >= last).then_some(())
    });
    let (_, metrics) = exchange(connect(worker.address), "/metrics", None).expect("answered");
    assert!(metrics.contains("sightline_dead_letters_total"), "{metrics}");
    // Of events that are refused the log could not tell much, so there must be some that are not.
    assert!(metrics.contains("sightline_events_total{source=\"powershell-hunt\"} 20\n"), "{metrics}");
    assert!(metrics.contains("sightline_incidents_total{change=\"opened\",rule=\"seen\"} 1\n"), "{metrics}");
    worker.stop();
    for (what, text) in [("a metric", metrics), ("the log", worker.said())] {
        let told: Vec<&str> = text.lines().filter(|line| line.contains(MARK)).collect();
        assert!(told.is_empty(), "{what} tells of an event: {told:#?}");
    }
    let log = BufReader::new(std::fs::File::open(&worker.log).expect("a log")).lines().count();
    assert!(log > 3, "it says what it does");
}
