//! The first steps of an ownership (docs/design.md#ownership): open the index, which fences older
//! owners and makes the epoch durable, and only then make the core, whose first record is the
//! fence. Each ownership opens the index once, has one epoch and appends one fence. It never
//! reopens the index.

use super::identity;
use super::reading::Reading;
use super::{LOADS_AT_FIRST, Outcome, Ownership, Purpose};
use crate::beginning::Beginning;
use crate::context::{ChunksMemory, Context};
use crate::dead_letters::Copies;
use crate::publisher::OwnAck;
use crate::report::Report;
use crate::whole_log::commands_taken_up_at;
use driftless_replayer_core::{AcceptedLoss, End, OutOfRange, PartitionCore, Settings, Stats, Stream};
use driftless_schemas::storage::Unanswered;
use driftless_schemas::stored::Checkpoint;
use driftless_schemas::{ChunkId, Offset, Partition, limits};
use driftless_store::index;
use std::collections::{BTreeSet, VecDeque};
use std::num::NonZeroU64;
use std::sync::Arc;
use tokio::sync::Semaphore;
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

/// A claimed ownership, and the channels on which acknowledgements and reports arrive.
pub(super) struct Claimed {
    pub ownership: Ownership,
    pub acks: UnboundedReceiver<Vec<OwnAck>>,
    pub reports: UnboundedReceiver<Report>,
}

/// Notes of model calls that did not return in earlier ownerships: the command or the chunk of each
/// call.
#[derive(Default)]
struct Calls {
    commands: BTreeSet<Offset>,
    chunks: BTreeSet<ChunkId>,
}

/// Claims the partition: opens the index and makes the core.
///
/// A retry first asks the log whether it holds what recovery needs. Without that, each retry would
/// append a fence to a log that was made anew, until the offsets of the fences reach the offsets
/// that the index names.
///
/// # Errors
/// The outcome of an ownership that cannot begin: the index cannot be opened, or the log does not
/// hold what recovery needs.
pub(super) async fn claim(
    context: Arc<Context>,
    partition: Partition,
    purpose: Purpose,
    mut beginning: Beginning,
) -> Result<Claimed, Outcome> {
    let (above, leap) = (context.claim_above.of(partition), leap(purpose));
    let claimed = context.indexes.claim_above(partition, above, leap);
    let (claimed, calls) = tokio::join!(claimed, unanswered(&context, partition));
    let (index, checkpoint) = claimed.map_err(Outcome::Index)?;
    let loss = match check(&context, partition, &checkpoint, purpose).await {
        Ok(loss) => loss,
        Err(outcome) => {
            index.close().await;
            return Err(outcome);
        }
    };
    beginning.claimed(checkpoint.epoch);
    let commands_from = checkpoint.commands_next;
    let reading = Reading::new(context.feed.clone(), context.world.topics().clone(), partition, &checkpoint);
    let (route, acks) = context.publisher.route();
    let (reports, heard) = unbounded_channel();
    #[cfg(debug_assertions)]
    context.damage.lock().unwrap_or_else(std::sync::PoisonError::into_inner).push(reports.clone());
    let mut careful = context.careful();
    careful.extend(calls.chunks.iter().cloned());
    forget(&context, partition, &calls, commands_from);
    let (world, settings) = (Arc::clone(&context.world), settings(&context, purpose));
    let now = context.clock.monotonic();
    let owner = context.owner_text();
    let core = match loss {
        None => PartitionCore::new(world, partition, &owner, checkpoint, settings, now),
        Some(loss) => PartitionCore::with_loss(world, partition, (&owner, loss), checkpoint, settings, now),
    };
    let core = core.careful_with(careful).without_asking(calls.commands);
    let core = match purpose {
        Purpose::Decide { .. } => core,
        Purpose::Mend { .. } => core.without_commands(context.to_mend(partition)),
    };
    context.watchdog.look_after(partition, &core.working());
    let memory = ChunksMemory::join(&context);
    let ownership = Ownership {
        memory,
        // The first tick tells the core its limit.
        chunks_bytes_max: 0,
        context,
        partition,
        purpose,
        stuck: None,
        core,
        index: Arc::new(index),
        route,
        copies: Copies::new(reports.clone(), partition),
        reports,
        reading,
        unsent: VecDeque::new(),
        load_permits: Arc::new(Semaphore::new(LOADS_AT_FIRST)),
        is_loading_freely: false,
        unread: None,
        reported: Stats::default(),
        beginning,
    };
    Ok(Claimed { ownership, acks, reports: heard })
}

/// How far the claimed epoch is above the newest known one (R4). A log that has lost fences and an
/// index that was put back do not tell which epochs owners of the old log have, and such an owner
/// may still run. An ownership that mends therefore leaps by a random number: no owner has an epoch
/// there.
fn leap(purpose: Purpose) -> NonZeroU64 {
    let leap = match purpose {
        Purpose::Decide { .. } => None,
        Purpose::Mend { .. } => NonZeroU64::new(rand::random_range(1..=limits::EPOCH_LEAP_MAX)),
    };
    leap.unwrap_or(index::NEXT)
}

/// The core's settings. An ownership that mends stores at once what it has folded.
fn settings(context: &Context, purpose: Purpose) -> Settings {
    match purpose {
        Purpose::Decide { .. } => Settings { accept_loss: false, ..context.settings.clone() },
        Purpose::Mend { .. } => Settings {
            accept_loss: true,
            snapshot_max_age_ms: 0,
            snapshot_min_interval_ms: 0,
            checkpoint_interval_ms: 0,
            ..context.settings.clone()
        },
    }
}

/// Checks that world, index and log belong together, and, except at the first try, that the log
/// holds what recovery needs. Returns the loss that an ownership which mends accepts.
async fn check(
    context: &Context,
    partition: Partition,
    checkpoint: &Checkpoint,
    purpose: Purpose,
) -> Result<Option<AcceptedLoss>, Outcome> {
    let stranger = |e| Outcome::Stranger(Box::new(e));
    identity::check_index(context, partition, checkpoint).map_err(stranger)?;
    if let (None, Some(id)) = (checkpoint.world, context.world.id())
        && checkpoint.updates_low > Offset(0)
    {
        tracing::info!(partition = partition.0, "the index is taken into the world with the id {id}");
    }
    let topics = context.world.topics();
    let updates = (Stream::Updates, &topics.updates, checkpoint.updates_low);
    // This process may know more of the log than the newest checkpoint.
    let (history, known_end) = context.known_end.of(partition);
    let end = checkpoint.updates_low.max(checkpoint.updates_end);
    let end = if history == checkpoint.history { end.max(known_end) } else { end };
    let updates_end = (Stream::Updates, &topics.updates, end);
    let commands = (Stream::Commands, &topics.commands, checkpoint.commands_next);
    match purpose {
        Purpose::Decide { is_retry: false } => Ok(None),
        Purpose::Decide { is_retry: true } => {
            for needed in [updates, updates_end, commands] {
                if let Some(range) = missing(context, partition, needed).await? {
                    return Err(Outcome::Core(End::OutOfRange(range)));
                }
            }
            identity::check_log(context, partition, checkpoint).await.map_err(stranger)?;
            Ok(None)
        }
        Purpose::Mend { is_ordered } => {
            let (low, high) = watermarks(context, partition, updates.1).await?;
            let range = OutOfRange { stream: Stream::Updates, wanted: updates.2, low, high };
            // The log may have the offset, although the record below it is not the one that the
            // index knows.
            let is_lost =
                range.is_missing() || identity::check_updates_low(context, partition, checkpoint).await.is_err();
            let is_short = is_ordered
                || checkpoint.updates_end > high
                || identity::check_updates_end(context, partition, checkpoint).await.is_err();
            let lost = match (is_lost, is_short) {
                (true, _) => Lost::Beginning(range),
                (false, true) => Lost::End,
                (false, false) => Lost::Nothing,
            };
            accept(context, partition, checkpoint, lost).await
        }
    }
}

/// The records of `updates` that are lost.
#[derive(Clone, Copy)]
enum Lost {
    Nothing,
    /// The log does not hold the offset at which recovery begins, or it is another log.
    Beginning(OutOfRange),
    /// The log holds that offset, but not all records that an earlier owner has read.
    End,
}

/// The loss that begins a new history, if records of `updates` are lost.
///
/// # Errors
/// [`Outcome::LossUnnamed`] if the world has no id; [`Outcome::Unmended`] if the log cannot be
/// read.
async fn accept(
    context: &Context,
    partition: Partition,
    checkpoint: &Checkpoint,
    lost: Lost,
) -> Result<Option<AcceptedLoss>, Outcome> {
    if matches!(lost, Lost::Nothing) {
        return Ok(None);
    }
    let history = context.new_history(partition, checkpoint).ok_or(Outcome::LossUnnamed)?;
    tracing::warn!(partition = partition.0, "history {history} begins");
    let topic = &context.world.topics().commands;
    let (low, high) = watermarks(context, partition, topic).await?;
    let is_another =
        checkpoint.commands_next > high || identity::check_commands(context, partition, checkpoint).await.is_err();
    let commands_from = (!is_another).then_some(low);
    let updates_from = match lost {
        Lost::Nothing | Lost::End => None,
        Lost::Beginning(range) => {
            let topic = &context.world.topics().updates;
            let taken_up = commands_taken_up_at(&*context.log, topic, partition).await.map_err(Outcome::Unmended)?;
            Some(taken_up.unwrap_or(range.low))
        }
    };
    Ok(Some(AcceptedLoss { history, updates_from, commands_from }))
}

/// Asks the log whether it holds an offset that recovery needs. `Some`: it does not.
async fn missing(
    context: &Context,
    partition: Partition,
    (stream, topic, wanted): (Stream, &Arc<str>, Offset),
) -> Result<Option<OutOfRange>, Outcome> {
    let (low, high) = watermarks(context, partition, topic).await?;
    let range = OutOfRange { stream, wanted, low, high };
    Ok(range.is_missing().then_some(range))
}

async fn watermarks(context: &Context, partition: Partition, topic: &Arc<str>) -> Result<(Offset, Offset), Outcome> {
    context.log.watermarks(topic, partition).await.map_err(Outcome::Log)
}

async fn unanswered(context: &Context, partition: Partition) -> Calls {
    let mut calls = Calls::default();
    match context.store.unanswered(context.world.spec().generation, partition).await {
        Ok(noted) => {
            for call in noted {
                match call {
                    Unanswered::Command(offset) => drop(calls.commands.insert(offset)),
                    Unanswered::Chunk(chunk) => drop(calls.chunks.insert(chunk)),
                }
            }
        }
        // The ownership goes on without the notes. If a model hangs again, the watchdog notes the
        // call again.
        Err(e) => tracing::warn!(
            partition = partition.0,
            "cannot read the notes of calls that models did not return from: {e}"
        ),
    }
    calls
}

/// Deletes the notes of commands that are decided. Notes of chunks are deleted too, because this
/// ownership is careful with those chunks and so finds the command that makes the model fail.
fn forget(context: &Arc<Context>, partition: Partition, calls: &Calls, commands_from: Offset) {
    let decided = calls.commands.range(..commands_from).copied().map(Unanswered::Command);
    let done: Vec<_> = decided.chain(calls.chunks.iter().cloned().map(Unanswered::Chunk)).collect();
    if done.is_empty() {
        return;
    }
    let context = Arc::clone(context);
    tokio::spawn(async move {
        for call in done {
            if let Err(e) = context.store.remove_unanswered(context.world.spec().generation, partition, &call).await {
                tracing::warn!(partition = partition.0, "the next owner deletes the note of {call}: {e}");
            }
        }
    });
}
