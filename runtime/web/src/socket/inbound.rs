//! The reading half of a websocket: parses a client's frames into messages, without I/O.
//!
//! A socket buffers only the bytes of an incomplete message, and otherwise nothing. With ten
//! thousand sockets, permanent read buffers would take most of the memory.

use bytes::Bytes;
use driftless_runtime_core::defences::Defence;
use driftless_runtime_core::pool::{Charge, Pool};
use driftless_schemas::limits;
use std::io::Cursor;
use tokio_tungstenite::tungstenite::protocol::frame::FrameHeader;
use tokio_tungstenite::tungstenite::protocol::frame::coding::{Control, Data, OpCode};

/// The largest payload of a control frame, in bytes (RFC 6455).
const CONTROL_BYTES_MAX: u64 = 125;

/// A message of the client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Inbound {
    /// A binary message.
    Binary(Bytes),
    /// A text message, which the services do not accept.
    Text,
    /// A ping. The service must answer it with a pong that has the same bytes.
    Ping(Bytes),
    /// A pong. Its payload is dropped, because any pong is a sign of life.
    Pong,
    /// A close frame. The service must answer it with a close frame that has the same bytes. No
    /// message follows.
    Close(Bytes),
}

impl Inbound {
    /// The length of the payload, in bytes; 0 for a payload that was dropped.
    #[must_use]
    pub fn len(&self) -> usize {
        match self {
            Self::Binary(bytes) | Self::Ping(bytes) | Self::Close(bytes) => bytes.len(),
            Self::Text | Self::Pong => 0,
        }
    }

    /// True if there is no payload, or if it was dropped.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// A fault in the client's bytes.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InboundError {
    /// The message is longer than a client may send.
    #[error("a message of {bytes} bytes: the limit is {max}{}", if *max < limits::CLIENT_FRAME_BYTES_MAX { " before Hello" } else { "" })]
    TooLarge {
        /// The length of the message, or of the part that its frames have announced so far.
        bytes: u64,
        /// The limit.
        max: usize,
    },
    /// The memory for incomplete messages of all connections is full.
    #[error("too many long messages are on their way")]
    NoRoom,
    /// The bytes violate RFC 6455.
    #[error("{0} (RFC 6455)")]
    Protocol(&'static str),
}

/// Parses bytes as they arrive and returns messages.
#[derive(Debug)]
pub struct Reader {
    /// The limit on the length of a message.
    bytes_max: usize,
    /// The beginning of an incomplete frame.
    partial: Vec<u8>,
    /// The fragments of an incomplete message.
    message: Option<Fragments>,
    /// The budget for incomplete messages of all connections, and what this reader has taken of it.
    pool: Pool,
    charge: Charge,
    /// True after an error or a close frame: all further bytes are ignored.
    is_over: bool,
}

#[derive(Debug)]
struct Fragments {
    is_text: bool,
    bytes: Vec<u8>,
}

impl Reader {
    /// A reader of a new connection. What it holds of an incomplete message counts against `pool`
    /// once it is more than [`limits::INPUT_FREE_BYTES`].
    #[must_use]
    pub fn new(pool: &Pool) -> Self {
        Self {
            bytes_max: if Defence::BeforeHello.is_on() {
                limits::BEFORE_HELLO_BYTES_MAX
            } else {
                limits::CLIENT_FRAME_BYTES_MAX
            },
            partial: Vec::new(),
            message: None,
            pool: pool.clone(),
            charge: pool.charge(),
            is_over: false,
        }
    }

    /// Raises the limit on the length of a message to that of a client which has said Hello.
    pub fn greeted(&mut self) {
        self.bytes_max = limits::CLIENT_FRAME_BYTES_MAX;
    }

    /// The number of bytes that are held of an incomplete message.
    #[must_use]
    pub fn held_bytes(&self) -> usize {
        self.partial.capacity() + self.message.as_ref().map_or(0, |message| message.bytes.capacity())
    }

    /// Parses bytes and passes complete messages to `take`, in order. After an error or a close
    /// frame all bytes are ignored.
    ///
    /// # Errors
    /// [`InboundError`].
    pub fn feed(&mut self, bytes: &[u8], take: &mut dyn FnMut(Inbound)) -> Result<(), InboundError> {
        let mut held = std::mem::take(&mut self.partial);
        if held.is_empty() {
            let taken = self.frames(bytes, take)?;
            self.partial = bytes[taken..].to_vec();
        } else {
            held.extend_from_slice(bytes);
            let taken = self.frames(&held, take)?;
            // The rest stays in the same vector. A frame may arrive byte by byte, and copying its
            // beginning each time would cost too much.
            held.drain(..taken);
            if taken > 0 {
                // The frame that has ended may have been much larger than what is left.
                held.shrink_to_fit();
            }
            if !held.is_empty() {
                self.partial = held;
            }
        }
        self.take_room()
    }

    /// Counts what is held of an incomplete message. If there is no room for it, it is dropped.
    fn take_room(&mut self) -> Result<(), InboundError> {
        let held = self.held_bytes();
        let counted = if held > limits::INPUT_FREE_BYTES { held } else { 0 };
        let more = counted.saturating_sub(self.charge.bytes());
        if more > 0 && !self.pool.has_room(more) {
            self.is_over = true;
            (self.partial, self.message) = (Vec::new(), None);
            self.charge.set(0);
            return Err(InboundError::NoRoom);
        }
        self.charge.set(counted);
        Ok(())
    }

    /// Parses the complete frames at the beginning of `bytes`, and returns their total length.
    fn frames(&mut self, bytes: &[u8], take: &mut dyn FnMut(Inbound)) -> Result<usize, InboundError> {
        let mut taken = 0;
        while !self.is_over {
            match self.frame(&bytes[taken..]) {
                Ok(Some((length, message))) => {
                    taken += length;
                    if let Some(message) = message {
                        self.is_over |= matches!(message, Inbound::Close(_));
                        take(message);
                    }
                }
                Ok(None) => return Ok(taken),
                Err(e) => {
                    self.is_over = true;
                    self.message = None;
                    return Err(e);
                }
            }
        }
        Ok(bytes.len())
    }

    /// Parses the first frame. Returns its length and the message that it completes, if it
    /// completes one; `None` if the frame itself is not complete.
    fn frame(&mut self, bytes: &[u8]) -> Result<Option<(usize, Option<Inbound>)>, InboundError> {
        use InboundError::Protocol;
        let mut cursor = Cursor::new(bytes);
        let parsed = FrameHeader::parse(&mut cursor).map_err(|_| Protocol("an opcode that does not exist"))?;
        let Some((header, length)) = parsed else { return Ok(None) };
        if header.rsv1 || header.rsv2 || header.rsv3 {
            return Err(Protocol("a reserved bit is set, but no extension was agreed on"));
        }
        let Some(mask) = header.mask else { return Err(Protocol("a client's frame is not masked")) };
        let before = match header.opcode {
            OpCode::Control(_) if !header.is_final => return Err(Protocol("a control frame is in fragments")),
            OpCode::Control(_) if length > CONTROL_BYTES_MAX => {
                return Err(Protocol("a control frame has more than 125 bytes"));
            }
            OpCode::Control(_) => 0,
            OpCode::Data(Data::Continue) => match &self.message {
                Some(fragments) => fragments.bytes.len() as u64,
                None => return Err(Protocol("a continuation frame without a message to continue")),
            },
            OpCode::Data(_) if self.message.is_some() => {
                return Err(Protocol("a message begins before the previous one has ended"));
            }
            OpCode::Data(_) => 0,
        };
        let whole = before.saturating_add(length);
        if whole > self.bytes_max as u64 {
            return Err(InboundError::TooLarge { bytes: whole, max: self.bytes_max });
        }
        // The casts are lossless: a header has at most 14 bytes, and the length was checked above.
        let (begin, length) = (cursor.position() as usize, length as usize);
        let Some(masked) = bytes.get(begin..begin + length) else { return Ok(None) };
        let plain = || masked.iter().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask);
        let message = match header.opcode {
            OpCode::Control(Control::Ping) => Some(Inbound::Ping(plain().collect())),
            OpCode::Control(Control::Close) => {
                let payload: Vec<u8> = plain().collect();
                if !is_close(&payload) {
                    return Err(Protocol("a close frame has a code that may not be sent, or a reason that is no text"));
                }
                Some(Inbound::Close(payload.into()))
            }
            OpCode::Control(_) => Some(Inbound::Pong),
            OpCode::Data(kind) => {
                let new = || Fragments { is_text: matches!(kind, Data::Text), bytes: Vec::with_capacity(length) };
                let mut fragments = self.message.take().unwrap_or_else(new);
                fragments.bytes.extend(plain());
                match header.is_final {
                    true if fragments.is_text => Some(Inbound::Text),
                    true => Some(Inbound::Binary(fragments.bytes.into())),
                    false => {
                        self.message = Some(fragments);
                        None
                    }
                }
            }
        };
        Ok(Some((begin + length, message)))
    }
}

/// True if the payload of a close frame is empty, or a code that an endpoint may send and a reason
/// in UTF-8 (RFC 6455, sections 5.5.1 and 7.4).
fn is_close(payload: &[u8]) -> bool {
    match payload.split_first_chunk() {
        Some((code, reason)) => {
            let is_code = matches!(u16::from_be_bytes(*code), 1000..=1003 | 1007..=1014 | 3000..=4999);
            is_code && std::str::from_utf8(reason).is_ok()
        }
        None => payload.is_empty(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use tokio_tungstenite::tungstenite::protocol::frame::Frame;

    const MASK: [u8; 4] = [1, 2, 3, 250];

    fn frame(opcode: OpCode, is_final: bool, payload: &[u8]) -> Vec<u8> {
        let header = FrameHeader { is_final, opcode, mask: Some(MASK), ..FrameHeader::default() };
        let frame = Frame::from_payload(header, payload.to_vec().into());
        let mut bytes = Vec::new();
        frame.format(&mut bytes).unwrap();
        bytes
    }

    fn binary(is_final: bool, payload: &[u8]) -> Vec<u8> {
        frame(OpCode::Data(Data::Binary), is_final, payload)
    }

    fn go_on(is_final: bool, payload: &[u8]) -> Vec<u8> {
        frame(OpCode::Data(Data::Continue), is_final, payload)
    }

    fn ping(payload: &[u8]) -> Vec<u8> {
        frame(OpCode::Control(Control::Ping), true, payload)
    }

    fn read(bytes: &[u8], step: usize) -> (Vec<Inbound>, Result<(), InboundError>) {
        let (mut reader, mut messages) = (Reader::new(&Pool::new(1 << 30)), Vec::new());
        reader.greeted();
        for part in bytes.chunks(step) {
            if let Err(e) = reader.feed(part, &mut |message| messages.push(message)) {
                return (messages, Err(e));
            }
        }
        (messages, Ok(()))
    }

    #[test]
    fn messages_are_the_same_however_the_bytes_are_split() {
        let long = vec![7; 70_000];
        let sent = [
            binary(true, b"one"),
            binary(false, b"tw"),
            ping(b"between"),
            go_on(true, b"o"),
            binary(true, &long),
            frame(OpCode::Data(Data::Text), true, b"text"),
            frame(OpCode::Control(Control::Pong), true, b""),
            frame(OpCode::Control(Control::Close), true, &[3, 232]),
            binary(true, b"never read"),
        ]
        .concat();
        let expected = [
            Inbound::Binary(Bytes::from_static(b"one")),
            Inbound::Ping(Bytes::from_static(b"between")),
            Inbound::Binary(Bytes::from_static(b"two")),
            Inbound::Binary(long.into()),
            Inbound::Text,
            Inbound::Pong,
            Inbound::Close(Bytes::from_static(&[3, 232])),
        ];
        for step in [1, 2, 3, 13, 1000, sent.len()] {
            assert_eq!(read(&sent, step), (expected.to_vec(), Ok(())), "{step}");
        }
    }

    #[test]
    fn bytes_that_violate_the_protocol_are_named() {
        let unmasked = [0x82, 0x01, 0x00];
        let reserved = [0xc2, 0x81, 0, 0, 0, 0, 0];
        let no_opcode = [0x83, 0x81, 0, 0, 0, 0, 0];
        let split_ping = frame(OpCode::Control(Control::Ping), false, b"");
        let twice = [binary(false, b"a"), binary(true, b"b")].concat();
        let control = ping(&[0; 126]);
        let close = |payload: &[u8]| frame(OpCode::Control(Control::Close), true, payload);
        for payload in [&[3][..], &1005_u16.to_be_bytes(), &999_u16.to_be_bytes(), &[3, 232, 0xff]] {
            assert!(matches!(read(&close(payload), 1).1, Err(InboundError::Protocol(_))), "{payload:?}");
        }
        for bytes in [&unmasked[..], &reserved, &no_opcode, &split_ping, &twice, &control, &go_on(true, b"a")] {
            assert!(matches!(read(bytes, 1).1, Err(InboundError::Protocol(_))), "{bytes:?}");
        }
        // The huge frame is refused because of its header, before any byte of its payload arrives.
        let huge = [0x82, 0xff, 0, 0, 0, 255, 255, 255, 255, 255, 0, 0, 0, 0];
        let max = limits::CLIENT_FRAME_BYTES_MAX;
        assert_eq!(read(&huge, 14), (vec![], Err(InboundError::TooLarge { bytes: 0xff_ffff_ffff, max })));
        let half = vec![0; limits::CLIENT_FRAME_BYTES_MAX / 2 + 1];
        assert!(matches!(
            read(&[binary(false, &half), go_on(true, &half)].concat(), 4096).1,
            Err(InboundError::TooLarge { .. })
        ));
    }

    #[test]
    fn a_client_that_has_not_said_hello_may_send_little() {
        let long = binary(true, &vec![0; limits::BEFORE_HELLO_BYTES_MAX + 1]);
        let mut reader = Reader::new(&Pool::new(1 << 30));
        // The header is enough to refuse the message.
        let refused = reader.feed(&long[..14], &mut |_| {}).unwrap_err();
        assert!(refused.to_string().ends_with("the limit is 32768 before Hello"), "{refused}");
        let mut reader = Reader::new(&Pool::new(1 << 30));
        reader.greeted();
        let mut count = 0;
        reader.feed(&long, &mut |_| count += 1).unwrap();
        assert_eq!((count, reader.held_bytes()), (1, 0));
    }

    #[test]
    fn incomplete_messages_of_all_connections_have_one_budget() {
        let pool = Pool::new(100_000);
        let half = binary(true, &[7; 70_000]);
        let open = |bytes: usize| {
            let mut reader = Reader::new(&pool);
            reader.greeted();
            reader.feed(&half[..bytes], &mut |_| panic!("it is incomplete")).map(|()| reader)
        };
        let small = open(limits::INPUT_FREE_BYTES).unwrap();
        assert_eq!(pool.used(), 0, "ordinary messages need no room");
        let first = open(60_000).unwrap();
        assert_eq!(open(60_000).unwrap_err(), InboundError::NoRoom);
        assert_eq!(pool.used(), 60_000, "the refused one holds nothing");
        drop(first);
        let mut second = open(60_000).unwrap();
        let mut count = 0;
        second.feed(&half[60_000..], &mut |_| count += 1).unwrap();
        assert_eq!((count, pool.used()), (1, 0));
        drop(small);
    }

    proptest! {
        #[test]
        fn no_bytes_panic_and_no_more_bytes_are_held_than_arrived(bytes: Vec<u8>, step in 1usize..20) {
            let mut reader = Reader::new(&Pool::new(1 << 30));
            for part in bytes.chunks(step) {
                if reader.feed(part, &mut |_| {}).is_err() {
                    prop_assert!(reader.partial.is_empty());
                    return Ok(());
                }
            }
            prop_assert!(reader.partial.len() <= bytes.len());
        }
    }
}
