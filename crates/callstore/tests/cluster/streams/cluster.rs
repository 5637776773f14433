//! Three brokers with one replica each.

use std::collections::BTreeSet;
use std::time::Duration;

use callstore::broker::Broker;
use callstore::journal::Journal;
use stowage_base::tasks::Tasks;

use super::{config, connector, event, journal, number, take};
use crate::servers::rabbitmq::RabbitMq;
use crate::servers::soon;

/// With `sync` local, events are taken as soon as the connected broker has them; decisions wait for a majority.
#[tokio::test]
async fn a_local_inlet_waits_for_its_own_broker_only() {
    let mut server = RabbitMq::start(3).await;
    let mut config = config(server.origins(), "/");
    config.patience = Duration::from_secs(5);
    // The leader of a stream is the node where it was first declared.
    let broker = Broker::new(config, connector(), Tasks::default());
    let (local, whole) = (journal(&broker).taking_locally(true), journal(&broker));
    let mut entries = local.follow(None).await.unwrap();
    for (number, journal) in [&local, &whole].into_iter().enumerate() {
        let taken = async || journal.take(vec![event(number)]).await.is_ok();
        soon("it takes", Duration::from_secs(60), taken).await;
    }
    assert_eq!(take(&mut entries, 2).await.iter().map(number).collect::<Vec<_>>(), [0, 1]);
    server.kill_node(1);
    server.kill_node(2);
    for number in 10..20 {
        local.take(vec![event(number)]).await.unwrap();
    }
    // The failures drop their connections; RabbitMQ accepts nothing over new ones until it has a majority again.
    assert!(whole.take(vec![event(30)]).await.is_err(), "one of three is no majority");
    assert!(local.append(vec![event(31)]).await.is_err(), "a decision is safe or fails");

    server.start_node(1).await;
    for (journal, number) in [(&local, 40), (&whole, 41)] {
        let appended = async || journal.append(vec![event(number)]).await.is_ok();
        soon("it appends again", Duration::from_secs(60), appended).await;
    }
    local.take(vec![event(42)]).await.unwrap();
    let (mut seen, wanted) = (BTreeSet::new(), (10..20).chain(40..43).collect::<BTreeSet<_>>());
    while !seen.is_superset(&wanted) {
        seen.extend(take(&mut entries, 1).await.iter().map(number));
    }
}

/// Confirmed entries are available as long as a majority is; without a majority, nothing is confirmed.
#[tokio::test]
async fn a_majority_of_brokers_is_enough_and_less_is_not() {
    let mut server = RabbitMq::start(3).await;
    let mut config = config(server.origins(), "/");
    config.patience = Duration::from_secs(5);
    let journal = journal(&Broker::new(config, connector(), Tasks::default()));
    let mut entries = journal.follow(None).await.unwrap();
    let mut acknowledged = BTreeSet::new();
    for number in 0..200 {
        if number == 100 {
            server.kill_node(0);
        }
        let appended = async || journal.append(vec![event(number)]).await.is_ok();
        soon("a majority takes it", Duration::from_secs(60), appended).await;
        acknowledged.insert(number);
    }
    server.kill_node(1);
    assert!(journal.append(vec![event(1_000)]).await.is_err(), "one of three is no majority");
    server.start_node(1).await;
    let appended = async || journal.append(vec![event(200)]).await.is_ok();
    soon("it appends again", Duration::from_secs(60), appended).await;
    acknowledged.insert(200);

    let mut seen = BTreeSet::new();
    while !seen.is_superset(&acknowledged) {
        seen.extend(take(&mut entries, 1).await.iter().map(number));
    }
}
