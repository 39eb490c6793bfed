//! The hub: all chunks and sockets of a gateway.
//!
//! Everything a socket is to get in one turn (one input) leaves in one [`Output::Send`], in order. An answer to Track is
//! taken at one position of the log: version, hash, the tracker's ledger entry and the content agree.

use crate::answer::{Answer, status};
use crate::chunk::{Chunk, Load, RestoreError, Waiting};
use crate::ring::Record;
use crate::settings::Settings;
use crate::socket::{Joined, Socket, SocketId};
use bytes::{Bytes, BytesMut};
use driftless_chunk::ledger::Resolved;
use driftless_chunk::live::read_updates;
use driftless_chunk::mutant::Mutant;
use driftless_chunk::position::{Position, Validity};
use driftless_chunk::replica::ApplyError;
use driftless_chunk::world::{Place, World};
use driftless_schemas::access::Access;
use driftless_schemas::proto::{
    self, Beacon, Beacons, Decisions, Have, Lagging, Outcome, Outcomes, Ref, RefusalCode, Refused, ResolvedExpired,
    TrackRejectCode, TrackRejected, Tracked, UpdatesRecord, event, mark, outcome, request, tracked,
    updates_record::Body,
};
use driftless_schemas::world::Unplaced;
use driftless_schemas::{ChunkId, Hash, Offset, Partition, Seq, Version, WriterId, close, format, limits};
use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::sync::Arc;

/// What comes in.
#[derive(Debug)]
pub enum Input {
    /// Records of one partition of `updates`, in order, going on where the last ones ended.
    Records(Partition, Vec<(Offset, Bytes)>),
    /// A socket has said Hello.
    Joined(SocketId, Joined),
    /// Its token was renewed.
    Renewed(SocketId, Access),
    /// A request other than Hello, Renew, Ping and Pong.
    Request(SocketId, request::Body),
    /// Bytes of [`Output::Send`] were written to the socket.
    Written(SocketId, usize),
    /// The socket is gone.
    Left(SocketId),
    /// The answer to [`Output::Load`]: `None` where nothing is stored.
    Loaded(ChunkId, Result<Option<Loaded>, LoadError>),
    /// A question over HTTP; answered by [`Output::Answer`] with the same number.
    Asked(u64, ChunkId, Ask),
    /// Time has passed.
    Tick,
    /// Bits flip in the memory of a replica, on purpose: to show that drift is found and healed.
    #[cfg(any(debug_assertions, feature = "mutants"))]
    Damage(ChunkId),
}

/// A stored state.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// The ref.
    pub stored: Ref,
    /// The object as it is stored: zstd.
    pub data: Bytes,
    /// The canonical encoding, verified.
    pub encoding: Bytes,
}

/// Why a stored state was not loaded.
#[derive(Clone, Debug)]
pub enum LoadError {
    /// The store does not answer. It may answer later.
    Unavailable(String),
    /// The object is not there, or is not what its name says. The owner may be able to make it again.
    Lost {
        /// The ref that names it.
        stored: Box<Ref>,
        /// What is wrong with it.
        reason: String,
    },
}

/// Of the ref that the log told and the one in the index, the one to load. A view of the index may be ahead of the notices
/// in the log: a gateway that begins behind the decisions that the newer ref contains would miss them if it loaded the
/// older one.
#[must_use]
pub fn newer_ref(told: Option<Ref>, indexed: Option<Ref>) -> Option<Ref> {
    match (told, indexed) {
        (Some(told), Some(indexed)) if indexed.through_offset > told.through_offset => Some(indexed),
        (Some(told), _) => Some(told),
        (None, indexed) => indexed,
    }
}

/// A question over HTTP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ask {
    /// The content.
    Content,
    /// What became of a command.
    Status(WriterId, Seq),
}

/// What is to be done.
#[derive(Debug)]
pub enum Output {
    /// Write these frames to a socket, in order; report the bytes with [`Input::Written`].
    Send(SocketId, Vec<Bytes>),
    /// Close a socket with this code, after what was sent.
    Close(SocketId, u16, String),
    /// Load a chunk's stored state: of this ref or of the newest one in the index, whichever [`newer_ref`] says.
    Load(ChunkId, Option<Ref>),
    /// The answer to [`Input::Asked`].
    Answer(u64, Answer),
    /// The replica differed from the log (R10): it is rebuilt.
    Drift(ChunkId, String),
    /// Stored state and log lead to this hash at that version, and the log says another: append an `Audit` to `commands`.
    Audit(ChunkId, Version, Hash),
    /// A client reports that it drifted; counted, never trusted.
    DriftReported(ChunkId, Version),
    /// A chunk of a socket began to lag.
    LaggingBegan,
    /// `updates` cannot be understood: stop, and say so.
    Fatal(String),
}

/// All chunks and sockets of a gateway.
pub struct Hub {
    world: Arc<World>,
    settings: Settings,
    positions: Vec<Position>,
    chunks: HashMap<ChunkId, Chunk>,
    sockets: BTreeMap<SocketId, Socket>,
    /// Sockets that got something in this turn.
    turn: BTreeSet<SocketId>,
    /// Chunks that somebody waits for, or whose replica may become idle.
    watched: BTreeSet<ChunkId>,
    /// None before the first tick: what is due is counted from then on.
    next_beacons_ms: Option<u64>,
    /// Of the input that is being handled.
    now_ms: u64,
    outputs: VecDeque<Output>,
}

impl Hub {
    /// A hub that reads each partition of `updates` from a position (R4), in the order of the partitions.
    #[must_use]
    pub fn new(world: Arc<World>, settings: Settings, positions: Vec<Position>) -> Self {
        Self {
            world,
            settings,
            positions,
            chunks: HashMap::new(),
            sockets: BTreeMap::new(),
            turn: BTreeSet::new(),
            watched: BTreeSet::new(),
            next_beacons_ms: None,
            now_ms: 0,
            outputs: VecDeque::new(),
        }
    }

    /// Takes an input.
    pub fn handle(&mut self, input: Input, now_ms: u64) {
        self.now_ms = now_ms;
        match input {
            Input::Records(partition, records) => self.take_records(partition, records, now_ms),
            Input::Joined(socket, joined) => {
                self.sockets.insert(socket, Socket::new(joined));
            }
            Input::Renewed(socket, access) => self.renew(socket, access, now_ms),
            Input::Request(socket, body) => self.take_request(socket, body, now_ms),
            Input::Written(socket, bytes) => self.take_written(socket, bytes),
            Input::Left(socket) => self.leave(socket, now_ms),
            Input::Loaded(chunk, loaded) => self.take_loaded(chunk, loaded, now_ms),
            Input::Asked(id, chunk, ask) => self.ask(id, chunk, ask, now_ms),
            Input::Tick => self.tick(now_ms),
            #[cfg(any(debug_assertions, feature = "mutants"))]
            Input::Damage(chunk) => {
                if let Some(live) = self.chunks.get_mut(&chunk).and_then(|chunk| chunk.live.as_mut()) {
                    live.replica.damage();
                }
            }
        }
        self.end_turn();
    }

    /// What is to be done next.
    pub fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// How far a partition was read.
    #[must_use]
    pub fn position(&self, partition: Partition) -> Option<Position> {
        self.positions.get(usize::try_from(partition.0).ok()?).copied()
    }

    /// Sockets that have joined.
    #[must_use]
    pub fn sockets(&self) -> usize {
        self.sockets.len()
    }

    /// Chunks that are kept in some form.
    #[must_use]
    pub fn chunks(&self) -> usize {
        self.chunks.len()
    }

    fn end_turn(&mut self) {
        for id in std::mem::take(&mut self.turn) {
            if let Some(socket) = self.sockets.get_mut(&id)
                && !socket.turn.is_empty()
            {
                self.outputs.push_back(Output::Send(id, std::mem::take(&mut socket.turn)));
            }
        }
    }

    fn send(&mut self, id: SocketId, frame: Bytes) {
        if let Some(socket) = self.sockets.get_mut(&id) {
            socket.send(frame);
            self.turn.insert(id);
        }
    }

    fn send_event(&mut self, id: SocketId, body: event::Body) {
        self.send(id, format::event(body));
    }

    fn close(&mut self, id: SocketId, code: u16, why: &str) {
        if let Some(socket) = self.sockets.get_mut(&id)
            && !std::mem::replace(&mut socket.is_closing, true)
        {
            if !socket.turn.is_empty() {
                self.outputs.push_back(Output::Send(id, std::mem::take(&mut socket.turn)));
            }
            self.outputs.push_back(Output::Close(id, code, why.to_owned()));
        }
    }

    // ---- The log --------------------------------------------------------------------------------------------------

    fn take_records(&mut self, partition: Partition, records: Vec<(Offset, Bytes)>, now_ms: u64) {
        let Some(index) = usize::try_from(partition.0).ok().filter(|i| *i < self.positions.len()) else { return };
        for (offset, value) in records {
            if offset < self.positions[index].offset {
                continue;
            }
            let record = match format::decode_known::<UpdatesRecord>("UpdatesRecord", value) {
                Ok(record) => record,
                Err(e) => return self.fatal(partition, offset, &e.to_string()),
            };
            if self.positions[index].judge(offset, &record) == Validity::Invalid {
                continue;
            }
            let taken = match record.body {
                Some(Body::Fence(_)) => Ok(()),
                Some(Body::Decisions(decisions)) => self.take_decisions(decisions, now_ms),
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

    fn chunk_of(&mut self, id: &str) -> Result<(ChunkId, &mut Chunk), String> {
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

    fn take_decisions(&mut self, decisions: Decisions, now_ms: u64) -> Result<(), String> {
        let updates = read_updates(&decisions).map_err(|e| e.to_string())?;
        if updates.as_ref().is_some_and(|u| u.entries.is_empty() || u.first_version == 0) {
            return Err("Updates without entries, or from version 0 on".into());
        }
        let settings = self.settings.clone();
        let record = Record::new(decisions, updates);
        let frame = record.frame.clone();
        let outcomes = private_outcomes(&record.decisions);
        let (id, chunk) = self.chunk_of(&record.decisions.chunk_id)?;
        let had_replica = chunk.live.is_some();
        if let Err(e) = chunk.push(record, &settings) {
            if let ApplyError::Hash { version, found, .. } = &e {
                // Perhaps the owner's fault: what it stores from here on would be in doubt too.
                self.audit(&id, *version, *found, now_ms);
            }
            self.rebuild(&id, &e.to_string(), now_ms);
            return Ok(());
        }
        if had_replica {
            self.tell_trackers(&id, &frame, &outcomes);
            self.answer_waiting(&id, now_ms);
        }
        Ok(())
    }

    /// The same bytes for everybody; discards and the like to their own writer, in the same turn.
    fn tell_trackers(&mut self, id: &ChunkId, frame: &Bytes, outcomes: &[(WriterId, Outcomes)]) {
        let Some(chunk) = self.chunks.get_mut(id) else { return };
        let before = chunk.told_before(!frame.is_empty());
        let trackers: Vec<SocketId> = chunk.trackers.keys().copied().collect();
        for socket_id in trackers {
            let Some(socket) = self.sockets.get_mut(&socket_id) else { continue };
            if socket.lagging.contains_key(id) {
                continue;
            }
            let own: Vec<&Outcomes> =
                outcomes.iter().filter(|(writer, _)| *writer == socket.joined.writer).map(|(_, o)| o).collect();
            if frame.is_empty() && own.is_empty() {
                continue;
            }
            if socket.queued_bytes + frame.len() > self.settings.socket_queue_bytes_max && socket.queued_bytes > 0 {
                self.begin_lagging(socket_id, id, before.clone());
                continue;
            }
            if !frame.is_empty() {
                socket.send(frame.clone());
            }
            let mut private = BytesMut::new();
            for outcomes in own {
                format::push_event(&mut private, event::Body::Outcomes(outcomes.clone()));
            }
            if !private.is_empty() {
                socket.send(private.freeze());
            }
            self.turn.insert(socket_id);
        }
    }

    /// R9: never a gap. The chunk is skipped for this socket until its queue has drained.
    fn begin_lagging(&mut self, socket_id: SocketId, id: &ChunkId, sent: Option<Have>) {
        let Some(socket) = self.sockets.get_mut(&socket_id) else { return };
        socket.lagging.insert(id.clone(), sent);
        self.outputs.push_back(Output::LaggingBegan);
        self.send_event(socket_id, event::Body::Lagging(Lagging { chunk_id: id.to_string() }));
    }

    fn take_written(&mut self, id: SocketId, bytes: usize) {
        let Some(socket) = self.sockets.get_mut(&id) else { return };
        socket.queued_bytes = socket.queued_bytes.saturating_sub(bytes);
        if socket.lagging.is_empty() || socket.queued_bytes > self.settings.socket_queue_bytes_max / 4 {
            return;
        }
        // As much as the queue takes; the others wait until it has drained again.
        let max = self.settings.socket_queue_bytes_max;
        while let Some(socket) = self.sockets.get_mut(&id).filter(|socket| socket.queued_bytes <= max)
            && let Some((chunk, have)) = socket.next_lagging()
        {
            if Mutant::SkipWhileLagging.is_on() {
                continue;
            }
            self.answer_track(id, &chunk, have.as_ref());
        }
    }

    fn take_stored(&mut self, stored: proto::SnapshotStored, now_ms: u64) -> Result<(), String> {
        let Some(r) = stored.r#ref else { return Err("a SnapshotStored without a ref".into()) };
        let settings = self.settings.clone();
        let (id, chunk) = self.chunk_of(&stored.chunk_id)?;
        let compared = chunk.take_ref(r, &settings);
        if let Err(e) = compared {
            self.rebuild(&id, &format!("the stored snapshot differs: {e}"), now_ms);
        }
        Ok(())
    }

    /// R10: a replica that differs is thrown away, made anew from ref and log, and sent to all its trackers.
    fn rebuild(&mut self, id: &ChunkId, reason: &str, now_ms: u64) {
        self.outputs.push_back(Output::Drift(id.clone(), reason.to_owned()));
        let Some(chunk) = self.chunks.get_mut(id) else { return };
        chunk.live = None;
        chunk.base = None;
        for (socket_id, ()) in std::mem::take(&mut chunk.trackers) {
            chunk.waiting.push(Waiting::Track { socket: socket_id, have: None, since_ms: now_ms });
            if let Some(socket) = self.sockets.get_mut(&socket_id) {
                socket.lagging.remove(id);
            }
        }
        if !chunk.waiting.is_empty() {
            self.begin_load(id, now_ms);
        }
    }

    // ---- Loading --------------------------------------------------------------------------------------------------

    fn begin_load(&mut self, id: &ChunkId, now_ms: u64) {
        self.watched.insert(id.clone());
        let Some(chunk) = self.chunks.get_mut(id) else { return };
        chunk.load = match chunk.load {
            Load::Idle => Load::UnderWay,
            Load::Again { attempts, at_ms } if at_ms <= now_ms => Load::Retrying { attempts },
            _ => return,
        };
        self.outputs.push_back(Output::Load(id.clone(), chunk.newest_ref.clone()));
    }

    fn take_loaded(&mut self, id: ChunkId, loaded: Result<Option<Loaded>, LoadError>, now_ms: u64) {
        if let Err(LoadError::Lost { stored, .. }) = &loaded {
            let hash = Hash::from_slice(&stored.hash).unwrap_or(Hash([0; 32]));
            self.audit(&id, Version(stored.version), hash, now_ms);
        }
        let Some(chunk) = self.chunks.get_mut(&id) else { return };
        let attempts = match chunk.load {
            Load::UnderWay => 1,
            Load::Retrying { attempts } => attempts + 1,
            Load::Idle | Load::Again { .. } => return,
        };
        let restored = match loaded {
            Err(LoadError::Unavailable(reason) | LoadError::Lost { reason, .. }) => Err(reason),
            Ok(loaded) => match chunk.restore(&id, loaded) {
                Ok(()) => Ok(()),
                Err(RestoreError::Apply(ApplyError::Hash { version, found, expected })) => {
                    // Not this replica's fault: it was just made.
                    self.audit(&id, version, found, now_ms);
                    Err(format!(
                        "at version {version} the log leads to {found}, but says {expected}; the owner is asked"
                    ))
                }
                Err(RestoreError::Stale) if chunk.knows_what_was_trimmed() => {
                    // The newer ref is read at once.
                    chunk.load = Load::Idle;
                    return self.begin_load(&id, now_ms);
                }
                Err(e) => Err(e.to_string()),
            },
        };
        // Also where those who waited are gone: it must become idle.
        self.watched.insert(id.clone());
        let Some(chunk) = self.chunks.get_mut(&id) else { return };
        match restored {
            Ok(()) => {
                chunk.load = Load::Idle;
                chunk.used_ms = now_ms;
                self.answer_waiting(&id, now_ms);
            }
            Err(reason) => {
                chunk.load = Load::Again { attempts, at_ms: now_ms + self.settings.load_retry_ms };
                if attempts >= self.settings.load_attempts_max {
                    self.give_up(&id, &reason);
                }
            }
        }
    }

    /// Asks the owner to look at a chunk, now and then, until it has spoken: what one gateway has found counts for nothing
    /// by itself.
    fn audit(&mut self, id: &ChunkId, version: Version, found: Hash, now_ms: u64) {
        let is_due = |last: u64| now_ms.saturating_sub(last) >= self.settings.audit_interval_ms;
        let Some(chunk) = self.chunks.get_mut(id).filter(|chunk| chunk.audited_ms.is_none_or(is_due)) else { return };
        chunk.audited_ms = Some(now_ms);
        self.outputs.push_back(Output::Audit(id.clone(), version, found));
    }

    /// Those who wait are told; whoever asks next begins anew.
    fn give_up(&mut self, id: &ChunkId, reason: &str) {
        let Some(chunk) = self.chunks.get_mut(id) else { return };
        chunk.load = Load::Idle;
        for waiting in std::mem::take(&mut chunk.waiting) {
            match waiting {
                Waiting::Ask { id, .. } => {
                    self.outputs.push_back(Output::Answer(id, Answer::Unavailable(reason.to_owned())));
                }
                Waiting::Track { socket, .. } => {
                    self.reject_track(socket, id.as_str(), TrackRejectCode::Unavailable, reason.to_owned());
                }
            }
        }
    }

    fn answer_waiting(&mut self, id: &ChunkId, now_ms: u64) {
        let Some(chunk) = self.chunks.get_mut(id) else { return };
        if chunk.waiting.is_empty() || chunk.live.is_none() {
            return;
        }
        for waiting in std::mem::take(&mut chunk.waiting) {
            match waiting {
                Waiting::Track { socket, have, since_ms } => self.track_loaded(socket, id, have, since_ms),
                Waiting::Ask { id: ask_id, ask } => self.answer(ask_id, id, ask),
            }
        }
        let Some(chunk) = self.chunks.get_mut(id) else { return };
        chunk.used_ms = now_ms;
    }

    fn ask(&mut self, ask_id: u64, id: ChunkId, ask: Ask, now_ms: u64) {
        let chunk = match self.chunk_of(id.as_str()) {
            Ok((_, chunk)) => chunk,
            Err(reason) => return self.outputs.push_back(Output::Answer(ask_id, Answer::Unavailable(reason))),
        };
        chunk.used_ms = now_ms;
        if chunk.live.is_some() {
            return self.answer(ask_id, &id, ask);
        }
        chunk.waiting.push(Waiting::Ask { id: ask_id, ask });
        self.begin_load(&id, now_ms);
    }

    fn answer(&mut self, ask_id: u64, id: &ChunkId, ask: Ask) {
        let Some(chunk) = self.chunks.get_mut(id) else { return };
        let newest = chunk.newest();
        let (Some(live), Some((version, hash))) = (&chunk.live, newest) else { return };
        let answer = match ask {
            Ask::Content => match chunk.verified_encoding((version, hash)) {
                Ok(encoding) => Answer::Content { version, hash, encoding: encoding.into() },
                Err(e) => {
                    chunk.waiting.push(Waiting::Ask { id: ask_id, ask });
                    return self.rebuild(id, &e.to_string(), self.now_ms);
                }
            },
            Ask::Status(writer, seq) => Answer::Status(status(live.ledger.resolved(writer), &chunk.ring, writer, seq)),
        };
        self.outputs.push_back(Output::Answer(ask_id, answer));
    }

    // ---- Sockets --------------------------------------------------------------------------------------------------

    fn take_request(&mut self, socket: SocketId, body: request::Body, now_ms: u64) {
        match body {
            request::Body::Track(track) => self.track(socket, track, now_ms),
            request::Body::Untrack(untrack) => self.untrack(socket, &untrack.chunk_id, now_ms),
            request::Body::Refresh(refresh) => self.refresh(socket, refresh),
            request::Body::DriftReport(report) => {
                if let Ok(chunk) = report.chunk_id.parse::<ChunkId>() {
                    self.look_again(&chunk, now_ms);
                    self.outputs.push_back(Output::DriftReported(chunk, Version(report.version)));
                }
            }
            _ => self.refuse(
                socket,
                RefusalCode::WrongService,
                "this is the gateway: it takes Track, Untrack, Refresh and DriftReport; Submit goes to ingest",
            ),
        }
    }

    /// A client says that it drifted: it is not believed, but our own replica is looked at, now and then.
    fn look_again(&mut self, id: &ChunkId, now_ms: u64) {
        let Some(chunk) = self.chunks.get_mut(id) else { return };
        let is_due = |last: u64| now_ms.saturating_sub(last) >= self.settings.audit_interval_ms;
        let Some((version, told)) = chunk.newest().filter(|_| chunk.looked_ms.is_none_or(is_due)) else { return };
        chunk.looked_ms = Some(now_ms);
        let found = chunk.live.as_mut().map(|live| live.replica.hash_again());
        if let Some(found) = found.filter(|found| *found != told) {
            let e = ApplyError::Hash { version, expected: told, found };
            self.rebuild(id, &e.to_string(), now_ms);
        }
    }

    fn refuse(&mut self, socket: SocketId, code: RefusalCode, message: &str) {
        let refused = Refused { code: code.into(), message: message.to_owned() };
        self.send_event(socket, event::Body::Refused(refused));
    }

    fn reject_track(&mut self, socket: SocketId, chunk_id: &str, code: TrackRejectCode, message: String) {
        if let (Ok(id), Some(s)) = (chunk_id.parse::<ChunkId>(), self.sockets.get_mut(&socket)) {
            s.tracked.remove(&id);
            s.lagging.remove(&id);
            if let Some(chunk) = self.chunks.get_mut(&id) {
                chunk.trackers.remove(&socket);
            }
        }
        let chunk_id = chunk_id.chars().take(limits::CHUNK_ID_BYTES_MAX).collect();
        let rejected = TrackRejected { chunk_id, code: code.into(), message };
        self.send_event(socket, event::Body::TrackRejected(rejected));
    }

    fn track(&mut self, socket_id: SocketId, track: proto::Track, now_ms: u64) {
        let placed = self.check_track(socket_id, &track.chunk_id);
        let (id, place) = match placed {
            Ok(placed) => placed,
            Err((code, message)) => return self.reject_track(socket_id, &track.chunk_id, code, message),
        };
        if let Some(socket) = self.sockets.get_mut(&socket_id) {
            socket.tracked.insert(id.clone());
            socket.lagging.remove(&id);
        }
        let chunk = self.chunks.entry(id.clone()).or_insert_with(|| Chunk::new(place.family));
        chunk.used_ms = now_ms;
        chunk.waiting.retain(|w| !matches!(w, Waiting::Track { socket, .. } if *socket == socket_id));
        // It asked anew: nothing of the old tracking goes between the request and its answer.
        chunk.trackers.remove(&socket_id);
        if chunk.live.is_some() {
            return self.track_loaded(socket_id, &id, track.have, now_ms);
        }
        chunk.waiting.push(Waiting::Track { socket: socket_id, have: track.have, since_ms: now_ms });
        self.begin_load(&id, now_ms);
    }

    fn check_track(&self, socket: SocketId, chunk_id: &str) -> Result<(ChunkId, Place), (TrackRejectCode, String)> {
        let Some(socket) = self.sockets.get(&socket) else {
            return Err((TrackRejectCode::NoReadAccess, "the socket has not said Hello".into()));
        };
        let id: ChunkId = chunk_id
            .parse()
            .map_err(|e: driftless_schemas::ChunkIdError| (TrackRejectCode::BadChunkId, e.to_string()))?;
        let place = self.world.place(&id).map_err(|e| match e {
            Unplaced::UnknownFamily { .. } => (TrackRejectCode::UnknownFamily, e.to_string()),
            Unplaced::OutOfBounds { .. } => (TrackRejectCode::OutOfBounds, e.to_string()),
        })?;
        if !socket.joined.access.may_read(&id) {
            let message =
                format!("the token gives no read access to {id}: its `driftless.read` has no entry that covers it");
            return Err((TrackRejectCode::NoReadAccess, message));
        }
        if socket.joined.families.as_ref().is_some_and(|families| !families.contains(&place.family.spec.name)) {
            let family = &place.family;
            let message = format!("Hello named no model {} of revision {}", family.spec.model, family.revision);
            return Err((TrackRejectCode::Model, message));
        }
        if socket.tracked.len() >= limits::TRACKED_CHUNKS_MAX && !socket.tracked.contains(&id) {
            return Err((
                TrackRejectCode::TooMany,
                format!("{} chunks are tracked: untrack some", limits::TRACKED_CHUNKS_MAX),
            ));
        }
        Ok((id, place))
    }

    /// R12: a client that is ahead waits until this gateway has caught up.
    fn track_loaded(&mut self, socket: SocketId, id: &ChunkId, have: Option<Have>, since_ms: u64) {
        let is_wanted = self.sockets.get(&socket).is_some_and(|s| s.tracked.contains(id));
        let Some(chunk) = self.chunks.get_mut(id).filter(|_| is_wanted) else { return };
        let version = chunk.newest().map(|(version, _)| version);
        let is_behind = have.as_ref().is_some_and(|have| version.is_none_or(|version| have.version > version.0));
        if is_behind && !Mutant::AnswerWhileBehind.is_on() {
            chunk.waiting.push(Waiting::Track { socket, have, since_ms });
            self.watched.insert(id.clone());
            return;
        }
        chunk.trackers.insert(socket, ());
        self.answer_or_lag(socket, id, have);
    }

    /// Where much waits for the socket already, the answer comes when that has drained.
    fn answer_or_lag(&mut self, socket_id: SocketId, id: &ChunkId, have: Option<Have>) {
        let max = self.settings.socket_queue_bytes_max;
        match self.sockets.get(&socket_id).is_some_and(|socket| socket.queued_bytes > max) {
            true => self.begin_lagging(socket_id, id, have),
            false => self.answer_track(socket_id, id, have.as_ref()),
        }
    }

    /// Tracked, then nothing, the missing updates, or a Chunk, whichever fits and is smaller.
    fn answer_track(&mut self, socket_id: SocketId, id: &ChunkId, have: Option<&Have>) {
        let Some(socket) = self.sockets.get(&socket_id) else { return };
        let writer = socket.joined.writer;
        let Some(chunk) = self.chunks.get_mut(id) else { return };
        let newest = chunk.newest();
        let (Some(live), Some((version, hash))) = (&chunk.live, newest) else { return };
        let resolved = match chunk.older_ledger.as_ref().unwrap_or(&live.ledger).resolved(writer) {
            Resolved::Expired => tracked::Resolved::Expired(ResolvedExpired {}),
            Resolved::Known { seq, committed_bits } => {
                tracked::Resolved::Ledger(proto::Resolved { seq: seq.0, committed_bits })
            }
        };
        let frames = match chunk.content_after(id, have, (version, hash)) {
            Ok(frames) => frames,
            // Its trackers get their answers from the new replica.
            Err(e) => return self.rebuild(id, &e.to_string(), self.now_ms),
        };
        let tracked =
            Tracked { chunk_id: id.to_string(), version: version.0, hash: hash.to_bytes(), resolved: Some(resolved) };
        self.send_event(socket_id, event::Body::Tracked(tracked));
        for frame in frames {
            self.send(socket_id, frame);
        }
    }

    fn untrack(&mut self, socket_id: SocketId, chunk_id: &str, now_ms: u64) {
        let Ok(id) = chunk_id.parse::<ChunkId>() else {
            return self.refuse(socket_id, RefusalCode::NotTracked, &format!("{chunk_id:?} is no chunk id"));
        };
        let Some(socket) = self.sockets.get_mut(&socket_id) else { return };
        socket.tracked.remove(&id);
        socket.lagging.remove(&id);
        self.forget_tracker(socket_id, &id, now_ms);
    }

    fn forget_tracker(&mut self, socket_id: SocketId, id: &ChunkId, now_ms: u64) {
        let Some(chunk) = self.chunks.get_mut(id) else { return };
        chunk.used_ms = now_ms;
        chunk.trackers.remove(&socket_id);
        chunk.waiting.retain(|w| !matches!(w, Waiting::Track { socket, .. } if *socket == socket_id));
        self.watched.insert(id.clone());
    }

    fn refresh(&mut self, socket_id: SocketId, refresh: proto::Refresh) {
        let is_tracked = |id: &ChunkId| self.chunks.get(id).is_some_and(|c| c.trackers.contains_key(&socket_id));
        let Some(id) = refresh.chunk_id.parse::<ChunkId>().ok().filter(is_tracked) else {
            let message = format!("{:?} is not tracked on this socket: send Track first", refresh.chunk_id);
            return self.refuse(socket_id, RefusalCode::NotTracked, &message);
        };
        let Some(socket) = self.sockets.get(&socket_id).filter(|socket| !socket.lagging.contains_key(&id)) else {
            // All that it misses comes with the Tracked that ends the lagging.
            return;
        };
        let is_full = socket.queued_bytes > self.settings.socket_queue_bytes_max;
        let Some(chunk) = self.chunks.get_mut(&id) else { return };
        let Some((version, _)) = chunk.newest() else { return };
        match chunk.ring.frames_after(Version(refresh.version), version) {
            Some(frames) if refresh.version <= version.0 && !is_full => {
                for frame in frames {
                    self.send(socket_id, frame);
                }
            }
            // Too old, or from another world: a whole Chunk.
            _ => self.answer_or_lag(socket_id, &id, None),
        }
    }

    fn renew(&mut self, socket_id: SocketId, access: Access, now_ms: u64) {
        let Some(socket) = self.sockets.get_mut(&socket_id) else { return };
        socket.joined.access = access;
        let lost: Vec<ChunkId> =
            socket.tracked.iter().filter(|id| !socket.joined.access.may_read(id)).cloned().collect();
        for id in lost {
            self.forget_tracker(socket_id, &id, now_ms);
            let message = format!("the renewed token gives no read access to {id}");
            self.reject_track(socket_id, id.as_str(), TrackRejectCode::NoReadAccess, message);
        }
    }

    fn leave(&mut self, socket_id: SocketId, now_ms: u64) {
        let Some(socket) = self.sockets.remove(&socket_id) else { return };
        for id in socket.tracked {
            self.forget_tracker(socket_id, &id, now_ms);
        }
    }

    // ---- Time -----------------------------------------------------------------------------------------------------

    fn tick(&mut self, now_ms: u64) {
        for id in std::mem::take(&mut self.watched) {
            if self.watch(&id, now_ms) {
                self.watched.insert(id);
            }
        }
        let interval = self.settings.beacon_interval_ms;
        if now_ms >= *self.next_beacons_ms.get_or_insert(now_ms + interval) {
            self.next_beacons_ms = Some(now_ms + interval);
            self.send_beacons();
        }
    }

    /// Retries loads, closes sockets that have waited too long (R12), drops idle replicas. False: nothing to watch.
    fn watch(&mut self, id: &ChunkId, now_ms: u64) -> bool {
        let Some(chunk) = self.chunks.get_mut(id) else { return false };
        let is_live = chunk.live.is_some();
        let behind_max = self.settings.behind_max_ms;
        let is_late = |w: &Waiting| matches!(w, Waiting::Track { have: Some(_), since_ms, .. } if is_live && now_ms.saturating_sub(*since_ms) >= behind_max);
        let (late, waiting): (Vec<_>, Vec<_>) = std::mem::take(&mut chunk.waiting).into_iter().partition(is_late);
        chunk.waiting = waiting;
        if !is_live && !chunk.waiting.is_empty() {
            self.begin_load(id, now_ms);
        }
        for waiting in late {
            if let Waiting::Track { socket, .. } = waiting {
                self.close(socket, close::BEHIND, "this gateway is behind what you have: connect to another one");
            }
        }
        let Some(chunk) = self.chunks.get_mut(id) else { return false };
        let is_used = !chunk.trackers.is_empty() || !chunk.waiting.is_empty();
        if is_used {
            return !chunk.waiting.is_empty();
        }
        if now_ms.saturating_sub(chunk.used_ms) < self.settings.idle_replica_ms {
            return true;
        }
        chunk.live = None;
        chunk.base = None;
        if let Some(newest) = &chunk.newest_ref {
            chunk.ring.trim(Offset(newest.through_offset), 0);
        }
        // What was trimmed must stay known: a ref that is read later may be older (section 7).
        if chunk.ring.is_empty() && chunk.newest_ref.is_none() && chunk.ring.trimmed_through == Offset::NONE {
            self.chunks.remove(id);
        }
        false
    }

    fn send_beacons(&mut self) {
        let sockets: Vec<SocketId> = self.sockets.keys().copied().collect();
        for socket_id in sockets {
            let max = self.settings.socket_queue_bytes_max / 4;
            // Whom much waits for is not quiet, and may take nothing at all.
            let Some(socket) = self.sockets.get_mut(&socket_id).filter(|socket| socket.queued_bytes <= max) else {
                continue;
            };
            let mut beacons = Vec::new();
            for id in socket.next_for_beacons(self.settings.beacons_max) {
                let Some(chunk) = self.chunks.get_mut(&id) else { continue };
                if !chunk.trackers.contains_key(&socket_id) || socket.lagging.contains_key(&id) {
                    continue;
                }
                let Some((version, hash)) = chunk.newest() else { continue };
                beacons.push(Beacon { chunk_id: id.to_string(), version: version.0, hash: hash.to_bytes() });
            }
            if !beacons.is_empty() {
                self.send_event(socket_id, event::Body::Beacons(Beacons { beacons }));
            }
        }
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_notice_that_comes_late_does_not_hide_the_newer_ref_of_the_index() {
        let of = |through_offset| Some(Ref { through_offset, ..Ref::default() });
        assert_eq!(newer_ref(of(20), of(30)), of(30));
        assert_eq!(newer_ref(of(30), of(20)), of(30));
        assert_eq!([newer_ref(None, of(1)), newer_ref(of(1), None), newer_ref(None, None)], [of(1), of(1), None]);
    }
}
