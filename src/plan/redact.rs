//! Plans without their secrets, for people and answers.

use serde_json::{Map, Value};
use url::Url;

use crate::settings::{MASK, masked_query};
use crate::storage::driver;

/// A plan's members with every secret value replaced by [`MASK`].
#[must_use]
pub fn redacted(members: &Map<String, Value>) -> Map<String, Value> {
    let mut members = members.clone();
    for (key, part) in &mut members {
        let Value::Object(entries) = part else { continue };
        if key == "attachments" {
            for entry in entries.values_mut() {
                let handler = entry.get("handler").and_then(Value::as_str).unwrap_or_default().to_owned();
                mask(entry, &handler);
            }
        } else {
            entries.values_mut().for_each(|entry| mask(entry, ""));
        }
    }
    members
}

/// A URL without user information and without the secrets of its query.
#[must_use]
pub fn redacted_url(text: &str) -> String {
    let Ok(mut url) = Url::parse(text.trim()) else { return MASK.to_owned() };
    if !url.has_host() {
        // There is no telling what in it is a secret.
        return MASK.to_owned();
    }
    if (!url.username().is_empty() && url.set_username(MASK).is_err())
        || (url.password().is_some() && url.set_password(Some(MASK)).is_err())
    {
        return MASK.to_owned();
    }
    masked_query(url.as_str())
}

fn mask(value: &mut Value, handler: &str) {
    match value {
        Value::Object(members) => {
            for (key, member) in members {
                let secret = match key.as_str() {
                    "secret" | "password" => true,
                    key => driver(handler).is_some_and(|driver| driver.secrets.contains(&key)),
                };
                match member {
                    Value::Null => {}
                    member if secret => *member = MASK.into(),
                    Value::Object(headers) if key == "headers" => {
                        headers.values_mut().for_each(|header| *header = MASK.into());
                    }
                    Value::String(url) if key == "url" => *url = redacted_url(url),
                    member => mask(member, handler),
                }
            }
        }
        Value::Array(items) => items.iter_mut().for_each(|item| mask(item, handler)),
        _ => {}
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
                    assert_eq!(redacted, format!("{lower}://{shown}"), "{url}");
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
            },
            "connections": {"x": {"settings": {"credentials": {"username": "u", "password": "canary"}}}},
            "plan": {"modb": {"attachments": {"handler": "a", "params": {"secret": "canary"}}}}
        });
        let text = json!(redacted(plan.as_object().unwrap())).to_string();
        assert!(!text.contains("canary"), "{text}");
        for kept in ["AKID", "\"b\"", "acc", "a=1", "\"u\"", "\"handler\":\"a\""] {
            assert!(text.contains(kept), "{kept}: {text}");
        }
    }
}
