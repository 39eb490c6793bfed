//! Examines a partition: whether the log holds what the index names, and otherwise what is lost.

use crate::context::Context;
use crate::ownership::identity;
use crate::whole_log::read_all;
use driftless_chunk::live::read_updates;
use driftless_chunk::position::{Position, Validity};
use driftless_schemas::proto::updates_record::Body;
use driftless_schemas::stored::Checkpoint;
use driftless_schemas::{ChunkId, Offset, Partition, Version};
use driftless_store::index::IndexView;
use std::collections::BTreeMap;
use std::sync::Arc;

/// The result of examining a partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// The partition.
    pub partition: Partition,
    /// The state of `updates`.
    pub updates: State,
    /// The state of `commands`.
    pub commands: State,
    /// Why the index cannot be used, if it cannot.
    pub index: Option<String>,
    /// The chunks that have lost commits, as far as the rest of `updates` shows it.
    pub chunks: Vec<ChunkLoss>,
}

/// Whether a partition of a topic holds what the index names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum State {
    /// The topic holds it.
    Whole,
    /// The records from offset `from` to before `to` are gone.
    Cut {
        /// The offset that an owner needs.
        from: i64,
        /// The first offset that the topic has.
        to: i64,
    },
    /// The topic is another one, or has lost its end.
    Another {
        /// The offset that an owner needs.
        needs: i64,
        /// The first offset that the topic has.
        low: i64,
        /// The offset after its last record.
        high: i64,
    },
}

/// Commits of a chunk that are gone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChunkLoss {
    /// The chunk.
    pub chunk: ChunkId,
    /// The version of the stored content, which stays.
    pub kept: Version,
    /// The newest version that the log names. The commits in between are lost.
    pub newest: Version,
}

impl Finding {
    /// True if an owner can take the partition up.
    #[must_use]
    pub fn is_sound(&self) -> bool {
        self.index.is_none() && self.updates == State::Whole && self.commands == State::Whole
    }
}

pub(super) async fn examine(context: &Context, partition: Partition) -> Result<Finding, String> {
    let mut finding =
        Finding { partition, updates: State::Whole, commands: State::Whole, index: None, chunks: Vec::new() };
    let opened = async {
        let view = context.indexes.view(partition).await?;
        let checkpoint = view.checkpoint().await?;
        Ok::<_, driftless_store::index::Error>((view, checkpoint))
    };
    let (view, checkpoint) = match opened.await {
        Ok(opened) => opened,
        Err(e) => {
            finding.index = Some(e.to_string());
            return Ok(finding);
        }
    };
    if let Err(e) = identity::check_index(context, partition, &checkpoint) {
        finding.index = Some(e.to_string());
        return Ok(finding);
    }
    let topics = context.world.topics();
    let is_own = async || identity::check_updates_low(context, partition, &checkpoint).await.is_ok();
    finding.updates = state(context, (&topics.updates, partition), checkpoint.updates_low, is_own).await?;
    if finding.updates == State::Whole {
        let is_own = async || identity::check_updates_end(context, partition, &checkpoint).await.is_ok();
        let end = checkpoint.updates_end.max(checkpoint.updates_low);
        finding.updates = state(context, (&topics.updates, partition), end, is_own).await?;
    }
    let is_own = async || identity::check_commands(context, partition, &checkpoint).await.is_ok();
    finding.commands = state(context, (&topics.commands, partition), checkpoint.commands_next, is_own).await?;
    if finding.updates != State::Whole {
        finding.chunks = lost_chunks(context, partition, &view, &checkpoint).await?;
    }
    Ok(finding)
}

/// Finds out whether the topic has the offset `wanted`. `is_own` compares the record below it with
/// the index.
async fn state(
    context: &Context,
    (topic, partition): (&Arc<str>, Partition),
    wanted: Offset,
    is_own: impl AsyncFnOnce() -> bool,
) -> Result<State, String> {
    let (low, high) = context.log.watermarks(topic, partition).await.map_err(|e| e.to_string())?;
    Ok(match wanted {
        wanted if wanted < low => State::Cut { from: wanted.0, to: low.0 },
        wanted if wanted > high || !is_own().await => State::Another { needs: wanted.0, low: low.0, high: high.0 },
        _ => State::Whole,
    })
}

/// Compares what is left of `updates` with the refs in the index.
async fn lost_chunks(
    context: &Context,
    partition: Partition,
    view: &IndexView,
    checkpoint: &Checkpoint,
) -> Result<Vec<ChunkLoss>, String> {
    let mut left: BTreeMap<ChunkId, (u64, u64)> = BTreeMap::new();
    let topic = &context.world.topics().updates;
    let mut position = Position { history: checkpoint.history, ..Position::START };
    let mut is_first = true;
    read_all(&*context.log, topic, partition, |offset, record| {
        if std::mem::take(&mut is_first) && offset > Offset(0) {
            position = position.adopting(&record);
        }
        if position.judge(offset, &record) != Validity::Valid {
            return Ok(());
        }
        let Some(Body::Decisions(decisions)) = &record.body else { return Ok(()) };
        let Some(updates) = read_updates(decisions).map_err(|e| e.to_string())? else { return Ok(()) };
        let chunk = decisions.chunk_id.parse().map_err(|e: driftless_schemas::ChunkIdError| e.to_string())?;
        let last = updates.first_version + updates.entries.len() as u64 - 1;
        left.entry(chunk).or_insert((updates.first_version, last)).1 = last;
        Ok(())
    })
    .await?;
    let mut lost = Vec::new();
    for (chunk, (first, newest)) in left {
        let entry = view.entry(&chunk).await.map_err(|e| e.to_string())?;
        let kept = entry.map_or(Version(0), |entry| entry.newest.version);
        if first > kept.0 + 1 {
            lost.push(ChunkLoss { chunk, kept, newest: Version(newest) });
        }
    }
    Ok(lost)
}
