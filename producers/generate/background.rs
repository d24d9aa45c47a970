//! What happens on any day: programs start, files change, people log on, addresses are asked for. Nothing of it is an
//! attack, and no shipped rule fires on it.

use sightline_producers::Draft;
use sightline_schemas::{EventTime, Severity};

use crate::chance::Chance;

/// How many there are of what.
#[derive(Clone, Copy, Debug)]
pub struct Population {
    /// Hosts, each with a user of its own.
    pub hosts: u64,
}

/// Background events, one after the other.
#[derive(Debug)]
pub struct Background {
    chance: Chance,
    population: Population,
    start: EventTime,
    /// Microseconds of event time between two events, on average.
    step_micros: u64,
    number: u64,
}

const PROGRAMS: [(&str, &str); 6] = [
    (r"C:\Program Files\Microsoft Office\root\Office16\WINWORD.EXE", r"C:\Windows\explorer.exe"),
    (r"C:\Program Files\Google\Chrome\Application\chrome.exe", r"C:\Windows\explorer.exe"),
    (r"C:\Windows\System32\svchost.exe", r"C:\Windows\System32\services.exe"),
    (r"C:\Windows\System32\taskhostw.exe", r"C:\Windows\System32\svchost.exe"),
    (r"C:\Windows\System32\notepad.exe", r"C:\Windows\explorer.exe"),
    (r"C:\Program Files\Git\cmd\git.exe", r"C:\Windows\explorer.exe"),
];
const SITES: [&str; 5] =
    ["www.example.com", "mail.example.com", "updates.example.net", "cdn.example.org", "wiki.corp.example"];
const SERVICES: [&str; 3] = ["cifs/files01", "http/intranet", "ldap/dc01"];

impl Background {
    /// Events from `start` on, so many a second of event time.
    pub fn new(seed: u64, population: Population, start: EventTime, per_second: f64) -> Self {
        let step_micros = ((1e6 / per_second) as u64).max(1);
        Background { chance: Chance::new(seed, 1), population, start, step_micros, number: 0 }
    }

    /// The next event, and when it happened. Times rise.
    pub fn next(&mut self) -> (EventTime, Draft) {
        let chance = &mut self.chance;
        let early = chance.below(self.step_micros);
        let micros = self.number * self.step_micros + early;
        let at = self.start.plus(i64::try_from(micros).unwrap_or(i64::MAX));
        let of = chance.below(self.population.hosts.max(1));
        let (host, user) = (format!("WS-{of:04}"), format!("user{of:04}"));
        let draft =
            one(chance, &host, &user).host(host.clone()).occurred_at(at).key(format!("bg-{}", self.number));
        self.number += 1;
        (at, draft)
    }
}

fn one(chance: &mut Chance, host: &str, user: &str) -> Draft {
    match chance.below(100) {
        0..30 => {
            let (image, parent) = *chance.one_of(&PROGRAMS);
            Draft::new("edr", "process_start")
                .field("image", image)
                .field("parent_image", parent)
                .field("pid", chance.below(60_000))
                .field("sha256", chance.hex(64))
                .field("user", format!("CORP\\{user}"))
        }
        30..55 => Draft::new("edr", "network_conn")
            .field("dst_ip", format!("198.51.100.{}", chance.below(250) + 1))
            .field("dst_port", 443)
            .field("bytes_out", chance.below(100_000))
            .field("user", format!("CORP\\{user}")),
        55..70 => Draft::new("edr", "dns_query").field("query", *chance.one_of(&SITES)),
        70..85 => Draft::new("fim", "file_change")
            .field("action", "create")
            .field("path", format!(r"C:\Users\{user}\Documents\report-{}.docx", chance.below(10_000)))
            .field("sha256", chance.hex(64)),
        85..91 => Draft::new("edr", "logon")
            .field("outcome", "success")
            .field("logon_type", 2)
            .field("user", user.to_owned()),
        91..93 => Draft::new("edr", "logon")
            .field("outcome", "failure")
            .field("logon_type", 2)
            .field("user", user.to_owned()),
        93..96 => Draft::new("edr", "kerberos_tgs")
            .field("encryption", "0x12")
            .field("service", *chance.one_of(&SERVICES))
            .user(user.to_owned()),
        96..98 => Draft::new("network", "network_http")
            .field("dst_ip", format!("203.0.113.{}", chance.below(100) + 100))
            .field("domain", *chance.one_of(&SITES)),
        98 => Draft::new("iris", "ioc")
            .severity(Severity::Medium)
            .field("value", format!("listed-{}.example.test", chance.below(1_000_000)))
            .field("host", host.to_owned()),
        _ => Draft::new("packetwatch", "anomaly")
            .severity(Severity::Low)
            .field("peer", format!("192.0.2.{}", chance.below(250) + 1))
            .field("score", chance.below(100)),
    }
}
