//! Handles records of `updates`: judges them (R4), folds them into replicas, compares hashes (R10),
//! and sends the updates to the trackers.

use super::Hub;
use crate::chunk::{Chunk, Waiting};
use crate::messages::Output;
use crate::partitions::Fault;
use crate::ring::Record;
use crate::socket::{Lag, SocketId};
use bytes::{Bytes, BytesMut};
use driftless_chunk::live::read_updates;
use driftless_chunk::mutant::Mutant;
use driftless_chunk::position::{Position, Validity};
use driftless_chunk::replica::ApplyError;
use driftless_schemas::proto::{
    self, Decisions, Have, Lagging, Outcome, Outcomes, UpdatesRecord, event, mark, outcome, updates_record::Body,
};
use driftless_schemas::stored::StoredRef;
use driftless_schemas::{ChunkId, Offset, Partition, WriterId, format, limits};
use std::collections::hash_map::Entry;

/// Updates of one chunk in one turn, to be sent to its trackers.
pub(super) struct TurnUpdates {
    /// The chunk's state before these updates, which is the state that the chunk's trackers have.
    before: Option<Have>,
    /// The frames of the records that committed updates, one for each record.
    frames: Vec<Bytes>,
    /// Outcomes of commands that were not committed: the number of `frames` that precede them, the
    /// writer who gets them, and the outcomes.
    outcomes: Vec<(usize, WriterId, Outcomes)>,
}

impl TurnUpdates {
    fn new(before: Option<Have>) -> Self {
        Self { before, frames: Vec::new(), outcomes: Vec::new() }
    }

    /// Adds a record: first its updates, then its outcomes.
    fn add(&mut self, frame: Bytes, outcomes: Vec<(WriterId, Outcomes)>) {
        if !frame.is_empty() {
            self.frames.push(frame);
        }
        let after = self.frames.len();
        self.outcomes.extend(outcomes.into_iter().map(|(writer, outcomes)| (after, writer, outcomes)));
    }

    /// Returns true if the writer is an author, which means that it has outcomes in this turn.
    fn is_author(&self, writer: WriterId) -> bool {
        self.outcomes.iter().any(|(_, author, _)| *author == writer)
    }

    /// The updates for all trackers except authors, as one frame. Concatenated `ServerFrame`s are a
    /// valid `ServerFrame`.
    fn joined(&self) -> Bytes {
        match &self.frames[..] {
            [one] => one.clone(),
            many => many.concat().into(),
        }
    }

    /// The updates, with the outcomes of one author between them, as one frame.
    fn joined_for(&self, writer: WriterId) -> Bytes {
        let mut joined = BytesMut::new();
        let mut rest = self.frames.iter();
        let mut taken = 0;
        for (after, _, outcomes) in self.outcomes.iter().filter(|(_, author, _)| *author == writer) {
            rest.by_ref().take(after - taken).for_each(|frame| joined.extend_from_slice(frame));
            taken = *after;
            format::push_event(&mut joined, event::Body::Outcomes(outcomes.clone()));
        }
        rest.for_each(|frame| joined.extend_from_slice(frame));
        joined.freeze()
    }
}

impl Hub {
    pub(super) fn take_records(&mut self, partition: Partition, records: Vec<(Offset, Bytes)>) {
        for (offset, value) in records {
            let Some(state) = self.partition_mut(partition).filter(|state| state.is_reading()) else { return };
            if let Some(found) = state.contradiction(offset, &value) {
                return self.degrade(partition, Fault::AnotherLog { found, offset });
            }
            if offset < state.position.offset {
                continue;
            }
            let record = match format::decode_known::<UpdatesRecord>("UpdatesRecord", value) {
                Ok(record) => record,
                Err(e) => return self.degrade(partition, Fault::Record { offset, reason: e.to_string() }),
            };
            let at = Position { offset, ..state.position };
            if state.position.judge(offset, &record) == Validity::Invalid {
                continue;
            }
            let history = state.position.history;
            if state.begin_history(history) && !Mutant::ServeOldHistory.is_on() {
                return self.degrade(partition, Fault::History(history));
            }
            let taken = match record.body {
                Some(Body::Fence(_)) => Ok(()),
                Some(Body::Decisions(decisions)) => self.take_decisions(partition, at, decisions),
                Some(Body::SnapshotStored(stored)) => self.take_stored(partition, stored),
                None => Err("it has no body that this version knows: upgrade this process".into()),
            };
            if let Err(reason) = taken {
                return self.degrade(partition, Fault::Record { offset, reason });
            }
        }
        self.notice_caught_up(partition);
    }

    /// Returns the chunk with this id, and adds the chunk if the hub does not have it. Fails with a
    /// reason if the id is malformed, or the world has no place for the chunk in this partition
    /// (R1).
    fn chunk_of(&mut self, partition: Partition, id: &str) -> Result<(ChunkId, &mut Chunk), String> {
        let chunk: ChunkId = id.parse().map_err(|e: driftless_schemas::ChunkIdError| e.to_string())?;
        let world = &self.world;
        let elsewhere = |other| Err(format!("it is about {chunk}, which belongs to partition {other}"));
        let entry = match self.chunks.entry(chunk.clone()) {
            Entry::Occupied(entry) if entry.get().partition != partition => return elsewhere(entry.get().partition),
            Entry::Occupied(entry) => entry.into_mut(),
            Entry::Vacant(entry) => {
                let place = world.place(&chunk).map_err(|e| e.to_string())?;
                if place.partition != partition {
                    return elsewhere(place.partition);
                }
                entry.insert(Chunk::new(place))
            }
        };
        Ok((chunk, entry))
    }

    fn take_decisions(&mut self, partition: Partition, at: Position, decisions: Decisions) -> Result<(), String> {
        let updates = read_updates(&decisions).map_err(|e| e.to_string())?;
        if updates.as_ref().is_some_and(|u| u.entries.is_empty() || u.first_version == 0) {
            return Err("Updates without entries, or from version 0 on".into());
        }
        let (settings, now) = (self.settings.clone(), self.now);
        let record = Record::new(at, decisions, updates);
        let frame = record.frame.clone();
        let outcomes = private_outcomes(&record.decisions);
        let (id, chunk) = self.chunk_of(partition, &record.decisions.chunk_id)?;
        // The replica's version before this record. The chunk's trackers have this version too.
        let had = chunk.live.as_ref().map(|live| live.replica.version());
        chunk.recorded_at = now;
        let before = chunk.ring.bytes();
        let pushed = chunk.push(record, &settings);
        let added = chunk.ring.bytes() - before;
        let is_new_in_order = !std::mem::replace(&mut chunk.is_in_eviction_order, true);
        self.ring_bytes += added;
        self.eviction_order.extend(is_new_in_order.then(|| id.clone()));
        let Some(chunk) = self.chunks.get_mut(&id) else { return Ok(()) };
        if let Err(e) = pushed {
            if let ApplyError::Hash { version, found, .. } = &e {
                // Ask for an audit, because the owner may have drifted instead of this gateway. The
                // owner's next snapshots would then be wrong too.
                self.audit(&id, *version, *found);
            }
            self.rebuild(&id, &e.to_string());
            return Ok(());
        }
        if let Some(had) = had {
            let is_wanted = chunk.is_wanted();
            if !chunk.trackers.is_empty() {
                let Self { turn_updates, chunks, .. } = self;
                let before = || chunks.get(&id)?.published_at(had);
                let updates = turn_updates.entry(id.clone()).or_insert_with(|| TurnUpdates::new(before()));
                updates.add(frame, outcomes);
            }
            if is_wanted {
                // The answers to waiting Tracks contain this record, so first send its updates to
                // the sockets that are trackers already.
                self.flush_updates(&id);
                self.answer_waiting(&id);
            }
        }
        Ok(())
    }

    /// Sends a chunk's updates of this turn now, before anything else about the chunk.
    pub(super) fn flush_updates(&mut self, id: &ChunkId) {
        if let Some(updates) = self.turn_updates.remove(id) {
            self.send_updates(id, updates);
        }
    }

    /// Sends the same bytes to all trackers. Only an author gets bytes of its own, with its
    /// outcomes between the updates.
    pub(super) fn send_updates(&mut self, id: &ChunkId, updates: TurnUpdates) {
        let Some(chunk) = self.chunks.get(id) else { return };
        let all = updates.joined();
        let max = self.queue_bytes_max();
        let (mut slow, mut queued) = (Vec::new(), 0);
        for socket_id in &chunk.trackers {
            let Some(socket) = self.sockets.get_mut(socket_id) else { continue };
            if !socket.lagging.is_empty() && socket.lagging.contains_key(id) {
                continue;
            }
            let is_author = updates.is_author(socket.joined.writer);
            if all.is_empty() && !is_author {
                continue;
            }
            // An empty queue takes a single record of any size, because the record cannot be sent
            // in smaller parts.
            let is_alone = socket.queued_bytes == 0 && updates.frames.len() <= 1;
            if !is_alone && socket.queued_bytes + all.len() > max {
                slow.push(*socket_id);
                continue;
            }
            let frame = if is_author { updates.joined_for(socket.joined.writer) } else { all.clone() };
            let before = socket.queued_bytes;
            if socket.send(frame) {
                self.turn_sockets.push(*socket_id);
            }
            queued += socket.queued_bytes - before;
        }
        self.queued_bytes += queued;
        for socket_id in slow {
            self.begin_lagging(socket_id, id, updates.before.clone());
        }
    }

    /// Marks a chunk as lagging for a slow socket: the hub skips the chunk's updates for this
    /// socket until the socket's queue has drained. Then the hub sends all that the client misses
    /// after the state `sent`, so the client never sees a gap (R9).
    pub(super) fn begin_lagging(&mut self, socket_id: SocketId, id: &ChunkId, sent: Option<Have>) {
        let Some(socket) = self.sockets.get_mut(&socket_id) else { return };
        socket.lagging.insert(id.clone(), Lag { have: sent, since: self.now });
        self.lagging += 1;
        self.outputs.push_back(Output::LaggingBegan);
        self.send_event(socket_id, event::Body::Lagging(Lagging { chunk_id: id.to_string() }));
    }

    /// Counts and reports the end of a lag that the caller has removed from a socket. Does nothing
    /// for `None`.
    pub(super) fn end_lagging(&mut self, lag: Option<Lag>) {
        if let Some(lag) = lag {
            self.lagging = self.lagging.saturating_sub(1);
            self.outputs.push_back(Output::LaggingEnded(self.now.ms_since(lag.since)));
        }
    }

    /// Handles the report that bytes were written to the socket. Brings lagging chunks up to date
    /// and answers more Tracks, as far as the socket's queue has room.
    pub(super) fn take_written(&mut self, id: SocketId, bytes: usize) {
        let Some(socket) = self.sockets.get_mut(&id) else { return };
        let written = bytes.min(socket.queued_bytes);
        socket.queued_bytes -= written;
        self.queued_bytes -= written;
        let is_idle = socket.lagging.is_empty() && socket.next_answer().is_none();
        if is_idle || socket.queued_bytes > self.queue_bytes_max() / 4 {
            return;
        }
        // Fill the queue up to its limit; the other chunks wait until the queue has drained again.
        let max = self.queue_bytes_max();
        while let Some(socket) = self.sockets.get_mut(&id).filter(|socket| socket.queued_bytes <= max)
            && let Some((chunk, lag)) = socket.next_lagging()
        {
            let have = lag.have.clone();
            self.end_lagging(Some(lag));
            if Mutant::SkipWhileLagging.is_on() {
                continue;
            }
            self.answer_track(id, &chunk, have.as_ref());
        }
        self.answer_in_order(id);
    }

    fn take_stored(&mut self, partition: Partition, stored: proto::SnapshotStored) -> Result<(), String> {
        let Some(r) = stored.r#ref else { return Err("a SnapshotStored without a ref".into()) };
        let r = StoredRef::from_proto(r).map_err(|e| e.to_string())?;
        let (settings, now) = (self.settings.clone(), self.now);
        let (id, chunk) = self.chunk_of(partition, &stored.chunk_id)?;
        let before = chunk.ring.bytes();
        let compared = chunk.take_ref(r, &settings, now);
        let after = chunk.ring.bytes();
        self.ring_bytes = self.ring_bytes + after - before;
        if let Err(e) = compared {
            self.rebuild(&id, &format!("the stored snapshot differs: {e}"));
        }
        // The content has grown or shrunk since it was loaded.
        self.charge(&id);
        Ok(())
    }

    /// R10: drops a replica that differs from the log and begins to restore it from stored state
    /// and log. All trackers of the chunk then wait for the restored state.
    pub(super) fn rebuild(&mut self, id: &ChunkId, reason: &str) {
        self.flush_updates(id);
        self.outputs.push_back(Output::Drift(id.clone(), reason.to_owned()));
        let Some(chunk) = self.chunks.get_mut(id) else { return };
        chunk.live = None;
        chunk.base = None;
        chunk.charge = None;
        let trackers = std::mem::take(&mut chunk.trackers);
        chunk.waiting.extend(trackers.iter().map(|id| (*id, Waiting { have: None, behind_since: None })));
        let is_wanted = chunk.is_wanted();
        for socket_id in trackers {
            let lag = self.sockets.get_mut(&socket_id).and_then(|socket| socket.lagging.remove(id));
            self.end_lagging(lag);
        }
        if is_wanted {
            self.begin_load(id);
        }
    }

    /// Keeps the memory of all rings below its limit.
    ///
    /// The first round drops records of chunks that have a replica, except the newest few: clients
    /// that resume then get a whole state instead of updates. The second round drops all records,
    /// which the gateway must read from the log again when a client tracks the chunk.
    pub(super) fn evict(&mut self) {
        let max = self.settings.rings_bytes_max.unwrap_or(limits::RINGS_BYTES_MAX);
        if self.ring_bytes <= max {
            return;
        }
        let enough = max - max / 8;
        for round in [EvictionRound::AllButKept, EvictionRound::All] {
            for _ in 0..self.eviction_order.len() {
                let Some(id) = self.eviction_order.pop_front() else { return };
                let Some(chunk) = self.chunks.get_mut(&id) else { continue };
                let before = chunk.ring.bytes();
                match round {
                    // A load in flight needs the records that the ring had when the load began.
                    _ if chunk.is_loading() => {}
                    EvictionRound::AllButKept if chunk.live.is_some() => chunk.evict(self.settings.ring_kept),
                    EvictionRound::AllButKept => {}
                    EvictionRound::All => chunk.evict(0),
                }
                let after = chunk.ring.bytes();
                self.ring_bytes = self.ring_bytes + after - before;
                match after {
                    0 => chunk.is_in_eviction_order = false,
                    _ => self.eviction_order.push_back(id),
                }
                if self.ring_bytes <= enough {
                    return;
                }
            }
        }
    }
}

#[derive(Clone, Copy)]
enum EvictionRound {
    /// Drops all records but the newest `ring_kept` of each chunk that has a replica.
    AllButKept,
    /// Drops all records of each chunk.
    All,
}

/// The outcomes of commands that were not committed, by writer. Only the writer itself gets them.
fn private_outcomes(decisions: &Decisions) -> Vec<(WriterId, Outcomes)> {
    let mut by_writer: Vec<(WriterId, Outcomes)> = Vec::new();
    for mark in &decisions.marks {
        let outcome = match &mark.outcome {
            Some(mark::Outcome::Discarded(d)) => outcome::Outcome::Discarded(d.clone()),
            Some(mark::Outcome::OutOfOrder(o)) => outcome::Outcome::OutOfOrder(*o),
            Some(mark::Outcome::SessionExpired(e)) => outcome::Outcome::SessionExpired(*e),
            Some(mark::Outcome::Committed(_)) | None => continue,
        };
        let Some(writer) = WriterId::from_slice(&mark.writer) else { continue };
        let outcome = Outcome { seq: mark.seq, outcome: Some(outcome) };
        match by_writer.iter_mut().find(|(other, _)| *other == writer) {
            Some((_, outcomes)) => outcomes.outcomes.push(outcome),
            None => {
                let outcomes = Outcomes { chunk_id: decisions.chunk_id.clone(), outcomes: vec![outcome] };
                by_writer.push((writer, outcomes));
            }
        }
    }
    by_writer
}
