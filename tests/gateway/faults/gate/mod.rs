//! An HTTP/1.1 proxy that injects a fault into chosen requests, at an exact byte of the request or the response.
//!
//! The fault proxy in `support` affects connections; the gateway reuses connections for different requests, so here the requests to fail are chosen
//! by method and target. All others pass unchanged.

mod wire;

use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use stowage_testing::switch::socket;
use tokio::io::{AsyncWriteExt, copy_bidirectional};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::{Notify, watch};
use tokio::task::JoinSet;
use tokio_util::task::AbortOnDropHandle;

use self::wire::{Framing, Wire};

/// A running gate; dropping it closes all of its connections.
#[derive(Debug)]
pub struct Gate {
    address: SocketAddr,
    shared: Arc<Shared>,
    /// Reserves the port while there is no listener.
    _port: TcpSocket,
    _accepting: AbortOnDropHandle<()>,
}

#[derive(Debug)]
struct Shared {
    target: SocketAddr,
    rules: Mutex<Vec<Rule>>,
    /// The request lines received.
    lines: Mutex<Vec<String>>,
    struck: watch::Sender<usize>,
    open: watch::Sender<bool>,
}

#[derive(Debug)]
struct Rule {
    method: &'static str,
    part: String,
    times: usize,
    act: Act,
}

/// The fault for a request.
#[derive(Clone, Debug)]
pub enum Act {
    /// Forward only this many bytes of head and body; then end both connections.
    CutRequest(usize, End),
    /// Forward the request, and only this many bytes of the response.
    CutAnswer(usize, End),
    /// Forward the request, then shut the gate permanently before any byte of the response.
    AnswerAndShut,
    /// Shut the gate permanently before forwarding any byte.
    Shut,
    /// Forward nothing; send this response, and end the connection.
    Answer(Vec<u8>),
    /// Send this response before reading the body.
    AnswerEarly(Vec<u8>),
    /// Wait until the test notifies, then pass.
    Hold(Arc<Notify>),
}

/// How a connection ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// Closes it properly.
    Fin,
    /// Resets it.
    Reset,
    /// Leaves it open without sending anything more.
    Silence,
}

/// Builds a response with a status and a body, for [`Act::Answer`].
pub fn answer(status: u16, body: &str) -> Act {
    Act::Answer(answer_bytes(status, body))
}

/// Builds a response sent before the request is read, for [`Act::AnswerEarly`].
#[allow(dead_code, reason = "the tests of copies name it, those of faults do not")]
pub fn early(status: u16, body: &str) -> Act {
    Act::AnswerEarly(answer_bytes(status, body))
}

fn answer_bytes(status: u16, body: &str) -> Vec<u8> {
    // Announce that the gate closes the connection, which would otherwise break the next request.
    format!("HTTP/1.1 {status} x\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{body}", body.len()).into_bytes()
}

impl Gate {
    /// Starts a gate in front of `target`.
    pub fn start(target: SocketAddr) -> Self {
        let port = socket(SocketAddr::from(([127, 0, 0, 1], 0)));
        let address = port.local_addr().expect("a bound socket has an address");
        let shared = Arc::new(Shared {
            target,
            rules: Mutex::default(),
            lines: Mutex::default(),
            struck: watch::Sender::new(0),
            open: watch::Sender::new(true),
        });
        let listener = socket(address).listen(1024).expect("a listener");
        let accepting = tokio::spawn(accept(listener, address, Arc::clone(&shared)));
        Self { address, shared, _port: port, _accepting: AbortOnDropHandle::new(accepting) }
    }

    /// `http://host:port`
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Returns the port.
    pub fn port(&self) -> u16 {
        self.address.port()
    }

    /// Sets the fault for the next `times` requests with this method whose target contains `part`, where `*` is a wildcard. Earlier rules take
    /// precedence.
    pub fn rule(&self, method: &'static str, part: &str, times: usize, act: Act) {
        self.shared.rules.lock().expect("rules").push(Rule { method, part: part.to_owned(), times, act });
    }

    /// Removes all rules.
    pub fn relent(&self) {
        self.shared.rules.lock().expect("rules").clear();
    }

    /// Waits until rules were applied this many times.
    pub async fn struck(&self, times: usize) {
        let mut struck = self.shared.struck.subscribe();
        struck.wait_for(|struck| *struck >= times).await.expect("the gate holds the sender");
    }

    /// Returns the number of requests with this method whose target contained `part`.
    pub fn counted(&self, method: &str, part: &str) -> usize {
        let lines = self.shared.lines.lock().expect("lines");
        lines.iter().filter(|line| line.starts_with(method) && line.contains(part)).count()
    }

    /// Refuses connections, and breaks open ones.
    pub fn shut(&self) {
        self.shared.open.send_replace(false);
    }

    /// Accepts connections again.
    pub fn open(&self) {
        self.shared.open.send_replace(true);
    }
}

async fn accept(listener: TcpListener, address: SocketAddr, shared: Arc<Shared>) {
    let mut listener = Some(listener);
    let mut open = shared.open.subscribe();
    let mut connections = JoinSet::new();
    loop {
        let Some(listening) = &listener else {
            open.wait_for(|open| *open).await.expect("the gate holds the sender");
            listener = Some(socket(address).listen(1024).expect("a listener"));
            continue;
        };
        tokio::select! {
            accepted = listening.accept() => {
                let (client, _) = accepted.expect("accept");
                let shared = Arc::clone(&shared);
                connections.spawn(async move { serve(client, &shared).await });
            }
            outcome = open.wait_for(|open| !open) => {
                drop(outcome.expect("the gate holds the sender"));
                listener = None;
                connections.abort_all();
            }
        }
        while connections.try_join_next().is_some() {}
    }
}

/// Serves one connection until an error, which is caused by a peer.
async fn serve(client: TcpStream, shared: &Shared) {
    drop(client.set_nodelay(true));
    let mut client = Wire::new(client);
    let mut server = None;
    while let Ok(true) = exchange(&mut client, &mut server, shared).await {}
}

/// Handles one request; returns whether the connection continues.
async fn exchange(client: &mut Wire, server: &mut Option<Wire>, shared: &Shared) -> io::Result<bool> {
    let head = client.head().await?;
    let line = String::from_utf8_lossy(&head).lines().next().unwrap_or_default().to_owned();
    let act = shared.act(&line);
    shared.lines.lock().expect("lines").push(line.clone());
    let server = match server {
        Some(server) => server,
        none => none.insert(Wire::connect(shared.target).await?),
    };
    if act.is_none() && line.contains("feed=continuous") {
        server.stream.write_all(&head).await?;
        copy_bidirectional(&mut client.stream, &mut server.stream).await?;
        return Ok(false);
    }
    let request = Request { body: Framing::of(&head, true), no_answer_body: line.starts_with("HEAD "), head };
    match act {
        None => {}
        Some(Act::Hold(gate)) => {
            shared.strike();
            gate.notified().await;
        }
        Some(act) => {
            strike(act, request, client, server, shared).await?;
            return Ok(false);
        }
    }
    request.pass(client, server).await?;
    let answer = server.head().await?;
    client.stream.write_all(&answer).await?;
    let body = request.answer_body(&answer);
    server.body(body, Some(&mut client.stream), usize::MAX).await?;
    Ok(body != Framing::ToTheEnd)
}

/// Applies a fault that ends the connection.
async fn strike(act: Act, request: Request, client: &mut Wire, server: &mut Wire, shared: &Shared) -> io::Result<()> {
    match act {
        Act::Hold(_) => {}
        Act::Shut => {
            shared.open.send_replace(false);
            shared.strike();
        }
        Act::Answer(answer) => {
            client.body(request.body, None, usize::MAX).await?;
            shared.strike();
            client.stream.write_all(&answer).await?;
            client.end(End::Fin).await?;
        }
        Act::AnswerEarly(answer) => {
            shared.strike();
            client.stream.write_all(&answer).await?;
            client.end(End::Fin).await?;
        }
        Act::CutRequest(after, end) => {
            let now = after.min(request.head.len());
            server.stream.write_all(&request.head[..now]).await?;
            client.body(request.body, Some(&mut server.stream), after - now).await?;
            shared.strike();
            if end != End::Silence {
                server.end(end).await?;
            }
            client.end(end).await?;
        }
        Act::AnswerAndShut => {
            request.pass(client, server).await?;
            server.head().await?;
            shared.open.send_replace(false);
            shared.strike();
        }
        Act::CutAnswer(after, end) => {
            request.pass(client, server).await?;
            let answer = server.head().await?;
            let now = after.min(answer.len());
            client.stream.write_all(&answer[..now]).await?;
            server.body(request.answer_body(&answer), Some(&mut client.stream), after - now).await?;
            shared.strike();
            client.end(end).await?;
        }
    }
    Ok(())
}

struct Request {
    head: Vec<u8>,
    body: Framing,
    /// Whether the request is a HEAD.
    no_answer_body: bool,
}

impl Request {
    /// Forwards the request; a server may respond before it has read everything.
    async fn pass(&self, client: &mut Wire, server: &mut Wire) -> io::Result<()> {
        server.stream.write_all(&self.head).await?;
        client.body(self.body, Some(&mut server.stream), usize::MAX).await
    }

    fn answer_body(&self, answer: &[u8]) -> Framing {
        if self.no_answer_body { Framing::Length(0) } else { Framing::of(answer, false) }
    }
}

impl Shared {
    fn strike(&self) {
        self.struck.send_modify(|struck| *struck += 1);
    }

    fn act(&self, line: &str) -> Option<Act> {
        let mut rules = self.rules.lock().expect("rules");
        let fits = |rule: &&mut Rule| rule.times > 0 && line.starts_with(rule.method) && holds(line, &rule.part);
        let rule = rules.iter_mut().find(fits)?;
        rule.times -= 1;
        Some(rule.act.clone())
    }
}

fn holds(line: &str, part: &str) -> bool {
    let mut rest = line;
    part.split('*').all(|piece| match rest.split_once(piece) {
        None => false,
        Some((_, after)) => {
            rest = after;
            true
        }
    })
}
