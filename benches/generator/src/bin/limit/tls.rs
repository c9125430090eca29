//! The same over TLS, as a plain tokio program does it: tokio-rustls, one task per client, one thread.

use std::sync::Arc;

use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;

use crate::Options;
use crate::session::Session;

const READ: usize = 256 * 1024;

pub fn serve(options: &Options, key: &str, cert: &str) -> Result<(), String> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build().map_err(text)?;
    let local = tokio::task::LocalSet::new();
    local.block_on(&runtime, accept(options.clone(), config(key, cert)?))
}

async fn accept(options: Options, config: ServerConfig) -> Result<(), String> {
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.map_err(text)?;
    println!("LISTENING {}", listener.local_addr().map_err(text)?.port());
    loop {
        let (socket, _) = listener.accept().await.map_err(text)?;
        let (acceptor, options) = (acceptor.clone(), options.clone());
        tokio::task::spawn_local(async move {
            let _ = client(socket, acceptor, &options).await;
        });
    }
}

async fn client(socket: TcpStream, acceptor: TlsAcceptor, options: &Options) -> Result<(), String> {
    socket.set_nodelay(true).map_err(text)?;
    let mut socket = acceptor.accept(socket).await.map_err(text)?;
    let (mut session, mut out) = (Session::new(), Vec::new());
    let (mut scratch, mut kept) = (vec![0; 2 * READ], 0);
    while !session.over {
        let count = socket.read(&mut scratch[kept..kept + READ]).await.map_err(text)?;
        if count == 0 {
            return Ok(());
        }
        let filled = kept + count;
        let used = session.receive(&mut scratch[..filled], &mut out, options)?;
        scratch.copy_within(used..filled, 0);
        kept = filled - used;
        loop {
            socket.write_all(&out).await.map_err(text)?;
            out.clear();
            if !session.more(&mut out, options).map_err(text)? {
                break;
            }
        }
        socket.flush().await.map_err(text)?;
    }
    Ok(())
}

fn config(key: &str, cert: &str) -> Result<ServerConfig, String> {
    let certs: Result<Vec<_>, _> = CertificateDer::pem_file_iter(cert).map_err(text)?.collect();
    let key = PrivateKeyDer::from_pem_file(key).map_err(text)?;
    ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(text)?
        .with_no_client_auth()
        .with_single_cert(certs.map_err(text)?, key)
        .map_err(text)
}

fn text(error: impl ToString) -> String {
    error.to_string()
}
