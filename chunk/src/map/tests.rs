//! Attacks on the model `map`: shapes that must be refused, guards, full maps, the canonical
//! encoding, and totality.

use super::*;
use proptest::prelude::*;
use prost::Message;
use serde_json::json;

fn chunk() -> ChunkId {
    "things/3/4".parse().unwrap()
}

fn map(json: Value) -> Map {
    Map::from_parameters(json.as_object().unwrap()).unwrap()
}

/// A map with low limits: 3 entries, keys of 4 bytes, values of 6 bytes, and an encoding of 48
/// bytes.
fn tiny() -> Map {
    map(json!({"entries_max": 3, "key_bytes_max": 4, "value_bytes_max": 6, "bytes_max": 48}))
}

fn absent() -> Option<MapGuard> {
    Some(MapGuard { is: Some(map_guard::Is::Absent(Absent {})) })
}

fn holds(value: &[u8]) -> Option<MapGuard> {
    Some(MapGuard { is: Some(map_guard::Is::ValueHash(Hash::of(value).to_bytes())) })
}

fn put(key: &str, value: &[u8], guard: Option<MapGuard>) -> Vec<u8> {
    let put = PutKey { key: key.into(), value: value.to_vec().into(), guard };
    MapCommand { body: Some(map_command::Body::Put(put)) }.encode_to_vec()
}

fn delete(key: &str, guard: Option<MapGuard>) -> Vec<u8> {
    MapCommand { body: Some(map_command::Body::Delete(DeleteKey { key: key.into(), guard })) }.encode_to_vec()
}

fn decide<'c>(map: &Map, entries: &Entries, command: &'c [u8]) -> Decision<'c> {
    let chunk = chunk();
    let context = Context { chunk: &chunk, author: "ann", roles: &[], received_at_ms: 0, seed: 0 };
    Model::decide(map, entries, &context, command)
}

fn apply(map: &Map, entries: &mut Entries, command: &[u8]) {
    match decide(map, entries, command) {
        Decision::Committed(effect) => Model::fold(map, entries, &effect).unwrap(),
        Decision::Discarded { reason, detail } => panic!("{reason:?}: {detail}"),
    }
}

fn discarded(map: &Map, entries: &Entries, command: &[u8]) -> (DiscardReason, String) {
    match decide(map, entries, command) {
        Decision::Discarded { reason, detail } => (reason, detail),
        Decision::Committed(_) => panic!("it was committed"),
    }
}

#[test]
fn the_encoding_is_sorted_by_key_whatever_the_order_of_commands() {
    let map = Map::default();
    let mut encodings = Vec::new();
    for order in [["b", "a", "aa"], ["aa", "b", "a"], ["a", "aa", "b"]] {
        let mut entries = Model::initial(&map, &chunk());
        for key in order {
            apply(&map, &mut entries, &put(key, key.as_bytes(), None));
        }
        assert_eq!(entries.iter().map(|(key, _)| key).collect::<Vec<_>>(), ["a", "aa", "b"]);
        encodings.push(Model::encode(&map, &entries).into_owned());
    }
    let mut expected = b"DLM1".to_vec();
    expected.extend([3, 0, 0, 0]);
    expected.extend([1, 0, b'a', 1, 0, 0, 0, b'a']);
    expected.extend([2, 0, b'a', b'a', 2, 0, 0, 0, b'a', b'a']);
    expected.extend([1, 0, b'b', 1, 0, 0, 0, b'b']);
    assert_eq!(encodings, [&expected[..]; 3]);
}

#[test]
fn the_initial_content_is_empty_and_reads_back() {
    let map = tiny();
    let entries = Model::initial(&map, &chunk());
    assert_eq!(*Model::encode(&map, &entries), *b"DLM1\0\0\0\0");
    assert_eq!(Model::decode(&map, b"DLM1\0\0\0\0"), Ok(entries));
}

#[test]
fn an_invalid_command_is_refused_with_a_reason() {
    let map = tiny();
    let short_hash = Some(MapGuard { is: Some(map_guard::Is::ValueHash(Bytes::from_static(&[0; 31]))) });
    let bad: [(&str, Vec<u8>, &str); 9] = [
        ("no body", vec![], "neither"),
        ("garbage", vec![0xff, 0xff], "not a MapCommand"),
        ("a key that is not UTF-8", vec![0x0a, 3, 0x0a, 1, 0xff], "not a MapCommand"),
        ("empty key", put("", b"a", None), "a key of 0 bytes"),
        ("long key", put("abcde", b"", None), "a key of 5 bytes: 1 to 4"),
        ("long key in bytes", delete("ééé", None), "a key of 6 bytes"),
        ("long value", put("a", b"1234567", None), "a value of 7 bytes: 6"),
        ("an empty guard", put("a", b"", Some(MapGuard { is: None })), "neither"),
        ("a short hash", delete("a", short_hash), "a guard's hash of 31 bytes"),
    ];
    for (name, command, expected) in bad {
        let entries = Model::initial(&map, &chunk());
        let Refusal(problem) = Model::check(&map, &command).unwrap_err();
        assert!(problem.contains(expected), "{name}: {problem}");
        assert_eq!(discarded(&map, &entries, &command), (DiscardReason::Invalid, problem.clone()), "{name}");
        assert_eq!(Model::fold(&map, &mut entries.clone(), &command), Err(Fault(problem)), "{name}");
        assert!(Model::command_to_json(&map, &command).is_err(), "{name}");
    }
}

#[test]
fn a_guard_for_absence_lets_only_the_first_in() {
    let map = tiny();
    let mut entries = Model::initial(&map, &chunk());
    let claim = put("k", b"mine", absent());
    apply(&map, &mut entries, &claim);
    assert_eq!(discarded(&map, &entries, &claim).0, DiscardReason::Conflict);
    assert_eq!(discarded(&map, &entries, &delete("k", absent())).0, DiscardReason::Conflict);
    apply(&map, &mut entries, &delete("k", None));
    apply(&map, &mut entries, &claim);
    apply(&map, &mut entries, &delete("none", absent()));
}

#[test]
fn a_guard_for_a_value_is_about_the_present_value() {
    let map = tiny();
    let mut entries = Model::initial(&map, &chunk());
    let (reason, detail) = discarded(&map, &entries, &put("k", b"new", holds(b"")));
    assert_eq!(reason, DiscardReason::Conflict, "an empty value is not an absent one");
    assert!(detail.contains("there is no key"), "{detail}");
    apply(&map, &mut entries, &put("k", b"", absent()));
    apply(&map, &mut entries, &put("k", b"one", holds(b"")));
    let before = entries.clone();
    for command in [put("k", b"two", holds(b"")), delete("k", holds(b"two"))] {
        let (reason, detail) = discarded(&map, &entries, &command);
        assert_eq!(reason, DiscardReason::Conflict);
        assert!(detail.contains("another value"), "{detail}");
    }
    assert_eq!(entries, before);
    apply(&map, &mut entries, &delete("k", holds(b"one")));
    assert_eq!(entries, Model::initial(&map, &chunk()));
}

#[test]
fn deleting_an_absent_key_is_harmless() {
    let map = tiny();
    let mut entries = Model::initial(&map, &chunk());
    apply(&map, &mut entries, &delete("k", None));
    assert_eq!(entries, Model::initial(&map, &chunk()));
}

#[test]
fn a_map_full_of_entries_takes_no_new_key_but_replaces_and_deletes() {
    let map = tiny();
    let mut entries = Model::initial(&map, &chunk());
    for key in ["a", "b", "c"] {
        apply(&map, &mut entries, &put(key, b"1", None));
    }
    let (reason, detail) = discarded(&map, &entries, &put("d", b"", None));
    assert_eq!(reason, DiscardReason::Full);
    assert_eq!(detail, "3 of 3 entries, 32 of 48 bytes are taken");
    apply(&map, &mut entries, &put("b", b"123456", None));
    apply(&map, &mut entries, &delete("a", None));
    apply(&map, &mut entries, &put("d", b"", None));
}

#[test]
fn a_map_full_of_bytes_takes_what_fits_to_the_byte() {
    let map = tiny();
    let mut entries = Model::initial(&map, &chunk());
    // The header has 8 bytes, and each entry 6 bytes plus key and value: 8 + 16 + 16 = 40.
    apply(&map, &mut entries, &put("aaaa", b"123456", None));
    apply(&map, &mut entries, &put("bbbb", b"123456", None));
    assert_eq!(discarded(&map, &entries, &put("cc", b"1", None)).0, DiscardReason::Full);
    apply(&map, &mut entries, &put("cc", b"", None));
    assert_eq!(Model::encode(&map, &entries).len(), 48);
    assert_eq!(discarded(&map, &entries, &put("cc", b"1", None)).0, DiscardReason::Full, "replacing grows, too");
    apply(&map, &mut entries, &put("aaaa", b"654321", None));
    apply(&map, &mut entries, &put("aaaa", b"65432", None));
    apply(&map, &mut entries, &put("cc", b"1", None));
    assert_eq!(
        discarded(&map, &entries, &put("cc", b"1", absent())).0,
        DiscardReason::Conflict,
        "conflict before full"
    );
}

#[test]
fn a_foreign_encoding_is_a_fault() {
    let map = tiny();
    let entry = |key: &str, value: &str| {
        let mut bytes = (key.len() as u16).to_le_bytes().to_vec();
        bytes.extend(key.as_bytes());
        bytes.extend((value.len() as u32).to_le_bytes());
        bytes.extend(value.as_bytes());
        bytes
    };
    let whole = |count: u32, entries: &[Vec<u8>]| {
        let mut bytes = b"DLM1".to_vec();
        bytes.extend(count.to_le_bytes());
        bytes.extend(entries.concat());
        bytes
    };
    let (a, b) = (entry("a", "1"), entry("b", "2"));
    let good = whole(2, &[a.clone(), b.clone()]);
    assert!(Model::decode(&map, &good).is_ok());
    for (bytes, problem) in [
        (vec![], "DLM1"),
        (b"DLM2\0\0\0\0".to_vec(), "DLM1"),
        (b"DLM1\0\0\0".to_vec(), "too early"),
        (whole(2, &[b.clone(), a.clone()]), "not in order"),
        (whole(2, &[a.clone(), a.clone()]), "not in order"),
        (whole(1, &[a.clone(), b.clone()]), "after the map's end"),
        (whole(3, &[a.clone(), b.clone()]), "too early"),
        (whole(u32::MAX, &[a, b]), "too early"),
        (whole(1, &[vec![1, 0, 0xff, 0, 0, 0, 0]]), "UTF-8"),
        (whole(1, &[vec![1, 0, b'a', 0xff, 0xff, 0xff, 0xff]]), "too early"),
        (whole(1, &[vec![0, 0, 0, 0, 0, 0]]), "empty key"),
    ] {
        let Fault(found) = Model::decode(&map, &bytes).unwrap_err();
        assert!(found.contains(problem), "{found}");
    }
}

#[test]
fn wrong_parameters_are_named() {
    for (parameters, key) in [
        (json!({"entries_max": 0}), "entries_max"),
        (json!({"entries_max": 1_000_000}), "entries_max"),
        (json!({"key_bytes_max": 1025}), "key_bytes_max"),
        (json!({"value_bytes_max": 16384}), "value_bytes_max"),
        (json!({"bytes_max": 1_048_577}), "bytes_max"),
        (json!({"values": 1}), "values"),
    ] {
        assert_eq!(Map::from_parameters(parameters.as_object().unwrap()).unwrap_err().key, key);
    }
}

#[test]
fn the_largest_put_fits_into_a_command() {
    let map = map(json!({"key_bytes_max": 1024, "value_bytes_max": limits::COMMAND_BYTES_MAX - 2048}));
    let command = put(&"k".repeat(1024), &vec![7; limits::COMMAND_BYTES_MAX - 2048], holds(b"old"));
    assert_eq!(Model::check(&map, &command), Ok(()));
    assert!(command.len() <= limits::COMMAND_BYTES_MAX, "{}", command.len());
}

#[test]
fn json_takes_text_or_base64() {
    let map = tiny();
    let hash = Hash::of(b"old").to_string();
    for (json, command, back) in [
        (json!({"put": {"key": "a", "text": "é"}}), put("a", "é".as_bytes(), None), None),
        (json!({"put": {"key": "a", "text": ""}}), put("a", b"", None), None),
        (json!({"put": {"key": "a", "value": "/w=="}}), put("a", b"\xff", None), None),
        // A value that is UTF-8 comes back as text.
        (
            json!({"put": {"key": "a", "value": "aGk=", "guard": "absent"}}),
            put("a", b"hi", absent()),
            Some(json!({"put": {"key": "a", "text": "hi", "guard": "absent"}})),
        ),
        (json!({"delete": {"key": "a"}}), delete("a", None), None),
        (json!({"delete": {"key": "a", "guard": hash}}), delete("a", holds(b"old")), None),
    ] {
        assert_eq!(Model::command_from_json(&map, &json), Ok(command.clone()), "{json}");
        assert_eq!(Model::command_to_json(&map, &command), Ok(back.unwrap_or(json)));
    }
    let mut entries = Model::initial(&map, &chunk());
    apply(&map, &mut entries, &put("b", b"\xff", None));
    apply(&map, &mut entries, &put("a", b"hi", None));
    assert_eq!(
        Model::content_to_json(&map, &entries),
        json!({"entries": {"a": {"text": "hi"}, "b": {"value": "/w=="}}})
    );
}

#[test]
fn bad_json_is_refused() {
    let map = tiny();
    for (json, expected) in [
        (json!({}), "not a map command"),
        (json!({"putt\n": {}}), "\"putt\\n\" is neither"),
        (json!({"put": {}}), "put.key: it is missing"),
        (json!({"put": {"key": "a"}}), "either"),
        (json!({"put": {"key": "a", "text": "", "value": ""}}), "either"),
        (json!({"put": {"key": "a", "value": "?"}}), "base64"),
        (json!({"put": {"key": "", "text": ""}}), "a key of 0 bytes"),
        (json!({"put": {"key": "a", "text": "", "ttl": 1}}), "ttl"),
        (json!({"delete": {"key": "a", "guard": "gone"}}), "absent"),
        (json!({"put": {"key": "a", "text": ""}, "delete": {"key": "a"}}), "not a map command"),
    ] {
        let Refusal(problem) = Model::command_from_json(&map, &json).unwrap_err();
        assert!(problem.contains(expected), "{json}: {problem}");
    }
}

/// Commands around the edge between valid and invalid for [`tiny`], with few keys and values, so
/// that guards often hold.
fn command() -> impl Strategy<Value = Vec<u8>> {
    let key = prop_oneof![8 => "[a-d]", 2 => "[a-d]{4}", 1 => "[a-dé]{0,5}"];
    let value = prop::collection::vec(prop_oneof![Just(b'x'), Just(0xffu8)], 0..8);
    let value_small = prop::collection::vec(prop_oneof![Just(b'x'), Just(0xffu8)], 0..2);
    let guard = prop_oneof![
        6 => Just(None),
        2 => Just(absent()),
        3 => value_small.prop_map(|value| holds(&value)),
        1 => Just(Some(MapGuard { is: None })),
    ];
    prop_oneof![
        6 => (key.clone(), value, guard.clone()).prop_map(|(key, value, guard)| put(&key, &value, guard)),
        3 => (key, guard).prop_map(|(key, guard)| delete(&key, guard)),
        1 => prop::collection::vec(any::<u8>(), 0..24),
    ]
}

/// Checks that the model keeps its promises for a command of any bytes. Returns whether the command
/// was committed.
fn attack(map: &Map, entries: &mut Entries, command: &[u8]) -> bool {
    let (before, copy) = (entries.clone(), command.to_vec());
    let checked = Model::check(map, command);
    assert_eq!(checked.is_ok(), Model::command_to_json(map, command).is_ok());
    let decision = decide(map, entries, command);
    assert_eq!(decision, decide(map, &before.clone(), &copy), "the same question has the same answer");
    let is_committed = match decision {
        Decision::Committed(effect) => {
            assert_eq!(checked, Ok(()));
            let mut other = before;
            Model::fold(map, entries, &effect).unwrap();
            Model::fold(map, &mut other, &effect).unwrap();
            assert_eq!(*entries, other);
            true
        }
        Decision::Discarded { reason, .. } => {
            assert_eq!(*entries, before);
            assert_eq!(checked.is_err(), reason == DiscardReason::Invalid, "checked: {checked:?}, then {reason:?}");
            let mut tried = before.clone();
            if Model::fold(map, &mut tried, command).is_err() {
                assert_eq!(tried, before, "a failed fold leaves the content as it was");
            }
            false
        }
    };
    let bytes = Model::encode(map, entries);
    assert_eq!(bytes.len(), entries.bytes, "the size is kept without encoding");
    assert!(bytes.len() <= map.bytes_max && entries.map.len() <= map.entries_max);
    assert_eq!(Model::decode(map, &bytes).as_ref(), Ok(&*entries));
    is_committed
}

proptest! {
    #[test]
    fn r11_any_history_of_any_commands_keeps_the_models_promises(
        commands in prop::collection::vec(command(), 1..40)
    ) {
        let map = tiny();
        let mut entries = Model::initial(&map, &chunk());
        for command in &commands {
            attack(&map, &mut entries, command);
        }
    }

    #[test]
    fn any_bytes_give_an_answer(bytes in prop::collection::vec(any::<u8>(), 0..200), is_prefixed in any::<bool>()) {
        let map = tiny();
        attack(&map, &mut Model::initial(&map, &chunk()), &bytes);
        let bytes = if is_prefixed { [b"DLM1\x02\0\0\0", &bytes[..]].concat() } else { bytes };
        if let Ok(entries) = Model::decode(&map, &bytes) {
            prop_assert_eq!(Model::encode(&map, &entries), bytes);
        }
    }

    #[test]
    fn a_decoded_encoding_is_the_only_encoding_of_its_content(
        contents in prop::collection::btree_map("[a-c]{1,3}", prop::collection::vec(any::<u8>(), 0..5), 0..4),
        flip in 0usize..48,
        bit in 0u8..8,
    ) {
        let map = Map::default();
        let mut entries = Entries::empty();
        for (key, value) in contents {
            entries.put(PutKey { key, value: value.into(), guard: None });
        }
        let mut bytes = Model::encode(&map, &entries).into_owned();
        prop_assert_eq!(Model::decode(&map, &bytes), Ok(entries));
        if let Some(byte) = bytes.get_mut(flip) {
            *byte ^= 1 << bit;
        }
        if let Ok(entries) = Model::decode(&map, &bytes) {
            prop_assert_eq!(entries.bytes, bytes.len());
            prop_assert_eq!(Model::encode(&map, &entries), bytes);
        }
    }

    #[test]
    fn json_and_bytes_say_the_same(command in command()) {
        let map = tiny();
        let Ok(json) = Model::command_to_json(&map, &command) else { return Ok(()) };
        let back = Model::command_from_json(&map, &json).unwrap();
        prop_assert_eq!(Model::command_to_json(&map, &back), Ok(json));
        let mut entries = [Entries::empty(), Entries::empty()];
        let decided = [attack(&map, &mut entries[0], &command), attack(&map, &mut entries[1], &back)];
        prop_assert_eq!(decided[0], decided[1]);
        prop_assert_eq!(&entries[0], &entries[1]);
    }
}

#[test]
fn an_inverse_leads_back_and_keeps_later_edits_of_other_users() {
    let map = tiny();
    let mut before = Model::initial(&map, &chunk());
    apply(&map, &mut before, &put("a", b"1", None));
    for command in [put("a", b"2", None), put("b", b"2", absent()), delete("a", None)] {
        let mut after = before.clone();
        apply(&map, &mut after, &command);
        let back = Model::inverse(&map, &before, &command);
        assert_eq!(back.len(), 1);
        let mut meddled = after.clone();
        for key in ["a", "b"] {
            apply(&map, &mut meddled, &put(key, b"else", None));
        }
        assert_eq!(discarded(&map, &meddled, &back[0]).0, DiscardReason::Conflict);
        apply(&map, &mut after, &back[0]);
        assert_eq!(after, before);
    }
    for command in [put("a", b"1", None), delete("b", None), b"no command".to_vec()] {
        assert!(Model::inverse(&map, &before, &command).is_empty(), "it changed nothing");
    }
}
