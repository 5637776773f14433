//! Whether this instance acts.

use stowage_base::tasks::Tasks;
use tokio::sync::watch;

use crate::group::{Group, Standing};

/// Receives the epoch in which the instance acts, `None` if another does or none; cheap to clone. The sender's owner decides: the group, or this
/// program alone.
#[derive(Debug, Clone)]
pub struct Leading {
    told: watch::Receiver<Option<u64>>,
    /// Checked at every act: its lease may expire before the channel is updated.
    group: Option<Group>,
}

impl Leading {
    /// Follows this channel.
    #[must_use]
    pub const fn new(told: watch::Receiver<Option<u64>>) -> Self {
        Self { told, group: None }
    }

    /// Never acts.
    #[must_use]
    pub fn never() -> Self {
        Self::new(watch::channel(None).1)
    }

    /// Follows the group.
    #[must_use]
    pub fn of(group: Group, tasks: &Tasks) -> Self {
        let (sender, told) = watch::channel(None);
        let (mut standing, stopping) = (group.standing(), tasks.clone());
        drop(tasks.spawn("standing in the group", async move {
            loop {
                let epoch = match *standing.borrow_and_update() {
                    Standing::Active { epoch } => Some(epoch),
                    Standing::Unknown | Standing::Standby { .. } => None,
                };
                sender.send_replace(epoch);
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
        self.group.as_ref().map_or_else(|| *self.told.borrow(), Group::may_act)
    }

    /// Waits until the epoch differs from this one; forever once the sender is gone.
    pub async fn other_than(&mut self, epoch: Option<u64>) -> Option<u64> {
        loop {
            let now = *self.told.borrow_and_update();
            if now != epoch {
                return now;
            }
            if self.told.changed().await.is_err() {
                std::future::pending::<()>().await;
            }
        }
    }
}
