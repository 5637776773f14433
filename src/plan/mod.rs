//! Storage plans: which attachments leave CouchDB, to which backend, under which name. Pure: nothing here does I/O.
//!
//! [`Merged::from_documents`] puts plan documents together, [`Merged::decide`] says what they mean for one document,
//! [`compose`] makes the object's name, and [`Settings`] reads a backend's settings.

mod decision;
mod document;
mod error;
mod lookup;
mod members;
mod name;
mod settings;

pub use decision::{Decision, LOCAL, Outcome, Subject};
pub use document::{Documents, Merged, default_plan, merge, plan_id};
pub use error::{Fault, PlanError};
pub use name::{Fields, Name, NameError, NameSource, compose};
pub use settings::Settings;
