//! A file under a unique name until it is complete, and the clean-up after failures.

use std::sync::Arc;

use uuid::Uuid;

use super::Host;
use super::address::folder;
use super::fault::{Fault, ResultExt};
use super::session::Session;
use super::stat::Found;
use crate::engine::finish::{CleanUp, clean_up};
use crate::engine::names::Reserved;
use crate::{Leftovers, Result, Stored};

/// Returns whether a path is that of an incomplete file.
pub(super) fn is_draft(path: &str) -> bool {
    let name = path.rsplit('/').next().unwrap_or_default();
    let id = name.strip_prefix("stowage-").and_then(|rest| rest.strip_suffix(".part"));
    id.is_some_and(|id| id.len() == 32 && id.bytes().all(|byte| byte.is_ascii_hexdigit()))
}

/// A file that is, or may be, ours: removed on drop unless it was kept or removed before.
pub(super) struct Draft {
    host: Arc<Host>,
    /// The unique name.
    pub(super) path: String,
    /// The object's ETag.
    pub(super) etag: Option<String>,
    /// The final name, which the file may already have.
    goal: Option<String>,
    leftovers: Leftovers,
    /// Held until the name is cleaned up.
    reserved: Option<Reserved>,
    over: bool,
}

impl Draft {
    /// Creates a draft for a file in the folder of `target`. Its name has no leading dot, since servers hide or reject such names (Pure-FTPd without
    /// `-z`, vsftpd's `deny_file`).
    pub(super) fn beside(host: &Arc<Host>, target: &str, leftovers: &Leftovers) -> Self {
        let path = format!("{}/stowage-{}.part", folder(target), Uuid::new_v4().simple());
        let (host, leftovers) = (Arc::clone(host), leftovers.clone());
        Self { host, path, etag: None, goal: None, leftovers, reserved: None, over: false }
    }

    /// Renames the file to its final name.
    ///
    /// # Errors
    /// Returns the fault of the command. If its reply was lost, this determines the outcome itself.
    pub(super) async fn rename(
        &mut self,
        session: &mut Session,
        goal: &str,
        reserved: Option<Reserved>,
    ) -> std::result::Result<(), Fault> {
        self.goal = Some(goal.to_owned());
        self.reserved = reserved;
        match session.rename(&self.path, goal).await {
            Err(fault) if fault.is_answer() => {
                self.goal = None;
                self.reserved = None;
                Err(fault)
            }
            Err(fault) if !self.was_renamed().await.unwrap_or(false) => Err(fault),
            Ok(()) | Err(_) => Ok(()),
        }
    }

    /// Returns whether an unconfirmed rename took place: the unique name is gone, and only the rename can have removed it.
    async fn was_renamed(&self) -> Result<bool> {
        let Some(goal) = &self.goal else { return Ok(false) };
        let mut session = self.host.pool.take(&self.path).await?;
        let here = session.stat(&self.path, None).await.context("look for an object")?;
        let there = session.stat(goal, None).await.context("look for an object")?;
        session.leave();
        Ok(here == Found::Nothing && matches!(there, Found::File(_)))
    }

    /// Replaces the ETag by the one under the final name: servers over object storages copy a file to rename it, so its time changes. If the server
    /// does not tell, there is none.
    pub(super) async fn tag_again(&mut self, session: &mut Session, size: u64) {
        let Some(goal) = self.goal.as_deref().filter(|_| self.etag.is_some()) else { return };
        self.etag = if session.is_in_step() {
            session.tag(goal, size).await.unwrap_or_default()
        } else {
            // The next answer may be that to the rename.
            None
        };
    }

    /// Returns the file, which has its final name now.
    pub(super) fn placed(mut self) -> Placed {
        self.over = true;
        let (path, etag) = (self.goal.take().unwrap_or_default(), self.etag.take());
        let (host, leftovers) = (Arc::clone(&self.host), self.leftovers.clone());
        Placed { host, path, etag, leftovers, reserved: self.reserved.take(), kept: false }
    }

    /// Removes the file on the session that stored it, whose reply arrives once the server is done with the file.
    pub(super) async fn remove(mut self, session: &mut Session) {
        if self.goal.is_none() && session.is_in_step() {
            self.over = removed(session, &self.path).await.is_ok();
        }
    }
}

impl Drop for Draft {
    fn drop(&mut self) {
        if self.over {
            return;
        }
        let remains = Remains {
            host: Arc::clone(&self.host),
            path: std::mem::take(&mut self.path),
            etag: self.etag.take(),
            goal: self.goal.take(),
            leftovers: self.leftovers.clone(),
        };
        let reserved = self.reserved.take();
        clean_up(&self.host.tasks, "ftp clean-up", async move {
            remains.scrub().await;
            drop(reserved);
        });
    }
}

/// A file with its final name: removed on drop unless it is kept.
pub(super) struct Placed {
    host: Arc<Host>,
    path: String,
    etag: Option<String>,
    leftovers: Leftovers,
    /// Held until the outcome is reported.
    reserved: Option<Reserved>,
    kept: bool,
}

impl Placed {
    /// Keeps the object.
    pub(super) fn keep(mut self) -> Stored {
        self.kept = true;
        Stored { location: self.host.address.location(&self.path), etag: self.etag.take(), ..Stored::default() }
    }
}

impl Drop for Placed {
    fn drop(&mut self) {
        if self.kept {
            return;
        }
        let (host, path, reserved) = (Arc::clone(&self.host), std::mem::take(&mut self.path), self.reserved.take());
        let (etag, leftovers) = (self.etag.take(), self.leftovers.clone());
        clean_up(&self.host.tasks, "ftp clean-up", async move {
            if let Err(error) = host.delete(&path).await {
                tracing::warn!(storage = %host.id, %path, %error, "an object that no document names may be left");
                leftovers.note(Stored { location: host.address.location(&path), etag, ..Stored::default() });
            }
            drop(reserved);
        });
    }
}

/// What a failed upload may have left.
struct Remains {
    host: Arc<Host>,
    path: String,
    etag: Option<String>,
    /// The final name, until the file under it is removed or reported.
    goal: Option<String>,
    leftovers: Leftovers,
}

impl Remains {
    /// Removes a file under either of its names, repeatedly, since a server may still be processing the broken upload.
    async fn scrub(mut self) {
        let mut tries = CleanUp::default();
        while tries.again().await {
            tries.note(self.scrub_once().await);
        }
        if let Some(error) = tries.failure() {
            tracing::warn!(storage = %self.host.id, path = %self.path, %error, "an unfinished file may be left");
            self.report();
        }
    }

    /// Returns `false` if the file does not exist, so far.
    ///
    /// The file at the goal is removed once at most, and only if all earlier removals were answered: otherwise another gateway may have stored an
    /// object there since.
    async fn scrub_once(&mut self) -> Result<bool> {
        let mut session = self.host.pool.take(&self.path).await?;
        let outcome = match removed(&mut session, &self.path).await {
            Ok(true) => {
                self.goal = None;
                Ok(true)
            }
            // The unique name existed before the rename and is gone now, so the rename took place, and the file at the goal is ours.
            Ok(false) => self.scrub_goal(&mut session).await,
            Err(fault) => {
                // The removal itself may be what the next attempt finds gone.
                if !fault.is_answer() {
                    self.report();
                }
                Err(fault.because("remove a file"))
            }
        };
        session.leave();
        outcome
    }

    async fn scrub_goal(&mut self, session: &mut Session) -> Result<bool> {
        let Some(goal) = &self.goal else { return Ok(false) };
        let outcome = removed(session, goal).await.map(|_| true).context("remove an object");
        match &outcome {
            Ok(_) => self.goal = None,
            Err(_) => self.report(),
        }
        outcome
    }

    /// Leaves the file that may be at the goal to the caller, who compares its version.
    fn report(&mut self) {
        if let Some(goal) = self.goal.take() {
            let location = self.host.address.location(&goal);
            self.leftovers.note(Stored { location, etag: self.etag.clone(), ..Stored::default() });
        }
    }
}

/// Removes a file, which may be gone already: for that, a refusal does not suffice, absence must be certain. Returns whether it was there.
pub(super) async fn removed(session: &mut Session, path: &str) -> std::result::Result<bool, Fault> {
    match session.remove(path).await {
        Ok(()) => Ok(true),
        Err(fault) if fault.says_gone(path) => Ok(false),
        Err(fault) if fault.leaves_it_open() => match session.stat(path, None).await? {
            Found::Nothing => Ok(false),
            Found::File(_) | Found::Unknown => Err(fault),
        },
        Err(fault) => Err(fault),
    }
}
