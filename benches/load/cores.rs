//! Which cores the processes of the small document use: the proxies the last one, everything else the others.
//!
//! Left alone, the scheduler moves a client and its server to one core in one round and to two in the next, and a wake-up
//! across cores costs more than nginx does.

use std::process::Command;

use crate::Outcome;

/// The cores of the two sides, as lists for taskset(1).
#[derive(Debug)]
pub(crate) struct Sides {
    proxies: String,
    others: String,
    all: String,
}

impl Sides {
    /// None where there is one core only, or no taskset.
    pub(crate) fn find() -> Option<Self> {
        let last = std::thread::available_parallelism().ok()?.get() - 1;
        let others = last.checked_sub(1)?;
        let sides = Self { proxies: last.to_string(), others: format!("0-{others}"), all: format!("0-{last}") };
        sides.release().ok().map(|()| sides)
    }

    /// Keeps a proxy on its core.
    pub(crate) fn proxy(&self, process: u32) -> Outcome<()> {
        keep(process, &self.proxies)
    }

    /// Keeps the client, which is this process, or a server behind the proxies on the other cores.
    pub(crate) fn other(&self, process: u32) -> Outcome<()> {
        keep(process, &self.others)
    }

    /// Lets this process run on all cores again.
    pub(crate) fn release(&self) -> Outcome<()> {
        keep(std::process::id(), &self.all)
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
