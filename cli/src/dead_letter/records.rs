//! Reads a range of a partition record by record. Only the records of one poll are in memory.

use anyhow::{Context, Result};
use driftless_log::{Log, Record};
use driftless_schemas::{Offset, Partition};
use std::ops::Range;
use std::time::Duration;

/// A log that returns no record for this long counts as unreachable.
const PATIENCE: Duration = Duration::from_secs(30);

/// Passes each record of `range` to `take`, in order.
pub(super) async fn each(
    log: &dyn Log,
    topic: &str,
    partition: Partition,
    range: Range<Offset>,
    mut take: impl FnMut(Record) -> Result<()>,
) -> Result<()> {
    if range.is_empty() {
        return Ok(());
    }
    let mut reader = log.reader()?;
    reader.assign(topic, partition, range.start);
    loop {
        let batches = tokio::time::timeout(PATIENCE, reader.next()).await.with_context(|| {
            format!("{} returned no record of {topic}[{partition}] within {PATIENCE:?}", log.describe())
        })??;
        for record in batches.into_iter().flat_map(|batch| batch.records) {
            let next = record.offset.next();
            if record.offset < range.end {
                take(record)?;
            }
            if next >= range.end {
                return Ok(());
            }
        }
    }
}
