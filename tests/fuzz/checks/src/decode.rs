//! Checks the decoders of all data that comes from outside. The first byte of an input selects the
//! decoder, which reads the remaining bytes.
//!
//! The check has four properties. No bytes make a decoder panic. A decoded value is the same after
//! encoding and decoding. A canonical form is unique. Decoding uses at most a fixed multiple of the
//! input's length in memory.

use crate::memory;
use bytes::Bytes;
use driftless_chunk::ledger::Ledger;
use driftless_chunk::live::{Asked, LiveChunk, read_updates};
use driftless_chunk::model::{AnyModel, Models};
use driftless_chunk::position::Position;
use driftless_chunk::world::World;
use driftless_client_core::Settings;
use driftless_runtime_core::requests::take_apart;
use driftless_schemas::access::Access;
use driftless_schemas::proto::{self, command_record, updates_record};
use driftless_schemas::storage::Unanswered;
use driftless_schemas::stored::StoredRef;
use driftless_schemas::world::{StoredWorld, WorldSpec};
use driftless_schemas::{ChunkId, Hash, Offset, Partition, SessionId, WriterId, format, limits, partitioner, wire};
use prost::Message;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use std::fmt::Debug;
use std::str::FromStr;
use std::sync::Arc;

/// Decodes bytes as one kind of data, and panics if a property of this kind does not hold.
pub type Kind = fn(Bytes);

/// The kinds of data, named like the golden files. The first byte of an input selects a kind by its
/// index here.
pub const KINDS: [(&str, Kind); 25] = [
    ("client_frame", |bytes| frame::<proto::ClientFrame>(&bytes)),
    ("server_frame", |bytes| frame::<proto::ServerFrame>(&bytes)),
    ("command_record", command_record),
    ("updates_record", updates_record),
    ("updates", updates),
    ("mark", |bytes| message::<proto::Mark>(&bytes)),
    ("discarded", |bytes| message::<proto::Discarded>(&bytes)),
    ("ref", stored_ref),
    ("checkpoint", |bytes| known_message::<proto::Checkpoint>(&bytes)),
    ("index_entry", |bytes| message::<proto::IndexEntry>(&bytes)),
    ("grid_command", |bytes| command::<proto::GridCommand>(&bytes)),
    ("map_command", |bytes| command::<proto::MapCommand>(&bytes)),
    ("requests", requests),
    ("chunk_id", |bytes| text(&bytes, chunk_id)),
    ("hash", |bytes| text(&bytes, one_spelling::<Hash>)),
    ("session", |bytes| text(&bytes, one_spelling::<SessionId>)),
    ("writer", |bytes| text(&bytes, one_spelling::<WriterId>)),
    ("unanswered", |bytes| text(&bytes, unanswered)),
    ("world_toml", |bytes| text(&bytes, world_toml)),
    ("world_json", world_json),
    ("access", access),
    ("json_command", json_command),
    ("grid_content", |bytes| models().iter().for_each(|model| content(model.as_ref(), &bytes))),
    ("map_content", |bytes| models().iter().for_each(|model| content(model.as_ref(), &bytes))),
    ("zstd", zstd),
];

/// The limit on the memory for one byte of input, in bytes. A `ServerFrame` needs most, because two
/// bytes of input make an event and a vector of events grows by doubling.
const MEMORY_PER_BYTE: usize = 1024;
/// The memory in bytes that any input may use, for error messages, a model's colours and an
/// uncompressed content.
const MEMORY_ALWAYS: usize = 4 * limits::CONTENT_BYTES_MAX;
/// The memory in bytes that a world may use, because each of its families may have 65,536 colours.
const MEMORY_OF_A_WORLD: usize = limits::FAMILIES_MAX * 1024 * 1024;

pub fn check(data: &[u8]) {
    let Some((kind, bytes)) = data.split_first() else { return };
    let (name, read) = KINDS[usize::from(*kind) % KINDS.len()];
    let bytes = Bytes::copy_from_slice(bytes);
    let length = bytes.len();
    let most = MEMORY_ALWAYS + length * MEMORY_PER_BYTE + usize::from(name.starts_with("world")) * MEMORY_OF_A_WORLD;
    let taken = memory::peak_of(|| read(bytes));
    assert!(taken <= most, "decoding {length} bytes of {name} took {taken} bytes of memory");
}

fn models() -> [Arc<dyn AnyModel>; 3] {
    let make = |id, parameters: Value| {
        let models = Models::builtin();
        let (_, constructor) = models.get(id).unwrap();
        constructor(parameters.as_object().unwrap()).unwrap()
    };
    [
        make("grid", json!({"size": [4, 3, 2], "palette": 5})),
        make("map", json!({})),
        make("map", json!({"entries_max": 3, "value_bytes_max": 8, "bytes_max": 60})),
    ]
}

/// Checks that a decoded message is the same after encoding and decoding, as protobuf and as JSON.
/// `decode_known`, which refuses unknown fields, must read the same message or refuse the bytes.
fn message<M>(bytes: &Bytes)
where
    M: Message + Default + PartialEq + Debug + Serialize + DeserializeOwned,
{
    let Ok(read) = format::decode::<M>("message", bytes.clone()) else {
        assert!(format::decode_known::<M>("message", bytes.clone()).is_err());
        return;
    };
    let written = read.encode_to_vec();
    assert_eq!(written.len(), read.encoded_len());
    assert_eq!(format::decode_known::<M>("message", written.clone().into()).as_ref(), Ok(&read));
    if let Ok(known) = format::decode_known::<M>("message", bytes.clone()) {
        assert_eq!(known, read);
    }
    // A number that is no variant of its enum has no JSON form, so encoding fails and the check
    // ends here.
    if let Ok(text) = serde_json::to_string(&read) {
        assert_eq!(serde_json::from_str::<M>(&text).unwrap(), read, "{text}");
    }
}

/// Checks that `decode_known` refuses each message with unknown fields. This works for messages
/// without 32-bit numbers and without enums. In other messages our encoding can have another length
/// than the input: prost drops the upper half of a number that is too large, and encodes a negative
/// number in ten bytes even if the input had five.
fn known_message<M>(bytes: &Bytes)
where
    M: Message + Default + PartialEq + Debug + Serialize + DeserializeOwned,
{
    message::<M>(bytes);
    if let Ok(known) = format::decode_known::<M>("message", bytes.clone()) {
        // Only the order of fields may differ.
        assert_eq!(sorted(bytes), sorted(&known.encode_to_vec()), "an unknown field went unnoticed");
    }
}

fn frame<M>(bytes: &Bytes)
where
    M: wire::Read + wire::Write + Message + Default + PartialEq + Debug + Serialize + DeserializeOwned,
{
    message::<M>(bytes);
    small::<M>(bytes);
}

fn updates(bytes: Bytes) {
    known_message::<proto::Updates>(&bytes);
    small::<proto::Updates>(&bytes);
}

/// Checks that the small reader and writer agree with prost.
fn small<M>(bytes: &Bytes)
where
    M: wire::Read + wire::Write + Message + Default + PartialEq + Debug,
{
    let read = wire::decode::<M>(bytes).ok();
    assert_eq!(read, M::decode(bytes.clone()).ok());
    assert_eq!(read, wire::decode_shared(bytes).ok());
    if let Some(read) = read {
        assert_eq!(wire::encode(&read), read.encode_to_vec());
    }
}

fn sorted(bytes: &[u8]) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    bytes.sort_unstable();
    bytes
}

fn command_record(bytes: Bytes) {
    message::<proto::CommandRecord>(&bytes);
    let Ok(record) = format::decode::<proto::CommandRecord>("CommandRecord", bytes) else { return };
    if let (Some(command_record::Body::Command(command)), Ok(chunk)) = (record.body, record.chunk_id.parse()) {
        let Ok(asked) = Asked::from_proto(Offset(0), command) else { return };
        for model in models() {
            decide(model, &chunk, &asked);
        }
    }
}

fn decide(model: Arc<dyn AnyModel>, chunk: &ChunkId, asked: &Asked) {
    let mut live = LiveChunk::initial(model, chunk);
    if let Some(decided) = live.decide(chunk, Partition(0), asked) {
        assert!(!decided.is_model_fault, "{asked:?}");
        assert!(live.decide(chunk, Partition(0), asked).is_none(), "r2");
    }
}

fn updates_record(bytes: Bytes) {
    message::<proto::UpdatesRecord>(&bytes);
    let Ok(record) = format::decode_known::<proto::UpdatesRecord>("UpdatesRecord", bytes.clone()) else { return };
    if let Some(updates_record::Body::Decisions(decisions)) = &record.body
        && read_updates(decisions).is_ok()
    {
        assert_eq!(sorted(&bytes), sorted(&record.encode_to_vec()), "an unknown field went unnoticed");
    }
    let mut position =
        Position { offset: Offset(3), epoch: record.epoch.into(), n: record.n.saturating_sub(1), ..Position::START };
    position.judge(Offset(3), &record);
    if let Some(updates_record::Body::Decisions(decisions)) = record.body
        && let (Ok(updates), Ok(chunk)) = (read_updates(&decisions), decisions.chunk_id.parse())
    {
        for model in models() {
            let mut live = LiveChunk::initial(Arc::clone(&model), &chunk);
            if live.fold(&decisions, updates.as_ref()).is_ok() {
                let folded = live.fold(&decisions, updates.as_ref());
                assert!(folded.is_ok_and(|folded| !folded.is_news), "a record was folded twice");
            }
            let _ = LiveChunk::initial(model, &chunk).fold_without_content(&decisions, updates.as_ref());
        }
    }
}

fn stored_ref(bytes: Bytes) {
    message::<proto::Ref>(&bytes);
    let Ok(message) = format::decode::<proto::Ref>("Ref", bytes) else { return };
    let Ok(stored) = StoredRef::from_proto(message.clone()) else { return };
    assert_eq!(stored.to_proto(), message, "a parsed ref is not written as it was read");
    if let Some(Ok(ledger)) = stored.ledger.as_ref().map(Ledger::from_stored) {
        let written = ledger.to_stored();
        assert_eq!(Ledger::from_stored(&written).as_ref(), Ok(&ledger));
        assert_eq!(written.entries.len(), ledger.len());
    }
    for model in models() {
        let chunk = "things/0".parse().unwrap();
        let encoding = LiveChunk::initial(Arc::clone(&model), &chunk).replica.encoding().into_owned();
        let _ = LiveChunk::restore(Arc::clone(&model), &stored, &encoding);
        // Gives the ref the right hash of the encoding, so that restoring gets past the hash check.
        let stored = StoredRef { hash: Hash::of(&encoding), ..stored.clone() };
        if let Ok(mut live) = LiveChunk::restore(model, &stored, &encoding) {
            assert_eq!((live.replica.version(), live.through_offset), (stored.version, stored.through_offset));
            assert_eq!(live.replica.hash(), stored.hash);
        }
    }
}

fn command<M>(bytes: &Bytes)
where
    M: wire::Read + wire::Write + Message + Default + PartialEq + Debug + Serialize + DeserializeOwned,
{
    small::<M>(bytes);
    // This check does not use `decode_known`, for two reasons. Commands are not checked for unknown
    // fields, and a list of one number can have a shorter encoding than ours.
    if let Ok(read) = M::decode(bytes.clone()) {
        assert_eq!(M::decode(&read.encode_to_vec()[..]).as_ref(), Ok(&read));
    }
    for model in models() {
        model_command(model.as_ref(), bytes);
    }
}

/// Checks that a command which has a JSON form is the same after its conversion to JSON and back.
pub fn model_command(model: &dyn AnyModel, bytes: &[u8]) {
    let is_taken = model.check(bytes).is_ok();
    match model.command_to_json(bytes) {
        Err(_) => assert!(!is_taken, "a valid command has no JSON form"),
        Ok(json) => {
            assert!(is_taken, "{json}");
            let again = model.command_from_json(&json).unwrap_or_else(|e| panic!("{json}: {e}"));
            assert_eq!(model.command_to_json(&again).as_ref(), Ok(&json));
        }
    }
}

fn json_command(bytes: Bytes) {
    let Ok(json) = serde_json::from_slice::<Value>(&bytes) else { return };
    for model in models() {
        if let Ok(command) = model.command_from_json(&json) {
            assert!(model.check(&command).is_ok(), "{json}");
            model_command(model.as_ref(), &command);
        }
    }
}

/// R7: checks that a content has exactly one encoding.
pub fn content(model: &dyn AnyModel, bytes: &[u8]) {
    let Ok(content) = model.decode(bytes) else { return };
    assert_eq!(model.encode(&content), bytes, "the content has a second encoding");
    model.content_to_json(&content);
    if let Some(picture) = model.picture(&content) {
        assert_eq!(picture.rgb.len(), picture.width as usize * picture.height as usize * 3);
    }
}

/// Checks that the product's split of a frame gives the requests that prost decodes from it.
fn requests(bytes: Bytes) {
    let whole = proto::ClientFrame::decode(bytes.clone());
    match take_apart(bytes) {
        Ok(requests) => {
            assert!(requests.len() <= limits::CLIENT_FRAME_REQUESTS_MAX);
            let parts: Result<Vec<proto::Request>, String> = requests.into_iter().collect();
            assert_eq!(whole.map(|frame| frame.requests).map_err(|_| ()), parts.map_err(|_| ()));
        }
        Err(driftless_runtime_core::requests::FrameError::TooMany) => {}
        Err(e) => assert!(whole.is_err(), "{e}"),
    }
}

fn text(bytes: &[u8], read: impl FnOnce(&str)) {
    if let Ok(text) = std::str::from_utf8(bytes) {
        read(text);
    }
}

fn one_spelling<T: FromStr + ToString>(text: &str) {
    if let Ok(read) = text.parse::<T>() {
        assert_eq!(read.to_string(), text.to_lowercase());
    }
}

fn chunk_id(text: &str) {
    let Ok(id) = text.parse::<ChunkId>() else { return };
    assert_eq!(id.as_str(), text);
    let coordinates: Vec<i32> = id.coordinates().collect();
    assert_eq!(ChunkId::new(id.family(), &coordinates).as_ref(), Ok(&id), "the id has a second spelling");
    for region in [0, 1, 31, 32, u32::MAX] {
        let key = id.partition_key(region);
        let Partition(partition) = partitioner::partition_for(key.as_bytes(), limits::PARTITIONS_MAX);
        assert!((0..limits::PARTITIONS_MAX).contains(&partition));
    }
    let _ = WorldSpec::dev().family_of(&id);
}

fn unanswered(text: &str) {
    if let Ok(read) = text.parse::<Unanswered>() {
        assert_eq!(read.to_string().parse::<Unanswered>(), Ok(read));
    }
}

fn world_toml(text: &str) {
    if let Ok(spec) = WorldSpec::from_toml("world.toml", text) {
        world(spec);
    }
}

fn world_json(bytes: Bytes) {
    if let Ok(stored) = serde_json::from_slice::<StoredWorld>(&bytes) {
        let text = serde_json::to_string(&stored).unwrap();
        assert_eq!(serde_json::from_str::<StoredWorld>(&text).unwrap(), stored);
        world(stored.spec);
    }
}

fn world(spec: WorldSpec) {
    let Ok(world) = World::new("world.toml", spec, &Models::builtin()) else { return };
    assert_eq!(world.announced().len(), world.families().len());
    for family in world.families() {
        for at in [0, family.spec.bounds, -family.spec.bounds] {
            let id = ChunkId::new(&family.spec.name, &vec![at; family.spec.coordinates as usize]).unwrap();
            let Partition(partition) = world.place(&id).unwrap().partition;
            assert!((0..world.spec().partitions).contains(&partition));
        }
    }
}

fn access(bytes: Bytes) {
    let Ok(access) = serde_json::from_slice::<Access>(&bytes) else { return };
    let text = serde_json::to_string(&access).unwrap();
    assert_eq!(serde_json::from_str::<Access>(&text).unwrap(), access);
    for id in ["canvas/0/-1", "c/0"] {
        let id = id.parse().unwrap();
        assert!(!access.may_write(&id) || access.may_read(&id), "write implies read");
    }
}

fn zstd(bytes: Bytes) {
    let settings = Settings::new(Models::builtin());
    for most in [0, 100, limits::CONTENT_BYTES_MAX] {
        if let Ok(encoding) = (settings.host.decompress)(&bytes, most) {
            assert!(encoding.len() <= most);
        }
    }
}
