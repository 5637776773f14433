//! Queries to KAZOO's trackers, and published notices.

use std::time::{Duration, Instant};

use callstore::broker::{Broker, Kind, Notices, Trackers};
use futures_util::StreamExt;
use lapin::options::{BasicConsumeOptions, ExchangeDeclareOptions, QueueBindOptions, QueueDeclareOptions};
use lapin::types::FieldTable;
use lapin::{Channel, Consumer, ExchangeKind};
use serde_json::{Value, json};
use stowage_base::tasks::Tasks;

use crate::servers::gate::Gate;
use crate::servers::rabbitmq::place;
use crate::streams::{broker, config, connector, kazoo};

/// Declares an exclusive queue, bound as those of KAZOO's programs.
pub async fn queue(channel: &Channel, exchange: &str, kind: ExchangeKind, durable: bool, key: &str) -> Consumer {
    let declare = ExchangeDeclareOptions { durable, ..ExchangeDeclareOptions::default() };
    channel.exchange_declare(exchange.into(), kind, declare, FieldTable::default()).await.unwrap();
    let own = QueueDeclareOptions { auto_delete: true, exclusive: true, ..QueueDeclareOptions::default() };
    let queue = channel.queue_declare("".into(), own, FieldTable::default()).await.unwrap().name().clone();
    let binding = QueueBindOptions::default();
    channel.queue_bind(queue.clone(), exchange.into(), key.into(), binding, FieldTable::default()).await.unwrap();
    let options = BasicConsumeOptions { no_ack: true, ..BasicConsumeOptions::default() };
    channel.basic_consume(queue, "".into(), options, FieldTable::default()).await.unwrap()
}

/// Runs a tracker that answers as `ecallmgr_fs_channels:handle_query_channels` does, until dropped.
pub async fn tracker(broker: &Broker, node: &'static str, channels: Value) -> tokio_util::task::AbortOnDropHandle<()> {
    let link = broker.open().await.unwrap();
    let channel = link.channel().await.unwrap();
    let mut questions = queue(&channel, "callevt", ExchangeKind::Topic, false, "call.status_req.*").await;
    channel
        .exchange_declare(
            "targeted".into(),
            ExchangeKind::Direct,
            ExchangeDeclareOptions::default(),
            FieldTable::default(),
        )
        .await
        .unwrap();
    tokio_util::task::AbortOnDropHandle::new(tokio::spawn(async move {
        let _stays = link;
        while let Some(Ok(question)) = questions.next().await {
            let question: Value = serde_json::from_slice(&question.data).unwrap();
            for header in ["Server-ID", "Event-Category", "Event-Name", "App-Name", "App-Version", "Msg-ID"] {
                assert!(question[header].as_str().is_some_and(|value| !value.is_empty()), "{header}");
            }
            let answer = json!({
                "Event-Category": "call_event", "Event-Name": "query_channels_resp", "Node": node,
                "App-Name": "ecallmgr", "App-Version": "4.0.0", "Msg-ID": question["Msg-ID"], "Channels": channels,
            });
            let to = question["Server-ID"].as_str().unwrap();
            kazoo(&channel, "targeted", to, "no answer").await;
            kazoo(&channel, "targeted", to, &json!({ "Node": "other@host", "Channels": {} }).to_string()).await;
            kazoo(&channel, "targeted", to, &answer.to_string()).await;
        }
    }))
}

#[tokio::test]
async fn a_sweep_knows_what_all_trackers_know_and_who_is_missing() {
    let broker = broker(&place().await);
    let trackers = Trackers::new(broker.clone(), Duration::from_secs(2));
    let none = trackers.sweep().await.unwrap();
    assert!(none.answered.is_empty() && !none.is_complete(), "nobody answered: that says nothing of any call");

    let leg = |switch: &str| json!({ "Media-Node": switch, "Account-ID": null, "Answered": true });
    let one = tracker(&broker, "ecallmgr@a", json!({ "a1": leg("freeswitch@1"), "b2": leg("freeswitch@2") })).await;
    let idle = tracker(&broker, "ecallmgr@b", json!({})).await;
    let full = trackers.sweep().await.unwrap();
    assert!(full.is_complete());
    assert_eq!(full.answered.iter().map(String::as_str).collect::<Vec<_>>(), ["ecallmgr@a", "ecallmgr@b"]);
    let switches: Vec<_> = full.channels.iter().map(|(id, leg)| (id.as_str(), leg.switch.as_str())).collect();
    assert_eq!(switches, [("a1", "freeswitch@1"), ("b2", "freeswitch@2")]);
    assert_eq!(full.channels["a1"].facts["Answered"], true);

    // Only known trackers are waited for.
    let began = Instant::now();
    assert!(trackers.sweep().await.unwrap().is_complete());
    assert!(began.elapsed() < Duration::from_secs(1), "{:?}", began.elapsed());

    drop(one);
    for _ in 0..3 {
        let partial = trackers.sweep().await.unwrap();
        assert!(!partial.is_complete() && partial.channels.is_empty());
        assert_eq!(partial.missing.iter().collect::<Vec<_>>(), ["ecallmgr@a"]);
    }
    // A tracker missing in several sweeps is no longer expected.
    assert!(trackers.sweep().await.unwrap().is_complete());
    drop(idle);
}

#[tokio::test]
async fn a_sweep_that_cannot_be_made_is_an_error_and_the_next_one_is_made_anew() {
    let place = place().await;
    let gate = Gate::before(place.node.port).await;
    let mut config = config(vec![crate::servers::etcd::origin(gate.address.port())], &place.vhost);
    config.patience = Duration::from_secs(1);
    let direct = broker(&place);
    let _tracker = tracker(&direct, "ecallmgr@a", json!({})).await;
    let trackers = Trackers::new(Broker::new(config, connector(), Tasks::default()), Duration::from_secs(1));
    assert!(trackers.sweep().await.unwrap().is_complete());
    gate.fall_silent(true);
    let cut_off = trackers.sweep().await;
    assert!(cut_off.is_err() || !cut_off.unwrap().is_complete(), "nobody is dead for want of an answer");
    gate.fall_silent(false);
    let again = async || trackers.sweep().await.is_ok_and(|sweep| sweep.is_complete());
    crate::servers::soon("sweeps go on", Duration::from_secs(20), again).await;
}

#[tokio::test]
async fn deaths_and_orders_are_told_and_it_is_known_whether_anybody_heard() {
    let broker = broker(&place().await);
    let notices = Notices::new(broker.clone());
    let (death, order) = ("dialog.dead.a.b#c d", "recording.finalise.a.b#c d");
    assert!(!notices.tell(death, b"{}").await.unwrap());
    let link = broker.open().await.unwrap();
    let channel = link.channel().await.unwrap();
    let mut deaths = queue(&channel, "callstore", ExchangeKind::Topic, true, "dialog.dead.*").await;
    let mut orders = queue(&channel, "callstore", ExchangeKind::Topic, true, "recording.finalise.*").await;
    assert!(notices.tell(death, b"{\"x\":1}").await.unwrap());
    assert!(notices.tell(order, b"{}").await.unwrap());
    let death = deaths.next().await.unwrap().unwrap();
    assert_eq!((death.routing_key.as_str(), &death.data[..]), ("dialog.dead.a%2Eb%23c%20d", &b"{\"x\":1}"[..]));
    assert_eq!(orders.next().await.unwrap().unwrap().routing_key.as_str(), "recording.finalise.a%2Eb%23c%20d");

    let long = format!("dialog.dead.{}", "x".repeat(300));
    assert_eq!(notices.tell(&long, b"{}").await.unwrap_err().kind, Kind::Mismatch, "a routing key has 255 bytes");
    assert!(notices.tell(&long, b"{\"id\":\"5d0f6c0e\"}").await.unwrap());
    assert_eq!(deaths.next().await.unwrap().unwrap().routing_key.as_str(), "dialog.dead.5d0f6c0e");
}
