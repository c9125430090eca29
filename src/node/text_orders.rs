//! Memory in which JavaScript itself writes the orders to send texts and short binary messages: the engine's own
//! encoder is faster than that of Node-API, and for a short message a call costs more than the message.
//!
//! `[bytes of orders u32][unused u32]`, then orders as [`orders`](super::orders) has them.

use std::cell::Cell;
use std::ffi::c_void;
use std::ptr;
use std::rc::Rc;

use bytes::{BufMut, BytesMut};
use napi::bindgen_prelude::Object;
use napi::{Env, JsValue, Result, check_status, sys};

use super::raw::set_property;

/// Words of the memory.
const WORDS: usize = 64 << 10;

/// Words before the orders.
const HEAD: usize = 2;

/// The memory, shared with an ArrayBuffer of the same thread.
#[derive(Clone)]
pub(super) struct TextOrders(Rc<[Cell<u32>]>);

impl TextOrders {
    pub(super) fn new() -> Self {
        TextOrders(vec![Cell::new(0); WORDS].into())
    }

    /// Bytes that JavaScript has written.
    #[inline]
    pub(super) fn written(&self) -> usize {
        self.0[0].get() as usize
    }

    /// Moves what JavaScript has written into `batch`.
    #[inline]
    pub(super) fn take(&self, batch: &mut BytesMut) {
        let bytes = self.0[0].replace(0) as usize;
        let words = &self.0[HEAD..];
        let words = &words[..words.len().min(bytes / 4)];
        // SAFETY: the words are initialised, belong to this thread, and nobody writes them while they are borrowed.
        let orders = unsafe { std::slice::from_raw_parts(words.as_ptr().cast::<u8>(), size_of_val(words)) };
        batch.put_slice(orders);
    }

    /// Sets `object.textOrders` to the memory, where the engine takes foreign memory.
    pub(super) fn share(&self, env: &Env, object: &Object) -> Result<()> {
        let shared = Box::new(self.clone());
        let data = shared.0.as_ptr().cast_mut().cast::<c_void>();
        let hint = Box::into_raw(shared);
        let mut value = ptr::null_mut();
        // SAFETY: the memory lives until `release`, which the engine calls once it has let go of it.
        let status = unsafe {
            sys::napi_create_external_arraybuffer(env.raw(), data, WORDS * 4, Some(release), hint.cast(), &mut value)
        };
        if status != sys::Status::napi_ok {
            // SAFETY: the engine has not taken it over.
            drop(unsafe { Box::from_raw(hint) });
            return if status == sys::Status::napi_no_external_buffers_allowed {
                Ok(())
            } else {
                check_status!(status)
            };
        }
        set_property(env, object.raw(), "textOrders", value)
    }
}

unsafe extern "C" fn release(_: sys::napi_env, _: *mut c_void, hint: *mut c_void) {
    // SAFETY: `hint` is the box that `share` gave to this finalizer, called once.
    drop(unsafe { Box::from_raw(hint.cast::<TextOrders>()) });
}
