//! Resolves a pointer to a storage of the current plan: one with the same driver and the same bucket, container or account. Its current
//! settings apply rather than those at the time: keys are rotated, and servers move.

use serde_json::Value;
use stowage_base::settings::{MASK, Settings, with_secrets_of};
use url::Url;

use crate::{Identity, Location, driver};

/// What a pointer records about its storage.
#[derive(Debug, Clone, Copy)]
pub struct Reference<'a> {
    /// The driver.
    pub handler: &'a str,
    /// The storage's id when the object was stored.
    pub id: &'a str,
    /// What a KAZOO entry records about its storage; such an entry lacks the id.
    pub inside: Option<&'a Settings>,
    /// The driver-specific location.
    pub location: &'a Location,
}

/// How well a storage matches. Earlier fields take precedence.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Fit {
    /// Same bucket, container, account or web server.
    place: bool,
    /// Same id, or the server named by a KAZOO entry.
    kin: bool,
    /// Length of the common URL path prefix, in bytes.
    common: usize,
}

/// Returns the settings for reaching an object, the first of equally good matches; `None` if the plan has no such storage.
pub fn resolve(reference: Reference<'_>, plan: impl Iterator<Item = Settings>) -> Option<Settings> {
    let same = plan.filter(|settings| settings.handler() == reference.handler);
    let fitting = same.filter_map(|settings| Some((reference.fit(&settings)?, settings)));
    let best = fitting.reduce(|best, next| if next.0 > best.0 { next } else { best });
    best.map(|(_, settings)| settings)
}

impl Reference<'_> {
    /// Returns `None` if it is a different place. The gateway's own pointers contain the storage's id, which suffices.
    fn fit(&self, today: &Settings) -> Option<Fit> {
        let common = self.common(today);
        let place = common.is_some() || self.is_same_place(today);
        let kin = match self.inside {
            Some(inside) => common.is_some() || server(today) == server(inside),
            None => today.id() == self.id,
        };
        let fits = place || (kin && self.inside.is_none());
        fits.then(|| Fit { place, kin, common: common.unwrap_or_default() })
    }

    fn is_same_place(&self, today: &Settings) -> bool {
        let same = |key: &&str| text(today, key).is_some() && text(today, key) == self.said(key);
        match identity(self.handler) {
            Identity::Settings { all, kazoo, .. } => {
                all.iter().all(same) && (self.inside.is_none() || kazoo.iter().all(same))
            }
            Identity::Id | Identity::Url => false,
        }
    }

    /// Returns what the pointer records: in its location, or in the settings that KAZOO stored with it.
    fn said(&self, key: &str) -> Option<&str> {
        let location = self.location.get(key).and_then(Value::as_str);
        location.or_else(|| text(self.inside?, key))
    }

    /// Returns the length of the common path if the plan's URL is on the server of the pointer's URL. A URL fully determines the
    /// place, so nothing else is compared.
    fn common(&self, today: &Settings) -> Option<usize> {
        let url = ["server", "url"].iter().find_map(|member| self.location.get(*member));
        let url = url.filter(|_| identity(self.handler) == Identity::Url)?;
        same_server(text(today, "url")?, url.as_str()?)
    }
}

/// Returns host and port, as far as the settings name them.
fn server(settings: &Settings) -> String {
    let hosts = match identity(settings.handler()) {
        Identity::Settings { hosts, .. } => hosts,
        Identity::Id | Identity::Url => &[],
    };
    let usual = hosts.first().copied().unwrap_or_default();
    let host = text(settings, "host").unwrap_or(usual).to_ascii_lowercase();
    if host == usual || hosts.iter().any(|end| host.ends_with(end)) {
        return usual.to_owned();
    }
    let port = settings.number("port").ok().flatten();
    let tls = text(settings, "scheme").is_none_or(|scheme| scheme == "https");
    match (port, host.rsplit_once(':')) {
        (Some(port), _) => format!("{host}:{port}"),
        (None, Some((_, port))) if port.parse::<u16>().is_ok() => host,
        (None, _) => format!("{host}:{}", if tls { 443 } else { 80 }),
    }
}

/// Returns the length of the common path if both URLs are on the same server and the plan's has every secret of the old one's
/// query. A longer common path is a better match.
fn same_server(today: &str, old: &str) -> Option<usize> {
    let (server, other) = (Url::parse(today.trim()).ok()?, Url::parse(old).ok()?);
    let port = |url: &Url| url.port_or_known_default();
    let same = (server.scheme(), server.host_str(), port(&server)) == (other.scheme(), other.host_str(), port(&other));
    if !same || with_secrets_of(today, old).contains(MASK) {
        return None;
    }
    Some(server.path().bytes().zip(other.path().bytes()).take_while(|(one, other)| one == other).count())
}

/// A nonexistent driver identifies storages only by id.
fn identity(handler: &str) -> Identity {
    driver(handler).map_or(Identity::Id, |driver| driver.identity)
}

fn text<'a>(settings: &'a Settings, key: &str) -> Option<&'a str> {
    settings.members().get(key).and_then(Value::as_str).filter(|text| !text.is_empty())
}
