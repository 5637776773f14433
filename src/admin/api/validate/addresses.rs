//! Refuses to save plans with addresses that the egress policy denies.
//!
//! This only helps the author early: the policy itself is enforced when connections are made (`http::connect`), whatever the result was here. A name
//! that cannot be resolved is left to the credential check.

use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream;
use serde_json::Value;
use stowage_http::connect::resolve;
use stowage_http::egress::Egress;
use stowage_storage::{Backend as _, Registry, Server, driver};
use url::Url;

use super::super::envelope::{Errors, Failure};
use super::references::Ground;
use crate::plan::Settings;
use crate::upstream::origin_of;

/// An address, and the field that contains it.
struct Address {
    field: [String; 4],
    /// The host and port; `None` if the address is invalid.
    server: Option<(String, u16)>,
}

/// Resolves all addresses of the plan's own storages and connections.
///
/// # Errors
/// Returns a 400 with each denied address.
pub(in crate::admin::api) async fn check_addresses(
    ground: &Ground,
    storages: &Registry,
    egress: &Egress,
    patience: Duration,
) -> Result<(), Failure> {
    let found = ground.own_ids("attachments").filter_map(|id| of_storage(&ground.merged.storage(id)?, storages));
    let couches = ground.own_ids("connections").filter(|id| *id != crate::plan::LOCAL);
    let found = found.chain(couches.filter_map(|id| Some(of_connection(&ground.merged.connection(id).ok()??))));
    let found: Vec<Address> = found.collect();
    let looked_up = stream::iter(found).map(|address| fault(address, egress, patience));
    let wrong: Vec<_> = looked_up.buffer_unordered(AT_ONCE).filter_map(std::future::ready).collect().await;
    let mut errors = Errors::default();
    for (field, what) in wrong {
        let [.., key] = &field;
        errors.say(&field, "invalid", format!("{key} {what}"));
    }
    errors.check()
}

/// Returns the field with what is wrong with it, if anything.
async fn fault(address: Address, egress: &Egress, patience: Duration) -> Option<([String; 4], &'static str)> {
    let Some((host, port)) = address.server else { return Some((address.field, "is not an address")) };
    let refused = tokio::time::timeout(patience, is_refused(egress, &host, port)).await.unwrap_or(false);
    refused.then_some((address.field, "is an address that this system does not connect to"))
}

/// Returns whether the host has addresses, all of which are denied.
async fn is_refused(egress: &Egress, host: &str, port: u16) -> bool {
    let found = resolve(host, port).await.unwrap_or_default();
    !found.is_empty() && !found.iter().any(|address| egress.permits(address.ip()))
}

/// Returns the address if the plan chooses it: for most services, the operator does.
fn of_storage(settings: &Settings, storages: &Registry) -> Option<Address> {
    let text = |key: &str| settings.members().get(key).and_then(Value::as_str).map(str::to_owned);
    let (key, url) = match driver(settings.handler())?.server {
        Server::Url => ("url", text("url")),
        // Including a bucket or an account in the host.
        Server::Host(_) => ("host", storages.open(settings).ok().map(|storage| storage.url("x"))),
        Server::Fixed => return None,
    };
    let field = ["attachments", settings.id(), "settings", key].map(str::to_owned);
    Some(Address { field, server: url.and_then(|url| server(&url)) })
}

fn of_connection(settings: &Settings) -> Address {
    let server = origin_of(settings).ok().map(|origin| (origin.host, origin.port));
    let field = ["connections", settings.id(), "settings", "ip"].map(str::to_owned);
    Address { field, server }
}

/// Returns the host and port, with an IP address in canonical form, however it was written (WHATWG URL, "host parsing").
fn server(url: &str) -> Option<(String, u16)> {
    let (scheme, rest) = url.trim().split_once("://")?;
    // The URL standard only parses hosts of its special schemes, which these are not.
    let usual = [("ftps", 990), ("ftpes", 21)].into_iter().find(|(known, _)| known.eq_ignore_ascii_case(scheme));
    let scheme = usual.map_or(scheme, |_| "ftp");
    let url: Url = format!("{scheme}://{rest}").parse().ok()?;
    let host = url.host_str().filter(|host| !host.is_empty())?;
    let host = host.trim_start_matches('[').trim_end_matches(']').to_owned();
    let port = url.port().or_else(|| Some(usual?.1)).or_else(|| url.port_or_known_default())?;
    Some((host, port))
}

/// The number of names resolved concurrently.
const AT_ONCE: usize = 16;
