//! A connection as a service sees it: a plain socket, with the kernel's buffers and readiness.
//!
//! A service has a plain socket even over TLS: one end of a local socket pair, whose other end
//! belongs to a task that encrypts and decrypts ([`crate::tls`]). Plain connections therefore pay
//! nothing for TLS. Properties of sockets that services rely on (vectored writes, half-closed
//! connections, slow clients that fill a buffer of known size) are the same over TLS.

use socket2::SockRef;
use std::cell::RefCell;
use std::convert::Infallible;
use std::io::{self, ErrorKind, IoSlice};
use std::net::Shutdown as Half;
use std::os::fd::{AsFd, BorrowedFd};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpStream, UnixStream};
use tokio::sync::oneshot;

/// How long a peer may take to close its side of a connection after the service has closed its own.
pub const CLOSE_TIMEOUT: Duration = Duration::from_secs(2);

/// The largest number of bytes of one read.
const READ_BYTES: usize = 16 * 1024;

thread_local! {
    /// One read buffer for all sockets of a thread, so that a quiet socket holds no buffer.
    static READ: RefCell<Box<[u8; READ_BYTES]>> = RefCell::new(Box::new([0; READ_BYTES]));
}

/// The service's end of a connection.
#[derive(Debug)]
pub enum Stream {
    /// A connection without TLS.
    Tcp(TcpStream),
    /// A connection with TLS: the service's end of the socket pair to the relay.
    Tls(Relayed),
}

/// The service's end of a TLS connection.
#[derive(Debug)]
pub struct Relayed {
    socket: UnixStream,
    /// Dropping this tells the relay that the service has closed, even if the peer accepts no
    /// bytes.
    _alive: oneshot::Sender<Infallible>,
}

impl Relayed {
    /// Creates both ends of the pair, and the receiver that tells the relay when the service has
    /// closed.
    pub(crate) fn pair() -> io::Result<(Self, UnixStream, oneshot::Receiver<Infallible>)> {
        let (socket, relay) = UnixStream::pair()?;
        let (alive, gone) = oneshot::channel();
        Ok((Self { socket, _alive: alive }, relay, gone))
    }
}

impl Stream {
    /// Waits until bytes can be read, or until the peer has closed.
    ///
    /// # Errors
    /// The socket's error.
    pub async fn readable(&self) -> io::Result<()> {
        match self {
            Self::Tcp(stream) => stream.readable().await,
            Self::Tls(stream) => stream.socket.readable().await,
        }
    }

    /// Waits until bytes can be written, or until the connection is closed for writing.
    ///
    /// # Errors
    /// The socket's error.
    pub async fn writable(&self) -> io::Result<()> {
        match self {
            Self::Tcp(stream) => stream.writable().await,
            Self::Tls(stream) => stream.socket.writable().await,
        }
    }

    /// Reads available bytes; 0 means the end of the stream.
    ///
    /// # Errors
    /// `WouldBlock` if no bytes are available, or the socket's error.
    fn try_read(&self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Tcp(stream) => stream.try_read(buffer),
            Self::Tls(stream) => stream.socket.try_read(buffer),
        }
    }

    /// Reads bytes that have arrived, passes them to `take`, and returns its result. Returns `None`
    /// if no bytes have arrived. `take` must not read from a stream, because all streams of a
    /// thread share the read buffer.
    ///
    /// # Errors
    /// The socket's error; `UnexpectedEof` once the peer has closed.
    pub fn read_ready<T>(&self, take: impl FnOnce(&[u8]) -> T) -> io::Result<Option<T>> {
        READ.with_borrow_mut(|buffer| match self.try_read(&mut buffer[..]) {
            Ok(0) => Err(ErrorKind::UnexpectedEof.into()),
            Ok(count) => Ok(Some(take(&buffer[..count]))),
            Err(e) if matches!(e.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => Ok(None),
            Err(e) => Err(e),
        })
    }

    /// Writes as many bytes as fit into the send buffer.
    ///
    /// # Errors
    /// `WouldBlock` if none fit, or the socket's error.
    pub fn try_write_vectored(&self, parts: &[IoSlice<'_>]) -> io::Result<usize> {
        match self {
            Self::Tcp(stream) => stream.try_write_vectored(parts),
            Self::Tls(stream) => stream.socket.try_write_vectored(parts),
        }
    }

    /// Shuts down one direction, or both. An error means that the direction is closed already, and
    /// is ignored.
    pub fn shut(&self, half: Half) {
        let _ = SockRef::from(self).shutdown(half);
    }
}

impl AsFd for Stream {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Self::Tcp(stream) => stream.as_fd(),
            Self::Tls(stream) => stream.socket.as_fd(),
        }
    }
}

impl AsyncRead for Stream {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_read(cx, buffer),
            Self::Tls(stream) => Pin::new(&mut stream.socket).poll_read(cx, buffer),
        }
    }
}

impl AsyncWrite for Stream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_write(cx, bytes),
            Self::Tls(stream) => Pin::new(&mut stream.socket).poll_write(cx, bytes),
        }
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        parts: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_write_vectored(cx, parts),
            Self::Tls(stream) => Pin::new(&mut stream.socket).poll_write_vectored(cx, parts),
        }
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_flush(cx),
            Self::Tls(stream) => Pin::new(&mut stream.socket).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_shutdown(cx),
            Self::Tls(stream) => Pin::new(&mut stream.socket).poll_shutdown(cx),
        }
    }
}
