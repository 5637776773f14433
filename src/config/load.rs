//! From a file and the environment to a [`Config`].

use std::path::PathBuf;
use std::time::Duration;

use ipnet::IpNet;
use toml::{Table, Value};
use url::Url;

use super::{
    AccessLog, Admin, Config, CouchTarget, Couchdb, Egress, Limits, Listen, ListenTls, Log, Plans, PresentStubs,
    Telemetry, Timeouts, Token,
};
use stowage_base::log::Format;
use stowage_base::reader::{Problem, Section};
use stowage_http::{connect, egress};
use stowage_storage::{Endpoints, Options};

const MIB: u64 = 1 << 20;

/// Where the configuration comes from.
#[derive(Debug, Clone, Default)]
pub struct Source {
    /// The text of the TOML file; empty where there is none.
    pub text: String,
    /// Environment variables; only those that begin with `STOWAGE__` matter.
    pub environment: Vec<(String, String)>,
}

/// Reads and validates the configuration.
///
/// # Errors
/// Every problem that was found, each with its key path.
pub fn load(source: &Source) -> Result<Config, Vec<Problem>> {
    let mut table: Table = source.text.parse().map_err(|error: toml::de::Error| {
        vec![Problem { key: "(file)".to_owned(), message: error.to_string().trim_end().to_owned() }]
    })?;
    let mut problems = Vec::new();
    for (name, value) in &source.environment {
        if let Some(path) = name.strip_prefix("STOWAGE__")
            && let Err(message) = override_key(&mut table, path, value)
        {
            problems.push(Problem { key: name.clone(), message });
        }
    }
    let mut root = Section::root(table, &mut problems);
    let config = Config {
        listen: listen(&mut root),
        couchdb: couchdb(root.section("couchdb")),
        plans: plans(root.section("plans")),
        limits: limits(root.section("limits")),
        timeouts: timeouts(root.section("timeouts")),
        egress: egress(root.section("egress")),
        storage: storage(root.section("storage")),
        admin: admin(root.section("admin")),
        log: log(root.section("log")),
        telemetry: telemetry(root.section("telemetry")),
    };
    root.finish();
    if problems.is_empty() { Ok(config) } else { Err(problems) }
}

/// Puts the value of `SECTION__KEY` at its place; the value is TOML where it reads as TOML (numbers, lists, tables), else a text.
fn override_key(table: &mut Table, path: &str, value: &str) -> Result<(), String> {
    let mut parts: Vec<String> = path.split("__").map(str::to_lowercase).collect();
    let Some(last) = parts.pop().filter(|part| !part.is_empty()) else {
        return Err("names no key".to_owned());
    };
    let mut here = table;
    for part in parts {
        let next = here.entry(part).or_insert_with(|| Value::Table(Table::new()));
        here = next.as_table_mut().ok_or_else(|| "names a key below something that is not a section".to_owned())?;
    }
    let structured = value.starts_with(['[', '{', '"']);
    let parsed = structured.then(|| format!("v = {value}").parse::<Table>().ok()).flatten();
    let value = parsed.and_then(|mut table| table.remove("v")).unwrap_or_else(|| Value::String(value.to_owned()));
    here.insert(last, value);
    Ok(())
}

fn listen(root: &mut Section<'_>) -> Listen {
    let mut section = root.section("listen");
    let address = section.address("address", "127.0.0.1:5985");
    let tls = section.has("tls").then(|| listen_tls(section.section("tls"))).flatten();
    let trusted_proxies = networks(&mut section, "trusted_proxies");
    section.finish();
    Listen { address, tls, trusted_proxies }
}

fn listen_tls(mut section: Section<'_>) -> Option<ListenTls> {
    let address = section.address("address", "127.0.0.1:6985");
    let certificate = PathBuf::from(section.text("certificate", "certs/server.pem"));
    let key = PathBuf::from(section.text("key", "certs/server.key"));
    let client_ca = section.text("client_ca", "");
    if address.is_some() {
        for (name, path) in [("certificate", &certificate), ("key", &key)] {
            if !path.is_file() {
                section.problem(name, format!("there is no file {}", path.display()));
            }
        }
    }
    section.finish();
    let client_ca = (!client_ca.is_empty()).then(|| PathBuf::from(client_ca));
    address.map(|address| ListenTls { address, certificate, key, client_ca })
}

fn couchdb(mut section: Section<'_>) -> Couchdb {
    let url = section.text("url", "");
    let target = match couch_target(&url) {
        Ok(target) => target,
        Err(message) => {
            section.problem("url", message);
            CouchTarget::Embedded
        }
    };
    let data = PathBuf::from(section.text("data", "data"));
    let username = section.text("username", "");
    let password = section.secret("password");
    let connection_credentials = section.flag("connection_credentials", false);
    let present_stubs = present_stubs(&mut section);
    section.finish();
    Couchdb { target, data, username, password, connection_credentials, present_stubs }
}

/// `true`, `false`, or a table by class; what is not said is left to the plans.
fn present_stubs(section: &mut Section<'_>) -> PresentStubs {
    if !section.is_section("present_stubs") {
        let everywhere = section.optional_flag("present_stubs");
        return PresentStubs::of(
            everywhere.into_iter().flat_map(|shown| PresentStubs::CLASSES.map(|class| (class, shown))),
        );
    }
    let mut table = section.section("present_stubs");
    let said = PresentStubs::CLASSES.map(|class| Some((class, table.optional_flag(class)?)));
    table.finish();
    PresentStubs::of(said.into_iter().flatten())
}

fn couch_target(text: &str) -> Result<CouchTarget, &'static str> {
    match text {
        "" => Err("is required: the URL of CouchDB, or \"embedded\" for the built-in store"),
        "embedded" => Ok(CouchTarget::Embedded),
        text => match web_url(text) {
            Ok(url) => Ok(CouchTarget::Url(url)),
            Err(CREDENTIALS) => Err("must not hold credentials: use couchdb.username and couchdb.password"),
            Err(NO_URL) => Err("is neither a URL nor \"embedded\""),
            Err(message) => Err(message),
        },
    }
}

/// A server of the operator's, perhaps with a path.
fn web_url(text: &str) -> Result<Url, &'static str> {
    let Ok(url) = Url::parse(text) else { return Err(NO_URL) };
    match url {
        url if !matches!(url.scheme(), "http" | "https") => Err("must be an http or https URL"),
        url if url.query().is_some() || url.fragment().is_some() => Err("must have no query and no fragment"),
        url if !url.username().is_empty() || url.password().is_some() => Err(CREDENTIALS),
        url if url.host_str().is_none_or(str::is_empty) => Err("must name a host"),
        url => Ok(url),
    }
}

const CREDENTIALS: &str = "must not hold credentials";
const NO_URL: &str = "is no URL";

fn plans(mut section: Section<'_>) -> Plans {
    let plans = Plans {
        database: section.text("database", "system_data"),
        auth_database: section.text("auth_database", "system_auth"),
        refresh: section.duration("refresh", Duration::from_secs(60)),
        stale: section.duration("stale", Duration::from_secs(3600)),
        allow_unvalidated: section.flag("allow_unvalidated", false),
    };
    for (name, value) in [("database", &plans.database), ("auth_database", &plans.auth_database)] {
        if value.is_empty() {
            section.problem(name, "must name a database");
        }
    }
    section.finish();
    plans
}

fn limits(mut section: Section<'_>) -> Limits {
    let limits = Limits {
        attachment_bytes: section.bytes("attachment_bytes", 1024 * MIB),
        document_bytes: section.bytes("document_bytes", 8 * MIB),
        connections: section.count("connections", 10_000),
        in_flight: section.count("in_flight", 1024),
        upload_buffer_bytes: section.bytes("upload_buffer_bytes", 256 * MIB),
        header_bytes: usize::try_from(section.bytes("header_bytes", 64 << 10)).unwrap_or(usize::MAX),
    };
    if limits.upload_buffer_bytes < 16 * MIB {
        section
            .problem("upload_buffer_bytes", "must be at least \"16 MiB\": one upload needs up to two chunks of 5 MiB");
    }
    if limits.header_bytes < 8192 {
        section.problem("header_bytes", "must be at least \"8 KiB\"");
    }
    section.finish();
    limits
}

fn timeouts(mut section: Section<'_>) -> Timeouts {
    let timeouts = Timeouts {
        http: connect::Timeouts {
            connect: section.duration("connect", Duration::from_secs(5)),
            tls_handshake: section.duration("tls_handshake", Duration::from_secs(10)),
            response_head: section.duration("response_head", Duration::from_secs(15)),
            idle_body: section.duration("idle_body", Duration::from_secs(60)),
        },
        request_head: section.duration("request_head", Duration::from_secs(30)),
        answer: section.duration("answer", Duration::from_secs(18)),
        drain: section.duration("drain", Duration::from_secs(120)),
    };
    section.finish();
    timeouts
}

fn egress(mut section: Section<'_>) -> Egress {
    let (allow, deny) = (networks(&mut section, "allow"), networks(&mut section, "deny"));
    let ca = Some(section.text("ca", "")).filter(|path| !path.is_empty()).map(PathBuf::from);
    if let Some(path) = ca.as_ref().filter(|path| !path.is_file()) {
        section.problem("ca", format!("there is no file {}", path.display()));
    }
    let egress = Egress { policy: egress::Egress::new(allow, deny), ca };
    section.finish();
    egress
}

fn networks(section: &mut Section<'_>, name: &str) -> Vec<IpNet> {
    let mut networks = Vec::new();
    for value in section.list(name) {
        let text = value.as_str().unwrap_or_default();
        let single = || text.parse::<std::net::IpAddr>().ok().map(IpNet::from);
        match text.parse().ok().or_else(single) {
            Some(network) => networks.push(network),
            None => section.problem(name, format!("{value} is not a network such as \"10.0.0.0/8\"")),
        }
    }
    networks
}

fn storage(mut section: Section<'_>) -> Options {
    let root = section.text("file_root", "");
    let mut inner = section.section("endpoints");
    let endpoints = Endpoints {
        google_api: endpoint(&mut inner, "google_api", "https://www.googleapis.com"),
        google_oauth: endpoint(&mut inner, "google_oauth", ""),
        dropbox_content: endpoint(&mut inner, "dropbox_content", "https://content.dropboxapi.com"),
        dropbox_api: endpoint(&mut inner, "dropbox_api", "https://api.dropboxapi.com"),
        graph: endpoint(&mut inner, "graph", "https://graph.microsoft.com"),
    };
    inner.finish();
    section.finish();
    Options { file_root: (!root.is_empty()).then(|| PathBuf::from(root)), endpoints }
}

fn endpoint(section: &mut Section<'_>, name: &str, default: &str) -> String {
    let text = section.text(name, default);
    let sound = text.is_empty() && default.is_empty()
        || Url::parse(&text).is_ok_and(|url| matches!(url.scheme(), "http" | "https"));
    if !sound {
        section.problem(name, "must be an http or https URL");
    }
    text.trim_end_matches('/').to_owned()
}

fn admin(mut section: Section<'_>) -> Admin {
    let address = section.address("address", "127.0.0.1:5986");
    let mut tokens = Vec::new();
    for (index, value) in section.list("tokens").into_iter().enumerate() {
        let name = format!("tokens.{index}");
        match token(value) {
            Ok(token) => tokens.push(token),
            Err(message) => section.problem(&name, message),
        }
    }
    section.finish();
    Admin { address, tokens }
}

fn token(value: Value) -> Result<Token, String> {
    let (value, account) = match value {
        Value::Table(mut table) if table.contains_key("token") => {
            let account = match table.remove("account") {
                None => None,
                Some(Value::String(account)) => Some(account),
                Some(_) => return Err("account must be a text".to_owned()),
            };
            let secret = table.remove("token").unwrap_or(Value::Boolean(false));
            if let Some(unknown) = table.keys().next() {
                return Err(format!("{unknown} is not a known key"));
            }
            (secret, account)
        }
        value => (value, None),
    };
    let secret = stowage_base::secret::read(value)?;
    let text = secret.expose();
    let digest = text.strip_prefix("sha256:");
    if digest.is_some_and(|hex| hex.len() != 64 || !hex.bytes().all(|byte| byte.is_ascii_hexdigit())) {
        return Err("sha256: must be followed by 64 hex digits".to_owned());
    }
    if text.is_empty() {
        return Err("must not be empty".to_owned());
    }
    Ok(Token { secret, account })
}

fn log(mut section: Section<'_>) -> Log {
    let format = match section.text("format", "text").as_str() {
        "text" => Format::Text,
        "json" => Format::Json,
        _ => {
            section.problem("format", "must be \"text\" or \"json\"");
            Format::Text
        }
    };
    let level = section.text("level", "info").parse().unwrap_or_else(|_| {
        section.problem("level", "must be one of error, warn, info, debug, trace");
        tracing::Level::INFO
    });
    let access = match section.text("access", "all").as_str() {
        "all" => AccessLog::All,
        "attachments" => AccessLog::Attachments,
        "off" => AccessLog::Off,
        _ => {
            section.problem("access", "must be \"all\", \"attachments\" or \"off\"");
            AccessLog::All
        }
    };
    section.finish();
    Log { format, level, access }
}

fn telemetry(mut section: Section<'_>) -> Telemetry {
    let text = section.text("otlp", "");
    let otlp = match web_url(&text) {
        _ if text.is_empty() => None,
        Ok(url) => Some(url),
        Err(message) => {
            section.problem("otlp", message);
            None
        }
    };
    let sample = section.share("sample", 1.0);
    section.finish();
    Telemetry { otlp, sample }
}
