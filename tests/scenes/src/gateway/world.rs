//! A world with a simple model, and short names for chunk ids and writers.

use driftless_chunk::model::{Context, Decision, Fault, Model, Models, ParameterError, Refusal};
use driftless_chunk::world::World;
use driftless_schemas::proto::DiscardReason;
use driftless_schemas::world::{FamilySpec, WorldSpec};
use driftless_schemas::{ChunkId, Partition, SessionId, WriterId};
use std::borrow::Cow;
use std::cell::Cell;
use std::sync::Arc;

pub const P: Partition = Partition(0);

thread_local! {
    /// While true, each fold on this thread adds an error to the content.
    static DRIFTING: Cell<bool> = const { Cell::new(false) };
}

/// Runs `act`. Replicas that fold on this thread meanwhile get a wrong content.
pub fn drifting<T>(act: impl FnOnce() -> T) -> T {
    DRIFTING.set(true);
    let result = act();
    DRIFTING.set(false);
    result
}

/// A model whose content is the last 300 bytes that were written. A command that begins with `x` is
/// discarded.
struct Tape;

impl Model for Tape {
    type State = Vec<u8>;

    fn initial(&self, chunk: &ChunkId) -> Vec<u8> {
        chunk.as_str().into()
    }
    fn check(&self, _: &[u8]) -> Result<(), Refusal> {
        Ok(())
    }
    fn decide<'c>(&self, _: &Vec<u8>, _: &Context<'_>, command: &'c [u8]) -> Decision<'c> {
        match command.first() {
            Some(b'x') => Decision::Discarded { reason: DiscardReason::Conflict, detail: "an x".into() },
            _ => Decision::Committed(Cow::Borrowed(command)),
        }
    }
    fn fold(&self, state: &mut Vec<u8>, effect: &[u8]) -> Result<(), Fault> {
        state.extend_from_slice(effect);
        if DRIFTING.get() {
            state.push(b'!');
        }
        state.drain(..state.len().saturating_sub(300));
        Ok(())
    }
    fn encode<'s>(&self, state: &'s Vec<u8>) -> Cow<'s, [u8]> {
        Cow::Borrowed(state)
    }
    fn decode(&self, bytes: &[u8]) -> Result<Vec<u8>, Fault> {
        Ok(bytes.into())
    }
    fn command_from_json(&self, _: &serde_json::Value) -> Result<Vec<u8>, Refusal> {
        Err(Refusal("none".into()))
    }
    fn command_to_json(&self, _: &[u8]) -> Result<serde_json::Value, Refusal> {
        Err(Refusal("none".into()))
    }
    fn content_to_json(&self, _: &Vec<u8>) -> serde_json::Value {
        serde_json::Value::Null
    }
}

pub fn world() -> Arc<World> {
    let mut models = Models::builtin();
    models.register("tape", 3, |_| Ok::<_, ParameterError>(Tape));
    let family = |name: &str, model: &str| FamilySpec {
        name: name.into(),
        model: model.into(),
        parameters: serde_json::Map::new(),
        coordinates: 1,
        bounds: 9999,
        region: 0,
    };
    let families = vec![family("tape", "tape"), family("map", "map")];
    let spec = WorldSpec { partitions: 1, families, ..WorldSpec::dev() };
    Arc::new(World::new("test", spec, &models).unwrap())
}

pub fn id(text: &str) -> ChunkId {
    text.parse().unwrap()
}

pub fn writer(i: u8) -> WriterId {
    SessionId::new(1_800_000_000_000, [i; 10]).writer("ann")
}
