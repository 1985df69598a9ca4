//! Encodes queries and parses responses.

use std::net::IpAddr;

use domain::base::iana::{Class, Opcode, OptRcode, Rcode, Rtype};
use domain::base::message::RecordSection;
use domain::base::{Message, MessageBuilder, Name as WireName, ParsedName, Question, Ttl};
use domain::dep::octseq::array::Array;
use domain::rdata::{A, Aaaa, Cname, Soa};

use super::ADDRESSES_MAX;
use super::cache::{AddressResult, NEGATIVE_TTL_S_MAX, TTL_S_MAX};
use super::family::{Family, QuestionKey};
use super::{DnsError, cache};
use crate::name::Name;

/// The largest UDP answer requested: one that passes every path unfragmented (DNS flag day 2020). A
/// receive buffer of this size loses nothing.
pub const DATAGRAM_BYTES_MAX: usize = 1232;
/// The largest answer read over TCP; [`RECORDS_MAX`] addresses fit many times over.
pub const STREAM_ANSWER_BYTES_MAX: usize = 16 * 1024;
/// Most CNAMEs followed from the question to its addresses.
pub const CHAIN_MAX: usize = 16;
/// Most records in the answer section; an answer with more is a failure. It bounds the work that a
/// hostile answer can cause.
pub const RECORDS_MAX: usize = 256;

/// Header, name, type, class and an OPT record without options.
const QUERY_BYTES_MAX: usize = 12 + 255 + 4 + 11;

/// A query message to one server.
#[derive(Clone, Debug)]
pub struct QueryMessage<'a> {
    pub id: u16,
    pub question: &'a QuestionKey,
    /// Whether it carries an OPT record (RFC 6891).
    pub edns: bool,
}

impl QueryMessage<'_> {
    pub fn encode(&self) -> Vec<u8> {
        let name = wire_name(&self.question.name);
        let name = WireName::from_slice(&name).expect("a valid name fits the wire");
        let target = Array::<QUERY_BYTES_MAX>::default();
        let mut header = MessageBuilder::from_target(target).expect("room for a header");
        header.header_mut().set_id(self.id);
        header.header_mut().set_rd(true);
        let mut question = header.question();
        question.push(Question::new_in(name, self.record_type())).expect("room for a question");
        let mut additional = question.additional();
        if self.edns {
            let size = |opt: &mut domain::base::message_builder::OptBuilder<'_, _>| {
                opt.set_udp_payload_size(DATAGRAM_BYTES_MAX as u16);
                Ok(())
            };
            additional.opt(size).expect("room for an OPT record");
        }
        additional.as_slice().to_vec()
    }

    /// Parses a message from the queried server. Only a match of id and question is accepted (RFC
    /// 5452 section 9.1); anything else may be a forgery, and the true answer may still come.
    pub fn parse_response(&self, bytes: &[u8]) -> Response {
        let Ok(message) = Message::from_slice(bytes) else { return Response::Unrelated };
        let header = message.header();
        if header.id() != self.id || !header.qr() || header.opcode() != Opcode::QUERY {
            return Response::Unrelated;
        }
        // A server too old for EDNS may not even repeat the question (RFC 6891 section 7).
        let is_bare_error = matches!(header.rcode(), Rcode::FORMERR | Rcode::NOTIMP);
        if is_bare_error && message.header_counts().qdcount() == 0 {
            return self.refused_edns();
        }
        if !self.matches_question(message) {
            return Response::Unrelated;
        }
        if header.tc() {
            return Response::Truncated;
        }
        match message.opt_rcode() {
            OptRcode::NOERROR => self.read_answer(message).unwrap_or(Response::Unrelated),
            OptRcode::NXDOMAIN => {
                Response::Answer(Err(DnsError::NotFound), negative_ttl_s(message))
            }
            OptRcode::FORMERR | OptRcode::NOTIMP | OptRcode::BADVERS => self.refused_edns(),
            _ => Response::Failure,
        }
    }

    fn refused_edns(&self) -> Response {
        if self.edns { Response::NoEdns } else { Response::Failure }
    }

    fn record_type(&self) -> Rtype {
        match self.question.family {
            Family::V6 => Rtype::AAAA,
            Family::V4 => Rtype::A,
        }
    }

    fn matches_question(&self, message: &Message<[u8]>) -> bool {
        let name = wire_name(&self.question.name);
        let name = WireName::from_slice(&name).expect("a valid name fits the wire");
        message.sole_question().is_ok_and(|question| {
            // Crate domain compares names case-insensitively.
            question.qname() == name
                && question.qtype() == self.record_type()
                && question.qclass() == Class::IN
        })
    }

    /// `None` when the records cannot be parsed.
    fn read_answer(&self, message: &Message<[u8]>) -> Option<Response> {
        let header = message.header();
        if usize::from(message.header_counts().ancount()) > RECORDS_MAX {
            return Some(Response::Failure);
        }
        let (aliases, addresses) = records(message.answer().ok()?, self.record_type())?;
        if message.header_counts().ancount() == 0 && !header.aa() && !header.ra() {
            // A referral: this server does not recurse. glibc tries the next server as well.
            return Some(Response::Failure);
        }
        let mut name = message.sole_question().ok()?.into_qname();
        let mut ttl_s = cache::TTL_S_MAX;
        for _ in 0..=CHAIN_MAX {
            let mut found: Vec<IpAddr> = Vec::new();
            for (_, ttl, address) in addresses.iter().filter(|(owner, ..)| *owner == name) {
                ttl_s = ttl_s.min(seconds(*ttl));
                if found.len() < ADDRESSES_MAX && !found.contains(address) {
                    found.push(*address);
                }
            }
            if !found.is_empty() {
                return Some(Response::Answer(Ok(found.into()), ttl_s));
            }
            let Some((_, ttl, target)) = aliases.iter().find(|(owner, ..)| *owner == name) else {
                let ttl_s = ttl_s.min(negative_ttl_s(message));
                return Some(Response::Answer(Err(DnsError::NoData), ttl_s));
            };
            ttl_s = ttl_s.min(seconds(*ttl));
            name = *target;
        }
        Some(Response::Failure)
    }
}

/// The response to a query.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Response {
    /// Not an answer to this question, or not a DNS message at all.
    Unrelated,
    /// The whole answer requires TCP (TC).
    Truncated,
    /// The server does not accept the OPT record.
    NoEdns,
    /// The server cannot or will not answer (SERVFAIL, REFUSED, a referral, an endless chain).
    Failure,
    /// The answer and its TTL in seconds.
    Answer(AddressResult, u32),
}

type Found<'a, T> = Vec<(ParsedName<&'a [u8]>, Ttl, T)>;

/// The CNAME records and those with addresses of the type that was asked for, of class IN.
#[allow(clippy::type_complexity)]
fn records<'a>(
    section: RecordSection<'a, [u8]>,
    wanted: Rtype,
) -> Option<(Found<'a, ParsedName<&'a [u8]>>, Found<'a, IpAddr>)> {
    let (mut aliases, mut addresses) = (Vec::new(), Vec::new());
    for record in section {
        let record = record.ok()?;
        match record.rtype() {
            _ if record.class() != Class::IN => {}
            Rtype::A if wanted == Rtype::A => {
                let read = record.into_record::<A>().ok()??;
                addresses.push((*read.owner(), read.ttl(), read.data().addr().into()));
            }
            Rtype::AAAA if wanted == Rtype::AAAA => {
                let read = record.into_record::<Aaaa>().ok()??;
                // An IPv4 address written as IPv6 is connected to, and judged, as IPv4.
                let address = read.data().addr().to_canonical();
                addresses.push((*read.owner(), read.ttl(), address));
            }
            Rtype::CNAME => {
                let read = record.into_record::<Cname<ParsedName<&[u8]>>>().ok()??;
                aliases.push((*read.owner(), read.ttl(), *read.data().cname()));
            }
            _ => {}
        }
    }
    Some((aliases, addresses))
}

/// The TTL of a negative answer: the lesser of the SOA's TTL and its MINIMUM (RFC 2308 section 5).
/// Without a SOA the answer is not cached.
fn negative_ttl_s(message: &Message<[u8]>) -> u32 {
    let Ok(section) = message.authority() else { return 0 };
    let mut records = section.take(RECORDS_MAX).map_while(Result::ok);
    let soa = records.find(|record| record.class() == Class::IN && record.rtype() == Rtype::SOA);
    let soa = soa.and_then(|record| record.into_record::<Soa<ParsedName<&[u8]>>>().ok().flatten());
    soa.map_or(0, |soa| {
        seconds(soa.ttl()).min(seconds(soa.data().minimum())).min(NEGATIVE_TTL_S_MAX)
    })
}

/// A TTL with the top bit set counts as zero (RFC 2181 section 8).
fn seconds(ttl: Ttl) -> u32 {
    let seconds = ttl.as_secs();
    if seconds > i32::MAX as u32 { 0 } else { seconds.min(TTL_S_MAX) }
}

/// Length octet and label, label by label, and the root.
fn wire_name(name: &Name) -> Vec<u8> {
    let mut wire = Vec::with_capacity(name.as_str().len() + 2);
    for label in name.as_str().split('.') {
        wire.push(label.len() as u8);
        wire.extend_from_slice(label.as_bytes());
    }
    wire.push(0);
    wire
}

#[cfg(test)]
#[path = "message_test.rs"]
mod tests;
