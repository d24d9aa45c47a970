//! Lines of the Linux audit log: `type=SYSCALL msg=audit(1364481363.243:24287): arch=c000003e syscall=2 success=no …`.
//!
//! What happened once is told in several lines, which have the same time and serial: the call, its arguments, the directory,
//! the files. They become one record, whose members are those of the first line that has them; `types` names the lines.
//!
//! The form is that of <https://github.com/linux-audit/audit-documentation/wiki/SPEC-Audit-Event-Enrichment>: a `node=` may
//! stand before, fields in quotes inside `msg='…'` are fields, too, and behind the byte 0x1d come the words that numbers
//! stand for (`UID="root"`).

use std::collections::HashMap;

use bytes::Bytes;
use serde_json::{Map, Value};
use sightline_schemas::edge::{Reason, Reject};

use super::{Record, sockaddr};
use crate::mapping::convert::unhex;

/// Fields that the kernel writes in hexadecimal where they hold blanks, quotes or more than ASCII.
const MAY_BE_HEX: [&str; 12] =
    ["proctitle", "exe", "comm", "name", "cwd", "cmd", "data", "acct", "key", "dir", "path", "watch"];

/// Types of lines behind which none of the same event comes.
const LAST: [&str; 2] = ["PROCTITLE", "EOE"];
/// What the types of lines begin with that programs write, and not the kernel: each is an event alone.
const ALONE: [&str; 8] = ["USER_", "CRED_", "SERVICE_", "DAEMON_", "SYSTEM_", "GRP_", "ADD_", "DEL_"];
/// Members that name the event and not what a line says of it.
const NAMING: [&str; 4] = ["type", "node", "time", "serial"];

/// What lines of one event have in common, as bytes of a line: the node, the time and the serial.
pub fn stamp(line: &[u8]) -> Option<(&[u8], &[u8])> {
    let begins = find(line, b"msg=audit(")? + b"msg=audit(".len();
    let stamp = &line[begins..begins + find(&line[begins..], b")")?];
    let node = line.strip_prefix(b"node=").and_then(|rest| rest.split(|byte| *byte == b' ').next());
    Some((node.unwrap_or_default(), stamp))
}

/// Whether no further line of the event of this one is to come.
pub fn is_last(line: &[u8]) -> bool {
    let Some(begins) = find(line, b"type=") else { return false };
    let name = line[begins + b"type=".len()..].split(|byte| *byte == b' ').next().unwrap_or_default();
    LAST.iter().any(|last| name == last.as_bytes())
        || ALONE.iter().any(|alone| name.starts_with(alone.as_bytes()))
}

fn find(bytes: &[u8], what: &[u8]) -> Option<usize> {
    bytes.windows(what.len()).position(|window| window == what)
}

/// The lines of one event.
type Lines = Vec<Map<String, Value>>;

/// Reads lines: those of one event become one record, in the place of its first line.
pub fn events(text: &str) -> Vec<Record> {
    let mut known: HashMap<(&[u8], &[u8]), usize> = HashMap::new();
    let mut found: Vec<Result<Lines, (Bytes, Reject)>> = Vec::new();
    for line in text.lines().map(str::trim).filter(|line| !line.is_empty()) {
        match parse(line) {
            Ok(read) => {
                let at = *known.entry(stamp(line.as_bytes()).unwrap_or_default()).or_insert(found.len());
                match found.get_mut(at) {
                    Some(Ok(lines)) => lines.push(read),
                    _ => found.push(Ok(vec![read])),
                }
            }
            Err(reject) => found.push(Err((Bytes::copy_from_slice(line.as_bytes()), reject))),
        }
    }
    found.into_iter().map(|event| event.map(|lines| Value::Object(join(lines)))).collect()
}

/// One record of the lines of an event.
fn join(lines: Lines) -> Map<String, Value> {
    let mut event = Map::new();
    let (mut types, mut paths, mut arguments) = (Vec::new(), Vec::new(), Vec::new());
    for mut line in lines {
        let kind = line.get("type").and_then(Value::as_str).unwrap_or_default().to_owned();
        match kind.as_str() {
            // `a0` is an argument here, and an address in the line of the call.
            "EXECVE" => {
                arguments.extend(arguments_of(&line));
                line.retain(|name, _| !is_argument(name));
            }
            // Several: the file, and the directory that it is in.
            "PATH" => {
                let mut path = line.clone();
                path.retain(|name, _| !NAMING.contains(&name.as_str()));
                line.retain(|name, _| NAMING.contains(&name.as_str()));
                paths.push(Value::Object(path));
            }
            // Whom a socket talks to. An enriched line says the same once more.
            "SOCKADDR" => {
                let parts = line.get("saddr").and_then(Value::as_str).and_then(sockaddr::parts);
                line.retain(|name, _| NAMING.contains(&name.as_str()) || name == "saddr");
                let parts = parts.into_iter().flatten().filter(|(_, value)| !value.is_empty());
                line.extend(parts.map(|(name, value)| (name.to_owned(), value.into())));
            }
            _ => {}
        }
        types.push(Value::from(kind));
        for (name, value) in line {
            event.entry(name).or_insert(value);
        }
    }
    if let Some(path) = paths.iter().max_by_key(|path| changes(path)) {
        for name in ["name", "nametype"] {
            if let Some(value) = path.get(name) {
                event.entry(name).or_insert_with(|| value.clone());
            }
        }
    }
    if !arguments.is_empty() {
        event.insert("command_line".to_owned(), arguments.join(" ").into());
        event.insert("argv".to_owned(), arguments.into());
    }
    if !paths.is_empty() {
        event.insert("paths".to_owned(), paths.into());
    }
    event.insert("types".to_owned(), types.into());
    event
}

/// The arguments of an EXECVE line, in their order; a long one comes in parts, `a1[0]`, `a1[1]`.
fn arguments_of(line: &Map<String, Value>) -> Vec<String> {
    let mut parts: Vec<((u32, u32), &str)> = Vec::new();
    for (name, value) in line {
        let Some(digits) = name.strip_prefix('a') else { continue };
        let (number, part) = match digits.split_once('[') {
            Some((number, part)) => (number, part.trim_end_matches(']')),
            None => (digits, "0"),
        };
        if let (Ok(number), Ok(part), Some(text)) = (number.parse(), part.parse(), value.as_str()) {
            parts.push(((number, part), text));
        }
    }
    parts.sort_unstable_by_key(|(place, _)| *place);
    let mut arguments: Vec<(u32, String)> = Vec::new();
    for ((number, _), text) in parts {
        match arguments.last_mut() {
            Some((last, whole)) if *last == number => whole.push_str(text),
            _ => arguments.push((number, text.to_owned())),
        }
    }
    arguments.into_iter().map(|(_, text)| text).collect()
}

/// How much a path is what the event is about: what is made or deleted before what is used, and the directory last.
fn changes(path: &Value) -> (u8, std::cmp::Reverse<u32>) {
    let rank = match path["nametype"].as_str() {
        Some("CREATE" | "DELETE") => 2,
        Some("PARENT") => 0,
        _ => 1,
    };
    let item = path["item"].as_str().and_then(|item| item.parse().ok()).unwrap_or(u32::MAX);
    (rank, std::cmp::Reverse(item))
}

/// Reads a line.
///
/// # Errors
/// When it has no `type=` and no `msg=audit(time:serial)`.
fn parse(line: &str) -> Result<Map<String, Value>, Reject> {
    let none = || {
        Reject::new(
            Reason::Undecodable,
            "no line of an audit log: expected `type=… msg=audit(SECONDS.MILLIS:SERIAL): …`",
        )
    };
    let line = line.trim();
    let (head, rest) = line.split_once("msg=audit(").ok_or_else(none)?;
    let (stamp, rest) = rest.split_once(')').ok_or_else(none)?;
    let (time, serial) = stamp.rsplit_once(':').ok_or_else(none)?;
    if time.parse::<f64>().is_err() || serial.parse::<u64>().is_err() {
        return Err(none());
    }
    let mut record = Map::new();
    pairs(head, &mut record);
    if !record.contains_key("type") {
        return Err(none());
    }
    pairs(rest.strip_prefix(':').unwrap_or(rest), &mut record);
    record.insert("time".to_owned(), time.into());
    record.insert("serial".to_owned(), serial.into());
    Ok(record)
}

/// `name=value` pairs: bare, in double quotes, or in single quotes around further pairs. The first of a name holds.
fn pairs(text: &str, record: &mut Map<String, Value>) {
    // In the line of a call, `a0` is a number.
    let is_execve = record.get("type").is_some_and(|kind| kind == "EXECVE");
    let mut rest = text;
    while let Some((name, after)) = rest.trim_start_matches([' ', '\u{1d}', ',', '\n']).split_once('=') {
        let name = name.rsplit([' ', '\u{1d}']).next().unwrap_or(name);
        let quote = after.chars().next().filter(|c| matches!(c, '"' | '\''));
        let (value, after) = match quote {
            Some(quote) => after[1..].split_once(quote).unwrap_or((&after[1..], "")),
            None => after.split_at(after.find([' ', '\u{1d}', '\n']).unwrap_or(after.len())),
        };
        rest = after;
        if quote == Some('\'') {
            pairs(value, record);
            continue;
        }
        let plain = match quote {
            None if MAY_BE_HEX.contains(&name) || (is_execve && is_argument(name)) => {
                unhex(value).unwrap_or_else(|| value.to_owned())
            }
            _ => value.to_owned(),
        };
        // `?` and `(null)` are how nothing is written.
        if !name.is_empty()
            && !matches!(plain.as_str(), "?" | "(null)" | "(none)" | "")
            && !record.contains_key(name)
        {
            record.insert(name.to_owned(), plain.into());
        }
    }
}

/// `a0`, `a1`, `a2[0]`, … of an EXECVE record.
fn is_argument(name: &str) -> bool {
    let digits =
        name.strip_prefix('a').map(|digits| digits.split_once('[').map_or(digits, |(digits, _)| digits));
    digits.is_some_and(|digits| !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit()))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_line_becomes_its_fields() {
        let line = "node=web01 type=USER_LOGIN msg=audit(1364481363.243:24287): pid=1 uid=0 auid=4294967295 \
                    msg='op=login acct=\"root\" exe=\"/usr/sbin/sshd\" hostname=? addr=10.0.0.7 res=failed'\u{1d}UID=\"root\"";
        let record = parse(line).expect("a line");
        for (name, value) in [
            ("node", "web01"),
            ("type", "USER_LOGIN"),
            ("time", "1364481363.243"),
            ("serial", "24287"),
            ("acct", "root"),
            ("addr", "10.0.0.7"),
            ("res", "failed"),
            ("UID", "root"),
            ("op", "login"),
        ] {
            assert_eq!(record[name], json!(value), "{name}: {record:?}");
        }
        assert!(record.get("hostname").is_none());
    }

    #[test]
    fn what_the_kernel_wrote_in_hexadecimal_is_text_again() {
        let record = parse("type=PROCTITLE msg=audit(1.0:1): proctitle=636174002F6574632F736861646F77")
            .expect("a line");
        assert_eq!(record["proctitle"], json!("cat /etc/shadow"));
        assert!(parse("hello").is_err() && parse("type=X msg=audit(a:b): c=d").is_err());
    }

    #[test]
    fn the_lines_of_an_event_are_one_record_wherever_they_stand() {
        let text = "type=SYSCALL msg=audit(1.0:7): syscall=59 success=yes a0=55d0 exe=\"/usr/bin/curl\" key=\"dl\"\n\
                    type=SYSCALL msg=audit(1.0:8): syscall=2 success=no\n\
                    rubbish\n\
                    type=EXECVE msg=audit(1.0:7): argc=3 a0=\"curl\" a1=\"-o\" a2_len=10 a2[1]=\"/x\" a2[0]=\"/tmp\"\n\
                    type=SOCKADDR msg=audit(1.0:7): saddr=020001BBC63364070000000000000000\u{1d}SADDR={ saddr_fam=inet laddr=198.51.100.7 lport=443 }\n\
                    type=CWD msg=audit(1.0:7): cwd=\"/root\"\n\
                    type=PATH msg=audit(1.0:7): item=0 name=\"/tmp\" nametype=PARENT\n\
                    type=PATH msg=audit(1.0:7): item=1 name=\"/tmp/x\" nametype=CREATE\n\
                    node=b type=CWD msg=audit(1.0:7): cwd=\"/elsewhere\"\n";
        let records = events(text);
        assert_eq!(records.len(), 4, "{records:?}");
        let first = records[0].as_ref().expect("an event");
        for (name, value) in [
            ("type", json!("SYSCALL")),
            ("types", json!(["SYSCALL", "EXECVE", "SOCKADDR", "CWD", "PATH", "PATH"])),
            ("laddr", json!("198.51.100.7")),
            ("lport", json!("443")),
            ("command_line", json!("curl -o /tmp/x")),
            ("argv", json!(["curl", "-o", "/tmp/x"])),
            ("a0", json!("55d0")),
            ("cwd", json!("/root")),
            ("name", json!("/tmp/x")),
            ("nametype", json!("CREATE")),
        ] {
            assert_eq!(first[name], value, "{name}: {first}");
        }
        assert!(first.get("SADDR").is_none(), "{first}");
        assert_eq!(first["paths"][0]["name"], "/tmp");
        assert_eq!(records[1].as_ref().expect("another event")["serial"], "8");
        assert!(records[2].is_err());
        assert_eq!(records[3].as_ref().expect("of another node")["cwd"], "/elsewhere");
        assert!(
            is_last(b"type=PROCTITLE msg=audit(1.0:7): x")
                && is_last(b"node=a type=USER_LOGIN msg=audit(1.0:7): x")
        );
        assert!(!is_last(b"type=SYSCALL msg=audit(1.0:7): key=\"USER_\"") && stamp(b"rubbish").is_none());
    }
}
