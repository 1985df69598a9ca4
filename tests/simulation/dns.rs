//! The name servers: they know the truth, and tell it as often as the seed lets them.

use crate::addresses::sub_of;
use crate::kernel::{Datagram, Happening, Kernel};
use crate::names::addresses_of;
use rustix::io::Errno;
use std::net::{IpAddr, SocketAddr};

pub const DNS_PORT: u16 = 53;

const NXDOMAIN: u8 = 3;
const SERVFAIL: u8 = 2;

/// A UDP socket with which a name server is asked.
impl Kernel {
    pub fn open_datagram(&mut self, peer: SocketAddr, token: usize) -> Result<usize, Errno> {
        assert_eq!(peer.port(), DNS_PORT, "a question to {peer}");
        self.lacks(1)?;
        let id = self.fresh_id();
        let inbox = Default::default();
        let socket = Datagram { token, peer, inbox, bounced: false, edge: false };
        self.datagrams.insert(id, socket);
        Ok(id)
    }

    /// A question is on its way to a name server.
    pub fn send_datagram(&mut self, socket: usize, question: &[u8]) -> Result<(), Errno> {
        self.lacks(0)?;
        self.progress += 1;
        let server = self.datagrams[&socket].peer;
        let name = name_in(question);
        self.say(|| format!("  {server} is asked for {name}"));
        self.check_question(server, &name);
        for (delay, answer) in answers(self, server, question) {
            let happening = match answer {
                Some(bytes) => Happening::Datagram(socket, bytes),
                None => Happening::Bounced(socket),
            };
            self.after(delay, happening);
        }
        Ok(())
    }

    pub fn recv_datagram(&mut self, socket: usize, into: &mut [u8]) -> Result<usize, Errno> {
        if self.is_interrupted() {
            return Err(Errno::INTR);
        }
        let Some(socket) = self.datagrams.get_mut(&socket) else { panic!("closed") };
        if std::mem::take(&mut socket.bounced) {
            return Err(Errno::CONNREFUSED);
        }
        let Some(bytes) = socket.inbox.pop_front() else { return Err(Errno::AGAIN) };
        let n = bytes.len().min(into.len());
        into[..n].copy_from_slice(&bytes[..n]);
        self.progress += 1;
        Ok(n)
    }
}

/// What comes back for a question, and when; `None` is an ICMP message.
fn answers(
    kernel: &mut Kernel,
    server: SocketAddr,
    question: &[u8],
) -> Vec<(u64, Option<Vec<u8>>)> {
    let generation = usize::from(sub_of(server.ip()));
    let answer = |code| answer(question, code, generation);
    let truth = answer(None);
    let delay = kernel.random.within(0, 80);
    let truncates = kernel.cast.truncates;
    if kernel.random.chance(truncates) {
        kernel.truncated.insert(name_in(question));
        let mut truncated = answer(Some(0));
        truncated[2] |= 2;
        return vec![(delay, Some(truncated))];
    }
    let honesty = kernel.cast.honesty;
    if kernel.random.chance(honesty) {
        return vec![(delay, Some(truth))];
    }
    match kernel.random.below(5) {
        0 => vec![],
        1 => vec![(delay, None)],
        2 => vec![(delay, Some(answer(Some(SERVFAIL))))],
        3 => vec![(delay, Some(vec![0; 7])), (delay + 1, Some(truth))],
        _ => {
            // A forgery that leads elsewhere, under another id.
            let mut forged = answer(Some(NXDOMAIN));
            forged[0] ^= 0xff;
            vec![(delay, Some(forged)), (delay + 3, Some(truth))]
        }
    }
}

/// The name that is asked for.
pub fn name_in(question: &[u8]) -> String {
    let (mut labels, mut at) = (Vec::new(), 12);
    while question[at] > 0 {
        let end = at + 1 + usize::from(question[at]);
        labels.push(String::from_utf8_lossy(&question[at + 1..end]));
        at = end;
    }
    labels.join(".")
}

/// The answer about the addresses of the family that is asked for.
pub fn answer(question: &[u8], code: Option<u8>, generation: usize) -> Vec<u8> {
    let name = name_in(question);
    let at = 12 + name.len() + 1;
    let is_aaaa = question[at + 1..at + 3] == [0, 28];
    assert!(is_aaaa || question[at + 1..at + 3] == [0, 1], "neither A nor AAAA");
    let addresses = addresses_of(&name, generation);
    let code = code.unwrap_or(if addresses.is_some() { 0 } else { NXDOMAIN });
    let records = addresses.filter(|_| code == 0).unwrap_or_default();
    let records: Vec<IpAddr> = records.into_iter().filter(|one| one.is_ipv6() == is_aaaa).collect();
    let mut bytes = question[..2].to_vec();
    bytes.extend([0x81, 0x80 | code, 0, 1, 0, records.len() as u8, 0, 0, 0, 0]);
    bytes.extend(&question[12..at + 5]);
    for address in records {
        let data = match address {
            IpAddr::V4(address) => address.octets().to_vec(),
            IpAddr::V6(address) => address.octets().to_vec(),
        };
        bytes.extend([0xc0, 12, 0, question[at + 2], 0, 1, 0, 0, 0, 60, 0, data.len() as u8]);
        bytes.extend(data);
    }
    bytes
}
