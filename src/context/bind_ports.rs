//! The ports that BIND may listen on.

use std::collections::VecDeque;
use std::io::{self, ErrorKind};
use std::ops::RangeInclusive;

/// Most ports of --bind-ports that one BIND tries.
const TRIES_MAX: usize = 64;

/// The ports of --bind-ports that no BIND listens on, the longest unused first.
pub struct BindPorts {
    /// `None`: the kernel chooses.
    ports: Option<VecDeque<u16>>,
    /// How often none was free; to be taken.
    pub lacking: u64,
}

impl BindPorts {
    /// The ports of a range; without one the kernel chooses.
    pub fn new(range: Option<RangeInclusive<u16>>) -> BindPorts {
        BindPorts { ports: range.map(Iterator::collect), lacking: 0 }
    }

    /// Calls `listen` with one port after another until it succeeds. Ports in use by other programs
    /// are retried later. Only a few are tried at a time, for each costs some calls.
    pub fn lend<T>(&mut self, mut listen: impl FnMut(u16) -> io::Result<T>) -> io::Result<T> {
        let Some(ports) = &mut self.ports else { return listen(0) };
        for _ in 0..ports.len().min(TRIES_MAX) {
            let Some(port) = ports.pop_front() else { break };
            match listen(port) {
                Ok(listener) => return Ok(listener),
                Err(error) => {
                    ports.push_back(port);
                    if error.kind() != ErrorKind::AddrInUse {
                        return Err(error);
                    }
                }
            }
        }
        self.lacking += 1;
        Err(io::Error::new(ErrorKind::AddrInUse, "no port of --bind-ports is free"))
    }

    /// Takes back a port that `lend` gave out.
    pub fn give_back(&mut self, port: u16) {
        if let Some(ports) = &mut self.ports {
            ports.push_back(port);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    fn in_use() -> io::Error {
        ErrorKind::AddrInUse.into()
    }

    #[test]
    fn a_lent_port_is_not_tried_until_it_is_given_back() {
        let mut ports = BindPorts::new(Some(40_000..=40_001));
        assert_eq!(ports.lend(Ok).unwrap(), 40_000);
        assert_eq!(ports.lend(Ok).unwrap(), 40_001);
        let none = ports.lend(|_| -> io::Result<u16> { unreachable!("all are lent") });
        assert_eq!((none.unwrap_err().kind(), ports.lacking), (ErrorKind::AddrInUse, 1));
        ports.give_back(40_001);
        assert_eq!(ports.lend(Ok).unwrap(), 40_001);
        let other = ErrorKind::PermissionDenied;
        ports.give_back(40_000);
        assert_eq!(ports.lend(|_| Err::<u16, _>(other.into())).unwrap_err().kind(), other);
        assert_eq!(ports.lend(Ok).unwrap(), 40_000, "that error does not use up the port");
    }

    #[test]
    fn ports_in_use_are_tried_a_few_at_a_time_until_all_were_tried() {
        let mut ports = BindPorts::new(Some(40_000..=41_999));
        let mut tried = BTreeSet::new();
        for _ in 0..2000 / TRIES_MAX + 1 {
            let mut tries = 0;
            let error = ports.lend(|port| {
                tries += 1;
                tried.insert(port);
                Err::<u16, _>(in_use())
            });
            assert_eq!((tries, error.unwrap_err().kind()), (TRIES_MAX, ErrorKind::AddrInUse));
        }
        assert_eq!(tried.len(), 2000);
    }

    #[test]
    fn without_a_range_the_kernel_chooses() {
        let mut ports = BindPorts::new(None);
        assert_eq!(ports.lend(Ok).unwrap(), 0);
        ports.give_back(5);
        assert_eq!(ports.lend(Ok).unwrap(), 0);
    }
}
