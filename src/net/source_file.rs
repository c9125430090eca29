//! Files as sources: what lies behind a path, and how what has no size is read.

use std::error::Error;
use std::fmt;
use std::fs::{File, Metadata, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::Arc;

use bytes::Bytes;

use super::disk::{self, DiskFile};
use super::io_text::IoText;
use super::sessions::{Mailbox, Order};
use super::sources::SourceReport;
use crate::session::TxKey;

/// Files up to this size are read when they are opened. A file that the system makes up may have fewer bytes
/// than it says.
const WHOLE: u64 = 64 << 10;

/// What a path has led to.
#[derive(Debug)]
pub(super) enum Opened {
    /// All that was asked for.
    Whole(Bytes),
    /// A regular file, with what it has of the range asked for.
    Sized { file: Arc<DiskFile>, start: u64, end: u64 },
    /// What has no size to go by, a pipe or a device: its first bytes, and how many may follow.
    Unsized { file: Arc<DiskFile>, first: Bytes, left: u64 },
}

/// Opens the range `start..end` of what lies at `path`. Blocks, but not until somebody writes.
pub(super) fn open(path: &Path, start: u64, end: u64) -> io::Result<Opened> {
    open_range(path, start, end).map_err(|error| {
        let kind = error.kind();
        io::Error::new(kind, AtPath { path: path.to_owned(), error })
    })
}

fn open_range(path: &Path, start: u64, end: u64) -> io::Result<Opened> {
    let metadata = std::fs::metadata(path)?;
    if metadata.is_dir() {
        return Err(io::ErrorKind::IsADirectory.into());
    }
    let mut file = options().open(path)?;
    let metadata = file.metadata().unwrap_or(metadata);
    let size = metadata.len();
    let past = end.min(size);
    if has_size(&metadata) && past.saturating_sub(start) > WHOLE {
        return Ok(Opened::Sized { file: DiskFile::of(file), start, end: past });
    }
    if start > 0 {
        file.seek(SeekFrom::Start(start))?;
    }
    if !metadata.is_file() {
        return Ok(Opened::Unsized { file: DiskFile::of(file), first: Bytes::new(), left: end.saturating_sub(start) });
    }
    let wanted = if size == 0 { end } else { past }.saturating_sub(start);
    let (first, ended) = read_first(&mut file, wanted.min(WHOLE))?;
    let left = wanted.saturating_sub(first.len() as u64);
    if ended || left == 0 {
        return Ok(Opened::Whole(first));
    }
    Ok(Opened::Unsized { file: DiskFile::of(file), first, left })
}

/// Files in `/proc` say that they are empty.
fn has_size(metadata: &Metadata) -> bool {
    metadata.is_file() && metadata.len() > 0
}

/// At most `max` bytes, and whether the file has no more.
fn read_first(file: &mut File, max: u64) -> io::Result<(Bytes, bool)> {
    let mut first = Vec::new();
    match file.take(max).read_to_end(&mut first) {
        Ok(_) => {
            let ended = (first.len() as u64) < max;
            Ok((first.into(), ended))
        }
        // It has no more for now.
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok((first.into(), false)),
        Err(error) => Err(error),
    }
}

#[cfg(unix)]
fn options() -> OpenOptions {
    use std::os::unix::fs::OpenOptionsExt;
    let mut options = OpenOptions::new();
    // A pipe without a writer would hold the thread for ever, a terminal might become ours.
    options.read(true).custom_flags(libc::O_NONBLOCK | libc::O_NOCTTY);
    options
}

#[cfg(not(unix))]
fn options() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.read(true);
    options
}

/// Reads what has no size, one piece at a time.
pub(super) struct Flow {
    input: Input,
    /// Bytes that may still come.
    left: u64,
    reading: bool,
}

enum Input {
    /// What never has to be waited for.
    File(Arc<DiskFile>),
    /// A pipe or a terminal, and who waits for it.
    #[cfg(unix)]
    Pipe(Rc<pipe::Receiver>, Option<pipe::Wait>),
}

impl Flow {
    pub(super) fn new(file: Arc<DiskFile>, left: u64) -> Self {
        #[cfg(unix)]
        if let Some(receiver) = pipe::receiver(&file) {
            return Flow { input: Input::Pipe(receiver, None), left, reading: false };
        }
        Flow { input: Input::File(file), left, reading: false }
    }

    pub(super) fn is_reading(&self) -> bool {
        self.reading
    }

    /// Whether no more is wanted.
    pub(super) fn is_over(&self) -> bool {
        self.left == 0
    }

    /// A read is over that has given this many bytes.
    pub(super) fn on_read(&mut self, bytes: usize) {
        self.reading = false;
        self.left = self.left.saturating_sub(bytes as u64);
    }

    /// Reads at most `max` bytes once there are any; [`SourceReport::Flowed`] follows.
    pub(super) fn read(&mut self, mailbox: Rc<Mailbox>, key: TxKey, max: usize) {
        self.reading = true;
        let len = usize::try_from(self.left).unwrap_or(usize::MAX).min(max);
        match &mut self.input {
            Input::File(file) => {
                let file = file.clone();
                disk::run(mailbox, move || Order::Source(SourceReport::Flowed { key, result: file.read_next(len) }));
            }
            #[cfg(unix)]
            Input::Pipe(receiver, wait) => *wait = Some(pipe::read(receiver.clone(), mailbox, key, len)),
        }
    }
}

/// Pipes and terminals: they are read once they have something, so that no thread waits for it.
#[cfg(unix)]
mod pipe {
    use std::io;
    use std::rc::Rc;

    use bytes::Bytes;
    pub(super) use tokio::net::unix::pipe::Receiver;
    use tokio::task::AbortHandle;

    use super::{DiskFile, Mailbox, Order, SourceReport, TxKey};

    /// Bytes that a pipe holds.
    const PIPE: usize = 64 << 10;

    /// `None` for what cannot be waited for.
    pub(super) fn receiver(file: &DiskFile) -> Option<Rc<Receiver>> {
        Receiver::from_file_unchecked(file.duplicate().ok()?).ok().map(Rc::new)
    }

    /// A read that is given up when this is dropped.
    pub(super) struct Wait(AbortHandle);

    impl Drop for Wait {
        fn drop(&mut self) {
            self.0.abort();
        }
    }

    pub(super) fn read(receiver: Rc<Receiver>, mailbox: Rc<Mailbox>, key: TxKey, max: usize) -> Wait {
        let task = tokio::task::spawn_local(async move {
            let result = read_when_ready(&receiver, max.min(PIPE)).await;
            mailbox.post(Order::Source(SourceReport::Flowed { key, result }));
        });
        Wait(task.abort_handle())
    }

    async fn read_when_ready(receiver: &Receiver, max: usize) -> io::Result<Bytes> {
        loop {
            receiver.readable().await?;
            let mut bytes = vec![0; max];
            match receiver.try_read(&mut bytes) {
                Ok(read) => {
                    bytes.truncate(read);
                    return Ok(bytes.into());
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Err(error),
            }
        }
    }
}

/// An error with the path it is about.
#[derive(Debug)]
struct AtPath {
    path: PathBuf,
    error: io::Error,
}

impl fmt::Display for AtPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.path.display(), IoText(&self.error))
    }
}

impl Error for AtPath {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        Some(&self.error)
    }
}
