//! TLS by rustls: what a server shows its clients, and asks of them.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use rustls_pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::crypto::{CryptoProvider, ring};
use tokio_rustls::rustls::server::{ClientHello, ResolvesServerCert, WebPkiClientVerifier};
use tokio_rustls::rustls::sign::CertifiedKey;
use tokio_rustls::rustls::version::{TLS12, TLS13};
use tokio_rustls::rustls::{Error, InconsistentKeys, RootCertStore, ServerConfig, SupportedProtocolVersion};

/// A server's keys and certificates, checked and ready for use. Clones share what is in force.
#[derive(Clone)]
pub struct TlsConfig(Arc<Mutex<Arc<ServerConfig>>>);

/// What a server's TLS is made of.
pub struct TlsOptions {
    /// At least one. A client is shown the first one that it can check.
    pub identities: Vec<TlsIdentity>,
    /// The certificates in DER of whom clients must have a certificate from; `None`: they are not asked.
    pub client_roots: Option<Vec<Vec<u8>>>,
    /// Whether TLS 1.2 is spoken.
    pub tls12: bool,
    /// Whether TLS 1.3 is spoken.
    pub tls13: bool,
    /// Protocols (ALPN), the preferred one first. With none, clients may ask for any.
    pub alpn: Vec<Vec<u8>>,
}

/// A key, and the certificate for it.
pub struct TlsIdentity {
    /// The private key, PKCS#8 in DER.
    pub key: Vec<u8>,
    /// The certificate in DER, followed by its issuers'.
    pub chain: Vec<Vec<u8>>,
}

/// Why TLS cannot be had like that. Nothing of a key is in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TlsError {
    /// A private key is damaged, or of a type that cannot be signed with.
    Key,
    /// One certificate of a chain, counted from 0, is damaged; or there is none.
    Certificate(usize),
    /// A key and its certificate do not belong together.
    Mismatch,
    /// One of the roots for clients, counted from 0, is damaged; or there is none.
    ClientRoot(usize),
    /// No version is left to speak.
    Versions,
}

impl TlsConfig {
    /// Checks that everything can be used.
    pub fn new(options: TlsOptions) -> Result<Self, TlsError> {
        let provider = Arc::new(ring::default_provider());
        let keys = options.identities.into_iter().map(|identity| certified(identity, &provider));
        let keys: Vec<_> = keys.collect::<Result<_, _>>()?;
        if keys.is_empty() {
            return Err(TlsError::Key);
        }
        let versions: Vec<&SupportedProtocolVersion> = [(options.tls13, &TLS13), (options.tls12, &TLS12)]
            .into_iter()
            .filter_map(|(on, v)| on.then_some(v))
            .collect();
        let builder = ServerConfig::builder_with_provider(provider.clone())
            .with_protocol_versions(&versions)
            .map_err(|_| TlsError::Versions)?;
        let builder = match options.client_roots {
            None => builder.with_no_client_auth(),
            Some(roots) => {
                let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(root_store(roots)?), provider);
                builder.with_client_cert_verifier(verifier.build().map_err(|_| TlsError::ClientRoot(0))?)
            }
        };
        let mut config = builder.with_cert_resolver(Arc::new(Identities(keys)));
        config.alpn_protocols = options.alpn;
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

fn certified(identity: TlsIdentity, provider: &CryptoProvider) -> Result<Arc<CertifiedKey>, TlsError> {
    let chain: Vec<_> = identity.chain.into_iter().map(CertificateDer::from).collect();
    if let Some(damaged) = chain.iter().position(|one| !is_certificate(one)).or(chain.is_empty().then_some(0)) {
        return Err(TlsError::Certificate(damaged));
    }
    let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(identity.key));
    let key = provider.key_provider.load_private_key(key).map_err(|_| TlsError::Key)?;
    let certified = CertifiedKey::new(chain, key);
    match certified.keys_match() {
        Err(Error::InconsistentKeys(InconsistentKeys::KeyMismatch)) => Err(TlsError::Mismatch),
        // A certificate of version 1 cannot be compared, and can be shown.
        _ => Ok(Arc::new(certified)),
    }
}

fn is_certificate(der: &CertificateDer<'_>) -> bool {
    use webpki::Error::UnsupportedCriticalExtension;
    matches!(webpki::anchor_from_trusted_cert(der), Ok(_) | Err(UnsupportedCriticalExtension))
}

fn root_store(roots: Vec<Vec<u8>>) -> Result<RootCertStore, TlsError> {
    let mut store = RootCertStore::empty();
    for (index, root) in roots.into_iter().enumerate() {
        store.add(CertificateDer::from(root)).map_err(|_| TlsError::ClientRoot(index))?;
    }
    Ok(store)
}

/// Shows a client the first certificate whose key it can check a signature of.
struct Identities(Vec<Arc<CertifiedKey>>);

impl ResolvesServerCert for Identities {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let schemes = hello.signature_schemes();
        self.0.iter().find(|one| one.key.choose_scheme(schemes).is_some()).or(self.0.first()).cloned()
    }
}

impl fmt::Debug for Identities {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Identities")
    }
}

impl fmt::Debug for TlsConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TlsConfig")
    }
}

impl fmt::Debug for TlsOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TlsOptions")
    }
}

impl fmt::Debug for TlsIdentity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TlsIdentity")
    }
}

impl fmt::Display for TlsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            TlsError::Key => f.write_str("ssl.key is damaged, or of a type that is not supported"),
            TlsError::Certificate(index) => write!(f, "ssl.cert: certificate {} is damaged", index.saturating_add(1)),
            TlsError::Mismatch => f.write_str("ssl.key does not belong to the certificate in ssl.cert"),
            TlsError::ClientRoot(index) => write!(f, "ssl.ca: certificate {} cannot be used", index.saturating_add(1)),
            TlsError::Versions => f.write_str("ssl.minVersion and ssl.maxVersion leave no version of TLS"),
        }
    }
}

impl std::error::Error for TlsError {}
