//! One row per way to begin.

use super::*;

fn facts(checkpoint: CheckpointFact, log: (&str, u64, u64), last_output: Option<(&str, u64)>) -> Facts {
    Facts {
        checkpoint,
        format: 2,
        log: LogFact { id: log.0.to_owned(), first_seq: log.1, last_seq: log.2 },
        last_output: last_output.map(|(id, seq)| OutputFact { log_id: id.to_owned(), at: at(seq) }),
        cleared: None,
    }
}

fn at(seq: u64) -> OutputAt {
    OutputAt { position: Position::new(seq, 3), ordinal: 1 }
}

fn found(log_id: &str, seq: u64) -> CheckpointFact {
    CheckpointFact::Found { log_id: log_id.to_owned(), seq, format: 2 }
}

fn fresh(from_seq: u64) -> Start {
    Start::Fresh { from_seq }
}

fn resume(from_seq: u64) -> Start {
    Start::Resume { from_seq }
}

fn rebuild(from_seq: u64, reason: Doubt) -> Start {
    Start::Rebuild { from_seq, reason }
}

fn damaged() -> CheckpointFact {
    CheckpointFact::Damaged("bad sum".to_owned())
}

/// Checks start, gap, the sequence up to which to be silent, and whether the outputs are doubted.
#[track_caller]
fn check(facts: Facts, start: Start, gap: Option<(u64, u64)>, silent: Option<u64>, output_ahead: bool) {
    let decision = decide(&facts);
    assert_eq!(decision.start, start, "{facts:?}");
    assert_eq!(decision.gap, gap.map(|(first, last)| Gap { first, last }), "{facts:?}");
    assert_eq!(decision.silent_until.map(|at| at.position.seq), silent, "{facts:?}");
    assert_eq!(decision.output_doubt.is_some(), output_ahead, "{facts:?}");
}

#[test]
fn without_a_checkpoint() {
    let none = CheckpointFact::None;
    check(facts(none.clone(), ("a", 1, 0), None), fresh(1), None, None, false);
    check(facts(none.clone(), ("a", 1, 50), None), fresh(1), None, None, false);
    // A new worker on an old stream has missed nothing that it was there for.
    check(facts(none.clone(), ("a", 20, 50), None), fresh(20), None, None, false);
    check(facts(none.clone(), ("a", 20, 50), Some(("old", 900))), fresh(20), None, None, false);
    // Outputs of this log prove that there was one before.
    check(
        facts(none.clone(), ("a", 1, 50), Some(("a", 30))),
        rebuild(1, Doubt::Missing),
        None,
        Some(30),
        false,
    );
    check(
        facts(none, ("a", 20, 50), Some(("a", 30))),
        rebuild(20, Doubt::Missing),
        Some((1, 19)),
        Some(30),
        false,
    );
}

#[test]
fn with_a_checkpoint_that_was_cleared_away_and_none_since() {
    let cleared =
        |of: &str, log| Facts { cleared: Some(of.to_owned()), ..facts(CheckpointFact::None, log, None) };
    check(cleared("a", ("a", 20, 50)), rebuild(20, Doubt::Missing), Some((1, 19)), None, false);
    check(cleared("old", ("a", 20, 50)), fresh(20), None, None, false);
    // The next checkpoint proves as much.
    let since = Facts { cleared: Some("a".to_owned()), ..facts(found("a", 40), ("a", 20, 50), None) };
    check(since, resume(41), None, None, false);
    // What is answered for once is answered for still: each start notes it before it clears.
    assert!(decide(&cleared("a", ("a", 20, 50))).has_past);
    assert!(decide(&facts(damaged(), ("a", 1, 50), None)).has_past);
    assert!(!decide(&facts(found("old", 40), ("a", 5, 50), None)).has_past);
    assert!(!decide(&cleared("old", ("a", 20, 50))).has_past);
}

#[test]
fn with_a_good_checkpoint() {
    check(facts(found("a", 40), ("a", 1, 50), None), resume(41), None, None, false);
    check(facts(found("a", 40), ("a", 1, 50), Some(("a", 45))), resume(41), None, Some(45), false);
    check(facts(found("a", 50), ("a", 1, 50), Some(("a", 45))), resume(51), None, Some(45), false);
    check(facts(found("a", 0), ("a", 1, 0), None), resume(1), None, None, false);
    // Outputs of a log that is gone say nothing about this one.
    check(facts(found("a", 40), ("a", 1, 50), Some(("old", 900))), resume(41), None, None, false);
}

#[test]
fn the_log_no_longer_reaches_back() {
    check(facts(found("a", 40), ("a", 41, 50), None), resume(41), None, None, false);
    check(facts(found("a", 40), ("a", 42, 50), None), resume(42), Some((41, 41)), None, false);
    check(facts(found("a", 40), ("a", 48, 50), Some(("a", 45))), resume(48), Some((41, 47)), Some(45), false);
    // Purged altogether: nothing to read yet.
    check(facts(found("a", 40), ("a", 51, 50), None), resume(51), Some((41, 50)), None, false);
    check(facts(found("a", 50), ("a", 51, 50), None), resume(51), None, None, false);
}

#[test]
fn state_that_is_refused() {
    let bad = Doubt::Damaged("bad sum".to_owned());
    check(facts(damaged(), ("a", 1, 50), Some(("a", 30))), rebuild(1, bad.clone()), None, Some(30), false);
    check(facts(damaged(), ("a", 20, 50), None), rebuild(20, bad), Some((1, 19)), None, false);

    let replaced = Doubt::LogReplaced { was: "old".to_owned(), is: "a".to_owned() };
    check(
        facts(found("old", 40), ("a", 1, 50), Some(("old", 39))),
        rebuild(1, replaced.clone()),
        None,
        None,
        false,
    );
    check(facts(found("old", 40), ("a", 5, 50), None), rebuild(5, replaced.clone()), None, None, false);
    // A worker without this checkpoint was already at work on the new log.
    let at_work = facts(found("old", 40), ("a", 5, 50), Some(("a", 7)));
    check(at_work, rebuild(5, replaced), Some((1, 4)), Some(7), false);

    let ahead = Doubt::StateAhead { seq: 60, last_seq: 50 };
    check(
        facts(found("a", 60), ("a", 1, 50), Some(("a", 45))),
        rebuild(1, ahead.clone()),
        None,
        Some(45),
        false,
    );
    check(facts(found("a", 60), ("a", 9, 50), None), rebuild(9, ahead), Some((1, 8)), None, false);

    let older = CheckpointFact::Found { log_id: "a".to_owned(), seq: 40, format: 1 };
    let format = Doubt::Format { found: 1, expected: 2 };
    check(facts(older, ("a", 1, 50), None), rebuild(1, format), None, None, false);
}

#[test]
fn outputs_ahead_of_the_log_do_not_swallow_what_comes_next() {
    let lost_tail = facts(found("a", 40), ("a", 1, 50), Some(("a", 55)));
    check(lost_tail.clone(), resume(41), None, Some(50), true);
    let next = OutputAt { position: Position::new(51, 0), ordinal: 0 };
    let last = OutputAt { position: Position::new(50, 7), ordinal: 9 };
    let silent = decide(&lost_tail).silent_until.expect("there are outputs");
    assert!(last <= silent && next > silent);
    let ahead = Doubt::StateAhead { seq: 60, last_seq: 50 };
    check(facts(found("a", 60), ("a", 1, 50), Some(("a", 60))), rebuild(1, ahead), None, Some(50), true);
}

#[test]
fn reasons_say_what_was_found() {
    let replaced = Doubt::LogReplaced { was: "x".to_owned(), is: "y".to_owned() };
    assert_eq!(replaced.to_string(), "the input log was replaced: the checkpoint is of x, the log is y");
    let ahead = Doubt::StateAhead { seq: 9, last_seq: 7 };
    assert_eq!(
        ahead.to_string(),
        "the checkpoint holds message 9, the input log ends at 7: the server lost its tail"
    );
}
