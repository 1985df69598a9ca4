//! Why a record cannot be taken over.

use std::fmt;

/// Why a record cannot be taken over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HandoverError {
    /// The bytes do not begin with a header.
    NoHeader,
    /// The record is in another format than this version reads.
    Format {
        /// The format found.
        found: u32,
        /// The format that this version reads.
        expected: u32,
        /// The version that wrote it.
        version: String,
    },
    /// The record is truncated, or says what this version does not know.
    Damaged {
        /// The version that wrote it.
        version: String,
        /// What was found, and where.
        error: String,
    },
    /// The record names a descriptor that is not there.
    NoDescriptor {
        /// Its index.
        descriptor: u32,
        /// How many there are.
        given: usize,
    },
    /// The record names a descriptor twice.
    NamedTwice {
        /// Its index.
        descriptor: u32,
    },
    /// A time in the record is later than when it was written, or that is later than now.
    LaterThanNow,
    /// A listener for clients cannot be taken over.
    Listener {
        /// The error of the kernel.
        error: String,
    },
}

impl fmt::Display for HandoverError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        use HandoverError::*;
        match self {
            NoHeader => f.write_str("no handover record: the header is missing"),
            Format { found, expected, version } => {
                write!(
                    f,
                    "handover format {found} of version {version}, expected format {expected}"
                )
            }
            Damaged { version, error } => {
                write!(f, "handover record of version {version}: {error}")
            }
            NoDescriptor { descriptor, given } => {
                write!(f, "handover record: descriptor {descriptor} of {given}")
            }
            NamedTwice { descriptor } => {
                write!(f, "handover record: descriptor {descriptor} is named twice")
            }
            LaterThanNow => f.write_str("handover record: a time that has not come yet"),
            Listener { error } => write!(f, "taking over a listener: {error}"),
        }
    }
}

impl std::error::Error for HandoverError {}
