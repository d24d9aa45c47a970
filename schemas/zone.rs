//! Time as a wall clock shows it: in a zone, with its weekday.
//!
//! The rules of the zones are those that this build was made with, not those of the machine it runs on: the same log must
//! say the same everywhere.

use jiff::Timestamp;
use jiff::tz::{TimeZone, TimeZoneDatabase};

use crate::time::EventTime;

/// A time zone, such as `Europe/Berlin` or `UTC`.
#[derive(Clone, Debug)]
pub struct Zone {
    name: String,
    zone: TimeZone,
}

/// What clock and calendar show.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Local {
    /// The year.
    pub year: i64,
    /// 1 to 12.
    pub month: i64,
    /// 1 to 31.
    pub day: i64,
    /// Week of the year as ISO 8601 counts them, 1 to 53.
    pub week: i64,
    /// 0 for Monday to 6 for Sunday.
    pub weekday: u8,
    /// 0 to 23.
    pub hour: i64,
    /// 0 to 59.
    pub minute: i64,
    /// Seconds since midnight, as the clock shows it.
    pub second_of_day: u32,
}

impl Zone {
    /// Universal time.
    pub fn utc() -> Self {
        Zone { name: "UTC".to_owned(), zone: TimeZone::UTC }
    }

    /// The zone of that name in the IANA database.
    pub fn named(name: &str) -> Option<Self> {
        if name == "UTC" {
            return Some(Zone::utc());
        }
        let zone = TimeZoneDatabase::bundled().get(name).ok()?;
        Some(Zone { name: name.to_owned(), zone })
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What the clock shows there; `None` beyond the years that calendars know.
    pub fn local(&self, at: EventTime) -> Option<Local> {
        let time = Timestamp::from_microsecond(at.as_micros()).ok()?.to_zoned(self.zone.clone()).datetime();
        let (hour, minute, second) = (time.hour(), time.minute(), time.second());
        let second_of_day = (i64::from(hour) * 60 + i64::from(minute)) * 60 + i64::from(second);
        Some(Local {
            year: i64::from(time.year()),
            month: i64::from(time.month()),
            day: i64::from(time.day()),
            week: i64::from(time.date().iso_week_date().week()),
            weekday: u8::try_from(time.weekday().to_monday_zero_offset()).ok()?,
            hour: i64::from(hour),
            minute: i64::from(minute),
            second_of_day: u32::try_from(second_of_day).ok()?,
        })
    }
}

impl PartialEq for Zone {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn local(zone: &str, time: &str) -> Local {
        let zone = Zone::named(zone).expect("a zone of the database");
        zone.local(EventTime::parse(time).expect("a time")).expect("a year that there is")
    }

    #[test]
    fn a_zone_shows_its_own_hour_in_summer_and_in_winter() {
        let summer = local("Europe/Berlin", "2026-07-28T23:30:00Z");
        assert_eq!((summer.day, summer.hour, summer.minute, summer.weekday), (29, 1, 30, 2));
        let winter = local("Europe/Berlin", "2026-01-28T23:30:00Z");
        assert_eq!((winter.day, winter.hour), (29, 0));
        assert_eq!(local("UTC", "2026-01-01T00:00:01Z").second_of_day, 1);
    }

    #[test]
    fn weeks_are_those_of_iso_8601() {
        assert_eq!(local("UTC", "2027-01-01T12:00:00Z").week, 53);
    }

    #[test]
    fn what_is_no_zone_is_refused() {
        for name in ["Europe/Atlantis", "", "CEST+1", "../etc/passwd"] {
            assert!(Zone::named(name).is_none(), "{name}");
        }
    }
}
