//! Small requests: requests per second, CPU time and added latency of the gateway and its peers on one core each.

use std::time::Duration;

use crate::client::{self, CONNECTIONS};
use crate::cores::Sides;
use crate::exchange::Exchange;
use crate::figures::Figures;
use crate::gateway::Servers;
use crate::report::{Bound, Report};
use crate::subjects::{self, NGINX, STOWAGE, Subject};
use crate::workload::HTTP;
use crate::{Outcome, Run};

/// The extent of the measurements.
#[derive(Clone, Copy, Debug)]
struct Effort {
    rounds: usize,
    throughput: Duration,
    latency_requests: usize,
}

const FULL: Effort = Effort { rounds: 7, throughput: Duration::from_secs(2), latency_requests: 5000 };
const QUICK: Effort = Effort { rounds: 1, throughput: Duration::from_millis(300), latency_requests: 300 };

/// The figures of an exchange in every round.
#[derive(Debug)]
struct Measured {
    exchange: &'static Exchange,
    /// Requests per second.
    rates: Figures,
    /// CPU seconds per 10,000 requests.
    costs: Figures,
    /// The share of one core that the process uses.
    loads: Figures,
    /// Median times in milliseconds.
    times: Figures,
}

pub(crate) async fn run(report: &mut Report, run: &Run, exchanges: &'static [Exchange]) -> Outcome<()> {
    let effort = if run.is_quick { QUICK } else { FULL };
    let servers = Servers::start(HTTP).await?;
    let sides = Sides::find();
    let subjects = subjects::start(&servers, servers.couch, run, sides.as_ref()).await?;
    let _apart = sides.as_ref().map(|sides| sides.apart(servers.processes())).transpose()?;
    for exchange in exchanges {
        let mut measured = Measured::new(exchange);
        for subject in &subjects {
            let warm_up = client::throughput(subject.address, exchange, effort.throughput / 4).await;
            warm_up.map_err(|error| subject.error(&error))?;
        }
        for round in 1..=effort.rounds {
            eprintln!("{}: round {round} of {}", exchange.name, effort.rounds);
            for subject in &subjects {
                measured.take(subject, effort).await.map_err(|error| subject.error(&error))?;
            }
        }
        measured.tell(report);
    }
    Ok(())
}

impl Measured {
    fn new(exchange: &'static Exchange) -> Self {
        let (rates, costs, loads, times) = Default::default();
        Self { exchange, rates, costs, loads, times }
    }

    async fn take(&mut self, subject: &Subject, effort: Effort) -> Outcome<()> {
        let before = subject.cpu()?;
        let (requests, wall) = client::throughput(subject.address, self.exchange, effort.throughput).await?;
        let used = before.zip(subject.cpu()?).map(|(before, after)| after - before);
        let requests = f64::from(u32::try_from(requests)?);
        self.rates.add(subject.name, requests / wall.as_secs_f64());
        if let Some(used) = used {
            self.costs.add(subject.name, used / requests * 10_000.0);
            self.loads.add(subject.name, used / wall.as_secs_f64());
        }
        if self.exchange.is_timed {
            let time = client::latency(subject.address, self.exchange, effort.latency_requests).await?;
            self.times.add(subject.name, time.as_secs_f64() * 1000.0);
        }
        Ok(())
    }

    fn tell(&self, report: &mut Report) {
        let Exchange { name, rate, cost, .. } = self.exchange;
        let row = self.rates.row(format!("{name}, {CONNECTIONS} connections: requests/s"), 0);
        report.add(row.judge(&self.rates.ratios(STOWAGE, NGINX), "of nginx", Bound::AtLeast(*rate)));
        let row = self.costs.row(format!("{name}: CPU seconds per 10,000 requests"), 3);
        report.add(row.judge(&self.costs.ratios(STOWAGE, NGINX), "of nginx", Bound::AtMost(*cost)));
        report.add(self.loads.row(format!("{name}: cores used by the proxy, of 1"), 2));
        if self.exchange.is_timed {
            self.tell_times(report);
        }
    }

    fn tell_times(&self, report: &mut Report) {
        let added = self.times.beyond_base();
        let pairs = added.of(STOWAGE).iter().zip(added.of(NGINX));
        let beyond: Vec<f64> = pairs.map(|(stowage, nginx)| stowage - nginx).collect();
        let mut row = added.row(format!("{}, 1 connection: median ms (base), ms added by each", self.exchange.name), 3);
        row.base = self.times.row(String::new(), 3).base;
        report.add(row.judge(&beyond, "ms beyond nginx", Bound::AtMost(0.1)));
    }
}
