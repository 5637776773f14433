//! The outcome of a request that CouchDB itself performs, and the removals that follow from it.

use http::{Response, StatusCode};
use stowage_couch::Caller;
use stowage_http::body::Body;

use super::cleanup::{remove_once_gone, remove_unnamed};
use super::save::never_left;
use crate::error::Error;
use crate::gateway::Gateway;
use crate::plan::DocumentPlan;
use crate::pointer::Pointer;
use crate::router::DocumentTarget;

/// Whether CouchDB has performed a request.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fate {
    Done,
    Refused,
    Unknown,
}

impl Fate {
    /// Judges the outcome. Anything but `done` or a refusal is inconclusive; after a 202 the request may still fail.
    pub(crate) fn of(outcome: &Result<Response<Body>, Error>, done: StatusCode) -> Self {
        match outcome {
            Ok(answer) if answer.status() == done => Self::Done,
            Ok(answer) if answer.status().is_client_error() => Self::Refused,
            Err(Error::Couch(error)) if never_left(error) => Self::Refused,
            Ok(_) | Err(_) => Self::Unknown,
        }
    }

    /// Removes the objects that the request has dropped with the revision.
    pub(crate) async fn settle(
        self,
        gateway: &Gateway,
        caller: &Caller,
        target: &DocumentTarget,
        plan: &DocumentPlan,
        (rev, objects): (&str, Vec<(String, Pointer)>),
    ) {
        match self {
            Self::Done => remove_unnamed(gateway, caller, target, plan, objects).await,
            Self::Refused => {}
            Self::Unknown => remove_once_gone(gateway, caller, target, plan, (rev, objects)).await,
        }
    }
}
