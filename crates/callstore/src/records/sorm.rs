//! Documents of `cdr/COPM3/dialogs`: one per dialog that reached conversation.

use serde_json::{Map, Value, json};
use stowage_http::target::decode;

use super::parts::{Term, forks, user};
use super::{Options, Record, Subject};
use crate::fold::{Attr, Item, Line};
use crate::sources::to_gregorian;
use crate::time::{month, rfc3339};

/// Returns the record, if there was a conversation.
pub(super) fn record(subject: &Subject<'_>, options: &Options) -> Option<Record> {
    let item = &subject.stored.item;
    let begin =
        subject.leg_a().and_then(|leg| leg.num(Attr::Created)).or_else(|| item.num(Attr::Created)).or(item.first)?;
    let talk = subject.talk?;
    let term = subject.term();
    let ended = subject.ended.max(begin);
    let lasted = ended.saturating_sub(talk).max(0).div_euclid(1_000_000);
    // What is billed for the initiator's leg covers all its talks: it counts if there was no other. It differs from the time by rounding.
    let billed = subject.leg_a().and_then(|leg| leg.num(Attr::Billing)).filter(|_| term != Term::Dead);
    let duration = billed.filter(|billed| billed.abs_diff(lasted) <= 1).unwrap_or(lasted);
    let text = |attrs: &[Attr]| subject.text(attrs).map(Value::from).unwrap_or_default();
    let leg_a = item.text(Attr::LegA);
    let interaction = subject.text(&[Attr::Call]).unwrap_or_else(|| subject.key.id());
    let members = json!({
        "pvt_type": "dialog",
        "begin_time": rfc3339(begin),
        "answer_time": rfc3339(talk),
        "end_time": rfc3339(ended),
        "client_ipv4": text(&[Attr::ClientIp]),
        "client_ip_port": subject.num(Attr::ClientPort),
        "protocol_code": PROTOCOL,
        "session_id": subject.text(&[Attr::OutsideId]).or(leg_a),
        "duration": duration,
        "call_type_id": call_type(subject),
        "calling_original_number": subject.text(&[Attr::CallerOriginal, Attr::From, Attr::Caller]).map(user),
        "calling_translated_number": subject.text(&[Attr::E164From, Attr::Caller]).map(user),
        "called_original_number": subject.text(&[Attr::Dialled, Attr::Request, Attr::To, Attr::Callee]).map(user),
        "called_translated_number": subject.text(&[Attr::E164To, Attr::Callee, Attr::Dialled]).map(user),
        "fax": subject.flag(Attr::Fax),
        "term_cause": term as u32,
        "hangup_cause": text(&[Attr::Cause]),
        "gateway_ip4": text(&[Attr::MediaIp]),
        "invite_id": interaction,
        "invite_ts": subject.num(Attr::Invite).unwrap_or(begin).div_euclid(1000),
        "acallid": leg_a,
        "bcallid": item.text(Attr::LegB),
        "dialog_id": subject.key.id(),
        "account_id": text(&[Attr::Account]),
        "domain": text(&[Attr::Domain]),
        "node": text(&[Attr::Node]),
        "is_recorded": subject.flag(Attr::Recorded),
        "recording": recording(subject),
    });
    let Value::Object(mut members) = members else { return None };
    found_out(subject, &mut members);
    extend(subject, options, &mut members);
    members.insert("pvt_created".to_owned(), to_gregorian(ended).into());
    let id = format!("{}-{}", month(begin), subject.key.id());
    Some(Record::new("sorm3", options.database.clone(), id, members))
}

/// Adds when a death was detected, and why it is believed.
fn found_out(subject: &Subject<'_>, members: &mut Map<String, Value>) {
    let legs = subject.legs.iter().map(|(_, leg)| &leg.item);
    let deaths = std::iter::once(&subject.stored.item).chain(legs).filter_map(Item::standing_death);
    if let Some(death) =
        deaths.min_by_key(|death| death.ended).filter(|_| subject.standing == crate::fold::Standing::Dead)
    {
        members.insert("found_time".to_owned(), rfc3339(death.found).into());
        members.insert("found_cause".to_owned(), (&*death.cause).into());
    }
}

/// Returns what is known about the recording: its file on the switch, and where it is permanently stored.
fn recording(subject: &Subject<'_>) -> Value {
    let items = || std::iter::once(&subject.stored.item).chain(subject.legs.iter().map(|(_, leg)| &leg.item));
    let text = |attr| items().find_map(|item| item.text(attr));
    let (file, key, link) = (text(Attr::Recording), text(Attr::RecordingKey), text(Attr::RecordingLink));
    if file.or(key).or(link).is_none() {
        return Value::Null;
    }
    let mut known =
        json!({ "file": file, "key": key, "bytes": items().find_map(|item| item.num(Attr::RecordingBytes)) });
    if let (Some(link), Value::Object(members)) = (link, &mut known) {
        members.insert("link".to_owned(), link.into());
        for (name, part) in ["database", "document", "attachment"].iter().zip(link.split('/').skip(1)) {
            let part = decode(part).map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
            members.insert((*name).to_owned(), part.ok().into());
        }
    }
    known
}

/// Adds the members enabled by `records.invites` and the like.
fn extend(subject: &Subject<'_>, options: &Options, members: &mut Map<String, Value>) {
    let own = || std::iter::once(&subject.stored.item).chain(subject.legs.iter().map(|(_, leg)| &leg.item));
    if options.invites {
        let legs = subject.call.iter().filter(|(key, _)| !key.is_dialog());
        let invites = legs.filter(|(_, leg)| leg.item.text(Attr::Direction) == Some("inbound")).map(|(key, leg)| {
            json!({
                "acallid": key.id(),
                "time": leg.item.num(Attr::Created).or(leg.item.first).map(rfc3339),
                "from": leg.item.text(Attr::From),
                "to": leg.item.text(Attr::To),
            })
        });
        members.insert("invites".to_owned(), invites.collect::<Vec<_>>().into());
    }
    if options.forks {
        let forks = forks(subject).filter(|(_, leg)| leg.item.text(Attr::Direction) != Some("inbound"));
        let forks = forks.map(|(key, leg)| {
            json!({
                "callid": key.id(),
                "time": leg.item.num(Attr::Created).or(leg.item.first).map(rfc3339),
                "to": leg.item.text(Attr::Callee).or_else(|| leg.item.text(Attr::Dialled)),
                "cause": leg.item.text(Attr::Cause),
                "code": leg.item.text(Attr::Code),
            })
        });
        members.insert("forks".to_owned(), forks.collect::<Vec<_>>().into());
    }
    if options.holds {
        let is_hold = |line: &&Line| matches!(&*line.name, "hold" | "unhold" | "CHANNEL_HOLD" | "CHANNEL_UNHOLD");
        let holds = own().flat_map(Item::story).filter(is_hold);
        let holds = holds.map(|line| json!({ "time": rfc3339(line.at), "event": &*line.name }));
        members.insert("holds".to_owned(), holds.collect::<Vec<_>>().into());
    }
    if options.links {
        let links =
            own().flat_map(|item| &item.links).filter(|(kind, _)| !matches!(&**kind, "leg" | "dialog" | "alone"));
        let links = links.map(|(kind, key)| json!({ "kind": &**kind, "id": key.id() }));
        members.insert("links".to_owned(), links.collect::<Vec<_>>().into());
    }
}

/// 1 internal, 2 incoming, 3 outgoing, 4 transit, 5 between accounts.
fn call_type(subject: &Subject<'_>) -> u32 {
    let outside =
        |leg: Option<&Item>| leg.and_then(|leg| leg.text(Attr::Resource)).is_some_and(|of| of.starts_with("offnet"));
    let account = |leg: Option<&Item>| leg.and_then(|leg| leg.text(Attr::Account)).map(str::to_owned);
    let (a, b) = (subject.leg_a(), subject.leg_b());
    match (outside(a), outside(b)) {
        (false, false) if account(a).zip(account(b)).is_some_and(|(a, b)| a != b) => 5,
        (false, false) => 1,
        (true, false) => 2,
        (false, true) => 3,
        (true, true) => 4,
    }
}

/// SIP, by its port number.
const PROTOCOL: u32 = 5060;
