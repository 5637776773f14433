//! Moves attachments back into CouchDB.

use std::sync::Arc;

use http::header::{CONTENT_TYPE, HeaderValue};
use http::{Method, StatusCode};
use serde_json::{Value, json};
use stowage_http::body::Body;
use stowage_http::written::written;

use super::native::NATIVE;
use super::{Found, Moved, refused, unasked};
use crate::commit::armed::Armed;
use crate::commit::cleanup::{left, remove_unnamed};
use crate::error::Error;
use crate::gateway::Gateway;
use crate::object::source::Source;
use crate::pointer::{self, Pointer};

impl Found {
    /// Returns the document's own objects that CouchDB can take over: their lengths must be known.
    pub(crate) fn to_move_back(&self) -> Vec<(String, Pointer)> {
        let mut found = self.own_objects();
        found.retain(|(_, pointer)| pointer.length.is_some());
        found
    }

    /// Moves attachments into CouchDB: sends the document followed by their bytes in parts, whose digests CouchDB verifies. Then removes
    /// the objects, and those that were hidden.
    pub(crate) async fn move_back(
        self,
        gateway: &Arc<Gateway>,
        mut moved: Vec<(String, Pointer)>,
    ) -> Result<Moved, Error> {
        let hidden = self.hidden();
        if moved.is_empty() {
            return self.drop_hidden(gateway, hidden).await;
        }
        let order = pointer::order(&self.document, &self.target.database.name, &self.target.document);
        moved.sort_by_key(|(name, _)| order.iter().position(|other| other == name));
        let names = moved.iter().chain(&hidden).map(|(name, _)| &**name).collect();
        let turns = gateway.locks.turns(&self.target, names).await;
        let mut sources = Vec::with_capacity(moved.len());
        let mut document = self.document.clone();
        let mut natives = document.object(NATIVE).unwrap_or_default();
        for (name, pointer) in &moved {
            let target = self.target.attachment(name);
            let activity = unasked();
            sources.push(Source::of(Arc::clone(gateway), activity, &target, &self.document, pointer.clone()).await?);
            pointer::forget(&mut document, name)?;
            natives.remove(name);
        }
        for (name, _) in &hidden {
            pointer::forget(&mut document, name)?;
        }
        // CouchDB reads the parts in the order of the entries with `follows`.
        for (name, pointer) in &moved {
            natives.set(name, &entry(pointer))?;
        }
        natives.begin_with(order.iter().map(|name| &**name));
        document.set_object(NATIVE, &natives)?;
        let attachments = moved.len() as u64;
        let bytes = moved.iter().filter_map(|(_, pointer)| pointer.length).sum();
        let (body, boundary) = related(document.to_bytes()?, sources);
        let kind = HeaderValue::try_from(format!("multipart/related; boundary=\"{boundary}\""));
        let kind = kind.map_err(|_| Error::Bug("a boundary is no header value"))?;
        moved.extend(hidden);
        let armed = Armed::arm(gateway, &self.target, &self.plan, &moved).await;
        let answer = self.caller.send_body(Method::PUT, &self.target.path, (CONTENT_TYPE, kind), body).await;
        drop(turns);
        let outcome = match answer {
            Ok(status) if status.is_success() => {
                remove_unnamed(gateway, &self.caller, &self.target, &self.plan, moved).await;
                Ok(Moved::Done { attachments, bytes })
            }
            Ok(StatusCode::CONFLICT) => Ok(Moved::Conflict),
            Ok(status) if status.is_client_error() => Err(refused(status, "the document with its attachments")),
            // The document may have been saved all the same: then a job removes the objects.
            Ok(status) => {
                self.leave(gateway, moved).await;
                Err(refused(status, "the document with its attachments"))
            }
            Err(error) => {
                self.leave(gateway, moved).await;
                Err(error.into())
            }
        };
        // A job that was added again stays.
        armed.done().await;
        outcome
    }

    /// Leaves objects to jobs, because it is unknown whether the document was saved without them.
    async fn leave(&self, gateway: &Gateway, moved: Vec<(String, Pointer)>) {
        for (name, pointer) in moved {
            let (target, why) =
                (self.target.attachment(&name), "CouchDB never said whether it took the attachment back");
            left(gateway, &self.caller, &target, &self.plan, (&pointer, why)).await;
        }
    }
}

/// Builds the entry of an attachment that follows the document (`couch_att:from_json`).
fn entry(pointer: &Pointer) -> Value {
    let (length, packed) = if pointer.is_gzip() {
        (pointer.stowage.unpacked.or(pointer.length), pointer.length)
    } else {
        (pointer.length, None)
    };
    let members = [
        ("content_type", json!(pointer.content_type)),
        ("follows", json!(true)),
        ("revpos", json!(pointer.revpos)),
        ("digest", json!(pointer.digest)),
        ("length", json!(length)),
        ("encoding", if packed.is_some() { json!("gzip") } else { Value::Null }),
        ("encoded_length", json!(packed)),
    ];
    members.into_iter().filter(|(_, value)| !value.is_null()).map(|(key, value)| (key.to_owned(), value)).collect()
}

/// Builds the multipart body: the document, followed by the attachments' bytes.
fn related(document: Vec<u8>, sources: Vec<Source>) -> (Body, String) {
    let boundary = uuid::Uuid::new_v4().simple().to_string();
    let mark = boundary.clone();
    let body = written(move |mut out| async move {
        out.send(format!("--{mark}\r\nContent-Type: application/json\r\n\r\n")).await;
        out.send(document).await;
        for source in sources {
            out.send(format!("\r\n--{mark}\r\n\r\n")).await;
            let body = source.open(None).await.map_err(|error| error.to_string())?;
            out.send_all(body).await?;
        }
        out.send(format!("\r\n--{mark}--")).await;
        Ok(())
    });
    (body, boundary)
}
