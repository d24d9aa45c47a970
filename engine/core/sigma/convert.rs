//! Sigma rules as the text of native ones, for people who go on with them by hand.

use crate::rule::diagnostic::{Diagnostic, Source};
use crate::rule::draft::Problems;
use crate::rule::tree::{self, Kind, Node};
use crate::sigma::document::CARRIED;
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
    let left_out = roots.iter().flat_map(|(_, root)| left_out(root)).collect();
    let rules: Vec<Node> =
        rule::translate(roots, &mapping, &mut problems).into_iter().map(|(_, rule)| rule).collect();
    if !problems.is_empty() {
        return Err(problems);
    }
    let text = print::print(&map(vec![("rules", list(rules, &(0..0)))], &(0..0)));
    Ok(Converted { text, left_out })
}

/// What a document says that its translation does not.
fn left_out(root: &Node) -> Vec<String> {
    let Kind::Map(members) = &root.kind else { return Vec::new() };
    let name = ["title", "id"].iter().find_map(|name| root.member(name)?.scalar_text()).unwrap_or_default();
    let names = members.iter().filter_map(|(key, _)| key.scalar_text());
    names.filter(|key| !CARRIED.contains(&key.as_str())).map(|key| format!("{name}: `{key}`")).collect()
}
