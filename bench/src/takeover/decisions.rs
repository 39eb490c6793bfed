//! Follows `updates` like any reader, and notes which owner decided which command, and when this
//! program read the decision.
//!
//! The reader also checks the rules of the log. R4 says which records count. The commands of a
//! chunk must be decided in order, none twice and none left out (R2, R3, R8).

use anyhow::{Context, Result, bail, ensure};
use driftless_chunk::position::{Position, Validity};
use driftless_log::{Log, Reader};
use driftless_schemas::proto::{UpdatesRecord, mark::Outcome, updates_record::Body};
use driftless_schemas::{Offset, Partition, format};
use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;
use std::time::{Duration, SystemTime};
use tokio::sync::watch;

/// Facts about one ownership (one owner's epoch), which its records in `updates` show.
#[derive(Clone, Debug, Default)]
pub(super) struct Ownership {
    /// When this program read the first decision.
    pub first: Option<SystemTime>,
    /// When this program read the newest decision.
    pub last: Option<SystemTime>,
    /// When every chunk had a decision of this ownership; `None` until then.
    pub all: Option<SystemTime>,
    /// Ids of the chunks with a decision of this ownership.
    decided: HashSet<String>,
    /// Ids of the chunks whose snapshot this ownership has stored.
    stored: HashSet<String>,
}

/// Findings from all records that were read so far.
#[derive(Default)]
struct Observed {
    ownerships: BTreeMap<u64, Ownership>,
    /// The sequence number of the newest decided command of each chunk.
    seqs: HashMap<String, u64>,
    /// Number of decided commands.
    decided: u64,
    /// Why the reader ended, if it failed.
    problem: Option<String>,
}

/// A background task that follows `updates`, and its findings.
pub(super) struct Decisions {
    observed: watch::Receiver<Observed>,
}

impl Decisions {
    /// Starts to follow partition 0 of the topic.
    pub fn follow(log: &dyn Log, topic: &Arc<str>, chunks: usize) -> Result<Self> {
        let mut reader = log.reader()?;
        reader.assign(topic, Partition(0), Offset(0));
        let (to, observed) = watch::channel(Observed::default());
        tokio::spawn(async move {
            let ended = read(&mut *reader, &to, chunks).await;
            to.send_modify(|observed| observed.problem = ended.err().map(|e| format!("{e:#}")));
        });
        Ok(Self { observed })
    }

    /// Returns the facts about the ownership with this epoch, as far as they were read.
    pub fn ownership(&self, epoch: u64) -> Ownership {
        self.observed.borrow().ownerships.get(&epoch).cloned().unwrap_or_default()
    }

    /// Returns the newest epoch.
    pub fn epoch(&self) -> u64 {
        self.observed.borrow().ownerships.keys().next_back().copied().unwrap_or_default()
    }

    /// Waits until an ownership after `epoch` has decided a command. Returns its epoch.
    pub async fn next_ownership(&self, epoch: u64, within: Duration) -> Result<u64> {
        let is_next = |ownership: &(&u64, &Ownership)| *ownership.0 > epoch && ownership.1.first.is_some();
        let found = |observed: &Observed| observed.ownerships.iter().find(is_next).map(|(epoch, _)| *epoch);
        self.wait("a decision of a new owner", within, found).await
    }

    /// Waits until the ownership with this epoch has decided a command of each chunk.
    pub async fn all_decided(&self, epoch: u64, within: Duration) -> Result<()> {
        self.wait("a decision for every chunk", within, |observed| observed.ownerships.get(&epoch)?.all.map(drop)).await
    }

    /// Waits until the ownership with this epoch has stored snapshots of `chunks` chunks.
    pub async fn all_stored(&self, epoch: u64, chunks: usize, within: Duration) -> Result<()> {
        let found = |observed: &Observed| (observed.ownerships.get(&epoch)?.stored.len() >= chunks).then_some(());
        self.wait("a snapshot of every chunk", within, found).await
    }

    /// Waits until `count` commands are decided.
    pub async fn decided(&self, count: u64, within: Duration) -> Result<()> {
        self.wait("a decision for every command", within, |observed| (observed.decided >= count).then_some(())).await
    }

    async fn wait<T>(&self, what: &str, within: Duration, found: impl Fn(&Observed) -> Option<T>) -> Result<T> {
        let mut observed = self.observed.clone();
        let waited = tokio::time::timeout(within, async {
            loop {
                {
                    let observed = observed.borrow_and_update();
                    if let Some(problem) = &observed.problem {
                        bail!("{problem}");
                    }
                    if let Some(found) = found(&observed) {
                        return Ok(found);
                    }
                }
                observed.changed().await.context("the reader has ended")?;
            }
        });
        waited.await.with_context(|| format!("{what} was not observed within {} s", within.as_secs()))?
    }
}

async fn read(reader: &mut dyn Reader, to: &watch::Sender<Observed>, chunks: usize) -> Result<()> {
    let mut position = Position::START;
    loop {
        let batches = reader.next().await?;
        let at = SystemTime::now();
        let mut result = Ok(());
        to.send_modify(|observed| {
            let mut records = batches.into_iter().flat_map(|batch| batch.records);
            result = records.try_for_each(|record| {
                let offset = record.offset;
                let record: UpdatesRecord = format::decode_known("UpdatesRecord", record.value)?;
                match position.judge(offset, &record) {
                    Validity::Invalid => Ok(()),
                    Validity::Fence => {
                        observed.ownerships.entry(record.epoch).or_default();
                        Ok(())
                    }
                    Validity::Valid => note(observed, record, at, chunks),
                }
            });
        });
        result?;
    }
}

fn note(observed: &mut Observed, record: UpdatesRecord, at: SystemTime, chunks: usize) -> Result<()> {
    let ownership = observed.ownerships.entry(record.epoch).or_default();
    match record.body {
        Some(Body::SnapshotStored(stored)) => drop(ownership.stored.insert(stored.chunk_id)),
        Some(Body::Decisions(decisions)) => {
            let chunk = decisions.chunk_id;
            let seq = observed.seqs.entry(chunk.clone()).or_default();
            for mark in decisions.marks {
                ensure!(
                    mark.seq == *seq + 1 && matches!(mark.outcome, Some(Outcome::Committed(_))),
                    "{chunk}: after command {seq}, {mark:?} is decided: a command was lost, or decided twice"
                );
                *seq = mark.seq;
                observed.decided += 1;
            }
            ownership.first.get_or_insert(at);
            ownership.last = Some(at);
            if ownership.all.is_none() {
                ownership.decided.insert(chunk);
                ownership.all = (ownership.decided.len() >= chunks).then_some(at);
            }
        }
        _ => {}
    }
    Ok(())
}
