//! TLS with another server: whose certificates are trusted.

use std::fmt;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};

use rustls_pki_types::{CertificateDer, ServerName, UnixTime};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::client::WebPkiServerVerifier;
use tokio_rustls::rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use tokio_rustls::rustls::client::verify_server_name;
use tokio_rustls::rustls::crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature};
use tokio_rustls::rustls::server::ParsedCertificate;
use tokio_rustls::rustls::{
    self, AlertDescription, CertificateError, ClientConfig, DigitallySignedStruct, OtherError, RootCertStore,
    SignatureScheme,
};

use super::{ConnectError, TlsFault};
use crate::net::socket::Socket;

/// How a server is to prove who it is.
#[derive(Clone)]
pub struct ClientTls {
    name: ServerName<'static>,
    /// `None`: whom the system trusts.
    config: Option<Arc<ClientConfig>>,
}

/// Why options of TLS cannot be used.
#[derive(Debug)]
pub enum ClientTlsError {
    /// `servername` is neither a name nor an address.
    Name(String),
    /// `ca` holds a certificate that cannot be used.
    Ca(String),
}

impl ClientTls {
    /// `ca` are the certificates in DER of whom to trust instead of the system's roots.
    pub fn new(servername: &str, ca: Option<Vec<Vec<u8>>>, reject_unauthorized: bool) -> Result<Self, ClientTlsError> {
        let name =
            ServerName::try_from(servername.to_owned()).map_err(|_| ClientTlsError::Name(servername.to_owned()))?;
        let trusted = ca.map(|all| all.into_iter().map(CertificateDer::from).collect());
        let verifier: Arc<dyn ServerCertVerifier> = match (reject_unauthorized, trusted) {
            (false, _) => Arc::new(Unchecked(provider())),
            (true, Some(trusted)) => Arc::new(Pinned::new(trusted)?),
            (true, None) => return Ok(ClientTls { name, config: None }),
        };
        let config = config(verifier).map_err(|error| ClientTlsError::Ca(error.to_string()))?;
        Ok(ClientTls { name, config: Some(config) })
    }

    /// The TLS handshake.
    pub(super) async fn connect(&self, stream: Socket) -> Result<TlsStream<Socket>, ConnectError> {
        let config = match &self.config {
            Some(config) => config.clone(),
            None => system_config().await?,
        };
        TlsConnector::from(config).connect(self.name.clone(), stream).await.map_err(|error| {
            match error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>()) {
                Some(inner) => ConnectError::Tls { fault: fault(inner), message: advice(inner) },
                None if error.kind() == io::ErrorKind::UnexpectedEof => {
                    let text =
                        "the connection was closed during the TLS handshake; if the server speaks no TLS, use ws:";
                    ConnectError::Broken(io::Error::new(error.kind(), text))
                }
                None => ConnectError::Broken(error),
            }
        })
    }
}

/// A configuration with the roots of the system. Reading them takes a while, so it is done once, and off
/// the I/O thread.
async fn system_config() -> Result<Arc<ClientConfig>, ConnectError> {
    static SYSTEM: Mutex<Option<Arc<ClientConfig>>> = Mutex::new(None);
    let loaded = tokio::task::spawn_blocking(|| {
        // Nothing that runs under the lock can panic halfway through a change.
        let mut known = SYSTEM.lock().unwrap_or_else(PoisonError::into_inner);
        if known.is_none() {
            *known = load_system_config();
        }
        known.clone()
    });
    match loaded.await {
        Ok(Some(config)) => Ok(config),
        _ => Err(ConnectError::Tls {
            fault: TlsFault::NoRoots,
            message: "this system has no root certificates; name whom to trust with ca".to_owned(),
        }),
    }
}

fn load_system_config() -> Option<Arc<ClientConfig>> {
    let mut roots = RootCertStore::empty();
    // Some systems have certificates that nobody can parse; the others count.
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider()).build().ok()?;
    config(verifier).ok()
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(ring::default_provider())
}

fn config(verifier: Arc<dyn ServerCertVerifier>) -> Result<Arc<ClientConfig>, rustls::Error> {
    let builder = ClientConfig::builder_with_provider(provider()).with_safe_default_protocol_versions()?;
    Ok(Arc::new(builder.dangerous().with_custom_certificate_verifier(verifier).with_no_client_auth()))
}

fn fault(error: &rustls::Error) -> TlsFault {
    let error = match error {
        rustls::Error::InvalidCertificate(error) => error,
        rustls::Error::InvalidMessage(_) => return TlsFault::NotTls,
        _ => return TlsFault::Protocol,
    };
    match error {
        // An issuer of that name is trusted, but it has not signed this.
        CertificateError::UnknownIssuer
        | CertificateError::BadSignature
        | CertificateError::UnsupportedSignatureAlgorithmContext { .. }
        | CertificateError::UnsupportedSignatureAlgorithmForPublicKeyContext { .. } => TlsFault::UnknownIssuer,
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => TlsFault::WrongName,
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => TlsFault::Expired,
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => TlsFault::NotYetValid,
        CertificateError::Revoked => TlsFault::Revoked,
        _ => TlsFault::Certificate,
    }
}

/// What is wrong, and what to do about it.
fn advice(error: &rustls::Error) -> String {
    match (fault(error), error) {
        (TlsFault::UnknownIssuer, _) => "nobody who is trusted vouches for its certificate; pass the certificate of \
             its issuer as ca, or the server's own if that is self-signed"
            .to_owned(),
        (
            TlsFault::WrongName,
            rustls::Error::InvalidCertificate(CertificateError::NotValidForNameContext { expected, presented }),
        ) => {
            let presented = if presented.is_empty() { "no name".to_owned() } else { presented.join(", ") };
            format!(
                "its certificate is not for {:?} but for {presented}; pass the right one as servername",
                expected.to_str()
            )
        }
        (TlsFault::WrongName, _) => "its certificate is for another name; pass that as servername".to_owned(),
        (TlsFault::Expired, _) => "its certificate has expired; the server needs a new one".to_owned(),
        (TlsFault::NotYetValid, _) => {
            "its certificate is not valid yet; compare the clocks of both machines".to_owned()
        }
        (TlsFault::NotTls, _) => "the server does not answer in TLS; if it speaks none, use ws:".to_owned(),
        (TlsFault::Protocol, rustls::Error::AlertReceived(AlertDescription::ProtocolVersion)) => {
            "the server speaks neither TLS 1.2 nor 1.3".to_owned()
        }
        _ => error.to_string(),
    }
}

/// Trusts these certificates: as issuers, and as the server's own.
#[derive(Debug)]
struct Pinned {
    trusted: Vec<CertificateDer<'static>>,
    issuers: Arc<WebPkiServerVerifier>,
}

impl Pinned {
    fn new(trusted: Vec<CertificateDer<'static>>) -> Result<Self, ClientTlsError> {
        let mut roots = RootCertStore::empty();
        for certificate in &trusted {
            roots.add(certificate.clone()).map_err(|error| ClientTlsError::Ca(error.to_string()))?;
        }
        let issuers = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider())
            .build()
            .map_err(|error| ClientTlsError::Ca(error.to_string()))?;
        Ok(Pinned { trusted, issuers })
    }
}

impl ServerCertVerifier for Pinned {
    fn verify_server_cert(
        &self,
        certificate: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let verified = self.issuers.verify_server_cert(certificate, intermediates, name, ocsp, now);
        match verified {
            // What `openssl req -x509` makes is a CA certificate, which webpki takes from no server, after
            // it has found its time to be right.
            Err(error) if is_ca(&error) && self.trusted.iter().any(|trusted| trusted == certificate) => {
                verify_server_name(&ParsedCertificate::try_from(certificate)?, name)?;
                Ok(ServerCertVerified::assertion())
            }
            verified => verified,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.issuers.verify_tls12_signature(message, certificate, signature)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.issuers.verify_tls13_signature(message, certificate, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.issuers.supported_verify_schemes()
    }
}

fn is_ca(error: &rustls::Error) -> bool {
    let rustls::Error::InvalidCertificate(CertificateError::Other(OtherError(inner))) = error else { return false };
    matches!(inner.downcast_ref::<webpki::Error>(), Some(webpki::Error::CaUsedAsEndEntity))
}

/// Takes any certificate whose key the server has.
#[derive(Debug)]
struct Unchecked(Arc<CryptoProvider>);

impl ServerCertVerifier for Unchecked {
    fn verify_server_cert(
        &self,
        _certificate: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _name: &ServerName<'_>,
        _ocsp: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, certificate, signature, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, certificate, signature, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

impl fmt::Debug for ClientTls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientTls").field("name", &self.name).finish_non_exhaustive()
    }
}

impl fmt::Display for ClientTlsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ClientTlsError::Name(name) => write!(f, "{name:?} is neither a host name nor an IP address"),
            ClientTlsError::Ca(error) => f.write_str(error),
        }
    }
}

impl std::error::Error for ClientTlsError {}
