//! Every bound of the core, with its unit and its reason.

/// Rules in one set. More than SigmaHQ has (3,141), by a factor of ten.
pub const RULES_MAX: usize = 32_768;
/// Bytes of one rule file: the largest public rule collections stay below it in one file.
pub const RULE_FILE_BYTES_MAX: usize = 4 << 20;
/// Steps in one rule. Nobody reads a rule of more.
pub const STEPS_MAX: usize = 32;
/// Places in a sequence, a step with `min_count: 3` taking three: the search looks back once per place.
pub const SEQUENCE_PLACES_MAX: usize = 64;
/// Events that distinct steps may take together: the assignment of events to steps is a matching of that size.
pub const DISTINCT_EVENTS_MAX: u32 = 64;
/// Threshold of a count: that many hits are kept for a key.
pub const COUNT_MAX: u32 = 100_000;
/// Parts of a key.
pub const KEY_PARTS_MAX: usize = 8;
/// Bytes of one normalised key value. A longer one is cut and ends in its hash.
pub const KEY_VALUE_BYTES_MAX: usize = 256;
/// Keys that one event reaches in one step, when a key field is a list: enough for a domain controller's addresses.
pub const KEYS_PER_HIT_MAX: usize = 64;
/// Longest window, in microseconds: 90 days, the longest horizon of the systems served.
pub const WINDOW_MAX_MICROS: i64 = 90 * 24 * 3_600 * 1_000_000;
/// Shortest window, in microseconds: below a millisecond clocks say nothing.
pub const WINDOW_MIN_MICROS: i64 = 1_000;
/// Window of a rule that names none, in microseconds: SentraCore's five minutes.
pub const WINDOW_DEFAULT_MICROS: i64 = 300 * 1_000_000;
/// How deep rules may build on the completions of rules.
pub const CHAIN_DEPTH_MAX: usize = 8;
/// Pieces of evidence that an incident lists for a step at either end: the first ones and the last ones.
pub const EVIDENCE_ENDS: usize = 12;
/// Sources, hosts, users or counted values that an incident lists: the first ones in order of text.
pub const LISTED_VALUES_MAX: usize = 64;
/// Bytes of a field's value in evidence. A longer one is cut.
pub const SHOWN_VALUE_BYTES_MAX: usize = 256;
/// Fields shown with a piece of evidence.
pub const SHOWN_FIELDS_MAX: usize = 16;
/// Incidents remembered for one key, active or not: older ones live on downstream.
pub const INCIDENTS_PER_KEY_MAX: usize = 64;
/// Former ids that an incident still answers to.
pub const FORMER_IDS_MAX: usize = 64;
/// Comparisons that a step may make for every event, whatever the event is, before people are warned; a regular expression
/// counts ten. So many take about as long as reading the event does.
pub const UNINDEXED_WORK_MAX: usize = 8;
/// Compiled size of one regular expression, in bytes: bounds the time to load a rule and the memory to hold it. `\w{1,64}`,
/// which SigmaHQ has, takes more than 1 MiB.
pub const REGEX_BYTES_MAX: usize = 4 << 20;
/// How deep `any`, `all` and `not` may nest in a rule.
pub const CONDITION_DEPTH_MAX: usize = 16;
/// How deep lists and maps of a rule file may nest: conditions as deep as they may be, each a list in a map, and what stands
/// around them. A reader of them stands on the stack once a level.
pub const YAML_DEPTH_MAX: usize = 2 * CONDITION_DEPTH_MAX + 12;
/// Bytes of a rule's title: one line.
pub const TITLE_BYTES_MAX: usize = 512;
/// Bytes of a rule's description: it goes with every message of an incident.
pub const DESCRIPTION_BYTES_MAX: usize = 16 << 10;
/// Tags of a rule: they go with every message of an incident.
pub const TAGS_MAX: usize = 64;
/// Rules of one group: the place in it is remembered in a byte.
pub const GROUP_RULES_MAX: usize = 255;
/// Values that a first-seen rule remembers for one key, in 16 bytes each: the programs of a busy host, several times over.
pub const FIRST_SEEN_VALUES_MAX: usize = 16_384;
/// How long a first-seen rule learns where it does not say, in microseconds: two weeks hold two of every weekday.
pub const FIRST_SEEN_LEARN_DEFAULT_MICROS: i64 = 14 * 24 * 3_600 * 1_000_000;
/// After what time a value counts as new again where a rule does not say, in microseconds: a month holds what happens
/// monthly.
pub const FIRST_SEEN_FORGET_DEFAULT_MICROS: i64 = 32 * 24 * 3_600 * 1_000_000;
/// Named lists in one set of rules.
pub const LISTS_MAX: usize = 1_024;
/// Values of one named list: more than the largest public lists of indicators hold.
pub const LIST_VALUES_MAX: usize = 1_000_000;
/// Bytes of the file of a named list: it travels with the rules in one message.
pub const LIST_FILE_BYTES_MAX: usize = 32 << 20;
/// Messages of one test of a rule: more than any threshold takes.
pub const CASE_EVENTS_MAX: usize = 200_000;
/// Events that nearly satisfied a step and are kept while somebody asks why a rule is not complete: the nearest ones.
pub const NEAR_MISSES_MAX: usize = 64;
/// Tactics and techniques that an incident names: a campaign has a few dozen.
pub const ATTACK_IDS_MAX: usize = 64;
/// Pieces of evidence that a rule may ask to be listed for a step.
pub const EVIDENCE_MAX: u32 = 200;
/// Exceptions of one rule: each is asked of every event that satisfies a step.
pub const EXCEPTIONS_MAX: usize = 256;
/// Thresholds at which a rule raises its severity.
pub const RAISES_MAX: usize = 16;
/// Bytes that an allocation takes beside what was asked for: the estimates of memory reckon with it.
pub const ALLOCATION_BYTES: usize = 16;
/// Bytes of one value put into a title or description.
pub const TEMPLATE_VALUE_BYTES_MAX: usize = 128;
