//! The I/O thread.

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::runtime::{Builder, LocalOptions};
use tokio::sync::{Notify, mpsc};

/// How long blocking operations may go on after the end.
const SHUTDOWN_TIMEOUT: Duration = Duration::from_secs(1);

type Job = Box<dyn FnOnce() + Send>;

/// What the thread does when it has nothing else to do.
#[derive(Clone, Copy, Debug)]
pub struct Housekeeping {
    /// Whether there is anything to do. Asked whenever the thread is about to sleep.
    pub is_due: fn() -> bool,
    /// For how long it has to stay due.
    pub patience: Duration,
    /// Does it, on a thread that may block.
    pub run: fn(),
}

/// A thread that does all I/O of one addon instance, so that a busy JavaScript thread stalls
/// neither ACKs nor heartbeats. Dropping it ends every task on it and joins the thread.
#[derive(Debug)]
pub struct Runtime {
    jobs: Option<mpsc::UnboundedSender<Job>>,
    thread: Option<JoinHandle<()>>,
}

impl Runtime {
    /// Starts the thread. Fails when the system refuses a thread or an event queue.
    pub fn start(housekeeping: Option<Housekeeping>) -> io::Result<Self> {
        let (jobs, mut queue) = mpsc::unbounded_channel::<Job>();
        let (report, started) = std::sync::mpsc::channel();
        let thread = std::thread::Builder::new().name("camp-io".into()).spawn(move || {
            let idle = Arc::new(Notify::new());
            let mut builder = Builder::new_current_thread();
            if let Some(Housekeeping { is_due, .. }) = housekeeping {
                let idle = idle.clone();
                builder.on_thread_park(move || {
                    if is_due() {
                        idle.notify_one();
                    }
                });
            }
            let runtime = match builder.enable_all().build_local(LocalOptions::default()) {
                Ok(runtime) => runtime,
                Err(error) => return drop(report.send(Err(error))),
            };
            drop(report.send(Ok(())));
            runtime.block_on(async {
                if let Some(housekeeping) = housekeeping {
                    tokio::task::spawn_local(keep_house(housekeeping, idle));
                }
                while let Some(job) = queue.recv().await {
                    // A fault in one must not end all. The panic hook has told of it.
                    let _ = catch_unwind(AssertUnwindSafe(job));
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

async fn keep_house(housekeeping: Housekeeping, idle: Arc<Notify>) {
    let Housekeeping { is_due, patience, run } = housekeeping;
    loop {
        idle.notified().await;
        if !is_due() {
            continue;
        }
        tokio::time::sleep(patience).await;
        if is_due() {
            // It fails only when the thread is ending.
            let _ = tokio::task::spawn_blocking(run).await;
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

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};
    use std::sync::mpsc;

    use super::*;

    #[test]
    fn housekeeping_is_done_by_an_idle_thread_that_works_on_afterwards() {
        static LEFT: AtomicU32 = AtomicU32::new(2);
        let is_due = || LEFT.load(Ordering::Relaxed) > 0;
        let run = || {
            LEFT.fetch_sub(1, Ordering::Relaxed);
        };
        let housekeeping = Housekeeping { is_due, patience: Duration::from_millis(1), run };
        let runtime = Runtime::start(Some(housekeeping)).expect("a thread");
        while is_due() {
            std::thread::yield_now();
        }
        let (done, awaited) = mpsc::channel();
        runtime.run(move || done.send(()).expect("the test waits"));
        awaited.recv().expect("the thread works on");
    }

    #[test]
    fn a_fault_in_one_job_leaves_the_thread_to_the_next() {
        let runtime = Runtime::start(None).expect("a thread");
        runtime.run(|| panic!("the fault that this test wants"));
        let (done, awaited) = mpsc::channel();
        runtime.run(move || done.send(()).expect("the test waits"));
        awaited.recv().expect("the thread works on");
    }
}
