//! Scripted name servers and identds on loopback. Messages are built octet by octet, so that
//! program and test do not share a mistake.

use super::{dial_from, request, request_4a};
use std::io::{Read, Write};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, TcpListener, TcpStream, UdpSocket};
use std::sync::{Arc, Mutex};
use std::thread;

/// Whether the test runs as root. If not, prints that it is skipped, or fails if `CI` is set.
pub fn is_root() -> bool {
    let is_root = rustix::process::geteuid().is_root();
    assert!(is_root || std::env::var_os("CI").is_none(), "this test needs root");
    if !is_root {
        eprintln!("skipped: needs root");
    }
    is_root
}

/// A query as a name server sees it.
#[derive(Clone, Debug)]
pub struct Question {
    pub bytes: Vec<u8>,
    pub name: String,
    /// Whether it asks for IPv6 addresses, and not for IPv4.
    pub is_aaaa: bool,
    pub tcp: bool,
    pub from: SocketAddr,
    /// How many came before it.
    pub number: usize,
}

impl Question {
    pub fn read(bytes: &[u8], tcp: bool, from: SocketAddr, number: usize) -> Question {
        let name = name_in(bytes);
        let kind = &bytes[12 + wire(&name).len()..][..2];
        assert!(matches!(kind, [0, 1 | 28]), "neither A nor AAAA: {kind:?}");
        let (is_aaaa, bytes) = (kind == [0, 28], bytes.to_vec());
        Question { bytes, name, is_aaaa, tcp, from, number }
    }
}

/// A name server on a loopback port, UDP and TCP.
pub struct NameServer {
    pub address: SocketAddrV4,
    seen: Arc<Mutex<Vec<Question>>>,
}

impl NameServer {
    /// Answers each query for IPv4 addresses with the messages that `answer` returns. Over TCP it
    /// then closes the connection. No name has an IPv6 address, and queries for these are not
    /// counted.
    pub fn start(answer: impl Fn(&Question) -> Vec<Vec<u8>> + Send + Sync + 'static) -> NameServer {
        NameServer::start_at(SocketAddrV4::new(Ipv4Addr::LOCALHOST, 0), answer)
    }

    pub fn start_at(
        at: SocketAddrV4,
        answer: impl Fn(&Question) -> Vec<Vec<u8>> + Send + Sync + 'static,
    ) -> NameServer {
        NameServer::start_counting(
            at,
            |question| !question.is_aaaa,
            move |question| {
                if question.is_aaaa { no_address(question) } else { answer(question) }
            },
        )
    }

    /// Answers, and counts, the queries for addresses of both families.
    pub fn start_both(
        answer: impl Fn(&Question) -> Vec<Vec<u8>> + Send + Sync + 'static,
    ) -> NameServer {
        NameServer::start_counting(SocketAddrV4::new(Ipv4Addr::LOCALHOST, 0), |_| true, answer)
    }

    /// Answers each query, and counts those that `counts` tells.
    pub fn start_counting(
        at: SocketAddrV4,
        counts: fn(&Question) -> bool,
        answer: impl Fn(&Question) -> Vec<Vec<u8>> + Send + Sync + 'static,
    ) -> NameServer {
        let (tcp, udp) = bind_both(at);
        let SocketAddr::V4(address) = udp.local_addr().unwrap() else { unreachable!() };
        let seen = Arc::new(Mutex::new(Vec::new()));
        let record = {
            let seen = seen.clone();
            move |bytes: &[u8], tcp, from| {
                let mut seen = seen.lock().unwrap();
                let question = Question::read(bytes, tcp, from, seen.len());
                seen.extend(Some(question.clone()).filter(counts));
                question
            }
        };
        let answer = Arc::new(answer);
        let (record_tcp, answer_tcp) = (record.clone(), answer.clone());
        thread::spawn(move || {
            let mut bytes = [0; 2048];
            while let Ok((length, from)) = udp.recv_from(&mut bytes) {
                for message in answer(&record(&bytes[..length], false, from)) {
                    let _ = udp.send_to(&message, from);
                }
            }
        });
        thread::spawn(move || {
            for mut stream in tcp.incoming().map_while(Result::ok) {
                let (record, answer) = (record_tcp.clone(), answer_tcp.clone());
                thread::spawn(move || {
                    let mut length = [0; 2];
                    stream.read_exact(&mut length).ok()?;
                    let mut bytes = vec![0; usize::from(u16::from_be_bytes(length))];
                    stream.read_exact(&mut bytes).ok()?;
                    let from = stream.peer_addr().ok()?;
                    for message in answer(&record(&bytes, true, from)) {
                        stream.write_all(&(message.len() as u16).to_be_bytes()).ok()?;
                        stream.write_all(&message).ok()?;
                    }
                    Some(())
                });
            }
        });
        NameServer { address, seen }
    }

    /// The queries so far.
    pub fn seen(&self) -> Vec<Question> {
        self.seen.lock().unwrap().clone()
    }

    /// The names queried so far.
    pub fn names(&self) -> Vec<String> {
        self.seen().into_iter().map(|question| question.name).collect()
    }
}

/// TCP and UDP on the same port.
fn bind_both(at: SocketAddrV4) -> (TcpListener, UdpSocket) {
    for _ in 0..100 {
        let tcp = TcpListener::bind(at).unwrap();
        if let Ok(udp) = UdpSocket::bind(tcp.local_addr().unwrap()) {
            return (tcp, udp);
        }
    }
    panic!("no port of {at} is free for both TCP and UDP");
}

fn name_in(query: &[u8]) -> String {
    let (mut at, mut labels) = (12, Vec::new());
    while query[at] != 0 {
        let end = at + 1 + usize::from(query[at]);
        labels.push(String::from_utf8(query[at + 1..end].to_vec()).unwrap());
        at = end;
    }
    labels.join(".")
}

/// A name on the wire; `&` is a pointer to the question.
pub fn wire(name: &str) -> Vec<u8> {
    if name == "&" {
        return vec![0xc0, 12];
    }
    let labels = name.split('.').filter(|label| !label.is_empty());
    let mut bytes: Vec<u8> =
        labels.flat_map(|label| [&[label.len() as u8], label.as_bytes()].concat()).collect();
    bytes.push(0);
    bytes
}

/// A record of class IN with a TTL of 60 seconds.
pub fn record(owner: &str, kind: u16, data: &[u8]) -> Vec<u8> {
    let mut bytes = wire(owner);
    bytes.extend(kind.to_be_bytes());
    bytes.extend([0, 1, 0, 0, 0, 60]);
    bytes.extend((data.len() as u16).to_be_bytes());
    bytes.extend(data);
    bytes
}

pub fn a(owner: &str, address: [u8; 4]) -> Vec<u8> {
    record(owner, 1, &address)
}

pub fn aaaa(owner: &str, address: Ipv6Addr) -> Vec<u8> {
    record(owner, 28, &address.octets())
}

pub fn cname(owner: &str, target: &str) -> Vec<u8> {
    record(owner, 5, &wire(target))
}

/// An answer with these records; the low bits of `flags` are the code, 0x0200 is TC.
pub fn reply(question: &Question, flags: u16, records: &[Vec<u8>]) -> Vec<u8> {
    let mut bytes = question.bytes[..2].to_vec();
    for number in [0x8180 | flags, 1, records.len() as u16, 0, 0] {
        bytes.extend(number.to_be_bytes());
    }
    bytes.extend(wire(&question.name));
    bytes.extend([0, if question.is_aaaa { 28 } else { 1 }, 0, 1]);
    bytes.extend(records.concat());
    bytes
}

/// An answer with these addresses.
pub fn addresses(question: &Question, list: &[[u8; 4]]) -> Vec<Vec<u8>> {
    let records: Vec<_> = list.iter().map(|address| a("&", *address)).collect();
    vec![reply(question, 0, &records)]
}

/// An answer that the name has no address of this family, and will have none for a minute.
pub fn no_address(question: &Question) -> Vec<Vec<u8>> {
    let mut message = reply(question, 0, &[]);
    // One record in the authority section.
    message[9] = 1;
    let numbers = [1u32, 3600, 600, 86400, 60].map(u32::to_be_bytes).concat();
    message.extend(record("&", 6, &[wire("ns.test"), wire("root.test"), numbers].concat()));
    vec![message]
}

/// Sends a CONNECT by name on a new connection.
pub fn ask(proxy: &super::Proxy, name: &[u8], port: u16) -> TcpStream {
    let mut stream = proxy.dial();
    stream.write_all(&request_4a(1, name, port, b"")).unwrap();
    stream
}

/// Sends a CONNECT on a new connection from `source`.
pub fn connect_from(
    source: Ipv4Addr,
    proxy: SocketAddrV4,
    target: SocketAddrV4,
    user: &[u8],
) -> TcpStream {
    let mut stream = dial_from(source, proxy);
    stream.write_all(&request(1, target, user)).unwrap();
    stream
}
