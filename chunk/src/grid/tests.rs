//! Attacks on the model `grid`: shapes that must be refused, guards, the canonical encoding, and
//! totality.

use super::*;
use driftless_schemas::Hash;
use proptest::prelude::*;
use prost::Message;
use serde_json::json;

fn chunk() -> ChunkId {
    "canvas/0/-1".parse().unwrap()
}

fn grid(json: Value) -> Grid {
    Grid::from_parameters(json.as_object().unwrap()).unwrap()
}

/// A grid of 3×2×2 cells with the values 0 to 4.
fn tiny() -> Grid {
    grid(json!({"size": [3, 2, 2], "palette": 5}))
}

fn flat(x: u32, y: u32) -> Grid {
    grid(json!({"size": [x, y], "palette": 5}))
}

fn set(cells: &[u32], values: &[u32], guards: &[u32]) -> Vec<u8> {
    let set = SetCells { cells: cells.to_vec(), values: values.to_vec(), guards: guards.to_vec() };
    GridCommand { body: Some(grid_command::Body::Set(set)) }.encode_to_vec()
}

fn fill(fill: FillBox) -> Vec<u8> {
    GridCommand { body: Some(grid_command::Body::Fill(fill)) }.encode_to_vec()
}

fn decide<'c>(grid: &Grid, cells: &Cells, command: &'c [u8]) -> Decision<'c> {
    let chunk = chunk();
    let context = Context { chunk: &chunk, author: "ann", roles: &[], received_at_ms: 0, seed: 0 };
    Model::decide(grid, cells, &context, command)
}

/// Decides a command, and folds its effect if it was committed.
fn apply(grid: &Grid, cells: &mut Cells, command: &[u8]) {
    match decide(grid, cells, command) {
        Decision::Committed(effect) => Model::fold(grid, cells, &effect).unwrap(),
        Decision::Discarded { reason, detail } => panic!("{reason:?}: {detail}"),
    }
}

fn discarded(grid: &Grid, cells: &Cells, command: &[u8]) -> (DiscardReason, String) {
    match decide(grid, cells, command) {
        Decision::Discarded { reason, detail } => (reason, detail),
        Decision::Committed(_) => panic!("it was committed"),
    }
}

fn values(cells: &Cells) -> Vec<u16> {
    cells.values().collect()
}

#[test]
fn the_encoding_is_a_header_and_the_cells_x_fastest() {
    let grid = tiny();
    let mut cells = Model::initial(&grid, &chunk());
    // Cell (1, 0, 0) is index 1; (2, 1, 1) is 2 + 3 * (1 + 2 * 1) = 11.
    apply(&grid, &mut cells, &set(&[1, 11], &[3, 4], &[]));
    let mut expected = b"DLG1".to_vec();
    expected.extend([3, 0, 2, 0, 2, 0, 0, 0]);
    expected.extend([0, 0, 3, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
    expected.extend([0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 4, 0]);
    assert_eq!(Model::encode(&grid, &cells), expected);
    assert_eq!(grid.get(&cells, 1, 0, 0), Some(3));
    assert_eq!(grid.get(&cells, 2, 1, 1), Some(4));
    assert_eq!(grid.get(&cells, 3, 0, 0), None);
    assert_eq!(Model::decode(&grid, &expected), Ok(cells));
}

#[test]
fn the_largest_values_are_little_endian() {
    let grid = grid(json!({"size": [2, 1], "palette": 65536}));
    let mut cells = Model::initial(&grid, &chunk());
    apply(&grid, &mut cells, &set(&[0, 1], &[0xabcd, 65_535], &[]));
    assert_eq!(Model::encode(&grid, &cells)[HEADER..], [0xcd, 0xab, 0xff, 0xff]);
}

#[test]
fn the_initial_content_is_all_zero_and_reads_back() {
    for grid in [tiny(), flat(128, 128), grid(json!({"size": [65535, 1, 1], "palette": 2}))] {
        let cells = Model::initial(&grid, &chunk());
        let bytes = Model::encode(&grid, &cells).into_owned();
        assert_eq!(bytes.len(), HEADER + 2 * grid.cells());
        assert!(bytes[HEADER..].iter().all(|b| *b == 0));
        assert_eq!(Model::decode(&grid, &bytes), Ok(cells));
    }
}

#[test]
fn an_invalid_command_is_refused_with_a_reason() {
    let grid = tiny();
    let one = FillBox { width: 1, height: 1, depth: 1, ..Default::default() };
    let many: Vec<u32> = vec![0; limits::GRID_SET_CELLS_MAX + 1];
    let bad: [(&str, Vec<u8>, &str); 17] = [
        ("no body", vec![], "neither"),
        ("garbage", vec![0xff, 0xff, 0xff], "not a GridCommand"),
        ("truncated", set(&[1, 2, 3], &[1, 2, 3], &[])[..5].to_vec(), "not a GridCommand"),
        ("no cells", set(&[], &[], &[]), "0 cells"),
        ("1025 cells", set(&many, &many, &[]), "1025 cells"),
        ("outside", set(&[12], &[0], &[]), "cell 12 is outside"),
        ("far outside", set(&[0, u32::MAX], &[0, 0], &[]), "cell 4294967295 is outside"),
        ("off the palette", set(&[0], &[5], &[]), "value 5 is off the palette of 5"),
        ("guard off the palette", set(&[0], &[0], &[6]), "guard 6 (value 5) is off the palette"),
        ("too few values", set(&[0, 1], &[1], &[]), "2 cells, but 1 values"),
        ("too many values", set(&[0], &[1, 2], &[]), "1 cells, but 2 values"),
        ("too few guards", set(&[0, 1], &[1, 1], &[1]), "2 cells, but 1 guards"),
        ("too wide", fill(FillBox { x: 2, width: 2, ..one }), "is outside of"),
        ("starts outside", fill(FillBox { y: 2, ..one }), "is outside of"),
        ("overflows", fill(FillBox { z: u32::MAX, depth: u32::MAX, ..one }), "is outside of"),
        ("fills off the palette", fill(FillBox { value: u32::MAX, ..one }), "off the palette"),
        ("guarded off the palette", fill(FillBox { guard: u32::MAX, ..one }), "off the palette"),
    ];
    for (name, command, expected) in bad {
        let cells = Model::initial(&grid, &chunk());
        let Refusal(problem) = Model::check(&grid, &command).unwrap_err();
        assert!(problem.contains(expected), "{name}: {problem}");
        assert_eq!(discarded(&grid, &cells, &command), (DiscardReason::Invalid, problem.clone()), "{name}");
        assert_eq!(Model::fold(&grid, &mut cells.clone(), &command), Err(Fault(problem)), "{name}");
        assert!(Model::command_to_json(&grid, &command).is_err(), "{name}");
    }
}

#[test]
fn the_largest_allowed_commands_are_taken() {
    let grid = flat(128, 128);
    let cells: Vec<u32> = (0..1024).collect();
    let values = vec![4; 1024];
    assert_eq!(Model::check(&grid, &set(&cells, &values, &vec![5; 1024])), Ok(()));
    let whole = FillBox { width: 128, height: 128, value: 4, guard: 5, ..Default::default() };
    assert_eq!(Model::check(&grid, &fill(whole)), Ok(()));
    let last = FillBox { x: 127, y: 127, ..Default::default() };
    assert_eq!(Model::check(&grid, &fill(last)), Ok(()), "sizes of 0 are read as 1");
}

#[test]
fn a_cell_that_is_set_twice_keeps_the_last_value() {
    let grid = tiny();
    let mut cells = Model::initial(&grid, &chunk());
    apply(&grid, &mut cells, &set(&[4, 4, 4], &[1, 2, 3], &[1, 1, 0]));
    assert_eq!(values(&cells)[4], 3, "guards are about the content before the command");
}

#[test]
fn one_failing_guard_discards_all() {
    let grid = tiny();
    let mut cells = Model::initial(&grid, &chunk());
    apply(&grid, &mut cells, &set(&[0, 1], &[1, 2], &[]));
    let guarded = set(&[2, 0, 1], &[4, 4, 4], &[0, 2, 4]);
    let (reason, detail) = discarded(&grid, &cells, &guarded);
    assert_eq!((reason, detail.as_str()), (DiscardReason::Conflict, "cell 1 holds 2, the guard says 3"));
    apply(&grid, &mut cells, &set(&[2, 0, 1], &[4, 4, 4], &[0, 2, 3]));
    assert_eq!(values(&cells)[..3], [4, 4, 4]);
}

#[test]
fn a_guard_for_zero_is_a_guard() {
    let grid = tiny();
    let mut cells = Model::initial(&grid, &chunk());
    let claim = set(&[7], &[3], &[1]);
    apply(&grid, &mut cells, &claim);
    assert_eq!(discarded(&grid, &cells, &claim).0, DiscardReason::Conflict, "only the first claims an empty cell");
}

#[test]
fn a_fill_sets_its_box_and_nothing_else() {
    let grid = tiny();
    let mut cells = Model::initial(&grid, &chunk());
    let upper = FillBox { x: 1, z: 1, width: 2, height: 2, value: 2, ..Default::default() };
    apply(&grid, &mut cells, &fill(upper));
    assert_eq!(values(&cells), [0, 0, 0, 0, 0, 0, 0, 2, 2, 0, 2, 2]);
    let all = FillBox { width: 3, height: 2, depth: 2, value: 1, guard: 3, ..Default::default() };
    let (reason, detail) = discarded(&grid, &cells, &fill(all));
    assert_eq!((reason, detail.as_str()), (DiscardReason::Conflict, "cell 0 holds 0, the guard says 2"));
    apply(&grid, &mut cells, &fill(FillBox { guard: 3, value: 4, ..upper }));
    assert_eq!(values(&cells), [0, 0, 0, 0, 0, 0, 0, 4, 4, 0, 4, 4]);
}

#[test]
fn a_foreign_encoding_is_a_fault() {
    let grid = tiny();
    let good = Model::encode(&grid, &Model::initial(&grid, &chunk())).into_owned();
    let mut off_palette = good.clone();
    off_palette[HEADER] = 5;
    let mut reserved = good.clone();
    reserved[10] = 1;
    let mut magic = good.clone();
    magic[3] = b'2';
    // The same number of cells in another shape.
    let other = flat(12, 1);
    let arranged = Model::encode(&other, &Model::initial(&other, &chunk())).into_owned();
    let long = [&good[..], &[0, 0]].concat();
    for bytes in [vec![], good[..good.len() - 1].to_vec(), long, off_palette, reserved, magic, arranged] {
        assert!(Model::decode(&grid, &bytes).is_err(), "{bytes:?}");
    }
    // A palette may grow: content from the smaller palette stays readable.
    let grown = self::grid(json!({"size": [3, 2, 2], "palette": 6}));
    assert!(Model::decode(&grown, &good).is_ok());
}

#[test]
fn wrong_parameters_are_named() {
    for (parameters, key, problem) in [
        (json!({"palette": 2}), "size", "missing"),
        (json!({"size": [1], "palette": 2}), "size", "[X, Y]"),
        (json!({"size": [1, 1, 1, 1], "palette": 2}), "size", "[X, Y]"),
        (json!({"size": [0, 1], "palette": 2}), "size", "1 to 262144"),
        (json!({"size": [513, 512], "palette": 2}), "size", "1 to 262144"),
        (json!({"size": [65536, 1], "palette": 2}), "size", "1 to 262144"),
        (json!({"size": [65535, 65535, 65535], "palette": 2}), "size", "1 to 262144"),
        (json!({"size": [1, 1], "palette": 1}), "palette", "2 to 65536"),
        (json!({"size": [1, 1], "palette": 65537}), "palette", "2 to 65536"),
        (json!({"size": [1, 1], "palette": 2, "colors": ["#000000"]}), "colors", "has 1 colours"),
        (json!({"size": [1, 1], "palette": 2, "colors": ["#000000", "#00000"]}), "colors[1]", "#00000"),
        (json!({"size": [1, 1], "palette": 2, "colors": [7, "#+12345"]}), "colors[0]", "7 is not \"#rrggbb\""),
        (json!({"size": [1, 1], "palette": 2, "colors": ["#000000", "#+12345"]}), "colors[1]", "#+12345"),
        (json!({"size": [1, "1"], "palette": 2}), "size[1]", "whole number"),
        (json!({"size": [1, 1], "palette": 2, "colour": []}), "colour", "there are size, palette, colors"),
    ] {
        let error = Grid::from_parameters(parameters.as_object().unwrap()).unwrap_err();
        assert_eq!(error.key, key, "{error}");
        assert!(error.problem.contains(problem), "{error}");
    }
    assert!(Grid::from_parameters(json!({"size": [512, 512], "palette": 65536}).as_object().unwrap()).is_ok());
}

#[test]
fn json_may_leave_out_members_with_a_default() {
    let grid = tiny();
    let short = json!({"set": [{"x": 1, "y": 1, "value": 2}]});
    let command = Model::command_from_json(&grid, &short).unwrap();
    assert_eq!(command, set(&[4], &[2], &[]));
    assert_eq!(Model::command_to_json(&grid, &command), Ok(json!({"set": [{"x": 1, "y": 1, "z": 0, "value": 2}]})));
    let some = json!({"set": [{"x": 0, "y": 0, "z": 1, "value": 2}, {"x": 0, "y": 0, "value": 1, "guard": 0}]});
    assert_eq!(Model::command_from_json(&grid, &some).unwrap(), set(&[6, 0], &[2, 1], &[0, 1]));
    let one = json!({"fill": {"x": 2, "y": 1, "value": 3, "guard": 4}});
    let expected = FillBox { x: 2, y: 1, z: 0, width: 1, height: 1, depth: 1, value: 3, guard: 5 };
    assert_eq!(Model::command_from_json(&grid, &one).unwrap(), fill(expected));
}

#[test]
fn bad_json_is_refused() {
    let grid = tiny();
    for (json, expected) in [
        (json!({}), "not a grid command"),
        (json!([]), "not a grid command"),
        (json!({"set": [], "fill": {}}), "not a grid command"),
        (json!({"set": []}), "0 cells"),
        (json!({"set": [{"x": 3, "y": 0, "value": 1}]}), "outside of the grid of 3×2×2"),
        (json!({"set": [{"x": -1, "y": 0, "value": 1}]}), "not a grid command"),
        (json!({"set": [{"x": 0, "y": 0, "value": 5}]}), "off the palette"),
        (json!({"set": [{"x": 0, "y": 0, "value": 1, "guard": 4294967295u32}]}), "off the palette"),
        (
            json!({"set": [{"x": 0, "y": 0, "value": 1}, {"x": 0, "y": 0, "value": 1, "colour": 2}]}),
            "set[1].colour: there is no such member",
        ),
        (json!({"set": [{"x": 0, "y": 0, "value": 1}, 7]}), "set[1]: 7 is not an object"),
        (json!({"fill": {"x": 0, "y": 0, "width": 4, "value": 1}}), "outside"),
    ] {
        let Refusal(problem) = Model::command_from_json(&grid, &json).unwrap_err();
        assert!(problem.contains(expected), "{json}: {problem}");
    }
}

#[test]
fn a_command_costs_as_many_cells_as_it_writes() {
    let grid = grid(json!({"size": [128, 128, 1], "palette": 8}));
    assert_eq!(Model::cost(&grid, &set(&[1], &[2], &[])), 1);
    assert_eq!(Model::cost(&grid, &set(&[1, 2, 3], &[2, 2, 2], &[])), 3);
    let box_of = |width, height| fill(FillBox { x: 3, y: 4, width, height, value: 1, ..Default::default() });
    assert_eq!(Model::cost(&grid, &box_of(64, 64)), 4096);
    assert_eq!(Model::cost(&grid, &box_of(0, 0)), 1, "an extent of 0 is 1");
    assert_eq!(Model::cost(&grid, b"no command"), 1);
}

#[test]
fn a_flat_grid_is_a_picture_and_a_deep_one_is_none() {
    let grid = grid(json!({"size": [2, 1], "palette": 2, "colors": ["#010203", "#fffefd"]}));
    let mut cells = Model::initial(&grid, &chunk());
    apply(&grid, &mut cells, &set(&[1], &[1], &[]));
    let picture = Model::picture(&grid, &cells).unwrap();
    assert_eq!((picture.width, picture.height, picture.rgb), (2, 1, vec![1, 2, 3, 255, 254, 253]));
    assert_eq!(Model::content_to_json(&grid, &cells), json!({"size": [2, 1, 1], "cells": [0, 1]}));
    assert_eq!(Model::picture(&tiny(), &Model::initial(&tiny(), &chunk())), None);
}

/// Commands around the edge between valid and invalid for [`tiny`].
fn command() -> impl Strategy<Value = Vec<u8>> {
    let numbers = |max: u32, len| prop::collection::vec(0..max, len);
    let sets = (0usize..5).prop_flat_map(move |len| {
        (numbers(13, len), numbers(6, len), prop_oneof![Just(vec![]).boxed(), numbers(7, len).boxed()])
    });
    let boxes = (0u32..4, 0u32..3, 0u32..3, 0u32..4, 0u32..3, 0u32..3, 0u32..6, 0u32..7);
    prop_oneof![
        4 => sets.prop_map(|(cells, values, guards)| set(&cells, &values, &guards)),
        4 => boxes.prop_map(|(x, y, z, width, height, depth, value, guard)| {
            fill(FillBox { x, y, z, width, height, depth, value, guard })
        }),
        1 => prop::collection::vec(any::<u8>(), 0..24),
    ]
}

/// Checks that the model keeps its promises for a command of any bytes. Returns whether the command
/// was committed.
fn attack(grid: &Grid, cells: &mut Cells, command: &[u8]) -> bool {
    let (before, copy) = (cells.clone(), command.to_vec());
    let checked = Model::check(grid, command);
    assert_eq!(checked.is_ok(), Model::command_to_json(grid, command).is_ok());
    let decision = decide(grid, cells, command);
    assert_eq!(decision, decide(grid, &before.clone(), &copy), "the same question has the same answer");
    match decision {
        Decision::Committed(effect) => {
            assert_eq!(checked, Ok(()));
            assert_eq!(effect, command);
            let mut other = before;
            Model::fold(grid, cells, &effect).unwrap();
            Model::fold(grid, &mut other, &effect).unwrap();
            assert_eq!(*cells, other);
            assert_eq!(Model::decode(grid, &Model::encode(grid, cells)).as_ref(), Ok(&*cells));
            true
        }
        Decision::Discarded { reason, .. } => {
            assert_eq!(*cells, before);
            assert_eq!(checked.is_err(), reason == DiscardReason::Invalid, "checked: {checked:?}, then {reason:?}");
            let mut tried = before.clone();
            if Model::fold(grid, &mut tried, command).is_err() {
                assert_eq!(tried, before, "a failed fold leaves the content as it was");
            }
            false
        }
    }
}

proptest! {
    #[test]
    fn r11_any_history_of_any_commands_keeps_the_models_promises(
        commands in prop::collection::vec(command(), 1..20)
    ) {
        let grid = tiny();
        let mut cells = Model::initial(&grid, &chunk());
        for command in &commands {
            attack(&grid, &mut cells, command);
        }
        let again = Model::decode(&grid, &Model::encode(&grid, &cells)).unwrap();
        prop_assert_eq!(Hash::of(&Model::encode(&grid, &again)), Hash::of(&Model::encode(&grid, &cells)));
    }

    #[test]
    fn any_bytes_give_an_answer(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let grid = tiny();
        let mut cells = Model::initial(&grid, &chunk());
        attack(&grid, &mut cells, &bytes);
        if let Ok(cells) = Model::decode(&grid, &bytes) {
            prop_assert_eq!(Model::encode(&grid, &cells), bytes);
        }
    }

    #[test]
    fn a_decoded_encoding_is_the_only_encoding_of_its_content(
        values in prop::collection::vec(0u8..7, 12), flip in 0usize..72, bit in 0u8..8
    ) {
        let grid = tiny();
        let mut bytes = grid.header().to_vec();
        bytes.extend(values.iter().flat_map(|v| [*v, 0]));
        if let Some(byte) = bytes.get_mut(flip) {
            *byte ^= 1 << bit;
        }
        if let Ok(cells) = Model::decode(&grid, &bytes) {
            prop_assert_eq!(Model::encode(&grid, &cells), bytes);
            prop_assert!(cells.values().all(|v| v < 5));
        }
    }

    #[test]
    fn json_and_bytes_say_the_same(command in command()) {
        let grid = tiny();
        let Ok(json) = Model::command_to_json(&grid, &command) else { return Ok(()) };
        let back = Model::command_from_json(&grid, &json).unwrap();
        prop_assert_eq!(Model::command_to_json(&grid, &back), Ok(json));
        let mut cells = [Model::initial(&grid, &chunk()), Model::initial(&grid, &chunk())];
        let decided = [attack(&grid, &mut cells[0], &command), attack(&grid, &mut cells[1], &back)];
        prop_assert_eq!(decided[0], decided[1]);
        prop_assert_eq!(&cells[0], &cells[1]);
    }
}

fn inverse(grid: &Grid, before: &Cells, effect: &[u8]) -> Vec<Vec<u8>> {
    Model::inverse(grid, before, effect)
}

#[test]
fn an_inverse_leads_back() {
    let grid = flat(64, 64);
    let mut before = Model::initial(&grid, &chunk());
    apply(&grid, &mut before, &set(&[0, 1, 70], &[1, 2, 3], &[]));
    let commands = [
        set(&[0, 1, 2, 70], &[4, 4, 4, 4], &[]),
        // If a cell is named twice, its last value counts.
        set(&[5, 5], &[1, 2], &[]),
        fill(FillBox { width: 64, height: 64, value: 2, ..FillBox::default() }),
        fill(FillBox { x: 10, y: 10, width: 3, height: 3, value: 2, ..FillBox::default() }),
    ];
    for command in commands {
        let mut after = before.clone();
        apply(&grid, &mut after, &command);
        for step in inverse(&grid, &before, &command) {
            apply(&grid, &mut after, &step);
        }
        assert_eq!(values(&after), values(&before));
    }
}

#[test]
fn an_inverse_keeps_later_edits_of_other_users() {
    let grid = flat(8, 8);
    let before = Model::initial(&grid, &chunk());
    let mine = set(&[3], &[1], &[]);
    let mut now = before.clone();
    apply(&grid, &mut now, &mine);
    apply(&grid, &mut now, &set(&[3], &[2], &[]));
    let [back] = &inverse(&grid, &before, &mine)[..] else { panic!("one command takes it back") };
    assert_eq!(discarded(&grid, &now, back).0, DiscardReason::Conflict);
}

#[test]
fn an_inverse_uses_the_fewest_commands() {
    let grid = flat(64, 64);
    let mut before = Model::initial(&grid, &chunk());
    let whole = fill(FillBox { width: 64, height: 64, value: 1, ..FillBox::default() });
    assert_eq!(inverse(&grid, &before, &whole).len(), 1, "a fill of one value is taken back by a fill");
    assert!(inverse(&grid, &before, &set(&[1, 2], &[0, 0], &[])).is_empty(), "it changed nothing");
    assert!(inverse(&grid, &before, b"no command").is_empty());
    apply(&grid, &mut before, &set(&[0], &[3], &[]));
    assert_eq!(inverse(&grid, &before, &whole).len(), 4, "4,096 cells, 1,024 a set");
    let large = flat(512, 512);
    let mut before = Model::initial(&large, &chunk());
    apply(&large, &mut before, &set(&[0], &[3], &[]));
    let whole = fill(FillBox { width: 512, height: 512, value: 1, ..FillBox::default() });
    assert!(inverse(&large, &before, &whole).is_empty(), "too much to take back");
}
