//! What waits for the disk.

use std::rc::Rc;
use std::task::{Poll, Waker};
use std::time::{Duration, Instant};

use bytes::Bytes;

use super::{MAX_WAITING, OVERHEAD, Spools, WINDOW};
use crate::net::ledger::Ledger;
use crate::net::sessions::{Mailbox, Order};
use crate::net::stub::{self, Stub};
use crate::protocol::{Behaviour, Text};
use crate::session::TxEvent;

const KEY: u32 = 1;

fn chunk(len: usize) -> TxEvent {
    TxEvent::Chunk { key: KEY, data: Bytes::from(vec![7; len]) }
}

#[test]
fn short_chunks_count_what_they_cost() {
    stub::run(async {
        let (app, _told) = Stub::new();
        let mailbox = Rc::new(Mailbox::default());
        let mut spools = Spools::new(mailbox.clone(), Ledger::new(u64::MAX), u64::MAX);
        let name = Text::default();
        spools.on_event(TxEvent::Started { key: KEY, tx_id: 0, behaviour: Behaviour::Push, size: None, name }, &app);
        assert!(spools.on_event(chunk(WINDOW), &app).is_some(), "so much goes ahead of the reader");

        let now = Instant::now();
        let late = now + Duration::from_secs(60);
        assert!(spools.on_event(chunk(1), &app).is_none());
        assert!(!spools.can_take(&app, Waker::noop(), now), "the reader is waited for");
        let mut chunks = 1;
        while spools.can_take(&app, Waker::noop(), late) {
            assert!(spools.on_event(chunk(1), &app).is_none());
            chunks += 1;
            assert!(chunks <= MAX_WAITING / OVERHEAD, "the disk has written nothing yet");
        }

        // Once it has, there is room again, for all of it.
        std::future::poll_fn(|cx| {
            mailbox.take(cx.waker(), |order| {
                if let Order::Spool(report) = order {
                    spools.on_report(report, &app, |event| panic!("nobody reads: {event:?}"));
                }
            });
            if spools.waiting + spools.in_flight == 0 { Poll::Ready(()) } else { Poll::Pending }
        })
        .await;
        assert!(spools.can_take(&app, Waker::noop(), late));
        assert_eq!(spools.by_key[&KEY].kept, chunks as u64);
    });
}
