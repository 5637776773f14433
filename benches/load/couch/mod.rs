//! The upstream: the subset of CouchDB that the gateway needs here, which responds immediately and keeps its documents in memory.
//!
//! It supports documents (GET, HEAD, PUT, DELETE with revisions and conflicts) and `_changes` in every feed mode that a gateway may use. It refuses
//! attachments: one that arrives here was not sent where its plan says.

mod message;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde_json::{Map, Value, json};
use tokio::net::TcpListener;

use self::message::{Answer, Request, chunk, refuse, render};
use crate::exchange::{Exchange, READ, SAVED};
use crate::wire::{Connection, Framing, Head};
use crate::{Outcome, roles};

/// CouchDB's default for a feed without `timeout`.
const FEED_TIMEOUT: Duration = Duration::from_secs(60);

#[derive(Debug)]
struct Document {
    /// The database's update sequence when this revision was saved.
    sequence: u64,
    rev: String,
    body: Map<String, Value>,
}

#[derive(Debug, Default)]
struct Database {
    /// The last update sequence.
    last: u64,
    /// By decoded id.
    documents: BTreeMap<String, Document>,
}

/// Databases by decoded name.
type Databases = BTreeMap<String, Database>;

#[derive(Debug)]
struct Couch {
    databases: Mutex<Databases>,
    /// The starts of the small requests, with their prepared responses.
    fixed: Vec<(String, Vec<u8>)>,
}

pub(crate) async fn serve(listener: TcpListener) -> Outcome<()> {
    let fixed = READ.iter().chain(&SAVED).map(fixed).collect();
    let couch = Arc::new(Couch { databases: Mutex::default(), fixed });
    roles::accept(listener, |stream| {
        let couch = Arc::clone(&couch);
        async move {
            let mut connection = Connection::new(stream)?;
            while couch.serve_one(&mut connection).await? {}
            Ok(())
        }
    })
    .await
}

/// Reads the body of a request whose head was read.
async fn receive(connection: &mut Connection, head: &Head, piece: impl FnMut(&[u8])) -> Outcome<()> {
    connection.consume(head);
    if head.expects {
        connection.write(b"HTTP/1.1 100 Continue\r\n\r\n").await?;
    }
    connection.body(head.framing.unwrap_or(Framing::Length(0)), piece).await?;
    Ok(())
}

fn fixed(exchange: &Exchange) -> (String, Vec<u8>) {
    let (status, rev, body) = exchange.answer();
    let start = format!("{} {} ", exchange.method, exchange.target());
    (start, render(exchange.method, status, Some(rev), &body))
}

impl Couch {
    /// Handles one request; returns false if the connection ends.
    async fn serve_one(&self, connection: &mut Connection) -> Outcome<bool> {
        let Some(head) = connection.head().await? else {
            return Ok(false);
        };
        let text = connection.text(&head);
        if let Some((_, answer)) = self.fixed.iter().find(|(start, _)| text.starts_with(start)) {
            receive(connection, &head, |_| {}).await?;
            connection.write(answer).await?;
            return Ok(!head.close);
        }
        let mut request = Request::read(text);
        let mut body = Vec::new();
        receive(connection, &head, |piece| body.extend_from_slice(piece)).await?;
        request.body = body;
        if request.path.get(1).is_some_and(|name| name == "_changes") {
            self.follow(connection, &request).await?;
            return Ok(false);
        }
        connection.write(&self.answer(&request)).await?;
        Ok(!head.close)
    }

    fn databases(&self) -> MutexGuard<'_, Databases> {
        self.databases.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn answer(&self, request: &Request) -> Vec<u8> {
        let path: Vec<&str> = request.path.iter().map(String::as_str).collect();
        let method = if request.method == "HEAD" { "GET" } else { &request.method };
        let (status, rev, body) = match (method, path.as_slice()) {
            ("GET", [""]) => ("200 OK", None, json!({"couchdb": "Welcome", "version": "3.5.0"})),
            ("GET", ["_up"]) => ("200 OK", None, json!({"status": "ok"})),
            ("GET", [name]) => {
                ("200 OK", None, json!({"db_name": name, "update_seq": format!("{}-bench", self.last(name))}))
            }
            ("GET", [name, id]) => self.read(name, id, request.query.get("rev")),
            ("PUT" | "DELETE", [name, id]) => self.save(name, id, request),
            ("GET", [_, _, _]) => refuse("404 Object Not Found", "not_found", "Document is missing attachment"),
            _ => refuse("501 Not Implemented", "not_implemented", "the upstream of the bench does not do this"),
        };
        render(&request.method, status, rev.as_deref(), &format!("{body}\n"))
    }

    fn read(&self, name: &str, id: &str, rev: Option<&String>) -> Answer {
        let databases = self.databases();
        let found = databases.get(name).and_then(|database| database.documents.get(id));
        match found.filter(|document| rev.is_none_or(|rev| *rev == document.rev)) {
            None => refuse("404 Object Not Found", "not_found", "missing"),
            Some(document) => {
                let mut body = Map::new();
                body.insert("_id".to_owned(), json!(id));
                body.insert("_rev".to_owned(), json!(document.rev));
                body.extend(document.body.clone());
                ("200 OK", Some(document.rev.clone()), Value::Object(body))
            }
        }
    }

    fn save(&self, name: &str, id: &str, request: &Request) -> Answer {
        let Ok(mut body) =
            (if request.body.is_empty() { Ok(Map::new()) } else { serde_json::from_slice(&request.body) })
        else {
            return refuse("400 Bad Request", "bad_request", "invalid UTF-8 JSON");
        };
        body.remove("_id");
        let given = match body.remove("_rev") {
            Some(Value::String(rev)) => Some(rev),
            _ => request.query.get("rev").cloned(),
        };
        let mut databases = self.databases();
        let database = databases.entry(name.to_owned()).or_default();
        let held = database.documents.get(id).map(|document| document.rev.clone());
        if held != given {
            return refuse("409 Conflict", "conflict", "Document update conflict.");
        }
        database.last += 1;
        let sequence = database.last;
        let generation: u64 = held.and_then(|rev| rev.split('-').next()?.parse().ok()).unwrap_or(0);
        let rev = format!("{}-{sequence:032x}", generation + 1);
        if request.method == "DELETE" {
            database.documents.remove(id);
        } else {
            database.documents.insert(id.to_owned(), Document { sequence, rev: rev.clone(), body });
        }
        let status = if request.method == "DELETE" { "200 OK" } else { "201 Created" };
        (status, Some(rev.clone()), json!({"ok": true, "id": id, "rev": rev}))
    }

    /// Returns the last update sequence of a database.
    fn last(&self, name: &str) -> u64 {
        self.databases().get(name).map_or(0, |database| database.last)
    }

    fn changes(&self, name: &str, since: u64) -> Value {
        let databases = self.databases();
        let database = databases.get(name);
        let last = database.map_or(0, |database| database.last);
        let results: Vec<Value> = database
            .into_iter()
            .flat_map(|database| &database.documents)
            .filter(|(_, document)| document.sequence > since)
            .map(|(id, document)| {
                let mut doc = document.body.clone();
                doc.insert("_id".to_owned(), json!(id));
                doc.insert("_rev".to_owned(), json!(document.rev));
                let changes = json!([{ "rev": document.rev }]);
                json!({"seq": format!("{}-bench", document.sequence), "id": id, "changes": changes, "doc": doc})
            })
            .collect();
        json!({"results": results, "last_seq": format!("{last}-bench"), "pending": 0})
    }

    /// Serves a feed: existing changes, then, unless the feed is normal, heartbeats, or the end after the timeout. The bench's plans never change while
    /// a gateway runs.
    async fn follow(&self, connection: &mut Connection, request: &Request) -> Outcome<()> {
        let name = request.path.first().map_or("", String::as_str);
        let changes = self.changes(name, request.since(self.last(name)));
        connection
            .write(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n")
            .await?;
        let results = changes["results"].as_array().cloned().unwrap_or_default();
        let is_continuous = request.feed() == "continuous";
        if is_continuous {
            for result in &results {
                connection.write(&chunk(&format!("{result}\n"))).await?;
            }
            // As from CouchDB, as soon as the feed waits.
            connection.write(&chunk("\n")).await?;
        }
        if is_continuous || (request.feed() == "longpoll" && results.is_empty()) {
            let heartbeat = request.milliseconds("heartbeat");
            while let Some(pause) = heartbeat {
                tokio::time::sleep(pause).await;
                connection.write(&chunk("\n")).await?;
            }
            tokio::time::sleep(request.milliseconds("timeout").unwrap_or(FEED_TIMEOUT)).await;
        }
        let last = &changes["last_seq"];
        let end = if is_continuous {
            format!("{}\n", json!({"last_seq": last, "pending": 0}))
        } else {
            // Each row is on a line of its own.
            let rows: Vec<String> = results.iter().map(Value::to_string).collect();
            format!("{{\"results\":[\n{}\n],\n\"last_seq\":{last},\"pending\":0}}\n", rows.join(",\r\n"))
        };
        connection.write(&chunk(&end)).await?;
        connection.write(b"0\r\n\r\n").await?;
        Ok(())
    }
}
