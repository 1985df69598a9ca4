//! Addresses that the rules permit.

use crate::rules::Ident;
use smallvec::SmallVec;
use std::net::Ipv4Addr;

/// An address that the rules permit, and the rule that does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Candidate {
    /// The address.
    pub address: Ipv4Addr,
    /// Line of the rule.
    pub line: u32,
    /// Whether the rule asks for the client's identd.
    pub ident: Ident,
}

/// At least one candidate, in the order in which they are tried.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Candidates(SmallVec<[Candidate; 1]>);

impl Candidates {
    /// These; `None` when there are none.
    pub fn new(candidates: impl IntoIterator<Item = Candidate>) -> Option<Candidates> {
        let list: SmallVec<_> = candidates.into_iter().collect();
        (!list.is_empty()).then_some(Candidates(list))
    }

    /// The first.
    pub fn first(&self) -> Candidate {
        self.0[0]
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = Candidate> + '_ {
        self.0.iter().copied()
    }

    /// The one with this number, from 0.
    pub fn get(&self, number: usize) -> Option<Candidate> {
        self.0.get(number).copied()
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.0.len()
    }
}

/// The peers that a BIND waits for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Peers {
    /// Any that the rules permit; each is evaluated when it comes.
    Anybody,
    /// These.
    Expected(Candidates),
}

/// What a session will do once the client's identd has answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Plan {
    /// Connect to one of these.
    Connect(Candidates),
    /// Listen for one of these.
    Bind(Peers),
}
