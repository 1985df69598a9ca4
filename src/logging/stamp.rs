//! The time of a line of the log, as RFC 3339 has it, in UTC. A clock that is set to where no calendar
//! goes shows 1970.

use jiff::Timestamp;
use std::io::{self, Write};
use std::time::SystemTime;

/// Writes the time as a line of text begins with it: whole seconds, and a blank.
pub fn write(out: &mut impl Write, now: SystemTime) -> io::Result<()> {
    write!(out, "{:.0} ", utc(now))
}

/// The time, to be shown with as many decimals of a second as are wanted.
pub fn utc(time: SystemTime) -> Timestamp {
    Timestamp::try_from(time).unwrap_or_default()
}
