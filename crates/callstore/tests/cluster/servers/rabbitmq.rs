//! A real RabbitMQ with one node or three.
//!
//! The nodes use a port mapper (`epmd`) of their own, so that the machine's is not used, and no process is left behind.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use serde_json::json;
use stowage_http::target::Origin;
use stowage_testing::certs::Certs;
use tempfile::TempDir;

use super::installed;
use super::process::{Process, free_port};

/// A running broker; its data survives kills and restarts of nodes.
#[derive(Debug)]
pub struct RabbitMq {
    pub nodes: Vec<Node>,
    pub certs: Certs,
    folder: TempDir,
    /// The number of virtual hosts in addition to `/`; each slows down every start.
    vhosts: usize,
    mapper: u16,
    _epmd: Process,
}

#[derive(Debug)]
pub struct Node {
    pub port: u16,
    pub tls: u16,
    distribution: u16,
    process: Option<Process>,
}

/// A user without any permissions; `guest` has all.
pub const STRANGER: &str = "stranger";
/// A user who may only read the stream of `/`, like another site's instances.
pub const READER: &str = "reader";
/// The number of virtual hosts with which tests share a broker.
const VHOSTS: usize = 40;

impl RabbitMq {
    pub async fn start(nodes: usize) -> Self {
        Self::start_in(tempfile::tempdir().expect("a folder"), nodes, 0).await
    }

    async fn start_in(folder: TempDir, nodes: usize, vhosts: usize) -> Self {
        let mapper = free_port();
        let mut epmd = Command::new(erlang(&root()).join("epmd"));
        epmd.args(["-address", "127.0.0.1", "-port", &mapper.to_string()]);
        libraries(&mut epmd);
        let epmd = Process::start(&epmd, folder.path(), "epmd");
        let node = |_| Node { port: free_port(), tls: free_port(), distribution: free_port(), process: None };
        let nodes = (0..nodes).map(node).collect();
        let mut broker = Self { nodes, certs: Certs::make(&["localhost"]), folder, vhosts, mapper, _epmd: epmd };
        for index in 0..broker.nodes.len() {
            broker.start_node(index).await;
        }
        broker
    }

    /// Starts a node (again) and waits until it takes connections: for as long as its log grows, as that takes minutes on a busy machine.
    pub async fn start_node(&mut self, index: usize) {
        let command = self.command(index);
        let name = format!("node{index}");
        let log = self.folder.path().join(format!("{name}.log"));
        let before = fs::metadata(&log).map_or(0, |log| log.len());
        self.nodes[index].process = Some(Process::start(&command, self.folder.path(), &name));
        let (mut grown, mut since) = (0, Instant::now());
        loop {
            let said = fs::read(&log).unwrap_or_default();
            let said = String::from_utf8_lossy(said.get(usize::try_from(before).expect("small")..).unwrap_or_default());
            assert!(!said.contains("Kernel pid terminated"), "{said}");
            if said.contains("Server startup complete") {
                return;
            }
            if said.len() > grown {
                (grown, since) = (said.len(), Instant::now());
            }
            assert!(since.elapsed() < Duration::from_secs(120), "{name} says nothing any more: {said}");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    pub fn kill_node(&mut self, index: usize) {
        self.nodes[index].process = None;
    }

    /// Suspends a node (`STOP`), or resumes it (`CONT`).
    pub fn signal(&self, index: usize, signal: &str) {
        self.nodes[index].process.as_ref().expect("running").signal(signal);
    }

    fn command(&self, index: usize) -> Command {
        let (root, node) = (root(), &self.nodes[index]);
        let folder = self.folder.path().join(format!("node{index}"));
        fs::create_dir_all(folder.join("home")).expect("a folder");
        fs::write(self.folder.path().join("node0/definitions.json"), definitions(self.vhosts)).expect("definitions");
        // The nodes' shared cookie is read from the user's home, and must only be readable by the owner.
        cookie(&folder.join("home/.erlang.cookie"));
        fs::write(folder.join("rabbitmq.conf"), self.configuration(node)).expect("a configuration");
        fs::write(folder.join("plugins"), "[].").expect("plugins");
        start_script(&root, &folder);
        let server = fs::read_dir(root.join("usr/lib/rabbitmq/lib")).expect("RabbitMQ; ./test installs it");
        let server = server.map(|entry| entry.expect("an entry").path()).max().expect("a version");
        let mut command = Command::new(server.join("sbin/rabbitmq-server"));
        let path = std::env::var("PATH").unwrap_or_default();
        let bin = erlang(&root);
        let below = |name: &str| folder.join(name);
        command.env("HOME", below("home")).env("PATH", format!("{}:{}:{path}", folder.display(), bin.display()));
        command.env("ERL_EPMD_PORT", self.mapper.to_string()).env("ERL_EPMD_ADDRESS", "127.0.0.1");
        command.env("RABBITMQ_NODENAME", name(node)).env("RABBITMQ_DIST_PORT", node.distribution.to_string());
        command.env("RABBITMQ_CONFIG_FILE", below("rabbitmq.conf")).env("RABBITMQ_CONF_ENV_FILE", "/dev/null");
        command.env("RABBITMQ_MNESIA_BASE", below("data")).env("RABBITMQ_LOG_BASE", below("log"));
        command.env("RABBITMQ_LOGS", "-").env("RABBITMQ_ENABLED_PLUGINS_FILE", below("plugins"));
        // The script execs the broker, so that killing it kills the broker.
        command.env("RABBITMQ_ALLOW_INPUT", "1").arg("-noinput");
        let loopback = "-kernel inet_dist_use_interface {127,0,0,1} +S 1:1 +sbwt none";
        command.env("RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS", loopback);
        command
    }

    fn configuration(&self, node: &Node) -> String {
        let certs = &self.certs;
        let nodes: Vec<_> = (1..)
            .zip(&self.nodes)
            .map(|(at, node)| format!("cluster_formation.classic_config.nodes.{at} = {}\n", name(node)))
            .collect();
        format!(
            "listeners.tcp.1 = 127.0.0.1:{}\nlisteners.ssl.1 = 127.0.0.1:{}\n\
             ssl_options.cacertfile = {}\nssl_options.certfile = {}\nssl_options.keyfile = {}\nssl_options.verify = verify_peer\n\
             ssl_options.fail_if_no_peer_cert = false\n\
             loopback_users = none\nlog.console = true\nlog.console.level = info\nlog.file = false\n\
             disk_free_limit.absolute = 1MB\nload_definitions = {}\n\
             cluster_formation.peer_discovery_backend = classic_config\n{}",
            node.port,
            node.tls,
            certs.ca().display(),
            certs.server().display(),
            certs.server_key().display(),
            self.folder.path().join("node0/definitions.json").display(),
            nodes.concat(),
        )
    }

    /// Returns the nodes for a client's configuration.
    pub fn origins(&self) -> Vec<Origin> {
        self.nodes.iter().map(|node| super::etcd::origin(node.port)).collect()
    }
}

fn name(node: &Node) -> String {
    format!("rabbit{}@localhost", node.distribution)
}

fn root() -> PathBuf {
    installed("STOWAGE_TEST_RABBITMQ", "rabbitmq", "/")
}

fn erlang(root: &Path) -> PathBuf {
    let entries = fs::read_dir(root.join("usr/lib/erlang")).expect("Erlang; ./test installs it");
    let runtimes = entries.map(|entry| entry.expect("an entry").path());
    let is_runtime = |path: &PathBuf| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("erts-"));
    runtimes.filter(is_runtime).max().expect("a runtime").join("bin")
}

/// Writes a start script for the unpacked Erlang, whose own one only knows the installed location.
fn start_script(root: &Path, folder: &Path) {
    let bin = erlang(root);
    let script = format!(
        "#!/bin/sh\nexport ROOTDIR='{}' BINDIR='{}' EMU=beam PROGNAME=erl {}\nexec '{}/erlexec' \"$@\"\n",
        root.join("usr/lib/erlang").display(),
        bin.display(),
        library_path(root).map(|path| format!("LD_LIBRARY_PATH='{path}'")).unwrap_or_default(),
        bin.display(),
    );
    let path = folder.join("erl");
    fs::write(&path, script).expect("a script");
    allow(&path, 0o755);
}

fn cookie(path: &Path) {
    if !path.exists() {
        fs::write(path, "CALLSTORETESTS").expect("a cookie");
        allow(path, 0o400);
    }
}

fn allow(path: &Path, mode: u32) {
    use std::os::unix::fs::PermissionsExt;
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("permissions");
}

fn libraries(command: &mut Command) {
    if let Some(path) = library_path(&root()) {
        command.env("LD_LIBRARY_PATH", path);
    }
}

/// Returns the path of the unpacked libraries; installed programs find theirs.
fn library_path(root: &Path) -> Option<String> {
    let folders: Vec<_> = ["usr/lib", "lib"].iter().filter_map(|folder| fs::read_dir(root.join(folder)).ok()).collect();
    let found = folders.into_iter().flatten().map(|entry| entry.expect("an entry").path());
    let found: Vec<_> = found
        .filter(|path| path.to_string_lossy().contains("-linux-gnu"))
        .map(|path| path.to_string_lossy().into_owned())
        .collect();
    (root != Path::new("/")).then(|| found.join(":"))
}

fn definitions(vhosts: usize) -> String {
    let vhosts: Vec<_> = (0..vhosts).map(|at| format!("t{at}")).chain(["/".to_owned()]).collect();
    let all =
        |vhost: &String| json!({ "user": "guest", "vhost": vhost, "configure": ".*", "write": ".*", "read": ".*" });
    let reader = json!({ "user": READER, "vhost": "/", "configure": "^$", "write": "^$", "read": "^callstore$" });
    json!({
        "users": [
            { "name": "guest", "password": "guest", "tags": "administrator" },
            { "name": STRANGER, "password": STRANGER, "tags": "" },
            { "name": READER, "password": READER, "tags": "" },
        ],
        "vhosts": vhosts.iter().map(|name| json!({ "name": name })).collect::<Vec<_>>(),
        "permissions": vhosts.iter().map(all).chain([reader]).collect::<Vec<_>>(),
    })
    .to_string()
}

/// A virtual host at a broker.
#[derive(Debug)]
pub struct Place {
    pub node: Origin,
    pub vhost: String,
    /// The broker, if it is shared by tests.
    pub broker: Option<&'static RabbitMq>,
}

/// Returns an own virtual host at the broker shared by this program's tests, which the first test starts.
pub async fn place() -> Place {
    static SHARED: tokio::sync::OnceCell<RabbitMq> = tokio::sync::OnceCell::const_new();
    static NEXT: Mutex<usize> = Mutex::new(0);
    let shared = || async {
        // Never dropped: its folder is removed with the build.
        let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a folder");
        RabbitMq::start_in(folder, 1, VHOSTS).await
    };
    let broker = SHARED.get_or_init(shared).await;
    let mut next = NEXT.lock().unwrap_or_else(PoisonError::into_inner);
    *next += 1;
    assert!(*next <= VHOSTS, "more tests than virtual hosts");
    Place { node: broker.origins().remove(0), vhost: format!("t{}", *next - 1), broker: Some(broker) }
}
