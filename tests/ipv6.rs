//! IPv6 through the program itself: clients, targets, peers, name servers, in namespaces of their
//! own, since not every machine that runs the tests has it.

#![cfg(feature = "server")]

mod common;

use common::namespace::{in_namespace, ip, run};
use common::servers::{NameServer, Question, aaaa, addresses, reply};
use common::socks5::{BIND, CONNECT, dial, greeting, password, read_bytes, read_reply5, request5};
use common::{
    PERMIT_ALL, Proxy, accept, echo_server, read_all, read_reply, request, request_4a,
    scratch_directory, wait_until,
};
use std::fs::{self, Permissions};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{
    IpAddr, Ipv4Addr, Ipv6Addr, Shutdown, SocketAddr, SocketAddrV4, SocketAddrV6, TcpListener,
    TcpStream, UdpSocket,
};
use std::os::unix::fs::PermissionsExt;
use std::thread;

const BOTH: &[&str] = &["-l", "127.0.0.1:0", "-l", "[::1]:0"];
const EVERYTHING: &str = "permit cb *\n";

/// Runs the test in a namespace whose loopback has ::1 and 2001:db8::1 to 2001:db8::9.
fn with_ipv6(test: &str, body: fn()) {
    in_namespace(test, || {
        run("sysctl", "-qw net.ipv6.conf.all.disable_ipv6=0");
        (1..10).for_each(|last| ip(&format!("addr add 2001:db8::{last}/64 dev lo nodad")));
        body();
    });
}

/// An echo server for both families on one port.
fn echo6() -> u16 {
    let port = echo_server().port();
    let socket = socket2::Socket::new(socket2::Domain::IPV6, socket2::Type::STREAM, None).unwrap();
    socket.set_only_v6(true).unwrap();
    socket.bind(&SocketAddr::from((Ipv6Addr::UNSPECIFIED, port)).into()).unwrap();
    socket.listen(16).unwrap();
    let listener = TcpListener::from(socket);
    thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            thread::spawn(move || {
                let mut reader = stream.try_clone().unwrap();
                let _ = std::io::copy(&mut reader, &mut &stream);
                let _ = stream.shutdown(Shutdown::Write);
            });
        }
    });
    port
}

/// A connection from this address.
fn dial_from6(source: &str, to: SocketAddr) -> TcpStream {
    let socket = socket2::Socket::new(socket2::Domain::IPV6, socket2::Type::STREAM, None).unwrap();
    socket.bind(&SocketAddr::new(source.parse().unwrap(), 0).into()).unwrap();
    socket.connect(&to.into()).unwrap();
    common::with_deadline(socket.into())
}

/// The answer to a request of SOCKS5 over a connection: code and address.
fn ask(stream: &mut TcpStream, command: u8, host: &str, port: u16) -> (u8, SocketAddr) {
    stream.write_all(&[greeting(&[0]), request5(command, host, port)].concat()).unwrap();
    assert_eq!(read_bytes(stream), [5, 0]);
    read_reply5(stream)
}

fn assert_echoes(mut stream: TcpStream) {
    stream.write_all(b"hello").unwrap();
    stream.shutdown(Shutdown::Write).unwrap();
    assert_eq!(read_all(&mut stream), b"hello");
}

#[test]
fn clients_and_targets_of_both_families_are_served_and_logged() {
    with_ipv6("clients_and_targets_of_both_families_are_served_and_logged", || {
        let mut proxy = Proxy::start(EVERYTHING, BOTH);
        let port = echo6();
        let (four, six) = (SocketAddr::V4(proxy.address), proxy.address6());
        let mut id = 0;
        for entrance in [four, six] {
            for (host, address) in [
                ("::1", "[::1]"),
                ("2001:db8::2", "[2001:db8::2]"),
                ("127.0.0.1", "127.0.0.1"),
                ("::ffff:127.0.0.1", "127.0.0.1"),
                ("localhost", "127.0.0.1"),
            ] {
                let mut stream = dial(entrance);
                let client = stream.local_addr().unwrap();
                let (code, own) = ask(&mut stream, CONNECT, host, port);
                assert_eq!((code, own.is_ipv6()), (0, address.starts_with('[')), "{host}");
                assert_echoes(stream);
                id += 1;
                let access = proxy.access(id);
                assert_eq!(access.field("client"), client.to_string());
                assert_eq!(access.field("address"), format!("{address}:{port}"));
            }
        }
        proxy.wait_idle();
    });
}

/// SOCKS4 has no place for an IPv6 address: a name leads there, and the reply has 0.0.0.0.
#[test]
fn a_client_of_socks4a_reaches_an_ipv6_target_by_name_and_by_literal() {
    with_ipv6("a_client_of_socks4a_reaches_an_ipv6_target_by_name_and_by_literal", || {
        let mut proxy = Proxy::start(EVERYTHING, &[]);
        let listener = TcpListener::bind((Ipv6Addr::LOCALHOST, 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        // On 127.0.0.1, the first address of localhost, nobody listens at this port.
        for (id, name) in [(1, &b"localhost"[..]), (2, b"::1"), (3, b"0:0:0:0:0:0:0:1")] {
            let mut stream = proxy.dial();
            stream.write_all(&request_4a(CONNECT, name, port, b"")).unwrap();
            let (code, address) = read_reply(&mut stream);
            let peer = accept(&listener).peer_addr().unwrap();
            let expected = SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, peer.port());
            assert_eq!((code, address), (90, expected));
            drop(stream);
            let access = proxy.access(id);
            assert_eq!(access.field("address"), format!("[::1]:{port}"));
            assert_eq!(access.field("proto"), "4a");
        }
        proxy.wait_idle();
    });
}

#[test]
fn rules_see_ipv6_clients_and_targets() {
    with_ipv6("rules_see_ipv6_clients_and_targets", || {
        let rules = "permit c 2001:db8::2 from 2001:db8::3\npermit c 127.0.0.1 from ::1\n\
                     permit c 2001:db8::4/126 from 127.*.*.*\n";
        let proxy = Proxy::start(rules, &["-l", "127.0.0.1:0", "-l", "[::]:0"]);
        let port = echo6();
        let six = SocketAddr::new(Ipv6Addr::LOCALHOST.into(), proxy.address6().port());
        let from =
            |source: &str, host: &str| ask(&mut dial_from6(source, six), CONNECT, host, port).0;
        assert_eq!(from("2001:db8::3", "2001:db8::2"), 0);
        assert_eq!(from("2001:db8::4", "2001:db8::2"), 2);
        assert_eq!(from("2001:db8::3", "2001:db8::4"), 2);
        assert_eq!(from("::1", "::ffff:127.0.0.1"), 0, "an IPv4 address written as IPv6");
        assert_eq!(ask(&mut proxy.dial(), CONNECT, "2001:db8::7", port).0, 0);
        assert_eq!(ask(&mut proxy.dial(), CONNECT, "2001:db8::8", port).0, 2);
    });
}

#[test]
fn loops_are_found_in_both_families() {
    with_ipv6("loops_are_found_in_both_families", || {
        let proxy =
            Proxy::start(EVERYTHING, &["-l", "0.0.0.0:0", "-l", "[::]:0", "-l", "[2001:db8::1]:0"]);
        let lines = proxy.wait_logs("listening on ", 3);
        let ports: Vec<u16> =
            lines.iter().map(|line| line.rsplit(':').next().unwrap().parse().unwrap()).collect();
        let ask = |host: &str, port| {
            let to = SocketAddr::new(Ipv4Addr::LOCALHOST.into(), ports[0]);
            ask(&mut dial(to), CONNECT, host, port).0
        };
        for own in ["::1", "2001:db8::1", "2001:db8::9"] {
            assert_eq!(ask(own, ports[1]), 2, "{own}");
        }
        assert_eq!(ask("::ffff:127.0.0.1", ports[0]), 2);
        assert_eq!(ask("127.0.0.5", ports[0]), 2);
        assert_eq!(ask("2001:db8::1", ports[2]), 2);
        proxy.wait_logs("reason=loop", 6);
        // The same port in the other family, or at another address, is somebody else's.
        assert_eq!(ask("::1", ports[0]), 5);
        assert_eq!(ask("2001:db8::2", ports[2]), 5);
    });
}

#[test]
fn bind_waits_for_ipv6_peers_and_for_anybody_in_the_family_of_the_client() {
    with_ipv6("bind_waits_for_ipv6_peers_and_for_anybody_in_the_family_of_the_client", || {
        let mut proxy = Proxy::start(EVERYTHING, BOTH);
        for (expected, advertised_ip, source, code) in [
            ("2001:db8::2", "2001:db8::2", "2001:db8::2", 0),
            ("2001:db8::2", "2001:db8::2", "2001:db8::3", 2),
            ("::", "::1", "2001:db8::3", 0),
            ("0.0.0.0", "::1", "::1", 0),
        ] {
            let mut stream = dial(proxy.address6());
            let (first, advertised) = ask(&mut stream, BIND, expected, 20);
            assert_eq!(first, 0, "{expected}");
            // On loopback the address that faces one of this host's own is that itself.
            assert_eq!(advertised.ip(), advertised_ip.parse::<IpAddr>().unwrap(), "{expected}");
            let mut peer = dial_from6(source, advertised);
            let (second, address) = read_reply5(&mut stream);
            assert_eq!(second, code, "{expected} {source}");
            if code == 0 {
                assert_eq!(address, peer.local_addr().unwrap());
                peer.write_all(b"hello").unwrap();
                drop(peer);
                assert_eq!(read_all(&mut stream), b"hello");
            }
        }
        // SOCKS4 can only tell the port; the client puts the proxy's own address before it.
        let mut stream = dial(proxy.address6());
        let anybody = SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, 20);
        stream.write_all(&request(BIND, anybody, b"")).unwrap();
        let (code, told) = read_reply(&mut stream);
        assert_eq!((code, told.ip().is_unspecified()), (90, true));
        let mut peer =
            dial_from6("2001:db8::5", SocketAddr::new(proxy.address6().ip(), told.port()));
        assert_eq!(read_reply(&mut stream).0, 90);
        peer.write_all(b"hello").unwrap();
        drop(peer);
        assert_eq!(read_all(&mut stream), b"hello");
        drop(stream);
        proxy.wait_idle();
    });
}

#[test]
fn outbound_and_bind_address_are_given_once_for_each_family() {
    with_ipv6("outbound_and_bind_address_are_given_once_for_each_family", || {
        let flags = ["-o", "127.0.0.7", "-o", "2001:db8::7", "--bind-address", "2001:db8::99"];
        let proxy = Proxy::start(EVERYTHING, &flags);
        let port = echo6();
        let source = |host: &str| ask(&mut proxy.dial(), CONNECT, host, port).1.ip().to_string();
        assert_eq!(
            (source("127.0.0.1"), source("::1")),
            ("127.0.0.7".into(), "2001:db8::7".into())
        );
        let advertised = |host: &str| ask(&mut proxy.dial(), BIND, host, 0).1.ip().to_string();
        assert_eq!(advertised("2001:db8::3"), "2001:db8::99");
        assert_eq!(advertised("127.0.0.3"), "127.0.0.7");
    });
}

#[test]
fn the_clients_of_one_ipv6_network_have_one_limit() {
    with_ipv6("the_clients_of_one_ipv6_network_have_one_limit", || {
        let proxy = Proxy::start(
            PERMIT_ALL,
            &["-l", "127.0.0.1:0", "-l", "[::]:0", "--max-per-source", "2"],
        );
        let to = SocketAddr::new(Ipv6Addr::LOCALHOST.into(), proxy.address6().port());
        let held = [dial_from6("2001:db8::1", to), dial_from6("2001:db8::2", to)];
        wait_until("both sessions", || proxy.dump().contains(" sessions=2 ").then_some(()));
        let mut third = dial_from6("2001:db8::3", to);
        third.write_all(&greeting(&[0])).unwrap();
        assert_eq!(read_all(&mut third), [5, 255]);
        let mut other = dial(to);
        other.write_all(&greeting(&[0])).unwrap();
        assert_eq!(read_bytes(&mut other), [5, 0], "::1 is another network");
        drop(held);
    });
}

/// The addresses of one network, which one host may have, are one client.
#[test]
fn wrong_passwords_from_one_ipv6_network_are_limited_together() {
    with_ipv6("wrong_passwords_from_one_ipv6_network_are_limited_together", || {
        let users = scratch_directory().join("users");
        fs::write(&users, "alice:secret\n").unwrap();
        fs::set_permissions(&users, Permissions::from_mode(0o600)).unwrap();
        let flags = ["-l", "127.0.0.1:0", "-l", "[::]:0", "--users", users.to_str().unwrap()];
        let proxy = Proxy::start(EVERYTHING, &flags);
        let to = SocketAddr::new(Ipv6Addr::LOCALHOST.into(), proxy.address6().port());
        let log_in = |mut stream: TcpStream, secret: &str| {
            stream.write_all(&[greeting(&[2]), password("alice", secret)].concat()).unwrap();
            read_bytes::<4>(&mut stream)[3]
        };
        // Fewer of each address than the limit is.
        wait_until("the limit", || {
            (1..10).for_each(|last| {
                let client = dial_from6(&format!("2001:db8::{last}"), to);
                assert_eq!(log_in(client, "guess"), 1);
            });
            let is_limited = |line: &String| line.contains("reason=too-many-logins");
            proxy.log().iter().any(is_limited).then_some(())
        });
        assert_eq!(log_in(dial(to), "secret"), 0, "::1 is another network");
    });
}

/// Without shares of the network, its addresses would hold every query while the server is silent.
#[test]
fn one_ipv6_networks_flood_of_silent_names_delays_no_other_client() {
    with_ipv6("one_ipv6_networks_flood_of_silent_names_delays_no_other_client", || {
        run("sysctl", "-qw net.ipv6.ip_nonlocal_bind=1");
        ip("route add local 2001:db8:2::/64 dev lo");
        let server = NameServer::start(|question| match question.name.starts_with("silent") {
            true => vec![],
            false => addresses(question, &[[127, 0, 0, 1]]),
        });
        // So many tries that no query ends by itself during the test.
        let address = server.address.to_string();
        let mut flags = vec!["-l", "127.0.0.1:0", "-l", "[::]:0", "--dns-timeout", "1000"];
        (0..8).for_each(|_| flags.extend(["--nameserver", &address]));
        let proxy = Proxy::start(EVERYTHING, &flags);
        let to = SocketAddr::new(Ipv6Addr::LOCALHOST.into(), proxy.address6().port());
        let asks = |mut stream: TcpStream, name: &str, port| {
            stream.write_all(&request_4a(CONNECT, name.as_bytes(), port, b"")).unwrap();
            stream
        };
        let silent = |n: u32| {
            asks(dial_from6(&format!("2001:db8:2::{n:x}"), to), &format!("silent{n}.test"), 80)
        };
        let _flood: Vec<_> = (1..300).map(silent).collect();
        wait_until("as many queries as allowed", || (server.seen().len() >= 64).then_some(()));
        let mut client = asks(dial(to), "good.test", echo_server().port());
        assert_eq!(read_reply(&mut client).0, 90);
    });
}

/// One port number, one listener for each family: neither takes the other's clients.
#[test]
fn one_port_serves_both_families() {
    with_ipv6("one_port_serves_both_families", || {
        for (first, second) in [("0.0.0.0:1080", "[::]:1080"), ("[::]:1080", "0.0.0.0:1080")] {
            let proxy = Proxy::start(EVERYTHING, &["-l", "127.0.0.1:0", "-l", first, "-l", second]);
            let port = echo6();
            for entrance in ["127.0.0.1:1080", "[::1]:1080"] {
                let mut stream = dial(entrance.parse().unwrap());
                let client = stream.local_addr().unwrap();
                assert_eq!(ask(&mut stream, CONNECT, "127.0.0.1", port).0, 0);
                assert_echoes(stream);
                proxy.wait_log(&format!(" client={client} "));
            }
        }
    });
}

/// An identd that knows one user.
fn identd_of_bob() {
    let identd = TcpListener::bind((Ipv6Addr::UNSPECIFIED, 113)).unwrap();
    thread::spawn(move || {
        for stream in identd.incoming().map_while(Result::ok) {
            let mut line = String::new();
            let _ = BufReader::new(&stream).read_line(&mut line);
            let _ = (&stream)
                .write_all(format!("{} : USERID : UNIX : bob\r\n", line.trim()).as_bytes());
        }
    });
}

/// Its address means nothing without the link, which only its connection tells.
#[test]
fn the_identd_of_a_link_local_client_is_asked_on_its_link() {
    with_ipv6("the_identd_of_a_link_local_client_is_asked_on_its_link", || {
        ip("addr add fe80::1/64 dev lo nodad");
        identd_of_bob();
        let rules = "permit c 2001:db8::4 ident from fe80::/10\n";
        let proxy = Proxy::start(rules, &["-l", "127.0.0.1:0", "-l", "[::]:0"]);
        // The loopback device is the first one of each namespace.
        let own = SocketAddrV6::new("fe80::1".parse().unwrap(), proxy.address6().port(), 0, 1);
        let mut stream = dial(own.into());
        stream.write_all(&request_4a(CONNECT, b"2001:db8::4", echo6(), b"bob")).unwrap();
        assert_eq!(read_reply(&mut stream).0, 90);
        assert_echoes(stream);
        assert_eq!(proxy.access(1).field("ident"), "bob");
    });
}

#[test]
fn a_name_server_and_an_identd_are_asked_over_ipv6() {
    with_ipv6("a_name_server_and_an_identd_are_asked_over_ipv6", || {
        let port = echo6();
        let server = UdpSocket::bind((Ipv6Addr::LOCALHOST, 0)).unwrap();
        let name_server = server.local_addr().unwrap().to_string();
        thread::spawn(move || {
            let mut bytes = [0; 512];
            while let Ok((length, from)) = server.recv_from(&mut bytes) {
                let question = Question::read(&bytes[..length], false, from, 0);
                let six = aaaa("six.test", "2001:db8::4".parse().unwrap());
                let records = if question.is_aaaa { vec![six] } else { Vec::new() };
                let _ = server.send_to(&reply(&question, 0x0400, &records), from);
            }
        });
        identd_of_bob();
        let rules = "permit c 2001:db8::4 ident\n";
        let proxy = Proxy::start(rules, &[BOTH, &["--nameserver", &name_server]].concat());
        let mut stream = dial(proxy.address6());
        stream.write_all(&request_4a(CONNECT, b"six.test", port, b"bob")).unwrap();
        assert_eq!(read_reply(&mut stream).0, 90);
        assert_echoes(stream);
        let access = proxy.access(1);
        assert_eq!((access.field("ident"), access.field("reason")), ("bob", "done"));
        assert_eq!(access.field("address"), format!("[2001:db8::4]:{port}"));
    });
}

/// Without IPv6 on this host, a name with addresses of both families costs no time, and the reason
/// is what the IPv4 target says.
#[test]
fn a_host_without_ipv6_loses_no_time_with_a_name_that_has_both() {
    in_namespace("a_host_without_ipv6_loses_no_time_with_a_name_that_has_both", || {
        run("sysctl", "-qw net.ipv6.conf.all.disable_ipv6=1");
        let proxy = Proxy::start(EVERYTHING, &[]);
        let echo = echo_server();
        let started = std::time::Instant::now();
        let (mut stream, code, _) = proxy.ask5(CONNECT, "localhost", echo.port());
        assert_eq!(code, 0);
        assert!(started.elapsed().as_millis() < 200, "{:?}", started.elapsed());
        stream.write_all(b"x").unwrap();
        assert_eq!(stream.read(&mut [0; 8]).unwrap(), 1);
        let (_, code, _) = proxy.ask5(CONNECT, "localhost", 1);
        assert_eq!(code, 5);
        proxy.wait_log("reason=refused");
    });
}
