//! The form of responses: `{"data", "request_id", "revision", "status": "success"}`, and that of failures.

use http::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE, ETAG, HeaderName, HeaderValue, WWW_AUTHENTICATE};
use http::{Response, StatusCode};
use serde_json::{Map, Value, json};
use stowage_base::log::{RequestId, chain};
use stowage_couch as couch;
use stowage_http::body::Body;

use crate::error::Error;

/// A successful response.
#[derive(Debug)]
pub(super) struct Success {
    status: StatusCode,
    data: Value,
    revision: Option<String>,
    extra: Map<String, Value>,
    /// A stream of server-sent events in place of the data.
    events: Option<Body>,
}

impl Success {
    /// Creates a 200 with data.
    pub(super) fn new(data: Value, revision: Option<String>) -> Self {
        Self { status: StatusCode::OK, data, revision, extra: Map::new(), events: None }
    }

    /// Creates a 201 with data.
    pub(super) fn created(data: Value, revision: Option<String>) -> Self {
        Self { status: StatusCode::CREATED, ..Self::new(data, revision) }
    }

    /// Creates a 200 with server-sent events.
    pub(super) fn events(events: Body) -> Self {
        Self { events: Some(events), ..Self::new(Value::Null, None) }
    }

    /// Adds a member beside `data`.
    pub(super) fn with(mut self, key: &str, value: impl Into<Value>) -> Self {
        self.extra.insert(key.to_owned(), value.into());
        self
    }

    pub(super) fn into_response(self, id: &RequestId) -> Response<Body> {
        if let Some(events) = self.events {
            return headed(Response::new(events), "text/event-stream", id);
        }
        let mut envelope = json!({ "data": self.data, "request_id": id.to_string(), "status": "success" });
        if let Some(members) = envelope.as_object_mut() {
            members.extend(self.extra);
            if let Some(revision) = &self.revision {
                members.insert("revision".to_owned(), revision.as_str().into());
            }
        }
        let mut response = answer(self.status, id, &envelope);
        if let Some(tag) = self.revision.and_then(|revision| HeaderValue::try_from(format!("\"{revision}\"")).ok()) {
            response.headers_mut().insert(ETAG, tag);
        }
        response
    }
}

/// A failed request.
#[derive(Debug)]
pub(super) struct Failure(Box<Inner>);

#[derive(Debug)]
struct Inner {
    status: StatusCode,
    /// The platform's word for the failure, such as `bad_identifier`.
    message: &'static str,
    data: Value,
    header: Option<(HeaderName, HeaderValue)>,
    /// The cause, only for the log.
    cause: Option<String>,
}

impl Failure {
    fn new(status: StatusCode, message: &'static str, data: Value) -> Self {
        Self(Box::new(Inner { status, message, data, header: None, cause: None }))
    }

    /// Creates a failure whose data is a message.
    fn told(status: StatusCode, message: &'static str, text: &str) -> Self {
        Self::new(status, message, json!({ "message": text }))
    }

    fn with_header(mut self, name: HeaderName, value: &'static str) -> Self {
        self.0.header = Some((name, HeaderValue::from_static(value)));
        self
    }

    fn because(mut self, cause: String) -> Self {
        self.0.cause = Some(cause);
        self
    }

    /// Creates a 401: the token is missing or unknown.
    pub(super) fn unauthorized() -> Self {
        Self::told(StatusCode::UNAUTHORIZED, "invalid_credentials", "invalid credentials")
            .with_header(WWW_AUTHENTICATE, "Bearer")
    }

    /// Creates a 403: the token is for another account.
    pub(super) fn forbidden() -> Self {
        Self::told(StatusCode::FORBIDDEN, "forbidden", "forbidden")
    }

    /// Creates a 404: nothing has this name.
    pub(super) fn bad_identifier(name: &str) -> Self {
        let data = json!({ "message": "bad identifier", "cause": name });
        Self::new(StatusCode::NOT_FOUND, "bad_identifier", data)
    }

    /// Creates a 405 with the allowed methods.
    pub(super) fn method_not_allowed(allowed: &'static str) -> Self {
        Self::told(StatusCode::METHOD_NOT_ALLOWED, "invalid_method", "method not allowed").with_header(ALLOW, allowed)
    }

    /// Creates a 503: CouchDB does not return the job queue.
    pub(super) fn queue(reason: String) -> Self {
        Self::told(StatusCode::SERVICE_UNAVAILABLE, "datastore_fault", "the jobs cannot be read").because(reason)
    }

    /// Creates a 409: the document exists already, or was changed concurrently.
    pub(super) fn conflict() -> Self {
        Self::told(StatusCode::CONFLICT, "datastore_conflict", "conflicting documents")
    }

    /// Creates a 409: another run of this kind is in progress.
    pub(super) fn busy(kind: &str, running: Value) -> Self {
        let message = format!("this gateway runs another {kind}");
        Self::new(StatusCode::CONFLICT, "conflict", json!({ "message": message, "run": running }))
    }

    /// Creates a 429: there are too many watchers.
    pub(super) fn too_many() -> Self {
        Self::told(StatusCode::TOO_MANY_REQUESTS, "too_many_requests", "too many watch already")
    }

    /// Creates a 503: the gateway is stopping.
    pub(super) fn stopping() -> Self {
        Self::told(StatusCode::SERVICE_UNAVAILABLE, "stopping", "the gateway is about to stop")
    }

    /// Creates a 400: the body is not a JSON object.
    pub(super) fn unreadable() -> Self {
        Self::told(StatusCode::BAD_REQUEST, "parse_error", "failed to parse request body")
    }

    /// Creates a 408: the body stalled.
    pub(super) fn too_slow() -> Self {
        Self::told(StatusCode::REQUEST_TIMEOUT, "timeout", "the body stopped coming")
    }

    /// Creates a 413: the body exceeds `limits.document_bytes`.
    pub(super) fn too_large() -> Self {
        let text = "the body is larger than limits.document_bytes";
        Self::told(StatusCode::PAYLOAD_TOO_LARGE, "request_entity_too_large", text)
    }

    /// Creates a 400 with an error for one field.
    pub(super) fn wrong(field: &str, rule: &str, message: impl Into<String>) -> Self {
        let mut errors = Errors::default();
        errors.say(&[field], rule, message);
        Self::invalid(errors)
    }

    /// Creates a 400 with errors for fields.
    fn invalid(errors: Errors) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "validation error", Value::Object(errors.fields))
    }

    /// Returns the status.
    #[cfg(test)]
    pub(super) fn status(&self) -> StatusCode {
        self.0.status
    }

    /// Returns the response's `data`.
    #[cfg(test)]
    pub(super) fn data(&self) -> &Value {
        &self.0.data
    }

    /// Writes a log line for a failure that the caller did not cause.
    pub(super) fn log(&self, id: &RequestId) {
        if let Some(cause) = &self.0.cause {
            tracing::warn!(request = %id, status = self.0.status.as_u16(), error = %cause, "the storage API failed");
        }
    }

    pub(super) fn into_response(self, id: &RequestId) -> Response<Body> {
        let Inner { status, message, data, header, .. } = *self.0;
        let envelope = json!({
            "data": data, "error": status.as_str(), "message": message, "request_id": id.to_string(), "status": "error",
        });
        let mut response = answer(status, id, &envelope);
        if let Some((name, value)) = header {
            response.headers_mut().insert(name, value);
        }
        response
    }
}

impl From<couch::Error> for Failure {
    fn from(error: couch::Error) -> Self {
        Self::told(StatusCode::SERVICE_UNAVAILABLE, "datastore_unreachable", "datastore timeout").because(chain(&error))
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        let (_, _, reason) = error.answer();
        let (status, message) = match error {
            Error::Bug(_) => (StatusCode::INTERNAL_SERVER_ERROR, "internal_error"),
            _ => (StatusCode::SERVICE_UNAVAILABLE, "datastore_fault"),
        };
        Self::told(status, message, &reason).because(error.to_string())
    }
}

/// Creates the failure for an unexpected refusal by CouchDB: `what` continues "CouchDB refused to".
pub(super) fn refused(status: StatusCode, what: &str) -> Failure {
    let text = format!("the datastore refused to {what}");
    Failure::told(StatusCode::SERVICE_UNAVAILABLE, "datastore_fault", &text)
        .because(format!("CouchDB refused to {what} (status {})", status.as_u16()))
}

/// The errors of each field: `{"attachments": {"<id>": {"settings": {"bucket": {"required": {"message": ...}}}}}}`.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Errors {
    fields: Map<String, Value>,
    count: usize,
}

/// The number of errors in a response: a body of several megabytes may be wrong everywhere.
const MOST_ERRORS: usize = 200;

impl Errors {
    /// Adds an error for a field. `rule` is the platform's name of the rule, such as `required`.
    pub(super) fn add<S: AsRef<str>>(&mut self, path: &[S], rule: &str, details: Value) {
        if self.count >= MOST_ERRORS {
            return;
        }
        self.count += 1;
        let mut members = &mut self.fields;
        for key in path {
            let entry = members.entry(key.as_ref()).or_insert_with(|| Value::Object(Map::new()));
            if !entry.is_object() {
                *entry = Value::Object(Map::new());
            }
            let Value::Object(next) = entry else { return };
            members = next;
        }
        members.insert(rule.to_owned(), details);
    }

    /// Adds an error with a message for a field.
    pub(super) fn say<S: AsRef<str>>(&mut self, path: &[S], rule: &str, message: impl Into<String>) {
        self.add(path, rule, json!({ "message": message.into() }));
    }

    /// Returns an error if any was added.
    ///
    /// # Errors
    /// Returns a 400 with every error.
    pub(super) fn check(self) -> Result<(), Failure> {
        if self.fields.is_empty() { Ok(()) } else { Err(Failure::invalid(self)) }
    }
}

fn answer(status: StatusCode, id: &RequestId, envelope: &Value) -> Response<Body> {
    let mut response = Response::new(Body::full(envelope.to_string()));
    *response.status_mut() = status;
    headed(response, "application/json", id)
}

fn headed(mut response: Response<Body>, media_type: &'static str, id: &RequestId) -> Response<Body> {
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(media_type));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    if let Ok(id) = HeaderValue::try_from(id.to_string()) {
        headers.insert("x-request-id", id);
    }
    response
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::Errors;

    #[test]
    fn errors_nest_by_field() {
        let mut errors = Errors::default();
        errors.say(&["attachments", "id", "settings", "bucket"], "required", "Field is required but missing");
        errors.say(&["attachments", "id", "handler"], "enum", "no");
        let expected = json!({"attachments": {"id": {
            "settings": {"bucket": {"required": {"message": "Field is required but missing"}}},
            "handler": {"enum": {"message": "no"}},
        }}});
        assert_eq!(Value::Object(errors.fields.clone()), expected);
        assert!(errors.check().is_err());
        assert!(Errors::default().check().is_ok());
    }
}
