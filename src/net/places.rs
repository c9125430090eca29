//! Room for sessions. A place is counted, and a sid kept from others, by a guard that gives it back when it is
//! dropped: there is no moment between two of its stages in which it is free.

use std::cell::{Cell, RefCell};
use std::collections::HashSet;
use std::rc::Rc;

/// The places of one server.
#[derive(Default)]
pub(super) struct Places {
    shared: Rc<Shared>,
}

#[derive(Default)]
struct Shared {
    /// Clients that have a session or whose token is being validated.
    clients: Cell<usize>,
    /// Sids of the live sessions of clients.
    sids: RefCell<HashSet<u64>>,
    /// Live sessions with other servers. Their sids are the other servers' concern.
    outgoing: Cell<usize>,
}

/// A place, until dropped: from before a client's token is validated to the end of its session.
pub(super) struct Place {
    shared: Rc<Shared>,
    taken: Taken,
}

#[derive(Clone, Copy)]
enum Taken {
    /// By a client that is not let in yet.
    Asking,
    /// By a client's session with this sid.
    Client(u64),
    /// By a session with another server.
    Outgoing,
}

impl Places {
    /// A place for a client that is to be validated; `None` when `most` are taken.
    pub(super) fn take(&self, most: usize) -> Option<Place> {
        let clients = self.shared.clients.get();
        if clients >= most {
            return None;
        }
        self.shared.clients.set(clients.saturating_add(1));
        Some(Place { shared: self.shared.clone(), taken: Taken::Asking })
    }

    /// A place for a session with another server.
    pub(super) fn take_outgoing(&self) -> Place {
        self.shared.outgoing.set(self.shared.outgoing.get().saturating_add(1));
        Place { shared: self.shared.clone(), taken: Taken::Outgoing }
    }

    /// Whether a client has a live session with this sid.
    pub(super) fn is_live(&self, sid: u64) -> bool {
        self.shared.sids.borrow().contains(&sid)
    }

    /// Number of live sessions that clients have opened.
    pub(super) fn accepted(&self) -> usize {
        self.shared.sids.borrow().len()
    }

    /// Number of live sessions with other servers.
    pub(super) fn outgoing(&self) -> usize {
        self.shared.outgoing.get()
    }
}

impl Place {
    /// The client's session begins under this sid. False when a live session has it.
    pub(super) fn claim(&mut self, sid: u64) -> bool {
        let claimed = self.shared.sids.borrow_mut().insert(sid);
        if claimed {
            self.taken = Taken::Client(sid);
        }
        claimed
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if let Taken::Client(sid) = self.taken {
            self.shared.sids.borrow_mut().remove(&sid);
        }
        let count = match self.taken {
            Taken::Outgoing => &self.shared.outgoing,
            Taken::Asking | Taken::Client(_) => &self.shared.clients,
        };
        count.set(count.get().saturating_sub(1));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_taken_from_the_question_to_the_end_of_the_session() {
        let places = Places::default();
        let mut first = places.take(2).unwrap();
        let second = places.take(2).unwrap();
        assert!(places.take(2).is_none());
        assert_eq!((places.accepted(), places.is_live(7)), (0, false));
        assert!(first.claim(7));
        assert_eq!((places.accepted(), places.is_live(7)), (1, true));
        assert!(places.take(2).is_none());
        drop(second);
        assert!(places.take(2).is_some());
        drop(first);
        assert_eq!((places.accepted(), places.is_live(7)), (0, false));
        assert!(places.take(1).is_some());
    }

    #[test]
    fn who_comes_second_with_a_sid_leaves_it_to_the_first() {
        let places = Places::default();
        let mut first = places.take(9).unwrap();
        let mut second = places.take(9).unwrap();
        assert!(first.claim(7) && !second.claim(7));
        drop(second);
        assert!(places.is_live(7));
    }

    #[test]
    fn sessions_with_other_servers_take_no_place_of_a_client() {
        let places = Places::default();
        let outgoing = places.take_outgoing();
        assert_eq!((places.accepted(), places.outgoing()), (0, 1));
        assert!(places.take(1).is_some());
        drop(outgoing);
        assert_eq!(places.outgoing(), 0);
    }
}
