//! Without the feature `upgrade`, no program is replaced.

use crate::kernel::Kernel;
use crate::seen::Seen;
use crate::sim_net::{Shared, SimNet};
use crate::world::Files;
use rustix::io::Errno;
use socku::internals::reactor::Reactor;

/// The size that buffers have.
pub const BUFFER_SIZES: [u64; 1] = [1024];

/// A run has no upgrades.
pub struct Upgrades;

impl Upgrades {
    pub fn new(_: u64, _: u64) -> Upgrades {
        Upgrades
    }

    /// None comes now.
    pub fn is_due(&mut self) -> bool {
        false
    }

    /// The loop goes on.
    pub fn perform(
        &mut self,
        old: Reactor<SimNet>,
        _: &Shared,
        _: impl FnOnce() -> Files,
    ) -> Reactor<SimNet> {
        old
    }
}

/// None comes after a turn.
pub fn chance(_: u64) -> u64 {
    0
}

impl Kernel {
    /// No connection is taken over.
    pub fn note_registered(&mut self, _: usize, _: Result<(), Errno>) {}
}

impl Seen {
    pub fn assert_upgrades_were_met(&self, _: u64) {}

    pub fn assert_pipes_were_handed_over(&self, _: u64) {}
}
