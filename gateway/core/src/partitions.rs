//! The partitions of `updates`: how far the hub has read each one, and whether the hub serves its
//! chunks.
//!
//! A partition that cannot be opened or read is *degraded*: the hub serves none of its chunks, and
//! serves all others. After a pause that grows with each failure, the shell opens the partition
//! again, and the hub reads on from there. The hub serves the chunks again once it has read all
//! records that the log held at that time. If it served them earlier, it could go back in time
//! (R12).

use bytes::Bytes;
use driftless_chunk::mutant::Mutant;
use driftless_chunk::position::Position;
use driftless_chunk::recognition::Known;
use driftless_schemas::time::MonotonicMs;
use driftless_schemas::{HistoryId, Offset, WorldId};
use std::fmt::Write as _;

/// The pause before a degraded partition is opened again for the first time, milliseconds. It
/// doubles with each failure.
const RETRY_MS: u64 = 1_000;
/// The most degraded partitions that a readiness answer describes. It counts the others.
const DESCRIBED_MAX: usize = 8;

/// An opened partition: where the hub begins to read, and what the log holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Opened {
    /// The position of the checkpoint in the view of the index.
    pub position: Position,
    /// The offset of the first record in the log.
    pub low: Offset,
    /// The offset of the next append. The hub serves the partition once it has read up to here.
    pub high: Offset,
    /// The end of the log that the checkpoint knows; 0 if it knows none.
    pub known_end: Offset,
    /// The record by which the log is recognised at that end; `None` if the checkpoint knows none.
    pub known: Option<Known>,
}

/// Why a partition is degraded. The text also tells operators what to do.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// The index cannot be opened, or its checkpoint cannot be read.
    #[error(
        "{0}. The gateway tries again; if a file of the index is missing or damaged, restore the index of this \
         partition from a backup"
    )]
    Index(String),
    /// The log cannot be read.
    #[error("{0}. The gateway tries again")]
    Log(String),
    /// The log does not hold the offset from which the hub must read.
    #[error(
        "updates holds offsets {low}..{high}, but {wanted} is wanted: retention of updates is shorter than the age of \
         the newest checkpoint (start the replayer first, or keep updates longer), or the index in this store belongs \
         to another log"
    )]
    OutOfRange {
        /// The offset from which the hub must read.
        wanted: Offset,
        /// The offset of the first record in the log.
        low: Offset,
        /// The offset of the next append.
        high: Offset,
    },
    /// The log ends below what the hub has read of it, or what the index knows of it.
    #[error(
        "updates ends at offset {high}, but it is known up to offset {read}: the topic has lost its end, or was made \
         anew. Examine it with `driftless recover plan`, and take it up with `driftless recover apply \
         --new-history`"
    )]
    Shorter {
        /// The offset up to which the log is known.
        read: Offset,
        /// The offset of the next append.
        high: Offset,
    },
    /// A fence has begun a new history of the partition, and the index does not name it yet.
    #[error(
        "history {0} has begun. The gateway waits until the index names it, which takes the owner of the partition some \
         seconds"
    )]
    History(HistoryId),
    /// A record just below the position, or just below the end that the index knows, contradicts
    /// the index.
    #[error(
        "updates is not the log that the index describes: {found} at offset {offset}. Name the store and the brokers \
         that belong together"
    )]
    AnotherLog {
        /// How the record and the position contradict each other.
        found: String,
        /// The record's offset.
        offset: Offset,
    },
    /// The index belongs to another world than `world.json`.
    #[error("the index belongs to the world with the id {index}, but world.json says {own}. Name the right store")]
    AnotherWorld {
        /// The id in the index.
        index: WorldId,
        /// The id in `world.json`, or the text that it has none.
        own: String,
    },
    /// A record cannot be read. To skip it would be to miss what a newer version decided.
    #[error("updates offset {offset} cannot be read: {reason}")]
    Record {
        /// The record's offset.
        offset: Offset,
        /// The problem with the record.
        reason: String,
    },
}

/// Whether a gateway serves the chunks of a partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Standing {
    /// The gateway has started, and reads the records that were in the log at that time.
    CatchingUp,
    /// The gateway serves the chunks.
    Serving,
    /// The gateway serves none of the chunks.
    Degraded(Fault),
}

impl Standing {
    /// The names of all standings.
    pub const NAMES: [&str; 3] = ["catching_up", "serving", "degraded"];

    /// The standing's name in metrics and in JSON.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::CatchingUp => Self::NAMES[0],
            Self::Serving => Self::NAMES[1],
            Self::Degraded(_) => Self::NAMES[2],
        }
    }
}

/// The standing of each partition, in the order of the partitions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Standings(pub Vec<Standing>);

impl Standings {
    /// True if clients should come: every partition that is not degraded has caught up, and there
    /// is such a partition.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        self.0.contains(&Standing::Serving) && !self.0.contains(&Standing::CatchingUp)
    }

    /// The number of partitions with this [`Standing::name`].
    #[must_use]
    pub fn count(&self, name: &str) -> usize {
        self.0.iter().filter(|standing| standing.name() == name).count()
    }

    /// The answer to a readiness probe: the degraded partitions with their reasons, or an empty
    /// text if there are none.
    ///
    /// # Errors
    /// The reason why clients should not come, followed by the degraded partitions.
    pub fn readiness(&self) -> Result<String, String> {
        let degraded = self.degraded();
        if self.is_ready() {
            return Ok(degraded);
        }
        let catching_up = self.count(Standing::NAMES[0]);
        let all = self.0.len();
        let waits = (catching_up > 0).then(|| format!("catching up with the log: {catching_up} of {all} partitions"));
        let said: Vec<String> = waits.into_iter().chain((!degraded.is_empty()).then_some(degraded)).collect();
        Err(said.join("; "))
    }

    fn degraded(&self) -> String {
        let faults = self.0.iter().enumerate().filter_map(|(partition, standing)| match standing {
            Standing::Degraded(fault) => Some((partition, fault)),
            _ => None,
        });
        let faults: Vec<_> = faults.collect();
        if faults.is_empty() {
            return String::new();
        }
        let mut said = format!("degraded: {} of {} partitions", faults.len(), self.0.len());
        for (partition, fault) in faults.iter().take(DESCRIBED_MAX) {
            let _ = write!(said, "; partition {partition}: {fault}");
        }
        if let Some(more) = faults.len().checked_sub(DESCRIBED_MAX).filter(|more| *more > 0) {
            let _ = write!(said, "; and {more} more");
        }
        said
    }
}

/// A partition as the hub keeps it.
#[derive(Debug)]
pub(crate) struct PartitionState {
    /// The position up to which `updates` was read.
    pub position: Position,
    pub standing: Standing,
    stage: Stage,
    /// The newest history that the hub has read of. The hub reads on only from a position of this
    /// history or a later one.
    history: HistoryId,
    /// A record by which the log is recognised, until it is read.
    known: Option<Known>,
    /// How often the partition became degraded or could not be opened, without being served for
    /// long in between.
    failures: u32,
    /// When the partition was last served anew.
    served_at: MonotonicMs,
}

/// The progress of opening and reading a partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// Not read. The shell opens the partition at this time.
    Closed { until: MonotonicMs },
    /// The shell opens the partition.
    Opening,
    /// Records are read. The hub serves the partition once it has read up to this offset.
    Reading { goal: Offset },
}

impl PartitionState {
    /// A partition that the shell opens at the first tick.
    pub fn unopened() -> Self {
        let stage = Stage::Closed { until: MonotonicMs::default() };
        Self {
            position: Position::START,
            standing: Standing::CatchingUp,
            stage,
            history: HistoryId::FIRST,
            known: None,
            failures: 0,
            served_at: MonotonicMs::default(),
        }
    }

    /// A partition that is served at once, and read from this position on.
    pub fn served_from(position: Position) -> Self {
        let stage = Stage::Reading { goal: position.offset };
        Self {
            position,
            standing: Standing::Serving,
            stage,
            history: position.history,
            known: None,
            failures: 0,
            served_at: MonotonicMs::default(),
        }
    }

    pub fn is_reading(&self) -> bool {
        matches!(self.stage, Stage::Reading { .. })
    }

    /// Returns true if the partition is neither read nor being opened.
    pub fn is_closed(&self) -> bool {
        matches!(self.stage, Stage::Closed { .. })
    }

    /// True if the hub waits for the index to name a new history.
    pub fn awaits_history(&self) -> bool {
        matches!(self.standing, Standing::Degraded(Fault::History(_)))
    }

    pub fn is_degraded(&self) -> bool {
        matches!(self.standing, Standing::Degraded(_))
    }

    /// Returns true if the shell must open the partition now.
    pub fn begin_opening(&mut self, now: MonotonicMs) -> bool {
        let is_due = matches!(self.stage, Stage::Closed { until } if until <= now);
        if is_due {
            self.stage = Stage::Opening;
        }
        is_due
    }

    /// Begins to read an opened partition.
    ///
    /// # Errors
    /// [`Fault::OutOfRange`]; [`Fault::History`] if the position belongs to an earlier history than
    /// the hub has read of; [`Fault::Shorter`] if the log has lost records of this history that the
    /// hub has read.
    pub fn opened(&mut self, opened: Opened) -> Result<(), Fault> {
        let Opened { position, low, high, known_end, known } = opened;
        if position.history < self.history {
            return Err(Fault::History(self.history));
        }
        if position.offset < low || position.offset > high {
            return Err(Fault::OutOfRange { wanted: position.offset, low, high });
        }
        let has_read = if position.history == self.position.history { self.position.offset } else { Offset(0) };
        let read = has_read.max(known_end);
        if high < read {
            return Err(Fault::Shorter { read, high });
        }
        self.position = position;
        self.history = position.history;
        self.known = known.filter(|_| !Mutant::GatewayForgetsTheEnd.is_on());
        self.stage = Stage::Reading { goal: high };
        Ok(())
    }

    /// Compares a record with what the hub knows of the log. Returns how they contradict each
    /// other.
    pub fn contradiction(&mut self, offset: Offset, value: &Bytes) -> Option<String> {
        match self.known.take_if(|known| known.at() == offset) {
            Some(known) => known.difference(value),
            None if offset < self.position.offset => self.position.contradiction(value.clone()),
            None => None,
        }
    }

    /// Notes the history that a fence has begun. Returns false if it is known already.
    pub fn begin_history(&mut self, begun: HistoryId) -> bool {
        let is_news = begun > self.history;
        self.history = begun.max(self.history);
        is_news
    }

    /// Closes the partition after a fault. Returns true if the fault must be reported: the
    /// partition was not degraded, or was degraded for another kind of fault.
    ///
    /// A partition may fail again as soon as it is read. So the pause starts anew only after a time
    /// without a fault.
    pub fn fail(&mut self, fault: Fault, now: MonotonicMs, retry_max_ms: u64) -> bool {
        if self.standing == Standing::Serving && now.ms_since(self.served_at) >= retry_max_ms {
            self.failures = 0;
        }
        let pause_ms = (RETRY_MS << self.failures.min(16)).min(retry_max_ms);
        self.stage = Stage::Closed { until: now.plus_ms(pause_ms) };
        self.failures = self.failures.saturating_add(1);
        let is_known = matches!(&self.standing, Standing::Degraded(known)
            if std::mem::discriminant(known) == std::mem::discriminant(&fault));
        self.standing = Standing::Degraded(fault);
        !is_known
    }

    /// Serves the partition if the hub has read up to the goal. Returns the standing before, if it
    /// was another one.
    pub fn serve_if_caught_up(&mut self, now: MonotonicMs) -> Option<Standing> {
        let is_caught_up = matches!(self.stage, Stage::Reading { goal } if self.position.offset >= goal);
        if !is_caught_up || self.standing == Standing::Serving {
            return None;
        }
        self.served_at = now;
        Some(std::mem::replace(&mut self.standing, Standing::Serving))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fault() -> Fault {
        Fault::Log("no leader".into())
    }

    #[test]
    fn readiness_names_the_degraded_partitions_and_waits_for_the_others() {
        let mut all = Standings(vec![Standing::CatchingUp; 12]);
        assert_eq!(all.readiness(), Err("catching up with the log: 12 of 12 partitions".into()));
        all.0[3] = Standing::Degraded(fault());
        let said = all.readiness().unwrap_err();
        assert!(
            said.starts_with("catching up with the log: 11 of 12 partitions; degraded: 1 of 12 partitions"),
            "{said}"
        );
        all.0.iter_mut().filter(|one| **one == Standing::CatchingUp).for_each(|one| *one = Standing::Serving);
        let said = all.readiness().unwrap();
        assert!(all.is_ready());
        assert_eq!(said, format!("degraded: 1 of 12 partitions; partition 3: {}", fault()));
        assert_eq!(Standing::NAMES.map(|name| all.count(name)), [0, 11, 1]);
        all.0.fill(Standing::Degraded(fault()));
        let said = all.readiness().unwrap_err();
        assert!(said.starts_with("degraded: 12 of 12 partitions; partition 0: "), "{said}");
        assert!(said.ends_with("; and 4 more"), "{said}");
        assert_eq!(Standings(vec![Standing::Serving]).readiness(), Ok(String::new()));
    }

    #[test]
    fn the_pause_between_two_tries_grows_to_its_limit_and_starts_anew_after_a_time_without_a_fault() {
        let mut state = PartitionState::unopened();
        let mut now = MonotonicMs(0);
        let mut pauses = Vec::new();
        for _ in 0..9 {
            assert!(state.begin_opening(now) && !state.begin_opening(now));
            state.fail(fault(), now, 60_000);
            let failed_at = now;
            while !state.begin_opening(now) {
                now = now.plus_ms(500);
            }
            pauses.push(now.ms_since(failed_at) / 1000);
            state.stage = Stage::Closed { until: now };
        }
        assert_eq!(pauses, [1, 2, 4, 8, 16, 32, 60, 60, 60]);
        let (position, low, high) = (Position::START, Offset(0), Offset(0));
        state.opened(Opened { position, low, high, known_end: Offset(0), known: None }).unwrap();
        assert_eq!(state.serve_if_caught_up(now), Some(Standing::Degraded(fault())));
        let mut pause = |served_ms| {
            let mut state = PartitionState { standing: state.standing.clone(), ..state };
            now = now.plus_ms(served_ms);
            state.fail(fault(), now, 60_000);
            (1..).find(|ms| state.begin_opening(now.plus_ms(*ms)))
        };
        assert_eq!([pause(59_999), pause(1)], [Some(60_000), Some(1_000)]);
    }

    #[test]
    fn a_fault_is_reported_once_until_another_kind_of_fault_comes() {
        let mut state = PartitionState::served_from(Position::START);
        let index = |reason: &str| Fault::Index(reason.into());
        let mut fail = |fault| state.fail(fault, MonotonicMs(0), 1000);
        assert_eq!([fail(index("a")), fail(index("b")), fail(fault()), fail(fault())], [true, false, true, false]);
    }

    #[test]
    fn after_a_new_history_a_position_of_the_old_one_is_a_fault() {
        let [old, new] = [5, 7].map(|time_ms| HistoryId::new(time_ms, [1; 10], HistoryId::FIRST));
        let mut state = PartitionState::served_from(Position { history: old, ..Position::START });
        assert!(!state.begin_history(old) && state.begin_history(new) && !state.begin_history(new));
        let opened = |history| {
            let position = Position { history, ..Position::START };
            Opened { position, low: Offset(0), high: Offset(0), known_end: Offset(0), known: None }
        };
        assert_eq!(state.opened(opened(old)), Err(Fault::History(new)));
        assert_eq!(state.opened(opened(new)), Ok(()));
    }

    /// The hub has read up to offset 9. The index knows the log up to offset 12.
    #[test]
    fn r12_a_log_that_ends_below_what_is_known_of_it_is_a_fault_within_one_history() {
        let new = HistoryId::new(5, [1; 10], HistoryId::FIRST);
        for (high, history, known_end, read) in [
            (8, HistoryId::FIRST, 0, Some(9)),
            (9, HistoryId::FIRST, 0, None),
            (11, HistoryId::FIRST, 12, Some(12)),
            (12, HistoryId::FIRST, 12, None),
            (8, new, 0, None),
        ] {
            let mut state = PartitionState::served_from(Position { offset: Offset(9), ..Position::START });
            state.fail(fault(), MonotonicMs(0), 1_000);
            let position = Position { offset: Offset(3), history, ..Position::START };
            let (high, known_end) = (Offset(high), Offset(known_end));
            let opened = state.opened(Opened { position, low: Offset(0), high, known_end, known: None });
            assert_eq!(opened, read.map_or(Ok(()), |read| Err(Fault::Shorter { read: Offset(read), high })));
        }
    }

    #[test]
    fn an_offset_that_the_log_does_not_hold_is_a_fault() {
        let position = Position { offset: Offset(7), ..Position::START };
        for (low, high) in [(8, 9), (0, 6)] {
            let (low, high) = (Offset(low), Offset(high));
            let mut state = PartitionState::unopened();
            let fault = state.opened(Opened { position, low, high, known_end: Offset(0), known: None }).unwrap_err();
            assert_eq!(fault, Fault::OutOfRange { wanted: Offset(7), low, high });
            assert!(!state.is_reading());
        }
    }
}
