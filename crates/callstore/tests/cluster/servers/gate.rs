//! A TCP gate that can fall silent: connections stay open, but pass no data.

use std::net::SocketAddr;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio_util::task::AbortOnDropHandle;

/// A gate in front of one server; dropping it breaks its connections.
#[derive(Debug)]
pub struct Gate {
    pub address: SocketAddr,
    silent: watch::Sender<bool>,
    _accepting: AbortOnDropHandle<()>,
}

impl Gate {
    pub async fn before(port: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let silent = watch::Sender::new(false);
        let state = silent.subscribe();
        let accepting = tokio::spawn(async move {
            let mut connections = tokio::task::JoinSet::new();
            loop {
                let (client, _) = listener.accept().await.expect("accept");
                connections.spawn(carry(client, port, state.clone()));
                while connections.try_join_next().is_some() {}
            }
        });
        Self { address, silent, _accepting: AbortOnDropHandle::new(accepting) }
    }

    /// Stops or resumes passing data.
    pub fn fall_silent(&self, silent: bool) {
        self.silent.send_replace(silent);
    }
}

async fn carry(client: TcpStream, port: u16, mut silent: watch::Receiver<bool>) {
    let _ = silent.wait_for(|silent| !silent).await;
    let Ok(server) = TcpStream::connect(("127.0.0.1", port)).await else { return };
    let (client_reads, client_writes) = client.into_split();
    let (server_reads, server_writes) = server.into_split();
    tokio::select! {
        () = pump(client_reads, server_writes, silent.clone()) => {}
        () = pump(server_reads, client_writes, silent) => {}
    }
}

async fn pump(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, mut silent: watch::Receiver<bool>) {
    let mut buffer = vec![0; 64 << 10];
    loop {
        let Ok(read @ 1..) = from.read(&mut buffer).await else { return };
        // Data already read when the gate fell silent is held back, too.
        if silent.wait_for(|silent| !silent).await.is_err() || to.write_all(&buffer[..read]).await.is_err() {
            return;
        }
    }
}
