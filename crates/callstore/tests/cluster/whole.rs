//! Two instances of the program: KAZOO's events through the broker, election through etcd, records in a document store, and kills.

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use futures_util::StreamExt;
use lapin::options::{BasicConsumeOptions, QueueBindOptions, QueueDeclareOptions};
use lapin::types::FieldTable;
use lapin::{Channel, Consumer};
use serde_json::{Value, json};
use stowage_testing::couch::Couch;
use stowage_testing::is_long;
use stowage_testing::raw::RawClient;
use tempfile::TempDir;

use crate::instance::{self, address};
use crate::servers::etcd::Etcd;
use crate::servers::process::Process;
use crate::servers::rabbitmq::{Place, place};
use crate::servers::soon;
use crate::streams::{broker, kazoo};

/// The database of the records.
const RECORDS: &str = "cdr/copm3/dialogs";
const SWITCH: &str = "freeswitch@fs1.example";

/// Two instances of a group, and the servers they use.
pub struct World {
    pub place: Place,
    pub etcd: Etcd,
    couch: Couch,
    pub folder: TempDir,
    settings: Vec<(&'static str, String)>,
}

impl World {
    async fn new() -> Self {
        Self::over(Couch::embedded(("admin".to_owned(), "admin".to_owned())).await, Vec::new()).await
    }

    /// Uses an existing document store, with these variables for each instance.
    pub async fn over(couch: Couch, settings: Vec<(&'static str, String)>) -> Self {
        Self::at(place().await, couch, settings).await
    }

    /// Uses an existing broker.
    pub async fn at(place: Place, couch: Couch, settings: Vec<(&'static str, String)>) -> Self {
        let etcd = Etcd::start().await;
        let folder = tempfile::tempdir().unwrap();
        let role = |order: u32| {
            json!({
                "name": format!("callstore{order}"), "roletype": "callstore", "iface": "lan", "group": 11010,
                "order": order, "include_domains": [], "sorm3_enabled": true,
            })
        };
        std::fs::write(folder.path().join("roles.json"), json!([role(1), role(2)]).to_string()).unwrap();
        Self { place, etcd, couch, folder, settings }
    }

    /// Starts an instance and waits until it listens.
    pub async fn start(&self, order: u32) -> Process {
        let more = [
            ("INSTANCE", format!("callstore{order}")),
            ("ROLES", self.folder.path().join("roles.json").display().to_string()),
            ("GROUP__ETCD", format!("http://127.0.0.1:{}", self.etcd.port)),
            ("GROUP__LEASE", "2s".to_owned()),
            ("GROUP__STAGGER", "200ms".to_owned()),
        ];
        let at = (self.place.node.port, self.place.vhost.as_str());
        let more = [&more[..], &self.settings[..]].concat();
        instance::start(self.folder.path(), order, at, &self.couch, &more).await
    }

    /// Returns the active instance according to etcd.
    pub fn leader(&self) -> Option<u32> {
        let key = STANDARD.encode("/callstore/g/11010/leader");
        let answer = self.etcd.ask("/v3/kv/range", &json!({ "key": key }).to_string());
        let value = STANDARD.decode(answer["kvs"][0]["value"].as_str()?).unwrap();
        String::from_utf8(value).unwrap().strip_prefix("callstore")?.parse().ok()
    }

    pub async fn acting(&self) -> u32 {
        let mut acting = None;
        soon("one acts", Duration::from_secs(20), async || {
            acting = self.leader();
            acting.is_some()
        })
        .await;
        acting.unwrap()
    }

    /// Returns the records by dialog.
    pub async fn records(&self) -> BTreeMap<String, Value> {
        records(&self.couch).await
    }

    /// Posts events to an instance.
    pub async fn post(&self, order: u32, events: &str) -> stowage_testing::raw::RawResponse {
        let address = address(self.folder.path(), order);
        stowage_testing::gateway::exchange(address, "POST", "/v1/events", &[], events.as_bytes()).await
    }

    /// Returns what an instance answers.
    async fn get(&self, order: u32, path: &str) -> String {
        let request = format!("GET {path} HTTP/1.1\r\nHost: x\r\n\r\n");
        let address = address(self.folder.path(), order);
        let answer = RawClient::connect(address).await.unwrap().exchange(request).await.unwrap();
        String::from_utf8_lossy(&answer.body).into_owned()
    }

    pub fn logs(&self) -> String {
        [1, 2].map(|order| instance::log(self.folder.path(), order)).join("\n")
    }
}

/// Returns the records by dialog.
pub async fn records(couch: &Couch) -> BTreeMap<String, Value> {
    let target = format!("/{}/_all_docs?include_docs=true", RECORDS.replace('/', "%2F"));
    let answer = couch.request("GET", &target, "application/json", b"").await;
    let answer: Value = serde_json::from_slice(&answer.body).unwrap_or_default();
    let none = Vec::new();
    let rows = answer["rows"].as_array().unwrap_or(&none).iter().map(|row| row["doc"].clone());
    let dialogs = rows.filter_map(|doc| Some((doc["dialog_id"].as_str()?.to_owned(), doc)));
    let mut records = BTreeMap::new();
    for (dialog, doc) in dialogs {
        assert!(records.insert(dialog.clone(), doc).is_none(), "two records of {dialog}");
    }
    records
}

/// Publishes an event with the current time, as KAZOO does.
pub async fn event(channel: &Channel, name: &str, leg: &str, more: &Value) {
    let event = event_of(name, leg, more);
    kazoo(channel, "callevt", &format!("call.{name}.{leg}"), &event.to_string()).await;
}

/// Builds an event with the current time.
pub fn event_of(name: &str, leg: &str, more: &Value) -> Value {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    let (direction, other) = match leg.strip_prefix('a') {
        Some(rest) => ("inbound", format!("b{rest}")),
        None => ("outbound", leg.replacen('b', "a", 1)),
    };
    let mut event = json!({
        "Event-Category": "call_event", "Event-Name": name, "Call-ID": leg, "Other-Leg-Call-ID": other,
        "Msg-ID": now.as_micros().to_string(), "Timestamp": now.as_secs() + 62_167_219_200,
        "Call-Direction": direction, "Switch-Nodename": SWITCH, "Media-Server": "fs1.example",
        "Caller-ID-Number": "+74955550101", "Callee-ID-Number": "1001", "From": "1@pbx.example.com",
        "To": "1001@pbx.example.com", "Request": "1001@pbx.example.com",
        "Custom-Channel-Vars": { "Account-ID": "4f1c0a5f6e3b4d7e8a9b0c1d2e3f4a5b", "Realm": "pbx.example.com" },
    });
    event.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    event
}

pub async fn begins(channel: &Channel, number: usize) {
    let (a, b) = (format!("a{number}"), format!("b{number}"));
    for (name, leg) in [
        ("CHANNEL_CREATE", &a),
        ("CHANNEL_CREATE", &b),
        ("CHANNEL_ANSWER", &b),
        ("CHANNEL_ANSWER", &a),
        ("CHANNEL_BRIDGE", &a),
    ] {
        event(channel, name, leg, &json!({})).await;
    }
}

pub async fn ends(channel: &Channel, number: usize) {
    let cause = json!({ "Hangup-Cause": "NORMAL_CLEARING", "Billing-Seconds": 1 });
    for leg in [format!("a{number}"), format!("b{number}")] {
        event(channel, "CHANNEL_DESTROY", &leg, &cause).await;
    }
}

/// Publishes ecallmgr's event for a lost switch, which is in whole seconds and 13 s after the last event; here in the next second.
pub async fn dies(channel: &Channel, number: usize) {
    let next = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs() + 1 + 62_167_219_200;
    for leg in [format!("a{number}"), format!("b{number}")] {
        let lost = json!({ "Msg-ID": "0b8f4b9c", "Timestamp": next });
        event(channel, "CHANNEL_DISCONNECTED", &leg, &lost).await;
    }
}

async fn listener(channel: &Channel) -> Consumer {
    let own = QueueDeclareOptions { exclusive: true, auto_delete: true, ..QueueDeclareOptions::default() };
    let queue = channel.queue_declare("".into(), own, FieldTable::default()).await.unwrap().name().clone();
    let declare = lapin::options::ExchangeDeclareOptions { durable: true, ..Default::default() };
    let topic = lapin::ExchangeKind::Topic;
    channel.exchange_declare("callstore".into(), topic, declare, FieldTable::default()).await.unwrap();
    let binding = QueueBindOptions::default();
    let key = "dialog.dead.#".into();
    channel.queue_bind(queue.clone(), "callstore".into(), key, binding, FieldTable::default()).await.unwrap();
    let options = BasicConsumeOptions { no_ack: true, ..BasicConsumeOptions::default() };
    channel.basic_consume(queue, "".into(), options, FieldTable::default()).await.unwrap()
}

/// Calls begin before a kill and end after it; the switch of one in twenty dies. The next active instance finishes the work of the first.
#[tokio::test(flavor = "multi_thread")]
async fn a_standby_finishes_what_the_killed_one_began() {
    const CALLS: usize = 20;
    const DEAD: usize = 1;
    let world = World::new().await;
    let mut instances = BTreeMap::from([(1, world.start(1).await), (2, world.start(2).await)]);
    let link = broker(&world.place).open().await.unwrap();
    let channel = link.channel().await.unwrap();
    let mut deaths = listener(&channel).await;
    let rounds = if is_long() { 200 } else { 3 };
    for round in 0..rounds {
        let active = world.acting().await;
        let calls = round * CALLS..(round + 1) * CALLS;
        for number in calls.clone() {
            begins(&channel, number).await;
            if number % CALLS != DEAD && number % 3 == 0 {
                ends(&channel, number).await;
            }
        }
        // A random time of the kill, not a wait for a condition.
        tokio::time::sleep(Duration::from_millis(u64::from(uuid::Uuid::new_v4().as_bytes()[0]) * 3)).await;
        instances.get_mut(&active).unwrap().kill();
        for number in calls.clone() {
            match number {
                number if number % CALLS == DEAD => dies(&channel, number).await,
                number if number % 3 != 0 => ends(&channel, number).await,
                _ => {}
            }
        }
        let is_other = async || world.leader().is_some_and(|leader| leader != active);
        soon("the standby takes over", Duration::from_secs(10), is_other).await;
        let all = async || world.records().await.len() == (round + 1) * CALLS;
        let limit = Duration::from_secs(40);
        let waiting = tokio::time::timeout(limit, soon("a record of each call", limit * 2, all)).await;
        assert!(waiting.is_ok(), "{} of {}\n{}", world.records().await.len(), (round + 1) * CALLS, world.logs());
        instances.insert(active, world.start(active).await);
    }
    for (dialog, record) in world.records().await {
        let number: usize = dialog.trim_start_matches('a').split('+').next().unwrap().parse().unwrap();
        let is_dead = number % CALLS == DEAD;
        assert!(record["_rev"].as_str().unwrap().starts_with("1-"), "{dialog} was written twice");
        assert_eq!(record["term_cause"], if is_dead { 1000 } else { 1 }, "{dialog}");
    }
    for _ in 0..rounds {
        let told = tokio::time::timeout(Duration::from_secs(10), deaths.next()).await;
        let told = told.expect("a death is told of").unwrap().unwrap();
        let told: Value = serde_json::from_slice(&told.data).unwrap();
        assert!(told["dialog_id"].as_str().is_some(), "{told}");
    }
}

/// Standbys fold the stream, too.
#[tokio::test(flavor = "multi_thread")]
async fn a_stream_is_folded_by_two_instances_alike() {
    let world = World::new().await;
    let (_one, _other) = (world.start(1).await, world.start(2).await);
    let link = broker(&world.place).open().await.unwrap();
    let channel = link.channel().await.unwrap();
    for number in 0..50 {
        begins(&channel, number).await;
    }
    let addresses: Vec<_> = (1..=2).map(|order| address(world.folder.path(), order)).collect();
    for address in addresses {
        let has_all = async || {
            let request = "GET /v1/dialogs?state=live&limit=100 HTTP/1.1\r\nHost: x\r\n\r\n";
            let answer = RawClient::connect(address).await.unwrap().exchange(request).await.unwrap();
            String::from_utf8_lossy(&answer.body).matches("pbx.example.com").count() >= 50
        };
        soon("both know all calls", Duration::from_secs(20), has_all).await;
    }
}

/// Returns a channel as a tracker lists it.
fn listed(other: &str, direction: &str) -> Value {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs() + 62_167_219_200;
    json!({
        "Media-Node": SWITCH, "Call-Direction": direction, "Realm": "pbx.example.com", "Answered": true,
        "Other-Leg-Call-ID": other, "Timestamp": now, "Account-ID": "4f1c0a5f6e3b4d7e8a9b0c1d2e3f4a5b",
    })
}

/// Returns two channels that talk with each other.
fn both() -> Value {
    json!({ "a1": listed("b1", "inbound"), "b1": listed("a1", "outbound") })
}

/// The answer and the bridge were lost, and the trackers list both legs as talking; then the switch dies.
#[tokio::test(flavor = "multi_thread")]
async fn a_talk_that_only_a_tracker_knows_is_told_once_and_has_a_record() {
    let world = World::new().await;
    let _one = world.start(1).await;
    let broker = broker(&world.place);
    let link = broker.open().await.unwrap();
    let channel = link.channel().await.unwrap();
    for leg in ["a1", "b1"] {
        event(&channel, "CHANNEL_CREATE", leg, &json!({})).await;
    }
    let limit = Duration::from_secs(20);
    let has_legs = async || world.get(1, "/v1/calls?state=live").await.contains("b1");
    soon("the legs are known", limit, has_legs).await;
    let tracker = crate::brokers::tracker(&broker, "ecallmgr@a", both()).await;
    let has_dialog = async || world.get(1, "/v1/dialogs?state=live").await.contains("a1+b1");
    soon("the dialog is known", limit, has_dialog).await;
    let count = async |name: &str| {
        let metrics = world.get(1, "/metrics").await;
        metrics.lines().find_map(|line| line.strip_prefix(name)).unwrap().trim().parse::<f64>().unwrap()
    };
    let events = count("callstore_entries_total{kind=\"event\"}").await;
    let sweeps = count("callstore_sweeps_total{outcome=\"answered\"}").await;
    let is_asked = async || count("callstore_sweeps_total{outcome=\"answered\"}").await >= sweeps + 4.0;
    soon("more sweeps", limit, is_asked).await;
    assert!((count("callstore_entries_total{kind=\"event\"}").await - events).abs() < 0.5, "it was told again");
    drop(tracker);
    dies(&channel, 1).await;
    soon("its record", limit, async || world.records().await.contains_key("a1+b1")).await;
    let record = world.records().await.remove("a1+b1").unwrap();
    assert_eq!((record["term_cause"].clone(), record["bcallid"].clone()), (json!(1000), json!("b1")), "{record}");
}

/// A call's events were lost, but KAZOO still lists it; then KAZOO no longer lists it, without any event.
#[tokio::test(flavor = "multi_thread")]
async fn a_call_that_only_a_tracker_knows_is_followed_until_it_is_missing() {
    let world = World::new().await;
    let _one = world.start(1).await;
    let broker = broker(&world.place);
    let tracker = crate::brokers::tracker(&broker, "ecallmgr@a", both()).await;
    let live = async || world.get(1, "/v1/calls?state=live").await;
    soon("it is known", Duration::from_secs(20), async || live().await.contains("a1")).await;
    drop(tracker);
    let _empty = crate::brokers::tracker(&broker, "ecallmgr@a", json!({ "other": listed("", "inbound") })).await;
    let is_over = async || !live().await.contains("a1");
    let limit = Duration::from_secs(20);
    let waiting = tokio::time::timeout(limit, soon("it is dead", limit * 2, is_over)).await;
    assert!(waiting.is_ok(), "{}\n{}", live().await, world.logs());
}
