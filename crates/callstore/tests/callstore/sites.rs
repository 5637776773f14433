//! Other sites: the API about them, and which decisions apply to which calls.

use std::sync::Arc;
use std::time::Duration;

use callstore::app::World;
use callstore::decision::{Decision, End, What, death_id};
use callstore::fold::{Key, Standing};
use callstore::journal::Entry;
use callstore::state::State;
use serde_json::{Value, json};

use crate::events::begun;
use crate::running::{self, NORTH};

#[tokio::test(flavor = "multi_thread")]
async fn a_site_that_nobody_reaches_is_shown_and_adopted_and_given_back() {
    let store = running::start(&[("SITES", NORTH)], World::default()).await;
    // Only the own journal counts.
    store.ready().await;
    let site = async || store.get("/v1/groups").await["sites"][0].clone();
    assert_eq!((site().await["name"].clone(), site().await["is_linked"].clone()), (json!("north"), json!(false)));
    for (method, is_adopted) in [("POST", true), ("POST", true), ("DELETE", false), ("DELETE", false)] {
        let answer = store.ask(method, "/v1/sites/north/adopt", &[], b"").await;
        let said: Value = serde_json::from_slice(&answer.body).unwrap();
        assert_eq!((answer.status, said), (200, json!({ "site": "north", "is_adopted": is_adopted })));
        assert_eq!(site().await["is_adopted"], is_adopted);
    }
    for (method, path, status) in [
        ("GET", "/v1/sites/north/adopt", 405),
        ("POST", "/v1/sites/south/adopt", 404),
        ("POST", "/v1/sites/north", 404),
    ] {
        assert_eq!(store.ask(method, path, &[], b"").await.status, status, "{method} {path}");
    }
    store.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_site_is_adopted_by_who_operates_and_by_nobody_else() {
    let tokens = r#"[{ token = "all" }, { token = "one", account = "4f1c0a5f6e3b4d7e8a9b0c1d2e3f4a5b" }]"#;
    let store = running::start(&[("SITES", NORTH), ("LISTEN__TOKENS", tokens)], World::default()).await;
    for (token, status) in [("none", 401), ("one", 403), ("all", 200)] {
        let answer = store.ask("POST", "/v1/sites/north/adopt", &[("x-auth-token", token)], b"").await;
        assert_eq!(answer.status, status, "{token}");
    }
    store.stop().await;
}

fn entry(offset: u64, body: &[u8], is_decision: bool) -> Entry {
    Entry { offset, taken: 0, body: body.to_vec().into(), is_decision }
}

fn dead(offset: u64, epoch: u64, site: Option<&str>) -> Entry {
    let key = Key::leg("a1");
    let end = End { kind: "dead".into(), cause: "silent".into(), ended: i64::MAX, seen: i64::MAX, found: i64::MAX };
    let what = What::DlgDead { id: death_id(&key, "dead", "silent"), key, end };
    let decision = Decision { group: 0, epoch, by: "one".into(), site: site.map(Into::into), what };
    entry(offset, &decision.draft().unwrap().body, true)
}

/// The same call is at both sites; decisions about the other site's call do not affect this site's.
#[test]
fn what_was_decided_of_a_site_s_calls_counts_there_alone_and_in_its_epoch() {
    let folder = tempfile::tempdir().unwrap();
    let open = |name: &str| State::open(&folder.path().join(name), Duration::from_secs(3)).unwrap();
    let north = Arc::new(open("north"));
    let own = open("own").beside([("north".into(), Arc::clone(&north))].into());
    let events: Vec<_> = begun("a1", "b1").iter().map(Value::to_string).collect();
    let entries: Vec<_> = (0..).zip(&events).map(|(offset, event)| entry(offset, event.as_bytes(), false)).collect();
    north.apply(&entries, 0).unwrap();
    own.apply(&entries, 0).unwrap();
    let standing = |state: &State| state.index().live.get(&Key::leg("a1")).map(|brief| brief.standing);
    let before = north.index().offset;

    let active = Decision { group: 0, epoch: 2, by: "one".into(), site: None, what: What::Active };
    own.apply(&[entry(100, &active.draft().unwrap().body, true), dead(101, 1, Some("north"))], 0).unwrap();
    assert_eq!(standing(&north), Some(Standing::Live), "it was decided in an older epoch");
    assert_eq!(own.apply(&[dead(102, 2, Some("north")), dead(103, 2, Some("south"))], 0).unwrap().dead, 1);
    assert_eq!((standing(&north), standing(&own)), (Some(Standing::Dead), Some(Standing::Live)));
    assert_eq!(north.index().offset, before, "its own journal is read from where it was");

    // The decision is on disk there before its entry counts as read here.
    drop((own, north));
    let north = open("north");
    assert_eq!(standing(&north), Some(Standing::Dead));
}

#[test]
fn who_is_adopted_is_known_after_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let open = || State::open(&folder.path().join("own"), Duration::from_secs(3)).unwrap();
    let say = |state: &State, offset, is_adopted| {
        let what = What::Adopted { is_adopted };
        let decision = Decision { group: 0, epoch: 0, by: "one".into(), site: Some("north".into()), what };
        state.apply(&[entry(offset, &decision.draft().unwrap().body, true)], 0).unwrap();
    };
    let state = open();
    let active = Decision { group: 0, epoch: 7, by: "one".into(), site: None, what: What::Active };
    state.apply(&[entry(0, &active.draft().unwrap().body, true)], 0).unwrap();
    say(&state, 1, true);
    assert!(state.adopted().borrow().contains("north"), "an operator's word has no epoch");
    drop(state);
    let state = open();
    assert!(state.adopted().borrow().contains("north"));
    say(&state, 2, false);
    assert!(state.adopted().borrow().is_empty());
}
