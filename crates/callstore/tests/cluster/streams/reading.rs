//! Reading the stream, from different offsets.

use std::time::Duration;

use callstore::broker::Broker;
use callstore::journal::rabbitmq::StreamJournal;
use callstore::journal::{Draft, Journal, JournalError};
use lapin::BasicProperties;
use lapin::types::{AMQPValue, FieldTable};
use stowage_base::tasks::Tasks;

use super::{Followed, broker, config, connector, event, events, journal, kazoo, number, publish, read, stream, take};
use crate::servers::rabbitmq::place;
use crate::servers::soon;

#[tokio::test]
async fn what_kazoo_publishes_is_an_entry() {
    let Followed { journal: _journal, mut entries, channel, _link } = Followed::start().await;
    for number in 0..300 {
        let (exchange, key) = match number % 3 {
            0 => ("callevt", "call.CHANNEL_CREATE.1%2E2%40host".to_owned()),
            1 => ("cdr", format!("cdr.report.account.{number}")),
            _ => ("conference", "conference.event.one.call.more".to_owned()),
        };
        kazoo(&channel, exchange, &key, &format!("{{\"n\":{number}}}")).await;
        // None of these is an event.
        kazoo(&channel, "callevt", "call.status_req.channels", "{\"n\":-1}").await;
        kazoo(&channel, "conference", "conference.command.one", "{\"n\":-1}").await;
        kazoo(&channel, "cdr", "cdr.other", "{\"n\":-1}").await;
    }
    let taken = take(&mut entries, 300).await;
    let numbers: Vec<_> = taken.iter().map(number).collect();
    assert_eq!(numbers, (0..300).collect::<Vec<_>>());
    assert!(taken.windows(2).all(|pair| pair[0].offset < pair[1].offset));
    assert!(taken.iter().all(|entry| !entry.is_decision));
}

#[tokio::test]
async fn only_what_came_straight_to_the_stream_is_a_decision() {
    let broker = broker(&place().await);
    let journal = journal(&broker);
    let decision = Draft { body: "{\"n\":0}".into(), is_decision: true };
    journal.append(vec![decision, event(1)]).await.unwrap();
    let link = broker.open().await.unwrap();
    let channel = link.channel().await.unwrap();
    let mut headers = FieldTable::default();
    headers.insert("taken".into(), AMQPValue::LongLongInt(1));
    let forged = BasicProperties::default().with_type("callstore.decision".into()).with_headers(headers);
    publish(&channel, "callevt", "call.X.1", "{\"n\":2}", forged).await;
    let taken = read(&journal, None, 3).await;
    let seen: Vec<_> = taken.iter().map(|entry| (number(entry), entry.is_decision, entry.taken > 1)).collect();
    assert_eq!(seen, [(0, true, true), (1, false, true), (2, false, false)]);
    assert_eq!(taken[2].taken, 0, "nobody else says when the journal took it");
}

#[tokio::test]
async fn reading_goes_on_after_the_named_offset() {
    let broker = broker(&place().await);
    let journal = journal(&broker);
    let mut waiting = journal.follow(None).await.unwrap();
    journal.append(events(0..5_000)).await.unwrap();
    assert_eq!(journal.end().await.unwrap(), Some(5_000), "after all that was confirmed");
    assert_eq!(take(&mut waiting, 5_000).await.len(), 5_000);

    // Most offsets are in the middle of a chunk.
    for after in [0, 1, 777, 2_500, 4_998] {
        let count = usize::try_from(4_999 - after).unwrap();
        let taken = read(&journal, Some(after), count).await;
        assert_eq!((taken[0].offset, taken.len()), (after + 1, count));
    }
    let mut at_the_end = journal.follow(Some(4_999)).await.unwrap();
    journal.append(vec![event(5_000)]).await.unwrap();
    let next = take(&mut at_the_end, 1).await;
    assert_eq!(number(&next[0]), 5_000);
    assert!(next[0].offset > 5_000 && journal.end().await.unwrap() > Some(next[0].offset));
}

/// Waiting for a reader to reach the end requires that every last entry is delivered, even one that is no event.
#[tokio::test]
async fn the_end_is_reached_by_who_reads() {
    let Followed { journal, mut entries, channel, _link } = Followed::start().await;
    for _ in 0..20 {
        kazoo(&channel, "callevt", "call.status_req.channels", "{}").await;
        let end = journal.end().await.unwrap().unwrap();
        let reaching =
            async { while entries.recv().await.unwrap().unwrap().last().is_none_or(|last| last.offset < end) {} };
        tokio::time::timeout(Duration::from_secs(10), reaching).await.unwrap();
    }
}

#[tokio::test]
async fn two_readers_each_get_all() {
    let broker = broker(&place().await);
    let (one, other) = (journal(&broker), journal(&broker));
    let (mut first, mut second) = (one.follow(None).await.unwrap(), other.follow(None).await.unwrap());
    one.append(events(0..2_000)).await.unwrap();
    let (first, second) = tokio::join!(take(&mut first, 2_000), take(&mut second, 2_000));
    let offsets = |entries: &[callstore::journal::Entry]| entries.iter().map(|entry| entry.offset).collect::<Vec<_>>();
    assert_eq!(offsets(&first), (0..2_000).collect::<Vec<_>>());
    assert_eq!(offsets(&first), offsets(&second));
}

/// A stream that was deleted, or lost its end with its only replica: new entries reuse offsets that were read before.
#[tokio::test]
async fn a_stream_that_ends_before_what_was_read_is_another_one() {
    let broker = broker(&place().await);
    let journal = journal(&broker);
    journal.append(events(0..10)).await.unwrap();
    let mut entries = journal.follow(Some(100)).await.unwrap();
    assert!(matches!(entries.recv().await, Some(Err(JournalError::Shortened(_)))));
    assert!(entries.recv().await.is_none());
    assert_eq!(journal.inlet().borrow().lost, 91, "offsets 10 to 100");
}

/// Another site's broker that delivers nothing in time may be slow: only an entry shows that its stream is another one.
#[tokio::test]
async fn another_site_that_delivers_nothing_has_lost_nothing() {
    let place = place().await;
    let mut patient = config(vec![place.node.clone()], &place.vhost);
    patient.patience = Duration::from_secs(2);
    let there = Broker::new(patient, connector(), Tasks::default());
    let own = journal(&there);
    own.prepare().await.unwrap();
    let other = StreamJournal::of_another_site(there, stream(), Tasks::default());
    assert_eq!(other.end_after(None).await.unwrap(), None);
    assert!(matches!(other.end_after(Some(7)).await, Err(JournalError::Unavailable(_))));
    let mut entries = other.follow(Some(7)).await.unwrap();
    assert!(tokio::time::timeout(Duration::from_secs(3), entries.recv()).await.is_err(), "it gave up");
    own.append(vec![event(0)]).await.unwrap();
    assert!(tokio::time::timeout(Duration::from_secs(2), entries.recv()).await.is_err(), "a copy may lag");
    assert!(matches!(entries.recv().await, Some(Err(JournalError::Shortened(_)))));
    assert_eq!(other.end_after(Some(7)).await.unwrap(), Some(0));
}

/// Another site's node may have less than what was read of another node.
#[tokio::test]
async fn another_site_whose_copy_lags_has_lost_nothing() {
    let there = broker(&place().await);
    let own = journal(&there);
    own.append(events(0..2)).await.unwrap();
    let other = StreamJournal::of_another_site(there, stream(), Tasks::default());
    let mut entries = other.follow(Some(3)).await.unwrap();
    assert!(tokio::time::timeout(Duration::from_secs(2), entries.recv()).await.is_err(), "it gave up at once");
    own.append(events(2..6)).await.unwrap();
    let taken = take(&mut entries, 2).await;
    assert_eq!(taken.iter().map(|entry| entry.offset).collect::<Vec<_>>(), [4, 5]);
    assert_eq!(other.inlet().borrow().lost, 0);
}

#[tokio::test]
async fn entries_that_expired_before_they_were_read_are_told_of() {
    let broker = broker(&place().await);
    let mut config = stream();
    (config.max_bytes, config.segment_bytes) = (Some(40_000), Some(20_000));
    let journal = StreamJournal::new(broker, config, Tasks::default());
    let large = |_| Draft { body: format!("{{\"n\":1,\"x\":\"{}\"}}", "x".repeat(1_000)).into(), is_decision: false };
    for _ in 0..20 {
        journal.append((0..20).map(large).collect()).await.unwrap();
    }
    let first = async || {
        // Segments are removed some time after the next one was started.
        journal.append(vec![large(0)]).await.unwrap();
        read(&journal, None, 1).await[0].offset > 1
    };
    soon("old segments go", Duration::from_secs(60), first).await;
    assert_eq!(journal.inlet().borrow().lost, 0, "who begins with the first entry there is has lost none");
    let taken = read(&journal, Some(0), 1).await;
    assert!(taken[0].offset > 1);
    assert_eq!(journal.inlet().borrow().lost, taken[0].offset - 1);
}
