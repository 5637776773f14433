//! Servers that ask for a client's certificate.

use std::path::Path;
use std::sync::Arc;

use callstore::broker::Broker;
use callstore::group::Standing;
use callstore::journal::Journal;
use stowage_base::tasks::Tasks;
use stowage_http::connect::Connector;
use stowage_http::egress::Egress;
use stowage_http::identity::Identity;
use stowage_http::target::Origin;
use stowage_http::trust::certificates;
use stowage_testing::certs::Certs;
use stowage_testing::couch::Couch;

use crate::groups::{self, SOON, join_by};
use crate::servers::etcd::Etcd;
use crate::servers::rabbitmq::place;
use crate::servers::soon;
use crate::streams::{broker, config, events, journal, read, timeouts};
use crate::whole::{World, begins, ends};

fn trusting(certs: &Certs) -> Connector {
    Connector::with_named(certificates(&certs.ca()).unwrap(), Egress::default(), timeouts()).unwrap()
}

fn showing(certs: &Certs, certificate: &Path, key: &Path) -> Connector {
    trusting(certs).showing(Arc::new(Identity::load(certificate, key).unwrap()))
}

fn localhost(port: u16) -> Origin {
    Origin { tls: true, host: "localhost".to_owned(), port }
}

/// A member with no certificate, or with another authority's, reads nothing from etcd and does not act. It acts once the files are renewed.
#[tokio::test]
async fn etcd_gets_the_certificate_that_it_asks_for() {
    let (etcd, others) = (Etcd::asking_for_certificates().await, Certs::make(&[]));
    let (port, certs) = etcd.tls.as_ref().unwrap();
    let config = |order| groups::config(vec![localhost(*port)], order);
    let folder = tempfile::tempdir().unwrap();
    let (certificate, key) = (folder.path().join("client.pem"), folder.path().join("client.key"));
    let put = |certs: &Certs| {
        std::fs::copy(certs.client(), &certificate).unwrap();
        std::fs::copy(certs.client_key(), &key).unwrap();
    };
    put(&others);
    let without = join_by(trusting(certs), config(1));
    let stranger = join_by(showing(certs, &certificate, &key), config(2));
    let member = join_by(showing(certs, &certs.client(), &certs.client_key()), config(3));
    member.acts(SOON).await;
    for nobody in [&without, &stranger] {
        assert_eq!((&*nobody.group.standing().borrow(), nobody.group.may_act()), (&Standing::Unknown, None));
    }
    put(certs);
    stranger.knows("callstore3").await;
    // What cannot be read leaves the last one in use.
    std::fs::write(&key, "nonsense").unwrap();
    member.stop().await;
    stranger.acts(SOON).await;
}

/// The broker takes clients without one, and none that shows another authority's.
#[tokio::test]
async fn a_broker_gets_the_certificate_that_it_asks_for() {
    let place = place().await;
    let (server, others) = (place.broker.unwrap(), Certs::make(&[]));
    let node = localhost(server.nodes[0].tls);
    let over = |certs: &Certs| {
        let connector = showing(&server.certs, &certs.client(), &certs.client_key());
        journal(&Broker::new(config(vec![node.clone()], &place.vhost), connector, Tasks::default()))
    };
    assert!(over(&others).append(events(0..1)).await.is_err(), "it was shown");
    let journal = over(&server.certs);
    journal.append(events(0..10)).await.unwrap();
    assert_eq!(read(&journal, None, 10).await.len(), 10);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_instance_shows_its_certificates_to_etcd_and_to_the_broker() {
    let (etcd, place) = (Etcd::asking_for_certificates().await, place().await);
    let (port, certs) = etcd.tls.as_ref().unwrap();
    let server = place.broker.unwrap();
    let path = |path: std::path::PathBuf| path.to_str().unwrap().to_owned();
    let settings = vec![
        ("GROUP__ETCD", format!("https://localhost:{port}")),
        ("GROUP__CA", path(certs.ca())),
        ("GROUP__CERTIFICATE", path(certs.client())),
        ("GROUP__KEY", path(certs.client_key())),
        ("BROKER__URLS", format!("amqps://localhost:{}", server.nodes[0].tls)),
        ("BROKER__CA", path(server.certs.ca())),
        ("BROKER__CERTIFICATE", path(server.certs.client())),
        ("BROKER__KEY", path(server.certs.client_key())),
    ];
    let couch = Couch::embedded(("admin".to_owned(), "admin".to_owned())).await;
    let world = World::at(place, couch, settings).await;
    let _instance = world.start(1).await;
    let link = broker(&world.place).open().await.unwrap();
    let channel = link.channel().await.unwrap();
    begins(&channel, 1).await;
    ends(&channel, 1).await;
    soon("its record", SOON * 3, async || world.records().await.len() == 1).await;
}
