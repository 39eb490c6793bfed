//! What the log says: folded, compared, and told to the trackers.

use super::Hub;
use crate::chunk::{Chunk, Waiting};
use crate::messages::Output;
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
use driftless_schemas::{ChunkId, Offset, Partition, WriterId, format};

/// What the trackers of a chunk are to get of one turn's records.
pub(super) struct TurnUpdates {
    /// What they had before.
    before: Option<Have>,
    /// The records' updates.
    frames: Vec<Bytes>,
    /// Outcomes for their own writer, and how many of the frames go before them.
    outcomes: Vec<(usize, WriterId, Outcomes)>,
}

impl TurnUpdates {
    fn after(before: Option<Have>) -> Self {
        Self { before, frames: Vec::new(), outcomes: Vec::new() }
    }

    /// Adds a record; its outcomes come after its updates.
    fn add(&mut self, frame: Bytes, outcomes: Vec<(WriterId, Outcomes)>) {
        if !frame.is_empty() {
            self.frames.push(frame);
        }
        let place = self.frames.len();
        self.outcomes.extend(outcomes.into_iter().map(|(writer, outcomes)| (place, writer, outcomes)));
    }

    fn is_author(&self, writer: WriterId) -> bool {
        self.outcomes.iter().any(|(_, author, _)| *author == writer)
    }

    /// For all but the authors of outcomes: frames that are joined are a frame.
    fn joined(&self) -> Bytes {
        match &self.frames[..] {
            [one] => one.clone(),
            many => many.concat().into(),
        }
    }

    fn joined_for(&self, writer: WriterId) -> Bytes {
        let mut joined = BytesMut::new();
        let mut rest = self.frames.iter();
        let mut taken = 0;
        for (place, _, outcomes) in self.outcomes.iter().filter(|(_, author, _)| *author == writer) {
            rest.by_ref().take(place - taken).for_each(|frame| joined.extend_from_slice(frame));
            taken = *place;
            format::push_event(&mut joined, event::Body::Outcomes(outcomes.clone()));
        }
        rest.for_each(|frame| joined.extend_from_slice(frame));
        joined.freeze()
    }
}

impl Hub {
    pub(super) fn take_records(&mut self, partition: Partition, records: Vec<(Offset, Bytes)>, now_ms: u64) {
        let Some(index) = usize::try_from(partition.0).ok().filter(|i| *i < self.positions.len()) else { return };
        for (offset, value) in records {
            if offset < self.positions[index].offset {
                continue;
            }
            let record = match format::decode_known::<UpdatesRecord>("UpdatesRecord", value) {
                Ok(record) => record,
                Err(e) => return self.fatal(partition, offset, &e.to_string()),
            };
            let at = Position { offset, ..self.positions[index] };
            if self.positions[index].judge(offset, &record) == Validity::Invalid {
                continue;
            }
            let taken = match record.body {
                Some(Body::Fence(_)) => Ok(()),
                Some(Body::Decisions(decisions)) => self.take_decisions(at, decisions, now_ms),
                Some(Body::SnapshotStored(stored)) => self.take_stored(stored, now_ms),
                None => Err("it has no body that this version knows: upgrade this process".into()),
            };
            if let Err(reason) = taken {
                return self.fatal(partition, offset, &reason);
            }
        }
    }

    fn fatal(&mut self, partition: Partition, offset: Offset, reason: &str) {
        let topic = &self.world.topics().updates;
        self.outputs.push_back(Output::Fatal(format!("{topic}[{partition}] offset {offset} cannot be read: {reason}")));
    }

    pub(super) fn chunk_of(&mut self, id: &str) -> Result<(ChunkId, &mut Chunk), String> {
        let chunk: ChunkId = id.parse().map_err(|e: driftless_schemas::ChunkIdError| e.to_string())?;
        let world = &self.world;
        let entry = match self.chunks.entry(chunk.clone()) {
            std::collections::hash_map::Entry::Occupied(entry) => entry.into_mut(),
            std::collections::hash_map::Entry::Vacant(entry) => {
                let place = world.place(&chunk).map_err(|e| e.to_string())?;
                entry.insert(Chunk::new(place.family))
            }
        };
        Ok((chunk, entry))
    }

    fn take_decisions(&mut self, at: Position, decisions: Decisions, now_ms: u64) -> Result<(), String> {
        let updates = read_updates(&decisions).map_err(|e| e.to_string())?;
        if updates.as_ref().is_some_and(|u| u.entries.is_empty() || u.first_version == 0) {
            return Err("Updates without entries, or from version 0 on".into());
        }
        let settings = self.settings.clone();
        let record = Record::new(at, decisions, updates);
        let frame = record.frame.clone();
        let outcomes = private_outcomes(&record.decisions);
        let (id, chunk) = self.chunk_of(&record.decisions.chunk_id)?;
        // What the replica, and with it whoever tracks it, had before this record.
        let had = chunk.live.as_ref().map(|live| live.replica.version());
        chunk.recorded_ms = now_ms;
        let before = chunk.ring.bytes();
        let pushed = chunk.push(record, &settings);
        let added = chunk.ring.bytes() - before;
        let is_new_in_order = !std::mem::replace(&mut chunk.is_in_eviction_order, true);
        self.ring_bytes += added;
        self.eviction_order.extend(is_new_in_order.then(|| id.clone()));
        let Some(chunk) = self.chunks.get_mut(&id) else { return Ok(()) };
        if let Err(e) = pushed {
            if let ApplyError::Hash { version, found, .. } = &e {
                // Perhaps the owner's fault: what it stores from here on would be in doubt too.
                self.audit(&id, *version, *found, now_ms);
            }
            self.rebuild(&id, &e.to_string(), now_ms);
            return Ok(());
        }
        if let Some(had) = had {
            let waits = chunk.is_wanted();
            if !chunk.trackers.is_empty() {
                let Self { turn_updates: told, chunks, .. } = self;
                let before = || chunks.get(&id)?.published_at(had);
                let told = told.entry(id.clone()).or_insert_with(|| TurnUpdates::new(before()));
                told.add(frame, outcomes);
            }
            if waits {
                // What they get contains this record.
                self.flush_updates(&id);
                self.answer_waiting(&id, now_ms);
            }
        }
        Ok(())
    }

    pub(super) fn flush_updates(&mut self, id: &ChunkId) {
        if let Some(told) = self.turn_updates.remove(id) {
            self.send_updates(id, told);
        }
    }

    /// The same bytes for everybody; discards and the like to their own writer only, in their place between them.
    pub(super) fn send_updates(&mut self, id: &ChunkId, told: TurnUpdates) {
        let Some(chunk) = self.chunks.get(id) else { return };
        let all = told.joined();
        let max = self.settings.socket_queue_bytes_max;
        let mut slow = Vec::new();
        for socket_id in &chunk.trackers {
            let Some(socket) = self.sockets.get_mut(socket_id) else { continue };
            if !socket.lagging.is_empty() && socket.lagging.contains_key(id) {
                continue;
            }
            let is_author = told.is_author(socket.joined.writer);
            if all.is_empty() && !is_author {
                continue;
            }
            // One record alone fits whatever its size: there is no other way to it.
            let is_alone = socket.queued_bytes == 0 && told.frames.len() <= 1;
            if !is_alone && socket.queued_bytes + all.len() > max {
                slow.push(*socket_id);
                continue;
            }
            let frame = if is_author { told.joined_for(socket.joined.writer) } else { all.clone() };
            if socket.send(frame) {
                self.turn.push(*socket_id);
            }
        }
        for socket_id in slow {
            self.begin_lagging(socket_id, id, told.before.clone());
        }
    }

    /// R9: never a gap. The chunk is skipped for this socket until its queue has drained.
    pub(super) fn begin_lagging(&mut self, socket_id: SocketId, id: &ChunkId, sent: Option<Have>) {
        let Some(socket) = self.sockets.get_mut(&socket_id) else { return };
        socket.lagging.insert(id.clone(), Lag { have: sent, since_ms: self.now_ms });
        self.lagging += 1;
        self.outputs.push_back(Output::LaggingBegan);
        self.send_event(socket_id, event::Body::Lagging(Lagging { chunk_id: id.to_string() }));
    }

    /// A chunk does not lag any more.
    pub(super) fn end_lagging(&mut self, lag: Option<Lag>) {
        if let Some(lag) = lag {
            self.lagging = self.lagging.saturating_sub(1);
            self.outputs.push_back(Output::LaggingEnded(self.now_ms.saturating_sub(lag.since_ms)));
        }
    }

    pub(super) fn take_written(&mut self, id: SocketId, bytes: usize) {
        let Some(socket) = self.sockets.get_mut(&id) else { return };
        socket.queued_bytes = socket.queued_bytes.saturating_sub(bytes);
        let is_idle = socket.lagging.is_empty() && socket.next_answer().is_none();
        if is_idle || socket.queued_bytes > self.settings.socket_queue_bytes_max / 4 {
            return;
        }
        // As much as the queue takes; the others wait until it has drained again.
        let max = self.settings.socket_queue_bytes_max;
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

    fn take_stored(&mut self, stored: proto::SnapshotStored, now_ms: u64) -> Result<(), String> {
        let Some(r) = stored.r#ref else { return Err("a SnapshotStored without a ref".into()) };
        let settings = self.settings.clone();
        let (id, chunk) = self.chunk_of(&stored.chunk_id)?;
        let before = chunk.ring.bytes();
        let compared = chunk.take_ref(r, &settings, now_ms);
        let after = chunk.ring.bytes();
        self.ring_bytes = self.ring_bytes + after - before;
        if let Err(e) = compared {
            self.rebuild(&id, &format!("the stored snapshot differs: {e}"), now_ms);
        }
        Ok(())
    }

    /// R10: a replica that differs is thrown away, made anew from ref and log, and sent to all its trackers.
    pub(super) fn rebuild(&mut self, id: &ChunkId, reason: &str, now_ms: u64) {
        self.flush_updates(id);
        self.outputs.push_back(Output::Drift(id.clone(), reason.to_owned()));
        let Some(chunk) = self.chunks.get_mut(id) else { return };
        chunk.live = None;
        chunk.base = None;
        let trackers = std::mem::take(&mut chunk.trackers);
        chunk.waiting.extend(trackers.iter().map(|id| (*id, Waiting { have: None, behind_since_ms: None })));
        let is_wanted = chunk.is_wanted();
        for socket_id in trackers {
            let lag = self.sockets.get_mut(&socket_id).and_then(|socket| socket.lagging.remove(id));
            self.end_lagging(lag);
        }
        if is_wanted {
            self.begin_load(id, now_ms);
        }
    }

    /// Rings are bounded: the records of replicas that are here go first, but for a few; their trackers only lose the shorter
    /// way to catch up. What else is given up must be read again where somebody tracks the chunk.
    pub(super) fn evict(&mut self) {
        let max = self.settings.rings_bytes_max;
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
                    // A state that is on its way in meets the ring as it was.
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
    AllButKept,
    All,
}

/// What is not committed, by writer.
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
