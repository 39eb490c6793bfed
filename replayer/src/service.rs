//! The replayer as a service: checks the topics, starts the replayer, and reports when it is ready.

use crate::assignments::{Assignments, GroupMember};
use crate::context::{ChunksMemory, Context, Highest, STORE_CONCURRENCY};
use crate::dead_letters::DeadLetters;
use crate::error::Error;
use crate::feed::Feed;
use crate::metrics;
use crate::publisher::Publisher;
use crate::settings::Settings;
use crate::standing::Standings;
use crate::watchdog::Watchdog;
use driftless_chunk::world::World;
use driftless_log::{self as log, Log};
use driftless_runtime::clock::Clock;
use driftless_runtime::memory;
use driftless_runtime::shutdown::Shutdown;
use driftless_runtime_core::memory::Division;
use driftless_store::Store;
use driftless_store::index::Indexes;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::sync::{Semaphore, watch};

/// A running replayer.
pub struct Replayer {
    standings: watch::Receiver<Standings>,
    task: tokio::task::JoinHandle<Result<(), Error>>,
    #[cfg(debug_assertions)]
    context: Arc<Context>,
}

impl Replayer {
    /// Checks the topics, joins the group, and starts to own the partitions that the group assigns.
    /// The replayer ends when `shutdown` begins.
    ///
    /// # Errors
    /// [`Error::Log`] if a topic is missing or wrong or the log cannot be reached,
    /// [`Error::Thread`] if the watchdog cannot start.
    pub async fn start(
        settings: Settings,
        world: Arc<World>,
        log: Arc<dyn Log>,
        store: Store,
        shutdown: Shutdown,
    ) -> Result<Self, Error> {
        metrics::describe();
        let memory = settings.memory()?;
        memory::announce("replayer", &memory);
        let generation = world.spec().generation;
        let (checked, indexes) = tokio::join!(check_topics(&world, &*log), Indexes::at_store_time(&store, generation));
        checked?;
        let drain_timeout = Duration::from_millis(settings.drain_timeout_ms);
        let group = format!("{}.{generation}.replayer", world.spec().name);
        let topic = Arc::clone(&world.topics().commands);
        let member = GroupMember::new(Arc::clone(&log), group, topic, settings.member.clone());
        let indexes = indexes.with_memory(memory.of(memory::INDEX_NAME));
        metrics::clock_skew(indexes.clock_skew_ms());
        let membership = member.join()?;
        let context = Arc::new(context(settings, &memory, world, &log, store, indexes)?);
        let (changes, standings) = watch::channel(Standings::default());
        let assignments = Assignments::new(Arc::clone(&context), changes, drain_timeout, member);
        let task = tokio::spawn(assignments.run(membership, shutdown));
        Ok(Self {
            standings,
            task,
            #[cfg(debug_assertions)]
            context,
        })
    }

    /// Waits until this process owns at least `count` partitions and decides for all of them.
    ///
    /// # Errors
    /// Why that will not happen by itself: the replayer has ended, or a partition waits for an
    /// operator. The text says what to do.
    pub async fn ready(&self, count: usize) -> Result<(), String> {
        let mut standings = self.standings.clone();
        let is_settled = |all: &Standings| all.are_all_deciding(count) || all.needs_operator().is_some();
        match standings.wait_for(is_settled).await {
            Ok(all) => all.needs_operator().map_or(Ok(()), |reason| Err(reason.to_owned())),
            Err(_) => Err("it has ended".to_owned()),
        }
    }

    /// Returns a readiness check. The check succeeds if this process decides for all partitions
    /// that it owns. Otherwise its error names the partitions for which it does not, and the
    /// reasons.
    pub fn readiness(&self) -> impl Fn() -> Result<(), String> + Clone + Send + Sync + 'static {
        let standings = self.standings.clone();
        move || standings.borrow().readiness()
    }

    /// Returns a function that flips a bit in the memory of a chunk, if this process owns the
    /// chunk. Tests use it to show that drift is healed. Debug builds only.
    #[cfg(debug_assertions)]
    pub fn damage(&self) -> impl Fn(driftless_schemas::ChunkId) + Clone + Send + Sync + use<> {
        use crate::report::Report;
        use driftless_replayer_core::Input;
        let context = Arc::clone(&self.context);
        move |chunk| {
            let ownerships = context.damage.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
            for ownership in ownerships.iter() {
                // The order has no effect on an ownership that is over, or on the owner of another
                // partition, which has no such chunk.
                let _ = ownership.send(Report::Input(Input::Damage(chunk.clone())));
            }
        }
    }

    /// Waits for the replayer's end.
    ///
    /// # Errors
    /// The error that ended the replayer before its shutdown.
    pub async fn join(self) -> Result<(), Error> {
        match self.task.await {
            Ok(result) => result,
            Err(panic) => std::panic::resume_unwind(panic.into_panic()),
        }
    }
}

pub(crate) async fn check_topics(world: &World, log: &dyn Log) -> Result<(), Error> {
    let topics = world.topics();
    let wanted = world.spec().partitions;
    for (topic, wanted) in [(&topics.commands, wanted), (&topics.updates, wanted), (&topics.dead_letter, 1)] {
        log::check_topic(log, topic, wanted).await?;
    }
    Ok(())
}

pub(crate) fn context(
    settings: Settings,
    memory: &Division,
    world: Arc<World>,
    log: &Arc<dyn Log>,
    store: Store,
    indexes: Indexes,
) -> Result<Context, Error> {
    let generation = world.spec().generation;
    Ok(Context {
        indexes,
        watchdog: Watchdog::start(store.clone(), generation, settings.model_call_ms_max, settings.when_stuck)?,
        feed: Feed::start(&**log)?,
        publisher: Publisher::start(Arc::clone(log))?,
        dead_letters: DeadLetters::start(&**log)?,
        store_permits: Semaphore::new(STORE_CONCURRENCY),
        chunks: ChunksMemory::new(memory.of("chunks"), settings.core.chunks_bytes_max),
        settings: settings.core,
        member: settings.member,
        clock: Clock::default(),
        careful: Mutex::default(),
        claim_above: Highest::default(),
        begin_above: Highest::default(),
        known_end: Highest::default(),
        lost: Mutex::default(),
        to_mend: Mutex::default(),
        #[cfg(debug_assertions)]
        damage: Mutex::default(),
        log: Arc::clone(log),
        world,
        store,
    })
}
