//! Without the feature `upgrade`: USR2 is only worth a warning.

use super::{Error, Server, Step};
use crate::config::Config;
use crate::config::parts::lacks;
use crate::time::Millis;
use crate::upgrade::Parcel;
use log::warn;

/// The part that this build lacks.
const FEATURE: &str = "upgrade";

impl Server {
    /// Says why there is no upgrade.
    pub(super) fn request_upgrade(&mut self) {
        if self.upgrading.is_some() {
            warn!("USR2: {}", lacks(FEATURE));
        }
    }

    /// No program is tried.
    pub(super) fn upgrade_at(&self) -> Option<Millis> {
        None
    }

    /// No program is tried.
    pub(super) fn step_upgrade(&mut self) {}

    /// Nothing is handed over.
    pub(crate) fn take_over(_: &Config, parcel: Parcel) -> Result<Server, Error> {
        match parcel {}
    }
}

/// Refuses to take over.
pub fn answer_trial(_: &Config, _: usize) -> Result<String, Error> {
    Err(Error::step(Step::Upgrade, lacks(FEATURE)))
}
