//! Splits a client's frame into its requests, so that a bad request does not affect the others.
//!
//! A `ClientFrame` is `repeated Request requests = 1`. This module parses that outer layer by hand.
//! If the outer layer is broken, the whole frame is refused, because none of its bytes can be
//! trusted. If one request is broken, only that request is refused. The parser also limits the
//! number of requests before it decodes any of them.

use bytes::{Buf as _, Bytes};
use driftless_schemas::{limits, proto};
use prost::Message as _;
use prost::encoding::{DecodeContext, WireType, decode_key, decode_varint, skip_field};

/// Why a frame is refused as a whole.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// The frame is larger than [`limits::CLIENT_FRAME_BYTES_MAX`].
    #[error("the message has {0} bytes; the limit is {max}", max = limits::CLIENT_FRAME_BYTES_MAX)]
    TooLarge(usize),
    /// The bytes are not a `ClientFrame` in protobuf.
    #[error("the message is not a ClientFrame: {0}")]
    NotAFrame(String),
    /// The frame has more than [`limits::CLIENT_FRAME_REQUESTS_MAX`] requests. None of them was
    /// decoded.
    #[error("the message has more than {max} requests; send several", max = limits::CLIENT_FRAME_REQUESTS_MAX)]
    TooMany,
}

/// Decodes the requests of a frame, each on its own. Returns for each either the request or the
/// reason why it cannot be decoded.
///
/// # Errors
/// [`FrameError`] if the frame as a whole cannot be used.
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
            return Err(FrameError::NotAFrame("field 1 is not a message".into()));
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
