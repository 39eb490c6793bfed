//! A websocket server for tests: echoes binary messages, and closes on anything else.

use super::{Inbound, Reader, SendQueue, close, close_payload, finish};
use crate::stream::Stream;
use bytes::Bytes;

/// Serves until the peer disconnects or sends anything but a binary message.
pub(crate) async fn echo(stream: Stream, begun: Bytes) {
    let (mut reader, mut output, mut inbox) =
        (Reader::new(&driftless_runtime_core::pool::Pool::new(1 << 30)), SendQueue::default(), Vec::new());
    reader.greeted();
    reader.feed(&begun, &mut |message| inbox.push(message)).unwrap();
    loop {
        for message in inbox.drain(..) {
            let Inbound::Binary(bytes) = message else {
                // The reason is longer than a close frame can carry, so the test sees that it is
                // cut.
                return finish(stream, output, close_payload(close::FRAME_UNTRUSTED, &"x".repeat(200)), true).await;
            };
            output.push_binary(bytes);
            if output.drain(&stream).await.is_err() {
                return;
            }
        }
        let take = |bytes: &[u8]| reader.feed(bytes, &mut |message| inbox.push(message)).unwrap();
        if stream.readable().await.is_err() || stream.read_ready(take).is_err() {
            return;
        }
    }
}
