//! What only the `ftp` driver does.

use std::sync::Arc;

use serde_json::{Value, json};

use super::around::Around;
use super::support::certs::Certs;
use super::support::ftp::{FtpServer, Gate, PASSWORD, USER};
use super::targets::{BUDGET, Target, World};

/// A server and what stands before it, kept as long as a target.
struct Place {
    server: FtpServer,
    _gate: Option<Arc<Gate>>,
}

impl World for Place {
    fn objects(&self) -> Vec<String> {
        self.server.objects("recordings")
    }

    fn leftovers(&self) -> Vec<String> {
        self.server.parts()
    }
}

/// The URL of the folder that objects go to.
fn url(scheme: &str, port: u16) -> String {
    format!("{scheme}://{USER}:{}@localhost:{port}/recordings", PASSWORD.replace('@', "%40"))
}

fn target(settings: Value, around: &Around, place: Place) -> Target {
    let mut target = Target::open("ftp", settings, around, BUDGET, Box::new(place));
    target.secrets = vec![USER.to_owned(), PASSWORD.to_owned(), PASSWORD.replace('@', "%40")];
    target
}

/// A real server, without TLS.
pub async fn plain() -> Target {
    let server = FtpServer::start().await;
    let settings = json!({"url": url("ftp", server.address().port())});
    target(settings, &Around::default(), Place { server, _gate: None })
}

/// A real server behind TLS after `AUTH TLS`.
pub async fn explicit() -> Target {
    secure(true).await.1
}

/// A real server behind TLS from the first byte.
pub async fn implicit() -> Target {
    secure(false).await.1
}

async fn secure(explicit: bool) -> (Arc<Gate>, Target) {
    let (certs, server) = (Certs::make(&[]), FtpServer::start().await);
    let (scheme, gate) = match explicit {
        true => ("ftpes", Gate::explicit(server.address(), &certs).await),
        false => ("ftps", Gate::implicit(server.address(), &certs).await),
    };
    let settings = json!({"url": url(scheme, gate.address().port())});
    let gate = Arc::new(gate);
    // The certificates have been read: they may go.
    let target = target(settings, &Around::trusting(certs.ca()), Place { server, _gate: Some(Arc::clone(&gate)) });
    (gate, target)
}
