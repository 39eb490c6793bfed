//! The writing half of a websocket: the headers of a server's frames, and a queue of frames that
//! the socket has not accepted yet. Only [`SendQueue::drain`] waits for the socket.

use crate::stream::Stream;
use bytes::{Buf as _, Bytes};
use smallvec::{SmallVec, smallvec};
use std::collections::VecDeque;
use std::io::{self, ErrorKind, IoSlice};
use tokio_tungstenite::tungstenite::protocol::frame::coding::{Control, Data, OpCode};

/// The largest number of parts in one vectored write.
const PARTS_MAX: usize = 64;

/// Returns the header of a server's frame: a final fragment, not masked (RFC 6455).
#[must_use]
pub fn frame_header(opcode: OpCode, payload_bytes: usize) -> SmallVec<[u8; 10]> {
    let first = 0x80 | u8::from(opcode);
    match (u8::try_from(payload_bytes), u16::try_from(payload_bytes)) {
        (Ok(length @ ..126), _) => smallvec![first, length],
        (_, Ok(length)) => {
            let [a, b] = length.to_be_bytes();
            smallvec![first, 126, a, b]
        }
        _ => {
            let mut header = smallvec![first, 127];
            header.extend_from_slice(&(payload_bytes as u64).to_be_bytes());
            header
        }
    }
}

/// The result of one flush.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Flushed {
    /// The number of bytes that the socket has accepted.
    pub bytes: usize,
    /// The number of messages whose last byte the socket has accepted.
    pub messages: usize,
}

/// The header of a frame, or its payload.
#[derive(Debug)]
struct Part {
    bytes: Bytes,
    /// True if the frame ends with this part.
    ends_message: bool,
}

/// Messages that wait for one socket, in order.
///
/// The queue itself has no limit. Its owner must not read from the socket while [`Self::bytes`] is
/// above `limits::UNSENT_BYTES_MAX`. A client that receives nothing then cannot make the queue
/// grow.
#[derive(Debug, Default)]
pub struct SendQueue {
    /// Headers and payloads in order, without the bytes that the socket has accepted.
    parts: VecDeque<Part>,
    /// The total length of `parts`.
    bytes: usize,
}

impl SendQueue {
    /// Enqueues a binary message.
    pub fn push_binary(&mut self, payload: Bytes) {
        self.push(OpCode::Data(Data::Binary), payload);
    }

    /// Enqueues the answer to a ping, which repeats the ping's payload.
    pub fn push_pong(&mut self, payload: Bytes) {
        self.push(OpCode::Control(Control::Pong), payload);
    }

    /// Enqueues a close frame. The owner must not enqueue anything after it.
    pub fn push_close(&mut self, payload: Bytes) {
        self.push(OpCode::Control(Control::Close), payload);
    }

    fn push(&mut self, opcode: OpCode, payload: Bytes) {
        let header = frame_header(opcode, payload.len());
        self.bytes += header.len() + payload.len();
        self.parts.push_back(Part { bytes: Bytes::copy_from_slice(&header), ends_message: payload.is_empty() });
        if !payload.is_empty() {
            self.parts.push_back(Part { bytes: payload, ends_message: true });
        }
    }

    /// The number of bytes that the socket has not accepted yet.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Returns true if the socket has accepted everything.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.parts.is_empty()
    }

    /// Writes as many bytes as the socket accepts now, without waiting.
    ///
    /// # Errors
    /// The socket's error. A socket that accepts nothing now is not an error.
    pub fn flush(&mut self, stream: &Stream) -> io::Result<Flushed> {
        let mut flushed = Flushed::default();
        while !self.is_empty() {
            let parts: SmallVec<[IoSlice<'_>; 8]> =
                self.parts.iter().take(PARTS_MAX).map(|part| IoSlice::new(&part.bytes)).collect();
            let sent = stream.try_write_vectored(&parts);
            drop(parts);
            match sent {
                Ok(0) => return Err(ErrorKind::WriteZero.into()),
                Ok(count) => {
                    flushed.bytes += count;
                    flushed.messages += self.advance(count);
                }
                Err(e) if e.kind() == ErrorKind::WouldBlock => break,
                Err(e) if e.kind() == ErrorKind::Interrupted => {}
                Err(e) => return Err(e),
            }
        }
        Ok(flushed)
    }

    /// Writes everything, and waits for the socket without a deadline; the caller sets one.
    ///
    /// # Errors
    /// The socket's error.
    pub async fn drain(&mut self, stream: &Stream) -> io::Result<()> {
        self.flush(stream)?;
        while !self.is_empty() {
            stream.writable().await?;
            self.flush(stream)?;
        }
        Ok(())
    }

    /// Removes `count` bytes, which the socket has accepted. Returns the number of messages that
    /// end in these bytes.
    fn advance(&mut self, mut count: usize) -> usize {
        self.bytes -= count;
        let mut messages = 0;
        while let Some(first) = self.parts.front_mut() {
            if count < first.bytes.len() {
                first.bytes.advance(count);
                break;
            }
            count -= first.bytes.len();
            messages += usize::from(first.ends_message);
            self.parts.pop_front();
        }
        messages
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::AsyncReadExt as _;
    use tokio::net::{TcpListener, TcpStream};
    use tokio_tungstenite::tungstenite::protocol::frame::Frame;

    #[test]
    fn a_header_is_what_tungstenite_writes() {
        for length in [0, 1, 125, 126, 127, 65_535, 65_536, 70_000] {
            let mut expected = Vec::new();
            let payload = vec![0; length];
            Frame::message(payload.clone(), OpCode::Data(Data::Binary), true).format(&mut expected).unwrap();
            let header = frame_header(OpCode::Data(Data::Binary), length);
            assert_eq!([&header[..], &payload].concat(), expected, "{length}");
        }
        assert_eq!(frame_header(OpCode::Control(Control::Close), 2)[..], [0x88, 2]);
    }

    /// After a partial write the queue continues with the first byte that the socket has not
    /// accepted.
    #[tokio::test]
    async fn a_queue_goes_on_where_the_socket_stopped() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut peer = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let stream = Stream::Tcp(listener.accept().await.unwrap().0);
        let mut queue = SendQueue::default();
        let mut expected = Vec::new();
        // More than the kernel buffers for both ends.
        let message = Bytes::from(vec![7; 1024 * 1024]);
        for _ in 0..32 {
            queue.push_binary(message.clone());
            queue.push_pong(Bytes::new());
            expected.extend_from_slice(&frame_header(OpCode::Data(Data::Binary), message.len()));
            expected.extend_from_slice(&message);
            expected.extend_from_slice(&[0x8a, 0]);
        }
        let flushed = queue.flush(&stream).unwrap();
        assert!(flushed.bytes > 0 && !queue.is_empty(), "the socket took all of {} bytes", expected.len());
        assert_eq!(queue.bytes(), expected.len() - flushed.bytes);
        let pair_bytes = expected.len() / 32;
        let pongs = flushed.bytes / pair_bytes;
        assert!((2 * pongs..=2 * pongs + 1).contains(&flushed.messages), "{flushed:?}");
        let mut read = vec![0; expected.len()];
        let (drained, received) = tokio::join!(queue.drain(&stream), peer.read_exact(&mut read));
        drained.unwrap();
        received.unwrap();
        assert!(queue.is_empty() && queue.bytes() == 0);
        assert!(read == expected, "the bytes arrive in order");
    }
}
