//! Storage plans: which attachments leave CouchDB, to which backend, under which name.
//!
//! All of it is pure but [`Plans`], which reads plan documents and holds them.
//!
//! [`Merged::from_documents`] puts plan documents together, [`Merged::decide`] says what they mean for one document,
//! [`compose`] makes the object's name, and [`Settings`] reads a backend's settings.

mod cache;
mod decision;
mod document;
mod error;
mod feed;
mod held;
mod local;
mod lookup;
mod members;
mod name;
mod of_document;
mod redact;
mod users;

pub use redact::{redacted, redacted_url};

pub use cache::{Plans, Unavailable};
pub use decision::{Decision, LOCAL, OnDelete, Placement, Subject};
pub use document::{Documents, Merged, default_plan, merge, plan_id};
pub use error::{Fault, PlanError};
pub use name::{Name, NameError, NameSource, compose};
pub(crate) use of_document::{DocumentPlan, decide, on_delete, plan_for, stand_in};
pub use stowage_base::settings::Settings;
