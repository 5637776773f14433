//! Breakers, on a paused clock.

use super::*;

fn passing() -> Result<()> {
    Err(Error::new(Kind::Passing, "500"))
}

fn unreached() -> Result<()> {
    Err(Error::from(client::Error::from(client::Kind::Connect)))
}

fn health() -> Health {
    Health::new("one", "http", Breakers { failures: 5, in_flight: 2 })
}

async fn tell(health: &Health, outcome: &Result<()>) {
    health.admit().await.unwrap().done(outcome);
}

#[tokio::test(start_paused = true)]
async fn five_failures_open_it_and_one_probe_at_a_time_passes_then() {
    let health = health();
    for _ in 0..4 {
        tell(&health, &passing()).await;
    }
    assert!(health.down().is_none());
    tell(&health, &passing()).await;
    assert!(health.down().is_some());
    assert!(health.admit().await.unwrap_err().to_string().contains("it is down since "));
    tokio::time::advance(Duration::from_secs(6)).await;
    let probe = health.admit().await.unwrap();
    assert!(health.admit().await.is_err(), "one probe at a time");
    drop(probe);
    let probe = health.admit().await.unwrap();
    probe.done(&passing());
    tokio::time::advance(Duration::from_secs(9)).await;
    assert!(health.admit().await.is_err(), "the pause has doubled");
    tokio::time::advance(Duration::from_secs(4)).await;
    tell(&health, &Ok(())).await;
    assert_eq!(health.standing().down, None);
    for _ in 0..4 {
        tell(&health, &passing()).await;
    }
    assert!(health.down().is_none(), "what was before it answered again does not count");
}

#[tokio::test(start_paused = true)]
async fn three_refused_connections_in_a_row_open_it_at_any_pace() {
    let health = health();
    for outcome in [unreached(), unreached(), Ok(()), unreached(), unreached()] {
        tell(&health, &outcome).await;
        tokio::time::advance(Duration::from_secs(600)).await;
    }
    assert!(health.down().is_none());
    tell(&health, &unreached()).await;
    assert!(health.down().is_some());
}

#[tokio::test(start_paused = true)]
async fn what_is_no_outage_does_not_open_it() {
    let health = health();
    for kind in [Kind::Missing, Kind::Refused, Kind::Settings, Kind::Location, Kind::Interrupted, Kind::TooLarge] {
        for _ in 0..9 {
            tell(&health, &Err(Error::new(kind, "x"))).await;
        }
    }
    for _ in 0..20 {
        tell(&health, &passing()).await;
        tokio::time::advance(Duration::from_secs(8)).await;
    }
    assert!(health.down().is_none(), "rare failures are no outage");
}

#[tokio::test(start_paused = true)]
async fn one_that_answers_more_often_than_not_is_not_down() {
    let health = health();
    for _ in 0..50 {
        tell(&health, &Ok(())).await;
        tell(&health, &passing()).await;
    }
    assert!(health.down().is_none());
}

#[tokio::test(start_paused = true)]
async fn it_says_how_close_it_is_to_be_called_down() {
    let health = health();
    for _ in 0..3 {
        tell(&health, &passing()).await;
    }
    tell(&health, &Ok(())).await;
    let standing = health.standing();
    assert_eq!((standing.failed, standing.answered, standing.opens_at), (3, 1, 5));
    assert!(standing.down.is_none() && !standing.is_probed);
    for _ in 0..2 {
        tell(&health, &passing()).await;
    }
    assert!(health.standing().down.is_some() && !health.standing().is_probed, "nothing is asked yet");
    tokio::time::advance(Duration::from_secs(6)).await;
    assert!(health.standing().is_probed);
    tokio::time::advance(WINDOW).await;
    assert_eq!((health.standing().failed, health.standing().answered), (0, 0), "that is over");
}

#[tokio::test(start_paused = true)]
async fn no_more_wait_than_are_allowed() {
    let health = health();
    let began = Instant::now();
    let (first, second) = (health.admit().await.unwrap(), health.admit().await.unwrap());
    assert_eq!(health.standing().in_flight, 2);
    assert!(health.admit().await.unwrap_err().to_string().contains("too many requests"));
    assert_eq!(began.elapsed(), Duration::from_secs(1));
    let waiting = tokio::join!(health.admit_read(), health.admit_read(), async {
        assert!(health.admit_read().await.unwrap_err().to_string().contains("too many requests"));
        assert_eq!(began.elapsed(), Duration::from_secs(1), "too many wait: at once");
        drop(first);
        second.done(&Ok(()));
    });
    assert!(waiting.0.is_ok() && waiting.1.is_ok() && began.elapsed() == Duration::from_secs(1));
    assert_eq!(health.standing().in_flight, 2);
    drop(waiting);
    assert_eq!(health.standing().in_flight, 0);
}

#[tokio::test(start_paused = true)]
async fn those_that_wait_for_their_turn_fail_when_it_goes_down() {
    let health = Health::new("one", "http", Breakers { failures: 1, in_flight: 1 });
    let began = Instant::now();
    let (last, slow) = (health.admit().await.unwrap(), Duration::from_millis(10));
    let (read, ()) = tokio::join!(health.admit_read(), async {
        tokio::time::sleep(slow).await;
        last.done(&passing());
    });
    assert!(read.is_err() && began.elapsed() == slow);
    tokio::time::advance(Duration::from_secs(6)).await;
    let began = Instant::now();
    let hanging = health.admit().await.unwrap();
    assert!(health.admit_read().await.is_err() && began.elapsed().is_zero());
    drop(hanging);
    assert!(health.admit_read().await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn one_read_a_second_probes_although_the_pause_is_not_over() {
    let health = health();
    for _ in 0..5 {
        tell(&health, &passing()).await;
    }
    assert!(health.admit_read().await.is_err(), "not at once");
    for _ in 0..3 {
        tokio::time::advance(Duration::from_secs(1)).await;
        assert!(health.admit().await.is_err(), "nothing but a read");
        let probe = health.admit_read().await.unwrap();
        assert_eq!(probe.deadline(), Some(EARLY_DEADLINE));
        assert!(health.admit_read().await.is_err(), "one at a time");
        probe.done(&passing());
        assert!(health.admit_read().await.is_err(), "one a second");
    }
    // Failed early reads have not extended the pause of other operations.
    tokio::time::advance(Duration::from_secs(3)).await;
    let probe = health.admit().await.unwrap();
    assert_eq!(probe.deadline(), None);
    probe.done(&passing());
    tokio::time::advance(Duration::from_secs(1)).await;
    health.admit_read().await.unwrap().done(&Ok(()));
    assert!(health.down().is_none());
    assert_eq!(health.admit_read().await.unwrap().deadline(), None);
}

#[tokio::test(start_paused = true)]
async fn a_read_comes_no_sooner_than_the_storage_has_asked_for() {
    let health = health();
    for _ in 0..5 {
        tell(&health, &passing()).await;
    }
    tokio::time::advance(Duration::from_secs(1)).await;
    let busy = Error::new(Kind::Passing, "429").after(Some(Duration::from_secs(3)));
    health.admit_read().await.unwrap().done::<()>(&Err(busy));
    tokio::time::advance(Duration::from_secs(3)).await;
    assert!(health.admit_read().await.is_err());
    tokio::time::advance(Duration::from_secs(1)).await;
    assert!(health.admit_read().await.is_ok());
}
