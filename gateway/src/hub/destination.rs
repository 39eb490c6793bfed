//! Which task writes the hub's output to a socket. The socket's id encodes this destination.
//!
//! The hub's task needs the destination for each frame of each socket. Masking the id is cheaper
//! than looking it up in a map.

use driftless_gateway_core::SocketId;
use std::sync::atomic::{AtomicU64, Ordering};

/// The task that writes to a socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Destination {
    /// This shard writes to the websocket.
    Shard(u16),
    /// The event stream's own task takes the output from a channel.
    EventStream,
}

/// Bits of an id that hold its destination.
const BITS: u32 = 16;
const MASK: u64 = (1 << BITS) - 1;
/// The destination of event streams.
const EVENT_STREAM: u64 = MASK;
/// Limit on the number of shards, because ids can name no more.
pub(crate) const SHARDS_MAX: usize = EVENT_STREAM as usize;

impl Destination {
    pub fn of(SocketId(id): SocketId) -> Self {
        match id & MASK {
            EVENT_STREAM => Self::EventStream,
            shard => Self::Shard(shard as u16),
        }
    }
}

/// Assigns ids to websockets and event streams, ascending in the order in which they are opened.
#[derive(Debug, Default)]
pub(crate) struct SocketIds {
    next: AtomicU64,
}

impl SocketIds {
    /// The id of a new websocket. The `shards` shards get the new websockets in turn.
    pub fn websocket(&self, shards: usize) -> SocketId {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let shards = shards.clamp(1, SHARDS_MAX) as u64;
        SocketId((number << BITS) | (number % shards))
    }

    /// The id of a new event stream.
    pub fn event_stream(&self) -> SocketId {
        SocketId((self.next.fetch_add(1, Ordering::Relaxed) << BITS) | EVENT_STREAM)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn websockets_take_turns_among_the_shards_and_event_streams_have_none() {
        let ids = SocketIds::default();
        let all = [ids.websocket(2), ids.websocket(2), ids.event_stream(), ids.websocket(2), ids.websocket(1)];
        let found = all.map(Destination::of);
        let (zero, one) = (Destination::Shard(0), Destination::Shard(1));
        assert_eq!(found, [zero, one, Destination::EventStream, one, zero]);
        assert!(all.windows(2).all(|two| two[0] < two[1]), "later sockets have greater ids");
        let last = SocketIds { next: AtomicU64::new(SHARDS_MAX as u64 - 1) }.websocket(usize::MAX);
        assert_eq!(Destination::of(last), Destination::Shard(u16::MAX - 1));
    }
}
