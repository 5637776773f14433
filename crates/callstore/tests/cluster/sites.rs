//! Two sites, each with a broker and a call store: what each knows about the other, and what happens when one is lost.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use callstore::broker::Broker;
use callstore::journal::Journal;
use serde_json::{Value, json};
use stowage_base::tasks::Tasks;
use stowage_testing::couch::Couch;
use stowage_testing::raw::RawClient;
use tempfile::TempDir;

use crate::instance::{self, At, address};
use crate::servers::gate::Gate;
use crate::servers::process::Process;
use crate::servers::rabbitmq::{READER, RabbitMq, place};
use crate::servers::soon;
use crate::streams::{broker, config, connector, journal};
use crate::whole::{begins, ends, records};

const LIMIT: Duration = Duration::from_secs(40);

/// The instances' folder, and the store of their records.
struct World {
    couch: Couch,
    folder: TempDir,
}

impl World {
    async fn new() -> Self {
        let couch = Couch::embedded(("admin".to_owned(), "admin".to_owned())).await;
        Self { couch, folder: tempfile::tempdir().unwrap() }
    }

    /// Starts an instance, and waits until it listens.
    async fn start(&self, number: u32, at: At<'_>, sites: &Value) -> Process {
        // No tracker answers here: the other site's instance closes the calls of its silent switch after twelve of these.
        let hold_off = if number == 2 { "1s" } else { "15s" };
        let more =
            [("BROKER__HEARTBEAT", "1s".to_owned()), ("SITES", toml(sites)), ("DEAD__HOLD_OFF", hold_off.to_owned())];
        instance::start(self.folder.path(), number, at, &self.couch, &more).await
    }

    async fn ask(&self, number: u32, method: &str, path: &str) -> (u16, Value) {
        ask(address(self.folder.path(), number), method, path).await
    }

    /// Returns the other site as shown by the first instance.
    async fn site(&self) -> Value {
        self.ask(1, "GET", "/v1/groups").await.1["sites"][0].clone()
    }

    /// Returns all records except for that of this site's call.
    async fn records_of_north(&self) -> BTreeMap<String, Value> {
        let mut records = records(&self.couch).await;
        records.remove("a100+b100");
        records
    }

    async fn becomes(&self, member: &str, wanted: impl Into<Value>) {
        let wanted = wanted.into();
        let is_so = async || self.site().await[member] == wanted;
        self.wait(&format!("{member} is {wanted}"), is_so).await;
    }

    /// Waits until the first instance shows the other site's dialog in this state.
    async fn shows(&self, dialog: &str, state: &str) {
        let path = format!("/v1/dialogs/{}", dialog.replace('+', "%2B"));
        let is_so = async || {
            let shown = self.ask(1, "GET", &path).await.1;
            shown["state"] == state && shown["site"] == "north"
        };
        self.wait(&format!("{dialog} is {state}"), is_so).await;
    }

    /// Waits for a condition; on timeout, shows the first instance's log.
    async fn wait(&self, what: &str, is_so: impl AsyncFnMut() -> bool) {
        let waiting = tokio::time::timeout(LIMIT, soon(what, LIMIT * 2, is_so)).await;
        let known =
            (self.site().await, self.ask(1, "GET", "/v1/calls").await.1, self.ask(1, "GET", "/v1/nodes").await.1);
        assert!(waiting.is_ok(), "{what}: {known:?}\n{}", instance::log(self.folder.path(), 1));
    }
}

/// Formats the list as TOML inline tables.
fn toml(sites: &Value) -> String {
    let table = |site: &Value| {
        let members = site.as_object().unwrap().iter().map(|(key, value)| format!("{key} = {value}"));
        format!("{{ {} }}", members.collect::<Vec<_>>().join(", "))
    };
    format!("[{}]", sites.as_array().unwrap().iter().map(table).collect::<Vec<_>>().join(", "))
}

fn north((port, vhost): At<'_>, user: &str) -> Value {
    json!({
        "name": "north", "urls": [format!("amqp://127.0.0.1:{port}")], "vhost": vhost, "username": user, "password": user,
        "heartbeat": "1s", "timeout": "2s",
    })
}

async fn ask(address: SocketAddr, method: &str, path: &str) -> (u16, Value) {
    let request = format!("{method} {path} HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n");
    let answer = RawClient::connect(address).await.unwrap().exchange(request).await.unwrap();
    (answer.status, serde_json::from_slice(&answer.body).unwrap_or_default())
}

async fn adopt(address: SocketAddr, folder: &Path, more: &[&str]) -> (bool, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_callstore"));
    command.args(["adopt", "--url", &format!("http://{address}")]).args(more).current_dir(folder);
    let output = tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap();
    (output.status.success(), String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned())
}

/// Checks that all dialogs died except for one, which ended.
fn are_written_once(records: &BTreeMap<String, Value>, ended: &str) {
    for (dialog, record) in records {
        assert!(record["_rev"].as_str().unwrap().starts_with("1-"), "{dialog} was written twice");
        assert_eq!(record["term_cause"], if dialog == ended { 1 } else { 1000 });
    }
}

/// The user at the other site may do everything; still, nothing is published there.
#[tokio::test(flavor = "multi_thread")]
async fn a_link_that_is_lost_and_back_loses_nothing_and_writes_nothing() {
    let world = World::new().await;
    let (own, other) = (place().await, place().await);
    let gate = Gate::before(other.node.port).await;
    let there = broker(&other);
    let stream = journal(&there);
    stream.prepare().await.unwrap();
    let before = stream.end().await.unwrap().unwrap();
    let sites = json!([north((gate.address.port(), &other.vhost), "guest")]);
    let mut one = world.start(1, (own.node.port, &own.vhost), &sites).await;
    let (here, link) = (broker(&own).open().await.unwrap(), there.open().await.unwrap());
    let (here, channel) = (here.channel().await.unwrap(), link.channel().await.unwrap());
    begins(&here, 1).await;
    begins(&channel, 2).await;
    world.shows("a2+b2", "live").await;
    let both = async || {
        let dialogs = world.ask(1, "GET", "/v1/dialogs").await.1["dialogs"].clone();
        let calls = world.ask(1, "GET", "/v1/calls").await.1["calls"].to_string();
        dialogs.as_array().is_some_and(|all| all.len() == 2 && all[0]["site"].is_null() && all[1]["site"] == "north")
            && calls.contains("north")
    };
    world.wait("both sites' dialogs", both).await;

    gate.fall_silent(true);
    world.becomes("is_linked", false).await;
    begins(&channel, 3).await;
    ends(&channel, 2).await;
    assert_eq!(world.ask(1, "GET", "/ready").await.0, 200, "it is its own journal that counts");
    gate.fall_silent(false);
    world.shows("a3+b3", "live").await;
    world.shows("a2+b2", "ended").await;

    // A restart resumes from the previous position.
    one.kill();
    ends(&channel, 3).await;
    let _one = world.start(1, (own.node.port, &own.vhost), &sites).await;
    world.shows("a3+b3", "ended").await;
    world.becomes("lag_entries", 0).await;
    // The other site is not adopted, so its records are not written here.
    assert!(records(&world.couch).await.keys().all(|dialog| dialog == "a1+b1"), "a record of the other site's");
    // Two calls begin with five events and end with two; one more entry is this query's marker.
    assert_eq!(stream.end().await.unwrap().unwrap() - before, 2 * 7 + 1, "something was published there");
}

/// The user at the other site only has permission to read the stream.
#[tokio::test(flavor = "multi_thread")]
async fn a_lost_site_is_adopted_and_comes_back_and_each_call_has_one_record() {
    const CALLS: usize = 5;
    let world = World::new().await;
    let own = place().await;
    let mut other = RabbitMq::start(1).await;
    let there = Broker::new(config(other.origins(), "/"), connector(), Tasks::default());
    let at = (other.nodes[0].port, "/");
    let mut second = world.start(2, at, &json!([])).await;
    let sites = json!([north(at, READER)]);
    let mut first = world.start(1, (own.node.port, &own.vhost), &sites).await;
    let (here, link) = (broker(&own).open().await.unwrap(), there.open().await.unwrap());
    let (here, channel) = (here.channel().await.unwrap(), link.channel().await.unwrap());
    for number in 0..=CALLS {
        begins(&channel, number).await;
    }
    begins(&here, 100).await;
    ends(&channel, CALLS).await;
    let one = async || records(&world.couch).await.len() == 1;
    world.wait("its own record of what ended", one).await;
    for number in 0..CALLS {
        world.shows(&format!("a{number}+b{number}"), "live").await;
    }
    world.becomes("lost_since", Value::Null).await;

    second.kill();
    other.kill_node(0);
    world.becomes("is_linked", false).await;
    let told = adopt(address(world.folder.path(), 1), world.folder.path(), &["north"]).await;
    assert_eq!((told.0, told.1.trim()), (true, "the calls of north are finished here"));
    assert_eq!(world.site().await["is_adopted"], true);
    // Its entries read so far are on disk, the only remaining copy.
    world.wait("it is lost", async || !world.site().await["lost_since"].is_null()).await;
    // The adoption is in the journal, so a restart in between continues it.
    first.kill();
    let _first = world.start(1, (own.node.port, &own.vhost), &sites).await;
    world.becomes("is_adopted", true).await;
    let all = async || world.records_of_north().await.len() > CALLS;
    world.wait("a record of each call of the lost site", all).await;
    let made = world.records_of_north().await;
    are_written_once(&made, &format!("a{CALLS}+b{CALLS}"));
    world.becomes("records_waiting", 0).await;
    assert!(adopt(address(world.folder.path(), 1), world.folder.path(), &["north"]).await.0, "it may be said again");

    other.start_node(0).await;
    let _second = world.start(2, at, &json!([])).await;
    world.becomes("is_linked", true).await;
    let told = adopt(address(world.folder.path(), 1), world.folder.path(), &["north", "--back"]).await;
    assert!(told.0 && world.site().await["is_adopted"] == false, "{}", told.1);
    let over = async || {
        let dialogs = world.ask(2, "GET", "/v1/dialogs").await.1["dialogs"].clone();
        dialogs.as_array().is_some_and(Vec::is_empty)
    };
    world.wait("the site finishes its calls too", over).await;
    let after = world.records_of_north().await;
    assert_eq!(after.keys().collect::<Vec<_>>(), made.keys().collect::<Vec<_>>(), "none twice");
    for (dialog, record) in &made {
        assert_eq!((&after[dialog]["end_time"], &after[dialog]["_id"]), (&record["end_time"], &record["_id"]));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_site_is_adopted_by_itself_once_nothing_was_heard_of_it_for_long() {
    let world = World::new().await;
    let (own, other) = (place().await, place().await);
    let gate = Gate::before(other.node.port).await;
    let there = broker(&other);
    journal(&there).prepare().await.unwrap();
    let mut site = north((gate.address.port(), &other.vhost), "guest");
    site["adopt_after"] = "2s".into();
    let _one = world.start(1, (own.node.port, &own.vhost), &json!([site])).await;
    let channel = there.open().await.unwrap();
    let channel = channel.channel().await.unwrap();
    begins(&channel, 1).await;
    world.shows("a1+b1", "live").await;
    assert_eq!(world.site().await["is_adopted"], false);
    gate.fall_silent(true);
    world.becomes("is_adopted", true).await;
    let one = async || records(&world.couch).await.len() == 1;
    world.wait("its record", one).await;
    let unknown = adopt(address(world.folder.path(), 1), world.folder.path(), &["south"]).await;
    assert!(!unknown.0 && unknown.1.contains("404"), "{}", unknown.1);
}

/// The adopting site has two instances, one of them active. The active one is killed halfway, and the other continues.
#[tokio::test(flavor = "multi_thread")]
async fn two_instances_that_adopt_a_site_write_each_record_once() {
    const CALLS: usize = 20;
    let other = place().await;
    let gate = Gate::before(other.node.port).await;
    let there = broker(&other);
    journal(&there).prepare().await.unwrap();
    let sites = toml(&json!([north((gate.address.port(), &other.vhost), "guest")]));
    let couch = Couch::embedded(("admin".to_owned(), "admin".to_owned())).await;
    let settings = vec![("SITES", sites), ("BROKER__HEARTBEAT", "1s".to_owned())];
    let world = crate::whole::World::over(couch, settings).await;
    let mut instances = BTreeMap::from([(1, world.start(1).await), (2, world.start(2).await)]);
    let link = there.open().await.unwrap();
    let channel = link.channel().await.unwrap();
    for number in 0..CALLS {
        begins(&channel, number).await;
        if number.is_multiple_of(4) {
            ends(&channel, number).await;
        }
    }
    let folder = world.folder.path();
    for instance in [1, 2] {
        let knows_all = async || {
            let live = ask(address(folder, instance), "GET", "/v1/dialogs?limit=100").await.1["dialogs"].clone();
            live.as_array()
                .is_some_and(|live| live.iter().filter(|one| one["site"] == "north").count() == CALLS * 3 / 4)
        };
        soon("both know the site's calls", LIMIT, knows_all).await;
    }
    gate.fall_silent(true);
    let active = world.acting().await;
    assert!(adopt(address(folder, 3 - active), folder, &["north"]).await.0);
    soon("some records", LIMIT, async || !world.records().await.is_empty()).await;
    instances.get_mut(&active).unwrap().kill();
    let all = async || world.records().await.len() == CALLS;
    let waiting = tokio::time::timeout(LIMIT, soon("a record of each call", LIMIT * 2, all)).await;
    assert!(waiting.is_ok(), "{} of {CALLS}\n{}", world.records().await.len(), world.logs());
    let _again = world.start(active).await;
    let is_settled = async || {
        let answer = ask(address(folder, active), "GET", "/v1/groups").await.1;
        answer["sites"][0]["records_waiting"] == 0 && answer["sites"][0]["is_adopted"] == true
    };
    soon("whoever came back knows what was written", LIMIT, is_settled).await;
    for (dialog, record) in world.records().await {
        let number: usize = dialog.trim_start_matches('a').split('+').next().unwrap().parse().unwrap();
        assert!(record["_rev"].as_str().unwrap().starts_with("1-"), "{dialog} was written twice");
        assert_eq!(record["term_cause"], if number.is_multiple_of(4) { 1 } else { 1000 }, "{dialog}");
    }
}
