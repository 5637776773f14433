//! Storage plans: which attachments leave CouchDB, for which backend, under which name.
//!
//! Everything here is pure except [`Plans`], which reads plan documents and caches them.
//!
//! [`Merged::from_documents`] merges plan documents, [`Merged::decide`] returns the decision for one document, [`compose`] builds the object's name,
//! and [`Settings`] parses a backend's settings.

mod cache;
mod decision;
mod document;
mod error;
mod feed;
mod followed;
mod held;
mod local;
mod lookup;
mod members;
mod name;
mod of_document;
mod reading;
mod redact;
mod told;
mod users;

pub use redact::{redacted, redacted_url};

pub use cache::Plans;
pub use decision::{Decision, LOCAL, OnDelete, Placement, Subject};
pub use document::{Documents, Merged, default_plan, merge, plan_id};
pub use error::{Fault, PlanError};
pub use held::Unavailable;
pub use name::{Name, NameError, NameSource, compose};
pub(crate) use of_document::{DocumentPlan, decide, on_delete, plan_for, stand_in};
pub use stowage_base::settings::Settings;
