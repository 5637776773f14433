//! A scripted server: it shows the bytes of every request as received, and sends what the test says, when it says so.
//!
//! The gateway's own changes feed of the plans is served separately, so that the test only sees its own requests.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio_util::task::AbortOnDropHandle;

/// Upper bound for anything a test waits for, however busy the machine is.
pub const LONG: Duration = Duration::from_secs(30);

/// Awaits something that must happen soon.
pub async fn soon<F: Future>(what: &str, future: F) -> F::Output {
    match tokio::time::timeout(LONG, future).await {
        Ok(output) => output,
        Err(_) => panic!("nothing within {LONG:?}: {what}"),
    }
}

/// Waits until a condition holds that must soon do so.
pub async fn until(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let waiting = async {
        while !holds().await {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    soon(what, waiting).await;
}

/// A server whose connections are served by the test itself.
#[derive(Debug)]
pub struct Upstream {
    address: SocketAddr,
    connections: UnboundedReceiver<Connection>,
    /// A connection that may be reused.
    kept: Option<Connection>,
    _accepting: AbortOnDropHandle<()>,
}

impl Upstream {
    /// Listens on a free loopback port.
    pub async fn start() -> Self {
        Self::over(TcpListener::bind(("127.0.0.1", 0)).await.expect("a free port"))
    }

    /// Like [`start`](Self::start), with a receive buffer of about this many bytes.
    pub fn start_narrow(bytes: u32) -> Self {
        let socket = TcpSocket::new_v4().expect("a socket");
        socket.set_recv_buffer_size(bytes).expect("a receive buffer");
        socket.bind(([127, 0, 0, 1], 0).into()).expect("a free port");
        Self::over(socket.listen(64).expect("a listener"))
    }

    fn over(listener: TcpListener) -> Self {
        let address = listener.local_addr().expect("an address");
        let (sender, connections) = unbounded_channel();
        let accepting = tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.expect("accept");
                tokio::spawn(sort(stream, sender.clone()));
            }
        });
        Self { address, connections, kept: None, _accepting: AbortOnDropHandle::new(accepting) }
    }

    /// `http://host:port`
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Returns the next connection on which something was sent.
    pub async fn accept(&mut self) -> Connection {
        soon("a connection to the upstream", self.connections.recv()).await.expect("the server runs")
    }

    /// Until `asking` has its response, handles requests for `target` with `answer`, which may return the connection, and responds to all
    /// others with 404.
    pub async fn until<T>(
        &mut self,
        target: &str,
        asking: impl Future<Output = T>,
        answer: impl AsyncFn(Connection, Seen) -> Option<Connection>,
    ) -> T {
        let answering = async {
            loop {
                let (mut connection, seen) = self.request().await;
                if seen.target() == target {
                    self.kept = answer(connection, seen).await;
                } else {
                    connection.answer("404 Object Not Found", r#"{"error":"not_found","reason":"missing"}"#).await;
                    self.keep(connection);
                }
            }
        };
        soon("the answer", async {
            tokio::select! { answer = asking => answer, () = answering => unreachable!() }
        })
        .await
    }

    /// Keeps a connection open: the next request may arrive on it.
    pub fn keep(&mut self, connection: Connection) {
        self.kept = Some(connection);
    }

    /// Returns the next request, on a new connection or on the one kept.
    pub async fn request(&mut self) -> (Connection, Seen) {
        let mut connection = match self.kept.take() {
            None => self.accept().await,
            Some(mut kept) => tokio::select! {
                connection = self.accept() => connection,
                count = kept.fill() => if count.is_ok_and(|count| count > 0) { kept } else { self.accept().await },
            },
        };
        let seen = connection.request().await;
        (connection, seen)
    }

    /// Returns another connection, if there already is one.
    pub fn try_accept(&mut self) -> Option<Connection> {
        self.connections.try_recv().ok()
    }

    /// Returns whether there already is another connection.
    pub fn has_more(&mut self) -> bool {
        self.try_accept().is_some()
    }
}

/// The request with which the gateway reads all plans.
const PLANS: &[u8] = b"/_changes?feed=normal&include_docs=true&since=0";
/// The response: there are none.
const NO_PLANS: &[u8] = b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 45\r\n\r\n{\"results\":[\n\n],\n\"last_seq\":\"0\",\"pending\":0}\n";
/// The request that only the gateway's own feed sends.
const FEED: &[u8] = b"/_changes?feed=continuous&include_docs=true&heartbeat=10000&since=";
/// Shorter than the shortest `timeouts.idle_body` of any test.
const HEARTBEAT: Duration = Duration::from_millis(50);

/// Keeps the gateway's own feed away from the test.
async fn sort(mut stream: TcpStream, sender: UnboundedSender<Connection>) {
    let mut buffer = Vec::new();
    while !buffer.windows(2).any(|pair| pair == b"\r\n") {
        match stream.read_buf(&mut buffer).await {
            Ok(0) | Err(_) => return,
            Ok(_) => {}
        }
    }
    if buffer.windows(PLANS.len()).any(|window| window == PLANS) {
        // Unread bytes of the request would turn the end of the connection into a reset.
        while !buffer.ends_with(b"\r\n\r\n") && stream.read_buf(&mut buffer).await.is_ok_and(|count| count > 0) {}
        // The gateway may have left.
        drop(stream.write_all(NO_PLANS).await);
        return;
    }
    if buffer.windows(FEED.len()).any(|window| window == FEED) {
        let mut beat = tokio::time::interval(HEARTBEAT);
        let mut open = stream.write_all(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n").await;
        while open.is_ok() {
            beat.tick().await;
            open = stream.write_all(b"1\r\n\n\r\n").await;
        }
        return;
    }
    // The test may have ended.
    drop(sender.send(Connection { stream, buffer }));
}

/// A connection from the gateway to the scripted server.
#[derive(Debug)]
pub struct Connection {
    stream: TcpStream,
    buffer: Vec<u8>,
}

/// A request as received.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    /// `METHOD target HTTP/1.1`
    pub line: String,
    /// Names and values as sent, in order.
    pub headers: Vec<(String, String)>,
    /// The body without chunk framing.
    pub body: Vec<u8>,
    /// The trailers of a chunked body.
    pub trailers: Vec<String>,
}

impl Seen {
    /// Returns the target byte for byte.
    pub fn target(&self) -> &str {
        self.line.split(' ').nth(1).expect("a request line")
    }

    /// Returns all values of a header.
    pub fn all(&self, name: &str) -> Vec<&str> {
        self.headers.iter().filter(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str()).collect()
    }

    /// Returns whether the header exists.
    pub fn has(&self, name: &str) -> bool {
        !self.all(name).is_empty()
    }
}

impl Connection {
    /// Reads a whole request.
    pub async fn request(&mut self) -> Seen {
        let mut seen = self.head().await;
        if seen.all("transfer-encoding").iter().any(|value| value.eq_ignore_ascii_case("chunked")) {
            assert!(!seen.has("content-length"), "two framings: {seen:?}");
            loop {
                let line = self.line().await;
                let size = usize::from_str_radix(&line, 16).unwrap_or_else(|_| panic!("no chunk size: {line:?}"));
                if size == 0 {
                    break;
                }
                seen.body.extend(self.bytes(size).await);
                assert_eq!(self.line().await, "", "after a chunk");
            }
            loop {
                match self.line().await {
                    line if line.is_empty() => break,
                    line => seen.trailers.push(line),
                }
            }
        } else if let [length] = seen.all("content-length").as_slice() {
            seen.body = self.bytes(length.parse().expect("a length")).await;
        } else {
            assert!(!seen.has("content-length"), "two lengths: {seen:?}");
        }
        seen
    }

    /// Reads the head of a request and leaves its body.
    pub async fn head(&mut self) -> Seen {
        let request_line = self.line().await;
        let mut headers = Vec::new();
        loop {
            let line = self.line().await;
            if line.is_empty() {
                return Seen { line: request_line, headers, body: Vec::new(), trailers: Vec::new() };
            }
            let (name, value) = line.split_once(':').unwrap_or_else(|| panic!("no header: {line:?}"));
            headers.push((name.to_owned(), value.strip_prefix(' ').unwrap_or(value).to_owned()));
        }
    }

    /// Reads a line that ends with CR LF, each byte as one character.
    pub async fn line(&mut self) -> String {
        loop {
            if let Some(end) = self.buffer.windows(2).position(|pair| pair == b"\r\n") {
                let line: Vec<u8> = self.buffer.drain(..end + 2).take(end).collect();
                return line.into_iter().map(char::from).collect();
            }
            assert!(self.fill().await.expect("the connection is open") > 0, "closed after {:?}", self.buffer);
        }
    }

    /// Reads this many bytes.
    pub async fn bytes(&mut self, count: usize) -> Vec<u8> {
        while self.buffer.len() < count {
            assert!(self.fill().await.expect("the connection is open") > 0, "closed in a body");
        }
        self.buffer.drain(..count).collect()
    }

    /// Sends bytes.
    pub async fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.try_send(bytes).await.expect("the gateway reads");
    }

    /// Sends bytes to a peer that may be gone.
    pub async fn try_send(&mut self, bytes: impl AsRef<[u8]>) -> io::Result<()> {
        soon("the gateway to read", self.stream.write_all(bytes.as_ref())).await
    }

    /// Sends as many of the bytes as the gateway accepts now; waits while it accepts none.
    pub async fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.stream.write(bytes).await
    }

    /// Responds with JSON text.
    pub async fn answer(&mut self, status: &str, text: &str) {
        self.send(format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\n\r\n{text}", text.len())).await;
    }

    /// Waits until the gateway closes; returns whatever it still sends.
    pub async fn closed(mut self) -> Vec<u8> {
        while self.fill().await.is_ok_and(|count| count > 0) {}
        self.buffer
    }

    /// Closes with a reset.
    pub fn reset(self) {
        self.leave(true);
    }

    /// Closes, with or without a reset.
    pub fn leave(self, reset: bool) {
        if reset {
            self.stream.set_zero_linger().expect("a socket option");
        }
    }

    async fn fill(&mut self) -> io::Result<usize> {
        soon("bytes from the gateway", self.stream.read_buf(&mut self.buffer)).await
    }
}
