//! The request of a client, kept to the end of its session for the log.

use crate::wire::Command;
use smallvec::SmallVec;
use std::net::Ipv4Addr;

/// A USERID and a name of this many bytes together need no allocation.
const TEXT_BYTES: usize = 32;

/// The request, once it has been read.
#[derive(Default)]
pub struct RequestRecord {
    /// CONNECT or BIND.
    pub command: Option<Command>,
    /// DSTPORT.
    pub port: u16,
    /// DSTIP, when the request gave an address.
    pub host: Option<Ipv4Addr>,
    user_bytes: u16,
    /// USERID, and after it the name of a SOCKS4A request.
    text: SmallVec<[u8; TEXT_BYTES]>,
}

impl RequestRecord {
    /// Stores the USERID and the name, which is empty when there is none.
    pub fn set_text(&mut self, user: &[u8], name: &[u8]) {
        self.user_bytes = user.len() as u16;
        self.text = SmallVec::from_slice(user);
        self.text.extend_from_slice(name);
    }

    /// USERID.
    pub fn user(&self) -> &[u8] {
        &self.text[..usize::from(self.user_bytes)]
    }

    /// The name of a SOCKS4A request, as the client sent it.
    pub fn name(&self) -> Option<&[u8]> {
        Some(&self.text[usize::from(self.user_bytes)..]).filter(|name| !name.is_empty())
    }
}
