//! The plan that applies to one document, and its decision.

use std::ops::Deref;
use std::sync::Arc;

use stowage_couch::Document;

use super::{Merged, OnDelete, Placement, PlanError, Plans, Subject, Unavailable};
use crate::router::Database;

/// The plan that applies to a document, with the fields it depends on: together they lead to the storages of the document's pointers.
#[derive(Debug, Clone)]
pub(crate) struct DocumentPlan {
    merged: Arc<Merged>,
    pub(crate) document_type: Option<String>,
    owner: Option<String>,
}

impl DocumentPlan {
    /// Returns a document with only the fields that this plan depends on.
    pub(crate) fn stand_in(&self) -> Document {
        stand_in(self.document_type.as_deref(), self.owner.as_deref())
    }
}

/// Creates a document with only the fields that plans depend on: its `pvt_type` and its `owner_id`.
pub(crate) fn stand_in(document_type: Option<&str>, owner: Option<&str>) -> Document {
    let mut document = Document::default();
    for (key, value) in [("pvt_type", document_type), ("owner_id", owner)] {
        if let Some(value) = value {
            // A string always serialises.
            drop(document.set(key, &value.into()));
        }
    }
    document
}

impl Deref for DocumentPlan {
    type Target = Merged;

    fn deref(&self) -> &Merged {
        &self.merged
    }
}

/// Returns the plan that applies to a document: its owner's if it has one, else the account's.
pub(crate) async fn plan_for(
    plans: &Plans,
    database: &Database,
    document: &Document,
) -> Result<DocumentPlan, Unavailable> {
    let owner = document.text("owner_id");
    let merged = plans.effective(database.account.as_ref(), owner.as_deref()).await?;
    Ok(DocumentPlan { merged, document_type: document.text("pvt_type"), owner })
}

/// Returns the plan's decision for a document.
pub(crate) fn decide(plan: &Merged, database: &Database, document: &Document) -> Result<Placement, PlanError> {
    let document_type = document.text("pvt_type");
    let subject = Subject { class: database.class, database: &database.name, document_type: document_type.as_deref() };
    plan.decide(&subject)
}

/// Returns what the plan wants for objects that a document no longer names.
pub(crate) fn on_delete(plan: &Merged, database: &Database, document: &Document) -> Result<OnDelete, PlanError> {
    let document_type = document.text("pvt_type");
    let subject = Subject { class: database.class, database: &database.name, document_type: document_type.as_deref() };
    plan.on_delete(&subject)
}
