//! KAZOO's own document for a leg that died: its cdr app only writes one after a clean CHANNEL_DESTROY. If the leg was alive after all, that app
//! finds this document in place of its own and drops its own, so this one is corrected by the real end.
//!
//! The document has the form that `cdr_channel_destroy` derives from that event, so that KAZOO's views list it. They access
//! `custom_channel_vars` without checking that it exists.

use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};
use stowage_http::target::decode;

use super::{Record, Subject};
use crate::fold::{Attr, Death, Item, Standing, VARS};
use crate::sources::{GREGORIAN, Members, to_gregorian};
use crate::state::CDR;
use crate::time::month;

/// Returns the document, if the leg belongs to an account and never got or gets its own.
pub(super) fn record(subject: &Subject<'_>) -> Option<Record> {
    let item = &subject.stored.item;
    let death = if is_undone(subject) { None } else { Some(item.standing_death()?) };
    let account = item.text(Attr::Account).filter(|account| account.len() == ACCOUNT && account.is_ascii())?;
    let created = item.num(Attr::Created).or(item.first)?;
    let (interaction, time, key) = interaction(subject, created);
    let ended = subject.ended.max(created);
    let seconds = |from: i64| ended.saturating_sub(from).max(0).div_euclid(1_000_000);
    let answered = item.num(Attr::Answered);
    let database = database(account, time)?;
    // Figures from a source count for the end that it reported, not for a death.
    let reported = |attr| item.num(attr).filter(|_| death.is_none());
    let (recordings, mut vars) = (recordings(subject), channel_vars(subject));
    if let Some(recordings) = &recordings {
        vars.insert("media_recordings".to_owned(), json!(recordings));
    }
    let members = json!({
        "app_name": "callstore",
        "call_id": subject.key.id(),
        "call_direction": item.text(Attr::Direction),
        "caller_id_name": item.text(Attr::CallerName),
        "caller_id_number": item.text(Attr::Caller),
        "callee_id_name": item.text(Attr::CalleeName),
        "callee_id_number": item.text(Attr::Callee),
        "caller_destination_number": item.text(Attr::Dialled),
        "from": item.text(Attr::From),
        "from_uri": item.text(Attr::From),
        "to": item.text(Attr::To),
        "to_uri": item.text(Attr::To),
        "request": item.text(Attr::Request),
        "other_leg_call_id": item.text(Attr::OtherLeg),
        "media_server": item.text(Attr::Node),
        "event_category": "call_event",
        "event_name": "CHANNEL_DESTROY",
        "hangup_cause": cause(item, death),
        "hangup_code": item.text(Attr::Code).filter(|_| death.is_none()),
        "timestamp": to_gregorian(ended),
        "channel_created_time": created,
        "duration_seconds": reported(Attr::Duration).unwrap_or_else(|| seconds(created)),
        "billing_seconds": reported(Attr::Billing).unwrap_or_else(|| answered.map_or(0, seconds)),
        "ringing_seconds": item.num(Attr::Ringing).zip(answered).map_or(0, |(rang, answered)| (answered - rang).max(0) / 1_000_000),
        "recording_url": item.text(Attr::RecordingKey),
        "user_agent": item.text(Attr::UserAgent),
        "interaction_id": interaction,
        "interaction_time": time,
        "interaction_key": key,
        "media_recordings": recordings,
        "custom_channel_vars": vars,
        "pvt_type": "cdr",
        "pvt_vsn": 2,
        "pvt_account_id": account,
        "pvt_account_db": database,
        "pvt_created": to_gregorian(ended),
        "pvt_modified": to_gregorian(ended),
    });
    let Value::Object(mut members) = members else { return None };
    members.retain(|_, value| !value.is_null());
    let id = format!("{}-{}", month(crate::sources::from_kazoo(time)), subject.key.id());
    Some(Record::new(CDR, database, id, members))
}

/// Returns whether the leg's document is that of a death, and the leg ended later.
fn is_undone(subject: &Subject<'_>) -> bool {
    subject.standing == Standing::Ended && subject.stored.item.recorded.contains_key(CDR)
}

/// Returns KAZOO's word for a death, or the cause that the source reported.
fn cause<'a>(item: &'a Item, death: Option<&Death>) -> Option<&'a str> {
    match death {
        Some(death) if &*death.kind == "timeout" => Some("ALLOTTED_TIMEOUT"),
        Some(_) => Some("CRASH"),
        None => item.text(Attr::Cause),
    }
}

/// Returns id, time and key of the interaction. KAZOO generates a random one for a leg that has none; this one is deterministic.
fn interaction(subject: &Subject<'_>, created: i64) -> (String, i64, String) {
    let known = subject.stored.item.text(Attr::Call).and_then(|id| {
        let (time, key) = id.split_once('-')?;
        Some((id.to_owned(), time.parse().ok().filter(|time| *time > GREGORIAN)?, key.to_owned()))
    });
    known.unwrap_or_else(|| {
        let time = to_gregorian(created);
        let digest = hex::encode(Sha256::digest(subject.key.id()));
        let key: String = digest.chars().take(8).collect();
        (format!("{time}-{key}"), time, key)
    })
}

/// The documents of the leg's recordings. KAZOO's event has them as `Media-Recordings` (`ecallmgr_call_command`), and its views look for
/// them among the channel's variables (`kzd_cdrs`, `cdrs/crossbar_listing`). Which leg was recorded, RECORD_START says.
fn recordings(subject: &Subject<'_>) -> Option<[String; 1]> {
    let document = subject.recording.filter(|_| subject.stored.item.flag(Attr::Recorded))?.split('/').nth(2)?;
    Some([String::from_utf8(decode(document).ok()?.into()).ok()?])
}

/// Returns the account's monthly database, such as `account/4f/1c/0a…-202611`.
fn database(account: &str, time: i64) -> Option<String> {
    let (first, rest) = account.split_at_checked(2)?;
    let (second, rest) = rest.split_at_checked(2)?;
    Some(format!("account/{first}/{second}/{rest}-{}", month(crate::sources::from_kazoo(time))))
}

/// Returns the channel's variables in KAZOO's lower case, always an object; without those KAZOO moves elsewhere or keeps private. The owner is there
/// even if the variables are too many to be kept: `cdrs/listing_by_owner` looks for it here.
fn channel_vars(subject: &Subject<'_>) -> Map<String, Value> {
    let item = &subject.stored.item;
    let kept = item.extra.get(VARS).and_then(|reg| reg.val.text()).unwrap_or_default();
    let mut vars = Members::parse(kept.as_bytes()).map_or_else(|_| Map::new(), |vars| shown(&vars));
    if let Some(owner) = item.text(Attr::Owner) {
        vars.entry("owner_id").or_insert_with(|| owner.into());
    }
    vars
}

fn shown(vars: &Members<'_>) -> Map<String, Value> {
    let lifted = [
        "Call-Interaction-ID",
        "Recording-Url",
        "Call-Priority",
        "E164-Destination",
        "E164-Origination",
        "DID-Classifier",
    ];
    let shown =
        vars.iter().filter(|(name, _)| !lifted.contains(name) && !name.starts_with("pvt_") && !name.starts_with('_'));
    shown
        .filter_map(|(name, value)| {
            Some((name.to_lowercase().replace('-', "_"), serde_json::from_str(value.get()).ok()?))
        })
        .collect()
}

/// Length of an account id.
const ACCOUNT: usize = 32;
