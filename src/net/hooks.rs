//! Which messages need a verdict, as it stands now for all sessions of a server.

use std::sync::atomic::{AtomicU32, Ordering};

use crate::session::Hooks;

/// Set on the application's thread, and in force for every frame that is read from then on: what
/// was sent after the application had set it cannot slip past an order that is still on its way.
#[derive(Debug, Default)]
pub struct SharedHooks(AtomicU32);

impl SharedHooks {
    /// From now on these hold; see [`Hooks::from_bits`].
    pub fn set(&self, bits: u32) {
        self.0.store(bits, Ordering::Release);
    }

    #[inline]
    pub(super) fn get(&self) -> Hooks {
        Hooks::from_bits(self.0.load(Ordering::Acquire))
    }
}
