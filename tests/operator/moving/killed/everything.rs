//! Two gateways, CouchDB, the storage and a migration are killed in turn, and two at once; at times the storage is down for a second.

use std::collections::BTreeSet;
use std::fs;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use base64::Engine;
use futures_util::future::join_all;
use serde_json::json;
use stowage_couch_embedded::{Options, Store};
use stowage_testing::gateway::{STORAGE, authorization, exchange};
use stowage_testing::is_long;
use stowage_testing::nginx::Nginx;
use stowage_testing::switch::{Switch, Weather};

use super::{ACCOUNT, CLIENTS, Client, PATH, Process, Server, program};
use crate::moving::world::OTHER;

/// The variable with the data folder of a process that is to be the store.
const DATA: &str = "STOWAGE_TEST_STORE";
const ADMIN: (&str, &str) = ("admin", "admin");

/// Not a test: runs the store if this test program was started as one, listening on its standard input.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn store() {
    let Some(data) = std::env::var_os(DATA) else { return };
    let admin = (ADMIN.0.to_owned(), ADMIN.1.to_owned());
    let store = Store::open(Options { data: data.into(), admin, user: None }).expect("the store opens");
    let listener = std::io::stdin().as_fd().try_clone_to_owned().expect("a socket");
    let listener = TcpListener::from(listener);
    listener.set_nonblocking(true).expect("a socket");
    let listener = tokio::net::TcpListener::from_std(listener).expect("a listener");
    store.serve(listener, std::future::pending()).await.expect("the store serves");
}

/// The store as a separate process, which can be killed.
struct StoreProcess(Child);

impl StoreProcess {
    fn start(listener: TcpListener, data: &Path) -> Self {
        let child = Command::new(std::env::current_exe().expect("this program"))
            .args(["--exact", "moving::killed::everything::store"])
            .env(DATA, data)
            .stdin(Stdio::from(OwnedFd::from(listener)))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("the store starts");
        Self(child)
    }
}

impl Drop for StoreProcess {
    fn drop(&mut self) {
        self.0.kill().expect("it runs");
        self.0.wait().expect("a child");
    }
}

/// What can be killed, and its surroundings.
struct World {
    couch: Server,
    data: tempfile::TempDir,
    store: Option<StoreProcess>,
    nginx: Nginx,
    /// In front of nginx: while nginx is down, no other program takes its port.
    switch: Switch,
    gateways: [Option<Process>; 2],
}

impl World {
    async fn start(intents: bool) -> Self {
        let data = tempfile::tempdir().expect("a folder");
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("an address");
        let admin = (ADMIN.0.to_owned(), ADMIN.1.to_owned());
        let couch = Server { address, admin, plans: "plans".to_owned(), intents };
        let store = Some(StoreProcess::start(listener, data.path()));
        let nginx = Nginx::start().await;
        let switch = Switch::start(nginx.address());
        let mut world = Self { couch, data, store, nginx, switch, gateways: [None, None] };
        world.plan(0).await;
        world.gateways = [0, 1].map(|_| Some(Process::start(&world.couch)));
        world
    }

    /// Saves the plan, which names another storage after every third round.
    async fn plan(&self, round: u64) {
        let url = |folder: &str| format!("http://127.0.0.1:{}/{folder}/", self.switch.port());
        let storage = |folder| json!({ "handler": "http", "settings": { "url": url(folder), "verb": "put" } });
        let chosen = if (round / 3).is_multiple_of(2) { STORAGE } else { OTHER };
        let plan = json!({
            "pvt_type": "storage",
            "attachments": { STORAGE: storage("one"), OTHER: storage("two") },
            "plan": { "modb": { "attachments": { "handler": chosen } } },
        });
        self.couch.plan(plan).await;
    }

    fn addresses(&self) -> [SocketAddr; 2] {
        [0, 1].map(|which| self.gateways[which].as_ref().expect("it runs").address)
    }

    /// Kills at least one of all, and in some rounds two at once; in some rounds, the storage is down meanwhile. Returns how many attachments
    /// CouchDB has when the storage comes back.
    async fn disturb(&mut self, round: u64, migration: &mut Child) -> usize {
        let is_down = round % 4 == 1;
        if is_down {
            self.switch.turn(Weather::Refused);
        }
        tokio::time::sleep(Duration::from_millis(20 + (round * 37) % 300)).await;
        let both = [round % 5, (round + 2) % 5];
        self.strike(if round % 3 == 2 { &both[..] } else { &both[..1] }, migration).await;
        tokio::time::sleep(Duration::from_millis(if is_down { 1200 } else { 100 })).await;
        let kept = if is_down { self.couch.natives().await.len() } else { 0 };
        self.switch.turn(Weather::Fair);
        kept
    }

    /// Kills these at the same moment, and starts them again.
    async fn strike(&mut self, targets: &[u64], migration: &mut Child) {
        for target in targets {
            match target {
                0 => self.gateways[0].take().expect("it runs").kill(),
                1 => self.gateways[1].take().expect("it runs").kill(),
                2 => drop(self.store.take()),
                3 => self.nginx.kill(),
                _ => migration.kill().expect("it can be killed"),
            }
        }
        if self.store.is_none() {
            let listener = TcpListener::bind(self.couch.address).expect("the same port");
            self.store = Some(StoreProcess::start(listener, self.data.path()));
        }
        if targets.contains(&3) {
            self.nginx.restart().await;
        }
        for gateway in &mut self.gateways {
            if gateway.is_none() {
                *gateway = Some(Process::start(&self.couch));
            }
        }
    }
}

/// Creates documents with an attachment that CouchDB keeps, for a migration to move.
async fn fill(couch: &Server, round: u64) {
    let text = |index| base64::engine::general_purpose::STANDARD.encode(kept(round, index));
    let docs = (0..20).map(|index| {
        let stub = json!({ "content_type": "audio/mpeg", "data": text(index) });
        json!({ "_id": format!("kept-{round}-{index}"), "pvt_type": "kept", "_attachments": { "call.mp3": stub } })
    });
    let body = json!({ "docs": docs.collect::<Vec<_>>() }).to_string();
    let saved = couch.ask("POST", &format!("/{PATH}/_bulk_docs"), "application/json", body.as_bytes()).await;
    assert!(saved.is_some_and(|saved| saved.status == 201));
}

fn kept(round: u64, index: u64) -> Vec<u8> {
    format!("recording {index} of round {round}, ").repeat(20).into_bytes()
}

/// Returns the files below a folder.
fn files(folder: &Path) -> BTreeSet<PathBuf> {
    let mut found = BTreeSet::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).expect("a folder").flatten() {
            let path = entry.path();
            if path.is_dir() {
                folders.push(path);
            } else {
                found.insert(path);
            }
        }
    }
    found
}

/// Starts a migration: out of CouchDB, back into it, or to the other storage. It leaves the clients' documents to the jobs, so that one that is lost is
/// seen.
fn migrate(couch: &Server, round: u64) -> (tempfile::TempDir, Child) {
    let direction: &[&str] = match round % 3 {
        0 => &[],
        1 => &["--to", "couchdb"],
        _ => &["--rehome"],
    };
    program(couch, &[&["migrate", "--account", ACCOUNT, "--type", "kept"][..], direction].concat())
}

/// Kills for so many rounds; returns what is left of the world, and the clients.
async fn killed(rounds: u64, intents: bool) -> (World, Vec<Client>) {
    let mut world = World::start(intents).await;
    let couch = world.couch.clone();
    let mut clients: Vec<Client> = (0..CLIENTS).map(Client::new).collect();
    let mut fallen = 0;
    for round in 0..rounds {
        world.plan(round).await;
        fill(&couch, round).await;
        join_all(clients.iter_mut().filter(|client| client.rev.is_some()).map(|client| client.look(&couch))).await;
        let (folder, mut migration) = migrate(&couch, round);
        let (ends, addresses) = (AtomicBool::new(false), world.addresses());
        let works =
            clients.iter_mut().enumerate().map(|(index, client)| client.work(addresses[index % 2], &couch, &ends));
        let killing = async {
            let kept = world.disturb(round, &mut migration).await;
            ends.store(true, Ordering::Relaxed);
            kept
        };
        let (_, kept) = tokio::join!(join_all(works), killing);
        fallen += kept;
        drop(migration.kill());
        migration.wait().expect("a child");
        drop(folder);
    }
    assert!(fallen > 0, "CouchDB never kept anything");
    couch.drained().await;
    let natives = couch.natives().await;
    clients.iter().for_each(|client| client.has_moved(&natives));
    let (folder, migration) = program(&couch, &["migrate", "--account", ACCOUNT]);
    let last = migration.wait_with_output().expect("it ends");
    assert!(last.status.success(), "{}", String::from_utf8_lossy(&last.stderr));
    drop(folder);
    couch.drained().await;
    (world, clients)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_is_killed_nothing_is_lost_and_nothing_is_left() {
    let rounds = if is_long() { 200 } else { 16 };
    let (world, clients) = killed(rounds, true).await;
    let named = audit(&world, &clients, rounds).await;
    let root = world.nginx.files();
    let there = files(&root);
    let unnamed: Vec<_> = there
        .iter()
        .filter(|path| {
            let name = path.strip_prefix(&root).expect("below").to_string_lossy().into_owned();
            !named.iter().any(|place| place.replace("%2F", "/").contains(&name))
        })
        .collect();
    assert!(
        unnamed.is_empty() && there.len() == named.len(),
        "{unnamed:#?} of {}, {} are named",
        there.len(),
        named.len()
    );
    world.gateways.into_iter().flatten().for_each(Process::kill);
}

/// By default, what a killed gateway was uploading may be left in the storage.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_intents_nothing_is_lost_either() {
    let rounds = if is_long() { 100 } else { 8 };
    let (world, clients) = killed(rounds, false).await;
    audit(&world, &clients, rounds).await;
    world.gateways.into_iter().flatten().for_each(Process::kill);
}

/// Checks that every attachment is there and out of CouchDB; returns the locations that documents name.
async fn audit(world: &World, clients: &[Client], rounds: u64) -> BTreeSet<String> {
    let (couch, [gateway, _]) = (&world.couch, world.addresses());
    let mut named = BTreeSet::new();
    for client in clients {
        named.extend(client.audit(couch, gateway).await.iter().map(|place| place.to_string()));
    }
    for (round, index) in (0..rounds).flat_map(|round| (0..20).map(move |index| (round, index))) {
        let id = format!("kept-{round}-{index}");
        let document = couch.document(&id).await.expect("an answer");
        assert!(document["_attachments"].is_null(), "{document}");
        named.insert(document["pvt_attachments"]["call.mp3"]["stowage"]["location"].to_string());
        let target = format!("/{PATH}/{id}/call.mp3");
        let got = exchange(gateway, "GET", &target, &[authorization(&couch.admin)], b"").await;
        assert!(got.status == 200 && got.body == kept(round, index), "{id}: {got:?}");
    }
    named
}
