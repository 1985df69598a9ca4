//! Clients, targets and peers of both families.

use super::socks5::request5;
use super::*;

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

/// A session that has received this request of SOCKS5.
fn start5(rules: &RuleSet, command: u8, host: &str, port: u16) -> (Session, Action) {
    let mut session = Session::new(1, IpPort::new(ip("2001:db8:1::2"), 50_000), 0);
    session.handle_bytes(b"\x05\x01\0", &env(rules));
    let (_, action) = session.handle_bytes(&request5(command, host, port), &env(rules));
    (session, action)
}

#[test]
fn an_ipv6_target_is_judged_and_an_ipv4_target_written_as_ipv6_is_judged_as_ipv4() {
    let rules = rules(
        "permit c 2001:db8::/32 from 2001:db8:1::/48\ndeny c 10.3.*.*\npermit c 10.*.*.*\n\
         permit b 2001:db8::7",
    );
    for (command, host, expected) in [
        (1, "2001:db8::1", Ok(connect(0, ip("2001:db8::1")))),
        (1, "2001:db9::1", Err(CloseReason::NoRule)),
        (1, "::ffff:10.2.0.1", Ok(connect(0, GOOD))),
        (1, "::ffff:10.3.0.1", Err(CloseReason::Denied)),
        (1, "::", Err(CloseReason::ImpossibleTarget)),
        (1, "ff02::1", Err(CloseReason::ImpossibleTarget)),
        (1, "::ffff:224.0.0.1", Err(CloseReason::ImpossibleTarget)),
        (2, "2001:db8::7", Ok(Action::Listen(ListenFor::Peer(ip("2001:db8::7"))))),
        (2, "::", Ok(Action::Listen(ListenFor::AnyPeer))),
        (2, "::ffff:0.0.0.0", Ok(Action::Listen(ListenFor::AnyPeer))),
    ] {
        let (session, action) = start5(&rules, command, host, 80);
        match expected {
            Ok(expected) => assert_eq!(action, expected, "{host}"),
            Err(reason) => assert_eq!(session.state(), &State::Rejecting(reason), "{host}"),
        }
    }
}

#[test]
fn a_name_that_is_an_ipv6_address_is_that_address_in_every_protocol() {
    let rules = rules("permit c 2001:db8::1");
    let (_, action) = start(&rules, &request(1, GOOD, 80, "2001:db8::1"));
    assert_eq!(action, connect(0, ip("2001:db8::1")));
    let mut session = Session::new(1, CLIENT, 0);
    session.handle_bytes(b"\x05\x01\0", &env(&rules));
    let named = [&b"\x05\x01\0\x03\x0b"[..], b"2001:db8::1", &[0, 80]].concat();
    let (_, action) = session.handle_bytes(&named, &env(&rules));
    assert_eq!(action, connect(0, ip("2001:db8::1")));
}

#[test]
fn that_this_host_lacks_a_family_says_less_than_how_the_other_target_answered() {
    use CloseReason::{ConnectFailed, NetworkUnreachable, TargetRefused, Unreachable};
    let rules = rules("permit c *");
    for (first, second, expected) in [
        (TargetRefused, NetworkUnreachable, (TargetRefused, 0)),
        (NetworkUnreachable, TargetRefused, (TargetRefused, 1)),
        (NetworkUnreachable, NetworkUnreachable, (NetworkUnreachable, 1)),
        (Unreachable, ConnectFailed, (Unreachable, 0)),
        (TargetRefused, Unreachable, (Unreachable, 1)),
    ] {
        let (mut session, _) = start5(&rules, 1, "www.example", 80);
        let addresses = [ip("2001:db8::1"), GOOD];
        let found = Ok(resolved("www.example", &addresses));
        assert_eq!(session.handle_resolved(&found, &env(&rules)), connect(0, addresses[0]));
        assert_eq!(session.handle_attempt_failed(0, first, &env(&rules)), connect(1, GOOD));
        let action = session.handle_attempt_failed(1, second, &env(&rules));
        assert_eq!(action, rejection(expected.0), "{first} {second}");
        assert_eq!(session.address(), Some(IpPort::new(addresses[expected.1], 80)));
    }
}

/// A SOCKS4 reply to a CONNECT need not have the address.
#[test]
fn a_connect_of_socks4_tries_the_addresses_of_both_families_in_their_order() {
    let rules = rules("permit c *");
    let six = ip("2001:db8::1");
    for addresses in [[six, GOOD], [GOOD, six]] {
        let found = Ok(resolved("www.example", &addresses));
        let (mut session, _) = start(&rules, &request(1, GOOD, 80, "www.example"));
        assert_eq!(session.handle_resolved(&found, &env(&rules)), connect(0, addresses[0]));
        let action = session.handle_attempt_failed(0, CloseReason::Unreachable, &env(&rules));
        assert_eq!(action, connect(1, addresses[1]));
    }
}

/// One listener has one family, and a SOCKS4 reply has IPv4 addresses only.
#[test]
fn a_bind_of_socks4_listens_for_an_ipv4_peer_if_there_is_one() {
    let rules = rules("permit b *");
    let six = ip("2001:db8::1");
    for (addresses, socks4, socks5) in
        [(&[six, GOOD][..], GOOD, six), (&[GOOD, six], GOOD, GOOD), (&[six], six, six)]
    {
        let found = Ok(resolved("www.example", addresses));
        let (mut session, _) = start(&rules, &request(2, GOOD, 20, "www.example"));
        let action = session.handle_resolved(&found, &env(&rules));
        assert_eq!(action, Action::Listen(ListenFor::Peer(socks4)));
        let (mut session, _) = start5(&rules, 2, "www.example", 20);
        let action = session.handle_resolved(&found, &env(&rules));
        assert_eq!(action, Action::Listen(ListenFor::Peer(socks5)));
        session.handle_listening(OWN, "[2001:db8::9]:4000".parse().unwrap());
        let peer = SocketAddr::new(addresses[addresses.len() - 1], 20);
        assert_eq!(session.handle_peer(peer, &env(&rules)), grant(peer), "any of them may come");
    }
}
