//! Grid commands as JSON, for people and for HTTP.
//!
//! `{"set": [{"x": 1, "y": 2, "z": 0, "value": 7, "guard": 0}, …]}` or
//! `{"fill": {"x": 0, "y": 0, "z": 0, "width": 4, "height": 4, "depth": 1, "value": 7, "guard": 0}}`;
//! `z`, `depth` and `guard` may be left out. A `guard` is the value that the cell must hold.

use crate::grid::Grid;
use crate::model::{Model, Refusal};
use driftless_schemas::proto::{FillBox, GridCommand, SetCells, grid_command};
use prost::Message;
use serde::{Deserialize, Serialize};
use serde_json::Value;

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "lowercase")]
enum Json {
    Set(Vec<Cell>),
    Fill(Fill),
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Cell {
    x: u32,
    y: u32,
    #[serde(default)]
    z: u32,
    value: u32,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    guard: Option<u32>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Fill {
    x: u32,
    y: u32,
    #[serde(default)]
    z: u32,
    #[serde(default = "one")]
    width: u32,
    #[serde(default = "one")]
    height: u32,
    #[serde(default = "one")]
    depth: u32,
    value: u32,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    guard: Option<u32>,
}

fn one() -> u32 {
    1
}

fn guard_to_wire(guard: Option<u32>) -> u32 {
    guard.map_or(0, |value| value.saturating_add(1))
}

pub(crate) fn command_from_json(grid: &Grid, json: &Value) -> Result<Vec<u8>, Refusal> {
    let read = Json::deserialize(json).map_err(|e| Refusal(format!("not a grid command: {e}")))?;
    let body = match read {
        Json::Set(cells) => {
            let [sx, sy, sz] = grid.size();
            let mut set = SetCells::default();
            let guarded = cells.iter().any(|cell| cell.guard.is_some());
            for cell in cells {
                if cell.x >= sx || cell.y >= sy || cell.z >= sz {
                    return Err(Refusal(format!(
                        "cell ({}, {}, {}) is outside of the grid of {sx}×{sy}×{sz}",
                        cell.x, cell.y, cell.z
                    )));
                }
                set.cells.push(cell.x + sx * (cell.y + sy * cell.z));
                set.values.push(cell.value);
                if guarded {
                    set.guards.push(guard_to_wire(cell.guard));
                }
            }
            grid_command::Body::Set(set)
        }
        Json::Fill(f) => grid_command::Body::Fill(FillBox {
            x: f.x,
            y: f.y,
            z: f.z,
            width: f.width,
            height: f.height,
            depth: f.depth,
            value: f.value,
            guard: guard_to_wire(f.guard),
        }),
    };
    let command = GridCommand { body: Some(body) }.encode_to_vec();
    grid.check(&command)?;
    Ok(command)
}

pub(crate) fn set_to_json(grid: &Grid, set: &SetCells) -> Value {
    let [sx, sy, _] = grid.size();
    let cells = set.cells.iter().zip(&set.values).enumerate().map(|(i, (cell, value))| Cell {
        x: cell % sx,
        y: cell / sx % sy,
        z: cell / sx / sy,
        value: *value,
        guard: set.guards.get(i).and_then(|guard| guard.checked_sub(1)),
    });
    to_value(&Json::Set(cells.collect()))
}

pub(crate) fn fill_to_json(fill: &FillBox) -> Value {
    to_value(&Json::Fill(Fill {
        x: fill.x,
        y: fill.y,
        z: fill.z,
        width: fill.width.max(1),
        height: fill.height.max(1),
        depth: fill.depth.max(1),
        value: fill.value,
        guard: fill.guard.checked_sub(1),
    }))
}

fn to_value(json: &Json) -> Value {
    // Numbers and strings only: this cannot fail.
    serde_json::to_value(json).unwrap_or(Value::Null)
}
