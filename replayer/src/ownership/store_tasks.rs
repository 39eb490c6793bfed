//! Tasks that load and store objects for an ownership and report the results to it.

use super::Ownership;
use crate::report::Report;
use bytes::Bytes;
use driftless_replayer_core::{Input, LoadError, OlderError, Stored};
use driftless_schemas::stored::StoredRef;
use driftless_schemas::{ChunkId, Hash};
use driftless_store::Store;
use driftless_store::index::Index;
use std::sync::Arc;

impl Ownership {
    /// Runs a task in the background. Its result becomes an input of the core.
    pub(super) fn spawn(&self, task: impl Future<Output = Input> + Send + 'static) {
        let reports = self.reports.clone();
        tokio::spawn(async move {
            // An ownership that has ended needs no report.
            let _ = reports.send(Report::Input(task.await));
        });
    }

    /// Loads a chunk's newest stored state.
    pub(super) fn load(&self, chunk: ChunkId) {
        let (index, context) = (Arc::clone(&self.index), Arc::clone(&self.context));
        let own_permits = Arc::clone(&self.load_permits);
        self.spawn(async move {
            // The semaphores are never closed.
            let _own = own_permits.acquire().await;
            let _permit = context.store_permits.acquire().await;
            let loaded = load(&index, &context.store, &chunk).await;
            Input::Loaded(chunk, loaded)
        });
    }

    /// Loads the object of an older ref.
    pub(super) fn load_older(&self, chunk: ChunkId, stored: StoredRef) {
        let context = Arc::clone(&self.context);
        self.spawn(async move {
            let _permit = context.store_permits.acquire().await;
            let loaded = context.store.stored(&stored).await.map(|snapshot| snapshot.encoding).map_err(|e| {
                tracing::warn!(%chunk, "cannot load an older state: {e}");
                if e.is_lost() { OlderError::Lost } else { OlderError::Unavailable }
            });
            Input::OlderLoaded(chunk, loaded)
        });
    }

    /// Stores a snapshot.
    pub(super) fn put_snapshot(&self, chunk: ChunkId, hash: Hash, encoding: Bytes) {
        let context = Arc::clone(&self.context);
        self.spawn(async move {
            let _permit = context.store_permits.acquire().await;
            let stored = context.store.put_snapshot(hash, &encoding).await.map_err(|e| e.to_string());
            if let Err(reason) = &stored {
                tracing::warn!(%chunk, "cannot store a snapshot, trying again later: {reason}");
            }
            Input::SnapshotPut(chunk, hash, stored)
        });
    }

    /// Stores the object of an announced snapshot again, because the store has lost or damaged it.
    /// The core expects no report: a gateway that still misses the object asks for a check again.
    pub(super) fn repair(&self, chunk: ChunkId, hash: Hash, encoding: Bytes) {
        let context = Arc::clone(&self.context);
        tokio::spawn(async move {
            let _permit = context.store_permits.acquire().await;
            match context.store.put_snapshot(hash, &encoding).await {
                Ok(()) => tracing::info!(%chunk, %hash, "the snapshot is stored again"),
                Err(e) => tracing::warn!(%chunk, %hash, "the snapshot cannot be stored again: {e}"),
            }
        });
    }
}

async fn load(index: &Index, store: &Store, chunk: &ChunkId) -> Result<Option<Stored>, LoadError> {
    let entry = index.entry(chunk).await.map_err(|e| LoadError::Unavailable(e.to_string()))?;
    let Some(entry) = entry else { return Ok(None) };
    match store.stored(&entry.newest).await {
        Ok(snapshot) => Ok(Some(Stored { entry, encoding: snapshot.encoding })),
        Err(e) if e.is_lost() => Err(LoadError::Lost { entry: Box::new(entry), reason: e.to_string() }),
        Err(e) => Err(LoadError::Unavailable(e.to_string())),
    }
}
