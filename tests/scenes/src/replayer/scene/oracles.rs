//! The oracles: each check compares the log, the index or the store with the reference.

use super::super::reference::{LastValid, Reference};
use super::{Owner, Scene};
use driftless_chunk::live::{LiveChunk, read_updates};
use driftless_schemas::proto::{Decisions, UpdatesRecord, updates_record::Body};
use driftless_schemas::stored::IndexEntry;
use driftless_schemas::{ChunkId, Offset};
use prost::Message;
use std::sync::Arc;

impl Scene {
    /// R2, R3, R8: checks that the decisions of a valid record are the reference's next decisions.
    pub(super) fn check_decisions(&mut self, at: Offset, decisions: &Decisions) {
        let chunk: ChunkId = decisions.chunk_id.parse().unwrap();
        let reference = self.references.get_mut(&chunk).unwrap();
        let before = reference.decided;
        for mark in &decisions.marks {
            let expected = reference.marks.get(reference.decided);
            assert_eq!(Some(mark), expected, "r2, r8: updates {at}, decision {} of {chunk}", reference.decided);
            reference.decided += 1;
        }
        if let Some(updates) = read_updates(decisions).unwrap() {
            let (from, to) = (&reference.states[before], &reference.states[reference.decided]);
            assert_eq!(updates.first_version, from.version.0 + 1, "r3: {chunk} at updates {at}");
            assert_eq!(updates.first_version + updates.entries.len() as u64 - 1, to.version.0, "r3: {chunk}");
            assert_eq!(updates.state_hash[..], to.hash.0, "r10: {chunk} at updates {at}");
        }
        let newest = decisions.marks.last().unwrap().source_offset;
        self.valid.push((at, chunk, newest));
    }

    /// R6: checks that each ref contains only decisions whose records are in the log, valid and
    /// acknowledged.
    pub(super) fn check_refs(&self, owner: usize, entries: &[(ChunkId, IndexEntry)]) {
        for (chunk, entry) in entries {
            let newest = &entry.newest;
            assert!(self.objects.contains_key(&newest.hash), "r6: a ref without its object");
            assert!(entry.older.iter().all(|older| older.ledger.is_none() && older.version != newest.version));
            let reference = &self.references[chunk];
            let contained = reference.marks_through(newest.through_offset.0);
            assert!(contained <= reference.decided, "r6: a ref of {chunk} contains what is not in the log");
            let state = &reference.states[contained];
            assert_eq!((newest.version, newest.hash), (state.version, state.hash), "r6: {chunk}");
            assert_eq!(newest.ledger.as_ref(), Some(&state.ledger), "r6: the ledger of {chunk}");
            let owner = &self.owners[owner];
            for (at, _, newest_mark) in self.valid.iter().filter(|v| v.1 == *chunk) {
                let is_known = self.is_known(owner, *at);
                assert!(
                    is_known || *newest_mark > newest.through_offset.0,
                    "r6: a ref of {chunk} contains updates {at}, which is not acknowledged"
                );
            }
        }
    }

    /// True if the owner knows that this valid record is in the log.
    fn is_known(&self, owner: &Owner, at: Offset) -> bool {
        at < owner.acked || self.last_valid_at[at.0 as usize + 1].epoch < owner.epoch
    }

    /// R6: checks that the checkpoint points past no undecided command, and past no decision that
    /// is in no ref.
    pub(super) fn check_checkpoint(&self, owner: usize) {
        let low = self.checkpoint.updates_low.0;
        let here = self.last_valid_at.get(low as usize).expect("updates_low is in the log");
        let triple = (self.checkpoint.updates_low_epoch.0, self.checkpoint.updates_low_n);
        assert_eq!(triple, (here.epoch, here.n), "r4: the triple of updates_low {low}");
        for (at, chunk, newest) in self.valid.iter().filter(|v| v.0.0 < low) {
            let through = self.index.get(chunk).map_or(-1, |entry| entry.newest.through_offset.0);
            assert!(*newest <= through, "r6: updates {at} is below updates_low {low} and in no ref of {chunk}");
        }
        for (chunk, reference) in &self.references {
            let due = reference.marks.partition_point(|mark| mark.source_offset < self.checkpoint.commands_next.0);
            assert!(due <= reference.decided, "r6: commands_next passes an undecided command of {chunk}");
            let owner = &self.owners[owner];
            for (at, _, newest) in self.valid.iter().filter(|v| v.1 == *chunk) {
                let is_known = self.is_known(owner, *at);
                assert!(is_known || *newest >= self.checkpoint.commands_next.0, "r6: updates {at} is not acknowledged");
            }
        }
        let next = self.checkpoint.commands_next;
        assert!(
            self.buried.range(..next).all(|o| self.dead_letters.contains(o)),
            "r9: commands_next passes a dead letter that is not copied"
        );
    }

    /// R5: restores every chunk from checkpoint, refs, objects and log, and checks that it has the
    /// state that its decisions lead to.
    pub fn check_restore(&self) {
        for (chunk, reference) in &self.references {
            let model = Arc::clone(&self.world.place(chunk).unwrap().family.model);
            let mut live = match self.index.get(chunk) {
                None => LiveChunk::initial(model, chunk),
                Some(entry) => LiveChunk::restore(model, &entry.newest, &self.encoding(entry)).unwrap(),
            };
            let (epoch, n) = (self.checkpoint.updates_low_epoch.0, self.checkpoint.updates_low_n);
            let mut last_valid = LastValid { epoch, n };
            for value in &self.updates[self.checkpoint.updates_low.0 as usize..] {
                let record = UpdatesRecord::decode(value.clone()).unwrap();
                if last_valid.accepts(&record)
                    && let Some(Body::Decisions(decisions)) = &record.body
                    && decisions.chunk_id == chunk.as_str()
                {
                    live.fold(decisions, read_updates(decisions).unwrap().as_ref()).unwrap();
                }
            }
            let expected = &reference.states[reference.decided];
            assert_eq!(&Reference::state_of(&mut live), expected, "r5: {chunk} restored");
        }
    }

    /// The number of valid decisions of a chunk.
    pub fn decided(&self, chunk: usize) -> usize {
        self.references[&self.chunks[chunk]].decided
    }
}
