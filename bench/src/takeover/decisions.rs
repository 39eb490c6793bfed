//! What stands in `updates`, as anybody sees it: who decided which command, and when that could be read here.
//!
//! On the way it holds the log to its rules: a record counts by R4, and every chunk's commands are decided one by one, none
//! twice and none left out (R2, R3, R8).

use anyhow::{Context, Result, bail, ensure};
use driftless_chunk::position::{Position, Validity};
use driftless_log::{Log, Reader};
use driftless_schemas::proto::{UpdatesRecord, mark::Outcome, updates_record::Body};
use driftless_schemas::{Offset, Partition, format};
use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;
use std::time::{Duration, SystemTime};
use tokio::sync::watch;

/// One ownership, as its records show it.
#[derive(Clone, Debug, Default)]
pub(super) struct Turn {
    /// When its first decision was read.
    pub first: Option<SystemTime>,
    /// When its newest was.
    pub last: Option<SystemTime>,
    /// When a decision of it stood there for the last of the chunks.
    pub all: Option<SystemTime>,
    decided: HashSet<String>,
    stored: HashSet<String>,
}

#[derive(Default)]
struct Seen {
    turns: BTreeMap<u64, Turn>,
    /// The newest number that is decided, by chunk.
    seqs: HashMap<String, u64>,
    decided: u64,
    problem: Option<String>,
}

/// Follows `updates`.
pub(super) struct Decisions {
    seen: watch::Receiver<Seen>,
}

impl Decisions {
    /// Starts to read partition 0.
    pub fn follow(log: &dyn Log, topic: &Arc<str>, chunks: usize) -> Result<Self> {
        let mut reader = log.reader()?;
        reader.assign(topic, Partition(0), Offset(0));
        let (to, seen) = watch::channel(Seen::default());
        tokio::spawn(async move {
            let ended = read(&mut *reader, &to, chunks).await;
            to.send_modify(|seen| seen.problem = ended.err().map(|e| format!("{e:#}")));
        });
        Ok(Self { seen })
    }

    /// The ownership of that epoch, by now.
    pub fn turn(&self, epoch: u64) -> Turn {
        self.seen.borrow().turns.get(&epoch).cloned().unwrap_or_default()
    }

    /// The newest epoch.
    pub fn epoch(&self) -> u64 {
        self.seen.borrow().turns.keys().next_back().copied().unwrap_or_default()
    }

    /// Waits until an ownership after `epoch` has decided something; gives its epoch.
    pub async fn next_turn(&self, epoch: u64, within: Duration) -> Result<u64> {
        let is_next = |turn: &(&u64, &Turn)| *turn.0 > epoch && turn.1.first.is_some();
        let found = |seen: &Seen| seen.turns.iter().find(is_next).map(|(epoch, _)| *epoch);
        self.wait("a decision of a new owner", within, found).await
    }

    /// Waits until that ownership has decided something for all chunks.
    pub async fn all_decided(&self, epoch: u64, within: Duration) -> Result<()> {
        self.wait("a decision for every chunk", within, |seen| seen.turns.get(&epoch)?.all.map(drop)).await
    }

    /// Waits until that ownership has stored all chunks.
    pub async fn all_stored(&self, epoch: u64, chunks: usize, within: Duration) -> Result<()> {
        let found = |seen: &Seen| (seen.turns.get(&epoch)?.stored.len() >= chunks).then_some(());
        self.wait("a snapshot of every chunk", within, found).await
    }

    /// Waits until so many commands are decided.
    pub async fn decided(&self, count: u64, within: Duration) -> Result<()> {
        self.wait("a decision for every command", within, |seen| (seen.decided >= count).then_some(())).await
    }

    async fn wait<T>(&self, what: &str, within: Duration, found: impl Fn(&Seen) -> Option<T>) -> Result<T> {
        let mut seen = self.seen.clone();
        let waited = tokio::time::timeout(within, async {
            loop {
                {
                    let seen = seen.borrow_and_update();
                    if let Some(problem) = &seen.problem {
                        bail!("{problem}");
                    }
                    if let Some(found) = found(&seen) {
                        return Ok(found);
                    }
                }
                seen.changed().await.context("the reader has ended")?;
            }
        });
        waited.await.with_context(|| format!("{what} was not seen within {} s", within.as_secs()))?
    }
}

async fn read(reader: &mut dyn Reader, to: &watch::Sender<Seen>, chunks: usize) -> Result<()> {
    let mut position = Position::START;
    loop {
        let batches = reader.next().await?;
        let at = SystemTime::now();
        let mut result = Ok(());
        to.send_modify(|seen| {
            let mut records = batches.into_iter().flat_map(|batch| batch.records);
            result = records.try_for_each(|record| {
                let offset = record.offset;
                let record: UpdatesRecord = format::decode_known("UpdatesRecord", record.value)?;
                match position.judge(offset, &record) {
                    Validity::Invalid => Ok(()),
                    Validity::Fence => {
                        seen.turns.entry(record.epoch).or_default();
                        Ok(())
                    }
                    Validity::Valid => note(seen, record, at, chunks),
                }
            });
        });
        result?;
    }
}

fn note(seen: &mut Seen, record: UpdatesRecord, at: SystemTime, chunks: usize) -> Result<()> {
    let turn = seen.turns.entry(record.epoch).or_default();
    match record.body {
        Some(Body::SnapshotStored(stored)) => drop(turn.stored.insert(stored.chunk_id)),
        Some(Body::Decisions(decisions)) => {
            let chunk = decisions.chunk_id;
            let seq = seen.seqs.entry(chunk.clone()).or_default();
            for mark in decisions.marks {
                ensure!(
                    mark.seq == *seq + 1 && matches!(mark.outcome, Some(Outcome::Committed(_))),
                    "{chunk}: after command {seq}, {mark:?} is decided: a command was lost, or decided twice"
                );
                *seq = mark.seq;
                seen.decided += 1;
            }
            turn.first.get_or_insert(at);
            turn.last = Some(at);
            if turn.all.is_none() {
                turn.decided.insert(chunk);
                turn.all = (turn.decided.len() >= chunks).then_some(at);
            }
        }
        _ => {}
    }
    Ok(())
}
