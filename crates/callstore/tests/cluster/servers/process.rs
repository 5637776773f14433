//! Programs that never outlive the test that started them, however it ends.

use std::fs::File;
use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::atomic::{AtomicU16, Ordering};

/// A running program.
#[derive(Debug)]
pub struct Process {
    shell: Child,
    pid: u32,
    /// When this is closed, even because the test was killed, the shell kills the program.
    lease: Option<ChildStdin>,
}

/// Kills the program once this script's standard input is closed.
const KEEPER: &str =
    r#""$@" </dev/null & echo $! >"$PID_FILE"; read -r _; kill -9 $! 2>/dev/null; wait $! 2>/dev/null"#;

impl Process {
    /// Starts the program in a folder, with its output in `{name}.log`.
    pub fn start(command: &Command, folder: &Path, name: &str) -> Self {
        let log = File::options().create(true).append(true).open(folder.join(format!("{name}.log"))).expect("a log");
        let pid_file = folder.join(format!("{name}.pid"));
        let _ = std::fs::remove_file(&pid_file);
        let mut shell = Command::new("sh");
        shell.args(["-c", KEEPER, name]).arg(command.get_program()).args(command.get_args());
        for (key, value) in command.get_envs() {
            if let Some(value) = value {
                shell.env(key, value);
            }
        }
        shell.env("PID_FILE", &pid_file).current_dir(folder);
        shell.stdin(Stdio::piped()).stdout(log.try_clone().expect("a log")).stderr(log);
        let mut shell = shell.spawn().expect("sh");
        let lease = shell.stdin.take();
        let pid = loop {
            let written = std::fs::read_to_string(&pid_file).unwrap_or_default();
            if let Some(pid) = written.strip_suffix('\n').and_then(|pid| pid.parse().ok()) {
                break pid;
            }
            std::thread::yield_now();
        };
        Self { shell, pid, lease }
    }

    /// Sends a signal to the program.
    pub fn signal(&self, signal: &str) {
        let sent = Command::new("sh").args(["-c", &format!("kill -{signal} {}", self.pid)]).status().expect("kill");
        assert!(sent.success(), "kill -{signal} {}", self.pid);
    }

    /// Kills the program, and waits until it is gone.
    pub fn kill(&mut self) {
        drop(self.lease.take());
        let _ = self.shell.wait();
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Returns a free port outside the range of outgoing connections, so that a restarted server gets it again.
pub fn free_port() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let begin = u16::try_from(std::process::id() % 18_000).expect("small");
    loop {
        let port = 12_000 + (begin + NEXT.fetch_add(1, Ordering::Relaxed) * 7) % 18_000;
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
}
