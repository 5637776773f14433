//! A TCP proxy in front of CouchDB that keeps everything that the gateway sends.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use stowage_testing::serve::listen;
use tokio::io::{AsyncReadExt, AsyncWriteExt, copy};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio_util::task::AbortOnDropHandle;

/// The bytes that arrived on one connection.
type Seen = Arc<Mutex<Vec<u8>>>;

/// A running proxy; dropping it closes all of its connections.
pub struct Tap {
    address: SocketAddr,
    seen: Arc<Mutex<Vec<Seen>>>,
    _accepting: AbortOnDropHandle<()>,
}

impl Tap {
    /// Starts a proxy in front of `target`.
    pub async fn start(target: SocketAddr) -> Self {
        let (listener, address) = listen().await;
        let seen = Arc::default();
        let accepting = tokio::spawn(accept(listener, target, Arc::clone(&seen)));
        Self { address, seen, _accepting: AbortOnDropHandle::new(accepting) }
    }

    /// Returns the proxy's address.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Returns whether these bytes have arrived, on any connection.
    pub fn has_seen(&self, bytes: &[u8]) -> bool {
        let all = self.seen.lock().expect("connections");
        all.iter().any(|seen| seen.lock().expect("bytes").windows(bytes.len()).any(|window| window == bytes))
    }
}

async fn accept(listener: TcpListener, target: SocketAddr, all: Arc<Mutex<Vec<Seen>>>) {
    let mut connections = JoinSet::new();
    loop {
        let (client, _) = listener.accept().await.expect("accept");
        let seen = Seen::default();
        all.lock().expect("connections").push(Arc::clone(&seen));
        connections.spawn(pass(client, target, seen));
        while connections.try_join_next().is_some() {}
    }
}

/// Serves one connection until an error, which is caused by a peer.
async fn pass(client: TcpStream, target: SocketAddr, seen: Seen) {
    let Ok(server) = TcpStream::connect(target).await else { return };
    for stream in [&client, &server] {
        drop(stream.set_nodelay(true));
    }
    let (mut from_client, mut to_client) = client.into_split();
    let (mut from_server, mut to_server) = server.into_split();
    let up = async {
        let mut buffer = vec![0; 64 << 10];
        while let Ok(count @ 1..) = from_client.read(&mut buffer).await {
            seen.lock().expect("bytes").extend_from_slice(&buffer[..count]);
            if to_server.write_all(&buffer[..count]).await.is_err() {
                break;
            }
        }
        drop(to_server.shutdown().await);
    };
    let down = async {
        drop(copy(&mut from_server, &mut to_client).await);
        drop(to_client.shutdown().await);
    };
    tokio::join!(up, down);
}
