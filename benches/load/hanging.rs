//! One account's server hangs: the waiting times of all other accounts, compared with those without it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use serde_json::json;
use tokio::io::AsyncReadExt;
use tokio::net::TcpListener;
use tokio::task::JoinSet;

use crate::client::Client;
use crate::cores::Sides;
use crate::figures::Figures;
use crate::gateway::{Gateway, Servers};
use crate::recording::reserve;
use crate::report::{Bound, Report};
use crate::subjects::{BASE, STOWAGE};
use crate::workload::{ACCOUNT, DATABASE, HTTP, PLANS, attachment_target};
use crate::{Outcome, Run};

/// The connections of all other accounts, each of which sends one recording after the other.
const AT_ONCE: usize = 16;
/// The connections whose recordings go to the server that hangs.
const HANGING: usize = 200;
/// The length of a recording in bytes.
const LENGTH: u64 = 64 * 1024;
/// The delay of a client whose recording was refused.
const PAUSE: Duration = Duration::from_secs(1);
/// The time limit for all of the crowd to wait: less than the gateway's default `response_head`.
const START: Duration = Duration::from_secs(10);
const DOCUMENT_TYPE: &str = "bench_hanging";

/// Returns the rounds, and the recordings of each connection in a round.
const fn effort(is_quick: bool) -> (usize, usize) {
    if is_quick { (1, 4) } else { (7, 100) }
}

pub(crate) async fn put(report: &mut Report, run: &Run) -> Outcome<()> {
    let (rounds, each) = effort(run.is_quick);
    let servers = Servers::start(HTTP).await?;
    let hanging = TcpListener::bind("127.0.0.1:0").await?;
    let mut couch = Client::connect(servers.couch).await?;
    couch.put_document(PLANS, ACCOUNT, &plan(hanging.local_addr()?.port())).await?;
    let waiting = Arc::new(AtomicUsize::new(0));
    let accepting = tokio::spawn(hang(hanging, Arc::clone(&waiting)));
    let sides = Sides::find();
    let place = Sides::one_core(sides.as_ref());
    let _apart = sides.as_ref().map(|sides| sides.apart(servers.processes())).transpose()?;
    let mut times = Figures::default();
    for round in 1..=rounds {
        // A gateway keeps the requests of a crowd that left until `response_head`, and they count against `limits.storage_in_flight`.
        let gateway = servers.gateway(&run.binary, &place).await?;
        // Opens connections and is not counted.
        last_percent(&servers, &gateway, &format!("{round}-warm"), each.div_ceil(10)).await?;
        let alone = last_percent(&servers, &gateway, &format!("{round}-alone"), each).await?;
        let crowd = Crowd::start(&servers, &gateway, round).await?;
        let beside = async {
            all_wait(&waiting).await?;
            last_percent(&servers, &gateway, &format!("{round}-beside"), each).await
        };
        let beside = beside.await;
        crowd.end().await;
        let beside = beside.map_err(|error| gateway.process.failure(&format!("fails: {error}")).to_string())?;
        times.add(BASE, alone.as_secs_f64() * 1000.0);
        times.add(STOWAGE, beside.as_secs_f64() * 1000.0);
    }
    accepting.abort();
    let measure = format!(
        "PUT of 64 KiB, {AT_ONCE} at once, beside {HANGING} to a storage that hangs: 99th percentile in ms; base: without these"
    );
    let row = times.row(measure, 2);
    report.add(row.judge(&times.ratios(STOWAGE, BASE), "of base", Bound::AtMost(1.2)));
    Ok(())
}

/// Accepts connections, counts those that are open, and never answers.
async fn hang(listener: TcpListener, waiting: Arc<AtomicUsize>) {
    while let Ok((mut stream, _)) = listener.accept().await {
        let waiting = Arc::clone(&waiting);
        tokio::spawn(async move {
            waiting.fetch_add(1, Ordering::Relaxed);
            let mut buffer = vec![0; 16 * 1024];
            while matches!(stream.read(&mut buffer).await, Ok(1..)) {}
            waiting.fetch_sub(1, Ordering::Relaxed);
        });
    }
}

/// Waits until all of the crowd wait for the server that hangs: one that is refused measures nothing.
async fn all_wait(waiting: &AtomicUsize) -> Outcome<()> {
    let end = Instant::now() + START;
    loop {
        let count = waiting.load(Ordering::Relaxed);
        if count >= HANGING {
            return Ok(());
        }
        if Instant::now() > end {
            return Err(format!("{count} of {HANGING} connections wait for the storage that hangs").into());
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// The account's plan: documents of one type go to a server that hangs, without a fallback.
fn plan(port: u16) -> serde_json::Value {
    let id = "00000000000000000000000000000002";
    let settings = json!({ "url": format!("http://127.0.0.1:{port}/store") });
    json!({
        "_id": ACCOUNT,
        "pvt_type": "storage",
        "attachments": { id: { "handler": "http", "name": "hangs", "settings": settings } },
        "plan": { "modb": { "types": {
            DOCUMENT_TYPE: { "attachments": { "handler": id, "on_unavailable": "refuse" } }
        } } },
    })
}

/// Sends recordings to the healthy storage; returns the 99th percentile of their times.
async fn last_percent(servers: &Servers, gateway: &Gateway, round: &str, each: usize) -> Outcome<Duration> {
    let mut couch = Client::connect(servers.couch).await?;
    let mut uploads = Vec::new();
    for connection in 0..AT_ONCE {
        let mut targets = Vec::new();
        for number in 0..each {
            targets.push(reserve(&mut couch, &format!("202011-well{round}-{connection}-{number}"), HTTP).await?);
        }
        uploads.push((Client::connect(gateway.address).await?, targets));
    }
    let mut tasks = JoinSet::new();
    for (mut client, targets) in uploads {
        tasks.spawn(async move {
            let mut times = Vec::with_capacity(targets.len());
            for target in &targets {
                let start = Instant::now();
                client.put_recording(target, LENGTH).await?;
                times.push(start.elapsed());
            }
            Ok::<_, Box<dyn std::error::Error + Send + Sync>>(times)
        });
    }
    let mut times = Vec::new();
    while let Some(done) = tasks.join_next().await {
        times.extend(done??);
    }
    times.sort_unstable();
    times.get(times.len() * 99 / 100).copied().ok_or_else(|| "no requests".into())
}

/// The clients of the storage that hangs.
struct Crowd {
    clients: JoinSet<()>,
    ends: Arc<AtomicBool>,
}

impl Crowd {
    async fn start(servers: &Servers, gateway: &Gateway, round: usize) -> Outcome<Self> {
        let (mut clients, ends) = (JoinSet::new(), Arc::new(AtomicBool::new(false)));
        let mut couch = Client::connect(servers.couch).await?;
        for number in 0..HANGING {
            let id = format!("202011-hangs{round}-{number}");
            let document =
                json!({ "pvt_type": DOCUMENT_TYPE, "pvt_account_id": ACCOUNT, "pvt_created": 63_773_740_800_u64 });
            let rev = couch.put_document(DATABASE, &id, &document).await?;
            let target = format!("{}?rev={rev}", attachment_target(&id));
            let (address, ends) = (gateway.address, Arc::clone(&ends));
            clients.spawn(async move {
                while !ends.load(Ordering::Relaxed) {
                    // The upload is refused, sooner or later, as intended.
                    if let Ok(mut client) = Client::connect(address).await {
                        drop(client.put_recording(&target, LENGTH).await);
                    }
                    tokio::time::sleep(PAUSE).await;
                }
            });
        }
        Ok(Self { clients, ends })
    }

    async fn end(mut self) {
        self.ends.store(true, Ordering::Relaxed);
        self.clients.shutdown().await;
    }
}
