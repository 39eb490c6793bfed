//! Reading a part of a partition, one record after the other, without holding more than what one poll brings.

use anyhow::{Context, Result};
use driftless_log::{Log, Record};
use driftless_schemas::{Offset, Partition};
use std::ops::Range;
use std::time::Duration;

/// A log that brings nothing for so long does not answer.
const PATIENCE: Duration = Duration::from_secs(30);

/// Gives each record of `range` to `take`, in order.
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
            format!("{} brings no records of {topic}[{partition}] within {PATIENCE:?}", log.describe())
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
