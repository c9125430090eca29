//! Orders: what JavaScript wants of its sessions, on its way to the I/O thread.
//!
//! The layout is that of [`OrderLayout`].

use std::cell::{RefCell, RefMut};
use std::collections::VecDeque;
use std::mem::MaybeUninit;
use std::net::TcpStream;
use std::rc::Rc;
use std::sync::{Arc, Mutex};

use bytes::{Buf, BufMut, Bytes, BytesMut};
use tokio::sync::Notify;

use super::http;
use super::peer;
use super::server::lock;
use super::text_orders::TextOrders;
use super::transaction;
use crate::net::{ORDER_HEADER as HEADER, OrderLayout, Sends, Server, Slot, Target, Validation};
use crate::session::{Command, DataKind};

/// Room that a batch starts with.
const BATCH: usize = 64 << 10;

/// Orders of this many bytes are handed over at once, before JavaScript yields.
const EAGER: usize = 256 << 10;

/// Batches whose memory is used again: as many as are usually on their way.
const SPARE_BATCHES: usize = 4;

/// Longest payload of an order: its length has 24 bits.
const MAX_LENGTH: usize = (1 << 24) - 1;

/// An order was not added: its payload is too long, or there was none.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct NotAdded;

impl From<NotAdded> for napi::Error {
    fn from(_: NotAdded) -> Self {
        napi::Error::new(napi::Status::InvalidArg, format!("An order has at most {MAX_LENGTH} bytes."))
    }
}

/// What an order wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub(super) enum OrderKind {
    Utf8 = DataKind::Utf8 as u32,
    Binary = DataKind::Binary as u32,
    Error = DataKind::Error as u32,
    Ping = 3,
    /// Payload: the reason.
    Close = 4,
    /// Payload: `[code u16]`, the reason.
    Destroy = 5,
    Release = 6,
    /// The slot is the upgrade's id. Payload: one byte, 1 to let the client in.
    Validated = 7,
    /// Closes the server; the slot means nothing.
    Shutdown = 8,
    /// The hooks of the session's held message have run.
    Verdict = 9,
    /// Accepts no more connections; the slot means nothing.
    StopAccepting = 10,
    /// The slot of these two is the connect id. To the next of the queue's targets.
    Connect = 11,
    Abandon = 12,
    /// Takes over the next of the queue's connections; the slot means nothing.
    Adopt = 13,
    /// The slot of these is the connection's id. Payload: the bytes.
    HttpWrite = 17,
    HttpEnd = 18,
    /// Payload: `[bytes u32]`.
    HttpCredit = 19,
    HttpDestroy = 20,
    HttpHold = 21,
    /// Payload: the bytes.
    HttpGiveBack = 22,
    HttpTakeBack = 23,
    /// Payload: `[on u32]`.
    HttpNoDelay = 24,
    /// Payload: `[on u32][idle milliseconds u32, 0: as the system has it]`.
    HttpKeepAlive = 25,
    HttpReset = 26,
    /// The kinds from here on are carried out by `transaction`.
    TxOpen = 32,
    TxData = 33,
    TxEnd = 34,
    TxAbort = 35,
    TxFetch = 36,
    TxConsumed = 37,
    TxRefuse = 38,
    TxAsked = 39,
}

/// What the two threads share.
#[derive(Default)]
pub(super) struct OrderQueue {
    given: Mutex<Given>,
    posted: Notify,
    /// Of the [`OrderKind::Connect`] orders that were not carried out, in order.
    targets: Mutex<VecDeque<Target>>,
    /// Of the [`OrderKind::Adopt`] orders that were not carried out, in order.
    connections: Mutex<VecDeque<TcpStream>>,
}

/// What was handed over and not taken. Under one lock: whoever sees the end has seen all orders before it.
#[derive(Default)]
struct Given {
    batches: Vec<Bytes>,
    /// No more orders come.
    over: bool,
}

/// What the I/O thread finds in the queue.
#[derive(Debug)]
enum Taken {
    Orders(Vec<Bytes>),
    Nothing,
    /// Nothing, for good.
    Over,
}

/// The JavaScript thread's end: collects orders.
pub(super) struct OrderWriter {
    queue: Arc<OrderQueue>,
    batch: RefCell<BytesMut>,
    /// The batches before, the oldest first. Their memory is there again once nothing of them waits.
    spare: RefCell<Vec<BytesMut>>,
    /// Written by JavaScript since something was last added to the batch.
    texts: TextOrders,
}

impl OrderWriter {
    pub(super) fn new(queue: Arc<OrderQueue>) -> Self {
        OrderWriter { queue, batch: RefCell::default(), spare: RefCell::default(), texts: TextOrders::new() }
    }

    /// Where JavaScript writes orders itself.
    pub(super) fn texts(&self) -> &TextOrders {
        &self.texts
    }

    /// Adds an order with a payload of a fixed length.
    #[inline]
    pub(super) fn put<const N: usize>(&self, slot: Slot, kind: OrderKind, payload: &[u8; N]) {
        const { assert!(N <= MAX_LENGTH) };
        let added = self.put_parts(slot, kind, &[payload]);
        debug_assert!(added.is_ok());
    }

    /// Adds an order whose payload comes in parts. Nothing is added when it fails.
    pub(super) fn put_parts(&self, slot: Slot, kind: OrderKind, parts: &[&[u8]]) -> Result<(), NotAdded> {
        let length = parts.iter().map(|part| part.len()).sum();
        let header = header(slot, kind, length)?;
        let mut batch = self.batch();
        self.make_room(&mut batch, HEADER + length);
        batch.put_slice(&header);
        for part in parts {
            batch.put_slice(part);
        }
        batch.put_bytes(0, padding(length));
        self.hand_over_early(batch);
        Ok(())
    }

    /// Adds an order whose payload `fill` writes into at least `room` bytes of spare memory.
    /// Nothing is added when it fails, or writes more than an order may have.
    ///
    /// # Safety
    ///
    /// `fill` returns how many bytes it has initialised, from the start of the memory it was given.
    #[inline]
    pub(super) unsafe fn put_with(
        &self,
        slot: Slot,
        kind: OrderKind,
        room: usize,
        fill: impl FnOnce(&mut [MaybeUninit<u8>]) -> Result<usize, NotAdded>,
    ) -> Result<(), NotAdded> {
        let mut batch = self.batch();
        self.make_room(&mut batch, HEADER + room);
        let start = batch.len();
        let payload = start + HEADER;
        let length = fill(&mut batch.spare_capacity_mut()[HEADER..])?;
        batch.put_slice(&header(slot, kind, length)?);
        // SAFETY: the header was written up to `payload`, and the caller vouches for `length`
        // initialised bytes within the capacity behind it.
        unsafe { batch.set_len(payload + length) };
        batch.put_bytes(0, padding(length));
        self.hand_over_early(batch);
        Ok(())
    }

    /// The batch, with everything given so far.
    #[inline]
    fn batch(&self) -> RefMut<'_, BytesMut> {
        let mut batch = self.batch.borrow_mut();
        let texts = self.texts.written();
        if texts > 0 {
            self.make_room(&mut batch, texts);
            self.texts.take(&mut batch);
        }
        batch
    }

    /// Room for `bytes` more, within the batch or by handing it over and beginning another.
    #[inline]
    fn make_room(&self, batch: &mut BytesMut, bytes: usize) {
        if batch.capacity() - batch.len() < bytes {
            self.begin_batch(batch, bytes);
        }
    }

    #[cold]
    fn begin_batch(&self, batch: &mut BytesMut, bytes: usize) {
        if !batch.is_empty() {
            self.queue.give(batch.split().freeze());
            self.queue.posted.notify_one();
        }
        let mut spare = self.spare.borrow_mut();
        spare.push(std::mem::take(batch));
        // What was used last is likelier to be in the processor's cache.
        let free = spare.iter_mut().rposition(|spare| spare.try_reclaim(bytes));
        *batch = match free.map(|free| spare.remove(free)) {
            Some(batch) if batch.capacity() <= 2 * BATCH => batch,
            _ => BytesMut::with_capacity(bytes.max(BATCH)),
        };
        if spare.len() > SPARE_BATCHES {
            spare.remove(0);
        }
    }

    #[inline]
    fn hand_over_early(&self, batch: RefMut<'_, BytesMut>) {
        let early = batch.len() >= EAGER;
        drop(batch);
        if early {
            self.flush();
        }
    }

    /// Hands over what was collected.
    pub(super) fn flush(&self) {
        self.flush_and(|| false);
    }

    /// Hands over what was collected, then does this; the I/O thread is woken if there was something, or if
    /// that says so.
    pub(super) fn flush_and(&self, then: impl FnOnce() -> bool) {
        let orders = self.batch().split().freeze();
        let any = !orders.is_empty();
        if any {
            self.queue.give(orders);
        }
        if then() || any {
            self.queue.posted.notify_one();
        }
    }
}

/// Bytes behind a payload of that length.
#[inline]
fn padding(length: usize) -> usize {
    length.next_multiple_of(4) - length
}

#[inline]
fn header(slot: Slot, kind: OrderKind, length: usize) -> Result<[u8; HEADER], NotAdded> {
    if length > MAX_LENGTH {
        return Err(NotAdded);
    }
    let mut header = [0; HEADER];
    header[..4].copy_from_slice(&slot.to_ne_bytes());
    header[4..].copy_from_slice(&((length as u32) << 8 | kind as u32).to_ne_bytes());
    Ok(header)
}

impl OrderQueue {
    /// Leaves the target of an [`OrderKind::Connect`] that is about to be given.
    pub(super) fn put_target(&self, target: Target) {
        lock(&self.targets).push_back(target);
    }

    pub(super) fn take_target(&self) -> Option<Target> {
        lock(&self.targets).pop_front()
    }

    /// Leaves the connection of an [`OrderKind::Adopt`] that is about to be given.
    pub(super) fn put_connection(&self, connection: TcpStream) {
        lock(&self.connections).push_back(connection);
    }

    /// No more orders come: what was handed over is still carried out.
    pub(super) fn end(&self) {
        lock(&self.given).over = true;
        self.posted.notify_one();
    }

    fn give(&self, orders: Bytes) {
        lock(&self.given).batches.push(orders);
    }

    fn take(&self) -> Taken {
        let mut given = lock(&self.given);
        match std::mem::take(&mut given.batches) {
            batches if !batches.is_empty() => Taken::Orders(batches),
            _ if given.over => Taken::Over,
            _ => Taken::Nothing,
        }
    }

    /// Carries out orders as they come, on the I/O thread.
    pub(super) async fn run(self: Arc<Self>, server: Rc<Server>) {
        loop {
            // Before the orders: they are at least those given until then.
            let answered = server.last_answered();
            match self.take() {
                Taken::Orders(batches) => batches.into_iter().for_each(|batch| self.carry_out(&server, batch)),
                Taken::Nothing => {
                    server.answered(answered);
                    self.posted.notified().await;
                    continue;
                }
                Taken::Over => return server.answered(answered),
            }
            server.answered(answered);
            if !lock(&self.given).batches.is_empty() {
                // The sessions first have their turn.
                tokio::task::yield_now().await;
            }
        }
    }

    fn carry_out(&self, server: &Rc<Server>, mut batch: Bytes) {
        loop {
            if let Some((slot, sends)) = Sends::take(&mut batch) {
                server.send(slot, sends);
                continue;
            }
            let Some(order) = OrderLayout::first(&batch) else { return };
            let payload = batch.slice(order.payload);
            batch.advance(order.end);
            carry_out_one(self, server, order.slot, order.kind, payload);
        }
    }
}

#[inline]
fn carry_out_one(queue: &OrderQueue, server: &Rc<Server>, slot: Slot, kind: u32, payload: Bytes) {
    const PING: u32 = OrderKind::Ping as u32;
    const CLOSE: u32 = OrderKind::Close as u32;
    const DESTROY: u32 = OrderKind::Destroy as u32;
    const RELEASE: u32 = OrderKind::Release as u32;
    const VALIDATED: u32 = OrderKind::Validated as u32;
    const SHUTDOWN: u32 = OrderKind::Shutdown as u32;
    const TRANSACTIONS: u32 = OrderKind::TxOpen as u32;
    const VERDICT: u32 = OrderKind::Verdict as u32;
    const STOP_ACCEPTING: u32 = OrderKind::StopAccepting as u32;
    const CONNECT: u32 = OrderKind::Connect as u32;
    const ABANDON: u32 = OrderKind::Abandon as u32;
    const ADOPT: u32 = OrderKind::Adopt as u32;
    match kind {
        PING => server.command(slot, Command::Ping),
        CLOSE => server.command(slot, Command::Close(lossy(&payload))),
        DESTROY => {
            let (code, reason) = payload.split_at_checked(2).unwrap_or_default();
            let code = code.try_into().map_or(4000, u16::from_ne_bytes);
            server.command(slot, Command::Destroy { code, reason: lossy(reason) });
        }
        RELEASE => server.release(slot),
        VALIDATED => server.validated(slot, validation(&payload)),
        SHUTDOWN => server.close(),
        VERDICT => server.verdict(slot),
        STOP_ACCEPTING => server.stop_accepting(),
        CONNECT => peer::connect(queue, server, slot),
        ABANDON => server.abandon(slot),
        ADOPT => {
            let connection = lock(&queue.connections).pop_front();
            connection.into_iter().for_each(|connection| server.adopt(connection));
        }
        kind if kind >= TRANSACTIONS => transaction::carry_out(server, slot, kind, payload),
        _ => http::carry_out(server, slot, kind, payload),
    }
}

/// How JavaScript names a [`Validation`].
#[repr(u8)]
enum Verdict {
    Refused = 0,
    Accepted = 1,
    Failed = 2,
}

fn validation(payload: &[u8]) -> Validation {
    const REFUSED: u8 = Verdict::Refused as u8;
    const ACCEPTED: u8 = Verdict::Accepted as u8;
    const FAILED: u8 = Verdict::Failed as u8;
    match payload.first().copied().unwrap_or(REFUSED) {
        ACCEPTED => Validation::Accepted,
        FAILED => Validation::Failed,
        _ => Validation::Refused,
    }
}

fn lossy(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[cfg(test)]
mod tests;
