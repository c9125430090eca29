//! Memory that is free goes back to the system.
//!
//! glibc keeps what was freed in the middle of a heap: after fifty slow readers have left, hundreds of MiB. So large
//! allocations are counted, and when most of them are gone and the I/O thread has nothing to do, it is told to let go.
//! Other systems' allocators do so by themselves.

use std::sync::atomic::{AtomicUsize, Ordering};

use crate::net::Housekeeping;

/// What the I/O thread does with this when it is idle.
pub(super) fn housekeeping() -> Option<Housekeeping> {
    glibc::housekeeping()
}

/// Bytes that have to be free, of those that were in use, before it pays to look for them.
const WORTHWHILE: usize = 32 << 20;

/// How much is in use, and how much was since that was last looked at.
struct Level {
    now: AtomicUsize,
    highest: AtomicUsize,
}

impl Level {
    const fn new() -> Self {
        Level { now: AtomicUsize::new(0), highest: AtomicUsize::new(0) }
    }

    #[inline]
    fn rise(&self, bytes: usize) {
        let now = self.now.fetch_add(bytes, Ordering::Relaxed).wrapping_add(bytes);
        if now > self.highest.load(Ordering::Relaxed) {
            self.highest.fetch_max(now, Ordering::Relaxed);
        }
    }

    #[inline]
    fn fall(&self, bytes: usize) {
        self.now.fetch_sub(bytes, Ordering::Relaxed);
    }

    /// Whether most of what was in use is free.
    fn has_ebbed(&self) -> bool {
        let (now, highest) = (self.now.load(Ordering::Relaxed), self.highest.load(Ordering::Relaxed));
        highest.saturating_sub(now) >= WORTHWHILE && now <= highest / 2
    }

    fn forget_highest(&self) {
        self.highest.store(self.now.load(Ordering::Relaxed), Ordering::Relaxed);
    }
}

#[cfg(all(target_os = "linux", target_env = "gnu"))]
mod glibc {
    use std::alloc::{GlobalAlloc, Layout, System};
    use std::time::Duration;

    use super::Level;
    use crate::net::Housekeeping;

    /// Allocations from this size on are counted: nearly everything that waits for a client lies in such.
    const LARGE: usize = 16 << 10;

    /// Letting go costs time, and so does what is needed again: only what stays free is given back.
    const PATIENCE: Duration = Duration::from_secs(2);

    static LEVEL: Level = Level::new();

    #[global_allocator]
    static ALLOCATOR: Counting = Counting;

    pub(super) fn housekeeping() -> Option<Housekeeping> {
        Some(Housekeeping { patience: PATIENCE, is_due: || LEVEL.has_ebbed(), run: give_back })
    }

    fn give_back() {
        LEVEL.forget_highest();
        // SAFETY: it may be called at any time, from any thread (malloc_trim(3)).
        unsafe { libc::malloc_trim(0) };
    }

    /// The system's allocator, with large allocations counted.
    struct Counting;

    // SAFETY: every call is passed on as it is to the system's allocator, which keeps the contract.
    unsafe impl GlobalAlloc for Counting {
        #[inline]
        unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
            // SAFETY: the caller keeps the contract.
            allocated(unsafe { System.alloc(layout) }, layout.size())
        }

        #[inline]
        unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
            // SAFETY: the caller keeps the contract.
            allocated(unsafe { System.alloc_zeroed(layout) }, layout.size())
        }

        #[inline]
        unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
            // SAFETY: the caller keeps the contract.
            unsafe { System.dealloc(memory, layout) };
            freed(layout.size());
        }

        #[inline]
        unsafe fn realloc(&self, memory: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
            // SAFETY: the caller keeps the contract.
            let moved = unsafe { System.realloc(memory, layout, new_size) };
            if !moved.is_null() {
                freed(layout.size());
            }
            allocated(moved, new_size)
        }
    }

    #[inline]
    fn allocated(memory: *mut u8, size: usize) -> *mut u8 {
        if size >= LARGE && !memory.is_null() {
            LEVEL.rise(size);
        }
        memory
    }

    #[inline]
    fn freed(size: usize) {
        if size >= LARGE {
            LEVEL.fall(size);
        }
    }
}

#[cfg(not(all(target_os = "linux", target_env = "gnu")))]
mod glibc {
    pub(super) fn housekeeping() -> Option<crate::net::Housekeeping> {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_in_use_and_is_free_is_noticed_once() {
        let level = Level::new();
        level.rise(100 << 20);
        assert!(!level.has_ebbed());
        level.fall(90 << 20);
        assert!(level.has_ebbed());
        level.forget_highest();
        assert!(!level.has_ebbed());
    }

    #[test]
    fn little_is_left_alone_and_so_is_what_mostly_stays() {
        let level = Level::new();
        level.rise(WORTHWHILE - 1);
        level.fall(WORTHWHILE - 1);
        assert!(!level.has_ebbed());
        level.rise(1000 << 20);
        level.fall(400 << 20);
        assert!(!level.has_ebbed());
    }
}
