//! The examples of `LANGUAGES.md`, run as they stand there, against a real server.
//!
//! The packages that they need are installed, at fixed versions, into a folder of the build, once. Where a language or
//! its packages cannot be had, the test says so and is left out.

mod server;

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use server::Server;
use sightline_schemas::source::SourceProfiles;
use sightline_schemas::subject::EventSubject;
use sightline_schemas::wire::{self, Form};
use sightline_schemas::{EventTime, edge};

/// The example in that language.
fn example(language: &str) -> String {
    let text = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("LANGUAGES.md"))
        .expect("the page");
    let fence = format!("```{language}\n");
    let from = text.find(&fence).expect("an example in that language") + fence.len();
    let length = text[from..].find("\n```").expect("the end of the example");
    text[from..from + length].to_owned()
}

/// A folder that outlives the test.
fn folder(language: &str) -> PathBuf {
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("languages-{language}"));
    std::fs::create_dir_all(&path).expect("a folder of the build");
    path
}

fn ran(command: &mut Command) -> Result<Output, String> {
    match command.output() {
        Ok(output) if output.status.success() => Ok(output),
        Ok(output) => Err(String::from_utf8_lossy(&output.stderr).trim().to_owned()),
        Err(error) => Err(error.to_string()),
    }
}

/// Runs the example twice: the first makes an event, the second is the same one again.
async fn says_one_event(server: &Server, mut run: impl FnMut(&str) -> Command) {
    for _ in 0..2 {
        let output = ran(&mut run(&server.url()));
        output.unwrap_or_else(|error| panic!("the example fails: {error}"));
    }
    let messages = server.messages().await;
    let [message] = &messages[..] else { panic!("{} messages instead of one", messages.len()) };
    assert_eq!(message.subject, "events.default.my-sensor");
    let form = Form::of(message.content_type.as_deref()).expect("a form of ours");
    let subject = EventSubject { tenant: "default".to_owned(), source: "my-sensor".to_owned() };
    let tree = wire::decode(&message.body, form).expect("it decodes");
    let at = EventTime::parse("2026-05-08T12:00:01Z").expect("a time");
    let event =
        edge::to_event(tree, &message.body, &subject, at, &SourceProfiles::default()).expect("an event");
    assert_eq!((&*event.kind, event.source_event_id.as_deref()), ("auth.login_failed", Some("4711")));
    assert_eq!((event.host_id.as_deref(), event.user.as_deref()), (Some("WS-07"), Some("jdoe")));
    assert_eq!(event.occurred_at.to_string(), "2026-05-08T12:00:00Z");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_example_in_python_is_one_event() {
    let folder = folder("python");
    if !folder.join("nats").exists() {
        let install = ["-m", "pip", "install", "--quiet", "--target", ".", "nats-py==2.11.0"];
        if let Err(why) = ran(Command::new("python3").args(install).current_dir(&folder)) {
            return eprintln!("left out: no python3 with nats-py here: {why}");
        }
    }
    std::fs::write(folder.join("example.py"), example("python")).expect("written");
    let server = Server::with_events().await;
    says_one_event(&server, |url| {
        let mut command = Command::new("python3");
        command.arg("example.py").current_dir(&folder).env("PYTHONPATH", &folder).env("NATS_URL", url);
        command
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_example_in_node_is_one_event() {
    let folder = folder("node");
    if !folder.join("node_modules/@nats-io/jetstream").exists() {
        let packages = ["@nats-io/transport-node@3.4.0", "@nats-io/jetstream@3.4.0"];
        let mut install = Command::new("npm");
        install.args(["install", "--silent", "--no-audit", "--no-fund", "--prefix", "."]).args(packages);
        // A registry that does not answer is as good as none, sooner than this test is given up.
        install.args(["--fetch-timeout=20000", "--fetch-retries=1", "--fetch-retry-maxtimeout=1000"]);
        if let Err(why) = ran(install.current_dir(&folder)) {
            return eprintln!("left out: no npm with the packages of NATS here: {why}");
        }
    }
    std::fs::write(folder.join("example.mjs"), example("js")).expect("written");
    let server = Server::with_events().await;
    says_one_event(&server, |url| {
        let mut command = Command::new("node");
        command.arg("example.mjs").current_dir(&folder).env("NATS_URL", url);
        command
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_example_for_the_command_line_is_one_event() {
    if let Err(why) = ran(Command::new("nats").arg("--version")) {
        return eprintln!("left out: no `nats` command here: {why}");
    }
    let server = Server::with_events().await;
    let script = example("sh");
    says_one_event(&server, |url| {
        let mut command = Command::new("sh");
        command.args(["-c", &script]).env("NATS_URL", url);
        command
    })
    .await;
}
