//! Reading order of slices, by position and not by number, and what a reader must know about their spacing.

use super::{PlaneGeometry, SeriesNote};

/// Cosine between directions that still count as the same orientation (about 1.8 degrees).
const SAME_DIRECTION: f64 = 0.9995;
/// Positions closer than this are the same, mm.
const SAME_POSITION_MM: f64 = 0.01;
/// Orientations that are told apart; slices beyond go last.
const MAX_ORIENTATIONS: usize = 1_000;
/// A stack counts as tilted from here on, degrees.
const TILT_DEGREES: f64 = 0.5;

/// What the order of one slice depends on.
#[derive(Debug, Clone, PartialEq)]
pub struct Slice {
    /// Where it lies, if known.
    pub geometry: Option<PlaneGeometry>,
    /// What orders slices at one position, and slices without position: temporal position, echo, instance number, ...,
    /// the first differing entry decides.
    pub keys: Vec<i64>,
    /// Rows and columns.
    pub size: (usize, usize),
}

/// Reading order and notes of a series.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Order {
    /// Indices into the slices given, in reading order; each exactly once.
    pub indices: Vec<usize>,
    /// What is particular about the series.
    pub notes: Vec<SeriesNote>,
}

/// Orders `slices`; slices without position come last, by their keys.
///
/// Slices are grouped by orientation (the group with the lowest key first) and sorted along the group's normal, feet to
/// head for axial ones. Where every position of a group is taken equally often (phases, echoes), the repetitions follow
/// each other as whole stacks. `positions_expected` says whether their absence is worth a note (CT, MR, PET).
pub fn order_slices(slices: &[Slice], positions_expected: bool) -> Order {
    let mut order = Order::default();
    let mut groups: Vec<(PlaneGeometry, Vec<usize>)> = Vec::new();
    let mut rest = Vec::new();
    for (index, slice) in slices.iter().enumerate() {
        match slice.geometry {
            None => rest.push(index),
            Some(geometry) => match groups.iter().position(|(first, _)| same_orientation(first, &geometry)) {
                Some(group) => groups[group].1.push(index),
                None if groups.len() >= MAX_ORIENTATIONS => rest.push(index),
                None => groups.push((geometry, vec![index])),
            },
        }
    }
    let keys = |index: usize| slices.get(index).map_or(&[][..], |slice| slice.keys.as_slice());
    let by_keys = |a: &usize, b: &usize| keys(*a).cmp(keys(*b)).then(a.cmp(b));
    rest.sort_by(by_keys);
    groups.sort_by(|a, b| {
        let first = |group: &Vec<usize>| group.iter().copied().min_by(by_keys);
        match (first(&a.1), first(&b.1)) {
            (Some(a), Some(b)) => by_keys(&a, &b),
            (a, b) => a.cmp(&b),
        }
    });
    let mut repeated = 0;
    let mut largest: Option<Vec<PlaneGeometry>> = None;
    for (first, members) in &groups {
        let normal = first.normal();
        let distance =
            |index: usize| slices.get(index).and_then(|s| s.geometry).map_or(0.0, |g| dot(normal, g.position));
        let mut sorted = members.clone();
        sorted.sort_by(|a, b| distance(*a).total_cmp(&distance(*b)).then_with(|| by_keys(a, b)));
        let mut places: Vec<Vec<usize>> = Vec::new();
        for index in sorted {
            match places.last_mut() {
                Some(place) if place.first().is_some_and(|f| distance(index) - distance(*f) < SAME_POSITION_MM) => {
                    place.push(index);
                }
                _ => places.push(vec![index]),
            }
        }
        for place in &mut places {
            place.sort_by(by_keys);
        }
        repeated += places.iter().map(Vec::len).filter(|n| *n > 1).sum::<usize>();
        let times = places.first().map_or(0, Vec::len);
        if places.len() > 1 && times > 1 && places.iter().all(|place| place.len() == times) {
            for time in 0..times {
                order.indices.extend(places.iter().filter_map(|place| place.get(time)));
            }
        } else {
            order.indices.extend(places.iter().flatten());
        }
        let stack: Vec<PlaneGeometry> = places
            .iter()
            .filter_map(|place| place.first().and_then(|index| slices.get(*index)).and_then(|s| s.geometry))
            .collect();
        if largest.as_ref().is_none_or(|other| other.len() < stack.len()) {
            largest = Some(stack);
        }
    }
    order.indices.extend(rest);
    if groups.is_empty() && slices.len() > 1 && positions_expected {
        order.notes.push(SeriesNote::NoPositions);
    }
    if let Some(stack) = largest {
        order.notes.extend(tilt(&stack));
        order.notes.extend(spacing(&stack));
    }
    if groups.len() > 1 {
        order.notes.push(SeriesNote::MixedOrientation { count: groups.len() });
    }
    if repeated > 0 {
        order.notes.push(SeriesNote::RepeatedPositions { count: repeated });
    }
    if slices.windows(2).any(|pair| pair[0].size != pair[1].size) {
        order.notes.push(SeriesNote::MixedSize);
    }
    order
}

fn same_orientation(a: &PlaneGeometry, b: &PlaneGeometry) -> bool {
    dot(a.row_direction, b.row_direction) > SAME_DIRECTION
        && dot(a.column_direction, b.column_direction) > SAME_DIRECTION
}

fn dot(a: [f64; 3], b: [f64; 3]) -> f64 {
    a[0] * b[0] + a[1] * b[1] + a[2] * b[2]
}

/// Angle between the stacking direction and the normal, for a stack in order.
fn tilt(stack: &[PlaneGeometry]) -> Option<SeriesNote> {
    let (first, last) = (stack.first()?, stack.last()?);
    let step = [0, 1, 2].map(|axis: usize| last.position[axis] - first.position[axis]);
    let along = dot(step, first.normal());
    let length = dot(step, step).sqrt();
    if length < SAME_POSITION_MM || !length.is_finite() {
        return None;
    }
    let degrees = (along / length).clamp(-1.0, 1.0).acos().to_degrees();
    (degrees > TILT_DEGREES).then_some(SeriesNote::GantryTilt { degrees })
}

/// What is wrong with the distances between neighbours of a stack in order.
///
/// Distances are measured along the normal: that is what a slice stands apart from the next, tilted or not.
fn spacing(stack: &[PlaneGeometry]) -> Option<SeriesNote> {
    let normal = stack.first()?.normal();
    let along: Vec<f64> = stack.iter().map(|g| dot(normal, g.position)).collect();
    let mut gaps: Vec<f64> = along.windows(2).map(|pair| pair[1] - pair[0]).collect();
    gaps.sort_by(f64::total_cmp);
    let mut clusters: Vec<(f64, usize)> = Vec::new();
    for gap in &gaps {
        match clusters.last_mut() {
            Some((mean, count)) if gap - *mean <= 0.02 + 0.01 * *mean => {
                *mean += (gap - *mean) / (*count + 1) as f64;
                *count += 1;
            }
            _ => clusters.push((*gap, 1)),
        }
    }
    if clusters.len() < 2 {
        return None;
    }
    // The most frequent distance, the smaller of equals.
    let (usual, usual_count) =
        clusters.iter().copied().reduce(|best, next| if next.1 > best.1 { next } else { best })?;
    let multiple = |mm: f64| {
        let times = (mm / usual).round();
        (times >= 2.0 && (mm - times * usual).abs() < 0.05 * usual).then_some(times as usize)
    };
    let others: Option<Vec<usize>> =
        clusters.iter().filter(|c| c.0 != usual).map(|(mm, count)| Some((multiple(*mm)? - 1) * count)).collect();
    match others {
        // Where gaps are many they are a second protocol rather than losses.
        Some(missing) if usual_count * 4 >= gaps.len() * 3 => {
            Some(SeriesNote::MissingSlices { count: missing.iter().sum() })
        }
        _ => {
            let rounded = clusters.into_iter().map(|(mm, count)| ((mm * 1000.0).round() / 1000.0, count)).collect();
            Some(SeriesNote::MixedSpacing { spacings_mm: rounded })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(position: [f64; 3], number: i64) -> Slice {
        let geometry = PlaneGeometry { position, row_direction: [1.0, 0.0, 0.0], column_direction: [0.0, 1.0, 0.0] };
        Slice { geometry: Some(geometry), keys: vec![number], size: (4, 4) }
    }

    fn stack(z: &[f64]) -> Vec<Slice> {
        z.iter().enumerate().map(|(i, z)| at([0.0, 0.0, *z], i as i64)).collect()
    }

    #[test]
    fn position_beats_number() {
        let order = order_slices(&stack(&[3.0, 1.0, 2.0, 0.0]), true);
        assert_eq!(order.indices, [3, 1, 2, 0]);
        assert_eq!(order.notes, []);
    }

    #[test]
    fn without_positions_the_number_decides_and_says_so() {
        let mut slices = stack(&[0.0, 0.0, 0.0]);
        for (slice, number) in slices.iter_mut().zip([30, 10, 20]) {
            slice.geometry = None;
            slice.keys = vec![number];
        }
        let order = order_slices(&slices, true);
        assert_eq!(order.indices, [1, 2, 0]);
        assert_eq!(order.notes, [SeriesNote::NoPositions]);
        assert_eq!(order_slices(&slices, false).notes, []);
    }

    #[test]
    fn one_lost_slice_is_missing_and_two_protocols_are_mixed() {
        let z: Vec<f64> = (0..20).filter(|i| *i != 7).map(|i| f64::from(i) * 2.5).collect();
        assert_eq!(order_slices(&stack(&z), true).notes, [SeriesNote::MissingSlices { count: 1 }]);
        let z = [0.0, 4.0, 8.0, 12.0, 19.0, 26.0, 33.0];
        let expected = SeriesNote::MixedSpacing { spacings_mm: vec![(4.0, 3), (7.0, 3)] };
        assert_eq!(order_slices(&stack(&z), true).notes, [expected]);
    }

    #[test]
    fn rounding_of_positions_is_no_mixed_spacing() {
        let z: Vec<f64> = (0..100).map(|i| (f64::from(i) * 0.625 * 100.0).round() / 100.0).collect();
        assert_eq!(order_slices(&stack(&z), true).notes, []);
    }

    #[test]
    fn tilt_is_measured() {
        let slope = 18.5_f64.to_radians().tan();
        let slices: Vec<Slice> =
            (0..10).map(|i| at([0.0, f64::from(i) * 5.0 * slope, f64::from(i) * 5.0], i.into())).collect();
        let notes = order_slices(&slices, true).notes;
        assert!(
            matches!(notes[..], [SeriesNote::GantryTilt { degrees }] if (degrees - 18.5).abs() < 1e-6),
            "{notes:?}"
        );
    }

    #[test]
    fn phases_follow_each_other_as_stacks() {
        // Numbered phase by phase within each position.
        let order = order_slices(&stack(&[0.0, 0.0, 5.0, 5.0, 10.0, 10.0]), true);
        assert_eq!(order.indices, [0, 2, 4, 1, 3, 5]);
        assert_eq!(order.notes, [SeriesNote::RepeatedPositions { count: 6 }]);
        // One duplicate stays beside its twin.
        let order = order_slices(&stack(&[0.0, 5.0, 5.0, 10.0]), true);
        assert_eq!(order.indices, [0, 1, 2, 3]);
        assert_eq!(order.notes, [SeriesNote::RepeatedPositions { count: 2 }]);
    }

    #[test]
    fn a_scout_is_kept_apart() {
        let mut slices = stack(&[0.0, 5.0, 10.0]);
        let coronal = PlaneGeometry {
            position: [0.0, 0.0, 5.0],
            row_direction: [1.0, 0.0, 0.0],
            column_direction: [0.0, 0.0, -1.0],
        };
        slices.push(Slice { geometry: Some(coronal), keys: vec![-1], size: (9, 4) });
        let order = order_slices(&slices, true);
        assert_eq!(order.indices, [3, 0, 1, 2]);
        assert_eq!(order.notes, [SeriesNote::MixedOrientation { count: 2 }, SeriesNote::MixedSize]);
    }

    #[test]
    fn unusable_positions_go_last() {
        let mut slices = stack(&[5.0, 0.0, 10.0]);
        slices[1].geometry = None;
        assert_eq!(order_slices(&slices, true).indices, [0, 2, 1]);
        assert_eq!(order_slices(&[], true), Order::default());
    }
}
