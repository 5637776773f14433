//! Redacts secrets from plans, for people and responses.

use serde_json::{Map, Value};
use stowage_base::settings::{MASK, masked_query};
use stowage_storage::driver;
use url::Url;

/// Returns a plan's members with every secret value replaced by [`MASK`]. Handles members of any shape: anyone may have written the documents.
#[must_use]
pub fn redacted(members: &Map<String, Value>) -> Map<String, Value> {
    let mut members = members.clone();
    for (key, part) in &mut members {
        match part {
            Value::Object(entries) if key == "attachments" => {
                for entry in entries.values_mut() {
                    let handler = entry.get("handler").and_then(Value::as_str).unwrap_or_default().to_owned();
                    mask(entry, &handler);
                }
            }
            part => mask_member(key, part, ""),
        }
    }
    members
}

/// Returns a URL with its user information and the secrets in its query masked; unchanged if it has none.
#[must_use]
pub fn redacted_url(text: &str) -> String {
    let Ok(mut url) = Url::parse(text.trim()) else { return MASK.to_owned() };
    if !url.has_host() {
        // Without a host, there is no telling which part is a secret.
        return MASK.to_owned();
    }
    if (!url.username().is_empty() && url.set_username(MASK).is_err())
        || (url.password().is_some() && url.set_password(Some(MASK)).is_err())
    {
        return MASK.to_owned();
    }
    let redacted = masked_query(url.as_str());
    if redacted.contains(MASK) { redacted } else { text.to_owned() }
}

fn mask(value: &mut Value, handler: &str) {
    match value {
        Value::Object(members) => members.iter_mut().for_each(|(key, member)| mask_member(key, member, handler)),
        Value::Array(items) => items.iter_mut().for_each(|item| mask(item, handler)),
        _ => {}
    }
}

fn mask_member(key: &str, member: &mut Value, handler: &str) {
    match member {
        Value::Null => {}
        member if is_secret(key, handler) => *member = MASK.into(),
        Value::Object(headers) if key == "headers" => {
            headers.values_mut().filter(|header| !header.is_null()).for_each(|header| *header = MASK.into());
        }
        Value::String(url) if key == "url" => *url = redacted_url(url),
        member if matches!(key, "headers" | "url") => *member = MASK.into(),
        member => mask(member, handler),
    }
}

fn is_secret(key: &str, handler: &str) -> bool {
    match driver(handler) {
        Some(driver) => driver.is_secret(key),
        None => matches!(key, "secret" | "password" | "key"),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::{redacted, redacted_url};

    #[test]
    fn urls_show_neither_user_nor_password() {
        for scheme in ["http", "https", "ftp", "ftps", "ftpes", "FTPES"] {
            let lower = scheme.to_lowercase();
            let cases = [
                ("canary:canary@h/p", "********:********@h/p"),
                ("canary@h:2121/p", "********@h:2121/p"),
                (":canary@h/p", ":********@h/p"),
                ("ca%40nary:can%3Aary@[::1]:2121/a%2Fb", "********:********@[::1]:2121/a%2Fb"),
                ("canary:ca@nary@h/p", "********:********@h/p"),
                ("canary:ca#nary@h/p", ""),
                ("canary:ca/nary@h/p", ""),
                ("canary:ca?nary@h/p", ""),
                ("h/p", "h/p"),
            ];
            for (rest, shown) in cases {
                let url = format!("{scheme}://{rest}");
                let redacted = redacted_url(&url);
                assert!(!redacted.contains("nary"), "{url}: {redacted}");
                if !shown.is_empty() {
                    // A URL without anything to hide stays as written.
                    let scheme = if shown == rest { scheme } else { lower.as_str() };
                    assert_eq!(redacted, format!("{scheme}://{shown}"), "{url}");
                }
            }
        }
        for unfit in ["ftps:canary:canary@h/p", "canary", "ftpes:///canary:canary@h/p", "ftps:/canary:canary@h/p", ""] {
            assert!(!redacted_url(unfit).contains("canary"), "{unfit}: {}", redacted_url(unfit));
        }
    }

    #[test]
    fn no_secret_is_left_and_nothing_else_is_lost() {
        let plan = json!({
            "attachments": {
                "a": {"handler": "s3", "settings": {"key": "AKID", "secret": "canary", "bucket": "b"}},
                "b": {"handler": "azure", "settings": {"key": "canary", "account": "acc"}},
                "c": {"handler": "http", "settings": {
                    "url": "https://canary:canary@h/p?a=1&token=canary&KEY=canary", "headers": {"x": "canary"}
                }},
                "d": {"handler": "http", "settings": {"url": "canary not a url"}},
                "e": {"handler": "http", "settings": {"url": ["https://canary@h"], "headers": "canary"}},
                "f": {"settings": {"key": "canary"}},
                "g": [{"settings": {"secret": ["canary"]}}],
                "h": {"handler": "http", "settings": {"url": "HTTPS://Host:443/a b?x="}},
            },
            "connections": {"x": {"settings": {"credentials": {"username": "u", "password": "canary"}}}},
            "plan": {"modb": {"attachments": {"handler": "a", "params": {"secret": "canary", "key": "canary"}}}},
            "password": "canary",
            "odd": [{"secret": 1, "password": {"canary": 1}}],
        });
        let text = json!(redacted(plan.as_object().unwrap())).to_string();
        assert!(!text.contains("canary"), "{text}");
        for kept in ["AKID", "\"b\"", "acc", "a=1", "\"u\"", "\"handler\":\"a\"", "HTTPS://Host:443/a b?x="] {
            assert!(text.contains(kept), "{kept}: {text}");
        }
    }

    #[test]
    fn a_list_of_storages_hides_its_secrets_too() {
        let plan = json!({"attachments": [{"handler": "s3", "settings": {"secret": "canary", "key": "canary"}}]});
        assert!(!json!(redacted(plan.as_object().unwrap())).to_string().contains("canary"));
    }
}
