//! The request of a client, kept to the end of its session for the log.

use crate::cbor::is_unset;
use crate::wire::{Command, Host, Protocol};
use minicbor::bytes::ByteSlice;
use minicbor::decode::{self, Decoder};
use minicbor::encode::{self, Encoder, Write};
use minicbor::{Decode, Encode};
use smallvec::SmallVec;
use std::net::IpAddr;

/// A user and a host of this many bytes together need no allocation.
const TEXT_BYTES: usize = 16;

/// The request, as far as it has been read.
#[derive(Clone, Debug, Default)]
pub struct RequestRecord {
    /// The protocol, once the first byte has told it.
    pub protocol: Option<Protocol>,
    /// CONNECT or BIND.
    pub command: Option<Command>,
    /// DSTPORT.
    pub port: u16,
    /// The user has proved who he is, with the password of SOCKS5.
    pub is_proven: bool,
    host: HostForm,
    user_bytes: u16,
    /// The user, and after it the host as bytes of its form.
    text: SmallVec<[u8; TEXT_BYTES]>,
}

/// How a host is kept.
#[derive(Clone, Copy, Debug, Default)]
enum HostForm {
    #[default]
    Unknown,
    V4,
    V6,
    Name,
}

impl RequestRecord {
    /// Stores USERID, or the user of SOCKS5; before the host.
    pub fn set_user(&mut self, user: &[u8]) {
        self.user_bytes = user.len() as u16;
        self.text = SmallVec::from_slice(user);
    }

    /// Stores the host.
    pub fn set_host(&mut self, host: Host<'_>) {
        self.text.truncate(usize::from(self.user_bytes));
        self.host = match host {
            Host::Address(IpAddr::V4(address)) => {
                self.text.extend_from_slice(&address.octets());
                HostForm::V4
            }
            Host::Address(IpAddr::V6(address)) => {
                self.text.extend_from_slice(&address.octets());
                HostForm::V6
            }
            Host::Name(name) => {
                self.text.extend_from_slice(name);
                HostForm::Name
            }
        };
    }

    /// USERID, or the user of SOCKS5.
    pub fn user(&self) -> &[u8] {
        &self.text[..usize::from(self.user_bytes)]
    }

    /// The host, as the client sent it.
    pub fn host(&self) -> Option<Host<'_>> {
        let bytes = &self.text[usize::from(self.user_bytes)..];
        Some(match self.host {
            HostForm::Unknown => return None,
            HostForm::V4 => Host::Address(<[u8; 4]>::try_from(bytes).ok()?.into()),
            HostForm::V6 => Host::Address(<[u8; 16]>::try_from(bytes).ok()?.into()),
            HostForm::Name => Host::Name(bytes),
        })
    }
}

/// A request as an upgrade hands it over.
#[derive(Encode, Decode)]
#[cbor(map)]
struct Form<'b> {
    #[n(0)]
    protocol: Option<Protocol>,
    #[n(1)]
    command: Option<Command>,
    #[cbor(n(2), skip_if = "is_unset")]
    port: u16,
    #[cbor(n(3), skip_if = "is_unset")]
    is_proven: bool,
    #[b(4)]
    user: Option<&'b ByteSlice>,
    #[n(5)]
    address: Option<IpAddr>,
    #[b(6)]
    name: Option<&'b ByteSlice>,
}

impl<C> Encode<C> for RequestRecord {
    fn encode<W: Write>(
        &self,
        encoder: &mut Encoder<W>,
        cx: &mut C,
    ) -> Result<(), encode::Error<W::Error>> {
        let (address, name) = match self.host() {
            Some(Host::Address(address)) => (Some(address), None),
            Some(Host::Name(name)) => (None, Some(name.into())),
            None => (None, None),
        };
        let user = Some(self.user()).filter(|user| !user.is_empty()).map(Into::into);
        let RequestRecord { protocol, command, port, is_proven, .. } = *self;
        Form { protocol, command, port, is_proven, user, address, name }.encode(encoder, cx)
    }
}

impl<'b, C> Decode<'b, C> for RequestRecord {
    fn decode(decoder: &mut Decoder<'b>, cx: &mut C) -> Result<RequestRecord, decode::Error> {
        let Form { protocol, command, port, is_proven, user, address, name } =
            decoder.decode_with(cx)?;
        let mut record =
            RequestRecord { protocol, command, port, is_proven, ..RequestRecord::default() };
        record.set_user(user.map_or(&[], |user| user));
        let host = address.map(Host::Address).or(name.map(|name| Host::Name(name)));
        host.into_iter().for_each(|host| record.set_host(host));
        Ok(record)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::USER_BYTES_MAX;

    #[test]
    fn user_and_host_are_given_back_as_they_came() {
        let longest = [b'u'; USER_BYTES_MAX];
        for user in [&b""[..], b"bob", b"a user longer than what has room inside", &longest] {
            for host in [
                Host::Address("192.0.2.1".parse().unwrap()),
                Host::Address("2001:db8::1".parse().unwrap()),
                Host::Name(b"www.example.com"),
                Host::Name(b""),
            ] {
                let mut record = RequestRecord::default();
                record.set_user(user);
                assert_eq!((record.user(), record.host()), (user, None));
                record.set_host(host);
                assert_eq!((record.user(), record.host()), (user, Some(host)));
            }
        }
    }
}
