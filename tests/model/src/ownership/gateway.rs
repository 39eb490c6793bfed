//! A gateway. It starts from a view of the index, which may be stale. From the view's position it
//! reads `updates`, and it restores replicas from a ref and from its ring of newer decisions.

use super::index::{Index, Refs};
use super::log::{Body, CHUNKS, Content, Decision, LogPosition, Record, UNKNOWN_EPOCH, judge};
use super::mutant::Mutant;
use driftless_chunk::position::Validity;

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Gateway {
    /// The refs in the view of the index from which the gateway started.
    pub refs: Refs,
    pub position: LogPosition,
    pub chunks: [Tracked; CHUNKS],
}

/// A gateway's state for one chunk.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Tracked {
    /// The ring: the valid decisions that the gateway has read and not trimmed, oldest first.
    pub ring: Vec<Decision>,
    /// An offset in `commands`. Decisions of commands below it may be missing from the ring.
    pub trimmed: u8,
    /// The ref in the newest `SnapshotStored` record that the gateway has read.
    pub noticed: Option<Content>,
    /// The ref that is being loaded; `None` if no load is open.
    pub loading: Option<Content>,
    pub live: Option<Content>,
}

impl Gateway {
    pub fn open(index: &Index, mutant: Option<Mutant>) -> Self {
        let position = start(index.checkpoint.updates_low, index.epoch, mutant);
        Self { refs: index.refs, position, chunks: Default::default() }
    }

    /// Reads the next record of `updates`.
    pub fn read(&mut self, log: &[Record], chunk_of: &[u8], mutant: Option<Mutant>) {
        let Some(record) = log.get(usize::from(self.position.offset)) else { return };
        if judge(&mut self.position, record, mutant) != Validity::Valid {
            return;
        }
        match record.body {
            Body::Fence(_) => {}
            Body::Decided(decision) => {
                let tracked = &mut self.chunks[usize::from(chunk_of[usize::from(decision.command)])];
                tracked.ring.push(decision);
                if let Some(live) = &mut tracked.live {
                    live.fold(decision, mutant);
                }
            }
            Body::Stored(chunk, stored) => self.chunks[usize::from(chunk)].take_ref(stored, mutant),
        }
    }

    /// Begins to load the newest ref of a chunk that the gateway knows of.
    pub fn load(&mut self, chunk: usize) {
        let tracked = &mut self.chunks[chunk];
        tracked.loading = Some(tracked.noticed.unwrap_or(self.refs[chunk]));
    }
}

impl Tracked {
    fn take_ref(&mut self, stored: Content, mutant: Option<Mutant>) {
        let is_covered = |decision: &Decision| match mutant {
            Some(Mutant::TrimByVersion) => decision.version <= stored.version(),
            _ => decision.command < stored.through(),
        };
        while self.ring.first().is_some_and(is_covered) {
            self.trimmed = self.trimmed.max(self.ring.remove(0).command + 1);
        }
        if mutant == Some(Mutant::TrimByVersion) {
            // A gateway that trims its ring by version does not know up to which offset it has
            // trimmed.
            self.trimmed = self.trimmed.min(stored.through());
        }
        if self.noticed.is_none_or(|noticed| noticed.through() <= stored.through()) {
            self.noticed = Some(stored);
        }
    }

    /// Completes the open load: folds the ring's decisions on top of the loaded ref.
    pub fn loaded(&mut self, mutant: Option<Mutant>) {
        let Some(mut live) = self.loading.take() else { return };
        // The ring no longer reaches back to this ref, so the replica would have a gap. The gateway
        // loads the chunk again.
        if live.through() < self.trimmed && mutant != Some(Mutant::LoadWhileTrimmed) {
            return;
        }
        for decision in &self.ring {
            live.fold(*decision, mutant);
        }
        self.live = Some(live);
    }
}

/// The position at which a reader starts. This is `updates_low` with the epoch and n that the
/// checkpoint holds for it; some mutants replace these.
pub fn start(updates_low: LogPosition, epoch: u8, mutant: Option<Mutant>) -> LogPosition {
    match mutant {
        Some(Mutant::LowWithoutEpoch) if updates_low.offset > 0 => LogPosition { epoch: UNKNOWN_EPOCH, ..updates_low },
        Some(Mutant::LowWithNewestEpoch) => LogPosition { epoch, ..updates_low },
        _ => updates_low,
    }
}
