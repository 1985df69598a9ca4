//! Protocol, command and stage as numbers in the record that an upgrade hands over.

use super::{Command, Protocol, Stage};
use minicbor::decode::{self, Decoder};
use minicbor::encode::{self, Encoder, Write};
use minicbor::{Decode, Encode};

/// Gives each variant a number, which stays as it is in later versions.
macro_rules! numbered {
    ($name:ident { $($number:literal = $variant:ident,)* }) => {
        impl<C> Encode<C> for $name {
            fn encode<W: Write>(
                &self,
                encoder: &mut Encoder<W>,
                _: &mut C,
            ) -> Result<(), encode::Error<W::Error>> {
                encoder.u8(match self { $($name::$variant => $number,)* })?.ok()
            }
        }

        impl<'b, C> Decode<'b, C> for $name {
            fn decode(decoder: &mut Decoder<'b>, _: &mut C) -> Result<$name, decode::Error> {
                match decoder.u8()? {
                    $($number => Ok($name::$variant),)*
                    other => Err(decode::Error::unknown_variant(other.into())),
                }
            }
        }
    };
}

numbered!(Protocol { 0 = Socks4, 1 = Socks4a, 2 = Socks5, });
numbered!(Command { 1 = Connect, 2 = Bind, });
numbered!(Stage { 0 = First, 1 = Password, 2 = Request, });
