//! The calls made once per message, as bare Node-API functions: no conversion layer, and text goes
//! straight from the engine into the batch of orders.

use std::ffi::c_void;
use std::mem::MaybeUninit;
use std::ptr;
use std::rc::Rc;

use bytes::{Bytes, BytesMut};
use napi::bindgen_prelude::Object;
use napi::{Env, JsValue, Result, check_status, sys};

use super::log::LogReader;
use super::orders::{NotAdded, OrderKind, OrderWriter};
use super::record;
use super::transaction;

/// Room in which a text is tried before its length is asked for.
const TEXT_ROOM: usize = 1024;

/// What the functions work on. They share it; the last one collected lets it go.
pub(super) struct Ends {
    pub(super) orders: OrderWriter,
    pub(super) log: LogReader,
}

impl Ends {
    /// Hands over the orders. What was read so far has been handed out.
    fn flush(&self) {
        self.orders.flush_and(|| self.log.answer());
    }
}

/// An object with the functions bound to `ends`.
///
/// - `sendUtf8(slot, text)`, `sendError(slot, text)`, `sendBinary(slot, view)`: add an order
/// - `read(buffer, stays)`: fills the buffer with records, returns how many bytes; without any, and unless the
///   caller stays awake, the next ones wake it
/// - `readText()`, `readBytes(buffer)`, `readBuffer()`: the payload of the next `LARGE` record
/// - `verdict(slot)`: the hooks of the session's oldest held message have run
/// - `flush()`: hands the orders over
/// - `textOrders`: see [`TextOrders`](super::text_orders::TextOrders)
pub(super) fn functions<'env>(env: &'env Env, ends: &Rc<Ends>) -> Result<Object<'env>> {
    let object = Object::new(env)?;
    let functions: [(&str, sys::napi_callback); 9] = [
        ("sendUtf8", Some(send_utf8)),
        ("sendError", Some(send_error)),
        ("sendBinary", Some(send_binary)),
        ("read", Some(read)),
        ("readText", Some(read_text)),
        ("readBytes", Some(read_bytes)),
        ("readBuffer", Some(read_buffer)),
        ("verdict", Some(verdict)),
        ("flush", Some(flush)),
    ];
    for (name, callback) in functions.into_iter().chain(transaction::FUNCTIONS) {
        add_function(env, &object, name, callback, ends.clone())?;
    }
    ends.orders.texts().share(env, &object)?;
    Ok(object)
}

fn add_function(env: &Env, object: &Object, name: &str, callback: sys::napi_callback, ends: Rc<Ends>) -> Result<()> {
    let data = Rc::into_raw(ends).cast_mut().cast::<c_void>();
    let mut function = ptr::null_mut();
    // SAFETY: the name is valid for its length; `data` stays valid until the finalizer below,
    // which runs only once the function can no longer be called.
    let created = unsafe {
        sys::napi_create_function(env.raw(), name.as_ptr().cast(), name.len() as isize, callback, data, &mut function)
    };
    let created = check_status!(created).and_then(|()| {
        // SAFETY: `function` is a value of this scope; the finalizer gets `data`.
        let added = unsafe {
            sys::napi_add_finalizer(env.raw(), function, data, Some(release_ends), ptr::null_mut(), ptr::null_mut())
        };
        check_status!(added)
    });
    if created.is_err() {
        // SAFETY: nobody else has taken over the reference made above.
        drop(unsafe { Rc::from_raw(data.cast_const().cast::<Ends>()) });
        return created;
    }
    set_property(env, object.raw(), name, function)
}

/// Sets `object[name]`; both values are of the current scope.
pub(super) fn set_property(env: &Env, object: sys::napi_value, name: &str, value: sys::napi_value) -> Result<()> {
    let mut key = ptr::null_mut();
    // SAFETY: all values belong to this scope and environment.
    unsafe {
        check_status!(sys::napi_create_string_utf8(env.raw(), name.as_ptr().cast(), name.len() as isize, &mut key))?;
        check_status!(sys::napi_set_property(env.raw(), object, key, value))
    }
}

unsafe extern "C" fn release_ends(_: sys::napi_env, data: *mut c_void, _: *mut c_void) {
    // SAFETY: `data` is the reference that `add_function` gave to this finalizer, called once.
    drop(unsafe { Rc::from_raw(data.cast_const().cast::<Ends>()) });
}

unsafe extern "C" fn send_utf8(env: sys::napi_env, info: sys::napi_callback_info) -> sys::napi_value {
    // SAFETY: called by Node-API with the data of `add_function`.
    unsafe { send_text(env, info, OrderKind::Utf8) }
}

unsafe extern "C" fn send_error(env: sys::napi_env, info: sys::napi_callback_info) -> sys::napi_value {
    // SAFETY: as above.
    unsafe { send_text(env, info, OrderKind::Error) }
}

/// # Safety
///
/// For callbacks of functions made by `add_function` only.
#[inline]
unsafe fn send_text(env: sys::napi_env, info: sys::napi_callback_info, kind: OrderKind) -> sys::napi_value {
    // SAFETY: the caller is such a callback.
    let Some(([slot, text], ends)) = (unsafe { arguments(env, info) }) else { return fail(env) };
    let Some(slot) = number_of(env, slot) else { return fail(env) };
    // SAFETY: the closure returns what Node-API says it has written.
    let sent = unsafe { ends.orders.put_with(slot, kind, TEXT_ROOM, |room| text_into(env, text, room)) };
    if sent.is_ok() {
        return ptr::null_mut();
    }
    let mut length = 0;
    // SAFETY: without a buffer Node-API only tells the length.
    let status = unsafe { sys::napi_get_value_string_utf8(env, text, ptr::null_mut(), 0, &mut length) };
    if status != sys::Status::napi_ok {
        return fail(env);
    }
    // One byte for the terminator, and enough beyond for `text_into` to see that all fitted.
    // SAFETY: as above.
    let sent = unsafe { ends.orders.put_with(slot, kind, length + 8, |room| text_into(env, text, room)) };
    done(env, sent)
}

/// Writes a string as UTF-8. Fails when it is none, or may not have fitted.
#[inline]
fn text_into(
    env: sys::napi_env,
    text: sys::napi_value,
    room: &mut [MaybeUninit<u8>],
) -> std::result::Result<usize, NotAdded> {
    let mut written = 0;
    // SAFETY: Node-API writes at most `room.len()` bytes, its terminator included.
    let status =
        unsafe { sys::napi_get_value_string_utf8(env, text, room.as_mut_ptr().cast(), room.len(), &mut written) };
    // A character has at most four bytes: with as many to spare, none was left out.
    if status == sys::Status::napi_ok && written + 4 < room.len() { Ok(written) } else { Err(NotAdded) }
}

unsafe extern "C" fn send_binary(env: sys::napi_env, info: sys::napi_callback_info) -> sys::napi_value {
    // SAFETY: called by Node-API with the data of `add_function`.
    let Some(([slot, view], ends)) = (unsafe { arguments(env, info) }) else { return fail(env) };
    let (Some(slot), Some((data, length))) = (number_of(env, slot), buffer_of(env, view)) else { return fail(env) };
    let payload = if length == 0 {
        &[]
    } else {
        // SAFETY: Node-API names memory that lives as long as `view`, and no JavaScript runs meanwhile.
        unsafe { std::slice::from_raw_parts(data, length) }
    };
    done(env, ends.orders.put_parts(slot, OrderKind::Binary, &[payload]))
}

unsafe extern "C" fn read(env: sys::napi_env, info: sys::napi_callback_info) -> sys::napi_value {
    // SAFETY: called by Node-API with the data of `add_function`.
    let Some(([buffer, stays], ends)) = (unsafe { arguments(env, info) }) else { return fail(env) };
    let Some((data, length)) = buffer_of(env, buffer) else { return fail(env) };
    let mut awake = false;
    // SAFETY: Node-API checks that `stays` is a boolean.
    if unsafe { sys::napi_get_value_bool(env, stays, &mut awake) } != sys::Status::napi_ok {
        return fail(env);
    }
    // SAFETY: as for `send_binary`; the buffer's memory was initialised by the engine.
    let out = unsafe { std::slice::from_raw_parts_mut(data, length) };
    if ends.log.is_handed_out() {
        ends.flush();
    }
    let read = ends.log.read(out, awake);
    if awake && read == 0 {
        // Whoever shares this core goes first.
        std::thread::yield_now();
    }
    let mut value = ptr::null_mut();
    // SAFETY: `value` receives a number of this scope.
    unsafe { sys::napi_create_uint32(env, record::word_of(read), &mut value) };
    value
}

unsafe extern "C" fn read_text(env: sys::napi_env, info: sys::napi_callback_info) -> sys::napi_value {
    // SAFETY: called by Node-API with the data of `add_function`.
    let Some(([], ends)) = (unsafe { arguments(env, info) }) else { return fail(env) };
    let bytes = ends.log.next_large().unwrap_or_else(Bytes::new);
    let mut value = ptr::null_mut();
    let status = if bytes.is_ascii() {
        let (data, length) = (bytes.as_ptr().cast(), bytes.len() as isize);
        // SAFETY: data and length are those of `bytes`.
        unsafe { sys::napi_create_string_latin1(env, data, length, &mut value) }
    } else {
        let units = record::utf16(&bytes);
        // SAFETY: data and length are those of `units`.
        unsafe { sys::napi_create_string_utf16(env, units.as_ptr(), units.len() as isize, &mut value) }
    };
    if status == sys::Status::napi_ok { value } else { fail(env) }
}

unsafe extern "C" fn read_bytes(env: sys::napi_env, info: sys::napi_callback_info) -> sys::napi_value {
    // SAFETY: called by Node-API with the data of `add_function`.
    let Some(([buffer], ends)) = (unsafe { arguments(env, info) }) else { return fail(env) };
    let Some((data, length)) = buffer_of(env, buffer) else { return fail(env) };
    let bytes = ends.log.next_large().unwrap_or_else(Bytes::new);
    if length > 0 {
        // SAFETY: as for `read`.
        let out = unsafe { std::slice::from_raw_parts_mut(data, length) };
        let length = out.len().min(bytes.len());
        out[..length].copy_from_slice(&bytes[..length]);
    }
    ptr::null_mut()
}

/// A Buffer on the payload's own memory, where it has some of its own.
unsafe extern "C" fn read_buffer(env: sys::napi_env, info: sys::napi_callback_info) -> sys::napi_value {
    // SAFETY: called by Node-API with the data of `add_function`.
    let Some(([], ends)) = (unsafe { arguments(env, info) }) else { return fail(env) };
    let bytes = ends.log.next_large().unwrap_or_else(Bytes::new);
    let mut value = ptr::null_mut();
    let bytes = match bytes.try_into_mut() {
        Ok(owned) => {
            let mut owned = Box::new(owned);
            let (data, length) = (owned.as_mut_ptr().cast(), owned.len());
            let owned = Box::into_raw(owned);
            // SAFETY: `data` is the memory of `owned`, which nobody else has and `release_bytes` frees.
            let status = unsafe {
                sys::napi_create_external_buffer(env, length, data, Some(release_bytes), owned.cast(), &mut value)
            };
            if status == sys::Status::napi_ok {
                return value;
            }
            // SAFETY: the engine takes no foreign memory, so `owned` is still ours.
            unsafe { Box::from_raw(owned) }.freeze()
        }
        Err(shared) => shared,
    };
    // SAFETY: data and length are those of `bytes`.
    let status =
        unsafe { sys::napi_create_buffer_copy(env, bytes.len(), bytes.as_ptr().cast(), ptr::null_mut(), &mut value) };
    if status == sys::Status::napi_ok { value } else { fail(env) }
}

unsafe extern "C" fn release_bytes(_: sys::napi_env, _: *mut c_void, owned: *mut c_void) {
    // SAFETY: `owned` is the box that `read_buffer` gave to this finalizer, called once.
    drop(unsafe { Box::from_raw(owned.cast::<BytesMut>()) });
}

unsafe extern "C" fn verdict(env: sys::napi_env, info: sys::napi_callback_info) -> sys::napi_value {
    // SAFETY: called by Node-API with the data of `add_function`.
    let Some(([slot], ends)) = (unsafe { arguments(env, info) }) else { return fail(env) };
    let Some(slot) = number_of(env, slot) else { return fail(env) };
    ends.orders.put(slot, OrderKind::Verdict, &[]);
    ptr::null_mut()
}

unsafe extern "C" fn flush(env: sys::napi_env, info: sys::napi_callback_info) -> sys::napi_value {
    // SAFETY: called by Node-API with the data of `add_function`.
    if let Some(([], ends)) = unsafe { arguments(env, info) } {
        ends.flush();
    }
    ptr::null_mut()
}

/// The first `N` arguments of a call, and what its function is bound to.
///
/// # Safety
///
/// For callbacks of functions made by `add_function` only.
#[inline]
pub(super) unsafe fn arguments<'a, const N: usize>(
    env: sys::napi_env,
    info: sys::napi_callback_info,
) -> Option<([sys::napi_value; N], &'a Ends)> {
    let mut values = [ptr::null_mut(); N];
    let mut count = N;
    let mut data = ptr::null_mut();
    // SAFETY: there is room for `count` values.
    let status =
        unsafe { sys::napi_get_cb_info(env, info, &mut count, values.as_mut_ptr(), ptr::null_mut(), &mut data) };
    if status != sys::Status::napi_ok || data.is_null() {
        return None;
    }
    // SAFETY: `data` is what `add_function` bound, alive while its function is called.
    Some((values, unsafe { &*data.cast_const().cast::<Ends>() }))
}

#[inline]
pub(super) fn number_of(env: sys::napi_env, value: sys::napi_value) -> Option<u32> {
    let mut number = 0;
    // SAFETY: Node-API checks that `value` is a number.
    let status = unsafe { sys::napi_get_value_uint32(env, value, &mut number) };
    (status == sys::Status::napi_ok).then_some(number)
}

/// Address and length of a Buffer or Uint8Array.
#[inline]
pub(super) fn buffer_of(env: sys::napi_env, value: sys::napi_value) -> Option<(*mut u8, usize)> {
    let mut data = ptr::null_mut();
    let mut length = 0;
    // SAFETY: Node-API checks that `value` is a view.
    let status = unsafe { sys::napi_get_buffer_info(env, value, &mut data, &mut length) };
    (status == sys::Status::napi_ok).then_some((data.cast(), length))
}

/// What a function gives back that has added an order, or has not.
#[inline]
pub(super) fn done(env: sys::napi_env, added: std::result::Result<(), NotAdded>) -> sys::napi_value {
    if added.is_ok() { ptr::null_mut() } else { fail(env) }
}

/// Only a fault of `js/` leads here: it checks every argument.
#[cold]
pub(super) fn fail(env: sys::napi_env) -> sys::napi_value {
    // SAFETY: both strings end with a terminator.
    unsafe {
        sys::napi_throw_type_error(env, c"ERR_CAMP_INTERNAL".as_ptr(), c"camp-server: bad arguments".as_ptr());
    }
    ptr::null_mut()
}
