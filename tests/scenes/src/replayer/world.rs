//! The scene's world, the owners' settings, and commands.

use bytes::Bytes;
use driftless_chunk::model::Models;
use driftless_chunk::world::World;
use driftless_replayer_core::{Output, PartitionCore, Settings};
use driftless_schemas::proto::{
    Absent, Command, CommandRecord, DeleteKey, MapCommand, MapGuard, PutKey, Settle, command, command_record,
    map_command, map_guard,
};
use driftless_schemas::world::{FamilySpec, WorldSpec};
use driftless_schemas::{ChunkId, Partition, WorldId, WriterId};
use prost::Message;
use std::sync::Arc;

pub const PARTITION: Partition = Partition(0);

/// A world with two partitions, and with maps so small that commands often conflict or do not fit.
pub fn world() -> Arc<World> {
    let parameters = serde_json::json!({"entries_max": 3, "value_bytes_max": 8, "bytes_max": 60});
    let spec = WorldSpec {
        name: "lab".into(),
        generation: 1,
        partitions: 2,
        commands_retention_hours: 72,
        updates_retention_hours: None,
        families: vec![FamilySpec {
            name: "things".into(),
            model: "map".into(),
            parameters: parameters.as_object().cloned().unwrap(),
            coordinates: 1,
            bounds: 1000,
            region: 0,
        }],
    };
    Arc::new(World::new("lab", spec, &Models::builtin()).unwrap().with_id(Some(WorldId([1; 16]))))
}

/// A chunk of the scene's partition.
pub fn chunk() -> ChunkId {
    let world = world();
    let ids = (0..100).map(|i| ChunkId::new("things", &[i]).unwrap());
    ids.into_iter().find(|id| world.place(id).unwrap().partition == PARTITION).unwrap()
}

/// All outputs that a core has now.
pub fn outputs(core: &mut PartitionCore) -> Vec<Output> {
    std::iter::from_fn(|| core.poll_output()).collect()
}

/// Settings with short intervals and low limits, so that everything happens soon and often.
pub fn settings() -> Settings {
    Settings {
        snapshot_every: 3,
        snapshot_max_age_ms: 500,
        snapshot_min_interval_ms: 150,
        snapshots_in_flight_max: 2,
        checkpoint_interval_ms: 200,
        chunks_bytes_max: Some(1_400),
        commands_in_flight_max: 12,
        load_retry_ms: 100,
        ..Settings::default()
    }
}

/// The kinds of commands that a scene can submit, valid and invalid ones.
#[derive(Clone, Copy, Debug)]
pub enum Wish {
    Put(u8),
    Claim(u8),
    Delete(u8),
    Nonsense,
    NoBody,
    Settle,
}

pub fn command(writer: WriterId, seq: u64, after: u64, wish: Wish) -> Command {
    let key = |k: u8| format!("key{k}");
    let value = || Bytes::from(seq.to_string());
    let absent = || Some(MapGuard { is: Some(map_guard::Is::Absent(Absent {})) });
    let map = |body| Some(command::Body::Command(MapCommand { body: Some(body) }.encode_to_vec().into()));
    let body = match wish {
        Wish::Put(k) => map(map_command::Body::Put(PutKey { key: key(k), value: value(), guard: None })),
        Wish::Claim(k) => map(map_command::Body::Put(PutKey { key: key(k), value: value(), guard: absent() })),
        Wish::Delete(k) => map(map_command::Body::Delete(DeleteKey { key: key(k), guard: None })),
        Wish::Nonsense => Some(command::Body::Command(Bytes::from_static(b"\xff\xff"))),
        Wish::NoBody => None,
        Wish::Settle => Some(command::Body::Settle(Settle {})),
    };
    Command { writer: writer.to_bytes(), author: "ann".into(), seq, after, body, ..Command::default() }
}

pub fn record(chunk: &ChunkId, command: Command) -> Bytes {
    let body = Some(command_record::Body::Command(command));
    CommandRecord { chunk_id: chunk.to_string(), body }.encode_to_vec().into()
}
