//! Removing objects that no document names.

use http::StatusCode;
use stowage_base::log::chain;
use stowage_couch::{self as couch, Answer, Caller, Document};

use super::asking::Asking;
use crate::error::Error;
use crate::gateway::Gateway;
use crate::jobs::Job;
use crate::object::remove::{FIRST_PAUSE, TRIES, remove_later, remove_object};
use crate::object::storages::storage_of;
use crate::object::unsaved::DOUBTFUL_FOR;
use crate::plan::{DocumentPlan, OnDelete, on_delete};
use crate::pointer::{Pointer, objects};
use crate::router::{DocumentTarget, Target};

/// Removes the objects of pointers (with the names of their attachments) that a save of the document, or its deletion,
/// has left out, as far as they are the document's own and none of its branches names them. To be called once the save has
/// been answered, in a task.
///
/// A pointer that came from another document (a copy) may be read by and not deleted by. All leaf revisions are read with
/// the client's rights; where that fails, the objects stay, and a line in the log says so. A deleted leaf counts only where
/// the plan keeps the objects of deleted documents: then it can still be read with `?rev=`.
pub(crate) async fn remove_unnamed(
    gateway: &Gateway,
    caller: &Caller,
    target: &DocumentTarget,
    plan: &DocumentPlan,
    dropped: Vec<(String, Pointer)>,
) {
    let mut own = dropped.into_iter().filter(|(name, pointer)| pointer.is_own(target.attachment(name).at())).peekable();
    if own.peek().is_none() {
        return;
    }
    let named = match leaves(caller, target).await {
        Ok(leaves) => named(&leaves, target, plan),
        Err(reason) => {
            let why = format!("the document's branches cannot be read: {reason}");
            for (name, pointer) in own {
                left(gateway, caller, &target.attachment(&name), plan, (&pointer, &why)).await;
            }
            return;
        }
    };
    for (name, pointer) in own {
        let place = &pointer.stowage;
        if named.iter().any(|other| other.stowage.is_same(place)) {
            continue;
        }
        let target = target.attachment(&name);
        match storage_of(gateway, plan, &target.database, place) {
            Ok(backend) => {
                let removal = Job::removal(&target, &plan.stand_in(), place);
                remove_object(gateway, &backend, &removal, caller.activity()).await;
            }
            Err(error) => left(gateway, caller, &target, plan, (&pointer, &error.to_string())).await,
        }
    }
}

/// The same, where it is unknown whether the revision that names the objects has been replaced or deleted: asks until it is
/// no leaf any more, or nothing will change that.
pub(crate) async fn remove_once_gone(
    gateway: &Gateway,
    caller: &Caller,
    target: &DocumentTarget,
    plan: &DocumentPlan,
    (rev, dropped): (&str, Vec<(String, Pointer)>),
) {
    let mut asking = Asking::begin();
    while asking.go_on(&gateway.tasks).await {
        let Ok(leaves) = leaves(caller, target).await else { continue };
        if leaves.iter().all(|leaf| leaf.rev().as_deref() != Some(rev)) {
            return remove_unnamed(gateway, caller, target, plan, dropped).await;
        }
        if asking.is_settled() {
            return;
        }
    }
    for (name, pointer) in dropped {
        let why = "CouchDB never said what became of the document";
        left(gateway, caller, &target.attachment(&name), plan, (&pointer, why)).await;
    }
}

/// The objects that the leaf revisions of a document name, asked in one CouchDB. A document whose database is gone names none.
pub(crate) async fn named_by(
    caller: &Caller,
    target: &DocumentTarget,
    plan: &DocumentPlan,
) -> Result<Vec<Pointer>, Error> {
    let leaves = match caller.open_revs(&target.path, "all", "").await? {
        Answer::Found(leaves, _) => leaves,
        Answer::Missing(_) => return Ok(Vec::new()),
        Answer::Refused(answer) if answer.status() == StatusCode::NOT_FOUND => return Ok(Vec::new()),
        Answer::Refused(answer) => {
            let reason = format!("CouchDB answers {} to the document", answer.status().as_u16());
            return Err(Error::refused(StatusCode::BAD_GATEWAY, "bad_gateway", reason));
        }
    };
    let Some(leaves) = leaves.into_iter().collect::<Option<Vec<_>>>() else {
        return Err(Error::refused(StatusCode::BAD_GATEWAY, "bad_gateway", "a revision of the document is missing"));
    };
    Ok(named(&leaves, target, plan))
}

/// What the leaf revisions name, without the deleted ones where the plan says that these go with their objects.
fn named(leaves: &[Document], target: &DocumentTarget, plan: &DocumentPlan) -> Vec<Pointer> {
    let database = &target.database;
    let counts =
        |leaf: &&Document| !leaf.is_deleted() || !matches!(on_delete(plan, database, leaf), Ok(OnDelete::Delete));
    let objects = leaves.iter().filter(counts).flat_map(|leaf| objects(leaf, &database.name, &target.document));
    objects.map(|(_, pointer)| pointer).collect()
}

/// All leaf revisions, or why they cannot be known. CouchDB lists deleted ones as well.
async fn leaves(caller: &Caller, target: &DocumentTarget) -> Result<Vec<Document>, String> {
    let mut pause = FIRST_PAUSE;
    let mut tries = TRIES;
    loop {
        tries -= 1;
        match caller.open_revs(&target.path, "all", "").await {
            Ok(Answer::Found(leaves, _)) => {
                let leaves: Option<Vec<_>> = leaves.into_iter().collect();
                return leaves.ok_or_else(|| "a revision is missing".to_owned());
            }
            Ok(Answer::Missing(answer) | Answer::Refused(answer))
                if tries == 0 || !answer.status().is_server_error() =>
            {
                return Err(format!("CouchDB answered {}", answer.status().as_u16()));
            }
            Err(error) if tries == 0 || !matches!(error, couch::Error::Client(_)) => return Err(chain(&error)),
            Ok(_) | Err(_) => tokio::time::sleep(pause).await,
        }
        pause *= 4;
    }
}

/// Notes that an object is to go once its document tells that nothing names it.
pub(crate) async fn left(
    gateway: &Gateway,
    caller: &Caller,
    target: &Target,
    plan: &DocumentPlan,
    (pointer, why): (&Pointer, &str),
) {
    let removal = Job::removal(target, &plan.stand_in(), &pointer.stowage).after(DOUBTFUL_FOR);
    remove_later(gateway, &removal, why, caller.activity()).await;
}
