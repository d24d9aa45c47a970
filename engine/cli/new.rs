//! `sightline new`: a rule to begin with, which passes `check`, and whose tests pass.

use std::io::Write;
use std::path::PathBuf;

use anyhow::Context;

use crate::cli::exit::{CliError, Exit};

/// What sort of rule, and where to write it.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// When the rule is complete
    pattern: Pattern,
    /// The rule's id: letters, digits, `_`, `-` and `.`
    id: String,
    /// A file that is not there yet; standard output where it is left out
    #[arg(short, long, value_name = "FILE")]
    out: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Pattern {
    /// One thing after the other
    Sequence,
    /// Several things in any order
    AllOf,
    /// The same thing many times
    Count,
    /// Many different values of a field
    Distinct,
    /// A sum of numbers
    Sum,
    /// Where most of the numbers lie: an average, a median or a percentile
    Percentile,
    /// A value that a key never had before
    FirstSeen,
    /// One thing, and not what must follow it
    Absence,
    /// Sources that name the same value in different fields
    Join,
    /// Something after the completion of another rule
    Chain,
    /// Several rules that share one incident
    Group,
}

/// What all begin with: the modeline gives completions in editors that know YAML schemas, once `sightline schema` wrote it.
const HEAD: &str = "# yaml-language-server: $schema=schema.json\nrules:\n";

/// Prints a rule, or writes it to a file.
///
/// # Errors
/// When the id is none, or the file is there or cannot be written.
pub fn run(args: &Args) -> Result<Exit, CliError> {
    let fine = !args.id.is_empty()
        && args.id.len() <= 100
        && args.id.chars().all(|letter| letter.is_ascii_alphanumeric() || "_-.".contains(letter));
    if !fine {
        let help = "use letters, digits, `_`, `-` and `.`, at most 100 of them";
        return Err(CliError::Usage(format!("{:?} cannot be an id: {help}", args.id)));
    }
    let text = text(args.pattern, &args.id);
    match &args.out {
        None => write!(std::io::stdout(), "{text}")?,
        Some(path) => {
            let file = std::fs::OpenOptions::new().write(true).create_new(true).open(path);
            let written = file.and_then(|mut file| file.write_all(text.as_bytes()));
            written.with_context(|| format!("cannot write {}", path.display()))?;
            writeln!(
                std::io::stderr(),
                "{}: try it with `sightline test {}`",
                path.display(),
                path.display()
            )?;
        }
    }
    Ok(Exit::Done)
}

fn text(pattern: Pattern, id: &str) -> String {
    let body = match pattern {
        Pattern::Sequence => SEQUENCE,
        Pattern::AllOf => ALL_OF,
        Pattern::Count => COUNT,
        Pattern::Distinct => DISTINCT,
        Pattern::Sum => SUM,
        Pattern::Percentile => PERCENTILE,
        Pattern::FirstSeen => FIRST_SEEN,
        Pattern::Absence => ABSENCE,
        Pattern::Join => JOIN,
        Pattern::Chain => CHAIN,
        Pattern::Group => GROUP,
    };
    format!("{HEAD}{}", body.replace("ID", id))
}

const SEQUENCE: &str = r#"  - id: ID
    title: Failed logons, then one that succeeds
    description: What it means, and what to do about it.
    severity: high
    window: 10m            # all evidence of a match lies within it, in event time
    ordered: true          # one step after the other
    by: [host_id, user]    # one window for each user on each host
    tags: [attack.credential_access, attack.t1110]
    steps:
      - name: failures
        match: {source: edr, kind: logon, field_equals: {outcome: failure}}
        min_count: 3
      - name: success
        match: {source: edr, kind: logon, field_equals: {outcome: success}}
    tests:
      - name: three failures, then a success
        events:
          - {at: 0s, as: f, source: edr, kind: logon, host_id: web-01, user: alice, fields: {outcome: failure}, times: 3, every: 10s}
          - {at: 1m, as: ok, source: edr, kind: logon, host_id: web-01, user: alice, fields: {outcome: success}}
        expect:
          - {key: [web-01, alice], severity: high, evidence: {failures: 3, success: [ok]}}
      - name: the success comes first
        events:
          - {at: 0s, source: edr, kind: logon, host_id: web-01, user: alice, fields: {outcome: success}}
          - {at: 1m, source: edr, kind: logon, host_id: web-01, user: alice, fields: {outcome: failure}, times: 3, every: 10s}
        expect: none
"#;

const ALL_OF: &str = r#"  - id: ID
    title: A suspicious process, and a connection to a bad domain
    description: What it means, and what to do about it.
    severity: high
    window: 5m             # all evidence of a match lies within it, in event time
    by: host_id            # one window for each host
    steps:                 # in any order
      - name: process
        match: {source: edr, kind: process_start, tags_any: [suspicious]}
      - name: connection
        match: {source: network, kind: network_conn, tags_any: [bad_domain]}
    tests:
      - name: both within five minutes
        events:
          - {at: 0s, source: network, kind: network_conn, host_id: web-01, tags: [bad_domain]}
          - {at: 5m, source: edr, kind: process_start, host_id: web-01, tags: [suspicious]}
        expect: [{key: web-01, count: 2}]
      - name: on two hosts
        events:
          - {at: 0s, source: network, kind: network_conn, host_id: web-01, tags: [bad_domain]}
          - {at: 5m, source: edr, kind: process_start, host_id: web-02, tags: [suspicious]}
        expect: none
"#;

const COUNT: &str = r#"  - id: ID
    title: Many failed logons of one user
    description: What it means, and what to do about it.
    severity: medium
    window: 5m             # all evidence of a match lies within it, in event time
    by: user               # one window for each user
    steps:
      - name: failures
        match: {source: edr, kind: logon, field_equals: {outcome: failure}}
        min_count: 10
    tests:
      - name: ten failures
        events:
          - {at: 0s, source: edr, kind: logon, user: alice, fields: {outcome: failure}, times: 10, every: 20s}
        expect: [{key: alice, count: 10}]
      - name: nine failures
        events:
          - {at: 0s, source: edr, kind: logon, user: alice, fields: {outcome: failure}, times: 9, every: 20s}
        expect: none
"#;

const DISTINCT: &str = r#"  - id: ID
    title: Many users fail to log on from one address
    description: What it means, and what to do about it.
    severity: medium
    window: 10m            # all evidence of a match lies within it, in event time
    by: src_ip             # one window for each address
    steps:
      - name: failures
        match: {source: edr, kind: logon, field_equals: {outcome: failure}}
        distinct: {field: user, at_least: 5}
    tests:
      - name: five users
        events:
          - {at: 0s, source: edr, kind: logon, user: 'user{n}', fields: {outcome: failure, src_ip: 10.0.0.9}, times: 5, every: 1m}
        expect: [{key: 10.0.0.9, count: 5}]
      - name: one user five times
        events:
          - {at: 0s, source: edr, kind: logon, user: alice, fields: {outcome: failure, src_ip: 10.0.0.9}, times: 5, every: 1m}
        expect: none
"#;

const SUM: &str = r#"  - id: ID
    title: One host sends very much
    description: What it means, and what to do about it.
    severity: medium
    window: 1h             # all evidence of a match lies within it, in event time
    late: 2m               # a sum waits so long for late events before it is said
    by: host_id            # one window for each host
    steps:
      - name: sent
        match: {source: network, kind: network_conn}
        sum: {field: bytes_out, gte: 1000000}
    tests:
      - name: a million bytes
        events:
          - {at: 0s, source: network, kind: network_conn, host_id: web-01, fields: {bytes_out: 250000}, times: 4, every: 1m}
        expect: [{key: web-01}]
      - name: less
        events:
          - {at: 0s, source: network, kind: network_conn, host_id: web-01, fields: {bytes_out: 249999}, times: 4, every: 1m}
        expect: none
"#;

const PERCENTILE: &str = r#"  - id: ID
    title: A host asks at a steady pace
    description: What it means, and what to do about it.
    severity: medium
    window: 1h             # all evidence of a match lies within it, in event time
    late: 2m               # what a later event can undo waits so long before it is said
    distinct_events: false # an event counts for both steps
    by: [host_id, domain]  # one window for each domain that each host asks
    steps:
      - name: enough
        match: {source: network, kind: dns}
        min_count: 5
      - name: pace         # nine of ten pauses are at most 61 seconds; also `avg`, `median`, `min` and `max`
        match: {source: network, kind: dns}
        percentile: {field: pause_s, percent: 90, gte: 59, lte: 61}
    tests:
      - name: once a minute
        events:
          - {at: 0s, source: network, kind: dns, host_id: web-01, fields: {domain: c2.example, pause_s: 60}, times: 5, every: 1m}
        expect: [{key: [web-01, c2.example]}]
      - name: as people do
        events:
          - {at: 0s, source: network, kind: dns, host_id: web-01, fields: {domain: c2.example, pause_s: 7}, times: 4, every: 7s}
          - {at: 5m, source: network, kind: dns, host_id: web-01, fields: {domain: c2.example, pause_s: 300}}
        expect: none
"#;

const FIRST_SEEN: &str = r#"  - id: ID
    title: A user comes from a country for the first time
    description: What it means, and what to do about it.
    severity: low
    late: 2m               # waits so long for late events before it is said
    by: user               # what is new is new to the user
    steps:
      - name: logon
        match: {source: idp, kind: auth.login.success}
        first_seen: {field: country, learn: 7d, forget: 60d}
    tests:
      - name: a new country after a week at home
        events:
          - {at: 0s, source: idp, kind: auth.login.success, user: alice, fields: {country: PT}, times: 8, every: 1d}
          - {at: 8d, as: abroad, source: idp, kind: auth.login.success, user: alice, fields: {country: VN}}
        expect: [{key: alice}]
      - name: always at home
        events:
          - {at: 0s, source: idp, kind: auth.login.success, user: alice, fields: {country: PT}, times: 9, every: 1d}
        expect: none
"#;

const ABSENCE: &str = r#"  - id: ID
    title: A backup began and did not end
    description: What it means, and what to do about it.
    severity: medium
    late: 2m               # waits so long behind the deadline for late events before it is said
    ordered: true          # one step after the other
    by: host_id            # one deadline for each host
    steps:
      - name: began
        match: {source: backup, kind: backup_began}
      - name: ended
        match: {source: backup, kind: backup_ended}
        absent: true       # must not follow
        within: 4h         # the deadline; where `backup` says nothing at all until then, the incident says that nobody knows
    tests:
      - name: it never ends
        events:
          - {at: 0s, as: began, source: backup, kind: backup_began, host_id: db-01}
        expect: [{key: db-01, evidence: {began: [began]}}]
      - name: it ends in time
        events:
          - {at: 0s, source: backup, kind: backup_began, host_id: db-01}
          - {at: 4h, source: backup, kind: backup_ended, host_id: db-01}
        expect: none
"#;

const JOIN: &str = r#"  - id: ID
    title: A finding on a value that a feed lists
    description: What it means, and what to do about it.
    severity: high
    window: 1h             # all evidence of a match lies within it, in event time
    by: [{name: value, as: value}]   # one window for each value, whatever it is
    steps:
      - name: listed
        match: {source: iris, kind: ioc}
        by: {value: value}           # the field that holds it here
      - name: found
        match: {source: sentry, kind: finding}
        by: {value: ioc_value}       # and here
    tests:
      - name: the same address
        events:
          - {at: 0s, source: iris, kind: ioc, fields: {value: 10.0.5.13}}
          - {at: 10m, source: sentry, kind: finding, fields: {ioc_value: 10.0.5.13}}
        expect: [{key: 10.0.5.13, count: 2}]
      - name: another one
        events:
          - {at: 0s, source: iris, kind: ioc, fields: {value: 10.0.5.13}}
          - {at: 10m, source: sentry, kind: finding, fields: {ioc_value: 10.0.5.14}}
        expect: none
"#;

const CHAIN: &str = r#"  - id: ID.spray
    title: Many users fail to log on from one address
    severity: low
    window: 10m
    by: src_ip
    steps:
      - name: failures
        match: {source: edr, kind: logon, field_equals: {outcome: failure}}
        distinct: {field: user, at_least: 5}
    tests:
      - name: five users
        events:
          - {at: 0s, source: edr, kind: logon, user: 'user{n}', fields: {outcome: failure, src_ip: 10.0.0.9}, times: 5, every: 1m}
        expect: [{key: 10.0.0.9}]
      - name: four users
        events:
          - {at: 0s, source: edr, kind: logon, user: 'user{n}', fields: {outcome: failure, src_ip: 10.0.0.9}, times: 4, every: 1m}
        expect: none

  - id: ID
    title: Password spray, then a logon from the same address
    description: What it means, and what to do about it.
    severity: high
    window: 1h
    ordered: true
    by: src_ip
    steps:
      - name: spray
        rule: ID.spray     # the completion of that rule
      - name: logon
        match: {source: edr, kind: logon, field_equals: {outcome: success}}
    tests:
      - name: a spray, then a logon
        events:
          - {at: 0s, source: edr, kind: logon, user: 'user{n}', fields: {outcome: failure, src_ip: 10.0.0.9}, times: 5, every: 1m}
          - {at: 30m, source: edr, kind: logon, user: user3, fields: {outcome: success, src_ip: 10.0.0.9}}
        expect: [{key: 10.0.0.9, severity: high, evidence: {spray: 1, logon: 1}}]
      - name: a logon from another address
        events:
          - {at: 0s, source: edr, kind: logon, user: 'user{n}', fields: {outcome: failure, src_ip: 10.0.0.9}, times: 5, every: 1m}
          - {at: 30m, source: edr, kind: logon, user: user3, fields: {outcome: success, src_ip: 10.0.0.8}}
        expect: none
"#;

const GROUP: &str = r#"  - id: ID.dump
    title: A credential dump on {{key.host_id}}
    description: What it means, and what to do about it.
    severity: high
    group: ID              # rules of a group share one incident for a key, so their keys are the same
    window: 1h
    by: host_id
    steps:
      - name: dump
        match: {source: edr, kind: process_access, field_ends_with: {target: '\lsass.exe'}}
    tests:
      - name: an access to lsass
        events:
          - {at: 0s, source: edr, kind: process_access, host_id: web-01, fields: {target: 'C:\Windows\lsass.exe'}}
        expect: [{key: web-01, severity: high}]
      - name: an access to something else
        events:
          - {at: 0s, source: edr, kind: process_access, host_id: web-01, fields: {target: 'C:\Windows\notepad.exe'}}
        expect: none

  - id: ID.tool
    title: A tool for that on {{key.host_id}}
    description: What it means, and what to do about it.
    severity: medium
    group: ID
    window: 1h
    by: host_id
    steps:
      - name: tool
        match: {source: edr, kind: process_start, field_contains: {command_line: sekurlsa}}
    tests:
      - name: the tool, and what it does
        events:
          - {at: 0s, as: tool, source: edr, kind: process_start, host_id: web-01, fields: {command_line: 'm.exe sekurlsa'}}
          - {at: 1m, as: dump, source: edr, kind: process_access, host_id: web-01, fields: {target: 'C:\Windows\lsass.exe'}}
        expect: [{key: web-01, count: 2}]
      - name: another program
        events:
          - {at: 0s, source: edr, kind: process_start, host_id: web-01, fields: {command_line: notepad.exe}}
        expect: none
"#;
