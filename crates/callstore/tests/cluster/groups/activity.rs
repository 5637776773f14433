//! Order of activation, hand-over and fail-back.

use std::sync::Arc;
use std::time::Duration;

use callstore::clock::Clock;
use callstore::follow::{Follower, Progress};
use callstore::group::Standing;
use callstore::journal::{Embedded, Options, SEGMENT};
use callstore::metrics::Metrics;
use callstore::roles::Serves;
use callstore::state::State;
use serde_json::json;
use stowage_base::tasks::Tasks;

use super::{LEASE, SOON, Watch, config, join};
use crate::servers::etcd::Etcd;

#[tokio::test]
async fn the_smallest_order_acts_and_the_next_takes_over_when_it_stops() {
    let etcd = Etcd::start().await;
    let nodes = || vec![etcd.origin()];
    // Started together, in reverse order.
    let third = join(config(nodes(), 3));
    let second = join(config(nodes(), 2));
    let first = join(config(nodes(), 1));
    let watch = Watch::over(vec![first.group.clone(), second.group.clone(), third.group.clone()]);
    let epoch = first.acts(SOON).await;
    second.knows("callstore1").await;
    let mut members = third.group.members();
    tokio::time::timeout(SOON, members.wait_for(|members| members.len() == 3)).await.unwrap().unwrap();
    let orders: Vec<_> = members.borrow().iter().map(|member| member.order).collect();
    assert_eq!(orders, [1, 2, 3]);

    let began = std::time::Instant::now();
    first.stop().await;
    let next = second.acts(SOON).await;
    assert!(began.elapsed() < Duration::from_secs(4), "who stops says so: {:?}", began.elapsed());
    assert!(next > epoch);
    third.knows("callstore2").await;
    watch.ends();
}

#[tokio::test]
async fn activity_stays_where_it_is_unless_it_is_to_go_back() {
    let etcd = Etcd::start().await;
    let with = |order, fail_back| {
        let mut config = config(vec![etcd.origin()], order);
        config.fail_back = fail_back;
        join(config)
    };
    let second = with(2, None);
    let epoch = second.acts(SOON).await;
    let first = with(1, None);
    first.knows("callstore2").await;
    let mut standing = first.group.standing();
    let claims = standing.wait_for(|standing| matches!(standing, Standing::Active { .. }));
    assert!(tokio::time::timeout(Duration::from_secs(4), claims).await.is_err(), "it never goes back");
    assert_eq!(second.group.may_act(), Some(epoch));
    second.stop().await;
    first.acts(SOON).await;
    first.stop().await;

    let time = Duration::from_secs(3);
    let second = with(2, Some(time));
    second.acts(SOON).await;
    let began = std::time::Instant::now();
    let first = with(1, Some(time));
    let watch = Watch::over(vec![first.group.clone(), second.group.clone()]);
    first.acts(SOON).await;
    assert!(began.elapsed() >= time, "not before it was stable: {:?}", began.elapsed());
    second.knows("callstore1").await;
    watch.ends();
}

#[tokio::test]
async fn activity_is_handed_over_on_demand_and_by_who_cannot_act() {
    let etcd = Etcd::start().await;
    let first = join(config(vec![etcd.origin()], 1));
    let epoch = first.acts(SOON).await;
    // Without another instance to take over, it stays active, which only a wait can show.
    first.group.hand_over();
    tokio::time::sleep(LEASE).await;
    assert_eq!(first.group.may_act(), Some(epoch));
    let second = join(config(vec![etcd.origin()], 2));
    second.knows("callstore1").await;
    assert_eq!(first.group.may_act(), Some(epoch));

    let watch = Watch::over(vec![first.group.clone(), second.group.clone()]);
    first.group.hand_over();
    assert!(second.acts(SOON).await > epoch);
    first.knows("callstore2").await;
    second.group.set_ready(false);
    first.acts(SOON).await;
    second.knows("callstore1").await;
    // An instance that is not ready does not become active, even as the only one.
    first.stop().await;
    second.group.set_ready(true);
    second.acts(SOON).await;
    watch.ends();
}

#[tokio::test]
async fn an_instance_without_cdr_enabled_leaves_the_activity_to_others() {
    let (etcd, folder, tasks) = (Etcd::start().await, tempfile::tempdir().unwrap(), Tasks::default());
    let roles = folder.path().join("roles.json");
    let role = json!({
        "name": "callstore1", "roletype": "callstore", "iface": "lan", "group": 11010, "order": 1, "cdr_enabled": false,
    });
    std::fs::write(&roles, json!([role]).to_string()).unwrap();
    let environment = [
        ("INSTANCE", "callstore1".to_owned()),
        ("ROLES", roles.display().to_string()),
        ("JOURNAL__KIND", "rabbitmq".to_owned()),
        ("BROKER__URLS", "amqp://127.0.0.1:1".to_owned()),
        ("GROUP__ETCD", format!("http://127.0.0.1:{}", etcd.port)),
    ];
    let environment = environment.map(|(name, value)| (format!("CALLSTORE__{name}"), value)).to_vec();
    let own = callstore::config::load(&callstore::config::Source { text: String::new(), environment }).unwrap();
    let state = Arc::new(State::open(&folder.path().join("state.redb"), Duration::ZERO).unwrap());
    let options = Options { path: folder.path().join("journal"), reserve: 0, segment: SEGMENT, room: None };
    let journal = Arc::new(Embedded::open(&options, &tasks).unwrap());
    let progress = Progress::new(None);
    let (metrics, clock) = (Metrics::new(&Serves::default()).unwrap(), Clock::default());
    let follower = Follower { journal, state: Arc::clone(&state), metrics, clock, progress: progress.clone() };
    drop(tasks.spawn("fold", follower.run(tasks.clone())));
    progress.until_ready().await;
    let group = callstore::cluster::group(&own, &state, &progress, &tasks).unwrap().unwrap();
    let mut standing = group.standing();
    let known = standing.wait_for(|standing| *standing != Standing::Unknown);
    drop(tokio::time::timeout(SOON, known).await.expect("etcd answers").expect("a member"));
    let second = join(config(vec![etcd.origin()], 2));
    second.acts(SOON).await;
    assert_eq!(group.may_act(), None);
    second.stop().await;
    tasks.stop();
    assert_eq!(tasks.drain(SOON).await, 0);
}
