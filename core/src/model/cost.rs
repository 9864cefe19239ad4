//! What each layer of a pass costs: layers note it while [`watch`] runs.

use std::cell::RefCell;

use candle_core::Tensor;

/// One layer's pass.
#[derive(Debug, Clone)]
pub(super) struct Note {
    /// The layer, by the prefix of its weights' names.
    pub layer: String,
    /// Shape of its output.
    pub output: Vec<usize>,
    /// Multiplications that are followed by an addition.
    pub macs: u64,
}

thread_local! {
    static NOTES: RefCell<Option<Vec<Note>>> = const { RefCell::new(None) };
}

/// Runs `f` and returns its result with what the layers noted on this thread, in order.
pub(super) fn watch<R>(f: impl FnOnce() -> R) -> (R, Vec<Note>) {
    NOTES.set(Some(Vec::new()));
    let result = f();
    (result, NOTES.take().unwrap_or_default())
}

/// Notes that `layer` gave `output` at the cost of `macs`; nothing where nobody watches.
pub(super) fn note(layer: &str, output: &Tensor, macs: impl FnOnce() -> u64) {
    NOTES.with_borrow_mut(|notes| {
        if let Some(notes) = notes {
            notes.push(Note { layer: layer.to_owned(), output: output.dims().to_vec(), macs: macs() });
        }
    });
}

/// A convolution with `weight` (out, in / groups, kernel, kernel).
pub(super) fn convolution(layer: &str, output: &Tensor, weight: &Tensor) {
    note(layer, output, || {
        let per_output: usize = weight.dims().iter().skip(1).product();
        (output.elem_count() * per_output) as u64
    });
}
