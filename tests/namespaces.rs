//! Faults of the network, each in its own network namespace.

#![cfg(feature = "server")]

mod common;

use common::machine::Stopwatch;
use common::namespace::{Router, in_namespace, ip, run};
use common::traffic::ping;
use common::{
    PERMIT_ALL, Proxy, accept, read_reply, request, reset, socku, wait_until, with_deadline,
};
use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddrV4, TcpListener};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// Sends a CONNECT; the reply's code and the time taken.
fn ask(proxy: &Proxy, target: &str) -> (u8, Duration) {
    let asked = Stopwatch::start(proxy);
    let mut stream = proxy.dial();
    stream.write_all(&request(1, target.parse().unwrap(), b"")).unwrap();
    let (code, _) = read_reply(&mut stream);
    (code, asked.elapsed())
}

#[test]
fn every_failure_to_reach_a_target_has_its_reason_and_is_reported_at_once() {
    in_namespace("every_failure_to_reach_a_target_has_its_reason_and_is_reported_at_once", || {
        let router = Router::new();
        for (kind, network) in [("unreachable", "10.9.11.0/24"), ("prohibit", "10.9.12.0/24")] {
            router.ip(&format!("route add {kind} {network}"));
        }
        ip("route add unreachable 10.9.21.0/24");
        ip("route add prohibit 10.9.22.0/24");
        ip("route add blackhole 10.9.23.0/24");
        let proxy = Proxy::start(PERMIT_ALL, &["--connect-timeout", "9"]);
        for (id, (target, reason, error)) in [
            ("10.9.0.2:1", "refused", "ECONNREFUSED"),
            ("127.0.0.1:1", "refused", "ECONNREFUSED"),
            ("10.9.11.1:80", "unreachable", "EHOSTUNREACH"),
            // A router's "prohibited" is the same error to a socket as "unreachable".
            ("10.9.12.1:80", "unreachable", "EHOSTUNREACH"),
            ("10.9.21.1:80", "unreachable", "EHOSTUNREACH"),
            ("10.9.22.1:80", "prohibited", "EACCES"),
            ("10.9.23.1:80", "unreachable", "EINVAL"),
            ("10.8.0.1:80", "network-unreachable", "ENETUNREACH"),
        ]
        .into_iter()
        .enumerate()
        {
            let (code, took) = ask(&proxy, target);
            assert_eq!(code, 91, "{target}");
            assert!(took < Duration::from_millis(200), "{target}: {took:?}");
            let line = proxy.access(id as u64 + 1);
            assert_eq!((line.field("reason"), line.field("error")), (reason, error), "{target}");
        }
    });
}

#[test]
fn a_target_that_drops_all_packets_ends_at_the_connect_timeout() {
    in_namespace("a_target_that_drops_all_packets_ends_at_the_connect_timeout", || {
        let router = Router::new();
        router.ip("route add blackhole 10.9.13.0/24");
        let proxy = Proxy::start(PERMIT_ALL, &["--connect-timeout", "1"]);
        let (code, took) = ask(&proxy, "10.9.13.1:80");
        assert_eq!(code, 91);
        assert!(took >= Duration::from_millis(900), "{took:?}");
        assert!(took < Duration::from_millis(1500), "{took:?}");
        let line = proxy.access(1);
        assert_eq!(line.field("reason"), "connect-timeout");
        assert!(!line.0.contains(" error="), "the time-out is the proxy's own: {line:?}");
        // A client reset ends the session earlier, and closes its descriptors.
        let proxy = Proxy::start(PERMIT_ALL, &["--connect-timeout", "60"]);
        let before = proxy.descriptors();
        let mut leaving = proxy.dial();
        leaving.write_all(&request(1, "10.9.13.1:80".parse().unwrap(), b"")).unwrap();
        proxy.wait_log("reading-request -> connecting");
        let left = Stopwatch::start(&proxy);
        reset(leaving);
        assert_eq!(proxy.access(1).field("reason"), "client-reset");
        assert!(left.elapsed() < Duration::from_secs(2), "{:?}", left.elapsed());
        wait_until("the descriptors to be closed", || {
            (proxy.descriptors() == before).then_some(())
        });
    });
}

/// Every address that leads to this host is its own: secondary ones, whole networks routed to it,
/// all of 127/8. Any other address is not, even with the same port.
#[test]
fn no_address_of_this_host_leads_back_into_the_proxy() {
    in_namespace("no_address_of_this_host_leads_back_into_the_proxy", || {
        let _router = Router::new();
        ip("addr add 10.9.0.7/24 dev near");
        ip("addr add 10.5.0.1/32 dev lo");
        ip("route add local 10.6.0.0/16 dev lo");
        let mut proxy = Proxy::start(PERMIT_ALL, &["-l", "0.0.0.0:0"]);
        let port = proxy.address.port();
        proxy.address = format!("127.0.0.1:{port}").parse().unwrap();
        let mut id = 0;
        for address in ["10.9.0.1", "10.9.0.7", "10.5.0.1", "10.6.1.2", "127.0.0.1", "127.9.9.9"] {
            assert_eq!(ask(&proxy, &format!("{address}:{port}")).0, 91, "{address}");
            id += 1;
            assert_eq!(proxy.access(id).field("reason"), "loop", "{address}");
        }
        for (address, reason) in [("10.9.0.2", "refused"), ("10.9.0.255", "network-unreachable")] {
            assert_eq!(ask(&proxy, &format!("{address}:{port}")).0, 91, "{address}");
            id += 1;
            assert_eq!(proxy.access(id).field("reason"), reason, "{address}");
        }
        proxy.wait_idle();
    });
}

/// In active FTP the server comes from the other network than the client.
#[test]
fn a_bind_for_any_peer_is_reachable_from_both_networks_of_a_gateway() {
    in_namespace("a_bind_for_any_peer_is_reachable_from_both_networks_of_a_gateway", || {
        let router = Router::new();
        let proxy = Proxy::start(PERMIT_ALL, &[]);
        let any_peer = request(2, "0.0.0.0:0".parse().unwrap(), b"");
        // Without another connection, the address that the client itself connected to is
        // advertised.
        let mut alone = proxy.dial();
        alone.write_all(&any_peer).unwrap();
        let (code, advertised) = read_reply(&mut alone);
        assert_eq!((code, advertised.ip().to_string()), (90, "127.0.0.1".to_string()));
        // With one, the source address of that connection, which its server knows.
        let far = FarServer::start(&router);
        let control = proxy.connect(far.address);
        let mut binding = proxy.dial();
        binding.write_all(&any_peer).unwrap();
        let (code, advertised) = read_reply(&mut binding);
        assert_eq!((code, advertised.ip().to_string()), (90, "10.9.0.1".to_string()));
        let script =
            format!("exec 3<>/dev/tcp/{}/{}; printf data >&3", advertised.ip(), advertised.port());
        router.bash(&script);
        let (code, peer) = read_reply(&mut binding);
        assert_eq!((code, peer.ip().to_string()), (90, "10.9.0.2".to_string()));
        let mut data = Vec::new();
        binding.read_to_end(&mut data).unwrap();
        assert_eq!(data, b"data");
        drop(control);
    });
}

/// The server that is to come knows the connection that its client has just made to it.
#[test]
fn a_bind_for_any_peer_advertises_the_source_of_the_latest_connect() {
    in_namespace("a_bind_for_any_peer_advertises_the_source_of_the_latest_connect", || {
        // A connection to an address of this host comes from the same address.
        let [first, latest, other] = ["10.5.0.1", "10.5.0.2", "10.5.0.3"].map(|address| {
            ip(&format!("addr add {address}/32 dev lo"));
            let listener = TcpListener::bind((address, 0)).unwrap();
            let at: SocketAddrV4 = listener.local_addr().unwrap().to_string().parse().unwrap();
            (listener, at)
        });
        let proxy = Proxy::start(PERMIT_ALL, &[]);
        let advertised = || {
            let mut binding = proxy.dial();
            binding.write_all(&request(2, "0.0.0.0:0".parse().unwrap(), b"")).unwrap();
            let (code, address) = read_reply(&mut binding);
            assert_eq!(code, 90);
            address.ip().to_string()
        };
        let _first = (proxy.connect(first.1), accept(&first.0));
        let second = (proxy.connect(latest.1), accept(&latest.0));
        let mut stranger = proxy.dial_from([127, 0, 0, 9].into());
        stranger.write_all(&request(1, other.1, b"")).unwrap();
        assert_eq!(read_reply(&mut stranger).0, 90);
        assert_eq!(advertised(), "10.5.0.2");
        drop(second);
        proxy.access(2);
        assert_eq!(advertised(), "10.5.0.1");
    });
}

/// A port is in use for one target only, also with a fixed source address.
#[test]
fn one_source_port_serves_many_targets() {
    in_namespace("one_source_port_serves_many_targets", || {
        run("sysctl", "-qw net.ipv4.ip_local_port_range=40000\t40009");
        let proxy = Proxy::start(PERMIT_ALL, &["--outbound", "127.0.0.9"]);
        let targets: Vec<_> = (0..4)
            .map(|n| std::net::TcpListener::bind(("127.0.0.1", 30_000 + n)).unwrap())
            .collect();
        let mut open = Vec::new();
        for n in 0..16 {
            let target = &targets[n % targets.len()];
            let at = target.local_addr().unwrap().to_string().parse().unwrap();
            // The clients' own ports are limited as well: each has its own address.
            let source = std::net::Ipv4Addr::new(127, 0, 1, n as u8);
            let mut client = proxy.dial_from(source);
            client.write_all(&request(1, at, b"")).unwrap();
            assert_eq!(read_reply(&mut client).0, 90, "session {n}");
            open.push((client, accept(target)));
        }
    });
}

/// Without a local port, the client's identd cannot be queried, which must not let the client pass.
#[test]
fn an_identd_that_this_host_cannot_query_does_not_count_as_missing() {
    in_namespace("an_identd_that_this_host_cannot_query_does_not_count_as_missing", || {
        let rules = "permit c 127.0.0.0/8 ident-lax\n";
        let proxy = Proxy::start(rules, &[]);
        let echo = common::echo_server();
        // A missing identd is queried, and the request continues.
        let ask = |proxy: &Proxy, last: u8| {
            let mut client = proxy.dial_from(std::net::Ipv4Addr::new(127, 0, 2, last));
            client.write_all(&request(1, echo, b"alice")).unwrap();
            (read_reply(&mut client).0, client)
        };
        assert_eq!(ask(&proxy, 1).0, 90);
        // All local ports are used up by connections to that identd.
        let address = std::net::Ipv4Addr::new(127, 0, 2, 2);
        let identd = TcpListener::bind((address, 113)).unwrap();
        let client = proxy.dial_from(address);
        run("sysctl", "-qw net.ipv4.ip_local_port_range=40000\t40001");
        let taken: Vec<_> = (40_000..=40_001)
            .map(|port| {
                let socket =
                    socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None);
                let socket = socket.unwrap();
                let own: std::net::SocketAddr = ([127, 0, 0, 1], port).into();
                socket.bind(&own.into()).unwrap();
                socket.connect(&identd.local_addr().unwrap().into()).unwrap();
                socket
            })
            .collect();
        let mut client = with_deadline(client);
        client.write_all(&request(1, echo, b"alice")).unwrap();
        assert_eq!(read_reply(&mut client).0, 91);
        assert_eq!(proxy.access(2).field("reason"), "no-resources");
        drop((taken, identd));
    });
}

/// The kernel times out after the configured retries; neither side has sent a reset.
#[test]
fn a_peer_lost_by_a_kernel_timeout_has_its_own_reason() {
    in_namespace("a_peer_lost_by_a_kernel_timeout_has_its_own_reason", || {
        run("sysctl", "-qw net.ipv4.tcp_retries2=2");
        let router = Router::new();
        let far = FarServer::start(&router);
        let proxy = Proxy::start(PERMIT_ALL, &[]);
        let mut client = proxy.connect(far.address);
        router.ip("link set far down");
        client.write_all(b"lost").unwrap();
        let access = proxy.access(1);
        assert_eq!(access.field("reason"), "target-lost");
        assert_eq!(access.field("error"), "ETIMEDOUT");
        let error = client.read(&mut [0]).unwrap_err();
        assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset);
    });
}

/// The kernel's own time-out is minutes; here the idle time-out is shorter.
#[test]
fn a_peer_that_vanishes_with_data_in_flight_is_cut_off_and_others_are_unaffected() {
    in_namespace(
        "a_peer_that_vanishes_with_data_in_flight_is_cut_off_and_others_are_unaffected",
        || {
            let router = Router::new();
            let echo = common::echo_server();
            let target = TcpListener::bind("10.9.0.1:0").unwrap();
            let far_target = target.local_addr().unwrap().to_string().parse().unwrap();
            // Pulling the cable disconnects one client; another stays.
            let rule_file = common::scratch_directory().join("socks.conf");
            fs::write(&rule_file, PERMIT_ALL).unwrap();
            let flags = ["-l", "10.9.0.1:0", "--nameserver", "127.0.0.1:1", "--idle-timeout", "3"];
            let mut command = socku(&flags);
            command.arg("-c").arg(&rule_file);
            let proxy = Proxy::spawn(command, rule_file);
            let _far = far_client(&router, &proxy, far_target);
            let mut server = accept(&target);
            let near = proxy.connect(echo);
            // More than the sockets in between can hold: some of it stays with the proxy.
            server.set_nonblocking(true).unwrap();
            ip("link set near down");
            let mut sent = 0;
            let stuck = wait_until("the buffers to be full", || {
                ping(&near);
                match server.write(&[7; 65536]) {
                    Ok(count) => {
                        sent += count;
                        None
                    }
                    Err(_) => Some(Instant::now()),
                }
            });
            assert!(sent > 0);
            while stuck.elapsed() < Duration::from_secs(1) {
                ping(&near);
            }
            let access = wait_until("the session to end", || {
                ping(&near);
                proxy.log().into_iter().find(|line| line.contains(" access] id=1 "))
            });
            assert!(access.contains(" reason=idle-timeout "), "{access}");
            // The target learns that its transfer was cut off.
            server.set_nonblocking(false).unwrap();
            let error = with_deadline(server).read(&mut [0]).unwrap_err();
            assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset);
        },
    );
}

/// A server in the router's namespace that accepts one connection and holds it.
struct FarServer {
    _running: Running,
    address: SocketAddrV4,
}

impl FarServer {
    fn start(router: &Router) -> FarServer {
        let script = "import socket, sys, time\n\
                      s = socket.create_server((\"10.9.0.2\", 8021))\n\
                      print(flush=True)\n\
                      c, _ = s.accept()\n\
                      time.sleep(60)";
        let mut command = Command::new("nsenter");
        command.args(["--net", "--target", &router.0.id().to_string(), "python3", "-c", script]);
        let child = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().unwrap();
        let mut running = Running(child);
        running.0.stdout.as_mut().unwrap().read_exact(&mut [0]).unwrap();
        FarServer { _running: running, address: "10.9.0.2:8021".parse().unwrap() }
    }
}

/// A program that is ended when it is no longer needed, even if a test fails.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A client in the router's namespace that connects to `target` and reads only the reply.
fn far_client(router: &Router, proxy: &Proxy, target: SocketAddrV4) -> Running {
    let octets: String = request(1, target, b"").iter().map(|b| format!("\\x{b:02x}")).collect();
    let script = format!(
        "exec 3<>/dev/tcp/{}/{}; printf '{octets}' >&3; exec sleep 60",
        proxy.address.ip(),
        proxy.address.port()
    );
    let mut command = Command::new("nsenter");
    command.args(["--net", "--target", &router.0.id().to_string(), "bash", "-c", &script]);
    let client = Running(command.stdin(Stdio::null()).spawn().unwrap());
    proxy.wait_log("id=1 connecting -> relaying");
    client
}
