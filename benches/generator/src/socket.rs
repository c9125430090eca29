//! The connection under a session: TCP, or TLS over it.

use std::io::{self, ErrorKind, Read as _, Write as _};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;

use mio::net::TcpStream;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, ClientConnection, DigitallySignedStruct, SignatureScheme};
use socket2::{Domain, Socket as Raw, Type};

pub struct Socket {
    pub tcp: TcpStream,
    tls: Option<Box<ClientConnection>>,
}

/// How a read went.
#[derive(PartialEq)]
pub enum Read {
    /// As much as there is room for: more is likely to be there.
    Full,
    /// Less than that: the socket is empty, or has ended.
    Short,
    /// Nothing is there.
    Nothing,
}

/// How far a write came.
#[derive(PartialEq)]
pub enum Written {
    All,
    Blocked,
}

impl Socket {
    /// `source` is the address to come from: a port range per address gets past that of one.
    pub fn connect(to: SocketAddr, source: Option<Ipv4Addr>, tls: Option<&Arc<ClientConfig>>) -> io::Result<Self> {
        let raw = Raw::new(Domain::for_address(to), Type::STREAM, None)?;
        if let Some(source) = source {
            raw.bind(&SocketAddr::new(IpAddr::V4(source), 0).into())?;
        }
        raw.set_nonblocking(true)?;
        raw.set_tcp_nodelay(true)?;
        match raw.connect(&to.into()) {
            Err(error) if !in_progress(&error) => return Err(error),
            _ => {}
        }
        let tls = match tls {
            Some(config) => {
                let name = ServerName::try_from("localhost").map_err(io::Error::other)?;
                let mut session = ClientConnection::new(config.clone(), name).map_err(io::Error::other)?;
                session.set_buffer_limit(None);
                Some(Box::new(session))
            }
            None => None,
        };
        Ok(Self { tcp: TcpStream::from_std(raw.into()), tls })
    }

    /// Reads once, and gives `sink` what came.
    ///
    /// # Errors
    /// `UnexpectedEof` at the end of the connection.
    pub fn read(
        &mut self,
        scratch: &mut Scratch,
        mut sink: impl FnMut(&[u8]) -> Result<(), String>,
    ) -> io::Result<Read> {
        let count = match self.tcp.read(&mut scratch.wire) {
            Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
            Ok(count) => count,
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(Read::Nothing),
            Err(error) if error.kind() == ErrorKind::Interrupted => return Ok(Read::Full),
            Err(error) => return Err(error),
        };
        let read = if count == scratch.wire.len() { Read::Full } else { Read::Short };
        let Some(tls) = &mut self.tls else {
            sink(&scratch.wire[..count]).map_err(io::Error::other)?;
            return Ok(read);
        };
        let mut wire = &scratch.wire[..count];
        while !wire.is_empty() {
            tls.read_tls(&mut wire)?;
            tls.process_new_packets().map_err(io::Error::other)?;
            loop {
                match tls.reader().read(&mut scratch.plain) {
                    Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
                    Ok(count) => sink(&scratch.plain[..count]).map_err(io::Error::other)?,
                    Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                    Err(error) => return Err(error),
                }
            }
        }
        Ok(read)
    }

    /// Writes `out` from `sent` on, as far as the system takes it; what TLS has taken counts as written.
    pub fn write(&mut self, out: &[u8], sent: &mut usize) -> io::Result<Written> {
        let Some(tls) = &mut self.tls else {
            while *sent < out.len() {
                match self.tcp.write(&out[*sent..]) {
                    Ok(count) => *sent += count,
                    Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(Written::Blocked),
                    Err(error) if error.kind() == ErrorKind::NotConnected => return Ok(Written::Blocked),
                    Err(error) if error.kind() == ErrorKind::Interrupted => {}
                    Err(error) => return Err(error),
                }
            }
            return Ok(Written::All);
        };
        tls.writer().write_all(&out[*sent..])?;
        *sent = out.len();
        while tls.wants_write() {
            match tls.write_tls(&mut self.tcp) {
                Ok(_) => {}
                Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::NotConnected) => {
                    return Ok(Written::Blocked);
                }
                Err(error) => return Err(error),
            }
        }
        Ok(Written::All)
    }

    /// Whether TLS has something of its own to write.
    pub fn wants_write(&self) -> bool {
        self.tls.as_ref().is_some_and(|tls| tls.wants_write())
    }
}

/// Buffers shared by all sockets.
pub struct Scratch {
    wire: Vec<u8>,
    plain: Vec<u8>,
}

impl Scratch {
    pub fn new() -> Self {
        Self { wire: vec![0; 256 * 1024], plain: vec![0; 64 * 1024] }
    }
}

fn in_progress(error: &io::Error) -> bool {
    #[cfg(unix)]
    const IN_PROGRESS: &[i32] = &[36, 115];
    #[cfg(not(unix))]
    const IN_PROGRESS: &[i32] = &[10035];
    error.kind() == ErrorKind::WouldBlock || error.raw_os_error().is_some_and(|code| IN_PROGRESS.contains(&code))
}

/// TLS as any client does it, except that the server's certificate is believed.
pub fn tls_config() -> Result<Arc<ClientConfig>, String> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Believe(provider)))
        .with_no_client_auth();
    Ok(Arc::new(config))
}

#[derive(Debug)]
struct Believe(Arc<CryptoProvider>);

impl ServerCertVerifier for Believe {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _cert: &CertificateDer<'_>,
        _dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _message: &[u8],
        _cert: &CertificateDer<'_>,
        _dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
