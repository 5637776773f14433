//! Requests for many documents.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use http::StatusCode;
use rouchdb_core::adapter::Adapter as _;
use rouchdb_core::document::{DocResult, Document, GetOptions, RevsDiffResult};
use serde_json::{Map, Value, json};

use crate::contents::database::Database;
use crate::contents::json::{check_id, parse};
use crate::contents::whole::{self, BulkGetResult, parse_revs};
use crate::exchange::answer::{Answer, Failure, json_answer};
use crate::exchange::request::{Exchange, Query};
use crate::exchange::user::User;
use crate::routes::document::get_options;
use crate::routes::revisions::open;

/// `/{db}/_bulk_docs`.
pub(crate) async fn bulk_docs(
    database: &Arc<Database>,
    exchange: &mut Exchange,
    user: &User,
) -> Result<Answer, Failure> {
    exchange.require_post()?;
    let mut members = exchange.object().await?;
    let listed = match members.get_mut("docs").map(Value::take) {
        Some(Value::Array(listed)) => listed,
        Some(_) => return Err(Failure::bad_request("`docs` parameter must be an array.")),
        None => return Err(Failure::bad_request("POST body must include `docs` parameter.")),
    };
    let mut documents = Vec::with_capacity(listed.len());
    for value in listed {
        let mut document = parse(value)?;
        if document.id.is_empty() {
            document.id = uuid::Uuid::new_v4().simple().to_string();
        }
        check_id(&document.id)?;
        documents.push(document);
    }
    if documents.iter().any(|document| document.id.starts_with("_design/")) {
        user.require_admin(&database.security().await?)?;
    }
    let edits = members.get("new_edits") != Some(&Value::Bool(false));
    let told: Vec<Value> = if edits {
        for document in &documents {
            database.check_stubs(document).await?;
        }
        edit(database, documents).await?
    } else {
        // For replicated revisions, only failures are reported.
        let results = database.replicate(documents).await?;
        results.into_iter().filter(|result| !result.ok).map(result_json).collect()
    };
    Ok(json_answer(StatusCode::CREATED, &told.into()))
}

/// Saves new edits. If a document occurs more than once, the first saved edit makes the others conflict, as they follow no revision of it.
async fn edit(database: &Arc<Database>, documents: Vec<Document>) -> Result<Vec<Value>, Failure> {
    let ids: HashSet<&str> = documents.iter().map(|document| document.id.as_str()).collect();
    if ids.len() == documents.len() {
        return Ok(database.save(documents).await?.into_iter().map(result_json).collect());
    }
    let (mut saved, mut results) = (HashSet::new(), Vec::with_capacity(documents.len()));
    for document in documents {
        let id = document.id.clone();
        if saved.contains(&id) {
            results.push(json!({"id": id, "error": "conflict", "reason": "Document update conflict."}));
            continue;
        }
        let told = database.save(vec![document]).await?;
        saved.extend(told.iter().any(|result| result.ok).then_some(id));
        results.extend(told.into_iter().map(result_json));
    }
    Ok(results)
}

fn result_json(result: DocResult) -> Value {
    if result.ok {
        json!({"ok": true, "id": result.id, "rev": result.rev})
    } else {
        json!({"id": result.id, "error": result.error, "reason": result.reason})
    }
}

/// `/{db}/_bulk_get`.
pub(crate) async fn bulk_get(database: &Database, exchange: &mut Exchange, query: &Query) -> Result<Answer, Failure> {
    exchange.require_post()?;
    let members = exchange.object().await?;
    let Some(wanted) = members.get("docs").and_then(Value::as_array) else {
        return Err(Failure::bad_request("Missing JSON list of 'docs'."));
    };
    for name in ["open_revs", "new_edits", "w", "rev", "atts_since"] {
        if query.get(name).is_some() {
            return Err(Failure::bad_request(format!("\"{name}\" query parameter is not acceptable")));
        }
    }
    let mut options = get_options(query)?;
    options.attachments |= !exchange.accepts("application/json");
    let mut found = Vec::with_capacity(wanted.len());
    for one in wanted {
        found.push(find(database, one, &options).await?);
    }
    Ok(whole::bulk_get(exchange, found))
}

/// Finds one of the `docs` of a `_bulk_get`.
async fn find(database: &Database, wanted: &Value, options: &GetOptions) -> Result<BulkGetResult, Failure> {
    let refused = |id: &Value, rev: &Value, reason: &str| BulkGetResult {
        id: id.clone(),
        documents: vec![Err(Box::new(json!({"rev": rev, "reason": reason, "id": id, "error": "bad_request"})))],
    };
    let null = Value::Null;
    let Some(wanted) = wanted.as_object().filter(|members| !members.is_empty()) else {
        return Ok(refused(&null, &null, "document must be a JSON object"));
    };
    let id = match wanted.get("id") {
        None => return Ok(refused(&null, &null, "document id missed")),
        Some(Value::String(id)) => id,
        Some(other) => return Ok(refused(other, &null, "Document id must be a string")),
    };
    let told = wanted.get("rev");
    let revs = told.map(|rev| parse_revs(json!([rev]))).transpose();
    let since = wanted.get("atts_since").filter(|since| **since != json!([]));
    let (Ok(revs), Ok(since)) = (revs, since.cloned().map(parse_revs).transpose()) else {
        return Ok(refused(&id.as_str().into(), told.unwrap_or(&null), "Invalid rev format"));
    };
    let mut documents = open(database, id, revs.as_deref(), options, since.as_deref()).await?;
    if documents.is_empty() {
        documents.push(Err("undefined".to_owned()));
    }
    let missing = |rev| Box::new(json!({"rev": rev, "reason": "missing", "id": id, "error": "not_found"}));
    let documents = documents.into_iter().map(|one| one.map_err(missing)).collect();
    Ok(BulkGetResult { id: id.as_str().into(), documents })
}

/// Returns the ids and revisions of a request, in order, with those the engine lacks.
async fn differences(database: &Database, exchange: &mut Exchange) -> Result<Vec<(String, RevsDiffResult)>, Failure> {
    exchange.require_post()?;
    let mut asked = HashMap::new();
    let mut order = Vec::new();
    for (id, revs) in exchange.object().await? {
        let revs: Vec<String> = serde_json::from_value(revs).map_err(|_| Failure::bad_rev())?;
        order.push(id.clone());
        asked.insert(id, revs);
    }
    let mut found = database.engine.revs_diff(asked).await?.results;
    Ok(order.into_iter().filter_map(|id| found.remove_entry(&id)).collect())
}

/// `/{db}/_revs_diff`.
pub(crate) async fn revs_diff(database: &Database, exchange: &mut Exchange) -> Result<Answer, Failure> {
    let found = differences(database, exchange).await?;
    let rows = found.into_iter().map(|(id, diff)| {
        let mut row = json!({"missing": diff.missing});
        if let Some(members) = row.as_object_mut().filter(|_| !diff.possible_ancestors.is_empty()) {
            members.insert("possible_ancestors".into(), diff.possible_ancestors.into());
        }
        (id, row)
    });
    Ok(json_answer(StatusCode::OK, &Value::Object(rows.collect())))
}

/// `/{db}/_missing_revs`.
pub(crate) async fn missing_revs(database: &Database, exchange: &mut Exchange) -> Result<Answer, Failure> {
    let found = differences(database, exchange).await?;
    let rows: Map<String, Value> = found.into_iter().map(|(id, diff)| (id, diff.missing.into())).collect();
    Ok(json_answer(StatusCode::OK, &json!({"missing_revs": rows})))
}
