//! The one task that owns the [`Hub`]. All other tasks send messages to this task.
//!
//! The task handles all messages that are waiting before it carries out the hub's outputs, so that
//! a socket gets the frames of all these messages in one write. The shards write to the websockets
//! ([`shard`]).

mod destination;
mod handle;
pub(crate) mod shard;

use crate::auditor::Auditor;
use crate::follower::Follower;
use crate::metrics;
use destination::{Destination, SHARDS_MAX};
use driftless_chunk::world::World;
use driftless_gateway_core::{Answer, Fault, Hub, Input, LoadError, Opened, Output, Settings, SocketId, Standings};
use driftless_log::ReadError;
use driftless_runtime::clock::Clock;
use driftless_runtime::shutdown::Shutdown;
use driftless_schemas::time::MonotonicMs;
use driftless_schemas::{Offset, Partition};
use driftless_web::stream::CLOSE_TIMEOUT;
use handle::Message;
use shard::{Outgoing, ShardSettings, ToShard};
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::sync::{oneshot, watch};

pub(crate) use handle::{EventSubscription, HubHandle, SocketHandle};

/// Interval of [`Input::Tick`].
const TICK: Duration = Duration::from_millis(100);
/// Limit on the messages handled before the hub's outputs are carried out.
const MESSAGES_PER_TURN: usize = 1024;
/// Messages are handled for no longer than this before the hub looks at the log again,
/// milliseconds. A message may have thousands of requests, and edits of others must not wait for
/// all of them.
const TURN_MS: u64 = 4;

/// The handle of a started hub's task.
pub(crate) type TaskHandle = tokio::task::JoinHandle<()>;

/// Starts the hub's task and the shards. The task ends with the shutdown.
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
    let hub = Hub::unopened(world, settings);
    metrics::partitions(&hub.standings());
    let (publish, standings) = watch::channel(hub.standings());
    let start_shard = |_| {
        let messages = messages.clone();
        let report = move |written| {
            let _ = messages.send(Message::Written(written));
        };
        shard::start(shard_settings, clock, report, shutdown.clone())
    };
    let shards: Arc<[_]> = (0..shard_settings.count.clamp(1, SHARDS_MAX)).map(start_shard).collect();
    let task = Task {
        hub,
        follower,
        auditor,
        standings: publish,
        messages: messages.clone(),
        batches: shards.iter().map(|_| Vec::new()).collect(),
        shards: Arc::clone(&shards),
        subscribers: HashMap::new(),
        asks: HashMap::new(),
        next_ask: 0,
        clock,
        drain: shard_settings.drain,
        ends_at: None,
    };
    let handle = HubHandle { messages, shards, ids: Arc::default(), standings };
    (handle, tokio::spawn(task.run(received, shutdown)))
}

struct Task {
    hub: Hub,
    follower: Follower,
    auditor: Auditor,
    standings: watch::Sender<Standings>,
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
    /// At shutdown, the shards close the websockets one after the other over this time.
    drain: Duration,
    /// When the task ends, once shutdown has begun.
    ends_at: Option<MonotonicMs>,
}

impl Task {
    async fn run(mut self, mut received: UnboundedReceiver<Message>, shutdown: Shutdown) {
        let mut tick = tokio::time::interval(TICK);
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                read = self.follower.next() => match read {
                    Ok(batches) => for batch in batches {
                        let records = batch.records.into_iter().map(|r| (r.offset, r.value)).collect();
                        metrics::records(batch.partition);
                        self.handle(Input::Records(batch.partition, records));
                    },
                    Err(error) => {
                        let (partition, fault) = fault_of(error);
                        self.handle(Input::Failed(partition, fault));
                    }
                },
                message = received.recv() => match message {
                    None => return,
                    Some(message) => {
                        let begun = self.clock.monotonic();
                        self.take(message);
                        for _ in 0..MESSAGES_PER_TURN {
                            if self.clock.monotonic().ms_since(begun) >= TURN_MS {
                                break;
                            }
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
            // At shutdown, the task still serves sockets until the shards have closed them all or
            // `ends_at` has come.
            if self.ends_at.is_some_and(|at| self.hub.sockets() == 0 || self.clock.monotonic() >= at) {
                return;
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
            Message::Opened(partition, Ok(opened)) => self.opened(partition, opened),
            Message::Opened(partition, Err(fault)) => self.handle(Input::Failed(partition, fault)),
            Message::ViewRenewed(partition, opened) => self.handle(Input::ViewRenewed(partition, opened)),
            Message::Positions(to) => {
                let positions = (0..).map(Partition).map_while(|p| self.hub.position(p));
                let _ = to.send(positions.collect());
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
                    let (loader, messages) = (self.follower.loader.clone(), self.messages.clone());
                    let user = self.hub.waits_for(&chunk).unwrap_or_default();
                    tokio::spawn(async move {
                        let (loaded, reread) = loader.load(&chunk, stored, reread, &user).await;
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
                Output::Open(partition) => {
                    let (loader, messages) = (self.follower.loader.clone(), self.messages.clone());
                    tokio::spawn(async move {
                        // A panic over damaged files must not leave the partition in doubt for
                        // ever.
                        let opened = tokio::spawn(async move { loader.open(partition).await }).await;
                        let opened =
                            opened.unwrap_or_else(|e| Err(Fault::Index(format!("cannot open the index: {e}"))));
                        if let Err(fault) = &opened {
                            tracing::debug!(partition = partition.0, "cannot open the partition: {fault}");
                        }
                        let _ = messages.send(Message::Opened(partition, opened));
                    });
                }
                Output::StopReading(partition) => self.follower.stop_reading(partition),
                Output::Degraded(partition, reason) => {
                    tracing::error!(
                        partition = partition.0,
                        "the partition is degraded, its chunks are unavailable: {reason}"
                    );
                }
                Output::Recovered(partition) => {
                    tracing::info!(partition = partition.0, "the partition has recovered, its chunks are served again");
                }
                Output::Standings(standings) => {
                    metrics::partitions(&standings);
                    self.standings.send_replace(standings);
                }
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

    /// Reads an opened partition.
    fn opened(&mut self, partition: Partition, opened: Opened) {
        let is_alone = !self.hub.is_reading_any();
        self.handle(Input::Opened(partition, opened));
        if !self.hub.is_reading(partition) {
            return;
        }
        // The hub compares the record below its position with the position.
        let from = opened.position.offset;
        let from = if from > opened.low { Offset(from.0 - 1) } else { from };
        if let Err(e) = self.follower.read(partition, from, is_alone) {
            self.handle(Input::Failed(partition, Fault::Log(e.to_string())));
        }
    }
}

fn fault_of(error: ReadError) -> (Partition, Fault) {
    match error {
        ReadError::OutOfRange { partition, wanted, low, high, .. } => {
            (partition, Fault::OutOfRange { wanted, low, high })
        }
        ReadError::Broken { partition, .. } => (partition, Fault::Log(error.to_string())),
    }
}
