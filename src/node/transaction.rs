//! Transactions at the boundary: their orders, their records, and the functions that add orders.

use std::io;
use std::path::PathBuf;
use std::ptr;

use bytes::{Buf, Bytes};
use napi::sys;

use super::log::LogWriter;
use super::orders::OrderKind;
use super::raw::{arguments, buffer_of, done, fail, number_of};
use super::record::{self, Kind};
use crate::net::{Server, Slot, Source, TxOrder};
use crate::protocol::{Behaviour, Text};
use crate::session::{Command, TxCommand, TxEvent, TxKey, TxOutcome};

/// How JavaScript learns that a source failed: beside the outcomes of the session.
const SOURCE_FAILED: u32 = TxOutcome::SourceFailed as u32;

/// How JavaScript names a [`Source`].
#[repr(u8)]
enum SourceKind {
    Fed = 0,
    File = 1,
    Memory = 2,
    Spool = 3,
}

/// The functions of transactions, by name. Each adds one order.
pub(super) const FUNCTIONS: [(&str, sys::napi_callback); 8] = [
    ("txOpen", Some(tx_open)),
    ("txData", Some(tx_data)),
    ("txEnd", Some(tx_end)),
    ("txAbort", Some(tx_abort)),
    ("txFetch", Some(tx_fetch)),
    ("txConsumed", Some(tx_consumed)),
    ("txRefuse", Some(tx_refuse)),
    ("txAsked", Some(tx_asked)),
];

/// Carries out the order of a kind that starts with `Tx`.
pub(super) fn carry_out(server: &Server, slot: Slot, kind: u32, mut payload: Bytes) {
    const OPEN: u32 = OrderKind::TxOpen as u32;
    if kind == OPEN {
        if let Some(order) = open_order(payload) {
            server.open_transaction(slot, order);
        }
        return;
    }
    // Every other order begins with a key.
    let Ok(number) = payload.try_get_u32_ne() else { return };
    const DATA: u32 = OrderKind::TxData as u32;
    const END: u32 = OrderKind::TxEnd as u32;
    const ABORT: u32 = OrderKind::TxAbort as u32;
    const FETCH: u32 = OrderKind::TxFetch as u32;
    const CONSUMED: u32 = OrderKind::TxConsumed as u32;
    const ASKED: u32 = OrderKind::TxAsked as u32;
    let command = match kind {
        DATA => TxCommand::Data { key: number, data: payload },
        END => TxCommand::End { key: number },
        ABORT => TxCommand::Abort { key: number },
        FETCH => {
            let (start, end) = (payload.try_get_u64_ne(), payload.try_get_u64_ne());
            TxCommand::Fetch { key: number, start: start.unwrap_or(0), end: end.unwrap_or(0) }
        }
        ASKED => return server.asked(slot, number),
        CONSUMED => TxCommand::Consumed { key: number, bytes: payload.try_get_u64_ne().unwrap_or(0) },
        _ => TxCommand::Refuse { key: number },
    };
    server.command(slot, Command::Transaction(command));
}

/// `[key u32][behaviour u8][source u8][0 u16][size i64][start u64][end u64][name length u32]`, name, path.
fn open_order(mut payload: Bytes) -> Option<TxOrder> {
    let key = payload.try_get_u32_ne().ok()?;
    let behaviour = Behaviour::from_u8(payload.try_get_u8().ok()?)?;
    let source = payload.try_get_u8().ok()?;
    payload.try_get_u16_ne().ok()?;
    let size = payload.try_get_i64_ne().ok()?;
    let start = payload.try_get_u64_ne().ok()?;
    let end = payload.try_get_u64_ne().ok()?;
    let name_length = payload.try_get_u32_ne().ok()? as usize;
    if name_length > payload.len() {
        return None;
    }
    let name = Text::new(payload.split_to(name_length)).ok()?.detached();
    const FED: u8 = SourceKind::Fed as u8;
    const FILE: u8 = SourceKind::File as u8;
    const MEMORY: u8 = SourceKind::Memory as u8;
    const SPOOL: u8 = SourceKind::Spool as u8;
    let source = match source {
        FED => Source::Fed { size: u64::try_from(size).ok() },
        FILE => Source::File { path: path_of(&payload), start, end },
        MEMORY => Source::Memory,
        SPOOL => Source::Spool,
        _ => return None,
    };
    Some(TxOrder { key, name, behaviour, source })
}

#[cfg(unix)]
fn path_of(bytes: &[u8]) -> PathBuf {
    use std::os::unix::ffi::OsStrExt;
    std::ffi::OsStr::from_bytes(bytes).into()
}

#[cfg(not(unix))]
fn path_of(bytes: &[u8]) -> PathBuf {
    String::from_utf8_lossy(bytes).into_owned().into()
}

/// Writes what happened to a transaction into the log.
pub(super) fn log_event(log: &LogWriter, slot: Slot, event: TxEvent) {
    match event {
        TxEvent::Started { key, tx_id, behaviour, size, name } => log.put(slot, Kind::TxStarted, |out| {
            record::put_words(out, &[key, tx_id]);
            let size = size.map_or(-1, |size| i64::try_from(size).unwrap_or(i64::MAX));
            out.extend_from_slice(&size.to_ne_bytes());
            record::put_words(out, &[behaviour as u32]);
            out.extend_from_slice(name.as_bytes());
        }),
        TxEvent::Chunk { key, data } => log.put_beside(slot, Kind::TxChunk, &[key, record::word_of(data.len())], data),
        TxEvent::Ended { key, outcome, expected, received } => log.put(slot, Kind::TxEnded, |out| {
            record::put_words(out, &[key, outcome as u32]);
            record::put_floats(out, &[expected.map_or(-1.0, |size| size as f64), received as f64]);
        }),
        TxEvent::Credit { key, bytes } => log.put(slot, Kind::TxCredit, |out| {
            record::put_words(out, &[key, u32::try_from(bytes).unwrap_or(u32::MAX)]);
        }),
        TxEvent::Fetched { tx_id, start, end } => log.put(slot, Kind::TxFetched, |out| {
            record::put_words(out, &[tx_id, 0]);
            record::put_floats(out, &[start as f64, end as f64]);
        }),
        TxEvent::Settled { key, outcome } => log.put(slot, Kind::TxSettled, |out| {
            record::put_words(out, &[key, outcome as u32]);
            if outcome == TxOutcome::SourceFailed {
                out.extend_from_slice(b"ERR_CAMP_SIZE_MISMATCH\0The source gave more or fewer bytes than it said.");
            }
        }),
        // The network layer answers it.
        TxEvent::Read { .. } => {}
    }
}

/// A source failed that the core reads.
pub(super) fn log_source_failure(log: &LogWriter, slot: Slot, key: TxKey, error: &io::Error) {
    log.put(slot, Kind::TxSettled, |out| {
        record::put_words(out, &[key, SOURCE_FAILED]);
        record::put_system_error(out, error);
    });
}

unsafe extern "C" fn tx_open(env: sys::napi_env, info: sys::napi_callback_info) -> sys::napi_value {
    // SAFETY: called by Node-API with the data bound by `raw::functions`.
    let Some(([slot, view], ends)) = (unsafe { arguments(env, info) }) else { return fail(env) };
    let (Some(slot), Some((data, length))) = (number_of(env, slot), buffer_of(env, view)) else { return fail(env) };
    if length == 0 {
        return fail(env);
    }
    // SAFETY: Node-API names memory that lives as long as `view`, and no JavaScript runs meanwhile.
    let payload = unsafe { std::slice::from_raw_parts(data, length) };
    done(env, ends.orders.put_parts(slot, OrderKind::TxOpen, &[payload]))
}

unsafe extern "C" fn tx_data(env: sys::napi_env, info: sys::napi_callback_info) -> sys::napi_value {
    // SAFETY: called by Node-API with the data bound by `raw::functions`.
    let Some(([slot, key, view], ends)) = (unsafe { arguments(env, info) }) else { return fail(env) };
    let (Some(slot), Some(key)) = (number_of(env, slot), number_of(env, key)) else { return fail(env) };
    let Some((data, length)) = buffer_of(env, view) else { return fail(env) };
    // SAFETY: as for `tx_open`; an empty view may have no memory.
    let bytes = if length == 0 { &[] } else { unsafe { std::slice::from_raw_parts(data, length) } };
    done(env, ends.orders.put_parts(slot, OrderKind::TxData, &[&key.to_ne_bytes(), bytes]))
}

unsafe extern "C" fn tx_end(env: sys::napi_env, info: sys::napi_callback_info) -> sys::napi_value {
    // SAFETY: called by Node-API with the data bound by `raw::functions`.
    unsafe { put_number(env, info, OrderKind::TxEnd) }
}

unsafe extern "C" fn tx_abort(env: sys::napi_env, info: sys::napi_callback_info) -> sys::napi_value {
    // SAFETY: as above.
    unsafe { put_number(env, info, OrderKind::TxAbort) }
}

unsafe extern "C" fn tx_refuse(env: sys::napi_env, info: sys::napi_callback_info) -> sys::napi_value {
    // SAFETY: as above.
    unsafe { put_number(env, info, OrderKind::TxRefuse) }
}

unsafe extern "C" fn tx_asked(env: sys::napi_env, info: sys::napi_callback_info) -> sys::napi_value {
    // SAFETY: as above.
    unsafe { put_number(env, info, OrderKind::TxAsked) }
}

/// # Safety
///
/// For callbacks of functions made by `raw::functions` only.
unsafe fn put_number(env: sys::napi_env, info: sys::napi_callback_info, kind: OrderKind) -> sys::napi_value {
    // SAFETY: the caller is such a callback.
    let Some(([slot, number], ends)) = (unsafe { arguments(env, info) }) else { return fail(env) };
    let (Some(slot), Some(number)) = (number_of(env, slot), number_of(env, number)) else { return fail(env) };
    ends.orders.put(slot, kind, &number.to_ne_bytes());
    ptr::null_mut()
}

unsafe extern "C" fn tx_fetch(env: sys::napi_env, info: sys::napi_callback_info) -> sys::napi_value {
    // SAFETY: called by Node-API with the data bound by `raw::functions`.
    let Some(([slot, key, start, end], ends)) = (unsafe { arguments(env, info) }) else { return fail(env) };
    let (Some(slot), Some(key)) = (number_of(env, slot), number_of(env, key)) else { return fail(env) };
    let (Some(start), Some(end)) = (long_of(env, start), long_of(env, end)) else { return fail(env) };
    let parts: [&[u8]; 3] = [&key.to_ne_bytes(), &start.to_ne_bytes(), &end.to_ne_bytes()];
    done(env, ends.orders.put_parts(slot, OrderKind::TxFetch, &parts))
}

unsafe extern "C" fn tx_consumed(env: sys::napi_env, info: sys::napi_callback_info) -> sys::napi_value {
    // SAFETY: called by Node-API with the data bound by `raw::functions`.
    let Some(([slot, key, bytes], ends)) = (unsafe { arguments(env, info) }) else { return fail(env) };
    let (Some(slot), Some(key)) = (number_of(env, slot), number_of(env, key)) else { return fail(env) };
    let mut count = 0;
    // SAFETY: Node-API checks that `bytes` is a number.
    if unsafe { sys::napi_get_value_int64(env, bytes, &mut count) } != sys::Status::napi_ok {
        return fail(env);
    }
    let count = u64::try_from(count).unwrap_or(0);
    done(env, ends.orders.put_parts(slot, OrderKind::TxConsumed, &[&key.to_ne_bytes(), &count.to_ne_bytes()]))
}

/// A BigInt that is a uint64.
fn long_of(env: sys::napi_env, value: sys::napi_value) -> Option<u64> {
    let (mut long, mut lossless) = (0, false);
    // SAFETY: Node-API checks that `value` is a BigInt.
    let status = unsafe { sys::napi_get_value_bigint_uint64(env, value, &mut long, &mut lossless) };
    (status == sys::Status::napi_ok && lossless).then_some(long)
}
