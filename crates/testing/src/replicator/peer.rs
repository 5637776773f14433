//! A database as accessed by the replicator.

use std::net::SocketAddr;

use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::{Map, Value};

use crate::exchange::{authorization, exchange};
use crate::raw::RawResponse;

/// A database at an address.
#[derive(Clone, Debug)]
pub struct Peer {
    pub address: SocketAddr,
    /// Name and password.
    pub login: (String, String),
    /// The database as encoded in a path.
    pub database: String,
}

impl Peer {
    /// `http://name:password@host:port/database`
    pub fn url(&self) -> String {
        format!("http://{}:{}@{}/{}", self.login.0, self.login.1, self.address, self.database)
    }

    /// Sends a request; `rest` follows the database's name.
    pub async fn ask(&self, method: &str, rest: &str, headers: &[(&str, &str)], body: &[u8]) -> RawResponse {
        let mut all = vec![authorization(&self.login)];
        all.extend(headers.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())));
        exchange(self.address, method, &format!("/{}{rest}", self.database), &all, body).await
    }

    /// Sends a GET that must return an object with 200.
    pub(super) async fn object(&self, rest: &str) -> Result<Map<String, Value>, String> {
        let answer = self.ask("GET", rest, &[("Accept", "application/json")], b"").await;
        members(&answer, &[200], &format!("GET {rest}"))
    }

    /// Sends a POST of JSON that must return an object with one of these statuses.
    pub(super) async fn post(&self, rest: &str, body: &Value, statuses: &[u16]) -> Result<Value, String> {
        let headers = [("Content-Type", "application/json"), ("Accept", "application/json")];
        let answer = self.ask("POST", rest, &headers, body.to_string().as_bytes()).await;
        json(&answer, statuses, &format!("POST {rest}"))
    }
}

/// Encodes an id for a path. CouchDB's replicator does not encode the slash of design and local documents.
pub fn path(id: &str) -> String {
    let encoded = |text: &str| utf8_percent_encode(text, NON_ALPHANUMERIC).to_string();
    match id.split_once('/') {
        Some((space @ ("_design" | "_local"), id)) => format!("/{space}/{}", encoded(id)),
        _ => format!("/{}", encoded(id)),
    }
}

/// Encodes a value for a query.
pub(super) fn query(value: &Value) -> String {
    utf8_percent_encode(&value.to_string(), NON_ALPHANUMERIC).to_string()
}

/// Parses a response as JSON if it has one of these statuses, is complete, and is declared as JSON.
pub(super) fn json(answer: &RawResponse, statuses: &[u16], what: &str) -> Result<Value, String> {
    if !statuses.contains(&answer.status) {
        return Err(format!("{what}: status {}: {}", answer.status, answer.text()));
    }
    if !answer.complete {
        return Err(format!("{what}: the answer breaks off"));
    }
    let kind = answer.header("content-type").unwrap_or_default();
    if kind.split(';').next() != Some("application/json") {
        return Err(format!("{what}: {kind:?} is no JSON"));
    }
    serde_json::from_slice(&answer.body).map_err(|error| format!("{what}: {error}"))
}

/// Like [`json`], for an object.
pub(super) fn members(answer: &RawResponse, statuses: &[u16], what: &str) -> Result<Map<String, Value>, String> {
    match json(answer, statuses, what)? {
        Value::Object(members) => Ok(members),
        other => Err(format!("{what}: {other} is no object")),
    }
}
