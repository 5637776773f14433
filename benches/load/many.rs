//! Recordings of 1 MiB, 16 at once, through the gateway on one core: the overhead of each besides its bytes.

use tokio::task::JoinSet;

use crate::client::Client;
use crate::cores::Sides;
use crate::figures::Figures;
use crate::gateway::{Gateway, Servers};
use crate::recording::{MIB, hashing, reserve};
use crate::report::{Bound, Report};
use crate::subjects::{BASE, STOWAGE};
use crate::workload::HTTP;
use crate::{Outcome, Run};

/// The connections, each of which sends one recording after the other.
const AT_ONCE: usize = 16;

/// Returns the rounds, and the recordings of each connection in a round.
const fn effort(is_quick: bool) -> (usize, usize) {
    if is_quick { (1, 2) } else { (7, 32) }
}

pub(crate) async fn put(report: &mut Report, run: &Run) -> Outcome<()> {
    let (rounds, each) = effort(run.is_quick);
    let servers = Servers::start(HTTP).await?;
    let sides = Sides::find();
    let gateway = servers.gateway(&run.binary, &Sides::one_core(sides.as_ref())).await?;
    let _apart = sides.as_ref().map(|sides| sides.apart(servers.processes())).transpose()?;
    let count = u32::try_from(AT_ONCE * each)?;
    let mut costs = Figures::default();
    // Round 0 opens connections and is not counted.
    for round in 0..=rounds {
        let uploads = prepare(&servers, &gateway, round, each).await?;
        let before = gateway.process.cpu()?;
        let stored = at_once(uploads).await;
        stored.map_err(|error| gateway.process.failure(&format!("fails: {error}")).to_string())?;
        let used = (gateway.process.cpu()? - before).as_secs_f64();
        if round > 0 {
            costs.add(STOWAGE, used / f64::from(count) * 10_000.0);
            costs.add(BASE, 10_000.0 / hashing(u64::from(count))?);
        }
    }
    let measure = format!("PUT of 1 MiB, {AT_ONCE} at once, one core: CPU seconds per 10,000; base: hashing alone");
    let row = costs.row(measure, 1);
    let row = row.judge(&costs.ratios(STOWAGE, BASE), "of base", Bound::AtMost(1.38));
    report.add(row.explain("24 s where hashing takes 17.4"));
    Ok(())
}

/// Opens connections to the gateway, with the targets of documents that were created without it.
async fn prepare(
    servers: &Servers,
    gateway: &Gateway,
    round: usize,
    each: usize,
) -> Outcome<Vec<(Client, Vec<String>)>> {
    let mut couch = Client::connect(servers.couch).await?;
    let mut uploads = Vec::new();
    for connection in 0..AT_ONCE {
        let mut targets = Vec::new();
        for number in 0..each {
            targets.push(reserve(&mut couch, &format!("202011-many{round}-{connection}-{number}"), HTTP).await?);
        }
        uploads.push((Client::connect(gateway.address).await?, targets));
    }
    Ok(uploads)
}

async fn at_once(uploads: Vec<(Client, Vec<String>)>) -> Outcome<()> {
    let mut tasks = JoinSet::new();
    for (mut client, targets) in uploads {
        tasks.spawn(async move {
            for target in &targets {
                client.put_recording(target, MIB).await?;
            }
            Ok::<(), Box<dyn std::error::Error + Send + Sync>>(())
        });
    }
    while let Some(done) = tasks.join_next().await {
        done??;
    }
    Ok(())
}
