//! Which storage of today's plan an old pointer means: the same driver, and the same bucket, container or account.

use serde_json::Value;
use url::Url;

use crate::settings::{MASK, Settings, with_secrets_of};
use crate::storage::Location;

/// The settings to reach an old object with: those of today's plan where it names the same place, else those of the entry.
pub fn today(object: &Settings, location: &Location, plan: impl Iterator<Item = Settings>) -> Settings {
    let same = plan.filter(|settings| settings.handler() == object.handler());
    let fitting = same.filter_map(|settings| Some((fit(&settings, object, location)?, settings)));
    let best = fitting.reduce(|best, next| if next.0 > best.0 { next } else { best });
    best.map_or_else(|| object.clone(), |(_, settings)| settings)
}

/// How well a storage fits; `None` if it is another place.
fn fit(today: &Settings, old: &Settings, location: &Location) -> Option<usize> {
    let same = |key: &str| text(today, key).is_some() && text(today, key) == text(old, key);
    let fits = match old.handler() {
        "s3" => same("bucket") && s3_server(today) == s3_server(old),
        "azure" => same("account") && same("container"),
        "google_storage" => same("bucket"),
        "google_drive" | "dropbox" | "onedrive" => same("oauth_doc_id"),
        "http" | "ftp" => return same_server(text(today, "url")?, location.get("url")?.as_str()?),
        _ => false,
    };
    fits.then_some(0)
}

/// Buckets of Amazon have one name all over the world, whatever host they are reached by.
fn s3_server(settings: &Settings) -> String {
    let host = text(settings, "host").unwrap_or(AMAZON).to_ascii_lowercase();
    if host == AMAZON || host.ends_with(".amazonaws.com") || host.ends_with(".amazonaws.com.cn") {
        return AMAZON.to_owned();
    }
    let port = settings.number("port").ok().flatten();
    let tls = text(settings, "scheme").is_none_or(|scheme| scheme == "https");
    match (port, host.rsplit_once(':')) {
        (Some(port), _) => format!("{host}:{port}"),
        (None, Some((_, port))) if port.parse::<u16>().is_ok() => host,
        (None, _) => format!("{host}:{}", if tls { 443 } else { 80 }),
    }
}

/// Whether a plan's URL is of the same server and knows every secret of the old one's query; the longer the part that
/// both have, the better.
fn same_server(today: &str, old: &str) -> Option<usize> {
    let (server, other) = (Url::parse(today.trim()).ok()?, Url::parse(old).ok()?);
    let port = |url: &Url| url.port_or_known_default();
    let same = (server.scheme(), server.host_str(), port(&server)) == (other.scheme(), other.host_str(), port(&other));
    if !same || with_secrets_of(today, old).contains(MASK) {
        return None;
    }
    Some(server.path().bytes().zip(other.path().bytes()).take_while(|(one, other)| one == other).count())
}

fn text<'a>(settings: &'a Settings, key: &str) -> Option<&'a str> {
    settings.members().get(key).and_then(Value::as_str).filter(|text| !text.is_empty())
}

const AMAZON: &str = "s3.amazonaws.com";
