//! When the parties of KAZOO's dialogs talk, and how long.

use std::time::Duration;

use callstore::app::World;
use callstore::fold::Key;
use callstore::state::State;
use redb::ReadableTable;
use serde_json::{Value, json};

use crate::events::{BEGIN, SECOND, begun, ended, entries, kazoo, with};
use crate::running::{self, Running, SORM, until};
use crate::state::{death, decision};

/// Waits until all records are written.
async fn written(store: &Running) -> Vec<Value> {
    until("nothing to wait", || async {
        let metrics = store.ask("GET", "/metrics", &[], b"").await.text();
        metrics.contains("callstore_records_waiting{group=\"0\"} 0").then_some(())
    })
    .await;
    store.documents(SORM).await
}

fn destroyed(leg: &str, seconds: f64, billing: u32) -> Value {
    with(
        kazoo("CHANNEL_DESTROY", leg, seconds),
        &json!({ "Hangup-Cause": "NORMAL_CLEARING", "Billing-Seconds": billing }),
    )
}

/// FreeSWITCH fires CHANNEL_BRIDGE for early media, too.
#[tokio::test(flavor = "multi_thread")]
async fn early_media_is_no_conversation_and_voicemail_after_it_is_one() {
    let store = running::start(&[], World::default()).await;
    let rings = |a: &str, b: &str| {
        vec![
            kazoo("CHANNEL_CREATE", a, 0.0),
            kazoo("CHANNEL_CREATE", b, 1.0),
            kazoo("CHANNEL_BRIDGE", a, 4.0),
            kazoo("CHANNEL_UNBRIDGE", a, 20.0),
            destroyed(b, 20.1, 0),
        ]
    };
    let unanswered = [rings("a1", "b1"), vec![destroyed("a1", 20.2, 0)]].concat();
    let to_voicemail =
        [rings("a2", "b2"), vec![kazoo("CHANNEL_ANSWER", "a2", 21.0), destroyed("a2", 60.0, 39)]].concat();
    store.post(&[unanswered, to_voicemail].concat()).await;
    let record = store.record("a2").await;
    assert_eq!(
        (record["answer_time"].clone(), record["end_time"].clone(), record["duration"].clone()),
        (json!("2026-11-30T12:00:21.000Z"), json!("2026-11-30T12:01:00.000Z"), json!(39))
    );
    let records = written(&store).await;
    assert_eq!(records.len(), 1, "{records:#?}");
    store.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_talk_begins_at_the_answer_also_if_that_event_was_lost() {
    let store = running::start(&[], World::default()).await;
    let events = |a: &str, b: &str| {
        vec![
            kazoo("CHANNEL_CREATE", a, 0.0),
            kazoo("CHANNEL_CREATE", b, 1.0),
            kazoo("CHANNEL_BRIDGE", a, 4.0),
            kazoo("CHANNEL_ANSWER", a, 10.0),
            destroyed(b, 60.0, 50),
            destroyed(a, 60.0, 50),
        ]
    };
    let whole = [events("a1", "b1"), vec![kazoo("CHANNEL_ANSWER", "b1", 10.0)]].concat();
    store.post(&[whole, events("a2", "b2")].concat()).await;
    for dialog in ["a1+b1", "a2+b2"] {
        let record = store.record(dialog).await;
        assert_eq!(record["answer_time"], "2026-11-30T12:00:10.000Z", "{dialog}");
        assert_eq!(record["duration"], 50, "{dialog}");
    }
    let records = written(&store).await;
    assert_eq!(records.len(), 2, "the callers talked with no exchange: {records:#?}");
    let listed = store.get("/v1/dialogs?state=ended").await;
    let answered = listed["dialogs"].as_array().unwrap().iter().map(|dialog| dialog["answered"].clone());
    assert_eq!(answered.collect::<Vec<_>>(), vec![json!("2026-11-30T12:00:10.000Z"); 2]);
    store.stop().await;
}

/// The time that is billed for the caller's leg is that of all its conversations.
#[tokio::test(flavor = "multi_thread")]
async fn each_conversation_before_and_after_a_transfer_has_its_own_length() {
    let store = running::start(&[], World::default()).await;
    let first = [
        kazoo("CHANNEL_CREATE", "a1", 0.0),
        kazoo("CHANNEL_CREATE", "b1", 1.0),
        kazoo("CHANNEL_ANSWER", "b1", 5.0),
        kazoo("CHANNEL_ANSWER", "a1", 5.0),
        kazoo("CHANNEL_BRIDGE", "a1", 5.0),
        kazoo("CHANNEL_UNBRIDGE", "a1", 65.0),
        destroyed("b1", 65.1, 60),
    ];
    store.post(&first).await;
    assert_eq!(store.record("a1+b1").await["duration"], 60);
    let to_caller = json!({ "Other-Leg-Call-ID": "a1" });
    let second = [
        with(kazoo("CHANNEL_CREATE", "c1", 66.0), &to_caller),
        with(kazoo("CHANNEL_ANSWER", "c1", 70.0), &to_caller),
        with(kazoo("CHANNEL_BRIDGE", "a1", 70.0), &json!({ "Other-Leg-Call-ID": "c1" })),
        destroyed("a1", 130.0, 125),
        with(destroyed("c1", 130.1, 60), &to_caller),
    ];
    store.post(&second).await;
    store.record("a1+c1").await;
    let records = written(&store).await;
    let times = records.iter().map(|record| {
        let part = |name: &str| record[name].as_str().unwrap().to_owned();
        (part("dialog_id"), part("answer_time"), part("end_time"), record["duration"].clone())
    });
    let expected = [
        ("a1+b1", "2026-11-30T12:00:05.000Z", "2026-11-30T12:01:05.000Z"),
        ("a1+c1", "2026-11-30T12:01:10.000Z", "2026-11-30T12:02:10.000Z"),
    ];
    let expected =
        expected.map(|(dialog, begin, end)| (dialog.to_owned(), begin.to_owned(), end.to_owned(), json!(60)));
    assert_eq!(times.collect::<Vec<_>>(), expected);
    store.stop().await;
}

/// A state file of an older version does not say when the parties began to talk.
#[tokio::test(flavor = "multi_thread")]
async fn a_record_that_waited_through_an_upgrade_is_written() {
    let store = running::start(&[("COUCHDB__URL", "http://127.0.0.1:1")], World::default()).await;
    store.post(&[begun("a1", "b1"), ended("a1", "b1")].concat()).await;
    until("a record to wait", || async {
        let metrics = store.ask("GET", "/metrics", &[], b"").await.text();
        metrics.contains("callstore_records_waiting{group=\"0\"} 1").then_some(())
    })
    .await;
    let (couch, folder) = store.stop().await;
    {
        let db = redb::Database::open(folder.path().join("state.redb")).unwrap();
        let writing = db.begin_write().unwrap();
        {
            let mut items = writing.open_table(redb::TableDefinition::<&str, &[u8]>::new("items")).unwrap();
            let bytes = items.get("dialog/a1+b1").unwrap().unwrap().value().to_vec();
            let mut dialog: Value = serde_json::from_slice(&bytes).unwrap();
            assert!(dialog.as_object_mut().unwrap().remove("talk").is_some());
            let bytes = dialog.to_string().into_bytes();
            items.insert("dialog/a1+b1", &*bytes).unwrap();
        }
        writing.commit().unwrap();
    }
    let store = running::start_over(couch, folder, &[], World::default()).await;
    assert_eq!(store.record("a1+b1").await["duration"], 55);
    store.stop().await;
}

/// The caller was answered by a greeting, and hears another leg ring: that is no second conversation to be told of.
#[test]
fn a_death_in_early_media_after_a_greeting_is_told_once() {
    let folder = tempfile::tempdir().unwrap();
    let state = State::open(&folder.path().join("state.redb"), Duration::ZERO).unwrap();
    let now = BEGIN + 60 * SECOND;
    let events = [
        kazoo("CHANNEL_CREATE", "a1", 0.0),
        kazoo("CHANNEL_ANSWER", "a1", 1.0),
        kazoo("CHANNEL_CREATE", "b1", 2.0),
        kazoo("CHANNEL_BRIDGE", "a1", 3.0),
    ];
    state.apply(&entries(0, &events), now).unwrap();
    let (a, b) = (Key::leg("a1"), Key::leg("b1"));
    let seen = state.item(&a).unwrap().unwrap().item.last.unwrap();
    state.apply(&[decision(10, 1, death(&a, seen)), decision(11, 1, death(&b, seen))], now).unwrap();
    let told = state.news(10).unwrap().into_iter().map(|(_, news)| serde_json::from_slice::<Value>(&news).unwrap());
    let dialogs: Vec<_> = told.map(|told| told["dialog_id"].clone()).collect();
    assert_eq!(dialogs, ["a1"]);
}
