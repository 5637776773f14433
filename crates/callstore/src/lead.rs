//! Whether this instance acts.

use stowage_base::tasks::Tasks;
use tokio::sync::watch;

use crate::group::{Group, Standing};

/// An instance's standing in its group.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Lead {
    /// The epoch in which it acts; `None` if another instance does, or none.
    pub epoch: Option<u64>,
}

/// Receives the instance's standing; cheap to clone. The sender's owner decides: the group, or this program alone.
#[derive(Debug, Clone)]
pub struct Leading {
    told: watch::Receiver<Lead>,
    /// Checked at every act: its lease may expire before the channel is updated.
    group: Option<Group>,
}

impl Leading {
    /// Follows this channel.
    #[must_use]
    pub const fn new(told: watch::Receiver<Lead>) -> Self {
        Self { told, group: None }
    }

    /// Follows the group.
    #[must_use]
    pub fn of(group: Group, tasks: &Tasks) -> Self {
        let (sender, told) = watch::channel(Lead::default());
        let (mut standing, stopping) = (group.standing(), tasks.clone());
        drop(tasks.spawn("standing in the group", async move {
            loop {
                let epoch = match *standing.borrow_and_update() {
                    Standing::Active { epoch } => Some(epoch),
                    Standing::Unknown | Standing::Standby { .. } => None,
                };
                sender.send_replace(Lead { epoch });
                tokio::select! {
                    changed = standing.changed() => if changed.is_err() { return },
                    () = stopping.stopping() => return,
                }
            }
        }));
        Self { told, group: Some(group) }
    }

    /// Returns the epoch in which it acts now, if it does.
    #[must_use]
    pub fn epoch(&self) -> Option<u64> {
        self.group.as_ref().map_or_else(|| self.told.borrow().epoch, Group::may_act)
    }

    /// Waits until the epoch differs from this one; forever once the sender is gone.
    pub async fn other_than(&mut self, epoch: Option<u64>) -> Option<u64> {
        loop {
            let now = self.told.borrow_and_update().epoch;
            if now != epoch {
                return now;
            }
            if self.told.changed().await.is_err() {
                std::future::pending::<()>().await;
            }
        }
    }
}
