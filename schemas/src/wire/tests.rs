//! Compares the small reader and writer with prost. For any bytes both must give the same result.

use super::*;
use crate::proto;
use proptest::prelude::*;
use proptest::strategy::ValueTree as _;
use proptest::test_runner::TestRunner;
use prost::Message;
use std::fmt::Debug;

/// Asserts that the reader and the writer agree with prost on these bytes. Returns true if the
/// bytes are a message.
fn compare<M: Read + Write + Message + Default + PartialEq + Debug>(bytes: &[u8]) -> bool {
    let shared = decode_shared::<M>(&Bytes::copy_from_slice(bytes));
    match (decode::<M>(bytes), M::decode(bytes)) {
        (Ok(ours), Ok(theirs)) => {
            assert_eq!(shared.as_ref(), Ok(&ours));
            assert_eq!(ours, theirs, "{bytes:02x?}");
            assert_eq!(encode(&ours), theirs.encode_to_vec(), "{ours:?}");
            true
        }
        (Err(_), Err(_)) => false,
        (ours, theirs) => panic!("{bytes:02x?}: {ours:?}, but prost: {theirs:?}"),
    }
}

/// Compares the bytes as each message that the reader knows. Returns true if they are one of these
/// messages.
fn compare_all(bytes: &[u8]) -> bool {
    let read = [
        compare::<proto::ServerFrame>(bytes),
        compare::<proto::ClientFrame>(bytes),
        compare::<proto::Event>(bytes),
        compare::<proto::Request>(bytes),
        compare::<proto::Updates>(bytes),
        compare::<proto::Welcome>(bytes),
        compare::<proto::Tracked>(bytes),
        compare::<proto::Outcomes>(bytes),
        compare::<proto::GridCommand>(bytes),
        compare::<proto::SetCells>(bytes),
        compare::<proto::MapCommand>(bytes),
        compare::<proto::PutKey>(bytes),
    ];
    read.contains(&true)
}

fn varint(number: u64) -> Vec<u8> {
    let mut out = Vec::new();
    prost::encoding::encode_varint(number, &mut out);
    out
}

fn nested(start: u8, end: u8, depth: usize) -> Vec<u8> {
    [vec![start; depth], vec![end; depth]].concat()
}

#[test]
fn edges_are_as_in_prost() {
    let long = |last: u8| [vec![0x08], vec![0xff; 9], vec![last]].concat();
    for bytes in [
        vec![],
        vec![0],                                   // a field 0
        vec![0x08],                                // no value
        vec![0x08, 0x80],                          // half a value
        long(1),                                   // u64::MAX
        long(2),                                   // 65 bits
        long(0x81),                                // 11 bytes
        vec![0x08, 0x80, 0x00],                    // a number in more bytes than it needs
        [varint(8 | (1 << 32)), vec![1]].concat(), // a field's number of more than 29 bits
        [varint(u64::from(u32::MAX)), vec![1]].concat(),
        vec![0x0e],
        vec![0x0f],       // unknown wire types
        vec![0x0c],       // the end of a group
        vec![0x0a, 5, 1], // too short
        [vec![0x0a], varint(u64::MAX)].concat(),
        [vec![0x0a], varint(1 << 32)].concat(),
        vec![0x0a, 2, 0xc3, 0x28], // not UTF-8
        vec![0x09, 1, 2, 3],
        vec![0x0d, 1, 2],
        vec![0x7d, 1, 2, 3, 4],
        vec![0x79, 1, 2, 3, 4, 5, 6, 7, 8],
        vec![0x7b, 0x7c],
        vec![0x7b, 0x74],
        vec![0x7b], // groups
        vec![0x7b, 0x0a, 1, 0, 0x7c, 0x08, 1],
        vec![0x0a, 2, 0x7b, 0x7c],
        vec![0x0a, 1, 0x7b, 0x7c],
        vec![0x0a, 3, 1, 2, 3, 0x08, 5, 0x08, 6], // packed numbers, and single ones
        vec![0x0a, 2, 1, 0x80],
        // The last of two bodies counts; two bodies of the same kind are merged.
        vec![0x0a, 2, 0x08, 1, 0x12, 2, 0x08, 2, 0x0a, 2, 0x10, 3, 0x0a, 2, 0x18, 4],
    ] {
        compare_all(&bytes);
    }
    let within = |depth: usize| [vec![0x0a], varint(2 * depth as u64), nested(0x7b, 0x7c, depth)].concat();
    assert!(decode::<proto::GridCommand>(&within(99)).is_ok());
    assert!(decode::<proto::GridCommand>(&within(100)).is_err());
    for depth in 97..104 {
        compare_all(&nested(0x7b, 0x7c, depth));
        compare_all(&[vec![0x7b; depth], vec![0x08, 1], vec![0x7c; depth]].concat());
        compare_all(&within(depth));
    }
}

/// Checks that most of the random messages are valid. Otherwise the comparison would test little.
#[test]
fn most_random_messages_can_be_read() {
    let mut runner = TestRunner::deterministic();
    let made = (0..500).map(|_| message().new_tree(&mut runner).unwrap().current());
    let read = made.filter(|bytes| !bytes.is_empty() && compare_all(bytes)).count();
    assert!(read > 150, "{read}");
}

#[test]
fn a_frame_grows_by_each_pushed_message() {
    let ping = |nonce| proto::Request { body: Some(proto::request::Body::Ping(proto::Ping { nonce })) };
    let mut frame = Vec::new();
    push(&mut frame, &encode(&ping(1)));
    push(&mut frame, &encode(&ping(300)));
    assert_eq!(decode(&frame), Ok(proto::ClientFrame { requests: vec![ping(1), ping(300)] }));
}

/// A field with a value that usually has the field's type.
fn field(inner: impl Strategy<Value = Vec<u8>> + Clone + 'static) -> impl Strategy<Value = Vec<u8>> {
    let number = prop_oneof![8 => 1u64..9, 2 => 1u64..24, 1 => 0u64..1 << 30];
    let of_length = move |bytes: Vec<u8>| [varint(bytes.len() as u64), bytes].concat();
    let text = "[a-zé/0-9]{0,5}".prop_map(String::into_bytes);
    let value = prop_oneof![
        4 => prop_oneof![0u64..200, any::<u64>()].prop_map(|n| (0, varint(n))),
        1 => any::<[u8; 8]>().prop_map(|bytes| (1, bytes.to_vec())),
        1 => any::<[u8; 4]>().prop_map(|bytes| (5, bytes.to_vec())),
        3 => text.prop_map(move |bytes| (2, of_length(bytes))),
        6 => inner.clone().prop_map(move |bytes| (2, of_length(bytes))),
        1 => inner.prop_map(|bytes| (3, bytes)),
        1 => Just((4, vec![])),
    ];
    (number, value).prop_map(|(number, (kind, value))| {
        let end = if kind == 3 { varint(number << 3 | 4) } else { vec![] };
        [varint(number << 3 | kind), value, end].concat()
    })
}

fn message() -> impl Strategy<Value = Vec<u8>> {
    let leaf = prop::collection::vec(0u8..40, 0..6);
    leaf.prop_recursive(4, 48, 5, |inner| prop::collection::vec(field(inner), 0..5).prop_map(|fields| fields.concat()))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn any_message_is_read_as_prost_reads_it(bytes in message()) {
        compare_all(&bytes);
    }

    #[test]
    fn any_bytes_are_read_as_prost_reads_them(bytes in prop::collection::vec(any::<u8>(), 0..40)) {
        compare_all(&bytes);
    }
}
