//! The relay: the task that moves bytes between a TLS connection and the service's plain socket.
//!
//! All relays of a thread share one read buffer. A relay itself stores only the bytes that the
//! destination does not accept now, at most one buffer for each direction. While it stores bytes,
//! it reads no more from the source. A slow client therefore fills the socket pair's buffer, and
//! the service sees that the client is slow.

use crate::stream::CLOSE_TIMEOUT;
use std::cell::RefCell;
use std::convert::Infallible;
use std::future::poll_fn;
use std::io::{self, ErrorKind};
use std::net::Shutdown as Half;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use tokio::io::{AsyncRead as _, AsyncWrite as _, AsyncWriteExt as _, ReadBuf, ReadHalf, WriteHalf};
use tokio::net::{TcpStream, UnixStream};
use tokio::sync::oneshot;
use tokio_rustls::server::TlsStream;

/// The size of the shared read buffer, and the limit on rustls's own buffer: a TLS record.
pub(super) const BUFFER_BYTES: usize = 16 * 1024;

thread_local! {
    static BUFFER: RefCell<Box<[u8; BUFFER_BYTES]>> = RefCell::new(Box::new([0; BUFFER_BYTES]));
}

/// The result of moving the bytes of one read.
enum Step {
    /// The bytes that the destination did not accept; may be empty.
    Left(Vec<u8>),
    /// The source has ended.
    End,
}

/// Moves bytes in both directions until both sides have closed or one of them fails. Once the
/// service has closed, the relay has [`CLOSE_TIMEOUT`] to write the remaining bytes. `gone` ends
/// when the service closes.
pub(super) async fn run(tls: TlsStream<TcpStream>, local: UnixStream, gone: oneshot::Receiver<Infallible>) {
    let (mut from_peer, mut to_peer) = tokio::io::split(tls);
    let carry = async {
        // An error in one direction ends both.
        let _ = tokio::try_join!(down(&local, &mut to_peer), up(&mut from_peer, &local));
    };
    let farewell = async {
        let _ = gone.await;
        tokio::time::sleep(CLOSE_TIMEOUT).await;
    };
    tokio::select! {
        () = carry => {}
        () = farewell => {}
    }
}

/// Moves bytes from the service to the peer.
async fn down(local: &UnixStream, peer: &mut WriteHalf<TlsStream<TcpStream>>) -> io::Result<()> {
    loop {
        match poll_fn(|cx| take_local(cx, local, peer)).await? {
            Step::End => return peer.shutdown().await,
            Step::Left(rest) => {
                peer.write_all(&rest).await?;
                peer.flush().await?;
            }
        }
    }
}

fn take_local(
    cx: &mut Context<'_>,
    local: &UnixStream,
    peer: &mut WriteHalf<TlsStream<TcpStream>>,
) -> Poll<io::Result<Step>> {
    loop {
        ready!(local.poll_read_ready(cx))?;
        let step = BUFFER.with_borrow_mut(|buffer| match local.try_read(&mut buffer[..]) {
            Ok(0) => Ok(Step::End),
            Ok(count) => match Pin::new(&mut *peer).poll_write(cx, &buffer[..count]) {
                Poll::Ready(taken) => taken.map(|taken| Step::Left(buffer[taken..count].to_vec())),
                Poll::Pending => Ok(Step::Left(buffer[..count].to_vec())),
            },
            Err(e) => Err(e),
        });
        match step {
            Err(e) if matches!(e.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => {}
            step => return Poll::Ready(step),
        }
    }
}

/// Moves bytes from the peer to the service.
async fn up(peer: &mut ReadHalf<TlsStream<TcpStream>>, local: &UnixStream) -> io::Result<()> {
    loop {
        match poll_fn(|cx| take_peer(cx, peer, local)).await? {
            Step::End => return socket2::SockRef::from(local).shutdown(Half::Write),
            Step::Left(rest) => write_all(local, &rest).await?,
        }
    }
}

fn take_peer(
    cx: &mut Context<'_>,
    peer: &mut ReadHalf<TlsStream<TcpStream>>,
    local: &UnixStream,
) -> Poll<io::Result<Step>> {
    BUFFER.with_borrow_mut(|buffer| {
        let mut read = ReadBuf::new(&mut buffer[..]);
        match ready!(Pin::new(peer).poll_read(cx, &mut read)) {
            Ok(()) if read.filled().is_empty() => return Poll::Ready(Ok(Step::End)),
            Ok(()) => {}
            // The peer closed without a TLS close_notify. That counts as a normal end, because HTTP
            // and websockets mark the ends of their messages themselves.
            Err(e) if e.kind() == ErrorKind::UnexpectedEof => return Poll::Ready(Ok(Step::End)),
            Err(e) => return Poll::Ready(Err(e)),
        }
        Poll::Ready(match local.try_write(read.filled()) {
            Ok(taken) => Ok(Step::Left(read.filled()[taken..].to_vec())),
            Err(e) if e.kind() == ErrorKind::WouldBlock => Ok(Step::Left(read.filled().to_vec())),
            Err(e) => Err(e),
        })
    })
}

async fn write_all(local: &UnixStream, mut bytes: &[u8]) -> io::Result<()> {
    while !bytes.is_empty() {
        local.writable().await?;
        match local.try_write(bytes) {
            Ok(taken) => bytes = &bytes[taken..],
            Err(e) if matches!(e.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => {}
            Err(e) => return Err(e),
        }
    }
    Ok(())
}
