//! `kz_att_http` and `kz_att_ftp`: `url` is the whole URL, including user and password; `base64_encode_data` means that base64 was stored;
//! `handler_props` may contain settings.

use serde_json::{Map, Value};
use stowage_base::settings::{as_flag, masked_query};

use super::{Read, location};

pub(super) fn http(props: &Map<String, Value>) -> Option<Read> {
    let (url, mut settings) = settings(props)?;
    let base64 = [props, &settings].into_iter().any(|members| is_set(members, "base64_encode_data"));
    let plain = without_account(&url)?;
    let mut location = location([("url", masked_query(&plain))]);
    if base64 {
        location.insert("base64".to_owned(), true.into());
    }
    let base = url.split('#').next().unwrap_or_default();
    settings.insert("url".to_owned(), base.into());
    Some(Read { handler: "http", location, settings, name: Some(plain) })
}

pub(super) fn ftp(props: &Map<String, Value>) -> Option<Read> {
    let (url, mut settings) = settings(props)?;
    let shown = without_account(&url)?;
    let (folder, _) = url.rsplit_once('/')?;
    let folder = if folder.ends_with(":/") { &url } else { folder };
    settings.insert("url".to_owned(), folder.into());
    Some(Read { handler: "ftp", location: location([("url", shown.clone())]), settings, name: Some(shown) })
}

fn settings(props: &Map<String, Value>) -> Option<(String, Map<String, Value>)> {
    let url = props.get("url")?.as_str()?.trim().to_owned();
    let settings = props.get("handler_props").and_then(Value::as_object).cloned().unwrap_or_default();
    Some((url, settings))
}

fn is_set(members: &Map<String, Value>, key: &str) -> bool {
    members.get(key).and_then(as_flag) == Some(true)
}

/// Strips the user and password from a URL.
fn without_account(url: &str) -> Option<String> {
    let (scheme, rest) = url.split_once("://")?;
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let (authority, target) = rest.split_at_checked(end)?;
    let server = authority.rsplit_once('@').map_or(authority, |(_, server)| server);
    (!scheme.is_empty() && !server.is_empty()).then(|| format!("{scheme}://{server}{target}"))
}
