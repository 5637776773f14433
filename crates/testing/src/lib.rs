//! Servers, clients and fault injection for the integration tests: real sockets, free ports, and no processes left after a test.
//!
//! | module | contains |
//! |---|---|
//! | [`azurite`] | azurite, the Azure Storage emulator, verifying signatures, behind a gate that fails on request |
//! | [`browser`] | headless Chromium |
//! | [`certs`] | a temporary CA with a server's and a client's certificate |
//! | [`collector`] | a strict OpenTelemetry collector |
//! | [`couch`] | the embedded store, or the CouchDB of `COUCHDB_URL` |
//! | [`disk`] | a small file system that can be filled |
//! | [`dropbox`] | a double of Dropbox's API v2 |
//! | [`exchange`] | one request on a connection of its own |
//! | [`fault`] | a TCP proxy that cuts, resets, stalls, truncates, trickles or refuses at byte n |
//! | [`ftp`] | libunftp in this process, behind a proxy that understands FTP |
//! | [`gateway`] | the gateway in this process, in front of the embedded store |
//! | [`google`] | a strict double of Cloud Storage and Drive, with planned failures |
//! | [`graph`] | a double of Microsoft Graph's files |
//! | [`log`] | captured log lines |
//! | [`nginx`] | a real nginx with DAV |
//! | [`raw`] | an HTTP/1.1 client for raw bytes |
//! | [`recorder`] | an HTTP server that records requests and sends scripted responses |
//! | [`replicator`] | a strict stand-in for CouchDB's replicator |
//! | [`s3`] | s3s-fs in this process, verifying signatures |
//! | [`switch`] | a TCP proxy that simulates a server going down and coming back |
//! | [`trouble`] | planned failures of the vendors' doubles |
//! | [`upstream`] | a scripted server that exposes the received bytes |
//! | [`wire`] | recorded exchanges with a real CouchDB, and the comparison of responses with them |
//! | [`serve`] | the accept loop of these servers |
//! | [`spool`] | objects of the doubles, stored in files |
//! | [`spy`] | a proxy that records the requests to the server behind it |
//! | [`storages`] | a running instance of every kind of storage |
//! | [`tokens`] | an OAuth provider's token endpoint |

#![allow(
    missing_docs,
    unreachable_pub,
    missing_debug_implementations,
    unnameable_types,
    clippy::must_use_candidate,
    reason = "what is here is for the tests of this workspace, and is not published"
)]
#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a test that cannot set up its world has to stop, saying where"
)]
#![allow(clippy::disallowed_methods, reason = "the gateway's rules for tasks and bodies do not bind its tests")]

use std::path::Path;

/// Returns the root of the project.
pub fn root() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../.."))
}

/// Returns the files below a folder, relative to it, sorted.
pub fn files(folder: &Path) -> Vec<String> {
    tree(folder).into_iter().filter(|name| !name.ends_with(" is empty")).collect()
}

/// Returns the files and the empty folders below a folder.
pub fn tree(folder: &Path) -> Vec<String> {
    let (mut found, mut folders) = (Vec::new(), vec![folder.to_owned()]);
    while let Some(current) = folders.pop() {
        let Ok(entries) = std::fs::read_dir(&current) else { continue };
        let entries: Vec<_> = entries.map(|entry| entry.expect("an entry").path()).collect();
        if entries.is_empty() && current != folder {
            found.push(format!("{} is empty", current.display()));
        }
        for path in entries {
            if path.is_dir() {
                folders.push(path);
            } else {
                found.push(path.strip_prefix(folder).expect("below").to_string_lossy().into_owned());
            }
        }
    }
    found.sort();
    found
}

/// Compresses bytes.
pub fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut packer = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    std::io::Write::write_all(&mut packer, bytes).expect("in memory");
    packer.finish().expect("in memory")
}

/// Returns whether `./test --long` is running, with the full counts of generated cases.
pub fn is_long() -> bool {
    std::env::var_os("STOWAGE_TEST_LONG").is_some()
}

pub mod azurite;
pub mod browser;
pub mod certs;
pub mod collector;
pub mod couch;
pub mod disk;
pub mod dropbox;
pub mod exchange;
pub mod fault;
pub mod ftp;
pub mod gateway;
pub mod google;
pub mod graph;
pub mod log;
pub mod nginx;
pub mod raw;
pub mod recorder;
pub mod replicator;
pub mod s3;
pub mod serve;
pub mod spool;
pub mod spy;
pub mod storages;
pub mod switch;
pub mod tokens;
pub mod trouble;
pub mod upstream;
pub mod wire;
