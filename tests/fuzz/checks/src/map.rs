//! The model `map` with arbitrary sequences of commands: see `machine`.

use crate::machine::Machine;
use crate::reader::Reader;
use bytes::Bytes;
use driftless_chunk::map::Map;
use driftless_schemas::Hash;
use driftless_schemas::proto::{Absent, DeleteKey, MapCommand, MapGuard, PutKey, map_command, map_guard};
use prost::Message;
use serde_json::json;
use std::sync::Arc;

pub fn check(data: &[u8]) {
    let mut script = Reader::new(data);
    let parameters = match script.below(3) {
        0 => json!({"entries_max": 3, "value_bytes_max": 8, "bytes_max": 60}),
        1 => json!({"entries_max": 1, "key_bytes_max": 1, "value_bytes_max": 1, "bytes_max": 16}),
        _ => json!({}),
    };
    let map = Map::from_parameters(parameters.as_object().unwrap()).unwrap();
    Machine::new(Arc::new(map)).run(&mut script, command);
}

fn command(script: &mut Reader<'_>) -> Vec<u8> {
    let key = match script.below(8) {
        0..6 => script.pick(&["a", "b", "ab", "\u{0}", "ü", ""]).to_owned(),
        6 => "k".repeat(script.below(256)),
        _ => script.text(),
    };
    let value = |script: &mut Reader<'_>| match script.below(4) {
        0 => Bytes::new(),
        1 => Bytes::from(vec![script.u8(); script.below(256)]),
        2 => Bytes::from_static(b"same"),
        _ => Bytes::copy_from_slice(script.short()),
    };
    let is = match script.below(6) {
        0..3 => None,
        3 => Some(None),
        4 => Some(Some(map_guard::Is::Absent(Absent {}))),
        _ => Some(Some(map_guard::Is::ValueHash(match script.below(4) {
            0 => Bytes::copy_from_slice(script.short()),
            _ => Hash::of(&value(script)).to_bytes(),
        }))),
    };
    let guard = is.map(|is| MapGuard { is });
    let body = match script.below(8) {
        0..4 => map_command::Body::Put(PutKey { key, value: value(script), guard }),
        4..6 => map_command::Body::Delete(DeleteKey { key, guard }),
        6 => return script.short().to_vec(),
        _ => return script.long().to_vec(),
    };
    MapCommand { body: Some(body) }.encode_to_vec()
}
