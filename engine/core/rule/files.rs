//! What rule files hold: native rules, named lists, Sigma's documents and their mappings. All come to native rules.

use crate::limits::RULE_FILE_BYTES_MAX;
use crate::rule::diagnostic::{Diagnostic, Source};
use crate::rule::draft::{self, Draft, Problems};
use crate::rule::lists::{Lists, is_rule_file};
use crate::rule::tree::{self, Kind, Node};
use crate::sigma;

/// The rules of all files, native ones first, in the order of the files.
pub(crate) fn drafts(files: &[Source], all: &mut Vec<Diagnostic>) -> Vec<Draft> {
    // All files first: a rule may use a list or a mapping that another file names.
    let mut lists = Lists::default();
    let mut mapping = sigma::Mapping::default();
    let mut native: Vec<(usize, Node)> = Vec::new();
    let mut foreign: Vec<(usize, Node)> = Vec::new();
    for (file, source) in files.iter().enumerate().filter(|(_, source)| is_rule_file(&source.name)) {
        for root in documents(file, source, all) {
            let mut problems = Problems { file, all: &mut *all };
            if sigma::is_mapping(&root) {
                mapping.read(&root, &mut problems);
            } else if sigma::is_sigma(&root) {
                foreign.push((file, root));
            } else {
                if let Some(node) = root.member("lists") {
                    lists.read(node, files, &mut problems);
                }
                native.push((file, root));
            }
        }
    }
    let mut drafts = Vec::new();
    for (file, mut root) in native {
        let mut problems = Problems { file, all: &mut *all };
        lists.put_in(&mut root, &mut problems);
        rules(&root, &mut drafts, &mut problems);
    }
    for (file, mut rule) in sigma::translate(foreign, &mapping, all) {
        let mut problems = Problems { file, all: &mut *all };
        lists.put_in(&mut rule, &mut problems);
        drafts.extend(draft::rule(&rule, &mut problems));
    }
    drafts
}

fn documents(file: usize, source: &Source, all: &mut Vec<Diagnostic>) -> Vec<Node> {
    let mut problems = Problems { file, all };
    if source.text.len() > RULE_FILE_BYTES_MAX {
        let message = format!("a rule file of {} bytes", source.text.len());
        problems.error(&(0..1), message, format!("at most {RULE_FILE_BYTES_MAX}"), Some("split it".into()));
        return Vec::new();
    }
    match tree::read_all(&source.text) {
        Ok(roots) => roots,
        Err(malformed) => {
            problems.error(&malformed.span, "this is no YAML that can be used", malformed.message, None);
            Vec::new()
        }
    }
}

/// The rules of a native file.
fn rules(root: &Node, drafts: &mut Vec<Draft>, problems: &mut Problems<'_>) {
    let members = problems.members(root, "a rule file", &["rules", "lists"]);
    let Some((_, _, rules)) = members.iter().find(|(key, _, _)| *key == "rules") else {
        if matches!(root.kind, Kind::Map(_)) && members.is_empty() {
            problems.error(
                &root.span,
                "a rule file without `rules`",
                "this file",
                Some("start it with `rules:`".into()),
            );
        }
        return;
    };
    match &rules.kind {
        Kind::List(items) => drafts.extend(items.iter().filter_map(|item| draft::rule(item, problems))),
        Kind::Null => {}
        other => {
            let label = format!("expected a list, found {}", other.describe());
            problems.error(&rules.span, "`rules` must be a list of rules", label, None);
        }
    }
}
