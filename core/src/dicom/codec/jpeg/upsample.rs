//! Subsampled components to full size: the triangle filter of the Independent JPEG Group's library for factors of
//! two, repetition for others.

use super::dct::Plane;

/// Brings `plane` to `width` x `height`; `across` and `down` are how often it was subsampled.
pub(super) fn upsample(plane: Plane, across: usize, down: usize, width: usize, height: usize) -> Plane {
    match (across, down) {
        (1, 1) => plane,
        (2, 1) if plane.width > 2 => filter_h2v1(&plane, width, height),
        (2, 2) if plane.width > 2 => filter_h2v2(&plane, width, height),
        _ => {
            let mut samples = Vec::with_capacity(width * height);
            for row in 0..height {
                let line = &plane.samples[row / down * plane.width..][..plane.width];
                samples.extend((0..width).map(|column| line[column / across]));
            }
            Plane { width, height, samples }
        }
    }
}

/// Output sample `2i` is 3/4 of input `i` and 1/4 of `i - 1`, `2i + 1` of `i + 1`; rounding alternates.
fn filter_h2v1(plane: &Plane, width: usize, height: usize) -> Plane {
    let mut samples = Vec::with_capacity(width * height);
    for line in plane.samples.chunks_exact(plane.width).take(height) {
        let last = line.len() - 1;
        samples.extend((0..width).map(|column| {
            let i = column / 2;
            let here = u32::from(line[i]);
            let value = match (column % 2, i) {
                (0, 0) => here,
                (0, _) => (3 * here + u32::from(line[i - 1]) + 1) >> 2,
                (_, i) if i == last => here,
                _ => (3 * here + u32::from(line[i + 1]) + 2) >> 2,
            };
            value as u16
        }));
    }
    Plane { width, height, samples }
}

/// The same in both directions, rounded once.
fn filter_h2v2(plane: &Plane, width: usize, height: usize) -> Plane {
    let mut samples = Vec::with_capacity(width * height);
    let line = |row: usize| &plane.samples[row * plane.width..][..plane.width];
    let last = plane.width - 1;
    let mut sums = vec![0u32; plane.width];
    for row in 0..height {
        let near = row / 2;
        let far = if row % 2 == 0 { near.saturating_sub(1) } else { (near + 1).min(plane.height - 1) };
        for (sum, (&a, &b)) in sums.iter_mut().zip(line(near).iter().zip(line(far))) {
            *sum = 3 * u32::from(a) + u32::from(b);
        }
        samples.extend((0..width).map(|column| {
            let i = column / 2;
            let here = sums[i];
            let value = match (column % 2, i) {
                (0, 0) => (4 * here + 8) >> 4,
                (0, _) => (3 * here + sums[i - 1] + 8) >> 4,
                (_, i) if i == last => (4 * here + 7) >> 4,
                _ => (3 * here + sums[i + 1] + 7) >> 4,
            };
            value as u16
        }));
    }
    Plane { width, height, samples }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_constant_stays_constant_and_sizes_are_those_asked_for() {
        for (across, down) in [(2, 1), (2, 2), (1, 2), (4, 1), (4, 4)] {
            let (width, height) = (13usize, 9usize);
            let (w, h) = (width.div_ceil(across), height.div_ceil(down));
            let plane = Plane { width: w, height: h, samples: vec![77; w * h] };
            let full = upsample(plane, across, down, width, height);
            assert_eq!(full.samples, vec![77; width * height], "{across} {down}");
        }
    }

    #[test]
    fn the_triangle_filter_weights_the_nearer_sample_more() {
        let plane = Plane { width: 3, height: 1, samples: vec![0, 100, 200] };
        assert_eq!(upsample(plane, 2, 1, 6, 1).samples, [0, 25, 75, 125, 175, 200]);
    }
}
