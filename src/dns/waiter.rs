//! A waiter: which name it asks for, and what it has of the answer.

use std::collections::VecDeque;
use std::net::IpAddr;

use super::DnsError;
use super::cache::AddressResult;
use super::family::{Family, QuestionKey};
use crate::name::Name;

pub struct Waiter {
    /// The address of the client.
    pub source: IpAddr,
    pub deadline: u64,
    /// The names not tried yet.
    pub names_left: VecDeque<Name>,
    /// The name that it waits for.
    pub asking: Option<Name>,
    /// The family of that name that was answered first, while the other is open.
    pub first: Option<(Family, AddressResult)>,
    /// The most significant error of the names tried so far.
    pub error: DnsError,
}

impl Waiter {
    pub fn new(source: IpAddr, deadline: u64, names_left: VecDeque<Name>) -> Waiter {
        let error = DnsError::NotFound;
        Waiter { source, deadline, names_left, asking: None, first: None, error }
    }

    /// The questions that it waits for.
    pub fn questions(&self) -> impl Iterator<Item = QuestionKey> {
        let answered = self.first.as_ref().map(|(family, _)| *family);
        let open = Family::BOTH.into_iter().filter(move |family| Some(*family) != answered);
        let name = self.asking.as_ref();
        name.into_iter().flat_map(move |name| open.clone().map(|f| QuestionKey::new(name, f)))
    }

    pub fn has_addresses(&self) -> bool {
        matches!(self.first, Some((_, Ok(_))))
    }
}

/// The error for several names or families without addresses, as in glibc: that a name exists says
/// more than that another does not, and a server that failed might have known.
pub fn most_significant(one: DnsError, other: DnsError) -> DnsError {
    let rank = |error| match error {
        DnsError::NotFound => 0,
        DnsError::NoData => 1,
        DnsError::ServerFailure => 2,
        DnsError::Timeout => 3,
    };
    if rank(other) > rank(one) { other } else { one }
}
