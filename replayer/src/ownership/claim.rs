//! The first steps of an ownership (docs/design.md#ownership): open the index, which fences older
//! owners and makes the epoch durable, and only then make the core, whose first record is the
//! fence. Each ownership opens the index once, has one epoch and appends one fence. It never
//! reopens the index.

use super::reading::Reading;
use super::{LOADS_AT_FIRST, Outcome, Ownership};
use crate::beginning::Beginning;
use crate::context::Context;
use crate::dead_letters::Copies;
use crate::publisher::OwnAck;
use crate::report::Report;
use driftless_replayer_core::{End, OutOfRange, PartitionCore, Stats, Stream};
use driftless_schemas::storage::Unanswered;
use driftless_schemas::stored::Checkpoint;
use driftless_schemas::{ChunkId, Offset, Partition};
use std::collections::{BTreeSet, VecDeque};
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
    is_retry: bool,
    mut beginning: Beginning,
) -> Result<Claimed, Outcome> {
    let above = context.epoch_to_pass(partition);
    let (claimed, calls) = tokio::join!(context.indexes.claim_above(partition, above), unanswered(&context, partition));
    let (index, checkpoint) = claimed.map_err(Outcome::Index)?;
    if is_retry && let Some(outcome) = missing(&context, partition, &checkpoint).await {
        index.close().await;
        return Err(outcome);
    }
    beginning.claimed(checkpoint.epoch);
    let commands_from = checkpoint.commands_next;
    let reading = Reading::new(context.feed.clone(), context.world.topics().clone(), partition, commands_from);
    let (route, acks) = context.publisher.route();
    let (reports, heard) = unbounded_channel();
    #[cfg(debug_assertions)]
    context.damage.lock().unwrap_or_else(std::sync::PoisonError::into_inner).push(reports.clone());
    let mut careful = context.careful();
    careful.extend(calls.chunks.iter().cloned());
    forget(&context, partition, &calls, commands_from);
    let (world, settings) = (Arc::clone(&context.world), context.settings.clone());
    let now = context.clock.monotonic();
    // R4: a value that is used once, so that the owner recognises its fence.
    let owner = format!("{}/{:016x}", context.member, rand::random::<u64>());
    let core = PartitionCore::new(world, partition, &owner, checkpoint, settings, now)
        .careful_with(careful)
        .without_asking(calls.commands);
    context.watchdog.look_after(partition, &core.working());
    let ownership = Ownership {
        context,
        partition,
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

/// Asks the log for the offsets that recovery needs. `Some`: the log does not hold them, or does
/// not answer.
async fn missing(context: &Context, partition: Partition, checkpoint: &Checkpoint) -> Option<Outcome> {
    let topics = context.world.topics();
    let needs = [
        (Stream::Updates, &topics.updates, checkpoint.updates_low),
        (Stream::Commands, &topics.commands, checkpoint.commands_next),
    ];
    for (stream, topic, wanted) in needs {
        let (low, high) = match context.log.watermarks(topic, partition).await {
            Ok(watermarks) => watermarks,
            Err(e) => return Some(Outcome::Log(e)),
        };
        let is_accepted = wanted < low && context.settings.accept_loss;
        if wanted > high || (wanted < low && !is_accepted) {
            return Some(Outcome::Core(End::OutOfRange(OutOfRange { stream, wanted, low, high })));
        }
    }
    None
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
