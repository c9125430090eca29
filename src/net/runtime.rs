//! The I/O thread.

use std::io;
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::runtime::{Builder, LocalOptions};
use tokio::sync::mpsc;

/// How long blocking operations may go on after the end.
const SHUTDOWN_TIMEOUT: Duration = Duration::from_secs(1);

type Job = Box<dyn FnOnce() + Send>;

/// A thread that does all I/O of one addon instance, so that a busy JavaScript thread stalls
/// neither ACKs nor heartbeats. Dropping it ends every task on it and joins the thread.
#[derive(Debug)]
pub struct Runtime {
    jobs: Option<mpsc::UnboundedSender<Job>>,
    thread: Option<JoinHandle<()>>,
}

impl Runtime {
    /// Starts the thread. Fails when the system refuses a thread or an event queue.
    pub fn start() -> io::Result<Self> {
        let (jobs, mut queue) = mpsc::unbounded_channel::<Job>();
        let (report, started) = std::sync::mpsc::channel();
        let thread = std::thread::Builder::new().name("camp-io".into()).spawn(move || {
            let runtime = match Builder::new_current_thread().enable_all().build_local(LocalOptions::default()) {
                Ok(runtime) => runtime,
                Err(error) => return drop(report.send(Err(error))),
            };
            drop(report.send(Ok(())));
            runtime.block_on(async {
                while let Some(job) = queue.recv().await {
                    job();
                }
            });
            // A name that is being looked up must not hold up the end of the process.
            runtime.shutdown_timeout(SHUTDOWN_TIMEOUT);
        })?;
        started.recv().map_err(io::Error::other)??;
        Ok(Runtime { jobs: Some(jobs), thread: Some(thread) })
    }

    /// Runs `job` on the thread, where it may spawn local tasks.
    pub fn run(&self, job: impl FnOnce() + Send + 'static) {
        if let Some(jobs) = &self.jobs {
            // The receiver lives as long as the thread, which ends only in `drop`.
            let _ = jobs.send(Box::new(job));
        }
    }
}

impl Drop for Runtime {
    fn drop(&mut self) {
        drop(self.jobs.take());
        if let Some(thread) = self.thread.take() {
            // A panic there has already been reported by the panic hook.
            let _ = thread.join();
        }
    }
}
