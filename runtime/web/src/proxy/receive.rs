//! Receives the header of the PROXY protocol from a socket, and no byte behind it.
//!
//! The bytes behind the header stay in the kernel's buffer, so that TLS or HTTP finds its own first
//! byte there. The reader therefore looks at bytes before it takes them.

use super::header::{self, Fault};
use driftless_schemas::limits;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;
use tokio::io::AsyncReadExt as _;
use tokio::net::TcpStream;

/// The reason why a connection brought no header.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NoHeader {
    /// The proxy closed without a byte, which health checks do.
    #[error("the connection ended before its first byte")]
    Empty,
    #[error("the connection ended within the header of the PROXY protocol")]
    CutOff,
    #[error("the header of the PROXY protocol did not arrive within {} ms", limits::PROXY_HEADER_TIMEOUT_MS)]
    TimedOut,
    #[error("{0}")]
    Fault(#[from] Fault),
    #[error("{0}")]
    Io(#[from] io::Error),
}

/// Takes the header off the front of a connection. Returns the client's address; `None` if the
/// connection keeps its own address.
///
/// # Errors
/// [`NoHeader`]; the connection must then be closed.
pub(super) async fn receive(stream: &mut TcpStream) -> Result<Option<SocketAddr>, NoHeader> {
    let within = Duration::from_millis(limits::PROXY_HEADER_TIMEOUT_MS);
    tokio::time::timeout(within, header_of(stream)).await.unwrap_or(Err(NoHeader::TimedOut))
}

async fn header_of(stream: &mut TcpStream) -> Result<Option<SocketAddr>, NoHeader> {
    let mut held = [0; limits::PROXY_LINE_BYTES_MAX];
    let mut count = 0;
    let header = loop {
        let seen = count + stream.peek(&mut held[count..]).await?;
        if seen == count {
            return Err(if count == 0 { NoHeader::Empty } else { NoHeader::CutOff });
        }
        let header = header::parse(&held[..seen])?;
        // Without a decision, all bytes so far belong to the header.
        let taken = header.map_or(seen, |header| header.bytes.clamp(count, seen));
        stream.read_exact(&mut held[count..taken]).await?;
        count = taken;
        if let Some(header) = header {
            break header;
        }
    };
    let mut skipped = header.bytes.saturating_sub(count);
    while skipped > 0 {
        let part = skipped.min(held.len());
        match stream.read(&mut held[..part]).await? {
            0 => return Err(NoHeader::CutOff),
            read => skipped -= read,
        }
    }
    Ok(header.client)
}
