//! Sigma rules as the text of native ones, for people who go on with them by hand.

use std::collections::BTreeSet;

use sightline_schemas::control::EngineSettings;

use crate::rule::check;
use crate::rule::diagnostic::{Diagnostic, Source};
use crate::rule::draft::Problems;
use crate::rule::tree::{self, Kind, Node};
use crate::sigma::document::CARRIED;
use crate::sigma::mapping::DIMENSIONS;
use crate::sigma::native::{list, map};
use crate::sigma::{Mapping, is_mapping, is_sigma, print, rule};

/// Native rules, and what of the Sigma rules they do not say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Converted {
    /// A native rule file.
    pub text: String,
    /// What could not be carried over, with the rule that says it.
    pub left_out: Vec<String>,
}

/// Translates Sigma rules and correlations under the mappings among the files.
///
/// # Errors
/// With everything in them that cannot be said natively, or is wrong.
pub fn convert(files: &[Source]) -> Result<Converted, Vec<Diagnostic>> {
    let mut problems = Vec::new();
    let mut mapping = Mapping::default();
    let mut roots: Vec<(usize, Node)> = Vec::new();
    for (file, source) in files.iter().enumerate() {
        let mut problems = Problems { file, all: &mut problems };
        match tree::read_all(&source.text) {
            Ok(documents) => {
                for root in documents {
                    if is_mapping(&root) {
                        mapping.read(&root, &mut problems);
                    } else if is_sigma(&root) {
                        roots.push((file, root));
                    } else {
                        let help = "a Sigma rule has `logsource` and `detection`, or `correlation`";
                        problems.error(
                            &root.span,
                            "this is no Sigma rule",
                            "this document",
                            Some(help.into()),
                        );
                    }
                }
            }
            Err(malformed) => {
                problems.error(&malformed.span, "this is no YAML that can be used", malformed.message, None);
            }
        }
    }
    let mut left_out: Vec<String> = roots.iter().flat_map(|(_, root)| left_out(root)).collect();
    let rules: Vec<Node> =
        rule::translate(roots, &mapping, &mut problems).into_iter().map(|(_, rule)| rule).collect();
    if !problems.is_empty() {
        return Err(problems);
    }
    let mut lists = BTreeSet::new();
    rules.iter().for_each(|rule| lists_named_by(rule, &mut lists));
    // What is native now must be what native rules may be. What lists hold does not matter to that.
    let named: String = lists.iter().map(|list| format!("  {}: [x]\n", print::quoted(list))).collect();
    let lists_file = Source { name: "lists.yaml".to_owned(), text: format!("lists:\n{named}") };
    let more = (!lists.is_empty()).then_some(lists_file);
    let all: Vec<Source> = files.iter().cloned().chain(more).collect();
    check(&all, &EngineSettings::default())?;
    let values =
        |list: String| format!("the values of `{list}`: name that list under `lists` beside these rules");
    left_out.extend(lists.into_iter().map(values));
    let text = print::print(&map(vec![("rules", list(rules, &(0..0)))], &(0..0)));
    Ok(Converted { text, left_out })
}

/// What a document says that its translation does not.
fn left_out(root: &Node) -> Vec<String> {
    let name = ["title", "id"].iter().find_map(|name| root.member(name)?.scalar_text()).unwrap_or_default();
    let own = keys(root).into_iter().filter(|key| !CARRIED.contains(&key.as_str()));
    let of_source = root.member("logsource").map(keys).unwrap_or_default();
    let of_source = of_source.into_iter().filter(|key| !DIMENSIONS.contains(&key.as_str()));
    let all = own.chain(of_source.map(|key| format!("logsource.{key}")));
    all.map(|key| format!("{name}: `{key}`")).collect()
}

fn keys(node: &Node) -> Vec<String> {
    match &node.kind {
        Kind::Map(members) => members.iter().filter_map(|(key, _)| key.scalar_text()).collect(),
        _ => Vec::new(),
    }
}

/// The named lists that a rule looks values up in: Sigma names them, and says nowhere what they hold.
fn lists_named_by(node: &Node, lists: &mut BTreeSet<String>) {
    match &node.kind {
        Kind::Map(members) => {
            for (key, value) in members {
                let is_list =
                    key.scalar_text().is_some_and(|key| key.split('|').skip(1).any(|it| it == "list"));
                match &value.kind {
                    Kind::List(names) if is_list => lists.extend(names.iter().filter_map(Node::scalar_text)),
                    _ if is_list => lists.extend(value.scalar_text()),
                    _ => lists_named_by(value, lists),
                }
            }
        }
        Kind::List(items) => items.iter().for_each(|item| lists_named_by(item, lists)),
        _ => {}
    }
}
