//! The view of a chunk that JavaScript last saw, and its differences from the present view:
//! rectangles of a grid, or keys of a map.
//!
//! A cell or an entry is *pending* if the view shows another value than the confirmed replica. It
//! differs from the last view if its value or its pending mark does. A comparison takes a few
//! passes over the content (8 KiB: about 2 µs). The same comparison serves every cause of a change:
//! commands, updates, a rollback, a fresh Chunk.

use bytes::Bytes;
use driftless_chunk::grid::Cells;
use driftless_chunk::map::Entries;
use driftless_chunk::model::Content;

/// The number of rows without a difference that a rectangle may span. After more such rows, the
/// next difference begins another rectangle.
const GAP_ROWS: usize = 4;

/// The view of one chunk that JavaScript last saw.
#[derive(Default)]
pub enum ViewCache {
    /// There is no view, because the chunk is not loaded.
    #[default]
    None,
    Grid(Grid),
    /// The entries of a map, in the order of their keys.
    Map(Vec<Entry>),
    /// The content of any other model: JavaScript sees only its JSON and its encoding.
    Other,
}

/// An entry of a map.
#[derive(PartialEq, Eq)]
pub struct Entry {
    pub key: String,
    pub value: Bytes,
    /// Whether the confirmed replica has another value for this key, or none.
    pub is_pending: bool,
}

/// The cells of a grid.
pub struct Grid {
    pub size: [usize; 3],
    /// The view's cells, x fastest.
    pub cells: Vec<u16>,
    /// Per cell: 1 if the confirmed replica has another value, else 0.
    pub pending: Vec<u8>,
}

/// The differences between two views.
pub enum Change {
    /// Rectangles of a grid, each as x, y, z, width, height, depth.
    Rects(Vec<[usize; 6]>),
    /// Keys of a map whose entries differ.
    Keys(Vec<String>),
    /// Everything may differ.
    All,
}

/// A copy of the present view. The copy is needed because the core cannot lend the view and the
/// confirmed replica at the same time.
pub enum ViewCopy {
    Grid { size: [usize; 3], cells: Vec<u16> },
    Map(Entries),
    Other,
}

impl ViewCopy {
    pub fn of(view: &Content) -> Self {
        if let Some(cells) = view.get::<Cells>() {
            return Self::Grid { size: cells.size().map(usize::from), cells: cells.values().collect() };
        }
        view.get::<Entries>().map_or(Self::Other, |entries| Self::Map(entries.clone()))
    }
}

impl ViewCache {
    /// Replaces the cached view, and returns the differences; `None` if there are none.
    pub fn update(&mut self, next: ViewCopy, confirmed: &Content) -> Option<Change> {
        match (self, next) {
            (Self::Grid(grid), ViewCopy::Grid { size, cells: next }) if grid.size == size => {
                let pending = pending(&next, confirmed);
                let rects = grid.update(next, pending);
                (!rects.is_empty()).then_some(Change::Rects(rects))
            }
            (this, ViewCopy::Grid { size, cells: next }) => {
                let pending = pending(&next, confirmed);
                *this = Self::Grid(Grid { size, cells: next, pending });
                Some(Change::All)
            }
            (this, ViewCopy::Map(next)) => {
                let confirmed = confirmed.get::<Entries>();
                let entry = |(key, value): (&str, &Bytes)| {
                    let is_pending = confirmed.and_then(|entries| entries.get(key)) != Some(value);
                    Entry { key: key.to_owned(), value: value.clone(), is_pending }
                };
                let fresh: Vec<Entry> = next.iter().map(entry).collect();
                let change = match this {
                    Self::Map(shown) => {
                        let changed = fresh.iter().filter(|entry| find(shown, &entry.key) != Some(entry));
                        let gone = shown.iter().filter(|entry| find(&fresh, &entry.key).is_none());
                        let keys: Vec<String> = changed.chain(gone).map(|entry| entry.key.clone()).collect();
                        (!keys.is_empty()).then_some(Change::Keys(keys))
                    }
                    _ => Some(Change::All),
                };
                *this = Self::Map(fresh);
                change
            }
            (this, ViewCopy::Other) => {
                *this = Self::Other;
                Some(Change::All)
            }
        }
    }

    /// Drops the cached view, because the chunk has no view any more. Returns a change if there was
    /// a cached view.
    pub fn clear(&mut self) -> Option<Change> {
        let was = std::mem::take(self);
        (!matches!(was, Self::None)).then_some(Change::All)
    }
}

/// Finds the entry of a key. `entries` must be sorted by key.
pub fn find<'a>(entries: &'a [Entry], key: &str) -> Option<&'a Entry> {
    let at = entries.binary_search_by(|entry| entry.key.as_str().cmp(key)).ok()?;
    entries.get(at)
}

/// The pending mark of each cell.
fn pending(view: &[u16], confirmed: &Content) -> Vec<u8> {
    let confirmed = confirmed.get::<Cells>().into_iter().flat_map(Cells::values);
    view.iter().zip(confirmed).map(|(shown, confirmed)| u8::from(*shown != confirmed)).collect()
}

impl Grid {
    fn update(&mut self, next: Vec<u16>, marks: Vec<u8>) -> Vec<[usize; 6]> {
        let [width, height, depth] = self.size;
        let mut rects = Vec::new();
        for z in 0..depth {
            let mut open: Option<([usize; 4], usize)> = None;
            for y in 0..height {
                let row = (z * height + y) * width..(z * height + y + 1) * width;
                let differs = |x: usize| {
                    let at = row.start + x;
                    self.cells[at] != next[at] || self.pending[at] != marks[at]
                };
                let is_same =
                    self.cells[row.clone()] == next[row.clone()] && self.pending[row.clone()] == marks[row.clone()];
                if is_same {
                    if let Some((rect, _)) = open.take_if(|(_, last)| y - *last > GAP_ROWS) {
                        rects.push(with_depth(rect, z));
                    }
                    continue;
                }
                // The row differs, so both searches succeed.
                let left = (0..width).find(|x| differs(*x)).unwrap_or(0);
                let right = (0..width).rev().find(|x| differs(*x)).unwrap_or(0) + 1;
                let ([l, top, r, _], _) = open.unwrap_or(([left, y, right, y + 1], y));
                open = Some(([l.min(left), top, r.max(right), y + 1], y));
            }
            rects.extend(open.map(|(rect, _)| with_depth(rect, z)));
        }
        self.cells = next;
        self.pending = marks;
        rects
    }
}

/// Makes a rectangle of depth 1 at `z` from its left, top, right and bottom edges.
fn with_depth([left, top, right, bottom]: [usize; 4], z: usize) -> [usize; 6] {
    [left, top, z, right - left, bottom - top, 1]
}

#[cfg(test)]
mod tests;
