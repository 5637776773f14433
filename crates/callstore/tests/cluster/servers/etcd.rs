//! A real etcd with one member.

use std::process::Command;
use std::time::Duration;

use serde_json::Value;
use stowage_http::target::Origin;
use stowage_testing::certs::Certs;
use tempfile::TempDir;

use super::process::{Process, free_port};
use super::{installed, soon};

/// A running etcd; its data survives kills and restarts.
#[derive(Debug)]
pub struct Etcd {
    pub port: u16,
    peers: u16,
    folder: TempDir,
    process: Option<Process>,
    /// The port with TLS, and its certificates.
    pub tls: Option<(u16, Certs)>,
    /// Whether it wants a certificate of its clients there.
    asks: bool,
}

impl Etcd {
    pub async fn start() -> Self {
        Self::start_with(None, false).await
    }

    /// Starts an etcd that also supports TLS, with a CA of its own.
    pub async fn with_tls() -> Self {
        Self::start_with(Some((free_port(), Certs::make(&["localhost"]))), false).await
    }

    /// The same, and it wants a certificate of its clients.
    pub async fn asking_for_certificates() -> Self {
        Self::start_with(Some((free_port(), Certs::make(&["localhost"]))), true).await
    }

    async fn start_with(tls: Option<(u16, Certs)>, asks: bool) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let mut etcd = Self { port: free_port(), peers: free_port(), folder, process: None, tls, asks };
        etcd.start_again().await;
        etcd
    }

    pub async fn start_again(&mut self) {
        let (mut clients, peers) =
            (format!("http://127.0.0.1:{}", self.port), format!("http://127.0.0.1:{}", self.peers));
        if let Some((port, _)) = &self.tls {
            clients = format!("{clients},https://127.0.0.1:{port}");
        }
        let mut command = Command::new(installed("STOWAGE_TEST_ETCD", "bin/etcd-server", "etcd"));
        command.args(["--data-dir", "data", "--listen-client-urls", &clients, "--advertise-client-urls", &clients]);
        command.args(["--listen-peer-urls", &peers, "--initial-advertise-peer-urls", &peers]);
        command.args(["--initial-cluster", &format!("default={peers}")]);
        // The shortest lease is one and a half election timeouts.
        command.args(["--heartbeat-interval", "50", "--election-timeout", "500"]);
        if let Some((_, certs)) = &self.tls {
            let certificate = if self.asks { certs.server_and_client() } else { certs.server() };
            command.arg("--cert-file").arg(certificate).arg("--key-file").arg(certs.server_key());
            if self.asks {
                command.args(["--client-cert-auth", "--trusted-ca-file"]).arg(certs.ca());
            }
        }
        self.process = Some(Process::start(&command, self.folder.path(), "etcd"));
        let answers = async || self.try_ask("/v3/kv/range", r#"{"key":"AA=="}"#).is_some();
        soon("etcd", Duration::from_secs(30), answers).await;
    }

    pub fn kill(&mut self) {
        self.process = None;
    }

    /// Sends a signal, to suspend or resume it.
    pub fn signal(&self, signal: &str) {
        self.process.as_ref().expect("running").signal(signal);
    }

    pub fn origin(&self) -> Origin {
        origin(self.port)
    }

    /// Queries it with a client independent of ours.
    pub fn ask(&self, path: &str, question: &str) -> Value {
        self.try_ask(path, question).unwrap_or_else(|| panic!("etcd does not answer to {path}"))
    }

    fn try_ask(&self, path: &str, question: &str) -> Option<Value> {
        use std::io::{Read, Write};
        let mut stream = std::net::TcpStream::connect(("127.0.0.1", self.port)).ok()?;
        stream.set_read_timeout(Some(Duration::from_secs(5))).ok()?;
        let head = format!("POST {path} HTTP/1.0\r\nHost: e\r\nContent-Length: {}\r\n\r\n", question.len());
        stream.write_all(format!("{head}{question}").as_bytes()).ok()?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).ok()?;
        let (head, body) = answer.split_once("\r\n\r\n")?;
        let is_answer = head.contains(" 200 ") || head.contains(" 40");
        is_answer.then(|| serde_json::from_str(body).ok())?
    }
}

pub fn origin(port: u16) -> Origin {
    Origin { tls: false, host: "127.0.0.1".to_owned(), port }
}
