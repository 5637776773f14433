//! CPU affinity: in comparisons on one core each, the proxies use the last core, and everything else uses the others.
//!
//! Left alone, the scheduler moves a client and its server to one core in one round and to two in the next, and a wake-up across cores costs more
//! than nginx does.

use std::path::Path;
use std::process::Command;

use crate::Outcome;

/// The cores of the two sides, as taskset(1) lists.
#[derive(Debug)]
pub(crate) struct Sides {
    proxies: String,
    pair: String,
    others: String,
    all: String,
}

/// The cores and threads of a proxy.
#[derive(Clone, Debug, Default)]
pub(crate) struct Place {
    /// A taskset(1) list; `None` means all cores.
    cores: Option<String>,
    /// The gateway's worker threads; `None` leaves the number to the gateway.
    pub(crate) threads: Option<usize>,
}

/// Keeps the client, which is this process, and its servers on their side until it is dropped.
#[derive(Debug)]
pub(crate) struct Apart<'a>(&'a Sides);

impl Sides {
    /// Returns `None` if there is only one core, or no taskset.
    pub(crate) fn find() -> Option<Self> {
        let last = std::thread::available_parallelism().ok()?.get() - 1;
        let others = last.checked_sub(1)?;
        let sides = Self {
            proxies: last.to_string(),
            pair: format!("{others}-{last}"),
            others: format!("0-{others}"),
            all: format!("0-{last}"),
        };
        keep(std::process::id(), &sides.all).ok().map(|()| sides)
    }

    /// The proxies' core, for one thread. Without sides, the scheduler places it.
    pub(crate) fn one_core(sides: Option<&Self>) -> Place {
        if sides.is_none() {
            eprintln!("load: two cores and taskset are missing, the scheduler places the processes");
        }
        Place { cores: sides.map(|sides| sides.proxies.clone()), threads: Some(1) }
    }

    /// The last two cores.
    pub(crate) fn two_cores(&self) -> Place {
        Place { cores: Some(self.pair.clone()), threads: None }
    }

    /// Moves this process and the servers behind the proxies to the other cores.
    pub(crate) fn apart<'a>(&'a self, servers: impl Iterator<Item = u32>) -> Outcome<Apart<'a>> {
        let apart = Apart(self);
        for process in servers.chain([std::process::id()]) {
            keep(process, &self.others)?;
        }
        Ok(apart)
    }
}

impl Drop for Apart<'_> {
    fn drop(&mut self) {
        if let Err(error) = keep(std::process::id(), &self.0.all) {
            eprintln!("load: the client stays on its side: {error}");
        }
    }
}

impl Place {
    /// A command whose process starts on these cores, so that it counts them correctly.
    pub(crate) fn command(&self, program: &Path) -> Command {
        let Some(cores) = &self.cores else {
            return Command::new(program);
        };
        let mut command = Command::new("taskset");
        command.args(["--cpu-list", cores]).arg(program);
        command
    }
}

fn keep(process: u32, cores: &str) -> Outcome<()> {
    let mut command = Command::new("taskset");
    command.args(["--all-tasks", "--cpu-list", "--pid", cores, &process.to_string()]);
    let output = command.output()?;
    if output.status.success() {
        return Ok(());
    }
    Err(format!("taskset: {}", String::from_utf8_lossy(&output.stderr).trim()).into())
}
