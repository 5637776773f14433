//! A proxy that understands FTP: it keeps what was asked, changes or loses answers, and lets data connections break at an
//! exact byte. With a certificate it is a server of implicit TLS, which libunftp has not.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

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

/// What happens to a command, instead of what would.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Act {
    /// The server does not see it, and this is the answer.
    Answer(&'static str),
    /// The server does it, and its last answer is replaced by this one.
    Say(&'static str),
    /// The server does it, and the connection closes instead of the answer.
    Lose,
    /// The connection closes before the server sees it.
    Close,
}

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
}

impl Gate {
    /// In front of a server, without TLS.
    pub async fn start(target: SocketAddr) -> Self {
        Self::with(target, None).await
    }

    /// In front of a server without TLS, speaking TLS from the first byte on every connection.
    pub async fn implicit(target: SocketAddr, certs: &Certs) -> Self {
        let chain = CertificateDer::pem_file_iter(certs.server()).expect("a certificate");
        let chain = chain.collect::<Result<_, _>>().expect("a certificate");
        let key = PrivateKeyDer::from_pem_file(certs.server_key()).expect("a key");
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .and_then(|config| config.with_no_client_auth().with_single_cert(chain, key))
            .expect("a TLS server");
        config.ticketer = rustls::crypto::ring::Ticketer::new().expect("tickets");
        Self::with(target, Some(TlsAcceptor::from(Arc::new(config)))).await
    }

    async fn with(target: SocketAddr, tls: Option<TlsAcceptor>) -> Self {
        let (listener, address) = listen().await;
        let shared = Arc::new(Shared::default());
        let all = Arc::clone(&shared);
        let accepting = tokio::spawn(async move {
            let mut sessions = JoinSet::new();
            loop {
                let (client, _) = listener.accept().await.expect("accept");
                let Ok(server) = TcpStream::connect(target).await else { continue };
                let (shared, tls) = (Arc::clone(&all), tls.clone());
                sessions.spawn(async move {
                    let session = Session { shared, tls: tls.clone(), data: JoinSet::new(), proxies: Vec::new() };
                    match tls {
                        None => session.run(client, server).await,
                        Some(tls) => match tls.accept(client).await {
                            Ok(client) => session.run(client, server).await,
                            Err(_) => None,
                        },
                    }
                });
                while sessions.try_join_next().is_some() {}
            }
        });
        Self { address, shared, _accepting: AbortOnDropHandle::new(accepting) }
    }

    /// Where clients connect.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The next `times` commands that begin so get this.
    pub fn plan(&self, command: &'static str, act: Act, times: usize) {
        self.shared.plans.lock().expect("plans").push((command, act, times));
    }

    /// The next data connection that has no fault yet gets this.
    pub fn fault(&self, fault: Fault) {
        self.shared.faults.lock().expect("faults").push_back(fault);
    }

    /// The commands so far, without the password.
    pub fn asked(&self) -> Vec<String> {
        self.shared.asked.lock().expect("asked").clone()
    }

    /// For each data connection over TLS: whether it resumed a session.
    pub fn resumed(&self) -> Vec<bool> {
        self.shared.resumed.lock().expect("resumed").clone()
    }
}

struct Session {
    shared: Arc<Shared>,
    tls: Option<TlsAcceptor>,
    data: JoinSet<()>,
    proxies: Vec<FaultProxy>,
}

impl Session {
    async fn run<S: AsyncRead + AsyncWrite>(mut self, client: S, server: TcpStream) -> Option<()> {
        let (from_client, mut to_client) = split(client);
        let (from_server, mut to_server) = split(server);
        let mut commands = BufReader::new(from_client).lines();
        let mut answers = BufReader::new(from_server).lines();
        let mut waiting: VecDeque<Option<Act>> = VecDeque::from([None]);
        let mut opening: Option<String> = None;
        loop {
            tokio::select! {
                command = commands.next_line() => {
                    let command = command.ok()??;
                    match self.act(&command) {
                        Some(Act::Answer(text)) => to_client.write_all(format!("{text}\r\n").as_bytes()).await.ok()?,
                        Some(Act::Close) => return None,
                        act => {
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
            return Some(plan.1);
        }
        // The server behind speaks no TLS.
        let ours = self.tls.is_some() && (command == "PBSZ 0" || command == "PROT P");
        ours.then_some(Act::Answer("200 as it is"))
    }

    /// Puts a data connection of its own in an answer to EPSV or PASV. The address of PASV is a wrong one.
    async fn passive(&mut self, answer: &str) -> Option<String> {
        if let Some(port) = answer.strip_prefix("229 ").and_then(|text| text.split('|').nth(3)) {
            let port = self.listen(port.parse().ok()?).await;
            return Some(format!("229 here (|||{port}|)"));
        }
        let numbers = answer.strip_prefix("227 ")?.split_once('(')?.1.split_once(')')?.0;
        let numbers: Vec<u16> = numbers.split(',').filter_map(|number| number.parse().ok()).collect();
        let port = self.listen(numbers.get(4)? * 256 + numbers.get(5)?).await;
        Some(format!("227 here (10,9,8,7,{},{})", port / 256, port % 256))
    }

    async fn listen(&mut self, port: u16) -> u16 {
        let proxy = FaultProxy::start(SocketAddr::from(([127, 0, 0, 1], port))).await;
        if let Some(fault) = self.shared.faults.lock().expect("faults").pop_front() {
            proxy.plan(fault);
        }
        let mut address = proxy.address();
        if let Some(tls) = self.tls.clone() {
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

/// Whether this line ends an answer; `opening` is the code of an answer of several lines (RFC 959 section 4.2).
fn is_last(line: &str, opening: Option<&str>) -> bool {
    let code = line.get(..3).filter(|code| code.bytes().all(|byte| byte.is_ascii_digit()));
    code.is_some() && line.get(3..4) != Some("-") && opening.is_none_or(|opening| code == Some(opening))
}
