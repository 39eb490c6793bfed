//! Finds what a replayer decided (R8) about the original records of dead letters. The decisions are
//! in the topic `updates`. There every decided command has a mark: a message with the outcome and
//! with the command's offset in `commands`.

use super::letter::Letter;
use super::{Place, records};
use anyhow::Result;
use driftless_chunk::position::{Position, Validity};
use driftless_schemas::proto::{DiscardReason, UpdatesRecord, mark::Outcome, updates_record::Body};
use driftless_schemas::{Offset, Partition, format};
use indicatif::{ProgressBar, ProgressStyle};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

/// The replayer's decision about the original record of a dead letter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Decision {
    /// The command had no effect, and its sequence number is resolved: it can never be used again.
    Discarded(DiscardReason),
    /// The command took effect, and its sequence number is resolved.
    Committed,
    /// An earlier command of the writer had not arrived. The writer learned this from the replayer,
    /// and the sequence number can still be used.
    OutOfOrder,
    /// The writer's session had expired. The writer learned this from the replayer, and the command
    /// had no effect.
    SessionExpired,
    /// `updates` has no decision: the record could not be placed, or its sequence number was
    /// resolved by an earlier record.
    Nothing,
    /// The decision cannot be found: `updates` does not begin at offset 0, or the letter does not
    /// name a position in this world's `commands`.
    Unknown,
}

/// Decisions by the original record's partition and offset in `commands`.
pub(super) struct Decisions(BTreeMap<(Partition, Offset), Decision>);

impl Decisions {
    pub fn of(&self, letter: &Letter) -> Decision {
        let key = letter.origin.as_ref().map(|origin| (origin.partition, origin.offset));
        key.and_then(|key| self.0.get(&key).copied()).unwrap_or(Decision::Unknown)
    }
}

/// Finds the decisions about `letters`. Reads `updates` of each partition from which a letter came,
/// once.
pub(super) async fn of(place: &Place, letters: impl IntoIterator<Item = &Letter>) -> Result<Decisions> {
    let topics = place.world.topics();
    let mut wanted: BTreeMap<Partition, BTreeSet<Offset>> = BTreeMap::new();
    for origin in letters.into_iter().filter_map(|letter| letter.origin.as_ref()) {
        let is_here =
            *origin.topic == *topics.commands && (0..place.world.spec().partitions).contains(&origin.partition.0);
        if is_here {
            wanted.entry(origin.partition).or_default().insert(origin.offset);
        }
    }
    let mut found = BTreeMap::new();
    for (partition, wanted) in wanted {
        let (low, high) = place.log.watermarks(&topics.updates, partition).await?;
        if low > Offset(0) {
            // Retention has deleted the records below `low`. Without them this reader does not know
            // the epoch and the record number `n` that are valid at `low`, so it cannot judge the
            // records from there on (R4).
            continue;
        }
        found.extend(wanted.iter().map(|offset| ((partition, *offset), Decision::Nothing)));
        let bar = ProgressBar::new(u64::try_from(high.0).unwrap_or_default());
        bar.set_style(
            ProgressStyle::with_template("{msg} {bar:40} {pos}/{len} records, {eta} left")
                .unwrap_or(ProgressStyle::default_bar()),
        );
        bar.set_message(format!("reading {}[{partition}]", topics.updates));
        let mut position = Position::START;
        records::each(&*place.log, &topics.updates, partition, low..high, |record| {
            bar.inc(1);
            let update: UpdatesRecord = format::decode_known("UpdatesRecord", record.value)?;
            if position.judge(record.offset, &update) != Validity::Valid {
                return Ok(());
            }
            if let Some(Body::Decisions(decisions)) = update.body {
                for mark in decisions.marks.iter().filter(|mark| wanted.contains(&Offset(mark.source_offset))) {
                    let decision = mark.outcome.as_ref().map_or(Decision::Unknown, read);
                    found.insert((partition, Offset(mark.source_offset)), decision);
                }
            }
            Ok(())
        })
        .await?;
        bar.finish_and_clear();
    }
    Ok(Decisions(found))
}

fn read(outcome: &Outcome) -> Decision {
    match outcome {
        Outcome::Committed(_) => Decision::Committed,
        Outcome::Discarded(discarded) => Decision::Discarded(discarded.reason()),
        Outcome::OutOfOrder(_) => Decision::OutOfOrder,
        Outcome::SessionExpired(_) => Decision::SessionExpired,
    }
}

impl Decision {
    /// Returns true if the record's sequence number is resolved, so that it can never be used
    /// again.
    pub fn is_resolved(self) -> bool {
        matches!(self, Self::Discarded(_) | Self::Committed)
    }
}

impl fmt::Display for Decision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Discarded(reason) => {
                let name = format::plain_name(reason.as_str_name(), "DISCARD_REASON_");
                write!(f, "discarded ({name}); its number is resolved (R8)")
            }
            Self::Committed => f.write_str("committed"),
            Self::OutOfOrder => {
                f.write_str("out of order: an earlier one had not arrived; no effect, its number is open")
            }
            Self::SessionExpired => f.write_str("its session had expired; no effect"),
            Self::Nothing => f.write_str("nothing: it could not be placed, or its number was resolved before"),
            Self::Unknown => {
                f.write_str("unknown: `updates` does not go back to it, or it does not say where it came from")
            }
        }
    }
}
