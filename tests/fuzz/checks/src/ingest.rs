//! Checks an ingest socket that gets arbitrary messages of an untrusted client and arbitrary
//! answers of the log.
//!
//! The check: every Submit is produced or rejected, and each produced Submit gets one answer. Its
//! record is in the sender's name, and for a chunk that the sender may write.

use crate::reader::Reader;
use crate::untrusted::{self, START, TestEnvironment};
use bytes::Bytes;
use driftless_ingest_core::rate::rates;
use driftless_ingest_core::{Admission, Connection, Input, Outputs, Policy};
use driftless_runtime_core::requests::take_apart;
use driftless_schemas::proto::{self, command_record, event, request};
use driftless_schemas::time::Now;
use driftless_schemas::{ChunkId, limits};
use prost::Message;
use std::collections::BTreeSet;
use std::sync::Arc;

pub fn check(data: &[u8]) {
    let mut script = Reader::new(data);
    let policy = match script.below(3) {
        0 => Policy::default(),
        1 => Policy { commands_per_second: 1, commands_burst: 5, in_flight_max: 64, ..Policy::default() },
        _ => Policy { bytes_per_second: 1, bytes_burst: limits::COMMAND_BYTES_MAX as u32, ..Policy::default() },
    };
    policy.check().unwrap();
    let rates = Arc::new(rates(&policy));
    let connection = Connection::new(Arc::new(Admission::new(untrusted::world(), policy)), rates, START.monotonic);
    let mut socket = Socket { connection, now: START, outstanding: BTreeSet::new() };
    while !script.is_empty() && socket.step(&mut script) {}
}

struct Socket {
    connection: Connection,
    now: Now,
    /// The tokens of the records that were produced and that the log has not answered yet.
    outstanding: BTreeSet<u32>,
}

impl Socket {
    /// Takes one step of the script. Returns false once the socket is closed.
    fn step(&mut self, script: &mut Reader<'_>) -> bool {
        match script.below(8) {
            0..4 => {
                let frame = untrusted::frame(script);
                self.frame(frame)
            }
            4 | 5 => {
                let known = self.outstanding.iter().nth(script.below(256) % self.outstanding.len().max(1)).copied();
                let token = known.filter(|_| !script.rarely(8)).unwrap_or(script.number() as u32);
                let is_known = self.outstanding.remove(&token);
                let (input, answers) = match script.below(4) {
                    0 => (Input::Refused(token, "no"), 1),
                    1 => (Input::Unsent(token), 1),
                    2 => (Input::Unknown(token), 0),
                    _ => (Input::Acknowledged(token), 1),
                };
                let out = self.input(input);
                assert_eq!(events(&out).len(), usize::from(is_known) * answers, "answers for token {token}");
                true
            }
            6 => {
                self.now = match script.rarely(2) {
                    true => untrusted::after(self.now, self.connection.wake_at(self.now).ms_since(self.now.monotonic)),
                    false => untrusted::later(script, self.now),
                };
                let out = self.input(Input::Tick);
                let is_closed = out.session.close.is_some();
                let (wake_at, now) = (self.connection.wake_at(self.now), self.now.monotonic);
                assert!(is_closed || wake_at > now, "after a tick at {now:?} the socket waits for {wake_at:?}");
                !is_closed
            }
            _ => match script.below(8) {
                7 => {
                    let out = self.input(Input::Untrusted("a text"));
                    assert!(out.session.close.is_some());
                    false
                }
                _ => self.input(Input::Heard).session.close.is_none(),
            },
        }
    }

    fn frame(&mut self, frame: Bytes) -> bool {
        let requests: Vec<proto::Request> =
            take_apart(frame.clone()).map(|all| all.into_iter().flatten().collect()).unwrap_or_default();
        let submits = requests.iter().filter(|r| matches!(r.body, Some(request::Body::Submit(_)))).count();
        let was_greeted = self.connection.identity().is_some();
        let out = self.input(Input::Frame(frame));
        let (produced, rejected) = (out.produce.len(), out.rejected.len());
        assert!(produced + rejected <= submits, "{produced} produced and {rejected} rejected of {submits} Submits");
        if was_greeted && out.session.close.is_none() {
            assert_eq!(produced + rejected, submits, "a Submit was neither produced nor rejected");
        }
        for event in events(&out) {
            if let Some(event::Body::Rejected(rejected)) = event.body {
                assert!(!rejected.message.is_empty() && rejected.code != 0 && rejected.retry != 0);
                assert!(rejected.message.len() <= limits::DETAIL_BYTES_MAX);
            }
        }
        out.session.close.is_none()
    }

    fn input(&mut self, input: Input<'_>) -> Outputs {
        let mut out = Outputs::default();
        self.connection.handle(input, self.now, &TestEnvironment, &mut out);
        for produce in &out.produce {
            assert!(self.outstanding.insert(produce.token), "token {} is in use", produce.token);
            self.record(produce.record.clone());
        }
        assert_eq!(self.connection.in_flight(), self.outstanding.len());
        out
    }

    fn record(&self, record: Bytes) {
        assert!(record.len() < limits::RECORD_BYTES_MAX);
        let record = proto::CommandRecord::decode(record).unwrap();
        let chunk: ChunkId = record.chunk_id.parse().unwrap();
        let who = self.connection.identity().expect("a command was produced before Hello");
        assert!(who.claims.access.may_write(&chunk), "a command was produced for {chunk} without write access");
        let Some(command_record::Body::Command(command)) = record.body else { panic!("the record is no command") };
        assert_eq!(command.writer[..], who.writer.0, "a command was produced in another writer's name");
        assert_eq!(command.author, who.claims.sub);
        assert!(command.after < command.seq && command.body.is_some());
    }
}

fn events(out: &Outputs) -> Vec<proto::Event> {
    proto::ServerFrame::decode(&out.session.frame[..]).unwrap().events
}
