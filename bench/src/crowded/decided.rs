//! Follows all partitions of `updates` like any reader, and checks that the commands of each chunk
//! are decided in order, none twice and none left out (R2, R3, R4, R8).

use anyhow::{Result, ensure};
use driftless_chunk::position::{Position, Validity};
use driftless_chunk::world::World;
use driftless_log::{Log, Reader};
use driftless_schemas::proto::{UpdatesRecord, mark::Outcome, updates_record::Body};
use driftless_schemas::{Offset, Partition, format};
use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// The counts of all records that were read so far.
#[derive(Default)]
struct Read {
    decided: AtomicU64,
    snapshots: AtomicU64,
    /// Why the reader ended, if it failed.
    problem: Mutex<Option<String>>,
}

/// A background task that follows `updates`, and what it has read.
pub(super) struct Decided(Arc<Read>);

impl Decided {
    /// Starts to follow all partitions.
    pub fn follow(log: &dyn Log, world: &World) -> Result<Self> {
        let mut reader = log.reader()?;
        for partition in world.partitions() {
            reader.assign(&world.topics().updates, partition, Offset(0));
        }
        let read = Arc::<Read>::default();
        let to = Arc::clone(&read);
        tokio::spawn(async move {
            let ended = follow(&mut *reader, &to).await;
            *to.problem.lock().unwrap_or_else(PoisonError::into_inner) = ended.err().map(|e| format!("{e:#}"));
        });
        Ok(Self(read))
    }

    /// The number of commands that are decided.
    pub fn count(&self) -> u64 {
        self.0.decided.load(Ordering::Relaxed)
    }

    /// The number of snapshots that were stored.
    pub fn snapshots(&self) -> u64 {
        self.0.snapshots.load(Ordering::Relaxed)
    }

    /// Fails if a record broke a rule.
    pub fn check(&self) -> Result<()> {
        let problem = self.0.problem.lock().unwrap_or_else(PoisonError::into_inner).clone();
        problem.map_or(Ok(()), |problem| Err(anyhow::anyhow!(problem)))
    }
}

async fn follow(reader: &mut dyn Reader, to: &Read) -> Result<()> {
    let mut positions: BTreeMap<Partition, Position> = BTreeMap::new();
    let mut seqs: HashMap<String, u64> = HashMap::new();
    loop {
        for batch in reader.next().await? {
            let position = positions.entry(batch.partition).or_insert(Position::START);
            for record in batch.records {
                let offset = record.offset;
                let record: UpdatesRecord = format::decode_known("UpdatesRecord", record.value)?;
                if position.judge(offset, &record) != Validity::Valid {
                    continue;
                }
                match record.body {
                    Some(Body::SnapshotStored(_)) => drop(to.snapshots.fetch_add(1, Ordering::Relaxed)),
                    Some(Body::Decisions(decisions)) => {
                        let seq = seqs.entry(decisions.chunk_id.clone()).or_default();
                        for mark in decisions.marks {
                            ensure!(
                                mark.seq == *seq + 1 && matches!(mark.outcome, Some(Outcome::Committed(_))),
                                "{}: after command {seq}, {mark:?} is decided: a command was lost, or decided twice",
                                decisions.chunk_id
                            );
                            *seq = mark.seq;
                            to.decided.fetch_add(1, Ordering::Relaxed);
                        }
                    }
                    _ => {}
                }
            }
        }
    }
}
