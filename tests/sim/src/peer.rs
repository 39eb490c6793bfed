//! A client of the simulation: a real [`ClientCore`], its simulated user, and the outcomes that the
//! user received.

use crate::oracle::Oracle;
use crate::rng::Rng;
use crate::setting;
use crate::violation::{Verdict, Violation, hold};
use bytes::Bytes;
use driftless_chunk::model::Models;
use driftless_client_core::{ChunkStatus, ClientCore, CommandId, Event, Outcome, Settings, Socket};
use driftless_schemas::proto::{self, RejectCode};
use driftless_schemas::time::MonotonicMs;
use driftless_schemas::{ChunkId, Hash, WriterId};
use std::collections::{BTreeMap, BTreeSet};

/// A client's connection: the number of the server process, and the number of the socket in it.
pub type Connected = (usize, u64);

/// A client and its user.
pub struct Peer {
    /// The user's name.
    pub name: String,
    /// The real core of the client.
    pub core: ClientCore,
    /// The difference between the client's clock and the simulation's time.
    pub skew_ms: u64,
    /// The connection to ingest; `None` while there is none.
    pub ingest: Option<Connected>,
    /// The connection to a gateway; `None` while there is none.
    pub gateway: Option<Connected>,
    /// The chunks that the client tracks.
    pub chunks: Vec<ChunkId>,
    /// All edits that the user submitted, in order.
    pub submitted: Vec<(CommandId, ChunkId, Bytes)>,
    /// The outcome of each edit.
    pub outcomes: BTreeMap<CommandId, Outcome>,
    /// The writer of each command that had a number.
    writers: BTreeMap<CommandId, WriterId>,
    shown: BTreeMap<ChunkId, u64>,
    /// The history of each chunk: that of the first `Tracked`, or of the client's newest report.
    histories: BTreeMap<ChunkId, Bytes>,
    /// The history that the newest `Tracked` of each chunk names.
    newest_tracked: BTreeMap<ChunkId, Bytes>,
    /// The history of what the client shows of each chunk: that of the `Tracked` before the first
    /// state that it showed, or of the client's newest report.
    shown_of: BTreeMap<ChunkId, Bytes>,
    /// The number of times that the client told its user of a change of history.
    pub changes: u64,
    /// Replicas that the simulation damaged and whose damage the client has not found yet.
    pub damaged: BTreeSet<ChunkId>,
    /// The number of chunks that the client gave up after a failure. After such a failure an
    /// *unknown* outcome is no violation.
    pub failures: u64,
    /// The number of new sessions that the client began.
    pub sessions: u64,
    /// The number of replicas that the client found to differ from the log.
    pub drifts: u64,
}

impl Peer {
    /// A client with index `i` that tracks some of the chunks.
    #[must_use]
    pub fn new(i: usize, now: u64, skew_ms: u64, rng: &mut Rng) -> Self {
        // The simulation renews tokens by itself; a socket closed for its token is opened again.
        let mut core = ClientCore::new(Settings { can_renew: true, ..Settings::new(Models::builtin()) });
        let mut chunks = setting::chunks();
        while chunks.len() > 2 && rng.permille(300) {
            chunks.remove(rng.below(chunks.len()));
        }
        for chunk in &chunks {
            core.track(MonotonicMs(now + skew_ms), chunk);
        }
        Self {
            name: format!("p{i}"),
            core,
            skew_ms,
            ingest: None,
            gateway: None,
            chunks,
            submitted: Vec::new(),
            outcomes: BTreeMap::new(),
            writers: BTreeMap::new(),
            shown: BTreeMap::new(),
            histories: BTreeMap::new(),
            newest_tracked: BTreeMap::new(),
            shown_of: BTreeMap::new(),
            changes: 0,
            damaged: BTreeSet::new(),
            failures: 0,
            sessions: 0,
            drifts: 0,
        }
    }

    /// The client's connection to this kind of server; `None` while there is none.
    pub fn connection(&mut self, socket: Socket) -> &mut Option<Connected> {
        match socket {
            Socket::Ingest => &mut self.ingest,
            Socket::Gateway => &mut self.gateway,
        }
    }

    /// This client's clock at the simulation's time `now`, with the client's skew. It counts
    /// milliseconds since 1970.
    #[must_use]
    pub fn clock(&self, now: u64) -> MonotonicMs {
        MonotonicMs(now + self.skew_ms)
    }

    /// The user submits a random edit to one of the chunks.
    pub fn edit(&mut self, unique: &mut u32, now: u64, rng: &mut Rng) {
        let chunk = self.chunks[rng.below(self.chunks.len())].clone();
        *unique += 1;
        let command = setting::command(&chunk, *unique, rng);
        if let Ok(id) = self.core.submit(self.clock(now), &chunk, command.clone()) {
            self.submitted.push((id, chunk, command));
        }
    }

    /// The user cancels the edit that is `back` edits before the newest.
    pub fn cancel(&mut self, back: usize, now: u64) {
        let Some((id, chunk, _)) = self.submitted.iter().rev().nth(back) else { return };
        let (id, chunk) = (*id, chunk.clone());
        self.core.cancel(self.clock(now), &chunk, id);
    }

    /// Injects a fault: bits of a live replica flip. Returns false if the chosen chunk has no live
    /// replica.
    pub fn damage(&mut self, which: usize) -> bool {
        let chunk = self.chunks[which % self.chunks.len()].clone();
        let is_damaged = self.core.status(&chunk) == Some(&ChunkStatus::Live)
            && self.core.confirmed(&chunk).is_some_and(driftless_chunk::replica::Replica::damage);
        if is_damaged {
            self.damaged.insert(chunk);
        }
        is_damaged
    }

    /// Runs the core's timers, takes the core's events, and compares them with the log.
    /// Returns the sockets that the client drops.
    ///
    /// # Errors
    /// The violation of the rule that does not hold.
    pub fn turn(&mut self, now: u64, oracle: &Oracle) -> Result<Vec<Socket>, Violation> {
        let now = self.clock(now);
        if self.core.next_deadline().is_some_and(|at| at <= now) {
            self.core.tick(now);
        }
        let mut broken = Vec::new();
        let mut changed = false;
        while let Some(event) = self.core.poll_event() {
            changed = true;
            match event {
                Event::Outcome { chunk, command, outcome, number, is_receipted } => {
                    if is_receipted {
                        // A receipt promises that the command is in the log, so no resend may be
                        // needed.
                        let stands = number.is_some_and(|n| oracle.chunks[&chunk].was_asked(n.writer, n.seq.0));
                        hold(stands, "R8", || {
                            format!("{}: {command:?} of {chunk} has a receipt, but is not in the log", self.name)
                        })?;
                    }
                    self.writers.extend(number.map(|n| (command, n.writer)));
                    self.take_outcome(&chunk, command, outcome, oracle)?;
                }
                Event::Reconnect { socket, .. } => broken.push(socket),
                Event::Session { .. } => self.sessions += 1,
                Event::Status { chunk, status: ChunkStatus::Failed { .. } } => {
                    self.failures += 1;
                    self.shown.remove(&chunk);
                }
                Event::Status { chunk, status: ChunkStatus::Reloading { .. } } => {
                    self.damaged.remove(&chunk);
                    self.shown.remove(&chunk);
                }
                Event::HistoryChanged { chunk, history, .. } => {
                    self.changes += 1;
                    let history = history.unwrap_or_default().to_field();
                    self.shown_of.insert(chunk.clone(), history.clone());
                    self.histories.insert(chunk.clone(), history);
                    self.damaged.remove(&chunk);
                    self.shown.remove(&chunk);
                    hold(oracle.chunks[&chunk].past.is_there, "R12", || {
                        format!("{}: {chunk} has another history, but its log has lost nothing", self.name)
                    })?;
                }
                Event::Drift { chunk, .. } => {
                    self.drifts += 1;
                    self.damaged.remove(&chunk);
                    self.shown.remove(&chunk);
                }
                Event::Fatal { message } => {
                    return Err(Violation::new("protocol", format!("{}: {message}", self.name)));
                }
                _ => {}
            }
        }
        if changed {
            self.compare_replicas(oracle)?;
        }
        Ok(broken)
    }

    fn take_outcome(&mut self, chunk: &ChunkId, command: CommandId, outcome: Outcome, oracle: &Oracle) -> Verdict {
        let (name, truth) = (&self.name, &oracle.chunks[chunk]);
        let bytes = self.submitted.iter().rev().find(|(id, ..)| *id == command).map(|(_, _, bytes)| bytes.clone());
        // A command that was withdrawn before its first transmission is in no log.
        let versions = |bytes| {
            let undone = truth.past.undone.get(bytes).copied().flatten();
            [truth.committed.get(bytes).copied(), undone].into_iter().flatten().collect::<Vec<u64>>()
        };
        let versions = bytes.as_ref().map(versions).unwrap_or_default();
        match (&outcome, versions.first()) {
            (Outcome::Committed { version: Some(said) }, Some(is)) if !versions.contains(&said.0) => {
                return Err(Violation::new(
                    "R8",
                    format!("{name}: {command:?} of {chunk} is committed at {is}, but the outcome says {said}"),
                ));
            }
            (Outcome::Committed { .. }, None) => {
                let detail =
                    format!("{name}: the outcome of {command:?} of {chunk} is committed, but the log has no commit");
                return Err(Violation::new("R8", detail));
            }
            _ => {}
        }
        let before = self.outcomes.insert(command, outcome);
        hold(before.is_none(), "R8", || format!("{name}: {command:?} has two outcomes"))
    }

    /// R10, R12: a healthy replica matches the log, and its version never goes down.
    fn compare_replicas(&mut self, oracle: &Oracle) -> Verdict {
        for chunk in &self.chunks {
            if self.damaged.contains(chunk) || !is_shown(self.core.status(chunk)) {
                continue;
            }
            let Some(replica) = self.core.confirmed(chunk) else { continue };
            let (version, hash) = (replica.version().0, replica.hash());
            let tracked = self.newest_tracked.get(chunk).cloned().unwrap_or_default();
            self.shown_of.entry(chunk.clone()).or_insert(tracked);
            let before = self.shown.insert(chunk.clone(), version).unwrap_or(0);
            let name = &self.name;
            hold(before <= version, "R12", || format!("{name}: {chunk} went back from {before} to {version}"))?;
            let truth = &oracle.chunks[chunk];
            hold(truth.is_damaged || truth.had_hash(version, hash), "R10", || {
                format!("{name}: {chunk} at version {version} has a hash that the log does not give it")
            })?;
        }
        Ok(())
    }

    /// R12: the `Tracked` event of a gateway is not behind the client's replica.
    ///
    /// # Errors
    /// The violation of the rule that does not hold.
    pub fn check_event(&mut self, event: &proto::event::Body) -> Verdict {
        let proto::event::Body::Tracked(tracked) = event else { return Ok(()) };
        let Ok(chunk) = tracked.chunk_id.parse::<ChunkId>() else { return Ok(()) };
        self.newest_tracked.insert(chunk.clone(), tracked.history.clone());
        // The client may ignore a Tracked, so only its own report says that it has another history.
        let has = self.histories.entry(chunk.clone()).or_insert_with(|| tracked.history.clone());
        if *has != tracked.history {
            return hold(*has < tracked.history, "R12", || {
                format!("{}: Tracked for {chunk} names an older history than the client has", self.name)
            });
        }
        let is_healthy = is_shown(self.core.status(&chunk));
        let has = self.shown.get(&chunk).copied().filter(|_| is_healthy).unwrap_or(0);
        hold(has <= tracked.version, "R12", || {
            format!("{}: Tracked for {chunk} at version {}, but the client has {has}", self.name, tracked.version)
        })
    }

    /// True if no command is pending, each tracked chunk is live and matches the log, and the
    /// client has told its user of each change of history.
    pub fn is_at_rest(&mut self, oracle: &Oracle) -> bool {
        self.core.pending() == 0
            && self.chunks.clone().iter().all(|chunk| {
                let truth = &oracle.chunks[chunk];
                let newest: Option<Hash> = truth.hash(truth.version());
                self.core.status(chunk) == Some(&ChunkStatus::Live)
                    && self.shown_of.get(chunk).is_none_or(|shown| *shown == oracle.history(truth))
                    && self.core.confirmed(chunk).is_some_and(|replica| {
                        let is_equal = truth.is_unnoticed() || Some(replica.hash_again()) == newest;
                        replica.version().0 == truth.version() && is_equal
                    })
            })
    }

    /// Checks the client at rest: every edit has an outcome that agrees with the log, edits are
    /// committed in the user's order, and each view matches the log.
    ///
    /// # Errors
    /// The violation of the rule that does not hold.
    pub fn check(&mut self, oracle: &Oracle) -> Verdict {
        let name = self.name.clone();
        let mut last: BTreeMap<(&ChunkId, Option<WriterId>), u64> = BTreeMap::new();
        for (id, chunk, bytes) in &self.submitted {
            let version = oracle.chunks[chunk].committed.get(bytes).copied();
            let Some(outcome) = self.outcomes.get(id) else {
                return Err(Violation::new("R8", format!("{name}: {id:?} of {chunk} has no outcome")));
            };
            let past = &oracle.chunks[chunk].past;
            let agrees = match outcome {
                // The outcome of a command whose decision was lost later is that of the old
                // history.
                Outcome::Committed { .. } if past.undone.get(bytes).is_some_and(Option::is_some) => true,
                Outcome::Discarded { .. } if past.undone.get(bytes).is_some_and(Option::is_none) => true,
                Outcome::Committed { .. } => version.is_some(),
                Outcome::Unknown { .. } => true,
                Outcome::Discarded { .. } | Outcome::Withdrawn => version.is_none(),
                Outcome::Rejected { code, .. } => {
                    version.is_none()
                        && matches!(code, RejectCode::NoWriteAccess | RejectCode::Unavailable | RejectCode::Unspecified)
                }
            };
            hold(agrees, "R8", || format!("{name}: {id:?} of {chunk} ended as {outcome:?}, the log says {version:?}"))?;
            let is_of_history = matches!(outcome, Outcome::Unknown { reason } if past.is_there && reason.contains("the history changed"));
            if let Outcome::Unknown { reason } = outcome {
                // A client that lost its write access cannot settle its open commands either.
                let is_excused =
                    is_of_history || oracle.evictions() > 0 || self.failures > 0 || reason.contains("settle");
                hold(is_excused, "R8", || format!("{name}: {id:?} of {chunk} is unknown without a cause: {reason}"))?;
            }
            // R8 keeps the order of one writer. A client begins another session only when the old
            // one can commit nothing any more, so the order holds for all its edits, with one
            // exception: what ended as unknown because the history changed may still be committed.
            let orders = [self.writers.get(id).copied(), None];
            for writer in orders.into_iter().take(if is_of_history { 1 } else { 2 }) {
                let Some(version) = version else { continue };
                let before = last.insert((chunk, writer), version).unwrap_or(0);
                hold(before < version, "R8", || {
                    format!("{name}: {id:?} of {chunk} is at {version}, but an earlier edit is at {before}")
                })?;
            }
        }
        for chunk in self.chunks.clone() {
            let (model, content, _) = self
                .core
                .view(&chunk)
                .ok_or_else(|| Violation::new("R10", format!("{name}: no view of {chunk} at rest")))?;
            let truth = &oracle.chunks[&chunk];
            hold(truth.is_unnoticed() || model.encode(content)[..] == truth.encoding()[..], "R10", || {
                format!("{name}: the view of {chunk} at rest differs from the log")
            })?;
        }
        Ok(())
    }
}

/// True if the client shows a replica in this status, and trusts it.
fn is_shown(status: Option<&ChunkStatus>) -> bool {
    matches!(status, Some(ChunkStatus::Live | ChunkStatus::Lagging | ChunkStatus::Unavailable { .. }))
}
