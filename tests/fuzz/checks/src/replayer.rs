//! Checks the replayer's core in two ways. An even first byte selects valid logs and stores and any
//! order of events, with all oracles of the core's tests (`driftless_scenes::replayer`). An odd
//! first byte selects records and stored states that break the rules.
//!
//! The second way checks that nothing panics, and that no output comes after the end of the
//! ownership. Each record that the owner appends must be readable and within the size limit of a
//! record. Its number must follow the previous number without a hole, under the owner's epoch.

use crate::reader::Reader;
use bytes::Bytes;
use driftless_chunk::live::read_updates;
use driftless_chunk::world::World;
use driftless_replayer_core::{
    Input, LoadError, OlderError, OutOfRange, Output, PartitionCore, Settings, Stored, Stream,
};
use driftless_scenes::replayer::actions::{self, Action, Numbering};
use driftless_scenes::replayer::{self as scene, PARTITION, Wish};
use driftless_schemas::proto::{
    self, Audit, Command, CommandRecord, Decisions, Entry, Fence, Mark, Ref, SnapshotStored, Updates, UpdatesRecord,
    command_record, mark::Outcome, updates_record::Body,
};
use driftless_schemas::stored::{Checkpoint, IndexEntry, Location, StoredLedger, StoredRef, StoredWriter};
use driftless_schemas::time::MonotonicMs;
use driftless_schemas::{ChunkId, Epoch, Hash, Offset, Seq, Version, WriterId, format, limits};
use prost::Message;
use std::collections::VecDeque;
use std::sync::{Arc, LazyLock};

static WORLD: LazyLock<Arc<World>> = LazyLock::new(scene::world);

const ACTIONS_MAX: usize = 220;
const STEPS_MAX: usize = 300;

pub fn check(data: &[u8]) {
    let mut script = Reader::new(data);
    match script.u8() % 2 {
        0 => with_valid_peers(&mut script),
        _ => ArbitraryPeers::new(&mut script).run(&mut script),
    }
}

fn with_valid_peers(script: &mut Reader<'_>) {
    let mut all = vec![];
    while !script.is_empty() && all.len() < ACTIONS_MAX {
        all.push(action(script));
    }
    actions::run(&all);
}

fn action(script: &mut Reader<'_>) -> Action {
    let who = if script.rarely(6) { script.below(4) as u8 } else { 255 };
    let few = |script: &mut Reader<'_>| script.below(8) as u8 + 1;
    match script.below(84) {
        0..16 => Action::Submit {
            chunk: script.below(4) as u8,
            writer: script.below(3) as u8,
            numbering: match script.below(10) {
                0..6 => Numbering::Next,
                6 | 7 => Numbering::Again(script.below(6) as u8),
                8 => Numbering::TooEarly,
                _ => Numbering::Skip,
            },
            wish: match script.below(11) {
                0..4 => Wish::Put(script.below(5) as u8),
                4 | 5 => Wish::Claim(script.below(5) as u8),
                6 | 7 => Wish::Delete(script.below(5) as u8),
                8 => Wish::Nonsense,
                9 => Wish::NoBody,
                _ => Wish::Settle,
            },
        },
        16 => Action::Rubbish(script.u8()),
        17..21 => Action::Serve,
        21..29 => Action::Land(who, script.below(4) as u8 + 1),
        29..36 => Action::Ack(who, script.below(4) as u8 + 1, !script.rarely(6)),
        36 => Action::WriteAgain(who),
        37 => Action::Fail(who, script.rarely(2)),
        38..44 => Action::Load(who, !script.rarely(6)),
        44..49 => Action::Put(who, !script.rarely(6)),
        49 | 50 => Action::Bury(who),
        51..56 => Action::Write(who, !script.rarely(13)),
        56..61 => Action::TellWritten(who),
        61..66 => Action::ReadUpdates(who, few(script)),
        66..75 => Action::ReadCommands(who, few(script)),
        75..77 => Action::Tick(who, u16::from(script.u8()) + 20),
        77 => Action::Drain(who),
        78 => Action::Kill(who),
        79..83 => Action::ReadBack(who, few(script)),
        _ => Action::Claim,
    }
}

struct ArbitraryPeers {
    core: PartitionCore,
    chunks: Vec<ChunkId>,
    now_ms: u64,
    epoch: u64,
    next_n: u64,
    /// The records that the core has appended and that are not acknowledged: number and value.
    sent: VecDeque<(u64, Bytes)>,
    updates_next: i64,
    commands_next: i64,
    reads_updates: bool,
    reads_commands: bool,
    reads_history: bool,
    history_next: i64,
    /// The next offset that the core reads back.
    reads_back: Option<i64>,
    asks_commands_end: bool,
    loads: VecDeque<ChunkId>,
    older: VecDeque<ChunkId>,
    puts: VecDeque<(ChunkId, Hash)>,
    letters: VecDeque<u64>,
    is_writing: bool,
    is_over: bool,
    /// Epoch and n of the newest record in `updates` that another owner wrote.
    position: (u64, u64),
    source: i64,
}

impl ArbitraryPeers {
    fn new(script: &mut Reader<'_>) -> Self {
        let all = (0..40).map(|i| ChunkId::new("things", &[i]).unwrap());
        let chunks = all.filter(|id| WORLD.place(id).unwrap().partition == PARTITION).take(3).collect();
        let settings = Settings { accept_loss: script.rarely(3), waiting_per_chunk_max: 3, ..scene::settings() };
        let commands_next = script.below(4) as i64;
        let updates_low = script.below(4) as i64;
        let checkpoint = Checkpoint {
            epoch: Epoch(5),
            commands_next: Offset(commands_next),
            updates_low: Offset(updates_low),
            updates_low_epoch: Epoch(4),
            updates_low_n: script.number(),
            ..Checkpoint::default()
        };
        let core = PartitionCore::new(Arc::clone(&WORLD), PARTITION, "fuzz", checkpoint, settings, MonotonicMs(0));
        Self {
            core,
            chunks,
            now_ms: 0,
            epoch: 5,
            next_n: 0,
            sent: VecDeque::new(),
            updates_next: updates_low,
            commands_next,
            reads_updates: false,
            reads_commands: false,
            reads_history: false,
            history_next: 0,
            reads_back: None,
            asks_commands_end: false,
            loads: VecDeque::new(),
            older: VecDeque::new(),
            puts: VecDeque::new(),
            letters: VecDeque::new(),
            is_writing: false,
            is_over: false,
            position: (4, checkpoint.updates_low_n),
            source: commands_next,
        }
    }

    fn run(mut self, script: &mut Reader<'_>) {
        self.take();
        for _ in 0..STEPS_MAX {
            if script.is_empty() || self.is_over {
                break;
            }
            if let Some(input) = self.input(script) {
                self.core.handle(input, MonotonicMs(self.now_ms));
                self.take();
                assert!(self.core.stats().records >= self.next_n);
            }
        }
    }

    fn input(&mut self, script: &mut Reader<'_>) -> Option<Input> {
        Some(match script.below(24) {
            0..4 if self.reads_updates => match script.rarely(4) {
                // The owner reads its own fence back from the log.
                true => {
                    let (n, value) = self.sent.front()?.clone();
                    (n == 0).then_some(Input::Updates(vec![(self.next_update(), value)]))?
                }
                false => {
                    let record = self.foreign_record(script);
                    Input::Updates(vec![(self.next_update(), record)])
                }
            },
            4 if self.reads_updates && script.rarely(8) => out_of_range(Stream::Updates, self.updates_next, script),
            0..8 if self.reads_commands && self.core.wants_commands() => {
                let count = script.below(4) + 1;
                Input::Commands((0..count).map(|_| self.command(script)).collect())
            }
            0..2 if self.reads_back.is_some() => {
                let offset = self.reads_back?;
                let record = match self.sent.front() {
                    Some((_, own)) if script.rarely(2) => own.clone(),
                    _ => self.foreign_record(script),
                };
                self.reads_back = Some(offset + 1);
                Input::ReadBack(vec![(Offset(offset), record)])
            }
            8 | 9 if self.reads_history => {
                let record = self.foreign_record(script);
                self.history_next += 1;
                Input::History(vec![(Offset(self.history_next - 1), record)])
            }
            23 if self.reads_commands && script.rarely(16) => {
                out_of_range(Stream::Commands, self.commands_next, script)
            }
            10 if self.reads_history && script.rarely(8) => out_of_range(Stream::History, self.history_next, script),
            10 if self.reads_back.is_some() && script.rarely(8) => {
                out_of_range(Stream::ReadBack, self.reads_back.take()?, script)
            }
            11..14 => {
                let chunk = self.loads.pop_front()?;
                Input::Loaded(chunk, self.stored(script))
            }
            14 => {
                let chunk = self.older.pop_front()?;
                let loaded = match script.below(3) {
                    0 => Err(OlderError::Unavailable),
                    1 => Err(OlderError::Lost),
                    _ => Ok(encoding(script)),
                };
                Input::OlderLoaded(chunk, loaded)
            }
            15..18 => {
                let (n, _) = self.sent.front()?;
                let n = if script.rarely(64) { script.number() } else { *n };
                self.sent.pop_front();
                let offset = (!script.rarely(8)).then(|| self.next_update());
                Input::Acked(n, offset)
            }
            18 => {
                let (chunk, hash) = self.puts.pop_front()?;
                Input::SnapshotPut(chunk, hash, if script.rarely(4) { Err("no".into()) } else { Ok(()) })
            }
            2 | 3 if std::mem::take(&mut self.asks_commands_end) => Input::CommandsEnd(Offset(script.number() as i64)),
            19 => Input::DeadLettered(self.letters.pop_front()?),
            20 => (std::mem::take(&mut self.is_writing))
                .then(|| Input::CheckpointWritten(if script.rarely(16) { Err("no".into()) } else { Ok(()) }))?,
            21 => Input::Damage(self.chunks[script.below(self.chunks.len())].clone()),
            22 if script.rarely(16) => Input::Drain,
            _ => {
                self.now_ms += script.number().min(1 << 32);
                Input::Tick
            }
        })
    }

    fn next_update(&mut self) -> Offset {
        self.updates_next += 1;
        Offset(self.updates_next - 1)
    }

    fn take(&mut self) {
        while let Some(output) = self.core.poll_output() {
            assert!(!self.is_over, "an output after the end: {output:?}");
            match output {
                Output::Append { n, value, .. } => {
                    self.appended(n, &value);
                    self.sent.push_back((n, value));
                }
                Output::ReadUpdates(from) => {
                    self.reads_updates = true;
                    self.updates_next = from.0;
                }
                Output::ReadCommands(from) => {
                    self.reads_updates = false;
                    self.reads_commands = true;
                    self.commands_next = from.0;
                }
                Output::ReadBack(from) => {
                    assert!(!self.reads_history, "one reading of updates at a time");
                    self.reads_back = Some(from.0);
                }
                Output::EndReadBack => self.reads_back = None,
                Output::AskCommandsEnd => self.asks_commands_end = true,
                Output::ReadHistory(from) => {
                    assert!(self.reads_back.is_none(), "one reading of updates at a time");
                    self.reads_history = true;
                    self.history_next = from.0;
                }
                Output::EndHistory => self.reads_history = false,
                Output::Load(chunk) => self.loads.push_back(chunk),
                Output::LoadOlder(chunk, _) => self.older.push_back(chunk),
                Output::PutSnapshot { chunk, hash, encoding } => {
                    assert_eq!(Hash::of(&encoding), hash, "r7");
                    self.puts.push_back((chunk, hash));
                }
                Output::Repair { hash, encoding, .. } => assert_eq!(Hash::of(&encoding), hash, "r7"),
                Output::WriteCheckpoint { .. } => {
                    assert!(!std::mem::replace(&mut self.is_writing, true), "one checkpoint at a time");
                }
                Output::DeadLetter { id, .. } => self.letters.push_back(id),
                Output::Reached(_)
                | Output::Lost(..)
                | Output::LossAccepted(_)
                | Output::Drift(..)
                | Output::Stuck(..) => {}
                Output::Ended(_) => self.is_over = true,
            }
        }
    }

    fn appended(&mut self, n: u64, value: &Bytes) {
        assert!(value.len() <= limits::RECORD_BYTES_MAX, "{} bytes in a record", value.len());
        let record: UpdatesRecord = format::decode_known("UpdatesRecord", value.clone()).unwrap();
        assert_eq!((record.epoch, record.n, n), (self.epoch, n, self.next_n), "r4");
        self.next_n += 1;
        match record.body.unwrap() {
            Body::Fence(_) => assert_eq!(n, 0),
            Body::SnapshotStored(stored) => assert!(stored.r#ref.is_some()),
            Body::Decisions(decisions) => {
                assert!(!decisions.marks.is_empty());
                read_updates(&decisions).unwrap();
            }
        }
    }

    fn chunk(&self, script: &mut Reader<'_>) -> String {
        match script.below(16) {
            0 => script.text(),
            1 => "things/9999".into(),
            by => self.chunks[by % self.chunks.len()].to_string(),
        }
    }

    fn command(&mut self, script: &mut Reader<'_>) -> (Offset, Bytes) {
        let offset = Offset(self.commands_next);
        self.commands_next += 1 + i64::from(script.rarely(8));
        let chunk_id = self.chunk(script);
        let body = match script.below(12) {
            0 => return (offset, script.long()),
            1 => None,
            2 => Some(command_record::Body::Audit(Audit {
                version: script.number(),
                hash: Bytes::copy_from_slice(script.short()),
                ..Audit::default()
            })),
            by => {
                let wish = match by {
                    3 => Wish::Settle,
                    4 => Wish::NoBody,
                    5 => Wish::Nonsense,
                    6 => Wish::Delete(script.below(5) as u8),
                    7 => Wish::Claim(script.below(5) as u8),
                    _ => Wish::Put(script.below(5) as u8),
                };
                let writer = writer(script);
                let mut command: Command = scene::command(writer, script.number(), script.number(), wish);
                if script.rarely(16) {
                    command.author = "ä".repeat(script.below(256) * 20);
                }
                if script.rarely(16) {
                    command.writer = Bytes::copy_from_slice(script.short());
                }
                Some(command_record::Body::Command(command))
            }
        };
        (offset, CommandRecord { chunk_id, body }.encode_to_vec().into())
    }

    /// Draws a record of an earlier owner, or bytes that resemble one.
    fn foreign_record(&mut self, script: &mut Reader<'_>) -> Bytes {
        let chunk_id = self.chunk(script);
        let body = match script.below(8) {
            0 => return script.long(),
            1 => Body::Fence(Fence { owner: "x".into(), ..Fence::default() }),
            2 => Body::SnapshotStored(SnapshotStored {
                chunk_id,
                r#ref: (!script.rarely(16)).then(|| notice_ref(script)),
            }),
            _ => {
                let (mut marks, mut entries) = (vec![], vec![]);
                for _ in 0..=script.below(3) {
                    let (writer, seq) = (writer(script).to_bytes(), script.number());
                    let outcome = match script.below(6) {
                        0 => Outcome::Discarded(proto::Discarded {
                            reason: script.below(9) as i32,
                            detail: String::new(),
                        }),
                        1 => Outcome::OutOfOrder(proto::OutOfOrder {}),
                        2 => Outcome::SessionExpired(proto::SessionExpired { floor_ms: script.number() }),
                        _ => {
                            let effect = vec![0x0a, 6, 0x0a, 1, b'a' + script.u8() % 4, 0x12, 1, script.u8()];
                            entries.push(Entry { writer: writer.clone(), seq, effect: effect.into() });
                            Outcome::Committed(proto::Committed {})
                        }
                    };
                    self.source += 1;
                    let source_offset = if script.rarely(16) { script.number().cast_signed() } else { self.source };
                    marks.push(Mark { source_offset, writer, seq, outcome: Some(outcome), ..Mark::default() });
                }
                let updates = (!entries.is_empty()).then(|| Updates {
                    chunk_id: chunk_id.clone(),
                    first_version: if script.rarely(3) { script.number() } else { 1 },
                    entries,
                    state_hash: vec![script.u8(); 32].into(),
                });
                Body::Decisions(Decisions {
                    chunk_id,
                    updates: updates.map(|u| u.encode_to_vec().into()).unwrap_or_default(),
                    marks,
                })
            }
        };
        let (epoch, n) = match (&body, script.rarely(8)) {
            (_, true) => (script.number().min(6), script.number()),
            (Body::Fence(_), false) => (script.below(6) as u64, 0),
            (_, false) => {
                self.position.1 = self.position.1.saturating_add(1);
                self.position
            }
        };
        UpdatesRecord { epoch, n, body: Some(body) }.encode_to_vec().into()
    }

    fn stored(&self, script: &mut Reader<'_>) -> Result<Option<Stored>, LoadError> {
        let mut entry = IndexEntry { newest: stored_ref(script), older: vec![] };
        for _ in 0..script.below(3) {
            entry.older.push(StoredRef { ledger: None, ..stored_ref(script) });
        }
        match script.below(8) {
            0 => Err(LoadError::Unavailable("away".into())),
            1 => Err(LoadError::Lost { entry: Box::new(entry), reason: "lost".into() }),
            2..4 => Ok(None),
            _ => {
                let encoding = encoding(script);
                if !script.rarely(8) {
                    entry.newest.hash = Hash::of(&encoding);
                }
                Ok(Some(Stored { entry, encoding }))
            }
        }
    }
}

/// Draws an out-of-range error: the log now begins above the offset that was read, or ends below
/// it.
fn out_of_range(stream: Stream, next: i64, script: &mut Reader<'_>) -> Input {
    let (wanted, low) = match script.rarely(4) {
        true => (next, 0),
        false => (next - 1, next),
    };
    Input::OutOfRange(OutOfRange { stream, wanted: Offset(wanted), low: Offset(low), high: Offset(next - 1) })
}

fn writer(script: &mut Reader<'_>) -> WriterId {
    WriterId([script.below(3) as u8 + 1; 16])
}

/// Draws the encoding of a map with no key or one key, or bytes that are no encoding.
fn encoding(script: &mut Reader<'_>) -> Bytes {
    match script.below(4) {
        0 => Bytes::copy_from_slice(script.short()),
        1 => Bytes::from_static(b"DLM1\x01\0\0\0\x01\0a\x01\0\0\0b"),
        _ => Bytes::from_static(b"DLM1\0\0\0\0"),
    }
}

/// Draws the ref of a notice. A few of these refs cannot be parsed.
fn notice_ref(script: &mut Reader<'_>) -> Ref {
    let mut notice = stored_ref(script).to_proto();
    match script.below(16) {
        0 => notice.hash = Bytes::copy_from_slice(script.short()),
        1 => notice.location = None,
        _ => {}
    }
    notice
}

fn stored_ref(script: &mut Reader<'_>) -> StoredRef {
    let entry = |script: &mut Reader<'_>| StoredWriter {
        writer: writer(script),
        seq: Seq(script.number()),
        committed_bits: script.number(),
        last_offset: Offset(script.number().cast_signed()),
    };
    StoredRef {
        version: Version(script.number()),
        hash: match script.below(3) {
            0 => Hash([script.u8(); 32]),
            _ => Hash::of(b"DLM1\0\0\0\0"),
        },
        location: Location::Object,
        through_offset: Offset(script.number().cast_signed()),
        model_revision: 1,
        bytes: script.number(),
        ledger: (!script.rarely(8)).then(|| StoredLedger {
            floor_ms: script.number(),
            entries: (0..script.below(3)).map(|_| entry(script)).collect(),
        }),
    }
}
