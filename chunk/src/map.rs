//! The model `map`: string keys to byte values, sorted by key.
//!
//! Canonical encoding, all little-endian: `"DLM1"`, count u32, then per entry in key order: key
//! length u16, key (UTF-8), value length u32, value. Commands are `MapCommand`s (`model.proto`);
//! the effect of a committed command is the command itself. A guard requires the key to be absent,
//! or the key's present value to have a certain hash.
//!
//! In JSON: `{"put": {"key": "a", "text": "…"}}` and `{"delete": {"key": "a"}}`. A value that is
//! not UTF-8 is base64 in `value` instead of `text`. A `guard` is `"absent"` or the hash of the
//! present value in hex.

use crate::json::{Members, choice, object};
use crate::model::{Context, Decision, Fault, Model, ParameterError, Refusal};
use crate::sorted::SortedMap;
use base64::prelude::{BASE64_STANDARD, Engine as _};
use bytes::Bytes;
use driftless_schemas::proto::{
    Absent, DeleteKey, DiscardReason, MapCommand, MapGuard, PutKey, map_command, map_guard,
};
use driftless_schemas::{ChunkId, Hash, Quoted, limits, wire};
use serde_json::Value;
use std::borrow::Cow;

/// The model's name.
pub const ID: &str = "map";
/// The model's revision, which counts changes of its decisions or its encoding.
pub const REVISION: u32 = 1;

const MAGIC: [u8; 4] = *b"DLM1";
const HEADER: usize = 8;
/// The bytes that an entry takes in the canonical encoding in addition to its key and value.
const ENTRY: usize = 6;

/// A map with its limits.
#[derive(Clone, Debug)]
pub struct Map {
    entries_max: usize,
    key_bytes_max: usize,
    value_bytes_max: usize,
    bytes_max: usize,
}

impl Default for Map {
    fn default() -> Self {
        Self { entries_max: 4096, key_bytes_max: 256, value_bytes_max: 4096, bytes_max: 256 * 1024 }
    }
}

/// The content of a chunk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entries {
    map: SortedMap<String, Bytes>,
    /// The length of the canonical encoding.
    bytes: usize,
}

impl Map {
    /// Makes the model from a family's parameters. All are upper limits: `entries_max` (4096 by
    /// default), `key_bytes_max` (256), `value_bytes_max` (4096), and `bytes_max` (262144), which
    /// limits the canonical encoding.
    ///
    /// # Errors
    /// [`ParameterError`] names the key.
    pub fn from_parameters(parameters: &serde_json::Map<String, Value>) -> Result<Self, ParameterError> {
        let mut map = Self::default();
        let mut members = Members::of_object("", parameters);
        for (key, value, max) in [
            ("entries_max", &mut map.entries_max, limits::CONTENT_BYTES_MAX / ENTRY),
            ("key_bytes_max", &mut map.key_bytes_max, 1024),
            ("value_bytes_max", &mut map.value_bytes_max, limits::COMMAND_BYTES_MAX - 2048),
            ("bytes_max", &mut map.bytes_max, limits::CONTENT_BYTES_MAX),
        ] {
            let Some(number) = members.optional_number(key)? else { continue };
            *value = number as usize;
            if *value == 0 || *value > max {
                return Err(ParameterError { key: key.into(), problem: format!("must be 1 to {max}") });
            }
        }
        members.end()?;
        Ok(map)
    }

    fn read(&self, command: &[u8]) -> Result<map_command::Body, Refusal> {
        let command = wire::decode::<MapCommand>(command).map_err(|e| Refusal(format!("not a MapCommand: {e}")))?;
        let body =
            command.body.ok_or_else(|| Refusal("a MapCommand is `put` or `delete`; this one is neither".into()))?;
        let (key, guard) = match &body {
            map_command::Body::Put(put) => (&put.key, &put.guard),
            map_command::Body::Delete(delete) => (&delete.key, &delete.guard),
        };
        if key.is_empty() || key.len() > self.key_bytes_max {
            return Err(Refusal(format!("a key of {} bytes: 1 to {} are allowed", key.len(), self.key_bytes_max)));
        }
        if let map_command::Body::Put(put) = &body
            && put.value.len() > self.value_bytes_max
        {
            return Err(Refusal(format!("a value of {} bytes: {} are allowed", put.value.len(), self.value_bytes_max)));
        }
        match guard {
            Some(MapGuard { is: None }) => {
                Err(Refusal("a guard is `absent` or `value_hash`; this one is neither".into()))
            }
            Some(MapGuard { is: Some(map_guard::Is::ValueHash(hash)) }) if hash.len() != 32 => {
                Err(Refusal(format!("a guard's hash of {} bytes: BLAKE3-256 has 32", hash.len())))
            }
            _ => Ok(body),
        }
    }

    fn obstacle(&self, entries: &Entries, body: &map_command::Body) -> Option<(DiscardReason, String)> {
        let (key, guard) = match body {
            map_command::Body::Put(put) => (&put.key, &put.guard),
            map_command::Body::Delete(delete) => (&delete.key, &delete.guard),
        };
        let old = entries.map.get(key);
        let conflict = |text: &str| Some((DiscardReason::Conflict, format!("{text} {}", Quoted(key))));
        match guard.as_ref().and_then(|guard| guard.is.as_ref()) {
            Some(map_guard::Is::Absent(Absent {})) if old.is_some() => {
                return conflict("the guard says there is no key");
            }
            Some(map_guard::Is::ValueHash(hash)) => match old {
                None => return conflict("the guard names a value, but there is no key"),
                Some(value) if Hash::of(value).0 != hash[..] => return conflict("the guard names another value of"),
                Some(_) => {}
            },
            _ => {}
        }
        let map_command::Body::Put(put) = body else { return None };
        let grown = entries.bytes_with(put);
        let full = (old.is_none() && entries.map.len() >= self.entries_max) || grown > self.bytes_max;
        full.then(|| {
            let (count, bytes) = (entries.map.len(), entries.bytes);
            (
                DiscardReason::Full,
                format!("{count} of {} entries, {bytes} of {} bytes are taken", self.entries_max, self.bytes_max),
            )
        })
    }
}

impl Entries {
    fn empty() -> Self {
        Self { map: SortedMap::new(), bytes: HEADER }
    }

    /// The value of a key; `None` if the map does not have the key.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&Bytes> {
        self.map.get(key)
    }

    /// All entries in key order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Bytes)> {
        self.map.iter().map(|(key, value)| (key.as_str(), value))
    }

    fn bytes_with(&self, put: &PutKey) -> usize {
        let old = self.map.get(&put.key).map_or(0, |value| ENTRY + put.key.len() + value.len());
        self.bytes - old + ENTRY + put.key.len() + put.value.len()
    }

    fn put(&mut self, put: PutKey) {
        self.bytes = self.bytes_with(&put);
        self.map.insert(put.key, put.value);
    }
}

impl Model for Map {
    type State = Entries;

    fn initial(&self, _chunk: &ChunkId) -> Entries {
        Entries::empty()
    }

    fn check(&self, command: &[u8]) -> Result<(), Refusal> {
        self.read(command).map(|_| ())
    }

    /// The cost of a command: one unit for the entry, and one for each 256 bytes to copy and hash.
    fn cost(&self, command: &[u8]) -> u32 {
        u32::try_from(command.len() / 256).unwrap_or(u32::MAX).saturating_add(1)
    }

    fn decide<'c>(&self, entries: &Entries, _context: &Context<'_>, command: &'c [u8]) -> Decision<'c> {
        match self.read(command) {
            Err(Refusal(detail)) => Decision::Discarded { reason: DiscardReason::Invalid, detail },
            Ok(body) => match self.obstacle(entries, &body) {
                Some((reason, detail)) => Decision::Discarded { reason, detail },
                None => Decision::Committed(Cow::Borrowed(command)),
            },
        }
    }

    fn fold(&self, entries: &mut Entries, effect: &[u8]) -> Result<(), Fault> {
        match self.read(effect).map_err(|Refusal(problem)| Fault(problem))? {
            map_command::Body::Put(put) => entries.put(put),
            map_command::Body::Delete(DeleteKey { key, .. }) => {
                if let Some(value) = entries.map.remove(&key) {
                    entries.bytes -= ENTRY + key.len() + value.len();
                }
            }
        }
        Ok(())
    }

    fn fold_is_atomic(&self) -> bool {
        true
    }

    /// Builds the command that undoes an effect. It restores the old value, and its guard requires
    /// the hash of the new value, or absence after a delete.
    fn inverse(&self, before: &Entries, effect: &[u8]) -> Vec<Vec<u8>> {
        let put_back = |key: &str, guard: map_guard::Is| {
            let old = before.get(key)?;
            let guard = Some(MapGuard { is: Some(guard) });
            Some(map_command::Body::Put(PutKey { key: key.to_owned(), value: old.clone(), guard }))
        };
        let body = match self.read(effect) {
            Ok(map_command::Body::Put(PutKey { key, value, .. })) if before.get(&key) != Some(&value) => {
                let guard = map_guard::Is::ValueHash(Bytes::copy_from_slice(&Hash::of(&value).0));
                put_back(&key, guard.clone())
                    .or(Some(map_command::Body::Delete(DeleteKey { key, guard: Some(MapGuard { is: Some(guard) }) })))
            }
            Ok(map_command::Body::Delete(DeleteKey { key, .. })) => put_back(&key, map_guard::Is::Absent(Absent {})),
            Ok(map_command::Body::Put(_)) | Err(_) => None,
        };
        body.map(|body| wire::encode(&MapCommand { body: Some(body) })).into_iter().collect()
    }

    fn encode<'s>(&self, entries: &'s Entries) -> Cow<'s, [u8]> {
        let mut bytes = Vec::with_capacity(entries.bytes);
        bytes.extend_from_slice(&MAGIC);
        // `from_parameters` bounds counts and lengths far below the maxima of these types.
        bytes.extend_from_slice(&u32::try_from(entries.map.len()).unwrap_or(u32::MAX).to_le_bytes());
        for (key, value) in entries.map.iter() {
            bytes.extend_from_slice(&u16::try_from(key.len()).unwrap_or(u16::MAX).to_le_bytes());
            bytes.extend_from_slice(key.as_bytes());
            bytes.extend_from_slice(&u32::try_from(value.len()).unwrap_or(u32::MAX).to_le_bytes());
            bytes.extend_from_slice(value);
        }
        Cow::Owned(bytes)
    }

    fn decode(&self, bytes: &[u8]) -> Result<Entries, Fault> {
        let mut rest =
            bytes.strip_prefix(&MAGIC).ok_or_else(|| Fault("not a map: it does not start with DLM1".into()))?;
        let short = || Fault("a map that ends too early".into());
        let count = u32::from_le_bytes(take(&mut rest).ok_or_else(short)?);
        let mut entries = Entries::empty();
        let mut last: Option<String> = None;
        for _ in 0..count {
            let length = u16::from_le_bytes(take(&mut rest).ok_or_else(short)?);
            let key = rest.split_off(..length as usize).ok_or_else(short)?;
            let key = std::str::from_utf8(key).map_err(|_| Fault("a key that is not UTF-8".into()))?;
            if key.is_empty() {
                return Err(Fault("an empty key: no command can name it".into()));
            }
            if last.as_deref().is_some_and(|last| last >= key) {
                return Err(Fault(format!("keys are not in order at {}", Quoted(key))));
            }
            let length = u32::from_le_bytes(take(&mut rest).ok_or_else(short)?);
            let value = rest.split_off(..length as usize).ok_or_else(short)?;
            last = Some(key.to_owned());
            entries.put(PutKey { key: key.to_owned(), value: Bytes::copy_from_slice(value), guard: None });
        }
        if !rest.is_empty() {
            return Err(Fault(format!("{} bytes after the map's end", rest.len())));
        }
        Ok(entries)
    }

    fn command_from_json(&self, json: &Value) -> Result<Vec<u8>, Refusal> {
        let body = body_from_json(json).map_err(|Refusal(problem)| Refusal(format!("not a map command: {problem}")))?;
        let command = wire::encode(&MapCommand { body: Some(body) });
        self.check(&command)?;
        Ok(command)
    }

    fn command_to_json(&self, command: &[u8]) -> Result<Value, Refusal> {
        Ok(match self.read(command)? {
            map_command::Body::Put(PutKey { key, value, guard }) => {
                let (name, value) = value_to_json(&value);
                let put = [("key", key.into()), (name, value), ("guard", guard_to_json(guard))];
                object([("put", object(put))])
            }
            map_command::Body::Delete(DeleteKey { key, guard }) => {
                object([("delete", object([("key", key.into()), ("guard", guard_to_json(guard))]))])
            }
        })
    }

    fn content_to_json(&self, entries: &Entries) -> Value {
        let mut members = serde_json::Map::new();
        for (key, value) in entries.map.iter() {
            members.insert(key.clone(), object([value_to_json(value)]));
        }
        object([("entries", Value::Object(members))])
    }
}

fn take<const N: usize>(rest: &mut &[u8]) -> Option<[u8; N]> {
    let (head, tail) = rest.split_first_chunk::<N>()?;
    *rest = tail;
    Some(*head)
}

fn body_from_json(json: &Value) -> Result<map_command::Body, Refusal> {
    let (name, members) = choice(json)?;
    if !matches!(name, "put" | "delete") {
        return Err(Refusal(format!("{} is neither \"put\" nor \"delete\"", Quoted(name))));
    }
    let mut members = Members::of(name, members)?;
    let key = members.text("key")?.to_owned();
    let guard = members.optional_text("guard")?.map(guard_from_json).transpose()?;
    let body = if name == "delete" {
        map_command::Body::Delete(DeleteKey { key, guard })
    } else {
        let value = match (members.optional_text("value")?, members.optional_text("text")?) {
            (Some(value), None) => BASE64_STANDARD.decode(value).map_err(|_| Refusal("value is not base64".into()))?,
            (None, Some(text)) => text.as_bytes().to_vec(),
            _ => return Err(Refusal("a put has either `value` (base64) or `text`".into())),
        };
        map_command::Body::Put(PutKey { key, value: value.into(), guard })
    };
    members.end()?;
    Ok(body)
}

/// The JSON member for a value: `text` if the value is UTF-8, otherwise `value` in base64.
fn value_to_json(value: &[u8]) -> (&'static str, Value) {
    match std::str::from_utf8(value) {
        Ok(text) => ("text", text.into()),
        Err(_) => ("value", BASE64_STANDARD.encode(value).into()),
    }
}

fn guard_from_json(guard: &str) -> Result<MapGuard, Refusal> {
    let is = match guard {
        "absent" => map_guard::Is::Absent(Absent {}),
        hash => map_guard::Is::ValueHash(
            hash.parse::<Hash>().map_err(|e| Refusal(format!("guard {e}, and not \"absent\"")))?.to_bytes(),
        ),
    };
    Ok(MapGuard { is: Some(is) })
}

fn guard_to_json(guard: Option<MapGuard>) -> Value {
    match guard.and_then(|guard| guard.is) {
        None => Value::Null,
        Some(map_guard::Is::Absent(Absent {})) => "absent".into(),
        Some(map_guard::Is::ValueHash(hash)) => Hash::from_slice(&hash).map(|hash| hash.to_string()).into(),
    }
}

#[cfg(test)]
mod tests;
