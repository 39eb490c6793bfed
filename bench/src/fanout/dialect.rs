//! The protocols of the measured servers: how to subscribe, and how to count updates in the
//! messages.

use driftless_schemas::proto::{self, request};
use driftless_schemas::{format, limits};

/// A server's protocol, over websockets.
pub(super) trait Dialect: Send + Sync {
    /// The path of the websocket.
    fn path(&self) -> &'static str;
    /// The websocket subprotocol that the client asks for.
    fn subprotocol(&self) -> &'static str;
    /// Returns the messages that subscribe a socket to the chunk, or the channel, with this number.
    fn subscribe(&self, channel: usize) -> Vec<Vec<u8>>;
    /// Counts the updates in a server's message, and looks for the other contents in [`Counts`].
    fn read(&self, message: &[u8]) -> Counts;
    /// Returns the answer to a ping.
    fn pong(&self) -> Vec<u8>;
}

/// The contents of a message that matter to the crowd.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Counts {
    pub updates: usize,
    /// True if the message confirms the subscription.
    pub is_subscribed: bool,
    /// True if the message contains a ping, which the client must answer.
    pub is_ping: bool,
    /// True if the server reports an error or refuses a request.
    pub is_error: bool,
}

/// The protocol of a Driftless gateway.
pub(super) struct Gateway {
    pub token: String,
}

/// Returns the id of the chunk with this number.
pub(super) fn chunk(number: usize) -> String {
    format!("things/{number}/0")
}

impl Dialect for Gateway {
    fn path(&self) -> &'static str {
        "/v1/gateway"
    }

    fn subprotocol(&self) -> &'static str {
        driftless_web::socket::GATEWAY
    }

    fn subscribe(&self, channel: usize) -> Vec<Vec<u8>> {
        let mut frame = bytes::BytesMut::new();
        format::push_request(
            &mut frame,
            request::Body::Hello(proto::Hello { token: self.token.clone(), ..Default::default() }),
        );
        format::push_request(&mut frame, request::Body::Track(proto::Track { chunk_id: chunk(channel), have: None }));
        vec![frame.to_vec()]
    }

    fn read(&self, message: &[u8]) -> Counts {
        // ServerFrame { repeated Event events = 1 }; each event begins with the tag of its body.
        let mut counts = Counts::default();
        let mut rest = message;
        while let Some((0x0a, after)) = rest.split_first() {
            let Some((event, after)) = split(after) else { break };
            match event {
                [0x9a, 0x01, ..] => counts.updates += 1,
                [0x82, 0x01, ..] => counts.is_subscribed = true,
                [0x1a, ..] => counts.is_ping = true,
                [0x22, ..] | [0x8a, 0x01, ..] | [0xb2, 0x01, ..] => counts.is_error = true,
                _ => {}
            }
            rest = after;
        }
        counts
    }

    fn pong(&self) -> Vec<u8> {
        let mut frame = bytes::BytesMut::new();
        format::push_request(&mut frame, request::Body::Pong(proto::Pong::default()));
        frame.to_vec()
    }
}

/// The protocol of Centrifugo's library: protobuf, with a length before each command and reply.
pub(super) struct Centrifuge;

impl Dialect for Centrifuge {
    fn path(&self) -> &'static str {
        "/connection/websocket"
    }

    fn subprotocol(&self) -> &'static str {
        "centrifuge-protobuf"
    }

    fn subscribe(&self, channel: usize) -> Vec<Vec<u8>> {
        // Command { id = 1: 1, connect = 4: {} }, then
        // Command { id = 1: 2, subscribe = 5: { channel = 1 } }.
        let channel = format!("c{channel}");
        let connect = vec![0x08, 1, 0x22, 0];
        let length = channel.len() as u8;
        let mut subscribe = vec![0x08, 2, 0x2a, length + 2, 0x0a, length];
        subscribe.extend_from_slice(channel.as_bytes());
        [connect, subscribe].map(|command| [&[command.len() as u8], &command[..]].concat()).to_vec()
    }

    fn read(&self, message: &[u8]) -> Counts {
        let mut counts = Counts::default();
        let mut rest = message;
        while let Some((reply, after)) = split(rest) {
            // Reply { id = 1, error = 2, push = 4, … }; an empty reply is a ping.
            match reply {
                [] => counts.is_ping = true,
                [0x22, ..] => counts.updates += 1,
                [0x08, _, 0x12, ..] => counts.is_error = true,
                [0x08, 2, ..] => counts.is_subscribed = true,
                _ => {}
            }
            rest = after;
        }
        counts
    }

    fn pong(&self) -> Vec<u8> {
        vec![0]
    }
}

/// Splits the first message off `bytes`, where each message has its length before it. Returns the
/// message and the bytes after it; `None` if the message is incomplete.
fn split(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let mut length = 0;
    for (i, byte) in bytes.iter().enumerate().take(5) {
        length |= usize::from(byte & 0x7f) << (7 * i);
        if byte & 0x80 == 0 {
            let rest = &bytes[i + 1..];
            return (length <= rest.len()).then(|| rest.split_at(length));
        }
    }
    None
}

const _: () = assert!(limits::SERVER_FRAME_BYTES_MAX < 1 << 35);

#[cfg(test)]
mod tests {
    use super::*;
    use driftless_schemas::proto::event;

    #[test]
    fn events_are_counted_without_decoding_them() {
        let gateway = Gateway { token: String::new() };
        let mut frame = bytes::BytesMut::new();
        for body in [
            event::Body::Welcome(proto::Welcome::default()),
            event::Body::Tracked(proto::Tracked { chunk_id: "things/1/0".into(), ..Default::default() }),
            event::Body::Updates(vec![7; 300].into()),
            event::Body::Updates(vec![7; 3].into()),
            event::Body::Ping(proto::Ping { nonce: 1 }),
        ] {
            format::push_event(&mut frame, body);
        }
        let counts = Counts { updates: 2, is_subscribed: true, is_ping: true, is_error: false };
        assert_eq!(gateway.read(&frame), counts);
        let mut refused = bytes::BytesMut::new();
        format::push_event(&mut refused, event::Body::Refused(proto::Refused::default()));
        assert!(gateway.read(&refused).is_error);
    }
}
