//! A hyper server on a free loopback port whose connections are closed when it is dropped.

use std::error::Error;
use std::net::{SocketAddr, TcpStream};
use std::os::fd::AsFd;
use std::sync::Arc;

use hyper::body::{Body, Incoming};
use hyper::server::conn::http1;
use hyper::service::Service;
use hyper::{Request, Response};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio_util::task::AbortOnDropHandle;

/// A running server; dropping it closes the listener and all connections.
#[derive(Debug)]
pub struct Served {
    address: SocketAddr,
    _accepting: AbortOnDropHandle<()>,
}

impl Served {
    /// Returns the server's address.
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

/// Listens on a free loopback port.
pub async fn listen() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("a free loopback port");
    let address = listener.local_addr().expect("a bound socket has an address");
    (listener, address)
}

/// Serves HTTP/1.1 on `listener` with one service per connection; `make` gets a second handle to the connection's socket, for services
/// that bypass hyper.
pub fn serve<S, B>(listener: TcpListener, make: impl Fn(Arc<TcpStream>) -> S + Send + 'static) -> Served
where
    S: Service<Request<Incoming>, Response = Response<B>> + Send + 'static,
    S::Future: Send,
    S::Error: Into<Box<dyn Error + Send + Sync>>,
    B: Body + Send + 'static,
    B::Data: Send,
    B::Error: Into<Box<dyn Error + Send + Sync>>,
{
    let address = listener.local_addr().expect("a bound socket has an address");
    let accepting = tokio::spawn(async move {
        let mut connections = JoinSet::new();
        loop {
            let (stream, _) = listener.accept().await.expect("accept");
            stream.set_nodelay(true).expect("nodelay");
            let second = stream.as_fd().try_clone_to_owned().expect("a second handle on a socket");
            let service = make(Arc::new(TcpStream::from(second)));
            connections.spawn(async move {
                // How a connection ended is for the client side of the test to judge.
                let _ = http1::Builder::new()
                    .timer(TokioTimer::new())
                    .half_close(true)
                    .serve_connection(TokioIo::new(stream), service)
                    .await;
            });
            while connections.try_join_next().is_some() {}
        }
    });
    Served { address, _accepting: AbortOnDropHandle::new(accepting) }
}
