//! Grid commands as JSON, for people and for HTTP.
//!
//! `{"set": [{"x": 1, "y": 2, "z": 0, "value": 7, "guard": 0}, …]}` or `{"fill": {"x": 0, "y": 0,
//! "z": 0, "width": 4, "height": 4, "depth": 1, "value": 7, "guard": 0}}`; `z`, `depth` and `guard`
//! may be left out. A `guard` is the value that the cell must have.

use super::Grid;
use crate::json::{Members, Problem, array, choice, object};
use crate::model::{Model, Refusal};
use driftless_schemas::proto::{FillBox, GridCommand, SetCells, grid_command};
use driftless_schemas::{Quoted, wire};
use serde_json::Value;

fn guard_to_wire(guard: Option<u32>) -> u32 {
    guard.map_or(0, |value| value.saturating_add(1))
}

fn guard_from_wire(guard: u32) -> Value {
    guard.checked_sub(1).into()
}

pub(super) fn command_from_json(grid: &Grid, json: &Value) -> Result<Vec<u8>, Refusal> {
    let body = body_from_json(grid, json);
    let body = body.map_err(|Refusal(problem)| Refusal(format!("not a grid command: {problem}")))?;
    let command = wire::encode(&GridCommand { body: Some(body) });
    grid.check(&command)?;
    Ok(command)
}

fn body_from_json(grid: &Grid, json: &Value) -> Result<grid_command::Body, Refusal> {
    match choice(json)? {
        ("set", cells) => {
            let mut set = SetCells::default();
            let mut is_guarded = false;
            for (i, cell) in array("set", cells)?.iter().enumerate() {
                let ([x, y, z], value, guard) =
                    cell_from_json(cell).map_err(|problem| problem.within(&format!("set[{i}]")))?;
                let [sx, sy, sz] = grid.size();
                if x >= sx || y >= sy || z >= sz {
                    return Err(Refusal(format!("cell ({x}, {y}, {z}) is outside of the grid of {sx}×{sy}×{sz}")));
                }
                set.cells.push(x + sx * (y + sy * z));
                set.values.push(value);
                set.guards.push(guard_to_wire(guard));
                is_guarded |= guard.is_some();
            }
            if !is_guarded {
                set.guards.clear();
            }
            Ok(grid_command::Body::Set(set))
        }
        ("fill", fill) => Ok(grid_command::Body::Fill(fill_from_json(fill)?)),
        (other, _) => Err(Refusal(format!("{} is neither \"set\" nor \"fill\"", Quoted(other)))),
    }
}

/// Reads a cell's coordinates, its new value, and its guard.
fn cell_from_json(cell: &Value) -> Result<([u32; 3], u32, Option<u32>), Problem> {
    let mut cell = Members::of("", cell)?;
    let at = position(&mut cell)?;
    let (value, guard) = (cell.number("value")?, cell.optional_number("guard")?);
    cell.end()?;
    Ok((at, value, guard))
}

fn fill_from_json(fill: &Value) -> Result<FillBox, Problem> {
    let mut fill = Members::of("fill", fill)?;
    let [x, y, z] = position(&mut fill)?;
    let mut extent = [1; 3];
    for (extent, name) in extent.iter_mut().zip(["width", "height", "depth"]) {
        *extent = fill.optional_number(name)?.unwrap_or(1);
    }
    let [width, height, depth] = extent;
    let (value, guard) = (fill.number("value")?, guard_to_wire(fill.optional_number("guard")?));
    fill.end()?;
    Ok(FillBox { x, y, z, width, height, depth, value, guard })
}

fn position(members: &mut Members<'_>) -> Result<[u32; 3], Problem> {
    Ok([members.number("x")?, members.number("y")?, members.optional_number("z")?.unwrap_or(0)])
}

pub(super) fn set_to_json(grid: &Grid, set: &SetCells) -> Value {
    let [sx, sy, _] = grid.size();
    let cells = set.cells.iter().zip(&set.values).enumerate().map(|(i, (cell, value))| {
        object([
            ("x", (cell % sx).into()),
            ("y", (cell / sx % sy).into()),
            ("z", (cell / sx / sy).into()),
            ("value", (*value).into()),
            ("guard", set.guards.get(i).map_or(Value::Null, |guard| guard_from_wire(*guard))),
        ])
    });
    object([("set", Value::Array(cells.collect()))])
}

pub(super) fn fill_to_json(fill: &FillBox) -> Value {
    let fill = object([
        ("x", fill.x.into()),
        ("y", fill.y.into()),
        ("z", fill.z.into()),
        ("width", fill.width.max(1).into()),
        ("height", fill.height.max(1).into()),
        ("depth", fill.depth.max(1).into()),
        ("value", fill.value.into()),
        ("guard", guard_from_wire(fill.guard)),
    ]);
    object([("fill", fill)])
}
