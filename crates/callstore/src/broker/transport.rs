//! Runtime of the AMQP client: it runs on this program's tasks, and on its own connections with its one TLS stack.
//!
//! `lapin` drives each connection on a dedicated thread, which blocks for as long as its socket is silent. [`Wire`] therefore
//! fails as soon as its [`CancellationToken`] is cancelled: giving up a connection ends that thread as well.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use async_rs::traits::{Executor, Reactor, RuntimeKit};
use async_rs::util::{Task, TaskImpl};
use futures_util::{FutureExt, Stream, stream};
use stowage_base::tasks::Tasks;
use stowage_http::connect::Stream as Socket;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::runtime::Handle;
use tokio::task::JoinHandle;
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};

/// Runs the AMQP client's tasks as tracked tasks of this program.
#[derive(Debug, Clone)]
pub(super) struct Kit {
    tasks: Tasks,
    handle: Handle,
}

impl Kit {
    /// Uses the current runtime.
    pub(super) fn new(tasks: Tasks) -> Self {
        Self { tasks, handle: Handle::current() }
    }
}

impl RuntimeKit for Kit {}

/// A task of the client.
#[derive(Debug)]
pub(super) struct Spawned<T>(JoinHandle<Option<T>>);

impl<T: Send + 'static> TaskImpl for Spawned<T> {}

impl<T: Send + 'static> Future for Spawned<T> {
    type Output = T;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<T> {
        match ready!(self.get_mut().0.poll_unpin(cx)) {
            Ok(Some(value)) => Poll::Ready(value),
            // The task panicked, which `Tasks` has logged, or the runtime is gone: there is no value.
            Ok(None) | Err(_) => Poll::Pending,
        }
    }
}

impl Executor for Kit {
    type Task<T: Send + 'static> = Spawned<T>;

    fn block_on<T, F: Future<Output = T>>(&self, future: F) -> T {
        self.handle.block_on(future)
    }

    fn spawn<T: Send + 'static, F: Future<Output = T> + Send + 'static>(&self, future: F) -> Task<Spawned<T>> {
        // The client also spawns from its own threads, which are outside the runtime.
        let _entered = self.handle.enter();
        Spawned(self.tasks.spawn("AMQP client", future)).into()
    }

    fn spawn_blocking<T: Send + 'static, F: FnOnce() -> T + Send + 'static>(&self, work: F) -> Task<Spawned<T>> {
        self.spawn(async move { work() })
    }
}

impl Reactor for Kit {
    type TcpStream = Wire;
    type Sleep = tokio::time::Sleep;

    fn register<H: Send + 'static>(
        &self,
        _socket: H,
    ) -> io::Result<impl futures_io::AsyncRead + futures_io::AsyncWrite + Send + Unpin + 'static> {
        Err::<Wire, _>(io::ErrorKind::Unsupported.into())
    }

    fn sleep(&self, time: Duration) -> Self::Sleep {
        let _entered = self.handle.enter();
        tokio::time::sleep(time)
    }

    fn interval(&self, every: Duration) -> impl Stream<Item = Instant> + Send + 'static {
        let kit = self.clone();
        stream::unfold(kit, move |kit| async move {
            kit.sleep(every).await;
            Some((Instant::now(), kit))
        })
    }

    fn tcp_connect_addr(
        &self,
        _address: SocketAddr,
    ) -> impl Future<Output = io::Result<Self::TcpStream>> + Send + 'static {
        std::future::ready(Err(io::ErrorKind::Unsupported.into()))
    }
}

/// A connection to a broker that fails once it is given up.
pub(super) struct Wire {
    socket: Socket,
    given_up: Pin<Box<WaitForCancellationFutureOwned>>,
}

impl Wire {
    pub(super) fn new(socket: Socket, given_up: CancellationToken) -> Self {
        Self { socket, given_up: Box::pin(given_up.cancelled_owned()) }
    }

    /// The future only keeps the last waker. It is polled when reading, which the client does throughout the connection, and when closing.
    fn poll_given_up(&mut self, cx: &mut Context<'_>) -> bool {
        self.given_up.poll_unpin(cx).is_ready()
    }
}

impl futures_io::AsyncRead for Wire {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        if this.poll_given_up(cx) {
            return Poll::Ready(Err(io::ErrorKind::ConnectionAborted.into()));
        }
        let mut buffer = ReadBuf::new(buffer);
        ready!(Pin::new(&mut this.socket).poll_read(cx, &mut buffer))?;
        Poll::Ready(Ok(buffer.filled().len()))
    }
}

impl futures_io::AsyncWrite for Wire {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().socket).poll_write(cx, bytes)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().socket).poll_flush(cx)
    }

    fn poll_close(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        // A close that cannot be written to a broker that does not read would never finish.
        if this.poll_given_up(cx) {
            return Poll::Ready(Ok(()));
        }
        Pin::new(&mut this.socket).poll_shutdown(cx)
    }
}
