//! Two instances that act at once are harmless, and a rebuilt state resumes its epochs.

use std::sync::Arc;
use std::time::Duration;

use callstore::act::Actor;
use callstore::app::World;
use callstore::clock::Clock;
use callstore::decision::{End, What, death_id};
use callstore::fold::Key;
use callstore::follow::{Follower, Progress};
use callstore::journal::{Draft, Embedded, Entry, Journal, Options, SEGMENT};
use callstore::lead::Leading;
use callstore::metrics::Metrics;
use callstore::records::Writer;
use callstore::roles::Serves;
use callstore::state::{News, State};
use serde_json::Value;
use stowage_base::secret::Secret;
use stowage_base::tasks::Tasks;
use stowage_couch::Couch;
use stowage_http::client::Client;
use stowage_http::connect::{Connector, Reach};
use stowage_http::egress::Egress;
use stowage_http::target::Origin;
use tokio::sync::watch;

use crate::events::{BEGIN, SECOND, begun, disconnected, ended, entries, kazoo};
use crate::running::{self, SORM, configuration, documents, until};
use crate::state::{death, decision};

/// Returns the events of fifteen calls that ended, and five that were lost.
fn history() -> Vec<Value> {
    let mut events = Vec::new();
    for number in 0..20 {
        let (a, b) = (format!("a{number}"), format!("b{number}"));
        events.extend(begun(&a, &b));
        events.extend(if number < 15 { ended(&a, &b) } else { vec![disconnected(&a, 40), disconnected(&b, 40)] });
    }
    events
}

#[tokio::test(flavor = "multi_thread")]
async fn two_that_act_at_once_write_each_record_once() {
    let couch = stowage_testing::couch::Couch::embedded(("admin".to_owned(), "admin".to_owned())).await;
    let folder = tempfile::tempdir().unwrap();
    let config = configuration(&folder, &[("DEAD__HOLD_OFF", "100ms"), ("DEAD__MAX_CALL", "100000h")]);
    let tasks = Tasks::default();
    let options = Options { path: folder.path().join("journal"), reserve: 0, segment: SEGMENT, room: None };
    let journal: Arc<dyn Journal> = Arc::new(Embedded::open(&options, &tasks).unwrap());
    let connector = Connector::new(Egress::default(), config.timeouts.http.clone()).unwrap();
    let client = Client::new(connector, tasks.clone(), 64 << 10);
    let mut states = Vec::new();
    let mut leads = Vec::new();
    // Both believe that they are active in the same epoch, which is the worst case.
    for name in ["one", "two"] {
        let state = Arc::new(State::open(&folder.path().join(name), Duration::from_millis(1)).unwrap());
        let (progress, metrics, clock) =
            (Progress::new(None), Metrics::new(&Serves::default()).unwrap(), Clock::default());
        let follower = Follower {
            journal: Arc::clone(&journal),
            state: Arc::clone(&state),
            metrics: metrics.clone(),
            clock: clock.clone(),
            progress: progress.clone(),
        };
        drop(tasks.spawn("fold", follower.run(tasks.clone())));
        let server = client.server(Origin::of(&couch.url.parse().unwrap()).unwrap(), Reach::Operator);
        let account = ("admin", &Secret::new("admin"));
        let (lead, told) = watch::channel(Some(1));
        leads.push(lead);
        let actor = Actor {
            name: name.into(),
            site: None,
            journal: Arc::clone(&journal),
            state: Arc::clone(&state),
            progress,
            leading: Leading::new(told),
            clock,
            metrics,
            switches: None,
            orders: None,
            writer: Some(Writer::new(Couch::new(server, "/", Some(account), client.patience(), 1 << 20).unwrap())),
            records: Arc::new(config.records.clone()),
            rules: config.dead.clone(),
            serves: Serves::default(),
        };
        drop(tasks.spawn("actor", actor.run(tasks.clone())));
        states.push(state);
    }
    let drafts = history().iter().map(|event| Draft { body: event.to_string().into(), is_decision: false }).collect();
    journal.append(drafts).await.unwrap();
    let records = until("all records, and nothing due", || async {
        let records = documents(&couch, SORM).await;
        let is_done = states.iter().all(|state| state.index().waiting == 0);
        Some(records).filter(|records| records.len() == 20 && is_done)
    })
    .await;
    for record in &records {
        assert!(record["_rev"].as_str().unwrap().starts_with("1-"), "{record:#}");
    }
    assert_eq!(records.iter().filter(|record| record["term_cause"] == 1000).count(), 5);
    tasks.stop();
    drop((journal, client));
    tasks.drain(Duration::from_secs(10)).await;
}

/// Folds these batches into a new state. Returns its notices, and what has a record due.
fn left_by<'a>(batches: impl Iterator<Item = &'a [Entry]>) -> (Vec<News>, Vec<Key>) {
    let folder = tempfile::tempdir().unwrap();
    let state = State::open(&folder.path().join("state.redb"), Duration::ZERO).unwrap();
    for batch in batches {
        state.apply(batch, BEGIN + 3600 * SECOND).unwrap();
    }
    let due = state.due(i64::MAX - 1, 10).unwrap().into_iter().map(|(_, key)| key);
    (state.news(10).unwrap(), due.collect())
}

/// A standby that catches up folds at once what the active instance folded one by one.
#[test]
fn one_batch_leaves_the_same_notices_as_many() {
    let dead = |offset| decision(offset, 1, death(&Key::leg("a1"), BEGIN + 6 * SECOND));
    let recorded = What::Recorded { key: Key::dialog("a1+b1"), prints: [].into(), through: 5 };
    let known = entries(0, &begun("a1", "b1"));
    for history in [
        [known.clone(), vec![dead(5)]].concat(),
        [known.clone(), vec![dead(5), decision(6, 1, recorded)]].concat(),
        // The parties turn out to have talked after one of them was found dead.
        [known[..3].to_vec(), vec![dead(3)], known[4..].to_vec()].concat(),
    ] {
        let at_once = left_by(history.chunks(history.len()));
        assert_eq!(at_once.0.len(), 1, "{history:?}");
        assert_eq!(at_once, left_by(history.chunks(1)), "{history:?}");
    }
}

/// The active instance found the legs dead in two batches, and a standby reads both in one: its notice has another id.
#[test]
fn a_notice_that_was_told_or_is_not_true_any_more_is_left_by_no_instance() {
    let other = Key::leg("b1");
    let end = End {
        kind: "dead".into(),
        cause: "disconnected".into(),
        ended: BEGIN + 40 * SECOND,
        seen: BEGIN + 5 * SECOND + SECOND / 2,
        found: BEGIN + 3600 * SECOND,
    };
    let first = decision(5, 1, death(&Key::leg("a1"), BEGIN + 6 * SECOND));
    let second = decision(6, 1, What::DlgDead { id: death_id(&other, "dead", "disconnected"), key: other, end });
    let known = [entries(0, &begun("a1", "b1")), vec![first, second]].concat();
    let (notices, at_once) = (left_by(known.chunks(1)).0, left_by(known.chunks(known.len())).0);
    assert_eq!((notices.len(), at_once.len()), (1, 1));
    assert_ne!(notices[0].0, at_once[0].0);
    let told = What::Told { id: notices[0].0.clone(), dialog: "a1+b1".into(), at: BEGIN + 3600 * SECOND };
    let alive = entries(7, &[kazoo("CALL_UPDATE", "a1", 100.0), kazoo("CALL_UPDATE", "b1", 100.0)]);
    for end in [vec![decision(7, 1, told)], alive] {
        let history = [known.clone(), end].concat();
        for size in [1, history.len()] {
            assert_eq!(left_by(history.chunks(size)).0, [], "in batches of {size}");
        }
    }
}

/// The call was taken up again, and died once more for the same reason: that notice has the same id.
#[test]
fn a_notice_of_a_later_death_is_left_where_an_earlier_one_was_told() {
    let (leg, dialog) = (Key::leg("a1"), Key::dialog("a1+b1"));
    let dead = |offset, seconds: i64, found| {
        let (ended, seen) = (BEGIN + seconds * SECOND, BEGIN + seconds * SECOND);
        let end = End { kind: "dead".into(), cause: "silent".into(), ended, seen, found };
        decision(offset, 1, What::DlgDead { id: death_id(&leg, "dead", "silent"), key: leg.clone(), end })
    };
    let at = BEGIN + 3600 * SECOND;
    let told = What::Told { id: death_id(&dialog, "dead", "silent"), dialog: "a1+b1".into(), at };
    let alive = entries(7, &[kazoo("CALL_UPDATE", "a1", 100.0)]);
    let first = vec![dead(5, 6, at), decision(6, 1, told)];
    let history = [entries(0, &begun("a1", "b1")), first, alive, vec![dead(8, 101, at + SECOND)]].concat();
    for size in [1, history.len()] {
        assert_eq!(left_by(history.chunks(size)).0.len(), 1, "in batches of {size}");
    }
}

/// The journal was shortened after a change of leaders, and what the first one decided is read again.
#[test]
fn a_journal_that_is_read_again_has_the_decisions_of_all_its_leaders() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("state.redb");
    let state = State::open(&path, Duration::ZERO).unwrap();
    let (dialog, seen) = (Key::dialog("a1+b1"), BEGIN + 6 * SECOND);
    let recorded = |key| What::Recorded { key, prints: [].into(), through: 5 };
    let decided = vec![
        decision(5, 1, death(&Key::leg("a1"), seen)),
        decision(6, 1, recorded(dialog.clone())),
        decision(7, 1, recorded(Key::leg("a1"))),
        decision(8, 2, What::Active),
    ];
    let history = [entries(0, &begun("a1", "b1")), decided].concat();
    state.apply(&history, BEGIN + 3600 * SECOND).unwrap();
    state.purge(BEGIN + 3600 * SECOND).unwrap();
    assert!(state.item(&dialog).unwrap().is_none());
    state.rewind().unwrap();
    drop(state);
    let state = State::open(&path, Duration::ZERO).unwrap();
    assert_eq!((state.index().offset, state.index().epoch), (None, 2), "no later leader has the same epoch");
    let applied = state.apply(&history, BEGIN + 3600 * SECOND).unwrap();
    assert_eq!((applied.refused, applied.dead), (0, 1));
    assert_eq!(state.due(i64::MAX - 1, 10).unwrap(), []);
    assert_eq!(state.apply(&[decision(9, 1, What::Active)], 0).unwrap().refused, 1, "from now on it is old again");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_state_that_was_lost_is_made_anew_and_acts_in_a_later_epoch() {
    let store = running::start(&[("DEAD__HOLD_OFF", "100ms"), ("DEAD__MAX_CALL", "100000h")], World::default()).await;
    store.post(&[begun("a1", "b1"), ended("a1", "b1"), begun("a2", "b2")].concat()).await;
    store.record("a1+b1").await;
    let (couch, folder) = store.stop().await;
    std::fs::write(folder.path().join("state.redb"), b"nonsense").unwrap();
    let settings = [("DEAD__HOLD_OFF", "100ms"), ("DEAD__MAX_CALL", "100000h")];
    let store = running::start_over(couch, folder, &settings, World::default()).await;
    until("the live call", || async {
        Some(store.get("/v1/dialogs").await["dialogs"].clone()).filter(|dialogs| dialogs[0]["id"] == "a2+b2")
    })
    .await;
    // Its decisions would be refused in a previous epoch.
    store.post(&[disconnected("a2", 40), disconnected("b2", 40)]).await;
    assert_eq!(store.record("a2+b2").await["term_cause"], 1000);
    assert!(store.record("a1+b1").await["_rev"].as_str().unwrap().starts_with("1-"));
    assert_eq!(store.get("/v1/groups").await["epoch"], 2);
    store.stop().await;
}
