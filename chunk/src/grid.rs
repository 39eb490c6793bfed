//! The model `grid`: a box of cells, each a number below the palette's size.
//!
//! Canonical encoding, all little-endian: `"DLG1"`, X u16, Y u16, Z u16, 0 u16, then X·Y·Z cells of
//! u16, x fastest. In memory the state has the same layout, so that hashing and storing copy
//! nothing. The palette is not encoded, so that it may grow later. Commands are `GridCommand`s
//! (`model.proto`). The effect of a committed command is the command itself.

mod command_json;

use crate::json::{self, Members, Problem};
use crate::model::{Context, Decision, Fault, Model, ParameterError, Picture, Refusal};
use driftless_schemas::proto::{DiscardReason, FillBox, GridCommand, SetCells, grid_command};
use driftless_schemas::{ChunkId, limits, wire};
use serde_json::{Map, Value};
use std::borrow::Cow;

/// The model's name.
pub const ID: &str = "grid";
/// The model's revision, which counts changes of its decisions or its encoding.
pub const REVISION: u32 = 1;

const MAGIC: [u8; 4] = *b"DLG1";
const HEADER: usize = 12;

/// The largest number of `set` commands in an inverse. An effect that needs more cannot be undone.
const INVERSE_SETS_MAX: usize = 32;

/// A grid of one size and palette.
#[derive(Clone, Debug)]
pub struct Grid {
    size: [u32; 3],
    palette: u32,
    colors: Vec<[u8; 3]>,
}

/// The content of a chunk, stored as its canonical encoding.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cells(Vec<u8>);

/// A command that was checked against this grid's size and palette.
enum Checked {
    Set(SetCells),
    Fill { fill: FillBox, end: [u32; 3] },
}

impl Grid {
    /// Makes the model from a family's parameters: `size` = [X, Y] or [X, Y, Z] in cells, `palette`
    /// = the number of values that a cell may have, and optionally `colors` = one `"#rrggbb"` per
    /// value, for pictures.
    ///
    /// # Errors
    /// [`ParameterError`] names the key.
    pub fn from_parameters(parameters: &Map<String, Value>) -> Result<Self, ParameterError> {
        let refuse = |key: &str, problem: String| ParameterError { key: key.to_owned(), problem };
        let mut members = Members::of_object("", parameters);
        let given = json::array("size", members.required("size")?)?;
        if !matches!(given.len(), 2 | 3) {
            return Err(refuse("size", "must be [X, Y] or [X, Y, Z]".into()));
        }
        let mut size = [1; 3];
        for (i, (n, given)) in size.iter_mut().zip(given).enumerate() {
            *n = json::number(&format!("size[{i}]"), given)?;
        }
        let cells = size.iter().try_fold(1u32, |product, n| product.checked_mul(*n));
        let in_range = size.iter().all(|n| (1..=u32::from(u16::MAX)).contains(n));
        if !in_range || cells.is_none_or(|n| n as usize > limits::GRID_CELLS_MAX) {
            return Err(refuse("size", format!("must be 1 to {} cells in all", limits::GRID_CELLS_MAX)));
        }
        let palette = members.number("palette")?;
        if !(2..=65_536).contains(&palette) {
            return Err(refuse("palette", "must be 2 to 65536 values".into()));
        }
        let mut colors = default_colors(palette);
        if let Some(names) = members.optional("colors") {
            let names = json::array("colors", names)?;
            if names.len() != colors.len() {
                return Err(refuse("colors", format!("has {} colours, but the palette {palette}", names.len())));
            }
            for (i, (color, name)) in colors.iter_mut().zip(names).enumerate() {
                let parsed = name.as_str().and_then(parse_color);
                *color = parsed.ok_or_else(|| Problem::new(&format!("colors[{i}]"), name, "\"#rrggbb\""))?;
            }
        }
        members.end()?;
        Ok(Self { size, palette, colors })
    }

    /// The grid's size X, Y and Z, in cells.
    #[must_use]
    pub fn size(&self) -> [u32; 3] {
        self.size
    }

    /// The value of a cell; `None` if the coordinates are outside the grid.
    #[must_use]
    pub fn get(&self, cells: &Cells, x: u32, y: u32, z: u32) -> Option<u16> {
        let [sx, sy, sz] = self.size;
        (x < sx && y < sy && z < sz).then(|| cells.get(self.index(x, y, z)))
    }

    fn index(&self, x: u32, y: u32, z: u32) -> usize {
        (x + self.size[0] * (y + self.size[1] * z)) as usize
    }

    fn cells(&self) -> usize {
        self.size.iter().map(|n| *n as usize).product()
    }

    fn header(&self) -> [u8; HEADER] {
        let mut header = [0; HEADER];
        header[..4].copy_from_slice(&MAGIC);
        for (i, n) in self.size.iter().enumerate() {
            // `from_parameters` has checked that the size fits into 16 bits.
            let n = u16::try_from(*n).unwrap_or(u16::MAX).to_le_bytes();
            header[4 + 2 * i..6 + 2 * i].copy_from_slice(&n);
        }
        header
    }

    fn read(&self, command: &[u8]) -> Result<Checked, Refusal> {
        let command = wire::decode::<GridCommand>(command).map_err(|e| Refusal(format!("not a GridCommand: {e}")))?;
        match command.body {
            Some(grid_command::Body::Set(set)) => self.read_set(set),
            Some(grid_command::Body::Fill(fill)) => self.read_fill(fill),
            None => Err(Refusal("a GridCommand is `set` or `fill`; this one is neither".into())),
        }
    }

    fn read_set(&self, set: SetCells) -> Result<Checked, Refusal> {
        let count = set.cells.len();
        if count == 0 || count > limits::GRID_SET_CELLS_MAX {
            return Err(Refusal(format!("{count} cells: a set names 1 to {}", limits::GRID_SET_CELLS_MAX)));
        }
        if set.values.len() != count {
            return Err(Refusal(format!("{count} cells, but {} values", set.values.len())));
        }
        if !set.guards.is_empty() && set.guards.len() != count {
            return Err(Refusal(format!("{count} cells, but {} guards", set.guards.len())));
        }
        if let Some(cell) = set.cells.iter().find(|cell| **cell as usize >= self.cells()) {
            return Err(Refusal(format!("cell {cell} is outside of the grid of {} cells", self.cells())));
        }
        set.values.iter().try_for_each(|value| self.check_value(*value))?;
        set.guards.iter().try_for_each(|guard| self.check_guard(*guard))?;
        Ok(Checked::Set(set))
    }

    fn read_fill(&self, fill: FillBox) -> Result<Checked, Refusal> {
        let start = [fill.x, fill.y, fill.z];
        let extent = [fill.width.max(1), fill.height.max(1), fill.depth.max(1)];
        let mut end = [0; 3];
        for i in 0..3 {
            end[i] = start[i].checked_add(extent[i]).filter(|end| *end <= self.size[i]).ok_or_else(|| {
                let [start, extent, size] = [start, extent, self.size].map(triple);
                Refusal(format!("the box from {start} of size {extent} is outside of {size}"))
            })?;
        }
        self.check_value(fill.value)?;
        self.check_guard(fill.guard)?;
        Ok(Checked::Fill { fill, end })
    }

    fn check_value(&self, value: u32) -> Result<(), Refusal> {
        if value < self.palette {
            return Ok(());
        }
        Err(Refusal(format!("value {value} is off the palette of {}", self.palette)))
    }

    fn check_guard(&self, guard: u32) -> Result<(), Refusal> {
        if guard <= self.palette {
            return Ok(());
        }
        Err(Refusal(format!("guard {guard} (value {}) is off the palette of {}", guard - 1, self.palette)))
    }

    /// Describes the first cell whose guard fails; `None` if every guard holds.
    fn conflict(&self, cells: &Cells, command: &Checked) -> Option<String> {
        let differs = |cell: usize, guard: u32| {
            let found = cells.get(cell);
            (guard > 0 && u32::from(found) != guard - 1)
                .then(|| format!("cell {cell} holds {found}, the guard says {}", guard - 1))
        };
        match command {
            Checked::Set(set) => {
                set.cells.iter().zip(&set.guards).find_map(|(cell, guard)| differs(*cell as usize, *guard))
            }
            Checked::Fill { fill, .. } if fill.guard == 0 => None,
            Checked::Fill { fill, end } => {
                let mut conflict = None;
                self.any_cell(fill, *end, |cell| {
                    conflict = differs(cell, fill.guard);
                    conflict.is_some()
                });
                conflict
            }
        }
    }

    /// Whether the predicate `is_so` holds for any cell of a box. `is_so` gets the index of each
    /// cell in order, up to the first one for which it holds.
    fn any_cell(&self, fill: &FillBox, end: [u32; 3], mut is_so: impl FnMut(usize) -> bool) -> bool {
        for z in fill.z..end[2] {
            for y in fill.y..end[1] {
                let row = self.index(fill.x, y, z)..self.index(end[0], y, z);
                if row.into_iter().any(&mut is_so) {
                    return true;
                }
            }
        }
        false
    }
}

impl Cells {
    fn get(&self, cell: usize) -> u16 {
        let at = HEADER + 2 * cell;
        self.0.get(at..at + 2).map_or(0, |b| u16::from_le_bytes([b[0], b[1]]))
    }

    fn set(&mut self, cell: usize, value: u32) {
        let at = HEADER + 2 * cell;
        if let Some(bytes) = self.0.get_mut(at..at + 2) {
            // The value was checked against a palette of at most 65,536.
            bytes.copy_from_slice(&u16::try_from(value).unwrap_or(u16::MAX).to_le_bytes());
        }
    }

    /// The grid's size X, Y and Z, in cells.
    #[must_use]
    pub fn size(&self) -> [u16; 3] {
        let mut size = [0; 3];
        for (n, bytes) in size.iter_mut().zip(self.0[MAGIC.len()..HEADER].as_chunks::<2>().0) {
            *n = u16::from_le_bytes(*bytes);
        }
        size
    }

    /// All values, x fastest.
    pub fn values(&self) -> impl Iterator<Item = u16> + '_ {
        self.0[HEADER..].as_chunks::<2>().0.iter().map(|b| u16::from_le_bytes(*b))
    }
}

impl Model for Grid {
    type State = Cells;

    fn initial(&self, _chunk: &ChunkId) -> Cells {
        let mut bytes = vec![0; HEADER + 2 * self.cells()];
        bytes[..HEADER].copy_from_slice(&self.header());
        Cells(bytes)
    }

    fn check(&self, command: &[u8]) -> Result<(), Refusal> {
        self.read(command).map(|_| ())
    }

    /// The number of cells that the command writes. The command's size is no measure, because a
    /// fill of a few bytes may write the whole grid.
    fn cost(&self, command: &[u8]) -> u32 {
        match self.read(command) {
            Ok(Checked::Set(set)) => u32::try_from(set.cells.len()).unwrap_or(u32::MAX),
            Ok(Checked::Fill { fill, end: [x, y, z] }) => (x - fill.x) * (y - fill.y) * (z - fill.z),
            Err(_) => 1,
        }
    }

    fn decide<'c>(&self, cells: &Cells, _context: &Context<'_>, command: &'c [u8]) -> Decision<'c> {
        match self.read(command) {
            Err(Refusal(detail)) => Decision::Discarded { reason: DiscardReason::Invalid, detail },
            Ok(checked) => match self.conflict(cells, &checked) {
                Some(detail) => Decision::Discarded { reason: DiscardReason::Conflict, detail },
                None => Decision::Committed(Cow::Borrowed(command)),
            },
        }
    }

    fn fold(&self, cells: &mut Cells, effect: &[u8]) -> Result<(), Fault> {
        match self.read(effect).map_err(|Refusal(problem)| Fault(problem))? {
            Checked::Set(set) => {
                for (cell, value) in set.cells.iter().zip(&set.values) {
                    cells.set(*cell as usize, *value);
                }
            }
            Checked::Fill { fill, end } => {
                self.any_cell(&fill, end, |cell| {
                    cells.set(cell, fill.value);
                    false
                });
            }
        }
        Ok(())
    }

    fn fold_is_atomic(&self) -> bool {
        true
    }

    /// Builds the commands that undo an effect. They set the old values, and their guards require
    /// the new values. The result is one fill if the effect is a fill whose cells all had the same
    /// value before, and sets otherwise.
    fn inverse(&self, before: &Cells, effect: &[u8]) -> Vec<Vec<u8>> {
        let mut new: Vec<(usize, u32)> = Vec::new();
        match self.read(effect) {
            Ok(Checked::Set(set)) => {
                // If a cell is named twice, its last value counts.
                new.extend(set.cells.iter().map(|cell| *cell as usize).zip(set.values).rev());
                new.sort_by_key(|(cell, _)| *cell);
                new.dedup_by_key(|(cell, _)| *cell);
            }
            Ok(Checked::Fill { fill, end }) => {
                let old = before.get(self.index(fill.x, fill.y, fill.z));
                if !self.any_cell(&fill, end, |cell| before.get(cell) != old) {
                    let taken_back = FillBox { value: u32::from(old), guard: fill.value + 1, ..fill };
                    let is_change = u32::from(old) != fill.value;
                    return is_change.then(|| encode(grid_command::Body::Fill(taken_back))).into_iter().collect();
                }
                self.any_cell(&fill, end, |cell| {
                    new.push((cell, fill.value));
                    false
                });
            }
            Err(_) => return Vec::new(),
        }
        let changed: Vec<_> = new
            .into_iter()
            .map(|(cell, value)| (cell, u32::from(before.get(cell)), value))
            .filter(|(_, old, value)| old != value)
            .collect();
        if changed.len() > INVERSE_SETS_MAX * limits::GRID_SET_CELLS_MAX {
            return Vec::new();
        }
        let set = |cells: &[(usize, u32, u32)]| SetCells {
            // Every index is below GRID_CELLS_MAX.
            cells: cells.iter().map(|(cell, ..)| u32::try_from(*cell).unwrap_or(u32::MAX)).collect(),
            values: cells.iter().map(|(_, old, _)| *old).collect(),
            guards: cells.iter().map(|(.., value)| value + 1).collect(),
        };
        changed.chunks(limits::GRID_SET_CELLS_MAX).map(|cells| encode(grid_command::Body::Set(set(cells)))).collect()
    }

    fn encode<'s>(&self, cells: &'s Cells) -> Cow<'s, [u8]> {
        Cow::Borrowed(&cells.0)
    }

    fn decode(&self, bytes: &[u8]) -> Result<Cells, Fault> {
        if bytes.len() != HEADER + 2 * self.cells() || bytes[..HEADER] != self.header() {
            return Err(Fault(format!("{} bytes are not a grid of {}", bytes.len(), triple(self.size))));
        }
        let cells = Cells(bytes.to_vec());
        let stray = cells.values().find(|value| u32::from(*value) >= self.palette);
        stray.map_or(Ok(cells), |value| Err(Fault(format!("value {value} is off the palette of {}", self.palette))))
    }

    fn command_from_json(&self, json: &Value) -> Result<Vec<u8>, Refusal> {
        command_json::command_from_json(self, json)
    }

    fn command_to_json(&self, command: &[u8]) -> Result<Value, Refusal> {
        let command = match self.read(command)? {
            Checked::Set(set) => command_json::set_to_json(self, &set),
            Checked::Fill { fill, .. } => command_json::fill_to_json(&fill),
        };
        Ok(command)
    }

    fn content_to_json(&self, cells: &Cells) -> Value {
        let cells = cells.values().map(Value::from).collect();
        json::object([("size", Vec::from(self.size.map(Value::from)).into()), ("cells", Value::Array(cells))])
    }

    fn picture(&self, cells: &Cells) -> Option<Picture> {
        let [width, height, depth] = self.size;
        (depth == 1).then(|| Picture {
            width,
            height,
            rgb: cells.values().flat_map(|v| self.colors.get(v as usize).copied().unwrap_or_default()).collect(),
        })
    }

    fn colors(&self) -> Option<&[[u8; 3]]> {
        Some(&self.colors)
    }
}

fn encode(body: grid_command::Body) -> Vec<u8> {
    wire::encode(&GridCommand { body: Some(body) })
}

/// Formats coordinates or sizes for messages.
fn triple([x, y, z]: [u32; 3]) -> String {
    format!("({x}, {y}, {z})")
}

fn parse_color(name: &str) -> Option<[u8; 3]> {
    let digits = name.strip_prefix('#').filter(|digits| digits.len() == 6)?;
    // `from_str_radix` also accepts a sign.
    let digits = Some(digits).filter(|digits| digits.bytes().all(|b| b.is_ascii_hexdigit()))?;
    let number = u32::from_str_radix(digits, 16).ok()?;
    let [_, r, g, b] = number.to_be_bytes();
    Some([r, g, b])
}

/// The colours of a palette for which the parameters name no colours.
///
/// Value 0 is the colour of paper (250, 250, 247). With 256 values or more, values 1 to 252 are a
/// cube of 6 reds × 7 greens × 6 blues, blue fastest, and values 253 to 255 are greys. The values
/// of smaller palettes, and values above 255, have colours from all around the colour circle.
fn default_colors(palette: u32) -> Vec<[u8; 3]> {
    const PAPER: [u8; 3] = [250, 250, 247];
    let level = |i: u32, of: u32| u8::try_from(i * 255 / (of - 1)).unwrap_or(u8::MAX);
    (0..palette)
        .map(|value| match value {
            0 => PAPER,
            1..=252 if palette >= 256 => {
                let i = value - 1;
                [level(i / 42, 6), level(i / 6 % 7, 7), level(i % 6, 6)]
            }
            253..=255 if palette >= 256 => [[64; 3], [128; 3], [192; 3]][(value - 253) as usize],
            _ => hue(value),
        })
        .collect()
}

/// A saturated colour for a value. The angle on the colour circle is a multiple of the golden
/// angle, so that neighbouring values get very different colours.
fn hue(value: u32) -> [u8; 3] {
    let degrees = value.wrapping_mul(137) % 360;
    let ramp = |shift: u32| {
        let d = (degrees + shift) % 360;
        let level = match d {
            0..60 | 300..360 => 220,
            60..120 => 220 - (d - 60) * 180 / 60,
            120..240 => 40,
            _ => 40 + (d - 240) * 180 / 60,
        };
        u8::try_from(level).unwrap_or(u8::MAX)
    };
    [ramp(0), ramp(240), ramp(120)]
}

#[cfg(test)]
mod tests;
