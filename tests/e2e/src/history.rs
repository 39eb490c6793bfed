//! The history of a world, read from the log alone. The reader follows the protocol's rules over
//! all of `updates` and folds the decisions into replicas of its own.
//!
//! Reading also checks rules that hold for every world at every time. R3: versions are dense. R2:
//! each number has one decision. R10: the hash in every record and in every snapshot notice equals
//! the hash of the folded content.

use bytes::Bytes;
use driftless_chunk::live::{LiveChunk, read_updates};
use driftless_chunk::position::{Position, Validity};
use driftless_chunk::world::World;
use driftless_log::{Log, Record};
use driftless_schemas::proto::{Mark, UpdatesRecord, mark, updates_record};
use driftless_schemas::{ChunkId, Hash, Partition, Version, format};
use std::collections::BTreeMap;

use crate::wait::soon;

/// A decision about one command.
#[derive(Clone, Debug)]
pub struct Decision {
    /// The name of the user who sent the command.
    pub author: String,
    /// The id of the writer.
    pub writer: Bytes,
    /// The command's number under this writer.
    pub seq: u64,
    /// The version and the effect of the command; `None` if it was discarded.
    pub committed: Option<(Version, Bytes)>,
}

/// All decisions of a world, by chunk, with counts of other records.
#[derive(Debug, Default)]
pub struct History {
    decisions: BTreeMap<ChunkId, Vec<Decision>>,
    ends: BTreeMap<ChunkId, (Version, Hash)>,
    /// The hash of a chunk after each record that decided something, by chunk and version.
    hashes: BTreeMap<(ChunkId, Version), Hash>,
    /// The number of fences that are valid by R4.
    pub fences: usize,
    /// The number of records that R4 makes readers ignore.
    pub invalid: usize,
    /// The number of notices of stored snapshots.
    pub snapshots: usize,
    /// The number of commands in the log.
    pub commands: usize,
}

impl History {
    /// Reads both topics from their start to the end that they have at the call.
    ///
    /// # Panics
    /// If a rule does not hold.
    pub async fn read(log: &dyn Log, world: &World) -> Self {
        let mut history = Self::default();
        for partition in world.partitions() {
            history.commands += read_all(log, &world.topics().commands, partition).await.len();
            let mut position = Position::START;
            let mut chunks = BTreeMap::new();
            for record in read_all(log, &world.topics().updates, partition).await {
                history.take(world, &mut position, &mut chunks, record);
            }
            for (id, mut chunk) in chunks {
                history.ends.insert(id, (chunk.replica.version(), chunk.replica.hash()));
            }
        }
        history.check_decided_once();
        history
    }

    fn take(
        &mut self,
        world: &World,
        position: &mut Position,
        chunks: &mut BTreeMap<ChunkId, LiveChunk>,
        record: Record,
    ) {
        let at = record.offset;
        let update: UpdatesRecord = format::decode_known("UpdatesRecord", record.value).expect("it can be read");
        match position.judge(at, &update) {
            Validity::Fence => self.fences += 1,
            Validity::Invalid => self.invalid += 1,
            Validity::Valid => match update.body.expect("it has a body") {
                updates_record::Body::Fence(_) => unreachable!("R4 judges fences as fences"),
                updates_record::Body::Decisions(decisions) => {
                    let id: ChunkId = decisions.chunk_id.parse().expect("a chunk id");
                    let model = world.place(&id).expect("of this world").family.model.clone();
                    let chunk = chunks.entry(id.clone()).or_insert_with(|| LiveChunk::initial(model, &id));
                    let updates = read_updates(&decisions).expect("marks and entries agree");
                    let first = chunk.replica.version().0 + 1;
                    if let Some(updates) = &updates {
                        assert_eq!(updates.first_version, first, "R3: {id} at offset {at}");
                    }
                    let folded = chunk.fold(&decisions, updates.as_ref());
                    let folded = folded.unwrap_or_else(|e| panic!("R10: {id} at offset {at}: {e}"));
                    assert!(folded.is_news, "R2: {id} at offset {at}: decided before");
                    self.hashes.insert((id.clone(), chunk.replica.version()), chunk.replica.hash());
                    let entries = updates.map(|updates| updates.entries).unwrap_or_default();
                    let mut committed = entries.into_iter().zip(first..).map(|(e, v)| (Version(v), e.effect));
                    for mark in decisions.marks {
                        self.mark(&id, mark, &mut committed);
                    }
                }
                updates_record::Body::SnapshotStored(notice) => {
                    self.snapshots += 1;
                    let id: ChunkId = notice.chunk_id.parse().expect("a chunk id");
                    let stored = notice.r#ref.expect("a ref");
                    let known = self.hashes.get(&(id.clone(), Version(stored.version))).copied();
                    assert!(
                        known.is_some(),
                        "R6: a snapshot of {id} at version {} before its decisions",
                        stored.version
                    );
                    assert_eq!(Hash::from_slice(&stored.hash), known, "R10: a snapshot of {id}");
                }
            },
        }
    }

    fn mark(&mut self, id: &ChunkId, mark: Mark, committed: &mut impl Iterator<Item = (Version, Bytes)>) {
        let committed = match mark.outcome.expect("a mark has an outcome") {
            mark::Outcome::Committed(_) => Some(committed.next().expect("an entry for each")),
            mark::Outcome::Discarded(_) => None,
            // The command was not decided, so the writer's newest number stays.
            mark::Outcome::OutOfOrder(_) | mark::Outcome::SessionExpired(_) => return,
        };
        let decision = Decision { author: mark.author, writer: mark.writer, seq: mark.seq, committed };
        self.decisions.entry(id.clone()).or_default().push(decision);
    }

    /// Checks R2: each number of a writer has at most one decision in each chunk.
    fn check_decided_once(&self) {
        for (id, decisions) in &self.decisions {
            let mut seen = BTreeMap::new();
            for decision in decisions {
                let before = seen.insert((&decision.writer, decision.seq), decision);
                assert!(before.is_none(), "R2: {id}: {before:?} and again {decision:?}");
            }
        }
    }

    /// The decisions on a user's commands to a chunk, in the order of the log.
    #[must_use]
    pub fn of(&self, chunk: &ChunkId, author: &str) -> Vec<&Decision> {
        let all = self.decisions.get(chunk).into_iter().flatten();
        all.filter(|decision| decision.author == author).collect()
    }

    /// The decisions on all commands to a chunk, in the order of the log.
    pub fn decisions(&self, chunk: &ChunkId) -> impl Iterator<Item = &Decision> {
        self.decisions.get(chunk).into_iter().flatten()
    }

    /// The effects of a user's commits to a chunk, in the order of the log.
    #[must_use]
    pub fn commits(&self, chunk: &ChunkId, author: &str) -> Vec<Bytes> {
        self.of(chunk, author)
            .into_iter()
            .filter_map(|d| d.committed.as_ref().map(|(_, effect)| effect.clone()))
            .collect()
    }

    /// The number of chunks with decisions.
    #[must_use]
    pub fn chunks(&self) -> usize {
        self.decisions.len()
    }

    /// The version and hash of a chunk at the end of the log, folded from the log's start. `None`
    /// if the chunk has no content.
    #[must_use]
    pub fn end(&self, chunk: &ChunkId) -> Option<(Version, Hash)> {
        self.ends.get(chunk).copied()
    }
}

/// Reads all records of a partition, up to the end that it has at the call.
///
/// # Panics
/// If the records cannot be read.
pub async fn read_all(log: &dyn Log, topic: &str, partition: Partition) -> Vec<Record> {
    let (low, high) = soon("watermarks", log.watermarks(topic, partition)).await.expect("the log answers");
    let mut records: Vec<Record> = Vec::new();
    if low == high {
        return records;
    }
    let mut reader = log.reader().expect("a reader");
    reader.assign(topic, partition, low);
    while records.last().is_none_or(|record| record.offset.next() < high) {
        for batch in soon("records", reader.next()).await.expect("reading goes well") {
            records.extend(batch.records);
        }
    }
    records.retain(|record| record.offset < high);
    records
}
