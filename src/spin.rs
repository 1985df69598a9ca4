//! Notices a loop that turns without progress: at once, again and again, though no socket had an
//! event and nothing comes of it. It would use a whole processor, and a mistake in this program is the
//! likely cause. Turns that peers cause are none of these: an event is reported once for what they
//! do, even where there is no room for it.

use crate::time::Millis;
use std::fmt::Write;

/// So many turns in succession are no coincidence: some events of a healthy loop lead to nothing,
/// but never thousands of them with nothing in between.
pub const TURNS_MAX: u32 = 10_000;
/// At most one warning in this time.
const WARN_EVERY_MS: Millis = 3_600_000;

/// What may wake the loop, as bits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct WokenBy(pub u8);

impl WokenBy {
    /// A connection has work left over.
    pub const WORK: WokenBy = WokenBy(1);
    /// A deadline is due.
    pub const DEADLINE: WokenBy = WokenBy(1 << 1);
    /// An event of a source beside the sessions: signals, files, the log, the status page.
    pub const OTHER: WokenBy = WokenBy(1 << 2);

    /// Adds another cause.
    pub fn add(&mut self, other: WokenBy) {
        self.0 |= other.0;
    }
}

const WORDS: [&str; 3] = ["work left over", "a deadline", "another source"];

/// Counts turns without progress.
#[derive(Debug, Default)]
pub struct Spin {
    /// How many there were in succession.
    streak: u32,
    /// When the first of them came.
    since: Millis,
    /// In how many of them each bit of [`WokenBy`] was set.
    woken: [u32; WORDS.len()],
    warned_at: Option<Millis>,
}

impl Spin {
    /// A turn has progressed.
    pub fn handle_progress(&mut self) {
        self.streak = 0;
    }

    /// A turn was woken at once by this and has done nothing. Returns a warning when that has
    /// happened too often.
    pub fn handle_idle_turn(&mut self, woken_by: WokenBy, now: Millis) -> Option<String> {
        if self.streak == 0 {
            (self.since, self.woken) = (now, [0; WORDS.len()]);
        }
        self.streak = self.streak.saturating_add(1);
        for (bit, count) in self.woken.iter_mut().enumerate() {
            *count += u32::from(woken_by.0 >> bit & 1);
        }
        if self.streak < TURNS_MAX {
            return None;
        }
        let text = self.describe(now);
        self.streak = 0;
        let may_warn = self.warned_at.is_none_or(|at| at + WARN_EVERY_MS <= now);
        may_warn.then(|| {
            self.warned_at = Some(now);
            text
        })
    }

    fn describe(&self, now: Millis) -> String {
        let mut text =
            format!("the loop made {} turns in {} ms without", self.streak, now - self.since);
        text.push_str(" progress, which is worth a report if it goes on; woken by");
        let woken = WORDS.iter().zip(self.woken).filter(|(_, count)| *count > 0);
        for (index, (word, count)) in woken.enumerate() {
            let separator = if index > 0 { "," } else { "" };
            // Writing to a String cannot fail.
            let _ = write!(text, "{separator} {word} ({count})");
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn idle(spin: &mut Spin, turns: u32, now: Millis) -> Vec<String> {
        (0..turns).filter_map(|_| spin.handle_idle_turn(WokenBy::OTHER, now)).collect()
    }

    #[test]
    fn thousands_of_turns_without_progress_are_warned_about_once_an_hour() {
        let mut spin = Spin::default();
        assert!(idle(&mut spin, TURNS_MAX - 1, 5).is_empty());
        assert_eq!(
            spin.handle_idle_turn(WokenBy(WokenBy::OTHER.0 | WokenBy::WORK.0), 47),
            Some(
                "the loop made 10000 turns in 42 ms without progress, which is worth a \
                 report if it goes on; woken by work left over (1), another source (10000)"
                    .into()
            )
        );
        assert!(idle(&mut spin, 5 * TURNS_MAX, 47 + WARN_EVERY_MS - 1).is_empty());
        assert_eq!(idle(&mut spin, 5 * TURNS_MAX, 47 + WARN_EVERY_MS).len(), 1);
    }

    #[test]
    fn one_turn_with_progress_in_thousands_is_enough() {
        let mut spin = Spin::default();
        for _ in 0..3 {
            assert!(idle(&mut spin, TURNS_MAX - 1, 0).is_empty());
            spin.handle_progress();
        }
    }
}
