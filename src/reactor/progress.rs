//! Whether something comes of the turns of the loop.

use super::Reactor;
use crate::net::Net;
use crate::spin::{Spin, WokenBy};
use crate::time::Millis;
use log::warn;

/// A turn this long after the one before has waited: the processor is free meanwhile.
const WAIT_MS: Millis = 10;

/// What is known of the last turn until the next one begins: the embedder's part comes in between.
#[derive(Default)]
pub struct Progress {
    spin: Spin,
    /// [`Reactor::activity`] and the embedder's part when the last turn was judged.
    judged: (u64, u64),
    /// How often the embedder has done something.
    noted: u64,
    /// What woke the last turn, if it did not wait.
    woken_by: Option<WokenBy>,
}

impl Progress {
    /// A turn has begun `after_ms` after the one before.
    pub fn set_woken_by(&mut self, woken_by: WokenBy, after_ms: Millis) {
        let at_once = woken_by != WokenBy::default() && after_ms < WAIT_MS;
        self.woken_by = at_once.then_some(woken_by);
    }
}

impl<N: Net> Reactor<N> {
    /// A number that grows whenever something happens to a session or to what sessions share:
    /// bytes moved, a client came, a state changed, a deadline or an answer came.
    pub fn activity(&self) -> u64 {
        let stats = &self.stats;
        let sessions = stats.opened + stats.shed + stats.changes + stats.deadlines;
        sessions + self.cx.pool.moves + self.cx.dns.activity()
    }

    /// The embedder has done something after the last turn: it was not in vain.
    pub fn note_progress(&mut self) {
        self.progress.noted += 1;
    }

    /// Looks back at the last turn.
    pub(super) fn judge_turn(&mut self) {
        let now = self.cx.now;
        let reached = (self.activity(), self.progress.noted);
        let Progress { spin, judged, woken_by, .. } = &mut self.progress;
        let is_idle = reached == std::mem::replace(judged, reached);
        match woken_by.filter(|_| is_idle) {
            Some(woken_by) => {
                self.stats.idle_turns += 1;
                if let Some(warning) = spin.handle_idle_turn(woken_by, now) {
                    warn!("{warning}");
                }
            }
            None => spin.handle_progress(),
        }
    }

    /// What a turn is woken by that need not wait for events.
    pub(super) fn woken_without_event(&self, timeout_ms: Option<Millis>) -> WokenBy {
        match timeout_ms {
            Some(0) if self.skip_wait => WokenBy::OTHER,
            Some(0) if self.has_work() => WokenBy::WORK,
            Some(0) => WokenBy::DEADLINE,
            _ => WokenBy::default(),
        }
    }
}
