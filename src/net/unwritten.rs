//! Which frames the socket has written.

use std::collections::VecDeque;

/// Maps the count of bytes a socket has written to the frames put into its buffer.
#[derive(Debug)]
pub(super) struct Unwritten {
    /// For each frame: where it ends in the stream of bytes, and its length without WebSocket header.
    frames: VecDeque<(u64, usize)>,
    /// Where the last frame ends.
    end: u64,
    close: CloseFrame,
}

#[derive(Debug, PartialEq, Eq)]
enum CloseFrame {
    None,
    Buffered,
    Out,
}

/// A close frame is counted with this length; where exactly it ends does not matter.
const CLOSE: usize = 0;

impl Unwritten {
    /// For a socket that has already written that many bytes.
    pub(super) fn new(written: u64) -> Self {
        Unwritten { frames: VecDeque::new(), end: written, close: CloseFrame::None }
    }

    /// A frame of `len` bytes went into the buffer.
    #[inline]
    pub(super) fn push(&mut self, len: usize) {
        let header = match len {
            0..126 => 2,
            126..65536 => 4,
            _ => 10,
        };
        self.end += (len + header) as u64;
        self.frames.push_back((self.end, len));
    }

    /// The close frame went into the buffer.
    pub(super) fn push_close(&mut self) {
        self.push(CLOSE);
        self.close = CloseFrame::Buffered;
    }

    /// Everything has been written. Returns the bytes of frames this completes.
    #[inline]
    pub(super) fn all(&mut self, written: u64) -> usize {
        self.end = written;
        if self.close == CloseFrame::Buffered {
            self.close = CloseFrame::Out;
        }
        self.frames.drain(..).map(|(_, len)| len).sum()
    }

    /// The stream has been written up to here. Returns the bytes of frames this completes.
    pub(super) fn up_to(&mut self, written: u64) -> usize {
        let mut bytes = 0;
        while let Some(&(end, len)) = self.frames.front() {
            if end > written {
                break;
            }
            bytes += len;
            self.frames.pop_front();
        }
        bytes
    }

    /// Whether everything put into the buffer has been written.
    #[inline]
    pub(super) fn is_empty(&self) -> bool {
        self.frames.is_empty()
    }

    /// Whether the close frame has been written.
    pub(super) fn close_is_out(&self) -> bool {
        self.close == CloseFrame::Out
    }
}
