//! What both protocols share: the first byte, the words, the codes and the bytes of every answer.

use super::*;
use std::net::SocketAddr;

/// Whether a message is done after its last byte and not before, whatever follows it. Gives it.
pub fn whole_message(stage: Stage, whole: &[u8]) -> Message<'_> {
    for cut in 0..whole.len() {
        assert_eq!(parse_message(stage, &whole[..cut]), Ok(Parsed::More), "{whole:?} at {cut}");
    }
    for rest in [&b""[..], b"\x00", b"\x04early payload"] {
        let followed = [whole, rest].concat();
        let Ok(Parsed::Done(_, length)) = parse_message(stage, &followed) else {
            panic!("{followed:?}")
        };
        assert_eq!(length, whole.len(), "bytes after the message are not consumed");
    }
    let Ok(Parsed::Done(message, _)) = parse_message(stage, whole) else { panic!("{whole:?}") };
    message
}

/// Whether a reply is done after its last byte, and before it asks for no byte beyond it.
pub fn whole_answer<T>(
    parse: impl Fn(&[u8]) -> Result<Received<T>, AnswerError>,
    whole: &[u8],
) -> T {
    for cut in 0..whole.len() {
        let Ok(Received::Need(length)) = parse(&whole[..cut]) else { panic!("{whole:?} at {cut}") };
        assert!((cut + 1..=whole.len()).contains(&length), "{whole:?} at {cut}: {length}");
    }
    let Ok(Received::Done(answer)) = parse(whole) else { panic!("{whole:?}") };
    answer
}

fn address(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

#[test]
fn the_first_byte_tells_the_protocol() {
    assert_eq!(first_protocol(b""), None);
    for version in 0..=255 {
        let (protocol, parsed) = match version {
            4 => (Some(Protocol::Socks4), Ok(Parsed::More)),
            5 => (Some(Protocol::Socks5), Ok(Parsed::More)),
            other => (None, Err(RequestError::Version(other))),
        };
        assert_eq!(first_protocol(&[version]), protocol);
        assert_eq!(first_protocol(&[version, 9, 9]), protocol);
        assert_eq!(parse_message(Stage::First, &[version]), parsed);
    }
    assert_eq!(parse_message(Stage::First, b""), Ok(Parsed::More));
}

#[test]
fn the_longest_message_of_each_stage_fits_into_a_small_buffer() {
    let user = [b'u'; USER_BYTES_MAX];
    let name = [b'n'; NAME_BYTES_MAX];
    let request = |protocol| Request {
        protocol,
        command: Command::Connect,
        port: 1,
        host: Host::Name(&name),
        user: if protocol == Protocol::Socks5 { b"" } else { &user },
    };
    for (protocol, stage, length) in [
        (Protocol::Socks4a, Stage::First, 8 + 513 + 256),
        (Protocol::Socks5, Stage::Request, 4 + 256 + 2),
    ] {
        let mut bytes = Vec::new();
        encode_request(&request(protocol), &mut bytes).unwrap();
        assert_eq!(bytes.len(), length);
        assert_eq!(whole_message(stage, &bytes), Message::Request(request(protocol)));
    }
    let greeting = [&[5, 255][..], &[0; 255]].concat();
    whole_message(Stage::First, &greeting);
    let password = [&[1, 255][..], &[b'u'; 255], &[255], &[b'p'; 255]].concat();
    whole_message(Stage::Password, &password);
}

#[test]
fn every_status_has_its_code_in_each_protocol() {
    for (status, four, five) in [
        (Status::Granted, 90, 0),
        (Status::Failed, 91, 1),
        (Status::NotAllowed, 91, 2),
        (Status::NetworkUnreachable, 91, 3),
        (Status::HostUnreachable, 91, 4),
        (Status::Refused, 91, 5),
        (Status::TimedOut, 91, 6),
        (Status::CommandNotSupported, 91, 7),
        (Status::AddressTypeNotSupported, 91, 8),
        (Status::NoIdent, 92, 2),
        (Status::OtherUser, 93, 2),
    ] {
        assert!(Status::ALL.contains(&status));
        for (protocol, code) in
            [(Protocol::Socks4, four), (Protocol::Socks4a, four), (Protocol::Socks5, five)]
        {
            assert_eq!(status.code(protocol), code, "{status:?}");
            let back = Status::from_code(code, protocol).unwrap();
            assert_eq!(back.code(protocol), code);
            let reply = Answer::Reply(Reply::rejected(status));
            assert_eq!((reply.code(protocol), reply.encode(protocol)[1]), (code, code));
        }
    }
    assert_eq!(Status::from_code(91, Protocol::Socks4), Some(Status::Failed));
    assert_eq!(Status::from_code(2, Protocol::Socks5), Some(Status::NotAllowed));
    for code in 0..=255 {
        let is_known = |protocol| Status::from_code(code, protocol).is_some();
        assert_eq!(is_known(Protocol::Socks4), (90..=93).contains(&code));
        assert_eq!(is_known(Protocol::Socks5), code <= 8);
    }
}

#[test]
fn every_answer_has_its_bytes() {
    let granted = |text| Answer::Reply(Reply::granted(address(text)));
    let (v4, v6) = ("10.1.2.3:4660", "[2001:db8::9]:4660");
    let rejected = Answer::Reply(Reply::rejected(Status::Refused));
    for (answer, protocol, bytes) in [
        (granted(v4), Protocol::Socks4, &[0, 90, 0x12, 0x34, 10, 1, 2, 3][..]),
        (granted(v4), Protocol::Socks4a, &[0, 90, 0x12, 0x34, 10, 1, 2, 3]),
        (granted(v6), Protocol::Socks4, &[0, 90, 0x12, 0x34, 0, 0, 0, 0]),
        (granted("[::ffff:10.1.2.3]:1"), Protocol::Socks4, &[0, 90, 0, 1, 10, 1, 2, 3]),
        (rejected, Protocol::Socks4, &[0, 91, 0, 0, 0, 0, 0, 0]),
        (granted(v4), Protocol::Socks5, &[5, 0, 0, 1, 10, 1, 2, 3, 0x12, 0x34]),
        (
            granted(v6),
            Protocol::Socks5,
            b"\x05\0\0\x04\x20\x01\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\x09\x12\x34",
        ),
        (granted("[::ffff:10.1.2.3]:1"), Protocol::Socks5, &[5, 0, 0, 1, 10, 1, 2, 3, 0, 1]),
        (rejected, Protocol::Socks5, &[5, 5, 0, 1, 0, 0, 0, 0, 0, 0]),
        (Answer::Method(Some(Method::None)), Protocol::Socks5, &[5, 0]),
        (Answer::Method(Some(Method::Password)), Protocol::Socks5, &[5, 2]),
        (Answer::Method(None), Protocol::Socks5, &[5, 255]),
        (Answer::Password { accepted: true }, Protocol::Socks5, &[1, 0]),
        (Answer::Password { accepted: false }, Protocol::Socks5, &[1, 1]),
    ] {
        assert_eq!(&*answer.encode(protocol), bytes, "{answer:?}");
        assert_eq!(answer.code(protocol), bytes[1], "{answer:?}");
        match answer {
            Answer::Reply(_) => {
                let reply = whole_answer(|bytes| parse_reply(protocol, bytes), bytes);
                assert_eq!(reply.code, bytes[1]);
            }
            Answer::Method(method) => assert_eq!(whole_answer(parse_method, bytes), method),
            Answer::Password { accepted } => {
                assert_eq!(whole_answer(parse_password_status, bytes), accepted);
            }
        }
    }
}

#[test]
fn commands_and_protocols_have_the_words_of_log_and_rules() {
    assert_eq!([Command::Connect, Command::Bind].map(|one| one.to_string()), ["connect", "bind"]);
    let protocols = [Protocol::Socks4, Protocol::Socks4a, Protocol::Socks5];
    assert_eq!(protocols.map(|one| one.to_string()), ["4", "4a", "5"]);
}
