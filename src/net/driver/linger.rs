//! What of a session outlives its connection: streams that came whole, were acknowledged, and are
//! still being read.

use std::rc::Rc;
use std::sync::Arc;
use std::task::Poll;

use crate::net::counters::Counters;
use crate::net::server::Server;
use crate::net::sessions::{Mailbox, Order, Slot};
use crate::net::spool::Spools;
use crate::session::{Command, Event, TxCommand, TxEnd, TxEvent};

/// Keeps the server from stopping, and its slot from being released, until dropped.
pub(super) struct Lingering {
    server: Rc<Server>,
    slot: Slot,
    counters: Arc<Counters>,
}

impl Lingering {
    pub(super) fn begin(server: Rc<Server>, slot: Slot, counters: Arc<Counters>) -> Self {
        server.lingering.set(server.lingering.get().saturating_add(1));
        Lingering { server, slot, counters }
    }

    /// Passes on what is left, as it is read, until it is read or the server closes.
    pub(super) async fn serve(self, mailbox: Rc<Mailbox>, mut spools: Box<Spools>) {
        let app = self.server.app.as_ref();
        let pass = |event: TxEvent| app.event(self.slot, Event::Transaction(event));
        std::future::poll_fn(|cx| {
            mailbox.take(cx.waker(), |order| match order {
                Order::Spool(report) => spools.on_report(report, app, pass),
                Order::Command(Command::Transaction(TxCommand::Consumed { key, bytes })) => {
                    spools.on_consumed(key, bytes, app, pass);
                }
                Order::Command(Command::Transaction(TxCommand::Refuse { key })) => spools.forget(key),
                Order::Asked(key) => spools.on_asked(key),
                Order::Revoke(key) => spools.cancel(key),
                _ => {}
            });
            for key in spools.take_cancelled() {
                pass(TxEvent::Ended { key, outcome: TxEnd::Overflow, expected: None, received: 0 });
            }
            self.counters.set_spooled(spools.in_files());
            app.commit();
            if spools.is_idle() || self.server.is_closing() { Poll::Ready(()) } else { Poll::Pending }
        })
        .await;
    }
}

impl Drop for Lingering {
    fn drop(&mut self) {
        self.counters.set_spooled(0);
        self.server.app.gone(self.slot);
        self.server.app.commit();
        self.server.lingering.set(self.server.lingering.get().saturating_sub(1));
        self.server.stop_if_idle();
    }
}
