//! What the load generator and the limit loop share: the wire.

pub mod camp;
pub mod websocket;
