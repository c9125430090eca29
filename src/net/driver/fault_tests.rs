//! A fault of this side's own, in one of several sessions.

use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use bytes::BytesMut;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::mpsc::UnboundedReceiver;

use crate::net::stub::{self, FAULT, Stub, Told};
use crate::net::{ListenOptions, Server, ServerConfig, SharedHooks, SpoolLimits, Trace, Validation};
use crate::protocol::{Frame, Text};
use crate::session::{CloseReason, Config};

fn config(max_connections: usize) -> ServerConfig {
    ServerConfig {
        host: Some("127.0.0.1".to_owned()),
        port: 0,
        listen: Some(ListenOptions { backlog: 16, reuse_port: false }),
        path: None,
        allowed_origins: None,
        max_connections,
        tls: None,
        handshake_timeout: Duration::MAX,
        max_header_bytes: 16 << 10,
        max_inbound_bytes: usize::MAX,
        spool: SpoolLimits { session: u64::MAX, total: u64::MAX },
        busy_poll: Duration::ZERO,
        session: Config { keep_alive: Duration::MAX, ack_timeout: Duration::MAX, ..Config::default() },
        hooks: Arc::new(SharedHooks::default()),
        unacknowledged: |_| None,
        trace: Trace::default(),
    }
}

struct Client {
    sid: u64,
    socket: TcpStream,
}

impl Client {
    /// Opens a session, and gives its slot.
    async fn open(server: &Server, told: &mut UnboundedReceiver<Told>, address: SocketAddr, sid: u64) -> (Client, u32) {
        let mut socket = TcpStream::connect(address).await.expect("a connection");
        let request = format!(
            "GET /?authorization=Bearer%20t&x-camp-sid={sid} HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\n\
             Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
        );
        socket.write_all(request.as_bytes()).await.expect("it is read");
        let Some(Told::Validate(id)) = told.recv().await else { panic!("the token is not asked about") };
        server.validated(id, Validation::Accepted);
        match told.recv().await {
            Some(Told::Opened(slot, opened)) if opened == sid => (Client { sid, socket }, slot),
            other => panic!("{other:?}"),
        }
    }

    async fn send(&mut self, text: &str) {
        let mut frame = BytesMut::new();
        Frame::Utf8 { ack: 0, text: Text::from(text.to_owned()) }.encode(self.sid, &mut frame);
        let mut message = vec![0x82, 0x80 | frame.len() as u8, 0, 0, 0, 0];
        message.extend_from_slice(&frame);
        self.socket.write_all(&message).await.expect("it is read");
    }
}

#[test]
fn a_fault_ends_its_own_session_alone_and_the_application_hears_of_it() {
    stub::run(async {
        let (app, mut told) = Stub::new();
        let server: Rc<Server> = Server::start(config(2), app);
        let Some(Told::Listening(address)) = told.recv().await else { panic!("it does not listen") };
        let (mut faulty, slot) = Client::open(&server, &mut told, address, 7).await;
        let (mut neighbour, other) = Client::open(&server, &mut told, address, 8).await;

        faulty.send(FAULT).await;
        let broken = CloseReason { code: 1006, reason: String::new() };
        assert_eq!(told.recv().await, Some(Told::Closed(slot, broken)));
        // The end, in order or with a reset.
        let _ = faulty.socket.read_to_end(&mut Vec::new()).await;

        neighbour.send("alive").await;
        assert_eq!(told.recv().await, Some(Told::Message(other, "alive".to_owned())));

        // Its place, its sid and its slot are free again.
        server.release(slot);
        let (mut next, reused) = Client::open(&server, &mut told, address, 7).await;
        assert_eq!(reused, slot);
        next.send("new").await;
        assert_eq!(told.recv().await, Some(Told::Message(slot, "new".to_owned())));
    });
}
