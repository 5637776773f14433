//! Secrets go in and never come out: answers show a mask, and a mask that is sent back keeps what is stored.

use serde_json::{Map, Value};
use url::Url;

use super::envelope::{Errors, Failure};
use crate::plan::{redacted, redacted_url};
use crate::settings::{MASK, with_secrets_of};

/// A plan without its secrets; the members of a storage that begin with `_` are the gateway's own and go too.
pub(super) fn masked(members: &Map<String, Value>) -> Map<String, Value> {
    let mut members = redacted(members);
    if let Some(Value::Object(entries)) = members.get_mut("attachments") {
        for entry in entries.values_mut().filter_map(Value::as_object_mut) {
            entry.retain(|key, _| !key.starts_with('_'));
        }
    }
    members
}

/// Puts stored secrets back where a plan shows the mask.
///
/// # Errors
/// 400 for a mask with nothing behind it.
pub(super) fn unmasked(
    mut members: Map<String, Value>,
    stored: &Map<String, Value>,
) -> Result<Map<String, Value>, Failure> {
    let mut errors = Errors::default();
    for part in ["attachments", "connections"] {
        let Some(Value::Object(entries)) = members.get_mut(part) else { continue };
        for (id, entry) in entries {
            let known = stored.get(part).and_then(|entries| entries.get(id));
            let same = known.and_then(|known| known.get("handler")) == entry.get("handler");
            restore(entry, known.filter(|_| same), &mut vec![part.to_owned(), id.clone()], &mut errors);
        }
    }
    errors.check()?;
    Ok(members)
}

fn restore(value: &mut Value, stored: Option<&Value>, path: &mut Vec<String>, errors: &mut Errors) {
    match value {
        Value::Object(members) => {
            for (key, member) in members {
                path.push(key.clone());
                restore(member, stored.and_then(|stored| stored.get(key)), path, errors);
                path.pop();
            }
        }
        Value::Array(items) => {
            for (index, item) in items.iter_mut().enumerate() {
                path.push(index.to_string());
                restore(item, stored.and_then(|stored| stored.get(index)), path, errors);
                path.pop();
            }
        }
        Value::String(text) if text.contains(MASK) => match stored.and_then(|stored| behind(text, stored)) {
            Some(secret) => *value = secret,
            None => errors.say(path, "invalid", "The mask stands for nothing that is stored"),
        },
        _ => {}
    }
}

/// What a text with a mask stands for.
fn behind(text: &str, stored: &Value) -> Option<Value> {
    if text == MASK {
        return Some(stored.clone());
    }
    let stored = stored.as_str()?;
    if text == redacted_url(stored) {
        return Some(stored.into());
    }
    let text = with_user_of(stored, &with_secrets_of(stored, text))?;
    (!text.contains(MASK)).then(|| text.into())
}

/// A URL that was changed apart from its user and password. They go along to the same server only.
fn with_user_of(stored: &str, text: &str) -> Option<String> {
    let (stored, mut url): (Url, Url) = (stored.parse().ok()?, text.parse().ok()?);
    if url.username() != MASK && url.password() != Some(MASK) {
        return Some(text.to_owned());
    }
    if (stored.scheme(), stored.host_str(), stored.port()) != (url.scheme(), url.host_str(), url.port()) {
        return None;
    }
    if url.username() == MASK {
        url.set_username(stored.username()).ok()?;
    }
    if url.password() == Some(MASK) {
        url.set_password(stored.password()).ok()?;
    }
    Some(url.into())
}
