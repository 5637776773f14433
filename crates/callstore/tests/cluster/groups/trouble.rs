//! Leaders that are cut off, expired leases, and an etcd that dies, hangs or loses its data.

use std::time::{Duration, Instant};

use callstore::group::{Group, Standing};
use stowage_base::secret::Secret;
use stowage_http::connect::Connector;
use stowage_http::egress::Egress;
use stowage_http::target::Origin;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio_util::task::AbortOnDropHandle;

use super::{LEASE, SOON, Watch, config, join, join_by};
use crate::servers::etcd::{Etcd, origin};
use crate::servers::gate::Gate;
use crate::servers::soon;
use crate::streams::timeouts;

/// A leader that is cut off but alive has to stop before the other one becomes active.
#[tokio::test]
async fn a_leader_that_is_cut_off_stops_before_another_begins() {
    let etcd = Etcd::start().await;
    let gate = Gate::before(etcd.port).await;
    let first = join(config(vec![origin(gate.address.port())], 1));
    let epoch = first.acts(SOON).await;
    let second = join(config(vec![etcd.origin()], 2));
    second.knows("callstore1").await;
    let watch = Watch::over(vec![first.group.clone(), second.group.clone()]);

    gate.fall_silent(true);
    let began = Instant::now();
    first.rests(SOON).await;
    let rested = began.elapsed();
    assert_eq!(*first.group.standing().borrow(), Standing::Unknown, "it cannot know");
    assert_eq!(second.group.may_act(), None);
    let next = second.acts(SOON).await;
    assert!(next > epoch);
    assert!(rested < LEASE && began.elapsed() < LEASE * 3, "{rested:?} {:?}", began.elapsed());

    gate.fall_silent(false);
    first.knows("callstore2").await;
    watch.ends();
}

/// The CA is the one in `group.ca`; an instance that does not trust it gets no response, and does not act.
#[tokio::test]
async fn etcd_is_spoken_to_over_tls_whose_authority_is_named() {
    let etcd = Etcd::with_tls().await;
    let (port, certs) = etcd.tls.as_ref().unwrap();
    let node = Origin { tls: true, host: "localhost".to_owned(), port: *port };
    let stranger = join(config(vec![node.clone()], 1));
    let named = stowage_http::trust::certificates(&certs.ca()).unwrap();
    let connector = Connector::with_named(named, Egress::default(), timeouts()).unwrap();
    let member = join_by(connector, config(vec![node], 2));
    let epoch = member.acts(SOON).await;
    assert!(epoch > 0);
    assert_eq!((&*stranger.group.standing().borrow(), stranger.group.may_act()), (&Standing::Unknown, None));
    let leader = etcd.ask("/v3/kv/range", r#"{"key":"L2NhbGxzdG9yZS9nLzExMDEwL2xlYWRlcg=="}"#);
    assert_eq!(leader["count"], "1", "{leader}");
    member.stop().await;
}

/// With the default lease of 5 s, the takeover has to be complete within 10 s.
#[tokio::test]
async fn the_standby_acts_within_ten_seconds() {
    let etcd = Etcd::start().await;
    let gate = Gate::before(etcd.port).await;
    let with = |node: Origin, order| {
        let mut config = config(vec![node], order);
        config.lease = Duration::from_secs(5);
        join(config)
    };
    let first = with(origin(gate.address.port()), 1);
    first.acts(SOON).await;
    let second = with(etcd.origin(), 2);
    second.knows("callstore1").await;
    gate.fall_silent(true);
    second.acts(Duration::from_secs(10)).await;
    assert_eq!(first.group.may_act(), None);
}

#[tokio::test]
async fn a_lease_that_was_revoked_ends_the_activity() {
    let etcd = Etcd::start().await;
    let first = join(config(vec![etcd.origin()], 1));
    let epoch = first.acts(SOON).await;
    let leases = etcd.ask("/v3/lease/leases", "{}");
    let lease = leases["leases"][0]["ID"].as_str().unwrap();
    etcd.ask("/v3/lease/revoke", &format!("{{\"ID\":\"{lease}\"}}"));
    let renewed = async || first.group.may_act().is_some_and(|now| now > epoch);
    soon("it acts again, with another epoch", SOON, renewed).await;
}

/// etcd returns with the same data, within the lease or after it; the active instance continues or becomes active again.
#[tokio::test]
async fn an_etcd_that_is_killed_and_comes_back_changes_nothing() {
    let mut etcd = Etcd::start().await;
    let first = join(config(vec![etcd.origin()], 1));
    let second = join(config(vec![etcd.origin()], 2));
    let epoch = first.acts(SOON).await;
    let watch = Watch::over(vec![first.group.clone(), second.group.clone()]);
    etcd.kill();
    first.rests(SOON).await;
    let mut standing = second.group.standing();
    tokio::time::timeout(SOON, standing.wait_for(|standing| *standing == Standing::Unknown)).await.unwrap().unwrap();
    etcd.start_again().await;
    let acts = async || first.group.may_act().or_else(|| second.group.may_act()).is_some_and(|now| now >= epoch);
    soon("one of them acts", Duration::from_secs(20), acts).await;
    // etcd hangs.
    etcd.signal("STOP");
    let nobody = async || first.group.may_act().or_else(|| second.group.may_act()).is_none();
    soon("nobody acts", SOON, nobody).await;
    etcd.signal("CONT");
    soon("one of them acts", Duration::from_secs(20), acts).await;
    watch.ends();
}

/// A recreated etcd counts from 1; folds refuse decisions of an older epoch.
#[tokio::test]
async fn epochs_grow_though_etcd_was_made_anew() {
    let etcd = Etcd::start().await;
    let group = |epoch| {
        let client = stowage_http::client::Client::new(
            crate::streams::connector(),
            stowage_base::tasks::Tasks::default(),
            64 << 10,
        );
        let group = Group::join(config(vec![etcd.origin()], 1), &client, &stowage_base::tasks::Tasks::default());
        group.saw(epoch);
        group.set_ready(true);
        group
    };
    let group = group(5_000_000);
    let mut standing = group.standing();
    let active = standing.wait_for(|standing| matches!(standing, Standing::Active { .. }));
    tokio::time::timeout(SOON, active).await.unwrap().unwrap();
    assert_eq!(group.may_act(), Some(5_000_001));
    // Its own epoch in the journal changes nothing.
    group.saw(5_000_001);
    tokio::time::sleep(LEASE).await;
    assert_eq!(group.may_act(), Some(5_000_001));
}

#[tokio::test]
async fn an_etcd_with_accounts_is_asked_as_a_user_whose_tokens_expire() {
    let mut etcd = Etcd::start().await;
    wants_accounts(&etcd);
    let with = |password: &str| {
        let mut config = config(vec![etcd.origin()], 1);
        config.etcd.account = Some(("root".to_owned(), Secret::new(password)));
        join(config)
    };
    let wrong = with("wrong");
    let mut standing = wrong.group.standing();
    assert!(tokio::time::timeout(LEASE, standing.changed()).await.is_err(), "it knows nothing");
    let right = with("canary");
    right.acts(SOON).await;
    assert!(!format!("{:?}", right.group).contains("canary"));
    // etcd's simple tokens become invalid with the process.
    etcd.kill();
    etcd.start_again().await;
    right.acts(Duration::from_secs(20)).await;
}

/// Makes etcd require an account: `root` with the password `canary`.
fn wants_accounts(etcd: &Etcd) {
    for (path, body) in [
        ("user/add", r#"{"name":"root","password":"canary"}"#),
        ("role/add", r#"{"name":"root"}"#),
        ("user/grant", r#"{"user":"root","role":"root"}"#),
        ("enable", "{}"),
    ] {
        etcd.ask(&format!("/v3/auth/{path}"), body);
    }
}

/// A member that grants tokens and refuses each of them.
async fn forgetful() -> (u16, AbortOnDropHandle<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let serving = tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut request = Vec::new();
            // The body is a JSON object, and the end of the request.
            while !request.ends_with(b"}") && stream.read_buf(&mut request).await.is_ok_and(|read| read > 0) {}
            let (status, body) = if request.starts_with(b"POST /v3/auth/authenticate ") {
                ("200 OK", r#"{"token":"x.1"}"#)
            } else {
                ("401 Unauthorized", r#"{"message":"etcdserver: invalid auth token","code":16}"#)
            };
            let head = format!("HTTP/1.1 {status}\r\nConnection: close\r\nContent-Length: {}\r\n\r\n", body.len());
            drop(stream.write_all(format!("{head}{body}").as_bytes()).await);
        }
    });
    (port, AbortOnDropHandle::new(serving))
}

#[tokio::test]
async fn a_member_of_etcd_that_knows_no_token_of_its_own_holds_nothing_up() {
    let etcd = Etcd::start().await;
    wants_accounts(&etcd);
    let (port, _serving) = forgetful().await;
    let mut config = config(vec![origin(port), etcd.origin()], 1);
    config.etcd.account = Some(("root".to_owned(), Secret::new("canary")));
    join(config).acts(SOON).await;
}

/// Of three members, one is silent and one absent: the third suffices for a client.
#[tokio::test]
async fn any_member_of_etcd_will_do() {
    let etcd = Etcd::start().await;
    let gate = Gate::before(etcd.port).await;
    gate.fall_silent(true);
    let gone = crate::servers::process::free_port();
    let first = join(config(vec![origin(gate.address.port()), origin(gone), etcd.origin()], 1));
    let epoch = first.acts(SOON).await;
    tokio::time::sleep(LEASE * 2).await;
    assert_eq!(first.group.may_act(), Some(epoch), "it went on all the time");
}
