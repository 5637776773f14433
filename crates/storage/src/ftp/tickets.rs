//! What TLS remembers of a control connection, so that its data connections resume the session: servers may want that
//! (vsftpd's `require_ssl_reuse`, ProFTPD without `NoSessionReuseRequired`), as it shows that both ends are the same.
//!
//! With TLS 1.3 a ticket is used once (RFC 8446 appendix C.4), and not every server gives a new one with each data connection. A
//! kept session may run out of them.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use rustls::NamedGroup;
use rustls::client::{ClientSessionMemoryCache, ClientSessionStore, Tls12ClientSessionValue, Tls13ClientSessionValue};
use rustls_pki_types::ServerName;

/// The sessions of one control connection.
#[derive(Debug)]
pub(super) struct Tickets {
    kept: ClientSessionMemoryCache,
    /// Tickets of TLS 1.3 that are left, at most.
    left: AtomicUsize,
    /// Whether there is a session of TLS 1.2, which can be resumed again and again.
    lasting: AtomicBool,
}

impl Tickets {
    pub(super) fn new() -> Self {
        let kept = ClientSessionMemoryCache::new(MOST_TICKETS);
        Self { kept, left: AtomicUsize::new(0), lasting: AtomicBool::new(false) }
    }

    /// Whether another data connection can resume the session.
    pub(super) fn are_left(&self) -> bool {
        self.lasting.load(Ordering::Relaxed) || self.left.load(Ordering::Relaxed) > 0
    }
}

impl ClientSessionStore for Tickets {
    fn set_kx_hint(&self, name: ServerName<'static>, group: NamedGroup) {
        self.kept.set_kx_hint(name, group);
    }

    fn kx_hint(&self, name: &ServerName<'_>) -> Option<NamedGroup> {
        self.kept.kx_hint(name)
    }

    fn set_tls12_session(&self, name: ServerName<'static>, value: Tls12ClientSessionValue) {
        self.lasting.store(true, Ordering::Relaxed);
        self.kept.set_tls12_session(name, value);
    }

    fn tls12_session(&self, name: &ServerName<'_>) -> Option<Tls12ClientSessionValue> {
        self.kept.tls12_session(name)
    }

    fn remove_tls12_session(&self, name: &ServerName<'static>) {
        self.lasting.store(false, Ordering::Relaxed);
        self.kept.remove_tls12_session(name);
    }

    fn insert_tls13_ticket(&self, name: ServerName<'static>, value: Tls13ClientSessionValue) {
        let more = |left: usize| Some((left + 1).min(MOST_TICKETS));
        let _ = self.left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more);
        self.kept.insert_tls13_ticket(name, value);
    }

    fn take_tls13_ticket(&self, name: &ServerName<'static>) -> Option<Tls13ClientSessionValue> {
        let taken = self.kept.take_tls13_ticket(name);
        let fewer = |left: usize| if taken.is_some() { left.checked_sub(1) } else { Some(0) };
        let _ = self.left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, fewer);
        taken
    }
}

/// What rustls keeps for one server.
const MOST_TICKETS: usize = 8;
