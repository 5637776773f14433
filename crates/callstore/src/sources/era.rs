//! `callevents` of the ERA platform: a header common to all events, plus event-specific members.

use super::members::{Members, num, text, val};
use super::time::of_any_unit;
use super::{Bad, Event, identity};
use crate::fold::{Attr, Facts, Key, Line, Micros, Val};

/// Returns whether the event has ERA's form.
pub(super) fn owns(members: &Members<'_>) -> bool {
    ["eventid", "acallid", "dialogid", "connectionid"].iter().any(|name| members.raw(name).is_some())
}

/// Checks that the event identifies its subject.
pub(super) fn judge(members: &Members<'_>) -> Result<(), Bad> {
    let is_there = ["dialogid", "acallid", "forkcallid"].iter().any(|name| known(members, name).is_some());
    if is_there { Ok(()) } else { Err(Bad::Nameless(SUBJECT)) }
}

/// Parses an event.
pub(super) fn read(members: &Members<'_>, taken: Micros) -> Result<Event, Bad> {
    let name = ["type", "event", "eventtype", "eventname"].iter().find_map(|member| members.text(member));
    let name = name.unwrap_or_else(|| "unknown".into());
    let at = members.num("eventts").and_then(of_any_unit).unwrap_or(taken);
    let (call, dialog, leg) = (known(members, "cid"), known(members, "dialogid"), known(members, "acallid"));
    let key = match members.text("eventid") {
        Some(id) => identity(&[&id]),
        None => identity(&[dialog.as_deref().or(leg.as_deref()).unwrap_or_default(), &name, &at.to_string()]),
    };
    let fork = known(members, "forkcallid").filter(|_| name.starts_with("fork_"));
    let main = match (&dialog, &fork, &leg) {
        (_, Some(fork), _) => Key::leg(fork),
        (Some(dialog), ..) => Key::dialog(dialog),
        (None, None, Some(leg)) => Key::leg(leg),
        (None, None, None) => return Err(Bad::Nameless(SUBJECT)),
    };
    let mut facts = Facts::about(main, at);
    facts.line = Some(Line { at, key, name: (&*name).into(), note: None });
    facts.set(Attr::Source, Val::from("era"));
    facts.set(Attr::Call, call.as_deref().map(Val::from));
    facts.set(Attr::Invite, invited(members).map(Val::Num));
    let mut others = Vec::new();
    if let Some(leg) = leg.as_deref() {
        if facts.key.is_dialog() {
            facts.set(Attr::LegA, Val::from(leg));
            others.push(peer(&mut facts, leg, call.as_deref()));
        }
        if let Some(other) = known(members, "bcallid").filter(|_| facts.key.is_dialog()) {
            facts.set(Attr::LegB, Val::from(&*other));
            others.push(peer(&mut facts, &other, call.as_deref()));
        }
    }
    for (member, value) in members.iter() {
        match attribute(member) {
            Some(attr) => facts.set(attr, val(value)),
            None if HEADER.contains(&member) => {}
            None => facts.extra.push((member.into(), value.get().into())),
        }
    }
    meaning(&mut facts, &mut others, members, &name);
    let node = known(members, "node").or_else(|| known(members, "server")).map(|node| (&*node).into());
    others.insert(0, facts);
    Ok(Event { key, name: (&*name).into(), at, node, facts: others })
}

/// Returns a member's text, unless it is a placeholder: `empty`, `__empty` or `undefined`.
fn known<'a>(members: &Members<'a>, name: &str) -> Option<std::borrow::Cow<'a, str>> {
    members.raw(name).and_then(text).filter(|text| !matches!(&**text, "empty" | "__empty" | "undefined"))
}

fn invited(members: &Members<'_>) -> Option<Micros> {
    members.raw("invitets").and_then(num).and_then(of_any_unit)
}

/// Facts about a leg of the dialog, which has no events of its own.
fn peer(dialog: &mut Facts, id: &str, call: Option<&str>) -> Facts {
    let mut leg = Facts::about(Key::leg(id), dialog.at);
    leg.set(Attr::Source, Val::from("era"));
    leg.set(Attr::Call, call.map(Val::from));
    leg.link("dialog", dialog.key.clone());
    dialog.link("leg", Key::leg(id));
    leg
}

fn attribute(member: &str) -> Option<Attr> {
    Some(match member {
        "node" | "server" => Attr::Node,
        "urifrom" | "alocaluri" => Attr::From,
        "urito" | "bremoteuri" => Attr::To,
        "forkrequesturi" => Attr::Request,
        "fromusername" | "fromnum" => Attr::Caller,
        "tonum" | "forkcallednum" => Attr::Callee,
        "fromdomain" | "adomain" => Attr::Domain,
        "bdomain" => Attr::DomainB,
        "forkdir" | "dir" => Attr::Direction,
        "sipcode" => Attr::Code,
        "reason" => Attr::Cause,
        "completion" | "completiontype" => Attr::Completion,
        "dlgbinding" => Attr::Label,
        "filekey" | "key" | "link" => Attr::RecordingKey,
        _ => return None,
    })
}

fn meaning(facts: &mut Facts, others: &mut [Facts], members: &Members<'_>, name: &str) {
    let at = facts.at;
    match name {
        "invite" => {
            facts.set(Attr::Created, Val::Num(invited(members).unwrap_or(at)));
            facts.set(Attr::CallerOriginal, members.raw("fromusername").and_then(val));
            facts.set(Attr::Dialled, members.raw("urito").and_then(val));
            facts.set(Attr::Direction, Val::from("inbound"));
        }
        "dlg_init" | "dlg_call" => facts.set(Attr::Created, Val::Num(invited(members).unwrap_or(at))),
        "fork_start" => facts.set(Attr::Created, Val::Num(at)),
        "fork_stop" => facts.set(Attr::Ended, Val::Num(at)),
        "dlg_start" => {
            facts.set(Attr::Answered, Val::Num(at));
            facts.set(Attr::Started, Val::Num(at));
            others.iter_mut().for_each(|leg| leg.set(Attr::Answered, Val::Num(at)));
        }
        "rec_info" => {
            facts.set(Attr::Recorded, members.flag("isrec").map(Val::Flag));
            facts.set(Attr::RecordingStopped, members.flag("isrec").map(|is_on| Val::Flag(!is_on)));
        }
        "hold" | "unhold" => facts.set(Attr::Held, Val::Flag(name == "hold")),
        "dlg_end" | "dlg_stop" | "dlg_dead" => {
            // The delayed event carries its own time, not the dialog's end; the watchdog's event is the least accurate.
            let rank = match name {
                "dlg_end" => 3,
                "dlg_stop" => 2,
                _ => 1,
            };
            facts.set_ranked(Attr::Ended, rank, Val::Num(at));
            others.iter_mut().for_each(|leg| leg.set_ranked(Attr::Ended, rank, Val::Num(at)));
            if name == "dlg_stop" {
                facts.set(Attr::Stopped, Val::Num(at));
            }
            if name == "dlg_dead" {
                facts.set(Attr::Completion, Val::from("dead"));
            }
        }
        "dlg_down" => {
            facts.is_sign = false;
            facts.set(Attr::Suspect, Val::from("dlg_down"));
            others.iter_mut().for_each(|leg| leg.is_sign = false);
        }
        // These come from other servers than the dialog's own, minutes after it ended.
        "call_rec_links" | "records_moved" => {
            facts.is_sign = false;
            others.iter_mut().for_each(|leg| leg.is_sign = false);
            facts.set(Attr::RecordingStopped, Val::Flag(true));
            facts.set(Attr::RecordingBytes, members.num("filesize").map(Val::Num));
            let is_recorded = [members.flag("aisrec"), members.flag("bisrec")].contains(&Some(true));
            facts.set(Attr::Recorded, is_recorded.then_some(Val::Flag(true)));
        }
        "refer" | "referring_invite" | "replaces_invite" | "replaces_refer" | "route_referred" => {
            facts.set(Attr::Transfer, Val::from(name));
            if let Some(other) = known(members, "referred_acallid").or_else(|| known(members, "replaces_callid")) {
                facts.link(name, Key::leg(&other));
            }
        }
        _ => {}
    }
}

/// Members of the header, and those already handled.
const HEADER: [&str; 16] = [
    "eventid",
    "eventts",
    "eventdt",
    "acallid",
    "acallidhash",
    "cid",
    "invitets",
    "invitedt",
    "connectionid",
    "dialogid",
    "dialogidhash",
    "type",
    "event",
    "eventtype",
    "eventname",
    "bcallid",
];
/// The subject's members, as named in errors.
const SUBJECT: &str = "acallid and no dialogid";
