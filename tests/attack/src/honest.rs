//! The honest client, which no attack may harm: an SDK client that tracks a chunk and edits it
//! after each attack.

use crate::target::Target;
use anyhow::{Context as _, Result, bail, ensure};
use driftless_client::{Chunk, Client, Event, Outcome};
use driftless_e2e_tests::edits::{chunk, set};
use driftless_e2e_tests::history::History;
use driftless_schemas::ChunkId;
use std::collections::BTreeMap;
use std::sync::Mutex;
use std::time::{Duration, Instant};
use tokio::sync::{Mutex as Turn, broadcast};

/// The deadline for the commit of an honest edit. A later commit means that an attack did harm.
pub const WITHIN: Duration = Duration::from_secs(2);
/// How long the client waits for a late edit, so that the report can say how late the edit was.
const LATE_WITHIN: Duration = Duration::from_secs(30);
/// The honest client's name in tokens.
const NAME: &str = "honest";

/// The honest client.
pub struct Honest {
    client: Client,
    chunks: BTreeMap<ChunkId, Chunk>,
    events: Turn<broadcast::Receiver<Event>>,
    told: Mutex<Vec<Told>>,
}

/// An edit and the outcome that the client got for it. The outcome may be *unknown*.
#[derive(Clone)]
struct Told {
    chunk: ChunkId,
    command: Vec<u8>,
    is_committed: bool,
}

impl Honest {
    /// The chunk that the honest client edits after each attack.
    pub const HOME: &str = "canvas/0/0";
    /// A chunk that attackers write to as well.
    pub const SHARED: &str = "canvas/9/9";

    /// Connects the honest client and tracks both chunks.
    ///
    /// # Errors
    /// If a service refuses the client.
    pub async fn connect(target: &Target) -> Result<Self> {
        let client = tokio::time::timeout(LATE_WITHIN, Client::connect(target.settings(NAME))).await??;
        let events = Turn::new(client.events());
        let mut chunks = BTreeMap::new();
        for id in [Self::HOME, Self::SHARED].map(chunk) {
            let tracked = client.track(&id);
            tokio::time::timeout(LATE_WITHIN, tracked.ready()).await.context("a chunk")??;
            chunks.insert(id, tracked);
        }
        Ok(Self { client, chunks, events, told: Mutex::default() })
    }

    /// Makes one edit and returns the time until its commit.
    ///
    /// # Errors
    /// If the edit is not committed within [`WITHIN`].
    pub async fn edit(&self, id: &str) -> Result<Duration> {
        let (id, started) = (chunk(id), Instant::now());
        let took = self.submit(&id).await?.context("nobody knows what became of the honest client's edit")?;
        ensure!(took <= WITHIN, "the honest client's edit took {:?}, {WITHIN:?} are allowed", started.elapsed());
        Ok(took)
    }

    /// Makes one edit, however long it takes, and returns the time until its commit. `None` means
    /// that the outcome is unknown; [`Honest::compare`] later looks for the edit in the log.
    ///
    /// # Errors
    /// If the edit has an outcome other than committed or unknown, or none in time.
    pub async fn submit(&self, id: &ChunkId) -> Result<Option<Duration>> {
        let followed = self.chunks.get(id).context("it is followed")?;
        // Every edit is different, so that the log can be searched for each.
        let number = self.told.lock().map_or(0, |told| told.len()) as u32;
        let (cell, value) = (number % (128 * 128), 1 + number / (128 * 128));
        let (command, started) = (set(cell, value), Instant::now());
        let pending = followed.submit(command.clone())?;
        let is_committed = match tokio::time::timeout(LATE_WITHIN, pending).await {
            Ok(Outcome::Committed { .. }) => true,
            Ok(Outcome::Unknown { .. }) => false,
            Ok(other) => bail!("the honest client's edit ended as {other:?}"),
            Err(_) => bail!("the honest client's edit had no outcome within {LATE_WITHIN:?}"),
        };
        if let Ok(mut told) = self.told.lock() {
            told.push(Told { chunk: id.clone(), command, is_committed });
        }
        Ok(is_committed.then(|| started.elapsed()))
    }

    /// The number of times that the client has reconnected since the last call.
    ///
    /// # Errors
    /// If the client's replica drifted.
    pub async fn reconnects(&self) -> Result<usize> {
        let mut count = 0;
        let mut events = self.events.lock().await;
        loop {
            match events.try_recv() {
                Ok(Event::Welcomed { .. }) => count += 1,
                Ok(Event::Drift { version, .. }) => bail!("the honest client drifted at {version}"),
                Ok(_) | Err(broadcast::error::TryRecvError::Lagged(_)) => {}
                Err(_) => return Ok(count),
            }
        }
    }

    /// Closes the client.
    pub fn close(&self) {
        self.client.close();
    }

    /// Compares the outcomes that the client got with the log, and returns the number of edits.
    /// Each committed edit must be in the log once. Each edit with an unknown outcome may be there
    /// once or not at all.
    ///
    /// # Errors
    /// An error that names the differences.
    pub fn compare(&self, history: &History) -> Result<usize> {
        let told = self.told.lock().map(|told| told.clone()).unwrap_or_default();
        let mut counts: BTreeMap<(&ChunkId, Vec<u8>), usize> = BTreeMap::new();
        for id in self.chunks.keys() {
            for effect in history.commits(id, NAME) {
                *counts.entry((id, effect.to_vec())).or_default() += 1;
            }
        }
        for Told { chunk, command, is_committed } in &told {
            let count = counts.remove(&(chunk, command.clone())).unwrap_or(0);
            ensure!(count <= 1, "{chunk}: an edit was committed {count} times");
            ensure!(count == 1 || !is_committed, "{chunk}: an edit that was told as committed is not in the log");
        }
        ensure!(counts.is_empty(), "the log has {} edits of which the honest client was not told", counts.len());
        Ok(told.len())
    }
}
