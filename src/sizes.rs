//! Sizes that the pool, the relay and the kernel's edge agree on.

/// Bytes of a small buffer: the longest request and the replies fit.
pub const SMALL_BYTES: usize = 1024;
/// Room in a pipe, in bytes. It holds pages, not copies: what an empty pipe costs is its ring.
pub const PIPE_BYTES: usize = 1 << 20;
