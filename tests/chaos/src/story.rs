//! A whole run: painters edit during faults, everything comes to rest, final states and outcomes
//! are written to files, and the run is judged.

use crate::cluster::{Cluster, WELL_WITHIN};
use crate::painter::{Line, Order, Painter, as_text};
use crate::report::{Edits, Hashes, Report};
use crate::verdict::{self, Ends, FORBIDDEN, NAMED_MAX, Rest};
use anyhow::{Context, Result, ensure};
use driftless_client::{Chunk, ChunkId};
use driftless_e2e_tests::edits::chunk;
use driftless_schemas::Partition;
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};
use std::io::Write as _;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::watch;
use tokio::task::JoinHandle;

const BETWEEN_LOOKS: Duration = Duration::from_millis(200);
/// The lifetimes of the painters' tokens, in seconds. A token of the first kind must be renewed
/// within a run, and one of the second kind need not.
const TOKEN_LIVES_S: [u32; 2] = [90, 3_600];
/// The painters of a run while they edit.
pub struct Studio {
    painters: Vec<JoinHandle<(Painter, Result<()>)>>,
    books: Vec<Arc<crate::painter::Book>>,
    replicas: Vec<Chunk>,
    orders: watch::Sender<Order>,
}

/// How far the painters have come.
#[derive(Clone, Copy, Debug, Default)]
pub struct Progress {
    /// The number of submitted edits.
    pub submitted: usize,
    /// The number of edits with an outcome.
    pub ended: usize,
    /// The number of committed edits.
    pub committed: usize,
}

impl Studio {
    /// Connects `count` painters to the same few chunks and lets them edit.
    ///
    /// # Errors
    /// If a painter cannot connect.
    pub async fn open(cluster: &Cluster, count: usize, seed: u64) -> Result<Self> {
        let chunks = chunks(cluster);
        let forbidden = chunk(FORBIDDEN);
        let orders = watch::Sender::new(Order::Paint);
        let mut started = Vec::new();
        for i in 0..count {
            let name = format!("painter-{i}");
            let settings = cluster.settings(&name, &chunks, i, TOKEN_LIVES_S[i % TOKEN_LIVES_S.len()]);
            // Painters use other random streams than the lanes of the plan.
            let seed = seed.wrapping_add((i as u64 + 1) << 32);
            started.push(Painter::start(name, settings, &chunks, &forbidden, seed).await?);
        }
        let books = started.iter().map(|painter| Arc::clone(&painter.book)).collect();
        let replicas = started.first().map(|painter| painter.chunks().to_vec()).unwrap_or_default();
        let paint = |mut painter: Painter| {
            let orders = orders.subscribe();
            tokio::spawn(async move {
                let painted = painter.paint(orders).await;
                (painter, painted)
            })
        };
        let painters = started.into_iter().map(paint).collect();
        Ok(Self { painters, books, replicas, orders })
    }

    /// The first chunk that the painters edit in this partition.
    ///
    /// # Errors
    /// If there is none.
    pub fn chunk_of(&self, cluster: &Cluster, partition: usize) -> Result<ChunkId> {
        let is_there = |id: &&ChunkId| {
            cluster.world.place(id).is_ok_and(|place| usize::try_from(place.partition.0) == Ok(partition))
        };
        let found = self.replicas.iter().map(Chunk::id).find(is_there);
        found.cloned().with_context(|| format!("no painter edits a chunk of partition {partition}"))
    }

    /// The progress so far.
    #[must_use]
    pub fn progress(&self) -> Progress {
        let mut all = Progress::default();
        for book in &self.books {
            let pages = book.pages();
            all.submitted += pages.submitted();
            all.ended += pages.lines.len();
            all.committed += pages.count("committed");
        }
        all
    }

    /// Waits until the version of every chunk has risen by `by`. This shows that every chunk has a
    /// decider.
    ///
    /// # Errors
    /// An error that names a chunk whose version does not rise in time.
    pub async fn moves_on(&self, by: u64) -> Result<()> {
        self.moves_on_within(by, WELL_WITHIN).await
    }

    /// Waits like [`Studio::moves_on`], but no longer than `within`.
    ///
    /// # Errors
    /// An error that names a chunk whose version does not rise in time.
    pub async fn moves_on_within(&self, by: u64, within: Duration) -> Result<()> {
        let version = |chunk: &Chunk| chunk.version().map_or(0, |version| version.0);
        let wanted: Vec<u64> = self.replicas.iter().map(|chunk| version(chunk) + by).collect();
        let deadline = Instant::now() + within;
        loop {
            let mut behind = self.replicas.iter().zip(&wanted).filter(|(chunk, wanted)| version(chunk) < **wanted);
            let Some((behind, wanted)) = behind.next() else { return Ok(()) };
            ensure!(
                Instant::now() < deadline,
                "{} stands still for {within:?} at version {} of {wanted}",
                behind.id(),
                version(behind)
            );
            tokio::time::sleep(BETWEEN_LOOKS).await;
        }
    }

    /// Lets the painters edit.
    pub(crate) fn paint(&self) {
        self.orders.send_replace(Order::Paint);
    }

    /// Tells the painters to rest, and waits until each edit has its outcome.
    ///
    /// # Errors
    /// If an edit has no outcome in time.
    pub(crate) async fn rest(&self) -> Result<()> {
        self.orders.send_replace(Order::Rest);
        let deadline = Instant::now() + WELL_WITHIN;
        while self.books.iter().any(|book| !book.pages().open.is_empty()) {
            ensure!(Instant::now() < deadline, "painters at rest have edits without an outcome after {WELL_WITHIN:?}");
            tokio::time::sleep(BETWEEN_LOOKS).await;
        }
        Ok(())
    }

    /// All outcomes so far.
    pub(crate) fn lines(&self) -> Vec<Line> {
        self.books.iter().flat_map(|book| book.pages().lines.clone()).collect()
    }

    /// The state of each chunk, on which the first painter and all gateways agree. The painters
    /// must rest.
    ///
    /// # Errors
    /// If they do not agree in time.
    pub(crate) async fn ends(&self, cluster: &Cluster) -> Result<Ends> {
        let mut ends = Ends::new();
        let deadline = Instant::now() + WELL_WITHIN;
        for chunk in &self.replicas {
            loop {
                let mut served = Vec::new();
                for gateway in 0..cluster.gateways() {
                    served.push(cluster.get(gateway, chunk.id()).await);
                }
                let held = chunk.confirmed();
                if let Some(held) = held.filter(|held| served.iter().all(|served| served.as_ref() == Ok(held))) {
                    ends.insert(chunk.id().clone(), held);
                    break;
                }
                ensure!(Instant::now() < deadline, "R10: {} at rest: {held:?}, {served:?}", chunk.id());
                tokio::time::sleep(BETWEEN_LOOKS).await;
            }
        }
        Ok(ends)
    }

    /// Waits until every painter was told that each chunk has another history. Outcomes belong to
    /// these histories from now on.
    ///
    /// # Errors
    /// If a painter is not told in time.
    pub(crate) async fn enter(&self, cluster: &Cluster, histories: &BTreeMap<Partition, String>) -> Result<()> {
        let deadline = Instant::now() + WELL_WITHIN;
        for book in &self.books {
            for chunk in &self.replicas {
                while !book.pages().changes.contains_key(chunk.id()) {
                    ensure!(Instant::now() < deadline, "a client was not told of the new history of {}", chunk.id());
                    tokio::time::sleep(BETWEEN_LOOKS).await;
                }
            }
            let (mut pages, forbidden) = (book.pages(), chunk(FORBIDDEN));
            for chunk in self.replicas.iter().map(Chunk::id).chain([&forbidden]) {
                let history = histories.get(&cluster.world.place(chunk)?.partition);
                pages.histories.insert(chunk.clone(), history.cloned().unwrap_or_default());
            }
        }
        Ok(())
    }

    /// Tells the painters to stop, and waits until each edit has its outcome.
    async fn close(self, failures: &mut Vec<String>) -> Vec<Painter> {
        self.orders.send_replace(Order::End);
        let mut painters = Vec::new();
        for painter in self.painters {
            match painter.await {
                Ok((painter, painted)) => {
                    failures.extend(painted.err().map(|e| format!("{e:#}")));
                    painters.push(painter);
                }
                Err(e) => failures.push(format!("a painter: {e}")),
            }
        }
        let deadline = Instant::now() + WELL_WITHIN;
        while painters.iter().any(|painter| !painter.book.pages().open.is_empty()) {
            if Instant::now() >= deadline {
                failures.push(format!("without an outcome {WELL_WITHIN:?} after the last fault: {}", open(&painters)));
                break;
            }
            tokio::time::sleep(BETWEEN_LOOKS).await;
        }
        painters
    }
}

fn open(painters: &[Painter]) -> String {
    let mut named = Vec::new();
    for painter in painters {
        let pages = painter.book.pages();
        named.extend(
            pages.open.values().map(|(what, since)| format!("{what} ({:.0} s)", since.elapsed().as_secs_f64())),
        );
    }
    let more = named.len().saturating_sub(NAMED_MAX);
    named.truncate(NAMED_MAX);
    if more > 0 {
        named.push(format!("and {more} more"));
    }
    named.join(", ")
}

/// The chunks that painters edit, of both families. Every partition has at least one, and some have
/// two.
fn chunks(cluster: &Cluster) -> Vec<ChunkId> {
    let world = &cluster.world;
    let place = |id: &ChunkId| world.place(id).expect("it lies in the world").partition;
    let pick = |family: &str, each: usize, of: usize| {
        let mut per_partition = BTreeMap::new();
        let ids = (0..400).map(|i| chunk(&format!("{family}/{}/{}", i % 20 - 10, i / 20 - 10)));
        let few = ids.filter(|id| {
            let count: &mut usize = per_partition.entry(place(id)).or_default();
            *count += 1;
            *count <= each
        });
        few.take(of).collect::<Vec<_>>()
    };
    let partitions = world.partitions().count();
    [pick("canvas", 1, partitions), pick("things", 1, partitions.div_ceil(2))].concat()
}

#[derive(Serialize)]
struct Final<'a> {
    who: &'a str,
    #[serde(serialize_with = "as_text")]
    chunk: &'a ChunkId,
    version: u64,
    hash: String,
}

/// Ends the edits, waits until everything is at rest, checks everything, and ends the services.
///
/// # Errors
/// If files cannot be written. Violations are no error, because they are in the report.
pub async fn conclude(cluster: &Cluster, studio: Studio, python: &Path, dir: &Path, report: &mut Report) -> Result<()> {
    let healed = Instant::now();
    let mut failures = Vec::new();
    failures.extend(cluster.all_ready().await.err().map(|e| format!("{e:#}")));
    let painters = studio.close(&mut failures).await;
    let is_complete = failures.is_empty();
    let ends = rest(cluster, &painters, dir, report, &mut failures).await?;
    report.rest_seconds = healed.elapsed().as_secs_f64();
    let lines: Vec<Line> = painters.iter().flat_map(|painter| painter.book.pages().lines.clone()).collect();
    write_lines(&dir.join("outcomes.jsonl"), &lines)?;
    report.edits = edits(&painters, &lines);
    for painter in &painters {
        failures.append(&mut painter.book.pages().faults);
        painter.close();
    }
    cluster.journal.note("all is at rest");
    cluster.end_services().await?;
    cluster.journal.note("the services have ended");
    report.failures.append(&mut failures);
    verdict::judge(cluster, &Rest { lines, ends, is_complete }, python, dir, report).await
}

fn edits(painters: &[Painter], lines: &[Line]) -> Edits {
    let count = |outcome: &str| lines.iter().filter(|line| line.outcome == outcome).count();
    let open: usize = painters.iter().map(|painter| painter.book.pages().open.len()).sum();
    Edits {
        submitted: painters.iter().map(|painter| painter.book.pages().submitted()).sum(),
        committed: count("committed"),
        discarded: count("discarded"),
        rejected: count("rejected"),
        withdrawn: count("withdrawn"),
        unknown: count("unknown"),
        receipted: lines.iter().filter(|line| line.is_receipted).count(),
        // The verdict counts them.
        lost_sessions: 0,
        without_outcome: open,
    }
}

/// Waits until the replicas of clients and gateways are equal for each chunk, and writes them to
/// the file of final states.
async fn rest(
    cluster: &Cluster,
    painters: &[Painter],
    dir: &Path,
    report: &mut Report,
    failures: &mut Vec<String>,
) -> Result<Ends> {
    let ids: Vec<ChunkId> =
        painters.first().map(|p| p.chunks().iter().map(|c| c.id().clone()).collect()).unwrap_or_default();
    let (mut finals, mut ends) = (Vec::new(), Ends::new());
    let deadline = Instant::now() + WELL_WITHIN;
    let mut equal = true;
    for (at, id) in ids.iter().enumerate() {
        let all = loop {
            let mut all = Vec::new();
            for painter in painters {
                let confirmed = painter.chunks().get(at).and_then(Chunk::confirmed);
                all.push((painter.name.clone(), confirmed.ok_or_else(|| "no replica".to_owned())));
            }
            for gateway in 0..cluster.gateways() {
                all.push((format!("gateway-{gateway}"), cluster.get(gateway, id).await));
            }
            let different: BTreeSet<_> = all.iter().map(|(_, held)| held).collect();
            if different.len() == 1 && all.iter().all(|(_, held)| held.is_ok()) {
                break all;
            }
            if Instant::now() >= deadline {
                equal = false;
                failures.push(format!("R10: {id} at rest: {all:?}"));
                break all;
            }
            tokio::time::sleep(BETWEEN_LOOKS).await;
        };
        for (who, held) in all {
            let Ok((version, hash)) = held else { continue };
            ends.insert(id.clone(), (version, hash));
            finals.push((who, id, version, hash));
        }
    }
    let finals: Vec<_> = finals
        .iter()
        .map(|(who, chunk, version, hash)| Final { who, chunk, version: version.0, hash: hash.to_string() })
        .collect();
    write_lines(&dir.join("finals.jsonl"), &finals)?;
    report.hashes = Hashes { chunks: ids.len(), replicas: finals.len(), equal };
    Ok(ends)
}

fn write_lines<T: Serialize>(path: &Path, lines: &[T]) -> Result<()> {
    let file = std::fs::File::create(path).with_context(|| format!("cannot write {}", path.display()))?;
    let mut file = std::io::BufWriter::new(file);
    for line in lines {
        serde_json::to_writer(&mut file, line)?;
        file.write_all(b"\n")?;
    }
    Ok(file.flush()?)
}
