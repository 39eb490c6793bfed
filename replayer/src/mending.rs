//! Mends partitions that no owner can take up, on an operator's order: `driftless recover` and
//! `driftless index rebuild`.
//!
//! Both claim and fence as an owner does, so they are safe beside an owner that runs: that owner
//! ends, and takes the partition up again afterwards (R4).

mod comparison;
mod examination;
mod rebuilding;

pub use comparison::Compared;
pub use examination::{ChunkLoss, Finding, State};
pub use rebuilding::Rebuilt;

use crate::context::Context;
use crate::error::Error;
use crate::ownership::{self, Order, Outcome, Purpose};
use crate::service;
use crate::settings::Settings;
use driftless_chunk::world::World;
use driftless_log::Log;
use driftless_replayer_core::End;
use driftless_schemas::stored::Checkpoint;
use driftless_schemas::{ChunkId, Partition};
use driftless_store::Store;
use driftless_store::index::{self, Index, Indexes};
use std::sync::{Arc, PoisonError};
use std::time::Duration;
use tokio::sync::watch;

/// How often an ownership that mends is tried.
const TRIES: u32 = 6;
/// The pause before the next try.
const PAUSE: Duration = Duration::from_millis(500);

/// Access to the partitions of a world, for an operator's order.
pub struct Mending {
    context: Arc<Context>,
}

/// The result of mending a partition.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Mended {
    /// The history that the partition has now, as 32 hex digits; empty for the first one.
    pub history: String,
    /// True if that history is new.
    pub is_new_history: bool,
    /// The chunks that have lost commits, each with a text that says how many.
    pub lost: Vec<(ChunkId, String)>,
    /// The offset of `commands` from which the next owner decides.
    pub commands_from: i64,
}

impl Mending {
    /// Checks the topics and opens the partitions of a world. Changes nothing.
    ///
    /// # Errors
    /// [`Error::Log`] if a topic is missing or wrong or the log cannot be reached.
    pub async fn open(settings: Settings, world: Arc<World>, log: Arc<dyn Log>, store: Store) -> Result<Self, Error> {
        service::check_topics(&world, &*log).await?;
        let indexes = Indexes::at_store_time(&store, world.spec().generation).await;
        let memory = settings.memory()?;
        Ok(Self { context: Arc::new(service::context(settings, &memory, world, &log, store, indexes)?) })
    }

    /// True if the chunk belongs to the partition.
    #[must_use]
    pub fn is_in(&self, chunk: &ChunkId, partition: Partition) -> bool {
        self.context.world.place(chunk).is_ok_and(|place| place.partition == partition)
    }

    /// Looks at a partition, and changes nothing.
    ///
    /// # Errors
    /// Why the log does not answer.
    pub async fn examine(&self, partition: Partition) -> Result<Finding, String> {
        examination::examine(&self.context, partition).await
    }

    /// Accepts what [`Self::examine`] has found lost, so that the next owner can take the partition
    /// up. Also loads these chunks of the partition: one whose object is lost for good goes on with
    /// an older content. If `begins_history` is true, a new history begins even if nothing was
    /// found lost: the log may have lost an end that the index did not know.
    ///
    /// # Errors
    /// What keeps the partition from being mended, and what to do.
    pub async fn mend(&self, found: &Finding, chunks: &[ChunkId], begins_history: bool) -> Result<Mended, String> {
        let partition = found.partition;
        self.context.to_mend.lock().unwrap_or_else(PoisonError::into_inner).extend(chunks.iter().cloned());
        if let Some(problem) = &found.index {
            return Err(format!("{problem}. First make the index again: `driftless index rebuild`"));
        }
        let before = self.history(partition).await?;
        let is_lost = found.updates != State::Whole || begins_history;
        if is_lost || !self.context.to_mend(partition).is_empty() {
            self.own(partition, Purpose::Mend { is_ordered: begins_history }).await?;
        }
        if found.commands != State::Whole {
            self.move_commands(found).await?;
        }
        let after = self.checkpoint(partition).await?;
        let mut lost = self.context.lost.lock().unwrap_or_else(PoisonError::into_inner);
        let of_partition = lost.extract_if(.., |(of, _), _| *of == partition);
        Ok(Mended {
            history: after.history.text(),
            is_new_history: after.history.text() != before,
            lost: of_partition.map(|((_, chunk), reason)| (chunk, reason)).collect(),
            commands_from: after.commands_next.0,
        })
    }

    /// Makes a partition's index anew from `updates` and the snapshots. `progress` gets the number
    /// of snapshots that are checked, and of all.
    ///
    /// # Errors
    /// The problem, and what to do. If `updates` or a snapshot cannot be read, the old index is
    /// kept. After a later error there is no index, and the rebuilding can be repeated.
    pub async fn rebuild_index(
        &self,
        partition: Partition,
        progress: impl Fn(usize, usize),
    ) -> Result<Rebuilt, String> {
        rebuilding::rebuild(&self.context, partition, progress).await
    }

    /// Compares the newest ref of each chunk with `updates`. Changes nothing.
    ///
    /// # Errors
    /// Why the index or `updates` cannot be read.
    pub async fn compare_index(&self, partition: Partition) -> Result<Compared, String> {
        comparison::compare(&self.context, partition).await
    }

    /// Takes up `commands` at its present beginning. If it is another topic, the index forgets the
    /// offsets of the old one first, and a new history then shows every reader that they have
    /// changed.
    async fn move_commands(&self, found: &Finding) -> Result<(), String> {
        let partition = found.partition;
        let is_another = matches!(found.commands, State::Another { .. });
        if is_another && found.updates == State::Whole {
            // Decisions that no ref contains are stored, because their marks name offsets of the
            // old topic.
            self.own(partition, Purpose::Mend { is_ordered: false }).await?;
        }
        let mut tries = 0;
        loop {
            tries += 1;
            let (index, checkpoint) = self.context.indexes.claim(partition).await.map_err(|e| e.to_string())?;
            let moved = self.move_offsets(&index, &checkpoint, partition, is_another).await;
            index.close().await;
            match moved {
                Err(_) if tries < TRIES => tokio::time::sleep(PAUSE).await,
                moved => break moved?,
            }
        }
        // The next fence names the history that the checkpoint names already. The next
        // owner of the partition appends it, even if this process crashes now.
        if is_another { self.own(partition, Purpose::Mend { is_ordered: false }).await } else { Ok(()) }
    }

    /// Writes the checkpoint with the present beginning of `commands`. If `commands` is another
    /// topic, the checkpoint also orders the next owner to begin a history.
    async fn move_offsets(
        &self,
        index: &Index,
        checkpoint: &Checkpoint,
        partition: Partition,
        is_another: bool,
    ) -> Result<(), String> {
        let topic = &self.context.world.topics().commands;
        let (low, _) = self.context.log.watermarks(topic, partition).await.map_err(|e| e.to_string())?;
        let mut moved = Checkpoint { commands_next: low, commands_print: None, ..*checkpoint };
        if !is_another {
            return index.write(&moved, &[]).await.map_err(|e| e.to_string());
        }
        let begun = self.context.new_history(partition, checkpoint);
        moved.history = begun.ok_or_else(|| Outcome::LossUnnamed.to_string())?;
        moved.commands_anew = true;
        index.forget_commands(&moved).await.map_err(|e| e.to_string())?;
        Ok(())
    }

    /// Runs an ownership that accepts the loss and stores what is left.
    async fn own(&self, partition: Partition, purpose: Purpose) -> Result<(), String> {
        // An index that is older than the log needs a second try, above the epoch of the log. A
        // replayer that runs tries to claim the partition as well, after pauses that grow.
        for _ in 0..TRIES {
            let (orders, ordered) = watch::channel(Order::Continue);
            let (is_running, _running) = watch::channel(false);
            let outcome = ownership::run(Arc::clone(&self.context), partition, purpose, ordered, is_running).await;
            drop(orders);
            match outcome {
                Outcome::Core(End::Drained) => return Ok(()),
                Outcome::Core(End::FenceInvalid { .. } | End::HistoryTooOld { .. } | End::Replaced { .. })
                | Outcome::Core(End::NotCounted { .. } | End::Index { .. })
                | Outcome::Index(index::Error::Fenced) => tokio::time::sleep(PAUSE).await,
                outcome => return Err(outcome.to_string()),
            }
        }
        Err("another owner has claimed the partition each time: stop the replayers, and try again".into())
    }

    async fn checkpoint(&self, partition: Partition) -> Result<Checkpoint, String> {
        let view = self.context.indexes.view(partition).await.map_err(|e| e.to_string())?;
        view.checkpoint().await.map_err(|e| e.to_string())
    }

    async fn history(&self, partition: Partition) -> Result<String, String> {
        self.checkpoint(partition).await.map(|checkpoint| checkpoint.history.text())
    }
}
