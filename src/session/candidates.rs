//! Addresses that the rules permit.

use crate::rules::Ident;
use minicbor::decode::{self, Decoder};
use minicbor::encode::{self, Encoder, Write};
use minicbor::{Decode, Encode};
use std::net::IpAddr;

/// An address that the rules permit, and the rule that does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Candidate {
    /// The address.
    #[n(0)]
    pub address: IpAddr,
    /// Line of the rule.
    #[n(1)]
    pub line: u32,
    /// Whether the rule requires the client's identd.
    #[n(2)]
    pub ident: Ident,
}

/// At least one candidate, in the order in which they are tried. Most targets have one address,
/// and it takes no memory of its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Candidates {
    /// One.
    One(Candidate),
    /// The first, and those after it.
    Several(Box<(Candidate, Vec<Candidate>)>),
}

impl Candidates {
    /// A list of these; `None` when there are none.
    pub fn new(candidates: impl IntoIterator<Item = Candidate>) -> Option<Candidates> {
        let mut candidates = candidates.into_iter();
        let first = candidates.next()?;
        let others: Vec<Candidate> = candidates.collect();
        Some(match others.is_empty() {
            true => Candidates::One(first),
            false => Candidates::Several(Box::new((first, others))),
        })
    }

    fn parts(&self) -> (Candidate, &[Candidate]) {
        match self {
            Candidates::One(first) => (*first, &[]),
            Candidates::Several(several) => (several.0, &several.1),
        }
    }

    /// The first.
    pub fn first(&self) -> Candidate {
        self.parts().0
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = Candidate> + '_ {
        let (first, others) = self.parts();
        [first].into_iter().chain(others.iter().copied())
    }

    /// The one with this number, from 0.
    pub fn get(&self, number: usize) -> Option<Candidate> {
        self.iter().nth(number)
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        1 + self.parts().1.len()
    }
}

/// A list of candidates.
impl<C> Encode<C> for Candidates {
    fn encode<W: Write>(
        &self,
        encoder: &mut Encoder<W>,
        cx: &mut C,
    ) -> Result<(), encode::Error<W::Error>> {
        encoder.array(self.count() as u64)?;
        self.iter().try_for_each(|candidate| candidate.encode(encoder, cx))
    }
}

impl<'b, C> Decode<'b, C> for Candidates {
    fn decode(decoder: &mut Decoder<'b>, cx: &mut C) -> Result<Candidates, decode::Error> {
        let candidates: Vec<Candidate> = decoder.decode_with(cx)?;
        Candidates::new(candidates).ok_or_else(|| decode::Error::message("no candidates"))
    }
}

/// The peers that a BIND waits for.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub enum Peers {
    /// Any that the rules permit; each is evaluated when it connects.
    #[n(0)]
    Any,
    /// One of these.
    #[n(1)]
    Expected(#[n(0)] Candidates),
}

/// The next step of a session once the client's identd has answered.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub enum Plan {
    /// Connect to one of these.
    #[n(0)]
    Connect(#[n(0)] Candidates),
    /// Listen for one of these.
    #[n(1)]
    Bind(#[n(0)] Peers),
}
