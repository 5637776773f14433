//! Replays exchanges recorded with CouchDB 3.5 against a server and compares its responses.
//!
//! The recordings are in `tests/fixtures/couchdb-wire/`. Revisions and generated ids differ between servers: each recorded one is
//! tied to the one the server returned in its place, which is used from then on in requests and expectations.

mod client;
mod compare;
mod decode;
mod packed;
mod parse;

use std::collections::HashMap;
use std::time::Duration;

use base64::Engine as _;

pub use client::{Answer, Connection};
pub use parse::{Exchange, Form};

/// Longer than any exchange that completes takes.
const PATIENCE: Duration = Duration::from_secs(15);

/// The address the recordings were made at.
const RECORDED_HOST: &str = "127.0.0.1:5984";

/// The credentials the recordings were made with.
const RECORDED_LOGIN: &str = "Basic YWRtaW46YWRtaW4=";

/// A recorded login with a wrong password, and its replacement: one of a nonexistent account. CouchDB responds to both alike, but locks an
/// account after five of the first kind.
const RECORDED_GUESS: (&str, &str) = ("Basic YWRtaW46d3Jvbmc=", "Basic bm9ib2R5Ondyb25n");

/// A server to replay against, and its admin.
#[derive(Clone, Debug)]
pub struct Target {
    /// `host:port`.
    pub authority: String,
    pub name: String,
    pub password: String,
}

impl Target {
    /// Parses server and admin from `http://name:password@host:port`.
    pub fn from_url(url: &str) -> Self {
        let url = url::Url::parse(url).expect("a URL");
        let host = url.host_str().expect("a host");
        let authority = format!("{host}:{}", url.port_or_known_default().expect("a port"));
        let text = |part: &str| percent_encoding::percent_decode_str(part).decode_utf8().expect("UTF-8").into_owned();
        let password = text(url.password().unwrap_or_default());
        Self { authority, name: text(url.username()), password }
    }

    /// Returns the value of an Authorization header for the admin.
    pub fn login(&self) -> String {
        let pair = format!("{}:{}", self.name, self.password);
        format!("Basic {}", base64::engine::general_purpose::STANDARD.encode(pair))
    }

    /// Returns the admin's name and password, and a guess of them, as recorded in forms and JSON, with their replacements for this server.
    fn forms(&self) -> [(&'static str, String); 4] {
        let form = url::form_urlencoded::Serializer::new(String::new())
            .extend_pairs([("name", &self.name), ("password", &self.password)])
            .finish();
        [
            ("name=admin&password=admin", form),
            // Nonexistent names are locked as well.
            ("name=admin&password=x", format!("name={}&password=x", uuid::Uuid::new_v4().simple())),
            ("\"password\":\"admin\"", format!("\"password\":{}", serde_json::json!(self.password))),
            ("\"name\":\"admin\"", format!("\"name\":{}", serde_json::json!(self.name))),
        ]
    }

    /// Sends one request as the admin, on a new connection.
    pub async fn ask(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Answer {
        let mut head = format!("{method} {path} HTTP/1.1\r\nHost: {}\r\n", self.authority);
        if !headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("authorization")) {
            head.push_str(&format!("Authorization: {}\r\n", self.login()));
        }
        for (name, value) in headers {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        if !body.is_empty() {
            head.push_str(&format!("Content-Length: {}\r\n", body.len()));
        }
        head.push_str("\r\n");
        let mut connection = Connection::open(&self.authority).await;
        connection.send(head.as_bytes()).await;
        connection.send(body).await;
        connection.answer(method == "HEAD").await.expect("an answer")
    }
}

/// How to handle an exchange that is not compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Excluded {
    /// Not sent.
    Skipped,
    /// Sent, because later exchanges depend on it, but the response may differ.
    Sent,
    /// Compared, whatever a later rule says.
    Not,
}

/// File, how to handle the exchanges, the reason, and titles.
pub type Exclusion = (&'static str, Excluded, &'static str, &'static [&'static str]);

/// File, members of the body that are not compared (and neither is Content-Length), and titles.
pub type Loose = (&'static str, &'static [&'static str], &'static [&'static str]);

/// An extra request: method, path, JSON body. `REV` reads a document, whose revision is tied to the recorded one given in place of a
/// body: documents recorded with the same revision have different ones if they differ. `REPLICATE` copies a document with its
/// attachments to the path given in place of a body. `GONE` waits until a deleted database is gone: for a moment, CouchDB still knows its
/// shards, and responds with 500.
pub type Step = (&'static str, &'static str, &'static str);

/// Which exchanges are compared, and how. An exchange is identified by file and title; repeated titles in a file get the suffix
/// ` (2)` and so on.
#[derive(Clone, Debug, Default)]
pub struct Rules {
    /// The first rule that names an exchange applies.
    pub excluded: Vec<Exclusion>,
    pub loose: Vec<Loose>,
    /// File, title, and what to do before.
    pub before: &'static [(&'static str, &'static str, &'static [Step])],
    /// Digests of what CouchDB compresses, and of the same bytes uncompressed.
    pub digests: &'static [(&'static str, &'static str)],
    /// A text and its replacement, in what is sent and what is expected.
    pub renamed: Option<(&'static str, &'static str)>,
    /// Headers that are not compared.
    pub ignored: &'static [&'static str],
}

impl Rules {
    fn rename(&self, text: &str) -> String {
        self.renamed.map_or_else(|| text.to_owned(), |(from, to)| text.replace(from, to))
    }
}

/// Result of a replay.
#[derive(Debug, Default)]
pub struct Report {
    pub compared: usize,
    pub excluded: usize,
    pub failures: Vec<String>,
}

/// Recorded revisions and ids, with the server's in their place.
pub type Known = HashMap<String, String>;

/// Replays all recordings in order.
pub async fn replay(target: &Target, rules: &Rules) -> Report {
    let mut exchanges = parse::recordings();
    let forms = target.forms();
    let forms = forms.iter().map(|(from, to)| (*from, to.as_str()));
    for (from, to) in forms.chain(rules.renamed) {
        exchanges.iter_mut().for_each(|exchange| exchange.rename(from, to));
    }
    let mut report = Report::default();
    check_names(rules, &exchanges, &mut report);
    let mut known = Known::new();
    for exchange in &exchanges {
        let named = |file: &str, title: &str| file == exchange.file && title == exchange.title;
        for (_, _, steps) in rules.before.iter().filter(|(file, title, _)| named(file, title)) {
            for (method, path, body) in *steps {
                let path = rules.rename(&substitute(path, &known));
                if *method == "REV" {
                    let document = target.ask("GET", &path, &[], b"").await.json();
                    tie(&mut known, body, document["_rev"].as_str().expect("a revision"));
                    continue;
                }
                if *method == "REPLICATE" {
                    copy_whole(target, &path, &rules.rename(body)).await;
                    continue;
                }
                if *method == "GONE" {
                    let gone = async {
                        while target.ask("GET", &path, &[], b"").await.status == 500 {
                            tokio::time::sleep(Duration::from_millis(10)).await;
                        }
                    };
                    tokio::time::timeout(Duration::from_secs(20), gone).await.expect("the database goes");
                    continue;
                }
                let body = substitute(body, &known);
                let json = [("Content-Type", "application/json")];
                target.ask(method, &path, &json, body.as_bytes()).await;
            }
        }
        let excluded = rules.excluded.iter().find(|(file, _, _, titles)| titles.iter().any(|title| named(file, title)));
        if let Some((_, Excluded::Skipped, _, _)) = excluded {
            report.excluded += 1;
            continue;
        }
        let outcome = tokio::time::timeout(PATIENCE, one(target, rules, exchange, &mut known)).await;
        let outcome = outcome.unwrap_or_else(|_| Err("no complete answer in time".into()));
        match (outcome, excluded) {
            (_, Some((_, Excluded::Skipped | Excluded::Sent, _, _))) => report.excluded += 1,
            (Ok(()), _) => report.compared += 1,
            (Err(why), _) => {
                report.failures.push(format!("{}: {}\n    {why}", exchange.file, exchange.title));
            }
        }
    }
    report
}

/// Copies a document with its history and attachments to another database, as CouchDB's replicator does.
async fn copy_whole(target: &Target, from: &str, to: &str) {
    let whole = target.ask("GET", &format!("{from}?revs=true&attachments=true"), &[], b"").await;
    let kind = [("Content-Type", whole.header("content-type").expect("a type"))];
    let saved = target.ask("PUT", &format!("{to}?new_edits=false"), &kind, &whole.body).await;
    assert_eq!(saved.status, 201, "{saved:?}");
}

/// Ties a recorded revision or id to the server's. Histories list revisions without their generation.
fn tie(known: &mut Known, recorded: &str, here: &str) {
    known.insert(recorded.to_owned(), here.to_owned());
    if let (Some((_, recorded)), Some((_, here))) = (recorded.split_once('-'), here.split_once('-')) {
        known.insert(recorded.to_owned(), here.to_owned());
    }
}

/// Reports rules for exchanges that are not recorded, which are mistakes.
fn check_names(rules: &Rules, exchanges: &[Exchange], report: &mut Report) {
    let named = rules.excluded.iter().flat_map(|(file, _, _, titles)| titles.iter().map(move |title| (file, title)));
    let loose = rules.loose.iter();
    let named = named.chain(loose.flat_map(|(file, _, titles)| titles.iter().map(move |title| (file, title))));
    let named = named.chain(rules.before.iter().map(|(file, title, _)| (file, title)));
    for (file, title) in named {
        if !exchanges.iter().any(|one| one.file == *file && one.title == *title) {
            report.failures.push(format!("{file}: {title}\n    a rule for it, but no such exchange"));
        }
    }
}

async fn one(target: &Target, rules: &Rules, exchange: &Exchange, known: &mut Known) -> Result<(), String> {
    let mut connection = Connection::open(&target.authority).await;
    for (index, segment) in exchange.sent.iter().enumerate() {
        let segment = localise(segment, target, known);
        // A recorder of raw sockets waits for a response before sending what follows the first piece.
        if index > 0 && exchange.form == Form::Raw {
            connection.wait_for_bytes().await;
        }
        connection.send(&segment).await;
    }
    if exchange.expected.is_empty() {
        return Err("silence cannot be compared".into());
    }
    for (index, expected) in exchange.expected.iter().enumerate() {
        let head_only = exchange.heads_only.get(index).copied().unwrap_or(false);
        let actual = connection.answer(head_only).await?;
        compare::answers(expected, &actual, exchange, target, rules, known)?;
    }
    if exchange.closed && !rules.ignored.contains(&"connection") && !connection.ended().await {
        return Err("the connection stays open".into());
    }
    Ok(())
}

/// Adapts a recorded request to this server's address, credentials, revisions and ids. If it is not text, revisions and ids are only
/// replaced before the body; another request may follow the body.
fn localise(segment: &[u8], target: &Target, known: &Known) -> Vec<u8> {
    let login = target.login();
    let places = [(RECORDED_HOST, target.authority.as_str()), (RECORDED_LOGIN, &login), RECORDED_GUESS];
    let segment = places.iter().fold(segment.to_vec(), |bytes, (from, to)| parse::replaced(&bytes, from, to));
    let end = segment.windows(4).position(|four| four == b"\r\n\r\n").map_or(0, |at| at + 4);
    let is_text = std::str::from_utf8(&segment).is_ok();
    let (text, rest) = segment.split_at(if is_text { segment.len() } else { end });
    [substitute(&String::from_utf8_lossy(text), known).as_bytes(), rest].concat()
}

pub(crate) fn substitute(text: &str, known: &Known) -> String {
    let mut text = text.to_owned();
    for (recorded, here) in known {
        text = text.replace(recorded, here);
    }
    text
}
