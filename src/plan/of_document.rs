//! The plan that holds for one document, and what it says about it.

use std::ops::Deref;
use std::sync::Arc;

use stowage_couch::Document;

use super::{Merged, OnDelete, Placement, PlanError, Plans, Subject, Unavailable};
use crate::router::Database;

/// The plan that holds for a document, and what it asks about the document: both lead to the storages of its pointers.
#[derive(Debug, Clone)]
pub(crate) struct DocumentPlan {
    merged: Arc<Merged>,
    pub(crate) document_type: Option<String>,
    owner: Option<String>,
}

impl DocumentPlan {
    /// A document with no more than what the plan goes by.
    pub(crate) fn stand_in(&self) -> Document {
        stand_in(self.document_type.as_deref(), self.owner.as_deref())
    }
}

/// A document with no more than what plans go by: its `pvt_type` and its `owner_id`.
pub(crate) fn stand_in(document_type: Option<&str>, owner: Option<&str>) -> Document {
    let mut document = Document::default();
    for (key, value) in [("pvt_type", document_type), ("owner_id", owner)] {
        if let Some(value) = value {
            // A text can always be written as JSON.
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

/// The plan that holds for a document: the account's, or its owner's where the document has one.
pub(crate) async fn plan_for(
    plans: &Plans,
    database: &Database,
    document: &Document,
) -> Result<DocumentPlan, Unavailable> {
    let owner = document.text("owner_id");
    let merged = plans.effective(database.account.as_ref(), owner.as_deref()).await?;
    Ok(DocumentPlan { merged, document_type: document.text("pvt_type"), owner })
}

/// What the plan says about a document.
pub(crate) fn decide(plan: &Merged, database: &Database, document: &Document) -> Result<Placement, PlanError> {
    let document_type = document.text("pvt_type");
    let subject = Subject { class: database.class, database: &database.name, document_type: document_type.as_deref() };
    plan.decide(&subject)
}

/// What the plan says about the objects of a document that lets go of them.
pub(crate) fn on_delete(plan: &Merged, database: &Database, document: &Document) -> Result<OnDelete, PlanError> {
    let document_type = document.text("pvt_type");
    let subject = Subject { class: database.class, database: &database.name, document_type: document_type.as_deref() };
    plan.on_delete(&subject)
}
