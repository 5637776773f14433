//! `GET .../storage/explain`: what the plan says about an attachment.

use http::StatusCode;
use stowage_couch::{Answer, Document, DocumentPath};
use stowage_http::target::encode;

use super::super::explain::{Question, explain};
use super::Api;
use super::envelope::{Errors, Failure, Success, refused};
use super::request::Query;
use crate::database::{AccountId, class_of};
use crate::plan::stand_in;

impl Api {
    pub(super) async fn explain(&self, account: Option<&AccountId>, query: &Query) -> Result<Success, Failure> {
        let mut errors = Errors::default();
        let database = query.get("db").unwrap_or_default().to_owned();
        if database.is_empty() {
            errors.say(&["db"], "required", "Field is required but missing");
        }
        let id = query.get("doc");
        if id.is_some_and(str::is_empty) {
            errors.say(&["doc"], "minLength", "String must be at least 1 characters");
        }
        if id.is_some() && (query.get("type").is_some() || query.get("owner").is_some()) {
            errors.say(&["doc"], "forbidden", "A document has its own type and owner");
        }
        errors.check()?;
        let found = class_of(&database).and_then(|found| found.account);
        if account.is_some() && found.as_ref() != account {
            return Err(Failure::bad_identifier(&database));
        }
        let document = match id {
            Some(id) => self.document_of(&database, id).await?,
            None => stand_in(query.get("type"), query.get("owner")),
        };
        let question = Question {
            database,
            document_id: id.map(str::to_owned),
            document,
            attachment: query.get("attachment").map(str::to_owned),
        };
        Ok(Success::new(explain(&self.0.gateway, &question).await?, None))
    }

    async fn document_of(&self, database: &str, id: &str) -> Result<Document, Failure> {
        // `_all_docs` and the like are not documents.
        if id.starts_with('_') && !id.starts_with("_design/") {
            return Err(Failure::bad_identifier(id));
        }
        let path = DocumentPath { database: encode(database), document: encode(id) };
        match self.0.gateway.homes.of_name(database).await?.own_document(&path).await? {
            Answer::Found(document, _) => Ok(document),
            // CouchDB's response to an impossible database name.
            Answer::Refused(answer) if answer.status() == StatusCode::BAD_REQUEST => Err(Failure::bad_identifier(id)),
            answer if answer.is_missing() => Err(Failure::bad_identifier(id)),
            Answer::Missing(answer) | Answer::Refused(answer) => Err(refused(answer.status(), "give the document")),
        }
    }
}
