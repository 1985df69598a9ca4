//! Tokens: numbers that the kernel returns with an event to identify its socket.

use crate::dns::{ADDRESSES_MAX, QUERIES_MAX};

/// Most listeners.
pub const LISTENERS_MAX: usize = 32;
/// The first of the tokens that the embedder may use for other sources that wake the loop.
pub const FIRST_USER_TOKEN: usize = LISTENERS_MAX;
/// How many tokens the embedder may use.
pub const USER_TOKENS: usize = 32;
const FIRST_QUERY: usize = FIRST_USER_TOKEN + USER_TOKENS;
const FIRST_CONNECTION: usize = FIRST_QUERY + QUERIES_MAX;
/// Most tokens per connection: one for its client, one for each address of its target.
const PLACES: usize = 32;
const _: () = assert!(TARGET + ADDRESSES_MAX <= PLACES);

/// The place of a connection's client among its tokens.
pub const CLIENT: usize = 0;
/// The place of its target, of the target's first address if it has several, and of the socket in
/// use before there is a target.
pub const TARGET: usize = 1;

/// The meaning of a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Token {
    /// A listener for clients, by its number.
    Listener(usize),
    /// A source of the embedder, by its number.
    User(usize),
    /// The socket of a DNS query, by its place.
    Query(usize),
    /// A socket of the connection in a slot.
    Connection {
        /// The connection's slot.
        slot: usize,
        /// Which of its sockets: [`CLIENT`], or `TARGET` and those after it.
        place: usize,
    },
}

impl Token {
    /// The number for the kernel.
    pub fn number(self) -> usize {
        match self {
            Token::Listener(number) => number,
            Token::User(number) => FIRST_USER_TOKEN + number,
            Token::Query(place) => FIRST_QUERY + place,
            Token::Connection { slot, place } => FIRST_CONNECTION + PLACES * slot + place,
        }
    }

    /// The token of a number.
    pub fn of(number: usize) -> Token {
        if let Some(number) = number.checked_sub(FIRST_CONNECTION) {
            Token::Connection { slot: number / PLACES, place: number % PLACES }
        } else if let Some(place) = number.checked_sub(FIRST_QUERY) {
            Token::Query(place)
        } else if let Some(number) = number.checked_sub(FIRST_USER_TOKEN) {
            Token::User(number)
        } else {
            Token::Listener(number)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_number_is_one_token() {
        for number in 0..FIRST_CONNECTION + 3 * PLACES {
            assert_eq!(Token::of(number).number(), number);
        }
        let last = Token::Connection { slot: (1 << 20) - 1, place: PLACES - 1 };
        assert!(u32::try_from(last.number()).is_ok(), "a gateway's usize has 32 bits");
    }
}
