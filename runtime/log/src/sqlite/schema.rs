//! The tables of the embedded log and the encoding of a record in them. The tables are readable
//! with `sqlite3`: `SELECT topic, partition, offset, datetime(timestamp_ms / 1000, 'unixepoch'),
//! key, length(value) FROM records;`

use super::super::local::tails::{Tail, Topic, Topics};
use super::super::{Error, Headers, Record};
use bytes::Bytes;
use driftless_schemas::Offset;
use driftless_schemas::time::UnixMs;
use rusqlite::{Connection, OpenFlags, OptionalExtension, Row, params};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

/// The application id in the file's header, "DrfL". Another program's database is therefore never
/// mistaken for a log.
const APPLICATION_ID: i32 = 0x4472_664c;
/// The version of the tables; increased with each change.
const FORMAT: i32 = 1;

const TABLES: &str = "
CREATE TABLE topics (
  topic TEXT NOT NULL PRIMARY KEY,
  partitions INTEGER NOT NULL,
  retention_ms INTEGER,               -- NULL: for ever
  record_bytes_max INTEGER NOT NULL
) WITHOUT ROWID;
CREATE TABLE starts (                 -- where retention moved the start of a partition to
  topic TEXT NOT NULL,
  partition INTEGER NOT NULL,
  offset INTEGER NOT NULL,
  PRIMARY KEY (topic, partition)
) WITHOUT ROWID;
CREATE TABLE records (
  topic TEXT NOT NULL,
  partition INTEGER NOT NULL,
  offset INTEGER NOT NULL,
  timestamp_ms INTEGER NOT NULL,
  key BLOB,
  value BLOB NOT NULL,
  headers TEXT,                       -- [[name, value], ...]; a value that is not text: {\"hex\": \"...\"}
  PRIMARY KEY (topic, partition, offset)
) WITHOUT ROWID;
";

/// Opens the file for the writer and creates the tables in a new file.
pub(super) fn open_writer(path: &Path) -> Result<Connection, Error> {
    let at = || path.display().to_string();
    let unusable = |error: rusqlite::Error| Error::Unavailable {
        at: at(),
        reason: format!(
            "the file is not usable as a log: {error}; if it is damaged, move it away and start with an empty log"
        ),
    };
    let connection = Connection::open(path).map_err(unusable)?;
    prepare(&connection).map_err(unusable)?;
    let application_id: i32 = pragma(&connection, "application_id").map_err(unusable)?;
    let format: i32 = pragma(&connection, "user_version").map_err(unusable)?;
    let tables: i64 =
        connection.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0)).map_err(unusable)?;
    match (application_id, format) {
        (APPLICATION_ID, FORMAT) => {}
        (0, 0) if tables == 0 => {
            connection
                .execute_batch(&format!(
                    "BEGIN EXCLUSIVE; {TABLES}; PRAGMA application_id = {APPLICATION_ID}; \
                     PRAGMA user_version = {FORMAT}; COMMIT;"
                ))
                .map_err(unusable)?;
        }
        (APPLICATION_ID, other) => {
            let reason = format!(
                "the log has format {other}, this version reads {FORMAT}; use the version of Driftless that wrote it"
            );
            return Err(Error::Unavailable { at: at(), reason });
        }
        _ => {
            let reason = "the file is another program's database; choose another path".to_owned();
            return Err(Error::Unavailable { at: at(), reason });
        }
    }
    Ok(connection)
}

/// Opens the file for reading records.
pub(super) fn open_history(path: &Path) -> Result<Connection, Error> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let open = || {
        let connection = Connection::open_with_flags(path, flags)?;
        connection.busy_timeout(Duration::from_secs(5))?;
        connection.pragma_update(None, "mmap_size", 256 << 20)?;
        Ok(connection)
    };
    open().map_err(|error: rusqlite::Error| Error::Unavailable {
        at: path.display().to_string(),
        reason: format!("cannot open the file for reading: {error}"),
    })
}

fn prepare(connection: &Connection) -> rusqlite::Result<()> {
    connection.busy_timeout(Duration::from_secs(5))?;
    // SQLite applies the page size only before the first table exists.
    connection.pragma_update(None, "page_size", 8192)?;
    connection.pragma_update(None, "journal_mode", "WAL")?;
    // The mode FULL makes a commit durable when it returns. On macOS that also needs fullfsync,
    // because fsync alone does not guarantee it there.
    connection.pragma_update(None, "synchronous", "FULL")?;
    connection.pragma_update(None, "fullfsync", true)?;
    connection.pragma_update(None, "cache_size", -16_384)?;
    connection.pragma_update(None, "wal_autocheckpoint", 1_000)?;
    Ok(())
}

fn pragma(connection: &Connection, name: &str) -> rusqlite::Result<i32> {
    connection.pragma_query_value(None, name, |row| row.get(0))
}

/// Loads the topics. Each partition's tail starts empty at the end of the partition.
pub(super) fn load_topics(connection: &Connection, tail_bytes_max: usize) -> rusqlite::Result<Topics> {
    let topics = Topics::default();
    let mut all = connection.prepare("SELECT topic, partitions, retention_ms, record_bytes_max FROM topics")?;
    let mut rows = all.query([])?;
    while let Some(row) = rows.next()? {
        let name: String = row.get(0)?;
        let partitions: i32 = row.get(1)?;
        let record_bytes_max: i64 = row.get(3)?;
        let tails = (0..partitions)
            .map(|partition| {
                let (low, high) = bounds(connection, &name, partition)?;
                Ok(Arc::new(Tail::new(low, high, tail_bytes_max)))
            })
            .collect::<rusqlite::Result<Vec<_>>>()?;
        topics.insert(Topic {
            name: name.into(),
            record_bytes_max: usize::try_from(record_bytes_max).unwrap_or(usize::MAX),
            retention_ms: row.get(2)?,
            tails,
        });
    }
    Ok(topics)
}

/// Reads the watermarks (low, high) of a partition from the tables: the offset of its first record,
/// and the offset of the next append.
pub(super) fn bounds(connection: &Connection, topic: &str, partition: i32) -> rusqlite::Result<(i64, i64)> {
    let low = connection
        .query_row("SELECT offset FROM starts WHERE topic = ?1 AND partition = ?2", params![topic, partition], |row| {
            row.get::<_, i64>(0)
        })
        .optional()?
        .unwrap_or(0);
    let newest: Option<i64> = connection.query_row(
        "SELECT max(offset) FROM records WHERE topic = ?1 AND partition = ?2",
        params![topic, partition],
        |row| row.get(0),
    )?;
    Ok((low, newest.map_or(low, |newest| newest + 1).max(low)))
}

pub(super) const INSERT: &str = "INSERT INTO records VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)";

pub(super) const SELECT: &str = "SELECT offset, timestamp_ms, key, value, headers FROM records \
     WHERE topic = ?1 AND partition = ?2 AND offset >= ?3 AND offset < ?4 ORDER BY offset";

/// Decodes a row of [`SELECT`].
pub(super) fn record(row: &Row<'_>) -> rusqlite::Result<Record> {
    let bytes = |index: usize| -> rusqlite::Result<Bytes> {
        Ok(row.get_ref(index)?.as_bytes_or_null()?.map_or_else(Bytes::new, Bytes::copy_from_slice))
    };
    let headers = match row.get_ref(4)?.as_str_or_null()? {
        None => Headers::new(),
        Some(text) => headers_from_text(text).ok_or_else(|| {
            let reason = format!("not headers: {text}").into();
            rusqlite::Error::FromSqlConversionFailure(4, rusqlite::types::Type::Text, reason)
        })?,
    };
    Ok(Record {
        offset: Offset(row.get(0)?),
        timestamp: UnixMs(row.get(1)?),
        key: bytes(2)?,
        value: bytes(3)?,
        headers,
    })
}

/// Encodes headers as JSON text, or NULL if there are none.
pub(super) fn headers_to_text(headers: &Headers) -> Option<String> {
    if headers.is_empty() {
        return None;
    }
    let headers = headers.iter().map(|(name, value)| match std::str::from_utf8(value) {
        Ok(text) => serde_json::json!([name, text]),
        Err(_) => serde_json::json!([name, { "hex": hex::encode(value) }]),
    });
    Some(serde_json::Value::Array(headers.collect()).to_string())
}

fn headers_from_text(text: &str) -> Option<Headers> {
    let headers: Vec<(String, serde_json::Value)> = serde_json::from_str(text).ok()?;
    let value = |value: serde_json::Value| match value {
        serde_json::Value::String(text) => Some(Bytes::from(text)),
        other => Some(Bytes::from(hex::decode(other.get("hex")?.as_str()?).ok()?)),
    };
    headers.into_iter().map(|(name, of)| Some((name, value(of)?))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_survive_as_text_and_as_hex() {
        let headers = vec![
            ("traceparent".to_owned(), Bytes::from_static(b"00-ab")),
            ("raw".to_owned(), Bytes::from_static(&[0, 255, 16])),
            (String::new(), Bytes::new()),
        ];
        let text = headers_to_text(&headers).expect("there are some");
        assert_eq!(text, r#"[["traceparent","00-ab"],["raw",{"hex":"00ff10"}],["",""]]"#);
        assert_eq!(headers_from_text(&text), Some(headers));
        assert_eq!(headers_to_text(&Vec::new()), None);
    }
}
