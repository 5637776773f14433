//! TLS session cache of one control connection, from which its data connections resume: servers may require that (vsftpd's
//! `require_ssl_reuse`, ProFTPD without `NoSessionReuseRequired`), as it proves that both have the same peer.
//!
//! A TLS 1.3 ticket is used only once (RFC 8446 appendix C.4), and not every server issues a new one with each data connection, so a
//! long-lived session may run out of them.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use rustls::NamedGroup;
use rustls::client::{ClientSessionMemoryCache, ClientSessionStore, Tls12ClientSessionValue, Tls13ClientSessionValue};
use rustls_pki_types::ServerName;

/// The TLS sessions of one control connection.
#[derive(Debug)]
pub(super) struct Tickets {
    kept: ClientSessionMemoryCache,
    /// Upper bound of the remaining TLS 1.3 tickets.
    left: AtomicUsize,
    /// Whether there is a TLS 1.2 session, which can be resumed repeatedly.
    lasting: AtomicBool,
}

impl Tickets {
    pub(super) fn new() -> Self {
        let kept = ClientSessionMemoryCache::new(MOST_TICKETS);
        Self { kept, left: AtomicUsize::new(0), lasting: AtomicBool::new(false) }
    }

    /// Returns whether another data connection can resume the session.
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

/// Number of tickets rustls keeps per server.
const MOST_TICKETS: usize = 8;
