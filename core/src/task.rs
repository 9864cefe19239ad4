//! Progress and cancellation, taken by every long function.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// The work was cancelled by the user.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("cancelled")]
pub struct Cancelled;

/// How far a long function is.
#[derive(Debug, Clone, PartialEq)]
pub struct Progress {
    /// What is being done, as the user reads it ("Reading headers").
    pub stage: String,
    /// Units done in this stage.
    pub done: u64,
    /// Units in this stage; 0 where that is not known yet.
    pub total: u64,
}

impl Progress {
    /// Share of the stage that is done, 0 to 1; `None` where the total is unknown.
    pub fn fraction(&self) -> Option<f32> {
        (self.total > 0).then(|| (self.done as f32 / self.total as f32).min(1.0))
    }
}

type Listener = Arc<dyn Fn(Progress) + Send + Sync>;

/// A handle to one piece of long work: it reports progress and hears of cancellation.
///
/// Clones share the same cancellation flag and listener.
#[derive(Clone, Default)]
pub struct Task {
    cancelled: Arc<AtomicBool>,
    listener: Option<Listener>,
}

impl Task {
    /// A task nobody watches; it can still be cancelled.
    pub fn new() -> Self {
        Self::default()
    }

    /// A task whose progress goes to `listener`, called from the working threads.
    pub fn with_listener(listener: impl Fn(Progress) + Send + Sync + 'static) -> Self {
        Self { cancelled: Arc::default(), listener: Some(Arc::new(listener)) }
    }

    /// A part of this work, cancelled with it, whose progress is not reported: the whole has stages of its own.
    #[must_use]
    pub fn quietly(&self) -> Self {
        Self { cancelled: Arc::clone(&self.cancelled), listener: None }
    }

    /// Asks the work to stop at its next check.
    pub fn cancel(&self) {
        self.cancelled.store(true, Ordering::Relaxed);
    }

    /// Whether [`Task::cancel`] was called.
    pub fn is_cancelled(&self) -> bool {
        self.cancelled.load(Ordering::Relaxed)
    }

    /// Returns [`Cancelled`] once the work should stop; call it in every loop that takes long.
    pub fn check(&self) -> Result<(), Cancelled> {
        if self.is_cancelled() { Err(Cancelled) } else { Ok(()) }
    }

    /// Reports that `done` of `total` units of `stage` are done.
    pub fn progress(&self, stage: &str, done: u64, total: u64) {
        if let Some(listener) = &self.listener {
            listener(Progress { stage: stage.to_owned(), done, total });
        }
    }
}

impl std::fmt::Debug for Task {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Task").field("cancelled", &self.is_cancelled()).finish_non_exhaustive()
    }
}

/// Runs `work` on a thread pool of its own, so that the rest of the program keeps its cores; at least one thread.
///
/// # Errors
/// Where the system gives no threads.
pub fn with_threads<T: Send>(
    threads: usize,
    work: impl FnOnce() -> T + Send,
) -> Result<T, rayon::ThreadPoolBuildError> {
    let pool = rayon::ThreadPoolBuilder::new().num_threads(threads.max(1)).build()?;
    Ok(pool.install(work))
}

/// Runs `work` on a thread of the current pool: its parallel parts then share themselves out without waking the pool each time.
pub fn inside_pool<T: Send>(work: impl FnOnce() -> T + Send) -> T {
    rayon::scope(|_| work())
}

/// Limits the library's thread pool; call it before any long function.
///
/// # Errors
/// Where the pool has been started already.
pub fn limit_threads(threads: usize) -> Result<(), rayon::ThreadPoolBuildError> {
    rayon::ThreadPoolBuilder::new().num_threads(threads.max(1)).build_global()
}
