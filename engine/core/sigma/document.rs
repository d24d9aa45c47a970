//! A Sigma document: what it says of itself, beside its detection.

use std::ops::Range;

use crate::rule::draft::{Problems, RULE_KEYS};
use crate::rule::draft_policy::NOTE_KEYS;
use crate::rule::tree::{Kind, Node};
use crate::sigma::native::text;

/// What of a document is said by its translation: the rest is for those who keep the rule.
pub(crate) const CARRIED: [&str; 15] = [
    "title",
    "id",
    "name",
    "description",
    "author",
    "status",
    "level",
    "tags",
    "references",
    "falsepositives",
    "logsource",
    "detection",
    "correlation",
    "fields",
    "generate",
];

/// Whether a document is one of Sigma's.
pub(crate) fn is_sigma(root: &Node) -> bool {
    ["detection", "logsource", "correlation", "filter"].iter().any(|name| root.member(name).is_some())
}

/// What both sorts of Sigma rules say of themselves.
#[derive(Clone, Debug)]
pub(crate) struct Document {
    pub(crate) file: usize,
    pub(crate) root: Node,
    /// The id that the native rule has.
    pub(crate) id: Node,
    /// The names by which correlations know it.
    pub(crate) names: Vec<String>,
}

impl Document {
    pub(crate) fn read(file: usize, root: Node, problems: &mut Problems<'_>) -> Option<Self> {
        let words: Vec<&Node> = ["id", "name"].iter().filter_map(|name| root.member(name)).collect();
        let names: Vec<String> = words.iter().filter_map(|node| node.scalar_text()).collect();
        let title = root.member("title").and_then(Node::scalar_text);
        let id = match (words.first(), &title) {
            (Some(node), _) => text(slug(&node.scalar_text().unwrap_or_default()), &node.span),
            (None, Some(title)) => text(slug(title), &root.span),
            (None, None) => {
                let help = "add `title: …` and `id: …`, a UUID";
                problems.error(
                    &root.span,
                    "a Sigma rule without a name",
                    "no `id`, `name` or `title`",
                    Some(help.into()),
                );
                return None;
            }
        };
        if let Some(action) = root.member("action") {
            let help = "write each rule out in a document of its own";
            problems.error(
                &action.span,
                "`action` joins documents, which Sigma gave up",
                "not known",
                Some(help.into()),
            );
            return None;
        }
        Some(Document { file, root, id, names })
    }

    pub(crate) fn span(&self) -> &Range<usize> {
        &self.id.span
    }

    /// Title, description, severity and labels, under their native names.
    pub(crate) fn described(&self, problems: &mut Problems<'_>) -> Vec<(&'static str, Node)> {
        let mut members = vec![("id", self.id.clone())];
        for name in ["title", "description", "author", "status"].into_iter().filter(|name| knows(name)) {
            members.extend(
                self.root
                    .member(name)
                    .filter(|node| node.scalar_text().is_some())
                    .map(|node| (name, node.clone())),
            );
        }
        if let Some(level) = self.root.member("level") {
            let word = level.scalar_text().unwrap_or_default();
            match word.as_str() {
                "informational" | "low" | "medium" | "high" | "critical" => {
                    let word = if word == "informational" { "info" } else { &word };
                    members.push(("severity", text(word, &level.span)));
                }
                _ => {
                    let label = "expected informational, low, medium, high or critical";
                    problems.error(&level.span, format!("`{word}` is no level"), label, None);
                }
            }
        }
        for (sigma, native) in
            [("tags", "tags"), ("references", "references"), ("falsepositives", "false_positives")]
                .into_iter()
                .filter(|(_, native)| knows(native))
        {
            members.extend(self.root.member(sigma).and_then(listed).map(|node| (native, node)));
        }
        members
    }
}

/// Whether a native rule can say it.
fn knows(key: &str) -> bool {
    RULE_KEYS.contains(&key) || NOTE_KEYS.contains(&key)
}

/// A list with something in it; a text alone is a list of one.
fn listed(node: &Node) -> Option<Node> {
    match &node.kind {
        Kind::List(items) if items.is_empty() => None,
        Kind::List(items) => {
            let texts = items.iter().filter_map(|item| Some(text(item.scalar_text()?, &item.span)));
            Some(crate::sigma::native::list(texts.collect(), &node.span))
        }
        Kind::Null | Kind::Map(_) | Kind::Named(_) => None,
        _ => Some(crate::sigma::native::list(vec![node.clone()], &node.span)),
    }
}

/// An id of letters, digits, `_`, `-` and `.`.
pub(crate) fn slug(text: &str) -> String {
    let mut slug = String::new();
    for letter in text.trim().chars() {
        match letter {
            letter if letter.is_ascii_alphanumeric() || "_-.".contains(letter) => {
                slug.push(letter.to_ascii_lowercase())
            }
            _ if slug.ends_with('_') || slug.is_empty() => {}
            _ => slug.push('_'),
        }
        if slug.len() >= 100 {
            break;
        }
    }
    slug.trim_end_matches('_').to_owned()
}
