//! Explains what the plan says about an attachment: class, merged plan, decision, name and location, and what is refused and why.

use std::net::IpAddr;

use serde_json::{Map, Value, json};
use stowage_base::settings::masked_query;
use stowage_couch::Document;
use url::{Host, Url};

use stowage_storage::Backend as _;

use crate::database::{class_of, classify};
use crate::error::Error;
use crate::gateway::Gateway;
use crate::plan::{Decision, LOCAL, Merged, NameSource, Placement, Subject, compose, redacted};
use crate::upstream;

/// The subject of an explanation.
#[derive(Debug, Clone, Default)]
pub struct Question {
    /// The database's decoded name.
    pub database: String,
    /// The document's id, if given.
    pub document_id: Option<String>,
    /// The document, or a stand-in with a type and an owner.
    pub document: Document,
    /// The attachment's name.
    pub attachment: Option<String>,
}

/// Returns the explanation in the form that `interface.md` of the storage API specifies. Secrets are masked.
///
/// # Errors
/// Returns an error if the plans cannot be read.
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
        "parts": parts(&plan),
        "backend": null, "handler": null, "connection": null, "object": null, "url": null, "stub": null, "on_delete": null,
        "refused": null,
    });
    let Some(found) = found.as_ref().filter(|_| classify(&question.database).is_some()) else {
        return Ok(answer);
    };
    let document_type = question.document.text("pvt_type");
    let subject = Subject { class: found.class, database: &question.database, document_type: document_type.as_deref() };
    match plan.on_delete(&subject) {
        Err(error) => set(&mut answer, "refused", error.to_string()),
        Ok(word) => set(&mut answer, "on_delete", word.as_str()),
    }
    match plan.decide(&subject) {
        Err(error) => set(&mut answer, "refused", error.to_string()),
        Ok(Placement::PassThrough { connection }) => {
            set_refused_connection(gateway, &plan, &connection, &mut answer);
            set(&mut answer, "connection", connection);
        }
        Ok(Placement::Store(decision)) => {
            set(&mut answer, "backend", decision.storage());
            set(&mut answer, "handler", decision.handler());
            set(&mut answer, "connection", decision.connection.as_str());
            set(&mut answer, "stub", decision.stub);
            place(gateway, question, account.map(|account| account.as_str()), &decision, &mut answer);
            set_refused_connection(gateway, &plan, &decision.connection, &mut answer);
        }
    }
    Ok(answer)
}

/// Adds the object's name and location, as far as the question determines them.
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
            let url = backend.url(name.as_str());
            if let Some(address) = refused_address(gateway, decision.handler(), &url) {
                set(answer, "refused", format!("{address} is an address that this system does not connect to"));
            }
            set(answer, "url", masked_query(&url));
        }
        Err(error) => set(answer, "refused", error.to_string()),
    }
}

/// Adds why a connection's CouchDB would be refused, if its settings alone show that.
fn set_refused_connection(gateway: &Gateway, plan: &Merged, id: &str, answer: &mut Value) {
    let Ok(Some(settings)) = plan.connection(id) else { return };
    if id == LOCAL {
        return;
    }
    match upstream::check(&settings) {
        Err(error) => set(answer, "refused", Error::Connection(id.into(), error).to_string()),
        Ok(origin) => {
            if origin.host.parse().is_ok_and(|address: IpAddr| !gateway.egress.permits(address)) {
                let address = origin.host;
                let reason = format!("connection {id}: {address} is an address that this system does not connect to");
                set(answer, "refused", reason);
            }
        }
    }
}

/// Returns the documents that define each part of the plan, in ascending precedence.
fn parts(plan: &Merged) -> Map<String, Value> {
    plan.parts().iter().map(|(part, documents)| (part.clone(), json!(documents))).collect()
}

/// Returns the IP address in a URL, if the egress policy denies it. A name is not resolved: it is checked when a connection is made. For other
/// handlers, the operator chooses the address.
fn refused_address(gateway: &Gateway, handler: &str, url: &str) -> Option<IpAddr> {
    if !matches!(handler, "azure" | "ftp" | "http" | "s3") {
        return None;
    }
    // `ftps` is not among the schemes whose hosts may be written in every form of an address (WHATWG URL, "special scheme").
    let url: Url = url.replacen("ftps://", "ftp://", 1).parse().ok()?;
    let address = match url.host()? {
        Host::Ipv4(address) => IpAddr::V4(address),
        Host::Ipv6(address) => IpAddr::V6(address),
        Host::Domain(_) => return None,
    };
    (!gateway.egress.permits(address)).then_some(address)
}

fn set(answer: &mut Value, key: &str, value: impl Into<Value>) {
    if let Some(member) = answer.get_mut(key) {
        *member = value.into();
    }
}
