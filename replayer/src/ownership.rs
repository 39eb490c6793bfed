//! One ownership of one partition: the task that drives a [`PartitionCore`].
//!
//! It opens the index (which fences older owners and makes the epoch durable) before the core exists, and then only
//! carries: records and acknowledgements in, appends, loads, puts and checkpoints out.

use crate::beginning::Beginning;
use crate::feed::{Delivery, Feed};
use crate::metrics;
use crate::publisher::{Publisher, Route};
use crate::watchdog::Watchdog;
use driftless_chunk::world::World;
use driftless_log::{Append, Headers, Producer, ReadError};
use driftless_replayer_core::{End, Input, LoadError, OlderError, Output, PartitionCore, Settings, Stats, Stored};
use driftless_schemas::storage::Unanswered;
use driftless_schemas::{ChunkId, Hash, Offset, Partition};
use driftless_store::index::{self, Index, Indexes};
use driftless_store::{self as store, Store};
use std::collections::{BTreeSet, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::sync::{Semaphore, watch};

const TICK: Duration = Duration::from_millis(100);
/// A copy to `dead-letter` that failed is made again after this.
const DEAD_LETTER_PAUSE: Duration = Duration::from_secs(1);
/// Objects that one process loads and stores at a time.
pub(crate) const STORE_CONCURRENCY: usize = 64;

/// Of them, those of one ownership until its first decision is acknowledged: the log goes first, since nothing is decided
/// before its end, and what is loaded meanwhile is enough to begin with.
const BEGINNING_CONCURRENCY: usize = 8;

/// What all ownerships of a process share.
pub(crate) struct Shared {
    pub world: Arc<World>,
    pub store: Store,
    pub indexes: Indexes,
    pub feed: Feed,
    pub watchdog: Arc<Watchdog>,
    pub publisher: Publisher,
    pub dead_letters: DeadLetters,
    pub store_permits: Arc<Semaphore>,
    pub settings: Settings,
    /// This process's name: static membership, fences.
    pub member: String,
    pub started: Instant,
    /// Chunks whose model panicked where it could not be contained; see [`End::ModelFault`].
    pub careful: Mutex<BTreeSet<ChunkId>>,
    /// The ownerships' own channels, to damage a chunk on purpose.
    #[cfg(debug_assertions)]
    pub damage: Mutex<Vec<UnboundedSender<Internal>>>,
}

/// What the manager tells an ownership.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Order {
    GoOn,
    Drain,
    Stop,
}

/// Why an ownership ended.
#[derive(Debug)]
pub(crate) enum Outcome {
    /// The core said so.
    Core(End),
    /// It was told to stop at once.
    Stopped,
    /// The index could not be opened.
    Index(index::Error),
    /// The log no longer holds what recovery needs, or another generation is meant.
    Read(ReadError),
    /// Its task panicked: a model failed where it must not, or there is a bug.
    Panicked(String),
}

impl Shared {
    pub fn now_ms(&self) -> u64 {
        u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX)
    }
}

/// By the append's token: the ownership that waits for a copy, and the core's id of it.
pub(crate) type WaitingLetters =
    Arc<std::sync::Mutex<std::collections::HashMap<u64, (UnboundedSender<Internal>, u64)>>>;

/// Copies to `dead-letter`, with their acknowledgements.
pub(crate) struct DeadLetters {
    pub producer: Arc<dyn Producer>,
    pub waiting: WaitingLetters,
    pub next: std::sync::atomic::AtomicU64,
}

/// What comes back from tasks that the ownership has started.
pub(crate) enum Internal {
    Input(Input),
    /// A copy to `dead-letter` was not acknowledged, for this reason.
    DeadLetterFailed(u64, String),
    /// It is made again.
    DeadLetterAgain(u64),
}

/// Owns a partition until it ends. `is_running` becomes true when recovery is over.
pub(crate) async fn own(
    shared: Arc<Shared>,
    partition: Partition,
    mut orders: watch::Receiver<Order>,
    is_running: watch::Sender<bool>,
) -> Outcome {
    let mut beginning = Beginning::new(partition);
    // One open, one epoch, one fence (section 6).
    let claim = async { tokio::join!(shared.indexes.claim(partition), unanswered(&shared, partition)) };
    let (claimed, unanswered) = tokio::select! {
        claimed = claim => claimed,
        // Nothing is appended yet: an owner that is not wanted any more must not fence the one that is.
        _ = orders.wait_for(|order| *order != Order::GoOn) => return Outcome::Stopped,
    };
    let (index, checkpoint) = match claimed {
        Ok(claimed) => claimed,
        Err(e) => return Outcome::Index(e),
    };
    beginning.claimed();
    let index = Arc::new(index);
    // Both topics in one fetch; where the commands begin is known already.
    let commands_from = Offset(checkpoint.commands_next);
    let ahead = shared.feed.read_ahead(&shared.world.topics().commands, partition, commands_from);
    let (route, mut acks) = shared.publisher.route();
    let (internal, mut internals) = unbounded_channel();
    #[cfg(debug_assertions)]
    shared.damage.lock().unwrap_or_else(PoisonError::into_inner).push(internal.clone());
    let mut careful = shared.careful.lock().unwrap_or_else(PoisonError::into_inner).clone();
    careful.extend(unanswered.chunks.iter().cloned());
    forget(&shared, partition, &unanswered, commands_from);
    let core = PartitionCore::new(
        Arc::clone(&shared.world),
        partition,
        &shared.member,
        checkpoint,
        shared.settings.clone(),
        shared.now_ms(),
    )
    .careful_with(careful)
    .without_asking(unanswered.commands);
    shared.watchdog.look_after(partition, &core.working());
    let mut own = Own {
        topic_in_use: Arc::clone(&shared.world.topics().updates),
        shared,
        partition,
        core,
        index,
        route,
        internal,
        unsent: VecDeque::new(),
        incoming: None,
        ahead: Some((commands_from, ahead)),
        load_permits: Arc::new(Semaphore::new(BEGINNING_CONCURRENCY)),
        is_loading_freely: false,
        history: None,
        backlog: VecDeque::new(),
        is_paused: false,
        unread: None,
        reported: Stats::default(),
        dead_letters: std::collections::HashMap::new(),
        beginning,
    };
    let mut tick = tokio::time::interval(TICK);
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        if let Some(outcome) = own.carry_out() {
            own.finish(&outcome).await;
            return outcome;
        }
        if own.core.is_running() && !*is_running.borrow() {
            is_running.send_replace(true);
            own.beginning.recovered(checkpoint.epoch);
        }
        tokio::select! {
            biased;
            changed = orders.changed() => {
                // Without a manager there is nobody to own for.
                let order = if changed.is_ok() { *orders.borrow_and_update() } else { Order::Stop };
                match order {
                    Order::GoOn => {}
                    Order::Drain => own.handle(Input::Drain),
                    Order::Stop => {
                        own.finish(&Outcome::Stopped).await;
                        return Outcome::Stopped;
                    }
                }
            }
            // Before the rest, or a partition that is busy all the time would never see a checkpoint.
            _ = tick.tick() => own.tick(),
            Some(gathered) = acks.recv() => own.take_acks(gathered),
            Some(back) = internals.recv() => own.take_internal(back),
            delivery = receive(&mut own.history), if own.history.is_some() => own.take_history(delivery),
            delivery = receive(&mut own.incoming), if own.incoming.is_some() => own.take_delivery(delivery),
        }
        // What came together is handled together: fewer, larger records.
        while let Ok(gathered) = acks.try_recv() {
            own.take_acks(gathered);
        }
        while let Ok(back) = internals.try_recv() {
            own.take_internal(back);
        }
        while let Some(Ok(delivery)) = own.incoming.as_mut().map(UnboundedReceiver::try_recv) {
            own.take_delivery(Some(delivery));
        }
        if let Some(e) = own.unread.take() {
            let outcome = Outcome::Read(e);
            own.finish(&outcome).await;
            return outcome;
        }
        own.feed_core();
    }
}

/// What models did not come back from, in earlier ownerships.
#[derive(Default)]
struct Calls {
    commands: BTreeSet<Offset>,
    chunks: BTreeSet<ChunkId>,
}

async fn unanswered(shared: &Shared, partition: Partition) -> Calls {
    let mut calls = Calls::default();
    match shared.store.unanswered(shared.world.spec().generation, partition).await {
        Ok(noted) => {
            for call in noted {
                match call {
                    Unanswered::Command(offset) => drop(calls.commands.insert(offset)),
                    Unanswered::Chunk(chunk) => drop(calls.chunks.insert(chunk)),
                }
            }
        }
        // Without it, the watchdog finds out anew.
        Err(e) => tracing::warn!(partition = partition.0, "cannot see what models did not come back from: {e}"),
    }
    calls
}

/// Removes the notes of what is decided. That of a chunk has done its work: whoever is careful finds the command.
fn forget(shared: &Arc<Shared>, partition: Partition, calls: &Calls, commands_from: Offset) {
    let decided = calls.commands.range(..commands_from).copied().map(Unanswered::Command);
    let done: Vec<_> = decided.chain(calls.chunks.iter().cloned().map(Unanswered::Chunk)).collect();
    if done.is_empty() {
        return;
    }
    let shared = Arc::clone(shared);
    tokio::spawn(async move {
        for call in done {
            if let Err(e) = shared.store.remove_unanswered(shared.world.spec().generation, partition, &call).await {
                tracing::warn!(partition = partition.0, "the next owner removes the note: {e}");
            }
        }
    });
}

async fn receive(incoming: &mut Option<UnboundedReceiver<Delivery>>) -> Option<Delivery> {
    match incoming {
        Some(receiver) => receiver.recv().await,
        None => std::future::pending().await,
    }
}

struct Own {
    shared: Arc<Shared>,
    partition: Partition,
    core: PartitionCore,
    index: Arc<Index>,
    route: Route,
    internal: UnboundedSender<Internal>,
    /// Records that did not fit into the producer's queue.
    unsent: VecDeque<Append>,
    incoming: Option<UnboundedReceiver<Delivery>>,
    /// The first of the commands, read while `updates` still is.
    ahead: Option<(Offset, UnboundedReceiver<Delivery>)>,
    load_permits: Arc<Semaphore>,
    is_loading_freely: bool,
    /// `updates`, read again for one chunk.
    history: Option<UnboundedReceiver<Delivery>>,
    topic_in_use: Arc<str>,
    /// Records that the core does not want yet.
    backlog: VecDeque<Vec<(Offset, bytes::Bytes)>>,
    is_paused: bool,
    /// Why there is nothing more to read.
    unread: Option<ReadError>,
    reported: Stats,
    dead_letters: std::collections::HashMap<u64, Append>,
    beginning: Beginning,
}

impl Own {
    fn handle(&mut self, input: Input) {
        let now = self.shared.now_ms();
        self.core.handle(input, now);
    }

    fn tick(&mut self) {
        if self.core.is_running() {
            // Perhaps there is nothing to decide.
            self.load_freely();
        }
        self.handle(Input::Tick);
    }

    /// The beginning is over: loads may take what there is.
    fn load_freely(&mut self) {
        if !std::mem::replace(&mut self.is_loading_freely, true) {
            self.load_permits.add_permits(STORE_CONCURRENCY - BEGINNING_CONCURRENCY);
        }
    }

    fn take_acks(&mut self, gathered: Vec<crate::publisher::OwnAck>) {
        for (n, result) in gathered {
            match result {
                Ok(offset) => {
                    match n {
                        0 => self.beginning.fenced(),
                        _ => self.load_freely(),
                    }
                    self.handle(Input::Acked(n, offset));
                }
                Err(e) => self.handle(Input::AppendFailed(n, e.to_string())),
            }
        }
    }

    /// An error is never passed over, whatever came in the same turn: an ownership that reads no more must end.
    fn take_delivery(&mut self, delivery: Option<Delivery>) {
        match delivery {
            Some(Ok(records)) => self.backlog.push_back(records),
            // Retention was shorter than the time without a replayer, and an operator accepts what that means.
            Some(Err(ReadError::OutOfRange { topic, wanted, low, .. }))
                if wanted < low && self.shared.settings.accept_loss =>
            {
                let partition = self.partition.0;
                tracing::error!(partition, %topic, "offsets {wanted} to {low} are lost, as --accept-loss allows");
                if Arc::ptr_eq(&self.topic_in_use, &self.shared.world.topics().updates) {
                    self.handle(Input::UpdatesCut(low));
                } else {
                    self.handle(Input::CommandsCut(low));
                    self.read(Arc::clone(&self.topic_in_use), low);
                }
            }
            Some(Err(e)) => {
                self.incoming = None;
                self.unread = Some(e);
            }
            None => {
                self.incoming = None;
                let (topic, partition) = (Arc::clone(&self.topic_in_use), self.partition);
                let reason = "the reader of this process has ended".into();
                self.unread.get_or_insert(ReadError::Broken { topic, partition, reason });
            }
        }
    }

    /// That the log begins later is an answer; any other error ends the ownership, as everywhere.
    fn take_history(&mut self, delivery: Option<Delivery>) {
        match delivery {
            Some(Ok(records)) => self.handle(Input::History(records)),
            Some(Err(ReadError::OutOfRange { low, wanted, .. })) if wanted < low => {
                self.history = None;
                self.handle(Input::HistoryCut(low));
            }
            Some(Err(e)) => self.unread = Some(e),
            None => self.history = None,
        }
    }

    fn take_internal(&mut self, back: Internal) {
        match back {
            Internal::Input(input) => {
                if let Input::DeadLettered(id) = &input {
                    self.dead_letters.remove(id);
                }
                self.handle(input);
            }
            Internal::DeadLetterFailed(id, reason) => {
                tracing::warn!(partition = self.partition.0, "a copy to dead-letter is made again: {reason}");
                let internal = self.internal.clone();
                tokio::spawn(async move {
                    tokio::time::sleep(DEAD_LETTER_PAUSE).await;
                    let _ = internal.send(Internal::DeadLetterAgain(id));
                });
            }
            Internal::DeadLetterAgain(id) => {
                if let Some(append) = self.dead_letters.get(&id).cloned() {
                    self.send_dead_letter(id, append);
                }
            }
        }
    }

    /// Gives the core what it wants, all at once, and pauses the reader where it wants nothing.
    fn feed_core(&mut self) {
        let is_recovering = Arc::ptr_eq(&self.topic_in_use, &self.shared.world.topics().updates);
        if is_recovering || (self.core.wants_commands() && self.unsent.is_empty()) {
            let mut records: Vec<_> = Vec::new();
            while let Some(more) = self.backlog.pop_front() {
                if records.is_empty() {
                    records = more;
                } else {
                    records.extend(more);
                }
            }
            if !records.is_empty() {
                if is_recovering {
                    self.beginning.read(records.len());
                }
                self.handle(if is_recovering { Input::Updates(records) } else { Input::Commands(records) });
            }
            if self.is_paused {
                self.is_paused = false;
                self.shared.feed.resume(&self.topic_in_use, self.partition);
            }
        } else if !self.backlog.is_empty() && !self.is_paused {
            self.is_paused = true;
            self.shared.feed.pause(&self.topic_in_use, self.partition);
        }
    }

    /// Carries out what the core wants. `Some`: it has ended.
    fn carry_out(&mut self) -> Option<Outcome> {
        let mut outcome = None;
        let mut appends: Vec<Append> = self.unsent.drain(..).collect();
        while let Some(output) = self.core.poll_output() {
            match output {
                Output::Append { n, key, value } => appends.push(Append {
                    topic: Arc::clone(&self.shared.world.topics().updates),
                    partition: self.partition,
                    key: key.into(),
                    value,
                    headers: Headers::new(),
                    token: n,
                }),
                Output::ReadUpdates(from) => self.read(Arc::clone(&self.shared.world.topics().updates), from),
                Output::ReadCommands(from) => self.read(Arc::clone(&self.shared.world.topics().commands), from),
                Output::ReadHistory(from) => {
                    let updates = Arc::clone(&self.shared.world.topics().updates);
                    self.history = Some(self.shared.feed.read(&updates, self.partition, from));
                }
                Output::EndHistory => self.history = None,
                Output::Load(chunk) => self.load(chunk),
                Output::LoadOlder(chunk, stored) => self.load_older(chunk, stored),
                Output::Repair { chunk, hash, encoding } => self.repair(chunk, hash, encoding),
                Output::PutSnapshot { chunk, hash, encoding } => self.put_snapshot(chunk, hash, encoding),
                Output::WriteCheckpoint { checkpoint, entries } => {
                    let (index, internal) = (Arc::clone(&self.index), self.internal.clone());
                    tokio::spawn(async move {
                        let written = index.write(&checkpoint, &entries).await.map_err(|e| e.to_string());
                        let _ = internal.send(Internal::Input(Input::CheckpointWritten(written)));
                    });
                }
                Output::DeadLetter { id, offset, value, reason } => self.dead_letter(id, offset, value, reason),
                Output::Drift(chunk, reason) => {
                    tracing::error!(%chunk, "the chunk had drifted, and is healed: {reason}");
                }
                Output::Lost(chunk, reason) => tracing::error!(%chunk, "{reason}"),
                Output::Stuck(chunk, reason) => {
                    tracing::warn!(%chunk, "its commands wait; trying again: {reason}");
                }
                Output::Ended(end) => {
                    if let End::ModelFault { chunk } = &end {
                        let mut careful = self.shared.careful.lock().unwrap_or_else(PoisonError::into_inner);
                        careful.insert(chunk.clone());
                    }
                    outcome = Some(Outcome::Core(end));
                }
            }
        }
        if !appends.is_empty() && outcome.is_none() {
            self.unsent = self.route.append(appends).into();
        }
        self.report();
        outcome
    }

    fn read(&mut self, topic: Arc<str>, from: Offset) {
        let is_commands = Arc::ptr_eq(&topic, &self.shared.world.topics().commands);
        let ahead = if is_commands { self.ahead.take() } else { None };
        // Dropping the old receiver ends what it read.
        self.incoming = Some(match ahead {
            Some((at, receiver)) if at == from => {
                self.shared.feed.resume(&topic, self.partition);
                receiver
            }
            _ => self.shared.feed.read(&topic, self.partition, from),
        });
        self.backlog.clear();
        self.topic_in_use = topic;
        self.is_paused = false;
    }

    fn load(&self, chunk: ChunkId) {
        let (index, internal, shared) = (Arc::clone(&self.index), self.internal.clone(), Arc::clone(&self.shared));
        let own_permits = Arc::clone(&self.load_permits);
        tokio::spawn(async move {
            // The semaphores are never closed.
            let _own = own_permits.acquire().await;
            let _permit = shared.store_permits.acquire().await;
            let loaded = load(&index, &shared.store, &chunk).await;
            let _ = internal.send(Internal::Input(Input::Loaded(chunk, loaded)));
        });
    }

    fn load_older(&self, chunk: ChunkId, stored: driftless_schemas::proto::Ref) {
        let (internal, shared) = (self.internal.clone(), Arc::clone(&self.shared));
        tokio::spawn(async move {
            let _permit = shared.store_permits.acquire().await;
            let loaded = shared.store.stored(&stored).await.map(|snapshot| snapshot.encoding).map_err(|e| {
                tracing::warn!(%chunk, "cannot load an older state: {e}");
                match e {
                    store::Error::Missing { .. } | store::Error::Damaged { .. } => OlderError::Lost,
                    _ => OlderError::Unavailable,
                }
            });
            let _ = internal.send(Internal::Input(Input::OlderLoaded(chunk, loaded)));
        });
    }

    fn repair(&self, chunk: ChunkId, hash: Hash, encoding: bytes::Bytes) {
        let shared = Arc::clone(&self.shared);
        tokio::spawn(async move {
            let _permit = shared.store_permits.acquire().await;
            match shared.store.put_snapshot(hash, &encoding).await {
                Ok(()) => tracing::info!(%chunk, %hash, "the snapshot is stored again"),
                Err(e) => tracing::warn!(%chunk, %hash, "the snapshot cannot be stored again: {e}"),
            }
        });
    }

    fn put_snapshot(&self, chunk: ChunkId, hash: Hash, encoding: bytes::Bytes) {
        let (internal, shared) = (self.internal.clone(), Arc::clone(&self.shared));
        tokio::spawn(async move {
            let _permit = shared.store_permits.acquire().await;
            let stored = shared.store.put_snapshot(hash, &encoding).await.map_err(|e| e.to_string());
            if let Err(reason) = &stored {
                tracing::warn!(%chunk, "cannot store a snapshot, trying again later: {reason}");
            }
            let _ = internal.send(Internal::Input(Input::SnapshotPut(chunk, hash, stored)));
        });
    }

    fn dead_letter(&mut self, id: u64, offset: Offset, value: bytes::Bytes, reason: String) {
        let topics = self.shared.world.topics();
        tracing::warn!(partition = self.partition.0, offset = offset.0, "dead letter: {reason}");
        let header = |name: &str, value: String| (name.to_owned(), bytes::Bytes::from(value));
        let append = Append {
            topic: Arc::clone(&topics.dead_letter),
            partition: Partition(0),
            key: bytes::Bytes::new(),
            value,
            headers: vec![
                header("reason", reason),
                header("topic", topics.commands.to_string()),
                header("partition", self.partition.to_string()),
                header("offset", offset.to_string()),
            ],
            token: 0,
        };
        self.dead_letters.insert(id, append.clone());
        self.send_dead_letter(id, append);
    }

    fn send_dead_letter(&self, id: u64, mut append: Append) {
        let letters = &self.shared.dead_letters;
        append.token = letters.next.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let token = append.token;
        let lock = || letters.waiting.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        lock().insert(token, (self.internal.clone(), id));
        if !letters.producer.append(vec![append]).is_empty() {
            lock().remove(&token);
            let _ = self.internal.send(Internal::DeadLetterFailed(id, "the producer's queue is full".into()));
        }
    }

    fn report(&mut self) {
        let now = self.core.stats();
        if now.records > 1 {
            // Of each ownership the first record is its fence.
            self.beginning.decided();
        }
        metrics::report(self.partition, &self.reported, &now);
        self.reported = now;
    }

    async fn finish(&mut self, outcome: &Outcome) {
        if let Outcome::Core(End::AppendFailed { .. }) = outcome
            && let Err(e) = self.shared.publisher.renew(&self.route)
        {
            tracing::error!("cannot make a new producer: {e}");
        }
        self.incoming = None;
        self.ahead = None;
        self.history = None;
        // Its background tasks would go on until the next owner fences them. What was written is durable: nobody waits.
        let index = Arc::clone(&self.index);
        tokio::spawn(async move { index.close().await });
        metrics::report(self.partition, &self.reported, &Stats::default().with_counters_of(&self.reported));
    }
}

async fn load(index: &Index, store: &Store, chunk: &ChunkId) -> Result<Option<Stored>, LoadError> {
    let entry = index.entry(chunk).await.map_err(|e| LoadError::Unavailable(e.to_string()))?;
    let Some(entry) = entry else { return Ok(None) };
    let Some(newest) = &entry.newest else { return Ok(Some(Stored { entry, encoding: bytes::Bytes::new() })) };
    match store.stored(newest).await {
        Ok(snapshot) => Ok(Some(Stored { entry, encoding: snapshot.encoding })),
        Err(e @ (store::Error::Missing { .. } | store::Error::Damaged { .. })) => {
            Err(LoadError::Lost { entry: Box::new(entry), reason: e.to_string() })
        }
        Err(e) => Err(LoadError::Unavailable(e.to_string())),
    }
}
