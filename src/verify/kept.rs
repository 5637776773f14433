//! Checks attachments in CouchDB: the copies that a plan wants must exist, and what CouchDB keeps for a storage that was down must have a job.

use std::sync::Arc;

use crate::error::Error;
use crate::gateway::Gateway;
use crate::jobs::{Job, Kind};
use crate::moving::{Found, Native, has_copy, natives};
use crate::plan::Decision;
use crate::walk::{Fault, Tally};

/// Checks a document's attachments in CouchDB. With `repair`, creates jobs for what can be repaired.
pub(super) async fn look(gateway: &Arc<Gateway>, found: &Found, repair: bool) -> Tally {
    let mut tally = Tally::default();
    let kept = natives(&found.document, &found.target);
    if kept.is_empty() {
        return tally;
    }
    let (database, id) = (&found.target.database.name, &found.target.document);
    let decision = match found.decision() {
        Ok(Some(decision)) => decision,
        Ok(None) => return tally,
        Err(error) => {
            tally.faults.push(Fault::of(database, id, "", &error));
            return tally;
        }
    };
    for native in kept {
        let fault = |kind, reason: &str| Fault::new((database, id, &native.name), kind, reason);
        let missing = if decision.stub {
            match has_copy(gateway, found, (&native, &decision)).await {
                Ok(false) => Kind::Copy,
                Ok(true) => continue,
                Err(error) => {
                    let reason = Fault::of(database, id, &native.name, &error).reason;
                    tally.faults.push(fault("unreadable", &reason));
                    continue;
                }
            }
        } else {
            Kind::Move
        };
        match (missing, repair) {
            (kind, true) => match note(gateway, found, (&native, &decision), kind).await {
                Ok(()) => tally.jobs += 1,
                Err(error) => tally.faults.push(Fault::of(database, id, &native.name, &error)),
            },
            (Kind::Copy, false) => tally.faults.push(fault("missing", "no copy is there")),
            // `migrate` is the command for that.
            (Kind::Move | Kind::Remove, false) => {}
        }
    }
    tally
}

/// Creates a job, unless it exists.
async fn note(
    gateway: &Gateway,
    found: &Found,
    (native, decision): (&Native, &Decision),
    kind: Kind,
) -> Result<(), Error> {
    let job = Job::new(kind, &found.target.attachment(&native.name), &found.document, decision.storage());
    let known = gateway.jobs.read(&job.id).await;
    let noted = match known {
        Ok(Some(_)) => Ok(()),
        Ok(None) => gateway.jobs.add(&job).await.map(drop),
        Err(reason) => Err(reason),
    };
    noted.map_err(|reason| Error::bad_gateway(format!("no job can be made: {reason}")))
}
