//! Forward passes by plans of [`crate::nn`], where weights stand still and nobody asks for gradients.

use std::sync::{Mutex, PoisonError};

use candle_core::{Device, Result, Tensor};

use super::{Features, Network, Request};
use crate::nn::{Plan, PreparedWeights, Runner, Size, StepTime, Value, WeightStorage};

/// What a planned pass shall keep and leave out, as in [`Request`].
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Scope {
    /// Keep maps and tokens; CLS is always kept.
    pub features: bool,
    /// Keep the attention probabilities.
    pub attention: bool,
    /// Leave the transformer's layers out.
    pub bypass_transformer: bool,
    /// Heads that run.
    pub heads: Heads,
}

/// Heads of a planned pass.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Heads {
    /// Features alone.
    #[default]
    None,
    /// Lesion maps, from which classes are read.
    Lesions,
    /// Lesion and organ maps.
    All,
}

impl Scope {
    /// What `request` asks for, with all features.
    pub(super) fn of(request: &Request<'_>, heads: Heads) -> Self {
        Self { features: true, attention: request.attention, bypass_transformer: request.bypass_transformer, heads }
    }
}

/// [`Features`] in a plan.
#[derive(Debug, Clone)]
pub struct PlannedFeatures {
    /// As [`Features::stages`].
    pub stages: Vec<Value>,
    /// As [`Features::activations`].
    pub activations: Vec<Value>,
    /// As [`Features::cls`].
    pub cls: Value,
    /// As [`Features::tokens`], a map of the grid.
    pub tokens: Value,
    /// As [`Features::grid`].
    pub grid: (usize, usize),
    /// As [`Features::attention`].
    pub attention: Vec<Value>,
}

/// What a pass gave, before classes are read from it: features, and the maps of the heads that ran.
pub(super) struct Maps {
    pub(super) features: Features,
    pub(super) lesion_logits: Option<Tensor>,
    pub(super) organ_logits: Option<Tensor>,
}

/// A plan that is ready to run.
struct Ready {
    size: Size,
    scope: Scope,
    runner: Runner,
    features: PlannedFeatures,
    lesions: Option<Value>,
    organs: Option<Value>,
}

/// Plans of one network by the size of their input.
#[derive(Default)]
pub(super) struct Plans {
    weights: PreparedWeights,
    /// Those that do not run now, last used first: a run takes its plan out, so that passes on several threads do not wait for each other.
    idle: Mutex<Vec<Ready>>,
}

/// Plans that wait for their next run: the input of the bundle and its mirror image, patches, and what tools ask for.
const MOST_IDLE: usize = 4;

/// A batch goes through the network a few images at a time, since the values between layers then stay in the processor's caches: one image for so
/// many threads.
const THREADS_AN_IMAGE: usize = 4;

impl Maps {
    /// Those of the parts of a batch as one.
    fn join(parts: &[Self]) -> Result<Self> {
        let cat = |of: &dyn Fn(&Self) -> &Tensor| Tensor::cat(&parts.iter().map(of).collect::<Vec<_>>(), 0);
        let all = |of: &dyn Fn(&Self) -> &Vec<Tensor>| {
            let count = parts.first().map_or(0, |part| of(part).len());
            (0..count).map(|index| cat(&|part| &of(part)[index])).collect::<Result<Vec<_>>>()
        };
        let some = |of: &dyn Fn(&Self) -> &Option<Tensor>| {
            let tensors: Option<Vec<&Tensor>> = parts.iter().map(|part| of(part).as_ref()).collect();
            tensors.map(|tensors| Tensor::cat(&tensors, 0)).transpose()
        };
        let features = Features {
            stages: all(&|part| &part.features.stages)?,
            activations: all(&|part| &part.features.activations)?,
            cls: cat(&|part| &part.features.cls)?,
            tokens: cat(&|part| &part.features.tokens)?,
            grid: parts.first().map_or((0, 0), |part| part.features.grid),
            attention: all(&|part| &part.features.attention)?,
        };
        let (lesion_logits, organ_logits) = (some(&|part| &part.lesion_logits)?, some(&|part| &part.organ_logits)?);
        Ok(Self { features, lesion_logits, organ_logits })
    }
}

impl Plans {
    /// None yet; they will hold weights as `storage`.
    pub(super) fn holding(storage: WeightStorage) -> Self {
        Self { weights: PreparedWeights::held_as(storage), idle: Mutex::default() }
    }

    /// The pass of `network` over `x` (batch, channel, row, column) by a plan for `scope`, or `None` where there is none for it.
    pub(super) fn run(
        &self,
        network: &Network,
        x: &Tensor,
        request: &Request<'_>,
        scope: Scope,
    ) -> Result<Option<Maps>> {
        let plain = request.attention_perturbation.is_none()
            && request.stage_perturbation.is_none()
            && request.dropout.is_none()
            && !request.training
            && request.recompute.is_none();
        if !plain || !x.device().is_cpu() || x.track_op() || x.dtype() != candle_core::DType::F32 {
            return Ok(None);
        }
        let at_once = rayon::current_num_threads().div_ceil(THREADS_AN_IMAGE);
        let batch = x.dim(0)?;
        if batch <= at_once {
            return self.pass(network, x, scope);
        }
        let mut parts = Vec::new();
        for first in (0..batch).step_by(at_once) {
            let part = x.narrow(0, first, at_once.min(batch - first))?;
            let Some(part) = self.pass(network, &part, scope)? else { return Ok(None) };
            parts.push(part);
        }
        Maps::join(&parts).map(Some)
    }

    /// As [`Self::run`], all images of `x` at once.
    fn pass(&self, network: &Network, x: &Tensor, scope: Scope) -> Result<Option<Maps>> {
        let (batch, channels, rows, columns) = x.dims4()?;
        let size = Size { batch, rows, columns, channels };
        let Some(mut ready) = self.take(size, scope).or_else(|| self.prepare(network, size, scope)) else {
            return Ok(None);
        };
        let input = x.permute((0, 2, 3, 1))?.flatten_all()?.to_vec1::<f32>()?;
        ready.runner.run(&input)?;
        let output = ready.output()?;
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        idle.insert(0, ready);
        idle.truncate(MOST_IDLE);
        Ok(Some(output))
    }

    /// Steps of the plan that was used last.
    pub(super) fn times(&self) -> Vec<StepTime> {
        let idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        idle.first().map(|ready| ready.runner.times()).unwrap_or_default()
    }

    fn take(&self, size: Size, scope: Scope) -> Option<Ready> {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        let index = idle.iter().position(|ready| (ready.size, ready.scope) == (size, scope))?;
        Some(idle.remove(index))
    }

    /// A plan for a new size; `None` where a layer has no step, or the input does not fit: then the pass says why.
    fn prepare(&self, network: &Network, size: Size, scope: Scope) -> Option<Ready> {
        let (mut plan, x) = Plan::new(size);
        let (features, lesions, organs) = network.plan(&mut plan, x, scope).ok()?;
        let PlannedFeatures { stages, activations, cls, tokens, attention, .. } = &features;
        let all = [stages, activations, attention].into_iter().flatten().chain([tokens]).filter(|_| scope.features);
        all.chain([cls]).copied().chain(lesions).chain(organs).for_each(|value| plan.keep(value));
        let runner = Runner::new(&plan, &self.weights).ok()?;
        Some(Ready { size, scope, runner, features, lesions, organs })
    }
}

impl Ready {
    /// A tensor over a kept value, (batch, row, column, channel).
    fn tensor(&self, value: Value) -> Result<Tensor> {
        let (Size { batch, rows, columns, channels }, values) = self.runner.read(value);
        Tensor::from_slice(values, (batch, rows, columns, channels), &Device::Cpu)
    }

    /// As (batch, channel, row, column): a view of the same order in memory.
    fn map(&self, value: Value) -> Result<Tensor> {
        self.tensor(value)?.permute((0, 3, 1, 2))
    }

    fn output(&self) -> Result<Maps> {
        let PlannedFeatures { stages, activations, cls, tokens, grid, attention } = &self.features;
        let (batch, dimension) = (self.size.batch, self.runner.read(*cls).0.channels);
        let logits = |value: Option<Value>| value.map(|value| self.map(value)?.contiguous()).transpose();
        let cls = self.tensor(*cls)?.reshape((batch, dimension))?;
        let (lesion_logits, organ_logits) = (logits(self.lesions)?, logits(self.organs)?);
        if !self.scope.features {
            let tokens = Tensor::zeros((batch, 0, dimension), candle_core::DType::F32, &Device::Cpu)?;
            let (stages, activations, attention) = (Vec::new(), Vec::new(), Vec::new());
            let features = Features { stages, activations, cls, tokens, grid: *grid, attention };
            return Ok(Maps { features, lesion_logits, organ_logits });
        }
        let maps = |values: &[Value]| values.iter().map(|value| self.map(*value)).collect::<Result<Vec<_>>>();
        let planned = maps(stages)?;
        let features = Features {
            activations: if stages == activations { planned.clone() } else { maps(activations)? },
            stages: planned,
            cls,
            tokens: self.tensor(*tokens)?.reshape((batch, grid.0 * grid.1, dimension))?,
            grid: *grid,
            // Laid out (batch, head, token, token) as it is.
            attention: attention.iter().map(|value| self.tensor(*value)).collect::<Result<_>>()?,
        };
        Ok(Maps { features, lesion_logits, organ_logits })
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use candle_core::{DType, Device, Tensor};
    use candle_nn::VarBuilder;

    use super::{Heads, Scope, Size};
    use crate::model::stored::as_stored;
    use crate::model::topology_tests::network;
    use crate::model::variant_tests::variants;
    use crate::model::{AttentionKind, ModelConfig, Network, Output, Request};
    use crate::nn::WeightStorage;

    /// The same network twice: the second with weights that stay.
    fn fixed(config: &ModelConfig) -> Network {
        let weights = network(config).1.into_iter().map(|(name, var)| (name, var.as_detached_tensor())).collect();
        Network::new(config, &VarBuilder::from_tensors(weights, DType::F32, &Device::Cpu)).unwrap()
    }

    fn assert_same(a: &Tensor, b: &Tensor, what: &str) {
        assert_eq!(a.dims(), b.dims(), "{what}");
        if a.elem_count() == 0 {
            return;
        }
        let values = |t: &Tensor| t.flatten_all().unwrap().to_vec1::<f32>().unwrap();
        let (a, b) = (values(a), values(b));
        let size = a.iter().fold(0.0f32, |most, v| most.max(v.abs()));
        let difference = a.iter().zip(&b).fold(0.0f32, |most, (a, b)| most.max((a - b).abs()));
        // A logit may be near zero by chance: its parts are not.
        assert!(difference <= 1e-4 * size.max(0.1), "{what}: {difference} of {size}");
    }

    fn assert_same_output(a: &Output, b: &Output, what: &str) {
        assert_eq!(a.features.grid, b.features.grid);
        let single = |o: &Output| {
            let Output { lesion_logits, organ_logits, class_logits, features } = o.clone();
            [lesion_logits, organ_logits, class_logits, features.cls, features.tokens]
        };
        let lists = |o: &Output| {
            let features = o.features.clone();
            [features.stages, features.activations, features.attention].concat()
        };
        let (a, b): (Vec<Tensor>, Vec<Tensor>) =
            (single(a).into_iter().chain(lists(a)).collect(), single(b).into_iter().chain(lists(b)).collect());
        assert_eq!(a.len(), b.len(), "{what}");
        for (index, (a, b)) in a.iter().zip(&b).enumerate() {
            assert_same(a, b, &format!("{what}: {index}"));
        }
    }

    #[test]
    fn every_variant_gives_by_plan_what_its_layers_give() {
        for (name, config) in variants() {
            let network = fixed(&config);
            let keeps = config.transformer.attention == AttentionKind::Softmax;
            for (batch, rows, columns) in [(1, 64, 64), (3, 128, 64), (2, 72, 40)] {
                let channels = config.input_channels();
                let x = Tensor::randn(0.0f32, 1.0, (batch, channels, rows, columns), &Device::Cpu).unwrap();
                for (attention, bypass_transformer) in [(false, false), (keeps, false), (false, true)] {
                    let what = format!("{name} {batch}x{rows}x{columns} {attention} {bypass_transformer}");
                    let request = Request { attention, bypass_transformer, ..Request::default() };
                    let scope = Scope::of(&request, Heads::All);
                    let size = Size { batch, rows, columns, channels };
                    assert!(network.plans().prepare(&network, size, scope).is_some(), "{what}: no plan");
                    let layers = network.forward_by_layers(&x, &request).unwrap();
                    // Twice: the second run finds the memory of the first.
                    for _ in 0..2 {
                        assert_same_output(&layers, &network.forward(&x, &request).unwrap(), &what);
                    }
                    let forward = network.forward(&x, &Request::default()).unwrap();
                    assert_same(&forward.class_logits, &network.classify(&x).unwrap(), &what);
                    let logits = network.predict(&x).unwrap();
                    assert_same(&forward.lesion_logits, &logits.lesion_logits, &what);
                    assert_same(&forward.organ_logits, &logits.organ_logits, &what);
                    assert_same(&forward.class_logits, &logits.class_logits, &what);
                }
            }
        }
    }

    fn bits(output: &Output) -> Vec<u32> {
        let Output { lesion_logits, organ_logits, class_logits, features } = output;
        let all = [lesion_logits, organ_logits, class_logits, &features.cls, &features.tokens];
        let values = |tensor: &&Tensor| tensor.flatten_all().unwrap().to_vec1::<f32>().unwrap();
        all.iter().flat_map(values).map(f32::to_bits).collect()
    }

    #[test]
    fn weights_of_16_bits_give_the_bits_that_they_give_in_32() {
        for (name, config) in variants() {
            let weights: HashMap<String, Tensor> = network(&config)
                .1
                .into_iter()
                .map(|(name, var)| (name, var.as_detached_tensor().to_dtype(DType::F16).unwrap()))
                .collect();
            let single = VarBuilder::from_tensors(weights.clone(), DType::F32, &Device::Cpu);
            let single = Network::new(&config, &single).unwrap();
            let mut half = Network::new(&config, &as_stored(weights)).unwrap();
            let x = Tensor::randn(0.0f32, 1.0, (2, config.input_channels(), 64, 64), &Device::Cpu).unwrap();
            let request = Request::default();
            let expected = single.forward(&x, &request).unwrap();
            assert_eq!(bits(&half.forward(&x, &request).unwrap()), bits(&expected), "{name}");
            let layers = |network: &Network| bits(&network.forward_by_layers(&x, &request).unwrap());
            assert_eq!(layers(&half), layers(&single), "{name}, by layers");
            // What was merged when it was loaded is rounded only where that is asked for; bf16 has an eighth of the precision.
            for (storage, most) in [(WeightStorage::Half, 4e-3), (WeightStorage::BFloat, 3e-2)] {
                half.hold_weights_as(storage);
                let (a, b) = (expected.features.cls.clone(), half.forward(&x, &request).unwrap().features.cls);
                let largest = |t: &Tensor| t.abs().unwrap().max_all().unwrap().to_scalar::<f32>().unwrap();
                let difference = largest(&(&a - &b).unwrap()) / largest(&a);
                assert!(difference <= most, "{name} {storage:?}: {difference}");
                assert!(storage == WeightStorage::Half || difference > 0.0, "{name}: nothing was rounded");
            }
        }
    }

    #[test]
    fn passes_that_gradients_run_through_go_by_layers() {
        let config = variants().next().unwrap().1;
        let (network, vars) = network(&config);
        let x = Tensor::randn(0.0f32, 1.0, (1, 1, 64, 64), &Device::Cpu).unwrap();
        let loss = network.forward(&x, &Request::default()).unwrap().class_logits.sum_all().unwrap();
        assert!(loss.backward().unwrap().get(&vars[0].1).is_some());
        let fixed = fixed(&config);
        let x = candle_core::Var::from_tensor(&x).unwrap();
        let loss = fixed.forward(&x, &Request::default()).unwrap().class_logits.sum_all().unwrap();
        assert!(loss.backward().unwrap().get(&x).is_some());
    }
}
