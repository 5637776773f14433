//! A mixer's response to an order (`recording_finalise`): which attachment the recording of a dialog became.

use stowage_http::target::encode;

use super::members::Members;
use super::time::of_any_unit;
use super::{Bad, Event, identity};
use crate::fold::{Attr, Facts, Key, Line, Micros, Val};

/// Returns whether the event is such a response.
pub(super) fn owns(members: &Members<'_>) -> bool {
    members.text("event").is_some_and(|event| event == FINALISED)
}

/// Parses it. The broker does not record when it received an event from an exchange, so the mixer must include the time.
pub(super) fn read(members: &Members<'_>) -> Result<Event, Bad> {
    let wanted = |name: &'static str| members.text(name).ok_or(Bad::Nameless(name));
    let dialog = wanted("dialog_id")?;
    let at = time(members).ok_or(Bad::Nameless("time"))?;
    let link = format!(
        "/{}/{}/{}",
        encode(&wanted("database")?),
        encode(&wanted("document")?),
        encode(&wanted("attachment")?)
    );
    let key = identity(&[&dialog, FINALISED, &link]);
    let mut facts = Facts::about(Key::dialog(&dialog), at);
    // A mixer's event is not a sign of life of the call.
    facts.is_sign = false;
    facts.line = Some(Line { at, key, name: FINALISED.into(), note: None });
    facts.set(Attr::RecordingLink, Val::from(&*link));
    facts.set(Attr::RecordingStopped, Val::Flag(true));
    // KAZOO's RECORD_STOP may have reported the size of a part.
    facts.set_ranked(Attr::RecordingBytes, 1, members.num("bytes").map(Val::Num));
    Ok(Event { key, name: FINALISED.into(), at, node: None, facts: vec![facts] })
}

/// Parses the time: RFC 3339 or Unix time.
fn time(members: &Members<'_>) -> Option<Micros> {
    crate::time::parse(&members.text("time")?).or_else(|| members.num("time").and_then(of_any_unit))
}

/// The event's name.
pub(crate) const FINALISED: &str = "recording_finalised";
