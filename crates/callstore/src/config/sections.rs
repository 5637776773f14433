//! Readers of the file's sections.

use std::path::PathBuf;
use std::time::Duration;

use stowage_base::log::{self, Format};
use stowage_base::reader::Section;
use stowage_base::token;
use stowage_http::connect;
use stowage_http::server::tls;
use url::Url;

use super::{CouchTarget, Couchdb, JournalKind, JournalOptions, Limits, Listen, StateOptions, Timeouts};
use crate::{dead, records};

pub(super) fn listen(mut section: Section<'_>) -> Listen {
    let address = section.address("address", "127.0.0.1:5987");
    let tls = section.has("tls").then(|| tls::read(section.section("tls"), "127.0.0.1:6987")).flatten();
    let tokens = token::read(&mut section);
    section.finish();
    Listen { address, tls, tokens }
}

pub(super) fn journal(mut section: Section<'_>) -> JournalOptions {
    let kind = match section.text("kind", "embedded").as_str() {
        "embedded" => JournalKind::Embedded,
        "rabbitmq" => JournalKind::Rabbitmq,
        _ => {
            section.problem("kind", "must be \"embedded\" or \"rabbitmq\"");
            JournalKind::Embedded
        }
    };
    let options = JournalOptions {
        kind,
        data: PathBuf::from(section.text("data", "callstore-data")),
        keep: section.duration("keep", Duration::from_secs(4 * 3600)),
        reserve: section.bytes("reserve", 256 << 20),
    };
    section.finish();
    options
}

pub(super) fn state(mut section: Section<'_>) -> StateOptions {
    let options = StateOptions {
        data: PathBuf::from(section.text("data", "callstore-data")),
        keep: section.duration("keep", DAY),
    };
    section.finish();
    options
}

pub(super) fn couchdb(mut section: Section<'_>) -> Couchdb {
    let url = section.text("url", "");
    let target = match url.as_str() {
        "" => CouchTarget::Off,
        "embedded" => CouchTarget::Embedded,
        text => web_url(text).map_or_else(
            |message| {
                section.problem("url", message);
                CouchTarget::Off
            },
            CouchTarget::Url,
        ),
    };
    let couchdb = Couchdb {
        target,
        data: PathBuf::from(section.text("data", "callstore-data/couchdb")),
        username: section.text("username", ""),
        password: section.secret("password"),
    };
    section.finish();
    couchdb
}

pub(super) fn records(mut section: Section<'_>) -> (records::Options, Duration) {
    let close_after = section.duration("close_after", Duration::from_secs(3));
    let options = records::Options {
        sorm3: section.flag("sorm3", true),
        database: section.text("database", "cdr/copm3/dialogs"),
        kazoo: section.flag("kazoo", true),
        kazoo_wait: section.duration("kazoo_wait", Duration::from_secs(60)),
        invites: section.flag("invites", false),
        forks: section.flag("forks", false),
        holds: section.flag("holds", false),
        links: section.flag("links", false),
    };
    let name = &options.database;
    let is_name = name.starts_with(|c: char| c.is_ascii_lowercase())
        && name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || "_$()+-/".contains(c));
    if !is_name {
        section.problem("database", "must be a name that CouchDB takes: lower-case letters, digits and _$()+-/");
    }
    section.finish();
    (options, close_after)
}

pub(super) fn dead(mut section: Section<'_>) -> dead::Rules {
    let rules = dead::Rules {
        hold_off: section.duration("hold_off", Duration::from_secs(15)),
        max_call: section.duration("max_call", Duration::from_secs(2 * 3600)),
        sweep: section.duration("sweep", Duration::from_secs(5)),
        sweeps: u8::try_from(section.count("sweeps", 3)).unwrap_or(u8::MAX),
        collect: section.duration("collect", Duration::from_secs(1)),
        grace: section.duration("grace", Duration::from_secs(13)),
    };
    section.finish();
    rules
}

pub(super) fn orders(mut section: Section<'_>) -> Option<Url> {
    let text = section.text("webhook", "");
    let url = (!text.is_empty()).then(|| web_url(&text));
    let url = url.and_then(|url| url.map_err(|message| section.problem("webhook", message)).ok());
    section.finish();
    url
}

pub(super) fn limits(mut section: Section<'_>) -> Limits {
    let size = |bytes: u64| usize::try_from(bytes).unwrap_or(usize::MAX);
    let limits = Limits {
        connections: section.count("connections", 1000),
        header_bytes: size(section.bytes("header_bytes", 64 << 10)),
        event_bytes: size(section.bytes("event_bytes", 1 << 20)),
        inlet_bytes: size(section.bytes("inlet_bytes", 64 << 20)),
        watchers: section.count("watchers", 64),
    };
    if limits.header_bytes < 8192 {
        section.problem("header_bytes", "must be at least \"8 KiB\"");
    }
    if limits.inlet_bytes < 4 * limits.event_bytes {
        section.problem("inlet_bytes", "must be at least four times limits.event_bytes");
    }
    section.finish();
    limits
}

pub(super) fn timeouts(mut section: Section<'_>) -> Timeouts {
    let timeouts = Timeouts {
        http: connect::Timeouts::read(&mut section),
        request_head: section.duration("request_head", Duration::from_secs(30)),
        drain: section.duration("drain", Duration::from_secs(30)),
    };
    section.finish();
    timeouts
}

pub(super) fn log(mut section: Section<'_>) -> (Format, tracing::Level) {
    let read = log::read(&mut section);
    section.finish();
    read
}

/// Parses a URL from the configuration, with an optional path.
fn web_url(text: &str) -> Result<Url, &'static str> {
    let Ok(url) = Url::parse(text) else { return Err("is no URL") };
    match url {
        url if !matches!(url.scheme(), "http" | "https") => Err("must be an http or https URL"),
        url if url.fragment().is_some() => Err("must have no fragment"),
        url if !url.username().is_empty() || url.password().is_some() => Err("must not hold credentials"),
        url if url.host_str().is_none_or(str::is_empty) => Err("must name a host"),
        url => Ok(url),
    }
}

const DAY: Duration = Duration::from_secs(24 * 3600);
