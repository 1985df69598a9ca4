//! Sizes shared by the pool, the relay and the kernel interface.

/// Bytes of a small buffer: the longest request and the replies fit.
pub const SMALL_BYTES: usize = 1024;
/// Room in a pipe, in bytes. It holds pages, not copies: an empty pipe costs only its ring.
pub const PIPE_BYTES: usize = 1 << 20;
