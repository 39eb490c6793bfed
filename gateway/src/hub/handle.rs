//! How sockets, event streams and HTTP requests reach the hub's task and the shards.

use super::destination::{Destination, SocketIds};
use super::shard::{Outgoing, ToShard, Written};
use crate::socket_state::SocketState;
use driftless_chunk::position::Position;
use driftless_gateway_core::{
    Answer, Ask, Fault, Input, Joined, LoadError, Loaded, Opened, Reread, SocketId, Standings,
};
use driftless_schemas::proto::request;
use driftless_schemas::time::MonotonicMs;
use driftless_schemas::{ChunkId, Partition};
use std::sync::Arc;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::sync::{oneshot, watch};

/// A message to the hub's task.
pub(super) enum Message {
    /// Inputs of one socket, in order. The socket is not read until the second field, if any, is
    /// dropped.
    Inputs(Vec<Input>, Option<PendingRequests>),
    /// An event stream was opened. The hub's output for the stream goes to this channel.
    Subscribed(SocketId, UnboundedSender<Outgoing>),
    Unsubscribed(SocketId),
    Written(Written),
    Ask(ChunkId, Ask, oneshot::Sender<Answer>),
    Loaded(ChunkId, Result<Option<Loaded>, LoadError>, Option<Box<Reread>>),
    Opened(Partition, Result<Opened, Fault>),
    ViewRenewed(Partition, MonotonicMs),
    Positions(oneshot::Sender<Vec<Position>>),
    #[cfg(debug_assertions)]
    Damage(ChunkId),
}

/// Requests on their way to the hub. When this is dropped, the hub has handled them, and their
/// socket is read again.
pub(super) struct PendingRequests(Arc<SocketState>);

impl Drop for PendingRequests {
    fn drop(&mut self) {
        self.0.set_requests_pending(false);
    }
}

/// Sends messages to the hub's task and to the shards.
#[derive(Clone)]
pub(crate) struct HubHandle {
    pub(super) messages: UnboundedSender<Message>,
    pub(super) shards: Arc<[UnboundedSender<ToShard>]>,
    pub(super) ids: Arc<SocketIds>,
    /// The standing of each partition.
    pub standings: watch::Receiver<Standings>,
}

/// A websocket's registration at its shard and at the hub, which ends when this is dropped.
pub(crate) struct SocketHandle {
    hub: HubHandle,
    pub id: SocketId,
    is_joined: bool,
}

/// An event stream's registration at the hub, which ends when this is dropped.
pub(crate) struct EventSubscription {
    hub: HubHandle,
    id: SocketId,
    /// The hub's output for the stream.
    pub outgoing: UnboundedReceiver<Outgoing>,
}

impl HubHandle {
    /// Registers a websocket at a shard, which writes for the socket from now on.
    pub fn open(&self, socket: &Arc<SocketState>) -> SocketHandle {
        let id = self.ids.websocket(self.shards.len());
        let handle = SocketHandle { hub: self.clone(), id, is_joined: false };
        handle.shard(ToShard::Opened(id, Arc::clone(socket)));
        handle
    }

    /// Registers an event stream at the hub.
    pub fn subscribe(&self, joined: Joined) -> EventSubscription {
        let id = self.ids.event_stream();
        let (to, outgoing) = unbounded_channel();
        self.tell(Message::Subscribed(id, to));
        self.tell(Message::Inputs(vec![Input::Joined(id, joined)], None));
        EventSubscription { hub: self.clone(), id, outgoing }
    }

    /// Asks the hub a question; `None` if the hub has ended.
    pub async fn ask(&self, chunk: ChunkId, ask: Ask) -> Option<Answer> {
        let (to, answer) = oneshot::channel();
        self.tell(Message::Ask(chunk, ask, to));
        answer.await.ok()
    }

    /// The position up to which each partition was read; `None` if the hub has ended.
    pub async fn positions(&self) -> Option<Vec<Position>> {
        let (to, positions) = oneshot::channel();
        self.tell(Message::Positions(to));
        positions.await.ok()
    }

    /// Tells the hub that the view of a partition's index was opened at this time or later.
    pub fn view_renewed(&self, partition: Partition, opened: MonotonicMs) {
        self.tell(Message::ViewRenewed(partition, opened));
    }

    /// Flips a bit in the memory of a replica, to show that drift is healed. Debug builds only.
    #[cfg(debug_assertions)]
    pub fn damage(&self, chunk: ChunkId) {
        self.tell(Message::Damage(chunk));
    }

    /// Sends a message to the hub's task. Fails silently if the hub has ended: a caller that awaits
    /// an answer sees its channel closed.
    fn tell(&self, message: Message) {
        let _ = self.messages.send(message);
    }
}

impl SocketHandle {
    /// Passes inputs to the hub, in order; the first one ever is `Joined`. The socket is not read
    /// before the hub has handled them.
    pub fn tell_hub(&mut self, inputs: Vec<Input>, socket: &Arc<SocketState>) {
        self.is_joined = true;
        socket.set_requests_pending(true);
        self.hub.tell(Message::Inputs(inputs, Some(PendingRequests(Arc::clone(socket)))));
    }

    /// Sends to the socket's shard. Fails silently if the gateway has ended.
    pub fn shard(&self, message: ToShard) {
        if let Destination::Shard(shard) = Destination::of(self.id)
            && let Some(shard) = self.hub.shards.get(usize::from(shard))
        {
            let _ = shard.send(message);
        }
    }

    /// Leaves the hub. The shard still writes the socket's backlog.
    pub fn leave(&mut self) {
        if std::mem::take(&mut self.is_joined) {
            self.hub.tell(Message::Inputs(vec![Input::Left(self.id)], None));
        }
    }
}

impl Drop for SocketHandle {
    fn drop(&mut self) {
        self.leave();
        self.shard(ToShard::Left(self.id));
    }
}

impl EventSubscription {
    /// Passes requests of the stream's reader to the hub, in order.
    pub fn requests(&self, requests: Vec<request::Body>) {
        let inputs = requests.into_iter().map(|request| Input::Request(self.id, request)).collect();
        self.hub.tell(Message::Inputs(inputs, None));
    }

    /// Reports that the reader has taken the events of this many bytes of frames.
    pub fn written(&self, bytes: usize) {
        self.hub.tell(Message::Written(vec![(self.id, bytes)]));
    }
}

impl Drop for EventSubscription {
    fn drop(&mut self) {
        self.hub.tell(Message::Unsubscribed(self.id));
    }
}
