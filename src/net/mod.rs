//! The network: listeners, upgrades, connections to other servers, TLS and one driver per session, on one thread of its own.
//!
//! Everything here runs on the [`Runtime`]'s thread; the [`Application`] is told of what happens
//! there too, and must not block. Protocol decisions are made by [`crate::session`] alone.

#![cfg_attr(
    not(test),
    deny(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::get_unwrap,
        clippy::panic,
        clippy::unreachable,
        clippy::todo,
        clippy::unimplemented,
        clippy::indexing_slicing,
        clippy::string_slice,
        clippy::arithmetic_side_effects,
        clippy::unchecked_time_subtraction,
        clippy::print_stdout,
        clippy::print_stderr,
        clippy::dbg_macro,
        clippy::exit
    )
)]

mod answers;
mod application;
mod blocks;
mod bridge;
mod busy;
mod commits;
mod connect;
mod counters;
mod disk;
mod driver;
mod handover;
mod head;
mod hooks;
mod intake;
mod io_text;
mod ledger;
mod listener;
mod places;
mod refusal;
mod runtime;
mod sends;
mod server;
mod sessions;
mod socket;
mod source_file;
mod sources;
mod spool;
#[cfg(test)]
mod stub;
mod syntax;
mod tls;
mod trace;
mod transport;
mod upgrade;
mod websocket;

pub use application::{Application, Opened, Refused};
pub use connect::{ClientTls, ClientTlsError, ConnectError, ConnectId, Stage, Target, TlsFault};
pub use counters::{Counters, FIGURES, Figures};
pub use handover::{HttpCommand, HttpEvent, HttpId, HttpOpened, Interest, SocketOption, is_upgrade_of_ours};
pub use hooks::SharedHooks;
pub use io_text::IoText;
pub use ledger::SpoolLimits;
pub use listener::ListenOptions;
pub use runtime::{Housekeeping, Runtime};
pub use sends::{ORDER_HEADER, OrderLayout, Sends};
pub use server::{Server, ServerConfig};
pub use sessions::Slot;
pub use sources::{Source, TxOrder};
pub use tls::{TlsConfig, TlsError, TlsIdentity, TlsOptions};
pub use trace::Trace;
pub use upgrade::{UpgradeId, UpgradeRequest, Validation};
