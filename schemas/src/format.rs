//! Functions that decode records and build frames.
//!
//! Protobuf decoders skip unknown fields. In `updates` a skipped field could be the decision of an
//! owner with a newer version, and the reader would decide that command again. [`decode_known`]
//! therefore refuses a message with unknown fields.

use crate::proto;
use bytes::{BufMut, Bytes, BytesMut};
use prost::Message;

/// Makes the name that an enum's value has in JSON and in messages: `DISCARD_REASON_CONFLICT` with
/// the prefix `DISCARD_REASON_` becomes `conflict`.
#[must_use]
pub fn plain_name(full: &str, prefix: &str) -> String {
    full.strip_prefix(prefix).unwrap_or(full).to_ascii_lowercase()
}

/// The reason why bytes are not a valid Driftless message.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The bytes are not protobuf, or a field has the wrong type.
    #[error("not a {message}: {reason}")]
    Malformed {
        /// The message's name.
        message: &'static str,
        /// The decoder's message.
        reason: String,
    },
    /// The message has fields or a body that this version does not know.
    #[error(
        "this {message} has fields or a body that this version of Driftless does not know; a newer version wrote it: upgrade this process"
    )]
    TooNew {
        /// The message's name.
        message: &'static str,
    },
    /// A field has an invalid value.
    #[error("{message}.{field} is not valid: {problem}")]
    Field {
        /// The message's name.
        message: &'static str,
        /// The field's name.
        field: &'static str,
        /// The fault.
        problem: String,
    },
}

/// Decodes a message that has only known fields.
///
/// prost encodes every message in one way. So the bytes contain no unknown field if encoding the
/// decoded message gives the same length. This holds only for bytes that Driftless itself wrote.
/// For example, prost encodes a negative enum number in ten bytes; if other bytes have it in five,
/// the difference could hide an unknown field. Readers of an enum therefore refuse numbers that
/// they do not know.
///
/// # Errors
/// [`Error::Malformed`] if the bytes are not this message, [`Error::TooNew`] if they have an
/// unknown field.
pub fn decode_known<M: Message + Default>(message: &'static str, bytes: Bytes) -> Result<M, Error> {
    let length = bytes.len();
    let decoded = decode::<M>(message, bytes)?;
    if decoded.encoded_len() != length {
        return Err(Error::TooNew { message });
    }
    Ok(decoded)
}

/// Decodes a message, and skips unknown fields.
///
/// # Errors
/// [`Error::Malformed`].
pub fn decode<M: Message + Default>(message: &'static str, bytes: Bytes) -> Result<M, Error> {
    M::decode(bytes).map_err(|e| Error::Malformed { message, reason: e.to_string() })
}

/// Makes the error for a field with an invalid value.
#[must_use]
pub fn field(message: &'static str, field: &'static str, problem: impl Into<String>) -> Error {
    Error::Field { message, field, problem: problem.into() }
}

/// Appends an event to an encoded `ServerFrame`.
pub fn push_event(frame: &mut BytesMut, body: proto::event::Body) {
    push(frame, &proto::Event { body: Some(body) });
}

/// Appends a request to an encoded `ClientFrame`.
pub fn push_request(frame: &mut BytesMut, body: proto::request::Body) {
    push(frame, &proto::Request { body: Some(body) });
}

/// Appends a message to a frame. Both kinds of frame have a single field, `repeated message … = 1`,
/// so appending an encoded field adds a message.
fn push(frame: &mut BytesMut, message: &impl Message) {
    let length = message.encoded_len();
    frame.reserve(1 + prost::length_delimiter_len(length) + length);
    frame.put_u8(0x0a);
    prost::encoding::encode_varint(length as u64, frame);
    message.encode_raw(frame);
}

/// Encodes a `ServerFrame` with one event.
#[must_use]
pub fn event(body: proto::event::Body) -> Bytes {
    let mut frame = BytesMut::new();
    push_event(&mut frame, body);
    frame.freeze()
}

/// Encodes a `ClientFrame` with one request.
#[must_use]
pub fn request(body: proto::request::Body) -> Bytes {
    let mut frame = BytesMut::new();
    push_request(&mut frame, body);
    frame.freeze()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proto::{Ping, event, request};

    #[test]
    fn concatenated_frames_are_a_frame() {
        let mut bytes = BytesMut::new();
        for nonce in [1, 2] {
            push_request(&mut bytes, request::Body::Ping(Ping { nonce }));
        }
        bytes.extend_from_slice(&super::request(request::Body::Ping(Ping { nonce: 3 })));
        let frame: proto::ClientFrame = decode("ClientFrame", bytes.freeze()).unwrap();
        let nonces: Vec<u64> = frame
            .requests
            .into_iter()
            .map(|r| match r.body {
                Some(request::Body::Ping(ping)) => ping.nonce,
                other => panic!("{other:?}"),
            })
            .collect();
        assert_eq!(nonces, [1, 2, 3]);
    }

    #[test]
    fn an_unknown_field_is_noticed() {
        let record = proto::UpdatesRecord {
            epoch: 3,
            n: 1,
            body: Some(proto::updates_record::Body::Fence(proto::Fence {
                owner: "a".into(),
                ..proto::Fence::default()
            })),
        };
        let mut bytes = record.encode_to_vec();
        assert_eq!(decode_known::<proto::UpdatesRecord>("UpdatesRecord", bytes.clone().into()), Ok(record));
        bytes.extend_from_slice(&[0x78, 1]); // field 15, varint 1
        assert_eq!(
            decode_known::<proto::UpdatesRecord>("UpdatesRecord", bytes.into()),
            Err(Error::TooNew { message: "UpdatesRecord" })
        );
    }

    #[test]
    fn an_updates_event_passes_the_logs_bytes_on() {
        let updates = proto::Updates { chunk_id: "canvas/0/0".into(), first_version: 1, ..Default::default() };
        let frame = super::event(event::Body::Updates(updates.encode_to_vec().into()));
        let frame: proto::ServerFrame = decode("ServerFrame", frame).unwrap();
        let Some(event::Body::Updates(bytes)) = &frame.events[0].body else { panic!("{frame:?}") };
        assert_eq!(decode::<proto::Updates>("Updates", bytes.clone()), Ok(updates));
    }
}
