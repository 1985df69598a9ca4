//! The allocations of the loop. The only test of its program: the counter counts every thread.

#![cfg(feature = "json")]

use socku::server::{Builder, LogFormat};
use stats_alloc::{INSTRUMENTED_SYSTEM, StatsAlloc};
use std::alloc::System;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::Barrier;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

const TOTAL_BYTES: usize = 64 << 20;
const SESSIONS: usize = 200;

fn allocations() -> usize {
    let stats = ALLOCATOR.stats();
    stats.allocations + stats.reallocations
}

/// A log whose lines are made without an allocation, and go nowhere.
struct Nowhere;

impl log::Log for Nowhere {
    fn enabled(&self, _: &log::Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &log::Record<'_>) {
        let mut line = [0; 4096];
        write!(&mut line[..], "{}", record.args()).unwrap();
        LINES.fetch_add(usize::from(record.target() == "access"), Ordering::Relaxed);
    }

    fn flush(&self) {}
}

/// The number of access lines.
static LINES: AtomicUsize = AtomicUsize::new(0);

/// The proxy in a thread of this program.
fn start(splice: bool, format: LogFormat) -> SocketAddr {
    let server = Builder::with_rules("permit c 127.*.*.*\n")
        .listen((Ipv4Addr::LOCALHOST, 0).into())
        .nameserver("127.0.0.1:1".parse().unwrap())
        .splice(splice)
        .log_format(format)
        .start()
        .unwrap();
    let address = server.addresses()[0];
    thread::spawn(move || server.run().unwrap());
    address
}

/// A session through the proxy: the client's end and the target's.
fn connect(proxy: SocketAddr, listener: &TcpListener) -> (TcpStream, TcpStream) {
    let Ok(SocketAddr::V4(target)) = listener.local_addr() else { panic!() };
    let mut client = TcpStream::connect(proxy).unwrap();
    let [high, low] = target.port().to_be_bytes();
    let [a, b, c, d] = target.ip().octets();
    client.write_all(&[4, 1, high, low, a, b, c, d, 0]).unwrap();
    let mut reply = [0; 8];
    client.read_exact(&mut reply).unwrap();
    assert_eq!(reply[1], 90);
    let target = listener.accept().unwrap().0;
    for stream in [&client, &target] {
        stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    }
    (client, target)
}

/// Sends `total` bytes from one end to the other; returns the number of allocations meanwhile.
fn relay(mut from: &TcpStream, mut to: &TcpStream, total: usize) -> usize {
    let chunk = vec![7; 64 * 1024];
    let mut buffer = vec![0; 64 * 1024];
    let barrier = Barrier::new(2);
    thread::scope(|scope| {
        scope.spawn(|| {
            barrier.wait();
            for _ in 0..total / chunk.len() {
                from.write_all(&chunk).unwrap();
            }
            // Not before the count is taken: a thread that ends may allocate.
            barrier.wait();
        });
        barrier.wait();
        let before = allocations();
        let mut left = total;
        while left > 0 {
            let most = left.min(buffer.len());
            let n = to.read(&mut buffer[..most]).unwrap();
            assert!(n > 0);
            left -= n;
        }
        let allocated = allocations() - before;
        barrier.wait();
        allocated
    })
}

/// Opens, uses and closes one session after another; returns the number of allocations meanwhile.
fn sessions(proxy: SocketAddr, listener: &TcpListener) -> usize {
    let before = allocations();
    for _ in 0..SESSIONS {
        let (mut client, mut target) = connect(proxy, listener);
        client.write_all(b"x").unwrap();
        target.read_exact(&mut [0]).unwrap();
        drop(target);
        assert_eq!(client.read(&mut [0]).unwrap(), 0);
    }
    allocations() - before
}

#[test]
fn a_warm_relay_allocates_nothing_and_a_session_only_one_list() {
    // The counter works.
    let before = allocations();
    drop(std::hint::black_box(Box::new(7)));
    assert!(allocations() > before);
    log::set_logger(&Nowhere).unwrap();
    log::set_max_level(log::LevelFilter::Info);
    for (splice, format) in [(true, LogFormat::Text), (false, LogFormat::Json)] {
        let proxy = start(splice, format);
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let (client, target) = connect(proxy, &listener);
        // The first bytes warm the pool.
        relay(&client, &target, 1 << 20);
        relay(&target, &client, 1 << 20);
        assert_eq!(relay(&client, &target, TOTAL_BYTES), 0, "up, splice {splice}");
        assert_eq!(relay(&target, &client, TOTAL_BYTES), 0, "down, splice {splice}");
        sessions(proxy, &listener);
        // The list of addresses to try is the only allocation of a session: its line has none.
        let logged = LINES.load(Ordering::Relaxed);
        let allocated = sessions(proxy, &listener);
        assert!(LINES.load(Ordering::Relaxed) >= logged + SESSIONS - 1);
        assert!(allocated <= SESSIONS, "{allocated} for {SESSIONS} sessions");
    }
}
