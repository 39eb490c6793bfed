//! Commands of the models, as tests write them. Grids are those of the world of `dev`: 128 × 128 cells, 256 values.

use driftless_schemas::ChunkId;
use driftless_schemas::proto::{GridCommand, MapCommand, PutKey, SetCells, grid_command, map_command};
use prost::Message as _;

fn grid(body: grid_command::Body) -> Vec<u8> {
    GridCommand { body: Some(body) }.encode_to_vec()
}

/// One cell becomes a value.
#[must_use]
pub fn set(cell: u32, value: u32) -> Vec<u8> {
    grid(grid_command::Body::Set(SetCells { cells: vec![cell], values: vec![value], guards: Vec::new() }))
}

/// The same, if the cell holds this now.
#[must_use]
pub fn set_if(cell: u32, value: u32, now: u32) -> Vec<u8> {
    grid(grid_command::Body::Set(SetCells { cells: vec![cell], values: vec![value], guards: vec![now + 1] }))
}

/// A key becomes a value.
#[must_use]
pub fn put(key: &str, value: &str) -> Vec<u8> {
    let put = PutKey { key: key.to_owned(), value: value.as_bytes().to_vec().into(), guard: None };
    MapCommand { body: Some(map_command::Body::Put(put)) }.encode_to_vec()
}

/// Which value an effect of [`set`] or [`set_if`] sets.
///
/// # Panics
/// Where it is none.
#[must_use]
pub fn value_of(effect: &[u8]) -> u32 {
    match GridCommand::decode(effect).expect("a grid's effect").body {
        Some(grid_command::Body::Set(set)) => set.values[0],
        other => panic!("{other:?} sets no single cell"),
    }
}

/// A chunk id.
///
/// # Panics
/// Where it is none.
#[must_use]
pub fn chunk(id: &str) -> ChunkId {
    id.parse().expect("a chunk id")
}
