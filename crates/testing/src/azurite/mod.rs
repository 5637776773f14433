//! A real azurite, Microsoft's emulator of Azure Storage, which verifies SharedKey: one process for all tests of a binary.
//!
//! Each test has a [`Container`] of its own. The process ends, and its files are removed, when the test binary ends in any way: a
//! shell in between waits for the end of its standard input. Differences from Azure (as of 3.37.0): it accepts dates an hour old,
//! and calls a wrong signature `AuthorizationFailure` where Azure says `AuthenticationFailed`.

mod gate;
mod signed;

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};

#[allow(unused_imports, reason = "each test crate uses a part")]
pub use self::gate::{Failure, Gate, Operation};
pub use self::signed::Answer;

/// The account name.
pub const ACCOUNT: &str = "stowagetest";
/// The account key.
pub const KEY: &str = "Y2FuYXJ5LWtleS1vZi10aGUtdGVzdHMtb2Ytc3Rvd2FnZS0wMTIzNDU2Nzg5";

/// The name of a process's first [`Container`].
pub const FIRST: &str = "test-0";

/// A running server; dropping it stops it.
#[derive(Debug)]
pub struct Azurite {
    address: SocketAddr,
    containers: AtomicUsize,
    /// The server stops when its standard input ends, which happens when this process does.
    shell: Child,
    folder: PathBuf,
}

/// A container for a single test.
#[derive(Debug, Clone)]
pub struct Container {
    server: &'static Azurite,
    /// The container's name.
    pub name: String,
}

impl Container {
    /// Creates an empty container; the first call starts the server.
    pub fn start() -> Self {
        static SERVER: OnceLock<Azurite> = OnceLock::new();
        let server = SERVER.get_or_init(Azurite::start);
        let name = format!("test-{}", server.containers.fetch_add(1, Ordering::Relaxed));
        let container = Self { server, name };
        let made = container.ask("PUT", "", "restype=container", &[], b"");
        assert_eq!(made.status, 201, "{made:?}");
        container
    }

    /// Returns the server's address.
    pub fn address(&self) -> SocketAddr {
        self.server.address
    }

    /// Lists the blobs visible to readers.
    pub fn blobs(&self) -> Vec<String> {
        let listed = self.ask("GET", "", "restype=container&comp=list", &[], b"");
        assert_eq!(listed.status, 200, "{listed:?}");
        names(&listed.text())
    }

    /// Lists the blobs that only have uncommitted blocks.
    pub fn uncommitted(&self) -> Vec<String> {
        let listed = self.ask("GET", "", "restype=container&comp=list&include=uncommittedblobs", &[], b"");
        assert_eq!(listed.status, 200, "{listed:?}");
        let seen = self.blobs();
        names(&listed.text()).into_iter().filter(|name| !seen.contains(name)).collect()
    }

    /// Sends a signed request about a blob, or about the container itself; query values are sent verbatim.
    pub fn ask(&self, method: &str, blob: &str, query: &str, headers: &[(&str, &str)], body: &[u8]) -> Answer {
        let blob = if blob.is_empty() { String::new() } else { format!("/{blob}") };
        let path = format!("/{ACCOUNT}/{}{blob}", self.name);
        signed::ask(self.server.address, method, &path, query, headers, body)
    }
}

impl Azurite {
    /// Starts a dedicated server; most tests want a [`Container`].
    pub fn start() -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder").keep();
        let shell = Command::new("sh")
            .args(["-c", SHELL, "sh"])
            .arg(&folder)
            .arg(program())
            .args("--silent --disableTelemetry --skipApiVersionCheck --blobHost 127.0.0.1 --blobPort 0".split(' '))
            .arg("--location")
            .arg(&folder)
            .env("AZURITE_ACCOUNTS", format!("{ACCOUNT}:{KEY}"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("a shell");
        let address = SocketAddr::from(([127, 0, 0, 1], 0));
        let mut server = Self { address, containers: AtomicUsize::new(0), shell, folder };
        let mut said = String::new();
        for line in BufReader::new(server.shell.stdout.take().expect("piped")).lines() {
            let line = line.expect("text");
            if let Some((_, address)) = line.split_once("listens on http://") {
                server.address = address.trim().parse().expect("an address");
                return server;
            }
            said.push_str(&line);
        }
        panic!("azurite does not start: {said} (./test installs it; it needs node)");
    }
}

impl Azurite {
    /// Returns the server's address.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Returns the folder of its files.
    pub fn folder(&self) -> &Path {
        &self.folder
    }
}

impl Drop for Azurite {
    fn drop(&mut self) {
        drop(self.shell.stdin.take());
        let _ = self.shell.wait();
    }
}

/// Runs the server until standard input ends, then removes its folder. Standard output belongs to the server alone, so that it ends if
/// the server fails to start.
const SHELL: &str = r#"folder=$1; shift
"$@" & server=$!
exec >/dev/null
cat >/dev/null
kill -KILL "$server"; wait "$server"
rm -rf "$folder""#;

/// `STOWAGE_TEST_AZURITE`, or the one installed by `./test`.
fn program() -> PathBuf {
    let installed = || crate::root().join("target/tools/azurite/node_modules/.bin/azurite-blob");
    let program = std::env::var_os("STOWAGE_TEST_AZURITE").map_or_else(installed, PathBuf::from);
    assert!(program.exists(), "azurite is missing: {} (./test installs it; it needs node)", program.display());
    program
}

/// Returns the `Name` elements of a listing's blobs.
fn names(listing: &str) -> Vec<String> {
    let blobs = listing.split("<Blob>").skip(1);
    let name = |blob: &str| blob.split_once("<Name>")?.1.split_once("</Name>").map(|(name, _)| unescaped(name));
    blobs.map(|blob| name(blob).expect("a name")).collect()
}

fn unescaped(text: &str) -> String {
    let pairs = [("&lt;", "<"), ("&gt;", ">"), ("&quot;", "\""), ("&apos;", "'"), ("&amp;", "&")];
    pairs.iter().fold(text.to_owned(), |text, (from, to)| text.replace(from, to))
}
