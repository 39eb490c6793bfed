//! The replayer as a service: checks the topics, starts the replayer, and reports when it is ready.

use crate::assignments::{Assignments, GroupMember};
use crate::context::{Context, STORE_CONCURRENCY};
use crate::dead_letters::DeadLetters;
use crate::error::Error;
use crate::feed::Feed;
use crate::metrics;
use crate::publisher::Publisher;
use crate::settings::Settings;
use crate::watchdog::Watchdog;
use driftless_chunk::world::World;
use driftless_log::{self as log, Log};
use driftless_runtime::clock::Clock;
use driftless_runtime::shutdown::Shutdown;
use driftless_schemas::Partition;
use driftless_store::Store;
use driftless_store::index::Indexes;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::sync::{Semaphore, watch};

/// A running replayer.
pub struct Replayer {
    running: watch::Receiver<BTreeMap<Partition, bool>>,
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
        check_topics(&world, &*log).await?;
        let drain_timeout = Duration::from_millis(settings.drain_timeout_ms);
        let group = format!("{}.{}.replayer", world.spec().name, world.spec().generation);
        let topic = Arc::clone(&world.topics().commands);
        let member = GroupMember::new(Arc::clone(&log), group, topic, settings.member.clone());
        let membership = member.join()?;
        let context = Arc::new(context(settings, world, &log, store)?);
        let (running_to, running) = watch::channel(BTreeMap::new());
        let assignments = Assignments::new(Arc::clone(&context), running_to, drain_timeout, member);
        let task = tokio::spawn(assignments.run(membership, shutdown));
        Ok(Self {
            running,
            task,
            #[cfg(debug_assertions)]
            context,
        })
    }

    /// Waits until this process owns at least `count` partitions and has recovered all of them.
    /// Returns false if the replayer ends first.
    pub async fn ready(&self, count: usize) -> bool {
        let mut running = self.running.clone();
        running.wait_for(|owned| owned.len() >= count && owned.values().all(|is| *is)).await.is_ok()
    }

    /// Returns a readiness check. The check succeeds if all partitions that this process owns are
    /// recovered. Otherwise its error says how many are not.
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

async fn check_topics(world: &World, log: &dyn Log) -> Result<(), Error> {
    let topics = world.topics();
    let wanted = world.spec().partitions;
    for (topic, wanted) in [(&topics.commands, wanted), (&topics.updates, wanted), (&topics.dead_letter, 1)] {
        log::check_topic(log, topic, wanted).await?;
    }
    Ok(())
}

fn context(settings: Settings, world: Arc<World>, log: &Arc<dyn Log>, store: Store) -> Result<Context, Error> {
    let generation = world.spec().generation;
    Ok(Context {
        indexes: Indexes::new(store.object_store(), generation),
        watchdog: Watchdog::start(store.clone(), generation, settings.model_call_ms_max, settings.when_stuck)?,
        feed: Feed::start(&**log)?,
        publisher: Publisher::start(Arc::clone(log))?,
        dead_letters: DeadLetters::start(&**log)?,
        store_permits: Semaphore::new(STORE_CONCURRENCY),
        settings: settings.core,
        member: settings.member,
        clock: Clock::default(),
        careful: Mutex::default(),
        claim_above: Mutex::default(),
        #[cfg(debug_assertions)]
        damage: Mutex::default(),
        world,
        store,
    })
}
