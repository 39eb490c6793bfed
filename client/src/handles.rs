//! What the user holds: a client, its chunks, and commands on their way.

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

/// Why something cannot go on.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The client ended for good: connect anew, with what the message asks for.
    #[error("the client ended: {0}")]
    Ended(String),
    /// The chunk is not served; track it again once the reason is gone.
    #[error("the chunk is not served: {0:?}")]
    Chunk(ChunkStatus),
}

/// One user's connection to one world. Clones share it; it ends with the last clone, chunk and [`Client::close`].
#[derive(Clone)]
pub struct Client(Arc<Inner>);

struct Inner {
    shared: Arc<Shared>,
    /// One per tracked chunk, so that the last handle untracks.
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
        // Somebody may have tracked it again meanwhile.
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
    /// Connects, and waits until both servers have welcomed the client. Put a time limit around it.
    ///
    /// # Errors
    /// [`Error::Ended`] where a server says that this cannot work.
    pub async fn connect(settings: Settings) -> Result<Self, Error> {
        let client = Self::start(settings);
        client.connected().await?;
        Ok(client)
    }

    /// Starts to connect, and does not wait. Must be called within a tokio runtime.
    #[must_use]
    pub fn start(settings: Settings) -> Self {
        let shared = Arc::new(Shared::new(settings));
        tokio::spawn(sockets::run(Arc::clone(&shared)));
        Self(Arc::new(Inner { shared, tracked: Mutex::new(HashMap::new()) }))
    }

    /// Waits until both servers have welcomed the client. Put a time limit around it: [`Client::status`] then says which of
    /// them did not.
    ///
    /// # Errors
    /// [`Error::Ended`] where a server says that this cannot work.
    pub async fn connected(&self) -> Result<(), Error> {
        let mut status = self.0.shared.status.subscribe();
        let is_ready = |s: &Status| (s.is_ingest_up && s.is_gateway_up) || s.ended.is_some();
        let ended = status.wait_for(is_ready).await.map_or(None, |status| status.ended.clone());
        ended.map_or(Ok(()), |reason| Err(Error::Ended(reason)))
    }

    /// Follows a chunk, until the last clone of the handle is gone and its commands have their outcomes. Asks again for
    /// one that was rejected.
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

    /// How it is doing now.
    #[must_use]
    pub fn status(&self) -> Status {
        self.0.shared.status.borrow().clone()
    }

    /// Everything that happens, from now on. A listener that is more than 1,024 events behind misses some.
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

    /// Ends it now: what was not sent yet is withdrawn, what is open ends as unknown. [`Self::drain`] first.
    pub fn close(&self) {
        self.0.shared.close();
    }

    /// For tests: drops the TCP connection without a word.
    #[doc(hidden)]
    pub fn debug_drop_socket(&self, socket: Socket) {
        self.0.shared.signals(socket).drop.notify_one();
    }

    /// For tests: both.
    #[doc(hidden)]
    pub fn debug_drop_sockets(&self) {
        self.debug_drop_socket(Socket::Ingest);
        self.debug_drop_socket(Socket::Gateway);
    }
}

/// A chunk that is followed.
#[derive(Clone)]
pub struct Chunk {
    handle: Arc<Tracked>,
    changes: watch::Receiver<u64>,
}

/// What a chunk shows: the confirmed replica with the own pending commands on top.
pub struct View<'a> {
    /// The content; `content.get::<State>()` for a model's state.
    pub content: &'a Content,
    /// The chunk's model.
    pub model: &'a Arc<dyn AnyModel>,
    /// Of the confirmed replica below.
    pub version: Version,
}

/// A copy of what a chunk shows.
#[derive(Clone)]
pub struct Snapshot {
    /// The content.
    pub content: Content,
    /// The chunk's model.
    pub model: Arc<dyn AnyModel>,
    /// Of the confirmed replica below.
    pub version: Version,
}

impl Chunk {
    /// Its id.
    #[must_use]
    pub fn id(&self) -> &ChunkId {
        &self.handle.id
    }

    fn shared(&self) -> &Arc<Shared> {
        &self.handle.client.shared
    }

    /// An edit. It is in the view at once; the result is a future of its outcome, which may also be dropped.
    ///
    /// # Errors
    /// [`SubmitError`]: it was not taken at all.
    pub fn submit(&self, command: impl Into<Bytes>) -> Result<Pending, SubmitError> {
        self.shared().update(|state, now| {
            let command = state.core.submit(now, self.id(), command.into())?;
            Ok(self.pending(state, command))
        })
    }

    /// Takes an own commit back by its inverse, which is one or more new edits with outcomes of their own: what somebody else did
    /// there since is kept, and they are discarded. Once for each commit, and only where the model has inverses,
    /// [`Settings::undo_max`] allows it, and the commit was seen as an update; no edits otherwise.
    ///
    /// # Errors
    /// [`SubmitError`] of the first one that is not taken; the ones before it are.
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

    /// Looks at the view without copying it. `None` until there is one. The client waits while `f` runs: be quick, and
    /// do not use the client within.
    pub fn with_view<R>(&self, f: impl FnOnce(View<'_>) -> R) -> Option<R> {
        self.shared().read(|core| {
            let (model, content, version) = core.view(self.id())?;
            Some(f(View { content, model, version }))
        })
    }

    /// A copy of the view.
    #[must_use]
    pub fn snapshot(&self) -> Option<Snapshot> {
        self.with_view(|view| Snapshot {
            content: view.content.clone(),
            model: Arc::clone(view.model),
            version: view.version,
        })
    }

    /// The confirmed replica's version.
    #[must_use]
    pub fn version(&self) -> Option<Version> {
        self.shared().read(|core| core.confirmed(self.id()).map(|replica| replica.version()))
    }

    /// The confirmed replica's state hash.
    #[must_use]
    pub fn hash(&self) -> Option<Hash> {
        self.shared().read(|core| core.hash(self.id()))
    }

    /// Version and hash, taken at once.
    #[must_use]
    pub fn confirmed(&self) -> Option<(Version, Hash)> {
        self.shared().read(|core| core.confirmed(self.id()).map(|replica| (replica.version(), replica.hash())))
    }

    /// Flips a bit of the confirmed replica, to show that drift is found and healed. False where that is not possible.
    /// Debug builds only.
    #[cfg(debug_assertions)]
    pub fn damage(&self) -> bool {
        self.shared().update(|state, now| state.core.damage(now, self.id()))
    }

    /// How it is doing.
    #[must_use]
    pub fn status(&self) -> ChunkStatus {
        // A handle keeps its chunk tracked, but for an ended client.
        let gone = || ChunkStatus::Failed { message: "the client ended".into() };
        self.shared().read(|core| core.status(self.id()).cloned()).unwrap_or_else(gone)
    }

    /// Waits for the next change of view or status since the last call on this handle (or since it was made).
    pub async fn changed(&mut self) {
        // The sender lives as long as the handle.
        if self.changes.changed().await.is_err() {
            std::future::pending().await
        }
    }

    /// Waits until it follows the log.
    ///
    /// # Errors
    /// [`Error::Chunk`] where it is not served or was given up.
    pub async fn ready(&self) -> Result<(), Error> {
        let mut changes = self.changes.clone();
        loop {
            changes.borrow_and_update();
            match self.status() {
                ChunkStatus::Live => return Ok(()),
                status @ (ChunkStatus::Rejected { .. } | ChunkStatus::Failed { .. }) => {
                    return Err(Error::Chunk(status));
                }
                ChunkStatus::Loading | ChunkStatus::Lagging | ChunkStatus::Reloading { .. } => {}
            }
            if changes.changed().await.is_err() {
                return Err(Error::Ended("the chunk is not tracked any more".into()));
            }
        }
    }
}

/// A command on its way: a future of its outcome. Dropping it changes nothing.
pub struct Pending {
    command: CommandId,
    chunk: Chunk,
    conclusion: oneshot::Receiver<Conclusion>,
}

impl Pending {
    /// The command's local id, as events name it.
    #[must_use]
    pub fn id(&self) -> CommandId {
        self.command
    }

    /// Gives up on it. It leaves the view at once and ends as withdrawn, unless it turns out to be decided already.
    pub fn cancel(&self) {
        self.chunk.shared().update(|state, now| state.core.cancel(now, self.chunk.id(), self.command));
    }

    /// The outcome, and what it was sent under.
    pub async fn conclusion(mut self) -> Conclusion {
        (&mut self.conclusion).await.unwrap_or_else(|_| Conclusion {
            outcome: ended(),
            number: None,
            is_receipted: false,
        })
    }
}

/// Of a command whose client is gone.
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
