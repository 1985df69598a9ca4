//! A time of day as the log shows it.

use std::fmt;
use std::time::{SystemTime, UNIX_EPOCH};

const DAY_S: u64 = 24 * 3600;
/// Days from 1 March 0000 to 1 January 1970, in the Gregorian calendar.
const EPOCH_DAYS: u64 = 719_468;
/// Days of 400 years, after which that calendar repeats.
const ERA_DAYS: u64 = 146_097;

/// How exactly a time is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Precision {
    /// `2026-11-30T08:00:00Z`.
    Second,
    /// `2026-11-30T08:00:00.007Z`.
    Millisecond,
}

/// A time as text, in UTC (RFC 3339). One before 1970 is shown as its start.
pub struct Utc(pub SystemTime, pub Precision);

impl fmt::Display for Utc {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let since = self.0.duration_since(UNIX_EPOCH).unwrap_or_default();
        let (days, second) = (since.as_secs() / DAY_S, since.as_secs() % DAY_S);
        let (year, month, day) = date(days);
        let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
        write!(f, "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}")?;
        match self.1 {
            Precision::Second => f.write_str("Z"),
            Precision::Millisecond => write!(f, ".{:03}Z", since.subsec_millis()),
        }
    }
}

/// Year, month and day of a number of days since 1970. The year is counted from March, so that a
/// leap day is its last (Howard Hinnant, "chrono-Compatible Low-Level Date Algorithms").
fn date(days: u64) -> (u64, u64, u64) {
    let days = days + EPOCH_DAYS;
    let (era, of_era) = (days / ERA_DAYS, days % ERA_DAYS);
    let year = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    // Months have 31, 30, 31, 30 and 31 days from March on, again and again.
    let from_march = (5 * of_year + 2) / 153;
    let day = of_year - (153 * from_march + 2) / 5 + 1;
    let month = if from_march < 10 { from_march + 3 } else { from_march - 9 };
    (400 * era + year + u64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn times_are_shown_in_utc() {
        for (ms, shown) in [
            (0, "1970-01-01T00:00:00.000Z"),
            (951_782_399_999, "2000-02-28T23:59:59.999Z"),
            (951_782_400_000, "2000-02-29T00:00:00.000Z"),
            (1_796_025_600_007, "2026-11-30T08:00:00.007Z"),
            (4_107_542_399_000, "2100-02-28T23:59:59.000Z"),
            (4_107_542_400_000, "2100-03-01T00:00:00.000Z"),
        ] {
            let time = UNIX_EPOCH + Duration::from_millis(ms);
            assert_eq!(Utc(time, Precision::Millisecond).to_string(), shown);
            let whole = format!("{}Z", shown.split('.').next().unwrap());
            assert_eq!(Utc(time, Precision::Second).to_string(), whole);
        }
        let before = UNIX_EPOCH - Duration::from_secs(1);
        assert_eq!(Utc(before, Precision::Second).to_string(), "1970-01-01T00:00:00Z");
    }

    #[test]
    fn each_day_of_800_years_follows_the_one_before() {
        let is_leap = |year| year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
        let (mut year, mut month, mut day) = (1970, 1, 1);
        for days in 0..2 * ERA_DAYS {
            assert_eq!(date(days), (year, month, day));
            let length = match month {
                2 => 28 + u64::from(is_leap(year)),
                4 | 6 | 9 | 11 => 30,
                _ => 31,
            };
            day += 1;
            if day > length {
                (day, month) = (1, month + 1);
            }
            if month > 12 {
                (month, year) = (1, year + 1);
            }
        }
    }
}
