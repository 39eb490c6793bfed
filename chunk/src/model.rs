//! The rules of a chunk's content.
//!
//! A [`Model`] is total and deterministic: any bytes give a result or an error, never a panic; the same arguments give
//! the same bytes on every machine; cost is bounded by the sizes of command and content. It is a value that already
//! knows its family's parameters. [`AnyModel`] is the same behind a pointer, for code that serves all families.

use driftless_schemas::ChunkId;
use driftless_schemas::proto::DiscardReason;
use serde_json::Value;
use std::any::Any;
use std::borrow::Cow;
use std::sync::Arc;

/// What a decision may know beside the state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Context<'a> {
    /// The chunk.
    pub chunk: &'a ChunkId,
    /// The user who asked.
    pub author: &'a str,
    /// The roles that the user's token named.
    pub roles: &'a [String],
    /// When ingest received the command, milliseconds since the Unix epoch.
    pub received_at_ms: i64,
    /// Chance, the same for everybody: derived from the command's partition and offset.
    pub seed: u64,
}

/// What becomes of a command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decision<'c> {
    /// It is committed with this effect; by default the command itself.
    Committed(Cow<'c, [u8]>),
    /// It has no effect.
    Discarded {
        /// Why.
        reason: DiscardReason,
        /// Which cell or key; for people.
        detail: String,
    },
}

/// A command that the model does not take: what is wrong with it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Refusal(pub String);

/// Bytes that the model itself should have made, and that it cannot use: an effect or a canonical encoding.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Fault(pub String);

/// A family's parameters that a model does not take.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("parameters.{key}: {problem}")]
pub struct ParameterError {
    /// The key among the parameters.
    pub key: String,
    /// What is wrong, and what would be right.
    pub problem: String,
}

/// A content as a picture: 8-bit RGB, row by row from the top.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Picture {
    /// Pixels in a row.
    pub width: u32,
    /// Rows.
    pub height: u32,
    /// 3 bytes a pixel.
    pub rgb: Vec<u8>,
}

/// The rules of one family's content.
pub trait Model: Send + Sync + 'static {
    /// The content in memory.
    type State: Clone + Send + Sync + 'static;

    /// The content at version 0.
    fn initial(&self, chunk: &ChunkId) -> Self::State;

    /// Whether a command is one at all, whatever the state (ingest asks it).
    ///
    /// # Errors
    /// [`Refusal`] says what is wrong and what would be right.
    fn check(&self, command: &[u8]) -> Result<(), Refusal>;

    /// What a command does, in units of one cell: how much work it makes for everybody who decides and folds it, however few bytes
    /// it is. Ingest limits what a user's commands cost a second. Asked only of commands that `check` takes.
    fn cost(&self, _command: &[u8]) -> u32 {
        1
    }

    /// Decides a command. Called with anything, also with what `check` refuses.
    fn decide<'c>(&self, state: &Self::State, context: &Context<'_>, command: &'c [u8]) -> Decision<'c>;

    /// Applies an effect.
    ///
    /// # Errors
    /// [`Fault`] where `effect` is none that `decide` makes.
    fn fold(&self, state: &mut Self::State, effect: &[u8]) -> Result<(), Fault>;

    /// Whether `fold` leaves the state as it was when it fails, and never panics. Where it is not said, the decider keeps
    /// a copy of the state to go back to.
    fn fold_is_atomic(&self) -> bool {
        false
    }

    /// Commands that take an effect back: decided in order on the content that the effect leads to, they lead to `before`, the
    /// content that it was folded into. Guard them where the model can, so that what somebody else did since is discarded and not
    /// overwritten. None where it cannot be taken back, or changed nothing.
    fn inverse(&self, _before: &Self::State, _effect: &[u8]) -> Vec<Vec<u8>> {
        Vec::new()
    }

    /// The canonical encoding: the same bytes for the same content, always.
    fn encode<'s>(&self, state: &'s Self::State) -> Cow<'s, [u8]>;

    /// Reads a canonical encoding.
    ///
    /// # Errors
    /// [`Fault`] where the bytes are not one, or belong to other parameters.
    fn decode(&self, bytes: &[u8]) -> Result<Self::State, Fault>;

    /// A command from JSON, for people and for HTTP.
    ///
    /// # Errors
    /// [`Refusal`] names the member that is wrong.
    fn command_from_json(&self, json: &Value) -> Result<Vec<u8>, Refusal>;

    /// A command as JSON.
    ///
    /// # Errors
    /// [`Refusal`] where the bytes are no command.
    fn command_to_json(&self, command: &[u8]) -> Result<Value, Refusal>;

    /// An effect as JSON; the same as a command unless the model says otherwise.
    ///
    /// # Errors
    /// [`Refusal`] where the bytes are no effect.
    fn effect_to_json(&self, effect: &[u8]) -> Result<Value, Refusal> {
        self.command_to_json(effect)
    }

    /// The content as JSON.
    fn content_to_json(&self, state: &Self::State) -> Value;

    /// The content as a picture, where it is one.
    fn picture(&self, _state: &Self::State) -> Option<Picture> {
        None
    }

    /// The colour of each value, 8-bit RGB, where values have colours.
    fn colors(&self) -> Option<&[[u8; 3]]> {
        None
    }
}

/// A content whose model is not known at compile time.
pub struct Content(Box<dyn AnyState>);

trait AnyState: Any + Send + Sync {
    fn copy(&self) -> Box<dyn AnyState>;
    fn as_any(&self) -> &dyn Any;
    fn as_any_mut(&mut self) -> &mut dyn Any;
}

impl<S: Clone + Send + Sync + 'static> AnyState for S {
    fn copy(&self) -> Box<dyn AnyState> {
        Box::new(self.clone())
    }
    fn as_any(&self) -> &dyn Any {
        self
    }
    fn as_any_mut(&mut self) -> &mut dyn Any {
        self
    }
}

impl Content {
    /// Wraps a state.
    pub fn new<S: Clone + Send + Sync + 'static>(state: S) -> Self {
        Self(Box::new(state))
    }

    /// The state, if it is of this type.
    #[must_use]
    pub fn get<S: 'static>(&self) -> Option<&S> {
        // `as_ref` first: a Box<dyn AnyState> is itself an AnyState.
        self.0.as_ref().as_any().downcast_ref()
    }

    /// The state, if it is of this type.
    #[must_use]
    pub fn get_mut<S: 'static>(&mut self) -> Option<&mut S> {
        self.0.as_mut().as_any_mut().downcast_mut()
    }
}

impl Clone for Content {
    fn clone(&self) -> Self {
        Self(self.0.as_ref().copy())
    }
}

impl std::fmt::Debug for Content {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Content")
    }
}

/// A [`Model`] behind a pointer; implemented for every model. A content must come from the same model: with another's,
/// it answers with a fault, an empty encoding or a discard. What only servers ask is left out of a browser's core, which would carry
/// it for nothing (docs/decisions/0011).
#[allow(missing_docs)]
pub trait AnyModel: Send + Sync + 'static {
    fn initial(&self, chunk: &ChunkId) -> Content;
    #[cfg(not(target_family = "wasm"))]
    fn check(&self, command: &[u8]) -> Result<(), Refusal>;
    #[cfg(not(target_family = "wasm"))]
    fn cost(&self, command: &[u8]) -> u32;
    fn decide<'c>(&self, content: &Content, context: &Context<'_>, command: &'c [u8]) -> Decision<'c>;
    fn fold(&self, content: &mut Content, effect: &[u8]) -> Result<(), Fault>;
    fn fold_is_atomic(&self) -> bool;
    fn inverse(&self, before: &Content, effect: &[u8]) -> Vec<Vec<u8>>;
    fn encode<'s>(&self, content: &'s Content) -> Cow<'s, [u8]>;
    fn decode(&self, bytes: &[u8]) -> Result<Content, Fault>;
    fn command_from_json(&self, json: &Value) -> Result<Vec<u8>, Refusal>;
    #[cfg(not(target_family = "wasm"))]
    fn command_to_json(&self, command: &[u8]) -> Result<Value, Refusal>;
    #[cfg(not(target_family = "wasm"))]
    fn effect_to_json(&self, effect: &[u8]) -> Result<Value, Refusal>;
    fn content_to_json(&self, content: &Content) -> Value;
    #[cfg(not(target_family = "wasm"))]
    fn picture(&self, content: &Content) -> Option<Picture>;
    fn colors(&self) -> Option<&[[u8; 3]]>;
}

fn foreign() -> Fault {
    Fault("this content belongs to another model".into())
}

impl<M: Model> AnyModel for M {
    fn initial(&self, chunk: &ChunkId) -> Content {
        Content::new(Model::initial(self, chunk))
    }
    #[cfg(not(target_family = "wasm"))]
    fn check(&self, command: &[u8]) -> Result<(), Refusal> {
        Model::check(self, command)
    }
    #[cfg(not(target_family = "wasm"))]
    fn cost(&self, command: &[u8]) -> u32 {
        Model::cost(self, command)
    }
    fn decide<'c>(&self, content: &Content, context: &Context<'_>, command: &'c [u8]) -> Decision<'c> {
        match content.get::<M::State>() {
            Some(state) => Model::decide(self, state, context, command),
            None => Decision::Discarded { reason: DiscardReason::ModelFault, detail: foreign().0 },
        }
    }
    fn fold(&self, content: &mut Content, effect: &[u8]) -> Result<(), Fault> {
        Model::fold(self, content.get_mut::<M::State>().ok_or_else(foreign)?, effect)
    }
    fn fold_is_atomic(&self) -> bool {
        Model::fold_is_atomic(self)
    }
    fn inverse(&self, before: &Content, effect: &[u8]) -> Vec<Vec<u8>> {
        before.get::<M::State>().map(|before| Model::inverse(self, before, effect)).unwrap_or_default()
    }
    fn encode<'s>(&self, content: &'s Content) -> Cow<'s, [u8]> {
        content.get::<M::State>().map_or(Cow::Borrowed(&[]), |state| Model::encode(self, state))
    }
    fn decode(&self, bytes: &[u8]) -> Result<Content, Fault> {
        Model::decode(self, bytes).map(Content::new)
    }
    fn command_from_json(&self, json: &Value) -> Result<Vec<u8>, Refusal> {
        Model::command_from_json(self, json)
    }
    #[cfg(not(target_family = "wasm"))]
    fn command_to_json(&self, command: &[u8]) -> Result<Value, Refusal> {
        Model::command_to_json(self, command)
    }
    #[cfg(not(target_family = "wasm"))]
    fn effect_to_json(&self, effect: &[u8]) -> Result<Value, Refusal> {
        Model::effect_to_json(self, effect)
    }
    fn content_to_json(&self, content: &Content) -> Value {
        content.get::<M::State>().map_or(Value::Null, |state| Model::content_to_json(self, state))
    }
    #[cfg(not(target_family = "wasm"))]
    fn picture(&self, content: &Content) -> Option<Picture> {
        content.get::<M::State>().and_then(|state| Model::picture(self, state))
    }
    fn colors(&self) -> Option<&[[u8; 3]]> {
        Model::colors(self)
    }
}

/// Makes a model out of a family's parameters.
pub type Constructor =
    Arc<dyn Fn(&serde_json::Map<String, Value>) -> Result<Arc<dyn AnyModel>, ParameterError> + Send + Sync>;

/// The models that a process knows, by name. A user's own model is registered here.
#[derive(Clone)]
pub struct Models(Vec<(&'static str, u32, Constructor)>);

impl Models {
    /// No models.
    pub(crate) fn none() -> Self {
        Self(Vec::new())
    }

    /// Adds a model, or replaces the one of that name. `revision` counts changes to what the model decides or encodes.
    pub fn register<M: Model>(
        &mut self,
        id: &'static str,
        revision: u32,
        make: impl Fn(&serde_json::Map<String, Value>) -> Result<M, ParameterError> + Send + Sync + 'static,
    ) {
        let make: Constructor = Arc::new(move |parameters| Ok(Arc::new(make(parameters)?) as Arc<dyn AnyModel>));
        self.0.retain(|(other, ..)| *other != id);
        let at = self.0.iter().take_while(|(other, ..)| *other < id).count();
        self.0.insert(at, (id, revision, make));
    }

    /// The revision and constructor of a model.
    #[must_use]
    pub fn get(&self, id: &str) -> Option<(u32, &Constructor)> {
        self.0.iter().find(|(other, ..)| *other == id).map(|(_, revision, make)| (*revision, make))
    }

    /// All names with their revisions, in order.
    pub fn list(&self) -> impl Iterator<Item = (&'static str, u32)> + '_ {
        self.0.iter().map(|(id, revision, _)| (*id, *revision))
    }
}
