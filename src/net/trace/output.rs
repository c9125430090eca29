//! The way of a line to stderr. Whoever prints never waits for it: a thread of its own writes, and of what stderr does
//! not take, or not soon enough, lines are lost and counted.

use std::cell::RefCell;
use std::io::{self, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, SyncSender};
use std::thread;
use std::time::Duration;

/// Lines that wait for stderr at most.
const MAX_WAITING: usize = 8192;

/// How long stderr may take nothing at the end before what still waits is given up.
const LAST_PATIENCE: Duration = Duration::from_millis(200);

/// How long the thread that prints waits for the last line to be written.
const MAX_LINGER: Duration = Duration::from_secs(2);

thread_local! {
    /// Begun with this thread's first line, ended with the thread.
    static OUTPUT: RefCell<Option<Output>> = const { RefCell::new(None) };
}

/// Prints a line, which ends with a line feed, unless too many wait.
pub(super) fn print(line: String) {
    // A thread that ends has no output any more.
    let _ = OUTPUT.try_with(|output| {
        if let Ok(mut output) = output.try_borrow_mut() {
            if output.is_none() {
                *output = Output::start(io::stderr(), MAX_LINGER).ok();
            }
            if let Some(output) = &*output {
                output.print(line);
            }
        }
    });
}

enum Line {
    Text(String),
    /// So many lines are missing here.
    Lost(u64),
}

/// Dropping it waits for what was printed to be written, as long as it is.
struct Output {
    lines: Option<SyncSender<Line>>,
    shared: Arc<Shared>,
    /// Disconnected when the thread has ended.
    ended: Receiver<()>,
    /// How long that is waited for at most.
    linger: Duration,
}

#[derive(Default)]
struct Shared {
    /// Lines lost and not told of.
    lost: AtomicU64,
    /// No more is printed.
    ending: AtomicBool,
}

impl Output {
    fn start(sink: impl Sink + Send + 'static, linger: Duration) -> io::Result<Self> {
        let (lines, waiting) = mpsc::sync_channel(MAX_WAITING);
        let (alive, ended) = mpsc::channel();
        let shared = Arc::<Shared>::default();
        let writer = shared.clone();
        thread::Builder::new().name("camp-trace".into()).spawn(move || {
            let _alive: mpsc::Sender<()> = alive;
            writer.write_all(&waiting, sink);
        })?;
        Ok(Output { lines: Some(lines), shared, ended, linger })
    }

    fn print(&self, line: String) {
        let Some(lines) = &self.lines else { return };
        let lost = self.shared.lost.swap(0, Ordering::Relaxed);
        if lost > 0 && lines.try_send(Line::Lost(lost)).is_err() {
            self.shared.lost.fetch_add(lost, Ordering::Relaxed);
        }
        if lines.try_send(Line::Text(line)).is_err() {
            self.shared.lost.fetch_add(1, Ordering::Relaxed);
        }
    }
}

impl Drop for Output {
    fn drop(&mut self) {
        self.shared.ending.store(true, Ordering::Relaxed);
        self.lines = None;
        // Nobody sends: it either ends, or is left behind with a stderr that holds it.
        let _: Result<(), RecvTimeoutError> = self.ended.recv_timeout(self.linger);
    }
}

impl Shared {
    fn write_all(&self, lines: &Receiver<Line>, mut sink: impl Sink) {
        for line in lines {
            let (text, count) = match line {
                Line::Text(text) => (text, 1),
                Line::Lost(count) => (format!("CAMP_SERVER lost {count} lines of debug output here\n"), count),
            };
            match self.write(text.as_bytes(), &mut sink) {
                Ok(()) => {}
                // It takes nothing, and nobody waits for it any more.
                Err(error) if error.kind() == io::ErrorKind::TimedOut => return,
                Err(_) => drop(self.lost.fetch_add(count, Ordering::Relaxed)),
            }
        }
    }

    fn write(&self, mut bytes: &[u8], sink: &mut impl Sink) -> io::Result<()> {
        while !bytes.is_empty() {
            if !sink.is_ready(LAST_PATIENCE) {
                if self.ending.load(Ordering::Relaxed) {
                    return Err(io::ErrorKind::TimedOut.into());
                }
                continue;
            }
            let (piece, _) = bytes.split_at(bytes.len().min(PIECE));
            match sink.write(piece) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(written) => bytes = bytes.get(written..).unwrap_or_default(),
                Err(error) if matches!(error.kind(), io::ErrorKind::Interrupted | io::ErrorKind::WouldBlock) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

/// Bytes that a pipe which is ready takes at once (POSIX: `PIPE_BUF`, 512 at least).
const PIECE: usize = 512;

/// What lines are written to.
trait Sink: Write {
    /// Whether writing would not be waiting, by then at the latest.
    fn is_ready(&self, within: Duration) -> bool;
}

#[cfg(unix)]
impl Sink for io::Stderr {
    /// Not to be asked by writing: whether stderr may be waited for is set, and changed, by all who share it.
    fn is_ready(&self, within: Duration) -> bool {
        use rustix::event::{PollFd, PollFlags, Timespec, poll};
        let timeout = Timespec { tv_sec: 0, tv_nsec: within.subsec_nanos().into() };
        let mut asked = [PollFd::new(self, PollFlags::OUT)];
        // What cannot be asked is written to, and says what is wrong.
        poll(&mut asked, Some(&timeout)).map_or(true, |ready| ready > 0)
    }
}

#[cfg(not(unix))]
impl Sink for io::Stderr {
    fn is_ready(&self, _: Duration) -> bool {
        true
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Condvar, Mutex, PoisonError};

    use super::*;

    /// A stderr that can be full, or unwritable.
    #[derive(Clone, Default)]
    struct Fake(Arc<(Mutex<Inside>, Condvar)>);

    #[derive(Default)]
    struct Inside {
        full: bool,
        broken: bool,
        /// How often it was found full.
        refusals: usize,
        text: String,
    }

    impl Fake {
        fn set(&self, change: impl FnOnce(&mut Inside)) {
            change(&mut self.0.0.lock().unwrap_or_else(PoisonError::into_inner));
            self.0.1.notify_all();
        }

        fn wait_until(&self, condition: impl Fn(&Inside) -> bool) {
            let inside = self.0.0.lock().unwrap_or_else(PoisonError::into_inner);
            drop(self.0.1.wait_while(inside, |inside| !condition(inside)));
        }

        fn text(&self) -> String {
            self.0.0.lock().unwrap_or_else(PoisonError::into_inner).text.clone()
        }
    }

    impl Write for Fake {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let mut broken = false;
            self.set(|inside| {
                broken = inside.broken;
                if !broken {
                    inside.text.push_str(std::str::from_utf8(bytes).expect("lines are text"));
                }
            });
            if broken { Err(io::ErrorKind::StorageFull.into()) } else { Ok(bytes.len()) }
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    impl Sink for Fake {
        fn is_ready(&self, _: Duration) -> bool {
            let mut full = false;
            self.set(|inside| {
                full = inside.full;
                inside.refusals += usize::from(full);
            });
            if full {
                thread::yield_now();
            }
            !full
        }
    }

    fn start(fake: &Fake) -> Output {
        // However busy the machine is.
        Output::start(fake.clone(), Duration::from_secs(600)).expect("a thread")
    }

    fn print(output: &Output, lines: std::ops::Range<usize>) {
        lines.for_each(|n| output.print(format!("line {n}\n")));
    }

    #[test]
    fn the_end_waits_for_what_was_printed() {
        let fake = Fake::default();
        let output = start(&fake);
        print(&output, 0..1000);
        drop(output);
        assert_eq!(fake.text(), (0..1000).map(|n| format!("line {n}\n")).collect::<String>());
    }

    #[test]
    fn a_full_stderr_costs_lines_and_nobody_waits_for_it() {
        let fake = Fake::default();
        fake.set(|inside| inside.full = true);
        let output = start(&fake);
        print(&output, 0..1);
        // The first line is with the writer: the queue is empty.
        fake.wait_until(|inside| inside.refusals > 0);
        print(&output, 1..MAX_WAITING + 101);
        fake.set(|inside| inside.full = false);
        fake.wait_until(|inside| inside.text.ends_with(&format!("line {MAX_WAITING}\n")));
        print(&output, 0..1);
        drop(output);
        let text = fake.text();
        assert!(text.starts_with("line 0\nline 1\n"));
        let end = format!("line {MAX_WAITING}\nCAMP_SERVER lost 100 lines of debug output here\nline 0\n");
        assert!(text.ends_with(&end), "{}", &text[text.len() - 200..]);
    }

    #[test]
    fn the_end_does_not_wait_for_a_full_stderr() {
        let fake = Fake::default();
        fake.set(|inside| inside.full = true);
        let output = start(&fake);
        print(&output, 0..10);
        drop(output);
        assert_eq!(fake.text(), "");
    }

    #[test]
    fn an_unwritable_stderr_costs_lines_until_it_is_writable() {
        let fake = Fake::default();
        fake.set(|inside| inside.broken = true);
        let output = start(&fake);
        let shared = output.shared.clone();
        print(&output, 0..10);
        while shared.lost.load(Ordering::Relaxed) < 10 {
            thread::yield_now();
        }
        fake.set(|inside| inside.broken = false);
        print(&output, 10..11);
        drop(output);
        assert_eq!(fake.text(), "CAMP_SERVER lost 10 lines of debug output here\nline 10\n");
    }
}
