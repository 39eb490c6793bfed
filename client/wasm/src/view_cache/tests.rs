//! Tests that the reported differences cover all changes, and not much more.

use super::*;
use driftless_chunk::model::{AnyModel, Context, Decision, Models};
use driftless_schemas::ChunkId;
use serde_json::{Value, json};
use std::sync::Arc;

fn model(id: &str, parameters: &Value) -> Arc<dyn AnyModel> {
    let models = Models::builtin();
    models.get(id).unwrap().1(parameters.as_object().unwrap()).unwrap()
}

fn chunk() -> ChunkId {
    "canvas/0/0".parse().unwrap()
}

fn after(model: &dyn AnyModel, content: &Content, command: Value) -> Content {
    let (chunk, command) = (chunk(), model.command_from_json(&command).unwrap());
    let context = Context { chunk: &chunk, author: "", roles: &[], received_at_ms: 0, seed: 0 };
    let Decision::Committed(effect) = model.decide(content, &context, &command) else { panic!("discarded") };
    let mut next = content.clone();
    model.fold(&mut next, &effect).unwrap();
    next
}

fn update(view_cache: &mut ViewCache, view: &Content, confirmed: &Content) -> Option<Change> {
    view_cache.update(ViewCopy::of(view), confirmed)
}

fn rects(change: Option<Change>) -> Vec<[usize; 6]> {
    match change {
        Some(Change::Rects(rects)) => rects,
        None => Vec::new(),
        Some(_) => panic!("no rectangles"),
    }
}

#[test]
fn a_predicted_cell_is_reported_when_it_appears_and_when_it_is_committed() {
    let model = model("grid", &json!({ "size": [16, 16], "palette": 4 }));
    let confirmed = model.initial(&chunk());
    let mut view_cache = ViewCache::default();
    assert!(matches!(update(&mut view_cache, &confirmed, &confirmed), Some(Change::All)));
    assert!(update(&mut view_cache, &confirmed, &confirmed).is_none(), "nothing has changed");
    let painted = after(model.as_ref(), &confirmed, json!({ "set": [{ "x": 3, "y": 5, "value": 2 }] }));
    let cell = vec![[3, 5, 0, 1, 1, 1]];
    assert_eq!(rects(update(&mut view_cache, &painted, &confirmed)), cell);
    let ViewCache::Grid(grid) = &view_cache else { panic!() };
    assert_eq!((grid.cells[5 * 16 + 3], grid.pending[5 * 16 + 3]), (2, 1));
    assert_eq!(rects(update(&mut view_cache, &painted, &painted)), cell, "the cell is no longer pending");
    assert!(update(&mut view_cache, &painted, &painted).is_none());
}

#[test]
fn distant_changes_get_separate_rectangles() {
    let model = model("grid", &json!({ "size": [16, 16, 2], "palette": 4 }));
    let before = model.initial(&chunk());
    let mut view_cache = ViewCache::default();
    update(&mut view_cache, &before, &before);
    let set = json!({ "set": [
        { "x": 1, "y": 0, "value": 1 }, { "x": 4, "y": 2, "value": 1 }, { "x": 9, "y": 12, "value": 1 },
        { "x": 0, "y": 15, "z": 1, "value": 1 },
    ] });
    let next = after(model.as_ref(), &before, set);
    let out = rects(update(&mut view_cache, &next, &next));
    assert_eq!(out, [[1, 0, 0, 4, 3, 1], [9, 12, 0, 1, 1, 1], [0, 15, 1, 1, 1, 1]]);
}

#[test]
fn changes_of_a_map_are_reported_by_key() {
    let model = model("map", &json!({}));
    let empty = model.initial(&chunk());
    let mut view_cache = ViewCache::default();
    update(&mut view_cache, &empty, &empty);
    let one = after(model.as_ref(), &empty, json!({ "put": { "key": "a", "text": "1" } }));
    let keys = |change| match change {
        Some(Change::Keys(keys)) => keys,
        _ => panic!("no keys"),
    };
    assert_eq!(keys(update(&mut view_cache, &one, &empty)), ["a"]);
    let two = after(model.as_ref(), &one, json!({ "put": { "key": "b", "text": "2" } }));
    assert_eq!(keys(update(&mut view_cache, &two, &one)), ["a", "b"], "a is committed, b is new");
    let gone = after(model.as_ref(), &two, json!({ "delete": { "key": "a" } }));
    assert_eq!(keys(update(&mut view_cache, &gone, &two)), ["b", "a"], "b is committed, a is gone");
    assert!(matches!(view_cache.clear(), Some(Change::All)));
    assert!(view_cache.clear().is_none());
}
