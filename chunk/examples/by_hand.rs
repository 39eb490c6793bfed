//! Measures code that Driftless writes by hand against the libraries that could replace it.
//!
//! The figures of docs/decisions/0014-maps-and-readers-by-hand.md come from
//! `cargo run --release -p driftless-chunk --example by_hand`.

// R11 bans clocks in this package's library; a measurement needs one.
#![allow(clippy::disallowed_methods)]

use bytes::Bytes;
use driftless_chunk::sorted::leaves::LeafMap;
use driftless_schemas::proto::{
    Entry, GridCommand, MapCommand, PutKey, ServerFrame, SetCells, Updates, event, grid_command, map_command,
};
use driftless_schemas::{Hash, format, wire};
use prost::Message;
use std::collections::BTreeMap;
use std::hint::black_box;
use std::time::Instant;

/// The best of this many measurements counts: other programs only add time.
const ROUNDS: usize = 25;

/// Nanoseconds of one of the `count` operations in `work`.
fn best(count: usize, mut work: impl FnMut()) -> f64 {
    let mut best = f64::MAX;
    for _ in 0..ROUNDS {
        let started = Instant::now();
        work();
        best = best.min(started.elapsed().as_nanos() as f64 / count as f64);
    }
    best
}

/// Measures a map with the methods of `BTreeMap`.
macro_rules! map {
    ($map:ty, $entries:expr) => {{
        let keys: Vec<String> =
            (0..$entries as u32).map(|n| format!("thing/{:08x}", n.wrapping_mul(2_654_435_761))).collect();
        let value = Bytes::from_static(&[7; 32]);
        let mut map = <$map>::new();
        for key in &keys {
            map.insert(key.clone(), value.clone());
        }
        let probes: Vec<&String> = (0..16_384).map(|n| &keys[n * 40_503 % keys.len()]).collect();
        let get = best(probes.len(), || probes.iter().for_each(|key| _ = black_box(map.get(key.as_str()))));
        let mut copy = map.clone();
        let put = best(probes.len(), || {
            probes.iter().for_each(|key| drop(black_box(copy.insert((*key).clone(), value.clone()))));
        });
        let encode = || {
            let mut bytes = Vec::with_capacity($entries * 64);
            for (key, value) in map.iter() {
                bytes.extend_from_slice(&(key.len() as u16).to_le_bytes());
                bytes.extend_from_slice(key.as_bytes());
                bytes.extend_from_slice(&(value.len() as u32).to_le_bytes());
                bytes.extend_from_slice(value);
            }
            bytes
        };
        let walk = best(1, || drop(black_box(encode())));
        // A batch as a replayer and a gateway handle it: three look-ups and one insertion a
        // command, then one hash.
        let batch = |count: usize| {
            let mut copy = map.clone();
            best(1, || {
                for key in &probes[..count] {
                    for _ in 0..3 {
                        black_box(copy.get(key.as_str()));
                    }
                    black_box(copy.insert((*key).clone(), value.clone()));
                }
                black_box(Hash::of(&encode()));
            })
        };
        [get, put, walk, batch(1), batch(10), batch(100)]
    }};
}

fn maps() {
    println!("map, entries: look-up, insertion, encoding; batches of 1, 10 and 100 commands with hash (ns)");
    for entries in [64, 512, 4_096] {
        println!("leaves {entries:>5}: {:>9.0?}", map!(LeafMap<String, Bytes>, entries));
        println!("b-tree {entries:>5}: {:>9.0?}", map!(BTreeMap<String, Bytes>, entries));
    }
}

/// Nanoseconds for decoding a message by hand and with prost.
fn reader<M: wire::Read + Message + Default>(name: &str, bytes: &Bytes) {
    let ours = best(1_000, || (0..1_000).for_each(|_| drop(black_box(wire::decode_shared::<M>(black_box(bytes))))));
    let prost = best(1_000, || (0..1_000).for_each(|_| drop(black_box(M::decode(black_box(bytes).clone())))));
    println!("{name:<28} by hand {ours:>8.0}   prost {prost:>8.0}   by hand / prost {:.2}", ours / prost);
}

fn readers() {
    println!("reader (ns a message)");
    let set = |count: u32| {
        let set = SetCells { cells: (0..count).collect(), values: vec![7; count as usize], guards: Vec::new() };
        Bytes::from(GridCommand { body: Some(grid_command::Body::Set(set)) }.encode_to_vec())
    };
    reader::<GridCommand>("GridCommand, 1 cell", &set(1));
    reader::<GridCommand>("GridCommand, 1,024 cells", &set(1_024));
    let put = PutKey { key: "thing/12".into(), value: Bytes::from_static(&[7; 32]), guard: None };
    let put = Bytes::from(MapCommand { body: Some(map_command::Body::Put(put)) }.encode_to_vec());
    reader::<MapCommand>("MapCommand, put", &put);
    let entry = Entry { writer: Bytes::from_static(&[3; 16]), seq: 9, effect: set(1) };
    let updates = Updates {
        chunk_id: "canvas/0/0".into(),
        first_version: 1,
        entries: vec![entry; 100],
        state_hash: Bytes::from_static(&[5; 32]),
    };
    let updates = Bytes::from(updates.encode_to_vec());
    reader::<Updates>("Updates, 100 entries", &updates);
    let mut frame = bytes::BytesMut::new();
    format::push_event(&mut frame, event::Body::Updates(updates));
    reader::<ServerFrame>("ServerFrame of such Updates", &frame.freeze());
}

fn main() {
    maps();
    readers();
}
