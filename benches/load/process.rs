//! The bench's processes: started, read, and killed however the bench ends.

use std::collections::VecDeque;
use std::io::{BufRead, BufReader, Read};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::Outcome;
use crate::roles::Role;

/// The time limit for a server to listen; azurite is slow on a busy machine.
const START: Duration = Duration::from_secs(60);
/// The number of last lines shown when a process fails.
const TAIL: usize = 20;
/// The unit of times in `/proc/PID/stat`: `USER_HZ` is 100 on every Linux this runs on (proc(5)).
const TICK: Duration = Duration::from_millis(10);

/// The last lines of a process's output.
type Tail = Arc<Mutex<VecDeque<String>>>;

/// A process that is killed on drop.
#[derive(Debug)]
pub(crate) struct Process {
    name: String,
    child: Child,
    tail: Tail,
}

impl Process {
    /// Starts a program with a pipe as its standard input, which closes when the bench ends.
    pub(crate) fn start(name: &str, command: &mut Command) -> Outcome<(Self, Receiver<String>)> {
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().map_err(|error| format!("{name}: {error}"))?;
        let (sender, lines) = mpsc::channel();
        let tail = Tail::default();
        let streams: [Option<Box<dyn Read + Send>>; 2] = [
            child.stdout.take().map(|stream| Box::new(stream) as Box<_>),
            child.stderr.take().map(|stream| Box::new(stream) as Box<_>),
        ];
        for stream in streams.into_iter().flatten() {
            let (sender, tail) = (sender.clone(), Arc::clone(&tail));
            std::thread::spawn(move || {
                for line in BufReader::new(stream).lines().map_while(Result::ok) {
                    let mut tail = tail.lock().unwrap_or_else(PoisonError::into_inner);
                    if tail.len() == TAIL {
                        tail.pop_front();
                    }
                    tail.push_back(line.clone());
                    // The receiver is gone once the process is up.
                    let _ = sender.send(line);
                }
            });
        }
        Ok((Self { name: name.to_owned(), child, tail }, lines))
    }

    /// Starts this program as one of the bench's servers, which listens on `addresses` addresses.
    pub(crate) fn role(role: Role, root: Option<&Path>, addresses: usize) -> Outcome<(Self, Vec<SocketAddr>)> {
        let name = format!("{role:?}").to_lowercase();
        let mut command = Command::new(std::env::current_exe()?);
        command.args(["--role", &name]);
        if let Some(root) = root {
            // The data directory also holds the server's temporary files.
            command.arg("--root").arg(root).env("TMPDIR", root);
        }
        let (process, lines) = Self::start(&name, &mut command)?;
        let address = |_| process.listening(&lines, &format!("{role:?}"));
        let addresses = (0..addresses).map(address).collect::<Outcome<_>>()?;
        Ok((process, addresses))
    }

    /// Waits for the line `listening WHAT http://ADDR`.
    pub(crate) fn listening(&self, lines: &Receiver<String>, what: &str) -> Outcome<SocketAddr> {
        let start = format!("listening {what} http://");
        let end = Instant::now() + START;
        loop {
            match lines.recv_timeout(end.saturating_duration_since(Instant::now())) {
                Ok(line) => {
                    if let Some(address) = line.strip_prefix(&start) {
                        return Ok(address.trim().parse()?);
                    }
                }
                Err(RecvTimeoutError::Timeout) => return Err(self.failure("does not listen")),
                Err(RecvTimeoutError::Disconnected) => {
                    return Err(self.failure("ended before it listened"));
                }
            }
        }
    }

    /// Waits until the process accepts connections at an address.
    pub(crate) fn accepts(&mut self, address: SocketAddr) -> Outcome<()> {
        let end = Instant::now() + START;
        while TcpStream::connect(address).is_err() {
            if self.child.try_wait()?.is_some() {
                return Err(self.failure("ended before it listened"));
            }
            if Instant::now() > end {
                return Err(self.failure("does not listen"));
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        Ok(())
    }

    /// Creates an error with the process's last lines.
    pub(crate) fn failure(&self, what: &str) -> Box<dyn std::error::Error + Send + Sync> {
        let tail = self.tail.lock().unwrap_or_else(PoisonError::into_inner);
        let lines: Vec<&str> = tail.iter().map(String::as_str).collect();
        let said = if lines.is_empty() { "(nothing)".to_owned() } else { lines.join("\n    ") };
        format!("{} {what}; it said:\n    {said}", self.name).into()
    }

    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// Returns the user and system time so far.
    pub(crate) fn cpu(&self) -> Outcome<Duration> {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.child.id()))?;
        let (_, fields) = stat.rsplit_once(')').ok_or("no name in /proc/PID/stat")?;
        // Fields 14 and 15 of proc(5); the name is field 2.
        let ticks = fields.split_whitespace().skip(11).take(2).map(str::parse::<u32>);
        let ticks = ticks.sum::<Result<u32, _>>()?;
        Ok(TICK * ticks)
    }

    /// Returns the peak resident set so far, in bytes (`VmHWM`).
    pub(crate) fn peak_memory(&self) -> Outcome<u64> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id()))?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let kilobytes = line.and_then(|text| text.trim().strip_suffix(" kB")).ok_or("no VmHWM")?;
        Ok(kilobytes.trim().parse::<u64>()? * 1024)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Returns a free port, for a program that cannot choose one itself.
pub(crate) fn free_address() -> Outcome<SocketAddr> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?)
}
