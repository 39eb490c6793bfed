//! The handles that the user holds: a client, its chunks, and pending commands.

use crate::conclusion::Conclusion;
use crate::settings::Settings;
use crate::shared::{Shared, State, Status};
use crate::sockets;
use bytes::Bytes;
use driftless_chunk::model::{AnyModel, Content};
use driftless_client_core::{ChunkStatus, CommandId, Event, Outcome, Socket, SubmitError};
use driftless_schemas::{ChunkId, Hash, Version};
use std::collections::HashMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::task::{Context, Poll};
use tokio::sync::{broadcast, oneshot, watch};

/// The reason why a client or a chunk cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The client ended for good. Make a new client; the message says what the new client needs.
    #[error("the client ended: {0}")]
    Ended(String),
    /// The gateway does not serve the chunk, or the client gave the chunk up. Track the chunk again
    /// when the cause is removed.
    #[error("the chunk is not served: {0:?}")]
    Chunk(ChunkStatus),
}

/// The connection of one user to one world. Clones share one connection. The client ends when its
/// last clone and the last handle of its chunks are dropped, or when [`Client::close`] is called.
#[derive(Clone)]
pub struct Client(Arc<Inner>);

struct Inner {
    shared: Arc<Shared>,
    /// An entry per tracked chunk, so that dropping the last handle untracks the chunk.
    tracked: Mutex<HashMap<ChunkId, Weak<Tracked>>>,
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.shared.close();
    }
}

struct Tracked {
    id: ChunkId,
    client: Arc<Inner>,
}

impl Drop for Tracked {
    fn drop(&mut self) {
        let mut tracked = self.client.tracked.lock().unwrap_or_else(PoisonError::into_inner);
        // Another thread may have tracked the chunk again in the meantime.
        if tracked.get(&self.id).is_some_and(|handle| handle.strong_count() == 0) {
            tracked.remove(&self.id);
            self.client.shared.update(|state, now| {
                state.chunks.remove(&self.id);
                state.core.untrack(now, &self.id);
            });
        }
    }
}

impl Client {
    /// Connects, and waits until both servers have welcomed the client. The wait has no limit, so
    /// put a timeout around this call.
    ///
    /// # Errors
    /// [`Error::Ended`] if a server refuses the client for good.
    pub async fn connect(settings: Settings) -> Result<Self, Error> {
        let client = Self::start(settings);
        client.connected().await?;
        Ok(client)
    }

    /// Starts to connect and returns at once. Must be called within a tokio runtime.
    #[must_use]
    pub fn start(settings: Settings) -> Self {
        let shared = Arc::new(Shared::new(settings));
        tokio::spawn(sockets::run(Arc::clone(&shared)));
        Self(Arc::new(Inner { shared, tracked: Mutex::new(HashMap::new()) }))
    }

    /// Waits until both servers have welcomed the client. The wait has no limit, so put a timeout
    /// around this call. After the timeout, [`Client::status`] says which server did not answer.
    ///
    /// # Errors
    /// [`Error::Ended`] if a server refuses the client for good.
    pub async fn connected(&self) -> Result<(), Error> {
        let mut status = self.0.shared.status.subscribe();
        let is_ready = |s: &Status| (s.is_ingest_up && s.is_gateway_up) || s.ended.is_some();
        let ended = status.wait_for(is_ready).await.map_or(None, |status| status.ended.clone());
        ended.map_or(Ok(()), |reason| Err(Error::Ended(reason)))
    }

    /// Tracks a chunk, and tries again if the chunk was rejected or has failed. The client tracks
    /// the chunk until all its handles are dropped and all its commands have their outcomes.
    #[must_use]
    pub fn track(&self, chunk: &ChunkId) -> Chunk {
        let mut tracked = self.0.tracked.lock().unwrap_or_else(PoisonError::into_inner);
        let handle = tracked.get(chunk).and_then(Weak::upgrade).unwrap_or_else(|| {
            let handle = Arc::new(Tracked { id: chunk.clone(), client: Arc::clone(&self.0) });
            tracked.insert(chunk.clone(), Arc::downgrade(&handle));
            handle
        });
        drop(tracked);
        let changes = self.0.shared.update(|state, now| {
            let changes = state.chunks.entry(chunk.clone()).or_insert_with(|| watch::Sender::new(0)).subscribe();
            state.core.track(now, chunk);
            changes
        });
        Chunk { handle, changes }
    }

    /// The client's present status.
    #[must_use]
    pub fn status(&self) -> Status {
        self.0.shared.status.borrow().clone()
    }

    /// Subscribes to all later events. A receiver that is more than 1,024 events behind misses the
    /// oldest events.
    #[must_use]
    pub fn events(&self) -> broadcast::Receiver<Event> {
        self.0.shared.events.subscribe()
    }

    /// Waits until no command is pending.
    pub async fn drain(&self) {
        let mut status = self.0.shared.status.subscribe();
        // The sender lives as long as `self`.
        let _ = status.wait_for(|status| status.pending == 0).await;
    }

    /// Ends the client now. Commands that were never sent end as [`Outcome::Withdrawn`], and
    /// unresolved commands end as [`Outcome::Unknown`]. Call [`Self::drain`] first, so that every
    /// command gets its real outcome.
    pub fn close(&self) {
        self.0.shared.close();
    }

    /// For tests: drops the TCP connection without a close frame.
    #[doc(hidden)]
    pub fn debug_drop_socket(&self, socket: Socket) {
        self.0.shared.signals(socket).drop.notify_one();
    }

    /// For tests: drops both TCP connections.
    #[doc(hidden)]
    pub fn debug_drop_sockets(&self) {
        self.debug_drop_socket(Socket::Ingest);
        self.debug_drop_socket(Socket::Gateway);
    }
}

/// A handle of a tracked chunk.
#[derive(Clone)]
pub struct Chunk {
    handle: Arc<Tracked>,
    changes: watch::Receiver<u64>,
}

/// The view of a chunk: the confirmed replica with this client's pending commands on top.
pub struct View<'a> {
    /// The content. `content.get::<State>()` returns the state of a model whose state has the type
    /// `State`.
    pub content: &'a Content,
    /// The chunk's model.
    pub model: &'a Arc<dyn AnyModel>,
    /// The version of the confirmed replica.
    pub version: Version,
}

/// A copy of a chunk's view.
#[derive(Clone)]
pub struct Snapshot {
    /// The content.
    pub content: Content,
    /// The chunk's model.
    pub model: Arc<dyn AnyModel>,
    /// The version of the confirmed replica.
    pub version: Version,
}

impl Chunk {
    /// The chunk's id.
    #[must_use]
    pub fn id(&self) -> &ChunkId {
        &self.handle.id
    }

    fn shared(&self) -> &Arc<Shared> {
        &self.handle.client.shared
    }

    /// Submits a command. The view shows the command at once. The result is a future of the
    /// outcome. Dropping the future does not cancel the command.
    ///
    /// # Errors
    /// [`SubmitError`] if the command was not accepted. Such a command has no outcome.
    pub fn submit(&self, command: impl Into<Bytes>) -> Result<Pending, SubmitError> {
        self.shared().update(|state, now| {
            let command = state.core.submit(now, self.id(), command.into())?;
            Ok(self.pending(state, command))
        })
    }

    /// Takes one of this client's commits back: submits its inverse, which is one or more new
    /// commands with outcomes of their own. If another client has changed the same content since,
    /// the decider keeps that change and discards the inverse.
    ///
    /// Each commit can be taken back once. Returns no commands if the model has no inverses, if
    /// more than [`Settings::undo_max`] newer commits exist, or if the client did not receive the
    /// commit as an update.
    ///
    /// # Errors
    /// [`SubmitError`] of the first new command that was not accepted. The new commands before that
    /// one were accepted.
    pub fn take_back(&self, command: CommandId) -> Result<Vec<Pending>, SubmitError> {
        self.shared().update(|state, now| {
            let commands = state.core.take_back(now, self.id(), command)?;
            Ok(commands.into_iter().map(|command| self.pending(state, command)).collect())
        })
    }

    fn pending(&self, state: &mut State, command: CommandId) -> Pending {
        let (sender, conclusion) = oneshot::channel();
        state.outcome_senders.insert(command, sender);
        Pending { command, chunk: self.clone(), conclusion }
    }

    /// Reads the view without copying it. `None` until the chunk is loaded. The client is locked
    /// while `f` runs: `f` must be quick and must not use the client.
    pub fn with_view<R>(&self, f: impl FnOnce(View<'_>) -> R) -> Option<R> {
        self.shared().read(|core| {
            let (model, content, version) = core.view(self.id())?;
            Some(f(View { content, model, version }))
        })
    }

    /// A copy of the view; `None` until the chunk is loaded.
    #[must_use]
    pub fn snapshot(&self) -> Option<Snapshot> {
        self.with_view(|view| Snapshot {
            content: view.content.clone(),
            model: Arc::clone(view.model),
            version: view.version,
        })
    }

    /// The confirmed replica's version; `None` until the chunk is loaded.
    #[must_use]
    pub fn version(&self) -> Option<Version> {
        self.shared().read(|core| core.confirmed(self.id()).map(|replica| replica.version()))
    }

    /// The confirmed replica's state hash; `None` until the chunk is loaded.
    #[must_use]
    pub fn hash(&self) -> Option<Hash> {
        self.shared().read(|core| core.hash(self.id()))
    }

    /// The confirmed replica's version and its hash at that version; `None` until the chunk is
    /// loaded.
    #[must_use]
    pub fn confirmed(&self) -> Option<(Version, Hash)> {
        self.shared().read(|core| core.confirmed(self.id()).map(|replica| (replica.version(), replica.hash())))
    }

    /// Flips a bit of the confirmed replica, to show that the client finds and heals drift. Returns
    /// false if no replica is loaded, or if no flipped bit gives a valid content. Only debug builds
    /// have this method.
    #[cfg(debug_assertions)]
    pub fn damage(&self) -> bool {
        self.shared().update(|state, now| state.core.damage(now, self.id()))
    }

    /// The chunk's status.
    #[must_use]
    pub fn status(&self) -> ChunkStatus {
        // A handle keeps its chunk tracked, so the core always has a status of the chunk unless the
        // client ended.
        let gone = || ChunkStatus::Failed { message: "the client ended".into() };
        self.shared().read(|core| core.status(self.id()).cloned()).unwrap_or_else(gone)
    }

    /// Waits for a change of the chunk's view or status. Returns at once if a change has happened
    /// since the last call on this handle, or since the handle was made.
    pub async fn changed(&mut self) {
        // The sender lives as long as the handle.
        if self.changes.changed().await.is_err() {
            std::future::pending().await
        }
    }

    /// Waits until the chunk is live, which means that its replica follows the log.
    ///
    /// # Errors
    /// [`Error::Chunk`] if the chunk is not served, or if the client gave it up.
    pub async fn ready(&self) -> Result<(), Error> {
        let mut changes = self.changes.clone();
        loop {
            changes.borrow_and_update();
            match self.status() {
                ChunkStatus::Live => return Ok(()),
                status @ (ChunkStatus::Rejected { .. } | ChunkStatus::Failed { .. }) => {
                    return Err(Error::Chunk(status));
                }
                ChunkStatus::Loading
                | ChunkStatus::Lagging
                | ChunkStatus::Unavailable { .. }
                | ChunkStatus::Reloading { .. } => {}
            }
            if changes.changed().await.is_err() {
                return Err(Error::Ended("the chunk is no longer tracked".into()));
            }
        }
    }
}

/// A pending command: a future of its outcome. Dropping it does not cancel the command.
pub struct Pending {
    command: CommandId,
    chunk: Chunk,
    conclusion: oneshot::Receiver<Conclusion>,
}

impl Pending {
    /// The command's local id, which events contain.
    #[must_use]
    pub fn id(&self) -> CommandId {
        self.command
    }

    /// Cancels the command. The command leaves the view at once. Its outcome is
    /// [`Outcome::Withdrawn`], unless the log contains a decision of the command.
    pub fn cancel(&self) {
        self.chunk.shared().update(|state, now| state.core.cancel(now, self.chunk.id(), self.command));
    }

    /// Waits for the outcome, together with the number under which the command was sent.
    pub async fn conclusion(mut self) -> Conclusion {
        (&mut self.conclusion).await.unwrap_or_else(|_| Conclusion {
            outcome: ended(),
            number: None,
            is_receipted: false,
        })
    }
}

/// The outcome of a command whose client ended before the outcome was known.
fn ended() -> Outcome {
    Outcome::Unknown { reason: "the client ended".into() }
}

impl Future for Pending {
    type Output = Outcome;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Outcome> {
        let concluded = Pin::new(&mut self.conclusion).poll(context);
        concluded.map(|conclusion| conclusion.map_or_else(|_| ended(), |conclusion| conclusion.outcome))
    }
}
