//! Recognises the log, with the records that `driftless_replayer_core::Known` names
//! (docs/decisions/0018). Retention may have deleted such a record; then there is nothing to
//! compare, and the ownership goes on.
//!
//! The first ownership that a process tries reads these records together with the records of
//! recovery, so it loses no time. It has appended its fence by then. A retry looks before it
//! appends one.

use crate::context::Context;
use crate::feed::Delivery;
use driftless_chunk::recognition::{Known, difference_of_prints};
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

/// Compares the first delivery of a stream, which was read from [`Known::at`] on.
pub(super) fn compare_delivery(known: Known, delivery: Delivery) -> Compared {
    let mut records = match delivery {
        Ok(records) => records,
        Err(ReadError::OutOfRange { wanted, low, high, .. })
            if wanted == known.at() && low == known.from() && known.from() <= high =>
        {
            return Compared::Deleted(known.from());
        }
        // The error names the offset that the owner needs.
        Err(ReadError::OutOfRange { topic, partition, low, high, .. }) => {
            let e = ReadError::OutOfRange { topic, partition, wanted: known.from(), low, high };
            return Compared::Delivery(Err(e));
        }
        Err(e) => return Compared::Delivery(Err(e)),
    };
    if records.first().is_some_and(|(offset, _)| *offset == known.at()) {
        let (offset, value) = records.remove(0);
        if let Some(difference) = known.difference(&value) {
            return Compared::Differs(difference, offset);
        }
    }
    Compared::Delivery(Ok(records))
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
    check_updates_low(context, partition, checkpoint).await?;
    check_updates_end(context, partition, checkpoint).await
}

/// Like [`check_log`], for the beginning of the part of `updates` that recovery reads.
pub(crate) async fn check_updates_low(
    context: &Context,
    partition: Partition,
    checkpoint: &Checkpoint,
) -> Result<(), Stranger> {
    compare(context, partition, &context.world.topics().updates, Known::of_updates(checkpoint)).await
}

/// Like [`check_log`], for the end of `updates` that the checkpoint knows.
pub(crate) async fn check_updates_end(
    context: &Context,
    partition: Partition,
    checkpoint: &Checkpoint,
) -> Result<(), Stranger> {
    compare(context, partition, &context.world.topics().updates, Known::of_updates_end(checkpoint)).await
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
        Ok(Some(delivery)) => match compare_delivery(known, delivery) {
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

    /// The error for a record with another print than the index has noted.
    pub fn of_print(
        store: &Store,
        topic: &Arc<str>,
        partition: Partition,
        (offset, found, known): (Offset, Print, Print),
    ) -> Self {
        Self::of_record(store, topic, partition, (difference_of_prints(found, known), offset))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;
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
        let Compared::Delivery(Ok(rest)) = compare_delivery(known, delivery(&[(7, b"seven"), (8, b"eight")])) else {
            panic!()
        };
        assert_eq!(rest, [(Offset(8), Bytes::from_static(b"eight"))]);
        let Compared::Differs(found, Offset(7)) = compare_delivery(known, delivery(&[(7, b"other")])) else { panic!() };
        assert!(found.contains("print"), "{found}");
    }

    #[test]
    fn a_record_that_retention_has_deleted_says_nothing() {
        let known = Known::of_commands(&checkpoint()).unwrap();
        let cut = |low, high| {
            let (wanted, low, high) = (known.at(), Offset(low), Offset(high));
            Err(ReadError::OutOfRange { topic: "t".into(), partition: Partition(0), wanted, low, high })
        };
        assert!(matches!(compare_delivery(known, cut(8, 8)), Compared::Deleted(Offset(8))));
        assert!(matches!(compare_delivery(known, cut(9, 12)), Compared::Delivery(Err(_))), "command 8 is lost");
        assert!(matches!(compare_delivery(known, cut(0, 3)), Compared::Delivery(Err(_))), "the log is too short");
        assert!(
            matches!(compare_delivery(known, delivery(&[(8, b"eight")])), Compared::Delivery(Ok(records)) if records.len() == 1)
        );
    }

    #[test]
    fn an_update_of_a_later_owner_below_updates_low_means_another_log() {
        let known = Known::of_updates(&checkpoint()).unwrap();
        let record = |epoch| Bytes::from(UpdatesRecord { epoch, n: 9, body: None }.encode_to_vec());
        for (epoch, is_own) in [(2, true), (3, true), (4, false)] {
            let compared = compare_delivery(known, Ok(vec![(Offset(4), record(epoch))]));
            assert_eq!(matches!(compared, Compared::Delivery(Ok(_))), is_own, "epoch {epoch}");
        }
    }

    #[test]
    fn the_record_below_the_known_end_is_recognised_by_its_print() {
        let with_end =
            |end| Checkpoint { updates_end: Offset(end), updates_print: Some(Print::of(b"newest")), ..checkpoint() };
        let later = Bytes::from(UpdatesRecord { epoch: 4, n: 9, body: None }.encode_to_vec());
        let known = Known::of_updates(&with_end(5)).unwrap();
        assert!(matches!(compare_delivery(known, Ok(vec![(Offset(4), later.clone())])), Compared::Differs(..)));
        assert!(matches!(compare_delivery(known, delivery(&[(4, b"newest")])), Compared::Delivery(Ok(_))));
        // Recovery reads on from offset 5, and so compares the record below offset 9 itself.
        let known = Known::of_updates(&with_end(9)).unwrap();
        assert_eq!(known.at(), Offset(4));
        assert!(
            matches!(compare_delivery(known, Ok(vec![(Offset(4), later)])), Compared::Differs(..)),
            "a later epoch"
        );
        assert_eq!(Known::of_updates_end(&with_end(9)).unwrap().at(), Offset(8));
    }

    #[test]
    fn a_new_index_knows_nothing_of_the_log() {
        assert!(Known::of_commands(&Checkpoint::default()).is_none());
        assert!(Known::of_updates(&Checkpoint::default()).is_none());
    }
}
