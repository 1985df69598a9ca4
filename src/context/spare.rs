//! A descriptor kept for calls that need one more for a moment.

use crate::net::{Net, lacks_resources};
use std::io;

/// A descriptor set aside, released when a call finds none. Without it, once sessions hold all
/// descriptors, no name could be queried and no peer of a BIND accepted, and those very sessions
/// would wait forever.
pub struct Spare<N: Net>(Option<N::Reserve>);

impl<N: Net> Spare<N> {
    /// Sets a descriptor aside, if one is free.
    pub fn new(net: &mut N) -> Spare<N> {
        Spare(net.reserve().ok())
    }

    /// Makes a call, and repeats it with the descriptor set aside if it lacked one.
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

    /// Sets a descriptor aside again, once one is free. Costs nothing while it still has one.
    pub fn refill(&mut self, net: &mut N) {
        if self.0.is_none() {
            self.0 = net.reserve().ok();
        }
    }
}
