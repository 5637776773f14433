//! Storage plans: which attachments leave CouchDB, for which backend, under which name.
//!
//! Everything here is pure except [`Plans`], which reads plan documents and caches them.
//!
//! [`Merged::from_documents`] merges plan documents, [`Merged::decide`] returns the decision for one document, [`compose`] builds the object's name,
//! and [`Settings`] parses a backend's settings.
//!
//! | file | contents |
//! |---|---|
//! | `document`, `members`, `error` | plan documents and their merge; malformed members (pure) |
//! | `decision`, `lookup` | the decision of a merged plan for one document, and the storages that it names (pure) |
//! | `name` | an object's name (pure) |
//! | `redact` | plans without their secrets, for people and responses (pure) |
//! | `cache`, `reading`, `held` | plan documents in memory: how long they are believed, and how they are read |
//! | `feed`, `told`, `local`, `users`, `followed` | the changes feed, and what it says about all plans |
//! | `of_document` | the plan that applies to one document, from the cache |

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
