//! The layers, one over the other: defaults, file, `NATS_…`, `SIGHTLINE_…`, flags. Goes on after an error, so that
//! all of them are told at once.

use std::collections::BTreeMap;
use std::path::Path;

use super::errors::{ConfigError, ConfigErrors, Origin, nearest, quoted};
use super::settings_table::{ENV_NATS, ENV_OTHER, ENV_PREFIX, ENV_TEST_PREFIX, SECTIONS, SETTINGS, Setting};
use super::show::{Origins, Shown};
use super::sources;
use super::typed::Config;
use super::value::{Kind, Value, Wrong};
use super::yaml::{self, Content, Entry, Node};

/// The settings, and where each came from.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// The settings.
    pub config: Config,
    /// Where each came from.
    pub origins: Origins,
}

impl Config {
    /// Reads the settings: defaults, then `file`, then `NATS_…` and `SIGHTLINE_…` of `env`, then `flags` as
    /// `(path, value)` such as `("nats.url", "nats://bus:4222")`; flags of a list add up to one list.
    ///
    /// # Errors
    /// With everything that is wrong, in any layer, even where a later layer overrides it.
    pub fn load(
        file: Option<&Path>,
        env: impl Iterator<Item = (String, String)>,
        flags: &[(String, String)],
    ) -> Result<Loaded, ConfigErrors> {
        let text = file.map(|path| (path.display().to_string(), std::fs::read_to_string(path)));
        let mut loader = Loader::default();
        match text {
            None => {}
            Some((name, Ok(text))) => loader.file(&name, &text),
            Some((name, Err(error))) => loader.wrong(
                Wrong::new(format!("cannot read the settings file: {error}"), ""),
                Origin::file(&name, None),
            ),
        }
        loader.rest(env, flags)
    }

    /// As [`Config::load`], with the text of a file called `name`.
    ///
    /// # Errors
    /// As [`Config::load`].
    pub fn load_text(
        name: &str,
        text: &str,
        env: impl Iterator<Item = (String, String)>,
        flags: &[(String, String)],
    ) -> Result<Loaded, ConfigErrors> {
        let mut loader = Loader::default();
        loader.file(name, text);
        loader.rest(env, flags)
    }
}

impl Default for Config {
    fn default() -> Self {
        Loader::default().rest(std::iter::empty(), &[]).expect("the defaults in the table are valid").config
    }
}

/// This process's environment, for [`Config::load`]. Unlike `std::env::vars` it does not panic where a variable of
/// some other program is not UTF-8.
pub fn environment() -> impl Iterator<Item = (String, String)> {
    std::env::vars_os()
        .filter_map(|(name, text)| Some((name.into_string().ok()?, text.to_string_lossy().into_owned())))
}

/// The values that were given or are the default, by path.
#[derive(Default)]
pub(super) struct Values(BTreeMap<&'static str, Value>);

impl Values {
    /// The value of a declared setting.
    pub fn get(&self, path: &str) -> &Value {
        self.0.get(path).expect("every setting has a default and is declared in the table")
    }
}

#[derive(Default)]
struct Loader {
    given: BTreeMap<&'static str, (Value, Shown)>,
    errors: Vec<ConfigError>,
}

impl Loader {
    fn rest(
        mut self,
        env: impl Iterator<Item = (String, String)>,
        flags: &[(String, String)],
    ) -> Result<Loaded, ConfigErrors> {
        self.env(env);
        self.flags(flags);
        self.contradictions();
        if !self.errors.is_empty() {
            return Err(ConfigErrors(self.errors));
        }
        let mut values = Values::default();
        let mut origins = Vec::with_capacity(SETTINGS.len());
        for setting in &SETTINGS {
            let (value, shown) = self.given.remove(setting.path).unwrap_or_else(|| default_of(setting));
            values.0.insert(setting.path, value);
            origins.push(shown);
        }
        Ok(Loaded { config: Config::from_values(&values), origins: Origins(origins) })
    }

    fn wrong(&mut self, wrong: Wrong, origin: Origin) {
        self.errors.push(ConfigError { message: wrong.message, origin, help: wrong.help });
    }

    fn file(&mut self, name: &str, text: &str) {
        let root = match yaml::parse(text) {
            Ok(root) => root,
            Err(error) => {
                let help = "the file is one YAML map of sections, as `sightline config template` prints it; \
                            put a text with special characters in quotes";
                return self.wrong(Wrong::new(error.message, help), Origin::file(name, error.at));
            }
        };
        let file = Origin::file(name, None);
        for Entry { key, key_at, value } in self.entries(&root, "the file", &file) {
            if !SECTIONS.iter().any(|section| section.name == key) {
                self.unknown(key, key, file.at(*key_at));
                continue;
            }
            for entry in self.entries(value, &format!("section `{key}`"), &file) {
                let path = format!("{key}.{}", entry.key);
                match Setting::find(&path) {
                    Some(_) if matches!(entry.value.content, Content::Null) => {}
                    Some(setting) => self.node(setting, &entry.value, file.at(entry.value.at)),
                    None => self.unknown(&path, &entry.key, file.at(entry.key_at)),
                }
            }
        }
    }

    /// The entries of what has to be a map, or nothing and an error.
    fn entries<'n>(&mut self, node: &'n Node, what: &str, file: &Origin) -> &'n [Entry] {
        match &node.content {
            Content::Map(entries) => entries,
            Content::Null => &[],
            other => {
                let message = format!("{what} is {}", other.noun());
                self.wrong(Wrong::new(message, "expected a map"), file.at(node.at));
                &[]
            }
        }
    }

    fn env(&mut self, env: impl Iterator<Item = (String, String)>) {
        let (mut nats, mut own) = (Vec::new(), Vec::new());
        for (name, text) in env {
            let other = ENV_OTHER.contains(&name.as_str()) || name.starts_with(ENV_TEST_PREFIX);
            if name.starts_with(ENV_PREFIX) && !other {
                own.push((name, text));
            } else if let Some((_, path)) = ENV_NATS.iter().find(|(nats, _)| *nats == name) {
                nats.push((name, *path, text));
            }
        }
        // The environment comes in no order; errors should.
        own.sort();
        for (name, path, text) in nats {
            // Set to nothing in a container file means not set, as NATS's own tools have it.
            if let (Some(setting), false) = (Setting::find(path), text.is_empty()) {
                self.text(setting, &text, Origin::Env(name));
            }
        }
        for (name, text) in own {
            match SETTINGS.iter().find(|setting| setting.env() == name) {
                Some(setting) => self.text(setting, &text, Origin::Env(name)),
                None => {
                    let names: Vec<String> =
                        SETTINGS.iter().map(Setting::env).chain(ENV_OTHER.map(str::to_owned)).collect();
                    let help = match nearest(&name, names.iter().map(String::as_str)) {
                        Some(near) => format!("did you mean `{near}`?"),
                        None => {
                            "it is SIGHTLINE_<SECTION>_<NAME>; `sightline config show` lists all settings"
                                .to_owned()
                        }
                    };
                    let message = format!("unknown environment variable {}", quoted(&name));
                    self.wrong(Wrong::new(message, help), Origin::Env(name));
                }
            }
        }
    }

    fn flags(&mut self, flags: &[(String, String)]) {
        let mut lists: BTreeMap<&'static str, Vec<String>> = BTreeMap::new();
        for (path, text) in flags {
            let origin = Origin::Flag(path.clone());
            match Setting::find(path) {
                None => self.unknown(path, path, origin),
                Some(setting) if setting.kind == Kind::Paths && text.trim().is_empty() => {
                    let wrong = Wrong::new("an empty text", format!("expected {}", setting.kind.expected()));
                    self.wrong_value(setting, wrong, origin);
                }
                Some(setting) if setting.kind == Kind::Paths && !text.trim_start().starts_with('[') => {
                    lists.entry(setting.path).or_default().push(text.clone());
                }
                Some(setting) => self.text(setting, text, origin),
            }
        }
        for (path, items) in lists {
            if let Some(setting) = Setting::find(path) {
                self.set(setting, Value::List(items), Origin::Flag(path.to_owned()), "");
            }
        }
    }

    /// A value that is given as one text: lists separated by commas, or lists and maps as YAML on one line.
    fn text(&mut self, setting: &'static Setting, text: &str, origin: Origin) {
        match setting.kind {
            Kind::Paths if !text.trim_start().starts_with('[') => {
                let items =
                    text.split(',').map(|item| item.trim().to_owned()).filter(|item| !item.is_empty());
                self.set(setting, Value::List(items.collect()), origin, "");
            }
            Kind::Paths | Kind::Sources => match yaml::parse(text) {
                Ok(node) => self.node(setting, &node, origin),
                Err(error) => {
                    let message = format!("{}: {}", setting.path, error.message);
                    self.wrong(Wrong::new(message, format!("expected {}", setting.kind.expected())), origin);
                }
            },
            _ => self.single(setting, text, origin),
        }
    }

    fn node(&mut self, setting: &'static Setting, node: &Node, origin: Origin) {
        match (&node.content, setting.kind) {
            (_, Kind::Sources) => {
                if let Some(value) = sources::read(node, &origin, &mut self.errors) {
                    self.set(setting, value, origin, "");
                }
            }
            (_, Kind::Paths) => match sources::list(node) {
                Ok(items) => self.set(setting, Value::List(items), origin, ""),
                Err(wrong) => self.wrong_value(setting, wrong, origin),
            },
            (Content::Scalar(text), _) => self.single(setting, text, origin),
            (other, kind) => {
                let wrong =
                    Wrong::new(format!("found {}", other.noun()), format!("expected {}", kind.expected()));
                self.wrong_value(setting, wrong, origin);
            }
        }
    }

    fn single(&mut self, setting: &'static Setting, text: &str, origin: Origin) {
        match setting.kind.read(text) {
            Ok(value) => self.set(setting, value, origin, text),
            Err(wrong) => self.wrong_value(setting, wrong, origin),
        }
    }

    fn wrong_value(&mut self, setting: &Setting, wrong: Wrong, origin: Origin) {
        let message = format!("{}: {}", setting.path, wrong.message);
        self.wrong(Wrong::new(message, wrong.help), origin);
    }

    fn set(&mut self, setting: &'static Setting, value: Value, origin: Origin, text: &str) {
        let shown = Shown::new(setting, &value, text, origin);
        self.given.insert(setting.path, (value, shown));
    }

    /// `path` is what was meant as a whole, `written` what stands there.
    fn unknown(&mut self, path: &str, written: &str, origin: Origin) {
        let name = path.rsplit('.').next().unwrap_or(path);
        let section = path.split_once('.').map(|(section, _)| section);
        // Within the section first, then the same name elsewhere, then anything near.
        let near = section
            .and_then(|section| {
                let own = SETTINGS.iter().filter(|setting| setting.section() == section);
                let name = nearest(name, own.map(Setting::name))?;
                Setting::find(&format!("{section}.{name}")).map(|setting| setting.path)
            })
            .or_else(|| SETTINGS.iter().find(|setting| setting.name() == name).map(|setting| setting.path))
            .or_else(|| nearest(path, SETTINGS.iter().map(|setting| setting.path)))
            .or_else(|| nearest(path, SECTIONS.iter().map(|section| section.name)));
        let help = match (near, section) {
            (Some(near), _) => format!("did you mean `{near}`?"),
            (None, Some(section)) if SECTIONS.iter().any(|known| known.name == section) => {
                let own = SETTINGS.iter().filter(|setting| setting.section() == section);
                format!("`{section}` has {}", own.map(Setting::name).collect::<Vec<_>>().join(", "))
            }
            _ => format!(
                "the sections are {}",
                SECTIONS.iter().map(|section| section.name).collect::<Vec<_>>().join(", ")
            ),
        };
        self.wrong(Wrong::new(format!("unknown setting {}", quoted(written)), help), origin);
    }

    /// What each setting allows and all of them together do not.
    fn contradictions(&mut self) {
        let origin = |path: &str| {
            let (value, shown) = self.given.get(path)?;
            (*value != Value::Unset).then(|| shown.origin.clone())
        };
        let mut found = Vec::new();
        let logins: Vec<(&str, Origin)> =
            ["nats.creds_file", "nats.nkey_seed_file", "nats.user", "nats.token"]
                .into_iter()
                .filter_map(|path| origin(path).map(|origin| (path, origin)))
                .collect();
        if let [(first, first_from), .., (last, last_from)] = &logins[..] {
            let message = format!("{first} and {last} are two ways to log in");
            let help = format!("keep one of them; {first} is from {first_from}");
            found.push((Wrong::new(message, help), last_from.clone()));
        }
        if let (Some(_), Some(from)) = (origin("api.token"), origin("api.token_file")) {
            found.push((Wrong::new("api.token and api.token_file are two tokens", "keep one of them"), from));
        }
        for (path, needs) in [
            ("nats.password", "nats.user"),
            ("nats.tls_cert", "nats.tls_key"),
            ("nats.tls_key", "nats.tls_cert"),
            ("api.tls_cert", "api.tls_key"),
            ("api.tls_key", "api.tls_cert"),
            ("api.tls_client_ca", "api.tls_cert"),
        ] {
            if let (Some(from), None) = (origin(path), origin(needs)) {
                found
                    .push((Wrong::new(format!("{path} without {needs}"), format!("give {needs} too")), from));
            }
        }
        for (wrong, origin) in found {
            self.wrong(wrong, origin);
        }
    }
}

/// The default, read like anything else.
fn default_of(setting: &'static Setting) -> (Value, Shown) {
    let mut loader = Loader::default();
    loader.text(setting, setting.default, Origin::Default);
    loader.given.remove(setting.path).expect("the defaults in the table are valid")
}
