//! Plans on the CPU.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use candle_core::{DType, Result, Tensor, TensorId, bail};

use super::super::packed::{PackedWeights, WeightStorage};
use super::super::raw::{widened, with_values};
use super::attention::{Attention, LinearAttention};
use super::conv::Convolution;
use super::maps::{AddDepthwise, AddResized, AveragePool, MaxPool, Mix, Sequence, Tokens};
use super::norm::LayerNorm;
use super::{Plan, Size, Step, Value, Work};

/// What a kernel reads and writes.
pub(super) struct Io<'a> {
    /// Empty where a step reads less.
    pub(super) reads: [&'a [f32]; 2],
    pub(super) gives: &'a mut [f32],
    /// Empty where only one value is given.
    pub(super) also: &'a mut [f32],
    pub(super) scratch: &'a mut [f32],
    /// The second value that is read stands in `gives`.
    pub(super) in_place: bool,
}

/// A step with its weights prepared.
pub(super) trait Kernel: Send + Sync {
    /// Values of scratch memory that it takes.
    fn scratch(&self) -> usize {
        0
    }

    fn run(&self, io: Io<'_>);
}

/// Weights that were prepared for runs, shared by the runners of one network: those for another size of the input need not prepare them again.
#[derive(Default)]
pub struct PreparedWeights {
    storage: Option<WeightStorage>,
    packed: Known<PackedWeights>,
    points: Known<Arc<[f32]>>,
}

/// By the tensor that was loaded.
type Known<T> = Mutex<HashMap<TensorId, T>>;

impl PreparedWeights {
    /// None yet; those of products will be held as `storage`, whatever they were loaded as. Winograd's transformed weights are no weights that
    /// anyone stored: they have 32 bits always.
    pub fn held_as(storage: WeightStorage) -> Self {
        Self { storage: Some(storage), ..Self::default() }
    }

    /// `tensor`, loaded as `id`, packed for a product by `pack` where that has not been done yet; held in the bits that it was loaded in where
    /// nothing else is wished.
    pub(super) fn packed(
        &self,
        (tensor, id): (&Tensor, TensorId),
        pack: impl FnOnce(&[f32]) -> Vec<f32>,
    ) -> Result<PackedWeights> {
        let storage = self.storage.unwrap_or(match tensor.dtype() {
            DType::F16 => WeightStorage::Half,
            DType::BF16 => WeightStorage::BFloat,
            _ => WeightStorage::Single,
        });
        prepared(&self.packed, (tensor, id), |values| PackedWeights::new(pack(values), storage))
    }

    /// As [`Self::packed`], transformed and packed by Winograd.
    pub(super) fn points(
        &self,
        weight: (&Tensor, TensorId),
        transform: impl FnOnce(&[f32]) -> Vec<f32>,
    ) -> Result<Arc<[f32]>> {
        prepared(&self.points, weight, |values| transform(values).into())
    }
}

fn prepared<T: Clone>(
    known: &Known<T>,
    (tensor, id): (&Tensor, TensorId),
    prepare: impl FnOnce(&[f32]) -> T,
) -> Result<T> {
    let mut known = known.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(values) = known.get(&id) {
        return Ok(values.clone());
    }
    let values = with_values(&widened(tensor)?, prepare)?;
    known.insert(id, values.clone());
    Ok(values)
}

/// Values of `tensor` as they are.
pub(super) fn plain(tensor: &Tensor) -> Result<Vec<f32>> {
    with_values(&widened(tensor)?, <[f32]>::to_vec)
}

/// What a step has taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StepTime {
    /// What the step does, with its sizes.
    pub what: String,
    /// Multiplications that are followed by an addition, as the definition has them: Winograd needs fewer.
    pub macs: u64,
    /// In the fastest run: other programs make no difference to it.
    pub least: Duration,
}

/// Where a step's values lie: slot and length.
struct Placed {
    kernel: Box<dyn Kernel>,
    what: String,
    macs: u64,
    least: Duration,
    reads: [Option<(usize, usize)>; 2],
    gives: (usize, usize),
    also: Option<(usize, usize)>,
    in_place: bool,
}

/// A plan with prepared weights and memory.
pub struct Runner {
    steps: Vec<Placed>,
    /// Slot and length of each value, while it lives.
    places: Vec<(usize, usize)>,
    sizes: Vec<Size>,
    slots: Vec<Vec<f32>>,
    scratch: Vec<f32>,
}

impl Runner {
    /// Prepares `plan`.
    ///
    /// # Errors
    /// Where weights cannot be read.
    pub fn new(plan: &Plan, weights: &PreparedWeights) -> Result<Self> {
        let places = place(plan);
        let mut lengths = vec![0; places.iter().map(|place| place + 1).max().unwrap_or(0)];
        for (place, size) in places.iter().zip(&plan.sizes) {
            lengths[*place] = size.count().max(lengths[*place]);
        }
        let at = |value: Value| (places[value.0], plan.size(value).count());
        let mut steps = Vec::with_capacity(plan.steps.len());
        for step in &plan.steps {
            // What a residual stands in is where the result goes.
            let in_place = step.reads[1].is_some_and(|residual| places[residual.0] == places[step.gives.0]);
            steps.push(Placed {
                kernel: kernel(plan, step, weights)?,
                in_place,
                what: step.describe(plan),
                macs: step.macs(plan),
                least: Duration::MAX,
                reads: [step.reads[0].map(at), step.reads[1].filter(|_| !in_place).map(at)],
                gives: at(step.gives),
                also: step.also.map(at),
            });
        }
        let scratch = steps.iter().map(|step| step.kernel.scratch()).max().unwrap_or(0);
        Ok(Self {
            steps,
            places: plan.sizes.iter().zip(&places).map(|(size, place)| (*place, size.count())).collect(),
            sizes: plan.sizes.clone(),
            slots: lengths.into_iter().map(|length| vec![0.0; length]).collect(),
            scratch: vec![0.0; scratch],
        })
    }

    /// Runs the plan on `input`, channels-last.
    ///
    /// # Errors
    /// Where the input has another size.
    pub fn run(&mut self, input: &[f32]) -> Result<()> {
        let (slot, length) = self.places[0];
        if input.len() != length {
            bail!("plan: an input of {} values, not {length}", input.len());
        }
        self.slots[slot][..length].copy_from_slice(input);
        // On a thread of the pool: each step then hands out its work without waking the pool first.
        rayon::scope(|_| self.run_steps());
        Ok(())
    }

    fn run_steps(&mut self) {
        for step in &mut self.steps {
            let start = Instant::now();
            // Taken out while they are written, so that the others can be read.
            let mut gives = std::mem::take(&mut self.slots[step.gives.0]);
            let mut also = step.also.map(|(slot, _)| std::mem::take(&mut self.slots[slot])).unwrap_or_default();
            step.kernel.run(Io {
                reads: step.reads.map(|value| value.map_or(&[][..], |(slot, length)| &self.slots[slot][..length])),
                gives: &mut gives[..step.gives.1],
                also: &mut also[..step.also.map_or(0, |(_, length)| length)],
                in_place: step.in_place,
                scratch: &mut self.scratch[..step.kernel.scratch()],
            });
            self.slots[step.gives.0] = gives;
            if let Some((slot, _)) = step.also {
                self.slots[slot] = also;
            }
            step.least = step.least.min(start.elapsed());
        }
    }

    /// What each step takes, in their order.
    pub fn times(&self) -> Vec<StepTime> {
        let of = |step: &Placed| StepTime { what: step.what.clone(), macs: step.macs, least: step.least };
        self.steps.iter().map(of).collect()
    }

    /// The values of `value`, which the plan keeps, after a run.
    pub fn read(&self, value: Value) -> (Size, &[f32]) {
        let (slot, length) = self.places[value.0];
        (self.sizes[value.0], &self.slots[slot][..length])
    }
}

/// A slot for each value: values share one where the first is read no more when the second is given. The result of a convolution takes the place of a
/// residual that is read for the last time.
fn place(plan: &Plan) -> Vec<usize> {
    const NEVER: usize = usize::MAX;
    let mut last_read = vec![0; plan.sizes.len()];
    for (index, step) in plan.steps.iter().enumerate() {
        for value in step.reads.into_iter().flatten() {
            last_read[value.0] = index;
        }
    }
    for value in &plan.kept {
        last_read[value.0] = NEVER;
    }
    let mut places = vec![0; plan.sizes.len()];
    let mut lengths: Vec<usize> = vec![plan.sizes[0].count()];
    let mut free: Vec<usize> = Vec::new();
    for (index, step) in plan.steps.iter().enumerate() {
        let residual =
            step.residual().filter(|residual| last_read[residual.0] == index && step.reads[0] != Some(*residual));
        if let Some(residual) = residual {
            places[step.gives.0] = places[residual.0];
        }
        for value in [Some(step.gives).filter(|_| residual.is_none()), step.also].into_iter().flatten() {
            let needed = plan.sizes[value.0].count();
            // The smallest that is large enough, else the largest, which grows.
            let best = free.iter().copied().min_by_key(|slot| {
                let length = lengths[*slot];
                (length < needed, if length < needed { NEVER - length } else { length })
            });
            let slot = match best {
                Some(slot) => {
                    free.retain(|other| *other != slot);
                    lengths[slot] = lengths[slot].max(needed);
                    slot
                }
                None => {
                    lengths.push(needed);
                    lengths.len() - 1
                }
            };
            places[value.0] = slot;
        }
        let mut ended: Vec<Value> = step.reads.into_iter().flatten().filter(|value| residual != Some(*value)).collect();
        // What nobody reads is free at once.
        ended.extend([Some(step.gives), step.also].into_iter().flatten().filter(|value| last_read[value.0] == 0));
        ended.dedup();
        for value in ended {
            let done = last_read[value.0] == index || last_read[value.0] == 0;
            if done && !free.contains(&places[value.0]) {
                free.push(places[value.0]);
            }
        }
    }
    places
}

/// The kernel of `step` with its weights.
fn kernel(plan: &Plan, step: &Step, weights: &PreparedWeights) -> Result<Box<dyn Kernel>> {
    let [first, second] = step.reads;
    let Some(first) = first else { bail!("a step reads something") };
    let (x, y) = (plan.size(first), plan.size(step.gives));
    Ok(match &step.work {
        Work::Conv { weight, id, bias, window, norm, activation } => {
            let end = (norm.as_ref(), *activation);
            Box::new(Convolution::new((x, y), (weight, *id, bias.as_ref()), *window, end, weights)?)
        }
        Work::AddDepthwise { weight, bias, window } => Box::new(AddDepthwise::new(x, weight, bias, *window)?),
        Work::LayerNorm { gamma, beta, eps } => {
            Box::new(LayerNorm { gamma: plain(gamma)?, beta: plain(beta)?, eps: *eps })
        }
        Work::Attention { heads } => Box::new(Attention::new(x, *heads)),
        Work::LinearAttention { heads } => Box::new(LinearAttention::new(x, *heads)),
        Work::MaxPool { window } => Box::new(MaxPool { x, y, window: *window }),
        Work::AveragePool => Box::new(AveragePool { x, y }),
        Work::AddResized => {
            let Some(coarse) = second else { bail!("two maps are added") };
            Box::new(AddResized::new(y, plan.size(coarse)))
        }
        Work::Sequence { first, places, last } => {
            let places = places.as_ref().map(plain).transpose()?;
            let last = last.as_ref().map(plain).transpose()?;
            Box::new(Sequence { tokens: x.pixels(), first: plain(first)?, places, last })
        }
        Work::Tokens { from } => Box::new(Tokens { from: *from, x, y }),
        Work::Mix { weight } => Box::new(Mix { weight: plain(weight)? }),
    })
}
