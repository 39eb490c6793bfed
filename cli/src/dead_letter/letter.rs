//! A record of `dead-letter`: the raw bytes of a record of `commands`, with reason and origin in
//! headers.

use bytes::Bytes;
use driftless_chunk::live::Asked;
use driftless_chunk::world::{self, World};
use driftless_log::Record;
use driftless_schemas::proto::{self, command, command_record::Body};
use driftless_schemas::{ChunkId, Offset, Partition, WriterId, format};
use serde_json::{Value, json};
use std::fmt;

/// A dead letter, with the values of its headers.
#[derive(Clone, Debug)]
pub(super) struct Letter {
    /// The letter's offset in `dead-letter`.
    pub offset: Offset,
    /// When a replayer wrote the letter, in milliseconds since the Unix epoch.
    pub timestamp_ms: i64,
    /// Why the replayer could not read or decide the record.
    pub reason: String,
    /// The position of the original record in `commands`; `None` if the headers do not name it.
    pub origin: Option<Origin>,
    /// The original record of `commands`, byte for byte.
    pub value: Bytes,
}

/// The position of the original record in the topic `commands`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Origin {
    pub topic: String,
    pub partition: Partition,
    pub offset: Offset,
}

/// The decoded original record, with its chunk and the chunk's place in the present world.
pub(super) struct Placed {
    pub chunk: ChunkId,
    pub place: world::Place,
    pub body: Body,
}

impl Letter {
    /// Takes reason and origin from the headers of a record of `dead-letter`.
    pub fn read(record: Record) -> Self {
        let header = |name: &str| {
            let found = record.headers.iter().find(|(header, _)| header == name);
            found.map(|(_, value)| String::from_utf8_lossy(value).into_owned())
        };
        let number = |name: &str| header(name).and_then(|value| value.parse::<i64>().ok());
        let partition = number("partition").and_then(|partition| i32::try_from(partition).ok());
        let origin = header("topic").zip(partition).zip(number("offset")).map(|((topic, partition), offset)| Origin {
            topic,
            partition: Partition(partition),
            offset: Offset(offset),
        });
        Self {
            offset: record.offset,
            timestamp_ms: record.timestamp.0,
            reason: header("reason").unwrap_or_else(|| "unknown: the record has no header `reason`".into()),
            origin,
            value: record.value,
        }
    }

    /// Decodes the original record as a replayer does, except that its partition is not checked.
    /// The error says why no replayer can decode the record.
    pub fn place(&self, world: &World) -> Result<Placed, String> {
        let record: proto::CommandRecord =
            format::decode("CommandRecord", self.value.clone()).map_err(|e| e.to_string())?;
        let chunk: ChunkId = record.chunk_id.parse().map_err(|e: driftless_schemas::ChunkIdError| e.to_string())?;
        let place = world.place(&chunk).map_err(|e| e.to_string())?;
        let body = record.body.ok_or("it has no body that this version knows")?;
        if let Body::Command(command) = &body {
            Asked::from_proto(Offset::NONE, command.clone()).map_err(|e| e.to_string())?;
        }
        Ok(Placed { chunk, place, body })
    }

    /// Returns the readable parts of the original record, even if the record has no place in the
    /// present world. Returns null if no part is readable.
    pub fn record_json(&self, world: &World) -> Value {
        let Ok(record) = format::decode::<proto::CommandRecord>("CommandRecord", self.value.clone()) else {
            return Value::Null;
        };
        let family = record.chunk_id.parse().ok().and_then(|chunk| world.place(&chunk).ok()).map(|place| place.family);
        let body = match record.body {
            None => json!({}),
            Some(Body::Audit(audit)) => json!({"audit": {
                "version": audit.version, "hash": hex::encode(&audit.hash), "reporter": audit.reporter,
            }}),
            Some(Body::Command(c)) => {
                let what = match &c.body {
                    None => Value::Null,
                    Some(command::Body::Settle(_)) => json!({"settle": {}}),
                    Some(command::Body::Command(bytes)) => family
                        .and_then(|family| family.model.command_to_json(bytes).ok())
                        .unwrap_or_else(|| json!({"hex": hex::encode(bytes)})),
                };
                json!({"command": {
                    "writer": hex::encode(&c.writer), "author": c.author, "roles": c.roles, "seq": c.seq, "after": c.after,
                    "received_at_ms": c.received_at_ms, "command": what,
                }})
            }
        };
        let mut json = json!({"chunk_id": record.chunk_id});
        if let (Some(json), Value::Object(body)) = (json.as_object_mut(), body) {
            json.extend(body);
        }
        json
    }

    pub fn origin_text(&self) -> String {
        let origin = self.origin.as_ref();
        origin
            .map_or("unknown".into(), |Origin { topic, partition, offset }| format!("{topic}[{partition}] at {offset}"))
    }

    /// Returns the letter's position, time, reason and origin, without the bytes of the original
    /// record.
    pub fn to_json(&self) -> Value {
        json!({
            "offset": self.offset.0,
            "put_aside_at": utc(self.timestamp_ms),
            "timestamp_ms": self.timestamp_ms,
            "reason": self.reason,
            "topic": self.origin.as_ref().map(|origin| &origin.topic),
            "partition": self.origin.as_ref().map(|origin| origin.partition.0),
            "source_offset": self.origin.as_ref().map(|origin| origin.offset.0),
            "bytes": self.value.len(),
        })
    }
}

impl fmt::Display for Letter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{:>6}  {}  {:>7} bytes  {}  {}",
            self.offset,
            utc(self.timestamp_ms),
            self.value.len(),
            self.origin_text(),
            self.reason
        )
    }
}

impl Placed {
    /// Returns the command and its writer; `None` for an audit.
    pub fn command(&self) -> Option<(&proto::Command, WriterId)> {
        match &self.body {
            Body::Command(command) => Some((command, WriterId::from_slice(&command.writer)?)),
            Body::Audit(_) => None,
        }
    }
}

/// Formats milliseconds since the Unix epoch as `2026-11-25T18:50:31Z`.
pub(super) fn utc(ms: i64) -> String {
    let seconds = ms.div_euclid(1000);
    let (days, second) = (seconds.div_euclid(86_400), seconds.rem_euclid(86_400));
    // Howard Hinnant, "chrono-compatible low-level date algorithms": civil_from_days.
    let z = days + 719_468;
    let (era, day_of_era) = (z.div_euclid(146_097), z.rem_euclid(146_097));
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * day_of_year + 2) / 153;
    let (day, month) = (day_of_year - (153 * shifted + 2) / 5 + 1, (shifted + 2) % 12 + 1);
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z")
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use driftless_chunk::model::Models;
    use driftless_schemas::time::UnixMs;
    use driftless_schemas::world::WorldSpec;
    use prost::Message as _;

    pub fn world() -> World {
        World::new("dev", WorldSpec::dev(), &Models::builtin()).unwrap()
    }

    pub fn letter(reason: &str, value: impl Into<Bytes>) -> Letter {
        let header = |name: &str, value: &str| (name.to_owned(), Bytes::from(value.to_owned()));
        let headers = vec![
            header("reason", reason),
            header("topic", "dev.1.commands"),
            header("partition", "3"),
            header("offset", "455"),
        ];
        let (offset, timestamp) = (Offset(12), UnixMs(1_795_632_631_500));
        Letter::read(Record { offset, timestamp, key: Bytes::new(), value: value.into(), headers })
    }

    pub fn record(chunk: &str, command: proto::Command) -> Vec<u8> {
        proto::CommandRecord { chunk_id: chunk.into(), body: Some(Body::Command(command)) }.encode_to_vec()
    }

    pub fn command() -> proto::Command {
        let put = proto::PutKey { key: "k".into(), value: "v".into(), guard: None };
        let put = proto::MapCommand { body: Some(proto::map_command::Body::Put(put)) };
        proto::Command {
            writer: Bytes::from_static(b"0123456789abcdef"),
            author: "ann".into(),
            seq: 7,
            after: 6,
            received_at_ms: 1_795_632_000_000,
            roles: vec!["builder".into()],
            body: Some(command::Body::Command(put.encode_to_vec().into())),
        }
    }

    #[test]
    fn headers_give_reason_and_origin() {
        let letter = letter("it is garbage", "\u{1}garbage");
        let origin = Origin { topic: "dev.1.commands".into(), partition: Partition(3), offset: Offset(455) };
        assert_eq!(letter.origin, Some(origin));
        let line = letter.to_string();
        assert_eq!(line, "    12  2026-11-25T18:50:31Z        8 bytes  dev.1.commands[3] at 455  it is garbage");
        assert_eq!(letter.to_json()["source_offset"], 455);
        // A record that was written by hand has no headers, so its letter has no origin.
        let bare =
            Record { offset: Offset(1), timestamp: UnixMs(0), key: "".into(), value: "".into(), headers: Vec::new() };
        assert_eq!(Letter::read(bare).origin, None);
    }

    #[test]
    fn readable_parts_are_shown_and_the_rest_is_hex() {
        let world = world();
        let json = letter("", record("things/0/0", command())).record_json(&world);
        assert_eq!(json["command"]["author"], "ann");
        assert_eq!(json["command"]["command"]["put"]["key"], "k");
        let json = letter("", record("nowhere/0/0", command())).record_json(&world);
        assert!(json["command"]["command"]["hex"].as_str().is_some_and(|hex| hex.starts_with("0a")), "{json}");
        assert_eq!(letter("", "\u{7f}garbage").record_json(&world), Value::Null);
    }

    #[test]
    fn a_letter_is_placed_as_a_replayer_would() {
        let world = world();
        let place = |value: Vec<u8>| letter("", value).place(&world).map(|placed| placed.chunk.to_string());
        assert_eq!(place(record("things/0/0", command())), Ok("things/0/0".into()));
        assert!(place(record("boards/0/0", command())).unwrap_err().contains("boards"));
        assert!(place(record("things/0/0", proto::Command { seq: 0, ..command() })).is_err());
        assert!(place(proto::CommandRecord { chunk_id: "things/0/0".into(), body: None }.encode_to_vec()).is_err());
        assert!(place(b"\xff\xff\xffgarbage".to_vec()).is_err());
    }

    #[test]
    fn times_are_utc() {
        assert_eq!(utc(0), "1970-01-01T00:00:00Z");
        assert_eq!(utc(951_782_400_000), "2000-02-29T00:00:00Z");
        assert_eq!(utc(4_102_444_799_999), "2099-12-31T23:59:59Z");
        assert_eq!(utc(-1), "1969-12-31T23:59:59Z");
    }
}
