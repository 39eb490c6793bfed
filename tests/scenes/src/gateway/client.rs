//! Clients of the gateway, which check every event against the log.

use super::log::{Fate, Log};
use super::world::id;
use bytes::Bytes;
use driftless_chunk::replica::Replica;
use driftless_schemas::proto::{self, Have, TrackRejectCode, Updates, event, outcome, request, tracked};
use driftless_schemas::{ChunkId, Hash, HistoryId, Version, WriterId, format, limits};
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

pub fn track(chunk: &str, have: Option<Have>) -> request::Body {
    request::Body::Track(proto::Track { chunk_id: chunk.into(), have })
}

pub fn untrack(chunk: &str) -> request::Body {
    request::Body::Untrack(proto::Untrack { chunk_id: chunk.into() })
}

pub fn refresh(chunk: &str, version: u64) -> request::Body {
    request::Body::Refresh(proto::Refresh { chunk_id: chunk.into(), version })
}

/// A client, which checks every event that it reads.
pub struct Client {
    pub writer: WriterId,
    /// Batches of frames that the hub has sent and the client has not read yet.
    pub pipe: VecDeque<Vec<Bytes>>,
    pub chunks: BTreeMap<ChunkId, ClientChunk>,
    pub closed: Option<u16>,
    /// Descriptions of the events that came since the test last asked.
    pub got: Vec<String>,
    /// The chunks for which a Tracked came since the test last asked, in order of arrival.
    pub tracked: Vec<String>,
}

/// A client's state for one chunk.
#[derive(Default)]
pub struct ClientChunk {
    pub replica: Option<Replica>,
    /// True if the client has asked to track the chunk.
    pub is_asked: bool,
    /// True if a Tracked came, and no Lagging after it.
    pub is_followed: bool,
    /// The version and hash that a Tracked in the current batch has announced.
    target: Option<(u64, Hash)>,
    /// For each command number of the client that is resolved: true if the command was committed.
    pub known: BTreeMap<u64, bool>,
    pub rejected: Option<i32>,
    /// The history that the last Tracked has named.
    pub history: HistoryId,
}

impl ClientChunk {
    pub fn version(&self) -> Option<u64> {
        self.replica.as_ref().map(|replica| replica.version().0)
    }

    pub fn have(&mut self) -> Option<Have> {
        let replica = self.replica.as_mut()?;
        Some(Have { version: replica.version().0, hash: replica.hash().to_bytes(), ..Have::default() })
    }

    fn learn(&mut self, seq: u64, is_committed: bool) {
        let before = self.known.insert(seq, is_committed);
        assert!(before.is_none_or(|before| before == is_committed), "a conclusion on {seq} was taken back");
    }
}

impl Client {
    pub(super) fn new(writer: WriterId) -> Self {
        Self {
            writer,
            pipe: VecDeque::new(),
            chunks: BTreeMap::new(),
            closed: None,
            got: Vec::new(),
            tracked: Vec::new(),
        }
    }

    pub fn held(&mut self, chunk: &str) -> &mut ClientChunk {
        self.chunks.entry(id(chunk)).or_default()
    }

    pub(super) fn turn(&mut self, log: &Log, frames: Vec<Bytes>) {
        for bytes in frames {
            let frame: proto::ServerFrame = format::decode("ServerFrame", bytes).unwrap();
            for event in frame.events {
                self.event(log, event.body.unwrap());
            }
        }
        // A batch that contains a Tracked also contains the content that it announces.
        for (chunk, held) in &mut self.chunks {
            if let Some((version, hash)) = held.target.take() {
                let replica = held.replica.as_mut().unwrap_or_else(|| panic!("{chunk}: Tracked without content"));
                assert!(replica.version().0 >= version, "{chunk}: Tracked {version}, content {}", replica.version());
                assert!(replica.version().0 != version || replica.hash() == hash, "{chunk}: R10");
            }
        }
    }

    fn event(&mut self, log: &Log, body: event::Body) {
        match body {
            event::Body::Tracked(tracked) => self.take_tracked(log, &tracked),
            event::Body::Chunk(chunk) => self.take_chunk(log, &chunk),
            event::Body::Updates(bytes) => self.take_updates(log, bytes),
            event::Body::Outcomes(outcomes) => self.take_outcomes(log, outcomes),
            event::Body::Beacons(beacons) => self.take_beacons(beacons),
            event::Body::Lagging(lagging) => {
                self.got.push("lagging".into());
                self.held(&lagging.chunk_id).is_followed = false;
            }
            event::Body::TrackRejected(r) => {
                self.got.push(format!("rejected {}", r.code().as_str_name().replace("TRACK_REJECT_CODE_", "")));
                if let Ok(chunk) = r.chunk_id.parse::<ChunkId>() {
                    let held = self.chunks.remove(&chunk).unwrap_or_default();
                    // A client keeps its replica of a chunk that is unavailable for a while (R12).
                    let is_kept = r.code() == TrackRejectCode::Unavailable;
                    let (replica, known) = if is_kept { (held.replica, held.known) } else { Default::default() };
                    let held = ClientChunk { rejected: Some(r.code), replica, known, ..ClientChunk::default() };
                    self.chunks.insert(chunk, held);
                }
            }
            event::Body::Refused(r) => {
                self.got.push(format!("refused {}", r.code().as_str_name().replace("REFUSAL_CODE_", "")));
            }
            other => panic!("an event that the gateway should not send: {other:?}"),
        }
    }

    fn take_tracked(&mut self, log: &Log, t: &proto::Tracked) {
        let writer = self.writer;
        self.got.push(format!("tracked {}", t.version));
        self.tracked.push(t.chunk_id.clone());
        let chunk = id(&t.chunk_id);
        let held = self.held(&t.chunk_id);
        assert!(held.is_asked, "Tracked for a chunk that the client does not track");
        assert!(held.version().is_none_or(|version| version <= t.version), "R12: back in time");
        held.is_followed = true;
        held.history = HistoryId::from_field(&t.history).expect("a history");
        held.target = Some((t.version, Hash::from_slice(&t.hash).unwrap()));
        check_resolved(log, held, &chunk, writer, t);
    }

    fn take_chunk(&mut self, log: &Log, c: &proto::Chunk) {
        self.got.push(format!("chunk {}", c.version));
        let model = Arc::clone(&log.world.place(&id(&c.chunk_id)).unwrap().family.model);
        let held = self.held(&c.chunk_id);
        assert!(held.is_followed, "a Chunk before its Tracked");
        assert_eq!((c.model.as_str(), c.revision), ("tape", 3));
        let encoding = zstd::bulk::decompress(&c.data, limits::CONTENT_BYTES_MAX).unwrap();
        let hash = Hash::from_slice(&c.hash).unwrap();
        let replica = Replica::restore(model, &encoding, Version(c.version), hash).unwrap();
        // The content's hash must be the one in the log, if a record of the log ends at this
        // version.
        let expected = log.hashes.get(&(id(&c.chunk_id), c.version));
        assert!(expected.is_none_or(|expected| *expected == hash), "a Chunk of another content");
        if held.version().is_none_or(|version| version < c.version) {
            held.replica = Some(replica);
        }
    }

    fn take_updates(&mut self, log: &Log, bytes: Bytes) {
        let writer = self.writer;
        let updates: Updates = format::decode("Updates", bytes).unwrap();
        let last = updates.first_version + updates.entries.len() as u64 - 1;
        self.got.push(format!("updates {}-{last}", updates.first_version));
        let held = self.held(&updates.chunk_id);
        assert!(held.is_followed, "Updates without a Tracked, or after Lagging");
        // Applying the Updates fails on a gap or a wrong hash.
        held.replica.as_mut().expect("Updates before content").apply(&updates).unwrap();
        for (entry, version) in updates.entries.iter().zip(updates.first_version..) {
            if entry.writer[..] == writer.0 {
                let fate = log.fates[&(id(&updates.chunk_id), writer, entry.seq)];
                assert_eq!(fate, Fate::Committed(version));
                held.learn(entry.seq, true);
            }
        }
    }

    fn take_outcomes(&mut self, log: &Log, outcomes: proto::Outcomes) {
        let writer = self.writer;
        for o in outcomes.outcomes {
            let held = self.chunks.entry(id(&outcomes.chunk_id)).or_default();
            assert!(held.is_followed, "Outcomes without a Tracked, or after Lagging");
            match o.outcome.unwrap() {
                outcome::Outcome::Discarded(_) => {
                    let fate = log.fates[&(id(&outcomes.chunk_id), writer, o.seq)];
                    assert_eq!(fate, Fate::Discarded, "the outcome of {} disagrees with the log", o.seq);
                    held.learn(o.seq, false);
                    self.got.push(format!("discarded {}", o.seq));
                }
                outcome::Outcome::OutOfOrder(_) => self.got.push(format!("out of order {}", o.seq)),
                outcome::Outcome::SessionExpired(_) => self.got.push(format!("expired {}", o.seq)),
            }
        }
    }

    fn take_beacons(&mut self, beacons: proto::Beacons) {
        for beacon in beacons.beacons {
            self.got.push(format!("beacon {}", beacon.version));
            let held = self.held(&beacon.chunk_id);
            assert!(held.is_followed, "a beacon without a Tracked, or after Lagging");
            let replica = held.replica.as_mut().expect("a beacon before content");
            assert_eq!(replica.version().0, beacon.version, "a beacon is the version last sent");
            assert_eq!(replica.hash().to_bytes(), beacon.hash, "R10");
        }
    }
}

/// Checks that all fields of a Tracked come from one position of the log. Each commit of the client
/// up to the Tracked's version must be resolved in it, and no later commit may be.
fn check_resolved(log: &Log, held: &mut ClientChunk, chunk: &ChunkId, writer: WriterId, t: &proto::Tracked) {
    let Some(tracked::Resolved::Ledger(ledger)) = &t.resolved else { panic!("{:?}", t.resolved) };
    for ((_, _, seq), fate) in log.fates.range((chunk.clone(), writer, 0)..=(chunk.clone(), writer, u64::MAX)) {
        let bit = ledger.seq.checked_sub(*seq).filter(|d| *d < 64).map(|d| ledger.committed_bits >> d & 1 == 1);
        match fate {
            Fate::Committed(version) if *version <= t.version => {
                assert_eq!(bit, Some(true), "{seq} is contained in version {} but not resolved", t.version);
            }
            Fate::Committed(_) => assert_eq!(bit, None, "{seq} is resolved but not contained in {}", t.version),
            Fate::Discarded => assert_ne!(bit, Some(true)),
        }
        if let Some(bit) = bit {
            held.learn(*seq, bit);
        }
    }
}
