//! A server that can go down and come back: a TCP proxy in front of it whose weather a test makes.

use std::net::SocketAddr;

use tokio::io::{AsyncReadExt, AsyncWriteExt, copy, copy_bidirectional, sink};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_util::task::AbortOnDropHandle;

/// What its clients meet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Weather {
    /// The server.
    Fair,
    /// Nothing listens.
    Refused,
    /// Connections are taken, and nothing is ever heard.
    Silent,
    /// Each request is answered with 503.
    Busy,
}

/// A running switch; dropping it closes everything that it has open.
#[derive(Debug)]
pub struct Switch {
    address: SocketAddr,
    weather: watch::Sender<Weather>,
    /// Keeps the port while no listener has it.
    _port: TcpSocket,
    _accepting: AbortOnDropHandle<()>,
}

impl Switch {
    /// Starts a switch in front of `target`, in fair weather.
    pub fn start(target: SocketAddr) -> Self {
        let port = socket(SocketAddr::from(([127, 0, 0, 1], 0)));
        let address = port.local_addr().expect("a bound socket has an address");
        let (weather, changes) = watch::channel(Weather::Fair);
        let accepting = tokio::spawn(run(socket(address).listen(1024).expect("a listener"), address, target, changes));
        Self { address, weather, _port: port, _accepting: AbortOnDropHandle::new(accepting) }
    }

    /// Where it listens.
    pub fn port(&self) -> u16 {
        self.address.port()
    }

    /// What its clients meet now.
    pub fn weather(&self) -> Weather {
        *self.weather.borrow()
    }

    /// Changes that. Connections that are open break.
    pub fn turn(&self, to: Weather) {
        self.weather.send_if_modified(|now| std::mem::replace(now, to) != to);
    }
}

/// A socket on an address that was listened on before, and may still be held.
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

/// One connection. Errors end it: they are the peers' doing.
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
            // The end is told first, and the rest of the body read: a reset would take the answer away.
            let answer = b"HTTP/1.1 503 x\r\nConnection: close\r\nContent-Length: 0\r\n\r\n";
            if client.write_all(answer).await.is_ok() && client.shutdown().await.is_ok() {
                drop(copy(&mut client, &mut sink()).await);
            }
        }
    }
}
