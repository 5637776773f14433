//! Servers, clients and faults that the integration tests share: real sockets, free ports, nothing left running after a test.
//!
//! | module | is |
//! |---|---|
//! | [`azurite`] | azurite, the Azure Storage emulator, signatures verified, with a gate in front that fails on request |
//! | [`browser`] | headless Chromium |
//! | [`certs`] | a throw-away CA with a server's and a client's certificate |
//! | [`collector`] | an OpenTelemetry collector that believes nothing |
//! | [`couch`] | the embedded store, or the CouchDB that `COUCHDB_URL` names |
//! | [`dropbox`] | a double of Dropbox's API v2 |
//! | [`fault`] | a TCP proxy that cuts, resets, stalls, truncates, trickles or refuses at byte n |
//! | [`ftp`] | libunftp in this process, and a proxy in front of it that understands FTP |
//! | [`gateway`] | the gateway in this process, in front of the embedded store |
//! | [`google`] | Cloud Storage and Drive in memory, strict, and faulty as a test plans it |
//! | [`graph`] | a double of Microsoft Graph's files |
//! | [`log`] | what is logged |
//! | [`nginx`] | a real nginx with DAV |
//! | [`raw`] | an HTTP/1.1 client that sends and shows bytes as they are |
//! | [`recorder`] | an HTTP server that keeps what it was sent and answers as it is told |
//! | [`replicator`] | a stand-in for CouchDB's replicator, strict |
//! | [`s3`] | s3s-fs in this process, signatures verified |
//! | [`switch`] | a TCP proxy whose server goes down and comes back |
//! | [`trouble`] | how the vendors' doubles misbehave |
//! | [`upstream`] | a scripted server that shows the bytes that it gets |
//! | [`wire`] | exchanges with a real CouchDB as they were recorded, and how an answer is compared with them |
//! | [`serve`] | the loop under these servers |
//! | [`spool`] | objects of the doubles, in files |
//! | [`spy`] | a proxy that tells what was asked of the server behind it |
//! | [`storages`] | every storage that a plan can name, running |
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

/// The root of the project.
pub fn root() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../.."))
}

/// The files below a folder, relative to it, sorted.
pub fn files(folder: &Path) -> Vec<String> {
    tree(folder).into_iter().filter(|name| !name.ends_with(" is empty")).collect()
}

/// The same, and folders that are empty.
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

/// The same bytes, packed.
pub fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut packer = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    std::io::Write::write_all(&mut packer, bytes).expect("in memory");
    packer.finish().expect("in memory")
}

/// Whether `./test --long` runs: full counts of what is generated.
pub fn is_long() -> bool {
    std::env::var_os("STOWAGE_TEST_LONG").is_some()
}

pub mod azurite;
pub mod browser;
pub mod certs;
pub mod collector;
pub mod couch;
pub mod dropbox;
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
