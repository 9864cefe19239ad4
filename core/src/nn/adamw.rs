//! AdamW (Loshchilov and Hutter, 2019), the arithmetic of one step.

/// One step of AdamW.
#[derive(Debug, Clone, Copy)]
pub struct AdamW {
    /// Factor of the gradient.
    pub clip: f32,
    /// Decay of the momentum.
    pub beta1: f32,
    /// Decay of the variance.
    pub beta2: f32,
    /// Learning rate over the momentum's correction for its age.
    pub step: f32,
    /// The variance's correction for its age.
    pub variance_scale: f32,
    /// Factor of the weights.
    pub decay: f32,
    /// Added to the deviation.
    pub eps: f32,
}

impl AdamW {
    /// Changes `value`, `momentum` and `variance` along `gradient`; all have one length.
    pub fn run(&self, value: &mut [f32], gradient: &[f32], momentum: &mut [f32], variance: &mut [f32]) {
        let moments = momentum.iter_mut().zip(variance);
        for ((value, gradient), (m, v)) in value.iter_mut().zip(gradient).zip(moments) {
            let gradient = gradient * self.clip;
            *m = self.beta1 * *m + (1.0 - self.beta1) * gradient;
            *v = self.beta2 * *v + (1.0 - self.beta2) * gradient * gradient;
            *value = *value * self.decay - self.step * *m / ((*v * self.variance_scale).sqrt() + self.eps);
        }
    }
}
