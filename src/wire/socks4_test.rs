//! Tables, and every cut of every message.

use super::*;
use crate::wire::tests::{whole_answer, whole_message};
use crate::wire::{Message, Stage};

fn request(bytes: &[u8]) -> Result<Parsed<Request<'_>>, RequestError> {
    parse_request(bytes)
}

fn address(octets: [u8; 4]) -> Host<'static> {
    Host::Address(octets.into())
}

const VALID: &[&[u8]] = &[
    b"\x04\x01\x00\x50\x7f\x00\x00\x01\x00",
    b"\x04\x02\x00\x15\x0a\x01\x02\x03bob\x00",
    b"\x04\x01\x01\xbb\x00\x00\x00\x01alice\x00www.example.com\x00",
    b"\x04\x02\x01\xbb\x00\x00\x00\xff\x00a\x00",
    b"\x04\x01\x00\x50\x00\x00\x00\x00\x00",
    b"\x04\x01\x00\x50\x00\x00\x00\x01\x00\x00",
];

#[test]
fn every_cut_of_a_valid_request_asks_for_more_and_the_whole_is_done() {
    for whole in VALID {
        let Message::Request(read) = whole_message(Stage::First, whole) else { panic!() };
        assert_eq!(request(whole), Ok(Parsed::Done(read, whole.len())));
    }
}

#[test]
fn fields_are_read_in_network_order() {
    let Ok(Parsed::Done(read, _)) = request(VALID[1]) else { panic!() };
    assert_eq!(read.protocol, Protocol::Socks4);
    assert_eq!(read.command, Command::Bind);
    assert_eq!(read.port, 21);
    assert_eq!(read.host, address([10, 1, 2, 3]));
    assert_eq!(read.user, b"bob");
    let Ok(Parsed::Done(read, _)) = request(VALID[2]) else { panic!() };
    assert_eq!(read.protocol, Protocol::Socks4a);
    assert_eq!(read.host, Host::Name(b"www.example.com"));
    assert_eq!(read.user, b"alice");
}

#[test]
fn zero_address_is_socks4_and_zero_zero_zero_x_is_socks4a() {
    let Ok(Parsed::Done(read, _)) = request(VALID[4]) else { panic!() };
    assert_eq!((read.protocol, read.host), (Protocol::Socks4, address([0; 4])));
    let Ok(Parsed::Done(read, _)) = request(VALID[5]) else { panic!() };
    assert_eq!((read.protocol, read.host), (Protocol::Socks4a, Host::Name(b"")));
    assert!(!marks_name(Ipv4Addr::new(0, 0, 1, 1)));
    assert!(marks_name(Ipv4Addr::new(0, 0, 0, 255)));
}

#[test]
fn only_version_4_with_connect_or_bind_is_served() {
    for version in 0..=255u8 {
        for command in 0..=255u8 {
            let bytes = [version, command, 0, 80, 127, 0, 0, 1, 0];
            let expected = match (version, command) {
                (4, 1 | 2) => Ok(()),
                (4, other) => Err(RequestError::Command(other)),
                (other, _) => Err(RequestError::Version(other)),
            };
            assert_eq!(request(&bytes).map(|_| ()), expected);
            assert_eq!(request(&bytes[..2]).map(|_| ()), expected, "decided by two bytes");
        }
    }
}

#[test]
fn limits_hold_to_the_byte() {
    for (length, fits) in [(0, true), (1, true), (512, true), (513, false), (1 << 20, false)] {
        let mut bytes = b"\x04\x01\x00\x50\x7f\x00\x00\x01".to_vec();
        bytes.resize(8 + length, b'u');
        let unfinished = if fits { Ok(Parsed::More) } else { Err(RequestError::UserTooLong) };
        assert_eq!(request(&bytes), unfinished, "{length} without NUL");
        bytes.push(0);
        assert_eq!(request(&bytes).is_ok(), fits, "{length} with NUL");
    }
    for (length, fits) in [(0, true), (253, true), (254, true), (255, true), (256, false)] {
        let mut bytes = b"\x04\x01\x00\x50\x00\x00\x00\x01user\x00".to_vec();
        bytes.resize(13 + length, b'n');
        let unfinished = if fits { Ok(Parsed::More) } else { Err(RequestError::NameTooLong) };
        assert_eq!(request(&bytes), unfinished, "{length} without NUL");
        bytes.push(0);
        assert_eq!(request(&bytes).is_ok(), fits, "{length} with NUL");
    }
}

#[test]
fn an_encoded_request_parses_back_and_an_invalid_one_is_not_encoded() {
    for whole in &VALID[..5] {
        let Ok(Parsed::Done(read, _)) = request(whole) else { panic!() };
        let mut again = Vec::new();
        encode_request(&read, &mut again).unwrap();
        assert_eq!(request(&again), Ok(Parsed::Done(read, again.len())));
    }
    let base = Request {
        protocol: Protocol::Socks4,
        command: Command::Connect,
        port: 1,
        host: Host::Name(b"x"),
        user: b"",
    };
    let refused = |request: Request<'_>| {
        let mut out = Vec::new();
        let error = encode_request(&request, &mut out).unwrap_err();
        assert!(out.is_empty());
        error
    };
    assert_eq!(refused(Request { user: b"a\0b", ..base }), EncodeError::User);
    assert_eq!(refused(Request { user: &[b'u'; 513], ..base }), EncodeError::User);
    assert_eq!(refused(Request { host: Host::Name(b""), ..base }), EncodeError::Name);
    assert_eq!(refused(Request { host: Host::Name(b"a\0"), ..base }), EncodeError::Name);
    assert_eq!(refused(Request { host: Host::Name(&[b'n'; 256]), ..base }), EncodeError::Name);
    assert_eq!(refused(Request { host: address([0, 0, 0, 9]), ..base }), EncodeError::Address);
    let ipv6 = Host::Address("2001:db8::1".parse().unwrap());
    assert_eq!(refused(Request { host: ipv6, ..base }), EncodeError::Ipv6);
}

#[test]
fn a_reply_has_version_zero_one_of_four_codes_and_an_address() {
    for version in 0..=255 {
        for code in 0..=255 {
            let bytes = [version, code, 0x12, 0x34, 10, 1, 2, 3];
            let address = "10.1.2.3:4660".parse().unwrap();
            let expected = match (version, code) {
                (0, 90..=93) => Ok(Received::Done(ServerReply { code, address })),
                _ => Err(AnswerError),
            };
            assert_eq!(parse_reply(&bytes), expected);
        }
    }
    whole_answer(parse_reply, &[0, 90, 0x12, 0x34, 10, 1, 2, 3]);
    assert_eq!(parse_reply(&[0; 9]), Err(AnswerError), "a reply has eight bytes");
}
