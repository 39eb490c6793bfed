//! Reading `updates` from the checkpoint's `updates_low` up to the own fence (DESIGN.md section 6, step 3).

use super::{PartitionCore, Phase};
use crate::messages::{End, Output};
use crate::slots::{Loading, Recovered, State, fold_recovered};
use crate::working::Call;
use bytes::Bytes;
use driftless_chunk::position::{Position, Validity};
use driftless_schemas::proto::UpdatesRecord;
use driftless_schemas::{ChunkId, Epoch, Offset, format};
use std::panic::{AssertUnwindSafe, catch_unwind};

impl PartitionCore {
    /// The log begins above `updates_low`: what stood in between is lost.
    pub(super) fn updates_are_cut(&mut self, low: Offset) {
        if self.phase == Phase::Recovering && self.settings.accept_loss {
            self.reading = Position { offset: low, ..Position::START };
            self.is_adopting = true;
            self.outputs.push_back(Output::ReadUpdates(low));
        }
    }

    pub(super) fn recover(&mut self, records: Vec<(Offset, Bytes)>, now_ms: u64) {
        for (offset, value) in records {
            if self.phase != Phase::Recovering {
                return;
            }
            let record = match read_record(value) {
                Ok(record) => record,
                Err(reason) => return self.end(End::Unreadable { offset, reason }),
            };
            if std::mem::take(&mut self.is_adopting) && record.n > 0 {
                // Whoever wrote it: there is nobody left who could say that it does not count.
                self.reading = Position { epoch: Epoch(record.epoch), n: record.n - 1, ..self.reading };
            }
            let before = Position { offset, ..self.reading };
            match self.reading.judge(offset, &record) {
                Validity::Invalid => {}
                Validity::Fence if record.epoch > self.epoch.0 => {
                    return self.end(End::Replaced { epoch: Epoch(record.epoch) });
                }
                Validity::Fence if record.epoch == self.epoch.0 => self.begin_running(),
                Validity::Fence => {}
                Validity::Valid => {
                    if let Err(reason) = self.note_recovered(before, record, now_ms) {
                        return self.end(End::Unreadable { offset, reason });
                    }
                }
            }
        }
    }

    fn note_recovered(&mut self, before: Position, record: UpdatesRecord, now_ms: u64) -> Result<(), String> {
        let Some((chunk, recovered)) = Recovered::read(record)? else { return Ok(()) };
        self.recovered_through = self.recovered_through.max(recovered.through());
        // Their copies may have been lost with their owner; where they were not, there are two.
        self.faulted.extend(recovered.model_faults().filter(|offset| *offset >= self.commands_from));
        if matches!(recovered, Recovered::Stored(_)) && !self.slots.contains_key(&chunk) {
            // Nothing to fold for it: no reason to load it.
            return Ok(());
        }
        let place = self.world.place(&chunk).map_err(|e| e.to_string())?;
        self.use_slot(&chunk, || place);
        match self.slots.get_mut(&chunk).map(|slot| &mut slot.state) {
            None => debug_assert!(false, "use_slot makes the slot"),
            Some(State::Loading(loading)) => {
                loading.bound.get_or_insert(before);
                loading.recovered.push(recovered);
                self.unstored.insert(chunk);
            }
            // Its state arrived while the log was still being read.
            Some(State::Live(held) | State::Checking(held, _)) => {
                let accept_loss = self.settings.accept_loss;
                self.working.call(&chunk, Call::Restore);
                held.recovered.push(recovered);
                let lost_before = held.lost;
                let folding = AssertUnwindSafe(|| {
                    let newest = held.recovered.last().map(std::slice::from_ref).unwrap_or_default();
                    let folded =
                        fold_recovered(&mut held.live, newest, &mut held.published, accept_loss, &mut held.lost)?;
                    held.live.replica.hash();
                    Ok(folded)
                });
                match catch_unwind(folding).unwrap_or_else(|_| Err("its model panicked while folding".to_owned())) {
                    Ok(0) => {}
                    Ok(folded) => {
                        held.soil(before, now_ms, folded);
                        self.unstored.insert(chunk.clone());
                        if held.lost > lost_before {
                            self.tell_lost(&chunk);
                        }
                    }
                    Err(reason) => {
                        self.load_again(&chunk, before, reason, now_ms);
                        return Ok(());
                    }
                }
                self.compare_with_published(&chunk);
            }
        }
        Ok(())
    }

    /// What came while it was live already does not fit: as if it had all come before, it waits until it does.
    fn load_again(&mut self, chunk: &ChunkId, before: Position, reason: String, now_ms: u64) {
        let Some(slot) = self.slots.get_mut(chunk) else { return };
        if let State::Live(held) | State::Checking(held, _) =
            std::mem::replace(&mut slot.state, State::Loading(Loading::default()))
        {
            self.stats.chunk_bytes = self.stats.chunk_bytes.saturating_sub(held.bytes);
            let bound = held.dirty.map_or(before, |dirty| dirty.bound);
            slot.state =
                State::Loading(Loading { bound: Some(bound), recovered: held.recovered, ..Loading::default() });
            self.unstored.insert(chunk.clone());
        }
        self.load_failed(chunk, reason, now_ms);
    }

    fn begin_running(&mut self) {
        for slot in self.slots.values_mut() {
            if let State::Live(held) | State::Checking(held, _) = &mut slot.state {
                held.recovered = Vec::new();
            }
        }
        self.known = self.reading;
        // The own fence was the last that was read.
        self.acked_at = Some(Offset(self.reading.offset.0 - 1));
        self.phase = Phase::Running;
        self.outputs.push_back(Output::ReadCommands(self.commands_from));
    }
}

/// A record of `updates`, or why this version cannot read it.
pub(super) fn read_record(value: Bytes) -> Result<UpdatesRecord, String> {
    match format::decode_known("UpdatesRecord", value) {
        Ok(UpdatesRecord { body: None, .. }) => {
            Err("it has no body that this version knows; upgrade this process".into())
        }
        Ok(record) => Ok(record),
        Err(e) => Err(e.to_string()),
    }
}
