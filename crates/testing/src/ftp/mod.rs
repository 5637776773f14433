//! In-process libunftp: a real FTP server with a password and a directory, and [`gate::Gate`], a proxy in front of it.

pub mod gate;

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use async_trait::async_trait;
use libunftp::ServerBuilder;
use libunftp::options::{Binder, FtpsRequired};
use tempfile::TempDir;
use tokio::net::TcpSocket;
use tokio::task::JoinSet;
use tokio_util::task::AbortOnDropHandle;
use unftp_core::auth::{AuthenticationError, Authenticator, Credentials, Principal};
use unftp_sbe_fs::Filesystem;

use super::certs::Certs;
use super::serve::listen;

/// The user name.
pub const USER: &str = "canary-user";
/// The password.
pub const PASSWORD: &str = "canary-pass@word";

/// A running server; stopped on drop.
#[derive(Debug)]
pub struct FtpServer {
    root: Arc<TempDir>,
    address: SocketAddr,
    _accepting: AbortOnDropHandle<()>,
}

impl FtpServer {
    /// Starts a server without TLS.
    pub async fn start() -> Self {
        Self::with(None).await
    }

    /// Starts a server that requires TLS after `AUTH TLS`, for data connections as well.
    pub async fn explicit(certs: &Certs) -> Self {
        Self::with(Some((certs.server(), certs.server_key()))).await
    }

    async fn with(tls: Option<(PathBuf, PathBuf)>) -> Self {
        let (listener, address) = listen().await;
        let root = Arc::new(tempfile::tempdir().expect("a temporary folder"));
        let folder = Arc::clone(&root);
        let accepting = tokio::spawn(async move {
            let mut sessions = JoinSet::new();
            loop {
                let (stream, _) = listener.accept().await.expect("accept");
                stream.set_nodelay(true).expect("nodelay");
                let path = folder.path().to_owned();
                let files = Box::new(move || Filesystem::new(path.clone()).expect("a folder"));
                let mut server = ServerBuilder::with_authenticator(files, Arc::new(OneAccount)).binder(AnyPort);
                if let Some((certificate, key)) = &tls {
                    server = server.ftps(certificate, key).ftps_required(FtpsRequired::All, FtpsRequired::All);
                }
                sessions.spawn(server.build().expect("a server").service(stream));
                while sessions.try_join_next().is_some() {}
            }
        });
        Self { root, address, _accepting: AbortOnDropHandle::new(accepting) }
    }

    /// Returns the server's address.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Returns the directory served as `/`.
    pub fn root(&self) -> &Path {
        self.root.path()
    }

    /// Lists the files below one of its folders, sorted.
    pub fn files(&self, folder: &str) -> Vec<String> {
        crate::files(&self.root().join(folder))
    }

    /// Like [`files`](Self::files), without unfinished files.
    pub fn objects(&self, folder: &str) -> Vec<String> {
        self.files(folder).into_iter().filter(|name| !is_part(name)).collect()
    }

    /// Lists all unfinished files.
    pub fn parts(&self) -> Vec<String> {
        self.files("").into_iter().filter(|name| is_part(name)).collect()
    }
}

fn is_part(name: &str) -> bool {
    name.rsplit('/').next().is_some_and(|name| name.starts_with("stowage-") && name.ends_with(".part"))
}

#[derive(Debug)]
struct OneAccount;

#[async_trait]
impl Authenticator for OneAccount {
    async fn authenticate(&self, user: &str, credentials: &Credentials) -> Result<Principal, AuthenticationError> {
        match credentials.password.as_deref() {
            Some(PASSWORD) if user == USER => Ok(Principal { username: user.to_owned() }),
            _ => Err(AuthenticationError::BadPassword),
        }
    }
}

/// Binds data connections to any free port.
#[derive(Debug)]
struct AnyPort;

#[async_trait]
impl Binder for AnyPort {
    async fn bind(&mut self, address: IpAddr, _: RangeInclusive<u16>) -> io::Result<TcpSocket> {
        let socket = TcpSocket::new_v4()?;
        socket.bind(SocketAddr::new(address, 0))?;
        Ok(socket)
    }
}
