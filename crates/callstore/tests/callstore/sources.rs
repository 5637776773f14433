//! Events of the sources, and rejected ones.

use callstore::fold::{Attr, Key};
use callstore::sources::{Bad, judge, read};
use serde_json::json;

use crate::events::{BEGIN, INTERACTION, SECOND, era, kazoo, with};

#[test]
fn what_is_no_event_is_named() {
    for (text, reason) in [
        ("", "is no JSON object"),
        ("{", "is no JSON object"),
        ("[1]", "is no JSON object"),
        ("\u{fffd}", "is no JSON object"),
        ("{}", "neither"),
        (r#"{"Event-Name":"CHANNEL_CREATE"}"#, "has no Call-ID"),
        (r#"{"Event-Name":"CHANNEL_CREATE","Call-ID":""}"#, "has no Call-ID"),
        (r#"{"Event-Name":"query_channels_resp"}"#, "has no Channels"),
        (r#"{"eventid":"x"}"#, "has no acallid and no dialogid"),
        (r#"{"event":"recording_finalised"}"#, "has no dialog_id"),
        (r#"{"event":"recording_finalised","dialog_id":"a+b","time":"noon"}"#, "has no time"),
        (r#"{"event":"recording_finalised","dialog_id":"a+b","time":1796040000,"database":"d"}"#, "has no document"),
        (r#"{"eventid":"x","dialogid":"undefined"}"#, "has no acallid and no dialogid"),
    ] {
        let error = judge(text.as_bytes()).unwrap_err().to_string();
        assert!(error.contains(reason), "{text}: {error}");
        assert_eq!(read(text.as_bytes(), 0).unwrap_err().to_string(), error, "{text}");
    }
    assert!(judge(&[0xff, 0xfe]).is_err());
}

#[test]
fn strange_values_are_never_fatal() {
    for value in
        [json!(null), json!(true), json!(-1), json!(1e300), json!("x"), json!([[]]), json!({ "a": { "b": 1 } })]
    {
        let mut event = kazoo("CHANNEL_DESTROY", "a1", 1.0);
        let names: Vec<_> = event.as_object().unwrap().keys().filter(|name| *name != "Call-ID").cloned().collect();
        for name in names {
            event[name] = value.clone();
        }
        drop(read(event.to_string().as_bytes(), BEGIN));
        let mut event = era("dlg_end", 1);
        let names: Vec<_> = event.as_object().unwrap().keys().filter(|name| *name != "dialogid").cloned().collect();
        for name in names {
            event[name] = value.clone();
        }
        drop(read(event.to_string().as_bytes(), BEGIN));
    }
}

#[test]
fn unknown_events_and_members_are_kept() {
    let event = with(kazoo("CHANNEL_OF_TOMORROW", "a1", 3.0), &json!({ "A-Member": { "b": [1, "2"] } }));
    let event = read(event.to_string().as_bytes(), 0).unwrap();
    let leg = &event.facts[0];
    assert_eq!(&*leg.line.as_ref().unwrap().name, "CHANNEL_OF_TOMORROW");
    let kept = leg.extra.iter().find(|(name, _)| &**name == "A-Member").unwrap();
    assert_eq!(serde_json::from_str::<serde_json::Value>(&kept.1).unwrap(), json!({ "b": [1, "2"] }));
    // Digits dialled during a call may be a PIN.
    let dialled = with(kazoo("DTMF", "a1", 3.0), &json!({ "DTMF-Digit": "7", "Digits-Dialed": "1234" }));
    let text = format!("{:?}", read(dialled.to_string().as_bytes(), 0).unwrap());
    assert!(!text.contains("1234") && !text.contains("DTMF-Digit"));
}

#[test]
fn the_same_event_has_the_same_identity_and_another_has_another() {
    let key = |event: serde_json::Value| read(event.to_string().as_bytes(), 0).unwrap().key;
    assert_eq!(
        key(kazoo("CHANNEL_HOLD", "a1", 1.0)),
        key(with(kazoo("CHANNEL_HOLD", "a1", 1.0), &json!({ "Node": "e2" })))
    );
    assert_ne!(key(kazoo("CHANNEL_HOLD", "a1", 1.0)), key(kazoo("CHANNEL_HOLD", "a1", 1.000_001)));
    assert_ne!(key(kazoo("CHANNEL_HOLD", "a1", 1.0)), key(kazoo("CHANNEL_UNHOLD", "a1", 1.0)));
    assert_ne!(key(era("hold", 1)), key(era("hold", 2)));
}

#[test]
fn both_legs_tell_of_the_same_dialog() {
    let dialog = |event: serde_json::Value| {
        let event = read(event.to_string().as_bytes(), 0).unwrap();
        event.facts.into_iter().map(|facts| facts.key).find(Key::is_dialog).unwrap()
    };
    let of_a = dialog(kazoo("CHANNEL_BRIDGE", "a1", 1.0));
    assert_eq!(of_a, Key::dialog("a1+b1"));
    assert_eq!(dialog(kazoo("CHANNEL_BRIDGE", "b1", 1.0)), of_a);
    let named = json!({ "Bridge-A-Unique-ID": "a1", "Bridge-B-Unique-ID": "b1", "Call-Direction": "outbound" });
    assert_eq!(dialog(with(kazoo("CHANNEL_UNBRIDGE", "a1", 1.0), &named)), of_a);
    let neither = json!({ "Call-Direction": null });
    assert_eq!(dialog(with(kazoo("CHANNEL_BRIDGE", "b1", 1.0), &neither)), of_a);
}

/// KAZOO passes on only the second leg of a bridge. Of two outbound legs, which a click-to-call has, the ids say nothing.
#[test]
fn the_second_leg_of_a_bridge_is_the_one_that_the_switch_names() {
    let dialog = |leg: &str, other: &str| {
        let more = json!({
            "Bridge-B-Unique-ID": "b1", "Call-Direction": "outbound",
            "Other-Leg-Call-ID": other, "Other-Leg-Direction": "outbound",
        });
        let event = read(with(kazoo("CHANNEL_BRIDGE", leg, 1.0), &more).to_string().as_bytes(), 0).unwrap();
        event.facts.into_iter().map(|facts| facts.key).find(Key::is_dialog).unwrap()
    };
    assert_eq!(dialog("c1", "b1"), Key::dialog("c1+b1"));
    assert_eq!(dialog("b1", "c1"), Key::dialog("c1+b1"));
}

#[test]
fn a_report_tells_the_end_by_the_length_of_the_call() {
    let report = json!({
        "Event-Category": "cdr", "Event-Name": "report", "Call-ID": "a1", "Account-ID": "acc", "Duration-Seconds": 60,
        "Channel-Created-Time": BEGIN, "Timestamp": callstore::sources::to_gregorian(BEGIN),
        "Call-Interaction": { "Id": INTERACTION, "Key": "0a1b2c3d" }, "Media-Server": "freeswitch@fs1.example",
    });
    let event = read(report.to_string().as_bytes(), 0).unwrap();
    assert_eq!(event.at, BEGIN + 60 * SECOND);
    let said = |attr| event.facts[0].sets.iter().find(|(known, ..)| *known == attr).map(|(.., val)| val.clone());
    assert_eq!(said(Attr::Call).unwrap().text(), Some(INTERACTION));
    assert!(said(Attr::Reported).is_some());
}

#[test]
fn the_channels_of_a_switch_are_facts_about_each() {
    let answer = json!({
        "Event-Category": "call_event", "Event-Name": "query_channels_resp",
        "Channels": { "a9": { "switch_nodename": "freeswitch@fs1.example", "interaction_id": INTERACTION, "direction": "inbound" }, "x": 1 },
    });
    judge(answer.to_string().as_bytes()).unwrap();
    let event = read(answer.to_string().as_bytes(), BEGIN).unwrap();
    assert_eq!(event.facts.len(), 1);
    let talking = json!({ "Answered": true, "Call-Direction": "outbound", "Other-Leg-Call-ID": "a9", "Media-Node": "freeswitch@fs1.example" });
    let answer = json!({ "Event-Name": "query_channels_resp", "Channels": { "b9": talking } });
    let talking = read(answer.to_string().as_bytes(), BEGIN).unwrap();
    let keys: Vec<_> = talking.facts.iter().map(|facts| facts.key.as_str()).collect();
    assert_eq!(keys, ["leg/b9", "dialog/a9+b9", "leg/a9"]);
    assert_eq!((event.facts[0].key.clone(), event.facts[0].at, event.facts[0].is_sign), (Key::leg("a9"), BEGIN, true));
    assert_eq!(read(b"{\"Event-Name\":\"x\",\"Call-ID\":7}", 5).map(|event| event.at), Ok(5));
    assert_eq!(read(b"{}", 5), Err(Bad::Unknown));
}

/// A call that was picked up, or parked and taken again, has two inbound legs.
#[test]
fn two_channels_of_one_direction_are_one_dialog() {
    let leg = |other: &str| json!({ "Answered": true, "Call-Direction": "inbound", "Other-Leg-Call-ID": other });
    let dialogs = |channels: serde_json::Value| {
        let answer = json!({ "Event-Name": "query_channels_resp", "Channels": channels }).to_string();
        let keys = read(answer.as_bytes(), BEGIN).unwrap().facts.into_iter().map(|facts| facts.key);
        keys.filter(Key::is_dialog).collect::<Vec<_>>()
    };
    let one = Key::dialog("a7+a8");
    assert_eq!(dialogs(json!({ "a7": leg("a8"), "a8": leg("a7") })), [one.clone(), one.clone()]);
    // The other channel is in another entry.
    let alone = with(leg("a7"), &json!({ "Other-Leg-Direction": "inbound" }));
    assert_eq!(dialogs(json!({ "a8": alone })), [one]);
}

#[test]
fn a_mixer_says_which_attachment_a_recording_became_and_nothing_of_the_call() {
    let event = json!({
        "event": "recording_finalised", "dialog_id": "a1+b1", "time": "2026-11-30T12:00:00.000Z", "bytes": 4711,
        "database": "account/4f/1c/0a-202611", "document": "202611-a b", "attachment": "a+b/%.mp3",
    });
    let read = read(event.to_string().as_bytes(), 0).unwrap();
    assert_eq!((read.at, read.node.clone(), read.facts.len()), (BEGIN, None, 1));
    let facts = &read.facts[0];
    assert_eq!((&facts.key, facts.is_sign), (&Key::dialog("a1+b1"), false));
    let link = facts.sets.iter().find(|(attr, ..)| *attr == Attr::RecordingLink).unwrap();
    assert_eq!(link.2.text(), Some("/account%2F4f%2F1c%2F0a-202611/202611-a%20b/a%2Bb%2F%25.mp3"));
}
