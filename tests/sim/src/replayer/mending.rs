//! An operator mends a partition: `driftless recover apply`, as the replayer's shell carries it
//! out.
//!
//! The process that mends claims and fences like an owner, accepts the loss, stores what it has
//! folded, and ends.

use super::recognition::{self, Found};
use super::{Process, settings};
use crate::log::Log;
use crate::store::Store;
use driftless_chunk::position::{Position, Validity};
use driftless_replayer_core::{AcceptedLoss, Input, PartitionCore, Settings};
use driftless_schemas::proto::{UpdatesRecord, updates_record::Body};
use driftless_schemas::stored::Checkpoint;
use driftless_schemas::{HistoryId, Offset, Partition};
use prost::Message as _;
use std::collections::BTreeSet;
use std::sync::Arc;

/// The losses that an examination finds in a partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Loss {
    /// The state of `updates`.
    pub updates: Found,
    /// The state of `commands`.
    pub commands: Found,
}

impl Loss {
    /// Examines a partition.
    #[must_use]
    pub fn find(checkpoint: &Checkpoint, partition: Partition, log: &Log) -> Self {
        let p = partition.0 as usize;
        Self {
            updates: recognition::updates(checkpoint, &log.updates[p]),
            commands: recognition::commands(checkpoint, &log.commands[p]),
        }
    }

    /// True if records of `updates` are lost.
    #[must_use]
    pub fn is_of_updates(&self) -> bool {
        self.updates != Found::Whole
    }

    /// True if `commands` is another topic.
    #[must_use]
    pub fn is_of_commands(&self) -> bool {
        self.commands != Found::Whole
    }
}

/// Settings of an ownership that mends: it stores at once what it has folded.
fn mending_settings() -> Settings {
    Settings {
        accept_loss: true,
        snapshot_max_age_ms: 0,
        snapshot_min_interval_ms: 0,
        checkpoint_interval_ms: 0,
        ..settings(true)
    }
}

impl Process {
    /// Begins an ownership that accepts the loss of records of `updates`, if any are lost. Random
    /// bytes make the id of the new history unique.
    pub fn begin_mending(&mut self, partition: Partition, random: [u8; 10], now: u64, store: &mut Store, log: &Log) {
        let leap = 1 + u64::from(u16::from_be_bytes([random[0], random[1]]));
        let (token, checkpoint) = self.claim(partition, leap, store);
        let updates = &log.updates[partition.0 as usize];
        let updates_from = match recognition::updates(&checkpoint, updates) {
            Found::Whole => None,
            Found::Shorter => Some(None),
            Found::Another => Some(Some(commands_taken_up_at(partition, log).unwrap_or(updates.low()))),
        };
        let commands = &log.commands[partition.0 as usize];
        let is_whole = recognition::commands(&checkpoint, commands) == Found::Whole;
        let commands_from = is_whole.then_some(commands.low());
        let history = HistoryId::new(now, random, checkpoint.history);
        let (id, owner) = self.next_owner();
        let (world, at) = (Arc::clone(&self.world), self.now(now));
        let core = match updates_from {
            None => PartitionCore::new(world, partition, &owner, checkpoint, mending_settings(), at),
            Some(updates_from) => {
                let loss = AcceptedLoss { history, updates_from, commands_from };
                PartitionCore::with_loss(world, partition, (&owner, loss), checkpoint, mending_settings(), at)
            }
        };
        let core = core.without_commands(BTreeSet::new());
        self.own((id, partition, core), token, &checkpoint, log, now);
        // The records by which the log is recognised were compared above.
        if let Some(own) = self.ownerships.last_mut() {
            own.known = [None; 2];
        }
    }

    /// Takes one step of the ownership that mends. Returns false when it has ended.
    pub fn mend_on(&mut self, now: u64) -> bool {
        if let Some(own) = self.ownerships.first()
            && own.core.is_settled()
            && !own.is_draining
        {
            self.ownerships[0].is_draining = true;
            self.give(0, Input::Drain, now);
        }
        self.sweep();
        !self.ownerships.is_empty()
    }

    /// How often an ownership of this process has ended because everything was written.
    #[must_use]
    pub fn drained(&self) -> u64 {
        self.ends.get("drained").copied().unwrap_or_default()
    }

    /// Takes up another topic of `commands` at its beginning: the index forgets the offsets of the
    /// old one, and orders the next owner to begin a history.
    pub fn move_commands(&mut self, partition: Partition, random: [u8; 10], now: u64, store: &mut Store, log: &Log) {
        let (token, checkpoint) = self.claim(partition, 1, store);
        let Some(token) = token else { return };
        let commands = &log.commands[partition.0 as usize];
        let moved = Checkpoint {
            commands_next: commands.low(),
            commands_print: None,
            history: HistoryId::new(now, random, checkpoint.history),
            commands_anew: true,
            ..checkpoint
        };
        let written = store.forget_commands(partition, token, moved);
        debug_assert!(written.is_ok(), "no other writer opened the index in between");
    }
}

/// The offset of the newest fence that took up another topic of `commands`.
fn commands_taken_up_at(partition: Partition, log: &Log) -> Option<Offset> {
    let updates = &log.updates[partition.0 as usize];
    let records = updates.read(updates.low(), (updates.end().0 - updates.low().0) as usize)?;
    let (mut position, mut found) = (Position::START, None);
    for (offset, value) in records {
        let record = UpdatesRecord::decode(value).unwrap_or_default();
        let before = position.history;
        let begins = position.judge(offset, &record) == Validity::Fence && position.history > before;
        if begins && matches!(record.body, Some(Body::Fence(fence)) if fence.commands_anew) {
            found = Some(offset);
        }
    }
    found
}
