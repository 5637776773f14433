//! Which of several instances is active.

mod activity;
mod trouble;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use callstore::group::{Config, Endpoints, Epoch, Group, Standing};
use stowage_base::tasks::Tasks;
use stowage_http::client::Client;
use stowage_http::connect::Connector;
use stowage_http::target::Origin;

use crate::streams::connector;

/// The shortest lease that the test's etcd grants is one second.
const LEASE: Duration = Duration::from_secs(2);

/// An instance of the group.
pub struct Instance {
    pub group: Group,
    tasks: Tasks,
}

pub fn config(nodes: Vec<Origin>, order: u32) -> Config {
    Config {
        etcd: Endpoints { nodes, account: None },
        prefix: "/callstore".to_owned(),
        group: 11_010,
        instance: format!("callstore{order}"),
        order,
        rank: order - 1,
        stagger: Duration::from_millis(300),
        lease: LEASE,
        fail_back: None,
    }
}

pub fn join(config: Config) -> Instance {
    join_by(connector(), config)
}

/// Joins the group through this connector.
pub fn join_by(connector: Connector, config: Config) -> Instance {
    let tasks = Tasks::default();
    let client = Client::new(connector, Tasks::default(), 64 << 10);
    let group = Group::join(config, &client, &tasks);
    group.set_ready(true);
    Instance { group, tasks }
}

impl Instance {
    /// Waits until the instance is active.
    pub async fn acts(&self, limit: Duration) -> Epoch {
        let mut standing = self.group.standing();
        let active = standing.wait_for(|standing| matches!(standing, Standing::Active { .. }));
        tokio::time::timeout(limit, active).await.expect("it acts in time").expect("a member");
        self.group.may_act().expect("who is active may act")
    }

    /// Waits until the instance is not active.
    pub async fn rests(&self, limit: Duration) {
        let mut standing = self.group.standing();
        let resting = standing.wait_for(|standing| !matches!(standing, Standing::Active { .. }));
        tokio::time::timeout(limit, resting).await.expect("it rests in time").expect("a member");
        assert_eq!(self.group.may_act(), None);
    }

    pub async fn knows(&self, leader: &str) {
        let mut standing = self.group.standing();
        let known = standing.wait_for(|standing| *standing == Standing::Standby { leader: Some(leader.to_owned()) });
        tokio::time::timeout(SOON, known).await.expect("it hears of it").expect("a member");
    }

    /// Stops the instance as the program does.
    pub async fn stop(self) {
        self.tasks.stop();
        assert_eq!(self.tasks.drain(SOON).await, 0);
    }
}

pub const SOON: Duration = Duration::from_secs(10);

/// Checks that at most one instance may act at a time; panics in the test otherwise.
pub struct Watch {
    broken: Arc<AtomicBool>,
    task: tokio::task::JoinHandle<()>,
}

impl Watch {
    pub fn over(groups: Vec<Group>) -> Self {
        let broken = Arc::new(AtomicBool::new(false));
        let flag = Arc::clone(&broken);
        let task = tokio::spawn(async move {
            loop {
                if groups.iter().filter(|group| group.may_act().is_some()).count() > 1 {
                    flag.store(true, Ordering::Relaxed);
                }
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        });
        Self { broken, task }
    }

    pub fn ends(self) {
        self.task.abort();
        assert!(!self.broken.load(Ordering::Relaxed), "two acted at once");
    }
}
