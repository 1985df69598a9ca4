//! The tokio twin: the SOCKS4 and SOCKS4A proxy that one would write with tokio today.
//!
//! CONNECT to an address (4) or a name (4A), one task per session, `TCP_NODELAY` on both sockets
//! and [`tokio::io::copy_bidirectional`] as the relay. It is kept as fast as this shape allows:
//! one read for a request that comes in one piece, one write for the reply, no rules, no
//! time-outs, no log. Everything else that socku does is therefore socku's cost in the
//! comparison.

mod request;

use std::io;
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream, lookup_host};

use request::{Host, Parsed, REQUEST_BYTES_MAX, Request};

/// Pause after a failed accept, so that running out of descriptors does not spin.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

const GRANTED: u8 = 90;
const REJECTED: u8 = 91;

/// Takes the listening address from the command line: `--listen ADDR:PORT`.
pub fn listen_address() -> Result<SocketAddrV4, String> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.as_slice() {
        [flag, address] if flag == "--listen" => {
            address.parse().map_err(|_| format!("--listen {address}: expected ADDR:PORT"))
        }
        _ => Err("usage: --listen ADDR:PORT".to_owned()),
    }
}

/// Serves for ever; ends only when it cannot listen.
pub async fn serve(address: SocketAddrV4) -> io::Result<()> {
    let listener = TcpListener::bind(address).await?;
    loop {
        match listener.accept().await {
            Ok((client, _)) => {
                tokio::spawn(async move {
                    // A session that fails concerns only its two ends.
                    let _ = session(client).await;
                });
            }
            Err(_) => tokio::time::sleep(ACCEPT_PAUSE).await,
        }
    }
}

async fn session(mut client: TcpStream) -> io::Result<()> {
    client.set_nodelay(true)?;
    let Some(mut target) = open(&mut client).await? else {
        return Ok(());
    };
    copy_bidirectional(&mut client, &mut target).await?;
    Ok(())
}

/// Reads the request, connects, replies, and hands on the bytes after the request.
async fn open(client: &mut TcpStream) -> io::Result<Option<TcpStream>> {
    let mut bytes = [0; REQUEST_BYTES_MAX + 512];
    let mut filled = 0;
    loop {
        let got = client.read(&mut bytes[filled..]).await?;
        if got == 0 {
            return Ok(None);
        }
        filled += got;
        match request::parse(&bytes[..filled]) {
            Ok(Parsed::Done(request, length)) => {
                let Ok(mut target) = connect(&request).await else {
                    client.write_all(&reply(REJECTED, None)).await?;
                    return Ok(None);
                };
                client.write_all(&reply(GRANTED, target.local_addr().ok())).await?;
                if length < filled {
                    target.write_all(&bytes[length..filled]).await?;
                }
                return Ok(Some(target));
            }
            Ok(Parsed::More) => {}
            Err(request::NotSocks4) => {
                client.write_all(&reply(REJECTED, None)).await?;
                return Ok(None);
            }
        }
    }
}

async fn connect(request: &Request<'_>) -> io::Result<TcpStream> {
    let target = match request.host {
        Host::Address(address) => TcpStream::connect((address, request.port)).await?,
        Host::Name(name) => {
            let addresses: Vec<SocketAddr> =
                lookup_host((name, request.port)).await?.filter(SocketAddr::is_ipv4).collect();
            TcpStream::connect(addresses.as_slice()).await?
        }
    };
    target.set_nodelay(true)?;
    Ok(target)
}

fn reply(code: u8, address: Option<SocketAddr>) -> [u8; 8] {
    let address = match address {
        Some(SocketAddr::V4(address)) => address,
        _ => SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, 0),
    };
    let [high, low] = address.port().to_be_bytes();
    let [a, b, c, d] = address.ip().octets();
    [0, code, high, low, a, b, c, d]
}
