//! Faults around a call store: clocks, delays, realms, disks, and recordings that were not stopped.

use std::time::Duration;

use callstore::app::World;
use callstore::clock::Clock;
use callstore::state::State;
use serde_json::{Value, json};
use stowage_testing::couch::Couch;
use stowage_testing::spy::Spy;

use crate::events::{BEGIN, SECOND, begun, disconnected, ended, kazoo, with};
use crate::running::{self, SORM, until};

/// No young call is closed, and calls end when their sources say so.
#[tokio::test(flavor = "multi_thread")]
async fn a_clock_that_is_set_ahead_closes_no_call_and_costs_no_end() {
    let clock = Clock::standing(BEGIN + 10 * SECOND);
    let store = running::start(&[], World { clock: clock.clone(), ..World::default() }).await;
    store.post(&begun("a1", "b1")).await;
    until("the call", || async { (store.get("/v1/dialogs").await["dialogs"][0]["id"] == "a1+b1").then_some(()) }).await;
    clock.set_ahead(Duration::from_secs(3 * 3600));
    // The death of a disconnected call shows that the watchdog has checked all calls.
    store.post(&[begun("a2", "b2"), vec![disconnected("a2", 40), disconnected("b2", 40)]].concat()).await;
    let dead = until("the one that died", || async {
        clock.advance(Duration::from_secs(1));
        store.documents(SORM).await.into_iter().find(|record| record["dialog_id"] == "a2+b2")
    })
    .await;
    assert_eq!((&dead["term_cause"], &dead["end_time"]), (&json!(1000), &json!("2026-11-30T12:00:27.000Z")));
    assert_eq!(store.get("/v1/dialogs?state=live").await["dialogs"][0]["id"], "a1+b1");
    store.post(&ended("a1", "b1")).await;
    let record = until("its record", || async {
        clock.advance(Duration::from_secs(1));
        store.documents(SORM).await.into_iter().find(|record| record["dialog_id"] == "a1+b1")
    })
    .await;
    assert_eq!((&record["term_cause"], &record["end_time"]), (&json!(1), &json!("2026-11-30T12:01:00.000Z")));
    assert!(record["_rev"].as_str().unwrap().starts_with("1-"), "{record}");
    store.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn events_that_come_an_hour_late_kill_nobody_and_keep_their_times() {
    let clock = Clock::standing(BEGIN + 3600 * SECOND);
    let store =
        running::start(&[("DEAD__HOLD_OFF", "100ms")], World { clock: clock.clone(), ..World::default() }).await;
    store.post(&begun("a1", "b1")).await;
    // The death of a disconnected call shows that the watchdog has checked all calls.
    store.post(&[begun("a2", "b2"), vec![disconnected("a2", 40), disconnected("b2", 40)]].concat()).await;
    until("the one that died", || async {
        clock.advance(Duration::from_secs(1));
        let dead = store.get("/v1/dialogs?state=dead").await;
        (dead["dialogs"][0]["id"] == "a2+b2").then_some(())
    })
    .await;
    assert_eq!(store.get("/v1/dialogs?state=live").await["dialogs"][0]["id"], "a1+b1");
    store.post(&ended("a1", "b1")).await;
    let record = until("the record", || async {
        clock.advance(Duration::from_secs(1));
        store.documents(SORM).await.into_iter().find(|record| record["dialog_id"] == "a1+b1")
    })
    .await;
    assert_eq!(
        (&record["term_cause"], &record["begin_time"], &record["end_time"]),
        (&json!(1), &json!("2026-11-30T12:00:00.000Z"), &json!("2026-11-30T12:01:00.000Z"))
    );
    store.stop().await;
}

/// The group without domains has the calls of every realm that no group names, and those without a realm.
#[tokio::test(flavor = "multi_thread")]
async fn a_realm_that_nobody_owns_is_the_root_s() {
    let folder = tempfile::tempdir().unwrap();
    let role = |name: &str, group: u32, domains: &[&str]| {
        json!({
            "name": name, "roletype": "callstore", "iface": "lan", "group": group, "order": 1,
            "include_domains": domains, "sorm3_enabled": true,
        })
    };
    let roles = folder.path().join("roles.json");
    std::fs::write(&roles, json!([role("root", 1, &[]), role("other", 2, &["example.com"])]).to_string()).unwrap();
    let settings = [("ROLES", roles.to_str().unwrap()), ("INSTANCE", "root"), ("DEAD__MAX_CALL", "100000h")];
    let store = running::start(&settings, World::default()).await;
    let vars = |vars: Value| json!({ "Custom-Channel-Vars": vars });
    let of = |number: u32, more: Value| {
        let (a, b) = (format!("a{number}"), format!("b{number}"));
        let events = [begun(&a, &b), ended(&a, &b)].concat().into_iter();
        events.map(|event| with(event, &vars(more.clone()))).collect::<Vec<_>>()
    };
    store.post(&of(1, json!({ "Realm": "pbx.example.com" }))).await;
    store.post(&of(2, json!({ "Realm": "nobodys.example.org" }))).await;
    store.post(&of(3, json!({}))).await;
    store.record("a2+b2").await;
    store.record("a3+b3").await;
    let records = store.documents(SORM).await;
    assert!(records.iter().all(|record| record["dialog_id"] != "a1+b1"), "that is the other group's");
    store.stop().await;
}

/// The journal's disk has less space than its reserve.
#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_sends_events_away_and_shows_what_it_has() {
    let quiet = ("DEAD__MAX_CALL", "100000h");
    let store = running::start(&[quiet], World::default()).await;
    store.post(&begun("a1", "b1")).await;
    let (couch, folder) = store.stop().await;
    // Remove the state too, so that the calls shown are read from the journal.
    std::fs::remove_file(folder.path().join("state.redb")).unwrap();
    let store =
        running::start_over(couch, folder, &[quiet, ("JOURNAL__RESERVE", "1000000 TiB")], World::default()).await;
    let event = kazoo("CHANNEL_DESTROY", "a1", 60.0).to_string();
    let answer = store.ask("POST", "/v1/events", &[], event.as_bytes()).await;
    let said: Value = serde_json::from_slice(&answer.body).unwrap();
    assert_eq!((answer.status, &said["taken"], &said["error"]), (507, &json!(0), &json!("disk_full")), "{said}");
    until("what was taken", || async {
        (store.get("/v1/dialogs?state=live").await["dialogs"][0]["id"] == "a1+b1").then_some(())
    })
    .await;
    store.stop().await;
}

/// After a power loss truncated a file, the state is rebuilt, but a journal is never repaired by guessing.
#[tokio::test(flavor = "multi_thread")]
async fn a_torn_state_is_made_anew_from_the_journal() {
    let quiet = ("DEAD__MAX_CALL", "100000h");
    let store = running::start(&[quiet], World::default()).await;
    store.post(&begun("a1", "b1")).await;
    let (couch, folder) = store.stop().await;
    let file = folder.path().join("state.redb");
    let whole = std::fs::read(&file).unwrap();
    std::fs::write(&file, &whole[..whole.len() / 2]).unwrap();
    let store = running::start_over(couch, folder, &[quiet], World::default()).await;
    until("the call", || async { (store.get("/v1/dialogs").await["dialogs"][0]["id"] == "a1+b1").then_some(()) }).await;
    let kept = std::fs::read_dir(store.folder.path()).unwrap();
    let is_aside = |name: String| name.starts_with("state.damaged-");
    assert!(kept.map(|entry| entry.unwrap().file_name().into_string().unwrap()).any(is_aside));
    let (_couch, folder) = store.stop().await;
    let file = std::fs::read_dir(folder.path().join("journal")).unwrap().next().unwrap().unwrap().path();
    let mut bytes = std::fs::read(&file).unwrap();
    bytes[..8].reverse();
    std::fs::write(&file, &bytes).unwrap();
    let config = running::configuration(&folder, &[]);
    let refused = callstore::app::App::start(config, World::default()).await.unwrap_err();
    assert!(refused.to_string().contains("damaged"), "{refused}");
}

/// The program reports that it does not read a journal of that form, and creates nothing beside it.
#[tokio::test]
async fn a_journal_of_an_older_form_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("journal.redb"), b"redb").unwrap();
    let config = running::configuration(&folder, &[]);
    let checked = callstore::app::check(&config).unwrap_err();
    let refused = callstore::app::App::start(config, World::default()).await.unwrap_err();
    for said in [checked.to_string(), refused.to_string()] {
        assert!(said.contains("journal.redb: ") && said.contains("not read any more"), "{said}");
    }
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
    // A stream has nothing to do with it.
    let stream = [("JOURNAL__KIND", "rabbitmq"), ("BROKER__URLS", "amqp://127.0.0.1:1"), ("BROKER__TIMEOUT", "100ms")];
    callstore::app::check(&running::configuration(&folder, &stream)).unwrap();
}

/// A crash in a quiet period loses nothing of the state: the next start folds nothing again.
#[tokio::test(flavor = "multi_thread")]
async fn a_state_is_flushed_once_nothing_comes() {
    let store = running::start(&[("DEAD__MAX_CALL", "100000h")], World::default()).await;
    let events = begun("a1", "b1");
    store.post(&events).await;
    let left = store.folder.path().join("left.redb");
    until("the flush", || async {
        std::fs::copy(store.folder.path().join("state.redb"), &left).unwrap();
        let known = State::open(&left, Duration::ZERO).ok()?.index().offset;
        (known.is_some_and(|known| known + 1 >= events.len() as u64)).then_some(())
    })
    .await;
    store.stop().await;
}

/// The account's database answers an error, which is no refusal of the record.
#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_fails_does_not_hold_back_the_records_of_others() {
    let couch = Couch::embedded(("admin".to_owned(), "admin".to_owned())).await;
    let database = format!("/{}", SORM.replace('/', "%2F"));
    couch.request("PUT", &database, "application/json", b"").await.expect_status(201);
    let spy = Spy::start(&couch.url).await;
    // The embedded store answers 501 to that.
    spy.turn("/account", &format!("{database}/_view_cleanup"));
    let url = spy.url();
    let settings = [("COUCHDB__URL", url.as_str()), ("DEAD__HOLD_OFF", "100ms"), ("DEAD__MAX_CALL", "100000h")];
    let store = running::start_over(couch, tempfile::tempdir().unwrap(), &settings, World::default()).await;
    store.post(&[begun("a1", "b1"), vec![disconnected("a1", 40)]].concat()).await;
    spy.wait_for("PUT /account").await;
    store.post(&[begun("a2", "b2"), ended("a2", "b2")].concat()).await;
    store.record("a2+b2").await;
    store.stop().await;
}
