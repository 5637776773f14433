//! A 64 MiB recording through the gateway and its peers on one core each, compared with the same client directly at the object server.

use std::time::Instant;

use crate::client::Client;
use crate::cores::Sides;
use crate::figures::Figures;
use crate::gateway::Servers;
use crate::recording::{DIRECT, MIB, fetch, hashing, reserve, upload};
use crate::report::{Bound, Report};
use crate::subjects::{self, BASE, NGINX, STOWAGE, Subject};
use crate::workload::HTTP;
use crate::{Outcome, Run};

/// The column for hashing alone, where a PUT is compared with it.
const HASHING: &str = BASE;
const GIB: f64 = 1024.0;

/// The extent of the measurements.
#[derive(Clone, Copy, Debug)]
struct Effort {
    rounds: usize,
    /// The length of the recording in MiB.
    mebibytes: u64,
    /// Recordings per round, enough for the kernel's ticks to measure CPU time accurately.
    gets: u64,
    puts: u64,
}

const FULL: Effort = Effort { rounds: 7, mebibytes: 64, gets: 16, puts: 6 };
const QUICK: Effort = Effort { rounds: 1, mebibytes: 8, gets: 2, puts: 2 };

/// The measured figures.
#[derive(Debug, Default)]
struct Measured {
    /// MiB/s.
    rates: Figures,
    /// CPU seconds per GiB.
    costs: Figures,
}

/// A subject with a connection to it.
type Connected = (Subject, Client);

pub(crate) async fn get(report: &mut Report, run: &Run) -> Outcome<()> {
    let effort = if run.is_quick { QUICK } else { FULL };
    let servers = Servers::start(HTTP).await?;
    let sides = Sides::find();
    let mut subjects = connect(subjects::start(&servers, servers.objects, run, sides.as_ref()).await?).await?;
    let _apart = sides.as_ref().map(|sides| sides.apart(servers.processes())).transpose()?;
    let length = effort.mebibytes * MIB;
    Client::connect(servers.objects).await?.put_recording(DIRECT, length).await?;
    let mut stored = String::new();
    for (subject, client) in &mut subjects {
        if subject.name == STOWAGE {
            stored = upload(client, "202011-get", length).await?;
        }
    }
    let mut measured = Measured::default();
    // Round 0 compares every byte and is not counted.
    for round in 0..=effort.rounds {
        for (subject, client) in &mut subjects {
            let target = if subject.name == STOWAGE { &stored } else { DIRECT };
            let work = async {
                for _ in 0..effort.gets {
                    fetch(client, target, length, round == 0).await?;
                }
                Ok(())
            };
            measured.take(round > 0, subject, effort.mebibytes * effort.gets, work).await?;
        }
    }
    let (what, rates, costs) = (effort.mebibytes, &measured.rates, &measured.costs);
    let row = rates.row(format!("GET of {what} MiB, one core each: MiB/s; base: straight from the object server"), 0);
    report.add(row.judge(&rates.ratios(STOWAGE, BASE), "of base", Bound::AtLeast(1.0)));
    let row = costs.row(format!("GET of {what} MiB, one core each: CPU seconds per GiB"), 2);
    let row = row.judge(&costs.ratios(STOWAGE, NGINX), "of nginx", Bound::AtMost(0.83));
    report.add(row.explain("0.40 s where nginx takes 0.48"));
    Ok(())
}

pub(crate) async fn put(report: &mut Report, run: &Run) -> Outcome<()> {
    let effort = if run.is_quick { QUICK } else { FULL };
    let servers = Servers::start(HTTP).await?;
    let sides = Sides::find();
    let mut subjects = connect(subjects::start(&servers, servers.objects, run, sides.as_ref()).await?).await?;
    let _apart = sides.as_ref().map(|sides| sides.apart(servers.processes())).transpose()?;
    let mut couch = Client::connect(servers.couch).await?;
    let length = effort.mebibytes * MIB;
    let (mut measured, mut hashed) = (Measured::default(), Figures::default());
    // Round 0 opens connections and is not counted.
    for round in 0..=effort.rounds {
        for (subject, client) in &mut subjects {
            let mut targets = Vec::new();
            for number in 0..effort.puts {
                let id = format!("202011-put{round}-{number}");
                let is_gateway = subject.name == STOWAGE;
                targets.push(if is_gateway { reserve(&mut couch, &id, HTTP).await? } else { DIRECT.to_owned() });
            }
            let work = async {
                for target in &targets {
                    client.put_recording(target, length).await?;
                }
                Ok(())
            };
            measured.take(round > 0, subject, effort.mebibytes * effort.puts, work).await?;
        }
        if round > 0 {
            hashed.add(HASHING, hashing(effort.mebibytes * effort.puts)?);
        }
    }
    tell_put(report, measured, &hashed, effort.mebibytes);
    Ok(())
}

fn tell_put(report: &mut Report, measured: Measured, hashed: &Figures, mebibytes: u64) {
    let (rates, mut costs) = (measured.rates, measured.costs);
    let hashing = hashed.of(HASHING);
    let of_hashing: Vec<f64> = rates.of(STOWAGE).iter().zip(hashing).map(|(rate, hashing)| rate / hashing).collect();
    let name = format!("PUT of {mebibytes} MiB, one core each");
    let row = rates.row(format!("{name}: MiB/s; base: straight to the object server; the peers do not hash"), 0);
    let row = row.judge(&of_hashing, "of hashing alone", Bound::AtLeast(0.645));
    report.add(row.explain("370 MiB/s where hashing makes 574"));
    for hashing in hashing {
        costs.add(HASHING, GIB / hashing);
    }
    let row = costs.row(format!("{name}: CPU seconds per GiB; base: hashing alone"), 2);
    let row = row.judge(&costs.ratios(STOWAGE, HASHING), "of hashing alone", Bound::AtMost(1.51));
    report.add(row.explain("2.7 s where hashing takes 1.78"));
    report.add(hashed.row("MD5 and SHA-256 on one thread: MiB/s".to_owned(), 0));
}

async fn connect(subjects: Vec<Subject>) -> Outcome<Vec<Connected>> {
    let mut connected = Vec::new();
    for subject in subjects {
        let client = Client::connect(subject.address).await?;
        connected.push((subject, client));
    }
    Ok(connected)
}

impl Measured {
    /// Does the work, and records its figures if the round counts.
    async fn take(
        &mut self,
        counts: bool,
        subject: &Subject,
        mebibytes: u64,
        work: impl Future<Output = Outcome<()>>,
    ) -> Outcome<()> {
        let (before, start) = (subject.cpu()?, Instant::now());
        work.await.map_err(|error| subject.error(&error))?;
        let (wall, after) = (start.elapsed().as_secs_f64(), subject.cpu()?);
        if counts {
            let mebibytes = f64::from(u32::try_from(mebibytes)?);
            self.rates.add(subject.name, mebibytes / wall);
            if let Some((before, after)) = before.zip(after) {
                self.costs.add(subject.name, (after - before) / mebibytes * GIB);
            }
        }
        Ok(())
    }
}
