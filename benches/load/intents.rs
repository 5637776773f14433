//! The cost of `jobs.intents` for a PUT: the time to the acknowledgement with and without it.
//!
//! A job is a document that CouchDB writes to disk before the upload begins, so only a real CouchDB shows its cost. `STOWAGE_BENCH_COUCHDB` is the
//! address of a new one with the admins `gateway` and `bench`, each with the password `bench`; without it, this part is skipped.

use std::time::{Duration, Instant};

use crate::client::Client;
use crate::cores::Sides;
use crate::figures::Figures;
use crate::gateway::{Gateway, Servers};
use crate::recording::{MIB, reserve};
use crate::report::{Bound, Report, median};
use crate::subjects::{BASE, STOWAGE};
use crate::workload::HTTP;
use crate::{Outcome, Run};

/// The lengths of the recordings, in bytes.
const LENGTHS: [(&str, u64); 2] = [("64 KiB", 64 * 1024), ("1 MiB", MIB)];

/// Returns the rounds, and the recordings of a round.
const fn effort(is_quick: bool) -> (usize, usize) {
    if is_quick { (1, 4) } else { (9, 60) }
}

pub(crate) async fn put(report: &mut Report, run: &Run) -> Outcome<()> {
    let Ok(couch) = std::env::var("STOWAGE_BENCH_COUCHDB") else {
        eprintln!("load: STOWAGE_BENCH_COUCHDB names no CouchDB, the cost of jobs.intents is not measured");
        return Ok(());
    };
    let (rounds, each) = effort(run.is_quick);
    let servers = Servers::over(HTTP, couch.parse()?).await?;
    let sides = Sides::find();
    let place = Sides::one_core(sides.as_ref());
    let without = servers.gateway(&run.binary, &place).await?;
    let with = servers.gateway_with(&run.binary, &place, &[("STOWAGE__JOBS__INTENTS", "true")]).await?;
    for (name, length) in LENGTHS {
        let mut times = Figures::default();
        // Round 0 opens connections and is not counted.
        for round in 0..=rounds {
            for (subject, gateway) in [(BASE, &without), (STOWAGE, &with)] {
                let time = time(&servers, gateway, (each, length)).await?;
                if round > 0 {
                    times.add(subject, time.as_secs_f64() * 1000.0);
                }
            }
        }
        let measure = format!("PUT of {name}, one at a time, real CouchDB: median ms with jobs.intents; base: without");
        report.add(times.row(measure, 2).judge(&times.ratios(STOWAGE, BASE), "of base", Bound::AtMost(1.05)));
    }
    Ok(())
}

/// Measures the median time of a PUT.
async fn time(servers: &Servers, gateway: &Gateway, (each, length): (usize, u64)) -> Outcome<Duration> {
    let mut couch = Client::connect(servers.couch).await?;
    let mut client = Client::connect(gateway.address).await?;
    let mut times = Vec::with_capacity(each);
    for _ in 0..each {
        let target = reserve(&mut couch, &format!("202011-{}", uuid::Uuid::new_v4().simple()), HTTP).await?;
        let start = Instant::now();
        client.put_recording(&target, length).await?;
        times.push(start.elapsed().as_secs_f64());
    }
    median(&times).map(Duration::from_secs_f64).ok_or_else(|| "no requests".into())
}
