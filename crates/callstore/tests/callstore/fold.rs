//! The state does not depend on the order and repetition of facts.

#![expect(clippy::result_large_err, reason = "the error type of the property tests is proptest's own")]

use std::collections::BTreeMap;

use callstore::fold::{Attr, EXTRAS, HEAD, Item, Key, LINKS, Standing, TAIL};
use callstore::sources;
use proptest::prelude::*;
use serde_json::{Value, json};

use crate::events::{BEGIN, SECOND, begun, conference, disconnected, ended, era, kazoo, with};

type Folded = BTreeMap<Key, Item>;

/// Folds events as from a stream, where the broker does not say when it took them.
fn fold(events: &[Value]) -> Folded {
    let mut items = Folded::new();
    for event in events {
        for facts in sources::read(event.to_string().as_bytes(), 0).unwrap().facts {
            items.entry(facts.key.clone()).or_default().merge(facts);
        }
    }
    items
}

/// Returns the events of calls with transfers, holds, recordings, faxes, reports and losses, from both sources.
fn history() -> Vec<Value> {
    let mut events = [begun("a1", "b1"), ended("a1", "b1"), begun("a2", "b2")].concat();
    events.extend([
        kazoo("CHANNEL_HOLD", "a1", 10.0),
        kazoo("CHANNEL_UNHOLD", "a1", 20.0),
        with(kazoo("RECORD_START", "a1", 6.0), &json!({ "Application-Response": "/tmp/a1.mp3" })),
        with(
            kazoo("RECORD_STOP", "a1", 60.0),
            &json!({ "Application-Response": "/tmp/a1.mp3", "Length": "54000", "Recording": { "File-Size": 4711 } }),
        ),
        with(kazoo("sofia::transferor", "a2", 30.0), &json!({ "Transfer-To": "1002", "Target-Call-ID": "c2" })),
        with(kazoo("CHANNEL_TRANSFEREE", "b2", 30.5), &json!({ "Transfer-To": "1002", "Target-Call-ID": "c2" })),
        kazoo("CHANNEL_FAX_STATUS", "b1", 30.0),
        kazoo("CHANNEL_UNBRIDGE", "a2", 31.0),
        kazoo("CHANNEL_BRIDGE", "a2", 32.0),
        with(kazoo("CHANNEL_BRIDGE", "a2", 33.0), &json!({ "Other-Leg-Call-ID": "c2" })),
        with(kazoo("CALL_UPDATE", "a2", 34.0), &json!({ "Callee-ID-Number": "1002", "New-Member": [1, 2] })),
        with(kazoo("report", "b1", 61.0), &json!({ "Event-Category": "cdr", "Duration-Seconds": 59 })),
        // Two contradicting events of the same time.
        with(kazoo("CALL_UPDATE", "a2", 40.0), &json!({ "Callee-ID-Number": "7001" })),
        with(kazoo("CHANNEL_DATA", "a2", 40.0), &json!({ "Callee-ID-Number": "7002" })),
        disconnected("a2", 50),
        era("invite", 0),
        era("dlg_start", 5),
        era("hold", 9),
        era("dlg_end", 70),
        era("dlg_stop", 73),
        with(era("records_moved", 120), &json!({ "key": "s3/era.mp3", "filesize": "99" })),
        era("an_event_of_tomorrow", 8),
        conference("add-member", "a1"),
        conference("del-member", "a1"),
        conference("add-member", "c1"),
        json!({ "Event-Name": "usurp_control", "Call-ID": "b2", "Fetch-ID": "f2", "Direction": "outbound" }),
        json!({ "Event-Name": "CHANNEL_ANSWER", "Call-ID": "b2", "Caller-ID-Number": "7003", "Call-Direction": "inbound" }),
    ]);
    events
}

proptest! {
    #[test]
    fn any_order_and_any_repetition_lead_to_the_same_state(
        order in Just((0..history().len()).collect::<Vec<_>>()).prop_shuffle(),
        again in prop::collection::vec(any::<prop::sample::Index>(), 0..20),
    ) {
        let history = history();
        let expected = fold(&history);
        let mut events: Vec<_> = order.iter().map(|place| history[*place].clone()).collect();
        for place in again {
            let repeated = events[place.index(events.len())].clone();
            events.insert(place.index(events.len()), repeated);
        }
        prop_assert_eq!(fold(&events), expected);
    }

    #[test]
    fn a_history_in_two_parts_is_the_same_as_in_one(cut in 0..30usize, first in any::<bool>()) {
        // Merge an instance's events from before a network split with those of the others, in either order.
        let history = history();
        let (one, two) = history.split_at(cut.min(history.len()));
        let joined = if first { [one, two, one].concat() } else { [two, one, two].concat() };
        prop_assert_eq!(fold(&joined), fold(&history));
    }

    #[test]
    fn what_is_bounded_is_bounded_the_same_way_in_any_order(order in Just((0..400u32).collect::<Vec<_>>()).prop_shuffle()) {
        let event = |number: u32| {
            let mut event = kazoo("CALL_UPDATE", "a1", f64::from(number));
            event[format!("X-Member-{number}")] = json!("x".repeat(if number.is_multiple_of(50) { 5000 } else { 5 }));
            with(event, &json!({ "Event-Name": "sofia::replaced", "Replaced-By": format!("c{number}") }))
        };
        let events: Vec<_> = order.iter().map(|number| event(*number)).collect();
        let sorted: Vec<_> = (0..400).map(event).collect();
        prop_assert_eq!(fold(&events), fold(&sorted));
    }
}

#[test]
fn a_million_events_of_one_call_stay_bounded() {
    let count = if stowage_testing::is_long() { 1_000_000 } else { 20_000 };
    let mut item = Item::default();
    let mut largest = 0;
    for number in 0..count {
        let mut event = kazoo("CALL_UPDATE", "a1", f64::from(number) / 10.0);
        event[format!("X-{number}")] = json!("y".repeat(3000));
        let event = with(event, &json!({ "Event-Name": "sofia::replaced", "Replaced-By": format!("c{number}") }));
        for facts in sources::read(event.to_string().as_bytes(), BEGIN).unwrap().facts {
            item.merge(facts);
        }
        if number % 1000 == 0 {
            largest = largest.max(serde_json::to_vec(&item).unwrap().len());
        }
    }
    assert_eq!((item.head.len(), item.tail.len(), item.links.len()), (HEAD, TAIL, LINKS));
    assert_eq!(item.extra.len(), EXTRAS);
    assert!(largest < 64 << 10, "{largest}");
}

#[test]
fn a_call_that_ended_has_its_times_and_parties() {
    let folded = fold(&[begun("a1", "b1"), ended("a1", "b1")].concat());
    let dialog = &folded[&Key::dialog("a1+b1")];
    assert_eq!(dialog.num(Attr::Started), Some(BEGIN + 5_002_000));
    assert_eq!(dialog.text(Attr::Caller), Some("+74955550101"));
    let leg = &folded[&Key::leg("a1")];
    assert_eq!(leg.standing(), Standing::Ended);
    assert_eq!(leg.ended(), Some(BEGIN + 60 * SECOND));
    assert_eq!(leg.num(Attr::Billing), Some(55));
    assert_eq!(leg.text(Attr::Domain), Some("pbx.example.com"));
    assert_eq!(leg.text(Attr::ClientIp), Some("192.0.2.17"));
    assert_eq!(leg.num(Attr::ClientPort), Some(5080));
}

#[test]
fn an_event_without_a_time_sets_no_time_and_fills_gaps_only() {
    let (called, key) = (begun("a1", "b1"), Key::leg("a1"));
    let before = fold(&called).remove(&key).unwrap();
    let item = fold(&[vec![conference("add-member", "a1")], called].concat()).remove(&key).unwrap();
    assert_eq!((item.first, item.last, &item.attrs), (before.first, before.last, &before.attrs));
    assert_eq!(item.story().collect::<Vec<_>>(), before.story().collect::<Vec<_>>());
    assert!(item.extra.contains_key("Conference-ID"));
    let alone = fold(&[conference("add-member", "a1")]).remove(&key).unwrap();
    assert_eq!((alone.first, alone.last, alone.story().count()), (None, None, 0));
    assert_eq!(alone.text(Attr::Caller), Some("7002"), "all that is known of it");
}

/// mod_kazoo's definitions rename FreeSWITCH's events.
#[test]
fn transfers_and_faxes_are_known_by_the_names_of_both_switch_and_kazoo() {
    let said = |name: &str, more: Value| {
        let leg = fold(&[with(kazoo(name, "a1", 30.0), &more)]).remove(&Key::leg("a1")).unwrap();
        let linked = leg.links.iter().map(|(kind, to)| format!("{kind} {}", to.id())).collect::<Vec<_>>();
        (linked, leg.text(Attr::Transfer).map(str::to_owned), leg.flag(Attr::Fax))
    };
    for (switch, kazoo, member) in [
        ("sofia::replaced", "CHANNEL_REPLACED", "Replaced-By"),
        ("sofia::transferor", "CHANNEL_TRANSFEROR", "Target-Call-ID"),
        ("sofia::transferee", "CHANNEL_TRANSFEREE", "Target-Call-ID"),
        ("sofia::intercepted", "CHANNEL_INTERCEPTED", "Intercepted-By"),
    ] {
        let kind = switch.trim_start_matches("sofia::");
        let mut more = json!({ "Other-Leg-Call-ID": null });
        more[member] = json!("c1");
        let expected = (vec![format!("{kind} c1")], Some(kind.to_owned()), false);
        assert_eq!(said(switch, more.clone()), expected, "{switch}");
        assert_eq!(said(kazoo, more), expected, "{kazoo}");
    }
    let bowout = json!({ "Resigning-UUID": "a1", "Replaced-By": "c1", "Other-Leg-Call-ID": null });
    assert_eq!(said("CHANNEL_REPLACED", bowout), (vec!["replaced c1".to_owned()], None, false));
    for name in ["spandsp::rxfaxresult", "CHANNEL_FAX_STATUS"] {
        assert_eq!(said(name, json!({})), (Vec::new(), None, true), "{name}");
    }
}

#[test]
fn a_doubt_holds_until_something_newer_is_heard() {
    let mut events = begun("a1", "b1");
    events.push(disconnected("a1", 30));
    assert_eq!(fold(&events)[&Key::leg("a1")].standing(), Standing::Suspect);
    // Arrives later, but is older than the suspicion.
    events.push(kazoo("CALL_UPDATE", "a1", 20.0));
    assert_eq!(fold(&events)[&Key::leg("a1")].standing(), Standing::Suspect);
    events.push(kazoo("CALL_UPDATE", "a1", 31.5));
    assert_eq!(fold(&events)[&Key::leg("a1")].standing(), Standing::Live);
}

#[test]
fn a_death_is_undone_by_a_newer_sign_of_life() {
    let mut item = fold(&begun("a1", "b1")).remove(&Key::leg("a1")).unwrap();
    let death = |epoch| callstore::fold::Death {
        epoch,
        seen: item.last.unwrap(),
        ended: BEGIN,
        found: BEGIN,
        kind: "dead".into(),
        cause: "silent".into(),
    };
    let (second, first) = (death(2), death(1));
    assert!(item.die(&second));
    assert!(!item.die(&first), "the one of the newer epoch stands");
    assert_eq!(item.standing(), Standing::Dead);
    let event = kazoo("CALL_UPDATE", "a1", 99.0).to_string();
    for facts in sources::read(event.as_bytes(), BEGIN).unwrap().facts {
        item.merge(facts);
    }
    assert_eq!(item.standing(), Standing::Live);
}

#[test]
fn parties_that_are_joined_again_talk_again() {
    let mut events = begun("a1", "b1");
    events.push(kazoo("CHANNEL_UNBRIDGE", "a1", 30.0));
    assert_eq!(fold(&events)[&Key::dialog("a1+b1")].standing(), Standing::Ended);
    events.push(kazoo("CHANNEL_BRIDGE", "b1", 40.0));
    assert_eq!(fold(&events)[&Key::dialog("a1+b1")].standing(), Standing::Live);
}
