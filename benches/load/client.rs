//! The load generator: keep-alive connections, each of which sends a request, reads the whole response, and repeats.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use serde_json::Value;
use tokio::net::TcpStream;
use tokio::task::JoinSet;

use crate::Outcome;
use crate::exchange::Exchange;
use crate::pattern::{self, Check};
use crate::wire::{Connection, Framing};
use crate::workload::{AUTHORIZATION, document_target};

/// The connections in throughput rounds.
pub(crate) const CONNECTIONS: usize = 64;

/// A connection to one server.
#[derive(Debug)]
pub(crate) struct Client {
    connection: Connection,
    address: SocketAddr,
}

/// A response whose body was read, and kept if it is short.
#[derive(Debug)]
struct Answer {
    status: u16,
    length: u64,
    text: Vec<u8>,
}

/// The number of bytes of a body that is kept, for messages and JSON.
const KEPT: usize = 64 * 1024;

impl Client {
    pub(crate) async fn connect(address: SocketAddr) -> Outcome<Self> {
        Ok(Self { connection: Connection::new(TcpStream::connect(address).await?)?, address })
    }

    fn head(&self, method: &str, target: &str, fields: &str) -> Vec<u8> {
        let host = self.address;
        format!("{method} {target} HTTP/1.1\r\nHost: {host}\r\nUser-Agent: bench\r\nAccept: */*\r\n{AUTHORIZATION}{fields}\r\n")
            .into_bytes()
    }

    /// Reads one response, skipping interim ones (1xx). Passes each piece of a 200's body to `piece`.
    async fn answer(&mut self, mut piece: impl FnMut(&[u8])) -> Outcome<Answer> {
        loop {
            let head = self.connection.head().await?.ok_or("closed without an answer")?;
            let code = self.connection.text(&head).split(' ').nth(1);
            let status: u16 = code.and_then(|code| code.parse().ok()).ok_or("an answer without a status")?;
            self.connection.consume(&head);
            if status < 200 {
                continue;
            }
            let mut text = Vec::new();
            let framing = head.framing.unwrap_or(Framing::Length(0));
            let read = |bytes: &[u8]| {
                if status == 200 {
                    piece(bytes);
                }
                if text.len() < KEPT {
                    text.extend_from_slice(&bytes[..bytes.len().min(KEPT)]);
                }
            };
            let length = self.connection.body(framing, read).await?;
            return Ok(Answer { status, length, text });
        }
    }

    /// GETs a body and returns its length; compares it with the pattern if a check is given.
    pub(crate) async fn get(&mut self, target: &str, mut check: Option<&mut Check>) -> Outcome<u64> {
        let head = self.head("GET", target, "");
        self.connection.write(&head).await?;
        let compare = |piece: &[u8]| {
            if let Some(check) = check.as_deref_mut() {
                check.piece(piece);
            }
        };
        let answer = self.answer(compare).await?;
        answer.expect(200, target)?;
        Ok(answer.length)
    }

    /// PUTs a recording of this length in bytes; any status but 201 is an error.
    pub(crate) async fn put_recording(&mut self, target: &str, length: u64) -> Outcome<()> {
        let head = self.head("PUT", target, &format!("Content-Type: audio/mpeg\r\nContent-Length: {length}\r\n"));
        let mut sent = self.connection.write(&head).await;
        for slice in pattern::slices(length) {
            if sent.is_err() {
                break;
            }
            sent = self.connection.write(slice).await;
        }
        // A server may respond and close before it has read everything: its response is more informative than the broken pipe.
        match (self.answer(|_| {}).await, sent) {
            (Ok(answer), _) => answer.expect(201, target),
            (Err(_), Err(error)) => Err(format!("PUT {target}: {error}").into()),
            (Err(error), Ok(())) => Err(format!("PUT {target}: {error}").into()),
        }
    }

    /// PUTs a document and returns its revision.
    pub(crate) async fn put_document(&mut self, database: &str, id: &str, document: &Value) -> Outcome<String> {
        let (target, body) = (document_target(database, id), document.to_string());
        let mut message = self.head("PUT", &target, &json_fields(body.len()));
        message.extend_from_slice(body.as_bytes());
        self.connection.write(&message).await?;
        let answer = self.answer(|_| {}).await?;
        answer.expect(201, &target)?;
        let saved: Value = serde_json::from_slice(&answer.text)?;
        Ok(saved["rev"].as_str().ok_or("a saved document without a rev")?.to_owned())
    }

    /// Creates a database, unless it exists.
    pub(crate) async fn make_database(&mut self, name: &str) -> Outcome<()> {
        let target = format!("/{name}");
        let message = self.head("PUT", &target, "Content-Length: 0\r\n");
        self.connection.write(&message).await?;
        let answer = self.answer(|_| {}).await?;
        if answer.status == 412 { Ok(()) } else { answer.expect(201, &target) }
    }

    /// Repeats one request until `end`; returns the number of responses.
    async fn ask_until(&mut self, exchange: &Exchange, end: Instant) -> Outcome<u64> {
        let request = self.request(exchange);
        let mut count = 0;
        while Instant::now() < end {
            self.ask(exchange, &request).await?;
            count += 1;
        }
        Ok(count)
    }

    fn request(&self, exchange: &Exchange) -> Vec<u8> {
        let body = exchange.body();
        let fields = body.as_ref().map(|body| json_fields(body.len())).unwrap_or_default();
        let head = self.head(exchange.method, &exchange.target(), &fields);
        [head, body.unwrap_or_default().into_bytes()].concat()
    }

    /// Sends a request once, and discards the response.
    async fn ask(&mut self, exchange: &Exchange, request: &[u8]) -> Outcome<()> {
        self.connection.write(request).await?;
        let head = self.connection.head().await?.ok_or("closed without an answer")?;
        let text = self.connection.text(&head);
        if !text.starts_with("HTTP/1.1 20") {
            return Err(format!("{}: {}", exchange.name, text.lines().next().unwrap_or_default()).into());
        }
        self.connection.consume(&head);
        let framing = head.framing.ok_or("an answer without a length")?;
        self.connection.body(framing, |_| {}).await?;
        Ok(())
    }
}

fn json_fields(length: usize) -> String {
    format!("Content-Type: application/json\r\nContent-Length: {length}\r\n")
}

impl Answer {
    fn expect(&self, status: u16, target: &str) -> Outcome<()> {
        if self.status == status {
            return Ok(());
        }
        let text = String::from_utf8_lossy(&self.text);
        Err(format!("{target}: {} where {status} was expected: {}", self.status, text.trim_end()).into())
    }
}

/// Repeats one request on 64 connections for `length`; returns the number of responses and the time they took.
pub(crate) async fn throughput(
    address: SocketAddr,
    exchange: &'static Exchange,
    length: Duration,
) -> Outcome<(u64, Duration)> {
    let mut clients = Vec::new();
    for _ in 0..CONNECTIONS {
        clients.push(Client::connect(address).await?);
    }
    let start = Instant::now();
    let mut tasks = JoinSet::new();
    for mut client in clients {
        tasks.spawn(async move { client.ask_until(exchange, start + length).await });
    }
    let mut total = 0;
    while let Some(count) = tasks.join_next().await {
        total += count??;
    }
    Ok((total, start.elapsed()))
}

/// Repeats one request on one connection; returns the median time.
pub(crate) async fn latency(address: SocketAddr, exchange: &Exchange, requests: usize) -> Outcome<Duration> {
    let mut client = Client::connect(address).await?;
    let request = client.request(exchange);
    // The first requests open connections behind the peer.
    for _ in 0..requests.div_ceil(10) {
        client.ask(exchange, &request).await?;
    }
    let mut times = Vec::with_capacity(requests);
    for _ in 0..requests {
        let start = Instant::now();
        client.ask(exchange, &request).await?;
        times.push(start.elapsed());
    }
    times.sort_unstable();
    times.get(requests / 2).copied().ok_or_else(|| "no requests".into())
}
