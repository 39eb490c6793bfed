//! Makes the commands of the models that tests submit. The grids are those of the world of `dev`,
//! with 128 × 128 cells and 256 values.

use driftless_schemas::proto::{
    Absent, DeleteKey, FillBox, GridCommand, MapCommand, MapGuard, PutKey, SetCells, grid_command, map_command,
    map_guard,
};
use driftless_schemas::{ChunkId, Hash};
use prost::Message as _;

fn grid(body: grid_command::Body) -> Vec<u8> {
    GridCommand { body: Some(body) }.encode_to_vec()
}

/// Sets one cell.
#[must_use]
pub fn set(cell: u32, value: u32) -> Vec<u8> {
    grid(grid_command::Body::Set(SetCells { cells: vec![cell], values: vec![value], guards: Vec::new() }))
}

/// Sets one cell on the condition that its value is `now`.
#[must_use]
pub fn set_if(cell: u32, value: u32, now: u32) -> Vec<u8> {
    grid(grid_command::Body::Set(SetCells { cells: vec![cell], values: vec![value], guards: vec![now + 1] }))
}

/// Sets many cells. Each item is a cell, its new value, and the value that the cell must have for
/// the command to commit.
#[must_use]
pub fn set_many(cells: &[(u32, u32, Option<u32>)]) -> Vec<u8> {
    grid(grid_command::Body::Set(SetCells {
        cells: cells.iter().map(|(cell, _, _)| *cell).collect(),
        values: cells.iter().map(|(_, value, _)| *value).collect(),
        guards: cells.iter().map(|(_, _, now)| now.map_or(0, |now| now + 1)).collect(),
    }))
}

/// Fills a rectangle with a value.
#[must_use]
pub fn fill([x, y]: [u32; 2], [width, height]: [u32; 2], value: u32) -> Vec<u8> {
    grid(grid_command::Body::Fill(FillBox { x, y, width, height, value, ..FillBox::default() }))
}

fn map(body: map_command::Body) -> Vec<u8> {
    MapCommand { body: Some(body) }.encode_to_vec()
}

/// Makes a guard for a key of a map. The key must have this value; `None` means that it must be
/// absent.
fn holds(now: Option<&[u8]>) -> MapGuard {
    let is = match now {
        Some(value) => map_guard::Is::ValueHash(Hash::of(value).to_bytes()),
        None => map_guard::Is::Absent(Absent {}),
    };
    MapGuard { is: Some(is) }
}

/// Puts a key.
#[must_use]
pub fn put(key: &str, value: &str) -> Vec<u8> {
    let put = PutKey { key: key.to_owned(), value: value.as_bytes().to_vec().into(), guard: None };
    map(map_command::Body::Put(put))
}

/// Puts a key on the condition that the key has the value `now`; `None` means that it must be
/// absent.
#[must_use]
pub fn put_if(key: &str, value: &str, now: Option<&[u8]>) -> Vec<u8> {
    let (key, value) = (key.to_owned(), value.as_bytes().to_vec().into());
    map(map_command::Body::Put(PutKey { key, value, guard: Some(holds(now)) }))
}

/// Deletes a key on the condition that the key has the value `now`.
#[must_use]
pub fn delete_if(key: &str, now: &[u8]) -> Vec<u8> {
    map(map_command::Body::Delete(DeleteKey { key: key.to_owned(), guard: Some(holds(Some(now))) }))
}

/// Returns the value that the effect of a [`set`] or [`set_if`] writes into its cell.
///
/// # Panics
/// If the effect is another one.
#[must_use]
pub fn value_of(effect: &[u8]) -> u32 {
    match GridCommand::decode(effect).expect("a grid's effect").body {
        Some(grid_command::Body::Set(set)) => set.values[0],
        other => panic!("{other:?} sets no single cell"),
    }
}

/// Parses a chunk id.
///
/// # Panics
/// If the text is no chunk id.
#[must_use]
pub fn chunk(id: &str) -> ChunkId {
    id.parse().expect("a chunk id")
}
