//! The file of records, and a reader of it that keeps R4 and R5 as every reader of `updates` must.

use driftless_chunk::live::{LiveChunk, read_updates};
use driftless_chunk::position::{Position, Validity};
use driftless_chunk::world::World;
use driftless_schemas::proto::{SnapshotStored, UpdatesRecord, updates_record::Body};
use driftless_schemas::{ChunkId, Hash, Offset, Version, format};
use std::collections::BTreeMap;

/// The first line of the file. After it, for each offset from 0: the record's length as u32,
/// little-endian, and the record, an encoded `UpdatesRecord`.
pub const HEADER: &[u8] = b"driftless updates log, format 1: then u32 LE length + UpdatesRecord, from offset 0\n";

/// Makes the content of a file with these encoded records.
pub fn to_file(records: &[Vec<u8>]) -> Vec<u8> {
    let mut file = HEADER.to_vec();
    for record in records {
        file.extend(u32::try_from(record.len()).unwrap().to_le_bytes());
        file.extend(record);
    }
    file
}

/// Reads the encoded records from the content of a file.
pub fn from_file(file: &[u8]) -> Vec<Vec<u8>> {
    let mut rest = file.strip_prefix(HEADER).expect("the header");
    let mut records = Vec::new();
    while let Some((length, tail)) = rest.split_first_chunk::<4>() {
        let (record, tail) = tail.split_at(u32::from_le_bytes(*length) as usize);
        records.push(record.to_vec());
        rest = tail;
    }
    assert!(rest.is_empty());
    records
}

/// The number of records with each verdict of R4.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Judged {
    pub fences: usize,
    pub valid: usize,
    pub invalid: usize,
}

/// A ref in the log, with the encoding that it names.
pub struct Stored {
    pub notice: SnapshotStored,
    pub encoding: Vec<u8>,
}

/// A reader of the log, and the state after the records that it has read.
pub struct Reader<'w> {
    world: &'w World,
    pub position: Position,
    pub chunks: BTreeMap<ChunkId, LiveChunk>,
    pub judged: Judged,
    /// For each (chunk, version) whose hash the log contains: the hash, and the encoding of the
    /// reader's replica.
    pub versions: BTreeMap<(ChunkId, Version), (Hash, Vec<u8>)>,
    pub stored: Vec<Stored>,
}

impl<'w> Reader<'w> {
    pub fn new(world: &'w World) -> Self {
        Self {
            world,
            position: Position::START,
            chunks: BTreeMap::new(),
            judged: Judged::default(),
            versions: BTreeMap::new(),
            stored: Vec::new(),
        }
    }

    /// The live chunk of an id.
    pub fn chunk(&mut self, id: &ChunkId) -> &mut LiveChunk {
        let model = self.world.place(id).unwrap().family.model.clone();
        self.chunks.entry(id.clone()).or_insert_with(|| LiveChunk::initial(model, id))
    }

    /// Judges the record at the next offset, and folds the record if it is valid.
    pub fn read(&mut self, record: &[u8]) {
        let offset = self.position.offset;
        let record: UpdatesRecord = format::decode_known("UpdatesRecord", record.to_vec().into()).unwrap();
        match self.position.judge(offset, &record) {
            Validity::Invalid => self.judged.invalid += 1,
            Validity::Fence => self.judged.fences += 1,
            Validity::Valid => {
                self.judged.valid += 1;
                self.fold(offset, record.body.unwrap());
            }
        }
    }

    fn fold(&mut self, offset: Offset, body: Body) {
        match body {
            Body::Fence(_) => panic!("R4 judges fences as fences"),
            Body::Decisions(decisions) => {
                let id: ChunkId = decisions.chunk_id.parse().unwrap();
                let updates = read_updates(&decisions).unwrap();
                let chunk = self.chunk(&id);
                let folded =
                    chunk.fold(&decisions, updates.as_ref()).unwrap_or_else(|e| panic!("{id} at {offset}: {e}"));
                assert!(folded.is_news, "{id} at {offset}: a valid record that brings nothing");
                let known = (chunk.replica.hash(), chunk.replica.encoding().into_owned());
                let version = chunk.replica.version();
                self.versions.insert((id, version), known);
            }
            Body::SnapshotStored(notice) => {
                let id: ChunkId = notice.chunk_id.parse().unwrap();
                let stored = notice.r#ref.as_ref().unwrap();
                let (hash, encoding) = &self.versions[&(id.clone(), Version(stored.version))];
                assert_eq!(Hash::from_slice(&stored.hash), Some(*hash), "R10: {id} at {}", stored.version);
                self.stored.push(Stored { encoding: encoding.clone(), notice });
            }
        }
    }
}
