//! The rules of a chunk's content.
//!
//! A [`Model`] is total and deterministic. Any bytes give a result or an error, never a panic. The
//! same arguments give the same bytes on every machine. The time that a call takes is bounded by
//! the sizes of command and content. A value of a type that implements [`Model`] holds the
//! parameters of one family. Code that serves all families uses [`AnyModel`], the same trait for
//! trait objects.

use driftless_schemas::ChunkId;
use driftless_schemas::proto::DiscardReason;
use serde_json::Value;
use std::any::Any;
use std::borrow::Cow;
use std::sync::Arc;

/// The arguments of a decision in addition to the state and the command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Context<'a> {
    /// The chunk.
    pub chunk: &'a ChunkId,
    /// The user who sent the command.
    pub author: &'a str,
    /// The roles that the user's token named.
    pub roles: &'a [String],
    /// The time at which ingest received the command, milliseconds since the Unix epoch.
    pub received_at_ms: i64,
    /// A random seed, derived from the command's partition and offset, so that every process
    /// computes the same one.
    pub seed: u64,
}

/// The outcome that a model gives to a command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decision<'c> {
    /// The command is committed with this effect. An effect may borrow from the command, and often
    /// is the command itself.
    Committed(Cow<'c, [u8]>),
    /// The command has no effect.
    Discarded {
        /// The reason, for programs.
        reason: DiscardReason,
        /// Details for people, such as the cell or the key.
        detail: String,
    },
}

/// The reason why a model refuses a command.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Refusal(pub String);

/// The reason why a model cannot use an effect or a canonical encoding. No model made those bytes,
/// or a different one did.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Fault(pub String);

/// The reason why a model refuses a family's parameters.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("parameters.{key}: {problem}")]
pub struct ParameterError {
    /// The key among the parameters.
    pub key: String,
    /// The fault, and what would be right.
    pub problem: String,
}

/// A content as a picture: 8-bit RGB, row by row from the top.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Picture {
    /// The number of pixels in a row.
    pub width: u32,
    /// The number of rows.
    pub height: u32,
    /// The pixels, each 3 bytes: red, green, blue.
    pub rgb: Vec<u8>,
}

/// The rules of one family's content.
pub trait Model: Send + Sync + 'static {
    /// The content in memory.
    type State: Clone + Send + Sync + 'static;

    /// The content at version 0.
    fn initial(&self, chunk: &ChunkId) -> Self::State;

    /// Checks the form of a command without any state. Ingest calls this method, and refuses the
    /// command if the check fails.
    ///
    /// # Errors
    /// [`Refusal`] names the fault and what would be right.
    fn check(&self, command: &[u8]) -> Result<(), Refusal>;

    /// The cost of a command: the work of deciding and folding it, in units of the work for one
    /// cell. A small command may have a high cost. Ingest limits the cost of each user's commands
    /// per second. This method is called only for commands that `check` accepts.
    fn cost(&self, _command: &[u8]) -> u32 {
        1
    }

    /// Decides a command. This method is called with any bytes, also with commands that `check`
    /// refuses.
    fn decide<'c>(&self, state: &Self::State, context: &Context<'_>, command: &'c [u8]) -> Decision<'c>;

    /// Applies an effect to the state.
    ///
    /// # Errors
    /// [`Fault`] if `decide` would never make this effect.
    fn fold(&self, state: &mut Self::State, effect: &[u8]) -> Result<(), Fault>;

    /// True if `fold` never panics, and leaves the state unchanged when it returns an error. If
    /// false, callers copy the state before each fold, so that they can restore it.
    fn fold_is_atomic(&self) -> bool {
        false
    }

    /// Builds the commands that undo an effect. Decided in order on the content after the effect,
    /// these commands lead back to `before`, the content before the effect. Guard them where the
    /// model can, so that they are discarded instead of overwriting another user's later edit.
    /// Empty if the effect cannot be undone, or changed nothing.
    fn inverse(&self, _before: &Self::State, _effect: &[u8]) -> Vec<Vec<u8>> {
        Vec::new()
    }

    /// Makes the canonical encoding. Equal contents must have equal encodings on every machine,
    /// because replicas compare the hashes of encodings.
    fn encode<'s>(&self, state: &'s Self::State) -> Cow<'s, [u8]>;

    /// Reads a canonical encoding.
    ///
    /// # Errors
    /// [`Fault`] if the bytes are not a canonical encoding, or if they do not fit this family's
    /// parameters.
    fn decode(&self, bytes: &[u8]) -> Result<Self::State, Fault>;

    /// Reads a command from JSON, for people and for HTTP.
    ///
    /// # Errors
    /// [`Refusal`] names the wrong member.
    fn command_from_json(&self, json: &Value) -> Result<Vec<u8>, Refusal>;

    /// Writes a command as JSON.
    ///
    /// # Errors
    /// [`Refusal`] if the bytes are not a command.
    fn command_to_json(&self, command: &[u8]) -> Result<Value, Refusal>;

    /// Writes an effect as JSON. By default the effect is written as a command.
    ///
    /// # Errors
    /// [`Refusal`] if the bytes are not an effect.
    fn effect_to_json(&self, effect: &[u8]) -> Result<Value, Refusal> {
        self.command_to_json(effect)
    }

    /// Writes the content as JSON.
    fn content_to_json(&self, state: &Self::State) -> Value;

    /// Draws the content as a picture; `None` if the model makes no pictures.
    fn picture(&self, _state: &Self::State) -> Option<Picture> {
        None
    }

    /// The colour of each value, 8-bit RGB; `None` if the model's values have no colours.
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
    /// Wraps the state of a model.
    pub fn new<S: Clone + Send + Sync + 'static>(state: S) -> Self {
        Self(Box::new(state))
    }

    /// The state, if its type is `S`.
    #[must_use]
    pub fn get<S: 'static>(&self) -> Option<&S> {
        // `as_ref` first: a Box<dyn AnyState> is itself an AnyState.
        self.0.as_ref().as_any().downcast_ref()
    }

    /// The state, if its type is `S`.
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

/// A [`Model`] as a trait object, implemented for every model.
///
/// A content that is passed to a method must come from the same model. With another model's content
/// a method returns a fault, an empty encoding or a discard. Methods that only servers call are
/// missing from the browser's core, to keep it small (docs/decisions/0011).
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

/// Makes a model from a family's parameters.
pub type Constructor =
    Arc<dyn Fn(&serde_json::Map<String, Value>) -> Result<Arc<dyn AnyModel>, ParameterError> + Send + Sync>;

/// The models that a process knows, by name. Applications register their own models here.
#[derive(Clone)]
pub struct Models(Vec<(&'static str, u32, Constructor)>);

impl Models {
    /// No models.
    pub(crate) fn none() -> Self {
        Self(Vec::new())
    }

    /// Adds a model, or replaces the model with the same name. `revision` counts the changes of the
    /// model's decisions or encoding.
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

    /// The revision and the constructor of a model; `None` if no model has this name.
    #[must_use]
    pub fn get(&self, id: &str) -> Option<(u32, &Constructor)> {
        self.0.iter().find(|(other, ..)| *other == id).map(|(_, revision, make)| (*revision, make))
    }

    /// The names of all models with their revisions, in the order of the names.
    pub fn list(&self) -> impl Iterator<Item = (&'static str, u32)> + '_ {
        self.0.iter().map(|(id, revision, _)| (*id, *revision))
    }
}
