//! A server from a plan's `host`, `port` and `scheme`.

use stowage_base::settings::Settings;
use stowage_http::target::Origin;
use url::{Host, Url};

use crate::error::{Error, Result};

/// Returns the server, and whether it is a host name rather than an address. `usual` is the default host.
///
/// # Errors
/// `Settings`, naming the storage's id and the key.
pub(crate) fn read(settings: &Settings, usual: impl FnOnce() -> String) -> Result<(Origin, bool)> {
    let scheme = settings.text("scheme")?.filter(|scheme| !scheme.is_empty());
    // KAZOO also accepts `http://`.
    let scheme = scheme.as_deref().map_or("https", |scheme| scheme.strip_suffix("://").unwrap_or(scheme));
    let scheme @ ("http" | "https") = scheme else {
        return Err(settings.wrong("scheme", "must be http or https").into());
    };
    let host = host(settings)?.unwrap_or_else(usual);
    let bracketed = if host.matches(':').count() > 1 && !host.starts_with('[') { format!("[{host}]") } else { host };
    let wrong = || Error::from(settings.wrong("host", "must be a host name or an address"));
    if bracketed.contains(|c: char| c.is_whitespace() || c.is_control() || "/\\@?#".contains(c)) {
        return Err(wrong());
    }
    let mut url = Url::parse(&format!("{scheme}://{bracketed}/")).map_err(|_| wrong())?;
    if let Some(port) = settings.number("port")? {
        let port = u16::try_from(port).ok().filter(|port| *port > 0);
        let port = port.ok_or_else(|| settings.wrong("port", "must be a port number"))?;
        url.set_port(Some(port)).map_err(|()| wrong())?;
    }
    let named = matches!(url.host(), Some(Host::Domain(_)));
    Origin::of(&url).map(|origin| (origin, named)).ok_or_else(wrong)
}

/// Returns the plan's `host`, if set.
///
/// # Errors
/// `Settings` if it is not a string.
pub(crate) fn host(settings: &Settings) -> Result<Option<String>> {
    Ok(settings.text("host")?.filter(|host| !host.is_empty()))
}
