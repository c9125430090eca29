//! A server's options, as `js/options.js` has checked and completed them.

use std::sync::Arc;
use std::time::Duration;

use napi::bindgen_prelude::Uint8Array;
use napi_derive::napi;

use crate::net::{
    ListenOptions, ServerConfig, SharedHooks, SpoolLimits, TlsConfig, TlsError, TlsIdentity, TlsOptions, Trace,
};
use crate::session::{Backpressure, Config, DropPolicy};

/// All options of a server. Times in milliseconds, sizes in bytes.
#[napi(object)]
pub struct NativeOptions {
    /// Name or address to bind.
    pub host: Option<String>,
    /// Port to bind.
    pub port: u16,
    /// `backlog`
    pub backlog: i32,
    /// `reusePort`
    pub reuse_port: bool,
    /// Whether JavaScript accepts the connections, and hands them over with `adopt`.
    pub adopts: bool,
    /// `path`
    pub path: Option<String>,
    /// `allowedOrigins`, as browsers write them
    pub allowed_origins: Option<Vec<String>>,
    /// `maxConnections`
    pub max_connections: f64,
    /// `ssl`
    pub tls: Option<NativeTls>,
    /// `keepAliveIntervalMs`
    pub keep_alive_interval_ms: f64,
    /// `ackTimeoutMs`
    pub ack_timeout_ms: f64,
    /// `handshakeTimeoutMs`
    pub handshake_timeout_ms: f64,
    /// `maxHeaderBytes`
    pub max_header_bytes: f64,
    /// `maxInboundBytes`
    pub max_inbound_bytes: f64,
    /// `maxUnacknowledged`
    pub max_unacknowledged: f64,
    /// `maxTransactions`
    pub max_transactions: f64,
    /// `maxSpoolBytes`
    pub max_spool_bytes: f64,
    /// `maxSpoolTotalBytes`
    pub max_spool_total_bytes: f64,
    /// `busyPollUs`
    pub busy_poll_us: f64,
    /// `backpressure.highWaterMark`
    pub high_water_mark: f64,
    /// `backpressure.lowWaterMark`
    pub low_water_mark: f64,
    /// `backpressure.maxQueuedBytes`
    pub max_queued_bytes: f64,
    /// `backpressure.maxQueueCount`
    pub max_queue_count: f64,
    /// `backpressure.dropPolicy`: 0 oldest, 1 newest, 2 dedupe-latest
    pub drop_policy: u32,
    /// Print section `CAMP_SERVER`.
    pub debug_server: bool,
    /// Print section `CAMP_SERVER_SESSION`.
    pub debug_session: bool,
    /// Print section `CAMP_SERVER_ACK`.
    pub debug_ack: bool,
    /// Print section `CAMP_BACKPRESSURE`.
    pub debug_backpressure: bool,
}

/// `ssl`, as `js/tls-options.js` has read it.
#[napi(object)]
pub struct NativeTls {
    /// Private keys, PKCS#8 in DER.
    pub keys: Vec<Uint8Array>,
    /// For each key its certificate in DER, followed by those of its issuers.
    pub chains: Vec<Vec<Uint8Array>>,
    /// Certificates in DER of whom clients must have a certificate from.
    pub client_roots: Option<Vec<Uint8Array>>,
    /// 2 for TLS 1.2, 3 for TLS 1.3
    pub min_version: u32,
    /// as `min_version`
    pub max_version: u32,
    /// `ALPNProtocols`
    pub alpn: Vec<Uint8Array>,
}

/// As `min_version` and `max_version` name them.
#[repr(u32)]
enum TlsVersion {
    Tls12 = 2,
    Tls13 = 3,
}

impl NativeTls {
    pub(super) fn into_config(self) -> Result<TlsConfig, TlsError> {
        let chains = self.chains.iter().map(|chain| bytes(chain));
        let identities = self.keys.iter().zip(chains).map(|(key, chain)| TlsIdentity { key: key.to_vec(), chain });
        TlsConfig::new(TlsOptions {
            identities: identities.collect(),
            client_roots: self.client_roots.as_deref().map(bytes),
            tls12: self.min_version <= TlsVersion::Tls12 as u32,
            tls13: self.max_version >= TlsVersion::Tls13 as u32,
            alpn: bytes(&self.alpn),
        })
    }
}

fn bytes(arrays: &[Uint8Array]) -> Vec<Vec<u8>> {
    arrays.iter().map(|array| array.to_vec()).collect()
}

impl NativeOptions {
    /// The configuration of the network layer.
    pub(super) fn into_config(self, hooks: Arc<SharedHooks>) -> Result<ServerConfig, TlsError> {
        let tls = self.tls.map(NativeTls::into_config).transpose()?;
        Ok(ServerConfig {
            host: self.host,
            port: self.port,
            listen: match self.adopts {
                true => None,
                false => Some(ListenOptions { backlog: self.backlog, reuse_port: self.reuse_port }),
            },
            path: self.path,
            allowed_origins: self.allowed_origins,
            max_connections: size(self.max_connections),
            tls,
            handshake_timeout: millis(self.handshake_timeout_ms),
            max_header_bytes: size(self.max_header_bytes),
            max_inbound_bytes: size(self.max_inbound_bytes),
            spool: SpoolLimits { session: self.max_spool_bytes as u64, total: self.max_spool_total_bytes as u64 },
            busy_poll: Duration::from_micros(self.busy_poll_us as u64),
            session: Config {
                keep_alive: millis(self.keep_alive_interval_ms),
                ack_timeout: millis(self.ack_timeout_ms),
                backpressure: Backpressure {
                    high_watermark: size(self.high_water_mark),
                    low_watermark: size(self.low_water_mark),
                    max_queued_bytes: size(self.max_queued_bytes),
                    max_queue_count: size(self.max_queue_count),
                    policy: drop_policy(self.drop_policy),
                },
                max_unacknowledged: size(self.max_unacknowledged),
                max_transactions: size(self.max_transactions),
                // The network layer has bounds for all streams together.
                max_unread: u64::MAX,
                ..Config::default()
            },
            hooks,
            unacknowledged: super::system::unacknowledged,
            trace: Trace {
                server: self.debug_server,
                session: self.debug_session,
                ack: self.debug_ack,
                backpressure: self.debug_backpressure,
            },
        })
    }
}

fn drop_policy(number: u32) -> DropPolicy {
    const NEWEST: u32 = DropPolicy::Newest as u32;
    const DEDUPE_LATEST: u32 = DropPolicy::DedupeLatest as u32;
    match number {
        NEWEST => DropPolicy::Newest,
        DEDUPE_LATEST => DropPolicy::DedupeLatest,
        _ => DropPolicy::Oldest,
    }
}

pub(super) fn millis(number: f64) -> Duration {
    Duration::from_secs_f64(number.clamp(1.0, MAX_MILLIS) / 1000.0)
}

/// The longest time an option may name: what a timer of Node can hold.
const MAX_MILLIS: f64 = i32::MAX as f64;

/// Saturates: `Infinity` is the largest size.
fn size(number: f64) -> usize {
    number as usize
}
