//! The messages of SOCKS5, built and read octet by octet, so that program and test do not share a
//! mistake.

use super::{Proxy, with_deadline};
use std::io::{Read, Write};
use std::net::{IpAddr, SocketAddr, TcpStream};

/// CONNECT or BIND, as the byte of a request.
pub const CONNECT: u8 = 1;
pub const BIND: u8 = 2;

/// A greeting that offers these methods.
pub fn greeting(methods: &[u8]) -> Vec<u8> {
    [&[5, methods.len() as u8], methods].concat()
}

/// User and password.
pub fn password(user: &str, password: &str) -> Vec<u8> {
    let counted = |text: &str| [&[text.len() as u8], text.as_bytes()].concat();
    [vec![1], counted(user), counted(password)].concat()
}

/// A request for an address, or else for a name.
pub fn request5(command: u8, host: &str, port: u16) -> Vec<u8> {
    let host = match host.parse::<IpAddr>() {
        Ok(IpAddr::V4(ip)) => [&[1], &ip.octets()[..]].concat(),
        Ok(IpAddr::V6(ip)) => [&[4], &ip.octets()[..]].concat(),
        Err(_) => [&[3, host.len() as u8], host.as_bytes()].concat(),
    };
    [&[5, command, 0], &host[..], &port.to_be_bytes()].concat()
}

/// Reads a reply: code and address.
pub fn read_reply5(stream: &mut TcpStream) -> (u8, SocketAddr) {
    let mut head = [0; 4];
    stream.read_exact(&mut head).unwrap();
    assert_eq!((head[0], head[2]), (5, 0), "VER and RSV of a reply");
    let (mut v4, mut v6, mut port) = ([0; 4], [0; 16], [0; 2]);
    let ip: IpAddr = match head[3] {
        1 => stream.read_exact(&mut v4).map(|()| v4.into()).unwrap(),
        4 => stream.read_exact(&mut v6).map(|()| v6.into()).unwrap(),
        other => panic!("ATYP {other}"),
    };
    stream.read_exact(&mut port).unwrap();
    (head[1], SocketAddr::new(ip, u16::from_be_bytes(port)))
}

/// Reads so many bytes.
pub fn read_bytes<const N: usize>(stream: &mut TcpStream) -> [u8; N] {
    let mut bytes = [0; N];
    stream.read_exact(&mut bytes).unwrap();
    bytes
}

impl Proxy {
    /// The IPv6 address that it listens on.
    pub fn address6(&self) -> SocketAddr {
        let line = self.wait_log("listening on [");
        line.rsplit(' ').next().unwrap().parse().unwrap()
    }

    /// A connection whose request SOCKS5 without a password has answered with this.
    pub fn ask5(&self, command: u8, host: &str, port: u16) -> (TcpStream, u8, SocketAddr) {
        let mut stream = self.dial();
        stream.write_all(&greeting(&[0])).unwrap();
        assert_eq!(read_bytes(&mut stream), [5, 0]);
        stream.write_all(&request5(command, host, port)).unwrap();
        let (code, address) = read_reply5(&mut stream);
        (stream, code, address)
    }
}

/// A connection to any address.
pub fn dial(to: SocketAddr) -> TcpStream {
    with_deadline(TcpStream::connect(to).unwrap())
}
