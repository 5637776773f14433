//! An HTTP/1.1 proxy that does one bad thing to chosen requests, at an exact byte of the request or of its answer.
//!
//! The fault proxy in `support` strikes connections; the gateway keeps connections and uses them for many things, so that
//! what is to fail here is chosen by method and target. Everything else passes untouched.

use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt, AsyncWriteExt, copy_bidirectional};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::{Notify, watch};
use tokio::task::JoinSet;
use tokio_util::task::AbortOnDropHandle;

/// A running gate; dropping it closes everything that it has open.
#[derive(Debug)]
pub struct Gate {
    address: SocketAddr,
    shared: Arc<Shared>,
    /// Keeps the port while nobody listens on it.
    _port: TcpSocket,
    _accepting: AbortOnDropHandle<()>,
}

#[derive(Debug)]
struct Shared {
    target: SocketAddr,
    rules: Mutex<Vec<Rule>>,
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

/// What is done to a request.
#[derive(Clone, Debug)]
pub enum Act {
    /// Only this many of its bytes, head and body, reach the server; then both connections end.
    CutRequest(usize, End),
    /// The server gets it; only this many bytes of the answer reach the client.
    CutAnswer(usize, End),
    /// The server gets it; then the gate shuts for good, before a byte of the answer.
    AnswerAndShut,
    /// The gate shuts for good before the server gets a byte.
    Shut,
    /// The server gets nothing of it; this is the answer, and the end of the connection.
    Answer(Vec<u8>),
    /// It waits until the test notifies, and passes then.
    Hold(Arc<Notify>),
}

/// How a connection ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// An orderly end.
    Fin,
    /// A reset.
    Reset,
    /// Not at all: nothing is heard any more.
    Silence,
}

/// An answer with a status and a body, for [`Act::Answer`].
pub fn answer(status: u16, body: &str) -> Act {
    let length = body.len();
    Act::Answer(format!("HTTP/1.1 {status} x\r\nContent-Length: {length}\r\n\r\n{body}").into_bytes())
}

impl Gate {
    /// Starts a gate in front of `target`.
    pub async fn start(target: SocketAddr) -> Self {
        let port = socket(SocketAddr::from(([127, 0, 0, 1], 0)));
        let address = port.local_addr().expect("a bound socket has an address");
        let shared = Arc::new(Shared {
            target,
            rules: Mutex::default(),
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

    /// Where it listens.
    pub fn port(&self) -> u16 {
        self.address.port()
    }

    /// What is done to the next `times` requests with this method whose target holds `part`, where `*` stands for anything.
    /// Earlier rules come first.
    pub fn rule(&self, method: &'static str, part: &str, times: usize, act: Act) {
        self.shared.rules.lock().expect("rules").push(Rule { method, part: part.to_owned(), times, act });
    }

    /// Forgets all rules.
    pub fn relent(&self) {
        self.shared.rules.lock().expect("rules").clear();
    }

    /// Waits until rules have struck this often.
    pub async fn struck(&self, times: usize) {
        let mut struck = self.shared.struck.subscribe();
        struck.wait_for(|struck| *struck >= times).await.expect("the gate holds the sender");
    }

    /// Refuses connections, and breaks those that are open.
    pub fn shut(&self) {
        self.shared.open.send_replace(false);
    }

    /// Takes connections again.
    pub fn open(&self) {
        self.shared.open.send_replace(true);
    }
}

fn socket(address: SocketAddr) -> TcpSocket {
    let socket = TcpSocket::new_v4().expect("a socket");
    socket.set_reuseport(true).expect("reuseport");
    socket.set_reuseaddr(true).expect("reuseaddr");
    socket.bind(address).expect("a free loopback port");
    socket
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

/// One connection. Errors end it: they are the peers' doing.
async fn serve(client: TcpStream, shared: &Shared) {
    drop(client.set_nodelay(true));
    let mut client = Wire::new(client);
    let mut server = None;
    while let Ok(true) = exchange(&mut client, &mut server, shared).await {}
}

/// One request and its answer; whether the connection goes on.
async fn exchange(client: &mut Wire, server: &mut Option<Wire>, shared: &Shared) -> io::Result<bool> {
    let head = client.head().await?;
    let line = String::from_utf8_lossy(&head).lines().next().unwrap_or_default().to_owned();
    let act = shared.act(&line);
    if server.is_none() {
        let stream = TcpStream::connect(shared.target).await?;
        stream.set_nodelay(true)?;
        *server = Some(Wire::new(stream));
    }
    let server = server.as_mut().expect("just made");
    if line.contains("feed=continuous") {
        server.stream.write_all(&head).await?;
        copy_bidirectional(&mut client.stream, &mut server.stream).await?;
        return Ok(false);
    }
    let strike = || shared.struck.send_modify(|struck| *struck += 1);
    let body = Framing::of(&head, Some(&line));
    match act {
        None => {}
        Some(Act::Hold(gate)) => {
            strike();
            gate.notified().await;
        }
        Some(Act::Shut) => {
            shared.open.send_replace(false);
            strike();
            return Ok(false);
        }
        Some(Act::Answer(answer)) => {
            client.body(body, None, usize::MAX).await?;
            strike();
            client.stream.write_all(&answer).await?;
            client.stream.shutdown().await?;
            return client.dismiss().await;
        }
        Some(Act::CutRequest(after, end)) => {
            let now = after.min(head.len());
            server.stream.write_all(&head[..now]).await?;
            client.body(body, Some(&mut server.stream), after - now).await?;
            strike();
            if end != End::Silence {
                server.end(end).await?;
            }
            client.end(end).await?;
            return Ok(false);
        }
        Some(Act::AnswerAndShut) => {
            pass(client, server, &head, body).await?;
            server.head().await?;
            shared.open.send_replace(false);
            strike();
            return Ok(false);
        }
        Some(Act::CutAnswer(after, end)) => {
            pass(client, server, &head, body).await?;
            let answer = server.head().await?;
            let now = after.min(answer.len());
            client.stream.write_all(&answer[..now]).await?;
            let body = Framing::of(&answer, None).unless(line.starts_with("HEAD "));
            server.body(body, Some(&mut client.stream), after - now).await?;
            strike();
            client.end(end).await?;
            return Ok(false);
        }
    }
    pass(client, server, &head, body).await?;
    let answer = server.head().await?;
    client.stream.write_all(&answer).await?;
    let body = Framing::of(&answer, None).unless(line.starts_with("HEAD "));
    server.body(body, Some(&mut client.stream), usize::MAX).await?;
    Ok(body != Framing::ToTheEnd)
}

/// Passes a request on; a server that answers before it has read all is not an error.
async fn pass(client: &mut Wire, server: &mut Wire, head: &[u8], body: Framing) -> io::Result<()> {
    server.stream.write_all(head).await?;
    client.body(body, Some(&mut server.stream), usize::MAX).await
}

impl Shared {
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

/// How a message's body ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Framing {
    Length(usize),
    Chunked,
    ToTheEnd,
}

impl Framing {
    /// Of a message with this head; `request` is a request's first line.
    fn of(head: &[u8], request: Option<&str>) -> Self {
        let text = String::from_utf8_lossy(head).to_ascii_lowercase();
        let header =
            |name: &str| text.lines().find_map(|line| line.strip_prefix(name).map(str::trim).map(str::to_owned));
        let status = text.split(' ').nth(1).unwrap_or_default();
        if header("transfer-encoding:").is_some() {
            Self::Chunked
        } else if let Some(length) = header("content-length:") {
            Self::Length(length.parse().expect("a length"))
        } else if request.is_some() || matches!(status, "204" | "304") {
            Self::Length(0)
        } else {
            Self::ToTheEnd
        }
    }

    fn unless(self, head_only: bool) -> Self {
        if head_only { Self::Length(0) } else { self }
    }
}

/// A connection and what was read of it too early.
struct Wire {
    stream: TcpStream,
    buffer: Vec<u8>,
}

impl Wire {
    fn new(stream: TcpStream) -> Self {
        Self { stream, buffer: Vec::new() }
    }

    async fn fill(&mut self) -> io::Result<()> {
        self.buffer.reserve(64 << 10);
        match self.stream.read_buf(&mut self.buffer).await? {
            0 => Err(io::ErrorKind::UnexpectedEof.into()),
            _ => Ok(()),
        }
    }

    /// Reads a head, with its empty line.
    async fn head(&mut self) -> io::Result<Vec<u8>> {
        loop {
            if let Some(end) = self.buffer.windows(4).position(|four| four == b"\r\n\r\n") {
                return Ok(self.buffer.drain(..end + 4).collect());
            }
            self.fill().await?;
        }
    }

    /// Reads a body, and passes the first `limit` bytes of it on; stops there.
    async fn body(&mut self, framing: Framing, to: Option<&mut TcpStream>, limit: usize) -> io::Result<()> {
        let mut sink = Sink { to, left: limit };
        match framing {
            Framing::Length(length) => self.pass(length, &mut sink).await,
            Framing::ToTheEnd => match self.pass(usize::MAX, &mut sink).await {
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(()),
                other => other,
            },
            Framing::Chunked => loop {
                let line = self.line().await?;
                let digits = line.trim_ascii().to_owned();
                let size = usize::from_str_radix(&String::from_utf8_lossy(&digits), 16).expect("a chunk's size");
                sink.write(&line).await;
                self.pass(size + 2, &mut sink).await?;
                if size == 0 || sink.left == 0 {
                    return Ok(());
                }
            },
        }
    }

    async fn pass(&mut self, length: usize, sink: &mut Sink<'_>) -> io::Result<()> {
        let mut left = length;
        while left > 0 && sink.left > 0 {
            if self.buffer.is_empty() {
                self.fill().await?;
            }
            let take = self.buffer.len().min(left);
            sink.write(&self.buffer[..take]).await;
            self.buffer.drain(..take);
            left -= take;
        }
        Ok(())
    }

    async fn line(&mut self) -> io::Result<Vec<u8>> {
        loop {
            if let Some(end) = self.buffer.iter().position(|byte| *byte == b'\n') {
                return Ok(self.buffer.drain(..=end).collect());
            }
            self.fill().await?;
        }
    }

    async fn end(&mut self, end: End) -> io::Result<()> {
        match end {
            End::Fin => {
                self.stream.shutdown().await?;
                self.dismiss().await.map(drop)
            }
            End::Reset => self.stream.set_zero_linger(),
            End::Silence => self.dismiss().await.map(drop),
        }
    }

    /// Reads what the peer still sends: closing with unread bytes would be a reset.
    async fn dismiss(&mut self) -> io::Result<bool> {
        tokio::io::copy(&mut self.stream, &mut tokio::io::sink()).await?;
        Ok(false)
    }
}

struct Sink<'a> {
    to: Option<&'a mut TcpStream>,
    left: usize,
}

impl Sink<'_> {
    /// A receiver that has gone is not the sender's fault: it may have answered already.
    async fn write(&mut self, bytes: &[u8]) {
        let take = bytes.len().min(self.left);
        self.left -= take;
        if let Some(to) = &mut self.to
            && to.write_all(&bytes[..take]).await.is_err()
        {
            self.to = None;
        }
    }
}
