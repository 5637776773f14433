//! A storage goes down while many clients store attachments through two gateways: no request fails, none waits longer than the first one, which found
//! out, and afterwards everything is in the storage.

use std::time::{Duration, Instant};

use futures_util::future::join_all;
use serde_json::{Value, json};
use stowage_testing::disk::SmallDisk;
use stowage_testing::gateway::{Running, STORAGE, Setup};
use stowage_testing::is_long;
use stowage_testing::storages::{Server, Storage};
use stowage_testing::switch::{Switch, Weather};
use stowage_testing::upstream::until;

use super::world::{jobs_of, queue_drained, working};
use crate::faults::world::bytes;

/// The clients of both gateways together.
const CLIENTS: usize = 8;
/// The pause between a client's recordings, all of which have to be moved afterwards.
const PACE: Duration = Duration::from_millis(200);
/// The number of recordings that each client stores at least: those that find out, and many more that must not wait.
const LEAST: usize = 12;
/// How much longer than the first one a request may take on a busy machine; far less than `timeouts.answer`.
const SLACK: Duration = Duration::from_millis(1500);

/// A storage, and what lies between it and the gateways.
struct Place {
    storage: Storage,
    barrier: Barrier,
}

enum Barrier {
    /// A proxy in front of its server.
    Switch(Switch, Weather),
    /// Its file system.
    Disk(SmallDisk),
}

impl Place {
    /// Starts the storage of a driver with a server, which suffers from this weather during the outage.
    async fn behind(handler: &'static str, outage: Weather) -> Self {
        let storage = Storage::start(handler).await;
        let address = match &storage.server {
            Server::Nginx(server) => server.address(),
            Server::S3(server) => server.address(),
            Server::Ftp(server) => server.address(),
            _ => panic!("{handler} has another server"),
        };
        Self { storage, barrier: Barrier::Switch(Switch::start(address), outage) }
    }

    /// Returns a gateway's setup with a worker; the storage is down after three failures.
    fn setup(&self) -> Setup {
        let setup = working(Setup::default()).set("timeouts.answer", "18s").set("fallback.failures", "3");
        match &self.barrier {
            Barrier::Disk(disk) => setup.set("storage.file_root", &disk.path().display().to_string()),
            Barrier::Switch(..) => setup,
        }
    }

    /// Returns the storage's settings in the plan, with the barrier's port.
    fn settings(&self) -> Value {
        let mut settings = self.storage.settings.clone();
        let Barrier::Switch(switch, _) = &self.barrier else { return settings };
        if settings.get("port").is_some() {
            settings["port"] = json!(switch.port());
        }
        if let Some(url) = settings["url"].as_str() {
            let mut url: url::Url = url.parse().expect("a URL");
            url.set_port(Some(switch.port())).expect("a port");
            settings["url"] = json!(url.as_str());
        }
        settings
    }

    fn breaks(&self) {
        match &self.barrier {
            Barrier::Switch(switch, outage) => switch.turn(*outage),
            Barrier::Disk(disk) => disk.fill(),
        }
    }

    fn works_again(&self) {
        match &self.barrier {
            Barrier::Switch(switch, _) => switch.turn(Weather::Fair),
            Barrier::Disk(disk) => disk.relieve(),
        }
    }

    /// Returns all objects, including unfinished ones.
    fn objects(&self, gateway: &Running) -> Vec<String> {
        match &self.barrier {
            Barrier::Switch(..) => self.storage.objects(gateway),
            Barrier::Disk(disk) => stowage_testing::files(disk.path()),
        }
    }
}

/// A recording that was stored during the outage.
struct Kept {
    id: String,
    document: Value,
    body: Vec<u8>,
    /// When its PUT began, and how long it took.
    began: Instant,
    wait: Duration,
}

/// A document with members of every kind.
fn document(id: &str, number: usize) -> Value {
    json!({
        "_id": id, "pvt_type": "call_recording", "pvt_account_id": "canary", "pvt_created": 63_900_000_000_u64,
        "name": "Zo\u{eb} \u{1f4de}", "number": number, "ratio": 0.25, "negative": -7, "empty": {}, "nothing": null,
        "custom_channel_vars": { "list": [1, "two", { "three": [true, false, null, ""] }], "quoted": "\"\\\n" },
    })
}

/// Stores recordings through one gateway, one after the other, at least so many and until the time is over.
async fn client(gateway: &Running, index: usize, ends: Instant) -> Vec<Kept> {
    let mut all: Vec<Kept> = Vec::new();
    while all.len() < LEAST || Instant::now() < ends {
        let id = format!("doc-{index}-{}", all.len());
        let document = document(&id, all.len());
        let rev = gateway.document(&id, document.clone()).await;
        let body = bytes(1000 + 100 * index + all.len() % 100, 1);
        let began = Instant::now();
        let put = gateway.put(&id, "call.mp3", &rev, &body).await;
        let wait = began.elapsed();
        assert_eq!(put.status, 201, "{id}: {put:?}");
        all.push(Kept { id, document, body, began, wait });
        tokio::time::sleep(PACE).await;
    }
    all
}

/// Checks that no request of a gateway has waited longer than the first one, and that most have hardly waited.
fn waited(what: &str, kept: &[&Kept]) {
    let first = kept.iter().min_by_key(|kept| kept.began).expect("a recording");
    let mut waits: Vec<Duration> = kept.iter().map(|kept| kept.wait).collect();
    waits.sort_unstable();
    let (median, longest) = (waits[waits.len() / 2], waits[waits.len() - 1]);
    println!("{what}: {} recordings, the first {:?}, median {median:?}, longest {longest:?}", waits.len(), first.wait);
    assert!(longest <= first.wait + SLACK, "{what}: {longest:?}, and the first {:?}: {waits:?}", first.wait);
    assert!(median < Duration::from_millis(300), "{what}: {median:?}: {waits:?}");
}

/// Checks that the attachment is in the storage only, byte for byte, and that nothing else in its document has changed.
async fn is_moved(gateway: &Running, kept: &Kept) {
    let Kept { id, document, body, .. } = kept;
    let mut there = gateway.inside(id).await;
    assert!(there["_attachments"].is_null(), "{there}");
    let pointer = &there["pvt_attachments"]["call.mp3"];
    assert_eq!((&pointer["length"], &pointer["stowage"]["storage"]), (&json!(body.len()), &json!(STORAGE)), "{there}");
    let members = there.as_object_mut().expect("a document");
    for key in ["_rev", "_attachments", "pvt_attachments"] {
        members.remove(key);
    }
    assert_eq!(there, *document, "{id}");
    let got = gateway.get(&format!("{id}/call.mp3")).await;
    assert!(got.status == 200 && got.body == *body, "{id}: {}, {} bytes", got.status, got.body.len());
}

async fn through(place: Place) {
    let gateway = place.setup().start().await;
    gateway.plan(place.storage.handler, place.settings()).await;
    let other = gateway.beside(place.setup()).await;
    place.breaks();
    let ends = Instant::now() + Duration::from_secs(if is_long() { 60 } else { 0 });
    let gateways = [&gateway, &other];
    let done = join_all((0..CLIENTS).map(|index| client(gateways[index % 2], index, ends))).await;
    let mut waiting = jobs_of(&gateway).await;
    waiting.retain(|job| job["kind"] == "move");
    place.works_again();
    for (number, name) in ["one gateway", "the other"].into_iter().enumerate() {
        let own = done.iter().skip(number).step_by(2).flatten();
        waited(&format!("{}, {name}", place.storage.handler), &own.collect::<Vec<_>>());
    }
    let all: Vec<&Kept> = done.iter().flatten().collect();
    assert_eq!(waiting.len(), all.len(), "each recording has its job");
    // A third gateway finds the storage well; for the others it rests for a while yet.
    let third = gateway.beside(place.setup()).await;
    queue_drained(&third).await;
    for kept in &all {
        is_moved(&third, kept).await;
    }
    gateway.settled().await;
    other.settled().await;
    until("each recording is one object", async || place.objects(&gateway).len() == all.len()).await;
    for running in [third, other, gateway] {
        running.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn s3_refuses_connections() {
    through(Place::behind("s3", Weather::Refused).await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn s3_says_nothing() {
    through(Place::behind("s3", Weather::Silent).await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn http_refuses_connections() {
    through(Place::behind("http", Weather::Refused).await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn http_says_nothing() {
    through(Place::behind("http", Weather::Silent).await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ftp_refuses_connections() {
    through(Place::behind("ftp", Weather::Refused).await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ftp_says_nothing() {
    through(Place::behind("ftp", Weather::Silent).await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_file_system_is_full() {
    let Some(disk) = SmallDisk::mount(32) else { return };
    through(Place { storage: Storage::start("file").await, barrier: Barrier::Disk(disk) }).await;
}
