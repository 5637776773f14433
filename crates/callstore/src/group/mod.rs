//! Groups: leader election among several instances.
//!
//! The members of a group are registered in etcd under leases, and one of them holds the leader key. The leader stops acting by its own
//! clock before its lease can expire, so that no two act concurrently as long as clocks run at about the same rate; and every decision carries
//! the epoch of its leader, so that the decision of a leader that was stalled for longer is rejected by the fold.

mod clock;
mod etcd;
mod keys;
mod member;

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use stowage_base::tasks::Tasks;
use stowage_http::client::Client;
use tokio::sync::watch;

use self::clock::Moment;
pub use self::etcd::{Endpoints, EtcdError};
pub use self::keys::Member;

/// The leader's generation: later leaders have larger epochs.
pub type Epoch = u64;

/// A member's settings in its group.
#[derive(Debug, Clone)]
pub struct Config {
    /// How to reach etcd.
    pub etcd: Endpoints,
    /// Prefix of all keys, such as `/callstore`.
    pub prefix: String,
    /// The group's number.
    pub group: u32,
    /// This instance's name, unique among the members.
    pub instance: String,
    /// The instance's place in the group: the smallest order becomes active first.
    pub order: u32,
    /// How many members of smaller order are configured.
    pub rank: u32,
    /// How long a member waits for each of these before it claims a vacant active role.
    pub stagger: Duration,
    /// How long a leader that is gone still counts as the leader. Whole seconds; etcd may grant more.
    pub lease: Duration,
    /// How long a member of smaller order has to be ready for the active role to return to it; `None` if the role stays where it is.
    pub fail_back: Option<Duration>,
}

/// An instance's current standing in its group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Standing {
    /// Unknown: etcd does not respond.
    Unknown,
    /// Another instance acts, or none does yet.
    Standby {
        /// The active instance.
        leader: Option<String>,
    },
    /// This instance acts. Check [`Group::may_act`] before each act.
    Active {
        /// The epoch its decisions carry.
        epoch: Epoch,
    },
}

/// An instance's membership in its group; cheap to clone.
#[derive(Debug, Clone)]
pub struct Group(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    standing: watch::Sender<Standing>,
    members: watch::Sender<Vec<Member>>,
    /// Whether this instance is able to act.
    ready: watch::Sender<bool>,
    /// Incremented to request a hand-over.
    hand_overs: watch::Sender<u64>,
    /// The epoch of this instance's active role, and how long it may act.
    activity: Mutex<Option<(Epoch, Moment)>>,
    /// The largest epoch seen in a decision.
    floor: AtomicU64,
}

impl Group {
    /// Joins a group, with a task tracked in `tasks`. It becomes a candidate once [`set_ready`](Self::set_ready) is called.
    #[must_use]
    pub fn join(config: Config, client: &Client, tasks: &Tasks) -> Self {
        let group = Self(Arc::new(Shared {
            standing: watch::Sender::new(Standing::Unknown),
            members: watch::Sender::new(Vec::new()),
            ready: watch::Sender::new(false),
            hand_overs: watch::Sender::new(0),
            activity: Mutex::new(None),
            floor: AtomicU64::new(0),
        }));
        drop(tasks.spawn("group member", member::take_part(group.clone(), config, client.clone(), tasks.clone())));
        group
    }

    /// Subscribes to this instance's standing.
    #[must_use]
    pub fn standing(&self) -> watch::Receiver<Standing> {
        self.0.standing.subscribe()
    }

    /// Subscribes to the list of ready members.
    #[must_use]
    pub fn members(&self) -> watch::Receiver<Vec<Member>> {
        self.0.members.subscribe()
    }

    /// Returns the epoch to act with, if this instance may act right now.
    #[must_use]
    pub fn may_act(&self) -> Option<Epoch> {
        self.activity().filter(|(_, until)| !until.left().is_zero()).map(|(epoch, _)| epoch)
    }

    /// Sets whether this instance is able to act, having caught up with the journal. Otherwise it hands over the active role.
    pub fn set_ready(&self, ready: bool) {
        self.0.ready.send_if_modified(|known| std::mem::replace(known, ready) != ready);
    }

    /// Hands over the active role to the next ready member, if this instance has it and there is one.
    pub fn hand_over(&self) {
        self.0.hand_overs.send_modify(|count| *count += 1);
    }

    /// Records an epoch seen in a decision: later leaders must have larger ones, even if etcd was recreated and counts from 1.
    pub fn saw(&self, epoch: Epoch) {
        self.0.floor.fetch_max(epoch, Ordering::Relaxed);
    }

    fn activity(&self) -> std::sync::MutexGuard<'_, Option<(Epoch, Moment)>> {
        self.0.activity.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
