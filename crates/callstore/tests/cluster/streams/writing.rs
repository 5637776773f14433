//! Confirmed and refused entries.

use std::time::Duration;

use callstore::broker::{Broker, Kind};
use callstore::journal::rabbitmq::StreamJournal;
use callstore::journal::{Journal, JournalError};
use lapin::options::{QueueDeclareOptions, QueueDeleteOptions};
use lapin::types::FieldTable;
use stowage_base::secret::Secret;
use stowage_base::tasks::Tasks;
use stowage_http::connect::Connector;
use stowage_http::egress::Egress;
use stowage_http::target::Origin;

use super::{broker, config, connector, event, events, journal, opened, read, stream, timeouts};
use crate::servers::gate::Gate;
use crate::servers::rabbitmq::{STRANGER, place};

/// If the broker has the message but its confirmation is lost, the append fails.
#[tokio::test]
async fn a_confirmation_that_does_not_come_is_an_error() {
    let place = place().await;
    let gate = Gate::before(place.node.port).await;
    let node = Origin { port: gate.address.port(), ..place.node.clone() };
    let mut config = config(vec![node], &place.vhost);
    config.patience = Duration::from_secs(2);
    let journal = journal(&Broker::new(config, connector(), Tasks::default()));
    journal.append(vec![event(0)]).await.unwrap();
    gate.fall_silent(true);
    let began = std::time::Instant::now();
    assert!(matches!(journal.append(vec![event(1)]).await, Err(JournalError::Unavailable(_))));
    assert!(began.elapsed() < Duration::from_secs(4), "{:?}", began.elapsed());
    gate.fall_silent(false);
    journal.append(vec![event(2)]).await.unwrap();
}

#[tokio::test]
async fn a_message_without_a_stream_is_an_error_and_the_stream_is_made_again() {
    let broker = broker(&place().await);
    let journal = journal(&broker);
    journal.append(vec![event(0)]).await.unwrap();
    let link = broker.open().await.unwrap();
    let channel = link.channel().await.unwrap();
    channel.queue_delete("callstore".into(), QueueDeleteOptions::default()).await.unwrap();
    let Err(JournalError::Unavailable(error)) = journal.append(vec![event(1)]).await else { panic!("appended") };
    assert!(error.to_string().contains("no queue"), "{error}");
    journal.append(vec![event(2)]).await.unwrap();
    assert_eq!(read(&journal, None, 1).await[0].body, event(2).body);
}

#[tokio::test]
async fn many_at_once_keep_their_order() {
    let broker = broker(&place().await);
    let journal = journal(&broker);
    let appending = (0..8).map(|writer| journal.append(events(writer * 1_000..writer * 1_000 + 1_000)));
    futures_util::future::try_join_all(appending).await.unwrap();
    let taken = read(&journal, None, 8_000).await;
    for writer in 0..8 {
        let range = writer * 1_000..writer * 1_000 + 1_000;
        let own: Vec<_> = taken.iter().map(super::number).filter(|number| range.contains(number)).collect();
        assert_eq!(own, range.collect::<Vec<_>>());
    }
}

#[tokio::test]
async fn a_wrong_password_is_refused_and_never_shown() {
    let place = place().await;
    for (username, password) in [("guest", "canary"), (STRANGER, STRANGER)] {
        let mut config = config(vec![place.node.clone()], &place.vhost);
        (config.username, config.password) = (username.to_owned(), Secret::new(password));
        let journal = journal(&Broker::new(config, connector(), Tasks::default()));
        let error = journal.prepare().await.unwrap_err();
        assert_eq!(error.kind, Kind::Refused, "{error:?}");
        let said = format!("{error:?} {}", stowage_base::log::chain(&error));
        assert!(!said.contains("canary"), "{said}");
        assert!(journal.end().await.is_err() && journal.append(vec![event(0)]).await.is_err());
    }
}

/// A queue of the same name that is not a stream belongs to another program, and is never consumed.
#[tokio::test]
async fn a_queue_that_is_no_stream_is_left_alone() {
    let broker = broker(&place().await);
    let link = broker.open().await.unwrap();
    let channel = link.channel().await.unwrap();
    let durable = QueueDeclareOptions { durable: true, ..QueueDeclareOptions::default() };
    channel.queue_declare("callstore".into(), durable, FieldTable::default()).await.unwrap();
    super::kazoo(&channel, "", "callstore", "{}").await;
    let journal = journal(&broker);
    assert_eq!(journal.prepare().await.unwrap_err().kind, Kind::Mismatch);
    let mut entries = journal.follow(None).await.unwrap();
    assert!(tokio::time::timeout(Duration::from_secs(1), entries.recv()).await.is_err(), "there is no entry");
    assert!(!journal.inlet().borrow().is_open);
    let passive = QueueDeclareOptions { passive: true, durable: true, ..QueueDeclareOptions::default() };
    let queue = channel.queue_declare("callstore".into(), passive, FieldTable::default()).await.unwrap();
    assert_eq!(queue.message_count(), 1);
    // Once the queue is deleted, the journal opens by itself.
    channel.queue_delete("callstore".into(), QueueDeleteOptions::default()).await.unwrap();
    opened(&journal, 1).await;
}

#[tokio::test]
async fn a_stream_made_with_other_limits_is_used_as_it_is() {
    let broker = broker(&place().await);
    let first = journal(&broker);
    first.append(vec![event(0)]).await.unwrap();
    let mut config = stream();
    (config.max_age, config.max_bytes) = (Duration::from_secs(60), Some(1 << 30));
    let second = StreamJournal::new(broker, config, Tasks::default());
    second.append(vec![event(1)]).await.unwrap();
    assert_eq!(read(&second, None, 2).await.len(), 2);
}

#[tokio::test]
async fn tls_is_spoken_to_who_is_trusted_only() {
    let place = place().await;
    let node = Origin { tls: true, host: "localhost".to_owned(), port: place.broker.unwrap().nodes[0].tls };
    let mut roots = rustls::RootCertStore::empty();
    for certificate in stowage_http::trust::certificates(&place.broker.unwrap().certs.ca()).unwrap() {
        roots.add(certificate).unwrap();
    }
    let trusting = Connector::trusting(roots, Egress::default(), timeouts()).unwrap();
    let over = |connector| journal(&Broker::new(config(vec![node.clone()], &place.vhost), connector, Tasks::default()));
    let journal = over(trusting);
    journal.append(events(0..1_000)).await.unwrap();
    assert_eq!(read(&journal, None, 1_000).await.len(), 1_000);
    assert!(over(connector()).append(vec![event(0)]).await.is_err());
}
