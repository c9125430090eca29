//! Blocks of memory that the connections of a thread take turns with.

use std::cell::RefCell;

use bytes::BytesMut;

/// Bytes read or written by one system call at most, as a rule.
pub(super) const BLOCK: usize = 64 << 10;

thread_local! {
    static READING: RefCell<BytesMut> = RefCell::default();
    static WRITING: RefCell<BytesMut> = RefCell::default();
}

/// The block for reading, empty, with room for `BLOCK` bytes.
pub(super) fn take_reading() -> BytesMut {
    prepare(READING.take())
}

/// Gives it back once everything in it has been dealt with.
pub(super) fn return_reading(block: BytesMut) {
    READING.set(block);
}

/// The block for writing, empty, with room for `BLOCK` bytes.
pub(super) fn take_writing() -> BytesMut {
    prepare(WRITING.take())
}

/// Gives it back once everything in it has been written.
pub(super) fn return_writing(block: BytesMut) {
    // One large message must not leave the thread with a large block for ever.
    if block.capacity() <= 16 * BLOCK {
        WRITING.set(block);
    }
}

fn prepare(mut block: BytesMut) -> BytesMut {
    block.clear();
    // Takes back what was split off, unless a part of it is still in use.
    block.reserve(BLOCK);
    block
}
