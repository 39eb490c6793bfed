//! Reads a partition of `updates` from its beginning, for an operator's order.

use driftless_chunk::position::{Position, Validity};
use driftless_log::Log;
use driftless_schemas::proto::{UpdatesRecord, updates_record::Body};
use driftless_schemas::{Offset, Partition, format};
use std::sync::Arc;

/// Reads all records that a partition of `updates` has now.
pub(crate) async fn read_all(
    log: &dyn Log,
    topic: &Arc<str>,
    partition: Partition,
    mut take: impl FnMut(Offset, UpdatesRecord) -> Result<(), String>,
) -> Result<(), String> {
    let (low, high) = log.watermarks(topic, partition).await.map_err(|e| e.to_string())?;
    let mut next = low;
    if next >= high {
        return Ok(());
    }
    let mut reader = log.reader().map_err(|e| e.to_string())?;
    reader.assign(topic, partition, low);
    while next < high {
        for batch in reader.next().await.map_err(|e| e.to_string())? {
            for record in batch.records {
                next = record.offset.next();
                let read = format::decode_known("UpdatesRecord", record.value);
                let read = read.map_err(|e| e.to_string()).and_then(|read| take(record.offset, read));
                read.map_err(|e| format!("{topic}[{partition}] offset {}: {e}", record.offset))?;
            }
        }
    }
    Ok(())
}

/// The offset of the newest fence that took up another topic of `commands`, if the log has one.
/// Records below it name offsets of the old topic.
pub(crate) async fn commands_taken_up_at(
    log: &dyn Log,
    topic: &Arc<str>,
    partition: Partition,
) -> Result<Option<Offset>, String> {
    let (mut position, mut found) = (Position::START, None);
    read_all(log, topic, partition, |offset, record| {
        let history = position.history;
        let begins = position.judge(offset, &record) == Validity::Fence && position.history > history;
        if begins && matches!(&record.body, Some(Body::Fence(fence)) if fence.commands_anew) {
            found = Some(offset);
        }
        Ok(())
    })
    .await?;
    Ok(found)
}
