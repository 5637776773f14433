//! Plan errors. Their texts name ids and keys but never values, which may be secrets.

use stowage_base::settings::WrongSetting;

/// An invalid plan, which clients see as a 502. Boxed to stay small, because many results carry it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(transparent)]
pub struct PlanError(Box<Fault>);

/// The fault in a plan.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// The plan names something that it does not define.
    #[error("the storage plan names the {what} `{id}` but does not define it")]
    Unknown {
        /// The kind of thing: `handler` or `connection`.
        what: &'static str,
        /// The undefined id.
        id: String,
    },
    /// A part of the plan, or a setting, is invalid.
    #[error("the storage plan is wrong at `{id}`: {what}")]
    Wrong {
        /// The id of the backend, or the place in the plan (`plan.modb.types`).
        id: String,
        /// The problem, with the key but without the value.
        what: String,
    },
}

impl PlanError {
    /// Creates the error for an id that the plan names but does not define.
    pub fn unknown(what: &'static str, id: impl Into<String>) -> Self {
        Self(Box::new(Fault::Unknown { what, id: id.into() }))
    }

    /// Creates the error for an invalid part or setting; `what` must not contain the value.
    pub fn wrong(id: impl Into<String>, what: impl Into<String>) -> Self {
        Self(Box::new(Fault::Wrong { id: id.into(), what: what.into() }))
    }

    /// Returns the fault.
    pub fn fault(&self) -> &Fault {
        &self.0
    }

    /// Returns the id or place at fault.
    pub fn id(&self) -> &str {
        match self.fault() {
            Fault::Unknown { id, .. } | Fault::Wrong { id, .. } => id,
        }
    }
}

impl From<WrongSetting> for PlanError {
    fn from(wrong: WrongSetting) -> Self {
        Self::wrong(wrong.id(), format!("`{}` {}", wrong.key(), wrong.what()))
    }
}
