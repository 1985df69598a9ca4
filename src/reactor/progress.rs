//! Whether something comes of the turns of the loop.

use crate::spin::{Spin, WokenBy};
use crate::time::Millis;
use log::warn;
use std::mem::replace;

/// A turn this long after the one before has waited: the processor is free meanwhile.
const WAIT_MS: Millis = 10;

/// What is known of the last turn until the next one begins: the embedder's part comes in between.
#[derive(Default)]
pub struct Progress {
    spin: Spin,
    /// The activity and the embedder's part when the last turn was judged.
    judged: (u64, u64),
    /// How often the embedder has done something.
    noted: u64,
    /// What woke the last turn, if it did not wait.
    woken_by: Option<WokenBy>,
}

impl Progress {
    /// A turn has begun `after_ms` after the one before.
    pub fn begin(&mut self, woken_by: WokenBy, after_ms: Millis) {
        let at_once = woken_by != WokenBy::default() && after_ms < WAIT_MS;
        self.woken_by = at_once.then_some(woken_by);
    }

    /// The embedder has done something after the last turn: it was not in vain.
    pub fn note(&mut self) {
        self.noted += 1;
    }

    /// Looks back at the last turn. `activity` grows whenever something happens in a turn. Returns
    /// whether the turn did not wait and was in vain, and warns when that goes on.
    pub fn judge(&mut self, activity: u64, now: Millis) -> bool {
        let reached = (activity, self.noted);
        if reached != replace(&mut self.judged, reached) {
            self.spin.handle_progress();
            return false;
        }
        // One that has waited, or was kept waiting for the processor, says nothing either way.
        let Some(woken_by) = self.woken_by else { return false };
        if let Some(warning) = self.spin.handle_idle_turn(woken_by, now) {
            warn!("{warning}");
        }
        true
    }
}
