//! Makes a partition's index anew from `updates` and the snapshots.
//!
//! Each `SnapshotStored` in `updates` contains a whole ref, with its ledger. The newest one of each
//! chunk becomes the chunk's entry. The checkpoint names the first decision that no such ref
//! contains, so the next owner folds the rest. The next owner reads all commands that the log still
//! has, because refs and marks tell for each chunk which of them are decided.
//!
//! Such an index is complete only if `updates` still begins at offset 0. Otherwise a chunk of which
//! no record is left would begin anew at version 0, so nothing is written.

use crate::context::Context;
use crate::whole_log::read_all;
use driftless_chunk::position::{Position, Validity};
use driftless_log::{Append, Headers};
use driftless_schemas::proto::{Decisions, Fence, UpdatesRecord, updates_record::Body};
use driftless_schemas::stored::{Checkpoint, IndexEntry, StoredRef};
use driftless_schemas::{ChunkId, Epoch, Offset, Partition};
use driftless_store::index;
use prost::Message as _;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

/// How long the log may take to acknowledge the fence.
const PATIENCE: Duration = Duration::from_secs(30);
/// How long a running owner may take to notice the fence.
const UNTIL_NOTICED: Duration = Duration::from_secs(3);
/// How many entries one batch writes.
const ENTRIES_PER_BATCH: usize = 500;

/// The content of a rebuilt index.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rebuilt {
    /// The chunks with a ref.
    pub chunks: usize,
    /// The chunks whose newest object is lost. Their next owner tries to make it again from an
    /// older state and the log.
    pub lost_objects: Vec<ChunkId>,
    /// The offset of `updates` from which the next owner reads.
    pub updates_from: i64,
    /// The offset of `commands` from which the next owner reads.
    pub commands_from: i64,
}

/// The records of `updates` about a chunk.
#[derive(Default)]
struct Known {
    /// The refs of its stored states, newest first.
    refs: Vec<StoredRef>,
    /// The positions before its decisions, each with the newest offset of `commands` that it
    /// decides. Only those that no ref contains.
    open: Vec<(Position, Offset)>,
}

/// How many older refs an entry keeps.
const OLDER_MAX: usize = 4;

impl Known {
    fn take_ref(&mut self, stored: StoredRef) {
        self.open.retain(|(_, through)| *through > stored.through_offset);
        if let Some(newest) = self.refs.first_mut() {
            newest.ledger = None;
        }
        self.refs.insert(0, stored);
        self.refs.truncate(1 + OLDER_MAX);
    }

    fn take_decisions(&mut self, before: Position, decisions: &Decisions) {
        // A notice contains no decision that stands behind it, so this one is open.
        let through = decisions.marks.last().map_or(Offset::NONE, |mark| Offset(mark.source_offset));
        self.open.push((before, through));
    }

    /// Forgets the offsets of a topic of `commands` that is not used any more. Every decision of
    /// that topic is stored by then.
    fn forget_commands(&mut self) {
        self.open.clear();
        if let Some(newest) = std::mem::take(&mut self.refs).into_iter().next() {
            self.refs = vec![IndexEntry { newest, older: Vec::new() }.without_offsets().newest];
        }
    }
}

/// All that `updates` says, up to a position.
struct Read {
    chunks: BTreeMap<ChunkId, Known>,
    position: Position,
}

pub(super) async fn rebuild(
    context: &Context,
    partition: Partition,
    progress: impl Fn(usize, usize),
) -> Result<Rebuilt, String> {
    let topics = context.world.topics();
    let (low, _) = watermarks(context, &topics.updates, partition).await?;
    if low > Offset(0) {
        return Err(format!(
            "{}[{partition}] begins at offset {low}: a chunk without a record since then would lose its content. Put back an older copy of this partition's index, which an owner then completes from the log; or give the world a new generation",
            topics.updates
        ));
    }
    // First without a fence, so that a log or a snapshot that cannot be read ends no ownership.
    let before = read(context, partition).await?;
    let lost_objects = check_objects(context, &before.chunks, progress).await?;
    let above = before.position.epoch;
    append_fence(context, partition, above.next()).await?;
    // A running owner learns of the fence within about a second, and then writes no more to the old
    // index.
    tokio::time::sleep(UNTIL_NOTICED).await;
    context.indexes.delete(partition).await.map_err(|e| e.to_string())?;
    let (index, claimed) =
        context.indexes.claim_above(partition, above, index::NEXT).await.map_err(|e| e.to_string())?;
    let Read { chunks, position } = read(context, partition).await?;
    if position.epoch != claimed.epoch {
        index.close().await;
        return Err("another owner has claimed the partition meanwhile: stop the replayers, and try again".into());
    }
    let (commands_low, _) = watermarks(context, &topics.commands, partition).await?;
    let start = chunks.values().flat_map(|known| &known.open).map(|(before, _)| *before).min_by_key(|p| p.offset);
    let start = start.unwrap_or(position);
    let mut entries: Vec<(ChunkId, IndexEntry)> = Vec::new();
    for (chunk, mut known) in chunks {
        if !known.refs.is_empty() {
            let newest = known.refs.remove(0);
            entries.push((chunk, IndexEntry { newest, older: known.refs }));
        }
    }
    // Until the last batch, the checkpoint says that the whole log must be read, which is always
    // right.
    for batch in entries.chunks(ENTRIES_PER_BATCH) {
        index.write(&claimed, batch).await.map_err(|e| e.to_string())?;
    }
    let checkpoint = Checkpoint {
        commands_next: commands_low,
        updates_low: start.offset,
        updates_low_epoch: start.epoch,
        updates_low_n: start.n,
        history: start.history,
        world: context.world.id(),
        commands_print: None,
        ..claimed
    };
    let written = index.write(&checkpoint, &[]).await;
    index.close().await;
    written.map_err(|e| e.to_string())?;
    Ok(Rebuilt { chunks: entries.len(), lost_objects, updates_from: start.offset.0, commands_from: commands_low.0 })
}

async fn watermarks(context: &Context, topic: &Arc<str>, partition: Partition) -> Result<(Offset, Offset), String> {
    context.log.watermarks(topic, partition).await.map_err(|e| e.to_string())
}

/// Reads all of `updates`.
async fn read(context: &Context, partition: Partition) -> Result<Read, String> {
    let mut read = Read { chunks: BTreeMap::new(), position: Position::START };
    read_all(&*context.log, &context.world.topics().updates, partition, |offset, record| {
        let before = Position { offset, ..read.position };
        if read.position.judge(offset, &record) == Validity::Invalid {
            return Ok(());
        }
        match record.body {
            Some(Body::Fence(fence)) if fence.commands_anew && read.position.history > before.history => {
                read.chunks.values_mut().for_each(Known::forget_commands);
            }
            Some(Body::Decisions(decisions)) => {
                read.of(&decisions.chunk_id)?.take_decisions(before, &decisions);
            }
            Some(Body::SnapshotStored(notice)) => {
                let stored = notice.r#ref.ok_or("SnapshotStored.ref is not valid: there is none")?;
                let stored = StoredRef::from_proto(stored).map_err(|e| e.to_string())?;
                read.of(&notice.chunk_id)?.take_ref(stored);
            }
            _ => {}
        }
        Ok(())
    })
    .await?;
    Ok(read)
}

impl Read {
    fn of(&mut self, chunk: &str) -> Result<&mut Known, String> {
        let chunk = chunk.parse().map_err(|e: driftless_schemas::ChunkIdError| e.to_string())?;
        Ok(self.chunks.entry(chunk).or_default())
    }
}

/// Appends the fence of an ownership that only rebuilds, so that the running owner ends.
async fn append_fence(context: &Context, partition: Partition, epoch: Epoch) -> Result<(), String> {
    let fence = Fence { owner: context.owner_text(), world_id: context.world.id_field(), ..Fence::default() };
    let append = Append {
        topic: Arc::clone(&context.world.topics().updates),
        partition,
        key: bytes::Bytes::new(),
        value: UpdatesRecord { epoch: epoch.0, n: 0, body: Some(Body::Fence(fence)) }.encode_to_vec().into(),
        headers: Headers::new(),
        token: 0,
    };
    let (route, mut acks) = context.publisher.route();
    let acked = match route.append(vec![append]).is_empty() {
        true => tokio::time::timeout(PATIENCE, acks.recv()).await.ok().flatten(),
        false => None,
    };
    match acked.into_iter().flatten().next() {
        Some((_, Ok(_))) => Ok(()),
        Some((_, Err(e))) => Err(format!("the fence is not in the log: {e}")),
        None => Err("the log does not acknowledge the fence".into()),
    }
}

/// Loads the newest object of each chunk, and compares its content with its name. Returns the
/// chunks whose object is lost.
async fn check_objects(
    context: &Context,
    chunks: &BTreeMap<ChunkId, Known>,
    progress: impl Fn(usize, usize),
) -> Result<Vec<ChunkId>, String> {
    let stored: Vec<_> = chunks.iter().filter_map(|(chunk, known)| Some((chunk, known.refs.first()?))).collect();
    let mut lost = Vec::new();
    for ((chunk, newest), done) in stored.iter().zip(1..) {
        match context.store.stored(newest).await {
            Ok(_) => {}
            Err(e) if e.is_lost() => lost.push((*chunk).clone()),
            Err(e) => return Err(e.to_string()),
        }
        progress(done, stored.len());
    }
    Ok(lost)
}
