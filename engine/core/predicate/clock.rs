//! Times of the day and days of the week, as the clock shows them somewhere; and the parts of a time that a field holds.

use sightline_schemas::{EventTime, Local, Zone};

use crate::field::Scalar;

/// A timestamp above this many seconds is one in milliseconds: it would lie 30,000 years ahead.
const SECONDS_MAX: i64 = 1_000_000_000_000;

/// Certain hours of certain days, in a zone.
#[derive(Clone, Debug, PartialEq)]
pub struct Clock {
    zone: Zone,
    /// A bit for each weekday, the lowest for Monday.
    days: u8,
    /// Seconds since midnight, from and up to; those that end before they begin reach over midnight.
    hours: Vec<(u32, u32)>,
}

impl Clock {
    /// The days, as texts know them.
    pub const DAYS: [&'static str; 7] = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"];

    /// `days` are places in [`DAYS`](Clock::DAYS), all of them where there are none; `hours` as in
    /// [`parse_hours`], the whole day where there are none.
    pub fn new(zone: Zone, days: &[usize], hours: Vec<(u32, u32)>) -> Self {
        let bits = days.iter().fold(0_u8, |bits, day| bits | 1 << (day % 7));
        Clock { zone, days: if days.is_empty() { 0x7f } else { bits }, hours }
    }

    /// Whether the moment is one of these.
    pub fn holds(&self, at: EventTime) -> bool {
        let Some(local) = self.zone.local(at) else { return false };
        let now = local.second_of_day;
        let in_hours = |(from, to): &(u32, u32)| match from <= to {
            true => (*from..*to).contains(&now),
            false => now >= *from || now < *to,
        };
        self.days >> local.weekday & 1 == 1 && (self.hours.is_empty() || self.hours.iter().any(in_hours))
    }
}

impl Clock {
    /// For people: `at 22:00-06:00 on sat, sun in UTC`.
    pub fn expectation(&self) -> String {
        let clock = |seconds: u32| format!("{:02}:{:02}", seconds / 3_600, seconds / 60 % 60);
        let hours: Vec<String> =
            self.hours.iter().map(|(from, to)| format!("{}-{}", clock(*from), clock(*to))).collect();
        let named = Clock::DAYS.iter().enumerate().filter(|(day, _)| self.days >> day & 1 == 1);
        let days: Vec<&str> = named.map(|(_, name)| *name).collect();
        let at = if hours.is_empty() { String::new() } else { format!("at {} ", hours.join(", ")) };
        let on = if days.len() == 7 { String::new() } else { format!("on {} ", days.join(", ")) };
        format!("{at}{on}in {}", self.zone.name())
    }
}

/// Reads `22:00-06:00`: from the first, up to and without the second, in seconds since midnight.
///
/// # Errors
/// With what is wrong.
pub fn parse_hours(text: &str) -> Result<(u32, u32), String> {
    let wrong = || format!("{text:?} are no hours such as 22:00-06:00");
    let (from, to) = text.split_once('-').ok_or_else(wrong)?;
    let clock = |text: &str| -> Option<u32> {
        let (hour, minute) = text.trim().split_once(':')?;
        let (hour, minute): (u32, u32) = (hour.parse().ok()?, minute.parse().ok()?);
        let fine = minute < 60 && (hour < 24 || (hour == 24 && minute == 0));
        fine.then_some((hour * 60 + minute) * 60)
    };
    let (from, to) = (clock(from).ok_or_else(wrong)?, clock(to).ok_or_else(wrong)?);
    if from == to {
        return Err(format!("{text:?} ends where it begins: leave it out for the whole day"));
    }
    Ok((from, to))
}

/// A part of a time that a field holds, in UTC.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum TimePart {
    /// 0 to 59.
    Minute,
    /// 0 to 23.
    Hour,
    /// 1 to 31.
    Day,
    /// 1 to 53, as ISO 8601 counts.
    Week,
    /// 1 to 12.
    Month,
    /// The year.
    Year,
}

impl TimePart {
    /// All of them with the name that a rule uses.
    pub const NAMES: [(&'static str, TimePart); 6] = [
        ("minute", TimePart::Minute),
        ("hour", TimePart::Hour),
        ("day", TimePart::Day),
        ("week", TimePart::Week),
        ("month", TimePart::Month),
        ("year", TimePart::Year),
    ];

    fn of(self, local: Local) -> i64 {
        match self {
            TimePart::Minute => local.minute,
            TimePart::Hour => local.hour,
            TimePart::Day => local.day,
            TimePart::Week => local.week,
            TimePart::Month => local.month,
            TimePart::Year => local.year,
        }
    }
}

/// A part of a time is one of several numbers.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct TimeParts {
    part: TimePart,
    numbers: Vec<i64>,
}

impl TimeParts {
    /// Any of `numbers`.
    pub fn new(part: TimePart, numbers: Vec<i64>) -> Self {
        TimeParts { part, numbers }
    }

    /// For people: `a time whose hour is 3`.
    pub fn expectation(&self) -> String {
        let name =
            TimePart::NAMES.iter().find(|(_, part)| *part == self.part).map_or("part", |(name, _)| name);
        format!(
            "a time whose {name} is {}",
            crate::predicate::alternatives(self.numbers.iter().map(i64::to_string))
        )
    }

    /// Whether the value is a time (RFC 3339, or seconds or milliseconds since 1970) whose part is one of them.
    pub fn hold(&self, value: Scalar<'_>) -> bool {
        let seconds = |number: i64| {
            let scale = if number > SECONDS_MAX { 1_000 } else { 1_000_000 };
            Some(EventTime::from_micros(number.checked_mul(scale)?))
        };
        let at = match value {
            Scalar::Text(text) => EventTime::parse(text).ok(),
            Scalar::Int(number) => seconds(number),
            Scalar::Float(number) => seconds(number as i64),
            Scalar::Bool(_) => None,
        };
        let local = at.and_then(|at| Zone::utc().local(at));
        local.is_some_and(|local| self.numbers.contains(&self.part.of(local)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn clock(zone: &str, days: &[usize], hours: &[&str]) -> Clock {
        let hours = hours.iter().map(|text| parse_hours(text).expect("hours")).collect();
        Clock::new(Zone::named(zone).expect("a zone"), days, hours)
    }

    fn at(text: &str) -> EventTime {
        EventTime::parse(text).expect("a time")
    }

    #[test]
    fn hours_reach_over_midnight_and_end_before_their_end() {
        let night = clock("UTC", &[], &["22:00-06:00"]);
        for (time, expected) in
            [("21:59:59", false), ("22:00:00", true), ("05:59:59", true), ("06:00:00", false)]
        {
            assert_eq!(night.holds(at(&format!("2026-07-28T{time}Z"))), expected, "{time}");
        }
        assert!(clock("UTC", &[], &["00:00-24:00"]).holds(at("2026-07-28T23:59:59Z")));
    }

    #[test]
    fn the_day_is_the_one_of_the_zone() {
        let weekend = clock("Pacific/Auckland", &[5, 6], &[]);
        assert!(weekend.holds(at("2026-07-24T13:00:00Z")), "Friday in UTC, Saturday there");
        assert!(!weekend.holds(at("2026-07-26T13:00:00Z")), "Sunday in UTC, Monday there");
    }

    #[test]
    fn what_are_no_hours_is_refused() {
        for text in ["22", "22:00", "25:00-26:00", "10:60-11:00", "a:b-c:d", "08:00-08:00", "24:01-03:00"] {
            assert!(parse_hours(text).is_err(), "{text}");
        }
    }

    #[test]
    fn parts_are_taken_of_texts_and_of_numbers() {
        let hour = TimeParts::new(TimePart::Hour, vec![11]);
        let holds = [
            Scalar::Text("2026-07-28T11:44:53.919Z"),
            Scalar::Text("2026-07-28 11:44:53"),
            Scalar::Int(1_785_239_093),
            Scalar::Int(1_785_239_093_919),
        ];
        for value in holds {
            assert!(hour.hold(value), "{value:?}");
        }
        assert!(!hour.hold(Scalar::Text("11")));
        assert!(!hour.hold(Scalar::Bool(true)));
    }
}
