//! The messages of SOCKS4 and SOCKS5, as a server and as a client receives them.

use super::{ip, one_word};
use socku::internals::name::{self, Classified};
use socku::internals::wire::{
    Answer, AnswerError, Host, Message, Methods, Parsed, Protocol, Received, Reply, Request,
    RequestError, Stage, Status, encode_greeting, encode_password, encode_request, first_protocol,
    parse_message, parse_method, parse_password_status, parse_reply,
};

/// A message is decided by its own bytes, not by those after it or by how they were cut. Each stage
/// is tried, and then the dialogue of a client that sends everything at once.
pub fn request(bytes: &[u8]) {
    for (stage, longest) in
        [(Stage::First, 8 + 513 + 256), (Stage::Password, 513), (Stage::Request, 262)]
    {
        let whole = parse_message(stage, bytes);
        if let Ok(Parsed::Done(message, length)) = whole {
            assert!(length <= longest);
            assert_eq!(parse_message(stage, &bytes[..length]), whole);
            assert_eq!(parse_message(stage, &bytes[..length - 1]), Ok(Parsed::More));
            parses_back(stage, &message);
        }
        for cut in 0..bytes.len().min(40) {
            match parse_message(stage, &bytes[..cut]) {
                Ok(Parsed::More) => {}
                early => assert_eq!(early, whole),
            }
        }
    }
    dialogue(bytes);
}

/// Whatever a client may say is encoded to bytes that say the same.
fn parses_back(stage: Stage, message: &Message<'_>) {
    let mut bytes = Vec::new();
    let is_encoded = match *message {
        Message::Request(request) => {
            check_request(&request);
            encode_request(&request, &mut bytes).is_ok()
        }
        Message::Greeting(methods) => {
            encode_greeting(methods, &mut bytes);
            true
        }
        Message::Password { user, password } => encode_password(user, password, &mut bytes).is_ok(),
    };
    if is_encoded {
        assert_eq!(parse_message(stage, &bytes), Ok(Parsed::Done(*message, bytes.len())));
    }
}

fn check_request(request: &Request<'_>) {
    one_word(request.user);
    match request.host {
        Host::Name(name) => {
            one_word(name);
            host_name(name);
        }
        Host::Address(address) => assert_eq!(address, address.to_canonical()),
    }
    assert!(request.protocol != Protocol::Socks5 || request.user.is_empty());
}

/// The messages of one client, as a server takes them; whatever comes after them is its own.
fn dialogue(bytes: &[u8]) {
    let (mut stage, mut rest) = (Stage::First, bytes);
    for _ in 0..3 {
        match parse_message(stage, rest) {
            Ok(Parsed::Done(message, length)) => {
                rest = &rest[length..];
                stage = match message {
                    Message::Request(request) => {
                        let is_socks5 = first_protocol(bytes) == Some(Protocol::Socks5);
                        assert_eq!(is_socks5, request.protocol == Protocol::Socks5);
                        return;
                    }
                    Message::Greeting(Methods { password: true, .. }) => Stage::Password,
                    Message::Greeting(_) | Message::Password { .. } => Stage::Request,
                };
            }
            Ok(Parsed::More) => return,
            Err(RequestError::Version(_)) if stage == Stage::First => {
                return assert_eq!(first_protocol(bytes), None);
            }
            Err(_) => return assert!(first_protocol(bytes).is_some()),
        }
    }
    panic!("the third message is the request");
}

fn host_name(bytes: &[u8]) {
    match name::classify(bytes) {
        Ok(Classified::Name(name)) => {
            assert!(name.as_str().len() <= 253);
            assert!(name.as_str().split('.').all(|label| (1..=63).contains(&label.len())));
            assert!(name::classify(name.as_str().as_bytes()).is_ok());
        }
        Ok(Classified::Address(address)) => {
            let text = str::from_utf8(bytes).expect("an address is ASCII");
            assert_eq!(ip(text).to_canonical(), address);
        }
        Err(_) => {}
    }
}

/// A client never asks for a byte after the answer, and what a server says is understood.
pub fn reply(bytes: &[u8]) {
    for protocol in [Protocol::Socks4, Protocol::Socks5] {
        let parse = |bytes: &[u8]| parse_reply(protocol, bytes);
        let Some(reply) = receive(parse, bytes, 4 + 1 + 255 + 2) else { continue };
        let Some(status) = Status::from_code(reply.code, protocol) else {
            assert_eq!(protocol, Protocol::Socks5);
            continue;
        };
        let answer = Answer::Reply(Reply { status, address: reply.address });
        assert_eq!(parse(&answer.encode(protocol)), Ok(Received::Done(reply)));
    }
    if let Some(method) = receive(parse_method, bytes, 2) {
        assert_eq!(*Answer::Method(method).encode(Protocol::Socks5), bytes[..2]);
    }
    if let Some(accepted) = receive(parse_password_status, bytes, 2) {
        let again = Answer::Password { accepted }.encode(Protocol::Socks5);
        assert_eq!(parse_password_status(&again), Ok(Received::Done(accepted)));
    }
}

/// Reads as a client does: just as many bytes as are needed.
fn receive<T>(
    parse: impl Fn(&[u8]) -> Result<Received<T>, AnswerError>,
    bytes: &[u8],
    longest: usize,
) -> Option<T> {
    let mut length = 0;
    loop {
        match parse(&bytes[..length]) {
            Ok(Received::Done(answer)) => return Some(answer),
            Ok(Received::Need(needed)) => {
                assert!((length + 1..=longest).contains(&needed));
                if needed > bytes.len() {
                    return None;
                }
                // A byte less is not enough, so nothing after the answer was asked for.
                assert!(matches!(parse(&bytes[..needed - 1]), Ok(Received::Need(_)) | Err(_)));
                length = needed;
            }
            Err(_) => return None,
        }
    }
}
