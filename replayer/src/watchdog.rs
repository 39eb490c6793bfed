//! The watchdog over models that never return. The thread of such a model cannot be stopped, so the
//! process ends, and the next owner discards the command without asking the model
//! (docs/decisions/0007).
//!
//! The watchdog's own thread looks at all ownerships of the process. If one step of an owner takes
//! longer than [`limits::MODEL_CALL_MS_MAX`](driftless_schemas::limits::MODEL_CALL_MS_MAX), the
//! watchdog notes the call in the object store and aborts the process. The note itself discards
//! nothing. The next owner reads it and appends the decision to the log. An owner that cannot read
//! the note calls the model again, and the watchdog notes the call again.

use driftless_replayer_core::{Call, Work, Working};
use driftless_schemas::Partition;
use driftless_schemas::storage::Unanswered;
use driftless_store::Store;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

const LOOK_EVERY: Duration = Duration::from_millis(100);
const NOTE_WITHIN: Duration = Duration::from_secs(5);
const NOTE_ATTEMPTS: usize = 4;

/// The reaction to a model that did not return, after the call was noted.
#[derive(Clone, Default)]
pub enum WhenStuck {
    /// The process is aborted: its supervisor starts it again, or another replayer takes its
    /// partitions.
    #[default]
    Abort,
    /// The function is called, once for each partition. The thread that runs the model is lost.
    Call(Arc<dyn Fn(Partition) + Send + Sync>),
}

impl fmt::Debug for WhenStuck {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Abort => "Abort",
            Self::Call(_) => "Call",
        })
    }
}

/// Watches the ownerships of a process. Its thread ends when the watchdog is dropped.
pub(crate) struct Watchdog {
    owners: Mutex<BTreeMap<Partition, Weak<Working>>>,
}

struct Rules {
    store: Store,
    generation: u32,
    /// A step that is unchanged in more looks than this is stuck.
    looks_max: u128,
    when_stuck: WhenStuck,
}

impl Watchdog {
    /// # Errors
    /// If no thread can be started.
    pub fn start(store: Store, generation: u32, call_ms_max: u64, when_stuck: WhenStuck) -> std::io::Result<Arc<Self>> {
        let looks_max = u128::from(call_ms_max) / LOOK_EVERY.as_millis() + 1;
        let rules = Rules { store, generation, looks_max, when_stuck };
        let watchdog = Arc::new(Self { owners: Mutex::default() });
        let weak = Arc::downgrade(&watchdog);
        std::thread::Builder::new().name("watchdog".into()).spawn(move || watch(&weak, &rules))?;
        Ok(watchdog)
    }

    /// From now on, the watchdog watches this owner of the partition, in the place of any earlier
    /// one.
    pub fn look_after(&self, partition: Partition, owner: &Arc<Working>) {
        let mut owners = self.owners.lock().unwrap_or_else(PoisonError::into_inner);
        owners.insert(partition, Arc::downgrade(owner));
    }

    fn owners(&self) -> Vec<(Partition, Arc<Working>)> {
        let owners = self.owners.lock().unwrap_or_else(PoisonError::into_inner);
        owners.iter().filter_map(|(partition, owner)| Some((*partition, owner.upgrade()?))).collect()
    }
}

/// The watchdog's thread. It counts looks and not time, so that no call counts as late after the
/// process was suspended and resumed.
fn watch(watchdog: &Weak<Watchdog>, rules: &Rules) {
    let mut seen: BTreeMap<Partition, (u64, u128)> = BTreeMap::new();
    let mut reported = BTreeSet::new();
    loop {
        std::thread::sleep(LOOK_EVERY);
        let Some(watchdog) = watchdog.upgrade() else { return };
        for (partition, owner) in watchdog.owners() {
            let Some((step, work)) = owner.look() else {
                seen.remove(&partition);
                continue;
            };
            let (seen_step, looks) = seen.entry(partition).or_default();
            if *seen_step != step {
                (*seen_step, *looks) = (step, 0);
            }
            *looks += 1;
            if *looks > rules.looks_max && reported.insert((partition, step)) {
                stuck(rules, partition, work);
            }
        }
    }
}

fn stuck(rules: &Rules, partition: Partition, work: Option<Work>) {
    let seconds = rules.looks_max * LOOK_EVERY.as_millis() / 1000;
    let Some(Work { chunk, call }) = work else {
        tracing::error!(partition = partition.0, "one step of the owner takes longer than {seconds} s already");
        return;
    };
    let unanswered = match call {
        Call::Decide(offset) => {
            tracing::error!(
                partition = partition.0, offset = offset.0, %chunk,
                "the model has not returned from this command for {seconds} s: the command is noted, and discarded after a restart"
            );
            Unanswered::Command(offset)
        }
        Call::Encode => {
            tracing::error!(
                partition = partition.0, %chunk,
                "the model has not returned from encoding this chunk for {seconds} s: after a restart, its commands are tried one by one"
            );
            Unanswered::Chunk(chunk)
        }
        Call::Restore => {
            // No command is to blame, and a restart would call the model in the same way.
            tracing::error!(
                partition = partition.0, %chunk,
                "the model has not returned from restoring this chunk for {seconds} s: its partition stands still; mend the model"
            );
            return;
        }
    };
    if let Err(e) = note(rules, partition, &unanswered) {
        tracing::error!(partition = partition.0, "the call cannot be noted, so the next owner finds out anew: {e}");
    }
    match &rules.when_stuck {
        WhenStuck::Abort => std::process::abort(),
        WhenStuck::Call(call) => call(partition),
    }
}

/// Notes the call in the store. The request runs in its own runtime, because the model may block a
/// thread that the process's runtime needs. For the same reason, a request over a connection of the
/// process's runtime can hang. The request is then made again, over another connection.
fn note(rules: &Rules, partition: Partition, unanswered: &Unanswered) -> Result<(), String> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(|e| e.to_string())?;
    let mut problem = String::new();
    for _ in 0..NOTE_ATTEMPTS {
        let put = rules.store.put_unanswered(rules.generation, partition, unanswered);
        match runtime.block_on(async { tokio::time::timeout(NOTE_WITHIN, put).await }) {
            Ok(Ok(())) => return Ok(()),
            Ok(Err(e)) => problem = e.to_string(),
            Err(_) => problem = format!("no answer within {} s", NOTE_WITHIN.as_secs()),
        }
    }
    Err(problem)
}
