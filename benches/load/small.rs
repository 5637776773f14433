//! A small document: requests per second, CPU time and added latency of the gateway beside nginx and haproxy.

use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use crate::client;
use crate::cores::Sides;
use crate::gateway::Servers;
use crate::peers;
use crate::process::Process;
use crate::report::{Report, Row, median, spread};
use crate::workload::HTTP;
use crate::{Outcome, client::CONNECTIONS};

/// How long a part of the bench measures.
#[derive(Clone, Copy, Debug)]
struct Effort {
    rounds: usize,
    throughput: Duration,
    latency_requests: usize,
}

const FULL: Effort = Effort { rounds: 7, throughput: Duration::from_secs(3), latency_requests: 5000 };
const QUICK: Effort = Effort { rounds: 1, throughput: Duration::from_millis(300), latency_requests: 300 };

/// Somebody who answers the small document.
#[derive(Debug)]
struct Subject<'a> {
    name: &'static str,
    address: SocketAddr,
    process: Option<&'a Process>,
    figures: Figures,
}

/// What every round measured.
#[derive(Debug, Default)]
struct Figures {
    /// Requests per second.
    rates: Vec<f64>,
    /// CPU seconds for 10,000 requests.
    costs: Vec<f64>,
    /// The share of one core that the process used.
    loads: Vec<f64>,
    /// Median times in milliseconds.
    times: Vec<f64>,
}

pub(crate) async fn run(report: &mut Report, binary: &Path, is_quick: bool) -> Outcome<()> {
    let effort = if is_quick { QUICK } else { FULL };
    let servers = Servers::start(HTTP).await?;
    let directory = servers.directory().path();
    let nginx = optional(peers::nginx(servers.couch, directory));
    let haproxy = optional(peers::haproxy(servers.couch, directory));
    let gateway = servers.gateway(binary, Some(1)).await;
    let mut subjects = vec![Subject::new("direct", servers.couch, None)];
    for (name, peer) in [("nginx", &nginx), ("haproxy", &haproxy)] {
        subjects.extend(peer.iter().map(|peer| Subject::new(name, peer.address, Some(&peer.process))));
    }
    subjects.extend(gateway.iter().map(|up| Subject::new("stowage", up.address, Some(&up.process))));
    let sides = Sides::find();
    if sides.is_none() {
        eprintln!("load: two cores and taskset are missing, the scheduler places the processes");
    }
    let measured = measure(&mut subjects, effort, sides.as_ref(), &servers).await;
    if let Some(sides) = &sides {
        sides.release()?;
    }
    measured?;
    tell(report, &subjects);
    gateway.map(drop)
}

/// Runs all rounds, every process on its side.
async fn measure(
    subjects: &mut [Subject<'_>],
    effort: Effort,
    sides: Option<&Sides>,
    servers: &Servers,
) -> Outcome<()> {
    if let Some(sides) = sides {
        sides.other(std::process::id())?;
        sides.other(servers.upstream.id())?;
        for process in subjects.iter().filter_map(|subject| subject.process) {
            sides.proxy(process.id())?;
        }
    }
    for subject in &*subjects {
        let warm_up = client::throughput(subject.address, effort.throughput / 4).await;
        warm_up.map_err(|error| subject.error(error))?;
    }
    for round in 1..=effort.rounds {
        eprintln!("small document: round {round} of {}", effort.rounds);
        for subject in &mut *subjects {
            let measured = subject.measure(effort).await;
            measured.map_err(|error| subject.error(error))?;
        }
    }
    Ok(())
}

/// A peer that is not installed is told and left out.
fn optional<T>(peer: Outcome<T>) -> Option<T> {
    peer.map_err(|error| eprintln!("load: a peer is missing, its column stays empty: {error}")).ok()
}

impl<'a> Subject<'a> {
    fn new(name: &'static str, address: SocketAddr, process: Option<&'a Process>) -> Self {
        Self { name, address, process, figures: Figures::default() }
    }

    fn error(&self, error: Box<dyn std::error::Error + Send + Sync>) -> String {
        match self.process {
            Some(process) => process.failure(&format!("fails: {error}")).to_string(),
            None => format!("{}: {error}", self.name),
        }
    }

    async fn measure(&mut self, effort: Effort) -> Outcome<()> {
        let cpu = || self.process.map(Process::cpu).transpose();
        let before = cpu()?;
        let (requests, wall) = client::throughput(self.address, effort.throughput).await?;
        let used = before.zip(cpu()?).map(|(before, after)| (after - before).as_secs_f64());
        let requests = f64::from(u32::try_from(requests)?);
        self.figures.rates.push(requests / wall.as_secs_f64());
        self.figures.costs.extend(used.map(|used| used / requests * 10_000.0));
        self.figures.loads.extend(used.map(|used| used / wall.as_secs_f64()));
        let time = client::latency(self.address, effort.latency_requests).await?;
        self.figures.times.push(time.as_secs_f64() * 1000.0);
        Ok(())
    }
}

/// Pairs the rounds of two subjects: what moved the machine moved both.
fn rounds(left: &[f64], right: &[f64], compare: impl Fn(f64, f64) -> f64) -> Vec<f64> {
    left.iter().zip(right).map(|(&left, &right)| compare(left, right)).collect()
}

/// One of the figures.
type Which = fn(&Figures) -> &Vec<f64>;

fn tell(report: &mut Report, subjects: &[Subject<'_>]) {
    let figures = |name: &str, of: Which| {
        let subject = subjects.iter().find(|subject| subject.name == name);
        subject.map(|subject| of(&subject.figures).clone()).unwrap_or_default()
    };
    let ratio = |of: Which| rounds(&figures("stowage", of), &figures("nginx", of), |a, b| a / b);
    let row = |measure: String, of: Which, decimals| Row {
        measure,
        base: spread(&figures("direct", of), decimals),
        nginx: spread(&figures("nginx", of), decimals),
        haproxy: spread(&figures("haproxy", of), decimals),
        stowage: spread(&figures("stowage", of), decimals),
        ..Row::default()
    };
    let rates = ratio(|figures| &figures.rates);
    report.add(Row {
        compared: format!("{} of nginx", spread(&rates, 2)),
        target: "at least 0.90".to_owned(),
        met: median(&rates).map(|ratio| ratio >= 0.9),
        ..row(format!("small document, {CONNECTIONS} connections: requests/s"), |figures| &figures.rates, 0)
    });
    let direct = figures("direct", |figures| &figures.times);
    let added = |name: &str| rounds(&figures(name, |figures| &figures.times), &direct, |a, b| a - b);
    let beyond = rounds(&added("stowage"), &added("nginx"), |a, b| a - b);
    report.add(Row {
        measure: "small document, 1 connection: median ms (base), ms added by each".to_owned(),
        base: spread(&direct, 3),
        nginx: spread(&added("nginx"), 3),
        haproxy: spread(&added("haproxy"), 3),
        stowage: spread(&added("stowage"), 3),
        compared: format!("{} ms beyond nginx", spread(&beyond, 3)),
        target: "at most 0.1 ms".to_owned(),
        met: median(&beyond).map(|beyond| beyond <= 0.1),
    });
    report.add(Row {
        compared: format!("{} of nginx", spread(&ratio(|figures| &figures.costs), 2)),
        ..row("small document: CPU seconds per 10,000 requests".to_owned(), |figures| &figures.costs, 3)
    });
    report.add(row("small document: cores used by the proxy, of 1".to_owned(), |figures| &figures.loads, 2));
}
