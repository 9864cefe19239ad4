//! Recomputation, also called gradient checkpointing (Chen et al., 2016): memory for time.
//!
//! A forward pass is cut into segments of which only inputs and results are kept. The backward pass goes through them from the last to the first: it
//! computes a segment's values again, sends the result's gradient back through them, and forgets them.

use std::sync::{Mutex, PoisonError};

use candle_core::backprop::GradStore;
use candle_core::{Result, Tensor, TensorId, Var};

/// A segment from its input to its result; the second argument tells whether this is a pass that is done again.
type Forward = Box<dyn Fn(&Tensor, bool) -> Result<Tensor> + Send + Sync>;

struct Segment {
    /// With its history, where it has one.
    x: Tensor,
    /// Without.
    y: Var,
    forward: Forward,
}

/// The segments of one forward pass.
#[derive(Default)]
pub struct Recompute(Mutex<Vec<Segment>>);

impl Recompute {
    /// The result of `forward` for `x`, of whose values nothing else is kept. `forward` must do the same again when it is called again: what is
    /// drawn at random comes from a seed.
    pub fn run(
        &self,
        x: &Tensor,
        forward: impl Fn(&Tensor, bool) -> Result<Tensor> + Send + Sync + 'static,
    ) -> Result<Tensor> {
        let y = Var::from_tensor(&forward(&x.detach(), false)?.detach())?;
        let result = y.as_tensor().clone();
        let segment = Segment { x: x.clone(), y, forward: Box::new(forward) };
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(segment);
        Ok(result)
    }

    /// Gradients of `scalar`, which was computed from results of the segments, with respect to all variables; it takes `scalar`, so that values behind
    /// the last segment can be forgotten where nobody else holds them.
    pub fn backward(self, scalar: Tensor) -> Result<GradStore> {
        let mut gradients = detached(scalar.backward()?);
        drop(scalar);
        let segments = self.0.into_inner().unwrap_or_else(PoisonError::into_inner);
        for Segment { x, y, forward } in segments.into_iter().rev() {
            // What nobody has read has no gradient.
            let Some(dy) = gradients.remove(&y) else { continue };
            drop(y);
            if x.is_variable() || !x.track_op() {
                gradients.extend(through(&forward(&x, true)?, &dy)?)?;
                continue;
            }
            let start = Var::from_tensor(&x.detach())?;
            gradients.extend(through(&forward(&start, true)?, &dy)?)?;
            if let Some(dx) = gradients.remove(&start) {
                gradients.extend(through(&x, &dx)?)?;
            }
        }
        Ok(gradients)
    }
}

/// What `dy`, the gradient of `y`, is worth to the variables that `y` was computed from.
fn through(y: &Tensor, dy: &Tensor) -> Result<GradStore> {
    let mut gradients = detached((y * dy)?.sum_all()?.backward()?);
    gradients.remove(dy);
    Ok(gradients)
}

/// candle leaves the history of what it was computed from with a variable's gradient.
fn detached(mut gradients: GradStore) -> GradStore {
    let ids: Vec<TensorId> = gradients.get_ids().copied().collect();
    for id in ids {
        if let Some(gradient) = gradients.get_id(id).map(Tensor::detach) {
            gradients.insert_id(id, gradient);
        }
    }
    gradients
}

#[cfg(test)]
mod tests {
    use candle_core::{Device, Tensor, Var};

    use super::Recompute;

    #[test]
    fn gradients_flow_through_segments_and_between_them() {
        let var = |values: &[f32]| Var::from_slice(values, values.len(), &Device::Cpu).unwrap();
        let (a, b, c) = (var(&[0.3, -0.7]), var(&[1.1, 0.4]), var(&[0.9, -0.2]));
        // Two segments with an operation between them; the first result is also read at the end.
        let forward = |recompute: Option<&Recompute>| {
            let segment = |x: &Tensor, w: &Var| {
                let w = w.clone();
                let step = move |x: &Tensor, _: bool| (x * w.as_tensor())?.tanh()?.exp();
                recompute.map_or_else(|| step(x, false), |recompute| recompute.run(x, step.clone())).unwrap()
            };
            let x = Tensor::new(&[0.5f32, 2.0], &Device::Cpu).unwrap();
            let first = segment(&x, &a);
            let between = (&first * c.as_tensor()).unwrap();
            let second = segment(&between, &b);
            let unread = segment(&second, &a);
            assert_eq!(unread.dims(), [2]);
            (second.sqr().unwrap() + first).unwrap().sum_all().unwrap()
        };
        let expected = forward(None).backward().unwrap();
        let recompute = Recompute::default();
        let found = recompute.backward(forward(Some(&Recompute::default()))).unwrap();
        assert!(found.get(&a).is_none(), "another pass's segments");
        let recompute = Recompute::default();
        let scalar = forward(Some(&recompute));
        let found = recompute.backward(scalar).unwrap();
        for var in [&a, &b, &c] {
            let values = |t: &Tensor| t.to_vec1::<f32>().unwrap();
            let (expected, found) = (values(expected.get(var).unwrap()), values(found.get(var).unwrap()));
            let close = expected.iter().zip(&found).all(|(a, b)| (a - b).abs() < 1e-5 * a.abs().max(1.0));
            assert!(close, "{expected:?} {found:?}");
        }
    }
}
