//! An ownership of one partition: the task that drives a [`PartitionCore`].
//!
//! The task first claims the partition (`claim`). After that it only moves data: records and
//! acknowledgements into the core, and the core's outputs (`outputs`) to the log, the store
//! (`store_tasks`) and the index. `reading` keeps track of the topic that the task reads.

use crate::beginning::Beginning;
use crate::context::{ChunksShare, Context, STORE_CONCURRENCY};
use crate::dead_letters::Copies;
use crate::feed::Delivery;
use crate::metrics;
use crate::publisher::{OwnAck, Route};
use crate::report::{Report, Reports};
use driftless_log::{Append, ReadError};
use driftless_replayer_core::{End, Input, PartitionCore, Stats, Stream};
use driftless_schemas::{ChunkId, Partition};
use driftless_store::index::{self, Index};
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::sync::{Semaphore, watch};

mod claim;
pub(crate) mod identity;
mod outputs;
mod reading;
mod store_tasks;

use claim::Claimed;
use identity::Stranger;
use reading::{Fault, Reading};

const TICK: Duration = Duration::from_millis(100);

/// How long an ownership that mends waits for chunks that cannot be loaded.
const STUCK_MAX: Duration = Duration::from_secs(30);

/// The most objects that one ownership loads at a time until its first decision is acknowledged.
/// Reading the log goes first, because nothing is decided before recovery has read it, and so few
/// loads leave it room.
const LOADS_AT_FIRST: usize = 8;

/// An order from the assignments to an ownership: go on, end in order, or end at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Order {
    Continue,
    Drain,
    Stop,
}

/// Why an ownership ended.
#[derive(Debug)]
pub(crate) enum Outcome {
    /// The core ended the ownership for this reason.
    Core(End),
    /// The ownership got the order to stop, or to end before it had claimed the partition.
    Stopped,
    /// The index could not be opened.
    Index(index::Error),
    /// The reader of this process failed, and delivers no more records.
    Read(ReadError),
    /// The log did not say which offsets it holds.
    Log(driftless_log::Error),
    /// The operator accepts a loss, but the world's format cannot name the history that begins with
    /// it.
    LossUnnamed,
    /// World, store, index and log do not belong together.
    Stranger(Box<Stranger>),
    /// An ownership that mends could not load these chunks.
    Unmended(String),
    /// The ownership's task panicked: there is a bug.
    Panicked(String),
}

impl Outcome {
    /// The name of the outcome, which metrics show.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Core(end) => match end {
                End::Drained => "drained",
                End::Replaced { .. } => "replaced",
                End::FenceInvalid { .. } => "fence_invalid",
                End::HistoryTooOld { .. } => "history_too_old",
                End::AnotherWorld { .. } => "another_world",
                End::IndexTooOld { .. } => "index_too_old",
                End::AnotherLog { .. } => "another_log",
                End::NotCounted { .. } => "not_counted",
                End::AppendFailed { .. } => "append_failed",
                End::Unreadable { .. } => "unreadable",
                End::ImpossibleMark { .. } => "impossible_mark",
                End::OutOfRange(_) => "out_of_range",
                End::ModelFault { .. } => "model_fault",
                End::Reread { .. } => "reread",
                End::Index { .. } => "index_write",
            },
            Self::Stopped => "stopped",
            Self::Index(_) => "index_open",
            Self::Read(_) => "read",
            Self::Log(_) => "log",
            Self::LossUnnamed => "out_of_range",
            Self::Stranger(_) => "another_log",
            Self::Unmended(_) => "unmended",
            Self::Panicked(_) => "panicked",
        }
    }
}

impl std::fmt::Display for Outcome {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Core(end) => end.fmt(f),
            Self::Stopped => f.write_str("stopped"),
            Self::Index(e) => e.fmt(f),
            Self::Read(e) => e.fmt(f),
            Self::Log(e) => e.fmt(f),
            Self::LossUnnamed => f.write_str(
                "a world of format 1 cannot name the history that begins when this loss is accepted: upgrade all processes, run `driftless init --update` (or `driftless dev --update`), and try again",
            ),
            Self::Stranger(e) => e.fmt(f),
            Self::Unmended(e) | Self::Panicked(e) => f.write_str(e),
        }
    }
}

/// The purpose of an ownership.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// Decide commands.
    Decide {
        /// True if the last ownership of this process has failed.
        is_retry: bool,
    },
    /// Accept the loss of records that recovery needs, store what is left, and end.
    Mend {
        /// Begin a new history even if the index names nothing that the log lacks.
        is_ordered: bool,
    },
}

/// Owns a partition until the ownership ends. `is_running` becomes true when recovery is over.
pub(crate) async fn run(
    context: Arc<Context>,
    partition: Partition,
    purpose: Purpose,
    mut orders: watch::Receiver<Order>,
    is_running: watch::Sender<bool>,
) -> Outcome {
    let beginning = Beginning::new(partition);
    let claimed = tokio::select! {
        claimed = claim::claim(context, partition, purpose, beginning) => claimed,
        // No fence is appended yet. An ownership that got the order to end must not append one,
        // because it would fence the new owner.
        _ = orders.wait_for(|order| *order != Order::Continue) => return Outcome::Stopped,
    };
    match claimed {
        Ok(Claimed { ownership, acks, reports }) => ownership.run(orders, acks, reports, is_running).await,
        Err(outcome) => outcome,
    }
}

/// An ownership whose partition is claimed.
struct Ownership {
    context: Arc<Context>,
    partition: Partition,
    purpose: Purpose,
    /// The chunks that an ownership which mends could not load.
    stuck: Option<Stuck>,
    core: PartitionCore,
    /// The part of this ownership in the memory for chunks, and the limit that the core knows.
    memory: ChunksShare,
    chunks_bytes_max: usize,
    index: Arc<Index>,
    route: Route,
    reports: Reports,
    reading: Reading,
    /// Records that did not fit into the producer's queue. They are tried again in the next turn.
    unsent: VecDeque<Append>,
    copies: Copies,
    /// Limits how many objects this ownership loads at a time.
    load_permits: Arc<Semaphore>,
    /// True if `load_permits` has as many permits as the process allows.
    is_loading_freely: bool,
    /// The fault after which the ownership cannot read on.
    unread: Option<Fault>,
    /// The counters and gauges that were last reported as metrics.
    reported: Stats,
    beginning: Beginning,
}

/// Chunks that cannot be loaded.
struct Stuck {
    since: Instant,
    reasons: BTreeMap<ChunkId, String>,
}

impl Stuck {
    fn begin() -> Self {
        Self { since: Instant::now(), reasons: BTreeMap::new() }
    }
}

impl Ownership {
    async fn run(
        mut self,
        mut orders: watch::Receiver<Order>,
        mut acks: UnboundedReceiver<Vec<OwnAck>>,
        mut reports: UnboundedReceiver<Report>,
        is_running: watch::Sender<bool>,
    ) -> Outcome {
        let mut tick = tokio::time::interval(TICK);
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            if let Some(end) = self.carry_out() {
                let outcome = self.outcome(end);
                return self.finish(outcome);
            }
            if self.core.is_running() && !*is_running.borrow() {
                is_running.send_replace(true);
                self.beginning.recovered();
            }
            if let Purpose::Mend { .. } = self.purpose {
                if let Some(reason) = self.stuck_too_long() {
                    return self.finish(Outcome::Unmended(reason));
                }
                if self.core.is_settled() {
                    self.handle(Input::Drain);
                }
            }
            tokio::select! {
                biased;
                changed = orders.changed() => {
                    // If the sender is gone, the replayer has ended, so this ownership must stop,
                    // too.
                    let order = if changed.is_ok() { *orders.borrow_and_update() } else { Order::Stop };
                    match order {
                        Order::Continue => {}
                        Order::Drain => self.handle(Input::Drain),
                        Order::Stop => return self.finish(Outcome::Stopped),
                    }
                }
                // The tick comes before acknowledgements and records. Otherwise a partition that is
                // always busy would never write a checkpoint.
                _ = tick.tick() => self.tick(),
                Some(gathered) = acks.recv() => self.take_acks(gathered),
                Some(report) = reports.recv() => self.take_report(report),
                (stream, delivery) = self.reading.next() => self.take_delivery(stream, delivery),
            }
            // Messages that arrived together are handled together, so that the core appends fewer,
            // larger records.
            while let Ok(gathered) = acks.try_recv() {
                self.take_acks(gathered);
            }
            while let Ok(report) = reports.try_recv() {
                self.take_report(report);
            }
            while let Some((stream, delivery)) = self.reading.try_next() {
                self.take_delivery(stream, Some(delivery));
            }
            // A failed reader ends the ownership, whatever else arrived in the same turn.
            match self.unread.take() {
                None => {}
                Some(Fault::Read(e)) => return self.finish(Outcome::Read(e)),
                Some(Fault::AnotherLog(topic, found, offset)) => {
                    let stranger = Stranger::of_record(&self.context.store, &topic, self.partition, (found, offset));
                    return self.finish(Outcome::Stranger(Box::new(stranger)));
                }
            }
            self.feed_core();
        }
    }

    /// The chunks that an ownership which mends cannot load, if it has waited long enough.
    fn stuck_too_long(&self) -> Option<String> {
        let stuck = self.stuck.as_ref().filter(|stuck| stuck.since.elapsed() >= STUCK_MAX)?;
        (self.core.stats().stuck_chunks > 0).then(|| {
            let reasons: Vec<_> = stuck.reasons.iter().map(|(chunk, reason)| format!("{chunk}: {reason}")).collect();
            reasons.join("; ")
        })
    }

    /// The outcome of an ownership that the core has ended.
    fn outcome(&self, end: End) -> Outcome {
        let End::AnotherLog { offset, found, known } = end else { return Outcome::Core(end) };
        let topic = &self.context.world.topics().updates;
        Outcome::Stranger(Box::new(Stranger::of_print(
            &self.context.store,
            topic,
            self.partition,
            (offset, found, known),
        )))
    }

    fn handle(&mut self, input: Input) {
        let now = self.context.clock.monotonic();
        self.core.handle(input, now);
    }

    fn tick(&mut self) {
        if self.core.is_running() {
            // Without commands, no decision would ever lift the limit on loads.
            self.load_freely();
        }
        let chunks_bytes_max = self.memory.bytes_max();
        if std::mem::replace(&mut self.chunks_bytes_max, chunks_bytes_max) != chunks_bytes_max {
            self.handle(Input::ChunksBytesMax(chunks_bytes_max));
        }
        self.handle(Input::Tick);
    }

    /// Ends the limit on loads of the beginning. From now on, only the limit of the process
    /// applies.
    fn load_freely(&mut self) {
        if !std::mem::replace(&mut self.is_loading_freely, true) {
            self.load_permits.add_permits(STORE_CONCURRENCY - LOADS_AT_FIRST);
        }
    }

    fn take_acks(&mut self, gathered: Vec<OwnAck>) {
        for (n, result) in gathered {
            self.handle(match result {
                Ok(offset) => Input::Acked(n, offset),
                Err(e) => Input::AppendFailed(n, e.to_string()),
            });
        }
    }

    fn take_report(&mut self, report: Report) {
        match report {
            Report::Input(input) => {
                if let Input::DeadLettered(id) = &input {
                    self.copies.acknowledged(*id);
                }
                self.handle(input);
            }
            Report::DeadLetterFailed(id, reason) => self.copies.failed(id, &reason),
            Report::DeadLetterDue(id) => self.copies.copy_again(&self.context.dead_letters, id),
        }
    }

    fn take_delivery(&mut self, stream: Stream, delivery: Option<Delivery>) {
        match self.reading.take(stream, delivery) {
            Ok(None) => {}
            Ok(Some(input)) => {
                if stream == Stream::Updates {
                    // Records that were read before this input must reach the core before it.
                    self.feed_core();
                }
                self.handle(input);
            }
            Err(e) => drop(self.unread.get_or_insert(e)),
        }
    }

    /// Gives the core all records that were read, if it wants records. Pauses the reader while the
    /// core wants none.
    fn feed_core(&mut self) {
        let is_recovering = self.reading.stream() == Stream::Updates;
        if !is_recovering && (!self.core.wants_commands() || !self.unsent.is_empty()) {
            return self.reading.pause();
        }
        let records = self.reading.take_backlog();
        if !records.is_empty() {
            if is_recovering {
                self.beginning.read(records.len());
            }
            self.handle(if is_recovering { Input::Updates(records) } else { Input::Commands(records) });
        }
        self.reading.resume();
    }

    fn report(&mut self) {
        let now = self.core.stats();
        metrics::report(self.partition, &self.reported, &now);
        self.reported = now;
    }

    fn finish(self, outcome: Outcome) -> Outcome {
        let known = self.core.known();
        self.context.known_end.note(self.partition, (known.history, known.offset));
        if let Outcome::Core(End::AppendFailed { .. }) = outcome
            && let Err(e) = self.context.publisher.renew(&self.route)
        {
            tracing::error!("cannot make a new producer: {e}");
        }
        // Unless it is closed, the index's background tasks run until the next owner fences them.
        // All written data is durable, so this ownership does not wait until the index is closed.
        let index = self.index;
        tokio::spawn(async move { index.close().await });
        metrics::report(self.partition, &self.reported, &Stats::default().with_counters_of(&self.reported));
        outcome
    }
}
