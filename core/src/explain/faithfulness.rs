//! Whether a map points at what the answer rests on: the image is blurred where the map is hot, and the answer asked for again.
//!
//! Deletion blurs the hottest cells first, insertion starts from the blurred image and brings the hottest cells back first (Petsiuk, Das
//! and Saenko, 2018). The area under the curve of the class's probability over the share of cells is small for deletion and large for
//! insertion where the map is faithful. Both are compared with random maps that are as smooth: a number alone says nothing.
//!
//! Random maps need one set of images for both: what deletion by R leaves at a share is what insertion by -R shows at the rest, and R and
//! -R are equally likely. Their areas have one distribution.

use ndarray::{ArrayView2, ArrayView3};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use super::random::{blur, correlation, random_map, ranks, smoothness};

/// Maps are compared on so many cells a side.
pub const CELLS: usize = 16;
/// Shares of the cells at which the answer is asked for, besides 0 and 1; the same read from either end.
const SHARES: [f32; 5] = [0.1, 0.25, 0.5, 0.75, 0.9];
/// Random maps a map is compared with: by chance one map in 21 is better than all of them.
pub const RANDOM_MAPS: usize = 20;
/// Width of the blur as a share of the image's side. A lung blurred less looks like a lung with an opacity: only the coarsest shades stay.
const BLUR: f32 = 0.25;
/// A probability that falls by less than this where the whole image is blurred does not rest on what can be masked.
const SMALLEST_FALL: f32 = 0.1;
/// Blurring the hottest tenth of the cells should lower the probability by this share of it.
const SMALLEST_DROP: f32 = 0.1;

/// What a comparison with random maps says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// Better than every random map, by deletion and by insertion.
    Faithful,
    /// Better by one of the two.
    Partly,
    /// Not better than all random maps, by either.
    NoBetterThanRandom,
    /// The answer hardly changes where the whole image is blurred: there is nothing to measure.
    NotMeasurable,
}

impl Verdict {
    /// In plain words.
    pub fn words(self) -> &'static str {
        match self {
            Self::Faithful => "better than random maps",
            Self::Partly => "partly better than random maps",
            Self::NoBetterThanRandom => "no better than random maps",
            Self::NotMeasurable => "faithfulness cannot be measured here",
        }
    }
}

/// Areas under the curves of random maps.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct RandomRange {
    /// Mean.
    pub mean: f32,
    /// Lowest.
    pub low: f32,
    /// Highest.
    pub high: f32,
    /// How many maps.
    pub maps: usize,
}

/// How faithful one map is, for one class on one image. Probabilities and areas are 0 to 1.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Faithfulness {
    /// Probability of the class for the image as it is (not averaged over the mirror image).
    pub probability: f32,
    /// The same where the whole image is blurred.
    pub blurred: f32,
    /// Area under the deletion curve: low is good.
    pub deletion: f32,
    /// Area under the insertion curve: high is good.
    pub insertion: f32,
    /// What random maps reach, by either.
    pub random: RandomRange,
    /// Probability where the hottest tenth of the cells is blurred.
    pub hottest_masked: f32,
    /// The same for random maps, mean.
    pub random_masked: f32,
    /// Share of the map inside the lungs, 0 to 1; `None` where there are no lungs or the map is empty.
    pub inside_lungs: Option<f32>,
    /// The lungs' share of the image: what an even map would have inside.
    pub lungs_area: Option<f32>,
    /// Rank correlation with the evidence of the other branch, -1 to 1.
    pub agreement: Option<f32>,
    /// What that comes to.
    pub verdict: Verdict,
}

/// Which warnings a map carries, by a stable name, in one sentence each.
pub type Warning = (&'static str, String);

impl Faithfulness {
    /// What speaks against the map. Where the class is not called, there is nothing to explain, and a map cannot fail at it.
    pub fn warnings(&self, called: bool) -> Vec<Warning> {
        let mut warnings = Vec::new();
        if !called {
            return warnings;
        }
        let (before, random) = (self.probability, self.random);
        match self.verdict {
            Verdict::NotMeasurable => warnings.push((
                "map_not_measurable",
                format!(
                    "with the whole image blurred, the probability is {:.2} (it was {before:.2}): the answer does not rest on what a map \
                     can show, or blurring looks like disease",
                    self.blurred
                ),
            )),
            Verdict::NoBetterThanRandom => warnings.push((
                "map_no_better_than_random",
                format!(
                    "no better than random maps (deletion {:.2}, insertion {:.2}, random {:.2} to {:.2})",
                    self.deletion, self.insertion, random.low, random.high
                ),
            )),
            Verdict::Faithful | Verdict::Partly => {}
        }
        if self.verdict != Verdict::NotMeasurable && before - self.hottest_masked < SMALLEST_DROP * before {
            let text = format!(
                "blurring its hottest tenth hardly moves the probability: {before:.2} to {:.2}",
                self.hottest_masked
            );
            warnings.push(("masking_hardly_matters", text));
        }
        if let Some(agreement) = self.agreement.filter(|agreement| *agreement < 0.0) {
            let text = format!("local and global evidence disagree (rank correlation {agreement:.2})");
            warnings.push(("evidence_disagrees", text));
        }
        warnings
    }
}

/// Probabilities along a curve, at shares 0, 0.1, 0.25, 0.5, 0.75, 0.9 and 1.
#[derive(Debug, Clone, PartialEq)]
pub struct Curves {
    /// The hottest cells blurred first.
    pub deletion: Vec<f32>,
    /// The hottest cells brought back first.
    pub insertion: Vec<f32>,
}

/// Random maps of one smoothness on one image.
#[derive(Debug, Clone, PartialEq)]
pub struct RandomScores {
    areas: Vec<f32>,
    masked: Vec<f32>,
}

/// An image with its blurred copy, for one experiment after the other.
pub struct Occlusion {
    side: usize,
    image: Vec<f32>,
    blurred: Vec<f32>,
    /// Cells that hold a part of the image, row by row: letterboxing is not masked.
    inside: Vec<usize>,
    /// For each pixel of a side: the two cells it lies between and the weight of the second.
    taps: Vec<(usize, usize, f32)>,
}

impl Occlusion {
    /// `image` is the network's square input, `[channel, row, column]`; `inside` says which of [`CELLS`] x [`CELLS`] cells hold a part of the picture.
    pub fn new(image: ArrayView3<'_, f32>, inside: ArrayView2<'_, bool>) -> Self {
        let side = image.dim().1;
        let blurred = image.outer_iter().flat_map(|channel| blur(&channel.to_owned(), BLUR * side as f32));
        let taps = (0..side)
            .map(|pixel| {
                let at = (pixel as f32 + 0.5) * CELLS as f32 / side as f32 - 0.5;
                let at = at.clamp(0.0, (CELLS - 1) as f32);
                (at as usize, (at as usize + 1).min(CELLS - 1), at.fract())
            })
            .collect();
        Self {
            side,
            blurred: blurred.collect(),
            image: image.iter().copied().collect(),
            inside: inside.iter().enumerate().filter(|(_, inside)| **inside).map(|(cell, _)| cell).collect(),
            taps,
        }
    }

    /// The image with the named cells blurred, seams softened over one cell.
    fn masked(&self, cells: &[usize]) -> Vec<f32> {
        let mut mask = [0.0_f32; CELLS * CELLS];
        for cell in cells {
            if let Some(value) = mask.get_mut(*cell) {
                *value = 1.0;
            }
        }
        let at = |row: usize, column: usize| mask.get(row * CELLS + column).copied().unwrap_or(0.0);
        let mut out = Vec::with_capacity(self.image.len());
        let mut pixels = self.image.iter().zip(&self.blurred);
        let channels = self.image.len() / (self.side * self.side).max(1);
        for (top, bottom, down) in (0..channels).flat_map(|_| &self.taps) {
            for (left, right, across) in self.taps.iter().take(self.side) {
                let upper = at(*top, *left) + across * (at(*top, *right) - at(*top, *left));
                let lower = at(*bottom, *left) + across * (at(*bottom, *right) - at(*bottom, *left));
                let share = upper + down * (lower - upper);
                if let Some((image, blurred)) = pixels.next() {
                    out.push(image + share * (blurred - image));
                }
            }
        }
        out
    }

    /// Cells of the picture, the hottest first; equal cells in an order that has nothing to do with their place.
    fn order(&self, map: ArrayView2<'_, f32>) -> Vec<usize> {
        let values: Vec<f32> = map.iter().copied().collect();
        let scatter: Vec<f32> = random_map((CELLS, CELLS), 0, usize::MAX).into_iter().collect();
        let value = |values: &[f32], cell: usize| values.get(cell).copied().unwrap_or(0.0);
        let mut cells = self.inside.clone();
        cells.sort_by(|a, b| {
            let hotter = value(&values, *b).total_cmp(&value(&values, *a));
            hotter.then(value(&scatter, *a).total_cmp(&value(&scatter, *b)))
        });
        cells
    }

    /// How many cells a share is.
    fn count(&self, share: f32) -> usize {
        (share * self.inside.len() as f32).round() as usize
    }

    /// Probabilities of the image as it is and blurred as a whole.
    pub fn ends<E>(&self, score: &mut dyn FnMut(Vec<Vec<f32>>) -> Result<Vec<f32>, E>) -> Result<(f32, f32), E> {
        let scores = score(vec![self.image.clone(), self.masked(&self.inside)])?;
        Ok((scores.first().copied().unwrap_or(0.0), scores.last().copied().unwrap_or(0.0)))
    }

    /// Both curves of `map` ([`CELLS`] x [`CELLS`]). `score` gives the class's probability for each of several images, channel by channel and row by row.
    pub fn curves<E>(
        &self,
        map: ArrayView2<'_, f32>,
        (plain, blurred): (f32, f32),
        score: &mut dyn FnMut(Vec<Vec<f32>>) -> Result<Vec<f32>, E>,
    ) -> Result<Curves, E> {
        let order = self.order(map);
        let split = |share: f32| order.split_at(self.count(share).min(order.len()));
        let mut images: Vec<Vec<f32>> = SHARES.par_iter().map(|share| self.masked(split(*share).0)).collect();
        images.par_extend(SHARES.par_iter().map(|share| self.masked(split(*share).1)));
        let scores = score(images)?;
        let (deletion, insertion) = scores.split_at(SHARES.len().min(scores.len()));
        let curve = |first: f32, between: &[f32], last: f32| [&[first], between, &[last]].concat();
        Ok(Curves { deletion: curve(plain, deletion, blurred), insertion: curve(blurred, insertion, plain) })
    }

    /// Deletion by random maps as smooth as those of `smoothness`.
    pub fn random<E>(
        &self,
        smoothness: usize,
        (plain, blurred): (f32, f32),
        score: &mut dyn FnMut(Vec<Vec<f32>>) -> Result<Vec<f32>, E>,
    ) -> Result<RandomScores, E> {
        let mut found = RandomScores { areas: Vec::new(), masked: Vec::new() };
        for index in 0..RANDOM_MAPS {
            let order = self.order(random_map((CELLS, CELLS), smoothness, index).view());
            let masked = |share: &f32| self.masked(order.split_at(self.count(*share).min(order.len())).0);
            let scores = score(SHARES.par_iter().map(masked).collect())?;
            found.masked.push(scores.first().copied().unwrap_or(plain));
            found.areas.push(area(&[&[plain], scores.as_slice(), &[blurred]].concat()));
        }
        Ok(found)
    }
}

/// Index of the random maps that are as smooth as `map`.
pub fn smoothness_of(map: ArrayView2<'_, f32>) -> usize {
    smoothness(map)
}

/// Area under a curve over shares 0, [`SHARES`] and 1, by trapezoids.
fn area(curve: &[f32]) -> f32 {
    let shares = [&[0.0], SHARES.as_slice(), &[1.0]].concat();
    let steps = shares.windows(2).zip(curve.windows(2));
    steps.map(|(x, y)| (x[1] - x[0]) * (y[0] + y[1]) / 2.0).sum()
}

/// Puts the parts together. `lungs` and `other` are the lungs' coverage and the other branch's evidence on the cells, where there are any.
pub fn faithfulness(
    map: ArrayView2<'_, f32>,
    curves: &Curves,
    random: &RandomScores,
    lungs: Option<ArrayView2<'_, f32>>,
    other: Option<ArrayView2<'_, f32>>,
) -> Faithfulness {
    let mean = |values: &[f32]| values.iter().sum::<f32>() / values.len().max(1) as f32;
    let low = random.areas.iter().copied().fold(f32::INFINITY, f32::min);
    let high = random.areas.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let (deletion, insertion) = (area(&curves.deletion), area(&curves.insertion));
    let probability = curves.deletion.first().copied().unwrap_or(0.0);
    let blurred = curves.deletion.last().copied().unwrap_or(0.0);
    let verdict = match (deletion < low, insertion > high) {
        _ if probability - blurred < SMALLEST_FALL => Verdict::NotMeasurable,
        (true, true) => Verdict::Faithful,
        (false, false) => Verdict::NoBetterThanRandom,
        _ => Verdict::Partly,
    };
    let total: f32 = map.sum();
    let inside = |lungs: ArrayView2<'_, f32>| map.iter().zip(lungs).map(|(a, b)| a * b).sum::<f32>() / total;
    Faithfulness {
        probability,
        blurred,
        deletion,
        insertion,
        random: RandomRange { mean: mean(&random.areas), low, high, maps: random.areas.len() },
        hottest_masked: curves.deletion.get(1).copied().unwrap_or(probability),
        random_masked: mean(&random.masked),
        inside_lungs: lungs.filter(|_| total > 0.0).map(inside),
        lungs_area: lungs.map(|lungs| lungs.mean().unwrap_or(0.0)),
        agreement: other.map(|other| rank_correlation(map, other)),
        verdict,
    }
}

/// Rank correlation (Spearman) of two maps of one shape, -1 to 1; 0 where one is even.
pub fn rank_correlation(a: ArrayView2<'_, f32>, b: ArrayView2<'_, f32>) -> f32 {
    let flat = |map: ArrayView2<'_, f32>| map.iter().copied().collect::<Vec<f32>>();
    correlation(&ranks(&flat(a)), &ranks(&flat(b)))
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use ndarray::Array2;

    use super::*;

    const SIDE: usize = 64;

    /// A "network" that looks at one patch alone, of 6 x 6 cells, and says how bright it is.
    fn patch(images: Vec<Vec<f32>>) -> Result<Vec<f32>, Infallible> {
        let answer = |image: &Vec<f32>| {
            let pixels = (4..28).flat_map(|r| (36..60).map(move |c| r * SIDE + c));
            (pixels.map(|at| image[at]).sum::<f32>() / 576.0).clamp(0.0, 1.0)
        };
        Ok(images.iter().map(answer).collect())
    }

    fn experiment() -> (Occlusion, Array2<f32>) {
        let image =
            Array2::from_shape_fn(
                (SIDE, SIDE),
                |(r, c)| {
                    if (4..28).contains(&r) && (36..60).contains(&c) { 1.0 } else { 0.0 }
                },
            );
        // Cells are 4 pixels: the patch is rows 1 to 6, columns 9 to 14.
        let truth = Array2::from_shape_fn((CELLS, CELLS), |(r, c)| {
            (-((r as f32 - 3.5).powi(2) + (c as f32 - 11.5).powi(2)) / 18.0).exp()
        });
        let image = image.insert_axis(ndarray::Axis(0));
        (Occlusion::new(image.view(), Array2::from_elem((CELLS, CELLS), true).view()), truth)
    }

    fn measure(map: &Array2<f32>) -> Faithfulness {
        let (occlusion, truth) = experiment();
        let ends = occlusion.ends(&mut patch).unwrap();
        let curves = occlusion.curves(map.view(), ends, &mut patch).unwrap();
        let random = occlusion.random(smoothness_of(map.view()), ends, &mut patch).unwrap();
        let lungs = Array2::from_shape_fn((CELLS, CELLS), |(_, c)| f32::from(u8::from(c >= 8)));
        faithfulness(map.view(), &curves, &random, Some(lungs.view()), Some(truth.view()))
    }

    #[test]
    fn the_true_patch_is_faithful_and_its_opposite_is_not() {
        let (_, truth) = experiment();
        let good = measure(&truth);
        assert_eq!(good.verdict, Verdict::Faithful, "{good:?}");
        assert!(good.probability > 0.99 && good.blurred < 0.5 && good.hottest_masked < 0.6, "{good:?}");
        assert!(good.inside_lungs.unwrap() > 0.8 && (good.lungs_area.unwrap() - 0.5).abs() < 1e-6);
        assert!((good.agreement.unwrap() - 1.0).abs() < 1e-5);
        assert!(good.warnings(true).is_empty());

        let bad = measure(&truth.mapv(|v| 1.0 - v));
        assert_eq!(bad.verdict, Verdict::NoBetterThanRandom, "{bad:?}");
        assert!(bad.deletion > good.deletion + 0.2 && bad.insertion < good.insertion - 0.2);
        let codes: Vec<&str> = bad.warnings(true).iter().map(|(code, _)| *code).collect();
        assert_eq!(codes, ["map_no_better_than_random", "masking_hardly_matters", "evidence_disagrees"]);
        assert!(bad.warnings(false).is_empty(), "nothing is explained where the class is not called");
    }

    #[test]
    fn random_maps_are_seldom_better_than_all_others() {
        let better = (0..100)
            .map(|index| random_map((CELLS, CELLS), 3, 1000 + index))
            .filter(|map| matches!(measure(map).verdict, Verdict::Faithful))
            .count();
        assert!(better <= 15, "{better} of 100 random maps are called faithful");
    }

    #[test]
    fn an_answer_that_rests_on_nothing_cannot_be_measured() {
        let (occlusion, truth) = experiment();
        let mut constant = |images: Vec<Vec<f32>>| Ok::<_, Infallible>(vec![0.7; images.len()]);
        let ends = occlusion.ends(&mut constant).unwrap();
        let curves = occlusion.curves(truth.view(), ends, &mut constant).unwrap();
        let random = occlusion.random(2, ends, &mut constant).unwrap();
        let found = faithfulness(truth.view(), &curves, &random, None, None);
        assert_eq!(found.verdict, Verdict::NotMeasurable);
        assert_eq!(found.warnings(true).first().map(|(code, _)| *code), Some("map_not_measurable"));
        assert!((found.deletion - 0.7).abs() < 1e-5 && found.inside_lungs.is_none());
    }

    #[test]
    fn deletion_and_insertion_are_each_others_rest() {
        let (occlusion, truth) = experiment();
        let order = occlusion.order(truth.view());
        let (first, rest) = order.split_at(100);
        let (a, b) = (occlusion.masked(first), occlusion.masked(rest));
        // What one blurs the other shows.
        for (((a, b), image), blurred) in a.iter().zip(&b).zip(&occlusion.image).zip(&occlusion.blurred) {
            assert!((a + b - image - blurred).abs() < 1e-5);
        }
        assert_eq!(area(&[1.0; 7]), 1.0);
    }

    #[test]
    fn letterboxing_is_not_masked() {
        let image = ndarray::Array3::from_elem((3, SIDE, SIDE), 0.5);
        let inside = Array2::from_shape_fn((CELLS, CELLS), |(r, _)| r >= 8);
        let occlusion = Occlusion::new(image.view(), inside.view());
        let order = occlusion.order(Array2::from_shape_fn((CELLS, CELLS), |(r, _)| -(r as f32)).view());
        assert_eq!(order.len(), CELLS * CELLS / 2);
        assert_eq!(occlusion.masked(&order).len(), 3 * SIDE * SIDE);
        assert!(order.iter().all(|cell| *cell >= 8 * CELLS));
    }
}
