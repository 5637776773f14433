//! What can be wrong with a plan. Texts name ids and keys, never a value: values may be secrets.

use std::fmt;

use stowage_base::settings::WrongSetting;

/// A plan that cannot be followed, for a client a 502. Small, because it travels in many results.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlanError(Box<Fault>);

/// What is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The plan names something that it does not hold.
    Unknown {
        /// The sort of thing: `handler` or `connection`.
        what: &'static str,
        /// The id that is not there.
        id: String,
    },
    /// A part of the plan, or a setting, is not what it must be.
    Wrong {
        /// The id of the backend, or the place in the plan (`plan.modb.types`).
        id: String,
        /// What is wrong with it, with the key and without the value.
        what: String,
    },
}

impl PlanError {
    /// An id that the plan names and does not hold.
    pub fn unknown(what: &'static str, id: impl Into<String>) -> Self {
        Self(Box::new(Fault::Unknown { what, id: id.into() }))
    }

    /// A part or setting that is not what it must be; `what` must not contain the value.
    pub fn wrong(id: impl Into<String>, what: impl Into<String>) -> Self {
        Self(Box::new(Fault::Wrong { id: id.into(), what: what.into() }))
    }

    /// What is wrong.
    pub fn fault(&self) -> &Fault {
        &self.0
    }

    /// The id or place that is at fault.
    pub fn id(&self) -> &str {
        match self.fault() {
            Fault::Unknown { id, .. } | Fault::Wrong { id, .. } => id,
        }
    }
}

impl fmt::Display for PlanError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.fault() {
            Fault::Unknown { what, id } => {
                write!(formatter, "the storage plan names the {what} `{id}` but does not define it")
            }
            Fault::Wrong { id, what } => {
                write!(formatter, "the storage plan is wrong at `{id}`: {what}")
            }
        }
    }
}

impl std::error::Error for PlanError {}

impl From<WrongSetting> for PlanError {
    fn from(wrong: WrongSetting) -> Self {
        Self::wrong(wrong.id(), format!("`{}` {}", wrong.key(), wrong.what()))
    }
}
