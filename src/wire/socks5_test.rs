//! Tables, and every cut of every message.

use super::*;
use crate::wire::Stage;
use crate::wire::tests::{whole_answer, whole_message};

/// 2001:db8::9 on the wire.
const IPV6: &[u8; 16] = b"\x20\x01\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\x09";

fn greeting(bytes: &[u8]) -> Methods {
    let Message::Greeting(methods) = whole_message(Stage::First, bytes) else { panic!() };
    methods
}

fn request(bytes: &[u8]) -> Request<'_> {
    let Message::Request(request) = whole_message(Stage::Request, bytes) else { panic!() };
    request
}

fn ip(text: &str) -> Host<'static> {
    Host::Address(text.parse().unwrap())
}

#[test]
fn a_greeting_offers_methods_and_unknown_ones_are_ignored() {
    for (bytes, none, password) in [
        (&b"\x05\x00"[..], false, false),
        (b"\x05\x01\x00", true, false),
        (b"\x05\x01\x02", false, true),
        (b"\x05\x02\x00\x02", true, true),
        (b"\x05\x02\x02\x00", true, true),
        (b"\x05\x03\x01\x80\xff", false, false),
        (b"\x05\x04\x01\x02\x02\x03", false, true),
    ] {
        assert_eq!(greeting(bytes), Methods { none, password }, "{bytes:?}");
    }
    for method in 0..=255 {
        let methods = Methods { none: method == 0, password: method == 2 };
        assert_eq!(greeting(&[5, 1, method]), methods);
    }
    for count in 0..=255u8 {
        let mut bytes = vec![5, count];
        bytes.resize(2 + usize::from(count), 7);
        assert_eq!(greeting(&bytes), Methods::default());
    }
}

#[test]
fn a_password_message_gives_user_and_password_of_any_length_and_any_bytes() {
    for (bytes, user, password) in [
        (&b"\x01\x03bob\x06secret"[..], &b"bob"[..], &b"secret"[..]),
        (b"\x01\x00\x00", b"", b""),
        (b"\x01\x00\x01p", b"", b"p"),
        (b"\x01\x01u\x00", b"u", b""),
        (b"\x01\x02\0\xff\x02\xff\0", b"\0\xff", b"\xff\0"),
    ] {
        assert_eq!(whole_message(Stage::Password, bytes), Message::Password { user, password });
    }
    for length in 0..=255u8 {
        let text = vec![b'x'; length.into()];
        let bytes = [&[1, length][..], &text, &[length], &text].concat();
        let expected = Message::Password { user: &text, password: &text };
        assert_eq!(whole_message(Stage::Password, &bytes), expected);
    }
}

#[test]
fn a_request_has_a_target_of_one_of_three_types() {
    let head = |command, address_type| vec![5, command, 0, address_type];
    let ipv6 = [&head(2, 4)[..], IPV6, b"\x12\x34"].concat();
    let mapped = [&head(1, 4)[..], &[0; 10], &[0xff, 0xff, 10, 1, 2, 3], b"\0\x50"].concat();
    for (bytes, command, host, port) in [
        (&b"\x05\x01\0\x01\x0a\x01\x02\x03\x12\x34"[..], Command::Connect, ip("10.1.2.3"), 0x1234),
        (b"\x05\x02\0\x01\0\0\0\0\0\0", Command::Bind, ip("0.0.0.0"), 0),
        (b"\x05\x01\0\x01\0\0\0\x01\0\x50", Command::Connect, ip("0.0.0.1"), 80),
        (b"\x05\x01\0\x03\x06a.test\0\x50", Command::Connect, Host::Name(b"a.test"), 80),
        (b"\x05\x01\0\x03\0\0\x50", Command::Connect, Host::Name(b""), 80),
        (b"\x05\x02\0\x03\x03\0\xff:\0\x50", Command::Bind, Host::Name(b"\0\xff:"), 80),
        (&ipv6, Command::Bind, ip("2001:db8::9"), 0x1234),
        (&mapped, Command::Connect, ip("10.1.2.3"), 80),
    ] {
        let read = request(bytes);
        let expected = Request { protocol: Protocol::Socks5, command, port, host, user: b"" };
        assert_eq!(read, expected, "{bytes:?}");
    }
    for length in 0..=255u8 {
        let name = vec![b'n'; length.into()];
        let bytes = [&head(1, 3)[..], &[length], &name, b"\0\x50"].concat();
        assert_eq!(request(&bytes).host, Host::Name(&name));
    }
}

#[test]
fn the_version_of_each_message_is_decided_by_its_first_byte() {
    for version in 0..=255 {
        let check = |stage, valid: &[u8], expected| {
            let mut bytes = valid.to_vec();
            bytes[0] = version;
            let outcome = |bytes| match crate::wire::parse_message(stage, bytes) {
                Ok(_) => Ok(()),
                Err(error) => Err(error),
            };
            let wanted =
                if version == expected { Ok(()) } else { Err(RequestError::Version(version)) };
            assert_eq!(outcome(&bytes[..1]), wanted, "{stage:?}");
            assert_eq!(outcome(&bytes), wanted, "{stage:?}");
        };
        check(Stage::Password, b"\x01\x01u\x01p", 1);
        check(Stage::Request, b"\x05\x01\0\x01\x0a\x01\x02\x03\x12\x34", 5);
    }
}

#[test]
fn command_and_address_type_are_decided_by_their_byte_and_rsv_by_none() {
    for byte in 0..=255 {
        let error = |bytes: &[u8]| parse_request(bytes).err();
        let command = match byte {
            1 | 2 => None,
            other => Some(RequestError::Command(other)),
        };
        assert_eq!(error(&[5, byte]), command);
        assert_eq!(error(&[5, byte, 0, 9]), command.or(Some(RequestError::AddressType(9))));
        let address_type = match byte {
            1 | 3 | 4 => None,
            other => Some(RequestError::AddressType(other)),
        };
        assert_eq!(error(&[5, 1, 0, byte]), address_type);
        assert_eq!(error(&[5, 1, 0, byte, 1]), address_type);
        let bytes = [5, 1, byte, 1, 10, 1, 2, 3, 0, 80];
        assert_eq!(request(&bytes).host, ip("10.1.2.3"), "any RSV");
    }
}

#[test]
fn encoded_messages_parse_back_and_invalid_ones_are_not_encoded() {
    for (none, password, bytes) in [
        (false, false, &b"\x05\x00"[..]),
        (true, false, b"\x05\x01\x00"),
        (false, true, b"\x05\x01\x02"),
        (true, true, b"\x05\x02\x00\x02"),
    ] {
        let (methods, mut out) = (Methods { none, password }, Vec::new());
        encode_greeting(methods, &mut out);
        assert_eq!((&out[..], greeting(&out)), (bytes, methods));
    }
    let mut out = Vec::new();
    encode_password(b"bob", b"secret", &mut out).unwrap();
    assert_eq!(out, b"\x01\x03bob\x06secret");
    let long = [b'x'; 256];
    for (user, password, error) in [
        (&b""[..], &b"p"[..], EncodeError::User),
        (&long, b"p", EncodeError::User),
        (b"u", b"", EncodeError::Password),
        (b"u", &long, EncodeError::Password),
    ] {
        let mut out = Vec::new();
        assert_eq!(encode_password(user, password, &mut out), Err(error));
        assert!(out.is_empty());
    }
    encode_password(&long[1..], &long[1..], &mut Vec::new()).unwrap();
    let base = Request {
        protocol: Protocol::Socks5,
        command: Command::Bind,
        port: 0x1234,
        host: ip("10.1.2.3"),
        user: b"",
    };
    let ipv6 = [b"\x05\x02\0\x04", &IPV6[..], b"\x12\x34"].concat();
    for (host, bytes) in [
        (base.host, &b"\x05\x02\0\x01\x0a\x01\x02\x03\x12\x34"[..]),
        (ip("0.0.0.1"), b"\x05\x02\0\x01\0\0\0\x01\x12\x34"),
        (Host::Name(b"a.test"), b"\x05\x02\0\x03\x06a.test\x12\x34"),
        (ip("2001:db8::9"), &ipv6),
    ] {
        let (asked, mut out) = (Request { host, ..base }, Vec::new());
        encode_request(&asked, &mut out).unwrap();
        assert_eq!((&out[..], request(&out)), (bytes, asked));
    }
    for name in [&b""[..], b"a\0", &long] {
        let mut out = Vec::new();
        let asked = Request { host: Host::Name(name), ..base };
        assert_eq!(encode_request(&asked, &mut out), Err(EncodeError::Name));
        assert!(out.is_empty());
    }
}

#[test]
fn a_method_is_one_of_those_known_or_none_is_acceptable() {
    for version in 0..=255 {
        for method in 0..=255 {
            let expected = match (version, method) {
                (5, 0) => Ok(Received::Done(Some(Method::None))),
                (5, 2) => Ok(Received::Done(Some(Method::Password))),
                (5, 255) => Ok(Received::Done(None)),
                _ => Err(AnswerError),
            };
            assert_eq!(parse_method(&[version, method]), expected);
        }
    }
    whole_answer(parse_method, b"\x05\x02");
    assert_eq!(parse_method(b"\x05\x00\x00"), Err(AnswerError), "it has two bytes");
}

#[test]
fn any_password_status_but_zero_is_a_refusal() {
    for version in 0..=255 {
        for status in 0..=255 {
            let expected = match (version, status) {
                (1, status) => Ok(Received::Done(status == 0)),
                _ => Err(AnswerError),
            };
            assert_eq!(parse_password_status(&[version, status]), expected);
        }
    }
    whole_answer(parse_password_status, b"\x01\x00");
    assert_eq!(parse_password_status(b"\x01\x00\x00"), Err(AnswerError), "it has two bytes");
}

#[test]
fn a_reply_may_have_any_code_and_an_address_of_one_of_three_types() {
    let named = |length: u8| [&[5, 0, 0, 3, length][..], &vec![b'n'; length.into()]].concat();
    let end = &b"\x12\x34"[..];
    let (ipv6, short, long) = (
        [b"\x05\0\0\x04", &IPV6[..], end].concat(),
        [&named(0)[..], end].concat(),
        [&named(255)[..], end].concat(),
    );
    for (bytes, address) in [
        (&b"\x05\0\0\x01\x0a\x01\x02\x03\x12\x34"[..], "10.1.2.3:4660"),
        (b"\x05\0\xff\x01\x0a\x01\x02\x03\x12\x34", "10.1.2.3:4660"),
        (b"\x05\0\0\x03\x06a.test\x12\x34", "0.0.0.0:4660"),
        (&ipv6, "[2001:db8::9]:4660"),
        (&short, "0.0.0.0:4660"),
        (&long, "0.0.0.0:4660"),
    ] {
        let reply = whole_answer(parse_reply, bytes);
        assert_eq!(reply, ServerReply { code: 0, address: address.parse().unwrap() });
        assert_eq!(parse_reply(&[bytes, &[0]].concat()), Err(AnswerError), "a byte too many");
    }
    for byte in 0..=255 {
        let reply = whole_answer(parse_reply, &[5, byte, 0, 1, 0, 0, 0, 0, 0, 0]);
        assert_eq!(reply.code, byte);
        let is_served = |bytes: &[u8]| parse_reply(bytes).is_ok();
        assert_eq!(is_served(&[5, 0, 0, byte, 0]), matches!(byte, 1 | 3 | 4), "ATYP");
        assert_eq!(is_served(&[byte]), byte == 5, "VER");
    }
}
