//! The boundary to JavaScript.
//!
//! Nothing crosses it message by message: what happens in sessions is appended to one [`log`] per
//! server, which JavaScript takes in batches after one wake; what JavaScript wants is appended to
//! one batch of [`orders`], handed over once per tick.

mod adoption;
mod application;
mod error;
mod http;
mod log;
mod memory;
mod options;
mod orders;
mod peer;
mod raw;
mod record;
mod server;
mod system;
mod text_orders;
mod transaction;
