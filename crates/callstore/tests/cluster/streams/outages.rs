//! Brokers that die, hang, and lose entries.

use std::time::Duration;

use callstore::broker::Broker;
use callstore::journal::{Journal, JournalError};
use lapin::options::ExchangeDeleteOptions;
use stowage_base::tasks::Tasks;

use super::{Followed, config, connector, event, events, journal, kazoo, number, opened, take};
use crate::servers::rabbitmq::RabbitMq;
use crate::servers::soon;

/// KAZOO's own messages, which are unconfirmed, across a `kill -9`: the stream keeps its entries, and the exchange and the binding, which the broker
/// has lost, are declared again.
///
/// The kill immediately follows the first entries: RabbitMQ loses a stream if killed within a second of its creation.
#[tokio::test]
async fn a_broker_that_is_killed_keeps_what_it_had() {
    let mut server = RabbitMq::start(1).await;
    let broker = Broker::new(config(server.origins(), "/"), connector(), Tasks::default());
    let journal = journal(&broker);
    let mut entries = journal.follow(None).await.unwrap();
    opened(&journal, 1).await;
    events_of_kazoo(&broker, 0..2_000).await;
    let has_all = async || journal.end().await.unwrap() >= Some(2_000);
    soon("the stream has them", Duration::from_secs(30), has_all).await;

    server.kill_node(0);
    assert!(matches!(journal.append(vec![event(0)]).await, Err(JournalError::Unavailable(_))));
    server.start_node(0).await;
    opened(&journal, 2).await;
    events_of_kazoo(&broker, 2_000..20_000).await;
    let taken = take(&mut entries, 20_000).await;
    let numbers: Vec<_> = taken.iter().map(number).collect();
    assert_eq!(numbers, (0..20_000).collect::<Vec<_>>(), "none lost, none twice, in order");

    // The broker hangs: neither side may wait forever, and all resumes by itself.
    server.signal(0, "STOP");
    let hung = async || !journal.inlet().borrow().is_open;
    soon("heartbeats tell that it hangs", Duration::from_secs(15), hung).await;
    let began = std::time::Instant::now();
    assert!(journal.append(vec![event(0)]).await.is_err());
    assert!(began.elapsed() < Duration::from_secs(25), "{:?}", began.elapsed());
    server.signal(0, "CONT");
    opened(&journal, 3).await;
    let appended = async || journal.append(vec![event(20_000)]).await.is_ok();
    soon("it appends again", Duration::from_secs(30), appended).await;
    assert_eq!(number(take(&mut entries, 1).await.last().unwrap()), 20_000);
}

async fn events_of_kazoo(broker: &Broker, numbers: std::ops::Range<usize>) {
    let link = broker.open().await.unwrap();
    let channel = link.channel().await.unwrap();
    let filler = "x".repeat(580);
    for number in numbers {
        let body = format!("{{\"n\":{number},\"x\":\"{filler}\"}}");
        kazoo(&channel, "callevt", "call.CHANNEL_CREATE.1", &body).await;
    }
    // The response arrives after everything sent earlier on the same channel.
    link.channel().await.unwrap();
    channel.close(200, "done".into()).await.unwrap();
}

#[tokio::test]
async fn an_exchange_that_somebody_removed_is_declared_again() {
    let Followed { journal, mut entries, channel, _link } = Followed::start().await;
    channel.exchange_delete("callevt".into(), ExchangeDeleteOptions::default()).await.unwrap();
    opened(&journal, 2).await;
    kazoo(&channel, "callevt", "call.X.1", "{\"n\":7}").await;
    assert_eq!(number(&take(&mut entries, 1).await[0]), 7);
}

/// A slow reader throttles the broker instead of filling the memory.
#[tokio::test]
async fn a_slow_reader_is_waited_for() {
    let Followed { journal, mut entries, .. } = Followed::start().await;
    journal.append(events(0..20_000)).await.unwrap();
    let first = take(&mut entries, 1).await;
    assert!(entries.len() <= 4 && first.len() <= 256);
    let rest = take(&mut entries, 20_000 - first.len()).await;
    assert_eq!(number(rest.last().unwrap()), 19_999);
}

/// Dropped connections leave neither a thread nor a socket behind.
#[tokio::test]
async fn a_broker_that_says_nothing_costs_nothing() {
    let threads = || std::fs::read_dir("/proc/self/task").map_or(0, Iterator::count);
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let node = crate::servers::etcd::origin(listener.local_addr().unwrap().port());
    let mut config = config(vec![node], "/");
    config.patience = Duration::from_millis(50);
    let tasks = Tasks::default();
    let broker = Broker::new(config, connector(), tasks.clone());
    assert!(broker.open().await.is_err());
    for _ in 0..50 {
        assert!(broker.open().await.is_err());
    }
    let is_over = async || tasks.running() == 0;
    soon("its tasks end", Duration::from_secs(10), is_over).await;
    let few = async || threads() < 45;
    soon("its threads end", Duration::from_secs(10), few).await;
}
