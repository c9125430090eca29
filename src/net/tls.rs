//! TLS by rustls.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use rustls_pki_types::pem::{self, PemObject};
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::{self, ServerConfig};

/// A server's key and certificate chain, checked and ready for use. Clones share what is in force.
#[derive(Clone)]
pub struct TlsConfig(Arc<Mutex<Arc<ServerConfig>>>);

/// Why a key or certificate cannot be used.
#[derive(Debug)]
pub enum TlsError {
    /// `ssl.key` holds no usable PEM private key.
    Key(pem::Error),
    /// `ssl.cert` holds no usable PEM certificate.
    Certificate(pem::Error),
    /// The two do not work, or not together.
    Pair(rustls::Error),
}

impl TlsConfig {
    /// From PEM text: the private key, and the certificate followed by its issuers.
    pub fn from_pem(key: &[u8], cert: &[u8]) -> Result<Self, TlsError> {
        let key = PrivateKeyDer::from_pem_slice(key).map_err(TlsError::Key)?;
        let chain: Vec<_> =
            CertificateDer::pem_slice_iter(cert).collect::<Result<_, _>>().map_err(TlsError::Certificate)?;
        if chain.is_empty() {
            return Err(TlsError::Certificate(pem::Error::NoItemsFound));
        }
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(TlsError::Pair)?
            .with_no_client_auth()
            .with_single_cert(chain, key)
            .map_err(TlsError::Pair)?;
        Ok(TlsConfig(Arc::new(Mutex::new(Arc::new(config)))))
    }

    pub(super) fn acceptor(&self) -> TlsAcceptor {
        TlsAcceptor::from(self.current())
    }

    /// Handshakes from now on use what is in force in `other`.
    pub fn replace(&self, other: &TlsConfig) {
        let config = other.current();
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = config;
    }

    fn current(&self) -> Arc<ServerConfig> {
        // Nothing that runs under the lock can panic.
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl fmt::Debug for TlsConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TlsConfig")
    }
}

impl fmt::Display for TlsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            TlsError::Key(error) => write!(f, "ssl.key: {error}"),
            TlsError::Certificate(error) => write!(f, "ssl.cert: {error}"),
            TlsError::Pair(error) => write!(f, "ssl.key and ssl.cert: {error}"),
        }
    }
}

impl std::error::Error for TlsError {}
