//! Checks the gateway's hub in two ways. An even first byte selects a valid log, a valid store and
//! valid clients, with all oracles of the core's property test (`driftless_scenes::gateway::run`).
//! An odd first byte selects a log, a store and sockets that break the rules.
//!
//! Both ways check that nothing panics and that a socket's queue is bounded. The second also checks
//! that no client gets a gap or an event after a close, and that each question gets one answer.

use crate::reader::Reader;
use bytes::Bytes;
use driftless_chunk::live::{LiveChunk, read_updates};
use driftless_chunk::position::{Position, Validity};
use driftless_chunk::world::World;
use driftless_gateway_core::{Ask, Hub, Input, Joined, LoadError, Loaded, Output, Reread, Settings, SocketId};
use driftless_scenes::gateway as scene;
use driftless_scenes::gateway::run::{CHUNKS, Run, Step};
use driftless_schemas::access::Access;
use driftless_schemas::proto::{
    self, Decisions, Entry, Fence, Have, Mark, SnapshotStored, Updates, UpdatesRecord, event, mark::Outcome, request,
    updates_record::Body,
};
use driftless_schemas::stored::{Location, StoredLedger, StoredRef};
use driftless_schemas::time::MonotonicMs;
use driftless_schemas::{ChunkId, Hash, Offset, Partition, Seq, Version, WriterId, format, limits};
use prost::Message;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::{Arc, LazyLock};

static WORLD: LazyLock<Arc<World>> = LazyLock::new(scene::world);

const STEPS_MAX: usize = 200;
const SOCKETS: u64 = 4;
const IDS: [&str; 4] = ["tape/1", "map/0", "tape/99999", "nowhere/1"];
/// The limit in bytes by which a socket's queue may exceed its own limit. An answer may begin below
/// the queue's limit and end above it, and a few short events about each chunk may follow.
const OVER_MAX: usize = 64 * 1024;

pub fn check(data: &[u8]) {
    let mut script = Reader::new(data);
    match script.u8() % 2 {
        0 => with_valid_peers(&mut script),
        _ => ArbitraryPeers::new(&mut script).run(&mut script),
    }
}

fn settings(script: &mut Reader<'_>) -> Settings {
    Settings {
        socket_queue_bytes_max: script.pick(&[300, 1000, 1 << 20]),
        ring_kept: script.pick(&[0, 2, 64]),
        hashes_kept: script.pick(&[1, 3, 64]),
        idle_replica_ms: script.pick(&[100, 30_000]),
        rings_bytes_max: Some(script.pick(&[0, 1 << 30, 4_000])),
        load_attempts_max: 3,
        partition_retry_max_ms: 1_000,
        beacon_interval_ms: 700,
        ..Settings::default()
    }
}

fn with_valid_peers(script: &mut Reader<'_>) {
    let settings = settings(script);
    let limit = settings.socket_queue_bytes_max;
    let mut run = Run::new(script.below(12), settings);
    for _ in 0..STEPS_MAX {
        if script.is_empty() {
            break;
        }
        run.step(step(script));
        let mut queued = 0;
        for (socket, client) in &run.gateway.clients {
            let waits: usize = client.pipe.iter().flatten().map(Bytes::len).sum();
            let largest = run.log.records.iter().map(Bytes::len).max().unwrap_or(0);
            assert!(waits <= limit + largest + OVER_MAX, "{waits} bytes wait for {socket:?}");
            queued += waits;
        }
        assert_eq!(run.gateway.hub.queued_bytes(), queued, "the hub's account of all queues");
    }
    run.rest();
}

fn step(script: &mut Reader<'_>) -> Step {
    let chunk = script.below(CHUNKS.len());
    let socket = script.below(8);
    match script.below(42) {
        0..4 => {
            Step::Commands { chunk, writer: script.below(3) as u8 + 1, count: script.below(3) + 1, kind: script.u8() }
        }
        4 => Step::TooEarly { chunk, writer: script.below(3) as u8 + 1 },
        5..11 => Step::Decide { owner: script.below(3), chunk, count: script.below(4) + 1, is_lost: script.rarely(20) },
        11 => Step::NewOwner,
        12 | 13 => Step::Snapshot { chunk, tells: !script.rarely(3) },
        14 => Step::Tell { owner: script.below(3) },
        15..21 => Step::Read { count: script.below(5) + 1 },
        21..25 => Step::Load { fate: script.below(8) as u8, which: script.below(8) },
        25 | 26 => Step::Join { writer: script.below(3) as u8 + 1, chunk, ahead: script.rarely(2) },
        27 | 28 => Step::Track { socket, chunk, forgets: script.rarely(2) },
        29 => Step::Untrack { socket, chunk },
        30 => Step::Refresh { socket, chunk, back: script.below(5) as u64 },
        31 => Step::Leave { socket },
        32..37 => Step::Take { socket, turns: script.below(3) + 1 },
        37 | 38 => Step::Tick { ms: u64::from(script.u8()) * 12 + 1 },
        39 => Step::Drift,
        40 => Step::Fail,
        _ => Step::Open,
    }
}

/// A socket's knowledge of a chunk, from the events that the hub sent to the socket.
#[derive(Default)]
struct SentChunk {
    /// The version in the socket's last Track; `None` once the Track is answered.
    have: Option<u64>,
    version: Option<u64>,
    is_followed: bool,
    /// The version of the newest Tracked in the batch of frames that is being checked.
    target: Option<u64>,
}

#[derive(Default)]
struct Peer {
    waits: usize,
    chunks: BTreeMap<String, SentChunk>,
    is_closed: bool,
}

struct ArbitraryPeers {
    hub: Hub,
    limit: usize,
    now: u64,
    position: Position,
    offset: i64,
    source: i64,
    truth: BTreeMap<ChunkId, LiveChunk>,
    loads: VecDeque<(ChunkId, Option<Box<Reread>>)>,
    /// All records of the log so far. Loads that read the log again take them from here.
    seen: Vec<(Offset, Bytes)>,
    peers: BTreeMap<SocketId, Peer>,
    asked: BTreeSet<u64>,
    asks: u64,
    is_over: bool,
}

impl ArbitraryPeers {
    fn new(script: &mut Reader<'_>) -> Self {
        let settings = settings(script);
        let limit = settings.socket_queue_bytes_max;
        Self {
            hub: Hub::new(Arc::clone(&WORLD), settings, vec![Position::START]),
            limit,
            now: 0,
            position: Position::START,
            offset: 0,
            source: 0,
            truth: BTreeMap::new(),
            loads: VecDeque::new(),
            seen: Vec::new(),
            peers: BTreeMap::new(),
            asked: BTreeSet::new(),
            asks: 0,
            is_over: false,
        }
    }

    fn run(mut self, script: &mut Reader<'_>) {
        let fence = UpdatesRecord { epoch: 1, n: 0, body: Some(Body::Fence(Fence::default())) };
        self.record(&fence);
        for _ in 0..STEPS_MAX {
            if script.is_empty() || self.is_over {
                break;
            }
            self.step(script);
        }
        for socket in self.peers.keys().copied().collect::<Vec<_>>() {
            self.input(Input::Left(socket));
        }
        assert_eq!(self.hub.sockets(), 0);
    }

    fn step(&mut self, script: &mut Reader<'_>) {
        let socket = SocketId(script.u8() as u64 % SOCKETS);
        match script.below(16) {
            0..4 => {
                let record = self.draw_record(script);
                self.record(&record);
            }
            4 => {
                let offset = Offset(self.offset);
                self.offset += 1;
                self.read(offset, script.long());
            }
            5..7 => self.load(script),
            7..10 => self.request(socket, script),
            10 if !self.peers.contains_key(&socket) => {
                self.peers.insert(socket, Peer::default());
                let access = match script.below(4) {
                    0 => Access { read: vec!["map/0".into()], ..Access::default() },
                    _ => Access { read: vec!["tape/".into(), "map/".into(), "nowhere/".into()], ..Access::default() },
                };
                let families = script.rarely(8).then(|| BTreeSet::from(["map".to_owned()]));
                self.input(Input::Joined(
                    socket,
                    Joined {
                        user: "ann".into(),
                        writer: writer(script),
                        access: access.into(),
                        families,
                        features: u32::from(script.rarely(2)),
                        bucket: None,
                    },
                ));
            }
            10 => {
                let access = Access { read: vec![script.pick(&["tape/", "map/"]).into()], ..Access::default() };
                self.input(Input::Renewed(socket, access.into()));
            }
            11 => {
                self.input(Input::Left(socket));
                self.peers.remove(&socket);
            }
            12 | 13 => {
                let Some(peer) = self.peers.get_mut(&socket) else { return };
                let bytes = if script.rarely(2) { usize::from(script.u8()) } else { usize::MAX };
                let bytes = bytes.min(peer.waits);
                peer.waits -= bytes;
                self.input(Input::Written(socket, bytes));
            }
            14 => {
                self.now = self.now.saturating_add(script.number().min(1 << 40));
                self.input(Input::Tick);
            }
            _ => {
                let chunk: ChunkId = script.pick(&IDS).parse().unwrap();
                match script.below(4) {
                    0 => self.input(Input::ViewRenewed(scene::P, MonotonicMs(script.number()))),
                    1 => self.input(Input::Damage(chunk)),
                    kind => {
                        let ask = match kind {
                            2 => Ask::Content,
                            _ => Ask::Status(writer(script), Seq(script.number())),
                        };
                        self.asks += 1;
                        self.asked.insert(self.asks);
                        self.input(Input::Asked(self.asks, chunk, ask));
                    }
                }
            }
        }
    }

    fn request(&mut self, socket: SocketId, script: &mut Reader<'_>) {
        // The shell does not read requests from a socket whose queue is full.
        let Some(peer) = self.peers.get_mut(&socket).filter(|peer| peer.waits <= self.limit && !peer.is_closed) else {
            return;
        };
        let chunk_id = match script.below(8) {
            0 => script.text(),
            by => IDS[by % 4].to_owned(),
        };
        let sent_chunk = peer.chunks.entry(chunk_id.clone()).or_default();
        let body = match script.below(8) {
            0..4 => {
                let have = script.rarely(2).then(|| {
                    let truth = chunk_id.parse().ok().and_then(|id: ChunkId| self.truth.get_mut(&id));
                    match truth {
                        Some(live) if !script.rarely(3) => Have {
                            version: live.replica.version().0,
                            hash: live.replica.hash().to_bytes(),
                            ..Have::default()
                        },
                        _ => Have { version: script.number(), hash: hash(script), ..Have::default() },
                    }
                });
                *sent_chunk = SentChunk { have: have.as_ref().map(|have| have.version), ..SentChunk::default() };
                request::Body::Track(proto::Track { chunk_id, have })
            }
            4 => {
                *sent_chunk = SentChunk::default();
                request::Body::Untrack(proto::Untrack { chunk_id })
            }
            5 => request::Body::Refresh(proto::Refresh { chunk_id, version: script.number() }),
            6 => request::Body::DriftReport(proto::DriftReport { chunk_id, ..proto::DriftReport::default() }),
            _ => request::Body::Ping(proto::Ping { nonce: 1 }),
        };
        self.input(Input::Request(socket, body));
    }

    fn record(&mut self, record: &UpdatesRecord) {
        let offset = Offset(self.offset);
        self.offset += 1;
        let validity = self.position.judge(offset, record);
        if let (Validity::Valid, Some(Body::Decisions(decisions))) = (validity, &record.body)
            && let (Ok(updates), Ok(id)) = (read_updates(decisions), decisions.chunk_id.parse::<ChunkId>())
            && let Some(mut live) = self.live(&id)
            && live.fold(decisions, updates.as_ref()).is_ok()
        {
            self.truth.insert(id, live);
        }
        self.read(offset, record.encode_to_vec().into());
    }

    fn read(&mut self, offset: Offset, value: Bytes) {
        self.seen.push((offset, value.clone()));
        self.input(Input::Records(Partition(0), vec![(offset, value)]));
    }

    fn live(&self, id: &ChunkId) -> Option<LiveChunk> {
        let place = WORLD.place(id).ok()?;
        Some(self.truth.get(id).cloned().unwrap_or_else(|| LiveChunk::initial(Arc::clone(&place.family.model), id)))
    }

    fn draw_record(&mut self, script: &mut Reader<'_>) -> UpdatesRecord {
        let chunk_id = script.pick(&["tape/1", "tape/1", "map/0", "map/0", "tape/1", "map/0", "nowhere/1"]).to_owned();
        let body = match script.below(8) {
            0 => {
                return UpdatesRecord {
                    epoch: script.number(),
                    n: script.number(),
                    body: Some(Body::Fence(Fence::default())),
                };
            }
            1 | 2 => {
                let stored = match self.live(&chunk_id.parse().unwrap()) {
                    Some(mut live) if !script.rarely(3) => scene::Snapshot::of(&mut live).stored,
                    _ => draw_ref(script),
                };
                Body::SnapshotStored(SnapshotStored {
                    chunk_id,
                    r#ref: (!script.rarely(32)).then(|| stored.to_proto()),
                })
            }
            _ => Body::Decisions(self.draw_decisions(chunk_id, script)),
        };
        let (epoch, n) = match script.rarely(16) {
            true => (script.number(), script.number()),
            false => (self.position.epoch.0, self.position.n.saturating_add(1)),
        };
        UpdatesRecord { epoch, n, body: Some(body) }
    }

    fn draw_decisions(&mut self, chunk_id: String, script: &mut Reader<'_>) -> Decisions {
        let (mut marks, mut entries) = (vec![], vec![]);
        for _ in 0..=script.below(4) {
            let (writer, seq) = (writer(script).to_bytes(), script.number());
            let outcome = match script.below(8) {
                0 => Outcome::Discarded(proto::Discarded { reason: script.below(9) as i32, detail: script.text() }),
                1 => Outcome::OutOfOrder(proto::OutOfOrder {}),
                2 => Outcome::SessionExpired(proto::SessionExpired { floor_ms: script.number() }),
                _ => {
                    let effect = match script.below(4) {
                        0 => Bytes::copy_from_slice(script.short()),
                        // The bytes are a valid put for the map. The tape takes any bytes as a
                        // command.
                        _ => Bytes::from(vec![0x0a, 6, 0x0a, 1, b'a' + script.u8() % 4, 0x12, 1, script.u8()]),
                    };
                    entries.push(Entry { writer: writer.clone(), seq, effect });
                    Outcome::Committed(proto::Committed {})
                }
            };
            self.source += 1;
            let source_offset = if script.rarely(32) { script.number().cast_signed() } else { self.source };
            marks.push(Mark { source_offset, writer, seq, outcome: Some(outcome), ..Mark::default() });
        }
        if script.rarely(32) {
            entries.pop();
        }
        let mut live = self.live(&chunk_id.parse().unwrap());
        let version = live.as_ref().map_or(0, |live| live.replica.version().0);
        if let Some(live) = &mut live {
            entries.iter().for_each(|entry| drop(live.replica.fold(&entry.effect)));
        }
        let updates = (!entries.is_empty()).then(|| Updates {
            chunk_id: chunk_id.clone(),
            first_version: if script.rarely(16) { script.number() } else { version.saturating_add(1) },
            entries,
            state_hash: match live {
                Some(mut live) if !script.rarely(16) => live.replica.hash().to_bytes(),
                _ => hash(script),
            },
        });
        Decisions { chunk_id, updates: updates.map(|u| u.encode_to_vec().into()).unwrap_or_default(), marks }
    }

    fn load(&mut self, script: &mut Reader<'_>) {
        let (id, mut reread) = match self.loads.pop_front() {
            Some(load) if !script.rarely(16) => load,
            _ => (script.pick(&IDS).parse().unwrap(), None),
        };
        let live = self.live(&id);
        let loaded = match (script.below(16), live) {
            (0, _) => Err(LoadError::Unavailable("away".into())),
            (1, _) => Err(LoadError::Lost { stored: Box::new(draw_ref(script)), reason: "lost".into() }),
            (2, Some(live)) => {
                let encoding = Bytes::copy_from_slice(script.short());
                let stored = StoredRef { hash: Hash::of(&encoding), ..draw_ref(script) };
                let stored = if script.rarely(2) { stored } else { scene::Snapshot::of(&mut live.clone()).stored };
                Ok(Some(Loaded { stored, data: encoding.clone(), encoding }))
            }
            (3..6, _) => Ok(None),
            (_, None) => Ok(None),
            (_, Some(mut live)) => Ok(Some(scene::Snapshot::of(&mut live).loaded())),
        };
        // If the log cannot be read again, the load fails, as the shell does during an outage of
        // the store.
        let loaded = match reread.as_mut().map(|reread| reread.take(self.seen.clone())) {
            Some(Err(reason)) => Err(LoadError::Unavailable(reason)),
            _ => loaded,
        };
        self.input(Input::Loaded(id, loaded, reread));
    }

    fn input(&mut self, input: Input) {
        self.hub.handle(input, MonotonicMs(self.now));
        while let Some(output) = self.hub.poll_output() {
            match output {
                Output::Send(socket, frames) => {
                    let peer = self.peers.get_mut(&socket).expect("the socket is connected");
                    assert!(!peer.is_closed, "the hub sent to a socket that it closed");
                    peer.turn(frames.into_vec());
                    let waits = peer.waits;
                    assert!(waits <= self.limit + OVER_MAX, "{waits} bytes wait for {socket:?}");
                }
                Output::Close(socket, code, why) => {
                    let peer = self.peers.get_mut(&socket).expect("the socket is connected");
                    assert!(!std::mem::replace(&mut peer.is_closed, true), "closed twice: {code} {why}");
                }
                Output::Load(id, _, reread) => self.loads.push_back((id, reread)),
                Output::Answer(id, _) => assert!(self.asked.remove(&id), "question {id} got a second answer"),
                Output::Degraded(_, reason) => {
                    assert!(!reason.is_empty());
                    self.is_over = true;
                }
                Output::Drift(..)
                | Output::Audit(..)
                | Output::DriftReported(..)
                | Output::LaggingBegan
                | Output::LaggingEnded(_)
                | Output::Open(_)
                | Output::StopReading(_)
                | Output::Recovered(_)
                | Output::Standings(_) => {}
            }
        }
    }
}

impl Peer {
    /// R9: checks that a tracked chunk has no gap, and that a batch with a Tracked holds the
    /// content that the Tracked announces.
    fn turn(&mut self, frames: Vec<Bytes>) {
        for frame in frames {
            self.waits += frame.len();
            assert!(frame.len() <= limits::SERVER_FRAME_BYTES_MAX);
            let frame: proto::ServerFrame = format::decode_known("ServerFrame", frame).unwrap();
            frame.events.into_iter().for_each(|event| self.event(event.body.unwrap()));
        }
        for (chunk, sent_chunk) in &mut self.chunks {
            if let Some(target) = sent_chunk.target.take() {
                assert!(
                    sent_chunk.version.is_some_and(|v| v >= target),
                    "{chunk}: Tracked {target}, content {:?}",
                    sent_chunk.version
                );
            }
        }
    }

    fn event(&mut self, body: event::Body) {
        match body {
            event::Body::Tracked(tracked) => {
                let sent_chunk = self.sent_chunk(&tracked.chunk_id);
                sent_chunk.is_followed = true;
                sent_chunk.version = sent_chunk.have.take().or(sent_chunk.version);
                sent_chunk.target = Some(tracked.version);
            }
            event::Body::Chunk(chunk) => {
                let sent_chunk = self.sent_chunk(&chunk.chunk_id);
                assert!(sent_chunk.is_followed, "a Chunk before its Tracked");
                sent_chunk.version = sent_chunk.version.max(Some(chunk.version));
            }
            event::Body::Updates(bytes) => {
                let updates: Updates = format::decode_known("Updates", bytes).unwrap();
                let sent_chunk = self.sent_chunk(&updates.chunk_id);
                assert!(sent_chunk.is_followed, "Updates without a Tracked, or after Lagging");
                let version = sent_chunk.version.expect("Updates before content");
                let last = updates.first_version + (updates.entries.len() as u64 - 1);
                assert!(updates.first_version <= Version(version).next().0, "a gap after {version}");
                sent_chunk.version = Some(version.max(last));
            }
            event::Body::Outcomes(outcomes) => {
                assert!(
                    self.sent_chunk(&outcomes.chunk_id).is_followed,
                    "Outcomes without a Tracked, or after Lagging"
                );
            }
            event::Body::Beacons(beacons) => {
                for beacon in beacons.beacons {
                    let sent_chunk = self.sent_chunk(&beacon.chunk_id);
                    assert!(sent_chunk.is_followed, "a beacon without a Tracked, or after Lagging");
                    assert_eq!(sent_chunk.version, Some(beacon.version), "a beacon is the version last sent");
                }
            }
            event::Body::Lagging(lagging) => self.sent_chunk(&lagging.chunk_id).is_followed = false,
            event::Body::TrackRejected(rejected) => {
                *self.sent_chunk(&rejected.chunk_id) = SentChunk::default();
            }
            event::Body::Refused(refused) => assert!(refused.message.len() <= 1100, "{} bytes", refused.message.len()),
            other => panic!("{other:?}"),
        }
    }

    fn sent_chunk(&mut self, chunk: &str) -> &mut SentChunk {
        self.chunks.entry(chunk.to_owned()).or_default()
    }
}

fn writer(script: &mut Reader<'_>) -> WriterId {
    WriterId([script.below(3) as u8 + 1; 16])
}

fn hash(script: &mut Reader<'_>) -> Bytes {
    match script.below(4) {
        0 => Bytes::copy_from_slice(script.short()),
        _ => Bytes::from(vec![script.u8(); 32]),
    }
}

fn draw_ref(script: &mut Reader<'_>) -> StoredRef {
    StoredRef {
        version: Version(script.number()),
        hash: Hash([script.u8(); 32]),
        location: Location::Object,
        through_offset: Offset(script.number().cast_signed()),
        model_revision: 1,
        bytes: 0,
        ledger: script.rarely(2).then(|| StoredLedger { floor_ms: script.number(), entries: vec![] }),
    }
}
