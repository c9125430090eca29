use std::sync::atomic::{AtomicU32, Ordering};

use super::*;

/// All orders that were handed over, as `(slot, kind, length)`.
fn given(queue: &OrderQueue) -> Vec<(Slot, u32, usize)> {
    let Taken::Orders(batches) = queue.take() else { return Vec::new() };
    let mut orders = Vec::new();
    for mut batch in batches {
        while let Some(order) = OrderLayout::first(&batch) {
            orders.push((order.slot, order.kind, order.payload.len()));
            batch.advance(order.end);
        }
    }
    orders
}

#[test]
fn the_longest_order_is_taken_whole_and_a_longer_one_is_refused() {
    let queue = Arc::<OrderQueue>::default();
    let writer = OrderWriter::new(queue.clone());
    let most = vec![0; MAX_LENGTH];
    let before = OrderKind::Ping as u32;
    writer.put(1, OrderKind::Ping, &[]);
    assert_eq!(writer.put_parts(2, OrderKind::Close, &[&most]), Ok(()));
    for rest in [&[0][..], &most] {
        assert_eq!(writer.put_parts(3, OrderKind::Close, &[&most, rest]), Err(NotAdded));
    }
    writer.put(4, OrderKind::Ping, &[]);
    writer.flush();
    assert_eq!(given(&queue), [(1, before, 0), (2, OrderKind::Close as u32, MAX_LENGTH), (4, before, 0)]);
}

#[test]
fn a_payload_that_turns_out_too_long_is_not_added() {
    let queue = Arc::<OrderQueue>::default();
    let writer = OrderWriter::new(queue.clone());
    let fill = |length: usize| {
        move |room: &mut [MaybeUninit<u8>]| {
            room[..length].fill(MaybeUninit::new(0));
            Ok(length)
        }
    };
    // SAFETY: `fill` has initialised as many bytes as it says.
    let added = [MAX_LENGTH, MAX_LENGTH + 1, 5]
        .map(|length| unsafe { writer.put_with(7, OrderKind::Utf8, MAX_LENGTH + 1, fill(length)) });
    assert_eq!(added, [Ok(()), Err(NotAdded), Ok(())]);
    writer.flush();
    assert_eq!(given(&queue), [(7, 0, MAX_LENGTH), (7, 0, 5)]);
}

#[test]
fn whatever_was_handed_over_before_the_end_is_taken_before_the_end_is_seen() {
    const ROUNDS: u32 = 3_000;
    let queues: Vec<OrderQueue> = (0..ROUNDS).map(|_| OrderQueue::default()).collect();
    let round = AtomicU32::new(0);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for (queue, number) in queues.iter().zip(0..) {
                while round.load(Ordering::Acquire) < number {
                    std::thread::yield_now();
                }
                queue.give(Bytes::from_static(&[1; HEADER]));
                queue.end();
            }
        });
        let mut orders = 0;
        for (queue, number) in queues.iter().zip(1..) {
            loop {
                match queue.take() {
                    Taken::Orders(batches) => orders += batches.len(),
                    Taken::Nothing => {}
                    Taken::Over => break,
                }
            }
            round.store(number, Ordering::Release);
        }
        // Not before: the other thread waits for every round.
        assert_eq!(orders, ROUNDS as usize);
    });
}
