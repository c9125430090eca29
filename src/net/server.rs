//! A listening server: accepts connections and passes the application's orders to their sessions.

mod accepting;

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::net::TcpStream;
use tokio::sync::{Notify, oneshot};

use super::answers::Answers;
use super::application::{Application, Refused};
use super::busy::BusyPoll;
use super::commits::Commits;
use super::connect::{self, ConnectId, Target};
use super::handover::{HttpCommand, HttpConnections, HttpId};
use super::hooks::SharedHooks;
use super::io_text::IoText;
use super::ledger::{Ledger, SpoolLimits};
use super::listener::ListenOptions;
use super::refusal::Refusal;
use super::sends::Sends;
use super::sessions::{Mailbox, Order, Sessions, Slot};
use super::sources::TxOrder;
use super::tls::TlsConfig;
use super::trace::Trace;
use super::upgrade::{UpgradeId, UpgradeRequest, Validation};
use crate::session::{Command, Config, TxKey};

pub(super) use accepting::Handshake;

/// What BYE says to the sessions of a server that is closed.
const SHUTDOWN: &str = "Server shutdown.";

/// What a server is told to do.
#[derive(Debug)]
pub struct ServerConfig {
    /// Name or address to bind; all interfaces of both families when `None`.
    pub host: Option<String>,
    /// Port to bind; 0 lets the system choose.
    pub port: u16,
    /// How the system is to listen; `None`: the application does, and hands connections over with
    /// [`Server::adopt`].
    pub listen: Option<ListenOptions>,
    /// The path that upgrade requests must name; any when `None`.
    pub path: Option<String>,
    /// Origins that browsers may connect from; any when `None`.
    pub allowed_origins: Option<Vec<String>>,
    /// Most sessions at a time, those counted whose token is being validated.
    pub max_connections: usize,
    /// TLS, or plain TCP when `None`.
    pub tls: Option<TlsConfig>,
    /// How long a connection may take from its acceptance to its session.
    pub handshake_timeout: Duration,
    /// Most bytes of a request head.
    pub max_header_bytes: usize,
    /// Payload bytes of one session the application may leave untaken before its socket is no longer read.
    pub max_inbound_bytes: usize,
    /// How much may lie in temporary files.
    pub spool: SpoolLimits,
    /// How long the I/O thread looks for work after the last before it sleeps; zero: not at all.
    pub busy_poll: Duration,
    /// What its sessions have in common.
    pub session: Config,
    /// Which messages are [`Event::Held`](crate::session::Event::Held).
    pub hooks: Arc<SharedHooks>,
    /// Bytes of a connection that its peer's system has not acknowledged; `None` where ours cannot tell.
    pub unacknowledged: fn(&TcpStream) -> Option<u64>,
    /// Debug output.
    pub trace: Trace,
}

/// A server on the I/O thread. Connections that are being accepted keep it alive.
pub struct Server {
    pub(super) config: ServerConfig,
    pub(super) session_config: Rc<Config>,
    pub(super) app: Rc<dyn Application>,
    pub(super) sessions: Sessions,
    pub(super) http: HttpConnections,
    pub(super) busy: BusyPoll,
    pub(super) answers: Answers,
    pub(super) commits: Commits,
    validations: RefCell<HashMap<UpgradeId, oneshot::Sender<Validation>>>,
    next_upgrade: Cell<UpgradeId>,
    pub(super) ledger: Rc<Ledger>,
    /// Sessions that are over but for streams still being read.
    pub(super) lingering: Cell<usize>,
    /// Sessions that are being opened to other servers. One that is forgotten gives up.
    connects: RefCell<HashMap<ConnectId, oneshot::Sender<()>>>,
    /// Connections between acceptance and session, and those that are being made.
    handshakes: Cell<usize>,
    /// The former of them.
    arriving: Cell<usize>,
    closing: Cell<bool>,
    stopped: Cell<bool>,
    /// No new connections; true at the latest when `closing` is.
    refusing: Cell<bool>,
    /// Notified when `refusing` becomes true.
    refuse: Notify,
    /// The port is held: it must be free before the stop is reported.
    listening: Cell<bool>,
}

impl Server {
    /// Starts a server on the current thread, which must be the [`Runtime`](super::Runtime)'s.
    pub fn start(config: ServerConfig, app: impl Application + 'static) -> Rc<Server> {
        let app: Rc<dyn Application> = Rc::new(app);
        let ledger = Ledger::new(config.spool.total);
        let server = Rc::new(Server {
            session_config: Rc::new(config.session.clone()),
            busy: BusyPoll::start(config.busy_poll),
            answers: Answers::start(),
            commits: Commits::start(app.clone()),
            config,
            app,
            sessions: Sessions::default(),
            http: HttpConnections::default(),
            validations: RefCell::default(),
            next_upgrade: Cell::new(0),
            ledger,
            lingering: Cell::new(0),
            connects: RefCell::default(),
            handshakes: Cell::new(0),
            arriving: Cell::new(0),
            closing: Cell::new(false),
            stopped: Cell::new(false),
            refusing: Cell::new(false),
            refuse: Notify::new(),
            listening: Cell::new(false),
        });
        if let Some(options) = server.config.listen {
            tokio::task::spawn_local(server.clone().listen(options));
        }
        server
    }

    /// The application's answer to [`Application::validate`].
    pub fn validated(&self, id: UpgradeId, validation: Validation) {
        if let Some(waiting) = self.validations.borrow_mut().remove(&id) {
            // The client may have gone meanwhile.
            let _ = waiting.send(validation);
        }
    }

    /// Opens a session to another server; [`Application::peer_opened`] or
    /// [`Application::peer_failed`] follows.
    pub fn connect(self: &Rc<Self>, id: ConnectId, target: Target) {
        let (waits, abandoned) = oneshot::channel();
        self.connects.borrow_mut().insert(id, waits);
        tokio::task::spawn_local(connect::run(Handshake::outgoing(self.clone()), id, target, abandoned));
    }

    /// Gives up what [`Self::connect`] has begun and not told the end of. Nothing will be told.
    pub fn abandon(&self, id: ConnectId) {
        self.connects.borrow_mut().remove(&id);
    }

    /// Passes a command to a session; one that has ended settles nothing more.
    #[inline]
    pub fn command(&self, slot: Slot, command: Command) {
        self.sessions.post(slot, Order::Command(command));
    }

    /// Sends messages to a session; those to one that has ended settle nothing more.
    #[inline]
    pub fn send(&self, slot: Slot, sends: Sends) {
        self.sessions.post(slot, Order::Sends(sends));
    }

    /// Begins an outgoing transaction.
    pub fn open_transaction(&self, slot: Slot, order: TxOrder) {
        self.sessions.post(slot, Order::Open(order));
    }

    /// Somebody has asked for an incoming transaction, or nobody will any more. To be called once for each:
    /// less is kept of those that nobody has asked for.
    pub fn asked(&self, slot: Slot, key: TxKey) {
        self.sessions.post(slot, Order::Asked(key));
    }

    /// The hooks of the session's held message have run.
    pub fn verdict(&self, slot: Slot) {
        self.sessions.post(slot, Order::Verdict);
    }

    /// The application may have answered. To be called after the orders that go with
    /// [`Application::answered`], read before them.
    pub fn answered(&self, commit: u64) {
        if self.answers.release(commit) {
            self.await_answer();
        }
    }

    /// The number given to [`Self::answered`].
    pub fn last_answered(&self) -> u64 {
        self.app.answered()
    }

    /// The application has seen the session's `Closed` event and will not use the slot again.
    pub fn release(&self, slot: Slot) {
        self.sessions.release(slot);
    }

    /// Takes over a connection that the application has accepted, as if it had come to our own port.
    pub fn adopt(self: &Rc<Self>, stream: std::net::TcpStream) {
        if self.is_refusing() {
            return;
        }
        let stream = stream.set_nonblocking(true).and_then(|()| TcpStream::from_std(stream));
        match stream.and_then(|stream| stream.peer_addr().map(|remote| (stream, remote))) {
            Ok((stream, remote)) => self.admit(stream, remote),
            // The client has gone meanwhile, or the system is out of memory.
            Err(error) => self.config.trace.server(format_args!("cannot accept: {}", IoText(&error))),
        }
    }

    /// Passes a command to a connection that was handed over.
    pub fn http(&self, id: HttpId, command: HttpCommand) {
        self.http.post(id, command);
    }

    /// Lets go of the port and refuses what has not become a session yet. [`Application::stopped`]
    /// follows once the sessions and connections there are have ended.
    pub fn stop_accepting(&self) {
        if !self.refusing.replace(true) {
            self.refuse.notify_waiters();
            self.stop_if_idle();
        }
    }

    /// Stops accepting and closes every session; [`Application::stopped`] follows once the
    /// connections that were handed over have ended too.
    pub fn close(&self) {
        if self.closing.replace(true) {
            return;
        }
        self.stop_accepting();
        self.sessions.for_each(|mailbox| mailbox.post(Order::Command(Command::Close(SHUTDOWN.to_owned()))));
        self.stop_if_idle();
    }

    /// Whether the server is being closed.
    pub(super) fn is_closing(&self) -> bool {
        self.closing.get()
    }

    /// Whether no new sessions are taken.
    pub(super) fn is_refusing(&self) -> bool {
        self.refusing.get()
    }

    /// Resolves once the server accepts no more.
    pub(super) async fn refuses(&self) {
        let notified = self.refuse.notified();
        if !self.is_refusing() {
            notified.await;
        }
    }

    /// Whether the application can be expected to answer within a moment.
    #[inline]
    pub(super) fn expects_answer(&self) -> bool {
        self.answers.expects(self.app.answered())
    }

    /// The session of `mailbox`, whose events were just staged, waits until they are answered.
    pub(super) fn wait_for_answer(&self, mailbox: &Rc<Mailbox>, now: Instant) {
        self.answers.wait(mailbox, self.app.commit_number(), now);
        self.await_answer();
    }

    fn await_answer(&self) {
        self.app.await_answer();
        // It may have been answered in between.
        self.answers.release(self.app.answered());
    }

    /// Tells of a refusal.
    pub(super) fn report_refusal(&self, refusal: &Refusal, remote: SocketAddr) {
        self.config.trace.server(format_args!("refused {remote}: {}", refusal.reason()));
        self.app.refused(&Refused { remote, status: refusal.status_code(), reason: refusal.reason() });
        self.app.commit();
    }

    /// Asks the application about a token. The receiver fails when nobody will answer.
    pub(super) fn ask(&self, request: &UpgradeRequest) -> (UpgradeId, oneshot::Receiver<Validation>) {
        let id = self.next_upgrade.get();
        self.next_upgrade.set(id.wrapping_add(1));
        let (answer, receiver) = oneshot::channel();
        self.validations.borrow_mut().insert(id, answer);
        self.app.validate(id, request);
        self.app.commit();
        (id, receiver)
    }

    /// Nobody waits for the answer any more.
    pub(super) fn forget(&self, id: UpgradeId) {
        if self.validations.borrow_mut().remove(&id).is_some() {
            self.app.validation_cancelled(id);
            self.app.commit();
        }
    }

    /// Reports the stop once the server no longer accepts and nothing is left.
    pub(super) fn stop_if_idle(&self) {
        let sessions = self.sessions.live().saturating_add(self.lingering.get());
        let idle = sessions == 0 && !self.listening.get() && self.handshakes.get() == 0 && self.http.live() == 0;
        if self.is_refusing() && idle && !self.stopped.replace(true) {
            self.app.stopped();
            self.app.commit();
        }
    }
}

impl std::fmt::Debug for Server {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Server").field("port", &self.config.port).field("live", &self.sessions.live()).finish()
    }
}
