//! What only the `ftp` driver does: TLS, logins, servers that lack a command, names and locations. `faults` breaks things, `unsure` has
//! servers that do not tell, `sessions` counts logins, `listing` has folders that are not listed.

mod faults;
mod listing;
mod sessions;
mod unsure;

use crate::conformance::prelude::*;
use stowage_storage::Served;

use super::targets::World;
use stowage_testing::certs::Certs;
use stowage_testing::ftp::gate::{Act, Gate};
use stowage_testing::ftp::{FtpServer, PASSWORD, USER};

/// A server and the gate in front, kept alive as long as the target.
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

/// Returns the URL of the folder for objects.
fn url(scheme: &str, port: u16) -> String {
    format!("{scheme}://{USER}:{}@localhost:{port}/recordings", PASSWORD.replace('@', "%40"))
}

fn target(settings: Value, around: &Around, place: Place) -> Target {
    let mut target = Target::open("ftp", settings, around, BUDGET, Box::new(place));
    target.secrets = vec![USER.to_owned(), PASSWORD.to_owned(), PASSWORD.replace('@', "%40")];
    target
}

/// A real server without TLS.
pub async fn plain() -> Target {
    let server = FtpServer::start().await;
    let settings = json!({"url": url("ftp", server.address().port())});
    target(settings, &Around::default(), Place { server, _gate: None })
}

/// A real server with TLS after `AUTH TLS`.
pub async fn explicit() -> Target {
    secure(true).await.1
}

/// A real server with TLS from the first byte.
pub async fn implicit() -> Target {
    secure(false).await.1
}

async fn secure(explicit: bool) -> (Arc<Gate>, Target) {
    let (certs, server) = (Certs::make(&[]), FtpServer::start().await);
    let (scheme, gate) = if explicit {
        ("ftpes", Gate::explicit(server.address(), &certs).await)
    } else {
        ("ftps", Gate::implicit(server.address(), &certs).await)
    };
    let settings = json!({"url": url(scheme, gate.address().port())});
    let gate = Arc::new(gate);
    // The certificates are loaded, so their files may be removed.
    let target = target(settings, &Around::trusting(certs.ca()), Place { server, _gate: Some(Arc::clone(&gate)) });
    (gate, target)
}

/// A server, a gate in front of it, and a driver that uses the gate.
struct Gated {
    gate: Gate,
    target: Target,
}

async fn gated() -> Gated {
    with(|_| {}, Around::default()).await
}

async fn with(change: impl FnOnce(&mut Value), around: Around) -> Gated {
    let server = FtpServer::start().await;
    let gate = Gate::start(server.address()).await;
    let mut settings = json!({"url": url("ftp", gate.address().port())});
    change(&mut settings);
    Gated { target: target(settings, &around, Place { server, _gate: None }), gate }
}

/// Returns the commands' verbs in order.
fn verbs(gate: &Gate) -> Vec<String> {
    gate.asked().iter().map(|command| command.split(' ').next().unwrap_or_default().to_owned()).collect()
}

/// Too large to be kept in memory.
const LARGE: usize = CHUNK_BYTES + 70_000;

#[tokio::test]
async fn data_connections_are_protected_and_resume_the_session() {
    for explicit in [true, false] {
        let (gate, target) = secure(explicit).await;
        let stored = target.put(&object("x"), Body::full(bytes(100_000))).await.expect("stored");
        assert!(target.read(&stored.location, 100_000).await == bytes(100_000));
        assert_eq!(gate.resumed(), [true, true]);
        let all = verbs(&gate);
        let tls = all.iter().filter(|verb| *verb == "AUTH").count();
        assert_eq!(tls, usize::from(explicit), "one login serves both");
        let login = all.iter().position(|verb| verb == "USER").expect("a login");
        let before: &[&str] = if explicit { &["AUTH", "PBSZ", "PROT"] } else { &["PBSZ", "PROT"] };
        assert_eq!(all[..login], *before);
    }
}

/// libunftp sometimes parses the first bytes of TLS as a command; still, this tests a server with its own TLS.
#[tokio::test]
async fn a_server_with_its_own_tls() {
    let certs = Certs::make(&[]);
    let server = FtpServer::explicit(&certs).await;
    let settings = json!({"url": url("ftps", server.address().port()), "tls": "explicit"});
    let target = target(settings, &Around::trusting(certs.ca()), Place { server, _gate: None });
    let mut tries = 0;
    let stored = loop {
        tries += 1;
        match target.put(&object("x"), Body::full(bytes(100_000))).await {
            Err(error) if error.to_string().contains("InvalidContentType") && tries < 50 => {}
            outcome => break outcome.expect("stored"),
        }
    };
    assert_eq!(target.world.objects(), ["x"]);
    let read = loop {
        tries += 1;
        match target.get(&stored.location, None, 100_000).await {
            Err(error) if error.to_string().contains("InvalidContentType") && tries < 99 => {}
            outcome => break collect(outcome.expect("an object").body, LIMIT).await.expect("bytes"),
        }
    };
    assert!(read == bytes(100_000));
}

#[tokio::test]
async fn no_password_goes_to_a_server_that_is_not_trusted() {
    // A server without TLS.
    let Gated { gate, target } = with(|settings| settings["tls"] = json!("explicit"), Around::default()).await;
    assert_eq!(kind(target.put(&object("x"), Body::full("x")).await), Some(Kind::Refused));
    assert_eq!(gate.asked(), ["AUTH TLS"]);
    // A server with a certificate of an unknown CA.
    let (certs, server) = (Certs::make(&[]), FtpServer::start().await);
    let gate = Gate::explicit(server.address(), &certs).await;
    let settings = json!({"url": url("ftpes", gate.address().port())});
    let other = Certs::make(&[]);
    let target = self::target(settings, &Around::trusting(other.ca()), Place { server, _gate: None });
    let error = target.put(&object("x"), Body::full("x")).await.expect_err("refused");
    assert!(error.kind() == Kind::Refused && error.to_string().contains("certificate"), "{error}");
    assert_eq!(gate.asked(), ["AUTH TLS"]);
}

#[tokio::test]
async fn the_login_is_refused_or_passes() {
    let server = FtpServer::start().await;
    let settings = json!({"url": format!("ftp://{USER}:wrong@localhost:{}", server.address().port())});
    let target = target(settings, &Around::default(), Place { server, _gate: None });
    let error = target.put(&object("x"), Body::full("x")).await.expect_err("refused");
    assert_eq!(error.to_string(), "the FTP server does not accept the login (status 530)");
    assert_eq!(error.kind(), Kind::Refused);
    let Gated { gate, target } = gated().await;
    gate.plan("USER", Act::Answer("421 canary: too many users"), 99);
    let error = target.put(&object("x"), Body::full("x")).await.expect_err("later");
    assert_eq!((error.kind(), error.to_string().contains("canary")), (Kind::Passing, false), "{error}");
}

#[tokio::test]
async fn addresses_are_the_tenants() {
    // The tests' egress policy only allows 127.0.0.0/8.
    for url in ["ftp://10.0.0.1/", "ftps://10.0.0.1/", "ftpes://10.0.0.1/"] {
        let Gated { target, .. } = with(|settings| settings["url"] = json!(url), Around::default()).await;
        assert_eq!(kind(target.put(&object("x"), Body::full("x")).await), Some(Kind::Settings), "{url}");
    }
}

/// Old servers do not support EPSV; and the address of PASV is wrong, and must be ignored.
#[tokio::test]
async fn without_epsv_the_port_of_pasv_is_used_and_its_address_is_not() {
    for refusal in ["500 what", "502 no", "522 protocol"] {
        let Gated { gate, target } = gated().await;
        gate.plan("EPSV", Act::Answer(refusal), 99);
        let stored = target.put(&object("x"), Body::full(bytes(LARGE))).await.expect("stored");
        assert!(target.read(&stored.location, LARGE).await == bytes(LARGE));
        assert!(verbs(&gate).contains(&"PASV".to_owned()));
    }
}

#[tokio::test]
async fn without_rest_an_object_comes_whole() {
    let Gated { gate, target } = gated().await;
    let stored = target.put(&object("x"), Body::full(bytes(1000))).await.expect("stored");
    gate.plan("REST", Act::Answer("502 no"), 99);
    let range = Some(ByteRange { first: 10, last: 19 });
    let download = target.get(&stored.location, range, 1000).await.expect("an object");
    assert_eq!(download.served, Served::Whole);
    assert!(collect(download.body, LIMIT).await.expect("bytes") == bytes(1000));
}

#[tokio::test]
async fn servers_without_size_or_mlst_are_asked_otherwise() {
    for without in [&["SIZE"][..], &["SIZE", "MLST"], &["MLST"], &["MDTM"], &["SIZE", "MLST", "MDTM"]] {
        let Gated { gate, target } = gated().await;
        for verb in without {
            gate.plan(verb, Act::Answer("502 not here"), 999);
        }
        let first = target.put(&object("x"), Body::full(bytes(1000))).await.expect("stored");
        let second = target.put(&object("x"), Body::full(bytes(2000))).await.expect("stored");
        assert_eq!(target.world.objects(), ["x", "x.1f6c2a9e"], "{without:?}");
        assert!(target.read(&first.location, 1000).await == bytes(1000));
        assert!(target.read(&second.location, 2000).await == bytes(2000));
        target.backend.delete(&first.location).await.expect("removed");
        target.backend.delete(&first.location).await.expect("gone");
        assert_eq!(kind(target.get(&first.location, None, 1000).await), Some(Kind::Missing), "{without:?}");
    }
}

/// No query works, so the name is not used.
#[tokio::test]
async fn a_name_that_cannot_be_looked_up_is_not_taken() {
    let Gated { gate, target } = gated().await;
    for verb in ["SIZE", "MLST", "NLST"] {
        gate.plan(verb, Act::Answer("502 not here"), 999);
    }
    let stored = target.put(&object("x"), Body::full(bytes(1000))).await.expect("stored");
    assert_eq!(target.world.objects(), ["x.1f6c2a9e"]);
    assert!(target.read(&stored.location, 1000).await == bytes(1000));
}

/// SFTPGo over S3 and the like copy a file to rename it: its time changes.
#[tokio::test]
async fn the_version_is_that_of_the_renamed_file() {
    let Gated { gate, target } = gated().await;
    gate.plan("MDTM /recordings/x", Act::Say("213 20300102030405"), 99);
    let stored = target.put(&object("x"), Body::full("hello")).await.expect("stored");
    let download = target.get(&stored.location, None, 5).await.expect("an object");
    assert!(stored.etag.is_some() && download.etag == stored.etag, "{:?} {:?}", download.etag, stored.etag);
    assert_eq!(collect(download.body, LIMIT).await.expect("bytes"), "hello");
    gate.plan("MDTM /recordings/y", Act::Answer("550 not yet"), 1);
    let stored = target.put(&object("y"), Body::full("hello")).await.expect("stored");
    assert_eq!(stored.etag, None);
}

#[tokio::test]
async fn what_may_pass_is_tried_again_and_what_is_refused_is_not() {
    for (code, expected) in [
        ("421 busy", Kind::Passing),
        ("425 no data connection", Kind::Passing),
        ("426 aborted", Kind::Passing),
        ("450 locked", Kind::Passing),
        ("451 trouble", Kind::Passing),
        ("550 no", Kind::Refused),
        ("552 canary is full", Kind::Refused),
        ("553 not that name", Kind::Refused),
    ] {
        let Gated { gate, target } = gated().await;
        for act in [Act::Answer(code), Act::Say(code)] {
            gate.plan("STOR", act, 99);
            let error = target.put(&object("x"), Body::full(bytes(1000))).await.expect_err("an error");
            assert_eq!(error.kind(), expected, "{code}: {error}");
            assert!(!error.to_string().contains("canary"), "{error}");
            target.assert_empty(code).await;
            let stores = verbs(&gate).iter().filter(|verb| *verb == "STOR").count();
            assert!((stores > 1) == (expected == Kind::Passing), "{code}: {stores}");
            gate.forget();
        }
        if expected == Kind::Passing {
            gate.plan("STOR", Act::Say(code), 2);
            let stored = target.put(&object("x"), Body::full(bytes(1000))).await.expect("stored");
            assert!(target.read(&stored.location, 1000).await == bytes(1000));
            target.assert_clean(code).await;
        }
    }
}

#[tokio::test]
async fn a_code_for_both_is_told_apart() {
    let Gated { gate, target } = gated().await;
    let stored = target.put(&object("x"), Body::full("x")).await.expect("stored");
    gate.plan("RETR", Act::Answer("550 no permission"), 1);
    assert_eq!(kind(target.get(&stored.location, None, 1).await), Some(Kind::Refused));
    gate.plan("DELE", Act::Answer("550 no permission"), 1);
    assert_eq!(kind(target.backend.delete(&stored.location).await), Some(Kind::Refused));
    // SIZE may be refused although the file exists.
    gate.plan("SIZE", Act::Answer("550 no permission"), 1);
    assert_eq!(target.read(&stored.location, 1).await, b"x");
    gate.plan("SIZE", Act::Answer("550 no permission"), 2);
    let second = target.put(&object("x"), Body::full("y")).await.expect("stored");
    assert_eq!(
        (target.read(&stored.location, 1).await, target.read(&second.location, 1).await),
        (b"x".to_vec(), b"y".to_vec())
    );
}

#[tokio::test]
async fn a_name_that_would_be_a_command_is_never_sent() {
    let Gated { gate, target } = gated().await;
    for name in ["a\r\nDELE b", "a\nb", "a\rb", "a\0b"] {
        assert_eq!(kind(target.put(&object(name), Body::full("x")).await), Some(Kind::Refused), "{name:?}");
    }
    assert_eq!(gate.asked(), [""; 0]);
}

#[tokio::test]
async fn the_url_goes_into_a_field_without_the_account() {
    let Gated { gate, target } =
        with(|settings| settings["document_url_field"] = json!("audio_url"), Around::default()).await;
    let stored = target.put(&object("a%2Fb c"), Body::full("x")).await.expect("stored");
    let expected = format!("ftp://localhost:{}/recordings/a%252Fb%20c", gate.address().port());
    assert_eq!(Value::Object(stored.fields), json!({ "audio_url": expected }));
    assert_eq!(target.backend.url("a%2Fb c"), expected);
}

#[tokio::test]
async fn what_kazoo_stored_is_found_by_its_url() {
    let Gated { gate, target } = gated().await;
    target.put(&object("a%20b"), Body::full("x")).await.expect("stored");
    let old =
        |port| json!({"url": format!("ftp://localhost:{port}/recordings/a%20b")}).as_object().cloned().expect("object");
    assert_eq!(target.read(&old(gate.address().port()), 1).await, b"x");
    assert_eq!(kind(target.get(&old(9), None, 1).await), Some(Kind::Location), "another server");
    target.backend.delete(&old(gate.address().port())).await.expect("removed");
    target.assert_empty("removed").await;
}

#[tokio::test]
async fn folders_are_made_and_left() {
    let Gated { gate, target } = with(
        |settings| {
            settings["url"] =
                json!(format!("{}/~", settings["url"].as_str().expect("a URL").trim_end_matches("/recordings")))
        },
        Around::default(),
    )
    .await;
    let stored = target.put(&object("recordings/a/b/x"), Body::full("x")).await.expect("stored");
    assert_eq!(stored.location["path"], json!("/~/recordings/a/b/x"));
    assert_eq!(target.read(&stored.location, 1).await, b"x");
    assert!(gate.asked().contains(&"MKD recordings/a".to_owned()), "{:?}", gate.asked());
    target.backend.delete(&stored.location).await.expect("removed");
    target.put(&object("recordings/a/b/y"), Body::full("y")).await.expect("stored");
    assert_eq!(target.world.objects(), ["a/b/y"]);
}
