//! Wraps the hub's frames in websocket messages. A frame that goes to many sockets is wrapped once,
//! and the sockets share the bytes.

use bytes::Bytes;
use driftless_gateway_core::Frames;
use driftless_schemas::limits;
use driftless_web::socket::frame_header;
use smallvec::{SmallVec, smallvec};
use std::io::IoSlice;
use tokio_tungstenite::tungstenite::protocol::frame::coding::{Control, Data, OpCode};

/// Frames are joined into one websocket message of up to this many bytes. A browser handles a
/// message only once it is complete, so a longer message would delay its first frames. A frame
/// above this size is a message of its own.
const MESSAGE_BYTES_MAX: usize = 64 * 1024;
const _: () = assert!(MESSAGE_BYTES_MAX <= limits::SERVER_FRAME_BYTES_MAX);
/// A single frame up to this size is copied behind its websocket header into one piece. A larger
/// frame is not copied: its header is a piece of its own.
const CONTIGUOUS_BYTES_MAX: usize = 16 * 1024;
/// Limit on the parts of one vectored write.
pub(super) const PARTS_MAX: usize = 64;

/// A websocket message.
pub(super) struct Message {
    /// Header and frames: either one piece that many sockets share, or a header before shared
    /// frames.
    pub parts: Frames,
    /// Bytes of all parts.
    pub len: usize,
    /// Bytes of the hub's frames in this message. The hub counts them as queued until they are
    /// reported as written.
    pub counted: usize,
}

impl Message {
    /// A binary message of events that the hub does not count.
    pub fn session(frame: Bytes) -> Self {
        Self::new(OpCode::Data(Data::Binary), smallvec![frame], false)
    }

    pub fn pong(payload: Bytes) -> Self {
        Self::new(OpCode::Control(Control::Pong), smallvec![payload], false)
    }

    pub fn close(payload: Bytes) -> Self {
        Self::new(OpCode::Control(Control::Close), smallvec![payload], false)
    }

    fn new(opcode: OpCode, frames: Frames, is_counted: bool) -> Self {
        let bytes = frames.iter().map(Bytes::len).sum();
        let header = frame_header(opcode, bytes);
        let len = header.len() + bytes;
        let counted = if is_counted { bytes } else { 0 };
        let parts = match len <= CONTIGUOUS_BYTES_MAX && frames.len() <= 1 {
            true => smallvec![[&header[..], frames.first().map_or(&[][..], |frame| &frame[..])].concat().into()],
            false => std::iter::once(Bytes::copy_from_slice(&header)).chain(frames).collect(),
        };
        Self { parts, len, counted }
    }

    /// Appends the parts after the first `skip` bytes, up to [`PARTS_MAX`] parts in all.
    pub fn parts<'m>(&'m self, mut skip: usize, parts: &mut SmallVec<[IoSlice<'m>; 8]>) {
        for part in &self.parts {
            if parts.len() >= PARTS_MAX {
                return;
            }
            if skip >= part.len() {
                skip -= part.len();
            } else {
                parts.push(IoSlice::new(&part[skip..]));
                skip = 0;
            }
        }
    }
}

/// Remembers the websocket message that was made of the last single frame. The hub passes the same
/// frame to many sockets in a row, so the message is made once for all of them.
#[derive(Default)]
pub(super) struct MessageCache(Option<(Bytes, Bytes)>);

impl MessageCache {
    fn message(&mut self, frame: Bytes) -> Message {
        if let Some((known, whole)) = &self.0
            && known.as_ptr() == frame.as_ptr()
            && known.len() == frame.len()
        {
            return Message { len: whole.len(), counted: frame.len(), parts: smallvec![whole.clone()] };
        }
        let message = Message::new(OpCode::Data(Data::Binary), smallvec![frame.clone()], true);
        // The cache keeps the frame alive, so no other frame can have the same address.
        self.0 = match &message.parts[..] {
            [whole] => Some((frame, whole.clone())),
            _ => None,
        };
        message
    }

    /// Passes the hub's frames to `take` as messages: joined up to [`MESSAGE_BYTES_MAX`], in order.
    pub fn messages(&mut self, mut frames: Frames, mut take: impl FnMut(Message)) {
        if frames.len() == 1 {
            return frames.pop().into_iter().for_each(|frame| take(self.message(frame)));
        }
        let mut bytes = 0;
        let mut joined = Frames::new();
        for frame in frames {
            if bytes + frame.len() > MESSAGE_BYTES_MAX && !joined.is_empty() {
                take(Message::new(OpCode::Data(Data::Binary), std::mem::take(&mut joined), true));
                bytes = 0;
            }
            bytes += frame.len();
            joined.push(frame);
        }
        if !joined.is_empty() {
            take(Message::new(OpCode::Data(Data::Binary), joined, true));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_are_joined_up_to_the_limit() {
        let sizes = |frames: &[usize]| {
            let mut sizes = Vec::new();
            let frames = frames.iter().map(|n| Bytes::from(vec![7; *n])).collect();
            MessageCache::default().messages(frames, |message| sizes.push(message.counted));
            sizes
        };
        assert_eq!(sizes(&[]), Vec::<usize>::new());
        assert_eq!(sizes(&[5, 6, 7]), [18]);
        let most = MESSAGE_BYTES_MAX;
        assert_eq!(sizes(&[most - 1, 1, 1, 2]), [most, 3]);
        assert_eq!(sizes(&[1, most, most + 1, 2]), [1, most, most + 1, 2]);
    }

    #[test]
    fn parts_continue_where_a_partial_write_stopped() {
        let frames = [Bytes::from_static(b"abc"), Bytes::from_static(b"defg")];
        let message = Message::new(OpCode::Data(Data::Binary), frames.into_iter().collect(), true);
        let whole = [&frame_header(OpCode::Data(Data::Binary), 7)[..], b"abcdefg"].concat();
        for skip in 0..message.len {
            let mut parts = SmallVec::new();
            message.parts(skip, &mut parts);
            let joined: Vec<u8> = parts.iter().flat_map(|part| part.to_vec()).collect();
            assert_eq!(joined, whole[skip..], "{skip}");
        }
    }
}
