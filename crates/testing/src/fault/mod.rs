//! A TCP proxy for any client and server that injects one fault into a connection at an exact byte.
//!
//! Faults are planned per connection, in order of arrival; without a plan, bytes pass unchanged in both directions.

mod plan;

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, sink};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

pub use self::plan::{Counts, Direction, Fault, What};
use super::serve::listen;

/// A running proxy; dropping it closes all its connections.
#[derive(Debug)]
pub struct FaultProxy {
    address: SocketAddr,
    shared: Arc<Shared>,
    _accepting: AbortOnDropHandle<()>,
}

#[derive(Debug)]
struct Shared {
    target: SocketAddr,
    plans: Mutex<(VecDeque<Fault>, Fault)>,
    counts: watch::Sender<Counts>,
    resumed: CancellationToken,
}

/// Maximum size of a write.
const CHUNK: u64 = 64 << 10;

/// Why a connection ended before both sides were done.
enum Broken {
    Orderly,
    Reset,
}

impl FaultProxy {
    /// Starts a proxy in front of `target`.
    pub async fn start(target: SocketAddr) -> Self {
        let (listener, address) = listen().await;
        let shared = Arc::new(Shared {
            target,
            plans: Mutex::new((VecDeque::new(), Fault::PASS)),
            counts: watch::Sender::new(Counts::default()),
            resumed: CancellationToken::new(),
        });
        let accepting = tokio::spawn(accept(listener, Arc::clone(&shared)));
        Self { address, shared, _accepting: AbortOnDropHandle::new(accepting) }
    }

    /// Returns the address for clients.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Plans the next connection without a plan.
    pub fn plan(&self, fault: Fault) {
        self.shared.plans.lock().expect("plans").0.push_back(fault);
    }

    /// Sets the default for connections without a plan ([`Fault::PASS`] at the start).
    pub fn otherwise(&self, fault: Fault) {
        self.shared.plans.lock().expect("plans").1 = fault;
    }

    /// Lets stalled connections continue, both current and future ones.
    pub fn resume(&self) {
        self.shared.resumed.cancel();
    }

    /// Returns the counts so far.
    pub fn counts(&self) -> Counts {
        *self.shared.counts.borrow()
    }

    /// Waits until the counts satisfy `enough`.
    pub async fn wait_until(&self, mut enough: impl FnMut(&Counts) -> bool) -> Counts {
        let mut counts = self.shared.counts.subscribe();
        *counts.wait_for(|seen| enough(seen)).await.expect("the proxy holds the sender")
    }
}

async fn accept(listener: TcpListener, shared: Arc<Shared>) {
    let mut connections = JoinSet::new();
    loop {
        let (client, _) = listener.accept().await.expect("accept");
        let fault = {
            let mut plans = shared.plans.lock().expect("plans");
            plans.0.pop_front().unwrap_or(plans.1)
        };
        shared.counts.send_modify(|counts| counts.connections += 1);
        let shared = Arc::clone(&shared);
        connections.spawn(async move {
            if fault.what == What::Refuse {
                shared.counts.send_modify(|counts| counts.struck += 1);
                drop(client);
            } else {
                carry(client, fault, &shared).await;
            }
            shared.counts.send_modify(|counts| counts.ended += 1);
        });
        while connections.try_join_next().is_some() {}
    }
}

async fn carry(mut client: TcpStream, fault: Fault, shared: &Shared) {
    // If the server is gone, drop the client: that is what a broken path looks like.
    let Ok(mut server) = TcpStream::connect(shared.target).await else {
        return;
    };
    client.set_nodelay(true).expect("nodelay");
    server.set_nodelay(true).expect("nodelay");
    let broken = {
        let (client_reads, client_writes) = client.split();
        let (server_reads, server_writes) = server.split();
        let lane =
            |direction| Lane { direction, fault: Some(fault).filter(|fault| fault.direction == direction), shared };
        tokio::try_join!(
            lane(Direction::ToServer).pump(client_reads, server_writes),
            lane(Direction::ToClient).pump(server_reads, client_writes),
        )
    };
    match broken {
        Ok(_) => {}
        Err(Broken::Reset) => {
            // An error here means that the peer has reset the connection itself.
            let _ = client.set_zero_linger();
            let _ = server.set_zero_linger();
        }
        Err(Broken::Orderly) => {
            let _ = client.shutdown().await;
            let _ = server.shutdown().await;
            // Closing a socket with unread bytes sends a reset, so read until the peers have closed, too.
            let (mut first, mut second) = (sink(), sink());
            let _ = tokio::join!(tokio::io::copy(&mut client, &mut first), tokio::io::copy(&mut server, &mut second));
        }
    }
}

/// One direction of a connection.
struct Lane<'a> {
    direction: Direction,
    fault: Option<Fault>,
    shared: &'a Shared,
}

impl Lane<'_> {
    async fn pump(self, mut from: impl AsyncRead + Unpin, mut to: impl AsyncWrite + Unpin) -> Result<(), Broken> {
        let after = self.fault.map_or(u64::MAX, |fault| fault.after);
        let reached = self.forward(&mut from, &mut to, after, CHUNK).await?;
        let Some(fault) = self.fault.filter(|_| reached) else {
            return self.end(to).await;
        };
        if fault.what != What::Pass {
            self.shared.counts.send_modify(|counts| counts.struck += 1);
        }
        let chunk = match fault.what {
            What::Cut => return Err(Broken::Orderly),
            What::Reset => return Err(Broken::Reset),
            What::Truncate => {
                let _ = to.shutdown().await;
                let _ = tokio::io::copy(&mut from, &mut sink()).await;
                // The receiver may still respond: the connection ends when the other direction does.
                return Ok(());
            }
            What::Stall => {
                self.shared.resumed.cancelled().await;
                CHUNK
            }
            What::Trickle => 1,
            What::Pass | What::Refuse => CHUNK,
        };
        self.forward(&mut from, &mut to, u64::MAX, chunk).await?;
        self.end(to).await
    }

    /// Forwards up to `limit` bytes in writes of at most `chunk`; returns whether the limit was reached before the sender's end.
    async fn forward(
        &self,
        from: &mut (impl AsyncRead + Unpin),
        to: &mut (impl AsyncWrite + Unpin),
        limit: u64,
        chunk: u64,
    ) -> Result<bool, Broken> {
        let mut buffer = Vec::with_capacity(64 << 10);
        let mut left = limit;
        while left > 0 {
            buffer.clear();
            let read = (&mut *from).take(left.min(chunk)).read_buf(&mut buffer).await.map_err(|_| Broken::Reset)?;
            if read == 0 {
                return Ok(false);
            }
            to.write_all(&buffer).await.map_err(|_| Broken::Orderly)?;
            left -= read as u64;
            self.shared.counts.send_modify(|counts| match self.direction {
                Direction::ToServer => counts.to_server += read as u64,
                Direction::ToClient => counts.to_client += read as u64,
            });
        }
        Ok(true)
    }

    /// Forwards the sender's end.
    async fn end(&self, mut to: impl AsyncWrite + Unpin) -> Result<(), Broken> {
        to.shutdown().await.map_err(|_| Broken::Orderly)
    }
}
