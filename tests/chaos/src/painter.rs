//! A client that edits the shared chunks and remembers the outcome of each edit.
//!
//! A painter sets cells and rectangles, and puts and deletes keys. Guards on what the painter sees
//! make the decider discard some edits when other painters edit too. A painter takes back some
//! edits. From time to time it sends edits that ingest never accepts: a cell that does not exist,
//! or a chunk that the painter may not write. Sometimes it submits more edits in a burst than a
//! writer may have undecided at a time (63), so that the client must hold some back.

use anyhow::{Result, ensure};
use driftless_chunk::grid::Cells;
use driftless_chunk::map::Entries;
use driftless_client::{Chunk, ChunkId, ChunkStatus, Client, Conclusion, Event, Outcome, Pending, Settings};
use driftless_e2e_tests::edits;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use serde::Serialize;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::{broadcast, watch};

/// The number of cells that all painters edit, of 16,384 in a grid.
const HOT_CELLS: u32 = 48;
/// The number of keys that all painters edit.
const HOT_KEYS: u32 = 12;
/// The length of a side of a grid in the world of `dev`, in cells.
const SIDE: u32 = 128;
const CELLS: u32 = SIDE * SIDE;
const PALETTE: u32 = 256;
/// The limit on edits without an outcome. A painter with this many waits.
const OPEN_MAX: usize = 300;
const STARTS_WITHIN: Duration = Duration::from_secs(90);

/// An edit with its outcome, as a line for the checker.
#[derive(Clone, Debug, Serialize)]
pub struct Line {
    /// The painter's name.
    pub client: String,
    /// The user that made the edit.
    pub author: String,
    /// The chunk that was edited.
    #[serde(serialize_with = "as_text")]
    pub chunk: ChunkId,
    /// The writer under which the edit was last sent; null if it was never sent.
    pub writer: Option<String>,
    /// The edit's number under that writer; null if it was never sent.
    pub seq: Option<u64>,
    /// `committed`, `discarded`, `rejected`, `withdrawn` or `unknown`.
    pub outcome: &'static str,
    /// The version that the edit's commit made; null if it was not committed or the version is not
    /// known.
    pub version: Option<u64>,
    /// Why the edit has this outcome. This is the name of the reason in the log or on the wire; for
    /// an unknown outcome it is the cause.
    pub reason: String,
    /// Details that only people read.
    pub detail: String,
    /// True if ingest acknowledged the edit.
    pub is_receipted: bool,
    /// The history in which the client got the outcome: 32 hex digits, or empty for the first one.
    pub history: String,
    /// When the client reported the outcome.
    #[serde(skip)]
    pub at: Instant,
}

/// Serializes a chunk id as text.
pub(crate) fn as_text<S: serde::Serializer>(id: &ChunkId, to: S) -> Result<S::Ok, S::Error> {
    to.collect_str(id)
}

/// A painter's edits, with and without an outcome, and the faults of its client.
#[derive(Default)]
pub struct Book(Mutex<Pages>);

/// The content of a [`Book`].
#[derive(Default)]
pub struct Pages {
    next: u64,
    /// Edits without an outcome, by number: a description, and the time at which the edit was
    /// submitted.
    pub open: BTreeMap<u64, (String, Instant)>,
    /// Edits with an outcome.
    pub lines: Vec<Line>,
    /// The history of each chunk, unless it is the first one.
    pub histories: BTreeMap<ChunkId, String>,
    /// The number of changes of histories that the client has reported, by chunk.
    pub changes: BTreeMap<ChunkId, usize>,
    /// Faults of the client: a drift, a chunk that it gave up, or the end of the client.
    pub faults: Vec<String>,
}

impl Book {
    /// Locks the book and returns its content.
    pub fn pages(&self) -> MutexGuard<'_, Pages> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn open(&self, what: String) -> u64 {
        let mut pages = self.pages();
        pages.next += 1;
        let id = pages.next;
        pages.open.insert(id, (what, Instant::now()));
        id
    }

    fn end(&self, id: u64, mut line: Line) {
        let mut pages = self.pages();
        line.history = pages.histories.get(&line.chunk).cloned().unwrap_or_default();
        pages.open.remove(&id);
        pages.lines.push(line);
    }

    fn fault(&self, what: String) {
        self.pages().faults.push(what);
    }
}

impl Pages {
    /// The number of submitted edits.
    #[must_use]
    pub fn submitted(&self) -> usize {
        self.open.len() + self.lines.len()
    }

    /// The number of edits that have this outcome.
    #[must_use]
    pub fn count(&self, outcome: &str) -> usize {
        self.lines.iter().filter(|line| line.outcome == outcome).count()
    }
}

/// The order that all painters follow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// Edit.
    Paint,
    /// Submit no edit for the moment.
    Rest,
    /// Submit no further edit.
    End,
}

/// A painter: a client, its replicas, and its random edits.
pub struct Painter {
    /// The painter's name, which is also the user's name.
    pub name: String,
    /// The outcomes that the painter's client reported.
    pub book: Arc<Book>,
    client: Client,
    chunks: Vec<Chunk>,
    forbidden: Chunk,
    rng: StdRng,
    count: u64,
}

impl Painter {
    /// Connects a painter and tracks all chunks. `forbidden` is a chunk that the painter may only
    /// read.
    ///
    /// # Errors
    /// If the services refuse the client.
    pub async fn start(
        name: String,
        settings: Settings,
        chunks: &[ChunkId],
        forbidden: &ChunkId,
        seed: u64,
    ) -> Result<Self> {
        let starting = async {
            let client = Client::connect(settings).await?;
            let book = Arc::new(Book::default());
            tokio::spawn(listen(name.clone(), client.events(), Arc::clone(&book)));
            let chunks: Vec<Chunk> = chunks.iter().map(|id| client.track(id)).collect();
            let forbidden = client.track(forbidden);
            for chunk in chunks.iter().chain([&forbidden]) {
                chunk.ready().await?;
            }
            anyhow::Ok(Self { name, book, client, chunks, forbidden, rng: StdRng::seed_from_u64(seed), count: 0 })
        };
        tokio::time::timeout(STARTS_WITHIN, starting).await?
    }

    /// The painter's replicas.
    #[must_use]
    pub fn chunks(&self) -> &[Chunk] {
        &self.chunks
    }

    /// Edits until the order is to end.
    ///
    /// # Errors
    /// If an edit cannot even be submitted.
    pub async fn paint(&mut self, mut orders: watch::Receiver<Order>) -> Result<()> {
        loop {
            let pause = Duration::from_millis(self.rng.random_range(20..220));
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                _ = orders.wait_for(|order| *order == Order::End) => break,
            }
            // While the lock is held, no edit begins that the order does not allow.
            let order = orders.borrow();
            if *order != Order::Paint || self.book.pages().open.len() >= OPEN_MAX {
                continue;
            }
            let (chunk, _) = self.any_chunk();
            let many = if self.rng.random_range(0..100) < 2 { self.rng.random_range(20..90) } else { 1 };
            for _ in 0..many {
                self.edit(&chunk)?;
            }
        }
        Ok(())
    }

    fn any_chunk(&mut self) -> (Chunk, usize) {
        let at = self.rng.random_range(0..self.chunks.len());
        (self.chunks[at].clone(), at)
    }

    fn edit(&mut self, chunk: &Chunk) -> Result<()> {
        let is_grid = chunk.id().family() == "canvas";
        let dice: u32 = self.rng.random_range(0..100);
        let command = match (dice, is_grid) {
            (0..3, true) => edits::set(CELLS + self.rng.random_range(0..9), 1),
            (0..3, false) => edits::put(&"k".repeat(2_000), "a key that is too long"),
            (3..40, true) => self.guarded_cells(chunk),
            (3..40, false) => self.guarded_key(chunk),
            (40..90, true) => {
                let count = self.rng.random_range(1..8);
                let cells: Vec<_> = (0..count).map(|_| (self.cell(), self.value(), None)).collect();
                edits::set_many(&cells)
            }
            (90.., true) => {
                let [x, y] = [0; 2].map(|_: u32| self.rng.random_range(0..SIDE - 16));
                edits::fill([x, y], [self.rng.random_range(1..16), self.rng.random_range(1..16)], self.value())
            }
            (40.., false) => {
                self.count += 1;
                edits::put(&self.key(), &format!("{} {}", self.name, self.count))
            }
        };
        let is_forbidden = self.rng.random_range(0..200) == 0;
        let (target, command) =
            if is_forbidden { (self.forbidden.clone(), edits::set(0, 1)) } else { (chunk.clone(), command) };
        let pending = target.submit(command);
        ensure!(pending.is_ok(), "{}: an edit of {} is not taken: {:?}", self.name, target.id(), pending.err());
        if let Ok(pending) = pending {
            let dice = self.rng.random_range(0..100);
            let cancel_after = (dice < 6).then(|| Duration::from_millis(self.rng.random_range(0..400)));
            self.follow(pending, &target, cancel_after);
        }
        Ok(())
    }

    fn follow(&self, pending: Pending, chunk: &Chunk, cancel_after: Option<Duration>) {
        let (book, client, chunk) = (Arc::clone(&self.book), self.name.clone(), chunk.id().clone());
        let id = book.open(format!("{client} {chunk} command {}", pending.id().0));
        tokio::spawn(async move {
            if let Some(after) = cancel_after {
                // If the delay is zero, the edit is withdrawn before it gets a number.
                if !after.is_zero() {
                    tokio::time::sleep(after).await;
                }
                pending.cancel();
            }
            let conclusion = pending.conclusion().await;
            book.end(id, line(client, chunk, conclusion));
        });
    }

    fn cell(&mut self) -> u32 {
        self.rng.random_range(0..HOT_CELLS) * 7
    }

    fn value(&mut self) -> u32 {
        self.rng.random_range(0..PALETTE)
    }

    fn key(&mut self) -> String {
        format!("key-{}", self.rng.random_range(0..HOT_KEYS))
    }

    fn guarded_cells(&mut self, chunk: &Chunk) -> Vec<u8> {
        let cells: Vec<u32> = (0..self.rng.random_range(1..3)).map(|_| self.cell()).collect();
        let seen = chunk.with_view(|view| {
            let all = view.content.get::<Cells>()?;
            Some(cells.iter().filter_map(|cell| all.values().nth(*cell as usize)).map(u32::from).collect::<Vec<_>>())
        });
        let seen = seen.flatten().unwrap_or_default();
        let guarded: Vec<_> = cells.into_iter().zip(seen).map(|(cell, now)| (cell, self.value(), Some(now))).collect();
        match guarded[..] {
            // The client sees no value in any of these cells yet, so the painter has no value to
            // guard.
            [] => edits::set(self.cell(), self.value()),
            _ => edits::set_many(&guarded),
        }
    }

    fn guarded_key(&mut self, chunk: &Chunk) -> Vec<u8> {
        let key = self.key();
        let seen = chunk.with_view(|view| view.content.get::<Entries>().and_then(|all| all.get(&key).cloned()));
        self.count += 1;
        match seen.flatten() {
            Some(now) if self.rng.random_range(0..3) == 0 => edits::delete_if(&key, &now),
            now => edits::put_if(&key, &format!("{} {}", self.name, self.count), now.as_deref()),
        }
    }

    /// Closes the client. Edits without an outcome end as unknown.
    pub fn close(&self) {
        self.client.close();
    }
}

fn line(client: String, chunk: ChunkId, conclusion: Conclusion) -> Line {
    let Conclusion { outcome, number, is_receipted } = conclusion;
    let none = String::new;
    let (outcome, version, reason, detail) = match outcome {
        Outcome::Committed { version } => ("committed", version.map(|version| version.0), none(), none()),
        Outcome::Discarded { reason, detail } => ("discarded", None, reason.as_str_name().to_owned(), detail),
        Outcome::Rejected { code, message } => ("rejected", None, code.as_str_name().to_owned(), message),
        Outcome::Withdrawn => ("withdrawn", None, none(), none()),
        Outcome::Unknown { reason } => ("unknown", None, reason, none()),
    };
    Line {
        author: client.clone(),
        client,
        chunk,
        writer: number.map(|number| number.writer.to_string()),
        seq: number.map(|number| number.seq.0),
        outcome,
        version,
        reason,
        detail,
        is_receipted,
        history: String::new(),
        at: Instant::now(),
    }
}

/// Records drifts and other faults that the client reports.
async fn listen(name: String, mut events: broadcast::Receiver<Event>, book: Arc<Book>) {
    loop {
        match events.recv().await {
            Ok(Event::Drift { chunk, version, expected, found }) => {
                book.fault(format!("R10: {name}: {chunk} drifted at version {version}: {expected:?}, found {found}"));
            }
            Ok(Event::Status { chunk, status: ChunkStatus::Failed { message } }) => {
                book.fault(format!("{name}: {chunk} was given up: {message}"));
            }
            Ok(Event::Status { chunk, status: ChunkStatus::Rejected { code, message } }) => {
                book.fault(format!("{name}: {chunk} is not served: {code:?} {message}"));
            }
            Ok(Event::HistoryChanged { chunk, .. }) => *book.pages().changes.entry(chunk).or_default() += 1,
            Ok(Event::Fatal { message }) => book.fault(format!("{name}: the client ended: {message}")),
            Ok(_) | Err(broadcast::error::RecvError::Lagged(_)) => {}
            Err(broadcast::error::RecvError::Closed) => return,
        }
    }
}
