//! The one task that owns the hub: everything else sends it messages.
//!
//! It takes all that has gathered before it carries out what the hub wants, so that a socket gets what came together in
//! one write.

use crate::auditor::Auditor;
use crate::follower::{Follower, Loader};
use crate::metrics;
use bytes::Bytes;
use driftless_chunk::position::Position;
use driftless_chunk::world::World;
use driftless_gateway_core::{Answer, Ask, Hub, Input, Joined, LoadError, Output, Settings, SocketId};
use driftless_runtime::log::{ReadError, Reader};
use driftless_runtime::shutdown::Shutdown;
use driftless_schemas::access::Access;
use driftless_schemas::proto::request;
use driftless_schemas::{ChunkId, Offset, Partition};
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot, watch};

const TICK: Duration = Duration::from_millis(100);
/// Messages taken in one turn before what they caused is carried out.
const TURN_MAX: usize = 1024;

/// What a socket gets from the hub.
#[derive(Debug)]
pub(crate) enum Out {
    /// Frames to write, in order.
    Frames(Vec<Bytes>),
    /// Close with this code after what was sent.
    Close(u16, String),
}

enum Message {
    Joined(SocketId, Joined, UnboundedSender<Out>),
    Renewed(SocketId, Access),
    /// The permit is given back when the hub has taken them.
    Requests(SocketId, Vec<request::Body>, Option<OwnedSemaphorePermit>),
    Written(SocketId, usize),
    Left(SocketId),
    Ask(ChunkId, Ask, oneshot::Sender<Answer>),
    Loaded(ChunkId, Result<Option<driftless_gateway_core::Loaded>, LoadError>),
    Positions(oneshot::Sender<Vec<Position>>),
    #[cfg(debug_assertions)]
    Damage(ChunkId),
}

/// A way to talk to the hub.
#[derive(Clone)]
pub(crate) struct HubHandle {
    messages: UnboundedSender<Message>,
    next_socket: Arc<AtomicU64>,
    /// True once the log's end at the start was reached.
    pub ready: watch::Receiver<bool>,
}

/// A socket that has joined; leaves when dropped.
pub(crate) struct Member {
    hub: HubHandle,
    id: SocketId,
    /// Free when the hub has taken the last requests.
    window: Arc<Semaphore>,
    /// What it gets.
    pub out: UnboundedReceiver<Out>,
}

impl HubHandle {
    /// A socket joins.
    pub fn join(&self, joined: Joined) -> Member {
        let id = SocketId(self.next_socket.fetch_add(1, Ordering::Relaxed));
        let (to, out) = unbounded_channel();
        self.tell(Message::Joined(id, joined, to));
        Member { hub: self.clone(), id, window: Arc::new(Semaphore::new(1)), out }
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

impl Member {
    pub fn requests(&self, requests: Vec<request::Body>) {
        let permit = Arc::clone(&self.window).try_acquire_owned().ok();
        self.hub.tell(Message::Requests(self.id, requests, permit));
    }

    /// Waits until the hub has taken the last requests. Whoever waits before the next ones cannot fill the hub's queue.
    pub fn taken(&self) -> impl Future<Output = ()> + use<> {
        let window = Arc::clone(&self.window);
        // Never closed.
        async move { drop(window.acquire().await) }
    }

    pub fn renewed(&self, access: Access) {
        self.hub.tell(Message::Renewed(self.id, access));
    }

    pub fn written(&self, bytes: usize) {
        self.hub.tell(Message::Written(self.id, bytes));
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        self.hub.tell(Message::Left(self.id));
    }
}

/// Starts the hub's task. It ends with the shutdown, or with an error that ends the gateway.
pub(crate) fn start(
    world: Arc<World>,
    settings: Settings,
    follower: Follower,
    auditor: Auditor,
    shutdown: Shutdown,
) -> (HubHandle, tokio::task::JoinHandle<Result<(), String>>) {
    let (messages, received) = unbounded_channel();
    let (ready_to, ready) = watch::channel(false);
    let task = Task {
        hub: Hub::new(world, settings, follower.positions),
        loader: follower.loader,
        goals: follower.goals,
        auditor,
        ready: ready_to,
        messages: messages.clone(),
        outs: HashMap::new(),
        asks: HashMap::new(),
        next_ask: 0,
        started: Instant::now(),
        fatal: None,
    };
    let handle = HubHandle { messages, next_socket: Arc::default(), ready };
    (handle, tokio::spawn(task.run(follower.reader, received, shutdown)))
}

struct Task {
    hub: Hub,
    loader: Loader,
    goals: BTreeMap<Partition, Offset>,
    auditor: Auditor,
    ready: watch::Sender<bool>,
    messages: UnboundedSender<Message>,
    outs: HashMap<SocketId, UnboundedSender<Out>>,
    asks: HashMap<u64, oneshot::Sender<Answer>>,
    next_ask: u64,
    started: Instant,
    fatal: Option<String>,
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
                    metrics::levels(self.hub.sockets(), self.hub.chunks());
                }
                () = shutdown.wait() => return Ok(()),
            }
            self.carry_out();
            if let Some(fatal) = self.fatal.take() {
                return Err(fatal);
            }
            self.notice_ready();
        }
    }

    fn handle(&mut self, input: Input) {
        let now_ms = u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.hub.handle(input, now_ms);
    }

    fn take(&mut self, message: Message) {
        match message {
            Message::Joined(id, joined, out) => {
                self.outs.insert(id, out);
                self.handle(Input::Joined(id, joined));
            }
            Message::Renewed(id, access) => self.handle(Input::Renewed(id, access)),
            Message::Requests(id, requests, _taken) => {
                for request in requests {
                    self.handle(Input::Request(id, request));
                }
            }
            Message::Written(id, bytes) => self.handle(Input::Written(id, bytes)),
            Message::Left(id) => {
                self.outs.remove(&id);
                self.handle(Input::Left(id));
            }
            Message::Ask(chunk, ask, to) => {
                let id = self.next_ask;
                self.next_ask += 1;
                self.asks.insert(id, to);
                self.handle(Input::Asked(id, chunk, ask));
            }
            Message::Loaded(chunk, loaded) => self.handle(Input::Loaded(chunk, loaded)),
            #[cfg(debug_assertions)]
            Message::Damage(chunk) => self.handle(Input::Damage(chunk)),
            Message::Positions(to) => {
                let partitions = (0..).map(Partition).map_while(|p| self.hub.position(p));
                let _ = to.send(partitions.collect());
            }
        }
    }

    fn carry_out(&mut self) {
        while let Some(output) = self.hub.poll_output() {
            match output {
                // A socket whose task has ended is about to leave.
                Output::Send(id, frames) => drop(self.outs.get(&id).map(|out| out.send(Out::Frames(frames)))),
                Output::Close(id, code, why) => drop(self.outs.get(&id).map(|out| out.send(Out::Close(code, why)))),
                Output::Load(chunk, stored) => {
                    let (loader, messages) = (self.loader.clone(), self.messages.clone());
                    tokio::spawn(async move {
                        let loaded = loader.load(&chunk, stored).await;
                        if let Err(LoadError::Unavailable(reason) | LoadError::Lost { reason, .. }) = &loaded {
                            tracing::warn!(%chunk, "cannot load a chunk: {reason}");
                        }
                        let _ = messages.send(Message::Loaded(chunk, loaded));
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
                Output::LaggingBegan => metrics::lagging(),
                Output::Fatal(reason) => self.fatal = Some(reason),
            }
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
