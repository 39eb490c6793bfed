//! Recognises the log: whether it is the one that the index describes (docs/decisions/0018).
//!
//! Offsets mean something only in one log. If a topic was made anew, or if the brokers or the store
//! were confused, an owner would skip commands that are not decided. So the owner looks at the last
//! record below each offset that the checkpoint names. In `commands`, the print of the record must
//! be the checkpoint's. In `updates`, the epoch of the record must not be above the checkpoint's,
//! because each owner of another log has claimed a later epoch. Retention may have deleted such a
//! record; then there is nothing to compare, and the ownership goes on.
//!
//! The first ownership that a process tries reads these records together with the records of
//! recovery, so it loses no time. It has appended its fence by then. A retry looks before it
//! appends one.

use crate::context::Context;
use crate::feed::Delivery;
use bytes::Bytes;
use driftless_chunk::position::Position;
use driftless_log::ReadError;
use driftless_replayer_core::End;
use driftless_schemas::proto::{UpdatesRecord, updates_record::Body};
use driftless_schemas::stored::Checkpoint;
use driftless_schemas::{Epoch, Offset, Partition, Print, WorldId, format};
use driftless_store::Store;
use std::sync::Arc;
use std::time::Duration;

/// How long a retry waits for a record of the log.
const PATIENCE: Duration = Duration::from_secs(10);

/// World, store, index and log do not belong together.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Stranger {
    /// A topic is not the one that the index describes.
    #[error(
        "{topic}[{partition}] is not the log that the index in {store} describes: {found} at offset {offset}. The topic was made anew, or brokers or store are not the right ones. Name the brokers and the store that belong together; or put back the topic; or find out with `driftless recover plan` what is lost, and take the topic up with `driftless recover apply`"
    )]
    Log {
        /// The topic.
        topic: Arc<str>,
        /// The partition.
        partition: Partition,
        /// The object store's URL.
        store: String,
        /// The difference.
        found: String,
        /// The offset of the record that was compared.
        offset: Offset,
    },
    /// The log belongs to another world.
    #[error(transparent)]
    World(End),
    /// The index belongs to another world than `world.json`.
    #[error(
        "the index of partition {partition} in {store} belongs to the world with the id {index}, but world.json there says {world}. Put back the world.json or the folder index that belong together"
    )]
    Index {
        /// The partition.
        partition: Partition,
        /// The object store's URL.
        store: String,
        /// The id in the index.
        index: WorldId,
        /// The id in `world.json`, or that it has none.
        world: String,
    },
}

/// The property by which the last record below a checkpoint's offset is recognised.
#[derive(Clone, Copy, Debug)]
enum Mark {
    /// A record of `commands` has this print.
    Print(Print),
    /// A record of `updates` does not contradict this position, which stands just above it.
    Position(Position),
}

/// A record that is compared before the records behind it are used.
#[derive(Clone, Copy, Debug)]
pub(super) struct Known {
    mark: Mark,
    /// The first offset that the owner reads. The compared record stands just below it.
    from: Offset,
}

/// The outcome of a comparison with the first delivery of a stream.
pub(super) enum Compared {
    /// The delivery, without the compared record.
    Delivery(Delivery),
    /// Retention has deleted the compared record. The stream is to be read from the given offset
    /// on.
    Deleted(Offset),
    /// The record is another one; the text says how it differs.
    Differs(String, Offset),
}

impl Known {
    /// The record of `commands` that the checkpoint describes.
    pub fn of_commands(checkpoint: &Checkpoint) -> Option<Self> {
        let mark = Mark::Print(checkpoint.commands_print?);
        Self::below(checkpoint.commands_next, mark)
    }

    /// The record of `updates` that the checkpoint describes.
    pub fn of_updates(checkpoint: &Checkpoint) -> Option<Self> {
        Self::below(checkpoint.updates_low, Mark::Position(Position::of_checkpoint(checkpoint)))
    }

    fn below(from: Offset, mark: Mark) -> Option<Self> {
        (from > Offset(0)).then_some(Self { mark, from })
    }

    /// The offset of the compared record, from which the stream must be read.
    pub fn at(&self) -> Offset {
        Offset(self.from.0 - 1)
    }

    /// The first offset behind the compared record.
    pub fn from(&self) -> Offset {
        self.from
    }

    /// Compares the first delivery of the stream, which was read from [`Known::at`] on.
    pub fn compare(self, delivery: Delivery) -> Compared {
        let mut records = match delivery {
            Ok(records) => records,
            Err(ReadError::OutOfRange { wanted, low, high, .. })
                if wanted == self.at() && low == self.from && self.from <= high =>
            {
                return Compared::Deleted(self.from);
            }
            // The error names the offset that the owner needs.
            Err(ReadError::OutOfRange { topic, partition, low, high, .. }) => {
                let e = ReadError::OutOfRange { topic, partition, wanted: self.from, low, high };
                return Compared::Delivery(Err(e));
            }
            Err(e) => return Compared::Delivery(Err(e)),
        };
        if records.first().is_some_and(|(offset, _)| *offset == self.at()) {
            let (offset, value) = records.remove(0);
            if let Some(difference) = self.difference(&value) {
                return Compared::Differs(difference, offset);
            }
        }
        Compared::Delivery(Ok(records))
    }

    /// How the record differs from what is known; `None` if it does not.
    fn difference(self, value: &Bytes) -> Option<String> {
        match self.mark {
            Mark::Print(known) => {
                let found = Print::of(value);
                (found != known).then(|| format!("the print of the record is {found}, and not {known}"))
            }
            Mark::Position(position) => position.contradiction(value.clone()),
        }
    }
}

/// Fails if the index belongs to another world. The next checkpoint takes an index without a world
/// into this one.
pub(crate) fn check_index(context: &Context, partition: Partition, checkpoint: &Checkpoint) -> Result<(), Stranger> {
    match checkpoint.world {
        None => Ok(()),
        Some(index) if Some(index) == context.world.id() => Ok(()),
        Some(index) => Err(Stranger::Index {
            partition,
            store: context.store.url().to_owned(),
            index,
            world: context.world.id_text(),
        }),
    }
}

/// Reads and compares the records that are known, before the fence is appended. Returns `Ok` also
/// if the log does not deliver them in time, because recovery compares them again.
pub(super) async fn check_log(
    context: &Context,
    partition: Partition,
    checkpoint: &Checkpoint,
) -> Result<(), Stranger> {
    if checkpoint.updates_low_epoch == Epoch(0) {
        return check_owner_of_log(context, partition).await;
    }
    check_updates(context, partition, checkpoint).await?;
    check_commands(context, partition, checkpoint).await
}

/// Like [`check_log`], for `commands` alone.
pub(crate) async fn check_commands(
    context: &Context,
    partition: Partition,
    checkpoint: &Checkpoint,
) -> Result<(), Stranger> {
    compare(context, partition, &context.world.topics().commands, Known::of_commands(checkpoint)).await
}

/// Like [`check_log`], for `updates` alone.
pub(crate) async fn check_updates(
    context: &Context,
    partition: Partition,
    checkpoint: &Checkpoint,
) -> Result<(), Stranger> {
    compare(context, partition, &context.world.topics().updates, Known::of_updates(checkpoint)).await
}

async fn compare(
    context: &Context,
    partition: Partition,
    topic: &Arc<str>,
    known: Option<Known>,
) -> Result<(), Stranger> {
    let Some(known) = known else { return Ok(()) };
    let mut deliveries = context.feed.read(topic, partition, known.at());
    match tokio::time::timeout(PATIENCE, deliveries.recv()).await {
        Ok(Some(delivery)) => match known.compare(delivery) {
            Compared::Differs(found, offset) => {
                Err(Stranger::of_record(&context.store, topic, partition, (found, offset)))
            }
            Compared::Delivery(_) | Compared::Deleted(_) => Ok(()),
        },
        Ok(None) | Err(_) => Ok(()),
    }
}

/// For an index that knows nothing of the log yet: fails if the log begins with a fence of another
/// world.
async fn check_owner_of_log(context: &Context, partition: Partition) -> Result<(), Stranger> {
    let topic = &context.world.topics().updates;
    let Ok((low, high)) = context.log.watermarks(topic, partition).await else { return Ok(()) };
    if low == high {
        return Ok(());
    }
    let mut deliveries = context.feed.read(topic, partition, low);
    let Ok(Some(Ok(records))) = tokio::time::timeout(PATIENCE, deliveries.recv()).await else { return Ok(()) };
    let Some((offset, value)) = records.into_iter().next() else { return Ok(()) };
    let record = format::decode::<UpdatesRecord>("UpdatesRecord", value);
    let Ok(UpdatesRecord { body: Some(Body::Fence(fence)), .. }) = record else { return Ok(()) };
    match WorldId::from_slice(&fence.world_id) {
        Some(found) if Some(found) != context.world.id() => {
            Err(Stranger::World(End::AnotherWorld { offset, found, own: context.world.id_text() }))
        }
        _ => Ok(()),
    }
}

impl Stranger {
    /// The error for a record that differs; `found` says how, and at which offset.
    pub fn of_record(store: &Store, topic: &Arc<str>, partition: Partition, found: (String, Offset)) -> Self {
        let (found, offset) = found;
        Self::Log { topic: Arc::clone(topic), partition, store: store.url().to_owned(), found, offset }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use prost::Message as _;

    fn delivery(records: &[(i64, &'static [u8])]) -> Delivery {
        Ok(records.iter().map(|(offset, value)| (Offset(*offset), Bytes::from_static(value))).collect())
    }

    fn checkpoint() -> Checkpoint {
        Checkpoint {
            commands_next: Offset(8),
            commands_print: Some(Print::of(b"seven")),
            updates_low: Offset(5),
            updates_low_epoch: Epoch(3),
            ..Checkpoint::default()
        }
    }

    #[test]
    fn the_command_below_commands_next_is_recognised_and_not_given_on() {
        let known = Known::of_commands(&checkpoint()).unwrap();
        assert_eq!(known.at(), Offset(7));
        let Compared::Delivery(Ok(rest)) = known.compare(delivery(&[(7, b"seven"), (8, b"eight")])) else { panic!() };
        assert_eq!(rest, [(Offset(8), Bytes::from_static(b"eight"))]);
        let Compared::Differs(found, Offset(7)) = known.compare(delivery(&[(7, b"other")])) else { panic!() };
        assert!(found.contains("print"), "{found}");
    }

    #[test]
    fn a_record_that_retention_has_deleted_says_nothing() {
        let known = Known::of_commands(&checkpoint()).unwrap();
        let cut = |low, high| {
            let (wanted, low, high) = (known.at(), Offset(low), Offset(high));
            Err(ReadError::OutOfRange { topic: "t".into(), partition: Partition(0), wanted, low, high })
        };
        assert!(matches!(known.compare(cut(8, 8)), Compared::Deleted(Offset(8))));
        assert!(matches!(known.compare(cut(9, 12)), Compared::Delivery(Err(_))), "command 8 is lost");
        assert!(matches!(known.compare(cut(0, 3)), Compared::Delivery(Err(_))), "the log is too short");
        assert!(
            matches!(known.compare(delivery(&[(8, b"eight")])), Compared::Delivery(Ok(records)) if records.len() == 1)
        );
    }

    #[test]
    fn an_update_of_a_later_owner_below_updates_low_means_another_log() {
        let known = Known::of_updates(&checkpoint()).unwrap();
        let record = |epoch| Bytes::from(UpdatesRecord { epoch, n: 9, body: None }.encode_to_vec());
        for (epoch, is_own) in [(2, true), (3, true), (4, false)] {
            let compared = known.compare(Ok(vec![(Offset(4), record(epoch))]));
            assert_eq!(matches!(compared, Compared::Delivery(Ok(_))), is_own, "epoch {epoch}");
        }
    }

    #[test]
    fn a_new_index_knows_nothing_of_the_log() {
        assert!(Known::of_commands(&Checkpoint::default()).is_none());
        assert!(Known::of_updates(&Checkpoint::default()).is_none());
    }
}
