//! The bounds, and which transaction has to go when one is exceeded: the newest.

use std::rc::Rc;

use super::stream::Spool;
use super::{MAX_FILES, MAX_UNASKED, Spools};
use crate::net::sessions::Order;
use crate::session::TxKey;

impl Spools {
    /// Gives up the newest transactions until the session's files, and its server's, are within their bounds.
    pub(super) fn bound_files(&mut self) {
        while self.in_files.get() > self.max_in_files || self.files() > MAX_FILES {
            let Some(key) = self.newest(|spool| spool.store.is_some()) else { break };
            self.cancel(key);
        }
        for victim in self.ledger.take_victims() {
            if Rc::ptr_eq(&victim.mailbox, &self.mailbox) {
                self.cancel(victim.key);
            } else {
                victim.mailbox.post(Order::Revoke(victim.key));
            }
        }
    }

    /// The same for what nobody has asked for.
    pub(super) fn bound_unasked(&mut self) {
        while self.unasked > MAX_UNASKED {
            let Some(key) = self.newest(|spool| !spool.asked && spool.held() > 0) else { return };
            self.cancel(key);
        }
    }

    /// One that has come whole was promised to its sender: it goes only when no other can.
    fn newest(&self, which: impl Fn(&Spool) -> bool) -> Option<TxKey> {
        let held = self.by_key.iter().filter(|(_, spool)| which(spool));
        held.max_by_key(|(_, spool)| (spool.end.is_none(), spool.birth)).map(|(&key, _)| key)
    }

    fn files(&self) -> usize {
        self.by_key.values().filter(|spool| spool.store.is_some()).count()
    }

    /// Whether more than half of what may be kept is: the alternative to waiting will be to give up.
    pub(super) fn is_scarce(&self) -> bool {
        let waiting = self.waiting as u64;
        self.in_files.get().saturating_add(waiting) > self.max_in_files / 2 || self.ledger.is_scarce(waiting)
    }
}
