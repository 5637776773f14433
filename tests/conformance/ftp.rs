//! What only the `ftp` driver does.

use serde_json::{Value, json};

use super::around::Around;
use super::support::certs::Certs;
use super::support::ftp::{FtpServer, Gate, PASSWORD, USER};
use super::targets::{BUDGET, Target, World};

/// A server and what stands before it, kept as long as a target.
struct Place {
    server: FtpServer,
    _gate: Option<Gate>,
    _certs: Option<Certs>,
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
    target(settings, &Around::default(), Place { server, _gate: None, _certs: None })
}

/// A real server that insists on TLS.
pub async fn explicit() -> Target {
    let certs = Certs::make(&[]);
    let server = FtpServer::explicit(&certs).await;
    let settings = json!({"url": url("ftpes", server.address().port())});
    target(settings, &Around::trusting(certs.ca()), Place { server, _gate: None, _certs: Some(certs) })
}

/// A real server behind TLS.
pub async fn implicit() -> Target {
    let certs = Certs::make(&[]);
    let server = FtpServer::start().await;
    let gate = Gate::implicit(server.address(), &certs).await;
    let settings = json!({"url": url("ftps", gate.address().port())});
    target(settings, &Around::trusting(certs.ca()), Place { server, _gate: Some(gate), _certs: Some(certs) })
}
