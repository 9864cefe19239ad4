//! Long work off the window's thread: one named thread a job, events over a channel, a repaint when one arrives.
//!
//! Each job has a generation. Starting a job of some kind cancels the one of that kind before it, and whatever the older
//! one still sends is dropped. A panic inside a job becomes a failed job with a message.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Instant;

use bifocal_core::task::{Cancelled, Progress, Task};
use eframe::egui;

/// What a job is about; at most one of each kind runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum JobKind {
    /// The platform's file dialog.
    Dialog,
    /// Reading headers.
    Index,
    /// Reading all of one file for its header.
    Header,
    /// The network.
    Analysis,
    /// The attention of an image of a volume.
    Attention,
    /// Features for the smart tool.
    Features,
    /// Decoding a series into a volume.
    Volume,
    /// Decoding the series that is laid over.
    Fusion,
    /// Class activation maps, and tests of maps.
    Explanation,
    /// Writing a report or exporting.
    Report,
    /// Laying a report out for the screen.
    Preview,
    /// Looking for labels in use.
    Labels,
    /// Looking through the cases of a project.
    Cases,
    /// Fine-tuning a bundle.
    Tuning,
    /// Comparing two readers of a project.
    Comparison,
    /// Reading the journals of a project.
    History,
    /// Writing a project for other programs.
    Export,
    /// Reading what another program wrote.
    Import,
}

/// How a job ends without a result.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum JobError {
    /// The user cancelled it.
    Cancelled,
    /// What failed, on which file, and what to do, in one sentence.
    Failed(String),
}

impl From<Cancelled> for JobError {
    fn from(_: Cancelled) -> Self {
        Self::Cancelled
    }
}

impl JobError {
    /// From any error, with its causes.
    pub fn failed(error: impl std::fmt::Display) -> Self {
        Self::Failed(format!("{error:#}"))
    }
}

/// A running job, as the status bar shows it.
#[derive(Debug)]
pub struct Job {
    /// What it is about.
    pub kind: JobKind,
    /// What it does, for people: `Reading headers`.
    pub name: String,
    /// How far it is, once it has said so.
    pub progress: Option<Progress>,
    /// When it was started.
    pub started: Instant,
    /// Whether the user asked it to stop.
    pub stopping: bool,
    generation: u64,
    task: Task,
}

enum Event<T> {
    Progress(Progress),
    Ended(Result<T, JobError>),
}

/// All running jobs; `T` is what they result in.
pub struct Jobs<T> {
    ctx: egui::Context,
    sender: Sender<(u64, Event<T>)>,
    receiver: Receiver<(u64, Event<T>)>,
    running: Vec<Job>,
    next_generation: u64,
}

/// A job that ended.
pub struct Ended<T> {
    /// What it was about.
    pub kind: JobKind,
    /// Its name.
    pub name: String,
    /// Its result.
    pub result: Result<T, JobError>,
}

impl<T: Send + 'static> Jobs<T> {
    /// No jobs; repaints go to `ctx`.
    pub fn new(ctx: egui::Context) -> Self {
        let (sender, receiver) = channel();
        Self { ctx, sender, receiver, running: Vec::new(), next_generation: 1 }
    }

    /// Runs `work` on a thread of its own, in place of a running job of the same kind.
    pub fn start(
        &mut self,
        kind: JobKind,
        name: impl Into<String>,
        work: impl FnOnce(&Task) -> Result<T, JobError> + Send + 'static,
    ) {
        self.abandon(kind);
        let name = name.into();
        let generation = self.next_generation;
        self.next_generation += 1;
        let (sender, ctx) = (self.sender.clone(), self.ctx.clone());
        let task = {
            let (sender, ctx) = (sender.clone(), ctx.clone());
            Task::with_listener(move |progress| {
                // The window may be closed already; then nobody wants to know.
                let _ = sender.send((generation, Event::Progress(progress)));
                ctx.request_repaint();
            })
        };
        let job_task = task.clone();
        let spawned = std::thread::Builder::new().name(format!("job {name}")).spawn(move || {
            let result =
                catch_unwind(AssertUnwindSafe(|| work(&job_task))).unwrap_or_else(|panic| Err(panicked(&*panic)));
            let _ = sender.send((generation, Event::Ended(result)));
            ctx.request_repaint();
        });
        self.running.push(Job {
            kind,
            name,
            progress: None,
            started: Instant::now(),
            stopping: false,
            generation,
            task,
        });
        if let Err(error) = spawned {
            let failed = Err(JobError::Failed(format!("no thread could be started: {error}")));
            let _ = self.sender.send((generation, Event::Ended(failed)));
        }
    }

    /// Asks the job of that kind to stop; it ends as cancelled.
    pub fn cancel(&mut self, kind: JobKind) {
        for job in self.running.iter_mut().filter(|job| job.kind == kind) {
            job.task.cancel();
            job.stopping = true;
        }
    }

    /// Stops the job of that kind and forgets it: nothing of it will be heard again.
    pub fn abandon(&mut self, kind: JobKind) {
        self.cancel(kind);
        self.running.retain(|job| job.kind != kind);
    }

    /// The running jobs, oldest first.
    pub fn running(&self) -> &[Job] {
        &self.running
    }

    /// Whether a job of that kind runs.
    pub fn is_running(&self, kind: JobKind) -> bool {
        self.running.iter().any(|job| job.kind == kind)
    }

    /// Takes in what the jobs have sent, and returns those that ended.
    pub fn poll(&mut self) -> Vec<Ended<T>> {
        let mut ended = Vec::new();
        while let Ok((generation, event)) = self.receiver.try_recv() {
            let Some(index) = self.running.iter().position(|job| job.generation == generation) else { continue };
            match event {
                Event::Progress(progress) => self.running[index].progress = Some(progress),
                Event::Ended(result) => {
                    let job = self.running.remove(index);
                    ended.push(Ended { kind: job.kind, name: job.name, result });
                }
            }
        }
        ended
    }
}

fn panicked(panic: &(dyn Any + Send)) -> JobError {
    let message = panic
        .downcast_ref::<&str>()
        .map(|text| (*text).to_owned())
        .or_else(|| panic.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "unknown cause".to_owned());
    JobError::Failed(format!("internal error ({message}); the rest of the study stays usable"))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn wait(jobs: &mut Jobs<u32>) -> Vec<Ended<u32>> {
        for _ in 0..500 {
            let ended = jobs.poll();
            if !ended.is_empty() {
                return ended;
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        Vec::new()
    }

    #[test]
    fn a_panic_is_a_failed_job() {
        let mut jobs = Jobs::new(egui::Context::default());
        jobs.start(JobKind::Index, "test", |_| panic!("broken"));
        let ended = wait(&mut jobs);
        assert!(matches!(&ended[0].result, Err(JobError::Failed(m)) if m.contains("broken")));
        assert!(jobs.running().is_empty());
    }

    #[test]
    fn a_newer_job_replaces_an_older_one() {
        let mut jobs = Jobs::new(egui::Context::default());
        jobs.start(JobKind::Index, "old", |task| {
            while !task.is_cancelled() {
                std::thread::sleep(Duration::from_millis(1));
            }
            Ok(1)
        });
        jobs.start(JobKind::Index, "new", |_| {
            std::thread::sleep(Duration::from_millis(30));
            Ok(2)
        });
        let ended = wait(&mut jobs);
        assert_eq!(ended.len(), 1);
        assert_eq!(ended[0].result, Ok(2));
    }

    #[test]
    fn cancelling_ends_as_cancelled() {
        let mut jobs = Jobs::<u32>::new(egui::Context::default());
        jobs.start(JobKind::Analysis, "endless", |task| {
            loop {
                task.check()?;
                std::thread::sleep(Duration::from_millis(1));
            }
        });
        jobs.cancel(JobKind::Analysis);
        assert!(jobs.running()[0].stopping);
        assert_eq!(wait(&mut jobs)[0].result, Err(JobError::Cancelled));
    }
}
