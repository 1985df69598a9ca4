//! Deadlines: one per slot, in one queue per kind.
//!
//! All deadlines of a kind share one duration and are set at the time that is, so each queue is
//! sorted by itself: setting, moving and clearing are O(1), and nothing is allocated but one
//! link per slot. The queues are linked through the slots, so that a deadline that was cleared
//! wakes nobody.

/// Milliseconds on a clock that only goes forward; where it starts does not matter.
pub type Millis = u64;

/// What a deadline is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Deadline {
    /// The whole request must have arrived.
    Request,
    /// The client's identd must have answered.
    Ident,
    /// The name must have been resolved; the resolver has its own deadline, somewhat earlier.
    Resolve,
    /// The target must have been reached.
    Connect,
    /// One of 2 addresses must have been reached, in its share of that time.
    ConnectHalf,
    /// One of 3.
    ConnectThird,
    /// One of 4.
    ConnectQuarter,
    /// One of 5 to 8.
    ConnectEighth,
    /// One of more.
    ConnectSixteenth,
    /// A client that closed its side while the target is being reached has this long to be
    /// taken for one that only half-closed. Hastened, never set in place of the state's own.
    Leave,
    /// The peer of a BIND must have come.
    Bind,
    /// A byte must have been relayed.
    Idle,
    /// The first part of that time, for a relay whose connections are not probed yet.
    Quiet,
    /// The rest of it.
    Rest,
    /// With one direction closed, a byte must have been relayed.
    HalfClose,
    /// A refused client must have closed its side.
    Linger,
    /// Whether everything before a reset has arrived is to be looked at.
    Drain,
    /// The same, for a peer that takes its time.
    SlowDrain,
}

impl Deadline {
    /// Every kind, in the order of its number.
    pub const ALL: [Deadline; KINDS] = {
        use Deadline::*;
        [
            Request,
            Ident,
            Resolve,
            Connect,
            ConnectHalf,
            ConnectThird,
            ConnectQuarter,
            ConnectEighth,
            ConnectSixteenth,
            Leave,
            Bind,
            Idle,
            Quiet,
            Rest,
            HalfClose,
            Linger,
            Drain,
            SlowDrain,
        ]
    };
}

impl Deadline {
    /// What one of `tries` addresses gets of the time to connect. The shares are few and fixed,
    /// since all deadlines of a kind share one duration.
    pub fn of_connect(tries: usize) -> Deadline {
        match tries {
            0 | 1 => Deadline::Connect,
            2 => Deadline::ConnectHalf,
            3 => Deadline::ConnectThird,
            4 => Deadline::ConnectQuarter,
            5..=8 => Deadline::ConnectEighth,
            _ => Deadline::ConnectSixteenth,
        }
    }
}

/// Number of kinds.
pub const KINDS: usize = 18;

const NOBODY: u32 = u32::MAX;

#[derive(Clone, Copy)]
struct Link {
    at: Millis,
    previous: u32,
    next: u32,
    /// `KINDS` when the slot has no deadline.
    kind: u8,
}

const UNSET: Link = Link { at: 0, previous: NOBODY, next: NOBODY, kind: KINDS as u8 };

#[derive(Clone, Copy)]
struct Queue {
    first: u32,
    last: u32,
    /// `None`: this kind never expires.
    duration_ms: Option<Millis>,
}

/// The deadlines of all slots.
pub struct Timers {
    links: Vec<Link>,
    queues: [Queue; KINDS],
}

impl Timers {
    /// Timers with one duration per kind, indexed by [`Deadline`]; `None` means never.
    pub fn new(durations_ms: [Option<Millis>; KINDS]) -> Timers {
        Timers {
            links: Vec::new(),
            queues: durations_ms.map(|duration_ms| Queue {
                first: NOBODY,
                last: NOBODY,
                duration_ms,
            }),
        }
    }

    /// Gives `slot` a deadline of this kind, counted from `now`, in place of the one it had.
    /// `now` must not be before that of an earlier call.
    pub fn set(&mut self, slot: usize, kind: Deadline, now: Millis) {
        self.clear(slot);
        let Some(duration_ms) = self.queues[kind as usize].duration_ms else { return };
        if self.links.len() <= slot {
            self.links.resize(slot + 1, UNSET);
        }
        let queue = &mut self.queues[kind as usize];
        let previous = std::mem::replace(&mut queue.last, slot as u32);
        match previous {
            NOBODY => queue.first = slot as u32,
            previous => self.links[previous as usize].next = slot as u32,
        }
        let at = now.saturating_add(duration_ms);
        self.links[slot] = Link { at, previous, next: NOBODY, kind: kind as u8 };
    }

    /// The same, unless the deadline that it has comes no later.
    pub fn hasten(&mut self, slot: usize, kind: Deadline, now: Millis) {
        let at = self.queues[kind as usize].duration_ms.map(|ms| now.saturating_add(ms));
        if at.is_some_and(|at| self.deadline(slot).is_none_or(|own| own > at)) {
            self.set(slot, kind, now);
        }
    }

    /// Takes the deadline of `slot` away, if it has one.
    pub fn clear(&mut self, slot: usize) {
        let Some(link) = self.links.get_mut(slot) else { return };
        let Link { previous, next, kind, .. } = std::mem::replace(link, UNSET);
        let Some(queue) = self.queues.get_mut(usize::from(kind)) else { return };
        match previous {
            NOBODY => queue.first = next,
            previous => self.links[previous as usize].next = next,
        }
        match next {
            NOBODY => queue.last = previous,
            next => self.links[next as usize].previous = previous,
        }
    }

    /// The earliest deadline.
    pub fn next(&self) -> Option<Millis> {
        self.heads().map(|slot| self.links[slot].at).min()
    }

    /// Takes one slot whose deadline has come, and says which; the slot has none then.
    pub fn expired(&mut self, now: Millis) -> Option<(usize, Deadline)> {
        let slot = self.heads().find(|&slot| self.links[slot].at <= now)?;
        let kind = Deadline::ALL[usize::from(self.links[slot].kind)];
        self.clear(slot);
        Some((slot, kind))
    }

    /// The deadline of `slot`.
    pub fn deadline(&self, slot: usize) -> Option<Millis> {
        self.links.get(slot).filter(|link| usize::from(link.kind) < KINDS).map(|link| link.at)
    }

    /// What the deadline of `slot` is for.
    pub fn kind(&self, slot: usize) -> Option<Deadline> {
        let link = self.links.get(slot)?;
        Deadline::ALL.get(usize::from(link.kind)).copied()
    }

    fn heads(&self) -> impl Iterator<Item = usize> + '_ {
        self.queues
            .iter()
            .map(|queue| queue.first)
            .filter(|&slot| slot != NOBODY)
            .map(|s| s as usize)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn timers() -> Timers {
        let mut durations = [None; KINDS];
        durations[Deadline::Request as usize] = Some(30);
        durations[Deadline::Connect as usize] = Some(100);
        Timers::new(durations)
    }

    #[test]
    fn they_expire_in_order_at_their_time_and_once() {
        let mut timers = timers();
        timers.set(3, Deadline::Connect, 0);
        timers.set(1, Deadline::Request, 10);
        timers.set(2, Deadline::Request, 11);
        assert_eq!(timers.next(), Some(40));
        assert_eq!(timers.expired(39), None, "not early");
        assert_eq!(timers.expired(40), Some((1, Deadline::Request)), "not late");
        assert_eq!(timers.expired(40), None, "once");
        assert_eq!(timers.expired(1000), Some((2, Deadline::Request)));
        assert_eq!(timers.expired(1000), Some((3, Deadline::Connect)));
        assert_eq!(timers.next(), None);
    }

    #[test]
    fn each_of_several_addresses_has_a_share_and_together_they_keep_the_time() {
        for tries in 1..=16 {
            let parts = match Deadline::of_connect(tries) {
                Deadline::Connect => 1,
                Deadline::ConnectHalf => 2,
                Deadline::ConnectThird => 3,
                Deadline::ConnectQuarter => 4,
                Deadline::ConnectEighth => 8,
                _ => 16,
            };
            assert!(tries <= parts && parts < 2 * tries, "{tries} tries, a {parts}th each");
        }
    }

    #[test]
    fn a_deadline_is_hastened_and_never_put_off() {
        let mut timers = timers();
        timers.set(0, Deadline::Connect, 0);
        timers.hasten(0, Deadline::Request, 10);
        assert_eq!((timers.kind(0), timers.deadline(0)), (Some(Deadline::Request), Some(40)));
        timers.hasten(0, Deadline::Request, 20);
        timers.hasten(0, Deadline::Idle, 20);
        assert_eq!(timers.deadline(0), Some(40));
        timers.set(1, Deadline::Connect, 0);
        timers.hasten(1, Deadline::Request, 70);
        assert_eq!(timers.kind(1), Some(Deadline::Connect));
        timers.hasten(2, Deadline::Request, 70);
        assert_eq!(timers.deadline(2), Some(100));
    }

    #[test]
    fn a_kind_without_duration_never_expires() {
        let mut timers = timers();
        timers.set(0, Deadline::Request, 0);
        timers.set(0, Deadline::Idle, 0);
        assert_eq!(timers.next(), None);
        assert_eq!(timers.expired(Millis::MAX), None);
    }

    proptest::proptest! {
        /// Compared with a plain list of deadlines.
        #[test]
        fn they_equal_a_plain_model(steps in proptest::collection::vec((0usize..6, 0u8..4, 0u64..40), 0..200)) {
            let mut timers = timers();
            let mut model: [Option<Millis>; 6] = [None; 6];
            let mut now = 0;
            for (slot, what, later) in steps {
                now += later;
                match what {
                    0 => {
                        timers.set(slot, Deadline::Request, now);
                        model[slot] = Some(now + 30);
                    }
                    1 => {
                        timers.set(slot, Deadline::Connect, now);
                        model[slot] = Some(now + 100);
                    }
                    2 => {
                        timers.clear(slot);
                        model[slot] = None;
                    }
                    _ => while let Some((slot, _)) = timers.expired(now) {
                        assert!(model[slot].take().is_some_and(|at| at <= now));
                    },
                }
                if what == 3 {
                    assert!(model.iter().flatten().all(|&at| at > now));
                }
                assert_eq!(timers.next(), model.iter().flatten().copied().min());
                for (slot, &at) in model.iter().enumerate() {
                    assert_eq!(timers.deadline(slot), at);
                }
            }
        }
    }
}
