//! The subjects: a server itself, its proxies on one core each, and the gateway.

use std::net::SocketAddr;

use crate::cores::Sides;
use crate::gateway::Servers;
use crate::process::Process;
use crate::{Outcome, Run, peers};

/// The table's columns; `BASE` is the server without a proxy, or as described in a row.
pub(crate) const BASE: &str = "base";
pub(crate) const NGINX: &str = "nginx";
pub(crate) const HAPROXY: &str = "haproxy";
pub(crate) const PINGORA: &str = "pingora";
pub(crate) const STOWAGE: &str = "stowage";

/// A server under measurement.
#[derive(Debug)]
pub(crate) struct Subject {
    pub(crate) name: &'static str,
    pub(crate) address: SocketAddr,
    /// `None` for the server itself.
    process: Option<Process>,
}

/// Starts the peers in front of this server, and the gateway in front of all, with one thread each on the proxies' core. A missing peer is reported
/// and skipped.
pub(crate) async fn start(
    servers: &Servers,
    server: SocketAddr,
    run: &Run,
    sides: Option<&Sides>,
) -> Outcome<Vec<Subject>> {
    let (directory, place) = (servers.directory().path(), Sides::one_core(sides));
    let mut subjects = vec![Subject { name: BASE, address: server, process: None }];
    let mut peers =
        vec![(NGINX, peers::nginx(server, directory, &place)), (HAPROXY, peers::haproxy(server, directory, &place))];
    if let Some(binary) = &run.pingora {
        peers.push((PINGORA, peers::pingora(binary, server, &place)));
    }
    for (name, peer) in peers {
        match peer {
            Ok(peer) => subjects.push(Subject { name, address: peer.address, process: Some(peer.process) }),
            Err(error) => eprintln!("load: a peer is missing, its column stays empty: {error}"),
        }
    }
    let gateway = servers.gateway(&run.binary, &place).await?;
    subjects.push(Subject { name: STOWAGE, address: gateway.address, process: Some(gateway.process) });
    Ok(subjects)
}

impl Subject {
    /// Returns the process's CPU seconds so far.
    pub(crate) fn cpu(&self) -> Outcome<Option<f64>> {
        let used = self.process.as_ref().map(Process::cpu).transpose()?;
        Ok(used.map(|used| used.as_secs_f64()))
    }

    /// Returns the error with the process's output.
    pub(crate) fn error(&self, error: &dyn std::fmt::Display) -> String {
        match &self.process {
            Some(process) => process.failure(&format!("fails: {error}")).to_string(),
            None => format!("{}: {error}", self.name),
        }
    }
}
