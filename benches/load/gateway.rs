//! The gateway in its own process, with the servers behind it: the upstream with the plan, and the server of one backend.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use tempfile::TempDir;

use crate::Outcome;
use crate::client::Client;
use crate::cores::Place;
use crate::exchange::SMALL;
use crate::process::Process;
use crate::roles::Role;
use crate::workload::{self, AUTH, Backend, DATABASE, GRANT, PLANS, document_target};

/// The `limits.upload_buffer_bytes` of every run, in bytes.
pub(crate) const UPLOAD_BUFFER: u64 = 256 * 1024 * 1024;
/// The free bytes required to use a memory file system: S3 briefly keeps the parts and the whole.
const ROOM: u64 = 6 * 1024 * 1024 * 1024;

/// The servers behind the gateway.
#[derive(Debug)]
pub(crate) struct Servers {
    pub(crate) couch: SocketAddr,
    /// The backend's server, or CouchDB's address if it has none.
    pub(crate) objects: SocketAddr,
    /// The bench's own upstream; `None` for a CouchDB started by someone else.
    upstream: Option<Process>,
    directory: TempDir,
    /// The configuration's `storage.endpoints`.
    endpoints: String,
    backend: Option<Process>,
}

/// A running gateway.
#[derive(Debug)]
pub(crate) struct Gateway {
    pub(crate) process: Process,
    pub(crate) address: SocketAddr,
}

impl Servers {
    /// Starts the servers for one backend, and saves the plan.
    pub(crate) async fn start(backend: &Backend) -> Outcome<Self> {
        let (upstream, addresses) = Process::role(Role::Couch, None, 1)?;
        Self::beside(backend, *addresses.first().ok_or("no address")?, Some(upstream)).await
    }

    /// Starts the server of one backend with a CouchDB that is already running, and saves the plan there.
    pub(crate) async fn over(backend: &Backend, couch: SocketAddr) -> Outcome<Self> {
        let mut client = Client::connect(couch).await?;
        for database in [PLANS, AUTH, DATABASE] {
            client.make_database(database).await?;
        }
        client.put_document(DATABASE, SMALL, &serde_json::json!({})).await?;
        Self::beside(backend, couch, None).await
    }

    async fn beside(backend: &Backend, couch: SocketAddr, upstream: Option<Process>) -> Outcome<Self> {
        let directory = tempfile::Builder::new().prefix("stowage-bench-").tempdir_in(scratch())?;
        let (mut server, mut port, mut objects, mut endpoints) = (None, 0, couch, String::new());
        if let Some(role) = backend.server {
            let root = directory.path().join(backend.name);
            std::fs::create_dir(&root)?;
            let (process, addresses) = Process::role(role, Some(&root), backend.endpoints.len().max(1))?;
            for (key, address) in backend.endpoints.iter().zip(&addresses) {
                endpoints.push_str(&format!("{key} = \"http://{address}\"\n"));
            }
            objects = *addresses.first().ok_or("no address")?;
            port = objects.port();
            server = Some(process);
        }
        let mut client = Client::connect(couch).await?;
        client.put_document(PLANS, "system", &workload::plan(backend, port)).await?;
        client.put_document(AUTH, GRANT, &workload::grant()).await?;
        Ok(Self { couch, objects, upstream, directory, endpoints, backend: server })
    }

    /// Returns the directory for configurations and data.
    pub(crate) const fn directory(&self) -> &TempDir {
        &self.directory
    }

    /// Returns the processes of the upstream and of the backend's server.
    pub(crate) fn processes(&self) -> impl Iterator<Item = u32> {
        [self.upstream.as_ref(), self.backend.as_ref()].into_iter().flatten().map(Process::id)
    }

    /// Starts a gateway in front of the servers, and waits until it has answered one request.
    pub(crate) async fn gateway(&self, binary: &Path, place: &Place) -> Outcome<Gateway> {
        self.gateway_with(binary, place, &[]).await
    }

    /// Starts a gateway with additional environment variables.
    pub(crate) async fn gateway_with(&self, binary: &Path, place: &Place, more: &[(&str, &str)]) -> Outcome<Gateway> {
        let file = self.directory.path().join("stowage.toml");
        std::fs::write(&file, self.configuration()?)?;
        let mut command = place.command(binary);
        command.arg("serve").arg("--config").arg(&file).current_dir(self.directory.path());
        command.envs(more.iter().copied());
        if let Some(threads) = place.threads {
            command.env("STOWAGE_WORKER_THREADS", threads.to_string());
        }
        let (process, lines) = Process::start("stowage", &mut command)?;
        let address = process.listening(&lines, "proxy")?;
        let first = async { Client::connect(address).await?.get(&document_target(DATABASE, SMALL), None).await };
        first.await.map_err(|error| process.failure(&format!("does not answer ({error})")))?;
        Ok(Gateway { process, address })
    }

    fn configuration(&self) -> Outcome<String> {
        let files = self.directory.path().join("files");
        std::fs::create_dir_all(&files)?;
        let files = files.display();
        Ok(format!(
            "[listen]
address = \"127.0.0.1:0\"
[couchdb]
url = \"http://{couch}\"
username = \"gateway\"
password = \"bench\"
[plans]
database = \"{PLANS}\"
[limits]
upload_buffer_bytes = \"{buffer} MiB\"
[egress]
allow = [\"127.0.0.0/8\"]
[storage]
file_root = \"{files}\"
[storage.endpoints]
{endpoints}[admin]
address = \"127.0.0.1:0\"
[log]
level = \"warn\"
",
            couch = self.couch,
            endpoints = self.endpoints,
            buffer = UPLOAD_BUFFER / (1024 * 1024),
        ))
    }
}

/// Returns the directory for objects: in memory if there is room, so that no disk is measured.
fn scratch() -> PathBuf {
    let memory = PathBuf::from("/dev/shm");
    let free = rustix::fs::statvfs(&memory).map_or(0, |at| at.f_bavail * at.f_frsize);
    if free >= ROOM { memory } else { std::env::temp_dir() }
}
