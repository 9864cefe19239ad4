//! Inference plans: a network's pass over an input of one size, written down once and run many times.
//!
//! A [`Plan`] is a list of steps over [`Value`]s with the weights as they were loaded; it names no memory and no processor. The model lays its
//! layers into it, in the order of their forward pass. [`Runner`] runs it on the CPU: weights are packed once, values share the memory of
//! those that nobody reads any more, and nothing is allocated from the second run on. A runner for another device would take the same plan.
//!
//! Values are channels-last, (batch, row, column, channel): a convolution is a matrix product whose rows are pixels, a linear layer one whose
//! rows are tokens, and every pixel's channels lie side by side for the processor's vectors. Tokens are a map of one column, or of the
//! grid that they came from: the memory is the same.
//!
//! No gradient flows through a plan: steps refuse weights that are variables or were computed from some.

mod attention;
mod conv;
mod maps;
mod norm;
mod runner;
#[cfg(test)]
mod tests;
mod winograd;

pub use self::runner::{PreparedWeights, Runner, StepTime};

use candle_core::{DType, Result, Tensor, TensorId, bail};

use super::conv::ConvShape;
pub use super::product::Activation;

/// Something that a step gives and later steps read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Value(usize);

/// Size of a value, channels-last.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Size {
    /// Images.
    pub batch: usize,
    /// Rows of a map; tokens of a sequence.
    pub rows: usize,
    /// Columns of a map; 1 for a sequence.
    pub columns: usize,
    /// Channels of a pixel; dimension of a token.
    pub channels: usize,
}

impl Size {
    /// Pixels or tokens of an image.
    pub fn pixels(&self) -> usize {
        self.rows * self.columns
    }

    /// Values in all.
    pub fn count(&self) -> usize {
        self.batch * self.pixels() * self.channels
    }
}

/// How a step's result is finished.
#[derive(Default, Clone, Copy)]
pub struct Finish<'a> {
    /// Group normalisation: gamma and beta (channel), groups, and what is added to the variance.
    pub norm: Option<(&'a Tensor, &'a Tensor, usize, f64)>,
    /// Added after that, of the result's size.
    pub residual: Option<Value>,
    /// Applied at the end.
    pub activation: Activation,
}

/// Where a filter lies over the input.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Window {
    /// Rows and columns, likewise below.
    kernel: [usize; 2],
    stride: [usize; 2],
    /// Zeros before the first row and column.
    before: [usize; 2],
    dilation: usize,
}

/// Group normalisation of a convolution's result.
struct GroupNorm {
    gamma: Tensor,
    beta: Tensor,
    groups: usize,
    eps: f32,
}

/// What a step does; what it reads and gives stands in [`Step`].
enum Work {
    /// Convolution with weight (out, in, kernel rows, kernel columns); a linear layer is one of 1x1. Reads a residual too where there is one.
    Conv {
        weight: Tensor,
        /// Of the tensor that was loaded, of which `weight` may be another view.
        id: TensorId,
        bias: Option<Tensor>,
        window: Window,
        norm: Option<GroupNorm>,
        activation: Activation,
    },
    /// `x` plus its depthwise convolution with weight (channel, 1, kernel, kernel).
    AddDepthwise { weight: Tensor, bias: Tensor, window: Window },
    /// Layer normalisation.
    LayerNorm { gamma: Tensor, beta: Tensor, eps: f32 },
    /// Softmax attention over (token, 3 dimension); gives the probabilities too where they are asked for.
    Attention { heads: usize },
    /// Attention that is linear in the number of tokens.
    LinearAttention { heads: usize },
    /// Maximum over windows.
    MaxPool { window: Window },
    /// Mean over the cells of a grid of the result's size.
    AveragePool,
    /// A map plus another that is resampled to its size.
    AddResized,
    /// First token, then tokens with their places added, then further tokens. Reads what is added to the first token too where there is one.
    Sequence { first: Tensor, places: Option<Tensor>, last: Option<Tensor> },
    /// Tokens from this one on.
    Tokens { from: usize },
    /// `w a + (1 - w) b` by channel.
    Mix { weight: Tensor },
}

/// One step.
struct Step {
    work: Work,
    reads: [Option<Value>; 2],
    gives: Value,
    /// Attention probabilities, (batch · head, token, token).
    also: Option<Value>,
}

/// A pass over an input of one size.
pub struct Plan {
    sizes: Vec<Size>,
    steps: Vec<Step>,
    kept: Vec<Value>,
}

impl Plan {
    /// An empty plan, and its input of `size`.
    pub fn new(size: Size) -> (Self, Value) {
        (Self { sizes: vec![size], steps: Vec::new(), kept: Vec::new() }, Value(0))
    }

    /// The size of `value`.
    pub fn size(&self, value: Value) -> Size {
        self.sizes[value.0]
    }

    /// `value` stays readable when the run has ended.
    pub fn keep(&mut self, value: Value) {
        self.kept.push(value);
    }

    fn value(&mut self, size: Size) -> Value {
        self.sizes.push(size);
        Value(self.sizes.len() - 1)
    }

    fn step(&mut self, work: Work, reads: [Option<Value>; 2], size: Size) -> Value {
        let gives = self.value(size);
        self.steps.push(Step { work, reads, gives, also: None });
        gives
    }

    /// Convolution of `x` with `weight` (out, in, kernel rows, kernel columns) and `bias` (out). Depthwise and grouped filters are refused.
    pub fn conv(
        &mut self,
        x: Value,
        (weight, bias): (&Tensor, Option<&Tensor>),
        shape: ConvShape,
        finish: Finish<'_>,
    ) -> Result<Value> {
        let (_, _, rows, columns) = weight.dims4()?;
        if shape.groups != 1 {
            bail!("a plan takes no grouped convolution");
        }
        let window = Window::of([rows, columns], shape);
        let size = self.size(x);
        let behind = shape.padding + shape.trailing;
        let rows = window.outputs(0, size.rows, behind)?;
        let columns = window.outputs(1, size.columns, behind)?;
        self.convolve(x, (weight, weight.id(), bias), window, (rows, columns), finish)
    }

    /// Patches of `patch` rows and columns, projected by `weight` (out, in · rows · columns): a map of `grid` rows and columns; zeros lie behind the
    /// last pixels.
    pub fn patches(
        &mut self,
        x: Value,
        (weight, bias): (&Tensor, &Tensor),
        patch: [usize; 2],
        grid: (usize, usize),
    ) -> Result<Value> {
        let view = weight.reshape((weight.dim(0)?, self.size(x).channels, patch[0], patch[1]))?;
        let window = Window { kernel: patch, stride: patch, before: [0; 2], dilation: 1 };
        self.convolve(x, (&view, weight.id(), Some(bias)), window, grid, Finish::default())
    }

    /// `x · weightᵀ + bias` of each pixel or token, with `weight` (out, in).
    pub fn linear(
        &mut self,
        x: Value,
        (weight, bias): (&Tensor, &Tensor),
        residual: Option<Value>,
        activation: Activation,
    ) -> Result<Value> {
        let (outputs, inputs) = weight.dims2()?;
        let view = weight.reshape((outputs, inputs, 1, 1))?;
        let window = Window { kernel: [1; 2], stride: [1; 2], before: [0; 2], dilation: 1 };
        let Size { rows, columns, .. } = self.size(x);
        let finish = Finish { norm: None, residual, activation };
        self.convolve(x, (&view, weight.id(), Some(bias)), window, (rows, columns), finish)
    }

    fn convolve(
        &mut self,
        x: Value,
        (weight, id, bias): (&Tensor, TensorId, Option<&Tensor>),
        window: Window,
        (rows, columns): (usize, usize),
        finish: Finish<'_>,
    ) -> Result<Value> {
        let size = self.size(x);
        let (outputs, inputs, _, _) = weight.dims4()?;
        let result = Size { rows, columns, channels: outputs, ..size };
        fixed([Some(weight), bias].into_iter().flatten())?;
        if inputs != size.channels || bias.is_some_and(|bias| bias.elem_count() != outputs) {
            bail!("plan: weights {:?} and their bias do not fit {size:?}", weight.dims());
        }
        let norm = match finish.norm {
            Some((gamma, beta, groups, eps)) => {
                fixed([gamma, beta])?;
                if groups == 0 || outputs % groups != 0 || gamma.elem_count() != outputs || beta.elem_count() != outputs
                {
                    bail!("plan: {outputs} channels do not fit {groups} groups or their weights");
                }
                Some(GroupNorm { gamma: gamma.clone(), beta: beta.clone(), groups, eps: eps as f32 })
            }
            None => None,
        };
        if finish.residual.is_some_and(|residual| self.size(residual).count() != result.count()) {
            bail!("plan: a residual has not the size {result:?}");
        }
        let activation = finish.activation;
        let work = Work::Conv { weight: weight.clone(), id, bias: bias.cloned(), window, norm, activation };
        Ok(self.step(work, [Some(x), finish.residual], result))
    }

    /// `x` plus its depthwise convolution with `weight` (channel, 1, kernel, kernel) and `bias` (channel), which keeps its size.
    pub fn add_depthwise(&mut self, x: Value, (weight, bias): (&Tensor, &Tensor), shape: ConvShape) -> Result<Value> {
        let (size, (channels, one, rows, columns)) = (self.size(x), weight.dims4()?);
        fixed([weight, bias])?;
        let window = Window::of([rows, columns], shape);
        let same = window.outputs(0, size.rows, shape.padding)? == size.rows
            && window.outputs(1, size.columns, shape.padding)? == size.columns;
        if channels != size.channels || one != 1 || bias.elem_count() != channels || !same {
            bail!("plan: a depthwise filter {:?} does not fit {size:?}", weight.dims());
        }
        let work = Work::AddDepthwise { weight: weight.clone(), bias: bias.clone(), window };
        Ok(self.step(work, [Some(x), None], size))
    }

    /// Layer normalisation of each pixel or token.
    pub fn layer_norm(&mut self, x: Value, gamma: &Tensor, beta: &Tensor, eps: f64) -> Result<Value> {
        let size = self.size(x);
        fixed([gamma, beta])?;
        if gamma.elem_count() != size.channels || beta.elem_count() != size.channels {
            bail!("plan: layer normalisation's weights do not fit {size:?}");
        }
        let work = Work::LayerNorm { gamma: gamma.clone(), beta: beta.clone(), eps: eps as f32 };
        Ok(self.step(work, [Some(x), None], size))
    }

    /// Softmax attention from the joint projection (token, 3 dimension), as [`super::attention`]. With `probabilities`, gives those too:
    /// a value of (batch, head, token, token).
    pub fn attention(&mut self, qkv: Value, heads: usize, probabilities: bool) -> Result<(Value, Option<Value>)> {
        let size = self.heads_of(qkv, heads)?;
        let mixed = self.step(Work::Attention { heads }, [Some(qkv), None], size);
        if !probabilities {
            return Ok((mixed, None));
        }
        let tokens = size.pixels();
        let also = self.value(Size { batch: size.batch, rows: heads, columns: tokens, channels: tokens });
        if let Some(step) = self.steps.last_mut() {
            step.also = Some(also);
        }
        Ok((mixed, Some(also)))
    }

    /// Linear attention, as [`super::linear_attention`].
    pub fn linear_attention(&mut self, qkv: Value, heads: usize) -> Result<Value> {
        let size = self.heads_of(qkv, heads)?;
        Ok(self.step(Work::LinearAttention { heads }, [Some(qkv), None], size))
    }

    /// The size of the attention's result.
    fn heads_of(&self, qkv: Value, heads: usize) -> Result<Size> {
        let size = self.size(qkv);
        if heads == 0 || !size.channels.is_multiple_of(3 * heads) {
            bail!("attention: {} values a token do not cut into three times {heads} heads", size.channels);
        }
        Ok(Size { channels: size.channels / 3, ..size })
    }

    /// Maximum over windows, as [`super::max_pool2d`].
    pub fn max_pool(&mut self, x: Value, kernel: usize, stride: usize, padding: (usize, usize)) -> Result<Value> {
        let size = self.size(x);
        let window = Window { kernel: [kernel; 2], stride: [stride; 2], before: [padding.0; 2], dilation: 1 };
        let rows = window.outputs(0, size.rows, padding.1)?;
        let columns = window.outputs(1, size.columns, padding.1)?;
        Ok(self.step(Work::MaxPool { window }, [Some(x), None], Size { rows, columns, ..size }))
    }

    /// Means over the cells of a grid, as [`super::adaptive_avg_pool2d`].
    pub fn average_pool(&mut self, x: Value, rows: usize, columns: usize) -> Value {
        let size = self.size(x);
        if (size.rows, size.columns) == (rows, columns) {
            return x;
        }
        self.step(Work::AveragePool, [Some(x), None], Size { rows, columns, ..size })
    }

    /// `fine` plus `coarse` resampled to its size, as [`super::resize_bilinear`] does it.
    pub fn add_resized(&mut self, fine: Value, coarse: Value) -> Result<Value> {
        let (size, other) = (self.size(fine), self.size(coarse));
        if size.channels != other.channels || size.batch != other.batch || other.pixels() == 0 {
            bail!("plan: {other:?} does not add to {size:?}");
        }
        Ok(self.step(Work::AddResized, [Some(fine), Some(coarse)], size))
    }

    /// The sequence of the token `first` (dimension), `tokens` with `places` (token, dimension) added, and the tokens `last` (token, dimension).
    /// `before` (one token) is added to the first.
    pub fn sequence(
        &mut self,
        tokens: Value,
        (first, before): (&Tensor, Option<Value>),
        places: Option<&Tensor>,
        last: Option<&Tensor>,
    ) -> Result<Value> {
        let size = self.size(tokens);
        fixed([Some(first), places, last].into_iter().flatten())?;
        let behind = last.map_or(0, |last| last.elem_count() / size.channels);
        let wrong_places = places.is_some_and(|places| places.elem_count() != size.pixels() * size.channels);
        let wrong_before = before.is_some_and(|before| self.size(before).count() != size.batch * size.channels);
        if first.elem_count() != size.channels || wrong_places || wrong_before {
            bail!("plan: the parts of a sequence do not fit {size:?}");
        }
        let work = Work::Sequence { first: first.clone(), places: places.cloned(), last: last.cloned() };
        let size = Size { rows: 1 + size.pixels() + behind, columns: 1, ..size };
        Ok(self.step(work, [Some(tokens), before], size))
    }

    /// Tokens `from..` of a sequence, as a map of `rows` and `columns`.
    pub fn tokens(&mut self, x: Value, from: usize, (rows, columns): (usize, usize)) -> Result<Value> {
        let size = self.size(x);
        if from + rows * columns > size.pixels() {
            bail!("plan: {size:?} has no tokens up to {}", from + rows * columns);
        }
        Ok(self.step(Work::Tokens { from }, [Some(x), None], Size { rows, columns, ..size }))
    }

    /// The mean over all pixels or tokens.
    pub fn mean(&mut self, x: Value) -> Value {
        self.average_pool(x, 1, 1)
    }

    /// `weight a + (1 - weight) b`, with `weight` (channel).
    pub fn mix(&mut self, a: Value, b: Value, weight: &Tensor) -> Result<Value> {
        let size = self.size(a);
        fixed([weight])?;
        if self.size(b).count() != size.count() || weight.elem_count() != size.channels {
            bail!("plan: {:?} does not mix with {size:?}", self.size(b));
        }
        Ok(self.step(Work::Mix { weight: weight.clone() }, [Some(a), Some(b)], size))
    }
}

impl Step {
    /// A value that the result may be added to in place: of its size, and not needed before the end of the sums.
    fn residual(&self) -> Option<Value> {
        match self.work {
            Work::Conv { norm: None, .. } => self.reads[1],
            _ => None,
        }
    }

    /// For people: what it does, and the sizes of what it reads and gives.
    fn describe(&self, plan: &Plan) -> String {
        let name = match &self.work {
            Work::Conv { window, .. } => format!("convolution {}x{}", window.kernel[0], window.kernel[1]),
            Work::AddDepthwise { .. } => "depthwise convolution".to_owned(),
            Work::LayerNorm { .. } => "layer normalisation".to_owned(),
            Work::Attention { .. } => "attention".to_owned(),
            Work::LinearAttention { .. } => "linear attention".to_owned(),
            Work::MaxPool { .. } => "maximum".to_owned(),
            Work::AveragePool => "mean".to_owned(),
            Work::AddResized => "resampling".to_owned(),
            Work::Sequence { .. } => "sequence".to_owned(),
            Work::Tokens { .. } => "tokens".to_owned(),
            Work::Mix { .. } => "mixing".to_owned(),
        };
        let text = |size: Size| format!("{}x{}x{}", size.rows, size.columns, size.channels);
        let x = self.reads[0].map_or(String::new(), |x| text(plan.size(x)));
        format!("{name} {x} -> {}", text(plan.size(self.gives)))
    }

    /// Multiplications that are followed by an addition.
    fn macs(&self, plan: &Plan) -> u64 {
        let y = plan.size(self.gives);
        let per_value = match &self.work {
            Work::Conv { weight, .. } | Work::AddDepthwise { weight, .. } => weight.elem_count() / y.channels,
            Work::Attention { .. } => 2 * y.pixels(),
            Work::LinearAttention { heads } => 2 * y.channels / heads,
            _ => 0,
        };
        (per_value * y.count()) as u64
    }
}

impl Window {
    fn of(kernel: [usize; 2], shape: ConvShape) -> Self {
        Self { kernel, stride: [shape.stride; 2], before: [shape.padding; 2], dilation: shape.dilation }
    }

    /// Outputs along `axis` of an input of `size` with `behind` zeros behind it.
    fn outputs(&self, axis: usize, size: usize, behind: usize) -> Result<usize> {
        let reach = self.dilation * (self.kernel[axis].max(1) - 1) + 1;
        match (size + self.before[axis] + behind).checked_sub(reach) {
            Some(rest) if self.stride[axis] > 0 => Ok(rest / self.stride[axis] + 1),
            _ => bail!("plan: {size} pixels are fewer than a window of {reach} takes"),
        }
    }
}

/// Refuses weights that may change.
fn fixed<'a>(weights: impl IntoIterator<Item = &'a Tensor>) -> Result<()> {
    for weight in weights {
        if weight.track_op() || !matches!(weight.dtype(), DType::F32 | DType::F16 | DType::BF16) {
            bail!("a plan takes fixed weights of 32 or 16 bits");
        }
    }
    Ok(())
}
