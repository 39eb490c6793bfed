//! The client's core with servers that send arbitrary events, and a user who edits, cancels and
//! leaves.
//!
//! The check: nothing panics, every command ends exactly once, no number is used for two commands,
//! `after` is below `seq`, frames are within their limits, and the client asks for no timer in the
//! past.

use crate::reader::Reader;
use bytes::Bytes;
use driftless_chunk::model::Models;
use driftless_client_core::{ClientCore, CommandId, Event, Settings, Socket};
use driftless_schemas::proto::{self, Entry, Updates, Welcome, event, outcome, request, submit, tracked};
use driftless_schemas::time::MonotonicMs;
use driftless_schemas::{ChunkId, Hash, SessionId, format, limits};
use prost::Message;
use std::collections::BTreeMap;

const STEPS_MAX: usize = 200;
const IDS: [&str; 3] = ["things/0/0", "canvas/0/0", "other/1"];
const NOW: u64 = 1_800_000_000_000;

pub fn check(data: &[u8]) {
    let mut script = Reader::new(data);
    let settings = Settings { can_renew: script.rarely(2), pending_max: 100, ..Settings::new(Models::builtin()) };
    let mut world = World {
        core: ClientCore::new(settings),
        now: MonotonicMs(NOW),
        open: BTreeMap::new(),
        sent: BTreeMap::new(),
        session: None,
        is_stopped: false,
    };
    world.connect_and_track();
    for _ in 0..STEPS_MAX {
        if script.is_empty() {
            break;
        }
        world.step(&mut script);
        world.take();
    }
    world.core.close(world.now);
    world.take();
    assert!(world.open.is_empty(), "commands without an outcome: {:?}", world.open);
    assert_eq!(world.core.pending(), 0);
}

struct World {
    core: ClientCore,
    now: MonotonicMs,
    open: BTreeMap<CommandId, ChunkId>,
    /// The request that each number of this session was used for, by chunk and number.
    sent: BTreeMap<(String, u64), Option<submit::Body>>,
    session: Option<SessionId>,
    is_stopped: bool,
}

impl World {
    fn connect_and_track(&mut self) {
        for socket in [Socket::Ingest, Socket::Gateway] {
            self.core.connected(self.now, socket, "t".into());
            self.take();
            self.receive(socket, vec![event::Body::Welcome(welcome(SessionId::new(NOW, [1; 10]), families()))]);
        }
        self.core.track(self.now, &IDS[0].parse().unwrap());
        self.take();
    }

    fn step(&mut self, script: &mut Reader<'_>) {
        let chunk: ChunkId = script.pick(&IDS).parse().unwrap();
        let socket = if script.rarely(3) { Socket::Ingest } else { Socket::Gateway };
        match script.below(16) {
            0 => self.core.track(self.now, &chunk),
            1 => self.core.untrack(self.now, &chunk),
            2..4 => {
                for _ in 0..=script.below(80) {
                    let command = command(script);
                    if let Ok(id) = self.core.submit(self.now, &chunk, command) {
                        assert!(self.open.insert(id, chunk.clone()).is_none(), "{id:?} was given out twice");
                    }
                    if !script.rarely(2) {
                        break;
                    }
                }
            }
            4 => {
                let id = self.open.keys().nth(script.below(256) % self.open.len().max(1)).copied();
                self.core.cancel(self.now, &chunk, id.unwrap_or(CommandId(script.number())));
            }
            5 => {
                let code = script.pick(&[None, Some(1006), Some(4000), Some(4500), Some(4501), Some(4502)]);
                let any = Some(u16::from_le_bytes(script.array()));
                self.core.disconnected(
                    self.now,
                    socket,
                    if script.rarely(16) { any } else { code.filter(|c| *c < 4500) },
                );
            }
            6 => self.core.connected(self.now, socket, "t".into()),
            7 => self.tick(script),
            8 => self.core.renew(self.now, "t2".into()),
            9 => self.core.received(self.now, socket, script.long()),
            _ => {
                let mut events = vec![];
                for _ in 0..=script.below(5) {
                    events.push(self.event(&chunk, script));
                }
                self.receive(socket, events);
            }
        }
        for id in IDS {
            let id = id.parse().unwrap();
            self.core.view(&id);
            assert!(self.core.status(&id).is_some() || self.core.hash(&id).is_none());
        }
    }

    fn tick(&mut self, script: &mut Reader<'_>) {
        self.now = match (script.below(4), self.core.next_deadline()) {
            (0 | 1, Some(at)) if at.0 < NOW * 2 => self.now.max(at),
            (2, _) => self.now.plus_ms(script.number().min(1 << 32)),
            _ => self.now.plus_ms(script.pick(&[0, 1, 250, 3_000, 15_000, 30_000])),
        };
        self.core.tick(self.now);
        self.take();
        let next = self.core.next_deadline();
        let now = self.now;
        assert!(next.is_none_or(|at| at > now), "after a tick at {now:?} the client waits for {next:?}");
    }

    fn receive(&mut self, socket: Socket, events: Vec<event::Body>) {
        let events = events.into_iter().map(|body| proto::Event { body: Some(body) }).collect();
        self.core.received(self.now, socket, proto::ServerFrame { events }.encode_to_vec().into());
    }

    /// Takes the core's outputs, and compares each with what the core did before.
    fn take(&mut self) {
        while let Some(event) = self.core.poll_event() {
            match event {
                Event::Outcome { chunk, command, .. } => {
                    let was_open = self.open.remove(&command);
                    assert_eq!(was_open, Some(chunk), "{command:?} ends once, where it began");
                }
                // A server may give the same session out a second time. The client cannot notice
                // this, so its numbers start anew.
                Event::Session { session, .. } => {
                    self.session = Some(session);
                    self.sent.clear();
                }
                Event::Fatal { .. } => self.is_stopped = true,
                _ => {}
            }
        }
        assert!(!self.is_stopped || self.open.is_empty(), "open after the client stopped: {:?}", self.open);
        for socket in [Socket::Ingest, Socket::Gateway] {
            while let Some(message) = self.core.poll_send(socket) {
                self.message(message);
            }
            assert!(!self.core.has_output(socket));
        }
    }

    fn message(&mut self, message: Bytes) {
        assert!(message.len() <= limits::CLIENT_FRAME_BYTES_MAX);
        let frame: proto::ClientFrame = format::decode_known("ClientFrame", message).unwrap();
        assert!(frame.requests.len() <= limits::CLIENT_FRAME_REQUESTS_MAX);
        for request in frame.requests {
            if let request::Body::Submit(submit) = request.body.unwrap() {
                assert!(submit.after < submit.seq, "{submit:?}");
                let body = self.sent.entry((submit.chunk_id.clone(), submit.seq)).or_insert(submit.body.clone());
                assert_eq!(*body, submit.body, "one number was used for two commands: {submit:?}");
            }
        }
    }

    fn event(&mut self, chunk: &ChunkId, script: &mut Reader<'_>) -> event::Body {
        let chunk_id = chunk.to_string();
        let version = self.core.confirmed(chunk).map_or(0, |replica| replica.version().0);
        let near = |script: &mut Reader<'_>| match script.below(4) {
            3 => script.number(),
            up => version.saturating_add(up as u64),
        };
        match script.below(16) {
            0 => event::Body::Welcome(self.draw_welcome(script)),
            1 => event::Body::Renewed(proto::Renewed { token_expires_at: script.number().cast_signed() }),
            2 => event::Body::Receipt(proto::Receipt { chunk_id, seq: script.number() }),
            3 => event::Body::Rejected(proto::Rejected {
                chunk_id,
                seq: script.number(),
                code: script.below(14) as i32,
                retry: script.below(5) as i32,
                retry_after_ms: script.number() as u32,
                message: "no".into(),
            }),
            4 | 5 => {
                let resolved = draw_resolved(script);
                event::Body::Tracked(proto::Tracked {
                    chunk_id,
                    version: near(script),
                    hash: self.hash(chunk, script),
                    resolved,
                    history: draw_id(script),
                })
            }
            6 => {
                let encoding = self.draw_encoding(chunk, script);
                event::Body::Chunk(proto::Chunk {
                    chunk_id,
                    version: near(script),
                    hash: if script.rarely(8) { self.hash(chunk, script) } else { Hash::of(&encoding).to_bytes() },
                    model: script.pick(&["map", "map", "map", "grid"]).into(),
                    revision: 1,
                    data: match script.rarely(8) {
                        true => Bytes::copy_from_slice(script.short()),
                        false => zstd::bulk::compress(&encoding, 1).unwrap().into(),
                    },
                })
            }
            7..11 => event::Body::Updates(self.updates(chunk, near(script), script)),
            11 | 12 => event::Body::Outcomes(proto::Outcomes { chunk_id, outcomes: draw_outcomes(script) }),
            13 => {
                let beacon = proto::Beacon { chunk_id, version: near(script), hash: self.hash(chunk, script) };
                event::Body::Beacons(proto::Beacons { beacons: vec![beacon] })
            }
            14 => event::Body::Lagging(proto::Lagging { chunk_id }),
            _ => match script.below(4) {
                0 => event::Body::Ping(proto::Ping { nonce: script.number() }),
                1 => event::Body::Refused(proto::Refused { code: script.below(10) as i32, message: "no".into() }),
                _ => event::Body::TrackRejected(proto::TrackRejected {
                    chunk_id,
                    code: script.below(10) as i32,
                    message: "no".into(),
                }),
            },
        }
    }

    fn draw_welcome(&self, script: &mut Reader<'_>) -> Welcome {
        let session = match script.below(4) {
            0 => SessionId::new(script.number(), [2; 10]),
            _ => self.session.unwrap_or(SessionId::new(NOW, [1; 10])),
        };
        let families = match script.below(4) {
            0 => vec![],
            1 => vec![family(script)],
            _ => families(),
        };
        let mut welcome = welcome(session, families);
        if script.rarely(2) {
            welcome.token_expires_at = script.number().cast_signed();
            welcome.limits = Some(proto::Limits {
                frame_bytes_max: script.number() as u32,
                command_bytes_max: script.number() as u32,
                ..proto::Limits::default()
            });
        }
        welcome.world_id = draw_id(script);
        if script.rarely(16) {
            welcome.writer = Bytes::copy_from_slice(script.short());
        }
        welcome
    }

    /// Draws the replica's encoding, the encoding of an empty map, or bytes that are no encoding.
    fn draw_encoding(&mut self, chunk: &ChunkId, script: &mut Reader<'_>) -> Vec<u8> {
        let encoding = self.core.confirmed(chunk).map(|replica| replica.encoding().into_owned());
        encoding
            .filter(|_| !script.rarely(3))
            .unwrap_or_else(|| if script.rarely(2) { b"DLM1\0\0\0\0".to_vec() } else { script.short().to_vec() })
    }

    /// Draws updates. Most of them apply to the replica and have the right hash.
    fn updates(&mut self, chunk: &ChunkId, first_version: u64, script: &mut Reader<'_>) -> Bytes {
        let own: Vec<Bytes> = self.core.session().map(|s| s.writer("ann").to_bytes()).into_iter().collect();
        let mut entries = vec![];
        for _ in 0..script.below(4) {
            let writer = match own.first() {
                Some(own) if !script.rarely(3) => own.clone(),
                _ => Bytes::from(vec![7; 16]),
            };
            entries.push(Entry { writer, seq: script.number(), effect: command(script) });
        }
        let mut replica = self.core.confirmed(chunk).cloned();
        if let Some(replica) = &mut replica {
            entries.iter().for_each(|entry| drop(replica.fold(&entry.effect)));
        }
        let first_version = match (&replica, script.rarely(3)) {
            (Some(replica), false) => replica.version().0.saturating_sub(entries.len() as u64).saturating_add(1),
            _ => first_version,
        };
        let state_hash = match replica {
            Some(mut replica) if !script.rarely(8) => replica.hash().to_bytes(),
            _ => self.hash(chunk, script),
        };
        Updates { chunk_id: chunk.to_string(), first_version, entries, state_hash }.encode_to_vec().into()
    }

    fn hash(&mut self, chunk: &ChunkId, script: &mut Reader<'_>) -> Bytes {
        match (script.below(8), self.core.hash(chunk)) {
            (0, _) => Bytes::copy_from_slice(script.short()),
            (1, _) | (_, None) => Bytes::from(vec![script.u8(); 32]),
            (_, Some(hash)) => hash.to_bytes(),
        }
    }
}

/// Draws the id of a world or of a history. Most ids are empty, so that most events belong to one
/// history.
fn draw_id(script: &mut Reader<'_>) -> Bytes {
    match script.below(16) {
        0 => Bytes::from(vec![1; 16]),
        1 => Bytes::from(vec![2; 16]),
        2 => Bytes::copy_from_slice(script.short()),
        _ => Bytes::new(),
    }
}

fn draw_resolved(script: &mut Reader<'_>) -> Option<tracked::Resolved> {
    match script.below(4) {
        0 => None,
        1 => Some(tracked::Resolved::Expired(proto::ResolvedExpired {})),
        _ => Some(tracked::Resolved::Ledger(proto::Resolved {
            seq: script.number(),
            committed_bits: if script.rarely(2) { u64::MAX } else { script.number() },
        })),
    }
}

fn draw_outcomes(script: &mut Reader<'_>) -> Vec<proto::Outcome> {
    (0..=script.below(3))
        .map(|_| proto::Outcome {
            seq: script.number(),
            outcome: match script.below(4) {
                0 => None,
                1 => Some(outcome::Outcome::Discarded(proto::Discarded::default())),
                2 => Some(outcome::Outcome::OutOfOrder(proto::OutOfOrder {})),
                _ => Some(outcome::Outcome::SessionExpired(proto::SessionExpired { floor_ms: script.number() })),
            },
        })
        .collect()
}

fn welcome(session: SessionId, families: Vec<proto::Family>) -> Welcome {
    Welcome {
        session: session.to_bytes(),
        writer: session.writer("ann").to_bytes(),
        families,
        world: "fuzz".into(),
        ..Welcome::default()
    }
}

fn families() -> Vec<proto::Family> {
    let family = |name: &str, model: &str, parameters: &str| proto::Family {
        name: name.into(),
        model: model.into(),
        model_revision: 1,
        parameters: parameters.into(),
        coordinates: 2,
        ..proto::Family::default()
    };
    vec![family("things", "map", "{}"), family("canvas", "grid", r#"{"size": [4, 4], "palette": 4}"#)]
}

fn family(script: &mut Reader<'_>) -> proto::Family {
    proto::Family {
        name: script.pick(&["things", "canvas", "other"]).into(),
        model: script.pick(&["map", "grid", "tape"]).into(),
        model_revision: script.below(3) as u32,
        parameters: match script.below(3) {
            0 => script.text(),
            1 => r#"{"entries_max": 1}"#.into(),
            _ => r#"{"size": [2, 2, 2], "palette": 2}"#.into(),
        },
        ..proto::Family::default()
    }
}

/// Draws a put for the map, a cell for the grid, or bytes that are no command.
fn command(script: &mut Reader<'_>) -> Bytes {
    match script.below(8) {
        0 => Bytes::copy_from_slice(script.short()),
        1 => Bytes::from_static(b"\x0a\x06\x0a\x01\x01\x12\x01\x01"),
        _ => Bytes::from(vec![0x0a, 6, 0x0a, 1, b'a' + script.u8() % 4, 0x12, 1, script.u8()]),
    }
}
