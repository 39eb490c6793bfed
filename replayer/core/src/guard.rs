//! The one place from which an owner calls a model.
//!
//! A model is code of the deployment's own: it may panic, and it may never return. [`Calls`] tells
//! the watchdog which call begins ([`Working`]), and turns a panic into [`ModelPanicked`].
//! [`Guarded`] keeps a live chunk or a replica, whose methods call the model, to itself and lends
//! it to [`Guarded::run`] only. The rest of the core holds guarded values, so that it cannot call a
//! model in any other way. What a panic leaves behind may be broken: the caller of [`Guarded::run`]
//! replaces it, or ends the ownership.

use crate::working::{Call, Working};
use driftless_chunk::live::{Asked, Decided, LiveChunk};
use driftless_chunk::replica::{ApplyError, Replica};
use driftless_schemas::stored::{StoredLedger, StoredRef};
use driftless_schemas::{ChunkId, Offset, Partition, Version};
use std::panic::{AssertUnwindSafe, catch_unwind};

/// Calls into the model of one chunk.
#[derive(Clone, Copy)]
pub(crate) struct Calls<'a> {
    working: &'a Working,
    chunk: &'a ChunkId,
}

/// A model panicked during this call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("its model panicked while {0}")]
pub(crate) struct ModelPanicked(Call);

/// Why a content could not be restored, or a record could not be folded into it.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RestoreError {
    #[error(transparent)]
    Panicked(#[from] ModelPanicked),
    #[error(transparent)]
    Apply(#[from] ApplyError),
    /// A record of `updates` cannot be read.
    #[error("{0}")]
    Record(String),
}

/// A value whose methods call a model.
pub(crate) struct Guarded<T>(T);

impl RestoreError {
    /// True if the failed call has not changed the content.
    pub fn leaves_content_intact(&self) -> bool {
        matches!(self, Self::Record(_) | Self::Apply(ApplyError::Gap { .. } | ApplyError::Format(_)))
    }
}

impl<'a> Calls<'a> {
    pub fn of(working: &'a Working, chunk: &'a ChunkId) -> Self {
        Self { working, chunk }
    }

    fn run<R>(self, call: Call, calls_model: impl FnOnce() -> R) -> Result<R, ModelPanicked> {
        self.working.call(self.chunk, call);
        catch_unwind(AssertUnwindSafe(calls_model)).map_err(|_| ModelPanicked(call))
    }
}

impl<T> Guarded<T> {
    /// Makes a guarded value with the help of its model. The second value that `make` returns is
    /// given back unguarded.
    pub fn make<R, E>(
        calls: Calls<'_>,
        call: Call,
        make: impl FnOnce() -> Result<(T, R), E>,
    ) -> Result<Result<(Self, R), E>, ModelPanicked> {
        Ok(calls.run(call, make)?.map(|(value, about)| (Self(value), about)))
    }

    /// Runs a function that may call the value's model.
    pub fn run<R>(
        &mut self,
        calls: Calls<'_>,
        call: Call,
        calls_model: impl FnOnce(&mut T) -> R,
    ) -> Result<R, ModelPanicked> {
        calls.run(call, || calls_model(&mut self.0))
    }
}

impl Guarded<Replica> {
    /// Copies the replica. The call is guarded because the model's code copies the content.
    pub fn copy(&mut self, calls: Calls<'_>) -> Result<Self, ModelPanicked> {
        self.run(calls, Call::Restore, |replica| replica.clone()).map(Self)
    }

    pub fn version(&self) -> Version {
        self.0.version()
    }
}

impl Guarded<LiveChunk> {
    /// Makes a live chunk with the version and ledger of the ref `stored`, whose content is lost,
    /// and with the older content of a replica.
    pub fn with_older_content(older: Guarded<Replica>, stored: &StoredRef) -> Result<Self, ApplyError> {
        LiveChunk::restore_without_content(older.0, stored).map(Self)
    }

    pub fn replace_content(&mut self, rebuilt: Guarded<Replica>) {
        self.0.replica = rebuilt.0;
    }

    /// Decides one command with [`LiveChunk::decide`], which catches the panics of a model itself.
    pub fn decide(&mut self, calls: Calls<'_>, partition: Partition, asked: &Asked) -> Option<Decided> {
        calls.working.call(calls.chunk, Call::Decide(asked.offset));
        self.0.decide(calls.chunk, partition, asked)
    }

    pub fn version(&self) -> Version {
        self.0.replica.version()
    }

    pub fn through_offset(&self) -> Offset {
        self.0.through_offset
    }

    pub fn ledger_writers(&self) -> usize {
        self.0.ledger.len()
    }

    pub fn stored_ledger(&self) -> StoredLedger {
        self.0.ledger.to_stored()
    }

    /// From now on, the content is encoded after each command: see [`LiveChunk::is_careful`].
    pub fn be_careful(&mut self) {
        self.0.is_careful = true;
    }
}
