//! The program as a process, and a minimal client.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;
use tempfile::TempDir;

/// Longer than any step takes.
const PATIENCE: Duration = Duration::from_secs(30);

/// Builds a command without this process' environment, in a folder without a configuration.
pub fn command(folder: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_stowage"));
    command.args(arguments).env_clear().env("TMPDIR", folder).current_dir(folder).stdin(Stdio::null());
    command
}

/// Runs a command to its end.
pub fn run(folder: &Path, arguments: &[&str]) -> Output {
    command(folder, arguments).output().expect("the program runs")
}

pub fn code(output: &Output) -> i32 {
    output.status.code().unwrap_or_else(|| panic!("killed by a signal: {output:?}"))
}

pub fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// A running `stowage serve`, killed on drop.
pub struct Serving {
    child: Child,
    lines: Receiver<String>,
    /// The log lines before its listeners were open.
    pub first: Vec<String>,
    pub folder: TempDir,
    pub store: SocketAddr,
    pub proxy: SocketAddr,
    pub admin: SocketAddr,
}

impl Serving {
    /// Starts it with the built-in store.
    pub fn start() -> Self {
        Self::with(&[])
    }

    /// Starts it with the built-in store and these settings.
    pub fn with(settings: &[(&str, &str)]) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let mut command = command(folder.path(), &["serve"]);
        for (key, value) in [
            ("COUCHDB__URL", "embedded"),
            ("COUCHDB__DATA", "data"),
            ("COUCHDB__USERNAME", "admin"),
            ("COUCHDB__PASSWORD", "canary-password"),
            ("LISTEN__ADDRESS", "127.0.0.1:0"),
            ("ADMIN__ADDRESS", "127.0.0.1:0"),
            ("STORAGE__FILE_ROOT", "attachments"),
        ] {
            command.env(format!("STOWAGE__{key}"), value);
        }
        for (key, value) in settings {
            command.env(format!("STOWAGE__{key}"), value);
        }
        let mut child = command.stderr(Stdio::piped()).stdout(Stdio::null()).spawn().expect("the program starts");
        let (sender, lines) = channel();
        let stderr = BufReader::new(child.stderr.take().expect("a pipe"));
        std::thread::spawn(move || stderr.lines().map_while(Result::ok).try_for_each(|line| sender.send(line)));
        let mut first = Vec::new();
        let mut found = [None; 3];
        while found.iter().any(Option::is_none) {
            let line = lines.recv_timeout(PATIENCE).expect("it prints its listeners");
            for (index, name) in ["store", "proxy", "admin"].iter().enumerate() {
                if let Some(address) = line.strip_prefix(&format!("listening {name} http://")) {
                    found[index] = Some(address.parse().expect("an address"));
                }
            }
            first.push(line);
        }
        let [store, proxy, admin] = found.map(|address| address.expect("all are there"));
        Self { child, lines, first, folder, store, proxy, admin }
    }

    /// Returns the process id.
    #[allow(dead_code, reason = "the tests of memory look at it from outside")]
    pub fn process(&self) -> u32 {
        self.child.id()
    }

    /// Sends a signal by name.
    pub fn signal(&self, name: &str) {
        let line = format!("kill -{name} {}", self.child.id());
        assert!(Command::new("sh").args(["-c", &line]).status().expect("a shell").success());
    }

    /// Waits for a log line with this text.
    pub fn says(&self, part: &str) {
        let mut said = self.first.iter().any(|line| line.contains(part));
        while !said {
            said = self.line().unwrap_or_else(|| panic!("it never says {part}")).contains(part);
        }
    }

    /// Returns the next log line; `None` after the end.
    pub fn line(&self) -> Option<String> {
        self.lines.recv_timeout(PATIENCE).ok()
    }

    /// Waits for the process to end.
    pub fn ends(&mut self) -> ExitStatus {
        let began = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().expect("a child") {
                return status;
            }
            assert!(began.elapsed() < PATIENCE, "it does not end");
            std::thread::yield_now();
        }
    }

    /// Returns the status of `/ready` on the admin listener.
    pub fn ready(&self) -> u16 {
        request(self.admin, "GET", "/ready", b"").0
    }

    /// Saves a document through the gateway.
    pub fn save(&self, target: &str, document: &Value) -> Value {
        let (status, body) = request(self.proxy, "PUT", target, document.to_string().as_bytes());
        assert!(matches!(status, 201 | 412), "{target}: {status} {}", text(&body));
        serde_json::from_slice(&body).expect("JSON")
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Returns the head of a request as the store's admin.
pub fn head(method: &str, target: &str, length: usize) -> String {
    let login = STANDARD.encode("admin:canary-password");
    format!(
        "{method} {target} HTTP/1.1\r\nHost: x\r\nAuthorization: Basic {login}\r\nContent-Type: application/json\r\n\
         Content-Length: {length}\r\nConnection: close\r\n\r\n"
    )
}

/// Sends one request on a new connection; returns status and body.
pub fn request(address: SocketAddr, method: &str, target: &str, body: &[u8]) -> (u16, Vec<u8>) {
    let mut stream = TcpStream::connect(address).expect("it accepts");
    stream.write_all(&[head(method, target, body.len()).as_bytes(), body].concat()).expect("it reads");
    answer(&mut stream)
}

/// Reads a response until the connection ends.
pub fn answer(stream: &mut TcpStream) -> (u16, Vec<u8>) {
    stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes).expect("an answer");
    let end = bytes.windows(4).position(|four| four == b"\r\n\r\n").expect("a head");
    let status = text(&bytes[..end]).split(' ').nth(1).and_then(|code| code.parse().ok()).expect("a status");
    (status, bytes[end + 4..].to_vec())
}
