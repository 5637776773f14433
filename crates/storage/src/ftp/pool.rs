//! Pool of control connections: a login may take seconds, and servers limit sessions.
//!
//! There is one pool per server, account and TLS mode, whatever folders the plans name. An operation takes an idle session; if
//! there is none, it waits for whichever comes first: a session returned by another operation, or a login. Only a few logins
//! run concurrently, so that many uploads at once do not cause as many logins. If a server accepts no more sessions while others are
//! open, the operation waits for one of those.

use std::collections::{HashMap, VecDeque};
use std::ops::{Deref, DerefMut};
use std::sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use sha2::{Digest, Sha256};
use stowage_base::tasks::Tasks;
use stowage_http::client::{self, Client};
use tokio::sync::oneshot;
use tokio::time::Instant;

use super::address::Address;
use super::session::Session;
use crate::{Error, Kind, Result};

/// The sessions with one server.
#[derive(Debug)]
pub(super) struct Pool {
    address: Arc<Address>,
    client: Client,
    tasks: Tasks,
    /// Closes idle sessions; separate from `tasks`, as shutdown need not wait for it.
    sweeper: Tasks,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    idle: Vec<Idle>,
    waiting: VecDeque<oneshot::Sender<Result<Lease>>>,
    /// Logins in progress.
    logins: usize,
    /// Sessions in use by operations.
    busy: usize,
    sweeping: bool,
}

#[derive(Debug)]
struct Idle {
    session: Session,
    since: Instant,
}

/// A session in use by an operation; closed on drop unless it is returned.
#[derive(Debug)]
pub(super) struct Lease {
    session: Session,
    place: Place,
}

/// Counts a session as busy.
#[derive(Debug)]
struct Place {
    pool: Arc<Pool>,
    /// Whether the session was returned.
    left: bool,
}

enum Offer {
    Idle(Box<Lease>, Instant),
    Wait(oneshot::Receiver<Result<Lease>>),
}

/// All pools with open storages.
static POOLS: LazyLock<Mutex<HashMap<[u8; 32], Weak<Pool>>>> = LazyLock::new(Mutex::default);

impl Pool {
    /// Returns the pool of a server and account.
    pub(super) fn of(address: &Arc<Address>, client: &Client, tasks: &Tasks) -> Arc<Self> {
        // Sessions belong to the connector that verified their addresses and certificates.
        let world = std::ptr::from_ref(client.connector().tls()).addr().to_be_bytes();
        let key = Sha256::new().chain_update(world).chain_update(address.identity()).finalize().into();
        let mut pools = POOLS.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(pool) = pools.get(&key).and_then(Weak::upgrade) {
            return pool;
        }
        pools.retain(|_, pool| pool.strong_count() > 0);
        let pool = Arc::new(Self {
            address: Arc::clone(address),
            client: client.clone(),
            tasks: tasks.clone(),
            sweeper: Tasks::default(),
            state: Mutex::default(),
        });
        pools.insert(key, Arc::downgrade(&pool));
        pool
    }

    /// Returns a responsive session, prepared for a path.
    ///
    /// # Errors
    /// As for [`Session::open`].
    pub(super) async fn take(self: &Arc<Self>, path: &str) -> Result<Lease> {
        loop {
            let (mut lease, is_old) = match self.offer() {
                Offer::Idle(lease, since) => (*lease, since.elapsed() > FRESH),
                Offer::Wait(given) => (self.wait(given).await?, false),
            };
            if (lease.doubtful || is_old) && !lease.answers().await {
                continue;
            }
            lease.speak(path).await?;
            return Ok(lease);
        }
    }

    async fn wait(&self, given: oneshot::Receiver<Result<Lease>>) -> Result<Lease> {
        match tokio::time::timeout(self.client.connector().timeouts().response_head, given).await {
            Ok(Ok(outcome)) => outcome,
            Ok(Err(_)) => Err(Error::new(Kind::Passing, "the login on the FTP server broke off")),
            Err(_) => Err(client::Error::from(client::Kind::Silent).into()),
        }
    }

    fn offer(self: &Arc<Self>) -> Offer {
        let mut state = self.lock();
        if let Some(Idle { session, since }) = state.idle.pop() {
            state.busy += 1;
            return Offer::Idle(Box::new(Lease { session, place: Place::of(self) }), since);
        }
        let (sender, given) = oneshot::channel();
        state.waiting.push_back(sender);
        self.log_in_for(&mut state);
        Offer::Wait(given)
    }

    /// Starts as many logins as are useful.
    fn log_in_for(self: &Arc<Self>, state: &mut State) {
        // If a session is dropped at the end of the program, there is no runtime for a login.
        if tokio::runtime::Handle::try_current().is_err() {
            return;
        }
        while state.logins < MOST_LOGINS.min(state.waiting.len()) {
            state.logins += 1;
            drop(self.tasks.spawn("ftp login", Arc::clone(self).log_in()));
        }
    }

    async fn log_in(self: Arc<Self>) {
        let outcome = Session::open(&self.client, &self.address).await;
        let mut state = self.lock();
        state.logins -= 1;
        match outcome {
            Ok(session) => {
                state.busy += 1;
                drop(state);
                Lease { session, place: Place::of(&self) }.leave();
                self.log_in_for(&mut self.lock());
            }
            Err(error) if is_full(&error) && state.busy + state.idle.len() + state.logins > 0 => {}
            Err(error) => {
                let waiting = std::mem::take(&mut state.waiting);
                drop(state);
                for sender in waiting {
                    // The operation may be gone.
                    let _ = sender.send(Err(error.again()));
                }
            }
        }
    }

    /// Hands a session to the first operation that waits, or keeps it. Both under one lock: an operation that finds no idle session and begins to wait
    /// in between would not be given this one.
    fn give(self: &Arc<Self>, mut lease: Lease) {
        loop {
            let mut state = self.lock();
            let Some(sender) = state.waiting.pop_front() else { return self.keep(lease, state) };
            drop(state);
            match sender.send(Ok(lease)) {
                // The operation is gone.
                Err(Ok(back)) => lease = back,
                Ok(()) | Err(Err(_)) => return,
            }
        }
    }

    fn keep(self: &Arc<Self>, Lease { session, mut place }: Lease, mut state: MutexGuard<'_, State>) {
        place.left = true;
        state.idle.push(Idle { session, since: Instant::now() });
        let surplus = if state.idle.len() > MOST_IDLE { Some(state.idle.remove(0)) } else { None };
        let sweep = !std::mem::replace(&mut state.sweeping, true);
        drop(state);
        // It takes the lock.
        drop(place);
        if let Some(Idle { session, .. }) = surplus {
            drop(self.sweeper.spawn("ftp goodbye", session.quit()));
        }
        if sweep {
            drop(self.sweeper.spawn("ftp idle", sweep_idle(Arc::downgrade(self))));
        }
    }

    /// Removes sessions that were idle for too long; also returns whether none is left.
    fn take_old(&self) -> (Vec<Idle>, bool) {
        let mut state = self.lock();
        let all = std::mem::take(&mut state.idle).into_iter();
        let (old, kept): (Vec<_>, Vec<_>) = all.partition(|idle| idle.since.elapsed() > KEEP);
        state.idle = kept;
        state.sweeping = !state.idle.is_empty();
        (old, state.idle.is_empty())
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Lease {
    /// Returns the session for the next operation.
    pub(super) fn leave(self) {
        let pool = Arc::clone(&self.place.pool);
        if self.session.is_good() {
            pool.give(self);
        }
    }
}

impl Deref for Lease {
    type Target = Session;

    fn deref(&self) -> &Session {
        &self.session
    }
}

impl DerefMut for Lease {
    fn deref_mut(&mut self) -> &mut Session {
        &mut self.session
    }
}

impl Place {
    fn of(pool: &Arc<Pool>) -> Self {
        Self { pool: Arc::clone(pool), left: false }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut state = self.pool.lock();
        state.busy = state.busy.saturating_sub(1);
        if self.left {
            return;
        }
        // If one connection broke, others may have as well: check them before use.
        for idle in &mut state.idle {
            idle.session.doubtful = true;
        }
        self.pool.log_in_for(&mut state);
    }
}

/// Returns whether a server accepts no more sessions: 421, or 530 for a limit on logins (ProFTPD's `MaxClientsPerUser`).
fn is_full(error: &Error) -> bool {
    error.status().is_some_and(|status| matches!(status.as_u16(), 421 | 530))
}

/// Closes idle sessions until none is left.
async fn sweep_idle(pool: Weak<Pool>) {
    loop {
        tokio::time::sleep(SWEEP_EVERY).await;
        let Some(pool) = pool.upgrade() else { return };
        let (old, none_left) = pool.take_old();
        for Idle { session, .. } in old {
            session.quit().await;
        }
        if none_left {
            return;
        }
    }
}

/// Maximum number of idle sessions.
const MOST_IDLE: usize = 8;
/// Maximum number of concurrent logins.
const MOST_LOGINS: usize = 3;
/// A session used this recently is not checked before use.
const FRESH: Duration = Duration::from_secs(2);
/// Servers close idle sessions after 120 s (IIS, FileZilla Server) to 600 s (ProFTPD).
const KEEP: Duration = Duration::from_secs(90);
const SWEEP_EVERY: Duration = Duration::from_secs(15);

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use rustls::RootCertStore;
    use serde_json::json;

    use super::super::address::Address;
    use super::Pool;
    use stowage_base::settings::Settings;
    use stowage_base::tasks::Tasks;
    use stowage_http::client::Client;
    use stowage_http::connect::{Connector, Timeouts};
    use stowage_http::egress::Egress;

    #[test]
    fn storages_on_one_account_share_their_sessions() {
        let second = Duration::from_secs(1);
        let timeouts = Timeouts { connect: second, tls_handshake: second, response_head: second, idle_body: second };
        let egress = Egress::default();
        let connector = Connector::trusting(RootCertStore::empty(), egress, timeouts).unwrap();
        let tasks = Tasks::default();
        let client = Client::new(connector, tasks.clone(), 64 << 10);
        let pool = |url: &str| {
            let members = json!({ "url": url }).as_object().cloned().unwrap();
            let address = Address::read(&Settings::new("f1", "ftp", members)).unwrap();
            Pool::of(&Arc::new(address), &client, &tasks)
        };
        let one = pool("ftp://user:password@host/a");
        assert!(Arc::ptr_eq(&one, &pool("ftp://user:password@HOST:21/b")));
        for other in [
            "ftp://user:password@other/a",
            "ftp://user:password@host:2121/a",
            "ftp://another:password@host/a",
            "ftp://user:changed@host/a",
            "ftpes://user:password@host/a",
        ] {
            assert!(!Arc::ptr_eq(&one, &pool(other)), "{other}");
        }
    }
}
