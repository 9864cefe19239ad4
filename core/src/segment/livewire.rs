//! Intelligent scissors (Mortensen and Barrett, 1995): the cheapest way from a clicked place to any other, which keeps to edges.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use ndarray::{Array2, ArrayView2};

use crate::measure::Pixel;

/// Shares of what a step costs: that there is no edge, that it goes across one, and its length alone. Without the zero crossings of the first
/// description: edges of tissue are wide, and the gradient's ridge is enough.
const NO_EDGE: f32 = 0.55;
const ACROSS: f32 = 0.25;
const LENGTH: f32 = 0.2;
/// Costs are counted in these steps.
const STEPS: f32 = 1000.0;
/// What a step of one pixel costs more beside an outline that lies there already: without it the wire turns back along a strong edge rather than
/// go on along a weak one. Above all that a step costs otherwise.
const TAKEN: f32 = 3.0;
/// How far beside that outline, pixels: a way next to it is as bad.
const BESIDE: isize = 2;
/// The share of pixels whose gradient counts as a full edge.
const FULL_EDGES: f32 = 0.02;

/// Cheapest ways from one place, in a window around it.
#[derive(Debug, Clone)]
pub struct LiveWire {
    /// First row and column of the window.
    corner: (usize, usize),
    /// For each pixel of the window the one before it; the seed is its own.
    before: Array2<u32>,
}

impl LiveWire {
    /// From `seed` (row, column), over the pixels within `reach` of it. Ways keep away from `taken`, the outline
    /// so far, where they can. `None` where the seed is beside the image.
    pub fn new(values: ArrayView2<'_, f32>, seed: Pixel, reach: usize, taken: &[Pixel]) -> Option<Self> {
        let (rows, columns) = values.dim();
        let place = |v: f64, count: usize| (v.round() >= 0.0 && v.round() < count as f64).then_some(v.round() as usize);
        let (row, column) = (place(seed.0, rows)?, place(seed.1, columns)?);
        let corner = (row.saturating_sub(reach), column.saturating_sub(reach));
        let end = ((row + reach + 1).min(rows), (column + reach + 1).min(columns));
        let window = values.slice(ndarray::s![corner.0..end.0, corner.1..end.1]);
        let edges = Edges::of(window);
        let before = ways(&edges, &beside(taken, corner, window.dim()), (row - corner.0, column - corner.1));
        Some(Self { corner, before })
    }

    /// The way to `to`, the seed left out, `to` last. Beyond the window it goes straight from where it leaves it.
    pub fn path_to(&self, to: Pixel) -> Vec<Pixel> {
        let (rows, columns) = self.before.dim();
        let inside = |v: f64, corner: usize, count: usize| {
            (v.round() - corner as f64).clamp(0.0, count.saturating_sub(1) as f64) as usize
        };
        let mut at = (inside(to.0, self.corner.0, rows), inside(to.1, self.corner.1, columns));
        let mut path = vec![to];
        loop {
            let before = self.before[at] as usize;
            let next = (before / columns, before % columns);
            if next == at {
                break;
            }
            path.push(((at.0 + self.corner.0) as f64, (at.1 + self.corner.1) as f64));
            at = next;
        }
        path.reverse();
        // The last pixel of the way and the place itself are one where it is inside.
        if let [.., last, end] = path.as_slice()
            && (last.0 - end.0).hypot(last.1 - end.1) < 0.75
        {
            path.remove(path.len() - 2);
        }
        path
    }
}

/// Strength of the edge at each pixel, 0 to 1, and the direction across it.
struct Edges {
    strength: Array2<f32>,
    across: Array2<(f32, f32)>,
}

impl Edges {
    fn of(window: ArrayView2<'_, f32>) -> Self {
        let (rows, columns) = window.dim();
        let finite = window.mapv(|v| if v.is_finite() { v } else { 0.0 });
        let smooth = blurred(&blurred(&finite).reversed_axes().as_standard_layout().to_owned())
            .reversed_axes()
            .as_standard_layout()
            .to_owned();
        let at = |r: isize, c: isize| {
            smooth[[r.clamp(0, rows as isize - 1) as usize, c.clamp(0, columns as isize - 1) as usize]]
        };
        let slope = Array2::from_shape_fn((rows, columns), |(r, c)| {
            let (r, c) = (r as isize, c as isize);
            ((at(r + 1, c) - at(r - 1, c)) / 2.0, (at(r, c + 1) - at(r, c - 1)) / 2.0)
        });
        let steep = slope.mapv(|(down, right): (f32, f32)| down.hypot(right));
        let mut sorted: Vec<f32> = steep.iter().copied().collect();
        let index = ((1.0 - FULL_EDGES) * (sorted.len().max(1) - 1) as f32) as usize;
        let full = if sorted.is_empty() { 1.0 } else { *sorted.select_nth_unstable_by(index, f32::total_cmp).1 };
        let scale = 1.0 / full.max(1e-6);
        let across = ndarray::Zip::from(&slope)
            .and(&steep)
            .map_collect(|slope, steep| if *steep > 1e-6 { (slope.0 / steep, slope.1 / steep) } else { (0.0, 0.0) });
        // The root lifts soft edges, as of the heart, beside hard ones, as of skin and bone.
        Self { strength: steep.mapv(|v| (v * scale).min(1.0).sqrt()), across }
    }
}

/// Smoothed along each row by 1 4 6 4 1.
fn blurred(image: &Array2<f32>) -> Array2<f32> {
    let columns = image.ncols() as isize;
    Array2::from_shape_fn(image.dim(), |(r, c)| {
        let at = |step: isize| image[[r, (c as isize + step).clamp(0, columns - 1) as usize]];
        (at(-2) + 4.0 * at(-1) + 6.0 * at(0) + 4.0 * at(1) + at(2)) / 16.0
    })
}

/// Where an outline lies or is near, in a window of `size` from `corner` on.
fn beside(taken: &[Pixel], corner: (usize, usize), size: (usize, usize)) -> Array2<bool> {
    let mut near = Array2::from_elem(size, false);
    for (row, column) in taken {
        let (row, column) = (row.round() as isize - corner.0 as isize, column.round() as isize - corner.1 as isize);
        for r in (row - BESIDE).max(0)..(row + BESIDE + 1).min(size.0 as isize) {
            for c in (column - BESIDE).max(0)..(column + BESIDE + 1).min(size.1 as isize) {
                near[[r as usize, c as usize]] = true;
            }
        }
    }
    near
}

/// Dijkstra's cheapest ways from `seed` to all pixels, as each one's predecessor.
fn ways(edges: &Edges, taken: &Array2<bool>, seed: (usize, usize)) -> Array2<u32> {
    let (rows, columns) = edges.strength.dim();
    let index = |at: (usize, usize)| (at.0 * columns + at.1) as u32;
    let mut before = Array2::from_elem((rows, columns), index(seed));
    let mut costs = Array2::from_elem((rows, columns), u32::MAX);
    costs[seed] = 0;
    let mut open = BinaryHeap::from([Reverse((0_u32, index(seed)))]);
    while let Some(Reverse((cost, number))) = open.pop() {
        let at = (number as usize / columns, number as usize % columns);
        if cost > costs[at] {
            continue;
        }
        for (down, right) in [(-1, -1), (-1, 0), (-1, 1), (0, -1), (0, 1), (1, -1), (1, 0), (1, 1)] {
            let next = (at.0.wrapping_add_signed(down), at.1.wrapping_add_signed(right));
            if next.0 >= rows || next.1 >= columns {
                continue;
            }
            let length = ((down * down + right * right) as f32).sqrt();
            let strength = edges.strength[next];
            let (a, b) = edges.across[next];
            let across = ((a * down as f32 + b * right as f32) / length).abs() * strength;
            let again = if taken[next] { TAKEN } else { 0.0 };
            let step = (NO_EDGE * (1.0 - strength) + ACROSS * across + LENGTH + again) * length;
            let total = cost + (step * STEPS).max(1.0) as u32;
            if total < costs[next] {
                costs[next] = total;
                before[next] = number;
                open.push(Reverse((total, index(next))));
            }
        }
    }
    before
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A bright disc of radius 30 around (50, 60).
    fn disc() -> Array2<f32> {
        Array2::from_shape_fn((110, 120), |(r, c)| {
            let away = (r as f32 - 50.0).hypot(c as f32 - 60.0);
            1.0 / (1.0 + ((away - 30.0) * 1.5).exp()) + 0.02 * ((r * 7 + c * 13) % 5) as f32
        })
    }

    #[test]
    fn it_follows_the_rim_of_a_disc() {
        let image = disc();
        let wire = LiveWire::new(image.view(), (20.0, 60.0), 200, &[]).expect("inside");
        // A quarter of the rim: straight through the disc would be 21 pixels shorter than around it.
        let path = wire.path_to((50.0, 90.0));
        assert_eq!(path.last(), Some(&(50.0, 90.0)));
        let away: Vec<f64> = path.iter().map(|(r, c)| ((r - 50.0).hypot(c - 60.0) - 30.0).abs()).collect();
        assert!(away.iter().all(|mm| *mm < 2.0), "{away:?}");
        assert!(path.len() > 30, "around, not through: {}", path.len());
        // Steps are neighbours.
        assert!(path.windows(2).all(|p| (p[0].0 - p[1].0).hypot(p[0].1 - p[1].1) < 2.3));
    }

    #[test]
    fn it_goes_on_rather_than_back_along_its_own_outline() {
        // A rim that is strong at its right and fades to its left.
        let image = Array2::from_shape_fn((110, 120), |(r, c)| {
            let away = (r as f32 - 50.0).hypot(c as f32 - 60.0);
            ((c as f32 - 25.0) / 65.0).clamp(0.1, 1.0) / (1.0 + ((away - 30.0) * 1.5).exp())
        });
        let (top, bottom) = ((20.0, 60.0), (80.0, 60.0));
        let first = LiveWire::new(image.view(), top, 200, &[]).expect("inside").path_to(bottom);
        let right = |path: &[Pixel]| path.iter().filter(|p| p.1 > 70.0).count();
        assert!(right(&first) > 30, "down the right side");
        // From the bottom to the top the strong rim is taken once, not twice.
        let unaware = LiveWire::new(image.view(), bottom, 200, &[]).expect("inside").path_to(top);
        let aware = LiveWire::new(image.view(), bottom, 200, &first).expect("inside").path_to(top);
        assert!(right(&unaware) > 30 && right(&aware) == 0, "{} {}", right(&unaware), right(&aware));
        assert_eq!(aware.last(), Some(&top), "the outline closes");
    }

    #[test]
    fn on_even_ground_it_goes_straight() {
        let image = Array2::<f32>::zeros((40, 40));
        let wire = LiveWire::new(image.view(), (5.0, 5.0), 100, &[]).expect("inside");
        let path = wire.path_to((5.0, 30.0));
        assert_eq!(path.len(), 25);
        assert!(path.iter().all(|p| p.0 == 5.0));
        assert_eq!(wire.path_to((5.0, 5.0)), [(5.0, 5.0)]);
    }

    #[test]
    fn what_is_beyond_the_window_or_the_image_is_reached_straight() {
        let image = disc();
        let wire = LiveWire::new(image.view(), (50.0, 60.0), 10, &[]).expect("inside");
        let path = wire.path_to((50.0, 100.0));
        assert_eq!((path[path.len() - 2].1, path[path.len() - 1].1), (70.0, 100.0));
        assert!(LiveWire::new(image.view(), (-3.0, 4.0), 10, &[]).is_none());
        assert!(LiveWire::new(Array2::<f32>::zeros((0, 0)).view(), (0.0, 0.0), 10, &[]).is_none());
        let holes = Array2::from_elem((8, 8), f32::NAN);
        assert_eq!(LiveWire::new(holes.view(), (4.0, 4.0), 9, &[]).expect("inside").path_to((4.0, 6.0)).len(), 2);
    }
}
