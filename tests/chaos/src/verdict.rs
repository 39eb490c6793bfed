//! Judges a run when everything is at rest. Our own code and the checker compare the outcomes that
//! clients got with the log. The exits of the processes are judged too.

use crate::checker;
use crate::cluster::Cluster;
use crate::journal::Counts;
use crate::painter::Line;
use crate::report::{LogCounts, Report};
use anyhow::{Result, bail};
use driftless_client::{ChunkId, Hash, Version, WriterId};
use driftless_e2e_tests::history::History;
use driftless_e2e_tests::stack::kafka_log;
use std::collections::{BTreeMap, HashMap};
use std::path::Path;
use std::sync::Arc;

/// A replayer may end with this error. Its late requests can make Kafka believe that another
/// replayer has its name (static membership). This happens if its session timed out and it joined
/// again, and its earlier requests arrived only then. The replayer ends and is started again.
const FENCED_BY_ITSELF: &str = "the group membership ended";
/// The reason of an edit that ended as unknown because a service refused the client's session.
const SESSION_LOST: &str = "the session was lost";
/// A chunk that painters may read but not write.
pub(crate) const FORBIDDEN: &str = "canvas/1000/1000";
/// The limit on the violations of one kind that a report names.
pub(crate) const NAMED_MAX: usize = 20;

/// The final version and hash of each chunk, on which all replicas agree.
pub(crate) type Ends = BTreeMap<ChunkId, (Version, Hash)>;

/// The outcomes and final states of a run when everything is at rest.
pub(crate) struct Rest {
    pub lines: Vec<Line>,
    pub ends: Ends,
    /// True if every edit has its outcome.
    pub is_complete: bool,
}

/// Judges the run, and writes violations and counts into the report.
///
/// # Errors
/// If logs cannot be read.
pub(crate) async fn judge(
    cluster: &Cluster,
    rest: &Rest,
    python: &Path,
    dir: &Path,
    report: &mut Report,
) -> Result<()> {
    let mut failures = match report.is_remade {
        // Our own code has read the lost history before. It reads only whole ones.
        true => Vec::new(),
        false => match against_the_log(cluster, &rest.lines, &rest.ends, report).await {
            Ok(found) => found,
            Err(e) => vec![format!("{e:#}")],
        },
    };
    cluster.journal.note("the log is read; the checker is next");
    match checker::check(python, cluster, dir, rest.is_complete).await {
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
    failures.extend(report.counts.late.iter().cloned());
    failures.extend(panics(&dir.join("logs"))?);
    let of_wrong_clocks = rest.lines.iter().filter(|line| is_of_wrong_clock(line, &report.counts));
    report.edits.lost_sessions = of_wrong_clocks.count();
    failures.extend(outcomes(&rest.lines, report));
    report.failures.extend(failures);
    Ok(())
}

/// Checks that every edit has one outcome, and that none is unknown without an excuse.
fn outcomes(lines: &[Line], report: &Report) -> Vec<String> {
    let mut failures = Vec::new();
    let is_excused = |line: &Line| is_forbidden(line) || is_of_wrong_clock(line, &report.counts);
    let unknown: Vec<_> = lines.iter().filter(|line| line.outcome == "unknown" && !is_excused(line)).collect();
    if !unknown.is_empty() {
        let named = &unknown[..unknown.len().min(NAMED_MAX)];
        failures.push(format!("{} edits ended as unknown, though nobody lost access: {named:?}", unknown.len()));
    }
    if report.edits.submitted != lines.len() + report.edits.without_outcome {
        failures.push(format!("{} edits have {} outcomes", report.edits.submitted, lines.len()));
    }
    failures
}

/// R8: a client without write access cannot learn the outcome of an edit that may have been lost in
/// transit. For such an edit *unknown* is excused.
fn is_forbidden(line: &Line) -> bool {
    line.chunk.as_str() == FORBIDDEN && !line.is_receipted
}

/// A service whose clock is behind refuses sessions that seem to come from the future. A service
/// whose clock is ahead gives out such sessions. The client then begins a new session, and may not
/// learn the outcomes of the old one. *Unknown* is excused for this reason and during this time.
/// The checker still demands that an acknowledged edit is in the log and was decided.
fn is_of_wrong_clock(line: &Line, counts: &Counts) -> bool {
    line.outcome == "unknown"
        && line.reason == SESSION_LOST
        && counts.wrong_clocks.iter().any(|(from, to)| (*from..=*to).contains(&line.at))
}

/// Reads the log with our own code, which checks R2, R3 and R10 meanwhile. Then compares the log
/// with the outcomes.
///
/// # Errors
/// If the log cannot be read, or breaks one of these rules.
pub(crate) async fn against_the_log(
    cluster: &Cluster,
    lines: &[Line],
    ends: &Ends,
    report: &mut Report,
) -> Result<Vec<String>> {
    let (log, world) = (kafka_log(&cluster.brokers), Arc::clone(&cluster.world));
    let history = match tokio::spawn(async move { History::read(&log, &world).await }).await {
        Ok(history) => history,
        // Reading panics if one of these rules does not hold.
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
    let counts = cluster.journal.counts();
    let mut lies = Vec::new();
    for line in lines {
        let number = line.writer.as_deref().and_then(|writer| writer.parse::<WriterId>().ok()).zip(line.seq);
        let decision = number.and_then(|(writer, seq)| decided.get(&(&line.chunk, writer.0.to_vec(), seq)));
        let is_true = match (line.outcome, decision) {
            ("committed", Some(Some(version))) => line.version.is_none_or(|told| told == *version),
            ("committed", _) => false,
            ("discarded", Some(None)) | ("unknown", _) => true,
            ("discarded", _) => false,
            // A command that was taken back may have been discarded before it was taken back.
            (_, decision) => !matches!(decision, Some(Some(_))),
        };
        let is_unknown = line.outcome == "unknown" && !is_of_wrong_clock(line, &counts);
        let is_missing = line.is_receipted && (is_unknown || (!is_true && decision.is_none()));
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

/// Finds panics in the logs of all processes. There must be none.
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
