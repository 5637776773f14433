//! Removes objects that no document names.

use std::time::Duration;

use http::StatusCode;
use serde_json::json;
use stowage_base::log::chain;
use stowage_couch::{self as couch, Answer, Caller, Document, is_without_document};

use super::polls::Polls;
use crate::error::Error;
use crate::gateway::Gateway;
use crate::jobs::Job;
use crate::object::DOUBTFUL_FOR;
use crate::object::remove::{remove_later, remove_object};
use crate::object::storages::storage_of;
use crate::object::unsaved::Unsaved;
use crate::plan::{DocumentPlan, OnDelete, on_delete};
use crate::pointer::{Entry, Pointer, StoredObject, Unreadable, pointers};
use crate::router::{DocumentTarget, Target};

/// What the leaves of a document name.
#[derive(Default)]
pub(crate) struct Named {
    pub(crate) objects: Vec<Pointer>,
    /// Whether an entry cannot be read, which may name any object.
    pub(crate) is_unsure: bool,
    /// Whether a leaf is deleted, and the plan keeps the objects of deleted documents: the revision before it may name any object.
    pub(crate) keeps_deleted: bool,
}

/// Removes objects whose pointers a save or deletion of the document has dropped, provided that the document owns them and none of its leaves names
/// them. Call this in a task, once the save has been answered.
///
/// A pointer copied from another document can be used for reads, but not for removal. All leaves are read with the client's rights; if that fails,
/// the objects stay, and the log says so. A deleted leaf only counts if the plan keeps the objects of deleted documents: then it can still be read
/// with `?rev=`.
pub(crate) async fn remove_unnamed(
    gateway: &Gateway,
    caller: &Caller,
    target: &DocumentTarget,
    plan: &DocumentPlan,
    dropped: Vec<(String, Pointer)>,
) {
    let unnamed = unnamed(gateway, caller, target, plan, dropped).await;
    remove_all(gateway, caller, target, plan, unnamed).await;
}

/// Removes objects as [`remove_unnamed`] does, after a save that was overtaken and may never have dropped their pointers. If the revision that it was to
/// follow, `base`, was deleted, and the plan keeps the objects of deleted documents, they stay. They also do if that cannot be read; then jobs remove
/// them, unless the document is deleted.
pub(crate) async fn remove_overtaken(
    gateway: &Gateway,
    caller: &Caller,
    target: &DocumentTarget,
    plan: &DocumentPlan,
    (base, dropped): (Option<&str>, Vec<(String, Pointer)>),
) {
    if dropped.is_empty() {
        return;
    }
    if keeps(target, plan) {
        let (revs, query) = match base {
            Some(base) => (json!([base]).to_string(), "&latest=true"),
            None => ("all".to_owned(), ""),
        };
        match leaves_of(caller, target, &revs, query).await {
            Ok(leaves) if leaves.iter().any(Document::is_deleted) => return,
            Ok(_) => {}
            Err(reason) => return leave_all(gateway, caller, target, plan, (own(target, dropped), &reason)).await,
        }
    }
    remove_unnamed(gateway, caller, target, plan, dropped).await;
}

/// Returns whether the plan keeps the objects of deleted documents. A tombstone may lack the type, which it had before.
fn keeps(target: &DocumentTarget, plan: &DocumentPlan) -> bool {
    !matches!(on_delete(plan, &target.database, &plan.stand_in()), Ok(OnDelete::Delete))
}

/// Removes new objects that no leaf names, after a save that was refused or came too late. If another gateway may have stored an object under the same
/// name, its save may not have arrived yet: a job looks at the document again before it removes the object.
pub(crate) async fn remove_unsaved(
    gateway: &Gateway,
    caller: &Caller,
    target: &DocumentTarget,
    plan: &DocumentPlan,
    objects: Unsaved,
) {
    let unnamed = unnamed(gateway, caller, target, plan, objects.pointers()).await;
    let (shared, own): (Vec<_>, Vec<_>) = unnamed.into_iter().partition(|(name, _)| objects.may_share(name));
    for (name, pointer) in shared {
        let why = "another gateway may be about to save a document that names it";
        left(gateway, caller, &target.attachment(&name), plan, (&pointer, why)).await;
    }
    remove_all(gateway, caller, target, plan, own).await;
    objects.saved().await;
}

/// Returns those of the objects that the document owns and none of its leaves names. If the leaves or their entries cannot be read, it leaves the
/// objects to jobs.
async fn unnamed(
    gateway: &Gateway,
    caller: &Caller,
    target: &DocumentTarget,
    plan: &DocumentPlan,
    dropped: Vec<(String, Pointer)>,
) -> Vec<(String, Pointer)> {
    let own = own(target, dropped);
    if own.is_empty() {
        return own;
    }
    let named = match leaves(caller, target).await {
        Ok(leaves) => named(&leaves, target, plan),
        Err(reason) => {
            leave_all(gateway, caller, target, plan, (own, &reason)).await;
            return Vec::new();
        }
    };
    let mut unnamed = Vec::new();
    for (name, pointer) in own {
        let same: Vec<&Pointer> =
            named.objects.iter().filter(|other| other.stowage.is_same(&pointer.stowage)).collect();
        if same.iter().any(|other| is_of_other_bytes(other, &pointer)) {
            tell_of_overwriting(caller, &target.attachment(&name), &pointer.stowage);
        }
        if same.is_empty() && named.is_unsure {
            left(gateway, caller, &target.attachment(&name), plan, (&pointer, UNSURE)).await;
        } else if same.is_empty() {
            unnamed.push((name, pointer));
        }
    }
    unnamed
}

/// Returns those of the objects that the document owns.
fn own(target: &DocumentTarget, objects: Vec<(String, Pointer)>) -> Vec<(String, Pointer)> {
    let is_own = |(name, pointer): &(String, Pointer)| pointer.is_own(target.attachment(name).at());
    objects.into_iter().filter(is_own).collect()
}

/// Leaves objects to jobs, because the document's leaves cannot be read.
async fn leave_all(
    gateway: &Gateway,
    caller: &Caller,
    target: &DocumentTarget,
    plan: &DocumentPlan,
    (objects, reason): (Vec<(String, Pointer)>, &str),
) {
    let why = format!("the document's branches cannot be read: {reason}");
    for (name, pointer) in objects {
        left(gateway, caller, &target.attachment(&name), plan, (&pointer, &why)).await;
    }
}

async fn remove_all(
    gateway: &Gateway,
    caller: &Caller,
    target: &DocumentTarget,
    plan: &DocumentPlan,
    objects: Vec<(String, Pointer)>,
) {
    for (name, pointer) in objects {
        let place = &pointer.stowage;
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

/// Returns whether two pointers to one object promise different bytes: a storage that does not prevent it has taken two uploads of one name.
fn is_of_other_bytes(one: &Pointer, other: &Pointer) -> bool {
    matches!((&one.digest, &other.digest), (Some(one), Some(other)) if one != other)
}

/// Logs that the bytes of an attachment may be lost, which nothing can mend: both uploads have ended.
fn tell_of_overwriting(caller: &Caller, target: &Target, place: &StoredObject) {
    let (request, storage, location) = (caller.activity().id(), &place.storage, json!(place.location));
    let (database, document, attachment) = (&target.database.name, &target.document, &target.attachment);
    tracing::error!(
        %request, %storage, %location, %database, %document, %attachment,
        "two uploads of an attachment had one name: its object may have the bytes of the one that was not saved"
    );
}

/// Removes the objects of a revision that may or may not have been replaced or deleted: polls until it is no longer a leaf, or until it is certain to
/// remain one.
pub(crate) async fn remove_once_gone(
    gateway: &Gateway,
    caller: &Caller,
    target: &DocumentTarget,
    plan: &DocumentPlan,
    (rev, dropped): (&str, Vec<(String, Pointer)>),
) {
    let mut polls = Polls::begin();
    while polls.next(&gateway.tasks).await {
        let Ok(leaves) = leaves(caller, target).await else { continue };
        if leaves.iter().all(|leaf| leaf.rev().as_deref() != Some(rev)) {
            return remove_unnamed(gateway, caller, target, plan, dropped).await;
        }
        if polls.is_settled() {
            return;
        }
    }
    for (name, pointer) in dropped {
        let why = "CouchDB never said what became of the document";
        left(gateway, caller, &target.attachment(&name), plan, (&pointer, why)).await;
    }
}

/// Returns what a document's leaves in one CouchDB name. A document whose database is gone names nothing.
pub(crate) async fn named_by(caller: &Caller, target: &DocumentTarget, plan: &DocumentPlan) -> Result<Named, Error> {
    let leaves = match caller.open_revs(&target.path, "all", "").await? {
        Answer::Found(leaves, _) => leaves,
        answer if answer.is_gone() => return Ok(Named::default()),
        Answer::Missing(answer) | Answer::Refused(answer) => {
            let reason = format!("CouchDB answers {} to the document", answer.status().as_u16());
            return Err(Error::refused(StatusCode::BAD_GATEWAY, "bad_gateway", reason));
        }
    };
    let Some(leaves) = leaves.into_iter().collect::<Option<Vec<_>>>() else {
        return Err(Error::refused(StatusCode::BAD_GATEWAY, "bad_gateway", "a revision of the document is missing"));
    };
    Ok(named(&leaves, target, plan))
}

/// Returns what the leaves name, except for deleted leaves if the plan removes their objects.
fn named(leaves: &[Document], target: &DocumentTarget, plan: &DocumentPlan) -> Named {
    let database = &target.database;
    let counts =
        |leaf: &&Document| !leaf.is_deleted() || !matches!(on_delete(plan, database, leaf), Ok(OnDelete::Delete));
    let keeps_deleted = leaves.iter().any(Document::is_deleted) && keeps(target, plan);
    let mut named = Named { keeps_deleted, ..Named::default() };
    for outside in leaves.iter().filter(counts).flat_map(|leaf| pointers(leaf, &database.name, &target.document)) {
        match outside.entry {
            Ok(Entry::Object(pointer)) => named.objects.push(*pointer),
            // The object is the other document's.
            Ok(Entry::Link(_)) => {}
            Err(Unreadable) => named.is_unsure = true,
        }
    }
    named
}

/// Returns all leaves, or why they cannot be read. CouchDB lists deleted ones as well.
async fn leaves(caller: &Caller, target: &DocumentTarget) -> Result<Vec<Document>, String> {
    leaves_of(caller, target, "all", "").await
}

/// Returns the leaves that CouchDB finds for `revs`, as [`leaves`] does.
async fn leaves_of(caller: &Caller, target: &DocumentTarget, revs: &str, query: &str) -> Result<Vec<Document>, String> {
    let mut pause = FIRST_PAUSE;
    let mut tries = TRIES;
    loop {
        tries -= 1;
        match caller.open_revs(&target.path, revs, query).await {
            Ok(Answer::Found(leaves, _)) => {
                let leaves: Option<Vec<_>> = leaves.into_iter().collect();
                return leaves.ok_or_else(|| "a revision is missing".to_owned());
            }
            Ok(Answer::Missing(answer)) if is_without_document(answer.body()) => return Ok(Vec::new()),
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

/// Adds a job that removes an object once its document shows that nothing names it.
pub(crate) async fn left(
    gateway: &Gateway,
    caller: &Caller,
    target: &Target,
    plan: &DocumentPlan,
    (pointer, why): (&Pointer, &str),
) {
    let removal = Job::removal(target, &plan.stand_in(), &pointer.stowage).in_doubt().after(DOUBTFUL_FOR);
    remove_later(gateway, &removal, why, caller.activity()).await;
}

/// Why an object stays.
pub(crate) const UNSURE: &str = "an entry of the document cannot be read by this version of Stowage, and may name it";
/// The number of attempts to read a document's leaves.
const TRIES: u32 = 4;
/// The delay before the second attempt; it quadruples with each further one.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
