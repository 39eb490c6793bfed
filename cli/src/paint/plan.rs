//! The plan of a painting: which chunk gets which cells.

use super::dither::quantise;
use anyhow::{Result, bail};
use driftless_chunk::grid::Grid;
use driftless_chunk::model::Model;
use driftless_client::ChunkId;
use image::RgbImage;
use serde::Deserialize;
use std::collections::BTreeMap;
use std::str::FromStr;

/// The part of the answer to `GET /v1/world` that painting needs.
#[derive(Deserialize)]
pub(super) struct WorldAnswer {
    pub families: Vec<FamilyAnswer>,
}

#[derive(Deserialize)]
pub(super) struct FamilyAnswer {
    pub name: String,
    model: String,
    parameters: serde_json::Map<String, serde_json::Value>,
    coordinates: u32,
    coordinate_min: i32,
    coordinate_max: i32,
}

/// The cells to paint: for each chunk the pairs (cell, value) in scan order.
pub(super) type Plan = BTreeMap<ChunkId, Vec<(u32, u32)>>;

/// The coordinates of a chunk, from the flag `--at`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct At {
    x: i32,
    y: i32,
}

impl FromStr for At {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let numbers = text.split_once(',').and_then(|(x, y)| Some((x.trim().parse().ok()?, y.trim().parse().ok()?)));
        numbers.map(|(x, y)| Self { x, y }).ok_or_else(|| format!("{text:?} is not X,Y, such as 0,-2"))
    }
}

/// Returns the model of a family whose chunks are flat grids. Fails for any other family.
pub(super) fn flat_grid(family: &FamilyAnswer) -> Result<Grid> {
    if family.model != "grid" || family.coordinates != 2 {
        bail!(
            "family {} is not a plane of grids (its model is {}): choose another with --family",
            family.name,
            family.model
        );
    }
    let grid = Grid::from_parameters(&family.parameters)?;
    if grid.size()[2] != 1 {
        bail!("the chunks of family {} are not flat: choose another with --family", family.name);
    }
    Ok(grid)
}

/// Plans a picture whose upper left corner lies at chunk `at`. Without `at` the picture lies around
/// the middle of the page.
pub(super) fn plan(picture: &RgbImage, grid: &Grid, family: &FamilyAnswer, at: Option<At>) -> Result<Plan> {
    let at = at.unwrap_or_else(|| centered(picture, grid, family));
    let values = quantise(picture, Model::colors(grid).unwrap_or_default());
    place(&values, picture, grid, family, at)
}

/// Returns the chunk for the picture's upper left corner that puts the picture's middle at the
/// corner of chunk 0,0. The page starts there and shows four by four chunks.
fn centered(picture: &RgbImage, grid: &Grid, family: &FamilyAnswer) -> At {
    let [sx, sy, _] = grid.size();
    let corner = |pixels: u32, cells: u32| {
        let chunks = i32::try_from(pixels.div_ceil(cells)).unwrap_or(i32::MAX);
        (-(chunks / 2)).max(family.coordinate_min)
    };
    At { x: corner(picture.width(), sx), y: corner(picture.height(), sy) }
}

fn place(values: &[u32], picture: &RgbImage, grid: &Grid, family: &FamilyAnswer, at: At) -> Result<Plan> {
    let [sx, sy, _] = grid.size();
    let mut plan = Plan::new();
    for (i, value) in values.iter().enumerate() {
        let (x, y) = (i as u32 % picture.width(), i as u32 / picture.width());
        let coordinate = |corner: i32, n: u32| i32::try_from(n).ok().and_then(|n| corner.checked_add(n));
        let chunk = coordinate(at.x, x / sx).zip(coordinate(at.y, y / sy)).filter(|(cx, cy)| {
            let bounds = family.coordinate_min..=family.coordinate_max;
            bounds.contains(cx) && bounds.contains(cy)
        });
        let Some((cx, cy)) = chunk else {
            bail!(
                "the picture reaches beyond the family's bounds {}..={}: choose another corner with --at",
                family.coordinate_min,
                family.coordinate_max
            );
        };
        let cells = plan.entry(ChunkId::new(&family.name, &[cx, cy])?).or_default();
        cells.push((x % sx + sx * (y % sy), *value));
    }
    Ok(plan)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_picture_is_cut_into_chunks_and_every_cell_belongs_to_one() {
        let family = FamilyAnswer {
            name: "canvas".into(),
            model: "grid".into(),
            parameters: serde_json::json!({"size": [4, 4], "palette": 256}).as_object().unwrap().clone(),
            coordinates: 2,
            coordinate_min: -1,
            coordinate_max: 1,
        };
        let grid = flat_grid(&family).unwrap();
        let picture = RgbImage::from_fn(6, 5, |x, y| image::Rgb([(x * 40) as u8, (y * 50) as u8, 128]));
        let values = quantise(&picture, Model::colors(&grid).unwrap());
        let painted = place(&values, &picture, &grid, &family, At { x: -1, y: 0 }).unwrap();
        assert_eq!(painted.len(), 4);
        assert_eq!(painted.values().map(Vec::len).sum::<usize>(), 30);
        assert_eq!(painted[&"canvas/0/1".parse().unwrap()], [(0, values[4 * 6 + 4]), (1, values[4 * 6 + 5])]);
        assert!(place(&values, &picture, &grid, &family, At { x: 1, y: 0 }).is_err());
    }

    #[test]
    fn a_picture_lies_around_the_middle_of_the_page() {
        let family = |bounds: i32| FamilyAnswer {
            name: "canvas".into(),
            model: "grid".into(),
            parameters: serde_json::json!({"size": [4, 4], "palette": 256}).as_object().unwrap().clone(),
            coordinates: 2,
            coordinate_min: -bounds,
            coordinate_max: bounds,
        };
        let corner = |width, height, bounds| {
            let (picture, family) = (RgbImage::new(width, height), family(bounds));
            centered(&picture, &flat_grid(&family).unwrap(), &family)
        };
        // The page shows four by four chunks.
        assert_eq!(corner(16, 16, 9), At { x: -2, y: -2 });
        assert_eq!(corner(1, 9, 9), At { x: 0, y: -1 });
        assert_eq!(corner(16, 16, 1), At { x: -1, y: -1 });
    }
}
