//! Events as KAZOO and ERA send them.

use serde_json::{Value, json};

/// Microseconds per second.
pub const SECOND: i64 = 1_000_000;
/// When the calls of these tests begin: 2026-11-30T12:00:00Z.
pub const BEGIN: i64 = 1_796_040_000 * SECOND;
/// The account of the calls.
pub const ACCOUNT: &str = "4f1c0a5f6e3b4d7e8a9b0c1d2e3f4a5b";
/// The switch of the calls.
pub const NODE: &str = "freeswitch@fs1.example";
/// The interaction of the calls.
pub const INTERACTION: &str = "63963259200-0a1b2c3d";

/// Returns an event of one leg, this many seconds after [`BEGIN`].
pub fn kazoo(name: &str, leg: &str, seconds: f64) -> Value {
    #[expect(clippy::cast_possible_truncation, reason = "small numbers of tests")]
    let at = BEGIN + (seconds * 1e6).round() as i64;
    let (direction, other) = if leg.starts_with('a') {
        ("inbound", leg.replacen('a', "b", 1))
    } else {
        ("outbound", leg.replacen('b', "a", 1))
    };
    json!({
        "Event-Category": "call_event",
        "Event-Name": name,
        "Call-ID": leg,
        "Msg-ID": at.to_string(),
        "Timestamp": callstore::sources::to_gregorian(at) + 1,
        "Call-Direction": direction,
        "Switch-Nodename": NODE,
        "Media-Server": NODE,
        "Other-Leg-Call-ID": other,
        "Caller-ID-Number": "+74955550101",
        "Caller-ID-Name": "Caller",
        "Callee-ID-Number": "1001",
        "Caller-Destination-Number": "1001",
        "From": "+74955550101@pbx.example.com",
        "To": "1001@pbx.example.com",
        "Request": "1001@pbx.example.com",
        "Channel-Name": "sofia/sipinterface_1/1001",
        "Custom-Channel-Vars": {
            "Account-ID": ACCOUNT,
            "Owner-ID": "c119a4487f26920476ad6dec74471768",
            "Realm": "pbx.example.com",
            "Call-Interaction-ID": INTERACTION,
            "Authorizing-Type": "device",
        },
        "Custom-SIP-Headers": { "X-AUTH-IP": "192.0.2.17", "X-AUTH-PORT": "5080" },
    })
}

/// Adds members to an event.
pub fn with(mut event: Value, more: &Value) -> Value {
    event.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    event
}

/// Returns the events of a call answered after 5 s, from the INVITE to the conversation.
pub fn begun(a: &str, b: &str) -> Vec<Value> {
    vec![
        kazoo("CHANNEL_CREATE", a, 0.0),
        kazoo("CHANNEL_CREATE", b, 1.0),
        kazoo("CHANNEL_ANSWER", b, 5.0),
        kazoo("CHANNEL_ANSWER", a, 5.001),
        kazoo("CHANNEL_BRIDGE", a, 5.002),
    ]
}

/// Returns the events of its end, after a minute.
pub fn ended(a: &str, b: &str) -> Vec<Value> {
    let end = json!({ "Hangup-Cause": "NORMAL_CLEARING", "Billing-Seconds": 55, "Duration-Seconds": 60 });
    vec![with(kazoo("CHANNEL_DESTROY", a, 60.0), &end), with(kazoo("CHANNEL_DESTROY", b, 60.02), &end)]
}

/// Returns ecallmgr's event for a channel that it has lost.
pub fn disconnected(leg: &str, seconds: i64) -> Value {
    json!({
        "Event-Category": "call_event",
        "Event-Name": "CHANNEL_DISCONNECTED",
        "Call-ID": leg,
        "Call-Direction": "inbound",
        "Media-Server": NODE,
        "Timestamp": callstore::sources::to_gregorian(BEGIN) + seconds,
        "Custom-Channel-Vars": { "Account-ID": ACCOUNT },
        "Msg-ID": "0b8f4b9c",
    })
}

/// Returns an event of a conference; KAZOO sends these without a time.
pub fn conference(action: &str, leg: &str) -> Value {
    json!({
        "Event-Category": "conference",
        "Event-Name": "event",
        "Event": action,
        "Call-ID": leg,
        "Conference-ID": "c0ffee",
        "Caller-ID-Number": "7002",
        "Custom-Channel-Vars": { "Account-ID": ACCOUNT },
    })
}

/// Returns an event of an ERA dialog.
pub fn era(name: &str, seconds: i64) -> Value {
    json!({
        "type": name,
        "eventid": format!("{name}-{seconds}"),
        "eventts": BEGIN / 1000 + seconds * 1000,
        "acallid": "era-a",
        "cid": "7b1f2a",
        "invitets": BEGIN / 1000,
        "connectionid": format!("7b1f2a.{}", BEGIN / 1000),
        "dialogid": "era-dialog",
        "bcallid": "era-b",
    })
}

/// Converts events to entries of a journal, from this offset on.
pub fn entries(first: u64, events: &[Value]) -> Vec<callstore::journal::Entry> {
    let entry = |(place, event): (usize, &Value)| callstore::journal::Entry {
        offset: first + place as u64,
        taken: BEGIN + 3600 * SECOND,
        body: event.to_string().into(),
        is_decision: false,
    };
    events.iter().enumerate().map(entry).collect()
}
