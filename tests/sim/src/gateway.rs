//! A gateway process of the simulation: a real [`Hub`] and real [`Connection`]s, which start from
//! views of the index that may be stale.

use crate::link::{Link, SimEnvironment};
use crate::log::Log;
use crate::rng::Rng;
use crate::store::{IndexState, Store};
use crate::violation::{Violation, hold};
use bytes::{Bytes, BytesMut};
use driftless_chunk::position::Position;
use driftless_chunk::recognition::Known;
use driftless_chunk::world::World;
use driftless_gateway_core::connection::{self, Connection, Outputs};
use driftless_gateway_core::{
    Answer, Ask, Fault, Hub, Input, LoadError, Loaded, Opened, Output, Reread, Settings, SocketId, newer_ref,
};
use driftless_runtime_core::Greeter;
use driftless_runtime_core::admission::Admission;
use driftless_runtime_core::rate::{Allowance, Rates};
use driftless_schemas::proto::{self, RefusalCode, request};
use driftless_schemas::stored::StoredRef;
use driftless_schemas::time::{MonotonicMs, Now, UnixMs};
use driftless_schemas::{ChunkId, Hash, Offset, Partition, Version, close, limits};
use prost::Message as _;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::rc::Rc;
use std::sync::Arc;

/// Settings with low limits, short queues and short intervals.
fn settings() -> Settings {
    Settings {
        ring_kept: 3,
        hashes_kept: 16,
        behind_max_ms: 2_000,
        beacon_interval_ms: 700,
        beacon_bytes_per_second: 140,
        replicas_bytes_max: Some(40_000),
        rings_bytes_max: Some(6_000),
        output_bytes_max: None,
        socket_queue_bytes_max: 900,
        idle_replica_ms: 1_500,
        load_retry_ms: 100,
        load_attempts_max: 4,
        audit_interval_ms: 800,
        partition_retry_max_ms: 900,
    }
}

/// Reads the records that the hub asks for again because it has dropped them from memory. An error
/// means that the log does not have all of them any more.
fn read_again(reread: &mut Reread, log: &Log) -> Result<(), String> {
    while let Some(from) = reread.next() {
        let records = log.updates[reread.partition().0 as usize].read(from, 16).unwrap_or_default();
        if records.is_empty() {
            return Err("the log does not have it any more".into());
        }
        reread.take(records)?;
    }
    Ok(())
}

/// A gateway process.
pub struct Process {
    hub: Hub,
    world: Arc<World>,
    views: Vec<Rc<IndexState>>,
    /// The difference between the process's wall clock and the simulation's time.
    pub skew_ms: i64,
    /// The partitions that the simulation made unreadable for this process.
    failed: BTreeSet<Partition>,
    /// The partitions whose next record is compared with the position in the index.
    compares: BTreeSet<Partition>,
    /// How often each partition of `updates` had lost records when it was opened.
    losses: Vec<u32>,
    /// The partitions that the hub asked to open.
    to_open: Vec<Partition>,
    /// The open sockets, by socket number.
    pub sockets: BTreeMap<u64, Socket>,
    shared: Arc<connection::Shared>,
    loads: VecDeque<(ChunkId, Option<StoredRef>, Option<Box<Reread>>)>,
    environment: SimEnvironment,
    /// The hub's answers to questions that [`Process::ask`] asked, by question number.
    pub answers: BTreeMap<u64, Answer>,
    next_ask: u64,
    /// The number of replicas that the hub found to differ from the log.
    pub drifts: u64,
    /// The number of times that the hub reported that a chunk of a socket began to lag.
    pub laggings: u64,
    /// Audits that the hub asked for and that the simulation must append to `commands`.
    pub audits: Vec<(ChunkId, Version, Hash)>,
    /// The number of requests that were refused because their socket's token had expired. The
    /// simulation takes this count after each message and resets it to 0.
    pub refused_expired: u64,
}

/// A socket.
pub struct Socket {
    /// The messages in flight in both directions.
    pub link: Link,
    connection: Connection,
    /// The time at which this socket's token expires, by the oracle's own account; `None` before
    /// Hello.
    expires: Option<UnixMs>,
    /// Frames that the hub has sent and the socket has not written yet.
    queued: VecDeque<Bytes>,
}

impl Process {
    /// A process that has opened no partition yet.
    #[must_use]
    pub fn new(world: &Arc<World>, log: &Log, skew_ms: i64, seed: u64) -> Self {
        let per_user = Allowance { per_second: limits::REQUESTS_PER_SECOND, burst: limits::REQUESTS_BURST };
        let shared = connection::Shared {
            greeter: Greeter::new(Arc::clone(world)),
            admission: Admission::new(0),
            requests: Rates::new([per_user, Allowance::UNLIMITED]),
        };
        Self {
            shared: Arc::new(shared),
            hub: Hub::unopened(Arc::clone(world), settings()),
            world: Arc::clone(world),
            views: world.partitions().map(|_| Rc::default()).collect(),
            skew_ms,
            failed: world.partitions().filter(|p| log.has_lost_records(*p)).collect(),
            compares: world.partitions().collect(),
            losses: log.updates.iter().map(crate::log::PartitionLog::losses).collect(),
            to_open: Vec::new(),
            sockets: BTreeMap::new(),
            loads: VecDeque::new(),
            environment: SimEnvironment::new(seed),
            answers: BTreeMap::new(),
            next_ask: 0,
            drifts: 0,
            laggings: 0,
            audits: Vec::new(),
            refused_expired: 0,
        }
    }

    fn clock(&self, now: u64) -> Now {
        Now { unix: UnixMs(now as i64 + self.skew_ms), monotonic: MonotonicMs(now) }
    }

    /// Opens a new view of a partition's index.
    pub fn renew_view(&mut self, partition: Partition, store: &Store, now: u64) {
        self.views[partition.0 as usize] = store.view(partition, 0);
        self.hub.handle(Input::ViewRenewed(partition, MonotonicMs(now)), MonotonicMs(now));
    }

    /// Injects a fault: the process cannot read the partition any more.
    ///
    /// # Errors
    /// The violation that an oracle finds.
    pub fn fail(&mut self, partition: Partition, now: u64) -> Result<(), Violation> {
        self.failed.insert(partition);
        self.hub.handle(Input::Failed(partition, Fault::Log("the reader failed".into())), MonotonicMs(now));
        self.take_outputs()
    }

    /// Describes how far the process has read each partition.
    #[must_use]
    pub fn state(&self, log: &Log) -> String {
        let read = |partition: Partition| {
            let position = self.hub.position(partition);
            let (at, history) = position.map(|position| (position.offset, position.history)).unwrap_or_default();
            let end = log.updates[partition.0 as usize].end();
            let is_reading = self.hub.is_reading(partition);
            format!("{partition} up to {at} of {end} in history {history} (reading {is_reading})")
        };
        let read: Vec<String> = self.world.partitions().map(read).collect();
        format!("a gateway has read {}", read.join(", "))
    }

    /// Notes that the log of this partition has lost records, so that the hub may be unable to read
    /// it.
    pub fn may_fail(&mut self, partition: Partition) {
        self.failed.insert(partition);
    }

    /// Opens the partitions that the hub asked to open, with views that may be some writes old.
    ///
    /// # Errors
    /// The violation that an oracle finds.
    pub fn open(&mut self, store: &Store, log: &Log, rng: &mut Rng, now: u64) -> Result<(), Violation> {
        for partition in std::mem::take(&mut self.to_open) {
            let (view, updates) =
                (store.view(partition, rng.pick(&[0, 0, 0, 1, 3])), &log.updates[partition.0 as usize]);
            let position = Position::of_checkpoint(&view.checkpoint);
            let known_end = view.checkpoint.updates_end;
            let known = Known::of_updates_end(&view.checkpoint);
            let opened = Opened { position, low: updates.low(), high: updates.end(), known_end, known };
            if position.offset < updates.low() {
                // The view is older than what retention has deleted since.
                self.failed.insert(partition);
            }
            self.views[partition.0 as usize] = view;
            self.compares.insert(partition);
            self.losses[partition.0 as usize] = updates.losses();
            self.hub.handle(Input::Opened(partition, opened), MonotonicMs(now));
            self.take_outputs()?;
        }
        Ok(())
    }

    /// Opens the server's end of a socket after a client has connected.
    pub fn accept(&mut self, id: u64, peer: usize, now: u64) {
        let mut out = Outputs::default();
        let connection = Connection::open(SocketId(id), Arc::clone(&self.shared), None, self.clock(now), &mut out);
        self.sockets.insert(id, Socket { link: Link::new(peer), connection, expires: None, queued: VecDeque::new() });
    }

    /// True if the socket is open and its client has been welcomed.
    #[must_use]
    pub fn is_welcomed(&self, id: u64) -> bool {
        self.sockets.get(&id).is_some_and(|socket| socket.connection.identity().is_some())
    }

    /// Handles the next message that the client has sent on this socket. Returns false if there is
    /// none.
    ///
    /// # Errors
    /// The violation that an oracle finds.
    pub fn receive(&mut self, id: u64, now: u64) -> Result<bool, Violation> {
        let clock = self.clock(now);
        let Some(socket) = self.sockets.get_mut(&id) else { return Ok(false) };
        let Some(message) = socket.link.up.pop_front() else { return Ok(false) };
        let mut out = Outputs::default();
        let input = connection::Input::Frame(message.clone());
        socket.connection.handle(input, clock, &self.environment, &mut out);
        self.refused_expired += socket.check_expiry(&message, clock.unix, &out)?;
        socket.send(&mut out);
        for input in out.hub {
            self.hub.handle(input, MonotonicMs(now));
        }
        self.take_outputs()?;
        Ok(true)
    }

    /// Joins up to `count` queued frames into one message and writes it to a socket. Returns false
    /// if no frame is queued.
    ///
    /// # Errors
    /// The violation that an oracle finds.
    pub fn write(&mut self, id: u64, count: usize, now: u64) -> Result<bool, Violation> {
        let Some(socket) = self.sockets.get_mut(&id) else { return Ok(false) };
        let mut joined = BytesMut::new();
        for frame in (0..count).map_while(|_| socket.queued.pop_front()) {
            joined.extend_from_slice(&frame);
        }
        if joined.is_empty() {
            return Ok(false);
        }
        let bytes = joined.len();
        socket.link.down.push_back(joined.freeze());
        self.hub.handle(Input::Written(SocketId(id), bytes), MonotonicMs(now));
        self.take_outputs()?;
        Ok(true)
    }

    /// Reads up to `count` records of a partition from the hub's position. Returns `Some(false)` if
    /// there are no new records, and `None` if retention deleted the records at that position.
    ///
    /// # Errors
    /// The violation that an oracle finds.
    pub fn read(&mut self, partition: Partition, count: usize, now: u64, log: &Log) -> Result<Option<bool>, Violation> {
        if !self.hub.is_reading(partition) {
            return Ok(Some(false));
        }
        let updates = &log.updates[partition.0 as usize];
        let at = self.hub.position(partition).map_or(Offset(0), |position| position.offset);
        if updates.losses() != self.losses[partition.0 as usize] || at > updates.end() {
            return Ok(None);
        }
        let compared = Offset(at.0 - 1);
        if self.compares.remove(&partition) && compared >= updates.low() {
            let records = updates.read(compared, 1).unwrap_or_default();
            self.hub.handle(Input::Records(partition, records), MonotonicMs(now));
            self.take_outputs()?;
        }
        let Some(records) = updates.read(at, count) else { return Ok(None) };
        if records.is_empty() {
            return Ok(Some(false));
        }
        self.hub.handle(Input::Records(partition, records), MonotonicMs(now));
        self.take_outputs()?;
        Ok(Some(true))
    }

    /// Answers the hub's oldest open request to load a chunk. The load fails unless `works` is
    /// true. Returns false if no request is open.
    ///
    /// # Errors
    /// The violation that an oracle finds.
    pub fn load(&mut self, works: bool, now: u64, store: &Store, log: &Log) -> Result<bool, Violation> {
        let Some((chunk, told, mut reread)) = self.loads.pop_front() else { return Ok(false) };
        let place = self.world.place(&chunk).expect("the hub asks only for chunks of the world");
        let newest = || {
            let view = &self.views[place.partition.0 as usize];
            view.entries.get(&chunk).map(|entry| entry.newest.clone())
        };
        let loaded = match (works && !store.is_away, newer_ref(told, newest())) {
            (false, _) => Err(LoadError::Unavailable("the store is away".into())),
            (true, None) => Ok(None),
            (true, Some(stored)) => match store.load(&stored) {
                Ok((data, encoding)) => Ok(Some(Loaded { stored, data, encoding })),
                Err(reason) => Err(LoadError::Lost { stored: Box::new(stored), reason }),
            },
        };
        let again = reread.as_mut().map_or(Ok(()), |reread| read_again(reread, log));
        let loaded = again.map_err(LoadError::Unavailable).and(loaded);
        self.hub.handle(Input::Loaded(chunk, loaded, reread), MonotonicMs(now));
        self.take_outputs()?;
        Ok(true)
    }

    /// Advances the clocks of all sockets and of the hub to `now`.
    ///
    /// # Errors
    /// The violation that an oracle finds.
    pub fn tick(&mut self, now: u64) -> Result<(), Violation> {
        let clock = self.clock(now);
        for socket in self.sockets.values_mut() {
            let mut out = Outputs::default();
            socket.connection.handle(connection::Input::Tick, clock, &self.environment, &mut out);
            socket.send(&mut out);
        }
        self.hub.handle(Input::Tick, MonotonicMs(now));
        self.take_outputs()
    }

    /// Asks the hub a question, as the HTTP interface does. Returns the question's number, which is
    /// the key of its answer in `answers`.
    ///
    /// # Errors
    /// The violation that an oracle finds.
    pub fn ask(&mut self, chunk: &ChunkId, ask: Ask, now: u64) -> Result<u64, Violation> {
        let id = self.next_ask;
        self.next_ask += 1;
        self.hub.handle(Input::Asked(id, chunk.clone(), ask), MonotonicMs(now));
        self.take_outputs()?;
        Ok(id)
    }

    /// Injects a fault: bits flip in the hub's replica of the chunk.
    ///
    /// # Errors
    /// The violation that an oracle finds.
    pub fn damage(&mut self, chunk: &ChunkId, now: u64) -> Result<(), Violation> {
        self.hub.handle(Input::Damage(chunk.clone()), MonotonicMs(now));
        self.take_outputs()
    }

    /// Removes a socket, and informs the hub if the client was welcomed.
    ///
    /// # Errors
    /// The violation that an oracle finds.
    pub fn leave(&mut self, id: u64, now: u64) -> Result<(), Violation> {
        if self.sockets.remove(&id).is_some_and(|socket| socket.connection.identity().is_some()) {
            self.hub.handle(Input::Left(SocketId(id)), MonotonicMs(now));
            self.take_outputs()?;
        }
        Ok(())
    }

    fn take_outputs(&mut self) -> Result<(), Violation> {
        while let Some(output) = self.hub.poll_output() {
            match output {
                Output::Send(SocketId(id), frames) => {
                    if let Some(socket) = self.sockets.get_mut(&id) {
                        socket.queued.extend(frames);
                    }
                }
                Output::Close(SocketId(id), code, _) => {
                    hold(code == close::BEHIND, "R12", || format!("the hub closed a socket with {code}"))?;
                    if let Some(socket) = self.sockets.get_mut(&id) {
                        socket.link.down.extend(socket.queued.drain(..));
                        socket.link.close = Some(code);
                    }
                }
                Output::Load(chunk, stored, reread) => self.loads.push_back((chunk, stored, reread)),
                Output::Answer(id, answer) => drop(self.answers.insert(id, answer)),
                Output::Drift(..) => self.drifts += 1,
                Output::LaggingBegan => self.laggings += 1,
                Output::LaggingEnded(_) => {}
                Output::Audit(chunk, version, hash) => self.audits.push((chunk, version, hash)),
                Output::DriftReported(..) => {}
                Output::Open(partition) => self.to_open.push(partition),
                Output::Degraded(partition, why) => {
                    hold(self.failed.contains(&partition), "R9", || format!("a gateway cannot read: {why}"))?;
                }
                Output::StopReading(_) | Output::Recovered(_) | Output::Standings(_) => {}
            }
        }
        Ok(())
    }

    /// The clients at the other ends of all sockets, by their number in the run.
    #[must_use]
    pub fn peers(&self) -> Vec<usize> {
        self.sockets.values().filter_map(|socket| socket.link.peer).collect()
    }
}

impl Socket {
    fn send(&mut self, out: &mut Outputs) {
        if !out.session.frame.is_empty() {
            self.link.down.push_back(out.session.frame.split().freeze());
        }
        if let Some(end) = &out.session.close {
            self.link.close.get_or_insert(end.code);
        }
    }

    /// Oracle: the gateway refuses each Track and Refresh that arrives after the token expired, and
    /// passes each other Track and Refresh to the hub. The oracle does not ask the session. It uses
    /// only the client's message and the expiry that [`SimEnvironment`] gives to the token. Returns
    /// the number of refusals.
    fn check_expiry(&mut self, message: &Bytes, now: UnixMs, out: &Outputs) -> Result<u64, Violation> {
        if out.session.close.is_some() {
            return Ok(0);
        }
        let frame = proto::ClientFrame::decode(message.clone())
            .map_err(|e| Violation::new("protocol", format!("a client's frame cannot be read: {e}")))?;
        let is_read = |body: &request::Body| matches!(body, request::Body::Track(_) | request::Body::Refresh(_));
        let (mut passed, mut refused) = (Vec::new(), 0);
        for body in frame.requests.into_iter().filter_map(|request| request.body) {
            match (&body, self.expires) {
                (request::Body::Hello(proto::Hello { token, .. }), None)
                | (request::Body::Renew(proto::Renew { token }), Some(_)) => {
                    self.expires = Some(SimEnvironment::expiry(token, now));
                }
                (body, Some(expires)) if is_read(body) => match now < expires {
                    true => passed.push(body.clone()),
                    false => refused += 1,
                },
                _ => {}
            }
        }
        let asked = out.hub.iter().filter_map(|input| match input {
            Input::Request(_, body) if is_read(body) => Some(body),
            _ => None,
        });
        let said = out.session.refused.iter().filter(|code| **code == RefusalCode::Token).count() as u64;
        hold(asked.eq(&passed) && said == refused, "access", || {
            let expires = self.expires;
            format!("at {now} with a token until {expires:?}: {} reads are allowed, {refused} are not", passed.len())
        })?;
        Ok(refused)
    }
}
