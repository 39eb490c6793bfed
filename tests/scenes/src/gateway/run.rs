//! A run of arbitrary steps. The property test `anything.rs` and the fuzz target in `tests/fuzz`
//! choose the steps at random.
//!
//! Each client checks every event during the run. At the end, everything that is in flight arrives,
//! and each client must have exactly the contents and outcomes of the log's valid part.

use super::*;
use driftless_gateway_core::{Settings, SocketId, newer_ref};
use driftless_schemas::proto::Have;
use driftless_schemas::stored::StoredRef;
use driftless_schemas::{ChunkId, Version};
use std::collections::BTreeMap;

pub const CHUNKS: [&str; 2] = ["tape/1", "tape/2"];

#[derive(Clone, Debug)]
pub enum Step {
    /// A writer submits `count` commands. `kind` selects their length, and which of them the model
    /// discards.
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
    /// An owner decides up to `count` commands. `owner` counts back from the current owner.
    Decide {
        owner: usize,
        chunk: usize,
        count: usize,
        is_lost: bool,
    },
    NewOwner,
    /// A snapshot is stored. If `tells` is true, the current owner appends its notice at once;
    /// otherwise a later `Tell` may do so.
    Snapshot {
        chunk: usize,
        tells: bool,
    },
    /// An owner, perhaps a replaced one, appends the notice of a stored snapshot.
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
    /// The gateway reads one record, and its replicas get a wrong content.
    Drift,
    /// The gateway cannot read the partition any more.
    Fail,
    /// The partition is opened again, if its pause is over.
    Open,
}

pub struct Run {
    pub log: Log,
    owners: Vec<Owner>,
    /// Stored snapshots whose notices are not appended yet, with their chunks.
    unannounced: Vec<(String, Snapshot)>,
    pub gateway: Gateway,
    /// For each chunk, the index of the oldest ref that the gateway's view of the index may still
    /// show.
    seen: BTreeMap<ChunkId, usize>,
    texts: usize,
    /// The number of commands that each writer has submitted to each chunk.
    written: BTreeMap<(usize, u8), usize>,
}

/// The most commands of one writer to one chunk. The ledger remembers 64 numbers of a writer, and
/// the oracle asks it about each of these commands and about those from before the run.
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
        // A gateway begins to read `updates` at the `updates_low` of the checkpoint in its view of
        // the index.
        let low = log.low();
        let seen = newest(&log);
        let gateway = Gateway::new(&log, settings, low);
        Self { log, owners: vec![owner], unannounced: Vec::new(), gateway, seen, texts: 0, written: BTreeMap::new() }
    }

    fn socket(&self, i: usize) -> Option<SocketId> {
        let count = self.gateway.clients.len();
        self.gateway.clients.keys().nth(i % count.max(1)).copied()
    }

    /// The index in `owners` of the owner that is `back` places before the newest one.
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
            Step::Fail => self.gateway.fail(),
            Step::Open => self.open(),
            step => self.client_step(step),
        }
        assert!(self.gateway.degraded.iter().all(|reason| reason.starts_with("no leader")));
        self.replace_closed();
    }

    /// Runs a step of a client.
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
                    // The client first reads everything in flight, because those events belong to
                    // the old tracking.
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

    /// Reconnects clients whose sockets the hub has closed, which R12 allows. The clients keep
    /// their replicas.
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
        // The client first reads everything in flight, because those events belong to the old
        // tracking.
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
        let Some((chunk, logged)) = self.gateway.loads.front().cloned() else { return };
        let loaded = match fate {
            0 => Err("no store".into()),
            _ => {
                let indexed = self.indexed(&chunk, which);
                let all = self.log.index.get(&chunk).map(Vec::as_slice).unwrap_or_default();
                let stored = newer_ref(logged, indexed);
                Ok(stored.and_then(|stored| all.iter().find(|one| one.stored == stored)).map(Snapshot::loaded))
            }
        };
        self.gateway.loaded(loaded);
    }

    /// The newest ref in the gateway's view of the index. The view may show any state from the one
    /// that it showed last up to the newest.
    fn indexed(&mut self, chunk: &ChunkId, which: usize) -> Option<StoredRef> {
        let all = self.log.index.get(chunk).map(Vec::as_slice).unwrap_or_default();
        let from = self.seen.get(chunk).copied().unwrap_or(0);
        let from = (from + which % (all.len().saturating_sub(from)).max(1)).min(all.len().saturating_sub(1));
        let is_nothing = !self.seen.contains_key(chunk) && which.is_multiple_of(3);
        if is_nothing || all.is_empty() {
            return None;
        }
        self.seen.insert(chunk.clone(), from);
        all.get(from).map(|snapshot| snapshot.stored.clone())
    }

    /// Opens the partition with a new view of the index.
    fn open(&mut self) {
        if self.gateway.is_opening {
            self.seen = newest(&self.log);
            self.gateway.open(&self.log);
        }
    }

    /// Lets everything arrive, and asserts that each client has the contents and outcomes of the
    /// log.
    pub fn rest(&mut self) {
        // A last owner decides all open commands.
        let owner = self.log.owner();
        self.owners.push(owner);
        for chunk in CHUNKS {
            let newest = self.owner(0);
            self.owners[newest].decide(&mut self.log, chunk, usize::MAX, false);
        }
        for _ in 0..40 {
            self.open();
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
        // After all clients have left, the hub must keep no socket.
        for socket in self.gateway.clients.keys().copied().collect::<Vec<_>>() {
            self.gateway.leave(socket);
        }
        assert_eq!(self.gateway.hub.sockets(), 0);
    }
}

/// For each chunk, the index of its newest ref.
fn newest(log: &Log) -> BTreeMap<ChunkId, usize> {
    log.index.iter().map(|(chunk, all)| (chunk.clone(), all.len() - 1)).collect()
}
