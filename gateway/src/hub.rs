//! The one task that owns the [`Hub`]. All other tasks send messages to this task.
//!
//! The task handles all messages that are waiting before it carries out the hub's outputs, so that
//! a socket gets the frames of all these messages in one write. The shards write to the websockets
//! ([`shard`]).

mod destination;
mod handle;
pub(crate) mod shard;

use crate::auditor::Auditor;
use crate::error::Error;
use crate::follower::{Follower, Loader};
use crate::metrics;
use destination::{Destination, SHARDS_MAX};
use driftless_chunk::world::World;
use driftless_gateway_core::{Answer, Hub, Input, LoadError, Output, Settings, SocketId};
use driftless_log::{ReadError, Reader};
use driftless_runtime::clock::Clock;
use driftless_runtime::shutdown::Shutdown;
use driftless_schemas::time::MonotonicMs;
use driftless_schemas::{Offset, Partition};
use driftless_web::stream::CLOSE_TIMEOUT;
use handle::Message;
use shard::{Outgoing, ShardSettings, ToShard};
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::sync::{oneshot, watch};

pub(crate) use handle::{EventSubscription, HubHandle, SocketHandle};

/// Interval of [`Input::Tick`].
const TICK: Duration = Duration::from_millis(100);
/// Limit on the messages handled before the hub's outputs are carried out.
const MESSAGES_PER_TURN: usize = 1024;

/// The handle of a started hub's task.
pub(crate) type TaskHandle = tokio::task::JoinHandle<Result<(), Error>>;

/// Starts the hub's task and the shards. The task ends with the shutdown, or with an error that
/// ends the gateway.
pub(crate) fn start(
    world: Arc<World>,
    settings: Settings,
    shard_settings: ShardSettings,
    follower: Follower,
    auditor: Auditor,
    clock: Clock,
    shutdown: Shutdown,
) -> (HubHandle, TaskHandle) {
    let (messages, received) = unbounded_channel();
    let (ready_to, ready) = watch::channel(false);
    let start_shard = |_| {
        let messages = messages.clone();
        let report = move |written| {
            let _ = messages.send(Message::Written(written));
        };
        shard::start(shard_settings, clock, report, shutdown.clone())
    };
    let shards: Arc<[_]> = (0..shard_settings.count.clamp(1, SHARDS_MAX)).map(start_shard).collect();
    let task = Task {
        hub: Hub::new(world, settings, follower.positions),
        loader: follower.loader,
        goals: follower.goals,
        auditor,
        ready: ready_to,
        messages: messages.clone(),
        batches: shards.iter().map(|_| Vec::new()).collect(),
        shards: Arc::clone(&shards),
        subscribers: HashMap::new(),
        asks: HashMap::new(),
        next_ask: 0,
        clock,
        fatal: None,
        drain: shard_settings.drain,
        ends_at: None,
    };
    let handle = HubHandle { messages, shards, ids: Arc::default(), ready };
    (handle, tokio::spawn(task.run(follower.reader, received, shutdown)))
}

struct Task {
    hub: Hub,
    loader: Loader,
    /// By partition: where the log ended at start, until the hub has read up to there. The gateway
    /// is ready when this map is empty.
    goals: BTreeMap<Partition, Offset>,
    auditor: Auditor,
    ready: watch::Sender<bool>,
    messages: UnboundedSender<Message>,
    shards: Arc<[UnboundedSender<ToShard>]>,
    /// The output of this turn for each shard.
    batches: Vec<Vec<(SocketId, Outgoing)>>,
    /// The channels to the event streams.
    subscribers: HashMap<SocketId, UnboundedSender<Outgoing>>,
    /// The callers that wait for an answer, by the number of the question.
    asks: HashMap<u64, oneshot::Sender<Answer>>,
    next_ask: u64,
    clock: Clock,
    fatal: Option<Error>,
    /// At shutdown, the shards close the websockets one after the other over this time.
    drain: Duration,
    /// When the task ends, once shutdown has begun.
    ends_at: Option<MonotonicMs>,
}

impl Task {
    async fn run(
        mut self,
        mut reader: Box<dyn Reader>,
        mut received: UnboundedReceiver<Message>,
        shutdown: Shutdown,
    ) -> Result<(), Error> {
        let mut tick = tokio::time::interval(TICK);
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        self.notice_ready();
        loop {
            tokio::select! {
                read = reader.next() => for batch in read.map_err(unreadable)? {
                    let records = batch.records.into_iter().map(|r| (r.offset, r.value)).collect();
                    metrics::records(batch.partition);
                    self.handle(Input::Records(batch.partition, records));
                },
                message = received.recv() => match message {
                    None => return Ok(()),
                    Some(message) => {
                        self.take(message);
                        for _ in 0..MESSAGES_PER_TURN {
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
                    let left_ms = (self.drain + CLOSE_TIMEOUT).as_millis() as u64;
                    self.ends_at = Some(self.clock.monotonic().plus_ms(left_ms));
                }
            }
            self.carry_out();
            if let Some(fatal) = self.fatal.take() {
                return Err(fatal);
            }
            self.notice_ready();
            // At shutdown, the task still serves sockets until the shards have closed them all or
            // `ends_at` has come.
            if self.ends_at.is_some_and(|at| self.hub.sockets() == 0 || self.clock.monotonic() >= at) {
                return Ok(());
            }
        }
    }

    fn handle(&mut self, input: Input) {
        self.hub.handle(input, self.clock.monotonic());
    }

    fn take(&mut self, message: Message) {
        match message {
            // Dropping `_pending` lets the socket be read again.
            Message::Inputs(inputs, _pending) => self.handle_all(inputs),
            Message::Subscribed(id, to) => drop(self.subscribers.insert(id, to)),
            Message::Unsubscribed(id) => {
                self.subscribers.remove(&id);
                self.handle(Input::Left(id));
            }
            Message::Written(written) => {
                self.handle_all(written.into_iter().map(|(id, bytes)| Input::Written(id, bytes)));
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
            Message::ViewsRenewed(opened) => self.handle(Input::ViewsRenewed(opened)),
            Message::Positions(to) => {
                let partitions = (0..).map(Partition).map_while(|p| self.hub.position(p));
                let _ = to.send(partitions.collect());
            }
        }
    }

    /// Reads the clock once for all inputs.
    fn handle_all(&mut self, inputs: impl IntoIterator<Item = Input>) {
        let now = self.clock.monotonic();
        for input in inputs {
            self.hub.handle(input, now);
        }
    }

    fn carry_out(&mut self) {
        while let Some(output) = self.hub.poll_output() {
            match output {
                Output::Send(id, frames) => self.send(id, Outgoing::Frames(frames)),
                Output::Close(id, code, why) => self.send(id, Outgoing::Close(code, why)),
                Output::Load(chunk, stored, reread) => {
                    let (loader, messages) = (self.loader.clone(), self.messages.clone());
                    tokio::spawn(async move {
                        let (loaded, reread) = loader.load(&chunk, stored, reread).await;
                        if let Err(LoadError::Unavailable(reason) | LoadError::Lost { reason, .. }) = &loaded {
                            tracing::warn!(%chunk, "cannot load the chunk: {reason}");
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
                    tracing::debug!(%chunk, version = version.0, "a client reports that its replica drifted");
                }
                Output::LaggingBegan => metrics::lagging_began(),
                Output::LaggingEnded(after_ms) => metrics::lagging_ended(after_ms),
                Output::Fatal(reason) => self.fatal = Some(Error::Follow(reason)),
            }
        }
        for (batch, shard) in self.batches.iter_mut().zip(self.shards.iter()) {
            if !batch.is_empty() {
                // A send fails only if the shard has ended, which happens only at shutdown.
                let _ = shard.send(ToShard::Batch(std::mem::take(batch)));
            }
        }
    }

    fn send(&mut self, id: SocketId, outgoing: Outgoing) {
        match Destination::of(id) {
            Destination::Shard(shard) => {
                if let Some(batch) = self.batches.get_mut(usize::from(shard)) {
                    batch.push((id, outgoing));
                }
            }
            // A send fails if the event stream has ended, which is then about to unsubscribe.
            Destination::EventStream => drop(self.subscribers.get(&id).map(|to| to.send(outgoing))),
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

fn unreadable(error: ReadError) -> Error {
    Error::Follow(match error {
        ReadError::OutOfRange { .. } => format!(
            "{error}: retention of updates is shorter than the age of the newest checkpoint (start the replayer first, \
             or keep updates longer), or the index in this store belongs to another log"
        ),
        error => error.to_string(),
    })
}
