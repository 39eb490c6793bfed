//! A whole run: start, paint and break, heal, come to rest, and hold what clients were told against the log.

use crate::checker;
use crate::cluster::{Cluster, WELL_WITHIN};
use crate::painter::{Line, Painter, as_text};
use crate::report::{Edits, Hashes, LogCounts, Report};
use anyhow::{Context, Result, bail, ensure};
use driftless_client::{Chunk, ChunkId, Hash, Version};
use driftless_e2e_tests::edits::chunk;
use driftless_e2e_tests::history::History;
use driftless_e2e_tests::stack::kafka_log;
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::io::Write as _;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::watch;
use tokio::task::JoinHandle;

const BETWEEN_LOOKS: Duration = Duration::from_millis(200);
/// Where a token is given out anew within a run, and where it is not.
const TOKEN_LIVES_S: [u32; 2] = [90, 3_600];
/// A replayer's late requests can make Kafka believe that another one has its name (static membership): the session timed
/// out, it joined again, and what it had sent before arrived after that. It ends, and is started again.
const FENCED_BY_ITSELF: &str = "the group membership ended";
/// A chunk that painters may read, and edit in vain.
const FORBIDDEN: &str = "canvas/1000/1000";
/// What a failure names at most of one kind.
const NAMED_MAX: usize = 20;

/// The painters, at work.
pub struct Studio {
    painters: Vec<JoinHandle<(Painter, Result<()>)>>,
    books: Vec<Arc<crate::painter::Book>>,
    replicas: Vec<Chunk>,
    end: watch::Sender<bool>,
}

/// How many edits were submitted, and how many have ended.
#[derive(Clone, Copy, Debug, Default)]
pub struct Progress {
    /// All.
    pub submitted: usize,
    /// With an outcome.
    pub ended: usize,
    /// In the chunks.
    pub committed: usize,
}

impl Studio {
    /// Connects so many painters to the same few chunks, and lets them paint.
    ///
    /// # Errors
    /// Where one cannot connect.
    pub async fn open(cluster: &Cluster, count: usize, seed: u64) -> Result<Self> {
        let chunks = chunks(cluster);
        let forbidden = chunk(FORBIDDEN);
        let end = watch::Sender::new(false);
        let mut started = Vec::new();
        for i in 0..count {
            let name = format!("painter-{i}");
            let settings = cluster.settings(&name, &chunks, i, TOKEN_LIVES_S[i % TOKEN_LIVES_S.len()]);
            // Streams of the seed that no lane has.
            let seed = seed.wrapping_add((i as u64 + 1) << 32);
            started.push(Painter::start(name, settings, &chunks, &forbidden, seed).await?);
        }
        let books = started.iter().map(|painter| Arc::clone(&painter.book)).collect();
        let replicas = started.first().map(|painter| painter.chunks().to_vec()).unwrap_or_default();
        let paint = |mut painter: Painter| {
            let end = end.subscribe();
            tokio::spawn(async move {
                let painted = painter.paint(end).await;
                (painter, painted)
            })
        };
        let painters = started.into_iter().map(paint).collect();
        Ok(Self { painters, books, replicas, end })
    }

    /// How far they are.
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

    /// Waits until every chunk has so many more versions: somebody decides for each.
    ///
    /// # Errors
    /// Where one stands still.
    pub async fn moves_on(&self, by: u64) -> Result<()> {
        let version = |chunk: &Chunk| chunk.version().map_or(0, |version| version.0);
        let wanted: Vec<u64> = self.replicas.iter().map(|chunk| version(chunk) + by).collect();
        let deadline = Instant::now() + WELL_WITHIN;
        loop {
            let mut behind = self.replicas.iter().zip(&wanted).filter(|(chunk, wanted)| version(chunk) < **wanted);
            let Some((behind, wanted)) = behind.next() else { return Ok(()) };
            ensure!(
                Instant::now() < deadline,
                "{} stands still at version {} of {wanted}",
                behind.id(),
                version(behind)
            );
            tokio::time::sleep(BETWEEN_LOOKS).await;
        }
    }

    /// No more edits; waits until each has its outcome.
    async fn close(self, failures: &mut Vec<String>) -> Vec<Painter> {
        self.end.send_replace(true);
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

/// Chunks of both families, so that every partition has at least one, and some two.
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

/// Closes the studio, waits for rest, checks everything, and ends the services.
///
/// # Errors
/// Where files cannot be written. What is wrong with the world is in the report.
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
    match against_the_log(cluster, &lines, &ends, report).await {
        Ok(found) => failures.extend(found),
        Err(e) => failures.push(format!("{e:#}")),
    }
    cluster.journal.note("the log is read; the checker is next");
    match checker::check(python, cluster, dir, is_complete).await {
        Ok(said) => {
            let violations = said["violations_total"].as_u64().unwrap_or(u64::MAX);
            if violations > 0 {
                let first = &said["violations"][0];
                failures.push(format!("the checker found {violations} violations, first {first}: see checker.log"));
            }
            report.decided_twice += said["violations_by_rule"]["R2"].as_u64().unwrap_or_default() as usize;
            report.checker = said;
        }
        Err(e) => failures.push(format!("{e:#}")),
    }
    report.counts = cluster.journal.counts();
    let ended = report.counts.ended_by_themselves.iter().filter(|what| !what.contains(FENCED_BY_ITSELF));
    failures.extend(ended.map(|what| format!("ended by itself: {what}")));
    failures.extend(report.counts.bad_ends.iter().cloned());
    failures.extend(panics(&dir.join("logs"))?);
    let unknown: Vec<_> = lines.iter().filter(|line| line.outcome == "unknown" && !is_excused(line)).collect();
    if !unknown.is_empty() {
        let named = &unknown[..unknown.len().min(NAMED_MAX)];
        failures.push(format!("{} edits ended as unknown, though nobody lost access: {named:?}", unknown.len()));
    }
    let Edits { without_outcome, .. } = report.edits;
    if without_outcome == 0 && report.edits.submitted != lines.len() {
        failures.push(format!("{} edits have {} outcomes", report.edits.submitted, lines.len()));
    }
    report.failures.extend(failures);
    Ok(())
}

/// R8: without access nobody can ask what became of an edit that may have been lost on its way.
fn is_excused(line: &Line) -> bool {
    line.chunk.as_str() == FORBIDDEN && !line.is_receipted
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
        without_outcome: open,
    }
}

type Ends = BTreeMap<ChunkId, (Version, Hash)>;

/// Waits until all replicas of each chunk are the same, clients' and gateways', and writes them down.
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

/// Reads the log with our own code, which checks R2, R3 and R10 on the way, and holds the outcomes against it.
async fn against_the_log(cluster: &Cluster, lines: &[Line], ends: &Ends, report: &mut Report) -> Result<Vec<String>> {
    let (log, world) = (kafka_log(&cluster.brokers), Arc::clone(&cluster.world));
    let history = match tokio::spawn(async move { History::read(&log, &world).await }).await {
        Ok(history) => history,
        // It panics where a rule does not hold.
        Err(e) => match e.try_into_panic() {
            Ok(panic) => bail!("the log: {}", words(&*panic)),
            Err(e) => return Err(e.into()),
        },
    };
    report.log = LogCounts {
        commands: history.commands,
        fences: history.fences,
        invalid: history.invalid,
        snapshots: history.snapshots,
    };
    let mut failures = Vec::new();
    for (id, end) in ends {
        if history.end(id) != Some(*end) && (end.0.0 > 0 || history.end(id).is_some()) {
            report.hashes.equal = false;
            failures.push(format!("R10: {id} is {end:?} at rest, and {:?} in the log", history.end(id)));
        }
    }
    let mut decided = HashMap::new();
    for id in ends.keys() {
        for decision in history.decisions(id) {
            let version = decision.committed.as_ref().map(|(version, _)| version.0);
            decided.insert((id, decision.writer.to_vec(), decision.seq), version);
        }
    }
    let mut lies = Vec::new();
    for line in lines {
        let number =
            line.writer.as_deref().and_then(|writer| writer.parse::<driftless_client::WriterId>().ok()).zip(line.seq);
        let decision = number.and_then(|(writer, seq)| decided.get(&(&line.chunk, writer.0.to_vec(), seq)));
        let is_true = match (line.outcome, decision) {
            ("committed", Some(Some(version))) => line.version.is_none_or(|told| told == *version),
            ("committed", _) => false,
            ("discarded", Some(None)) | ("unknown", _) => true,
            ("discarded", _) => false,
            // What was taken back may have been discarded before.
            (_, decision) => !matches!(decision, Some(Some(_))),
        };
        let is_missing = line.is_receipted && (line.outcome == "unknown" || (!is_true && decision.is_none()));
        report.acknowledged_missing += usize::from(is_missing);
        if !is_true {
            lies.push(format!("{line:?}, and the log says {decision:?}"));
        }
    }
    if !lies.is_empty() {
        let count = lies.len();
        lies.truncate(3);
        failures.push(format!("R8: {count} outcomes are not what the log says, such as {}", lies.join("; ")));
    }
    if report.acknowledged_missing > 0 {
        failures.push(format!("{} acknowledged edits are missing", report.acknowledged_missing));
    }
    Ok(failures)
}

fn words(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().cloned();
    text.or_else(|| panic.downcast_ref::<&str>().map(|&text| text.to_owned())).unwrap_or_else(|| "a panic".to_owned())
}

/// Panics in the logs of all processes: there must be none.
fn panics(logs: &Path) -> Result<Vec<String>> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(logs)? {
        let path = entry?.path();
        let text = String::from_utf8_lossy(&std::fs::read(&path)?).into_owned();
        let panics = text.lines().filter(|line| line.contains("panicked at"));
        found.extend(panics.map(|line| format!("{}: {line}", path.display())));
    }
    Ok(found)
}
