//! `store.proto`: the values of the index.

use crate::{Golden, golden, hash, writer};
use driftless_schemas::proto::{Checkpoint, IndexEntry, Ledger, LedgerEntry, PackedObject, Ref, StoredObject, r#ref};

pub fn goldens() -> Vec<Golden> {
    let refs = [in_an_object(), in_a_pack()];
    let mut all: Vec<Golden> = refs.into_iter().map(|r| golden(ref_name(r.location.as_ref().unwrap()), r)).collect();
    let history = |version| Ref { version, ledger: None, ..in_an_object() };
    all.push(golden(
        "index_entry",
        IndexEntry { newest: Some(in_an_object()), older: vec![history(200), history(100)] },
    ));
    all.push(golden("checkpoint", checkpoint()));
    all.push(golden(
        "checkpoint.with_identities",
        Checkpoint {
            history: crate::history(),
            world_id: crate::world_id(),
            commands_print: bytes::Bytes::from_static(&[0x50, 0x72, 0x69, 0x6e, 0x74, 0, 0xff, 1]),
            ..checkpoint()
        },
    ));
    all.push(golden(
        "checkpoint.with_the_end",
        Checkpoint {
            updates_end: 520,
            updates_print: bytes::Bytes::from_static(&[0x70, 0x72, 0x69, 0x6e, 0x74, 0xfe, 0, 2]),
            commands_anew: true,
            ..checkpoint()
        },
    ));
    all
}

fn checkpoint() -> Checkpoint {
    Checkpoint {
        epoch: 7,
        commands_next: 1003,
        updates_low: 500,
        updates_low_epoch: 6,
        updates_low_n: 40,
        ..Checkpoint::default()
    }
}

fn ref_name(location: &r#ref::Location) -> &'static str {
    match location {
        r#ref::Location::Object(_) => "ref.object",
        r#ref::Location::Pack(_) => "ref.pack",
    }
}

pub fn in_an_object() -> Ref {
    Ref {
        version: 300,
        hash: hash(0),
        location: Some(r#ref::Location::Object(StoredObject {})),
        through_offset: 1002,
        model_revision: 1,
        bytes: 32_780,
        ledger: Some(Ledger {
            floor_ms: 1_763_900_000_000,
            entries: vec![LedgerEntry {
                writer: writer(),
                seq: 130,
                committed_bits: 0x8000_0000_0000_0005,
                last_offset: 1000,
            }],
        }),
    }
}

fn in_a_pack() -> Ref {
    let pack = PackedObject { key: "packs/1/0001".into(), offset: 4096, len: 900 };
    Ref { location: Some(r#ref::Location::Pack(pack)), ledger: Some(Ledger::default()), ..in_an_object() }
}
