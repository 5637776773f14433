//! The machine that produced the figures.

use std::path::Path;
use std::process::Command;

use crate::Run;

/// Returns a Markdown list of the machine and the versions; anything that cannot be determined is "unknown".
pub(crate) fn describe(run: &Run) -> String {
    let cores = std::thread::available_parallelism().map_or_else(|_| unknown(), |cores| cores.to_string());
    let processor = field("/proc/cpuinfo", "model name");
    let memory = field("/proc/meminfo", "MemTotal");
    let kernel = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_else(|_| unknown());
    // The first of the three averages: the load in the minute before.
    let load = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let load = load.split(' ').next().unwrap_or_default();
    let warning = if run.is_quick { "\n**A quick run: these figures mean nothing.**\n" } else { "" };
    format!(
        "{warning}\n- machine: {processor}, {cores} cores, {memory} of memory, load average {load} before the run\n- kernel: Linux {}\n- versions: {}; {}; {}; {}\n",
        kernel.trim(),
        version(&run.binary, "--version"),
        version(Path::new("nginx"), "-v"),
        version(Path::new("haproxy"), "-v"),
        run.pingora.as_ref().map_or_else(|| "no pingora".to_owned(), |binary| version(binary, "--version")),
    )
}

fn unknown() -> String {
    "unknown".to_owned()
}

/// Returns the first `name: value` of a file in /proc.
fn field(file: &str, name: &str) -> String {
    let text = std::fs::read_to_string(file).unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix(name)?.trim_start().strip_prefix(':'));
    line.map_or_else(unknown, |value| value.trim().to_owned())
}

/// Returns the first line of a program's version output, on either stream.
fn version(program: &Path, flag: &str) -> String {
    let name = program.file_name().unwrap_or_default().to_string_lossy();
    let Ok(output) = Command::new(program).arg(flag).output() else {
        return format!("no {name}");
    };
    let text = [output.stdout, output.stderr].concat();
    let text = String::from_utf8_lossy(&text);
    text.lines().next().map_or_else(|| format!("{name}, version unknown"), |line| line.trim().to_owned())
}
