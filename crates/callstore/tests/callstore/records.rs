//! Records in CouchDB: one per dialog, whatever happens to it.

use std::sync::Mutex;

use async_trait::async_trait;
use callstore::app::World;
use callstore::orders::{Orders, Undeliverable};
use serde_json::{Value, json};
use stowage_http::body::BoxError;
use stowage_testing::fault::{Fault, FaultProxy};

use crate::events::{ACCOUNT, BEGIN, SECOND, begun, disconnected, ended, era, kazoo, with};
use crate::running::{self, SORM, until};

const CDRS: &str = "account/4f/1c/0a5f6e3b4d7e8a9b0c1d2e3f4a5b-202611";

#[tokio::test(flavor = "multi_thread")]
async fn a_call_that_ended_has_one_record_with_all_that_the_law_asks() {
    let store = running::start(&[], World::default()).await;
    store.post(&[begun("a1", "b1"), ended("a1", "b1")].concat()).await;
    let record = store.record("a1+b1").await;
    for (name, expected) in [
        ("begin_time", json!("2026-11-30T12:00:00.000Z")),
        ("end_time", json!("2026-11-30T12:01:00.000Z")),
        ("client_ipv4", json!("192.0.2.17")),
        ("client_ip_port", json!(5080)),
        ("protocol_code", json!(5060)),
        ("session_id", json!("a1")),
        ("duration", json!(55)),
        ("call_type_id", json!(1)),
        ("calling_original_number", json!("+74955550101")),
        ("called_original_number", json!("1001")),
        ("fax", json!(false)),
        ("term_cause", json!(1)),
        ("acallid", json!("a1")),
        ("bcallid", json!("b1")),
        ("invite_id", json!("63963259200-0a1b2c3d")),
        ("_id", json!("202611-a1+b1")),
    ] {
        assert_eq!(record[name], expected, "{name} of {record:#}");
    }
    // KAZOO writes its own document.
    assert_eq!(store.documents(CDRS).await.len(), 0);
    assert_eq!(store.documents(SORM).await.len(), 1);
    store.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_late_fact_puts_the_record_right() {
    let store = running::start(&[], World::default()).await;
    store.post(&[begun("a1", "b1"), ended("a1", "b1")].concat()).await;
    assert_eq!(store.record("a1+b1").await["recording"], Value::Null);
    let late = json!({ "Application-Response": "/tmp/a1.mp3", "Length": "54000", "Recording": { "File-Size": 4711 } });
    store.post(&[with(kazoo("RECORD_STOP", "a1", 61.0), &late)]).await;
    let record = until("the correction", || async {
        Some(store.record("a1+b1").await).filter(|record| !record["recording"].is_null())
    })
    .await;
    assert_eq!(record["recording"]["bytes"], 4711);
    assert!(record["_rev"].as_str().unwrap().starts_with("2-"));
    assert_eq!(store.documents(SORM).await.len(), 1);
    store.stop().await;
}

#[derive(Debug, Default)]
struct Told(Mutex<Vec<(String, Value)>>);

#[async_trait]
impl Orders for Told {
    async fn send(&self, key: &str, message: bytes::Bytes) -> Result<(), BoxError> {
        let message = serde_json::from_slice(&message)?;
        self.0.lock().unwrap().push((key.to_owned(), message));
        Ok(())
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_that_died_has_its_record_and_kazoos_and_others_are_told() {
    let told = std::sync::Arc::new(Told::default());
    let world = World { orders: Some(told.clone()), ..World::default() };
    let store = running::start(&[("DEAD__HOLD_OFF", "100ms"), ("DEAD__MAX_CALL", "100000h")], world).await;
    let recording = with(kazoo("RECORD_START", "a1", 6.0), &json!({ "Application-Response": "/tmp/a1.mp3" }));
    let lost = [disconnected("a1", 40), disconnected("b1", 40)];
    store.post(&[begun("a1", "b1"), vec![recording], lost.to_vec()].concat()).await;
    let record = store.record("a1+b1").await;
    assert_eq!(record["term_cause"], 1000);
    assert_eq!(record["end_time"], "2026-11-30T12:00:27.000Z", "what KAZOO says less its grace");
    assert_eq!(record["duration"], 21);
    assert_eq!(record["found_cause"], "disconnected");
    let cdrs = until("KAZOO's own documents", || async {
        let cdrs = store.documents(CDRS).await;
        Some(cdrs).filter(|cdrs| cdrs.len() == 2)
    })
    .await;
    let cdr = cdrs.iter().find(|cdr| cdr["call_id"] == "a1").unwrap();
    for (name, expected) in [
        ("_id", json!("202611-a1")),
        ("pvt_type", json!("cdr")),
        ("pvt_account_id", json!(ACCOUNT)),
        ("interaction_time", json!(63_963_259_200_i64)),
        ("interaction_key", json!("0a1b2c3d")),
        ("billing_seconds", json!(21)),
        ("duration_seconds", json!(27)),
        ("hangup_cause", json!("CRASH")),
    ] {
        assert_eq!(cdr[name], expected, "{name} of {cdr:#}");
    }
    assert_eq!(cdr["custom_channel_vars"]["account_id"], ACCOUNT);
    assert_eq!(cdr["pvt_created"], callstore::sources::to_gregorian(BEGIN + 27 * SECOND));
    until("others to be told", || async { (told.0.lock().unwrap().len() >= 2).then_some(()) }).await;
    let told = told.0.lock().unwrap().clone();
    assert_eq!(
        told.iter().map(|(key, _)| key.as_str()).collect::<Vec<_>>(),
        ["dialog.dead.a1+b1", "recording.finalise.a1+b1"]
    );
    assert_eq!(told[0].1["id"], told[1].1["id"]);
    // The mixer answers: the record of the recorded leg, which is already written, then names the recording.
    let finalised = json!({
        "event": "recording_finalised", "dialog_id": "a1+b1", "time": "2026-11-30T12:02:10.000Z",
        "database": CDRS.replace("%2F", "/"), "document": "202611-rec/1", "attachment": "a1.mp3",
    });
    store.post(&[finalised]).await;
    let linked = until("the link", || async {
        let cdrs = store.documents(CDRS).await;
        cdrs.iter().any(|cdr| !cdr["media_recordings"].is_null()).then_some(cdrs)
    })
    .await;
    for cdr in linked {
        let expected = if cdr["call_id"] == "a1" { json!(["202611-rec/1"]) } else { Value::Null };
        assert_eq!(cdr["media_recordings"], expected, "{cdr:#}");
        assert_eq!(cdr["custom_channel_vars"]["media_recordings"], expected, "{cdr:#}");
    }
    // The leg was alive after all: the record is corrected with the end from its source.
    store.post(&ended("a1", "b1")).await;
    until("the correction", || async { Some(store.record("a1+b1").await).filter(|record| record["term_cause"] == 1) })
        .await;
    assert_eq!(store.record("a1+b1").await["end_time"], "2026-11-30T12:01:00.000Z");
    store.stop().await;
}

/// Does not take what is about the dialog `a1+b1`.
#[derive(Debug, Default)]
struct Choosy(Told);

#[async_trait]
impl Orders for Choosy {
    async fn send(&self, key: &str, message: bytes::Bytes) -> Result<(), BoxError> {
        if key.ends_with("a1+b1") {
            return Err(Undeliverable("not this one".into()).into());
        }
        self.0.send(key, message).await
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_notice_that_is_not_taken_does_not_hold_back_the_others() {
    let choosy = std::sync::Arc::new(Choosy::default());
    let world = World { orders: Some(choosy.clone()), ..World::default() };
    let store = running::start(&[("DEAD__HOLD_OFF", "100ms"), ("DEAD__MAX_CALL", "100000h")], world).await;
    store.post(&[begun("a1", "b1"), vec![disconnected("a1", 40), disconnected("b1", 40)]].concat()).await;
    // It died first, so its notice is the oldest.
    store.record("a1+b1").await;
    store.post(&[begun("a2", "b2"), vec![disconnected("a2", 40), disconnected("b2", 40)]].concat()).await;
    until("the other notice", || async { choosy.0.0.lock().unwrap().first().map(|(key, _)| key.clone()) }).await;
    assert_eq!(choosy.0.0.lock().unwrap()[0].0, "dialog.dead.a2+b2");
    store.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_document_of_kazoos_own_is_left_as_it_is() {
    let store = running::start(&[("DEAD__HOLD_OFF", "100ms"), ("DEAD__MAX_CALL", "100000h")], World::default()).await;
    let database = format!("/{}", CDRS.replace('/', "%2F"));
    store.couch.request("PUT", &database, "application/json", b"").await;
    let own = json!({ "pvt_type": "cdr", "call_id": "a1", "hangup_cause": "NORMAL_CLEARING" }).to_string();
    store.couch.request("PUT", &format!("{database}/202611-a1"), "application/json", own.as_bytes()).await;
    store.post(&[begun("a1", "b1"), vec![disconnected("a1", 40), disconnected("b1", 40)]].concat()).await;
    let cdrs = until("the other leg's document", || async {
        Some(store.documents(CDRS).await).filter(|cdrs| cdrs.len() == 2)
    })
    .await;
    let kept = cdrs.iter().find(|cdr| cdr["call_id"] == "a1").unwrap();
    assert_eq!((kept["hangup_cause"].clone(), kept["pvt_callstore"].clone()), (json!("NORMAL_CLEARING"), Value::Null));
    store.stop().await;
}

/// KAZOO's cdr app finds the document of the death in place of its own, and drops its own.
#[tokio::test(flavor = "multi_thread")]
async fn kazoos_document_of_a_leg_that_was_alive_after_all_is_corrected_by_its_end() {
    let store = running::start(&[("DEAD__HOLD_OFF", "100ms"), ("DEAD__MAX_CALL", "100000h")], World::default()).await;
    store.post(&[begun("a1", "b1"), vec![disconnected("a1", 40)]].concat()).await;
    until("the document of the death", || async {
        store.documents(CDRS).await.into_iter().find(|cdr| cdr["hangup_cause"] == "CRASH")
    })
    .await;
    store.post(&[kazoo("CALL_UPDATE", "a1", 50.0)]).await;
    store.post(&ended("a1", "b1")).await;
    let cdr = until("the correction", || async {
        store.documents(CDRS).await.into_iter().find(|cdr| cdr["hangup_cause"] == "NORMAL_CLEARING")
    })
    .await;
    assert_eq!((cdr["_id"].clone(), cdr["pvt_type"].clone()), (json!("202611-a1"), json!("cdr")));
    assert_eq!((cdr["billing_seconds"].clone(), cdr["duration_seconds"].clone()), (json!(55), json!(60)));
    assert_eq!(cdr["timestamp"], callstore::sources::to_gregorian(BEGIN + 60 * SECOND));
    assert_eq!(store.documents(CDRS).await.len(), 1, "KAZOO writes the other leg's");
    store.stop().await;
}

/// `cdrs/listing_by_owner` looks for the owner among the channel's variables.
#[tokio::test(flavor = "multi_thread")]
async fn kazoos_document_names_the_owner_however_many_variables_the_channel_has() {
    let store = running::start(&[("DEAD__HOLD_OFF", "100ms"), ("DEAD__MAX_CALL", "100000h")], World::default()).await;
    for (a, b, size) in [("a1", "b1", 5_000), ("a2", "b2", 20_000)] {
        let vars = json!({ "Account-ID": ACCOUNT, "Owner-ID": "an owner", "Filler": "x".repeat(size) });
        let events = [begun(a, b), vec![disconnected(a, 40)]].concat().into_iter();
        let events = events.map(|event| with(event, &json!({ "Custom-Channel-Vars": vars })));
        store.post(&events.collect::<Vec<_>>()).await;
    }
    let cdrs =
        until("both documents", || async { Some(store.documents(CDRS).await).filter(|cdrs| cdrs.len() == 2) }).await;
    for (cdr, is_whole) in cdrs.iter().zip([true, false]) {
        let vars = &cdr["custom_channel_vars"];
        assert_eq!((&vars["owner_id"], vars["filler"].is_string()), (&json!("an owner"), is_whole));
    }
    store.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_may_not_be_made_does_not_hold_back_the_records_of_others() {
    let couch = stowage_testing::couch::Couch::embedded(("admin".to_owned(), "admin".to_owned())).await;
    let (user, password) = couch.user().await;
    // The account is a member of the database of records, and no server admin: it cannot make the account's month database.
    let database = format!("/{}", SORM.replace('/', "%2F"));
    couch.request("PUT", &database, "application/json", b"").await.expect_status(201);
    let members = json!({ "admins": {}, "members": { "names": [user] } }).to_string();
    let security = format!("{database}/_security");
    couch.request("PUT", &security, "application/json", members.as_bytes()).await.expect_status(200);
    let settings = [
        ("COUCHDB__USERNAME", user.as_str()),
        ("COUCHDB__PASSWORD", password.as_str()),
        ("DEAD__HOLD_OFF", "100ms"),
        ("DEAD__MAX_CALL", "100000h"),
    ];
    let store = running::start_over(couch, tempfile::tempdir().unwrap(), &settings, World::default()).await;
    let dead = (100..120).flat_map(|number| {
        let (a, b) = (format!("a{number}"), format!("b{number}"));
        [begun(&a, &b), vec![disconnected(&a, 40), disconnected(&b, 40)]].concat()
    });
    store.post(&dead.collect::<Vec<_>>()).await;
    let refused = || async {
        let metrics = store.ask("GET", "/metrics", &[], b"").await.text();
        let count = metrics.lines().find_map(|line| line.strip_prefix("callstore_records_total{outcome=\"refused\"} "));
        count.and_then(|count| count.parse::<f64>().ok()).filter(|count| *count > 0.0)
    };
    until("a refusal", &refused).await;
    store.post(&[begun("a2", "b2"), ended("a2", "b2")].concat()).await;
    store.record("a2+b2").await;
    let count = refused().await.unwrap();
    assert!(count < 10.0, "each of the 40 records of the database was tried: {count}");
    assert_eq!(store.documents(CDRS).await.len(), 0);
    store.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn era_dialogs_have_records_too() {
    let all = [
        ("RECORDS__INVITES", "true"),
        ("RECORDS__HOLDS", "true"),
        ("RECORDS__FORKS", "true"),
        ("RECORDS__LINKS", "true"),
    ];
    let store = running::start(&all, World::default()).await;
    let invite = with(
        era("invite", 0),
        &json!({ "fromusername": "100", "fromdomain": "pbx.example.com", "urito": "sip:200@pbx.example.com", "dialogid": null }),
    );
    let fork = with(era("fork_start", 2), &json!({ "forkcallid": "era-c", "forkcallednum": "300" }));
    let end = with(era("dlg_end", 70), &json!({ "completion": "bye_b" }));
    store.post(&[invite, fork, era("dlg_start", 5), era("hold", 9), end, era("dlg_stop", 73)]).await;
    let record = store.record("era-dialog").await;
    assert_eq!((record["term_cause"].clone(), record["duration"].clone()), (json!(2), json!(65)), "{record:#}");
    assert_eq!((record["acallid"].clone(), record["bcallid"].clone()), (json!("era-a"), json!("era-b")));
    assert_eq!(
        (record["calling_original_number"].clone(), record["called_original_number"].clone()),
        (json!("100"), json!("200"))
    );
    assert_eq!(record["holds"][0]["event"], "hold");
    assert_eq!(record["forks"][0]["callid"], "era-c");
    assert_eq!(record["invites"][0]["acallid"], "era-a");
    store.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_that_nobody_answered_has_no_record_and_waits_for_none() {
    let store = running::start(&[], World::default()).await;
    let mut events = vec![kazoo("CHANNEL_CREATE", "a1", 0.0), kazoo("CHANNEL_CREATE", "b1", 1.0)];
    events.extend(ended("a1", "b1"));
    events.extend([begun("a2", "b2"), ended("a2", "b2")].concat());
    store.post(&events).await;
    store.record("a2+b2").await;
    until("nothing to wait", || async {
        let metrics = store.ask("GET", "/metrics", &[], b"").await.text();
        metrics.contains("callstore_records_waiting{group=\"0\"} 0").then_some(())
    })
    .await;
    assert_eq!(store.documents(SORM).await.len(), 1);
    store.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn records_wait_for_a_couchdb_that_is_away_and_are_written_in_order() {
    // A port without a listener until the store is started.
    let couch = stowage_testing::couch::Couch::embedded(("admin".to_owned(), "admin".to_owned())).await;
    let gate = FaultProxy::start(couch.address()).await;
    let url = format!("http://{}", gate.address());
    gate.otherwise(Fault::REFUSE);
    let store =
        running::start_over(couch, tempfile::tempdir().unwrap(), &[("COUCHDB__URL", &url)], World::default()).await;
    for number in 0..5 {
        let (a, b) = (format!("a{number}"), format!("b{number}"));
        store.post(&[begun(&a, &b), ended(&a, &b)].concat()).await;
    }
    until("a failure", || async {
        let metrics = store.ask("GET", "/metrics", &[], b"").await.text();
        (metrics.contains("callstore_records_waiting{group=\"0\"} 5")
            && !metrics.contains("callstore_records_total{outcome=\"failed\"} 0"))
        .then_some(())
    })
    .await;
    gate.otherwise(Fault::PASS);
    let records =
        until("all records", || async { Some(store.documents(SORM).await).filter(|records| records.len() == 5) }).await;
    assert!(records.iter().all(|record| record["_rev"].as_str().unwrap().starts_with("1-")));
    store.stop().await;
}
