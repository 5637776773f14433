//! The store as a standalone server.

use std::convert::Infallible;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::time::Duration;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::Store;
use crate::exchange::request::Closing;

/// How long to wait for a free file descriptor.
const EXHAUSTED: Duration = Duration::from_millis(50);

/// How long work whose client has gone may take to finish at shutdown.
const LAST_STEPS: Duration = Duration::from_secs(5);

impl Store {
    /// Listens on a free loopback port; returns its address, and what serves there until `closing` is cancelled.
    ///
    /// # Errors
    /// If there is no port.
    pub async fn beside(
        self,
        closing: CancellationToken,
    ) -> io::Result<(SocketAddr, impl Future<Output = ()> + Send + 'static)> {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        let address = listener.local_addr()?;
        let serving = async move {
            if let Err(error) = self.serve(listener, closing.cancelled_owned()).await {
                tracing::error!(%error, "the built-in store ended");
            }
        };
        Ok((address, serving))
    }

    /// Serves HTTP/1.1 on `listener` until `shutdown` completes. Then it finishes requests in flight, ends waiting feeds, and
    /// returns when the last connection is closed and the last save has ended.
    ///
    /// # Errors
    /// If the listener is broken. A failed connection does not affect the others.
    pub async fn serve(&self, listener: TcpListener, shutdown: impl Future<Output = ()> + Send) -> io::Result<()> {
        let closing = CancellationToken::new();
        let mut connections = JoinSet::new();
        let mut shutdown = pin!(shutdown);
        let outcome = loop {
            tokio::select! {
                () = &mut shutdown => break Ok(()),
                accepted = listener.accept() => match accepted {
                    Ok((socket, _)) => {
                        connections.spawn(connection(self.clone(), socket, closing.clone()));
                    }
                    Err(error) if passing(&error) => {}
                    Err(error) if exhausted(&error) => tokio::time::sleep(EXHAUSTED).await,
                    Err(error) => break Err(error),
                },
                Some(_) = connections.join_next() => {}
            }
        };
        drop(listener);
        closing.cancel();
        while connections.join_next().await.is_some() {}
        let cut = self.inner.registry.tasks.drain(LAST_STEPS).await;
        if cut > 0 {
            tracing::warn!(tasks = cut, "work of the embedded store did not end in time");
        }
        outcome
    }
}

/// Returns whether an accept failed for a reason that concerns a single client.
fn passing(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionReset, Interrupted};
    matches!(error.kind(), ConnectionAborted | ConnectionReset | Interrupted)
}

/// Returns whether an accept failed for lack of file descriptors (EMFILE, ENFILE).
fn exhausted(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(23 | 24))
}

async fn connection(store: Store, socket: TcpStream, closing: CancellationToken) {
    // Otherwise small responses wait for the client's acknowledgement.
    let _ = socket.set_nodelay(true);
    let closed = closing.clone();
    let service = service_fn(move |mut request: http::Request<hyper::body::Incoming>| {
        request.extensions_mut().insert(Closing(closing.clone()));
        let store = store.clone();
        async move { Ok::<_, Infallible>(store.handle(request).await) }
    });
    let mut http = http1::Builder::new();
    // Without it, a client that has sent its request and closes its half gets no answer.
    http.timer(TokioTimer::new()).title_case_headers(true).half_close(true);
    let mut serving = pin!(http.serve_connection(TokioIo::new(socket), service));
    let result = tokio::select! {
        result = serving.as_mut() => result,
        () = closed.cancelled() => {
            serving.as_mut().graceful_shutdown();
            serving.await
        }
    };
    if let Err(error) = result {
        tracing::debug!(%error, "connection to the embedded store ended");
    }
}
