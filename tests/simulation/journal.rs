//! All calls of a run and their results, as one number: the same seed leads to the same.

use std::hash::{DefaultHasher, Hash, Hasher};

/// Most bytes of those that a call moves that count; checks look at all of them.
const BYTES_COUNTED: usize = 16;

pub struct Journal(DefaultHasher);

impl Default for Journal {
    fn default() -> Journal {
        // Its keys are always the same.
        Journal(DefaultHasher::new())
    }
}

impl Journal {
    /// A call, or something else that reaches the outside.
    pub fn note(&mut self, what: impl Hash) {
        what.hash(&mut self.0);
    }

    /// Bytes that a call has moved.
    pub fn note_bytes(&mut self, bytes: &[u8]) {
        (bytes.len(), &bytes[..bytes.len().min(BYTES_COUNTED)]).hash(&mut self.0);
    }

    /// What all of it comes to so far.
    pub fn sum(&self) -> u64 {
        self.0.finish()
    }
}
