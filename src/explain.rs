//! What the plan says about an attachment: class, merged plan, decision, name and place, and what is refused and why.

use serde_json::{Value, json};

use crate::couch::Document;
use crate::database::{class_of, classify};
use crate::error::Error;
use crate::handlers::Gateway;
use crate::plan::{Decision, NameSource, Outcome, Subject, compose, redacted};
use crate::settings::masked_query;

/// What is asked about.
#[derive(Debug, Clone, Default)]
pub struct Question {
    /// The database's decoded name.
    pub database: String,
    /// The document's id, where one is named.
    pub document_id: Option<String>,
    /// The document, or what stands for one: its type and owner.
    pub document: Document,
    /// The attachment's name.
    pub attachment: Option<String>,
}

/// The answer, as `interface.md` of the storage API has it. Secrets are masked.
///
/// # Errors
/// Where the plans cannot be read.
pub async fn explain(gateway: &Gateway, question: &Question) -> Result<Value, Error> {
    let found = class_of(&question.database);
    let account = found.as_ref().and_then(|found| found.account.as_ref());
    let owner = question.document.text("owner_id");
    let plan = gateway.plans.effective(account, owner.as_deref()).await?;
    let mut answer = json!({
        "class": found.as_ref().map(|found| found.class.as_str()),
        "account": account.map(|account| account.as_str()),
        "plan": redacted(plan.members()),
        "sources": plan.sources(),
        "backend": null, "handler": null, "connection": null, "object": null, "url": null, "stub": null, "refused": null,
    });
    let Some(found) = found.as_ref().filter(|_| classify(&question.database).is_some()) else {
        return Ok(answer);
    };
    let document_type = question.document.text("pvt_type");
    let subject = Subject { class: found.class, database: &question.database, document_type: document_type.as_deref() };
    match plan.decide(&subject) {
        Err(error) => set(&mut answer, "refused", error.to_string()),
        Ok(Outcome::PassThrough { connection }) => set(&mut answer, "connection", connection),
        Ok(Outcome::Store(decision)) => {
            set(&mut answer, "backend", decision.storage());
            set(&mut answer, "handler", decision.handler());
            set(&mut answer, "connection", decision.connection.as_str());
            set(&mut answer, "stub", decision.stub);
            place(gateway, question, account.map(|account| account.as_str()), &decision, &mut answer);
        }
    }
    Ok(answer)
}

/// The object's name and where it would be, as far as the question tells.
fn place(gateway: &Gateway, question: &Question, account: Option<&str>, decision: &Decision, answer: &mut Value) {
    let backend = match gateway.storages.open(&decision.settings) {
        Ok(backend) => backend,
        Err(error) => return set(answer, "refused", error.to_string()),
    };
    let source = NameSource {
        account,
        database: &question.database,
        document_id: question.document_id.as_deref().unwrap_or("{id}"),
        attachment: question.attachment.as_deref().unwrap_or("{attachment}"),
        document: &question.document,
    };
    match compose(&decision.settings, &source) {
        Ok(name) => {
            set(answer, "object", name.as_str());
            set(answer, "url", masked_query(&backend.url(name.as_str())));
        }
        Err(error) => set(answer, "refused", error.to_string()),
    }
}

fn set(answer: &mut Value, key: &str, value: impl Into<Value>) {
    if let Some(member) = answer.get_mut(key) {
        *member = value.into();
    }
}
