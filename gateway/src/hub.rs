//! The one task that owns the hub: everything else sends it messages.
//!
//! It takes all that has gathered before it carries out what the hub wants, so that a socket gets what came together in
//! one write. What sockets get is written by the shards ([`crate::shard`]).

use crate::auditor::Auditor;
use crate::follower::{Follower, Loader};
use crate::metrics;
use crate::shard::{self, ToShard};
use crate::socket_state::SocketState;
use driftless_chunk::position::Position;
use driftless_chunk::world::World;
use driftless_gateway_core::{Answer, Ask, Frames, Hub, Input, Joined, LoadError, Output, Reread, Settings, SocketId};
use driftless_log::{ReadError, Reader};
use driftless_runtime::clock::Clock;
use driftless_runtime::shutdown::Shutdown;
use driftless_schemas::proto::request;
use driftless_schemas::time::MonotonicMs;
use driftless_schemas::{ChunkId, Offset, Partition};
use driftless_web::stream::CLOSE_TIMEOUT;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::sync::{oneshot, watch};

const TICK: Duration = Duration::from_millis(100);
/// Messages taken in one turn before what they caused is carried out.
const TURN_MAX: usize = 1024;

/// What a socket gets from the hub.
#[derive(Debug)]
pub(crate) enum Outgoing {
    /// Frames to write, in order.
    Frames(Frames),
    /// Close with this code after what was sent.
    Close(u16, String),
}

/// Bytes that were written, by socket.
pub(crate) type Written = Vec<(SocketId, usize)>;

enum Message {
    /// What sockets and event streams tell the hub, in order.
    Inputs(Vec<Input>, Option<PendingRequests>),
    /// An event stream, which reads its output from a channel.
    Subscribed(SocketId, UnboundedSender<Outgoing>),
    Written(Written),
    /// An event stream is gone.
    Unsubscribed(SocketId),
    Ask(ChunkId, Ask, oneshot::Sender<Answer>),
    Loaded(ChunkId, Result<Option<driftless_gateway_core::Loaded>, LoadError>, Option<Box<Reread>>),
    ViewsRenewed(MonotonicMs),
    Positions(oneshot::Sender<Vec<Position>>),
    #[cfg(debug_assertions)]
    Damage(ChunkId),
}

/// Requests on their way: their socket is not heard before the hub has looked at them.
struct PendingRequests(Arc<SocketState>);

impl Drop for PendingRequests {
    fn drop(&mut self) {
        self.0.answered();
    }
}

/// A way to talk to the hub, and to the shards.
#[derive(Clone)]
pub(crate) struct HubHandle {
    messages: UnboundedSender<Message>,
    shards: Arc<[UnboundedSender<ToShard>]>,
    next_socket: Arc<AtomicU64>,
    /// True once the log's end at the start was reached.
    pub ready: watch::Receiver<bool>,
}

/// A websocket's place; it is free when this is dropped.
pub(crate) struct SocketHandle {
    hub: HubHandle,
    pub id: SocketId,
    is_joined: bool,
}

/// An event stream that has joined; leaves when dropped.
pub(crate) struct EventSubscription {
    hub: HubHandle,
    id: SocketId,
    /// What it gets.
    pub out: UnboundedReceiver<Outgoing>,
}

/// Which shard writes for a socket; none for an event stream.
fn shard_of(SocketId(id): SocketId, shards: usize) -> Option<usize> {
    let place = usize::try_from(id % (shards as u64 + 1)).unwrap_or(0);
    (place < shards).then_some(place)
}

impl HubHandle {
    /// A websocket is there; its shard writes for it from now on.
    pub fn open(&self, line: &Arc<SocketState>) -> SocketHandle {
        let shards = self.shards.len() as u64;
        let number = self.next_socket.fetch_add(1, Ordering::Relaxed);
        let handle = SocketHandle {
            hub: self.clone(),
            id: SocketId(number / shards * (shards + 1) + number % shards),
            is_joined: false,
        };
        handle.shard(ToShard::Opened(handle.id, Arc::clone(line)));
        handle
    }

    /// An event stream joins.
    pub fn listen(&self, joined: Joined) -> EventSubscription {
        let shards = self.shards.len() as u64;
        let number = self.next_socket.fetch_add(1, Ordering::Relaxed);
        let id = SocketId(number * (shards + 1) + shards);
        let (to, out) = unbounded_channel();
        self.tell(Message::Subscribed(id, to));
        self.tell(Message::Inputs(vec![Input::Joined(id, joined)], None));
        EventSubscription { hub: self.clone(), id, out }
    }

    /// Asks a question; `None` where the hub has ended.
    pub async fn ask(&self, chunk: ChunkId, ask: Ask) -> Option<Answer> {
        let (to, answer) = oneshot::channel();
        self.tell(Message::Ask(chunk, ask, to));
        answer.await.ok()
    }

    /// How far each partition was read.
    pub async fn positions(&self) -> Option<Vec<Position>> {
        let (to, positions) = oneshot::channel();
        self.tell(Message::Positions(to));
        positions.await.ok()
    }

    /// All views of the index were opened after this.
    pub fn views_renewed(&self, opened: MonotonicMs) {
        self.tell(Message::ViewsRenewed(opened));
    }

    /// Flips a bit in the memory of a replica: to show that drift is healed. Debug builds only.
    #[cfg(debug_assertions)]
    pub fn damage(&self, chunk: ChunkId) {
        self.tell(Message::Damage(chunk));
    }

    /// Nobody hears it when the hub has ended; those who ask then see their answer's channel closed.
    fn tell(&self, message: Message) {
        let _ = self.messages.send(message);
    }
}

impl SocketHandle {
    /// Hands inputs to the hub, in order. The socket is not read before the hub has handled them.
    pub fn tell_hub(&mut self, inputs: Vec<Input>, line: &Arc<SocketState>) {
        self.is_joined = true;
        line.ask();
        self.hub.tell(Message::Inputs(inputs, Some(PendingRequests(Arc::clone(line)))));
    }

    pub fn shard(&self, message: ToShard) {
        let shards = &self.hub.shards;
        if let Some(shard) = shard_of(self.id, shards.len()).and_then(|place| shards.get(place)) {
            // Nobody hears it when the gateway has ended.
            let _ = shard.send(message);
        }
    }

    /// The hub has nothing more to say to it. What waits for it is still written.
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
    pub fn requests(&self, requests: Vec<request::Body>) {
        let inputs = requests.into_iter().map(|request| Input::Request(self.id, request)).collect();
        self.hub.tell(Message::Inputs(inputs, None));
    }

    pub fn written(&self, bytes: usize) {
        self.hub.tell(Message::Written(vec![(self.id, bytes)]));
    }
}

impl Drop for EventSubscription {
    fn drop(&mut self) {
        self.hub.tell(Message::Unsubscribed(self.id));
    }
}

/// Starts the hub's task. It ends with the shutdown, or with an error that ends the gateway.
pub(crate) fn start(
    world: Arc<World>,
    settings: Settings,
    rules: shard::ShardSettings,
    shards: usize,
    follower: Follower,
    auditor: Auditor,
    clock: Clock,
    shutdown: Shutdown,
) -> (HubHandle, tokio::task::JoinHandle<Result<(), String>>) {
    let (messages, received) = unbounded_channel();
    let (ready_to, ready) = watch::channel(false);
    let start_shard = |_| {
        let messages = messages.clone();
        let written = move |written| {
            let _ = messages.send(Message::Written(written));
        };
        shard::start(rules, clock, written, shutdown.clone())
    };
    let shards: Arc<[_]> = (0..shards.max(1)).map(start_shard).collect();
    let task = Task {
        hub: Hub::new(world, settings, follower.positions),
        loader: follower.loader,
        goals: follower.goals,
        auditor,
        ready: ready_to,
        messages: messages.clone(),
        turns: shards.iter().map(|_| Vec::new()).collect(),
        shards: Arc::clone(&shards),
        subscribers: HashMap::new(),
        asks: HashMap::new(),
        next_ask: 0,
        clock,
        fatal: None,
        drain: rules.drain,
        ends_at: None,
    };
    let handle = HubHandle { messages, shards, next_socket: Arc::default(), ready };
    (handle, tokio::spawn(task.run(follower.reader, received, shutdown)))
}

struct Task {
    hub: Hub,
    loader: Loader,
    goals: BTreeMap<Partition, Offset>,
    auditor: Auditor,
    ready: watch::Sender<bool>,
    messages: UnboundedSender<Message>,
    shards: Arc<[UnboundedSender<ToShard>]>,
    /// What each shard gets in this turn.
    turns: Vec<Vec<(SocketId, Outgoing)>>,
    subscribers: HashMap<SocketId, UnboundedSender<Outgoing>>,
    asks: HashMap<u64, oneshot::Sender<Answer>>,
    next_ask: u64,
    clock: Clock,
    fatal: Option<String>,
    drain: Duration,
    /// The end was asked for.
    ends_at: Option<Instant>,
}

impl Task {
    async fn run(
        mut self,
        mut reader: Box<dyn Reader>,
        mut received: UnboundedReceiver<Message>,
        shutdown: Shutdown,
    ) -> Result<(), String> {
        let mut tick = tokio::time::interval(TICK);
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        self.notice_ready();
        loop {
            tokio::select! {
                read = reader.next() => match read {
                    Ok(batches) => for batch in batches {
                        let records = batch.records.into_iter().map(|r| (r.offset, r.value)).collect();
                        metrics::records(batch.partition);
                        self.handle(Input::Records(batch.partition, records));
                    },
                    Err(e @ ReadError::OutOfRange { .. }) => return Err(format!(
                        "{e}: retention of updates is shorter than the age of the newest checkpoint (start the replayer \
                         first, or keep updates longer), or the index in this store belongs to another log"
                    )),
                    Err(e) => return Err(e.to_string()),
                },
                message = received.recv() => match message {
                    None => return Ok(()),
                    Some(message) => {
                        self.take(message);
                        for _ in 0..TURN_MAX {
                            let Ok(message) = received.try_recv() else { break };
                            self.take(message);
                        }
                    }
                },
                _ = tick.tick() => {
                    self.handle(Input::Tick);
                    metrics::levels(&self.hub);
                }
                () = shutdown.wait(), if self.ends_at.is_none() => {
                    self.ends_at = Some(Instant::now() + self.drain + CLOSE_TIMEOUT);
                }
            }
            self.carry_out();
            if let Some(fatal) = self.fatal.take() {
                return Err(fatal);
            }
            self.notice_ready();
            // Sockets that wait for their turn to be closed are served until then.
            if self.ends_at.is_some_and(|by| self.hub.sockets() == 0 || Instant::now() >= by) {
                return Ok(());
            }
        }
    }

    fn handle(&mut self, input: Input) {
        self.hub.handle(input, self.now_ms());
    }

    fn now_ms(&self) -> u64 {
        self.clock.monotonic().0
    }

    fn take(&mut self, message: Message) {
        match message {
            Message::Inputs(inputs, _handled) => {
                let now_ms = self.now_ms();
                for input in inputs {
                    self.hub.handle(input, now_ms);
                }
            }
            Message::Subscribed(id, out) => drop(self.subscribers.insert(id, out)),
            Message::Written(written) => {
                let now_ms = self.now_ms();
                for (id, bytes) in written {
                    self.hub.handle(Input::Written(id, bytes), now_ms);
                }
            }
            Message::Unsubscribed(id) => {
                self.subscribers.remove(&id);
                self.handle(Input::Left(id));
            }
            Message::Ask(chunk, ask, to) => {
                let id = self.next_ask;
                self.next_ask += 1;
                self.asks.insert(id, to);
                self.handle(Input::Asked(id, chunk, ask));
            }
            Message::Loaded(chunk, loaded, reread) => self.handle(Input::Loaded(chunk, loaded, reread)),
            #[cfg(debug_assertions)]
            Message::Damage(chunk) => self.handle(Input::Damage(chunk)),
            Message::ViewsRenewed(opened) => self.handle(Input::ViewsRenewed(opened.0)),
            Message::Positions(to) => {
                let partitions = (0..).map(Partition).map_while(|p| self.hub.position(p));
                let _ = to.send(partitions.collect());
            }
        }
    }

    fn carry_out(&mut self) {
        while let Some(output) = self.hub.poll_output() {
            match output {
                Output::Send(id, frames) => self.out(id, Outgoing::Frames(frames)),
                Output::Close(id, code, why) => self.out(id, Outgoing::Close(code, why)),
                Output::Load(chunk, stored, reread) => {
                    let (loader, messages) = (self.loader.clone(), self.messages.clone());
                    tokio::spawn(async move {
                        let (loaded, reread) = loader.load(&chunk, stored, reread).await;
                        if let Err(LoadError::Unavailable(reason) | LoadError::Lost { reason, .. }) = &loaded {
                            tracing::warn!(%chunk, "cannot load a chunk: {reason}");
                        }
                        let _ = messages.send(Message::Loaded(chunk, loaded, reread));
                    });
                }
                Output::Answer(id, answer) => drop(self.asks.remove(&id).map(|to| to.send(answer))),
                Output::Drift(chunk, reason) => {
                    metrics::drift();
                    tracing::error!(%chunk, "the replica drifted and is rebuilt: {reason}");
                }
                Output::Audit(chunk, version, hash) => {
                    metrics::audit();
                    tracing::warn!(%chunk, version = version.0, %hash, "the owner is asked to check the chunk");
                    self.auditor.ask(&chunk, version, hash);
                }
                Output::DriftReported(chunk, version) => {
                    metrics::drift_reported();
                    tracing::debug!(%chunk, version = version.0, "a client reports that it drifted");
                }
                Output::LaggingBegan => metrics::lagging_began(),
                Output::LaggingEnded(after_ms) => metrics::lagging_ended(after_ms),
                Output::Fatal(reason) => self.fatal = Some(reason),
            }
        }
        for (turn, shard) in self.turns.iter_mut().zip(self.shards.iter()) {
            if !turn.is_empty() {
                // A shard ends with the shutdown only.
                let _ = shard.send(ToShard::Batch(std::mem::take(turn)));
            }
        }
    }

    fn out(&mut self, id: SocketId, out: Outgoing) {
        match shard_of(id, self.turns.len()) {
            Some(shard) => self.turns[shard].push((id, out)),
            // One whose stream has ended is about to leave.
            None => drop(self.subscribers.get(&id).map(|to| to.send(out))),
        }
    }

    fn notice_ready(&mut self) {
        if *self.ready.borrow() {
            return;
        }
        let hub = &self.hub;
        self.goals.retain(|partition, goal| hub.position(*partition).is_some_and(|at| at.offset < *goal));
        if self.goals.is_empty() {
            self.ready.send_replace(true);
        }
    }
}
