//! Every key of a rule file with what it is for and what it can hold: the layout has its order from here, and editors their
//! completions. A test keeps the names in step with those that the checker knows.

/// A key.
#[derive(Clone, Copy, Debug)]
pub struct Key {
    /// Its name.
    pub name: &'static str,
    /// What it is for, as an editor shows it.
    pub about: &'static str,
    /// What it can hold.
    pub shape: Shape,
}

/// What a key can hold.
#[derive(Clone, Copy, Debug)]
pub enum Shape {
    /// Text, or what reads as text.
    Text,
    /// One of these words.
    Words(&'static [&'static str]),
    /// True or false.
    Flag,
    /// A whole number.
    Count,
    /// A length of time.
    Duration,
    /// One text, or a list of them.
    Texts,
    /// Values by the name of a field: one, or a list of alternatives.
    ByField,
    /// Flags by the name of a field.
    FlagsByField,
    /// Numbers by the name of a field.
    NumbersByField,
    /// Named values with these keys.
    Block(&'static [Key]),
    /// A list of such.
    Blocks(&'static [Key]),
    /// A block of conditions.
    Conditions,
    /// A block of conditions, or a list of them.
    ConditionBlocks,
    /// A field, a list of fields, or parts written out.
    KeyParts,
    /// `none`, an incident, or a list of incidents.
    Expectations,
    /// Whatever the checker makes of it.
    Anything,
}

const fn key(name: &'static str, shape: Shape, about: &'static str) -> Key {
    Key { name, about, shape }
}

const SEVERITIES: &[&str] = &["info", "low", "medium", "high", "critical", "informational"];

/// Keys of a rule, in the order in which they are laid out.
pub const RULE: &[Key] = &[
    key("id", Shape::Text, "Letters, digits, `_`, `-` and `.`; unique over all files."),
    key("title", Shape::Text, "One line for people; the id where it is left out."),
    key("description", Shape::Text, "More for people: what it means, and what to do."),
    key("severity", Shape::Words(SEVERITIES), "How bad a match is; `low` where it is left out."),
    key(
        "severity_mode",
        Shape::Words(&["rule", "max"]),
        "`max`: the highest severity of the evidence instead.",
    ),
    key(
        "group",
        Shape::Text,
        "Rules of one group share one incident for a key; their `by` must be the same.",
    ),
    key(
        "window",
        Shape::Duration,
        "All evidence of a match lies within it, in event time; `5m` where it is left out.",
    ),
    key("late", Shape::Duration, "How late an event may arrive and still count in any order."),
    key("ordered", Shape::Flag, "`true`: the steps must happen in this order."),
    key(
        "distinct_events",
        Shape::Flag,
        "Whether each step takes events of its own where one could satisfy two.",
    ),
    key(
        "by",
        Shape::KeyParts,
        "The key: one window for each value. A field, a list of fields, or parts `{name: site, as: value}`.",
    ),
    key(
        "severity_at",
        Shape::Anything,
        "Thresholds that raise the severity: `[{events: 100, severity: high}]`.",
    ),
    key("coalesce", Shape::Duration, "Least log time between two updates of an incident."),
    key("suppress", Shape::Anything, "`{for: 1h}`: at most one incident opens for a key in that time."),
    key(
        "on_rematch",
        Shape::Words(&["new", "reopen"]),
        "What a match after an incident ended does: opens a new one, or reopens that one.",
    ),
    key("keep_closed", Shape::Texts, "Resolutions that are not reopened."),
    key(
        "evidence",
        Shape::Anything,
        "`{max: 24}`: how many pieces of evidence an incident lists for a step.",
    ),
    key(
        "generate",
        Shape::Flag,
        "`false`: it only feeds the rules that build on it, and opens no incidents.",
    ),
    key(
        "except",
        Shape::Anything,
        "Events that do not count: `[{match: …, reason: …, expires: 2026-12-31}]`.",
    ),
    key("attack", Shape::Anything, "ATT&CK: `{tactics: [TA0006], techniques: [T1110.003]}`."),
    key("references", Shape::Texts, "Where more is written about it."),
    key("false_positives", Shape::Texts, "What else looks like this."),
    key("author", Shape::Anything, "Who wrote it."),
    key("status", Shape::Anything, "How far it is: such as `experimental` or `stable`."),
    key("tags", Shape::Texts, "Labels, copied to incidents."),
    key("steps", Shape::Blocks(STEP), "What must happen."),
    key("until", Shape::Anything, "In a sequence: `{match: …}` of what ends one that has begun."),
    key("tests", Shape::Blocks(CASE), "What must come of some events: `sightline test` runs them."),
];

/// Keys of a step.
pub const STEP: &[Key] = &[
    key("name", Shape::Text, "Evidence names it."),
    key("match", Shape::Conditions, "What an event must have. All conditions must hold."),
    key("rule", Shape::Text, "Instead of `match`: the completion of that rule."),
    key("by", Shape::Anything, "`{user: subject_user}`: the field that holds this part of the key here."),
    key("min_count", Shape::Count, "How many events, at least."),
    key("max_count", Shape::Count, "How many events, at most."),
    key("count", Shape::Block(RANGE), "How many events: `{gte: 3, lt: 10}`."),
    key("distinct", Shape::Anything, "`{field: user, at_least: 5}`: how many distinct values."),
    key("sum", Shape::Anything, "`{field: bytes, gte: 1000000}`: what the numbers add up to."),
    key("avg", Shape::Anything, "`{field: bytes, gte: 1000}`: their average."),
    key("min", Shape::Anything, "`{field: bytes, lte: 10}`: the smallest."),
    key("max", Shape::Anything, "`{field: bytes, gte: 1000}`: the largest."),
    key("median", Shape::Anything, "`{field: bytes, gte: 1000}`: the middle one."),
    key("percentile", Shape::Anything, "`{field: bytes, percent: 95, gte: 1000}`."),
    key(
        "first_seen",
        Shape::Anything,
        "`{field: process, learn: 14d, forget: 32d}`: a value that this key did not have.",
    ),
    key("min_gap", Shape::Duration, "In a sequence: shortest time since the step before."),
    key("max_gap", Shape::Duration, "In a sequence: longest time since the step before."),
    key("absent", Shape::Flag, "In a sequence, `true`: it must not happen there."),
    key(
        "within",
        Shape::Duration,
        "Before the first or after the last step: for how long it must not happen.",
    ),
    key(
        "if_silent",
        Shape::Words(&["say", "drop", "ignore"]),
        "What to do where its source reported nothing meanwhile.",
    ),
    key("alive", Shape::Conditions, "Events that show that its source is alive."),
    key("show", Shape::Texts, "Fields that evidence shows, beside those that the rule reads."),
];

/// Conditions on a number.
pub const RANGE: &[Key] = &[
    key("gte", Shape::Anything, "At least."),
    key("gt", Shape::Anything, "More than."),
    key("lte", Shape::Anything, "At most."),
    key("lt", Shape::Anything, "Less than."),
    key("eq", Shape::Anything, "Exactly."),
    key("neq", Shape::Anything, "Anything but."),
    key("at_least", Shape::Anything, "At least."),
    key("at_most", Shape::Anything, "At most."),
];

/// Keys of a block of conditions.
pub const MATCH: &[Key] = &[
    key("source", Shape::Texts, "Who reports the event; a list is one of them."),
    key("kind", Shape::Texts, "What kind of event; a list is one of them."),
    key("class", Shape::Texts, "`event`, `alert`, `finding`, `indicator`, `anomaly`, `report` or `note`."),
    key("tags_any", Shape::Texts, "One of these tags."),
    key("tags_all", Shape::Texts, "All of these tags."),
    key("field_equals", Shape::ByField, "Equal as text: the number 3 equals `\"3\"`."),
    key("field_in", Shape::ByField, "One of these."),
    key("field_contains", Shape::ByField, "Text that contains this."),
    key("field_starts_with", Shape::ByField, "Text that starts with this."),
    key("field_ends_with", Shape::ByField, "Text that ends with this."),
    key("field_like", Shape::ByField, "Text with wildcards: `*` is anything, `?` one character."),
    key("field_matches", Shape::ByField, "Text in which the regular expression finds something."),
    key("field_cidr", Shape::ByField, "An address in this network."),
    key("field_bits", Shape::ByField, "A number with all these bits set: `\"0x10\"`."),
    key("field_gt", Shape::NumbersByField, "A number greater than this."),
    key("field_gte", Shape::NumbersByField, "A number of at least this."),
    key("field_lt", Shape::NumbersByField, "A number less than this."),
    key("field_lte", Shape::NumbersByField, "A number of at most this."),
    key("field_between", Shape::ByField, "A number in `[least, greatest]`, ends included."),
    key("field_exists", Shape::FlagsByField, "`true`: it has a value; `false`: it has none."),
    key(
        "at",
        Shape::Anything,
        "The event happened then: `{time: \"22:00-06:00\", days: [sat, sun], zone: Europe/Berlin}`.",
    ),
    key("ignore_case", Shape::Flag, "The text conditions of this block ignore case."),
    key("as_text", Shape::Flag, "The text conditions of this block look into numbers and flags too."),
    key("any", Shape::ConditionBlocks, "One of these blocks must hold."),
    key("all", Shape::ConditionBlocks, "All of these blocks must hold."),
    key("not", Shape::ConditionBlocks, "None of these blocks may hold."),
];

/// Keys of a test.
pub const CASE: &[Key] = &[
    key("name", Shape::Text, "The fact that it states."),
    key("why", Shape::Text, "Why it is so, where that is not plain."),
    key("rule", Shape::Text, "In a file of tests: the rule."),
    key("base", Shape::Text, "The time from which times count."),
    key("events", Shape::Anything, "What comes in, each with `at` and its fields."),
    key("end", Shape::Text, "When the test ends; without it time goes on until nothing more can come."),
    key("expect", Shape::Expectations, "`none`, or all incidents of the rule that there must be."),
];

/// Keys of an expected incident.
pub const EXPECTED: &[Key] = &[
    key("rule", Shape::Text, "The rule that names it, where it is another one."),
    key("key", Shape::Anything, "A value, a list of values, or values by part."),
    key("severity", Shape::Words(SEVERITIES), "How bad it is."),
    key("count", Shape::Count, "How many events are evidence."),
    key("status", Shape::Text, "Where it stands."),
    key("title", Shape::Text, "Its title."),
    key("evidence", Shape::Anything, "For a step a number of events, or their names."),
    key("values", Shape::Anything, "For a step the distinct values that it counted."),
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rule::{draft, draft_case, draft_match, draft_need, draft_policy, draft_step};

    fn same(keys: &[Key], known: &[&str]) {
        let mut names: Vec<&str> = keys.iter().map(|key| key.name).collect();
        let mut known = known.to_vec();
        names.sort_unstable();
        known.sort_unstable();
        assert_eq!(
            names, known,
            "a key that the checker knows belongs into rule/keys.rs, with a line on what it is for"
        );
    }

    #[test]
    fn every_key_that_the_checker_knows_is_described() {
        let rule =
            [draft::RULE_KEYS.as_slice(), &draft_policy::POLICY_KEYS, &draft_policy::NOTE_KEYS].concat();
        same(RULE, &rule);
        same(STEP, &[draft_step::STEP_KEYS.as_slice(), &draft_need::NEED_KEYS].concat());
        same(MATCH, &draft_match::MATCH_KEYS);
        same(CASE, &draft_case::CASE_KEYS);
        same(EXPECTED, &draft_case::EXPECTED_KEYS);
        let wordy = |key: &&Key| !key.about.ends_with(['.', '`']);
        assert!(RULE.iter().chain(STEP).chain(MATCH).chain(CASE).find(wordy).is_none());
    }
}
