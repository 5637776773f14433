//! Events of the sizes and shapes in the targets.

use serde_json::{Value, json};

/// The number of events per request.
pub(crate) const AT_ONCE: usize = 256;
/// The number of domains that calls are spread over.
pub(crate) const DOMAINS: usize = 100;

fn begin() -> i64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    i64::try_from(since.as_micros()).unwrap() - 60_000_000
}

fn event(name: &str, number: usize, leg: &str, at: i64) -> Value {
    let other = if leg == "a" { "b" } else { "a" };
    json!({
        "Event-Name": name,
        "Call-ID": format!("{leg}{number:06}"),
        "Msg-ID": at.to_string(),
        "Call-Direction": if leg == "a" { "inbound" } else { "outbound" },
        "Media-Server": format!("fs{}", number % 8),
        "Other-Leg-Call-ID": format!("{other}{number:06}"),
        "Caller-ID-Number": format!("+7495{number:07}"),
        "Callee-ID-Number": "1001",
        "Caller-Destination-Number": "1001",
        "From": format!("+7495{number:07}@d{}.example.com", number % DOMAINS),
        "Custom-Channel-Vars": {
            "Account-ID": format!("{:032x}", number % DOMAINS),
            "Realm": format!("d{}.example.com", number % DOMAINS),
            "Call-Interaction-ID": format!("63963259200-{number:08x}"),
        },
    })
}

/// Returns the events of an ongoing call, one per line.
pub(crate) fn call(number: usize) -> Vec<String> {
    let at = begin();
    let events = [
        ("CHANNEL_CREATE", "a", 0),
        ("CHANNEL_CREATE", "b", 1),
        ("CHANNEL_ANSWER", "b", 2),
        ("CHANNEL_ANSWER", "a", 3),
        ("CHANNEL_BRIDGE", "a", 4),
    ];
    events.iter().map(|(name, leg, after)| format!("{}\n", event(name, number, leg, at + after))).collect()
}

/// Returns a later event of a call.
pub(crate) fn update(number: usize, after: usize) -> String {
    format!("{}\n", event("CALL_UPDATE", number, "a", begin() + 10_000_000 + i64::try_from(after).unwrap()))
}

/// A request with calls of eight events, each padded to a size, from this event on.
fn request(first: usize, size: usize, events: &[(&str, &str); 8]) -> Vec<u8> {
    let at = begin();
    let line = |place: usize| {
        let (name, leg) = events[place % 8];
        let mut event = event(name, place / 8, leg, at + i64::try_from(place).unwrap());
        let rest = size.saturating_sub(event.to_string().len() + r#","Remote-SDP":"""#.len() + 1);
        event["Remote-SDP"] = "v".repeat(rest).into();
        format!("{event}\n")
    };
    (first..first + AT_ONCE).map(line).collect::<String>().into_bytes()
}

/// What the caller's leg of a call tells. The other one never does, so that it lives until it is too old.
const ONE_LEG: [(&str, &str); 8] = [
    ("CHANNEL_CREATE", "a"),
    ("CHANNEL_PROGRESS", "a"),
    ("CHANNEL_ANSWER", "a"),
    ("CHANNEL_BRIDGE", "a"),
    ("CALL_UPDATE", "a"),
    ("CHANNEL_HOLD", "a"),
    ("CHANNEL_UNHOLD", "a"),
    ("CHANNEL_DESTROY", "a"),
];
/// A whole call.
const BOTH_LEGS: [(&str, &str); 8] = [
    ("CHANNEL_CREATE", "a"),
    ("CHANNEL_CREATE", "b"),
    ("CHANNEL_ANSWER", "b"),
    ("CHANNEL_ANSWER", "a"),
    ("CHANNEL_BRIDGE", "a"),
    ("CALL_UPDATE", "a"),
    ("CHANNEL_DESTROY", "b"),
    ("CHANNEL_DESTROY", "a"),
];

fn requests(count: usize, size: usize) -> Vec<Vec<u8>> {
    (0..count / AT_ONCE).map(|number| request(number * AT_ONCE, size, &ONE_LEG)).collect()
}

/// Returns requests of 600-byte events, the size in another platform's published figure.
pub(crate) fn of_600_bytes(count: usize) -> Vec<Vec<u8>> {
    requests(count, 600)
}

/// Returns requests of events as long as KAZOO's.
pub(crate) fn of_kazoo(count: usize) -> Vec<Vec<u8>> {
    requests(count, KAZOO)
}

/// One such request, from this event on, of calls whose other legs never end.
pub(crate) fn request_of_kazoo(first: usize) -> Vec<u8> {
    request(first, KAZOO, &ONE_LEG)
}

/// One such request, from this event on, of whole calls.
pub(crate) fn request_of_whole_calls(first: usize) -> Vec<u8> {
    request(first, KAZOO, &BOTH_LEGS)
}

/// The typical size of KAZOO's events, in bytes.
const KAZOO: usize = 1900;
