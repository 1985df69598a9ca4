//! The unit of time.

/// Milliseconds on a clock that only goes forward; where it starts does not matter.
pub type Millis = u64;
