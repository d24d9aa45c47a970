//! Named lists: values that rules look up by a name, from a file beside the rules or from the rule file itself.
//!
//! A rule says `field_equals: {"sha256|list": bad_hashes}`. Before it is understood, the values are put in the place of
//! the name, so nothing behind here knows of lists. The files of lists travel with the rules: a list is reloaded as rules
//! are, by a message in the log.

use std::collections::HashMap;

use crate::limits::{LIST_FILE_BYTES_MAX, LIST_VALUES_MAX, LISTS_MAX};
use crate::rule::diagnostic::{Source, nearest};
use crate::rule::draft::Problems;
use crate::rule::tree::{self, Kind, Named, Node};

/// The lists of a set of rules, by name.
#[derive(Debug, Default)]
pub(crate) struct Lists(HashMap<String, Named>);

/// The files of lists that a rule file names, as it names them: they lie beside it.
pub fn files_named_by(text: &str) -> Vec<String> {
    // Most files name none, and there may be thousands of them.
    if !text.contains("lists:") {
        return Vec::new();
    }
    let Ok(roots) = tree::read_all(text) else { return Vec::new() };
    let file = |(_, list): &(Node, Node)| list.member("file").and_then(Node::scalar_text);
    let lists = roots.iter().filter_map(|root| root.member("lists"));
    let files = lists.flat_map(|lists| match &lists.kind {
        Kind::Map(members) => members.iter().filter_map(file).collect(),
        _ => Vec::new(),
    });
    files.collect()
}

/// The name of a file that lies beside the rule file of that name; `None` where it would lie elsewhere.
pub fn beside(rule_file: &str, name: &str) -> Option<String> {
    let stays =
        !name.is_empty() && !name.starts_with('/') && !name.split(['/', '\\']).any(|part| part == "..");
    let folder = rule_file.rfind('/').map_or("", |at| &rule_file[..=at]);
    stays.then(|| format!("{folder}{name}"))
}

/// Whether this is a file of rules, not of values.
pub(crate) fn is_rule_file(name: &str) -> bool {
    let ending = name.rsplit_once('.').map(|(_, ending)| ending);
    // Rules that come from elsewhere than a folder have names without an ending.
    matches!(ending, None | Some("yaml" | "yml")) || ending.is_some_and(|ending| ending.contains('/'))
}

impl Lists {
    /// Takes in `lists:` of a rule file.
    pub(crate) fn read(&mut self, node: &Node, files: &[Source], problems: &mut Problems<'_>) {
        let Kind::Map(members) = &node.kind else {
            let help = "write `lists:` with `name: [value, …]`, or `name: {file: values.txt}`";
            problems.error(&node.span, "`lists` must name lists", "expected named values", Some(help.into()));
            return;
        };
        for (key, value) in members {
            let Some(name) = problems.text(key, "lists") else { continue };
            if self.0.contains_key(&name) {
                let help = "a list is known to the rules of all files: give each a name of its own";
                problems.error(
                    &key.span,
                    format!("two lists are named `{name}`"),
                    "the second one",
                    Some(help.into()),
                );
                continue;
            }
            if self.0.len() >= LISTS_MAX {
                problems.error(&key.span, "too many lists", format!("at most {LISTS_MAX}"), None);
                return;
            }
            let Some(values) = values(value, files, problems) else { continue };
            if values.len() > LIST_VALUES_MAX {
                let message = format!("a list of {} values", values.len());
                problems.error(&value.span, message, format!("at most {LIST_VALUES_MAX}"), None);
                continue;
            }
            let mut hash = blake3::Hasher::new();
            for value in &values {
                hash.update(&(value.len() as u64).to_le_bytes());
                hash.update(value.as_bytes());
            }
            let digest = hash.finalize().to_hex().as_str()[..32].into();
            self.0.insert(name.clone(), Named { name, values: values.into(), digest });
        }
    }

    /// Puts the values of lists in the place of their names.
    pub(crate) fn put_in(&self, node: &mut Node, problems: &mut Problems<'_>) {
        match &mut node.kind {
            Kind::List(items) => items.iter_mut().for_each(|item| self.put_in(item, problems)),
            Kind::Map(members) => {
                for (key, value) in members {
                    let names_list = matches!(&key.kind, Kind::Text(name) if name.split('|').skip(1).any(|part| part == "list"));
                    match names_list {
                        true => self.replace(value, problems),
                        false => self.put_in(value, problems),
                    }
                }
            }
            _ => {}
        }
    }

    fn replace(&self, node: &mut Node, problems: &mut Problems<'_>) {
        let names: Vec<(String, std::ops::Range<usize>)> =
            problems.texts(node, "list").into_iter().map(|text| (text.value, text.span)).collect();
        let mut found: Vec<&Named> = Vec::new();
        for (name, span) in &names {
            match self.0.get(name) {
                Some(list) => found.push(list),
                None => {
                    let help = match nearest(name, self.0.keys().map(String::as_str)) {
                        Some(near) => format!("did you mean `{near}`?"),
                        None => "name it in `lists:` of a rule file".to_owned(),
                    };
                    problems.error(span, format!("there is no list `{name}`"), "not known", Some(help));
                }
            }
        }
        let list = match found.as_slice() {
            [] => return,
            [one] => (*one).clone(),
            many => {
                let join = |part: fn(&Named) -> &str| {
                    many.iter().map(|list| part(list)).collect::<Vec<_>>().join("+")
                };
                let values: Vec<String> = many.iter().flat_map(|list| list.values.iter().cloned()).collect();
                Named {
                    name: join(|list| &list.name),
                    values: values.into(),
                    digest: join(|list| &list.digest).into(),
                }
            }
        };
        node.kind = Kind::Named(list);
    }
}

/// The values written in the rule file, or those of the file that it names.
fn values(node: &Node, files: &[Source], problems: &mut Problems<'_>) -> Option<Vec<String>> {
    if let Kind::List(_) = node.kind {
        return Some(problems.texts(node, "lists").into_iter().map(|text| text.value).collect());
    }
    let members = problems.members(node, "a list", &["file", "values"]);
    match members.as_slice() {
        [("values", _, node)] => {
            Some(problems.texts(node, "values").into_iter().map(|text| text.value).collect())
        }
        [("file", _, node)] => {
            let name = problems.text(node, "file")?;
            let Some(path) = beside(&files[problems.file].name, &name) else {
                let label = "expected a name without `..`, from the folder of this file";
                problems.error(&node.span, "the file of a list lies beside the rules", label, None);
                return None;
            };
            let Some(file) = files.iter().find(|file| file.name == path) else {
                let help = format!("put the values into `{name}` beside this file, one a line");
                problems.error(&node.span, format!("there is no file `{path}`"), "not there", Some(help));
                return None;
            };
            if file.text.len() > LIST_FILE_BYTES_MAX {
                let message = format!("a list of {} bytes", file.text.len());
                problems.error(&node.span, message, format!("at most {LIST_FILE_BYTES_MAX}"), None);
                return None;
            }
            let lines = file.text.lines().map(str::trim);
            let values: Vec<String> =
                lines.filter(|line| !line.is_empty() && !line.starts_with('#')).map(str::to_owned).collect();
            if values.is_empty() {
                problems.error(&node.span, format!("`{path}` holds no value"), "nothing can match it", None);
            }
            Some(values)
        }
        _ => {
            let help = "write `[value, …]` or `{file: values.txt}`";
            problems.error(&node.span, "a list without values", "this one", Some(help.into()));
            None
        }
    }
}
