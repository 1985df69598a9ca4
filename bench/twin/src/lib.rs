//! The tokio twin: the SOCKS4, 4A and 5 proxy that one would write with tokio today.
//!
//! CONNECT to an address or a name, without authentication, one task per session, `TCP_NODELAY` on
//! both sockets and [`tokio::io::copy_bidirectional`] as the relay. It is kept as fast as this
//! shape allows: one read for a request that comes in one piece, one write for the reply, no rules,
//! no time-outs, no log. Everything else that socku does is therefore socku's cost in the
//! comparison.

mod request;
mod socks5;

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};

use request::{Host, Parsed, REQUEST_BYTES_MAX, Request};

/// Pause after a failed accept, so that running out of descriptors does not spin.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Takes the listening address from the command line: `--listen ADDR:PORT`.
pub fn listen_address() -> Result<SocketAddr, String> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.as_slice() {
        [flag, address] if flag == "--listen" => {
            address.parse().map_err(|_| format!("--listen {address}: expected ADDR:PORT"))
        }
        _ => Err("usage: --listen ADDR:PORT".to_owned()),
    }
}

/// Serves for ever; ends only when it cannot listen.
pub async fn serve(address: SocketAddr) -> io::Result<()> {
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

/// The version that the client's first byte names.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Version {
    Socks4,
    Socks5,
}

/// Reads the request, connects, replies, and hands on the bytes after the request.
async fn open(client: &mut TcpStream) -> io::Result<Option<TcpStream>> {
    // Room for a greeting and a request of SOCKS5 as well.
    let mut bytes = [0; REQUEST_BYTES_MAX + 512];
    let mut filled = 0;
    // Where the request begins: after a greeting, if there is one.
    let mut start = 0;
    let mut version = Version::Socks4;
    loop {
        let got = client.read(&mut bytes[filled..]).await?;
        if got == 0 {
            return Ok(None);
        }
        filled += got;
        if start == 0 && bytes[0] == 5 {
            version = Version::Socks5;
            match socks5::greeting(&bytes[..filled]) {
                Ok(Some(length)) => start = length,
                Ok(None) => continue,
                Err(request::Refused) => {
                    client.write_all(&socks5::NO_METHOD).await?;
                    return Ok(None);
                }
            }
            client.write_all(&socks5::NO_AUTHENTICATION).await?;
        }
        let parsed = match version {
            Version::Socks4 => request::parse(&bytes[..filled]),
            Version::Socks5 => socks5::parse(&bytes[start..filled]),
        };
        match parsed {
            Ok(Parsed::Done(request, length)) => {
                let Ok(mut target) = connect(&request).await else {
                    reply(client, version, None).await?;
                    return Ok(None);
                };
                reply(client, version, Some(target.local_addr()?)).await?;
                let rest = &bytes[start + length..filled];
                if !rest.is_empty() {
                    target.write_all(rest).await?;
                }
                return Ok(Some(target));
            }
            Ok(Parsed::More) => {}
            Err(request::Refused) => {
                reply(client, version, None).await?;
                return Ok(None);
            }
        }
    }
}

async fn connect(request: &Request<'_>) -> io::Result<TcpStream> {
    let target = match request.host {
        Host::Address(address) => TcpStream::connect((address, request.port)).await?,
        Host::Name(name) => TcpStream::connect((name, request.port)).await?,
    };
    target.set_nodelay(true)?;
    Ok(target)
}

/// Writes the reply: granted with the local address of the connection, or rejected.
async fn reply(
    client: &mut TcpStream,
    version: Version,
    granted: Option<SocketAddr>,
) -> io::Result<()> {
    match version {
        Version::Socks4 => client.write_all(&request::reply(granted)).await,
        Version::Socks5 => client.write_all(socks5::Reply::new(granted).bytes()).await,
    }
}
