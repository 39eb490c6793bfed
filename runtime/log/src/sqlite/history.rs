//! The thread that reads records which the tails no longer hold, on a database connection of its
//! own. Lagging readers therefore neither slow the writer down nor block a tokio thread.

use super::super::Record;
use super::super::local::reader::HistoryRequest;
use super::schema;
use rusqlite::{Connection, params};
use std::sync::mpsc;

/// Serves requests until the log closes.
pub(super) fn run(connection: &Connection, requests: mpsc::Receiver<HistoryRequest>) {
    for request in requests {
        let answer = read(connection, &request).map_err(|error| error.to_string());
        // The send fails if the reader was dropped or was assigned another offset; no reader then
        // needs the answer.
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
        bytes += record.memory_bytes();
        records.push(record);
        if bytes >= request.bytes_max {
            break;
        }
    }
    Ok(records)
}
