//! The simulated world: few and small chunks, so that commands, owners and clients often interact.

use bytes::Bytes;
use driftless_chunk::model::Models;
use driftless_chunk::world::World;
use driftless_schemas::proto::{
    Absent, DeleteKey, FillBox, GridCommand, MapCommand, MapGuard, PutKey, SetCells, grid_command, map_command,
    map_guard,
};
use driftless_schemas::world::{FamilySpec, WorldSpec};
use driftless_schemas::{ChunkId, WorldId};
use prost::Message as _;
use std::sync::Arc;

use crate::rng::Rng;

/// The number of partitions.
pub const PARTITIONS: i32 = 2;
/// The limit on the writers that a chunk's ledger remembers. The limit is low, so that evictions
/// are common.
pub const LEDGER_WRITERS: usize = 4;
/// The number of cells of a grid.
const CELLS: u32 = 16;

/// A world whose maps and grids are so small that commands often conflict or do not fit.
#[must_use]
pub fn world() -> Arc<World> {
    let family = |name: &str, model: &str, parameters: serde_json::Value, region| FamilySpec {
        name: name.into(),
        model: model.into(),
        parameters: parameters.as_object().cloned().unwrap_or_default(),
        coordinates: 1,
        bounds: 8,
        region,
    };
    let spec = WorldSpec {
        name: "sim".into(),
        generation: 1,
        partitions: PARTITIONS,
        commands_retention_hours: 72,
        updates_retention_hours: None,
        families: vec![
            family("things", "map", serde_json::json!({"entries_max": 4, "value_bytes_max": 12, "bytes_max": 90}), 0),
            family("canvas", "grid", serde_json::json!({"size": [4, 4, 1], "palette": 65536}), 1),
        ],
    };
    let world = World::new("sim", spec, &Models::builtin()).expect("the simulation's spec is valid");
    Arc::new(world.with_id(Some(WorldId([1; 16]))))
}

/// The chunks that users edit.
#[must_use]
pub fn chunks() -> Vec<ChunkId> {
    ["things/0", "things/1", "things/3", "canvas/0", "canvas/2"].map(|id| id.parse().expect("a valid id")).to_vec()
}

/// Draws a command for that chunk. `unique` makes its bytes unique, because the oracle identifies
/// commands by their bytes.
pub fn command(chunk: &ChunkId, unique: u32, rng: &mut Rng) -> Bytes {
    match chunk.family() {
        "things" => map_command(unique, rng),
        _ => grid_command(unique, rng),
    }
}

fn map_command(unique: u32, rng: &mut Rng) -> Bytes {
    let key = format!("k{}", rng.below(6));
    let absent = || Some(MapGuard { is: Some(map_guard::Is::Absent(Absent {})) });
    let body = match rng.below(8) {
        // In a delete only the key can be unique. So each delete names a key of its own, which
        // mostly is not set.
        0 => map_command::Body::Delete(DeleteKey { key: format!("d{unique}"), guard: None }),
        1 | 2 => map_command::Body::Put(PutKey { key, value: unique.to_string().into(), guard: absent() }),
        3 => map_command::Body::Put(PutKey { key: format!("d{unique}"), value: "x".into(), guard: None }),
        _ => map_command::Body::Put(PutKey { key, value: unique.to_string().into(), guard: None }),
    };
    MapCommand { body: Some(body) }.encode_to_vec().into()
}

fn grid_command(unique: u32, rng: &mut Rng) -> Bytes {
    // The palette has 65,536 values; a run has fewer commands.
    let value = unique % 65_536;
    let cell = |rng: &mut Rng| rng.below(CELLS as usize) as u32;
    let body = match rng.below(6) {
        // A set with a guard: the cell must be unset.
        0 => grid_command::Body::Set(SetCells { cells: vec![cell(rng)], values: vec![value], guards: vec![1] }),
        1 => grid_command::Body::Fill(FillBox {
            width: 1 + rng.below(4) as u32,
            height: 1 + rng.below(4) as u32,
            value,
            ..FillBox::default()
        }),
        _ => grid_command::Body::Set(SetCells { cells: vec![cell(rng)], values: vec![value], guards: vec![] }),
    };
    GridCommand { body: Some(body) }.encode_to_vec().into()
}
