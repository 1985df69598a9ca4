//! Whether descriptors are short, so that a client is accepted only with one set aside.

/// The sessions open, and how many there were when a descriptor was lacking. Each session needs at
/// most two: with fewer than half as many sessions as then, there are enough for all of them.
#[derive(Debug, Default)]
pub struct Shortage {
    open: usize,
    /// How many sessions were open when a call last lacked a descriptor.
    at: Option<usize>,
}

impl Shortage {
    /// How many sessions were open when a call last lacked a descriptor.
    pub fn at(&self) -> Option<usize> {
        self.at
    }

    /// So many sessions are open, and so many were when a call last lacked a descriptor.
    pub fn restore(&mut self, open: usize, at: Option<usize>) {
        *self = Shortage { open, at };
    }

    /// A call lacked a descriptor.
    pub fn note(&mut self) {
        self.at = Some(self.open.max(1));
    }

    /// A session is opened. Twice as many as at the shortage show that it is over.
    pub fn add_session(&mut self) {
        self.open += 1;
        self.at = self.at.filter(|at| self.open < 2 * at);
    }

    /// A session has ended.
    pub fn remove_session(&mut self) {
        self.open -= 1;
    }

    /// Whether the next client could find no descriptor for its target.
    pub fn is_short(&self) -> bool {
        self.at.is_some_and(|at| 2 * (self.open + 1) > at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn descriptors_are_short_until_half_the_sessions_have_ended_or_twice_as_many_are_open() {
        let mut shortage = Shortage::default();
        (0..10).for_each(|_| shortage.add_session());
        assert!(!shortage.is_short());
        shortage.note();
        assert!(shortage.is_short());
        (0..6).for_each(|_| shortage.remove_session());
        assert!(!shortage.is_short(), "five sessions take ten descriptors at most");
        shortage.add_session();
        assert!(shortage.is_short());
        (0..14).for_each(|_| shortage.add_session());
        assert!(shortage.is_short());
        shortage.add_session();
        assert!(!shortage.is_short());
        (0..19).for_each(|_| shortage.remove_session());
        shortage.add_session();
        assert!(!shortage.is_short(), "it is over");
    }
}
