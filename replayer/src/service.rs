//! The replayer as a service: joins the group, owns what it is given, ends in order.

use crate::feed::Feed;
use crate::metrics;
use crate::ownership::{DeadLetters, Internal, Order, Outcome, STORE_CONCURRENCY, Shared, WaitingLetters, own};
use crate::publisher::Publisher;
use crate::watchdog::{Watchdog, WhenStuck};
use driftless_chunk::world::World;
use driftless_log::{self as log, Ack, Delivery, Log, MembershipEvent};
use driftless_replayer_core::{End, Input, Settings as CoreSettings};
use driftless_runtime::shutdown::Shutdown;
use driftless_schemas::{Partition, limits};
use driftless_store::Store;
use driftless_store::index::Indexes;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::{Semaphore, oneshot, watch};
use tokio::task::JoinSet;

/// The replayer's settings.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// This process's name in the group, the same after a restart (static membership).
    pub member: String,
    /// When snapshots and checkpoints are made.
    pub core: CoreSettings,
    /// How long an orderly end may take before the ownerships are dropped, milliseconds.
    pub drain_timeout_ms: u64,
    /// A model that has not come back from one call after this never will, milliseconds.
    pub model_call_ms_max: u64,
    /// What is done then.
    #[serde(skip)]
    pub when_stuck: WhenStuck,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            member: "replayer-0".into(),
            core: CoreSettings::default(),
            drain_timeout_ms: 20_000,
            model_call_ms_max: limits::MODEL_CALL_MS_MAX,
            when_stuck: WhenStuck::default(),
        }
    }
}

/// What ends a replayer.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Topics or connections.
    #[error(transparent)]
    Log(#[from] log::Error),
    /// The world's topics are not there.
    #[error("topic {topic} does not exist: run `driftless init` for this world first")]
    NoTopic {
        /// Which.
        topic: String,
    },
    /// The log no longer holds what recovery needs.
    #[error(
        "partition {partition} cannot be recovered: {source}. Retention was shorter than the time without a replayer, or the index in this store belongs to another log or generation. Restore the log; name the store that belongs to it; give the world a new generation; or, if what stood there may be lost, start this replayer once with --accept-loss"
    )]
    Retention {
        /// Which partition.
        partition: Partition,
        /// Offsets.
        source: log::ReadError,
    },
    /// A thread cannot be made.
    #[error("cannot start a thread: {0}")]
    Thread(#[from] std::io::Error),
    /// A record of `updates` cannot be read.
    #[error("partition {partition}: {end}")]
    Unreadable {
        /// Which partition.
        partition: Partition,
        /// Offset and reason.
        end: End,
    },
    /// The membership ended by itself.
    #[error(
        "the group membership ended {REJOINS_MAX} times within a minute: another process uses the member name {member:?} (give each replayer its own with --member), or this one was held up for longer than the session time-out, again and again"
    )]
    Membership {
        /// This process's name.
        member: String,
    },
}

/// A running replayer.
pub struct Replayer {
    running: watch::Receiver<BTreeMap<Partition, bool>>,
    task: tokio::task::JoinHandle<Result<(), Error>>,
    #[cfg(debug_assertions)]
    shared: Arc<Shared>,
}

impl Replayer {
    /// Checks the topics and starts.
    ///
    /// # Errors
    /// [`Error::NoTopic`], [`Error::Log`], [`Error::Thread`].
    pub async fn start(
        settings: Settings,
        world: Arc<World>,
        log: Arc<dyn Log>,
        store: Store,
        shutdown: Shutdown,
    ) -> Result<Self, Error> {
        metrics::describe();
        let topics = world.topics().clone();
        let wanted = world.spec().partitions;
        for (topic, wanted) in [(&topics.commands, wanted), (&topics.updates, wanted), (&topics.dead_letter, 1)] {
            match log.partitions(topic).await? {
                None => return Err(Error::NoTopic { topic: topic.to_string() }),
                Some(found) if found != wanted => {
                    return Err(log::Error::PartitionCount { topic: topic.to_string(), found, wanted }.into());
                }
                Some(_) => {}
            }
        }
        let group = format!("{}.{}.replayer", world.spec().name, world.spec().generation);
        let seat = Seat { log: Arc::clone(&log), group, topic: Arc::clone(&topics.commands), rejoins: VecDeque::new() };
        let membership = log.join(&seat.group, &seat.topic, &settings.member)?;
        let generation = world.spec().generation;
        let shared = Arc::new(Shared {
            indexes: Indexes::new(store.object_store(), generation),
            watchdog: Watchdog::start(store.clone(), generation, settings.model_call_ms_max, settings.when_stuck)?,
            feed: Feed::start(&*log)?,
            publisher: Publisher::start(Arc::clone(&log))?,
            dead_letters: dead_letters(&*log)?,
            store_permits: Arc::new(Semaphore::new(STORE_CONCURRENCY)),
            settings: settings.core.clone(),
            member: settings.member.clone(),
            started: Instant::now(),
            careful: Mutex::default(),
            #[cfg(debug_assertions)]
            damage: Mutex::default(),
            world,
            store,
        });
        #[cfg(debug_assertions)]
        let shared_too = Arc::clone(&shared);
        let (running_to, running) = watch::channel(BTreeMap::new());
        let manager = Manager {
            shared,
            running: running_to,
            owned: HashMap::new(),
            tasks: JoinSet::new(),
            drain_timeout: Duration::from_millis(settings.drain_timeout_ms),
            seat,
        };
        let task = tokio::spawn(manager.run(membership, shutdown));
        Ok(Self {
            running,
            task,
            #[cfg(debug_assertions)]
            shared: shared_too,
        })
    }

    /// Waits until this process owns `count` partitions and has recovered all of them.
    pub async fn ready(&self, count: usize) -> bool {
        let mut running = self.running.clone();
        running.wait_for(|owned| owned.len() >= count && owned.values().all(|is| *is)).await.is_ok()
    }

    /// Says whether all that this process owns is recovered, or what it waits for.
    pub fn ownership(&self) -> impl Fn() -> Result<(), String> + Clone + Send + Sync + 'static {
        let running = self.running.clone();
        move || {
            let owned = running.borrow();
            match owned.values().filter(|is| !**is).count() {
                0 => Ok(()),
                n => Err(format!("{n} of {} partitions are being recovered", owned.len())),
            }
        }
    }

    /// Flips a bit in the memory of a chunk, if this process owns it: to show that drift is healed. Debug builds only.
    #[cfg(debug_assertions)]
    pub fn damage(&self) -> impl Fn(driftless_schemas::ChunkId) + Clone + Send + Sync + use<> {
        let shared = Arc::clone(&self.shared);
        move |chunk| {
            let ownerships = shared.damage.lock().unwrap_or_else(PoisonError::into_inner);
            for ownership in ownerships.iter() {
                // One that is over hears nothing; one of another partition has no such chunk.
                let _ = ownership.send(Internal::Input(Input::Damage(chunk.clone())));
            }
        }
    }

    /// Waits for its end.
    ///
    /// # Errors
    /// Why it ended by itself.
    pub async fn join(self) -> Result<(), Error> {
        match self.task.await {
            Ok(result) => result,
            Err(panic) => std::panic::resume_unwind(panic.into_panic()),
        }
    }
}

fn dead_letters(log: &dyn Log) -> Result<DeadLetters, log::Error> {
    let waiting = WaitingLetters::default();
    let sink = {
        let waiting = Arc::clone(&waiting);
        Arc::new(move |acks: Vec<Ack>| {
            let mut waiting = waiting.lock().unwrap_or_else(PoisonError::into_inner);
            for ack in acks {
                let Some((to, id)) = waiting.remove(&ack.token) else { continue };
                let back = match ack.result {
                    Ok(_) => Internal::Input(Input::DeadLettered(id)),
                    // Refused for good: the copy cannot be made, and the partition must go on.
                    Err(log::AppendError::Refused(reason)) => {
                        tracing::error!("a dead letter is not copied, it stays in commands only: {reason}");
                        Internal::Input(Input::DeadLettered(id))
                    }
                    Err(log::AppendError::Unknown(reason)) => Internal::DeadLetterFailed(id, reason),
                };
                let _ = to.send(back);
            }
        })
    };
    let producer = log.producer(Delivery::Bounded(Duration::from_secs(30)), sink)?;
    Ok(DeadLetters { producer, waiting, next: std::sync::atomic::AtomicU64::new(0) })
}

/// A replaced owner waits as if it had failed this often: 8 s, longer than a member's session time-out.
const FAILURES_OF_THE_REPLACED: u32 = 5;

/// How long leaving the group may take.
const LEAVE_WITHIN: Duration = Duration::from_secs(6);

struct Manager {
    shared: Arc<Shared>,
    running: watch::Sender<BTreeMap<Partition, bool>>,
    /// What the group has given to this process.
    owned: HashMap<Partition, Owned>,
    tasks: JoinSet<(Partition, Outcome)>,
    drain_timeout: Duration,
    seat: Seat,
}

/// A fenced member joins again so often within [`REJOINS_WITHIN`].
const REJOINS_MAX: usize = 4;
const REJOINS_WITHIN: Duration = Duration::from_secs(60);

/// What is needed to join the group again.
struct Seat {
    log: Arc<dyn Log>,
    group: String,
    topic: Arc<str>,
    rejoins: VecDeque<Instant>,
}

struct Owned {
    orders: watch::Sender<Order>,
    task: tokio::task::Id,
    /// Told when the ownership is over and nobody is to take it up again.
    ended: Vec<oneshot::Sender<()>>,
    failures: u32,
    /// It was given back to this process while it was still ending.
    is_wanted_again: bool,
}

impl Manager {
    async fn run(mut self, mut membership: log::Membership, shutdown: Shutdown) -> Result<(), Error> {
        let result = loop {
            tokio::select! {
                () = shutdown.wait() => break Ok(()),
                event = membership.events.recv() => match event {
                    Some(event) => self.take(event),
                    None => match self.rejoin().await {
                        Ok(again) => membership = again,
                        Err(e) => break Err(e),
                    }
                },
                Some(joined) = self.tasks.join_next() => {
                    if let Some((partition, outcome)) = self.ended(joined)
                        && let Err(e) = self.take_end(partition, outcome)
                    {
                        break Err(e);
                    }
                }
            }
        };
        if let Err(e) = &result {
            tracing::error!("the replayer ends for good: {e}");
        }
        self.order_all(Order::Drain);
        let drained = tokio::time::timeout(self.drain_timeout, async {
            while let Some(ended) = self.tasks.join_next().await {
                if let Some((partition, outcome)) = self.ended(ended) {
                    tracing::info!(partition = partition.0, "ended: {}", describe(&outcome));
                }
            }
        });
        if drained.await.is_err() {
            tracing::warn!("the partitions did not end in time; the next owner recovers them from the log");
            self.tasks.abort_all();
        }
        // Only now may another member take the partitions.
        membership.leave(LEAVE_WITHIN).await;
        result
    }

    /// The group has fenced this member. It need not be another process: a request of its own that was held up on the way
    /// for longer than the session time-out does the same. Two that really share a name fence each other in turn, until
    /// one has had enough.
    async fn rejoin(&mut self) -> Result<log::Membership, Error> {
        let owned: Vec<Partition> = self.owned.keys().copied().collect();
        self.take(MembershipEvent::Lost(owned));
        let now = Instant::now();
        self.seat.rejoins.retain(|at| now.duration_since(*at) < REJOINS_WITHIN);
        let count = self.seat.rejoins.len();
        if count >= REJOINS_MAX {
            return Err(Error::Membership { member: self.shared.member.clone() });
        }
        tracing::warn!(member = self.shared.member, "the group has fenced this member; joining again");
        tokio::time::sleep(Duration::from_millis(250 << count)).await;
        self.seat.rejoins.push_back(now);
        Ok(self.seat.log.join(&self.seat.group, &self.seat.topic, &self.shared.member)?)
    }

    fn take(&mut self, event: MembershipEvent) {
        match event {
            MembershipEvent::Assigned(partitions) => {
                for partition in partitions {
                    match self.owned.get_mut(&partition) {
                        Some(ending) => ending.is_wanted_again = true,
                        None => self.begin(partition, 0),
                    }
                }
            }
            MembershipEvent::Revoked { partitions, done } => {
                let waits: Vec<_> = partitions.iter().filter_map(|p| self.end(*p, Order::Drain)).collect();
                tokio::spawn(async move {
                    for wait in waits {
                        let _ = wait.await;
                    }
                    let _ = done.send(());
                });
            }
            MembershipEvent::Lost(partitions) => {
                for partition in partitions {
                    tracing::warn!(partition = partition.0, "lost: another process may own it");
                    let _ = self.end(partition, Order::Stop);
                }
            }
        }
    }

    fn begin(&mut self, partition: Partition, failures: u32) {
        let (orders, ordered) = watch::channel(Order::GoOn);
        let (is_running, mut running) = watch::channel(false);
        self.running.send_modify(|all| {
            all.insert(partition, false);
        });
        let all = self.running.clone();
        tokio::spawn(async move {
            if running.wait_for(|is| *is).await.is_ok() {
                all.send_modify(|all| {
                    all.entry(partition).and_modify(|is| *is = true);
                });
            }
        });
        let shared = Arc::clone(&self.shared);
        let task = self.tasks.spawn(async move {
            if failures > 0 {
                // A growing pause: the store or the log may need time, or a newer owner is right.
                let pause = Duration::from_millis(250 << failures.min(6));
                let mut ordered = ordered.clone();
                let told = tokio::time::timeout(pause, ordered.wait_for(|order| *order != Order::GoOn)).await;
                if told.is_ok() {
                    return (partition, Outcome::Stopped);
                }
            }
            (partition, own(shared, partition, ordered, is_running).await)
        });
        let owned = Owned { orders, task: task.id(), ended: Vec::new(), failures, is_wanted_again: false };
        self.owned.insert(partition, owned);
    }

    /// Whose task it was, and how it ended. A panic ends one ownership, never silently.
    fn ended(&self, joined: Result<(Partition, Outcome), tokio::task::JoinError>) -> Option<(Partition, Outcome)> {
        match joined {
            Ok(ended) => Some(ended),
            Err(e) => {
                let (partition, _) = self.owned.iter().find(|(_, owned)| owned.task == e.id())?;
                Some((*partition, Outcome::Panicked(e.to_string())))
            }
        }
    }

    /// Ends an ownership; the receiver hears when it is over.
    fn end(&mut self, partition: Partition, order: Order) -> Option<oneshot::Receiver<()>> {
        let owned = self.owned.get_mut(&partition)?;
        let (ended, wait) = oneshot::channel();
        owned.ended.push(ended);
        owned.orders.send_replace(order);
        owned.is_wanted_again = false;
        Some(wait)
    }

    fn order_all(&self, order: Order) {
        for owned in self.owned.values() {
            owned.orders.send_replace(order);
        }
    }

    fn take_end(&mut self, partition: Partition, outcome: Outcome) -> Result<(), Error> {
        let Some(owned) = self.owned.remove(&partition) else { return Ok(()) };
        let was_running = self.running.borrow().get(&partition).copied().unwrap_or(false);
        self.running.send_modify(|all| {
            all.remove(&partition);
        });
        if *owned.orders.borrow() != Order::GoOn {
            tracing::info!(partition = partition.0, "ended: {}", describe(&outcome));
            for ended in owned.ended {
                let _ = ended.send(());
            }
            if owned.is_wanted_again {
                self.begin(partition, 0);
            }
            return Ok(());
        }
        let why = describe(&outcome);
        let taken_up = || tracing::warn!(partition = partition.0, "the ownership ended: {why}; taking it up again");
        match outcome {
            Outcome::Read(source @ log::ReadError::OutOfRange { .. }) => Err(Error::Retention { partition, source }),
            Outcome::Core(end @ End::Unreadable { .. }) => Err(Error::Unreadable { partition, end }),
            // Somebody else has claimed it: two that claim in turn would fence each other again and again. The group will
            // say whose it is.
            Outcome::Core(End::Replaced { .. } | End::Index { .. }) => {
                taken_up();
                self.begin(partition, FAILURES_OF_THE_REPLACED.max(owned.failures + 1));
                Ok(())
            }
            _ => {
                taken_up();
                self.begin(partition, if was_running { 1 } else { owned.failures + 1 });
                Ok(())
            }
        }
    }
}

fn describe(outcome: &Outcome) -> String {
    match outcome {
        Outcome::Core(end) => end.to_string(),
        Outcome::Stopped => "stopped".into(),
        Outcome::Index(e) => e.to_string(),
        Outcome::Read(e) => e.to_string(),
        Outcome::Panicked(e) => e.clone(),
    }
}
