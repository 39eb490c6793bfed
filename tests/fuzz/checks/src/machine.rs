//! Checks a model as a state machine. An owner decides arbitrary commands, and a follower folds the
//! owner's encoded records.
//!
//! The check: owner and follower hold the same state (R5, R10), and a state that was stored and
//! loaded is unchanged (R7).

use crate::decode;
use crate::reader::Reader;
use bytes::Bytes;
use driftless_chunk::live::{Asked, AskedBody, LiveChunk, read_updates};
use driftless_chunk::model::AnyModel;
use driftless_schemas::proto::{
    Decisions, DiscardReason, Discarded, Updates, UpdatesRecord, mark::Outcome, updates_record::Body,
};
use driftless_schemas::stored::{Location, StoredRef};
use driftless_schemas::{ChunkId, Hash, Offset, Partition, Seq, WriterId, format};
use prost::Message;
use std::sync::Arc;

/// The limit on the commands that a check takes from one input.
const COMMANDS_MAX: i64 = 200;

pub struct Machine {
    model: Arc<dyn AnyModel>,
    chunk: ChunkId,
    owner: LiveChunk,
    follower: LiveChunk,
    offset: i64,
    open: Decisions,
    updates: Updates,
}

impl Machine {
    pub fn new(model: Arc<dyn AnyModel>) -> Self {
        let chunk: ChunkId = "fuzz/0/-1".parse().unwrap();
        let fresh = || LiveChunk::initial(Arc::clone(&model), &chunk);
        let (owner, follower) = (fresh(), fresh());
        Self { model, chunk, owner, follower, offset: 0, open: Decisions::default(), updates: Updates::default() }
    }

    /// Runs a script. `command` draws the next command from the script.
    pub fn run(&mut self, script: &mut Reader<'_>, command: impl Fn(&mut Reader<'_>) -> Vec<u8>) {
        while !script.is_empty() && self.offset < COMMANDS_MAX {
            match script.below(16) {
                0..10 => {
                    let bytes = command(script);
                    decode::model_command(self.model.as_ref(), &bytes);
                    self.decide(script, Some(bytes));
                }
                10 => self.decide(script, None),
                11..14 => self.seal(),
                14 => self.store(),
                _ => {
                    self.seal();
                    let folded = self.follower.fold(&Decisions { marks: vec![], ..self.open.clone() }, None);
                    assert!(!folded.unwrap().is_news);
                }
            }
        }
        self.seal();
        self.store();
    }

    fn decide(&mut self, script: &mut Reader<'_>, command: Option<Vec<u8>>) {
        let writer = WriterId([script.below(3) as u8 + 1; 16]);
        let newest = match self.owner.ledger.resolved(writer) {
            driftless_chunk::ledger::Resolved::Known { seq, .. } => seq.0,
            driftless_chunk::ledger::Resolved::Expired => 0,
        };
        let (seq, after) = match script.below(8) {
            7 => (script.number().max(1), script.number()),
            6 => (newest.saturating_add(3), newest),
            _ => (newest.saturating_add(1), newest),
        };
        let is_taken = command.as_ref().map(|bytes| self.model.check(bytes).is_ok());
        let asked = Asked {
            offset: Offset(self.offset),
            writer,
            seq: Seq(seq),
            after: Seq(after),
            author: "ann".into(),
            received_at_ms: 0,
            roles: vec![],
            body: command.map_or(AskedBody::Settle, |bytes| AskedBody::Command(bytes.into())),
        };
        self.offset += 1;
        let before = self.owner.replica.hash();
        let Some(decided) = self.owner.decide(&self.chunk, Partition(0), &asked) else {
            assert!(seq <= newest, "only a resend has no decision");
            return;
        };
        assert!(!decided.is_model_fault, "the model failed on {asked:?}");
        if decided.entry.is_none() {
            assert_eq!(self.owner.replica.hash_again(), before, "a command that is not committed changed the content");
        }
        if let (Some(is_taken), Some(Outcome::Discarded(Discarded { reason, .. }))) = (is_taken, &decided.mark.outcome)
        {
            let is_invalid = *reason == i32::from(DiscardReason::Invalid);
            assert_eq!(is_invalid, !is_taken, "check and decide disagree about the command's shape");
        }
        self.open.marks.push(decided.mark);
        self.updates.entries.extend(decided.entry);
    }

    /// Encodes the owner's open decisions as a record, and lets the follower fold the decoded
    /// record.
    fn seal(&mut self) {
        if self.open.marks.is_empty() {
            return;
        }
        let mut decisions = std::mem::take(&mut self.open);
        let mut updates = std::mem::take(&mut self.updates);
        decisions.chunk_id = self.chunk.to_string();
        if !updates.entries.is_empty() {
            updates.chunk_id = self.chunk.to_string();
            updates.first_version = self.owner.replica.version().0 + 1 - updates.entries.len() as u64;
            updates.state_hash = self.owner.replica.hash().to_bytes();
            decisions.updates = updates.encode_to_vec().into();
        }
        let record = UpdatesRecord { epoch: 1, n: 1, body: Some(Body::Decisions(decisions)) };
        let read = format::decode_known::<UpdatesRecord>("UpdatesRecord", record.encode_to_vec().into()).unwrap();
        let Some(Body::Decisions(decisions)) = read.body else { panic!("{read:?}") };
        let updates = read_updates(&decisions).unwrap();
        assert!(self.follower.fold(&decisions, updates.as_ref()).unwrap().is_news);
        let again = self.follower.fold(&decisions, updates.as_ref()).unwrap();
        assert!(!again.is_news && again.entries == 0, "a record was folded twice");
        self.compare();
    }

    fn compare(&mut self) {
        let (owner, follower) = (&mut self.owner, &mut self.follower);
        assert_eq!(owner.replica.version(), follower.replica.version());
        assert_eq!(owner.replica.hash_again(), follower.replica.hash_again(), "r10");
        assert_eq!(owner.ledger, follower.ledger, "r8");
        assert_eq!(owner.through_offset, follower.through_offset);
    }

    /// Stores the owner's state, and restores the follower from it.
    fn store(&mut self) {
        self.seal();
        let encoding = Bytes::from(self.owner.replica.encoding().into_owned());
        decode::content(self.model.as_ref(), &encoding);
        assert!(self.model.decode(&encoding).is_ok(), "the model cannot decode its own encoding");
        let stored = StoredRef {
            version: self.owner.replica.version(),
            hash: Hash::of(&encoding),
            location: Location::Object,
            through_offset: self.owner.through_offset,
            model_revision: 1,
            bytes: encoding.len() as u64,
            ledger: Some(self.owner.ledger.to_stored()),
        };
        self.follower = LiveChunk::restore(Arc::clone(&self.model), &stored, &encoding).unwrap();
        self.compare();
    }
}
