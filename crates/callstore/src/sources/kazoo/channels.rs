//! A switch's response to a query for its channels (`query_channels_resp`).

use std::borrow::Cow;

use serde_json::value::RawValue;

use super::{CHANNELS, by_id, joined};
use crate::fold::{Attr, Facts, Key, Micros, Val};
use crate::sources::members::{Members, flag, num, val};
use crate::sources::time::from_kazoo;
use crate::sources::{Bad, Event, identity};

/// Parses the channels a switch currently has, each with its details.
pub(super) fn read(members: &Members<'_>, taken: Micros) -> Result<Event, Bad> {
    let key = identity(&[CHANNELS, &members.text("Msg-ID").unwrap_or_default(), &taken.to_string()]);
    let all = members.object("Channels").ok_or(Bad::Nameless("Channels"))?;
    let mut facts = Vec::new();
    for (id, value) in all.iter() {
        let mut channel = Facts::about(Key::leg(id), taken);
        channel.set(Attr::Source, Val::from("kazoo"));
        let Ok(known) = serde_json::from_str::<Members<'_>>(value.get()) else { continue };
        for (member, value) in known.iter() {
            member_of_channel(&mut channel, member, value);
        }
        let joined = joined_with(&mut channel, &known, &all);
        facts.push(channel);
        facts.extend(joined);
    }
    Ok(Event { key, name: CHANNELS.into(), at: taken, node: None, facts })
}

/// A channel talking to another one is a dialog, even if its start was missed: it has lasted at least since now. Both channels must lead to
/// the same dialog, so the direction of each counts, which is the same for two that were picked up or parked.
fn joined_with(channel: &mut Facts, known: &Members<'_>, all: &Members<'_>) -> Vec<Facts> {
    let is_answered = ["answered", "Answered"].iter().any(|name| known.flag(name) == Some(true));
    let other = either(known, ["other_leg", "Other-Leg-Call-ID"]).filter(|_| is_answered);
    let id = channel.key.id().to_owned();
    let Some(other) = other.filter(|other| **other != *id) else { return Vec::new() };
    let listed = all.object(&other).and_then(|other| direction(&other));
    let others = listed.or_else(|| known.text("Other-Leg-Direction"));
    let pair = match (direction(known).as_deref(), others.as_deref()) {
        (Some("inbound"), Some("outbound") | None) | (None, Some("outbound")) => (&*id, &*other),
        (Some("outbound"), Some("inbound") | None) | (None, Some("inbound")) => (&*other, &*id),
        (Some(_), Some(_)) => by_id(&id, &other),
        _ => return Vec::new(),
    };
    joined(channel, pair, true)
}

fn direction<'a>(known: &Members<'a>) -> Option<Cow<'a, str>> {
    either(known, ["direction", "Call-Direction"])
}

fn either<'a>(known: &Members<'a>, names: [&str; 2]) -> Option<Cow<'a, str>> {
    names.iter().find_map(|name| known.text(name))
}

/// Maps the members of a channel as `ecallmgr_fs_channel:to_json` writes them: in lower case.
fn member_of_channel(facts: &mut Facts, member: &str, value: &RawValue) {
    let attr = match member {
        "switch_nodename" | "media_node" | "node" | "Switch-Nodename" | "Media-Node" => Attr::Node,
        "direction" | "Call-Direction" => Attr::Direction,
        "account_id" | "Account-ID" => Attr::Account,
        "owner_id" | "Owner-ID" => Attr::Owner,
        "realm" | "Realm" => Attr::Domain,
        "authorizing_id" | "Authorizing-ID" => Attr::Authorizing,
        "authorizing_type" | "Authorizing-Type" => Attr::AuthorizingType,
        "resource_type" | "Resource-Type" => Attr::Resource,
        "interaction_id" | "Call-Interaction-ID" => Attr::Call,
        "from" | "From" => Attr::From,
        "to" | "To" => Attr::To,
        "other_leg" | "Other-Leg-Call-ID" => Attr::OtherLeg,
        "destination" | "Destination" => Attr::Dialled,
        "caller_id_number" | "Caller-ID-Number" => Attr::Caller,
        "caller_id_name" | "Caller-ID-Name" => Attr::CallerName,
        "callee_id_number" | "Callee-ID-Number" => Attr::Callee,
        "is_on_hold" | "Is-On-Hold" => {
            facts.set(Attr::Held, flag(value).map(Val::Flag));
            return;
        }
        "timestamp" | "Timestamp" => {
            facts.set(Attr::Created, num(value).map(|at| Val::Num(from_kazoo(at))));
            return;
        }
        "answered" | "Answered" if flag(value) == Some(true) => {
            // The time is not given: it has lasted at least since now.
            facts.set(Attr::Answered, Val::Num(facts.at));
            return;
        }
        _ => return,
    };
    // As in events: the name used to query switches takes precedence over the host name.
    facts.set_ranked(attr, u8::from(attr == Attr::Node), val(value));
}
