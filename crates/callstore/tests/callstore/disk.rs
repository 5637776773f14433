//! A disk that is really full: no events are taken, existing calls are shown, and everything resumes once there is room.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use callstore::app::World;
use callstore::decision::{Decision, What};
use callstore::journal::{Draft, Embedded, Entry, Journal, JournalError, Options, SEGMENT};
use callstore::state::State;
use serde_json::Value;
use stowage_base::tasks::Tasks;
use stowage_testing::disk::SmallDisk;

use crate::events::{begun, kazoo};
use crate::running::{self, until};

fn draft(text: &str) -> Draft {
    Draft { body: text.to_owned().into(), is_decision: false }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_journal_goes_on_once_there_is_room() {
    let Some(disk) = SmallDisk::mount(6) else { return };
    let options = Options { path: disk.path().join("journal"), reserve: 0, segment: SEGMENT, room: None };
    let tasks = Tasks::default();
    let journal = Embedded::open(&options, &tasks).unwrap();
    journal.append(vec![draft("before")]).await.unwrap();
    disk.fill_but(0);
    let long = "x".repeat(100_000);
    for _ in 0..2 {
        let refused = journal.append(vec![draft("lost"), draft(&long)]).await;
        assert!(matches!(refused, Err(JournalError::Full)), "{refused:?}");
    }
    let mut entries = journal.follow(None).await.unwrap();
    assert_eq!(entries.recv().await.unwrap().unwrap()[0].body, "before");
    disk.relieve();
    journal.append(vec![draft("after")]).await.unwrap();
    let after = entries.recv().await.unwrap().unwrap();
    assert_eq!((after.len(), &*after[0].body, after[0].offset), (1, &b"after"[..], 1));
    drop((journal, entries));
    tasks.stop();
    assert_eq!(tasks.drain(Duration::from_secs(10)).await, 0);
    let tasks = Tasks::default();
    let journal = Embedded::open(&options, &tasks).unwrap();
    assert_eq!(journal.end().await.unwrap(), Some(1), "what was refused is not there");
    tasks.stop();
}

#[test]
fn a_state_goes_on_from_what_was_flushed() {
    let Some(disk) = SmallDisk::mount(6) else { return };
    let state = State::open(&disk.path().join("state.redb"), Duration::from_secs(3)).unwrap();
    let now = callstore::clock::now();
    let entry = |offset: u64, id: &str| {
        let body = kazoo("CHANNEL_CREATE", id, 0.0).to_string().into();
        Entry { offset, taken: now, body, is_decision: false }
    };
    state.apply(&[entry(0, "a0")], now).unwrap();
    disk.fill_but(0);
    // Writes succeed until the file has to grow, depending on its free pages.
    let mut offset = 0;
    let refused = loop {
        offset += 1;
        let some: Vec<_> =
            (0..200).map(|number| entry(offset * 200 + number, &format!("a{offset}x{number}"))).collect();
        if let Err(error) = state.apply(&some, now) {
            break error;
        }
        assert!(offset < 1000, "a disk that is full takes everything");
    };
    disk.relieve();
    let again = state.apply(&[entry(900_000, "b")], now);
    assert!(again.is_err(), "{refused:?}, and then it goes on by itself: nothing has to be mended");
    state.mend().unwrap();
    let at = state.index().offset;
    assert!(at.is_none_or(|at| at < offset * 200), "what was not flushed is to be folded again: {at:?}");
    let shown = state.index().live.len();
    let all: Vec<_> = (0..offset).map(|number| entry(number * 200, &format!("a{number}x0"))).collect();
    state.apply(&all, now).unwrap();
    assert!(state.index().live.len() >= shown);
    assert_eq!(state.index().offset, at.max(Some((offset - 1) * 200)));
    state.mend().unwrap();
}

/// The state of another site does not take a decision about its calls. Nothing of its own journal comes, so that only a flush tells its follower.
#[test]
fn a_site_s_state_that_failed_is_mended_by_its_follower() {
    let Some(disk) = SmallDisk::mount(6) else { return };
    let folder = tempfile::tempdir().unwrap();
    let open = |path: &Path| State::open(path, Duration::from_secs(3)).unwrap();
    let north = Arc::new(open(&disk.path().join("north.redb")));
    let own = open(&folder.path().join("own.redb")).beside([("north".into(), Arc::clone(&north))].into());
    let decided = |offset: u64| {
        let entry = |number: u64| {
            let what = What::NodeSeen { node: format!("{offset}x{number}{}", "x".repeat(1000)).into(), at: 1 };
            let decision = Decision { group: 0, epoch: 0, by: "one".into(), site: Some("north".into()), what };
            let body = decision.draft().unwrap().body;
            Entry { offset: offset * 200 + number, taken: 0, body, is_decision: true }
        };
        own.apply(&(0..200).map(entry).collect::<Vec<_>>(), 0)
    };
    decided(0).unwrap();
    disk.fill_but(0);
    let refused =
        (1..1000).find(|offset| decided(*offset).is_err()).expect("a disk that is full does not take everything");
    disk.relieve();
    assert!(decided(refused).is_err(), "it goes on by itself: nothing has to be mended");
    assert!(north.flush().is_err(), "its follower does not hear of it");
    north.mend().unwrap();
    decided(refused).unwrap();
    north.flush().unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_store_refuses_events_shows_calls_and_goes_on_by_itself() {
    let Some(disk) = SmallDisk::mount(6) else { return };
    let data = disk.path().display().to_string();
    let settings =
        [("DEAD__MAX_CALL", "100000h"), ("JOURNAL__RESERVE", "1 B"), ("JOURNAL__DATA", &data), ("STATE__DATA", &data)];
    let store = running::start(&settings, World::default()).await;
    store.post(&begun("a1", "b1")).await;
    let shows = async |calls: usize| {
        until("the calls", || async {
            let shown = store.get("/v1/dialogs?state=live").await;
            (shown["dialogs"].as_array()?.len() == calls).then_some(())
        })
        .await;
    };
    shows(1).await;
    // More than the reserve is free, so that the disk refuses.
    disk.fill_but(8192);
    let lines: String = (0..500).map(|number| format!("{}\n", kazoo("CALL_UPDATE", "a1", f64::from(number)))).collect();
    let answer = store.ask("POST", "/v1/events", &[], lines.as_bytes()).await;
    let said: Value = serde_json::from_slice(&answer.body).unwrap();
    assert_eq!((answer.status, &said["error"]), (507, &Value::from("disk_full")), "{said}");
    assert_eq!(store.get("/v1/dialogs?state=live").await["dialogs"][0]["id"], "a1+b1");
    disk.relieve();
    store.post(&begun("a2", "b2")).await;
    shows(2).await;
    store.stop().await;
}
