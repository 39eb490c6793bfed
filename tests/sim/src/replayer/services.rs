//! The slow operations that ownerships wait for: reads, loads, puts, checkpoints, dead letters.

use super::{Process, Reading, Written};
use crate::log::{DeadLetter, Log, PartitionLog};
use crate::store::Store;
use driftless_chunk::mutant::Mutant;
use driftless_replayer_core::{Input, LoadError, OlderError, OutOfRange, Stored, Stream};
use driftless_schemas::stored::Checkpoint;
use driftless_schemas::{ChunkId, Offset};
use std::rc::Rc;

impl Process {
    /// Reads up to `count` records for the ownership at index `i`. Returns false if there is
    /// nothing to read.
    pub fn read(&mut self, i: usize, count: usize, now: u64, log: &Log) -> bool {
        let own = &mut self.ownerships[i];
        let p = own.partition.0 as usize;
        let is_another = match own.reading {
            Reading::Nothing => return false,
            Reading::Updates(from) => own.finds_another_log(0, from, &log.updates[p]),
            Reading::Commands(from) => own.core.wants_commands() && own.finds_another_log(1, from, &log.commands[p]),
        };
        if is_another {
            return self.end_for_another_log(i, now);
        }
        match own.reading {
            Reading::Nothing => false,
            Reading::Updates(from) => {
                let Some(mut records) = log.updates[p].read(from, count) else {
                    return self.out_of_range(i, Stream::Updates, from, &log.updates[p], now);
                };
                own.reading = Reading::Updates(Offset(from.0 + records.len() as i64));
                let is_fake = Mutant::SkipFence.is_on() || Mutant::ReadToTheEnd.is_on();
                if is_fake && from.0 + records.len() as i64 >= own.end_at_claim.0 {
                    // The mutant behaves as if the owner's fence were the last record of the log at
                    // the claim.
                    records.retain(|(offset, _)| *offset < own.end_at_claim);
                    records.extend(own.fence.take().map(|fence| (own.end_at_claim, fence)));
                }
                if records.is_empty() {
                    return false;
                }
                self.give(i, Input::Updates(records), now);
                true
            }
            Reading::Commands(from) => {
                if !own.core.wants_commands() {
                    return false;
                }
                let Some(records) = log.commands[p].read(from, count) else {
                    return self.out_of_range(i, Stream::Commands, from, &log.commands[p], now);
                };
                if records.is_empty() {
                    return false;
                }
                own.reading = Reading::Commands(Offset(from.0 + records.len() as i64));
                self.give(i, Input::Commands(records), now);
                true
            }
        }
    }

    /// Reports to the core that the log does not hold the offset `wanted`. The core decides whether
    /// the ownership ends.
    fn out_of_range(&mut self, i: usize, stream: Stream, wanted: Offset, log: &PartitionLog, now: u64) -> bool {
        let (low, high) = (log.low(), log.end());
        self.ownerships[i].reading = Reading::Nothing;
        self.give(i, Input::OutOfRange(OutOfRange { stream, wanted, low, high }), now);
        true
    }

    /// Answers the oldest request for a chunk's stored state. The load fails unless `works` is
    /// true.
    pub fn load(&mut self, i: usize, works: bool, now: u64, store: &Store) -> bool {
        let own = &mut self.ownerships[i];
        let Some(chunk) = own.loads.pop_front() else { return false };
        // Only a mutant has no token yet.
        let entry = match own.token {
            Some(token) => store.entry(own.partition, token, &chunk),
            None => Ok(store.view(own.partition, 0).entries.get(&chunk).cloned()),
        };
        let loaded = match entry {
            _ if !works || store.is_away => Err(LoadError::Unavailable("the store is away".into())),
            Err(_) => Err(LoadError::Unavailable("the files of the index are gone".into())),
            Ok(None) => Ok(None),
            Ok(Some(entry)) => match store.load(&entry.newest) {
                Ok((_, encoding)) => Ok(Some(Stored { entry, encoding })),
                Err(reason) => Err(LoadError::Lost { entry: Box::new(entry), reason }),
            },
        };
        self.give(i, Input::Loaded(chunk, loaded), now);
        true
    }

    /// Reads records, or loads the object of an older ref, for the reconstruction of a lost object.
    pub fn read_history(
        &mut self,
        i: usize,
        count: usize,
        works: bool,
        now: u64,
        store: &mut Store,
        log: &Log,
    ) -> bool {
        let own = &mut self.ownerships[i];
        if !store.is_away && works {
            for (hash, encoding) in own.repairs.drain(..) {
                store.put(hash, &encoding);
            }
        }
        if let Some((chunk, stored)) = own.older.pop_front() {
            let loaded = match works && !store.is_away {
                true => store.load(&stored).map(|(_, encoding)| encoding).map_err(|_| OlderError::Lost),
                false => Err(OlderError::Unavailable),
            };
            self.give(i, Input::OlderLoaded(chunk, loaded), now);
            return true;
        }
        let Some(from) = own.history else { return false };
        let updates = &log.updates[own.partition.0 as usize];
        if own.losses[0] != updates.losses() {
            return self.end_for_another_log(i, now);
        }
        let Some(records) = updates.read(from, count) else {
            own.history = None;
            let (low, high) = (updates.low(), updates.end());
            let range = OutOfRange { stream: Stream::History, wanted: from, low, high };
            self.give(i, Input::OutOfRange(range), now);
            return true;
        };
        if records.is_empty() {
            return false;
        }
        own.history = Some(Offset(from.0 + records.len() as i64));
        self.give(i, Input::History(records), now);
        true
    }

    /// Answers the question for the end of `commands`.
    pub fn say_commands_end(&mut self, i: usize, now: u64, log: &Log) {
        let own = &mut self.ownerships[i];
        if std::mem::take(&mut own.asks_commands_end) {
            let end = log.commands[own.partition.0 as usize].end();
            self.give(i, Input::CommandsEnd(end), now);
        }
    }

    /// Delivers records that an ownership reads back. Returns false if there is none to deliver.
    pub fn read_back(&mut self, i: usize, count: usize, now: u64, log: &Log) -> bool {
        let own = &mut self.ownerships[i];
        let Some(from) = own.read_back else { return false };
        let updates = &log.updates[own.partition.0 as usize];
        if own.losses[0] != updates.losses() {
            return self.end_for_another_log(i, now);
        }
        let Some(records) = updates.read(from, count) else {
            own.read_back = None;
            let (low, high) = (updates.low(), updates.end());
            self.give(i, Input::OutOfRange(OutOfRange { stream: Stream::ReadBack, wanted: from, low, high }), now);
            return true;
        };
        if records.is_empty() {
            return false;
        }
        own.read_back = Some(Offset(from.0 + records.len() as i64));
        self.give(i, Input::ReadBack(records), now);
        true
    }

    /// Injects a fault: bits flip in an owner's memory of a chunk.
    pub fn damage(&mut self, i: usize, chunk: &ChunkId, now: u64) {
        self.give(i, Input::Damage(chunk.clone()), now);
    }

    /// Stores the oldest waiting snapshot. The put fails unless `works` is true.
    pub fn put(&mut self, i: usize, works: bool, now: u64, store: &mut Store) -> bool {
        let own = &mut self.ownerships[i];
        let Some((chunk, hash, encoding)) = own.puts.pop_front() else { return false };
        let result = match works && !store.is_away {
            true => {
                store.put(hash, &encoding);
                Ok(())
            }
            false => Err("the store is away".into()),
        };
        self.give(i, Input::SnapshotPut(chunk, hash, result), now);
        true
    }

    /// Writes the checkpoint to the index. The write fails unless `works` is true. The core learns
    /// the result later, from [`Process::report_checkpoint`].
    pub fn write(&mut self, i: usize, works: bool, store: &mut Store) -> Option<Written> {
        let own = &mut self.ownerships[i];
        let token = own.token?;
        let (checkpoint, entries) = own.checkpoint.take()?;
        if store.is_away || !works {
            own.written = Some(Err("the store is away".into()));
            return None;
        }
        let mut written = store.write(own.partition, token, checkpoint, &entries);
        if written.is_err() && Mutant::ReopenIndex.is_on() {
            let (token, _) = store.open(own.partition);
            own.token = Some(token);
            written = store.write(own.partition, token, checkpoint, &entries);
        }
        let is_written = written.is_ok();
        own.written = Some(written.map_err(|_| "fenced".into()));
        is_written.then(|| (own.partition, store.view(own.partition, 0)))
    }

    /// Reports the result of a checkpoint to its core. Returns false if there is no result.
    pub fn report_checkpoint(&mut self, i: usize, now: u64) -> bool {
        let Some(written) = self.ownerships[i].written.take() else { return false };
        self.give(i, Input::CheckpointWritten(written), now);
        true
    }

    /// Appends the oldest waiting copy to `dead-letter`, and acknowledges the copy to the core.
    pub fn copy_dead_letter(&mut self, i: usize, now: u64, log: &mut Log) -> bool {
        let own = &mut self.ownerships[i];
        let Some((id, offset)) = own.letters.pop_front() else { return false };
        log.dead_letters.push(DeadLetter { partition: own.partition, offset });
        self.give(i, Input::DeadLettered(id), now);
        true
    }

    /// Advances the clock of an ownership to `now`.
    pub fn tick(&mut self, i: usize, now: u64) {
        self.give(i, Input::Tick, now);
    }

    /// For [`Mutant::OpenIndexAfterFence`]: opens the index after the fence has been appended.
    pub fn open_late(&mut self, i: usize, store: &mut Store) {
        let own = &mut self.ownerships[i];
        if own.token.is_none() && own.core.is_running() {
            let (token, mut state) = store.open(own.partition);
            own.token = Some(token);
            let checkpoint = Checkpoint { epoch: state.checkpoint.epoch.next(), ..Rc::make_mut(&mut state).checkpoint };
            let written = store.write(own.partition, token, checkpoint, &[]);
            debug_assert!(written.is_ok(), "no other writer opened the index in between");
        }
    }
}
