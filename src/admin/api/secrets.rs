//! Secrets are write-only: responses show a mask, and a mask sent back keeps the stored secret.
//!
//! It does so only for the same server. Otherwise a client that may change a plan but not see its secrets could have the gateway send them to a
//! server of its own.

use serde_json::{Map, Value};
use stowage_base::settings::{MASK, with_secrets_of};
use stowage_storage::{Server, driver};
use url::Url;

use super::envelope::{Errors, Failure};
use crate::plan::{redacted, redacted_url};

/// Returns the members that callers may read and write: all but `id` and those that begin with `_` or `pvt_`. Members of a storage's entry that begin
/// with `_` are the gateway's own as well.
pub(super) fn public(members: &Map<String, Value>) -> Map<String, Value> {
    let own = |key: &str| key.starts_with('_') || key.starts_with("pvt_") || key == "id";
    let members = members.iter().filter(|(key, _)| !own(key)).map(|(key, value)| (key.clone(), value.clone()));
    let mut members: Map<_, _> = members.collect();
    if let Some(Value::Object(entries)) = members.get_mut("attachments") {
        for entry in entries.values_mut().filter_map(Value::as_object_mut) {
            entry.retain(|key, _| !key.starts_with('_'));
        }
    }
    members
}

/// Returns what callers see of a document: its public members without the secrets.
pub(super) fn masked(members: &Map<String, Value>) -> Map<String, Value> {
    redacted(&public(members))
}

/// Restores stored secrets where a plan contains the mask.
///
/// # Errors
/// Returns a 400 for a mask without a stored secret, or with one that belongs to another server.
pub(super) fn unmasked(
    mut members: Map<String, Value>,
    stored: &Map<String, Value>,
) -> Result<Map<String, Value>, Failure> {
    let mut errors = Errors::default();
    for (part, member) in &mut members {
        let known = stored.get(part);
        let mut path = vec![part.clone()];
        match member {
            Value::Object(entries) if matches!(part.as_str(), "attachments" | "connections") => {
                for (id, entry) in entries {
                    let known = known.and_then(|entries| entries.get(id));
                    let is_theirs = known.is_some_and(|known| is_same_server(part, entry, known));
                    path.push(id.clone());
                    Restore { is_theirs, path: &mut path, errors: &mut errors }.walk(entry, known);
                    path.pop();
                }
            }
            member => Restore { is_theirs: true, path: &mut path, errors: &mut errors }.walk(member, known),
        }
    }
    errors.check()?;
    Ok(members)
}

/// Restores the secrets of one entry.
struct Restore<'a> {
    /// Whether the secrets would go to the server they were stored for.
    is_theirs: bool,
    path: &'a mut Vec<String>,
    errors: &'a mut Errors,
}

impl Restore<'_> {
    fn walk(&mut self, value: &mut Value, stored: Option<&Value>) {
        match value {
            Value::Object(members) => {
                for (key, member) in members {
                    self.path.push(key.clone());
                    self.walk(member, stored.and_then(|stored| stored.get(key)));
                    self.path.pop();
                }
            }
            Value::Array(items) => {
                for (index, item) in items.iter_mut().enumerate() {
                    self.path.push(index.to_string());
                    self.walk(item, stored.and_then(|stored| stored.get(index)));
                    self.path.pop();
                }
            }
            Value::String(text) if text.contains(MASK) => match stored.and_then(|stored| behind(text, stored)) {
                Some(secret) if self.is_theirs || secret == text.as_str() => *value = secret,
                Some(_) => self.errors.say(self.path, "invalid", OF_ANOTHER),
                None => self.errors.say(self.path, "invalid", NOTHING),
            },
            _ => {}
        }
    }
}

/// Returns whether an entry's secrets would go to the server they were stored for. S3 keys may be used elsewhere, since they only sign, and the
/// signature covers the host; Azure's does not cover the host.
fn is_same_server(part: &str, entry: &Value, known: &Value) -> bool {
    let handler = |entry: &Value| entry.get("handler").filter(|handler| !handler.is_null()).cloned();
    let setting = |entry: &Value, key: &str| {
        entry.get("settings").and_then(|settings| settings.get(key)).filter(|value| !value.is_null()).cloned()
    };
    let same = |keys: &[&str]| keys.iter().all(|key| setting(entry, key) == setting(known, key));
    if part == "connections" {
        return same(&["ip", "port"]);
    }
    if handler(entry) != handler(known) {
        return false;
    }
    match handler(entry).as_ref().and_then(Value::as_str).and_then(driver).map(|driver| driver.server) {
        Some(Server::Host(settings)) => same(settings),
        Some(Server::Fixed | Server::Url) | None => {
            let server = |entry| setting(entry, "url").and_then(|url| url.as_str()?.parse::<Url>().ok());
            match (server(entry), server(known)) {
                (Some(url), Some(known)) => is_same_origin(&url, &known),
                _ => same(&["url"]),
            }
        }
    }
}

fn is_same_origin(one: &Url, other: &Url) -> bool {
    let origin = |url: &Url| (url.scheme().to_owned(), url.host_str().map(str::to_owned), url.port_or_known_default());
    origin(one) == origin(other)
}

/// Returns the stored value behind a text with a mask.
fn behind(text: &str, stored: &Value) -> Option<Value> {
    if text == MASK {
        return Some(stored.clone()).filter(|stored| !stored.is_null());
    }
    let stored = stored.as_str()?;
    if text == stored || text == redacted_url(stored) {
        return Some(stored.into());
    }
    let text = with_user_of(stored, &with_secrets_of(stored, text))?;
    (!text.contains(MASK)).then(|| text.into())
}

/// Restores the user and password of a URL that was otherwise changed.
fn with_user_of(stored: &str, text: &str) -> Option<String> {
    let (stored, mut url): (Url, Url) = (stored.parse().ok()?, text.parse().ok()?);
    let (user, password) = (url.username() == MASK, url.password() == Some(MASK));
    if !user && !password {
        return Some(text.to_owned());
    }
    if user {
        let name = Some(stored.username()).filter(|name| !name.is_empty())?;
        url.set_username(name).ok()?;
    }
    if password {
        url.set_password(Some(stored.password()?)).ok()?;
    }
    Some(url.into())
}

const NOTHING: &str = "The mask stands for nothing that is stored";
const OF_ANOTHER: &str = "The mask stands for a secret of another server: give the secret itself";

#[cfg(test)]
mod tests {
    use serde_json::{Map, Value, json};

    use super::{masked, unmasked};

    fn map(value: &Value) -> Map<String, Value> {
        value.as_object().unwrap().clone()
    }

    fn stored() -> Value {
        json!({
            "attachments": {
                "s": {"handler": "s3", "_sig": "x", "settings": {"key": "AKID", "secret": "s3cr3t", "host": "h"}},
                "a": {"handler": "azure", "settings": {"account": "acc", "key": "azkey", "container": "c"}},
                "h": {"handler": "http", "settings": {
                    "url": "https://me:pw@h/p?token=tok&x=", "headers": {"Authorization": "Bearer b"}
                }},
                "p": {"handler": "http", "settings": {"url": "http://H:80/a b?recording="}},
            },
            "connections": {"c": {"driver": "kazoo_couch", "settings": {
                "ip": "1.1.1.1", "port": 5984, "credentials": {"username": "u", "password": "c0uchpw"}
            }}},
        })
    }

    /// Changes a masked plan and restores the secrets.
    fn changed(change: impl FnOnce(&mut Value)) -> Result<Value, ()> {
        let mut shown = Value::Object(masked(&map(&stored())));
        change(&mut shown);
        unmasked(map(&shown), &map(&stored())).map(Value::Object).map_err(|_| ())
    }

    #[test]
    fn what_is_shown_can_be_sent_back() {
        let mut expected = stored();
        expected["attachments"]["s"].as_object_mut().unwrap().remove("_sig");
        let shown = Value::Object(masked(&map(&stored())));
        for secret in ["s3cr3t", "azkey", "me:", "pw", "tok&", "Bearer", "c0uchpw"] {
            assert!(!shown.to_string().contains(secret), "{secret}: {shown}");
        }
        assert_eq!(changed(|_| {}).unwrap(), expected);
    }

    #[test]
    fn other_fields_change_and_secrets_stay() {
        let plan = changed(|plan| {
            plan["attachments"]["s"]["settings"]["host"] = json!("other");
            plan["attachments"]["a"]["settings"]["container"] = json!("d");
            plan["attachments"]["h"]["settings"]["url"] = json!("https://********:********@h/q?token=********&y=");
            plan["connections"]["c"]["name"] = json!("n");
        });
        let plan = plan.unwrap();
        assert_eq!(plan["attachments"]["s"]["settings"]["secret"], "s3cr3t");
        assert_eq!(plan["attachments"]["a"]["settings"]["key"], "azkey");
        assert_eq!(plan["attachments"]["h"]["settings"]["url"], "https://me:pw@h/q?token=tok&y=");
        assert_eq!(plan["attachments"]["h"]["settings"]["headers"]["Authorization"], "Bearer b");
        assert_eq!(plan["connections"]["c"]["settings"]["credentials"]["password"], "c0uchpw");
    }

    #[test]
    fn no_secret_goes_to_another_server() {
        for url in [
            "https://evil/p",
            "http://h/p",
            "https://h:8443/p",
            "https://evil@h.evil/p",
            "https://********:********@evil/p?token=********",
            "https://me:pw@evil/?token=********",
            "********",
        ] {
            let sent = changed(|plan| plan["attachments"]["h"]["settings"]["url"] = json!(url));
            assert!(sent.is_err(), "{url}: {sent:?}");
        }
        for (key, value) in [("account", "other"), ("host", "evil"), ("scheme", "http"), ("port", "1")] {
            assert!(changed(|plan| plan["attachments"]["a"]["settings"][key] = json!(value)).is_err(), "{key}");
        }
        for (key, value) in [("ip", json!("2.2.2.2")), ("port", json!(1))] {
            assert!(changed(|plan| plan["connections"]["c"]["settings"][key] = value).is_err(), "{key}");
        }
        assert!(changed(|plan| plan["attachments"]["a"]["handler"] = json!("s3")).is_err());
    }

    #[test]
    fn a_mask_for_nothing_is_refused() {
        let mask = json!("********");
        assert!(changed(|plan| plan["attachments"]["s"]["settings"]["region"] = mask.clone()).is_err());
        assert!(
            changed(|plan| plan["attachments"]["new"] = json!({"handler": "s3", "settings": {"secret": mask}}))
                .is_err()
        );
        assert!(changed(|plan| plan["plan"] = json!({"modb": {"attachments": {"params": {"path": mask}}}})).is_err());
        assert!(changed(|plan| plan["ui_metadata"] = json!({"list": [mask]})).is_err());
        let url = json!("http://********@H:80/a");
        assert!(changed(|plan| plan["attachments"]["p"]["settings"]["url"] = url).is_err());
        assert!(changed(|plan| plan["attachments"]["h"]["settings"]["headers"]["X"] = json!("a ********")).is_err());
    }
}
