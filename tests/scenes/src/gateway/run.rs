//! A run of arbitrary steps, which ends at rest. The property test `anything.rs` and the fuzz
//! target in `tests/fuzz` draw the steps.
//!
//! Each client checks every event. At rest each client has exactly what the valid part of the log
//! says.

use super::*;
use driftless_gateway_core::{Settings, SocketId};
use driftless_schemas::proto::Have;
use driftless_schemas::{ChunkId, Version};
use std::collections::BTreeMap;

pub const CHUNKS: [&str; 2] = ["tape/1", "tape/2"];

#[derive(Clone, Debug)]
pub enum Step {
    /// A writer appends commands: short and long ones, and ones that are discarded.
    Commands {
        chunk: usize,
        writer: u8,
        count: usize,
        kind: u8,
    },
    TooEarly {
        chunk: usize,
        writer: u8,
    },
    /// An owner decides: the current one, or an earlier one.
    Decide {
        owner: usize,
        chunk: usize,
        count: usize,
        is_lost: bool,
    },
    NewOwner,
    /// A snapshot is stored. Its notice is appended at once, later, or by an owner that is replaced
    /// by then.
    Snapshot {
        chunk: usize,
        tells: bool,
    },
    Tell {
        owner: usize,
    },
    Read {
        count: usize,
    },
    Load {
        fate: u8,
        which: usize,
    },
    Join {
        writer: u8,
        chunk: usize,
        ahead: bool,
    },
    Track {
        socket: usize,
        chunk: usize,
        forgets: bool,
    },
    Untrack {
        socket: usize,
        chunk: usize,
    },
    Refresh {
        socket: usize,
        chunk: usize,
        back: u64,
    },
    Leave {
        socket: usize,
    },
    Take {
        socket: usize,
        turns: usize,
    },
    Tick {
        ms: u64,
    },
    /// The gateway's replicas drift while it reads a record.
    Drift,
}

pub struct Run {
    pub log: Log,
    owners: Vec<Owner>,
    /// Stored snapshots without a notice.
    unannounced: Vec<(String, Snapshot)>,
    pub gateway: Gateway,
    /// For each chunk the oldest ref that the gateway's view may still show.
    seen: BTreeMap<ChunkId, usize>,
    texts: usize,
    /// The number of commands of each writer to each chunk.
    written: BTreeMap<(usize, u8), usize>,
}

/// The most commands of a writer to a chunk. The oracles ask the ledger about each of them and
/// those before the run, and the ledger remembers 64 numbers of a writer.
const COMMANDS_MAX: usize = 48;

impl Run {
    pub fn new(before: usize, settings: Settings) -> Self {
        let mut log = Log::new();
        let mut owner = log.owner();
        for i in 0..before {
            let chunk = CHUNKS[i % 2];
            write(&mut log, &mut owner, chunk, writer(1), &[&format!("before {i}"), "x"]);
            if i % 5 == 3 {
                log.snapshot(chunk);
            }
        }
        // A gateway starts at `updates_low` of its view's checkpoint, which may be an older one.
        let low = log.low();
        let seen = log.index.iter().map(|(chunk, all)| (chunk.clone(), all.len() - 1)).collect();
        let gateway = Gateway::new(&log, settings, low);
        Self { log, owners: vec![owner], unannounced: Vec::new(), gateway, seen, texts: 0, written: BTreeMap::new() }
    }

    fn socket(&self, i: usize) -> Option<SocketId> {
        let count = self.gateway.clients.len();
        self.gateway.clients.keys().nth(i % count.max(1)).copied()
    }

    /// The index of the owner that is `back` owners before the newest.
    fn owner(&self, back: usize) -> usize {
        self.owners.len() - 1 - back.min(self.owners.len() - 1)
    }

    pub fn step(&mut self, step: Step) {
        match step {
            Step::Commands { chunk, writer: by, count, kind } => {
                let written = self.written.entry((chunk, by)).or_default();
                let count = count.min(COMMANDS_MAX - *written);
                *written += count;
                for i in 0..count {
                    self.texts += 1;
                    let mark = if kind as usize % 3 == i { "x" } else { "w" };
                    let text = format!("{mark}{}{}", self.texts, "-".repeat(usize::from(kind) / 3));
                    self.log.command(CHUNKS[chunk], writer(by), &text);
                }
            }
            Step::TooEarly { chunk, writer: by } => self.log.too_early(CHUNKS[chunk], writer(by)),
            Step::Decide { owner, chunk, count, is_lost } => {
                let owner = self.owner(owner);
                self.owners[owner].decide(&mut self.log, CHUNKS[chunk], count, is_lost);
            }
            Step::NewOwner => {
                let owner = self.log.owner();
                self.owners.push(owner);
            }
            Step::Snapshot { chunk, tells } => {
                let snapshot = self.log.snapshot(CHUNKS[chunk]);
                let newest = self.owner(0);
                match tells {
                    true => self.owners[newest].notice(&mut self.log, CHUNKS[chunk], &snapshot),
                    false => self.unannounced.push((CHUNKS[chunk].into(), snapshot)),
                }
            }
            Step::Tell { owner } => {
                let owner = self.owner(owner);
                if let Some((chunk, snapshot)) = self.unannounced.pop() {
                    self.owners[owner].notice(&mut self.log, &chunk, &snapshot);
                }
            }
            Step::Read { count } => self.gateway.read(&self.log, count),
            Step::Load { fate, which } => self.load(fate, which),
            Step::Tick { ms } => self.gateway.tick(ms),
            Step::Drift => drifting(|| self.gateway.read(&self.log, 1)),
            step => self.client_step(step),
        }
        assert_eq!(self.gateway.fatal, None);
        self.replace_closed();
    }

    /// A step of a client.
    fn client_step(&mut self, step: Step) {
        match step {
            Step::Join { writer: by, chunk, ahead } => {
                if self.gateway.clients.len() < 8 {
                    let socket = self.gateway.join(writer(by));
                    if ahead {
                        let have = self.log.truth(CHUNKS[chunk]).replica.clone();
                        self.gateway.held(socket, CHUNKS[chunk]).replica = Some(have);
                    }
                    self.track(socket, CHUNKS[chunk], false);
                }
            }
            Step::Track { socket, chunk, forgets } => {
                if let Some(socket) = self.socket(socket) {
                    self.track(socket, CHUNKS[chunk], forgets);
                }
            }
            Step::Untrack { socket, chunk } => {
                if let Some(socket) = self.socket(socket) {
                    // Events in flight still belong to the old tracking.
                    self.gateway.take_all(&self.log, socket);
                    self.gateway.request(socket, untrack(CHUNKS[chunk]));
                    let client = self.gateway.clients.get_mut(&socket).unwrap();
                    client.chunks.remove(&id(CHUNKS[chunk]));
                }
            }
            Step::Refresh { socket, chunk, back } => {
                if let Some(socket) = self.socket(socket)
                    && self.gateway.held(socket, CHUNKS[chunk]).is_followed
                    && let Some(version) = self.gateway.held(socket, CHUNKS[chunk]).version()
                {
                    self.gateway.request(socket, refresh(CHUNKS[chunk], version.saturating_sub(back)));
                }
            }
            Step::Leave { socket } => {
                if let Some(socket) = self.socket(socket) {
                    self.gateway.leave(socket);
                }
            }
            Step::Take { socket, turns } => {
                if let Some(socket) = self.socket(socket) {
                    (0..turns).all(|_| self.gateway.take(&self.log, socket));
                }
            }
            other => panic!("no step of a client: {other:?}"),
        }
    }

    /// R12 lets the hub close sockets: their clients connect again with the replicas that they
    /// have.
    fn replace_closed(&mut self) {
        let closed: Vec<SocketId> =
            self.gateway.clients.iter().filter(|(_, client)| client.closed.is_some()).map(|(id, _)| *id).collect();
        for socket in closed {
            self.gateway.take_all(&self.log, socket);
            let old = self.gateway.leave(socket);
            let socket = self.gateway.join(old.writer);
            for (chunk, held) in old.chunks {
                self.gateway.held(socket, chunk.as_str()).replica = held.replica;
                self.track(socket, chunk.as_str(), false);
            }
        }
    }

    fn track(&mut self, socket: SocketId, chunk: &str, forgets: bool) {
        // Events in flight still belong to the old tracking.
        self.gateway.take_all(&self.log, socket);
        let held = self.gateway.held(socket, chunk);
        held.rejected = None;
        if forgets {
            held.replica = None;
        }
        let have: Option<Have> = held.have();
        self.gateway.request(socket, track(chunk, have));
    }

    fn load(&mut self, fate: u8, which: usize) {
        let Some((chunk, wanted)) = self.gateway.loads.front().cloned() else { return };
        let all = self.log.index.get(&chunk).map(Vec::as_slice).unwrap_or_default();
        let loaded = match (fate, wanted) {
            (0, _) => Err("no store".into()),
            (_, Some(wanted)) => Ok(all.iter().find(|snapshot| snapshot.stored == wanted).map(Snapshot::loaded)),
            // The view shows any state between the one that it showed before and the newest.
            (_, None) => {
                let from = self.seen.get(&chunk).copied().unwrap_or(0);
                let from = (from + which % (all.len().saturating_sub(from)).max(1)).min(all.len().saturating_sub(1));
                let is_nothing = !self.seen.contains_key(&chunk) && which.is_multiple_of(3);
                if !is_nothing && !all.is_empty() {
                    self.seen.insert(chunk.clone(), from);
                }
                Ok(if is_nothing { None } else { all.get(from).map(Snapshot::loaded) })
            }
        };
        self.gateway.loaded(loaded);
    }

    /// Lets everything arrive, and asserts that each client has what the log says.
    pub fn rest(&mut self) {
        // A last owner decides all open commands.
        let owner = self.log.owner();
        self.owners.push(owner);
        for chunk in CHUNKS {
            let newest = self.owner(0);
            self.owners[newest].decide(&mut self.log, chunk, usize::MAX, false);
        }
        for _ in 0..40 {
            self.gateway.read(&self.log, usize::MAX);
            while !self.gateway.loads.is_empty() {
                self.load(1, 5);
            }
            for socket in self.gateway.clients.keys().copied().collect::<Vec<_>>() {
                self.gateway.take_all(&self.log, socket);
                let rejected: Vec<ChunkId> = self.gateway.clients[&socket]
                    .chunks
                    .iter()
                    .filter(|(_, held)| held.rejected.is_some())
                    .map(|(chunk, _)| chunk.clone())
                    .collect();
                rejected.iter().for_each(|chunk| self.track(socket, chunk.as_str(), false));
            }
            self.gateway.tick(600);
            self.replace_closed();
        }
        for socket in self.gateway.clients.keys().copied().collect::<Vec<_>>() {
            self.gateway.take_all(&self.log, socket);
        }
        let initial = |chunk: &ChunkId| self.log.fresh(chunk).replica.hash();
        let initial: BTreeMap<ChunkId, _> = CHUNKS.map(|chunk| (id(chunk), initial(&id(chunk)))).into();
        for (socket, client) in &mut self.gateway.clients {
            assert!(client.pipe.is_empty(), "{socket:?} has not read everything");
            for (chunk, held) in client.chunks.iter_mut().filter(|(_, held)| held.is_asked) {
                assert!(held.is_followed, "{socket:?} waits for {chunk} for ever");
                let truth = self.log.truth.get_mut(chunk);
                let (version, hash) = match truth {
                    Some(truth) => (truth.replica.version(), truth.replica.hash()),
                    None => (Version(0), initial[chunk]),
                };
                let replica = held.replica.as_mut().unwrap();
                assert_eq!((replica.version(), replica.hash()), (version, hash), "{socket:?} {chunk}");
                for ((of, by, seq), fate) in &self.log.fates {
                    if of == chunk && *by == client.writer {
                        let known = held.known.get(seq).copied();
                        assert_eq!(known, Some(matches!(fate, Fate::Committed(_))), "{socket:?} {chunk} {seq}");
                    }
                }
            }
        }
        assert_eq!(self.gateway.hub.position(P), self.log.positions.last().copied());
        // The hub keeps no socket after all clients have left.
        for socket in self.gateway.clients.keys().copied().collect::<Vec<_>>() {
            self.gateway.leave(socket);
        }
        assert_eq!(self.gateway.hub.sockets(), 0);
    }
}
