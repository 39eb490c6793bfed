//! Reduces a picture to the colours of a palette.

use image::RgbImage;

/// Returns the palette index of each pixel, in scan order. Floyd–Steinberg dithering spreads the
/// colour error of a pixel over four neighbours, in sixteenths: 7, 3, 5 and 1 (Floyd and Steinberg
/// 1976).
pub(super) fn quantise(picture: &RgbImage, colors: &[[u8; 3]]) -> Vec<u32> {
    let (width, height) = (picture.width() as usize, picture.height() as usize);
    let mut nearest = NearestColor::new(colors);
    let mut wanted: Vec<[f32; 3]> = picture.pixels().map(|p| p.0.map(f32::from)).collect();
    let mut values = Vec::with_capacity(wanted.len());
    for y in 0..height {
        for x in 0..width {
            let pixel = wanted[y * width + x].map(|c| c.clamp(0.0, 255.0));
            let value = nearest.find(pixel);
            values.push(value as u32);
            let color = colors.get(value).copied().unwrap_or_default();
            for (dx, dy, weight) in [(1, 0, 7.0), (-1, 1, 3.0), (0, 1, 5.0), (1, 1, 1.0)] {
                let (nx, ny) = (x.wrapping_add_signed(dx), y + dy);
                if nx < width && ny < height {
                    for i in 0..3 {
                        wanted[ny * width + nx][i] += (pixel[i] - f32::from(color[i])) * weight / 16.0;
                    }
                }
            }
        }
    }
    values
}

/// Finds the nearest colour, and caches the result for each cube of 8×8×8 colours.
struct NearestColor<'a> {
    colors: &'a [[u8; 3]],
    found: Vec<Option<usize>>,
}

impl<'a> NearestColor<'a> {
    fn new(colors: &'a [[u8; 3]]) -> Self {
        Self { colors, found: vec![None; 32 * 32 * 32] }
    }

    fn find(&mut self, pixel: [f32; 3]) -> usize {
        // The caller clamped the values to 0..=255.
        let [r, g, b] = pixel.map(|c| c as usize / 8);
        let colors = self.colors;
        *self.found[(r * 32 + g) * 32 + b].get_or_insert_with(|| {
            let middle = [r, g, b].map(|c| (c * 8 + 4) as i64);
            let distance =
                |color: &[u8; 3]| -> i64 { color.iter().zip(middle).map(|(c, m)| (i64::from(*c) - m).pow(2)).sum() };
            (0..colors.len()).min_by_key(|i| distance(&colors[*i])).unwrap_or_default()
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_color_of_the_palette_stays_as_it_is() {
        let colors = [[0, 0, 0], [255, 255, 255], [255, 0, 0]];
        let picture = RgbImage::from_pixel(3, 3, image::Rgb([255, 0, 0]));
        assert_eq!(quantise(&picture, &colors), [2; 9]);
    }
}
