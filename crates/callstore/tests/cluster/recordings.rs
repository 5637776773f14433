//! Both programs together: the recording of a call whose switch died is finalized by a mixer, stored by the gateway, and named in its record.

use std::time::Duration;

use futures_util::StreamExt;
use lapin::options::{
    BasicAckOptions, BasicConsumeOptions, BasicPublishOptions, QueueBindOptions, QueueDeclareOptions,
};
use lapin::types::FieldTable;
use lapin::{BasicProperties, Channel, Consumer, ExchangeKind};
use serde_json::{Value, json};
use stowage_testing::couch::Couch;
use stowage_testing::gateway::{Running, json as body, planned, rev};
use stowage_testing::recorder::Recorder;

use crate::brokers::{queue, tracker};
use crate::servers::soon;
use crate::streams::{broker, kazoo};
use crate::whole::{World, begins, dies, ends, event};

/// Declares a mixer's own queue, which keeps orders while the mixer is away.
async fn orders(channel: &Channel) -> Consumer {
    // Declares the exchange; this queue itself is not used.
    drop(queue(channel, "callstore", ExchangeKind::Topic, true, "nothing").await);
    let durable = QueueDeclareOptions { durable: true, ..QueueDeclareOptions::default() };
    channel.queue_declare("mixer".into(), durable, FieldTable::default()).await.unwrap();
    let key = "recording.finalise.#".into();
    let binding = QueueBindOptions::default();
    channel.queue_bind("mixer".into(), "callstore".into(), key, binding, FieldTable::default()).await.unwrap();
    let options = BasicConsumeOptions::default();
    channel.basic_consume("mixer".into(), "".into(), options, FieldTable::default()).await.unwrap()
}

/// Uploads a recording as KAZOO does, first the document and then its attachment; returns the event for the call store.
async fn upload(gateway: &Running, order: &Value, bytes: &[u8]) -> Value {
    let leg = order["legs"][0].as_str().unwrap();
    let (document, attachment) = (format!("202411-{leg}"), format!("call_recording_{leg}.mp3"));
    let saved = gateway.document(&document, json!({ "pvt_type": "call_recording", "call_id": leg })).await;
    let put = gateway.put(&document, &attachment, &saved, bytes).await.expect_status(201);
    assert!(rev(&put).starts_with("2-"));
    json!({
        "event": "recording_finalised", "id": order["id"], "dialog_id": order["dialog_id"], "time": order["found"],
        "database": gateway.database(), "document": document, "attachment": attachment, "bytes": bytes.len(),
    })
}

/// Returns the bytes of a recording, unique to each call.
fn sound(number: u8) -> Vec<u8> {
    (0..200_000_u32).map(|at| at.to_le_bytes()[0] ^ number).collect()
}

async fn recorded(channel: &Channel, number: usize, name: &str) {
    // KAZOO records the leg that requested it, here the callee's.
    let file = json!({ "Application-Response": format!("/tmp/{number}.mp3") });
    event(channel, name, &format!("b{number}"), &file).await;
}

/// Waits for a record that meets a condition.
async fn record(world: &World, number: usize, mut is_so: impl FnMut(&Value) -> bool) -> Value {
    let (id, mut found) = (format!("a{number}+b{number}"), Value::Null);
    let waiting = async || {
        found = world.records().await.remove(&id).unwrap_or_default();
        is_so(&found)
    };
    let limit = Duration::from_secs(30);
    let waited = tokio::time::timeout(limit, soon("the record", limit * 2, waiting)).await;
    assert!(waited.is_ok(), "{id}: {found:#}\n{}", world.logs());
    found
}

/// Checks that an order contains everything a mixer needs.
fn is_whole(order: &Value) {
    for (name, expected) in [
        ("event", json!("recording_finalise")),
        ("dialog_id", json!("a0+b0")),
        ("recording", json!("/tmp/0.mp3")),
        ("legs", json!(["a0", "b0"])),
        ("node", json!("freeswitch@fs1.example")),
        ("account_id", json!("4f1c0a5f6e3b4d7e8a9b0c1d2e3f4a5b")),
        ("domain", json!("pbx.example.com")),
    ] {
        assert_eq!(order[name], expected, "{name} of {order:#}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_recording_of_a_dead_call_is_finished_stored_and_linked() {
    let gateway = planned().await;
    let webhook = Recorder::start().await;
    let world = World::over(gateway.couch.beside(), vec![("ORDERS__WEBHOOK", webhook.url("/orders"))]).await;
    let _callstore = world.start(1).await;
    let link = broker(&world.place).open().await.unwrap();
    let channel = link.channel().await.unwrap();
    let mut mixer = orders(&channel).await;

    for nonsense in ["", "no event", "[1]", "{}", "{\"event\":\"recording_finalised\"}"] {
        kazoo(&channel, "callevt", "call.NONSENSE.a0", nonsense).await;
        kazoo(&channel, "callstore", "recording.finalised.a0", nonsense).await;
    }
    // 0 dies while being recorded, 1 after its recording was stopped, 2 ends normally, 3 dies and was never recorded.
    for number in 0..4 {
        begins(&channel, number).await;
    }
    for number in 0..3 {
        recorded(&channel, number, "RECORD_START").await;
    }
    recorded(&channel, 1, "RECORD_STOP").await;
    recorded(&channel, 2, "RECORD_STOP").await;
    ends(&channel, 2).await;
    for number in [1, 3, 0] {
        dies(&channel, number).await;
    }
    let is_dead = |record: &Value| record["term_cause"] == 1000;
    let dead = record(&world, 0, is_dead).await;
    assert_eq!((&dead["is_recorded"], &dead["recording"]["file"]), (&json!(true), &json!("/tmp/0.mp3")));
    assert_eq!(dead["recording"]["link"], Value::Null);

    let delivery =
        tokio::time::timeout(Duration::from_secs(20), mixer.next()).await.expect("an order").unwrap().unwrap();
    assert_eq!(delivery.routing_key.as_str(), "recording.finalise.a0%2Bb0");
    let order: Value = serde_json::from_slice(&delivery.data).unwrap();
    is_whole(&order);
    let told = upload(&gateway, &order, &sound(0)).await;
    let properties = BasicProperties::default().with_delivery_mode(2);
    let key = "recording.finalised.a0%2Bb0";
    let options = BasicPublishOptions::default();
    let text = told.to_string();
    channel.basic_publish("callstore".into(), key.into(), options, text.as_bytes(), properties).await.unwrap();
    delivery.ack(BasicAckOptions::default()).await.unwrap();

    let linked = record(&world, 0, |record| record["recording"]["link"].is_string()).await;
    let is_linked =
        [("database", "database"), ("document", "document"), ("attachment", "attachment"), ("bytes", "bytes")];
    for (name, of) in is_linked {
        assert_eq!(linked["recording"][name], told[of], "{name} of {linked:#}");
    }
    assert_eq!(linked["_id"], dead["_id"], "it is corrected where it stands");
    assert!(linked["_rev"].as_str().unwrap().starts_with("2-"), "{linked:#}");
    assert_eq!(linked["term_cause"], 1000, "what a mixer says is no sign of life");
    let target = linked["recording"]["link"].as_str().unwrap();
    let got = gateway.request("GET", target, &[], b"").await;
    assert_eq!((got.status, got.body == sound(0)), (200, true));
    assert_eq!(gateway.stored().len(), 1, "the gateway stored it outside");

    // A repeated event, as with delivery at least once, changes nothing.
    kazoo(&channel, "callstore", key, &text).await;
    only_that_order(&world, &channel, &mut mixer, &webhook, &order).await;
    let again = record(&world, 0, |record| record["recording"]["link"].is_string()).await;
    assert_eq!(again["_rev"], linked["_rev"]);
    gateway.stop().await;
}

/// Checks that no other call had an order, by the next one being a later call's: orders are sent in the order of deaths.
async fn only_that_order(world: &World, channel: &Channel, mixer: &mut Consumer, webhook: &Recorder, first: &Value) {
    for number in [1, 3] {
        record(world, number, |record| record["term_cause"] == 1000).await;
    }
    begins(channel, 4).await;
    recorded(channel, 4, "RECORD_START").await;
    dies(channel, 4).await;
    let next = tokio::time::timeout(Duration::from_secs(20), mixer.next()).await.expect("the next").unwrap().unwrap();
    let next: Value = serde_json::from_slice(&next.data).unwrap();
    assert_eq!(next["dialog_id"], "a4+b4", "1 was stopped, 2 ended well, 3 was not recorded");
    let is_order =
        |body: &[u8]| serde_json::from_slice(body).ok().filter(|order: &Value| order["event"] == "recording_finalise");
    let all = |requests: &[stowage_testing::recorder::Recorded]| {
        requests.iter().filter_map(|request| is_order(&request.body)).collect::<Vec<_>>()
    };
    let posted = webhook.wait_until(|requests| all(requests).len() >= 2).await;
    assert_eq!(all(&posted), [first.clone(), next], "the webhook gets the same orders");
}

/// A mixer's queue keeps its order while the mixer is away; the answer may also come over HTTP.
#[tokio::test(flavor = "multi_thread")]
async fn a_mixer_that_was_away_finds_its_order_and_answers_over_http() {
    let gateway = planned().await;
    let world = World::over(gateway.couch.beside(), Vec::new()).await;
    let _callstore = world.start(1).await;
    let link = broker(&world.place).open().await.unwrap();
    let channel = link.channel().await.unwrap();
    // The mixer was there before, and took its first order without finishing it.
    let early = link.channel().await.unwrap();
    let mut mixer = orders(&early).await;
    begins(&channel, 0).await;
    recorded(&channel, 0, "RECORD_START").await;
    dies(&channel, 0).await;
    let taken = tokio::time::timeout(Duration::from_secs(20), mixer.next()).await.expect("an order").unwrap().unwrap();
    early.close(200, "killed".into()).await.unwrap();
    let mut mixer = orders(&channel).await;
    let again = tokio::time::timeout(Duration::from_secs(20), mixer.next()).await.expect("again").unwrap().unwrap();
    assert_eq!((again.redelivered, &again.data), (true, &taken.data));
    let order: Value = serde_json::from_slice(&again.data).unwrap();
    let told = upload(&gateway, &order, &sound(7)).await;
    let answer = world.post(1, &told.to_string()).await;
    assert_eq!(body(&answer)["taken"], 1, "{answer:?}");
    let linked = record(&world, 0, |record| record["recording"]["link"].is_string()).await;
    let got = gateway.request("GET", linked["recording"]["link"].as_str().unwrap(), &[], b"").await;
    assert_eq!((got.status, got.body == sound(7)), (200, true));
    gateway.stop().await;
}

/// The loss of the switch is not reported; only its events cease.
#[tokio::test(flavor = "multi_thread")]
async fn the_recording_of_a_call_whose_switch_fell_silent_is_ordered() {
    let couch = Couch::embedded(("admin".to_owned(), "admin".to_owned())).await;
    let world = World::over(couch, Vec::new()).await;
    let _callstore = world.start(1).await;
    let broker = broker(&world.place);
    let link = broker.open().await.unwrap();
    let channel = link.channel().await.unwrap();
    let mut mixer = orders(&channel).await;
    begins(&channel, 0).await;
    recorded(&channel, 0, "RECORD_START").await;
    let other = json!({ "other": { "Media-Node": "freeswitch@fs2.example", "Answered": true } });
    let _tracker = tracker(&broker, "ecallmgr@a", other).await;
    let order = tokio::time::timeout(Duration::from_secs(40), mixer.next()).await;
    let order: Value = serde_json::from_slice(&order.expect("an order").unwrap().unwrap().data).unwrap();
    assert_eq!(order["dialog_id"], "a0+b0");
    assert_eq!(order["cause"], "silent", "{order:#}");
    record(&world, 0, |record| record["found_cause"] == "silent").await;
}
