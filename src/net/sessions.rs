//! The live sessions of a server: by slot, and by sid.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::task::Waker;

use slab::Slab;

use super::places::Places;
use super::sends::Sends;
use super::sources::{SourceReport, TxOrder};
use super::spool::SpoolReport;
use crate::session::{Command, TxKey};

/// Names a session between this layer and the application. It is not given to another session
/// before the application has released it, after the session's `Closed` event.
pub type Slot = u32;

/// Room for orders that an idle session keeps.
const SPARE_ORDERS: usize = 64;

/// Where a session's driver finds what it is to do.
#[derive(Default)]
pub(super) struct Mailbox {
    orders: RefCell<Vec<Order>>,
    waker: Cell<Option<Waker>>,
    /// Grows with each time the driver begins, or ends, to wait for the application's answer.
    waits: Cell<u32>,
    /// The wait is over without one.
    released: Cell<bool>,
}

/// What the application wants of one session.
#[derive(Debug)]
pub(super) enum Order {
    Command(Command),
    /// Send these messages.
    Sends(Sends),
    Verdict,
    /// Begin an outgoing transaction.
    Open(TxOrder),
    /// From a source that the core reads.
    Source(SourceReport),
    /// From an incoming transaction that is read slowly.
    Spool(SpoolReport),
    /// Somebody has asked for an incoming transaction, or nobody will any more.
    Asked(TxKey),
    /// The server's temporary files are too large: give this incoming transaction up.
    Revoke(TxKey),
}

impl Mailbox {
    /// Leaves an order; the driver is woken with the first.
    #[inline]
    pub(super) fn post(&self, order: Order) {
        self.orders.borrow_mut().push(order);
        self.wake();
    }

    /// The driver waits for the application's answer. Gives the number by which it is released.
    pub(super) fn wait(&self) -> u32 {
        self.waits.set(self.waits.get().wrapping_add(1));
        self.waits.get()
    }

    /// Ends the wait of that number, unless it is over.
    pub(super) fn release(&self, wait: u32) {
        if self.waits.get() == wait {
            self.released.set(true);
            self.wake();
        }
    }

    /// The driver waits no more. True if it was released.
    pub(super) fn end_wait(&self) -> bool {
        self.wait();
        self.released.take()
    }

    /// Whether the driver was released.
    pub(super) fn is_released(&self) -> bool {
        self.released.get()
    }

    fn wake(&self) {
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }

    /// Gives back the memory of an empty mailbox.
    pub(super) fn trim(&self) {
        let mut orders = self.orders.borrow_mut();
        if orders.is_empty() {
            *orders = Vec::new();
        }
    }

    /// Hands the orders to `each`, and remembers whom to wake for the next.
    #[inline]
    pub(super) fn take(&self, waker: &Waker, mut each: impl FnMut(Order)) {
        let mut orders = self.orders.borrow_mut();
        for order in orders.drain(..) {
            each(order);
        }
        orders.shrink_to(SPARE_ORDERS);
        let current = self.waker.take().filter(|current| current.will_wake(waker));
        self.waker.set(Some(current.unwrap_or_else(|| waker.clone())));
    }
}

/// The sessions of one server.
#[derive(Default)]
pub(super) struct Sessions {
    slots: RefCell<Slab<Rc<Mailbox>>>,
    /// A place is given back when its session ends, a slot only on release.
    pub(super) places: Places,
}

impl Sessions {
    /// A slot for a session.
    pub(super) fn open(&self) -> (Slot, Rc<Mailbox>) {
        let mailbox = Rc::new(Mailbox::default());
        let slot = self.slots.borrow_mut().insert(mailbox.clone());
        (slot as Slot, mailbox)
    }

    /// The application has let go of the slot.
    pub(super) fn release(&self, slot: Slot) {
        self.slots.borrow_mut().try_remove(slot as usize);
    }

    #[inline]
    pub(super) fn post(&self, slot: Slot, order: Order) {
        if let Some(mailbox) = self.slots.borrow().get(slot as usize) {
            mailbox.post(order);
        }
    }

    /// Calls `f` for every slot in use.
    pub(super) fn for_each(&self, mut f: impl FnMut(&Mailbox)) {
        for (_, mailbox) in self.slots.borrow().iter() {
            f(mailbox);
        }
    }

    /// Number of live sessions.
    pub(super) fn live(&self) -> usize {
        self.places.accepted().saturating_add(self.places.outgoing())
    }
}
