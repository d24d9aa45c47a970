//! Names in titles and descriptions: each must be one of the rule's own.

use crate::rule::diagnostic::nearest;
use crate::rule::draft::{DraftStep, Problems};
use crate::rule::plan::{KeyPart, Need};
use crate::rule::template::{Name, OfStep, names};
use crate::rule::tree::Node;

/// Says which names of a text are none.
pub(crate) fn check_names(
    node: &Node,
    text: &str,
    by: &[KeyPart],
    steps: &[DraftStep],
    problems: &mut Problems<'_>,
) {
    let near = |written: &str, known: Vec<&str>| match nearest(written, known.iter().copied()) {
        Some(near) => format!("did you mean `{near}`?"),
        None => format!("there is {}", known.join(", ")),
    };
    for written in names(text) {
        let message = format!("`{written}` names nothing of this rule");
        let mut unknown = |label: &str, help: String| {
            problems.error(&node.span, message.clone(), label, Some(help));
        };
        match Name::parse(written) {
            Err(help) => unknown("not known", help),
            Ok(Name::Key(part)) if !by.iter().any(|known| known.name == part) => {
                unknown("no part of the key", near(&part, by.iter().map(|it| it.name.as_str()).collect()));
            }
            Ok(Name::Step(step, what)) => match steps.iter().find(|known| known.name.value == step) {
                None => {
                    unknown("no step", near(&step, steps.iter().map(|it| it.name.value.as_str()).collect()));
                }
                Some(step) if what == OfStep::Values => {
                    if !matches!(step.need.value, Need::Values(_) | Need::New(_)) {
                        unknown("this step counts no values", "say `.count`, or `.fields.NAME`".into());
                    }
                }
                Some(_) => {}
            },
            Ok(_) => {}
        }
    }
    if text.matches("{{").count() != names(text).len() {
        let help = "write `{{count}}`";
        problems.error(&node.span, "a name that is not closed", "`{{` without `}}`", Some(help.into()));
    }
}
