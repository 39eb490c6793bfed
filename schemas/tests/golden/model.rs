//! `model.proto`: commands of `grid` and `map`.

use crate::{Golden, golden, hash};
use bytes::Bytes;
use driftless_schemas::proto::{
    Absent, DeleteKey, FillBox, GridCommand, MapCommand, MapGuard, PutKey, SetCells, grid_command, map_command,
    map_guard,
};

pub fn goldens() -> Vec<Golden> {
    let grid = |body| golden(grid_name(&body), GridCommand { body: Some(body) });
    let map = |name: &str, body| golden(format!("{}.{name}", map_name(&body)), MapCommand { body: Some(body) });
    let set = SetCells { cells: vec![0, 16_383, 5], values: vec![255, 0, 300], guards: vec![0, 1, 256] };
    let fill = FillBox { x: 1, y: 2, z: 3, width: 4, height: 5, depth: 6, value: 200, guard: 1 };
    let put = |guard| {
        let value = Bytes::from_static(b"\x00oak\xff");
        map_command::Body::Put(PutKey { key: "tree/1 é".into(), value, guard })
    };
    let delete = |guard| map_command::Body::Delete(DeleteKey { key: "tree/1 é".into(), guard });
    let mut all = vec![
        grid(grid_command::Body::Set(set)),
        grid(grid_command::Body::Fill(fill)),
        map("plain", put(None)),
        map("plain", delete(None)),
    ];
    for is in [map_guard::Is::Absent(Absent {}), map_guard::Is::ValueHash(hash(0))] {
        let guard = Some(MapGuard { is: Some(is.clone()) });
        all.push(map(guard_name(&is), put(guard.clone())));
        all.push(map(guard_name(&is), delete(guard)));
    }
    all
}

fn grid_name(body: &grid_command::Body) -> &'static str {
    match body {
        grid_command::Body::Set(_) => "grid_command.set",
        grid_command::Body::Fill(_) => "grid_command.fill",
    }
}

fn map_name(body: &map_command::Body) -> &'static str {
    match body {
        map_command::Body::Put(_) => "map_command.put",
        map_command::Body::Delete(_) => "map_command.delete",
    }
}

fn guard_name(is: &map_guard::Is) -> &'static str {
    match is {
        map_guard::Is::Absent(_) => "absent",
        map_guard::Is::ValueHash(_) => "value_hash",
    }
}
