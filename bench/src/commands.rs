//! Records of `commands`, made without ingest: each sets one cell of a grid.

use bytes::Bytes;
use driftless_log::{Append, Headers};
use driftless_schemas::proto::{Command, CommandRecord, GridCommand, SetCells, command, command_record, grid_command};
use driftless_schemas::{ChunkId, Partition, WriterId};
use prost::Message as _;
use std::sync::Arc;

/// Makes command number `seq` to a chunk. One writer makes the commands of all chunks. `cells` is
/// the number of cells that the commands set in turn.
pub(crate) fn set_cell(
    topic: &Arc<str>,
    partition: Partition,
    key: String,
    chunk: &ChunkId,
    seq: u64,
    cells: u64,
) -> Append {
    let set = SetCells { cells: vec![(seq % cells) as u32], values: vec![1 + (seq % 250) as u32], guards: Vec::new() };
    let grid = GridCommand { body: Some(grid_command::Body::Set(set)) }.encode_to_vec();
    let command = Command {
        writer: WriterId([7; 16]).to_bytes(),
        author: "bench".into(),
        seq,
        after: seq - 1,
        body: Some(command::Body::Command(grid.into())),
        ..Command::default()
    };
    let body = Some(command_record::Body::Command(command));
    let value = CommandRecord { chunk_id: chunk.to_string(), body }.encode_to_vec();
    Append {
        topic: Arc::clone(topic),
        partition,
        key: Bytes::from(key),
        value: value.into(),
        headers: Headers::new(),
        token: 0,
    }
}
