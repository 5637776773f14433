//! A TCP proxy that changes one byte sent by the client.

use std::net::SocketAddr;

use tokio::io::{AsyncReadExt, AsyncWriteExt, copy};

use stowage_testing::serve::listen;

/// Starts a proxy that replaces `from` by `to` in the client's data, if it arrives in one piece.
pub async fn start(target: SocketAddr, from: &'static [u8], to: &'static [u8]) -> SocketAddr {
    assert_eq!(from.len(), to.len());
    let (listener, address) = listen().await;
    tokio::spawn(async move {
        while let Ok((client, _)) = listener.accept().await {
            let Ok(server) = tokio::net::TcpStream::connect(target).await else { continue };
            tokio::spawn(async move {
                let (mut from_client, mut to_client) = client.into_split();
                let (mut from_server, mut to_server) = server.into_split();
                tokio::spawn(async move { copy(&mut from_server, &mut to_client).await });
                let mut buffer = vec![0; 64 << 10];
                while let Ok(length @ 1..) = from_client.read(&mut buffer).await {
                    let piece = &mut buffer[..length];
                    if let Some(at) = piece.windows(from.len()).position(|window| window == from) {
                        piece[at..at + to.len()].copy_from_slice(to);
                    }
                    if to_server.write_all(piece).await.is_err() {
                        return;
                    }
                }
            });
        }
    });
    address
}
