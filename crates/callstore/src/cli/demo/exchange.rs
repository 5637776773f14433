//! Simulated calls, as KAZOO events.

use serde_json::{Value, json};

use crate::fold::Micros;
use crate::sources::to_gregorian;

/// An hour of traffic on a small exchange with two switches.
#[derive(Debug)]
pub(super) struct Exchange {
    /// All events, in order.
    pub(super) events: Vec<Value>,
    /// Number of dialogs still in progress.
    pub(super) live: usize,
    /// Both legs of the dialogs in progress on the second switch.
    lost: Vec<Value>,
}

/// One call.
struct Call {
    number: usize,
    node: &'static str,
    began: Micros,
    /// Talk time in seconds; `None` if the call is still in progress.
    talk: Option<i64>,
}

impl Exchange {
    /// Simulates the hour before `now`: a call every 20 s, some of which are still in progress.
    pub(super) fn of_an_hour(now: Micros) -> Self {
        let (mut events, mut live, mut lost) = (Vec::new(), 0, Vec::new());
        for number in 0..CALLS {
            let began = now - HOUR + i64::try_from(number).unwrap_or_default() * EACH;
            // Deterministic, with a range of durations.
            let talk = 30 + i64::try_from(number * 37 % 400).unwrap_or_default();
            let goes_on = began + (talk + 6) * SECOND > now - SECOND || number % 45 == 7;
            let node = if number % 3 == 0 { NODES[1] } else { NODES[0] };
            let call = Call { number, node, began, talk: (!goes_on).then_some(talk) };
            events.extend(call.events());
            if goes_on && call.is_answered(now) {
                live += 1;
                if node == NODES[1] {
                    lost.extend([
                        call.event("a", "CHANNEL_DISCONNECTED", now),
                        call.event("b", "CHANNEL_DISCONNECTED", now),
                    ]);
                }
            }
        }
        events.retain(|event| event.get("Msg-ID").and_then(Value::as_str).and_then(|at| at.parse().ok()) < Some(now));
        events.sort_by_key(|event| event.get("Msg-ID").map(ToString::to_string));
        Self { events, live, lost }
    }

    /// The events ecallmgr emits for the calls of a lost switch: they contain neither start nor end.
    pub(super) fn loss(&self, now: Micros) -> Vec<Value> {
        let mut lost = self.lost.clone();
        for event in &mut lost {
            let Some(members) = event.as_object_mut() else { continue };
            members.retain(|name, _| KNOWN_OF_LOST.contains(&name.as_str()));
            members.insert("Timestamp".to_owned(), to_gregorian(now).into());
        }
        lost
    }
}

impl Call {
    fn id(&self, leg: &str) -> String {
        format!("{leg}-{:06}@pbx.example.com", self.number)
    }

    fn is_answered(&self, now: Micros) -> bool {
        self.began + ANSWER * SECOND < now
    }

    fn event(&self, leg: &str, name: &str, at: Micros) -> Value {
        let (direction, other) = if leg == "a" { ("inbound", "b") } else { ("outbound", "a") };
        let caller = format!("+7495555{:04}", self.number % 10_000);
        let callee = format!("1{:03}", self.number % 100);
        json!({
            "Event-Category": "call_event",
            "Event-Name": name,
            "Call-ID": self.id(leg),
            "Msg-ID": at.to_string(),
            "Timestamp": to_gregorian(at) + 1,
            "Call-Direction": direction,
            "Switch-Nodename": self.node,
            "Media-Server": self.node,
            "Other-Leg-Call-ID": self.id(other),
            "Channel-Created-Time": self.began + if leg == "a" { 0 } else { SECOND },
            "Caller-ID-Number": caller,
            "Caller-ID-Name": "A caller",
            "Callee-ID-Number": callee,
            "Caller-Destination-Number": callee,
            "From": format!("{caller}@pbx.example.com"),
            "To": format!("{callee}@pbx.example.com"),
            "Request": format!("{callee}@pbx.example.com"),
            "Custom-Channel-Vars": {
                "Account-ID": ACCOUNT,
                "Realm": "pbx.example.com",
                "Call-Interaction-ID": format!("{}-{:08x}", to_gregorian(self.began), self.number),
                "Authorizing-Type": "device",
                "Resource-Type": if leg == "a" { "offnet-origination" } else { "onnet-termination" },
            },
            "Custom-SIP-Headers": { "X-AUTH-IP": "192.0.2.17", "X-AUTH-PORT": "5080" },
        })
    }

    fn events(&self) -> Vec<Value> {
        let at = |seconds: i64| self.began + seconds * SECOND;
        let mut events = vec![
            self.event("a", "CHANNEL_CREATE", at(0)),
            self.event("b", "CHANNEL_CREATE", at(1)),
            self.event("b", "CHANNEL_ANSWER", at(ANSWER) - 2),
            self.event("a", "CHANNEL_ANSWER", at(ANSWER) - 1),
            self.event("a", "CHANNEL_BRIDGE", at(ANSWER)),
        ];
        if self.number % 5 == 2 {
            events.push(self.event("a", "RECORD_START", at(ANSWER) + 3));
        }
        if self.number % 7 == 3 {
            events.push(self.event("a", "CHANNEL_HOLD", at(ANSWER + 10)));
            events.push(self.event("a", "CHANNEL_UNHOLD", at(ANSWER + 20)));
        }
        let Some(talk) = self.talk else { return events };
        for (leg, at) in [("a", at(ANSWER + talk)), ("b", at(ANSWER + talk) + 20_000)] {
            let mut end = self.event(leg, "CHANNEL_DESTROY", at);
            if let Some(members) = end.as_object_mut() {
                members.insert("Hangup-Cause".to_owned(), "NORMAL_CLEARING".into());
                members.insert("Billing-Seconds".to_owned(), talk.into());
                members.insert("Duration-Seconds".to_owned(), (talk + ANSWER).into());
            }
            events.push(end);
        }
        events
    }
}

/// What KAZOO knows about a lost channel.
const KNOWN_OF_LOST: [&str; 8] =
    ["Event-Category", "Event-Name", "Call-ID", "Call-Direction", "Media-Server", "Custom-Channel-Vars", "To", "From"];
const NODES: [&str; 2] = ["freeswitch@fs1.example", "freeswitch@fs2.example"];
const ACCOUNT: &str = "4f1c0a5f6e3b4d7e8a9b0c1d2e3f4a5b";
const CALLS: usize = 180;
const SECOND: Micros = 1_000_000;
const HOUR: Micros = 3600 * SECOND;
const EACH: Micros = 20 * SECOND;
/// Seconds from INVITE to answer.
const ANSWER: i64 = 6;
