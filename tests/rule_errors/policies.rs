//! What is wrong with what a rule does about what it finds.

use crate::{expect, problems};

#[test]
fn policies_say_what_they_cannot_be() {
    let rule = |policy: &str| {
        format!("rules:\n  - id: one\n    {policy}\n    steps: [{{name: a, match: {{kind: x}}}}]\n")
    };
    let cases = [
        ("severity_at: [{severity: high}]", "a threshold that says too much or too little", "events: 100"),
        ("severity_at: [{events: 3, severity: hihg}]", "`hihg` is no severity", "did you mean `high`?"),
        ("severity_at: [{values: 3, severity: high}]", "`values` of which step?", "step: users"),
        ("coalesce: 5", "`coalesce` is no length of time", "`5s`"),
        ("suppress: {by: user, for: 1h}", "`suppress` holds for the rule's own key", "generate: false"),
        ("suppress: {}", "`suppress` without `for`", "for: 1h"),
        ("on_rematch: again", "`on_rematch` cannot be `again`", "reopen"),
        ("keep_closed: [fixed]", "`keep_closed` where nothing is reopened", "on_rematch: reopen"),
        ("evidence: {max: 1000}", "`max` has a value", "from 2 to 200"),
        ("generate: maybe", "`generate` has a value", "true or false"),
        ("except: [{match: {user: x}, reason: y}]", "unknown key `user` in `match`", "known here"),
        ("except: [{match: {kind: x}}]", "an exception needs `match` and `reason`", "reason: nightly job"),
        ("except: [{match: {kind: x}, reason: y, expires: soon}]", "`expires` is no time", "2026-12-31"),
        ("attack: {tactics: [T1071]}", "`T1071` is no id of `tactics`", "TA0011"),
        ("attack: {techniques: [TA0011]}", "`TA0011` is no id of `techniques`", "T1071"),
        ("title: '{{key.user}}'", "`key.user` names nothing of this rule", "host_id"),
        ("title: '{{step.b.count}}'", "`step.b.count` names nothing of this rule", "there is a"),
        ("title: '{{step.a.values}}'", "`step.a.values` names nothing of this rule", ".count"),
        ("description: '{{what}}'", "`what` names nothing of this rule", "key.PART"),
        ("title: '{{count'", "a name that is not closed", "{{count}}"),
    ];
    for (policy, message, hint) in &cases {
        let (files, problems) = problems(&rule(policy));
        let said = problems.iter().any(|problem| {
            let help = format!("{} {}", problem.label, problem.help.as_deref().unwrap_or_default());
            problem.message.contains(message) && help.contains(hint) && problem.line_and_column(&files).0 == 3
        });
        assert!(said, "{policy}: {problems:?}");
    }
    let fine = rule(
        "on_rematch: reopen\n    keep_closed: [fixed]\n    except: [{match: {kind: y}, reason: z, expires: 2026-12-31}]",
    );
    expect(&fine, &[]);
}
