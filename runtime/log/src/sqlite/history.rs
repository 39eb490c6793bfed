//! The thread that reads what the tails no longer hold, with a connection of its own: readers that are behind memory_bytes the
//! writer nothing, and never block a tokio thread.

use super::super::Record;
use super::super::local::reader::HistoryRequest;
use super::super::local::tails::memory_bytes;
use super::schema;
use rusqlite::{Connection, params};
use std::sync::mpsc;

/// Serves requests until the log is closed.
pub(super) fn run(connection: &Connection, requests: mpsc::Receiver<HistoryRequest>) {
    for request in requests {
        let answer = read(connection, &request).map_err(|error| error.to_string());
        // A reader that was dropped or went elsewhere does not wait any more.
        let _ = request.reply.send(answer);
        request.wake.notify_one();
    }
}

fn read(connection: &Connection, request: &HistoryRequest) -> rusqlite::Result<Vec<Record>> {
    let mut select = connection.prepare_cached(schema::SELECT)?;
    let mut rows = select.query(params![&*request.topic, request.partition.0, request.from, request.until])?;
    let mut records = Vec::new();
    let mut bytes = 0;
    while let Some(row) = rows.next()? {
        let record = schema::record(row)?;
        bytes += memory_bytes(&record);
        records.push(record);
        if bytes >= request.bytes_max {
            break;
        }
    }
    Ok(records)
}
