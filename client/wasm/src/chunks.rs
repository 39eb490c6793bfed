//! The numbers by which JavaScript names chunks, and the view of each chunk that JavaScript last
//! saw.

use crate::view_cache::ViewCache;
use driftless_chunk::sorted::SortedMap;
use driftless_schemas::ChunkId;

/// The numbered chunks. A chunk's number is its index in `chunks`. The first `track` of a chunk
/// gives it a number, which never changes.
#[derive(Default)]
pub struct Chunks {
    numbers: SortedMap<ChunkId, u32>,
    chunks: Vec<(ChunkId, ViewCache)>,
}

impl Chunks {
    pub fn number(&mut self, id: &ChunkId) -> u32 {
        if let Some(number) = self.numbers.get(id) {
            return *number;
        }
        // The page tracks every chunk itself, and runs out of memory long before the number reaches
        // u32::MAX.
        let number = u32::try_from(self.chunks.len()).unwrap_or(u32::MAX);
        self.numbers.insert(id.clone(), number);
        self.chunks.push((id.clone(), ViewCache::default()));
        number
    }

    pub fn id(&self, number: u32) -> Option<&ChunkId> {
        self.chunks.get(number as usize).map(|(id, _)| id)
    }

    pub fn view_cache(&self, number: u32) -> Option<&ViewCache> {
        self.chunks.get(number as usize).map(|(_, view_cache)| view_cache)
    }

    pub fn view_mut(&mut self, number: u32) -> Option<&mut ViewCache> {
        self.chunks.get_mut(number as usize).map(|(_, view_cache)| view_cache)
    }
}
