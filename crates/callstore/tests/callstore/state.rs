//! State on disk: the same after a restart, after repeated entries, and after its file was lost.

use std::collections::BTreeMap;
use std::time::Duration;

use callstore::decision::{Decision, End, What, death_id};
use callstore::fold::{Key, Standing};
use callstore::journal::Entry;
use callstore::state::{Filter, State, StateError};
use serde_json::{Value, json};

use crate::events::{
    ACCOUNT, BEGIN, INTERACTION, NODE, SECOND, begun, conference, disconnected, ended, entries, era, kazoo, with,
};

const NOW: i64 = BEGIN + 3600 * SECOND;
const CLOSE: Duration = Duration::from_secs(3);

pub fn decision(offset: u64, epoch: u64, what: What) -> Entry {
    let draft = Decision { group: 0, epoch, by: "one".into(), site: None, what }.draft().unwrap();
    Entry { offset, taken: NOW, body: draft.body, is_decision: true }
}

pub fn death(key: &Key, seen: i64) -> What {
    let end = End { kind: "dead".into(), cause: "silent".into(), ended: BEGIN + 40 * SECOND, seen, found: NOW };
    What::DlgDead { id: death_id(key, "dead", "silent"), key: key.clone(), end }
}

fn all(state: &State, filter: &Filter) -> Vec<String> {
    let page = state.list(filter, None, 1000, NOW).unwrap();
    page.items.iter().map(|brief| format!("{} {}", brief.key.id(), brief.standing.name())).collect()
}

#[test]
fn state_is_the_same_after_a_new_start_and_after_repeated_entries() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("state.redb");
    let events = entries(
        10,
        &[begun("a1", "b1"), ended("a1", "b1"), begun("a2", "b2"), begun("a3", "b3"), vec![disconnected("a3", 30)]]
            .concat(),
    );
    let dialogs = Filter { is_dialog: Some(true), ..Filter::default() };
    {
        let state = State::open(&path, CLOSE).unwrap();
        let (one, two) = events.split_at(8);
        assert_eq!(state.apply(one, NOW).unwrap().events, 8);
        state.apply(&events, NOW).unwrap();
        assert_eq!(state.apply(two, NOW).unwrap().events, 0, "they were there");
        assert_eq!(all(&state, &dialogs), ["a2+b2 live", "a3+b3 suspect"]);
    }
    let state = State::open(&path, CLOSE).unwrap();
    assert_eq!(state.index().offset, events.last().map(|entry| entry.offset));
    assert_eq!(all(&state, &dialogs), ["a2+b2 live", "a3+b3 suspect"]);
    let over = Filter { state: Some(Standing::Ended), ..dialogs };
    assert_eq!(all(&state, &over), ["a1+b1 ended"]);
    assert_eq!(
        state.call(INTERACTION).unwrap().len(),
        12,
        "six legs, three dialogs, and three with the exchange alone"
    );
    // Due three seconds after the end, once.
    assert_eq!(state.due(NOW + 3 * SECOND - 1, 10).unwrap(), []);
    let due = state.due(NOW + 3 * SECOND, 10).unwrap();
    assert_eq!(due.iter().map(|(_, key)| key.as_str()).collect::<Vec<_>>(), ["dialog/a1+b1"]);
    assert_eq!(state.index().waiting, 1);
}

#[test]
fn filters_find_what_they_say() {
    let folder = tempfile::tempdir().unwrap();
    let state = State::open(&folder.path().join("state.redb"), CLOSE).unwrap();
    state.apply(&entries(0, &[begun("a1", "b1"), begun("a2", "b2"), vec![era("dlg_start", 5)]].concat()), NOW).unwrap();
    let count = |filter: Filter| all(&state, &Filter { is_dialog: Some(true), ..filter }).len();
    let some = |text: &str| Some(text.to_owned());
    assert_eq!(count(Filter::default()), 3);
    assert_eq!(count(Filter { domain: some("example.com"), ..Filter::default() }), 2);
    assert_eq!(count(Filter { domain: some("le.com"), ..Filter::default() }), 0);
    assert_eq!(count(Filter { account: some(ACCOUNT), ..Filter::default() }), 2);
    assert_eq!(count(Filter { number: some("0101"), ..Filter::default() }), 2);
    assert_eq!(count(Filter { number: some("1001"), ..Filter::default() }), 2);
    assert_eq!(count(Filter { node: some("freeswitch@fs2.example"), ..Filter::default() }), 0);
    assert_eq!(count(Filter { call: some("7b1f2a"), ..Filter::default() }), 1);
    assert_eq!(count(Filter { longer_than: Some(3000 * SECOND), ..Filter::default() }), 3);
    assert_eq!(count(Filter { longer_than: Some(3600 * SECOND), ..Filter::default() }), 0);
    assert_eq!(count(Filter { created_before: Some(BEGIN), ..Filter::default() }), 0);
    let (mut found, mut after) = (Vec::new(), None);
    loop {
        let page = state.list(&Filter::default(), after.as_deref(), 2, NOW).unwrap();
        found.extend(page.items.iter().map(|brief| brief.key.clone()));
        after = page.next;
        if after.is_none() {
            break;
        }
    }
    assert_eq!(found.len(), 9, "three dialogs and six legs, each once: {found:?}");
}

#[test]
fn a_decision_of_an_older_epoch_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let state = State::open(&folder.path().join("state.redb"), CLOSE).unwrap();
    state.apply(&entries(0, &begun("a1", "b1")), NOW).unwrap();
    let key = Key::leg("a1");
    let seen = state.item(&key).unwrap().unwrap().item.last.unwrap();
    let applied = state.apply(&[decision(10, 7, What::Active), decision(11, 6, death(&key, seen))], NOW).unwrap();
    assert_eq!((applied.refused, applied.dead), (1, 0));
    assert_eq!(state.item(&key).unwrap().unwrap().item.standing(), Standing::Live);
    let applied = state.apply(&[decision(12, 7, death(&key, seen))], NOW).unwrap();
    assert_eq!((applied.refused, applied.dead), (0, 1));
    assert_eq!(state.item(&key).unwrap().unwrap().item.standing(), Standing::Dead);
    assert_eq!(state.index().epoch, 7);
    // The dialog is dead with its leg, a notice is queued, and both have records to be written.
    assert_eq!(
        all(&state, &Filter { is_dialog: Some(true), state: Some(Standing::Dead), ..Filter::default() }),
        ["a1+b1 dead"]
    );
    let news = state.news(10).unwrap();
    let told: Value = serde_json::from_slice(&news[0].1).unwrap();
    assert_eq!(
        (told["event"].clone(), told["dialog_id"].clone(), told["cause"].clone()),
        (json!("dlg_dead"), json!("a1+b1"), json!("silent"))
    );
    assert_eq!(state.due(NOW + 10 * SECOND, 10).unwrap().len(), 2);
    state.apply(&[decision(13, 7, What::Told { id: news[0].0.clone(), dialog: "".into(), at: 0 })], NOW).unwrap();
    assert_eq!(state.news(10).unwrap(), []);
}

#[test]
fn who_comes_back_is_taken_up_again() {
    let folder = tempfile::tempdir().unwrap();
    let state = State::open(&folder.path().join("state.redb"), CLOSE).unwrap();
    state.apply(&entries(0, &begun("a1", "b1")), NOW).unwrap();
    let key = Key::leg("a1");
    let seen = state.item(&key).unwrap().unwrap().item.last.unwrap();
    state.apply(&[decision(10, 1, death(&key, seen))], NOW).unwrap();
    let recorded = |offset, key, kind: &str, through| {
        let prints = [(kind.into(), "print".into())].into();
        decision(offset, 1, What::Recorded { key, prints, through })
    };
    let dialog = Key::dialog("a1+b1");
    state.apply(&[recorded(11, dialog.clone(), "sorm3", 10), recorded(12, key, "cdr", 10)], NOW).unwrap();
    state.apply(&entries(13, &[kazoo("CALL_UPDATE", "a1", 100.0)]), NOW).unwrap();
    let dialogs = Filter { is_dialog: Some(true), ..Filter::default() };
    assert_eq!(all(&state, &dialogs), ["a1+b1 live"]);
    assert_eq!(state.due(i64::MAX - 1, 10).unwrap(), []);
    // The actual end corrects the records, KAZOO's document of the leg among them: KAZOO leaves it as it finds it.
    state.apply(&entries(14, &ended("a1", "b1")), NOW).unwrap();
    let due = || state.due(i64::MAX - 1, 10).unwrap().into_iter().map(|(_, key)| key).collect::<Vec<_>>();
    assert_eq!(due(), [dialog.clone(), Key::leg("a1")]);
    let stored = state.item(&dialog).unwrap().unwrap();
    assert_eq!(&**stored.item.recorded.get("sorm3").unwrap(), "print");
    // The same if the end arrives while the record of the death is being written.
    state.apply(&entries(20, &begun("a2", "b2")), NOW).unwrap();
    let key = Key::leg("a2");
    state.apply(&[decision(30, 1, death(&key, seen))], NOW).unwrap();
    state.apply(&entries(31, &[kazoo("CALL_UPDATE", "a2", 100.0)]), NOW).unwrap();
    state.apply(&entries(32, &ended("a2", "b2")), NOW).unwrap();
    state.apply(&[recorded(34, key.clone(), "cdr", 30)], NOW).unwrap();
    assert!(due().contains(&key));
}

/// A call that was closed for its age would be closed again as soon as it was taken up.
#[test]
fn a_dead_leg_that_a_tracker_lists_is_taken_up_again() {
    let folder = tempfile::tempdir().unwrap();
    let state = State::open(&folder.path().join("state.redb"), CLOSE).unwrap();
    state.apply(&entries(0, &[begun("a1", "b1"), begun("a2", "b2")].concat()), NOW).unwrap();
    let (key, old) = (Key::leg("a1"), Key::leg("a2"));
    let seen = state.item(&key).unwrap().unwrap().item.last.unwrap();
    let end = End { kind: "timeout".into(), cause: "max_call".into(), ended: NOW, seen, found: NOW };
    let closed = What::DlgDead { id: death_id(&old, "timeout", "max_call"), key: old, end };
    state.apply(&[decision(20, 1, death(&key, seen)), decision(21, 1, closed)], NOW).unwrap();
    let strange = || Vec::from_iter(state.unfollowed(["a1", "b1", "a2", "b2", "c1"].into_iter()).unwrap());
    assert_eq!(strange(), ["a1", "c1"]);
    let list = json!({ "Event-Name": "query_channels_resp", "Channels": { "a1": { "Media-Node": NODE } } });
    state.apply(&entries(22, &[list]), NOW).unwrap();
    assert_eq!(strange(), ["c1"]);
    assert_eq!(state.item(&key).unwrap().unwrap().item.standing(), Standing::Live);
    assert_eq!(state.due(i64::MAX - 1, 10).unwrap().len(), 2, "only the other call's leg and dialog");
}

/// The instance starts while a conference runs: the leg's age is not known.
#[test]
fn a_leg_that_no_event_dates_is_followed_once_one_does() {
    let folder = tempfile::tempdir().unwrap();
    let state = State::open(&folder.path().join("state.redb"), CLOSE).unwrap();
    let entry = |offset, event: Value| Entry { offset, taken: 0, body: event.to_string().into(), is_decision: false };
    state.apply(&[entry(0, conference("add-member", "a1"))], NOW).unwrap();
    assert!(all(&state, &Filter::default()).is_empty());
    assert_eq!(state.unfollowed(["a1"].into_iter()).unwrap().len(), 1, "a sweep that lists it tells its beginning");
    state.apply(&[entry(1, kazoo("CALL_UPDATE", "a1", 20.0)), entry(2, conference("del-member", "a1"))], NOW).unwrap();
    assert_eq!(all(&state, &Filter::default()), ["a1 live"]);
    assert_eq!(state.index().live[&Key::leg("a1")].created, BEGIN + 20 * SECOND);
}

#[test]
fn what_came_after_a_record_was_made_makes_it_due_again() {
    let folder = tempfile::tempdir().unwrap();
    let state = State::open(&folder.path().join("state.redb"), CLOSE).unwrap();
    state.apply(&entries(0, &[begun("a1", "b1"), ended("a1", "b1")].concat()), NOW).unwrap();
    let recorded =
        |offset, through| decision(offset, 1, What::Recorded { key: Key::dialog("a1+b1"), prints: [].into(), through });
    let late = with(kazoo("RECORD_STOP", "a1", 61.0), &json!({ "Length": 5 }));
    // The record includes the entries up to 6; the late one is entry 7.
    state.apply(&[entries(7, &[late]), vec![recorded(8, 6)]].concat(), NOW).unwrap();
    assert_eq!(state.due(NOW + 10 * SECOND, 10).unwrap().len(), 1);
    state.apply(&[recorded(9, 8)], NOW).unwrap();
    assert_eq!(state.due(NOW + 10 * SECOND, 10).unwrap(), []);
}

#[test]
fn a_damaged_file_is_put_aside_and_state_begins_anew() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("state.redb");
    drop(State::open(&path, CLOSE).unwrap());
    std::fs::write(&path, b"this is no state at all").unwrap();
    assert!(matches!(State::open(&path, CLOSE), Err(StateError::Damaged(_))));
    let (state, aside) = State::open_or_begin_anew(&path, CLOSE).unwrap();
    assert_eq!(state.index().offset, None, "all is to be folded again");
    assert_eq!(std::fs::read(aside.unwrap()).unwrap(), b"this is no state at all");
    state.apply(&entries(0, &begun("a1", "b1")), NOW).unwrap();
    let (again, aside) = State::open_or_begin_anew(&path, CLOSE).map(|(_, aside)| ((), aside)).unwrap_or(((), None));
    assert_eq!((again, aside), ((), None), "a state that another has open is not damaged");
}

#[test]
fn what_is_over_for_long_is_forgotten_once_it_is_recorded() {
    let folder = tempfile::tempdir().unwrap();
    let state = State::open(&folder.path().join("state.redb"), CLOSE).unwrap();
    state.apply(&entries(0, &[begun("a1", "b1"), ended("a1", "b1"), begun("a2", "b2")].concat()), NOW).unwrap();
    state.purge(NOW).unwrap();
    assert!(state.item(&Key::dialog("a1+b1")).unwrap().is_some(), "its record is not written yet");
    state
        .apply(&[decision(20, 1, What::Recorded { key: Key::dialog("a1+b1"), prints: [].into(), through: 19 })], NOW)
        .unwrap();
    state.purge(NOW).unwrap();
    assert!(state.item(&Key::dialog("a1+b1")).unwrap().is_none());
    assert!(state.item(&Key::dialog("a2+b2")).unwrap().is_some());
    assert_eq!(all(&state, &Filter { is_dialog: Some(true), ..Filter::default() }), ["a2+b2 live"]);
}

/// Each call that waits has three items that have to stay; more than a thousand of them ended before the one that may go.
#[test]
fn what_waits_for_its_record_does_not_keep_what_is_recorded() {
    let folder = tempfile::tempdir().unwrap();
    let state = State::open(&folder.path().join("state.redb"), CLOSE).unwrap();
    let waiting = (0..400).flat_map(|number| {
        let (a, b) = (format!("a{number}"), format!("b{number}"));
        [begun(&a, &b), ended(&a, &b)].concat()
    });
    let events: Vec<_> = waiting.chain([era("dlg_start", 5), era("dlg_end", 70)]).collect();
    state.apply(&entries(0, &events), NOW).unwrap();
    let recorded = What::Recorded { key: Key::dialog("era-dialog"), prints: [].into(), through: 9_000 };
    state.apply(&[decision(9_001, 1, recorded)], NOW).unwrap();
    state.purge(NOW).unwrap();
    assert!(state.item(&Key::dialog("era-dialog")).unwrap().is_none());
    assert!(state.item(&Key::dialog("a0+b0")).unwrap().is_some());
}

/// The recorded leg is from an earlier batch than the other leg's death.
#[test]
fn a_recording_that_nobody_stopped_is_known_by_any_leg() {
    let start = |leg| with(kazoo("RECORD_START", leg, 6.0), &json!({ "Application-Response": "/tmp/b1.mp3" }));
    let stop = with(kazoo("RECORD_STOP", "b1", 9.0), &json!({ "Application-Response": "/tmp/b1.mp3" }));
    let on_again = with(kazoo("RECORD_START", "b1", 10.0), &json!({ "Application-Response": "/tmp/b1.mp3" }));
    for (recording, is_unfinished) in [
        (vec![], false),
        (vec![start("b1")], true),
        (vec![start("b1"), stop.clone()], false),
        (vec![stop.clone(), start("b1")], false),
        (vec![start("b1"), stop, on_again], true),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("state.redb");
        let events = [begun("a1", "b1"), recording].concat();
        State::open(&path, CLOSE).unwrap().apply(&entries(0, &events), NOW).unwrap();
        // Reopen the state, so that nothing is cached.
        let state = State::open(&path, CLOSE).unwrap();
        let key = Key::leg("a1");
        let seen = state.item(&key).unwrap().unwrap().item.last.unwrap();
        state.apply(&[decision(100, 1, death(&key, seen))], NOW).unwrap();
        let news = state.news(10).unwrap();
        let told: Value = serde_json::from_slice(&news[0].1).unwrap();
        assert_eq!(told["is_unfinished"], is_unfinished, "{told:#}");
        assert_eq!(told["is_recorded"], events.len() > 5, "{told:#}");
        assert_eq!(told["recording"], if events.len() > 5 { json!("/tmp/b1.mp3") } else { Value::Null });
    }
}

/// `Media-Server` may be a host name; switches are known and queried by `Switch-Nodename`.
#[test]
fn a_call_is_on_the_switch_that_is_asked_after() {
    for host in ["a.example", "zz.example"] {
        let folder = tempfile::tempdir().unwrap();
        let state = State::open(&folder.path().join("state.redb"), CLOSE).unwrap();
        let events = begun("a1", "b1").into_iter().map(|event| with(event, &json!({ "Media-Server": host })));
        let lost = with(disconnected("a1", 40), &json!({ "Media-Server": host }));
        state.apply(&entries(0, &events.chain([lost]).collect::<Vec<_>>()), NOW).unwrap();
        let index = state.index();
        assert_eq!(index.nodes.keys().map(|node| &**node).collect::<Vec<_>>(), [NODE]);
        assert!(index.live.values().all(|brief| brief.node.as_deref() == Some(NODE)), "{host}");
    }
}

/// A start after a kill neither scans the file nor reads ended items, however many there are.
#[test]
fn a_start_after_a_kill_reads_what_lives_only() {
    let folder = tempfile::tempdir().unwrap();
    let (path, left) = (folder.path().join("state.redb"), folder.path().join("left.redb"));
    let state = State::open(&path, CLOSE).unwrap();
    let is_walked = || {
        // A copy without closing the file, as after a kill.
        std::fs::copy(&path, &left).unwrap();
        let walked = std::rc::Rc::new(std::cell::Cell::new(false));
        let noted = std::rc::Rc::clone(&walked);
        drop(redb::Builder::new().set_repair_callback(move |_| noted.set(true)).open(&left).unwrap());
        walked.get()
    };
    assert!(!is_walked(), "it was just made");
    state.apply(&entries(1, &[begun("a1", "b1"), ended("a1", "b1"), begun("a2", "b2")].concat()), NOW).unwrap();
    state.flush().unwrap();
    state.apply(&entries(50, &begun("a3", "b3")), NOW).unwrap();
    assert!(!is_walked(), "it was flushed once");
    let dialogs = Filter { is_dialog: Some(true), state: Some(Standing::Live), ..Filter::default() };
    assert_eq!(all(&state, &dialogs), ["a2+b2 live", "a3+b3 live"]);
    let recorded = What::Recorded { key: Key::dialog("a1+b1"), prints: BTreeMap::default(), through: 49 };
    state.apply(&[decision(90, 1, recorded)], NOW).unwrap();
    state.apply(&entries(91, &[disconnected("a3", 30), era("dlg_start", 5), era("dlg_end", 9)]), NOW).unwrap();
    let known: Vec<_> = state.index().live.values().cloned().collect();
    drop(state);
    let lists = |path| {
        let state = State::open(path, CLOSE).unwrap();
        (all(&state, &dialogs), state.index().waiting, state.index().live.values().cloned().collect::<Vec<_>>())
    };
    let before = lists(&path);
    assert_eq!((&before.1, &before.2), (&1, &known), "what waits for its record is there");
    let without = |table| {
        let db = redb::Database::open(&path).unwrap();
        let writing = db.begin_write().unwrap();
        assert!(writing.delete_table(redb::TableDefinition::<&str, ()>::new(table)).unwrap());
        writing.commit().unwrap();
    };
    // A file of an older release has the items alone.
    without("briefs");
    assert_eq!(lists(&path), before);
    without("items");
    assert_eq!(lists(&path), before, "no item is read");
}
