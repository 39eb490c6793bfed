//! Carries out the core's outputs.

use super::{Ownership, Purpose, Stuck};
use crate::report::Report;
use driftless_log::{Append, Headers};
use driftless_replayer_core::{End, Input, Milestone, OutOfRange, Output};
use driftless_schemas::ChunkId;
use driftless_schemas::stored::{Checkpoint, IndexEntry};
use std::sync::Arc;
use std::time::Duration;

/// The pause before the log is asked again for the end of `commands`.
const ASK_AGAIN: Duration = Duration::from_secs(1);

impl Ownership {
    /// Carries out all outputs that the core has now. `Some`: the core has ended the ownership, for
    /// the returned reason.
    pub(super) fn carry_out(&mut self) -> Option<End> {
        let mut ended = None;
        let mut appends: Vec<Append> = self.unsent.drain(..).collect();
        while let Some(output) = self.core.poll_output() {
            match output {
                Output::Append { n, key, value } => appends.push(Append {
                    topic: Arc::clone(&self.context.world.topics().updates),
                    partition: self.partition,
                    key: key.into(),
                    value,
                    headers: Headers::new(),
                    token: n,
                }),
                Output::ReadUpdates(from) => self.reading.read_updates(from),
                Output::ReadCommands(from) => self.reading.read_commands(from),
                Output::AskCommandsEnd => self.ask_commands_end(),
                Output::ReadHistory(from) => self.reading.read_history(from),
                Output::EndHistory => self.reading.end_history(),
                Output::ReadBack(from) => self.reading.read_back(from),
                Output::EndReadBack => self.reading.end_read_back(),
                Output::Load(chunk) => self.load(chunk),
                Output::LoadOlder(chunk, stored) => self.load_older(chunk, stored),
                Output::Repair { chunk, hash, encoding } => self.repair(chunk, hash, encoding),
                Output::PutSnapshot { chunk, hash, encoding } => self.put_snapshot(chunk, hash, encoding),
                Output::WriteCheckpoint { checkpoint, entries } => self.write_checkpoint(checkpoint, entries),
                Output::DeadLetter { id, offset, value, reason } => {
                    let topics = self.context.world.topics();
                    self.copies.copy(&self.context.dead_letters, topics, id, (offset, value, reason));
                }
                Output::Reached(milestone) => self.reached(milestone),
                Output::Drift(chunk, reason) => {
                    tracing::error!(%chunk, "the chunk had drifted, and is healed: {reason}");
                }
                Output::Lost(chunk, reason) => {
                    tracing::error!(%chunk, "{reason}");
                    self.context.note_lost(self.partition, chunk, reason);
                }
                Output::LossAccepted(OutOfRange { stream, wanted, low, .. }) => {
                    let partition = self.partition.0;
                    tracing::error!(partition, "{stream}: offsets {wanted} to {low} are lost, which is accepted");
                }
                Output::Stuck(chunk, reason) => {
                    tracing::warn!(%chunk, "its commands wait; trying again: {reason}");
                    if let Purpose::Mend { .. } = self.purpose {
                        self.stuck.get_or_insert_with(Stuck::begin).reasons.insert(chunk, reason);
                    }
                }
                Output::Ended(end) => {
                    match &end {
                        End::ModelFault { chunk } => self.context.be_careful_with(chunk.clone()),
                        End::Replaced { epoch } | End::FenceInvalid { current: epoch, .. } => {
                            self.context.claim_above.note(self.partition, *epoch);
                        }
                        End::HistoryTooOld { current, .. } => {
                            self.context.begin_above.note(self.partition, *current);
                        }
                        _ => {}
                    }
                    ended = Some(end);
                }
            }
        }
        if !appends.is_empty() && ended.is_none() {
            self.unsent = self.route.append(appends).into();
        }
        self.report();
        ended
    }

    fn reached(&mut self, milestone: Milestone) {
        match milestone {
            Milestone::FenceAcknowledged => self.beginning.fenced(),
            Milestone::FirstRecord => self.beginning.decided(),
            Milestone::FirstRecordAcknowledged => self.load_freely(),
        }
    }

    /// Asks the log for the end of `commands`, until it answers or the ownership is over.
    fn ask_commands_end(&self) {
        let (context, partition, reports) = (Arc::clone(&self.context), self.partition, self.reports.clone());
        tokio::spawn(async move {
            let topic = &context.world.topics().commands;
            while !reports.is_closed() {
                match context.log.watermarks(topic, partition).await {
                    Ok((_, end)) => {
                        let _ = reports.send(Report::Input(Input::CommandsEnd(end)));
                        return;
                    }
                    Err(e) => tracing::warn!(partition = partition.0, "cannot ask for the end of {topic}: {e}"),
                }
                tokio::time::sleep(ASK_AGAIN).await;
            }
        });
    }

    fn write_checkpoint(&self, checkpoint: Checkpoint, entries: Vec<(ChunkId, IndexEntry)>) {
        let index = Arc::clone(&self.index);
        self.spawn(async move {
            let written = index.write(&checkpoint, &entries).await.map_err(|e| e.to_string());
            Input::CheckpointWritten(written)
        });
    }
}
