//! `_all_docs`.

use rouchdb_core::adapter::Adapter as _;
use rouchdb_core::document::{AllDocsOptions, AllDocsRow, GetOptions};
use serde_json::{Map, Value, json};

use crate::contents::database::Database;
use crate::contents::json::render;
use crate::exchange::answer::{Answer, Failure, chunked};
use crate::exchange::request::{Exchange, Query};

/// `/{db}/_all_docs`.
pub(crate) async fn all_docs(database: &Database, exchange: &mut Exchange, query: &Query) -> Result<Answer, Failure> {
    let body = exchange.options().await?;
    let wanted = AllDocsRequest { query, body };
    let options = wanted.options()?;
    let offset = if options.keys.is_some() { Value::Null } else { offset(database, &options).await?.into() };
    let documents = options.include_docs;
    let found = database.engine.all_docs(AllDocsOptions { include_docs: false, ..options }).await?;
    let mut rows = Vec::with_capacity(found.rows.len());
    for row in found.rows {
        rows.push(render_row(database, row, documents, wanted.flag("attachments")).await?);
    }
    let mut text = format!("{{\"total_rows\":{},\"offset\":{offset},\"rows\":[\r\n", found.total_rows);
    text.push_str(&rows.join(",\r\n"));
    text.push_str("\r\n]}\n");
    Ok(chunked(text))
}

/// The parameters, each from the body or else from the query.
struct AllDocsRequest<'a> {
    query: &'a Query,
    body: Map<String, Value>,
}

impl AllDocsRequest<'_> {
    fn value(&self, names: &[&str]) -> Result<Option<Value>, Failure> {
        for name in names {
            if let Some(value) = self.body.get(*name) {
                return Ok(Some(value.clone()));
            }
            if let Some(value) = self.query.json(name)? {
                return Ok(Some(value));
            }
        }
        Ok(None)
    }

    /// Returns a key. Ids are strings; among other JSON values only `null` is distinguished, meaning no key at all.
    fn key(&self, names: &[&str]) -> Result<Option<String>, Failure> {
        Ok(match self.value(names)? {
            Some(Value::String(key)) => Some(key),
            None | Some(Value::Null) => None,
            Some(other) => Some(other.to_string()),
        })
    }

    fn flag(&self, name: &str) -> bool {
        match self.body.get(name) {
            Some(value) => value == &Value::Bool(true),
            None => self.query.flag(name),
        }
    }

    fn number(&self, name: &str) -> Result<Option<u64>, Failure> {
        match self.body.get(name).and_then(Value::as_u64) {
            Some(number) => Ok(Some(number)),
            None => self.query.number(name),
        }
    }

    fn options(&self) -> Result<AllDocsOptions, Failure> {
        let wrong = |_| Failure::bad_request("`keys` member must be an array.");
        let keys = self.value(&["keys"])?.map(serde_json::from_value).transpose().map_err(wrong)?;
        let inclusive = self.body.get("inclusive_end").and_then(Value::as_bool);
        let exclusive = self.query.get("inclusive_end") == Some("false");
        Ok(AllDocsOptions {
            start_key: self.key(&["startkey", "start_key"])?,
            end_key: self.key(&["endkey", "end_key"])?,
            key: self.key(&["key"])?,
            keys,
            include_docs: self.flag("include_docs"),
            descending: self.flag("descending"),
            skip: self.number("skip")?.unwrap_or(0),
            limit: self.number("limit")?,
            inclusive_end: inclusive.unwrap_or(!exclusive),
            ..AllDocsOptions::new()
        })
    }
}

/// Counts the rows before the first one of the response, which the engine does not report.
async fn offset(database: &Database, options: &AllDocsOptions) -> Result<u64, Failure> {
    let Some(first) = options.key.as_ref().or(options.start_key.as_ref()) else { return Ok(options.skip) };
    let before = AllDocsOptions {
        end_key: Some(first.clone()),
        inclusive_end: false,
        descending: options.descending,
        ..AllDocsOptions::new()
    };
    let before = database.engine.all_docs(before).await?;
    Ok(options.skip.saturating_add(before.rows.len() as u64))
}

async fn render_row(
    database: &Database,
    row: AllDocsRow,
    documents: bool,
    attachments: bool,
) -> Result<String, Failure> {
    let Some(rev) = row.rev().map(str::to_owned) else {
        return Ok(json!({"key": row.key, "error": "not_found"}).to_string());
    };
    let deleted = row.is_deleted();
    let mut value = json!({"rev": rev});
    if let Some(members) = value.as_object_mut().filter(|_| deleted) {
        members.insert("deleted".into(), true.into());
    }
    let mut out = json!({"id": row.key, "key": row.key, "value": value});
    if let Some(members) = out.as_object_mut().filter(|_| documents) {
        let options = GetOptions { rev: Some(rev), attachments, ..GetOptions::default() };
        let document = if deleted { Value::Null } else { render(database.read(&row.key, options).await?) };
        members.insert("doc".into(), document);
    }
    Ok(out.to_string())
}
