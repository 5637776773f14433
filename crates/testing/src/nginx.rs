//! A real nginx with DAV: PUT, GET, HEAD, DELETE and ranges on a folder.
//!
//! The listening socket is created here and passed as nginx's standard input (the `NGINX` variable, which nginx uses for its own
//! upgrades, names inherited sockets), so that no other process can take the port and clients can connect immediately.

use std::fs;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use tempfile::TempDir;

use super::raw::RawClient;
use super::upstream::until;

/// Server options; the default is plain HTTP without authentication.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// User name and password for Basic authentication.
    pub basic: Option<(String, String)>,
    /// PEM files of a certificate and its key, for HTTPS.
    pub tls: Option<(PathBuf, PathBuf)>,
}

/// A running nginx; dropping it kills it and removes its files.
#[derive(Debug)]
pub struct Nginx {
    address: SocketAddr,
    process: Child,
    prefix: TempDir,
}

impl Nginx {
    /// Starts a plain server without authentication.
    pub async fn start() -> Self {
        Self::with(Options::default()).await
    }

    /// Starts a server and waits until it responds.
    pub async fn with(options: Options) -> Self {
        let prefix = tempfile::tempdir().expect("a temporary folder");
        let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a free loopback port");
        // nginx does not set this on an inherited socket.
        listener.set_nonblocking(true).expect("nonblocking");
        let address = listener.local_addr().expect("a bound socket has an address");
        fs::create_dir(prefix.path().join("files")).expect("a folder");
        if let Some((user, password)) = &options.basic {
            fs::write(prefix.path().join("users"), format!("{user}:{{PLAIN}}{password}\n")).expect("a password file");
        }
        fs::write(prefix.path().join("nginx.conf"), configuration(address, &options)).expect("a configuration");
        let nginx = Self { address, process: spawn(prefix.path(), listener), prefix };
        nginx.answers().await;
        nginx
    }

    async fn answers(&self) {
        // A TLS port responds to a plain request as well, with 400.
        let answer = async { RawClient::connect(self.address).await?.exchange("GET / HTTP/1.0\r\n\r\n").await };
        if let Err(error) = answer.await {
            panic!("nginx does not answer: {error}\n{}", self.error_log());
        }
    }

    /// Kills the server as [`kill`](Self::kill) does, and restarts it on the same port.
    pub async fn restart(&mut self) {
        self.kill();
        let listener = TcpListener::bind(self.address).expect("the same port");
        listener.set_nonblocking(true).expect("nonblocking");
        self.process = spawn(self.prefix.path(), listener);
        self.answers().await;
    }

    /// Returns the server's address.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Returns the folder served as `/`.
    pub fn files(&self) -> PathBuf {
        self.prefix.path().join("files")
    }

    /// Returns its access log so far: method, target, status and received body bytes of each answered request.
    pub fn access_log(&self) -> String {
        fs::read_to_string(self.prefix.path().join("access.log")).unwrap_or_default()
    }

    /// Waits until its access log contains this text: nginx logs a request after responding.
    pub async fn logged(&self, text: &str) {
        until(text, async || self.access_log().contains(text)).await;
    }

    /// Returns its error log so far.
    pub fn error_log(&self) -> String {
        fs::read_to_string(self.prefix.path().join("error.log")).unwrap_or_default()
    }

    /// Stops the server immediately, whatever it is doing; its files stay until the value is dropped.
    pub fn kill(&mut self) {
        // Killing the master alone would leave its worker behind.
        let stopped = command(self.prefix.path()).args(["-s", "stop"]).status();
        if !stopped.is_ok_and(|status| status.success()) {
            // The process is gone already, or never wrote its pid file and has no worker yet.
            let _ = self.process.kill();
        }
        let _ = self.process.wait();
    }
}

fn spawn(prefix: &Path, listener: TcpListener) -> Child {
    let mut command = command(prefix);
    let started = command.env("NGINX", "0;").stdin(Stdio::from(OwnedFd::from(listener))).spawn();
    started.unwrap_or_else(|error| panic!("nginx: {error}; ./test installs it"))
}

impl Drop for Nginx {
    fn drop(&mut self) {
        self.kill();
    }
}

fn command(prefix: &Path) -> Command {
    let mut command = Command::new(program());
    command.arg("-p").arg(prefix).args(["-c", "nginx.conf", "-e", "error.log"]);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command
}

/// `STOWAGE_TEST_NGINX`, or the one unpacked by `./test`, or the system's.
fn program() -> PathBuf {
    if let Some(named) = std::env::var_os("STOWAGE_TEST_NGINX") {
        return named.into();
    }
    let unpacked = crate::root().join("target/tools/bin/nginx");
    [unpacked, PathBuf::from("/usr/sbin/nginx")]
        .into_iter()
        .find(|path| path.exists())
        .unwrap_or_else(|| "nginx".into())
}

/// One worker, with everything below the prefix. (Without a master, nginx 1.22 crashes on inherited sockets.)
fn configuration(address: SocketAddr, options: &Options) -> String {
    let (ssl, certificate) = match &options.tls {
        Some((certificate, key)) => {
            (" ssl", format!("ssl_certificate {}; ssl_certificate_key {};", certificate.display(), key.display()))
        }
        None => ("", String::new()),
    };
    let basic = if options.basic.is_some() { "auth_basic storage; auth_basic_user_file users;" } else { "" };
    format!(
        "daemon off; pid nginx.pid; user root;
        events {{ worker_connections 512; }}
        http {{
            log_format short '$request_method $request_uri $status $content_length';
            access_log access.log short;
            client_body_temp_path body; proxy_temp_path proxy; fastcgi_temp_path fastcgi;
            uwsgi_temp_path uwsgi; scgi_temp_path scgi;
            client_max_body_size 0; default_type application/octet-stream; keepalive_timeout 600s;
            server {{
                listen {address}{ssl}; {certificate}
                root files; {basic}
                dav_methods PUT DELETE; create_full_put_path on;
            }}
        }}"
    )
}
