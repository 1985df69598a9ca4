//! CONNECT through the program itself.

mod common;

use common::{PERMIT_ALL, Proxy, echo_server, read_all};
use std::io::Write;
use std::net::Shutdown;

#[test]
fn a_granted_connect_relays_both_ways_and_leaves_an_access_line() {
    let proxy = Proxy::start(PERMIT_ALL, &[]);
    let mut stream = proxy.connect(echo_server());
    stream.write_all(b"hello").unwrap();
    stream.shutdown(Shutdown::Write).unwrap();
    assert_eq!(read_all(&mut stream), b"hello");
    let access = proxy.access(1);
    assert_eq!(access.field("reason"), "done");
    assert_eq!((access.field("up"), access.field("down")), ("5", "5"));
}
