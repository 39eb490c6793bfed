//! The tracked chunks by the small numbers that JavaScript knows them by, each with what was last shown of it.

use crate::picture::Picture;
use driftless_chunk::sorted::SortedMap;
use driftless_schemas::ChunkId;

/// A chunk's number: an index, given out at the first `track` and kept for good.
#[derive(Default)]
pub struct Chunks {
    numbers: SortedMap<ChunkId, u32>,
    chunks: Vec<(ChunkId, Picture)>,
}

impl Chunks {
    pub fn number(&mut self, id: &ChunkId) -> u32 {
        if let Some(number) = self.numbers.get(id) {
            return *number;
        }
        // Every one was named by the page: memory ends long before u32 does.
        let number = u32::try_from(self.chunks.len()).unwrap_or(u32::MAX);
        self.numbers.insert(id.clone(), number);
        self.chunks.push((id.clone(), Picture::default()));
        number
    }

    pub fn id(&self, number: u32) -> Option<&ChunkId> {
        self.chunks.get(number as usize).map(|(id, _)| id)
    }

    pub fn picture(&self, number: u32) -> Option<&Picture> {
        self.chunks.get(number as usize).map(|(_, picture)| picture)
    }

    pub fn picture_mut(&mut self, number: u32) -> Option<&mut Picture> {
        self.chunks.get_mut(number as usize).map(|(_, picture)| picture)
    }
}
