//! What the trackers list and no event told.

use std::time::Duration;

use callstore::fold::{Key, Standing};
use callstore::journal::Entry;
use callstore::state::State;
use serde_json::{Value, json};

use crate::events::{BEGIN, NODE, SECOND, begun, ended, entries, kazoo};
use crate::state::{death, decision};

/// An entry as sweeps append it, with both legs talking with each other.
fn listed(offset: u64, seconds: i64) -> Entry {
    let leg = |other: &str, direction: &str| json!({ "Answered": true, "Call-Direction": direction, "Other-Leg-Call-ID": other, "Media-Node": NODE });
    let channels = json!({ "a1": leg("b1", "inbound"), "b1": leg("a1", "outbound") });
    let list = json!({ "Event-Name": "query_channels_resp", "Channels": channels });
    Entry { taken: BEGIN + seconds * SECOND, ..entries(offset, &[list]).remove(0) }
}

/// The broker was away while the callee answered, or one answer was lost: the legs are known, but not that they talk. Then the switch dies.
#[test]
fn a_talk_that_only_the_trackers_know_is_in_the_record_of_the_dead_call() {
    let created = vec![kazoo("CHANNEL_CREATE", "a1", 0.0), kazoo("CHANNEL_CREATE", "b1", 1.0)];
    let half = vec![kazoo("CHANNEL_ANSWER", "a1", 5.0), kazoo("CHANNEL_BRIDGE", "a1", 5.1)];
    for (more, missed) in [(vec![], vec!["a1", "b1"]), (half, vec!["b1"])] {
        let folder = tempfile::tempdir().unwrap();
        let state = State::open(&folder.path().join("state.redb"), Duration::ZERO).unwrap();
        state.apply(&entries(0, &[created.clone(), more].concat()), BEGIN).unwrap();
        let talking = [("a1", Some("b1")), ("b1", Some("a1")), ("c1", None)];
        let found = || state.missed_talks(talking.into_iter()).into_keys().collect::<Vec<_>>();
        assert_eq!(found(), missed, "what is not followed at all is no matter of this");
        state.apply(&[listed(10, 20)], BEGIN).unwrap();
        assert!(found().is_empty(), "the next sweep has nothing to tell");
        let dies = |offset, leg| decision(offset, 1, death(&Key::leg(leg), BEGIN + 20 * SECOND));
        state.apply(&[dies(11, "a1"), dies(12, "b1")], BEGIN).unwrap();
        let dialog = state.item(&Key::dialog("a1+b1")).unwrap().unwrap();
        assert_eq!((dialog.standing, dialog.talk), (Some(Standing::Dead), Some(BEGIN + 20 * SECOND)));
        assert!(dialog.due.is_some());
        let told = state.news(10).unwrap();
        let told: Vec<Value> = told.iter().map(|(_, news)| serde_json::from_slice(news).unwrap()).collect();
        assert_eq!(told.iter().map(|told| &told["dialog_id"]).collect::<Vec<_>>(), ["a1+b1"]);
    }
}

#[test]
fn only_answered_legs_that_are_live_miss_a_talk() {
    let folder = tempfile::tempdir().unwrap();
    let state = State::open(&folder.path().join("state.redb"), Duration::ZERO).unwrap();
    state.apply(&entries(0, &begun("a1", "b1")), BEGIN).unwrap();
    let missed = |other| state.missed_talks([("a1", other)].into_iter());
    assert!(missed(None).is_empty() && missed(Some("b1")).is_empty());
    assert_eq!(missed(Some("b2")).len(), 1, "it talks with another one now");
    state.apply(&entries(10, &ended("a1", "b1")), BEGIN).unwrap();
    assert!(missed(Some("b2")).is_empty());
}

/// The broker was away while the parties were joined again.
#[test]
fn a_talk_that_goes_on_after_its_dialog_ended_is_missed_while_both_legs_live() {
    let folder = tempfile::tempdir().unwrap();
    let state = State::open(&folder.path().join("state.redb"), Duration::ZERO).unwrap();
    let parted = kazoo("CHANNEL_UNBRIDGE", "a1", 20.0);
    state.apply(&entries(0, &[begun("a1", "b1"), vec![parted]].concat()), BEGIN).unwrap();
    let dialog = || state.item(&Key::dialog("a1+b1")).unwrap().unwrap().standing;
    let talking = [("a1", Some("b1")), ("b1", Some("a1"))];
    let missed = || state.missed_talks(talking.into_iter()).into_keys().collect::<Vec<_>>();
    assert_eq!((dialog(), missed().len()), (Some(Standing::Ended), 2));
    state.apply(&[listed(10, 30)], BEGIN).unwrap();
    assert_eq!((dialog(), missed().len()), (Some(Standing::Live), 0), "the sweep joined them again");
    state.apply(&[decision(11, 1, death(&Key::leg("b1"), BEGIN + 30 * SECOND))], BEGIN).unwrap();
    assert_eq!((dialog(), missed().len()), (Some(Standing::Dead), 0), "a dead leg is told of by itself");
}

/// A tracker that missed the end lists the call for ever.
#[test]
fn an_ended_call_that_is_still_listed_is_not_told_again() {
    let folder = tempfile::tempdir().unwrap();
    let state = State::open(&folder.path().join("state.redb"), Duration::ZERO).unwrap();
    let strange = || Vec::from_iter(state.unfollowed(["a1", "c1"].into_iter()).unwrap());
    state.apply(&entries(0, &begun("a1", "b1")), BEGIN).unwrap();
    assert_eq!(strange(), ["c1"]);
    state.apply(&entries(10, &ended("a1", "b1")), BEGIN).unwrap();
    assert_eq!((strange(), strange()), (vec!["c1".to_owned()], vec!["c1".to_owned()]), "in two sweeps");
}
