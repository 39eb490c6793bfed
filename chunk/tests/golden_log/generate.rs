//! The code that made the golden log. Several owners, one after the other and sometimes two at
//! once, decide the same `commands`.
//!
//! The code uses no clock and no randomness; numbers that look random are hashes of a counter. It
//! is needed only to make the file once. The file stays right when this code or the decisions of
//! models change, because readers only fold recorded decisions (R5).

use crate::reader::Reader;
use bytes::Bytes;
use driftless_chunk::live::{Asked, AskedBody, LiveChunk};
use driftless_chunk::world::World;
use driftless_schemas::proto::{
    Decisions, Entry, Fence, Mark, PackedObject, Ref, SnapshotStored, StoredObject, Updates, UpdatesRecord, r#ref,
    updates_record::Body,
};
use driftless_schemas::{ChunkId, Hash, Offset, Partition, Seq, SessionId, WriterId};
use prost::Message;
use serde_json::json;
use std::collections::BTreeMap;

/// Chunks with their families' shapes.
const CHUNKS: [&str; 4] = ["canvas/0/-1", "canvas/7/7", "blocks/1/2/-3", "things/3/4"];
/// The chunk whose ledger overflows.
const CROWDED: &str = "things/0/0";
const USERS: [&str; 4] = ["ann", "bob", "chi", "dee"];
const SESSION_MS: u64 = 1_763_900_000_000;

pub fn user(index: usize) -> WriterId {
    SessionId::new(SESSION_MS + index as u64, [index as u8; 10]).writer(USERS[index])
}

/// One of the many writers that overflow the ledger. Session times fall with the index, so that the
/// first evicted writer sets the floor.
pub fn passer_by(index: u64) -> WriterId {
    SessionId::new(SESSION_MS - index, [index as u8; 10]).writer(&format!("passer-by {index}"))
}

/// An owner's view of the partition.
struct Owner {
    epoch: u64,
    n: u64,
    chunks: BTreeMap<ChunkId, LiveChunk>,
    /// The index of the next command to decide.
    next: usize,
}

struct Generator<'w> {
    world: &'w World,
    commands: Vec<(ChunkId, Asked)>,
    log: Vec<Vec<u8>>,
    counter: u64,
    /// Per user and chunk, the newest number.
    newest: BTreeMap<(usize, usize), u64>,
}

/// The encoded records of the golden log.
pub fn generate(world: &World) -> Vec<Vec<u8>> {
    let mut g = Generator { world, commands: vec![], log: vec![], counter: 0, newest: BTreeMap::new() };

    // No record counts before the first fence.
    let mut unfenced = Owner { epoch: 1, n: 0, chunks: BTreeMap::new(), next: 0 };
    g.ask(3);
    g.decide(&mut unfenced, usize::MAX);

    // The owner of epoch 1 decides commands, stores snapshots, and decides further commands.
    let mut first = g.own(1);
    g.ask(60);
    g.decide(&mut first, 7);
    g.store(&mut first, CHUNKS[0], false);
    g.store(&mut first, CHUNKS[3], true);
    g.ask(30);
    g.decide(&mut first, 5);

    // A record of epoch 1 is lost. No later record of that epoch counts, and the next owner decides
    // the same commands again.
    g.ask(40);
    let whole = g.log.len();
    g.decide(&mut first, 6);
    g.log.remove(whole + 1);

    // Epoch 3 takes over. Epoch 1 lives on as a zombie and decides the same commands, and later
    // ones.
    let mut second = g.own(3);
    g.ask(20);
    g.decide(&mut first, 9);
    g.decide(&mut second, 8);
    g.store(&mut first, CHUNKS[1], false);
    g.store(&mut second, CHUNKS[2], false);
    g.crowd(&mut second);
    g.ask(30);
    g.decide(&mut first, 4);
    g.decide(&mut second, 4);
    // The zombie's fence comes late, and so does the fence of an owner that never decided anything.
    g.append(1, 0, Body::Fence(Fence { owner: "replayer-1".into(), ..Fence::default() }));
    g.append(2, 0, Body::Fence(Fence { owner: "replayer-2".into(), ..Fence::default() }));
    // A fence must have n = 0, so this one is invalid.
    g.append(9, 1, Body::Fence(Fence { owner: "replayer-9".into(), ..Fence::default() }));

    // An earlier record is appended a second time. It is invalid, because its n is not the next
    // one.
    let double = g.log[g.log.len() - 4].clone();
    g.log.push(double);

    // Epoch 4 takes over; epoch 3 has not noticed yet.
    let mut third = g.own(4);
    g.ask(50);
    g.decide(&mut second, 3);
    g.decide(&mut third, 11);
    g.store(&mut third, CROWDED, false);
    g.ask(10);
    g.decide(&mut third, 2);
    g.log
}

impl Generator<'_> {
    /// A number below `below` that only looks random.
    fn draw(&mut self, below: u64) -> u64 {
        self.counter += 1;
        let Hash(hash) = Hash::of(&self.counter.to_le_bytes());
        u64::from_le_bytes(hash[..8].try_into().unwrap()) % below
    }

    fn append(&mut self, epoch: u64, n: u64, body: Body) {
        self.log.push(UpdatesRecord { epoch, n, body: Some(body) }.encode_to_vec());
    }

    /// Makes a new owner, which appends its fence and then folds the log.
    fn own(&mut self, epoch: u64) -> Owner {
        self.append(epoch, 0, Body::Fence(Fence { owner: format!("replayer-{epoch}"), ..Fence::default() }));
        let mut reader = Reader::new(self.world);
        self.log.iter().for_each(|record| reader.read(record));
        Owner { epoch, n: 0, chunks: reader.chunks, next: 0 }
    }

    fn push(&mut self, chunk: &str, writer: WriterId, author: &str, numbers: (u64, u64), body: AskedBody) {
        let asked = Asked {
            offset: Offset(self.commands.len() as i64),
            writer,
            seq: Seq(numbers.0),
            after: Seq(numbers.1),
            author: author.into(),
            received_at_ms: SESSION_MS as i64 + 40 * self.commands.len() as i64,
            roles: vec![],
            body,
        };
        self.commands.push((chunk.parse().unwrap(), asked));
    }

    /// Appends `count` more commands of every kind.
    fn ask(&mut self, count: usize) {
        for _ in 0..count {
            let (who, which) = (self.draw(USERS.len() as u64) as usize, self.draw(CHUNKS.len() as u64) as usize);
            let newest = self.newest.get(&(who, which)).copied().unwrap_or(0);
            let body = self.wish(which);
            let numbers = match self.draw(12) {
                // The previous number was withdrawn and skipped.
                0 => (newest + 2, newest),
                // An earlier command never arrived.
                1 => (newest + 2, newest + 1),
                // A resend.
                2 if newest > 0 => (newest, newest - 1),
                _ => (newest + 1, newest),
            };
            if numbers.1 <= newest {
                self.newest.insert((who, which), newest.max(numbers.0));
            }
            self.push(CHUNKS[which], user(who), USERS[who], numbers, body);
        }
    }

    fn wish(&mut self, which: usize) -> AskedBody {
        match self.draw(16) {
            0 => return AskedBody::Settle,
            1 => return AskedBody::Undecodable("it has no body that this version knows".into()),
            2 => return AskedBody::Command(Bytes::from_static(b"\xff not protobuf")),
            _ => {}
        }
        let guarded = self.draw(3) == 0;
        let json = if CHUNKS[which].starts_with("things") {
            let key = format!("key {}", self.draw(9));
            match (self.draw(4), guarded) {
                (0, _) => json!({"delete": {"key": key}}),
                (_, true) => json!({"put": {"key": key, "text": "claimed", "guard": "absent"}}),
                (n, false) => json!({"put": {"key": key, "text": "x".repeat(7 * n as usize)}}),
            }
        } else {
            let (x, y, value) = (self.draw(6), self.draw(6), self.draw(16));
            match (self.draw(3), guarded) {
                (0, false) => json!({"fill": {"x": x, "y": y, "width": 2, "height": 2, "value": value}}),
                (_, false) => json!({"set": [{"x": x, "y": y, "value": value}, {"x": y, "y": x, "value": 15 - value}]}),
                (_, true) => json!({"set": [{"x": x, "y": y, "value": value, "guard": value / 8}]}),
            }
        };
        let family = self.world.place(&CHUNKS[which].parse().unwrap()).unwrap().family;
        AskedBody::Command(family.model.command_from_json(&json).unwrap().into())
    }

    /// More writers than a ledger holds, then the first of them again: its session is expired.
    fn crowd(&mut self, owner: &mut Owner) {
        for i in 0..1026 {
            self.push(CROWDED, passer_by(i), "p", (1, 0), AskedBody::Settle);
        }
        for i in [0, 1, 1025] {
            self.push(CROWDED, passer_by(i), "p", (2, 1), AskedBody::Settle);
        }
        self.decide(owner, usize::MAX);
    }

    /// The owner decides what it has not decided, in polls of `poll` commands, with one record per
    /// chunk and poll.
    fn decide(&mut self, owner: &mut Owner, poll: usize) {
        while owner.next < self.commands.len() {
            let end = owner.next.saturating_add(poll).min(self.commands.len());
            let mut decided: BTreeMap<ChunkId, (Vec<Mark>, Vec<Entry>)> = BTreeMap::new();
            for (id, asked) in &self.commands[owner.next..end] {
                let model = self.world.place(id).unwrap().family.model.clone();
                let live = owner.chunks.entry(id.clone()).or_insert_with(|| LiveChunk::initial(model, id));
                if let Some(one) = live.decide(id, Partition(0), asked) {
                    let (marks, entries) = decided.entry(id.clone()).or_default();
                    marks.push(one.mark);
                    entries.extend(one.entry);
                }
            }
            owner.next = end;
            for (id, (marks, entries)) in decided {
                let chunk_id = id.to_string();
                let replica = &mut owner.chunks.get_mut(&id).unwrap().replica;
                let first_version = replica.version().0 + 1 - entries.len() as u64;
                let mut updates = Bytes::new();
                if !entries.is_empty() {
                    let state_hash = replica.hash().to_bytes();
                    let chunk_id = chunk_id.clone();
                    updates = Updates { chunk_id, first_version, entries, state_hash }.encode_to_vec().into();
                }
                owner.n += 1;
                self.append(owner.epoch, owner.n, Body::Decisions(Decisions { chunk_id, updates, marks }));
            }
        }
    }

    /// The owner appends a notice that a snapshot is stored.
    fn store(&mut self, owner: &mut Owner, chunk: &str, is_packed: bool) {
        let live = owner.chunks.get_mut(&chunk.parse::<ChunkId>().unwrap()).unwrap();
        let location = match is_packed {
            false => r#ref::Location::Object(StoredObject {}),
            true => r#ref::Location::Pack(PackedObject { key: "packs/1".into(), offset: 7, len: 99 }),
        };
        let stored = Ref {
            version: live.replica.version().0,
            hash: live.replica.hash().to_bytes(),
            location: Some(location),
            through_offset: live.through_offset.0,
            model_revision: 1,
            bytes: live.replica.encoding().len() as u64,
            ledger: Some(live.ledger.to_proto()),
        };
        owner.n += 1;
        let notice = SnapshotStored { chunk_id: chunk.into(), r#ref: Some(stored) };
        self.append(owner.epoch, owner.n, Body::SnapshotStored(notice));
    }
}
