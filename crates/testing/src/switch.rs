//! A TCP proxy that simulates a server going down and coming back.

use std::net::SocketAddr;

use tokio::io::{AsyncReadExt, AsyncWriteExt, copy, copy_bidirectional, sink};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_util::task::AbortOnDropHandle;

/// The simulated state of the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Weather {
    /// The server is reachable.
    Fair,
    /// The port is closed.
    Refused,
    /// Connections are accepted, but never answered.
    Silent,
    /// Each request is answered with 503.
    Busy,
}

/// A running switch; dropping it closes all of its connections.
#[derive(Debug)]
pub struct Switch {
    address: SocketAddr,
    weather: watch::Sender<Weather>,
    /// Reserves the port while there is no listener.
    _port: TcpSocket,
    _accepting: AbortOnDropHandle<()>,
}

impl Switch {
    /// Starts a switch in front of `target`, initially reachable.
    pub fn start(target: SocketAddr) -> Self {
        let port = socket(SocketAddr::from(([127, 0, 0, 1], 0)));
        let address = port.local_addr().expect("a bound socket has an address");
        let (weather, changes) = watch::channel(Weather::Fair);
        let accepting = tokio::spawn(run(socket(address).listen(1024).expect("a listener"), address, target, changes));
        Self { address, weather, _port: port, _accepting: AbortOnDropHandle::new(accepting) }
    }

    /// Returns the port.
    pub fn port(&self) -> u16 {
        self.address.port()
    }

    /// Returns the simulated state.
    pub fn weather(&self) -> Weather {
        *self.weather.borrow()
    }

    /// Changes the simulated state, and breaks open connections.
    pub fn turn(&self, to: Weather) {
        self.weather.send_if_modified(|now| std::mem::replace(now, to) != to);
    }
}

/// Binds a socket to an address where a previous listener may not be closed yet.
pub fn socket(address: SocketAddr) -> TcpSocket {
    let socket = TcpSocket::new_v4().expect("a socket");
    socket.set_reuseport(true).expect("reuseport");
    socket.set_reuseaddr(true).expect("reuseaddr");
    socket.bind(address).expect("a free loopback port");
    socket
}

async fn run(first: TcpListener, address: SocketAddr, target: SocketAddr, mut changes: watch::Receiver<Weather>) {
    let mut listener = Some(first);
    loop {
        let weather = *changes.borrow_and_update();
        let mut connections = JoinSet::new();
        if weather == Weather::Refused {
            listener = None;
            changes.changed().await.expect("the switch holds the sender");
            continue;
        }
        let listening = listener.get_or_insert_with(|| socket(address).listen(1024).expect("a listener"));
        loop {
            tokio::select! {
                accepted = listening.accept() => {
                    let (client, _) = accepted.expect("accept");
                    connections.spawn(serve(client, target, weather));
                }
                changed = changes.changed() => {
                    changed.expect("the switch holds the sender");
                    break;
                }
            }
            while connections.try_join_next().is_some() {}
        }
    }
}

/// Serves one connection until an error, which is caused by a peer.
async fn serve(mut client: TcpStream, target: SocketAddr, weather: Weather) {
    drop(client.set_nodelay(true));
    match weather {
        Weather::Fair | Weather::Refused => {
            let Ok(mut server) = TcpStream::connect(target).await else { return };
            drop(server.set_nodelay(true));
            drop(copy_bidirectional(&mut client, &mut server).await);
        }
        Weather::Silent => {
            drop(copy(&mut client, &mut sink()).await);
            std::future::pending::<()>().await;
        }
        Weather::Busy => {
            let (mut head, mut byte) = (Vec::new(), [0]);
            while !head.ends_with(b"\r\n\r\n") && client.read_exact(&mut byte).await.is_ok() {
                head.extend_from_slice(&byte);
            }
            // Shut down the write half, then read the rest of the body: a reset would discard the response.
            let answer = b"HTTP/1.1 503 x\r\nConnection: close\r\nContent-Length: 0\r\n\r\n";
            if client.write_all(answer).await.is_ok() && client.shutdown().await.is_ok() {
                drop(copy(&mut client, &mut sink()).await);
            }
        }
    }
}
