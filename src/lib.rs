//! CAMP over WebSocket: the core of the `camp-server` Node.js addon.
//!
//! Five layers, each knowing only the ones before it:
//!
//! ```text
//! protocol  <-  session  <-  net  <-  node  <-  js/
//! frames        sans-IO      tokio    napi      EventEmitter, promises
//! ```
//!
//! Without default features only [`protocol`] and [`session`] are built, on `bytes` alone;
//! feature `net` adds the network layer, feature `node` the addon itself.

#[cfg(test)]
mod checks;
pub mod protocol;
pub mod session;

#[cfg(feature = "net")]
pub mod net;

#[cfg(feature = "node")]
mod node;
