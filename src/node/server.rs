//! The native classes: the I/O thread of an environment, and its servers.

use std::rc::Rc;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use napi::bindgen_prelude::{Function, Object};
use napi::{Env, Error, Result, Status};
use napi_derive::napi;

use super::application::{JsApplication, LiveCounters};
use super::error::tls_error;
use super::http::LiveInterest;
use super::log::{Log, LogReader};
use super::memory;
use super::options::{NativeOptions, NativeTls};
use super::orders::{OrderKind, OrderQueue, OrderWriter};
use super::raw::{self, Ends};
use crate::net::{IoText, Runtime, Server, SharedHooks, TlsConfig};

/// The I/O thread of one JavaScript environment: the main thread, or a worker.
#[napi]
pub struct NativeCore {
    runtime: Arc<Mutex<Option<Runtime>>>,
}

#[napi]
impl NativeCore {
    /// Starts the thread. It ends with the environment.
    #[napi(constructor)]
    pub fn new(env: Env) -> Result<Self> {
        let runtime = Runtime::start(memory::housekeeping()).map_err(|error| {
            Error::new(Status::GenericFailure, format!("the I/O thread cannot start: {}", IoText(&error)))
        })?;
        let runtime = Arc::new(Mutex::new(Some(runtime)));
        env.add_env_cleanup_hook(runtime.clone(), |runtime| drop(lock(&runtime).take()))?;
        Ok(NativeCore { runtime })
    }
}

/// A server on that thread.
#[napi]
pub struct NativeServer {
    ends: Rc<Ends>,
    log: Arc<Log>,
    pub(super) orders: Arc<OrderQueue>,
    counters: LiveCounters,
    hooks: Arc<SharedHooks>,
    tls: Option<TlsConfig>,
    pub(super) interest: LiveInterest,
}

#[napi]
impl NativeServer {
    /// Begins to listen. `wake` is called when there is something to read; until the server is
    /// disposed of, that keeps the process alive.
    #[napi(constructor)]
    pub fn new(core: &NativeCore, options: NativeOptions, wake: Function<(), ()>) -> Result<Self, &'static str> {
        let hooks = Arc::<SharedHooks>::default();
        let config = options.into_config(hooks.clone()).map_err(tls_error)?;
        let tls = config.tls.clone();
        let wake = wake.build_threadsafe_function::<()>().build();
        let log = Log::new(wake.map_err(|error| Error::new("GenericFailure", error.reason))?);
        let orders = Arc::new(OrderQueue::default());
        let counters = LiveCounters::default();
        let interest = LiveInterest::default();
        if let Some(runtime) = lock(&core.runtime).as_ref() {
            let app = JsApplication::new(log.clone(), counters.clone(), interest.clone());
            let orders = orders.clone();
            runtime.run(move || {
                let server = Server::start(config, app);
                tokio::task::spawn_local(orders.run(server));
            });
        }
        let ends = Rc::new(Ends { orders: OrderWriter::new(orders.clone()), log: LogReader::new(log.clone()) });
        Ok(NativeServer { ends, log, orders, counters, hooks, tls, interest })
    }

    /// The functions that are called once per message; see `raw`.
    #[napi(ts_return_type = "object")]
    pub fn functions<'env>(&self, env: &'env Env) -> Result<Object<'env>> {
        raw::functions(env, &self.ends)
    }

    /// Sends a `ping` to a session.
    #[napi]
    pub fn ping(&self, slot: u32) {
        self.ends.orders.put(slot, OrderKind::Ping, &[]);
    }

    /// Closes a session with BYE and this reason.
    #[napi]
    pub fn close(&self, slot: u32, reason: String) -> Result<()> {
        Ok(self.ends.orders.put_parts(slot, OrderKind::Close, &[reason.as_bytes()])?)
    }

    /// Closes a session with this code, without BYE.
    #[napi]
    pub fn destroy(&self, slot: u32, code: u16, reason: String) -> Result<()> {
        Ok(self.ends.orders.put_parts(slot, OrderKind::Destroy, &[&code.to_ne_bytes(), reason.as_bytes()])?)
    }

    /// Gives a session's slot back, after its end was read.
    #[napi]
    pub fn release(&self, slot: u32) {
        self.counters.remove(slot);
        self.ends.orders.put(slot, OrderKind::Release, &[]);
    }

    /// Answers an upgrade: 0 refuses it, 1 lets the client in, 2 refuses it because the validator has failed.
    #[napi]
    pub fn validated(&self, upgrade: u32, validation: u8) {
        self.ends.orders.put(upgrade, OrderKind::Validated, &[validation]);
    }

    /// From now on messages of these kinds are held for their hooks: a bit for each kind, and from
    /// the fourth on the number of the set.
    #[napi]
    pub fn set_hooks(&self, bits: u32) {
        self.hooks.set(bits);
    }

    /// Accepts no more connections; sessions live on.
    #[napi]
    pub fn stop_accepting(&self) {
        self.ends.orders.put(0, OrderKind::StopAccepting, &[]);
    }

    /// Stops accepting and closes every session.
    #[napi]
    pub fn shutdown(&self) {
        self.ends.orders.put(0, OrderKind::Shutdown, &[]);
    }

    /// Bytes of CAMP frames received and sent by a session that was not released.
    #[napi(ts_return_type = "[number, number]")]
    pub fn counters(&self, slot: u32) -> Vec<f64> {
        let (rx, tx) = self.counters.bytes(slot);
        vec![rx as f64, tx as f64]
    }

    /// All figures of a session that was not released, in the order of `Figures`.
    #[napi]
    pub fn figures(&self, slot: u32) -> Vec<f64> {
        self.counters.figures(slot).to_array().to_vec()
    }

    /// Sessions opened, requests refused, and the sums of all sessions' figures.
    #[napi]
    pub fn totals(&self) -> Vec<f64> {
        let (opened, refused, sums) = self.counters.totals();
        [[opened as f64, refused as f64].as_slice(), &sums.to_array()].concat()
    }

    /// Handshakes from now on use these keys and certificates. False: the server has no TLS.
    #[napi]
    pub fn set_tls(&self, options: NativeTls) -> Result<bool, &'static str> {
        let Some(tls) = &self.tls else { return Ok(false) };
        tls.replace(&options.into_config().map_err(tls_error)?);
        Ok(true)
    }

    /// Whether this server keeps the process alive, until it is disposed of. At first it does.
    #[napi]
    pub fn hold_process(&self, env: Env, held: bool) -> Result<()> {
        self.log.hold_process(&env, held)
    }

    /// Lets go of the process and of everything on the I/O thread. Nothing may be called after it.
    #[napi]
    pub fn dispose(&self) {
        self.log.dispose();
        self.ends.orders.flush();
        self.orders.end();
    }
}

impl NativeServer {
    /// Where orders are added; for the methods in other files.
    pub(super) fn writer(&self) -> &OrderWriter {
        &self.ends.orders
    }
}

/// Nothing that runs under these locks can panic halfway through a change.
pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
