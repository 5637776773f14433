//! One member's loop: it renews its lease, watches who leads, and claims, keeps or releases the active role.

use std::time::Duration;

use stowage_base::log::chain;
use stowage_base::tasks::Tasks;
use stowage_http::client::Client;

use super::clock::Moment;
use super::etcd::{Etcd, EtcdError};
use super::keys::{self, Keys, Leader, View};
use super::{Config, Epoch, Group, Standing};

/// Takes part in the group until the program stops.
pub(super) async fn take_part(group: Group, config: Config, client: Client, tasks: Tasks) {
    let patience = (config.lease / 4).max(SHORTEST_PATIENCE);
    let mut part = Part {
        etcd: Etcd::new(&client, config.etcd.clone(), patience),
        keys: Keys::new(&config.prefix, config.group, &config.instance, config.order),
        config,
        group: group.clone(),
        session: None,
        reign: None,
        vacant: None,
        better: None,
        sits_out: None,
        hands_over: false,
        trouble: String::new(),
    };
    let run = async {
        tokio::select! {
            () = tasks.stopping() => {}
            () = part.run() => {}
        }
    };
    tokio::select! {
        () = run => {}
        () = lapse(&group) => {}
    }
    group.stop(Standing::Unknown);
    if let Some(session) = part.session.take()
        && let Err(error) = keys::revoke(&part.etcd, &session.lease).await
    {
        tracing::warn!(reason = chain(&error), "the group hears of this instance's end only when its lease is over");
    }
}

/// Ends the active role when its time is up, whatever the member is waiting for.
async fn lapse(group: &Group) {
    let mut standing = group.standing();
    loop {
        let activity = *group.activity();
        match activity {
            Some((epoch, until)) if until.left().is_zero() => {
                tracing::error!(epoch, "etcd did not renew the lease in time: this instance stops acting");
                group.stop(Standing::Unknown);
            }
            Some((_, until)) => tokio::time::sleep(until.left()).await,
            None => {
                if standing.changed().await.is_err() {
                    return;
                }
            }
        }
    }
}

struct Part {
    etcd: Etcd,
    keys: Keys,
    config: Config,
    group: Group,
    session: Option<Session>,
    /// Creation revision of the leader key while this member holds it, and the epoch derived from it.
    reign: Option<(u64, Epoch)>,
    /// Since when there has been no leader.
    vacant: Option<Moment>,
    /// Since when there has been a member of smaller order.
    better: Option<Moment>,
    /// Since when this member has been yielding to others.
    sits_out: Option<Moment>,
    hands_over: bool,
    /// The last reported error.
    trouble: String,
}

struct Session {
    lease: String,
    /// Whether the member's key exists.
    stands: bool,
}

impl Part {
    async fn run(&mut self) {
        let mut ready = self.group.0.ready.subscribe();
        let mut hand_overs = self.group.0.hand_overs.subscribe();
        loop {
            let pause = match self.round().await {
                Ok(pause) => {
                    self.trouble.clear();
                    pause
                }
                Err(error) => self.fail(&error),
            };
            tokio::select! {
                _ = ready.changed() => {}
                _ = hand_overs.changed() => self.hands_over = true,
                () = tokio::time::sleep(pause) => {}
            }
        }
    }

    fn fail(&mut self, error: &EtcdError) -> Duration {
        if matches!(error, EtcdError::NoLease) {
            tracing::warn!("the lease in etcd is over; taking a new one");
            self.session = None;
            self.reign = None;
            self.group.stop(Standing::Unknown);
            return RETRY;
        }
        let reason = chain(error);
        if reason != self.trouble {
            tracing::warn!(reason, "the group cannot be asked now; trying again");
            self.trouble = reason;
        }
        // The active instance continues until its time is up; any other cannot know its standing.
        if self.group.activity().is_none() {
            self.group.stop(Standing::Unknown);
        }
        RETRY
    }

    /// Runs one round; returns the delay until the next.
    async fn round(&mut self) -> Result<Duration, EtcdError> {
        // Taken before the request is sent: etcd counts the TTL from a later moment.
        let asked = Moment::now();
        let (lease, length) = self.renew().await?;
        let wants = self.wants();
        if wants {
            self.stand(&lease).await?;
        }
        let mut view = self.keys.view(&self.etcd).await?;
        if view.leader.is_none() && wants && self.waited() {
            self.keys.claim(&self.etcd, &lease).await?;
            view = self.keys.view(&self.etcd).await?;
        }
        self.group.0.members.send_if_modified(|members| {
            let changed = *members != view.members;
            members.clone_from(&view.members);
            changed
        });
        // A partitioned etcd member renews leases that the others expire (etcd issue 15247): what counts is that a majority, queried
        // afterwards, still has the key.
        let until = asked.after(length.saturating_sub(length / MARGIN));
        self.judge(&view, &lease, until).await?;
        if !wants {
            self.stand_down().await?;
        }
        let pause = (length / 3).min(LONGEST_PAUSE);
        Ok(if self.vacant.is_some() { pause.min(RETRY) } else { pause })
    }

    /// Renews the lease, or obtains one; returns it and its TTL.
    async fn renew(&mut self) -> Result<(String, Duration), EtcdError> {
        // The session stays in place meanwhile: if this is cancelled, the lease must still be found to be revoked.
        let (lease, seconds, stands) = match &self.session {
            Some(session) => (session.lease.clone(), keys::renew(&self.etcd, &session.lease).await?, session.stands),
            None => {
                let granted = keys::grant(&self.etcd, self.config.lease.as_secs().max(1)).await?;
                (granted.lease, granted.seconds, false)
            }
        };
        self.session = Some(Session { lease: lease.clone(), stands });
        Ok((lease, Duration::from_secs(seconds)))
    }

    /// Returns whether this member wants the active role.
    fn wants(&mut self) -> bool {
        let length = self.config.lease * 2;
        self.sits_out = self.sits_out.filter(|since| since.elapsed() < length);
        *self.group.0.ready.borrow() && self.sits_out.is_none()
    }

    async fn stand(&mut self, lease: &str) -> Result<(), EtcdError> {
        let Some(session) = self.session.as_mut().filter(|session| !session.stands) else { return Ok(()) };
        self.keys.stand(&self.etcd, lease).await?;
        session.stands = true;
        Ok(())
    }

    async fn stand_down(&mut self) -> Result<(), EtcdError> {
        let Some(session) = self.session.as_mut().filter(|session| session.stands) else { return Ok(()) };
        self.keys.stand_down(&self.etcd).await?;
        session.stands = false;
        Ok(())
    }

    /// Returns whether the members before it have had time to claim.
    fn waited(&mut self) -> bool {
        let since = *self.vacant.get_or_insert_with(Moment::now);
        since.elapsed() >= self.config.stagger * self.config.rank
    }

    /// Acts on the current view of the group.
    async fn judge(&mut self, view: &View, lease: &str, until: Moment) -> Result<(), EtcdError> {
        match &view.leader {
            Some(leader) if leader.lease == lease => {
                self.vacant = None;
                if self.is_to_hand_over(view) {
                    return self.resign(leader).await;
                }
                self.act(leader, until);
            }
            leader => {
                self.reign = None;
                self.better = None;
                self.hands_over = false;
                if leader.is_some() {
                    self.vacant = None;
                    self.sits_out = None;
                }
                let leader = leader.as_ref().map(|leader| leader.instance.clone());
                self.group.stop(Standing::Standby { leader });
            }
        }
        Ok(())
    }

    fn is_to_hand_over(&mut self, view: &View) -> bool {
        let has_others = view.members.iter().any(|member| member.instance != self.keys.instance);
        if std::mem::take(&mut self.hands_over) && has_others {
            self.sits_out = Some(Moment::now());
        }
        let better = view.members.iter().any(|member| member.order < self.keys.order);
        self.better = better.then(|| self.better.unwrap_or_else(Moment::now));
        let fails_back = self.config.fail_back.zip(self.better).is_some_and(|(time, since)| since.elapsed() >= time);
        fails_back || !self.wants()
    }

    /// Stops acting first, and only then releases the key.
    async fn resign(&mut self, leader: &Leader) -> Result<(), EtcdError> {
        self.group.stop(Standing::Standby { leader: None });
        self.reign = None;
        self.better = None;
        if !self.wants() {
            self.stand_down().await?;
        }
        tracing::info!("handing the group's activity over");
        self.keys.resign(&self.etcd, leader.revision).await
    }

    fn act(&mut self, leader: &Leader, until: Moment) {
        let floor = self.group.0.floor.load(std::sync::atomic::Ordering::Relaxed);
        let epoch = match self.reign {
            Some((revision, epoch)) if revision == leader.revision => epoch,
            _ => leader.revision.max(floor.saturating_add(1)),
        };
        self.reign = Some((leader.revision, epoch));
        *self.group.activity() = Some((epoch, until));
        let active = Standing::Active { epoch };
        self.group.0.standing.send_if_modified(|standing| {
            let is_new = *standing != active;
            if is_new {
                tracing::info!(epoch, instance = self.keys.instance, "this instance acts for its group");
                *standing = active;
            }
            is_new
        });
    }
}

impl Group {
    /// Stops acting.
    fn stop(&self, standing: Standing) {
        let acted = self.activity().take().is_some();
        self.0.standing.send_if_modified(|known| {
            if acted {
                tracing::info!("this instance no longer acts for its group");
            }
            std::mem::replace(known, standing.clone()) != standing
        });
    }
}

/// The leader stops acting this fraction of its lease before the end, so that an act begun before then is over by the end.
const MARGIN: u32 = 5;
const SHORTEST_PATIENCE: Duration = Duration::from_millis(250);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);
const RETRY: Duration = Duration::from_millis(200);
