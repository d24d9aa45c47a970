//! A line of the Linux audit log: `type=SYSCALL msg=audit(1364481363.243:24287): arch=c000003e syscall=2 success=no …`.
//!
//! The form is that of <https://github.com/linux-audit/audit-documentation/wiki/SPEC-Audit-Event-Enrichment>: a `node=` may
//! stand before, fields in quotes inside `msg='…'` are fields, too, and behind the byte 0x1d come the words that numbers
//! stand for (`UID="root"`).

use serde_json::{Map, Value};
use sightline_schemas::edge::{Reason, Reject};

use crate::mapping::convert::unhex;

/// Fields that the kernel writes in hexadecimal where they hold blanks, quotes or more than ASCII.
const MAY_BE_HEX: [&str; 12] =
    ["proctitle", "exe", "comm", "name", "cwd", "cmd", "data", "acct", "key", "dir", "path", "watch"];

/// Reads a line.
///
/// # Errors
/// When it has no `type=` and no `msg=audit(time:serial)`.
pub fn parse(line: &str) -> Result<Value, Reject> {
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
    Ok(Value::Object(record))
}

/// `name=value` pairs: bare, in double quotes, or in single quotes around further pairs. The first of a name holds.
fn pairs(text: &str, record: &mut Map<String, Value>) {
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
            None if MAY_BE_HEX.contains(&name) || is_argument(name) => {
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

/// `a0`, `a1`, … of an EXECVE record.
fn is_argument(name: &str) -> bool {
    name.strip_prefix('a')
        .is_some_and(|digits| !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit()))
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
            assert_eq!(record[name], json!(value), "{name}: {record}");
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
}
