//! The model `grid` with arbitrary sequences of commands: see `machine`.

use crate::machine::Machine;
use crate::reader::Reader;
use driftless_chunk::grid::Grid;
use driftless_schemas::proto::{FillBox, GridCommand, SetCells, grid_command};
use prost::Message;
use serde_json::json;
use std::sync::Arc;

pub fn check(data: &[u8]) {
    let mut script = Reader::new(data);
    let (size, palette) =
        script.pick(&[([4, 3, 2], 5), ([1, 1, 1], 2), ([1, 300, 1], 65_536), ([33, 2, 5], 256), ([2, 2, 65], 300)]);
    let parameters = json!({ "size": size, "palette": palette });
    let grid = Grid::from_parameters(parameters.as_object().unwrap()).unwrap();
    Machine::new(Arc::new(grid)).run(&mut script, command);
}

fn command(script: &mut Reader<'_>) -> Vec<u8> {
    let number = |script: &mut Reader<'_>| u32::try_from(script.number()).unwrap_or(u32::MAX);
    let body = match script.below(8) {
        0..3 => {
            let mut set = SetCells::default();
            for _ in 0..script.below(9) {
                set.cells.push(number(script));
                set.values.push(number(script));
            }
            if script.rarely(2) {
                set.guards = set.cells.iter().map(|_| number(script)).collect();
            }
            if script.rarely(16) {
                set.values.pop();
            }
            grid_command::Body::Set(set)
        }
        3..6 => {
            let mut next = || number(script);
            let (x, y, z, width, height, depth) = (next(), next(), next(), next(), next(), next());
            grid_command::Body::Fill(FillBox { x, y, z, width, height, depth, value: next(), guard: next() })
        }
        6 => return script.short().to_vec(),
        _ => return script.long().to_vec(),
    };
    GridCommand { body: Some(body) }.encode_to_vec()
}
