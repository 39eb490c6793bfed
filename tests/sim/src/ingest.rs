//! An ingest process of the simulation: real [`Connection`]s, and a producer whose records may land
//! late, fail, or have an unknown result.

use crate::link::{Link, SimEnvironment};
use crate::log::{Log, OrphanRecord};
use crate::rng::Rng;
use driftless_chunk::mutant::Mutant;
use driftless_chunk::world::World;
use driftless_ingest_core::rate::{Rates, rates};
use driftless_ingest_core::{Admission, Connection, Input, Outputs, Policy, Produce};
use driftless_schemas::time::{MonotonicMs, Now, UnixMs};
use std::collections::BTreeMap;
use std::sync::Arc;

/// An ingest process.
pub struct Process {
    admission: Arc<Admission>,
    rates: Arc<Rates>,
    /// The difference between the process's wall clock and the simulation's time.
    pub skew_ms: i64,
    /// The open sockets, by socket number.
    pub sockets: BTreeMap<u64, Socket>,
    pending: Vec<Pending>,
    environment: SimEnvironment,
}

/// A socket.
pub struct Socket {
    /// The messages in flight in both directions.
    pub link: Link,
    connection: Connection,
}

struct Pending {
    socket: u64,
    produce: Produce,
    has_landed: bool,
}

impl Process {
    /// A process without sockets. If `is_strict`, it has a low rate limit and so rejects many
    /// commands.
    #[must_use]
    pub fn new(world: &Arc<World>, skew_ms: i64, is_strict: bool, seed: u64) -> Self {
        let policy = match is_strict {
            true => Policy { commands_per_second: 2, commands_burst: 3, ..Policy::default() },
            false => Policy::default(),
        };
        Self {
            rates: Arc::new(rates(&policy)),
            admission: Arc::new(Admission::new(Arc::clone(world), policy)),
            skew_ms,
            sockets: BTreeMap::new(),
            pending: Vec::new(),
            environment: SimEnvironment::new(seed),
        }
    }

    fn clocks(&self, now: u64) -> Now {
        Now { unix: UnixMs(now as i64 + self.skew_ms), monotonic: MonotonicMs(now) }
    }

    /// Opens the server's end of a socket after a client has connected.
    pub fn accept(&mut self, id: u64, peer: usize, now: u64) {
        let connection = Connection::new(Arc::clone(&self.admission), Arc::clone(&self.rates), MonotonicMs(now));
        self.sockets.insert(id, Socket { link: Link::new(peer), connection });
    }

    /// Handles the next message that the client has sent on this socket. Returns false if there is
    /// none.
    pub fn receive(&mut self, id: u64, now: u64) -> bool {
        let Some(socket) = self.sockets.get_mut(&id) else { return false };
        let Some(message) = socket.link.up.pop_front() else { return false };
        self.give(id, Input::Frame(message), now);
        true
    }

    /// Advances the clock of a socket to `now`.
    pub fn tick(&mut self, id: u64, now: u64) {
        self.give(id, Input::Tick, now);
    }

    /// Advances one pending record: the record lands, is acknowledged, fails, or gets an unknown
    /// result. `fault` is the likelihood of a failure in 1,000. Returns `None` if no record is
    /// pending. Otherwise the inner option holds a record that may still land later.
    pub fn produce(&mut self, log: &mut Log, now: u64, fault: u32, rng: &mut Rng) -> Option<Option<OrphanRecord>> {
        if self.pending.is_empty() {
            return None;
        }
        // Records mostly land in order, but a time-out lets a later record overtake.
        let at = if rng.permille(fault / 4) { rng.below(self.pending.len()) } else { 0 };
        let pending = &mut self.pending[at];
        let record = (pending.produce.partition, pending.produce.key.clone(), pending.produce.record.clone());
        let token = pending.produce.token;
        let id = pending.socket;
        if !pending.has_landed {
            if !rng.permille(fault) {
                log.commands[record.0.0 as usize].append(record.1, record.2);
                pending.has_landed = true;
                return Some(None);
            }
            self.pending.remove(at);
            return Some(match rng.below(5) {
                0 => {
                    self.give(id, Input::Unsent(token), now);
                    None
                }
                1 => {
                    self.give(id, Input::Refused(token, "the simulation says so"), now);
                    None
                }
                // The result is unknown: the record may be in the log, land later, or be lost.
                _ if Mutant::TimeoutIsRejection.is_on() => {
                    self.give(id, Input::Refused(token, "a time-out"), now);
                    Some(record)
                }
                2 => {
                    self.give(id, Input::Unknown(token), now);
                    None
                }
                _ => {
                    self.give(id, Input::Unknown(token), now);
                    Some(record)
                }
            });
        }
        self.pending.remove(at);
        if rng.permille(fault / 2) {
            // The record is in the log, but its acknowledgement is lost. The producer may append it
            // again.
            self.give(id, Input::Unknown(token), now);
            return Some(rng.permille(300).then_some(record));
        }
        self.give(id, Input::Acknowledged(token), now);
        Some(None)
    }

    /// Kills the process. Returns the records that have not landed, which may land later or never,
    /// and the clients that lost their sockets.
    pub fn crash(&mut self) -> (Vec<OrphanRecord>, Vec<usize>) {
        let open = std::mem::take(&mut self.pending).into_iter().filter(|pending| !pending.has_landed);
        let orphans = open.map(|p| (p.produce.partition, p.produce.key, p.produce.record)).collect();
        let sockets = std::mem::take(&mut self.sockets);
        (orphans, sockets.into_values().filter_map(|socket| socket.link.peer).collect())
    }

    /// The number of records that have no result yet.
    #[must_use]
    pub fn pending(&self) -> usize {
        self.pending.len()
    }

    fn give(&mut self, id: u64, input: Input<'_>, now: u64) {
        let now = self.clocks(now);
        let Some(socket) = self.sockets.get_mut(&id) else { return };
        let mut out = Outputs::default();
        socket.connection.handle(input, now, &self.environment, &mut out);
        if !out.session.frame.is_empty() {
            socket.link.down.push_back(out.session.frame.freeze());
        }
        if let Some(close) = out.session.close {
            socket.link.close = Some(close.code);
        }
        self.pending.extend(out.produce.into_iter().map(|produce| Pending { socket: id, produce, has_landed: false }));
    }
}
