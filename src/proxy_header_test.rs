use super::*;
use proptest::prelude::*;

/// A header of version 2 with this command, family and protocol, and rest.
pub fn binary(command: u8, family: u8, rest: &[u8]) -> Vec<u8> {
    let length = u16::try_from(rest.len()).unwrap().to_be_bytes();
    [SIGNATURE, &[command, family], &length, rest].concat()
}

const V4: [u8; 12] = [192, 0, 2, 1, 198, 51, 100, 2, 0xc3, 0x50, 4, 56];

fn v6(client: &str, destination: &str) -> Vec<u8> {
    let octets = |text: &str| text.parse::<std::net::Ipv6Addr>().unwrap().octets();
    [&octets(client)[..], &octets(destination), &[0xc3, 0x50, 4, 56]].concat()
}

fn from(client: &str, destination: &str) -> Header {
    let address = |text: &str| IpPort::from(text.parse::<std::net::SocketAddr>().unwrap());
    Header::Proxied { client: address(client), destination: address(destination) }
}

/// Good headers, with their meaning.
fn good() -> Vec<(Vec<u8>, Header)> {
    let plain = from("192.0.2.1:50000", "198.51.100.2:1080");
    let plain_v6 = from("[2001:db8::1]:50000", "[2001:db8::2]:1080");
    let text = |line: &str, meaning| (line.as_bytes().to_vec(), meaning);
    vec![
        text("PROXY TCP4 192.0.2.1 198.51.100.2 50000 1080\r\n", plain),
        text(
            "PROXY TCP4 192.0.2.1 198.51.100.2 0 65535\r\n",
            from("192.0.2.1:0", "198.51.100.2:65535"),
        ),
        text("PROXY TCP6 2001:db8::1 2001:DB8::2 50000 1080\r\n", plain_v6),
        text("PROXY TCP6 ::ffff:192.0.2.1 ::ffff:198.51.100.2 50000 1080\r\n", plain),
        text(
            "PROXY TCP6 fdff:ffff:ffff:ffff:ffff:ffff:ffff:ffff \
             fdff:ffff:ffff:ffff:ffff:ffff:ffff:ffff 65535 65535\r\n",
            from(
                "[fdff:ffff:ffff:ffff:ffff:ffff:ffff:ffff]:65535",
                "[fdff:ffff:ffff:ffff:ffff:ffff:ffff:ffff]:65535",
            ),
        ),
        text("PROXY UNKNOWN\r\n", Header::Direct),
        text("PROXY UNKNOWN \r\n", Header::Direct),
        text("PROXY UNKNOWN a b c d e f g \x01 \r h\r\n", Header::Direct),
        (binary(0x21, 0x11, &V4), plain),
        (binary(0x21, 0x21, &v6("2001:db8::1", "2001:db8::2")), plain_v6),
        (binary(0x21, 0x21, &v6("::ffff:192.0.2.1", "::ffff:198.51.100.2")), plain),
        // With additions, which may even be broken.
        (binary(0x21, 0x11, &[&V4[..], &[4, 0, 1, 42]].concat()), plain),
        (binary(0x21, 0x11, &[&V4[..], &[4, 0xff, 0xff, 42]].concat()), plain),
        (binary(0x21, 0x11, &[&V4[..], &[4; BINARY_BYTES_MAX - 28]].concat()), plain),
        (binary(0x20, 0x00, &[]), Header::Direct),
        (binary(0x20, 0x11, &V4), Header::Direct),
        (binary(0x20, 0x21, b"too short"), Header::Direct),
        (binary(0x20, 0xff, &[0; BINARY_BYTES_MAX - 16]), Header::Direct),
        (binary(0x21, 0x00, &[]), Header::Direct),
        (binary(0x21, 0x00, b"ignored"), Header::Direct),
        (binary(0x21, 0x12, &V4), Header::Direct),
        (binary(0x21, 0x10, &V4), Header::Direct),
        (binary(0x21, 0x31, &[b'/'; 216]), Header::Direct),
    ]
}

#[test]
fn a_header_is_read_however_it_is_cut_and_what_follows_is_left() {
    for (header, meaning) in good() {
        for cut in 0..header.len() {
            assert_eq!(parse(&header[..cut]), Ok(Parsed::More), "{cut} of {header:02x?}");
        }
        for rest in [&b""[..], b"\x04\x01", b"\r\n", b"P", &[0xff; 2000]] {
            let bytes = [&header[..], rest].concat();
            assert_eq!(parse(&bytes), Ok(Parsed::Done(meaning, header.len())), "{header:02x?}");
        }
    }
}

#[test]
fn what_is_no_header_is_an_error_at_the_byte_that_decides() {
    let long = [b"PROXY UNKNOWN ", &[b'x'; TEXT_BYTES_MAX - 14][..]].concat();
    let long_line = [&long[..], b"\r\n"].concat();
    let socks5 = b"\x05\x01\x00".to_vec();
    let before_rest = |command, family, length: u16| {
        let start = binary(command, family, &[]);
        [&start[..14], &length.to_be_bytes()].concat()
    };
    for (bytes, decided_at) in [
        (socks5, 1),
        (b"\x04\x01\x00\x50".to_vec(), 1),
        (b"GET / HTTP/1.1\r\n".to_vec(), 1),
        (b"PROXy TCP4 ".to_vec(), 5),
        (b"PROXY\r\n".to_vec(), 6),
        (b"\r\n\r\n\r".to_vec(), 5),
        (b"PROXY TCP4 0.0.0.0 10.0.0.1 1 2\r\n".to_vec(), 33),
        (b"PROXY TCP4 0.0.0.1 10.0.0.1 1 2\r\n".to_vec(), 33),
        (b"PROXY TCP4 255.255.255.255 10.0.0.1 1 2\r\n".to_vec(), 41),
        (b"PROXY TCP6 ff02::1 2001:db8::1 1 2\r\n".to_vec(), 36),
        (b"PROXY TCP6 ::ffff:0.0.0.0 2001:db8::1 1 2\r\n".to_vec(), 43),
        (long, TEXT_BYTES_MAX),
        (long_line, TEXT_BYTES_MAX),
        (before_rest(0x21, 0x11, 11), 16),
        (before_rest(0x21, 0x21, 12), 16),
        (before_rest(0x21, 0x31, 36), 16),
        (before_rest(0x21, 0x41, 36), 16),
        (before_rest(0x21, 0x13, 12), 16),
        (before_rest(0x22, 0x11, 12), 16),
        (before_rest(0x11, 0x11, 12), 16),
        (before_rest(0x20, 0x11, (BINARY_BYTES_MAX - 15) as u16), 16),
        (before_rest(0x21, 0x11, u16::MAX), 16),
    ] {
        for cut in 0..decided_at {
            assert_eq!(parse(&bytes[..cut]), Ok(Parsed::More), "{cut} of {bytes:02x?}");
        }
        assert_eq!(parse(&bytes[..decided_at]), Err(Malformed), "{bytes:02x?}");
        assert_eq!(parse(&bytes), Err(Malformed), "{bytes:02x?}");
    }
}

#[test]
fn a_line_of_text_has_to_be_exact() {
    for line in [
        "PROXY TCP4 192.0.2.1 198.51.100.2 50000 1080 \r\n",
        "PROXY TCP4  192.0.2.1 198.51.100.2 50000 1080\r\n",
        "PROXY TCP4 192.0.2.1 198.51.100.2 50000\r\n",
        "PROXY TCP4 192.0.2.1 198.51.100.2 50000 65536\r\n",
        "PROXY TCP4 192.0.2.1 198.51.100.2 +50000 1080\r\n",
        "PROXY TCP4 192.0.2.1 198.51.100.2 050000 1080\r\n",
        "PROXY TCP4 192.0.2.01 198.51.100.2 50000 1080\r\n",
        "PROXY TCP4 192.0.2.256 198.51.100.2 50000 1080\r\n",
        "PROXY TCP4 2001:db8::1 2001:db8::2 50000 1080\r\n",
        "PROXY TCP6 192.0.2.1 198.51.100.2 50000 1080\r\n",
        "PROXY TCP6 fe80::1%1 fe80::2%1 50000 1080\r\n",
        "PROXY TCP4 192.0.2.1\r198.51.100.2 50000 1080\r\n",
        "PROXY TCP4\r\n",
        "PROXY \r\n",
        "PROXY UDP4 192.0.2.1 198.51.100.2 50000 1080\r\n",
        "PROXY UNKNOWNS\r\n",
        "PROXY unknown\r\n",
        "PROXY TCP4 192.0.2.1 198.51.100.2 50000 1080\n\r\n",
        "PROXY TCP4 192.0.2.\u{661} 198.51.100.2 50000 1080\r\n",
    ] {
        assert_eq!(parse(line.as_bytes()), Err(Malformed), "{line:?}");
    }
    let bytes = b"PROXY TCP4 192.0.2.\xff 198.51.100.2 50000 1080\r\n";
    assert_eq!(parse(bytes), Err(Malformed));
}

proptest! {
    /// More bytes never turn a decision into another one, and no bytes are a panic.
    #[test]
    fn a_decision_stands(
        start in prop::sample::select(vec![&b""[..], b"PROXY ", b"PROXY TCP4 ", SIGNATURE]),
        rest in prop::collection::vec(any::<u8>(), 0..64),
    ) {
        let bytes = [start, &rest].concat();
        let mut decided = None;
        for cut in 0..=bytes.len() {
            let parsed = parse(&bytes[..cut]);
            if let Some(before) = decided {
                prop_assert_eq!(parsed, before);
            } else if parsed != Ok(Parsed::More) {
                decided = Some(parsed);
            }
        }
    }
}
