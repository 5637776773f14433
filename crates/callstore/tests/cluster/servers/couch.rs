//! The built-in document store as a separate process, which can be killed.

use std::process::Command;
use std::time::Duration;

use stowage_testing::couch::Couch;
use tempfile::TempDir;
use tokio::net::TcpStream;

use super::process::{Process, free_port};
use super::soon;

/// The variables for a process that is to be the store: its data folder, and its port.
const DATA: &str = "CALLSTORE_TEST_STORE";
const PORT: &str = "CALLSTORE_TEST_STORE_PORT";

/// Not a test: runs the store if this test program was started as one.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn store() {
    // Imported here, since the benches use this file without its tests.
    use stowage_couch_embedded::{Options, Store};
    use tokio::net::TcpListener;

    let (Some(data), Ok(port)) = (std::env::var_os(DATA), std::env::var(PORT)) else { return };
    let options = Options { data: data.into(), admin: ("admin".to_owned(), "admin".to_owned()), user: None };
    let listener = TcpListener::bind(("127.0.0.1", port.parse().unwrap())).await.unwrap();
    Store::open(options).unwrap().serve(listener, std::future::pending()).await.unwrap();
}

/// A running store; its data survives kills and restarts.
#[derive(Debug)]
pub struct StoreProcess {
    port: u16,
    folder: TempDir,
    process: Option<Process>,
}

impl StoreProcess {
    pub async fn start() -> Self {
        let mut store = Self { port: free_port(), folder: tempfile::tempdir().expect("a folder"), process: None };
        store.start_again().await;
        store
    }

    pub async fn start_again(&mut self) {
        let mut command = Command::new(std::env::current_exe().expect("this program"));
        command.args(["--exact", "servers::couch::store"]);
        command.env(DATA, self.folder.path().join("data")).env(PORT, self.port.to_string());
        self.process = Some(Process::start(&command, self.folder.path(), "store"));
        let listens = async || TcpStream::connect(("127.0.0.1", self.port)).await.is_ok();
        soon("the store", Duration::from_secs(30), listens).await;
    }

    pub fn kill(&mut self) {
        self.process = None;
    }

    /// Returns a client's view of the store.
    pub async fn couch(&self) -> Couch {
        // Only its address and its admin are used.
        let other = Couch::embedded(("admin".to_owned(), "admin".to_owned())).await;
        let mut couch = other.beside();
        couch.url = format!("http://127.0.0.1:{}", self.port);
        couch
    }
}
