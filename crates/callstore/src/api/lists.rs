//! Calls, dialogs and switches as JSON.

use std::collections::BTreeMap;
use std::sync::Arc;

use http::{Response, StatusCode};
use serde::Serialize;
use serde_json::{Map, Value, json};
use stowage_base::log;
use stowage_base::token::Holder;
use stowage_http::body::Body;
use stowage_http::target::{decode, query_pairs};

use super::{Parts, failure, json_answer};
use crate::fold::{Attr, Item, Key, Micros, Standing, Val};
use crate::state::{Brief, Filter, Listed, State, StateError, Stored, standing_of};
use crate::time::{self, rfc3339};

/// A site whose calls are listed.
#[derive(Debug, Clone)]
pub struct Site {
    /// The site's name; empty for this one.
    pub name: String,
    /// The state of its calls.
    pub state: Arc<State>,
}

/// A parsed query: filter, cursor and limit.
#[derive(Debug, Default)]
struct Asked {
    filter: Filter,
    after: Option<String>,
    limit: usize,
}

/// Responds with a list, or with one item and its full story.
pub(super) fn show(parts: &Parts, holder: &Holder, path: &str, query: Option<&str>) -> Response<Body> {
    let part = |path: &str| decode(path).ok().map(|id| String::from_utf8_lossy(&id).into_owned());
    let shown = match path {
        "/v1/calls" | "/v1/dialogs" => match asked(query, holder) {
            Ok(asked) if path == "/v1/calls" => calls(parts, asked),
            Ok(asked) => dialogs(parts, asked),
            Err(reason) => return failure(StatusCode::BAD_REQUEST, "query", &reason),
        },
        path => {
            match (path.strip_prefix("/v1/calls/").and_then(part), path.strip_prefix("/v1/dialogs/").and_then(part)) {
                (Some(id), _) => call(parts, holder, &id),
                (_, Some(id)) => dialog(parts, holder, &id),
                (None, None) => Ok(None),
            }
        }
    };
    match shown {
        Ok(Some(answer)) => answer,
        Ok(None) => failure(StatusCode::NOT_FOUND, "not_found", "it is not known, or over for long"),
        Err(error) => {
            tracing::error!(error = log::chain(&error), "state cannot be read");
            failure(StatusCode::SERVICE_UNAVAILABLE, "state", "the state cannot be read now")
        }
    }
}

fn asked(query: Option<&str>, holder: &Holder) -> Result<Asked, String> {
    let mut asked = Asked { limit: PAGE, ..Asked::default() };
    for (name, value) in query_pairs(query) {
        let wrong = |what: &str| format!("{name} must be {what}");
        let filter = &mut asked.filter;
        match &*name {
            "domain" => filter.domain = Some(value.into_owned()),
            "account" | "account_id" => filter.account = Some(value.into_owned()),
            "node" => filter.node = Some(value.into_owned()),
            "number" => filter.number = Some(value.into_owned()),
            "call_id" => filter.call = Some(value.into_owned()),
            "state" => {
                filter.state = Some(Standing::of_name(&value).ok_or_else(|| wrong("live, suspect, ended or dead"))?)
            }
            "older_than" => filter.created_before = Some(before(&value).ok_or_else(|| wrong("a time, or seconds"))?),
            "longer_than" => filter.longer_than = Some(seconds(&value).ok_or_else(|| wrong("seconds"))?),
            "cursor" => asked.after = Some(value.into_owned()),
            "limit" => {
                let limit = value.parse().ok().filter(|limit| (1..=MOST).contains(limit));
                asked.limit = limit.ok_or_else(|| wrong("a number from 1 to 1000"))?;
            }
            _ => return Err(format!("{name} is not known")),
        }
    }
    if let Holder::Account(account) = holder {
        asked.filter.account = Some(account.clone());
    }
    Ok(asked)
}

fn seconds(text: &str) -> Option<Micros> {
    text.trim_end_matches('s').parse::<u32>().ok().map(|seconds| i64::from(seconds) * 1_000_000)
}

fn before(text: &str) -> Option<Micros> {
    time::parse(text).or_else(|| seconds(text).map(|ago| crate::clock::now() - ago))
}

type Shown = Result<Option<Response<Body>>, StateError>;

/// A page of dialogs.
#[derive(Serialize)]
struct Dialogs<'a> {
    dialogs: Vec<Listed<'a>>,
    next: Option<String>,
}

fn answer(value: &impl Serialize) -> Shown {
    Ok(Some(json_answer(StatusCode::OK, value)))
}

/// Lists the dialogs of all sites, one site after the other.
fn dialogs(parts: &Parts, mut asked: Asked) -> Shown {
    asked.filter.is_dialog = Some(true);
    let (items, next) = pages(parts, &asked)?;
    let shown = items.iter().map(|(site, brief)| Listed { site: site_of(site), ..brief.listed() });
    answer(&Dialogs { dialogs: shown.collect(), next })
}

/// Lists live calls by their legs that have no dialog yet, and their dialogs.
fn calls(parts: &Parts, mut asked: Asked) -> Shown {
    asked.filter.is_dialog = Some(false);
    let (items, next) = pages(parts, &asked)?;
    let mut calls: BTreeMap<(&str, &str), Vec<&Arc<Brief>>> = BTreeMap::new();
    for (site, brief) in &items {
        calls.entry((site, &brief.call)).or_default().push(brief);
    }
    let shown = calls.into_iter().map(|((site, call), legs)| with_site(call_of(call, &legs), site));
    answer(&json!({ "calls": shown.collect::<Vec<_>>(), "next": next }))
}

fn call_of(call: &str, legs: &[&Arc<Brief>]) -> Value {
    let first = legs.iter().min_by_key(|leg| (leg.created, &leg.key)).map(|leg| leg.listed());
    let first = first.as_ref();
    let state = legs.iter().map(|leg| leg.standing).max_by_key(|standing| *standing == Standing::Suspect);
    let mut dialogs: Vec<_> = legs.iter().flat_map(|leg| leg.links.iter().map(Key::id)).collect();
    dialogs.sort_unstable();
    dialogs.dedup();
    json!({
        "id": call,
        "state": state.map(Standing::name),
        "created": first.map(|leg| leg.created),
        "answered": legs.iter().filter_map(|leg| leg.answered).min().map(rfc3339),
        "from": first.and_then(|leg| leg.from),
        "to": first.and_then(|leg| leg.to),
        "domain": first.and_then(|leg| leg.domain),
        "account_id": first.and_then(|leg| leg.account_id),
        "node": first.and_then(|leg| leg.node),
        "legs": legs.iter().map(|leg| leg.key.id()).collect::<Vec<_>>(),
        "dialogs": dialogs,
    })
}

type Pages = (Vec<(String, Arc<Brief>)>, Option<String>);

fn pages(parts: &Parts, asked: &Asked) -> Result<Pages, StateError> {
    // The cursor includes the index of its site.
    let after = asked.after.as_deref().and_then(|after| after.split_once('@'));
    let begin = after.and_then(|(site, _)| site.parse::<usize>().ok()).unwrap_or_default();
    let mut found = Vec::new();
    for (place, site) in parts.sites.iter().enumerate().skip(begin) {
        let after = after.filter(|_| place == begin).map(|(_, after)| after);
        let room = asked.limit.saturating_sub(found.len());
        let page = site.state.list(&asked.filter, after, room.max(1), parts.own.clock.now())?;
        found.extend(page.items.into_iter().map(|brief| (site.name.clone(), brief)));
        if let Some(next) = page.next {
            return Ok((found, Some(format!("{place}@{next}"))));
        }
        if found.len() >= asked.limit {
            let next = (place + 1 < parts.sites.len()).then(|| format!("{}@", place + 1));
            return Ok((found, next));
        }
    }
    Ok((found, None))
}

/// Returns the name of another site.
fn site_of(name: &str) -> Option<&str> {
    Some(name).filter(|name| !name.is_empty())
}

fn with_site(mut value: Value, site: &str) -> Value {
    if let (Some(members), Some(site)) = (value.as_object_mut(), site_of(site)) {
        members.insert("site".to_owned(), site.into());
    }
    value
}

/// Returns a call with its legs and dialogs, live or ended: as in the lists, those that the holder may see.
fn call(parts: &Parts, holder: &Holder, id: &str) -> Shown {
    for site in &parts.sites {
        let known = site.state.call(id)?;
        if !known.iter().any(|(_, stored)| may_see(holder, stored)) {
            continue;
        }
        // The legs of other accounts are not shown, but the state of a dialog depends on them.
        let (mut dialogs, legs): (Vec<_>, Vec<_>) = known.into_iter().partition(|(key, _)| key.is_dialog());
        dialogs.retain(|(_, dialog)| may_see(holder, dialog));
        let whole = json!({
            "id": id,
            "legs": shown_legs(holder, &legs),
            "dialogs": dialogs.iter().map(|(key, dialog)| whole(key, dialog, &legs_of(dialog, &legs))).collect::<Vec<_>>(),
        });
        return answer(&with_site(whole, &site.name));
    }
    Ok(None)
}

fn dialog(parts: &Parts, holder: &Holder, id: &str) -> Shown {
    for site in &parts.sites {
        let key = Key::dialog(id);
        let Some((dialog, legs)) = site.state.dialog(&key)? else { continue };
        if !may_see(holder, &dialog) {
            continue;
        }
        let mut shown = whole(&key, &dialog, &legs);
        if let Some(members) = shown.as_object_mut() {
            members.insert("legs".to_owned(), shown_legs(holder, &legs).into());
        }
        return answer(&with_site(shown, &site.name));
    }
    Ok(None)
}

fn legs_of(dialog: &Stored, legs: &[(Key, Stored)]) -> Vec<(Key, Stored)> {
    let own = |key: &Key| dialog.item.linked("leg").any(|leg| leg == key);
    legs.iter().filter(|(key, _)| own(key)).cloned().collect()
}

fn shown_legs(holder: &Holder, legs: &[(Key, Stored)]) -> Vec<Value> {
    legs.iter().filter(|(_, leg)| may_see(holder, leg)).map(|(key, leg)| whole(key, leg, &[])).collect()
}

/// Returns whether `holder` may see an item: an account's token only grants access to items of that account.
fn may_see(holder: &Holder, stored: &Stored) -> bool {
    match holder {
        Holder::Operator => true,
        Holder::Account(own) => stored.item.text(Attr::Account) == Some(own.as_str()),
    }
}

/// Returns everything known about a leg or dialog.
pub(crate) fn whole(key: &Key, stored: &Stored, legs: &[(Key, Stored)]) -> Value {
    let item = &stored.item;
    let (standing, ended) = standing_of(stored, legs);
    let mut known = Map::new();
    for (attr, reg) in &item.attrs {
        known.insert(attr.name().to_owned(), shown(*attr, &reg.val));
    }
    let links = item.links.iter().map(|(kind, to)| json!({ "kind": &**kind, "id": to.id() }));
    let story = item
        .story()
        .map(|line| json!({ "time": rfc3339(line.at), "event": &*line.name, "note": line.note.as_deref() }));
    json!({
        "id": key.id(),
        "kind": if key.is_dialog() { "dialog" } else { "leg" },
        "state": standing.name(),
        "call_id": stored.call.as_deref(),
        "first": item.first.map(rfc3339),
        "last_sign": item.last.map(rfc3339),
        "ended": ended.map(rfc3339),
        "death": death(item),
        "known": known,
        "links": links.collect::<Vec<_>>(),
        "story": story.collect::<Vec<_>>(),
        "other": other(item),
        "recorded": item.recorded.keys().map(|kind| &**kind).collect::<Vec<_>>(),
        "record_due": stored.due.map(rfc3339),
    })
}

fn shown(attr: Attr, val: &Val) -> Value {
    use Attr::{Answered, Bridged, Created, Ended, Invite, Reported, Ringing, Started, Stopped, Unbridged};
    match (attr, val) {
        (
            Answered | Bridged | Created | Ended | Invite | Reported | Ringing | Started | Stopped | Unbridged,
            Val::Num(at),
        ) => rfc3339(*at).into(),
        (_, val) => val.json(),
    }
}

fn death(item: &Item) -> Value {
    let Some(death) = &item.death else { return Value::Null };
    json!({
        "kind": &*death.kind,
        "cause": &*death.cause,
        "ended": rfc3339(death.ended),
        "found": rfc3339(death.found),
        "epoch": death.epoch,
        "is_undone": item.standing_death().is_none(),
    })
}

/// Members of events that have no meaning here.
fn other(item: &Item) -> Map<String, Value> {
    let members = item.extra.iter().filter_map(|(name, reg)| {
        let text = reg.val.text()?;
        Some((name.clone().into(), serde_json::from_str(text).unwrap_or_else(|_| Value::from(text))))
    });
    members.collect()
}

/// Lists the switches, with the number of live legs on each.
pub(super) fn nodes(parts: &Parts) -> Value {
    let mut all = Vec::new();
    for site in &parts.sites {
        let index = site.state.index();
        for (node, known) in &index.nodes {
            let on = index.live.values().filter(|brief| !brief.key.is_dialog() && brief.node.as_ref() == Some(node));
            let (mut legs, mut suspect) = (0, 0);
            for brief in on {
                match brief.standing {
                    Standing::Live => legs += 1,
                    Standing::Suspect => suspect += 1,
                    Standing::Ended | Standing::Dead => {}
                }
            }
            let time = |at: Micros| (at > 0).then(|| rfc3339(at));
            let shown = json!({
                "name": &**node,
                "last_event": time(known.event),
                "last_answer": time(known.answer),
                "legs": legs,
                "suspect": suspect,
            });
            all.push(with_site(shown, &site.name));
        }
    }
    json!({ "nodes": all })
}

/// Default page size.
const PAGE: usize = 100;
/// Maximum page size.
const MOST: usize = 1000;
