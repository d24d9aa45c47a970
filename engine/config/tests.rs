use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use sightline_schemas::control::EngineSettings;
use sightline_schemas::severity::Severity;

use super::settings_table::{SECTIONS, SETTINGS};
use super::*;

fn pairs(given: &[(&str, &str)]) -> Vec<(String, String)> {
    given.iter().map(|(name, text)| ((*name).to_owned(), (*text).to_owned())).collect()
}

fn load(file: &str, env: &[(&str, &str)], flags: &[(&str, &str)]) -> Result<Loaded, ConfigErrors> {
    Config::load_text("sightline.yaml", file, pairs(env).into_iter(), &pairs(flags))
}

fn errors(file: &str, env: &[(&str, &str)], flags: &[(&str, &str)]) -> String {
    load(file, env, flags).expect_err("something is wrong in it").to_string()
}

#[test]
fn defaults_are_the_engines_own() {
    let config = Config::default();
    assert_eq!(config.engine.settings(), EngineSettings::default());
    assert_eq!(config.nats.url, "nats://127.0.0.1:4222");
    assert_eq!(config.streams.events_max_bytes, 4 << 30);
    assert_eq!(config.rules.paths, [PathBuf::from("rules")]);
    assert_eq!(config.worker.batch_wait, Duration::from_millis(50));
    assert_eq!(config.api.listen, Some(SocketAddr::from(([127, 0, 0, 1], 9464))));
    assert_eq!(config.log.format, LogFormat::Auto);
}

#[test]
fn every_setting_is_in_a_section_and_explained() {
    for setting in &SETTINGS {
        assert!(SECTIONS.iter().any(|section| section.name == setting.section()), "{}", setting.path);
        assert!(setting.comment.ends_with('.'), "{}", setting.path);
        assert_eq!(
            SETTINGS.iter().filter(|other| other.env() == setting.env()).count(),
            1,
            "{}",
            setting.path
        );
    }
}

#[test]
fn later_layers_win() {
    let file = "nats:\n  url: nats://file:1\n";
    let nats = [("NATS_URL", "nats://nats:1")];
    let both = [("SIGHTLINE_NATS_URL", "nats://own:1"), ("NATS_URL", "nats://nats:1")];
    let flag = [("nats.url", "nats://flag:1")];
    for (file, env, flags, url, origin) in [
        ("", &[][..], &[][..], "nats://127.0.0.1:4222", "default"),
        (file, &[], &[], "nats://file:1", "sightline.yaml:2:8"),
        (file, &nats, &[], "nats://nats:1", "env NATS_URL"),
        (file, &both, &[], "nats://own:1", "env SIGHTLINE_NATS_URL"),
        (file, &both, &flag, "nats://flag:1", "flag nats.url"),
    ] {
        let loaded = load(file, env, flags).expect("valid");
        assert_eq!(loaded.config.nats.url, url);
        let shown = loaded.origins.iter().find(|shown| shown.path == "nats.url").expect("shown");
        assert_eq!((shown.value.as_str(), shown.origin.to_string().as_str()), (url, origin));
    }
}

#[test]
fn every_error_is_told_at_once() {
    let file = "\
nats:
  ulr: nats://bus:4222
engine:
  lateness: 300
  coalesce: 5 minits
  sources:
    edr: {severity: hgih, clas: alert}
worker:
  partitions: 65
  batch_messages: [1]
streams:
  events_max_bytes: 64mb
lateness: 5m
log:
  level: inof
";
    let env = [
        ("SIGHTLINE_STATE_DRI", "/x"),
        ("SIGHTLINE_API_LISTEN", "9464"),
        ("SIGHTLINE_DATA", "/data"),
        ("SIGHTLINE_TEST_SIM_SEEDS", "7"),
    ];
    let told = errors(file, &env, &[("rules.path", "x"), ("rules.paths", "")]);
    for expected in [
        "error: unknown setting `ulr`\n  --> sightline.yaml:2:3\n  = help: did you mean `nats.url`?",
        "error: engine.lateness: `300` has no unit\n  --> sightline.yaml:4:13\n  = help: write 300s",
        "error: engine.coalesce: `5 minits` is no duration\n  --> sightline.yaml:5:13\n  = help: expected a duration",
        "error: severity of source `edr`: `hgih` is not known\n  --> sightline.yaml:7:21\n  = help: expected info, low, medium",
        "error: unknown field `clas` of source `edr`\n  --> sightline.yaml:7:27\n  = help: did you mean `class`?",
        "error: worker.partitions: `65` is out of range\n  --> sightline.yaml:9:15\n  = help: expected a whole number from 1 to 64",
        "error: worker.batch_messages: found a list\n  --> sightline.yaml:10:19",
        "error: streams.events_max_bytes: `64mb` is no size\n  --> sightline.yaml:12:21",
        "error: unknown setting `lateness`\n  --> sightline.yaml:13:1\n  = help: did you mean `engine.lateness`?",
        "error: log.level: `inof` is not known\n  --> sightline.yaml:15:10\n  = help: did you mean `info`?",
        "error: api.listen: `9464` is no address\n  --> env SIGHTLINE_API_LISTEN",
        "error: unknown environment variable `SIGHTLINE_STATE_DRI`\n  --> env SIGHTLINE_STATE_DRI\n  = help: did you mean `SIGHTLINE_STATE_DIR`?",
        "error: rules.paths: an empty text\n  --> flag rules.paths",
        "error: unknown setting `rules.path`\n  --> flag rules.path\n  = help: did you mean `rules.paths`?",
    ] {
        assert!(told.contains(expected), "missing:\n{expected}\n\nin:\n{told}");
    }
    assert_eq!(told.matches("error: ").count(), 14, "{told}");
}

#[test]
fn a_source_has_a_name_that_a_subject_can_hold() {
    let long = "x".repeat(129);
    let told = errors(&format!("engine:\n  sources: {{{long}: {{}}}}\n"), &[], &[]);
    assert!(told.contains("cannot be a source\n  --> sightline.yaml:2:13"), "{told}");
}

#[test]
fn broken_yaml_is_told_with_its_place_beside_the_other_errors() {
    let told = errors("nats:\n  url: [\n", &[("SIGHTLINE_WORKER_PARTITIONS", "0")], &[]);
    assert!(told.contains("--> sightline.yaml:"), "{told}");
    assert!(told.contains("worker.partitions: `0` is out of range"), "{told}");
    assert!(errors("- a\n", &[], &[]).contains("the file is a list"));
    assert!(errors("nats: 5\n", &[], &[]).contains("section `nats` is a single value"));
    let twice = errors("log:\n  level: info\n  level: warn\n", &[], &[]);
    assert!(twice.contains("level") && twice.contains("sightline.yaml:3:3"), "{twice}");
}

#[test]
fn a_file_that_is_not_there_is_an_error() {
    let missing = std::path::Path::new("no/such/file.yaml");
    let told = Config::load(Some(missing), std::iter::empty(), &[]).expect_err("not there").to_string();
    assert!(
        told.contains("cannot read the settings file") && told.contains("--> no/such/file.yaml"),
        "{told}"
    );
}

#[test]
fn template_and_show_read_back_to_the_same_settings() {
    let defaults = load("", &[], &[]).expect("defaults are valid");
    assert_eq!(load(&template(), &[], &[]).expect("the template is valid").config, defaults.config);
    let changed = load(
        "rules: {paths: [a b, 'c#d']}\nengine:\n  sources: {edr: {severity: high}}\nnats: {name: 'yes: #'}\n",
        &[("SIGHTLINE_API_LISTEN", "")],
        // Characters that stand in JSON as they are, and not in YAML.
        &[("worker.partitions", "4"), ("rules.paths", "a\u{9f}b\u{feff}"), ("rules.paths", "c\u{2028}d")],
    )
    .expect("valid");
    assert_eq!(load(&changed.origins.show(), &[], &[]).expect("valid").config, changed.config);
}

#[test]
fn secrets_are_shown_nowhere() {
    let secret = "hunter2";
    let file = format!(
        "nats:\n  url: nats://me:{secret}{secret},{secret}@bus:4222,tls://{secret}@other\n  user: me\n  password: {secret}\n"
    );
    let loaded = load(&file, &[], &[]).expect("valid");
    assert_eq!(loaded.config.nats.password.as_deref(), Some(secret));
    let shown = loaded.origins.show();
    assert!(shown.contains("password: \"***\"") && shown.contains("nats://***@other"), "{shown}");
    for text in [shown, format!("{loaded:?}"), format!("{:?}", loaded.config)] {
        assert!(!text.contains(secret), "{text}");
    }
    for wrong in [
        format!("nats:\n  password: [{secret}]\n"),
        format!("nats:\n  pasword: {secret}\n"),
        format!("nats:\n  password: {secret}\n  worng: x\n"),
        format!("nats:\n  password: \"{secret}\n"),
        format!("nats:\n  password: {secret}\n  password: {secret}\n"),
        format!("nats: {secret}\n"),
        format!("password: {secret}\n"),
        format!("nats: {{url: 'http://me:{secret}@bus'}}\n"),
    ] {
        let told = load(&wrong, &[], &[]).expect_err("wrong");
        assert!(!told.to_string().contains(secret) && !format!("{told:?}").contains(secret), "{told}");
    }
    let told = errors("", &[("SIGHTLINE_NATS_PASWORD", secret), ("NATS_PASSWORD", secret)], &[]);
    assert!(told.contains("nats.password without nats.user") && !told.contains(secret), "{told}");
}

#[test]
fn numbers_keep_the_text_they_were_written_in() {
    let file = "nats:\n  user: 0x10\n  password: 1e3\n  name: 007\n";
    let nats = load(file, &[], &[]).expect("valid").config.nats;
    assert_eq!(nats.user.as_deref(), Some("0x10"));
    assert_eq!(nats.password.as_deref(), Some("1e3"));
    assert_eq!(nats.name, "007");
}

#[test]
fn lists_and_maps_can_be_given_as_text() {
    let env = [
        ("SIGHTLINE_RULES_PATHS", "a, b/c"),
        ("SIGHTLINE_ENGINE_SOURCES", "{sentrafim: {severity: high}, edr: {kind: alert, require: [host_id]}}"),
    ];
    let config = load("", &env, &[]).expect("valid").config;
    assert_eq!(config.rules.paths, [PathBuf::from("a"), PathBuf::from("b/c")]);
    let fim = &config.engine.sources["sentrafim"];
    assert_eq!((fim.severity, fim.require.as_slice()), (Severity::High, &["host_id".to_owned()][..]));
    let flags = [("rules.paths", "x,y"), ("rules.paths", "z")];
    let config = load("", &env[..1], &flags).expect("valid").config;
    assert_eq!(config.rules.paths, [PathBuf::from("x,y"), PathBuf::from("z")]);
}

#[test]
fn two_ways_to_log_in_are_refused() {
    let told = errors("nats:\n  token: t\n", &[("NATS_CREDS", "a.creds"), ("NATS_CERT", "c.pem")], &[]);
    assert!(told.contains("nats.creds_file and nats.token are two ways to log in"), "{told}");
    assert!(told.contains("nats.tls_cert without nats.tls_key"), "{told}");
}

#[test]
fn no_mistake_in_yaml_shows_a_secret() {
    for written in [
        "*hunter2",
        "!hunter2 x",
        "!!int hunter2",
        "@hunter2",
        "%hunter2",
        "&hunter2",
        "'hunter2",
        "{hunter2",
        "|hunter2",
        "? hunter2",
        "hunter2: x",
        "hunter2\n\tx: 1",
        "hunter2\n--- \na: b",
        "\"\\hunter2\"",
        "!!binary hunter2",
        "<<: *hunter2",
    ] {
        let file = format!("log: {{level: loud}}\nnats:\n  user: me\n  password: {written}\n");
        let told = load(&file, &[], &[]).expect_err("wrong in one way or another");
        assert!(!told.to_string().contains("hunter2") && !format!("{told:?}").contains("hunter2"), "{told}");
    }
}
