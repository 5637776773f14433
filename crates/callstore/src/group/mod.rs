//! Groups: which of several instances acts.
//!
//! The members of a group stand in etcd under leases, and one of them has the leader's key. The leader stops acting by its own clock
//! before its lease can end, so that no two act at once as long as clocks run at about the same speed; and every decision
//! carries the epoch of its leader, so that one that was held up for longer is refused where it is folded.

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

/// Counts the leaders of a group: later ones have larger epochs.
pub type Epoch = u64;

/// How a member takes part in its group.
#[derive(Debug, Clone)]
pub struct Config {
    /// Where etcd is.
    pub etcd: Endpoints,
    /// What all keys begin with, such as `/callstore`.
    pub prefix: String,
    /// The group's number.
    pub group: u32,
    /// This instance's name; no other member has it.
    pub instance: String,
    /// Its place in the group: activity goes to the smallest order first.
    pub order: u32,
    /// How many members of a smaller order the configuration has.
    pub rank: u32,
    /// How long a member waits for each of these before it claims an activity that nobody has.
    pub stagger: Duration,
    /// How long the activity of a leader that is gone is still taken. Whole seconds; etcd may grant more.
    pub lease: Duration,
    /// Whether the activity goes back to a member of smaller order.
    pub fail_back: FailBack,
}

/// Whether the activity goes back to a member of smaller order that is there again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FailBack {
    /// It stays where it is.
    Never,
    /// It is handed over once that member has been ready for so long.
    After(Duration),
}

/// What an instance is to its group now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Standing {
    /// Nobody can say: etcd does not answer.
    Unknown,
    /// Another one acts, or nobody does yet.
    Standby {
        /// The instance that acts.
        leader: Option<String>,
    },
    /// This one acts. Ask [`Group::may_act`] before each act.
    Active {
        /// What its decisions carry.
        epoch: Epoch,
    },
}

/// One instance's part in its group; cheap to clone.
#[derive(Debug, Clone)]
pub struct Group(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    standing: watch::Sender<Standing>,
    members: watch::Sender<Vec<Member>>,
    /// Whether this instance wants to act.
    ready: watch::Sender<bool>,
    /// Grows by one whenever the activity is to be handed over.
    hand_overs: watch::Sender<u64>,
    /// The epoch of this instance's activity and the moment until which it may act.
    activity: Mutex<Option<(Epoch, Until)>>,
    /// The largest epoch that was seen in a decision.
    floor: AtomicU64,
}

#[derive(Debug, Clone, Copy)]
enum Until {
    Ever,
    Moment(Moment),
}

impl Group {
    /// Takes part in a group, by a task among `tasks`. It stands as soon as [`set_ready`](Self::set_ready) says so.
    #[must_use]
    pub fn join(config: Config, client: &Client, tasks: &Tasks) -> Self {
        let group = Self::with(Standing::Unknown, None);
        drop(tasks.spawn("group member", member::take_part(group.clone(), config, client.clone(), tasks.clone())));
        group
    }

    /// The only instance there is: it always acts, with this epoch.
    #[must_use]
    pub fn alone(epoch: Epoch) -> Self {
        Self::with(Standing::Active { epoch }, Some((epoch, Until::Ever)))
    }

    fn with(standing: Standing, activity: Option<(Epoch, Until)>) -> Self {
        Self(Arc::new(Shared {
            standing: watch::Sender::new(standing),
            members: watch::Sender::new(Vec::new()),
            ready: watch::Sender::new(false),
            hand_overs: watch::Sender::new(0),
            activity: Mutex::new(activity),
            floor: AtomicU64::new(0),
        }))
    }

    /// What this instance is to its group, as it changes.
    #[must_use]
    pub fn standing(&self) -> watch::Receiver<Standing> {
        self.0.standing.subscribe()
    }

    /// The members that are ready, as they change; nobody where there is no etcd.
    #[must_use]
    pub fn members(&self) -> watch::Receiver<Vec<Member>> {
        self.0.members.subscribe()
    }

    /// The epoch to act with, if this instance may act at this very moment.
    #[must_use]
    pub fn may_act(&self) -> Option<Epoch> {
        match *self.activity() {
            Some((epoch, Until::Ever)) => Some(epoch),
            Some((epoch, Until::Moment(until))) if !until.left().is_zero() => Some(epoch),
            _ => None,
        }
    }

    /// Whether this instance can act: it has caught up with the journal. One that cannot hands its activity over.
    pub fn set_ready(&self, ready: bool) {
        self.0.ready.send_if_modified(|known| std::mem::replace(known, ready) != ready);
    }

    /// Hands the activity over to the next member that is ready, if this instance has it and there is one.
    pub fn hand_over(&self) {
        self.0.hand_overs.send_modify(|count| *count += 1);
    }

    /// Tells of an epoch in a decision: later leaders are to have larger ones, even if etcd was made anew and counts from 1.
    pub fn saw(&self, epoch: Epoch) {
        self.0.floor.fetch_max(epoch, Ordering::Relaxed);
    }

    fn activity(&self) -> std::sync::MutexGuard<'_, Option<(Epoch, Until)>> {
        self.0.activity.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::{Group, Standing};

    #[tokio::test]
    async fn who_is_alone_always_acts() {
        let group = Group::alone(7);
        assert_eq!(group.may_act(), Some(7));
        assert_eq!(*group.standing().borrow(), Standing::Active { epoch: 7 });
    }
}
