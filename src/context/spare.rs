//! A descriptor that is kept for what needs one more for a moment.

use crate::net::{Net, lacks_resources};
use std::io;

/// A descriptor set aside, given up when a call finds none. Names could not be asked for and no
/// peer of a BIND accepted once sessions hold all others, and those sessions wait for just that.
pub struct Spare<N: Net>(Option<N::Reserve>);

impl<N: Net> Spare<N> {
    /// Sets one aside, if there is one.
    pub fn new(net: &mut N) -> Spare<N> {
        Spare(net.reserve().ok())
    }

    /// Makes a call, and once more with the descriptor set aside if it lacked one.
    pub fn lend<T>(
        &mut self,
        net: &mut N,
        mut call: impl FnMut(&mut N) -> io::Result<T>,
    ) -> io::Result<T> {
        let result = call(net);
        match result {
            Err(error) if lacks_resources(&error) && self.0.take().is_some() => call(net),
            result => result,
        }
    }

    /// Sets one aside again, once there is one. Costs nothing when there still is.
    pub fn refill(&mut self, net: &mut N) {
        if self.0.is_none() {
            self.0 = net.reserve().ok();
        }
    }
}
