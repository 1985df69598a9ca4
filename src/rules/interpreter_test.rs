//! Decisions against a plain reference interpreter, which works on the text.

use super::*;
use proptest::prelude::*;

const IMPOSSIBLE: [&str; 4] = ["0.0.0.0/8", "224.0.0.0/3", "::/128", "ff00::/8"];
const NEVER_BY_NAME: [&str; 8] = [
    "127.0.0.0/8",
    "169.254.0.0/16",
    "::1",
    "fe80::/10",
    "64:ff9b::127.0.0.0/104",
    "64:ff9b::169.254.0.0/112",
    "fd00:ec2::254",
    "fd20:ce::254",
];

/// Where the random IPv6 addresses begin; all but their last bits.
const BASES: [&str; 12] = [
    "::",
    "2001:db8::",
    "2001:db8:1::",
    "fe80::",
    "febf:ffff::",
    "fec0::",
    "ff02::",
    "fd00:ec2::254",
    "fd20:ce::254",
    "64:ff9b::7f00:0",
    "64:ff9b::a9fe:0",
    "::ffff:10.1.0.0",
];

/// The family and the bits of an address; of one that is written as IPv6, the IPv4 address.
fn binary(address: &str) -> String {
    match address.strip_prefix("::ffff:").unwrap_or(address).parse().unwrap() {
        IpAddr::V4(address) => format!("4{:032b}", u32::from(address)),
        IpAddr::V6(address) => format!("6{:0128b}", u128::from(address)),
    }
}

fn covers(pattern: &str, address: IpAddr) -> bool {
    let address = address.to_string();
    if let Some((network, bits)) = pattern.split_once('/') {
        let bits: usize = bits.parse().unwrap();
        let written = if network.starts_with("::ffff:") { 96 } else { 0 };
        return binary(&address).starts_with(&binary(network)[..=bits - written]);
    }
    if pattern.contains(':') {
        return binary(pattern) == binary(&address);
    }
    let address = address.strip_prefix("::ffff:").unwrap_or(&address);
    let octets = address.split('.').zip(pattern.split('.'));
    pattern == "*"
        || (address.contains('.') && !address.contains(':'))
            && octets.into_iter().all(|(octet, wanted)| wanted == "*" || wanted == octet)
}

/// Decides word by word on the text, independently of the parser.
fn reference(text: &str, request: &AccessRequest<'_>) -> Option<(bool, u32)> {
    let is_in = |list: &[&str]| list.iter().any(|pattern| covers(pattern, request.address));
    if is_in(&IMPOSSIBLE) || (request.port == 0 && request.command == Command::Connect) {
        return None;
    }
    for (line, rule) in text.lines().enumerate() {
        let words: Vec<&str> = rule.split(' ').collect();
        let letter = if request.command == Command::Connect { 'c' } else { 'b' };
        if !words[1].contains(letter) {
            continue;
        }
        let hit = if words[2].ends_with(".com") {
            let name = String::from_utf8_lossy(request.name.unwrap_or(b"")).to_lowercase();
            let name = name.trim_end_matches('.');
            let base = words[2].trim_start_matches("*.");
            let named = name == base || (base != words[2] && name.ends_with(&format!(".{base}")));
            named && !is_in(&NEVER_BY_NAME)
        } else {
            covers(words[2], request.address)
        };
        if !hit {
            continue;
        }
        // `auth`, which has no value, is the last word.
        if words[3..].chunks(2).any(|option| !fits(option, request)) {
            continue;
        }
        return Some((words[0] == "permit", line as u32 + 1));
    }
    None
}

fn fits(option: &[&str], request: &AccessRequest<'_>) -> bool {
    match option {
        ["from", clients] => covers(clients, request.client),
        ["user", user] => user.as_bytes() == request.user,
        ["port", list] => list.split(',').any(|ports| {
            let ends: Vec<u16> = ports.split('-').map(|end| end.parse().unwrap()).collect();
            ends[0] <= request.port && request.port <= ends[ends.len() - 1]
        }),
        _ => request.proven,
    }
}

fn ipv6(base: usize, last: u128) -> IpAddr {
    let base: Ipv6Addr = BASES[base].parse().unwrap();
    Ipv6Addr::from_bits(base.to_bits() ^ last).into()
}

/// Addresses as a rule may name them.
fn addresses() -> impl Strategy<Value = String> {
    let octet = || {
        prop_oneof![
            Just("*".to_string()),
            Just("10".into()),
            Just("127".into()),
            (0u8..4).prop_map(|o| o.to_string())
        ]
    };
    let octets =
        (octet(), octet(), octet(), octet()).prop_map(|(a, b, c, d)| format!("{a}.{b}.{c}.{d}"));
    let network = (any::<u32>(), 0u32..=32, any::<bool>()).prop_map(|(address, bits, as_ipv6)| {
        let mask = u32::MAX.checked_shl(32 - bits).unwrap_or(0);
        let network = Ipv4Addr::from(address & 0x7f03_0303 & mask);
        match as_ipv6 {
            true => format!("::ffff:{network}/{}", bits + 96),
            false => format!("{network}/{bits}"),
        }
    });
    let base = || (0..BASES.len() - 1, 0u128..4).prop_map(|(base, last)| ipv6(base, last));
    let network6 =
        (base(), prop_oneof![0u32..=128, 8u32..33, 100u32..=128]).prop_map(|(address, bits)| {
            let IpAddr::V6(address) = address else { unreachable!() };
            let mask = u128::MAX.checked_shl(128 - bits).unwrap_or(0);
            format!("{}/{bits}", Ipv6Addr::from_bits(address.to_bits() & mask))
        });
    prop_oneof![
        6 => octets,
        2 => network,
        1 => base().prop_map(|address| address.to_string()),
        3 => network6,
        2 => proptest::sample::select(vec!["*".to_string(), "*.*.*.*".into(), "::/0".into()]),
    ]
}

fn rule() -> impl Strategy<Value = String> {
    let names = ["*.example.com", "a.example.com"].map(String::from);
    let target = prop_oneof![2 => addresses(), 1 => proptest::sample::select(names.to_vec())];
    let options = (
        proptest::option::weighted(0.3, prop_oneof![Just("80"), Just("1-79,81"), Just("0,443")]),
        proptest::option::weighted(0.3, addresses()),
        proptest::option::weighted(0.2, prop_oneof![Just("bob"), Just("eve")]),
        proptest::bool::weighted(0.3),
    );
    let head =
        (prop_oneof![Just("permit"), Just("deny")], prop_oneof![Just("c"), Just("b"), Just("cb")]);
    (head, target, options).prop_map(|((verb, commands), target, (ports, from, user, auth))| {
        let mut text = format!("{verb} {commands} {target}");
        ports.iter().for_each(|ports| text += &format!(" port {ports}"));
        from.iter().for_each(|from| text += &format!(" from {from}"));
        user.iter().for_each(|user| text += &format!(" user {user}"));
        text + if auth && verb == "permit" { " auth" } else { "" }
    })
}

/// An address of either family, near to those of the rules.
fn address() -> impl Strategy<Value = IpAddr> {
    let ipv4 = any::<u32>().prop_map(|bits| {
        let mut octets = (bits & 0x7f03_0303).to_be_bytes();
        octets[0] = [10, 127, 1, 0, 225, 2, 3, 169][usize::from(octets[0] >> 4)];
        if octets[0] == 169 {
            octets[1] = 254;
        }
        octets.into()
    });
    prop_oneof![ipv4, (0..BASES.len(), 0u128..4).prop_map(|(base, last)| ipv6(base, last))]
}

/// A request by one of four names, or without any, as one of two users.
fn any_request() -> impl Strategy<Value = AccessRequest<'static>> {
    let names: [Option<&[u8]>; 4] =
        [None, Some(b"A.example.com"), Some(b"b.a.example.com."), Some(b"example.org")];
    let user: [&[u8]; 2] = [b"bob", b""];
    (
        proptest::sample::select(vec![Command::Connect, Command::Bind]),
        proptest::sample::select(names.to_vec()),
        address(),
        proptest::sample::select(vec![0, 80, 81, 443]),
        address(),
        proptest::sample::select(user.to_vec()),
        any::<bool>(),
    )
        .prop_map(|(command, name, address, port, client, user, proven)| AccessRequest {
            command,
            name,
            address,
            port,
            client,
            user,
            proven,
        })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(800))]

    /// 100,000 decisions: 2,500 rule files with 40 requests each.
    #[test]
    fn decisions_equal_those_of_a_plain_interpreter(
        lines in proptest::collection::vec(rule(), 1..12),
        requests in proptest::collection::vec(any_request(), 40),
    ) {
        let text = lines.join("\n");
        let set = rules(&text);
        for request in requests {
            let decision = decided_by(&set, &request);
            prop_assert_eq!(decision, reference(&text, &request), "{}\n{:?}", text, request);
            if decision.is_some_and(|(permit, _)| permit) {
                prop_assert!(set.could_permit(&partial(&request), request.name).is_ok());
            }
        }
    }

    /// A rule that is called dead never decides, by the reference as well; and without it every
    /// decision is the same.
    #[test]
    fn a_rule_that_is_called_dead_never_decides(
        lines in proptest::collection::vec(rule(), 1..12),
        requests in proptest::collection::vec(any_request(), 30),
    ) {
        let text = lines.join("\n");
        let dead = rules(&text).dead_rules(usize::MAX);
        for request in requests {
            let line = reference(&text, &request).map(|(_, line)| line as usize);
            let is_dead = dead.iter().any(|dead| Some(dead.place + 1) == line);
            prop_assert!(!is_dead, "{}\n{:?}\n{:?}", text, dead, request);
        }
    }

    /// The form that `-t` prints is read back as the same addresses, of either family.
    #[test]
    fn addresses_are_shown_in_a_form_that_parses_to_the_same(
        text in addresses(),
        samples in proptest::collection::vec(address(), 20),
    ) {
        let parse = |text: &str| match &rules(&format!("permit c {text}")).rules()[0].target {
            TargetPattern::Addresses(addresses) => *addresses,
            other => panic!("{other:?}"),
        };
        let addresses = parse(&text);
        prop_assert_eq!(parse(&addresses.to_string()), addresses, "{} {}", text, addresses);
        for sample in samples {
            prop_assert_eq!(addresses.contains(sample), covers(&text, sample), "{} {}", text, sample);
        }
    }

    /// What the checks before any address is known rely on.
    #[test]
    fn patterns_that_cover_or_overlap_do_so_for_each_address(
        one in addresses(),
        other in addresses(),
        samples in proptest::collection::vec(address(), 40),
    ) {
        let set = rules(&format!("permit c {one}\npermit c {other}"));
        let [TargetPattern::Addresses(one), TargetPattern::Addresses(other)] =
            [0, 1].map(|at| set.rules()[at].target.clone()) else { panic!() };
        prop_assert_eq!(one.overlaps(other), other.overlaps(one));
        prop_assert!(!one.covers(other) || one.overlaps(other));
        for sample in samples {
            let (in_one, in_other) = (one.contains(sample), other.contains(sample));
            prop_assert!(one.overlaps(other) || !(in_one && in_other), "{one} {other} {sample}");
            prop_assert!(!one.covers(other) || in_one || !in_other, "{one} {other} {sample}");
            let of_families = one.families().any(|of_one| of_one.contains(sample));
            prop_assert_eq!(of_families, in_one);
        }
    }
}
