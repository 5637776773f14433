//! Broker, etcd and document store are killed together under load: no acknowledged call is lost, and all recover by themselves.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::{Value, json};
use stowage_testing::is_long;
use stowage_testing::raw::RawClient;
use tokio_util::task::AbortOnDropHandle;

use crate::instance::address;
use crate::servers::couch::StoreProcess;
use crate::servers::rabbitmq::{Place, RabbitMq};
use crate::servers::soon;
use crate::whole::{World, event_of};

const LIMIT: Duration = Duration::from_secs(90);

/// Returns the events of a whole call, one per line.
fn call(number: usize) -> String {
    let (a, b) = (format!("a{number}"), format!("b{number}"));
    let end = json!({ "Hangup-Cause": "NORMAL_CLEARING", "Billing-Seconds": 1 });
    let none = json!({});
    let events = [
        ("CHANNEL_CREATE", &a, &none),
        ("CHANNEL_CREATE", &b, &none),
        ("CHANNEL_ANSWER", &b, &none),
        ("CHANNEL_ANSWER", &a, &none),
        ("CHANNEL_BRIDGE", &a, &none),
        ("CHANNEL_DESTROY", &a, &end),
        ("CHANNEL_DESTROY", &b, &end),
    ];
    events.map(|(name, leg, more)| event_of(name, leg, more).to_string()).join("\n")
}

/// Sources that send call after call, and repeat each until it is acknowledged.
#[derive(Debug, Default)]
struct Load {
    next: AtomicUsize,
    acknowledged: Mutex<BTreeSet<usize>>,
    refused: AtomicUsize,
    /// The calls whose events were sent more than once: they may have come in parts.
    repeated: Mutex<BTreeSet<usize>>,
}

impl Load {
    async fn send(self: Arc<Self>, address: SocketAddr) {
        loop {
            let number = self.next.fetch_add(1, Ordering::Relaxed);
            let events = call(number);
            while !is_taken(address, &events).await {
                self.refused.fetch_add(1, Ordering::Relaxed);
                self.repeated.lock().unwrap().insert(number);
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
            self.acknowledged.lock().unwrap().insert(number);
            // Slow enough for the records to keep up on a busy machine.
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    fn acknowledged(&self) -> BTreeSet<usize> {
        self.acknowledged.lock().unwrap().clone()
    }
}

async fn is_taken(address: SocketAddr, events: &str) -> bool {
    let head = format!(
        "POST /v1/events HTTP/1.1\r\nHost: x\r\nContent-Type: application/x-ndjson\r\nContent-Length: {}\r\n\r\n",
        events.len()
    );
    let Ok(mut client) = RawClient::connect(address).await else { return false };
    let answer = client.exchange(format!("{head}{events}")).await;
    answer.is_ok_and(|answer| {
        let taken = serde_json::from_slice::<Value>(&answer.body).unwrap_or_default();
        answer.status == 200 && taken["taken"] == 7
    })
}

fn number_of(dialog: &str) -> usize {
    dialog.trim_start_matches('a').split('+').next().unwrap().parse().unwrap()
}

/// Returns the dialogs with a record; none if the store does not respond.
async fn recorded(world: &World) -> BTreeSet<usize> {
    let numbers = world.records().await.into_iter().map(|(dialog, record)| {
        assert_eq!(record["term_cause"], 1, "{record}");
        number_of(&dialog)
    });
    numbers.collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn all_servers_are_killed_together_and_nothing_acknowledged_is_lost() {
    let (mut broker, mut store) = (RabbitMq::start(1).await, StoreProcess::start().await);
    let place = Place { node: broker.origins().remove(0), vhost: "/".to_owned(), broker: None };
    let settings = vec![("BROKER__HEARTBEAT", "1s".to_owned()), ("BROKER__TIMEOUT", "3s".to_owned())];
    let mut world = World::at(place, store.couch().await, settings).await;
    let _instances = [world.start(1).await, world.start(2).await];
    let load = Arc::new(Load::default());
    let sending = [1, 2].map(|instance| {
        let address = address(world.folder.path(), instance);
        AbortOnDropHandle::new(tokio::spawn(Arc::clone(&load).send(address)))
    });
    let rounds = if is_long() { 50 } else { 3 };
    for round in 0..rounds {
        if round > 0 && round % 10 == 0 {
            println!("{round} kills of all, {} calls", load.acknowledged().len());
        }
        let before = load.acknowledged().len();
        soon("calls are acknowledged", LIMIT, async || load.acknowledged().len() >= before + 5).await;
        // A random time of the kill, not a wait for a condition.
        tokio::time::sleep(Duration::from_millis(u64::from(uuid::Uuid::new_v4().as_bytes()[0]) * 3)).await;
        broker.kill_node(0);
        world.etcd.kill();
        store.kill();
        tokio::join!(broker.start_node(0), world.etcd.start_again(), store.start_again());
        let wanted = load.acknowledged();
        let has_all = async || recorded(&world).await.is_superset(&wanted);
        let waiting = tokio::time::timeout(LIMIT, soon("records", LIMIT * 2, has_all)).await;
        let missing = || async { wanted.difference(&recorded(&world).await).copied().collect::<Vec<_>>() };
        assert!(waiting.is_ok(), "round {round}: no record of {:?}\n{}", missing().await, world.logs());
    }
    drop(sending);
    let all = load.acknowledged();
    soon("all records", LIMIT, async || recorded(&world).await.is_superset(&all)).await;
    let records = world.records().await;
    let corrected = records.iter().filter(|(_, record)| !record["_rev"].as_str().unwrap().starts_with("1-"));
    let twice: BTreeSet<_> = corrected.map(|(dialog, _)| number_of(dialog)).collect();
    // A record is written again only where the rest of its call came late.
    let repeated = load.repeated.lock().unwrap().clone();
    assert!(twice.is_subset(&repeated), "{:?} were written twice", twice.difference(&repeated).collect::<Vec<_>>());
    let refused = load.refused.load(Ordering::Relaxed);
    println!(
        "{} calls, {rounds} kills of all, {refused} requests sent again, {} records corrected",
        all.len(),
        twice.len()
    );
    assert!(refused > 0, "no request met a kill");
}
