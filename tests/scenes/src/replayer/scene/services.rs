//! The services around the owners. Their methods let records reach the log, get acknowledged or get
//! lost, and answer loads, puts and checkpoints. A method returns false if the owner has no such
//! request.

use super::Scene;
use bytes::Bytes;
use driftless_replayer_core::{End, Input, LoadError, Stored};
use driftless_schemas::Offset;
use driftless_schemas::proto::{Fence, UpdatesRecord, updates_record::Body};
use driftless_schemas::stored::IndexEntry;
use prost::Message;

impl Scene {
    /// Lets the next record of an owner reach the log.
    pub fn land(&mut self, owner: usize) -> bool {
        let Some((n, value)) = self.owners[owner].to_append.pop_front() else { return false };
        let offset = Offset(self.updates.len() as i64);
        self.owners[owner].landed.push_back((n, offset));
        let record = UpdatesRecord::decode(value.clone()).unwrap();
        self.updates.push(value);
        let is_valid = self.last_valid.accepts(&record);
        self.last_valid_at.push(self.last_valid);
        if is_valid && let Some(Body::Decisions(decisions)) = record.body {
            self.check_decisions(offset, &decisions);
        }
        true
    }

    /// Appends a fence with the next epoch, as an owner with another index does.
    pub fn append_foreign_fence(&mut self) {
        let body = Some(Body::Fence(Fence { owner: "another index".into(), ..Fence::default() }));
        let record = UpdatesRecord { epoch: self.checkpoint.epoch.next().0, n: 0, body };
        assert!(self.last_valid.accepts(&record));
        self.updates.push(record.encode_to_vec().into());
        self.last_valid_at.push(self.last_valid);
    }

    /// Acknowledges the oldest unacknowledged record of an owner. The owner learns the record's
    /// offset only if `knows_offset` is true.
    pub fn ack(&mut self, owner: usize, knows_offset: bool) -> bool {
        let Some((n, offset)) = self.owners[owner].landed.pop_front() else { return false };
        if self.owners[owner].was_failed {
            return true;
        }
        self.owners[owner].acked = offset.next();
        self.give(owner, Input::Acked(n, knows_offset.then_some(offset)));
        true
    }

    /// Lets the owner's producer append all its unacknowledged records in the log a second time,
    /// before later records (docs/decisions/0012).
    pub fn write_again(&mut self, owner: usize) -> bool {
        let o = &mut self.owners[owner];
        let is_any = !o.landed.is_empty();
        while let Some((n, offset)) = o.landed.pop_back() {
            o.to_append.push_front((n, self.updates[offset.0 as usize].clone()));
        }
        is_any
    }

    /// Lets an append fail. If `is_lost` is true, the record never reaches the log, but later
    /// records may.
    pub fn fail(&mut self, owner: usize, is_lost: bool) -> bool {
        let o = &mut self.owners[owner];
        let Some(n) = o.landed.front().map(|l| l.0).or_else(|| o.to_append.front().map(|a| a.0)) else { return false };
        if o.was_failed {
            return false;
        }
        o.was_failed = true;
        o.landed.clear();
        if is_lost && o.to_append.front().is_some_and(|a| a.0 == n) {
            o.to_append.pop_front();
        }
        self.give(owner, Input::AppendFailed(n, "lost".into()));
        assert!(self.owners[owner].core.is_none() || self.owners[owner].end.is_some());
        true
    }

    /// Answers the next load of an owner, with the stored state or with a failure.
    pub fn load(&mut self, owner: usize, is_ok: bool) -> bool {
        let Some(chunk) = self.owners[owner].loads.pop_front() else { return false };
        let stored =
            self.index.get(&chunk).map(|entry| Stored { entry: entry.clone(), encoding: self.encoding(entry) });
        self.owners[owner].was_away |= !is_ok;
        let loaded = if is_ok { Ok(stored) } else { Err(LoadError::Unavailable("the store is away".into())) };
        self.give(owner, Input::Loaded(chunk, loaded));
        true
    }

    pub(super) fn encoding(&self, entry: &IndexEntry) -> Bytes {
        self.objects.get(&entry.newest.hash).expect("r6: a ref without its object").clone()
    }

    /// Stores the next object of an owner, or tells the owner that this failed.
    pub fn put(&mut self, owner: usize, is_ok: bool) -> bool {
        let Some((chunk, hash, encoding)) = self.owners[owner].puts.pop_front() else { return false };
        if is_ok {
            self.objects.insert(hash, encoding);
        }
        let result = if is_ok { Ok(()) } else { Err("the store is away".into()) };
        self.give(owner, Input::SnapshotPut(chunk, hash, result));
        true
    }

    /// Acknowledges the next copy to `dead-letter` of an owner.
    pub fn bury(&mut self, owner: usize) -> bool {
        let Some((id, offset)) = self.owners[owner].dead_letters.pop_front() else { return false };
        self.dead_letters.insert(offset);
        self.give(owner, Input::DeadLettered(id));
        true
    }

    /// Writes the owner's batch to the index. The owner does not learn the result yet. If `is_ok`
    /// is false, the owner will be told of a failure although the batch is durable.
    pub fn write(&mut self, owner: usize, is_ok: bool) -> bool {
        let o = &mut self.owners[owner];
        let Some((checkpoint, entries)) = o.checkpoint.take() else { return false };
        if o.epoch != self.checkpoint.epoch.0 {
            o.written = Some(Err("fenced".into()));
            return true;
        }
        o.was_failed |= !is_ok;
        o.written = Some(if is_ok { Ok(()) } else { Err("no answer".into()) });
        self.check_refs(owner, &entries);
        for (chunk, entry) in entries {
            self.refs.push((chunk.clone(), entry.newest.clone()));
            self.index.insert(chunk, entry);
        }
        self.checkpoint = checkpoint;
        self.check_checkpoint(owner);
        self.check_restore();
        true
    }

    /// Tells an owner the result of its last write to the index.
    pub fn tell_written(&mut self, owner: usize) -> bool {
        let Some(result) = self.owners[owner].written.take() else { return false };
        self.give(owner, Input::CheckpointWritten(result));
        true
    }

    pub fn read_updates(&mut self, owner: usize, count: usize) -> bool {
        let Some(from) = self.owners[owner].reads_updates else { return false };
        let records = slice(&self.updates, from, count);
        let Some(last) = records.last().map(|r| r.0) else { return false };
        self.owners[owner].reads_updates = Some(last.next());
        self.give(owner, Input::Updates(records));
        true
    }

    /// Delivers records that an owner reads back.
    pub fn read_back(&mut self, owner: usize, count: usize) -> bool {
        let Some(from) = self.owners[owner].reads_back else { return false };
        let records = slice(&self.updates, from, count);
        let Some(last) = records.last().map(|r| r.0) else { return false };
        self.owners[owner].reads_back = Some(last.next());
        self.give(owner, Input::ReadBack(records));
        true
    }

    pub fn read_commands(&mut self, owner: usize, count: usize) -> bool {
        let o = &mut self.owners[owner];
        let (Some(from), Some(core)) = (o.reads_commands, &o.core) else { return false };
        let records = slice(&self.commands, from, count);
        let Some(last) = records.last().map(|r| r.0) else { return false };
        if !core.wants_commands() {
            return false;
        }
        o.reads_commands = Some(last.next());
        self.give(owner, Input::Commands(records));
        true
    }

    pub fn tick(&mut self, owner: usize, ms: u64) {
        self.now_ms += ms;
        self.give(owner, Input::Tick);
    }

    /// Answers all requests that an owner has now.
    pub fn serve(&mut self, owner: usize) {
        while self.land(owner) {}
        while self.ack(owner, true) {}
        while self.read_updates(owner, 7) {}
        while self.read_back(owner, 7) {}
        while self.load(owner, true) {}
        while self.put(owner, true) {}
        while self.bury(owner) {}
        self.write(owner, true);
        self.tell_written(owner);
        while self.read_commands(owner, 7) {}
        self.tick(owner, 50);
    }

    /// Adds a last owner and runs it without failures. It must decide every command, store every
    /// chunk, and shut down cleanly.
    pub fn finish(&mut self) {
        let owner = self.claim();
        for round in 0.. {
            for zombie in 0..owner {
                self.land(zombie);
            }
            self.serve(owner);
            assert_eq!(self.owners[owner].end, None);
            let stats = self.core(owner).stats();
            let is_done = self.core(owner).commands_next().0 == self.commands.len() as i64;
            if is_done && stats.dirty_chunks == 0 && stats.commands_open == 0 {
                break;
            }
            let next = self.core(owner).commands_next();
            assert!(round < 400, "the last owner makes no progress: {stats:?}, commands_next {next}");
        }
        for (chunk, reference) in &self.references {
            assert_eq!(reference.decided, reference.marks.len(), "r2: a command of {chunk} is lost");
        }
        assert_eq!(self.dead_letters, self.buried, "r9: dead letters");
        self.give(owner, Input::Drain);
        for _ in 0..10 {
            self.serve(owner);
        }
        assert_eq!(self.owners[owner].end, Some(End::Drained));
        assert_eq!(self.checkpoint.commands_next.0, self.commands.len() as i64);
        self.check_restore();
    }
}

fn slice(log: &[Bytes], from: Offset, count: usize) -> Vec<(Offset, Bytes)> {
    let all = log.iter().enumerate().skip(from.0 as usize).take(count.max(1));
    all.map(|(i, value)| (Offset(i as i64), value.clone())).collect()
}
