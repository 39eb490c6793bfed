//! A frame taken apart into its requests, so that one bad request costs its neighbours nothing.
//!
//! A `ClientFrame` is `repeated Request requests = 1`. Its outer layer is walked by hand: where that is broken the bytes
//! cannot be trusted at all; where one request is, only that one is refused. It also bounds the number of requests before
//! anything is allocated for them.

use bytes::{Buf as _, Bytes};
use driftless_schemas::{limits, proto};
use prost::Message as _;
use prost::encoding::{DecodeContext, WireType, decode_key, decode_varint, skip_field};

/// Why a frame is not looked into.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// Larger than a frame may be.
    #[error("the message has {0} bytes; {max} are the most", max = limits::CLIENT_FRAME_BYTES_MAX)]
    TooLarge(usize),
    /// Not protobuf.
    #[error("the message is no ClientFrame: {0}")]
    NotAFrame(String),
    /// More requests than one frame may have. The frame is sound; none of its requests was looked at.
    #[error("the message has more than {max} requests; send several", max = limits::CLIENT_FRAME_REQUESTS_MAX)]
    TooMany,
}

/// The requests of a frame, each decoded on its own.
///
/// # Errors
/// [`FrameError`].
pub fn take_apart(mut frame: Bytes) -> Result<Vec<Result<proto::Request, String>>, FrameError> {
    if frame.len() > limits::CLIENT_FRAME_BYTES_MAX {
        return Err(FrameError::TooLarge(frame.len()));
    }
    let broken = |e: prost::DecodeError| FrameError::NotAFrame(e.to_string());
    let mut requests = Vec::new();
    while frame.has_remaining() {
        let (tag, wire_type) = decode_key(&mut frame).map_err(broken)?;
        if tag != 1 {
            skip_field(wire_type, tag, &mut frame, DecodeContext::default()).map_err(broken)?;
            continue;
        }
        if wire_type != WireType::LengthDelimited {
            return Err(FrameError::NotAFrame("field 1 is no message".into()));
        }
        let length = decode_varint(&mut frame).map_err(broken)?;
        let length = usize::try_from(length).ok().filter(|length| *length <= frame.remaining());
        let Some(length) = length else { return Err(FrameError::NotAFrame("a request is cut off".into())) };
        if requests.len() == limits::CLIENT_FRAME_REQUESTS_MAX {
            return Err(FrameError::TooMany);
        }
        requests.push(frame.split_to(length));
    }
    Ok(requests.into_iter().map(|bytes| proto::Request::decode(bytes).map_err(|e| e.to_string())).collect())
}
