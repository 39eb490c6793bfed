//! Partitions that cannot be opened or read: their chunks are unavailable, and all others are
//! served.

use super::{C, all, log};
use bytes::Bytes;
use driftless_chunk::model::Models;
use driftless_chunk::position::Position;
use driftless_chunk::world::World;
use driftless_gateway_core::{
    Answer, Ask, Fault, Hub, Input, Joined, LoadError, Opened, Output, Settings, SocketId, Standing,
};
use driftless_scenes::gateway::*;
use driftless_schemas::access::Access;
use driftless_schemas::proto::{Decisions, Fence, UpdatesRecord, updates_record::Body};
use driftless_schemas::time::MonotonicMs;
use driftless_schemas::world::WorldSpec;
use driftless_schemas::{ChunkId, Offset, Partition, features};
use prost::Message as _;
use std::sync::Arc;

#[test]
fn r9_clients_of_a_partition_that_fails_are_told_and_tracked_again_after_it_has_recovered() {
    let (mut log, mut owner) = log(2);
    let mut gateway = all(&log, settings());
    let (tracker, waiting) = (gateway.tracker(&log, writer(1), C), gateway.join(writer(2)));
    gateway.request(waiting, track("tape/2", None));
    gateway.ask(1, "tape/2", Ask::Content);
    write(&mut log, &mut owner, C, writer(1), &["a"]);
    log.records.push(Bytes::from_static(b"\xff\xff"));
    gateway.read(&log, usize::MAX);
    assert_eq!(gateway.got(&log, tracker), ["updates 3-3", "rejected UNAVAILABLE"], "valid records count");
    assert_eq!(gateway.got(&log, waiting), ["rejected UNAVAILABLE"]);
    assert!(matches!(gateway.answers.remove(&1), Some(Answer::Degraded(_))));
    assert_eq!((gateway.hub.ring_bytes(), gateway.hub.lagging()), (0, 0));

    // Until the partition has recovered, requests are refused, and no record is taken.
    gateway.request(tracker, track(C, None));
    gateway.request(tracker, refresh(C, 3));
    assert_eq!(gateway.got(&log, tracker), ["rejected UNAVAILABLE", "refused NOT_TRACKED"]);
    gateway.ask(2, C, Ask::Content);
    let Some(Answer::Degraded(said)) = gateway.answers.remove(&2) else { panic!("the chunk is served") };
    assert!(said.contains("partition 0") && said.contains("ask again"), "{said}");
    gateway.tick(999);
    assert!(!gateway.is_opening);
    gateway.tick(1);
    assert!(gateway.is_opening, "the pause is over");
    log.records.pop();
    gateway.open(&log);
    assert_eq!(gateway.recovered, 0, "the log has records that the hub has not read again");
    let have = gateway.held(tracker, C).have();
    gateway.request(tracker, track(C, have.clone()));
    assert_eq!(gateway.got(&log, tracker), ["rejected UNAVAILABLE"]);
    gateway.read(&log, usize::MAX);
    assert_eq!((gateway.recovered, gateway.degraded.len()), (1, 1));
    gateway.request(tracker, track(C, have));
    gateway.load_all(&log);
    assert_eq!(gateway.got(&log, tracker), ["tracked 3"]);
    write(&mut log, &mut owner, C, writer(1), &["b"]);
    gateway.read(&log, usize::MAX);
    assert_eq!(gateway.got(&log, tracker), ["updates 4-4"]);
}

/// The record that cannot be read is still there when the partition is opened again.
#[test]
fn a_fault_that_stays_is_reported_once_and_the_partition_never_seems_to_have_recovered() {
    let (mut log, _) = log(2);
    log.records.push(Bytes::from_static(b"\xff\xff"));
    let mut gateway = all(&log, settings());
    for _ in 0..4 {
        gateway.tick(60_000);
        gateway.open(&log);
        gateway.read(&log, usize::MAX);
    }
    assert_eq!((gateway.degraded.len(), gateway.recovered), (1, 0));
    assert!(matches!(gateway.hub.standings().0[..], [Standing::Degraded(Fault::Record { offset: Offset(3), .. })]));
}

/// The stored state comes from the view before the fault. The hub has none of the records between
/// that state and the new view.
#[test]
fn r10_a_load_from_before_a_fault_is_not_mixed_with_the_records_after_it() {
    let (mut log, mut owner) = log(2);
    let old = log.snapshot(C);
    let mut gateway = all(&log, settings());
    let socket = gateway.join(writer(2));
    gateway.request(socket, track(C, None));
    let late = gateway.put_off_load();
    gateway.fail();
    write(&mut log, &mut owner, C, writer(1), &["a", "b"]);
    log.snapshot(C);
    gateway.tick(1_000);
    gateway.open(&log);
    gateway.read(&log, usize::MAX);
    assert_eq!(gateway.recovered, 1);
    assert_eq!(gateway.got(&log, socket), ["rejected UNAVAILABLE"]);
    gateway.request(socket, track(C, None));
    gateway.tick(31_000);
    assert!(gateway.loads.is_empty(), "the first load is still in flight");
    gateway.loaded_late(late, Ok(Some(old.loaded())));
    assert!(gateway.got(&log, socket).is_empty());
    gateway.tick(100);
    gateway.load(&log);
    assert_eq!(gateway.got(&log, socket), ["tracked 4", "chunk 4"]);
}

/// A hub over eight partitions.
struct Eight {
    world: Arc<World>,
    hub: Hub,
    now: u64,
    outputs: Vec<Output>,
}

const SOCKET: SocketId = SocketId(1);

impl Eight {
    fn new() -> Self {
        let world =
            Arc::new(World::new("dev", WorldSpec { partitions: 8, ..WorldSpec::dev() }, &Models::builtin()).unwrap());
        let hub = Hub::unopened(Arc::clone(&world), Settings { partition_retry_max_ms: 2_000, ..settings() });
        Self { world, hub, now: 0, outputs: Vec::new() }
    }

    fn input(&mut self, input: Input) {
        self.hub.handle(input, MonotonicMs(self.now));
        self.outputs.extend(std::iter::from_fn(|| self.hub.poll_output()));
    }

    fn tick(&mut self, ms: u64) {
        self.now += ms;
        self.input(Input::Tick);
    }

    /// The partitions that the hub has asked to open since the last call.
    fn openings(&mut self) -> Vec<i32> {
        let opened = self.outputs.extract_if(.., |output| matches!(output, Output::Open(_)));
        opened.map(|output| if let Output::Open(Partition(p)) = output { p } else { -1 }).collect()
    }

    fn open(&mut self, partition: i32, high: i64) {
        let opened =
            Opened { position: Position::START, low: Offset(0), high: Offset(high), known_end: Offset(0), known: None };
        self.input(Input::Opened(Partition(partition), opened));
    }

    fn chunk_in(&self, partition: Partition) -> ChunkId {
        let mut ids = (0..).map(|x| format!("canvas/{x}/0").parse::<ChunkId>().unwrap());
        ids.find(|id| self.world.place(id).unwrap().partition == partition).unwrap()
    }

    fn fence(&mut self, partition: i32) {
        let body = Some(Body::Fence(Fence { owner: "me".into(), ..Fence::default() }));
        let record = UpdatesRecord { epoch: 1, n: 0, body };
        self.input(Input::Records(Partition(partition), vec![(Offset(0), record.encode_to_vec().into())]));
    }
}

#[test]
fn a_partition_that_cannot_be_opened_keeps_no_other_from_being_served() {
    let mut eight = Eight::new();
    eight.tick(0);
    let all: Vec<i32> = (0..8).collect();
    assert_eq!(eight.openings(), all);
    assert!(eight.hub.standings().readiness().unwrap_err().contains("catching up"));
    for partition in 0..8 {
        match partition {
            3 => eight.input(Input::Failed(Partition(3), Fault::Index("no manifest".into()))),
            5 => eight.open(5, 1),
            _ => eight.open(partition, 0),
        }
    }
    assert!(!eight.hub.standings().is_ready(), "partition 5 has not caught up");
    eight.fence(5);
    let said = eight.hub.standings().readiness().unwrap();
    assert!(said.starts_with("degraded: 1 of 8 partitions; partition 3: no manifest."), "{said}");
    assert!(said.contains("restore the index"), "{said}");

    // Chunks elsewhere are served, and a chunk there is refused.
    let access = Access { read: vec!["canvas/".into()], ..Access::default() };
    eight.input(Input::Joined(
        SOCKET,
        Joined {
            user: "ann".into(),
            writer: writer(1),
            access: access.into(),
            families: None,
            features: features::HISTORIES,
            bucket: None,
        },
    ));
    let (here, there) = (eight.chunk_in(Partition(3)), eight.chunk_in(Partition(4)));
    eight.outputs.clear();
    eight.input(Input::Request(SOCKET, track(there.as_str(), None)));
    assert!(matches!(&eight.outputs[..], [Output::Load(id, ..)] if *id == there), "{:?}", eight.outputs);
    eight.outputs.clear();
    eight.input(Input::Asked(1, here, Ask::Content));
    assert!(matches!(&eight.outputs[..], [Output::Answer(1, Answer::Degraded(_))]), "{:?}", eight.outputs);

    // The partition is opened again until that succeeds. A late report of its reader changes
    // nothing.
    eight.tick(1_000);
    assert_eq!(eight.openings(), [3]);
    eight.input(Input::Failed(Partition(3), Fault::Index("no manifest".into())));
    eight.input(Input::Failed(Partition(3), Fault::Log("a late report".into())));
    eight.tick(1_999);
    assert_eq!(eight.openings(), Vec::<i32>::new());
    eight.tick(1);
    assert_eq!(eight.openings(), [3]);
    eight.outputs.clear();
    eight.open(3, 0);
    assert!(matches!(&eight.outputs[..], [Output::Recovered(Partition(3)), Output::Standings(all)] if all.is_ready()));
    assert_eq!(eight.hub.standings().readiness(), Ok(String::new()));
}

#[test]
fn an_index_ahead_of_the_log_never_makes_a_gateway_ready() {
    let mut eight = Eight::new();
    eight.tick(0);
    for partition in (0..8).map(Partition) {
        let position = Position { offset: Offset(7), ..Position::START };
        eight.input(Input::Opened(
            partition,
            Opened { position, low: Offset(0), high: Offset(6), known_end: Offset(0), known: None },
        ));
    }
    let said = eight.hub.standings().readiness().unwrap_err();
    assert!(said.contains("holds offsets 0..6, but 7 is wanted") && said.contains("another log"), "{said}");
}

/// Questions and Tracks that come before the partition is open wait for it.
#[test]
fn requests_wait_until_the_partition_is_open() {
    let mut eight = Eight::new();
    let chunk = eight.chunk_in(Partition(2));
    eight.tick(0);
    eight.input(Input::Asked(1, chunk.clone(), Ask::Content));
    eight.tick(100);
    assert!(!eight.outputs.iter().any(|output| matches!(output, Output::Load(..) | Output::Answer(..))));
    eight.open(2, 0);
    eight.tick(100);
    assert!(eight.outputs.iter().any(|output| matches!(output, Output::Load(..))));
    eight.input(Input::Loaded(chunk, Err(LoadError::Unavailable("away".into())), None));
}

/// R1: a program that is no owner wrote the record.
#[test]
fn a_record_about_a_chunk_of_another_partition_does_not_reach_that_chunk() {
    let mut eight = Eight::new();
    eight.tick(0);
    (0..8).for_each(|partition| eight.open(partition, 0));
    eight.fence(4);
    let chunk_id = eight.chunk_in(Partition(6)).to_string();
    let body = Some(Body::Decisions(Decisions { chunk_id, ..Decisions::default() }));
    let record = UpdatesRecord { epoch: 1, n: 1, body }.encode_to_vec();
    eight.input(Input::Records(Partition(4), vec![(Offset(1), record.into())]));
    let said = eight.hub.standings().readiness().unwrap();
    assert!(said.contains("partition 4: updates offset 1 cannot be read"), "{said}");
    assert!(said.contains("belongs to partition 6"), "{said}");
    assert_eq!(eight.hub.chunks(), 0);
}
