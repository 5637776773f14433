//! Groups: which calls an instance's state follows, and for which records are due.

use std::time::Duration;

use callstore::clock::Moment;
use callstore::decision::{Decision, What};
use callstore::fold::Key;
use callstore::journal::Entry;
use callstore::state::State;
use serde_json::json;

use crate::events::{BEGIN, SECOND, begun, ended, entries};

const NOW: i64 = BEGIN + 3600 * SECOND;
const CLOSE: Duration = Duration::from_secs(3);

#[test]
fn a_group_follows_its_own_domains_to_their_ends_and_epochs_are_each_group_s_own() {
    let role = |name: &str, group: u32, domains: &[&str]| json!({ "name": name, "roletype": "callstore", "iface": "lan", "group": group, "order": 1, "include_domains": domains });
    let roles = json!([role("one", 1, &[]), role("two", 2, &["example.com"])]).to_string();
    let serves = |group| callstore::roles::Serves::group_of(callstore::roles::Roles::read(&roles).unwrap(), group);
    let folder = tempfile::tempdir().unwrap();
    for (group, mine) in [(1, 0), (2, 1)] {
        let state = State::open(&folder.path().join(group.to_string()), CLOSE).unwrap().serving(serves(group));
        state.apply(&entries(0, &[begun("a1", "b1"), ended("a1", "b1"), begun("a2", "b2")].concat()), NOW).unwrap();
        assert_eq!(state.due(i64::MAX - 1, 10).unwrap().len(), mine, "group {group}");
        let mut watchdog = callstore::dead::Watchdog::new(
            callstore::config::load(&callstore::config::Source::default()).unwrap().dead,
            Moment::at(NOW),
        )
        .serving(serves(group));
        assert_eq!(watchdog.look(&state.index(), Moment::at(NOW)).len(), 0, "group {group}");
        let later = Moment::at(NOW + 3 * 3600 * SECOND);
        assert_eq!(watchdog.look(&state.index(), later).len(), 2 * mine, "group {group}");
        // The groups' epochs are independent.
        let of = |offset, group, epoch| {
            let draft = Decision { group, epoch, by: "x".into(), site: None, what: What::Active }.draft().unwrap();
            Entry { offset, taken: NOW, body: draft.body, is_decision: true }
        };
        let applied = state.apply(&[of(20, 1, 90), of(21, 2, 7), of(22, 2, 6)], NOW).unwrap();
        assert_eq!(applied.refused, 1);
        assert_eq!(state.index().epoch, if group == 1 { 90 } else { 7 });
    }
}

/// A standby of the group may write the records of its calls.
#[test]
fn no_record_is_due_in_a_group_without_an_instance_that_writes_records() {
    let role = |name: &str, order: u32, cdr: bool| json!({ "name": name, "roletype": "callstore", "iface": "lan", "group": 1, "order": order, "cdr_enabled": cdr });
    for (cdr, due) in [([false, false], 0), ([false, true], 1)] {
        let roles = json!([role("one", 1, cdr[0]), role("two", 2, cdr[1])]).to_string();
        let serves = callstore::roles::Serves::group_of(callstore::roles::Roles::read(&roles).unwrap(), 1);
        let folder = tempfile::tempdir().unwrap();
        let state = State::open(&folder.path().join("state.redb"), CLOSE).unwrap().serving(serves);
        state.apply(&entries(0, &[begun("a1", "b1"), ended("a1", "b1")].concat()), NOW).unwrap();
        assert_eq!(state.due(i64::MAX - 1, 10).unwrap().len(), due, "{cdr:?}");
        assert_eq!(state.index().live.contains_key(&Key::dialog("a1+b1")), due > 0, "{cdr:?}");
        state.purge(i64::MAX).unwrap();
        assert_eq!(state.item(&Key::dialog("a1+b1")).unwrap().is_some(), due > 0, "{cdr:?}");
    }
}
