//! A proxy that understands FTP: it records commands, changes or drops replies, and breaks data connections at an exact byte. With
//! a certificate it adds TLS to a server without it, strictly: no login without TLS, and data connections only after `PBSZ 0` and
//! `PROT P` (RFC 4217 sections 4 and 8 to 10).
//!
//! libunftp has no implicit TLS, and after `AUTH TLS` it may still read the client's first TLS bytes as a command.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rustls::{HandshakeKind, ServerConfig};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncWrite, AsyncWriteExt, BufReader, copy_bidirectional, split};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;
use tokio_util::task::AbortOnDropHandle;

use super::super::certs::Certs;
use super::super::fault::{Fault, FaultProxy};
use super::super::serve::listen;

/// What happens to a command instead of normal processing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Act {
    /// Nothing: the next plan applies to a later command.
    Pass,
    /// The command does not reach the server, and this is the reply.
    Answer(&'static str),
    /// The server executes it, and its last reply is replaced by this one.
    Say(&'static str),
    /// The server executes it, and the connection is closed instead of the reply.
    Lose,
    /// The connection is closed before the command reaches the server.
    Close,
    /// The command is dropped without a reply.
    Hold,
    /// The command reaches the server after this delay.
    Late(Duration),
}

/// Formats the reply that names a port.
pub type Form = fn(u16) -> String;

/// A running gate; dropping it closes everything.
#[derive(Debug)]
pub struct Gate {
    address: SocketAddr,
    shared: Arc<Shared>,
    _accepting: AbortOnDropHandle<()>,
}

#[derive(Debug, Default)]
struct Shared {
    plans: Mutex<Vec<(&'static str, Act, usize)>>,
    faults: Mutex<VecDeque<Fault>>,
    asked: Mutex<Vec<String>>,
    resumed: Mutex<Vec<bool>>,
    form: Mutex<Option<Form>>,
}

impl Gate {
    /// Starts a gate in front of a server, without TLS.
    pub async fn start(target: SocketAddr) -> Self {
        Self::with(target, None).await
    }

    /// Starts a gate in front of a server without TLS, speaking TLS from the first byte.
    pub async fn implicit(target: SocketAddr, certs: &Certs) -> Self {
        Self::with(target, Some((acceptor(certs), false))).await
    }

    /// Starts a gate in front of a server without TLS, speaking TLS after `AUTH TLS`.
    pub async fn explicit(target: SocketAddr, certs: &Certs) -> Self {
        Self::with(target, Some((acceptor(certs), true))).await
    }

    async fn with(target: SocketAddr, tls: Option<(TlsAcceptor, bool)>) -> Self {
        let (listener, address) = listen().await;
        let shared = Arc::new(Shared::default());
        let all = Arc::clone(&shared);
        let accepting = tokio::spawn(async move {
            let mut sessions = JoinSet::new();
            loop {
                let (client, _) = listener.accept().await.expect("accept");
                let Ok(server) = TcpStream::connect(target).await else { continue };
                sessions.spawn(Session::serve(Arc::clone(&all), tls.clone(), client, server));
                while sessions.try_join_next().is_some() {}
            }
        });
        Self { address, shared, _accepting: AbortOnDropHandle::new(accepting) }
    }

    /// Returns the address for clients.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Plans the next `times` commands with this prefix.
    pub fn plan(&self, command: &'static str, act: Act, times: usize) {
        self.shared.plans.lock().expect("plans").push((command, act, times));
    }

    /// Sets the format of replies that name a data connection's port.
    pub fn say_port(&self, form: Form) {
        *self.shared.form.lock().expect("form") = Some(form);
    }

    /// Plans a fault for the next data connection without one.
    pub fn fault(&self, fault: Fault) {
        self.shared.faults.lock().expect("faults").push_back(fault);
    }

    /// Returns the commands so far, without the password.
    pub fn asked(&self) -> Vec<String> {
        self.shared.asked.lock().expect("asked").clone()
    }

    /// Discards plans and recorded commands.
    pub fn forget(&self) {
        self.shared.plans.lock().expect("plans").clear();
        self.shared.asked.lock().expect("asked").clear();
    }

    /// Returns, for each data connection over TLS, whether it resumed a session.
    pub fn resumed(&self) -> Vec<bool> {
        self.shared.resumed.lock().expect("resumed").clone()
    }
}

fn acceptor(certs: &Certs) -> TlsAcceptor {
    let chain = CertificateDer::pem_file_iter(certs.server()).expect("a certificate");
    let chain = chain.collect::<Result<_, _>>().expect("a certificate");
    let key = PrivateKeyDer::from_pem_file(certs.server_key()).expect("a key");
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("versions of TLS")
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .expect("a certificate and its key");
    config.ticketer = rustls::crypto::ring::Ticketer::new().expect("tickets");
    TlsAcceptor::from(Arc::new(config))
}

struct Session {
    shared: Arc<Shared>,
    tls: Option<TlsAcceptor>,
    /// Progress of the client's request for protected data connections: `PBSZ 0`, then `PROT P`.
    protection: u8,
    data: JoinSet<()>,
    proxies: Vec<FaultProxy>,
}

impl Session {
    async fn serve(
        shared: Arc<Shared>,
        tls: Option<(TlsAcceptor, bool)>,
        mut client: TcpStream,
        mut server: TcpStream,
    ) -> Option<()> {
        let acceptor = tls.as_ref().map(|(acceptor, _)| acceptor.clone());
        let session = Self { shared, tls: acceptor, protection: 0, data: JoinSet::new(), proxies: Vec::new() };
        match tls {
            None => session.run(client, server, VecDeque::from([None])).await,
            Some((tls, false)) => session.run(tls.accept(client).await.ok()?, server, VecDeque::from([None])).await,
            Some((tls, true)) => {
                let mut greeting = String::new();
                BufReader::new(&mut server).read_line(&mut greeting).await.ok()?;
                client.write_all(greeting.as_bytes()).await.ok()?;
                let mut commands = BufReader::new(&mut client);
                loop {
                    let mut command = String::new();
                    commands.read_line(&mut command).await.ok().filter(|length| *length > 0)?;
                    match session.act(command.trim_end()) {
                        Some(Act::Answer(text)) => commands.write_all(format!("{text}\r\n").as_bytes()).await.ok()?,
                        None if command == "AUTH TLS\r\n" => break,
                        _ => commands.write_all(b"530 not without TLS\r\n").await.ok()?,
                    }
                }
                commands.write_all(b"234 begin\r\n").await.ok()?;
                session.run(tls.accept(client).await.ok()?, server, VecDeque::new()).await
            }
        }
    }

    async fn run<S>(mut self, client: S, server: TcpStream, mut waiting: VecDeque<Option<Act>>) -> Option<()>
    where
        S: AsyncRead + AsyncWrite,
    {
        let (from_client, mut to_client) = split(client);
        let (from_server, mut to_server) = split(server);
        let mut commands = BufReader::new(from_client).lines();
        let mut answers = BufReader::new(from_server).lines();
        let mut opening: Option<String> = None;
        loop {
            tokio::select! {
                command = commands.next_line() => {
                    let command = command.ok()??;
                    match self.act(&command).or_else(|| self.protect(&command)) {
                        Some(Act::Answer(text)) => to_client.write_all(format!("{text}\r\n").as_bytes()).await.ok()?,
                        Some(Act::Close) => return None,
                        Some(Act::Hold) => {}
                        act => {
                            if let Some(Act::Late(time)) = act {
                                tokio::time::sleep(time).await;
                            }
                            waiting.push_back(act);
                            to_server.write_all(format!("{command}\r\n").as_bytes()).await.ok()?;
                        }
                    }
                }
                answer = answers.next_line() => {
                    let mut answer = answer.ok()??;
                    let last = is_last(&answer, opening.as_deref());
                    if !last && opening.is_none() {
                        opening = answer.get(..3).map(str::to_owned);
                    }
                    if last && !answer.starts_with('1') {
                        opening = None;
                        match waiting.pop_front()? {
                            Some(Act::Lose) => return None,
                            Some(Act::Say(text)) => answer = text.to_owned(),
                            _ => answer = self.passive(&answer).await.unwrap_or(answer),
                        }
                    }
                    to_client.write_all(format!("{answer}\r\n").as_bytes()).await.ok()?;
                }
            }
        }
    }

    fn act(&self, command: &str) -> Option<Act> {
        let shown = if command.starts_with("PASS ") { "PASS" } else { command };
        self.shared.asked.lock().expect("asked").push(shown.to_owned());
        let mut plans = self.shared.plans.lock().expect("plans");
        if let Some(plan) = plans.iter_mut().find(|(start, _, left)| *left > 0 && command.starts_with(start)) {
            plan.2 -= 1;
            return Some(plan.1).filter(|act| *act != Act::Pass);
        }
        None
    }

    /// Handles commands that the server, which has no TLS, cannot.
    fn protect(&mut self, command: &str) -> Option<Act> {
        self.tls.as_ref()?;
        self.protection = match (self.protection, command) {
            (0, "PBSZ 0") => 1,
            (1, "PROT P") => 2,
            (_, "PBSZ 0" | "PROT P") => return Some(Act::Answer("503 in another order")),
            _ => return None,
        };
        Some(Act::Answer("200 it is"))
    }

    /// Substitutes a data connection of its own in a reply to EPSV or PASV. The address in a PASV reply is deliberately wrong.
    async fn passive(&mut self, answer: &str) -> Option<String> {
        if let Some(port) = answer.strip_prefix("229 ").and_then(|text| text.split('|').nth(3)) {
            let port = self.listen(port.parse().ok()?).await;
            if let Some(form) = *self.shared.form.lock().expect("form") {
                return Some(form(port));
            }
            return Some(format!("229 here (|||{port}|)"));
        }
        let numbers = answer.strip_prefix("227 ")?.split_once('(')?.1.split_once(')')?.0;
        let numbers: Vec<u16> = numbers.split(',').filter_map(|number| number.parse().ok()).collect();
        let port = self.listen(numbers.get(4)? * 256 + numbers.get(5)?).await;
        if let Some(form) = *self.shared.form.lock().expect("form") {
            return Some(form(port));
        }
        Some(format!("227 here (10,9,8,7,{},{})", port / 256, port % 256))
    }

    async fn listen(&mut self, port: u16) -> u16 {
        let proxy = FaultProxy::start(SocketAddr::from(([127, 0, 0, 1], port))).await;
        if let Some(fault) = self.shared.faults.lock().expect("faults").pop_front() {
            proxy.plan(fault);
        }
        let mut address = proxy.address();
        if let Some(tls) = self.tls.clone().filter(|_| self.protection == 2) {
            let (listener, outer) = listen().await;
            let (inner, shared) = (address, Arc::clone(&self.shared));
            self.data.spawn(async move {
                let Ok((stream, _)) = listener.accept().await else { return };
                let Ok(mut inner) = TcpStream::connect(inner).await else { return };
                let Ok(mut stream) = tls.accept(stream).await else { return };
                let resumed = stream.get_ref().1.handshake_kind() == Some(HandshakeKind::Resumed);
                shared.resumed.lock().expect("resumed").push(resumed);
                let _ = copy_bidirectional(&mut stream, &mut inner).await;
            });
            address = outer;
        }
        self.proxies.push(proxy);
        address.port()
    }
}

/// Returns whether this line ends a reply; `opening` is the code of a multi-line reply (RFC 959 section 4.2).
fn is_last(line: &str, opening: Option<&str>) -> bool {
    let code = line.get(..3).filter(|code| code.bytes().all(|byte| byte.is_ascii_digit()));
    code.is_some() && line.get(3..4) != Some("-") && opening.is_none_or(|opening| code == Some(opening))
}
