//! KAZOO's call events and cdr reports (`kapi_call`, `kapi_cdr` and mod_kazoo's definitions in 2600hz/kazoo).

mod channels;

use std::borrow::Cow;

use serde_json::value::RawValue;

use super::members::{Members, num, text, val};
use super::time::{from_kazoo, of_any_unit};
use super::{Bad, Event, identity};
use crate::fold::{Attr, Facts, Key, Line, Micros, Val};

/// Returns whether the event has KAZOO's form.
pub(super) fn owns(members: &Members<'_>) -> bool {
    members.raw("Event-Name").is_some() || members.raw("Event-Category").is_some()
}

/// Checks that the event identifies its subject.
pub(super) fn judge(members: &Members<'_>) -> Result<(), Bad> {
    let wanted = if members.text("Event-Name").as_deref() == Some(CHANNELS) { "Channels" } else { "Call-ID" };
    let is_there = members.text(wanted).is_some() || wanted == "Channels" && members.object(wanted).is_some();
    if is_there { Ok(()) } else { Err(Bad::Nameless(wanted)) }
}

/// Parses an event.
pub(super) fn read(members: &Members<'_>, taken: Micros) -> Result<Event, Bad> {
    let name = members.text("Event-Name").unwrap_or_else(|| "unknown".into());
    if name == CHANNELS {
        return channels::read(members, taken);
    }
    let id = members.text("Call-ID").ok_or(Bad::Nameless("Call-ID"))?;
    let is_report = members.text("Event-Category").is_some_and(|category| category == "cdr");
    let name: Cow<'_, str> = if is_report { "cdr_report".into() } else { name };
    let (at, is_exact) = time(members, is_report, taken);
    let node = members.text("Switch-Nodename").or_else(|| members.text("Media-Server"));
    let key = identity(&[
        node.as_deref().unwrap_or_default(),
        &id,
        &name,
        &members.text("Msg-ID").unwrap_or_else(|| at.to_string().into()),
    ]);
    let mut facts = Facts::about(Key::leg(&id), at);
    facts.line = Some(Line { at, key, name: (&*name).into(), note: note(members, &name) });
    facts.set(Attr::Source, Val::from("kazoo"));
    for (member, value) in members.iter() {
        member_of(&mut facts, &name, member, value);
    }
    let mut all = Vec::with_capacity(3);
    let others = meaning(&mut facts, members, &name, &id);
    // Not from the switch itself: ecallmgr only infers it.
    let from_switch = is_exact && name != "CHANNEL_DISCONNECTED" && name != "CHANNEL_CONNECTED";
    let node = node.filter(|_| from_switch).map(|node| (&*node).into());
    all.push(facts);
    all.extend(others);
    Ok(Event { key, name: (&*name).into(), at, node, facts: all })
}

/// Returns when it happened, and whether that is the switch's own time: `Msg-ID` of the switch's events is its time in microseconds,
/// `Timestamp` is in Gregorian seconds, rounded up. A report's `Timestamp` is the start of the call.
fn time(members: &Members<'_>, is_report: bool, taken: Micros) -> (Micros, bool) {
    let exact = members.text("Msg-ID").and_then(|id| id.parse().ok()).and_then(of_any_unit);
    if let Some(exact) = exact {
        return (exact, true);
    }
    if is_report {
        let began = members.num("Channel-Created-Time").and_then(of_any_unit);
        let lasted = members.num("Duration-Seconds").map(|seconds| seconds.saturating_mul(1_000_000));
        return (began.zip(lasted).map_or(taken, |(began, lasted)| began.saturating_add(lasted)), true);
    }
    members.num("Timestamp").filter(|at| *at > super::GREGORIAN).map_or((taken, false), |at| (from_kazoo(at), true))
}

/// Maps a member to facts.
fn member_of(facts: &mut Facts, event: &str, member: &str, value: &RawValue) {
    let rank = u8::from(matches!(event, "CHANNEL_DESTROY" | "cdr_report"));
    if let Some(attr) = texts(member) {
        facts.set_ranked(attr, 0, val(value));
        return;
    }
    match member {
        // The name used to query switches; `Media-Server` may be a host name.
        "Switch-Nodename" => facts.set_ranked(Attr::Node, 1, val(value)),
        "Hangup-Cause" => facts.set_ranked(Attr::Cause, rank, val(value)),
        "Hangup-Code" => facts.set_ranked(Attr::Code, rank, val(value)),
        "Disposition" => facts.set_ranked(Attr::Disposition, rank, val(value)),
        "Duration-Seconds" => facts.set_ranked(Attr::Duration, rank, num(value).map(Val::Num)),
        "Billing-Seconds" => facts.set_ranked(Attr::Billing, rank, num(value).map(Val::Num)),
        "Ringing-Seconds" => facts.set_ranked(Attr::RingingSeconds, rank, num(value).map(Val::Num)),
        "Channel-Created-Time" => facts.set_ranked(Attr::Created, 1, num(value).and_then(of_any_unit).map(Val::Num)),
        "Caller-ID-Number" => {
            facts.set(Attr::CallerOriginal, val(value));
            facts.set(Attr::Caller, val(value));
        }
        "Custom-Channel-Vars" => channel_vars(facts, value),
        "Custom-SIP-Headers" => sip_headers(facts, value),
        "Call-Interaction" => {
            let id = serde_json::from_str::<Members<'_>>(value.get()).ok();
            facts.set(Attr::Call, id.and_then(|of| of.raw("Id").and_then(val)));
        }
        "Call-Interaction-ID" => facts.set(Attr::Call, val(value)),
        "Local-SDP" => {
            facts.set(Attr::MediaIp, text(value).and_then(|sdp| address_of(&sdp).map(Val::from)));
            keep(facts, member, value);
        }
        "Fax-Info" => {
            facts.set(Attr::Fax, Val::Flag(true));
            keep(facts, member, value);
        }
        // Digits dialled during a call may be a PIN.
        "DTMF-Digit" | "Digits-Dialed" | "Call-ID" | "Event-Name" | "Event-Category" | "Msg-ID" | "Timestamp" => {}
        _ => keep(facts, member, value),
    }
}

/// Returns the attribute that holds a member's text.
fn texts(member: &str) -> Option<Attr> {
    Some(match member {
        "Media-Server" => Attr::Node,
        "Call-Direction" => Attr::Direction,
        "From" => Attr::From,
        "To" => Attr::To,
        "Request" => Attr::Request,
        "Caller-ID-Name" => Attr::CallerName,
        "Callee-ID-Number" => Attr::Callee,
        "Callee-ID-Name" => Attr::CalleeName,
        "Caller-Destination-Number" => Attr::Dialled,
        "Other-Leg-Call-ID" => Attr::OtherLeg,
        "Origination-Call-ID" => Attr::OutsideId,
        "Account-ID" => Attr::Account,
        "Domain-Name" => Attr::Domain,
        "User-Agent" => Attr::UserAgent,
        _ => return None,
    })
}

fn channel_vars(facts: &mut Facts, value: &RawValue) {
    keep(facts, "Custom-Channel-Vars", value);
    let Ok(vars) = serde_json::from_str::<Members<'_>>(value.get()) else { return };
    for (name, value) in vars.iter() {
        let attr = match name {
            "Account-ID" => Attr::Account,
            "Owner-ID" => Attr::Owner,
            "Realm" => Attr::Domain,
            "Authorizing-ID" => Attr::Authorizing,
            "Authorizing-Type" => Attr::AuthorizingType,
            "Resource-Type" => Attr::Resource,
            "Call-Interaction-ID" => Attr::Call,
            "E164-Origination" => Attr::E164From,
            "E164-Destination" => Attr::E164To,
            "Recording-Url" => Attr::RecordingKey,
            _ => continue,
        };
        // The realm of the account is the domain, whatever the INVITE's was.
        facts.set_ranked(attr, u8::from(name == "Realm"), val(value));
    }
}

fn sip_headers(facts: &mut Facts, value: &RawValue) {
    keep(facts, "Custom-SIP-Headers", value);
    let Ok(headers) = serde_json::from_str::<Members<'_>>(value.get()) else { return };
    facts.set(Attr::ClientIp, headers.raw("X-AUTH-IP").and_then(val));
    facts.set(Attr::ClientPort, headers.num("X-AUTH-PORT").map(Val::Num));
}

fn keep(facts: &mut Facts, member: &str, value: &RawValue) {
    facts.extra.push((member.into(), value.get().into()));
}

/// Interprets the event itself; returns facts about others.
fn meaning(facts: &mut Facts, members: &Members<'_>, name: &str, id: &str) -> Vec<Facts> {
    let at = facts.at;
    match name {
        "CHANNEL_CREATE" => facts.set(Attr::Created, Val::Num(at)),
        "CHANNEL_PROGRESS" | "CHANNEL_PROGRESS_MEDIA" => facts.set(Attr::Ringing, Val::Num(at)),
        "CHANNEL_ANSWER" => {
            facts.set(Attr::Answered, Val::Num(at));
            if members.text("Call-Direction").is_some_and(|direction| direction == "inbound") {
                return vec![alone(facts, id)];
            }
        }
        "CHANNEL_HOLD" | "CHANNEL_UNHOLD" => facts.set(Attr::Held, Val::Flag(name == "CHANNEL_HOLD")),
        "CHANNEL_BRIDGE" | "CHANNEL_UNBRIDGE" => return bridge(facts, members, name, id),
        "CHANNEL_DESTROY" => facts.set_ranked(Attr::Ended, 2, Val::Num(at)),
        "cdr_report" => {
            facts.set_ranked(Attr::Ended, 1, Val::Num(at));
            facts.set(Attr::Reported, Val::Num(at));
        }
        "CHANNEL_DISCONNECTED" => {
            facts.is_sign = false;
            facts.set(Attr::Suspect, Val::from("CHANNEL_DISCONNECTED"));
        }
        "RECORD_START" | "RECORD_STOP" => {
            facts.set(Attr::Recorded, Val::Flag(true));
            facts.set(Attr::RecordingStopped, Val::Flag(name == "RECORD_STOP"));
            facts.set(Attr::Recording, members.raw("Application-Response").and_then(val));
            if name == "RECORD_STOP" {
                // `Length` is the duration in milliseconds. At the start, the size is that of the leg's recording before.
                let size = members.object("Recording").and_then(|recording| recording.num("File-Size"));
                facts.set(Attr::RecordingBytes, size.map(Val::Num));
            }
        }
        "CHANNEL_FAX_STATUS" => facts.set(Attr::Fax, Val::Flag(true)),
        name if name.starts_with("spandsp::") => facts.set(Attr::Fax, Val::Flag(true)),
        name => transfers(facts, members, name),
    }
    Vec::new()
}

/// A leg answered by the exchange itself is a dialog, until it turns out to have been connected with another leg.
fn alone(leg: &mut Facts, id: &str) -> Facts {
    let mut dialog = dialog_of(leg, id, &leg.line);
    dialog.set(Attr::LegA, Val::from(id));
    dialog.set(Attr::Started, Val::Num(leg.at));
    dialog.link("leg", Key::leg(id));
    leg.link("alone", dialog.key.clone());
    dialog
}

/// Two legs that are connected, or no longer are, form a dialog. The switch names the second of them (`Bridge-B-Unique-ID`; KAZOO does not
/// pass on the first), else the direction determines who called whom. If that is missing, the order of their ids decides, so that events of
/// both legs lead to the same dialog.
fn bridge(leg: &mut Facts, members: &Members<'_>, name: &str, id: &str) -> Vec<Facts> {
    let is_bridge = name == "CHANNEL_BRIDGE";
    let second = members.text("Bridge-B-Unique-ID");
    let other = members.text("Other-Leg-Call-ID").filter(|other| *other != id);
    let pair = match (&second, &other) {
        (Some(second), _) if **second != *id => (id, &**second),
        (Some(_), Some(other)) => (&**other, id),
        (None, Some(other)) => match members.text("Call-Direction").as_deref() {
            Some("inbound") => (id, &**other),
            Some("outbound") if members.text("Other-Leg-Direction").is_none_or(|of| of == "inbound") => (&**other, id),
            _ => by_id(id, other),
        },
        (_, None) => return Vec::new(),
    };
    joined(leg, pair, is_bridge)
}

/// Orders two legs whose direction does not tell who called whom.
fn by_id<'a>(one: &'a str, other: &'a str) -> (&'a str, &'a str) {
    if one < other { (one, other) } else { (other, one) }
}

/// Returns facts about the dialog of two legs, and about the other leg.
fn joined(leg: &mut Facts, (a, b): (&str, &str), is_bridge: bool) -> Vec<Facts> {
    let mut dialog = dialog_of(leg, &format!("{a}+{b}"), &leg.line);
    dialog.set(Attr::LegA, Val::from(a));
    dialog.set(Attr::LegB, Val::from(b));
    dialog.set(if is_bridge { Attr::Bridged } else { Attr::Unbridged }, Val::Num(leg.at));
    if is_bridge {
        dialog.set(Attr::Started, Val::Num(leg.at));
    }
    dialog.link("leg", Key::leg(a));
    dialog.link("leg", Key::leg(b));
    leg.link("dialog", dialog.key.clone());
    let mut peer = Facts::about(Key::leg(if a == leg.key.id() { b } else { a }), leg.at);
    peer.link("dialog", dialog.key.clone());
    peer.set(Attr::Source, Val::from("kazoo"));
    for (attr, rank, val) in &leg.sets {
        if matches!(attr, Attr::Node | Attr::Call) {
            peer.set_ranked(*attr, *rank, val.clone());
        }
    }
    vec![dialog, peer]
}

/// Creates a dialog with what its leg's event states about the call. The initiator's leg knows the parties best.
fn dialog_of(leg: &Facts, id: &str, line: &Option<Line>) -> Facts {
    let mut dialog = Facts::about(Key::dialog(id), leg.at);
    dialog.line.clone_from(line);
    let by_initiator =
        u8::from(id == leg.key.id() || id.strip_prefix(leg.key.id()).is_some_and(|rest| rest.starts_with('+')));
    for (attr, rank, val) in &leg.sets {
        match attr {
            Attr::Node | Attr::Call | Attr::Account | Attr::Domain | Attr::Source => {
                dialog.set_ranked(*attr, *rank, val.clone());
            }
            Attr::Caller
            | Attr::CallerName
            | Attr::Callee
            | Attr::CalleeName
            | Attr::Dialled
            | Attr::From
            | Attr::To => {
                dialog.set_ranked(*attr, by_initiator, val.clone());
            }
            _ => {}
        }
    }
    dialog
}

/// Links the legs of a transfer. FreeSWITCH calls its events `sofia::…`, mod_kazoo's definitions publish them as `CHANNEL_…`.
fn transfers(facts: &mut Facts, members: &Members<'_>, name: &str) {
    let kind = match name {
        "CHANNEL_REPLACED" => "replaced",
        "CHANNEL_TRANSFEROR" => "transferor",
        "CHANNEL_TRANSFEREE" => "transferee",
        "CHANNEL_INTERCEPTED" => "intercepted",
        name => match name.strip_prefix("sofia::") {
            Some(kind) => kind,
            None => return,
        },
    };
    for member in ["Replaced-By", "Target-Call-ID", "Intercepted-By", "Other-Leg-Call-ID"] {
        if let Some(other) = members.text(member).filter(|other| *facts.key.id() != **other) {
            facts.link(kind, Key::leg(&other));
        }
    }
    // A loopback channel that leaves the path is replaced too (`loopback::bowout`), without any transfer of a party.
    if members.raw("Resigning-UUID").is_some() {
        return;
    }
    let to = members.text("Transfer-To").unwrap_or_default();
    facts.set(Attr::Transfer, Val::from(format!("{kind} {to}").trim_end()));
}

fn note(members: &Members<'_>, name: &str) -> Option<Box<str>> {
    let member = match name {
        "CHANNEL_DESTROY" | "cdr_report" => "Hangup-Cause",
        "CHANNEL_BRIDGE" | "CHANNEL_UNBRIDGE" => "Other-Leg-Call-ID",
        "CHANNEL_EXECUTE_COMPLETE" => "Application-Name",
        "RECORD_START" | "RECORD_STOP" => "Application-Response",
        _ => return None,
    };
    members.text(member).map(|text| text.chars().take(NOTE).collect::<String>().into())
}

/// Returns the media address of a session description (RFC 8866 section 5.7).
fn address_of(sdp: &str) -> Option<&str> {
    let line =
        sdp.lines().find_map(|line| line.strip_prefix("c=IN IP4 ").or_else(|| line.strip_prefix("c=IN IP6 ")))?;
    line.split(['/', ' ', '\r']).next()
}

/// Maximum number of characters kept of a note.
const NOTE: usize = 160;
/// The event that lists a switch's channels.
const CHANNELS: &str = "query_channels_resp";
