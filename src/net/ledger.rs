//! What all temporary files of a server hold together, and who has to go when it is too much.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;

use super::sessions::Mailbox;
use crate::session::TxKey;

/// Temporary files of incoming transactions that a server has open at once, if the system allows that many
/// descriptors and more.
const MAX_FILES: usize = 2048;

/// Their share of the descriptors that the process may have: connections need some, too.
const SHARE: usize = 4;

/// How much may lie in temporary files, in bytes.
#[derive(Clone, Copy, Debug)]
pub struct SpoolLimits {
    /// For the incoming transactions of one session together, and for each of its sources that is collected.
    pub session: u64,
    /// For a server.
    pub total: u64,
}

/// When a transaction began, among those of its server.
pub(super) type Birth = u64;

/// The temporary files of one server.
pub(super) struct Ledger {
    limit: u64,
    max_files: usize,
    used: Cell<u64>,
    next: Cell<Birth>,
    /// The incoming transactions that have one.
    holders: RefCell<BTreeMap<Birth, Holder>>,
}

struct Holder {
    mailbox: Rc<Mailbox>,
    key: TxKey,
    bytes: u64,
    /// It has come to its end, and only waits for its reader.
    whole: bool,
}

/// An incoming transaction that has to be given up.
pub(super) struct Victim {
    pub(super) mailbox: Rc<Mailbox>,
    pub(super) key: TxKey,
}

impl Ledger {
    /// Bounds the sum of all files.
    pub(super) fn new(limit: u64) -> Rc<Self> {
        Self::with_files(limit, max_descriptors().map_or(MAX_FILES, |max| (max / SHARE).clamp(1, MAX_FILES)))
    }

    fn with_files(limit: u64, max_files: usize) -> Rc<Self> {
        Rc::new(Ledger { limit, max_files, used: Cell::new(0), next: Cell::new(0), holders: RefCell::default() })
    }

    /// A transaction begins.
    pub(super) fn birth(&self) -> Birth {
        self.next.replace(self.next.get().wrapping_add(1))
    }

    /// Whether more than half of what there may be is used, `more` added.
    pub(super) fn is_scarce(&self, more: u64) -> bool {
        self.used.get().saturating_add(more) > self.limit / 2
    }

    /// Whether more is used than there may be.
    pub(super) fn is_exceeded(&self) -> bool {
        self.used.get() > self.limit
    }

    /// Takes the newest transactions until what is left is within the bounds. One that has come whole was
    /// promised to its sender: it goes only when no other can.
    pub(super) fn take_victims(&self) -> Vec<Victim> {
        let mut holders = self.holders.borrow_mut();
        let mut victims = Vec::new();
        while self.is_exceeded() || holders.len() > self.max_files {
            let newest = holders.iter().rev().find(|(_, holder)| !holder.whole).or_else(|| holders.iter().next_back());
            let Some(birth) = newest.map(|(birth, _)| *birth) else { break };
            if let Some(Holder { mailbox, key, bytes, .. }) = holders.remove(&birth) {
                self.count(bytes, 0);
                victims.push(Victim { mailbox, key });
            }
        }
        victims
    }

    fn count(&self, before: u64, now: u64) {
        self.used.set(self.used.get().saturating_sub(before).saturating_add(now));
    }
}

/// What one file takes up, of the server's and of its session's share, until it is dropped.
pub(super) struct Charge {
    ledger: Rc<Ledger>,
    sum: Rc<Cell<u64>>,
    /// Of an incoming transaction.
    birth: Option<Birth>,
    bytes: u64,
}

impl Charge {
    /// For a source of the application's. `sum` is the session's share.
    pub(super) fn for_source(ledger: Rc<Ledger>, sum: Rc<Cell<u64>>) -> Self {
        Charge { ledger, sum, birth: None, bytes: 0 }
    }

    /// For an incoming transaction.
    pub(super) fn for_incoming(
        ledger: Rc<Ledger>,
        sum: Rc<Cell<u64>>,
        birth: Birth,
        (mailbox, key): (Rc<Mailbox>, TxKey),
        whole: bool,
    ) -> Self {
        ledger.holders.borrow_mut().insert(birth, Holder { mailbox, key, bytes: 0, whole });
        Charge { ledger, sum, birth: Some(birth), bytes: 0 }
    }

    /// The file has this many bytes now.
    pub(super) fn set(&mut self, bytes: u64) {
        self.sum.set(self.sum.get().saturating_sub(self.bytes).saturating_add(bytes));
        let before = std::mem::replace(&mut self.bytes, bytes);
        match self.birth {
            None => self.ledger.count(before, bytes),
            Some(birth) => {
                // A victim was counted out.
                if let Some(holder) = self.ledger.holders.borrow_mut().get_mut(&birth) {
                    holder.bytes = bytes;
                    self.ledger.count(before, bytes);
                }
            }
        }
    }

    /// The transaction has come whole.
    pub(super) fn set_whole(&self) {
        let mut holders = self.ledger.holders.borrow_mut();
        if let Some(holder) = self.birth.and_then(|birth| holders.get_mut(&birth)) {
            holder.whole = true;
        }
    }
}

impl Drop for Charge {
    fn drop(&mut self) {
        self.set(0);
        if let Some(birth) = self.birth {
            self.ledger.holders.borrow_mut().remove(&birth);
        }
    }
}

/// How many descriptors the process may have; `None` for no bound.
#[cfg(unix)]
fn max_descriptors() -> Option<usize> {
    use rustix::process::{Resource, getrlimit};
    getrlimit(Resource::Nofile).current.map(|max| usize::try_from(max).unwrap_or(usize::MAX))
}

#[cfg(not(unix))]
fn max_descriptors() -> Option<usize> {
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What transactions of one session hold, in the order of their begin.
    fn charges(ledger: &Rc<Ledger>, sizes: &[u64]) -> Vec<Charge> {
        let (mailbox, sum) = (Rc::<Mailbox>::default(), Rc::default());
        let charge = |(key, &size): (usize, &u64)| {
            let address = (mailbox.clone(), key as TxKey);
            let mut charge = Charge::for_incoming(ledger.clone(), Rc::clone(&sum), ledger.birth(), address, false);
            charge.set(size);
            charge
        };
        sizes.iter().enumerate().map(charge).collect()
    }

    fn victims(ledger: &Ledger) -> Vec<TxKey> {
        ledger.take_victims().into_iter().map(|victim| victim.key).collect()
    }

    #[test]
    fn the_newest_go_until_the_rest_is_within_the_bound() {
        let ledger = Ledger::with_files(100, 10);
        let charges = charges(&ledger, &[60, 30, 30, 20]);
        assert_eq!(victims(&ledger), [3, 2]);
        assert!(victims(&ledger).is_empty());
        drop(charges);
        assert_eq!(ledger.used.get(), 0);
    }

    #[test]
    fn a_victim_counts_no_more_whatever_becomes_of_its_file() {
        let ledger = Ledger::with_files(100, 10);
        let mut charges = charges(&ledger, &[60, 50]);
        assert_eq!(victims(&ledger), [1]);
        charges[1].set(500);
        assert_eq!(ledger.used.get(), 60);
        charges[0].set(90);
        assert!(victims(&ledger).is_empty());
    }

    #[test]
    fn one_that_has_come_whole_goes_last() {
        let ledger = Ledger::with_files(100, 10);
        let mut charges = charges(&ledger, &[40, 30, 30]);
        charges[2].set_whole();
        charges[0].set(50);
        assert_eq!(victims(&ledger), [1]);
        charges[0].set(90);
        assert_eq!(victims(&ledger), [0]);
        charges[2].set(101);
        assert_eq!(victims(&ledger), [2]);
    }

    #[test]
    fn there_are_no_more_files_than_that() {
        let ledger = Ledger::with_files(u64::MAX, 3);
        let _charges = charges(&ledger, &[1; 5]);
        assert_eq!(victims(&ledger), [4, 3]);
    }

    #[test]
    fn sources_count_and_are_no_victims() {
        let ledger = Ledger::with_files(100, 10);
        let mut source = Charge::for_source(ledger.clone(), Rc::default());
        source.set(150);
        assert!(ledger.is_exceeded());
        assert!(victims(&ledger).is_empty());
        drop(source);
        assert!(!ledger.is_exceeded());
    }
}
