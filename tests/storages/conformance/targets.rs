//! The targets of the rules. A new driver needs an arm in [`Target::start`], a [`World`], and its name in `main.rs`.

use crate::conformance::prelude::*;
use serde_json::Map;
use stowage_base::settings::Settings;
use stowage_storage::{Backend, Breakers, Download, Error, Fetch, Leftovers, Object, Registry, Result, Stored, Upload};
use tempfile::TempDir;

use super::vendors::{CloudStorage, Drive, Dropbox, OneDrive};
use stowage_testing::nginx::{self, Nginx};
use stowage_testing::recorder::Recorder;
use stowage_testing::s3::{ACCESS_KEY, S3Server, SECRET_KEY};
use stowage_testing::tree;

/// The bucket of the S3 targets.
pub const BUCKET: &str = "recordings";
/// Enough for all rules.
pub const BUDGET: u64 = 64 << 20;
/// Why concurrent puts to a web server may conflict.
const ASKED_FIRST: &str = "a web server cannot create a name exclusively; it is asked first";
/// The maximum size of an attachment.
pub const LIMIT: u64 = 1 << 30;

/// The server behind a driver, accessed directly.
pub trait World: Send + Sync {
    /// Returns everything that a reader could see as an object.
    fn objects(&self) -> Vec<String>;
    /// Returns temporary files and unfinished uploads, which should be empty.
    fn leftovers(&self) -> Vec<String>;
}

/// A driver under test.
pub struct Target {
    pub backend: Arc<dyn Backend>,
    pub tasks: Tasks,
    pub budget: Budget,
    pub world: Box<dyn World>,
    /// Secrets that must never be shown.
    pub secrets: Vec<String>,
    /// Why concurrent puts of one name may conflict, if the server cannot create exclusively.
    pub not_exclusive: Option<&'static str>,
    /// Why several objects may share a name, if they are found by id.
    pub by_id: Option<&'static str>,
    /// Whether names are parts of a URL: composed names are already escaped, and a server may only report an ETag for GET.
    pub by_url: bool,
    /// Names in `names.rs` that the service rejects, or treats as another.
    pub unfit: &'static [&'static str],
}

impl Target {
    /// Starts the target of a module, named after `on_`.
    pub async fn start(module: &str) -> Self {
        match module.rsplit_once("on_").map(|(_, name)| name) {
            Some("azure") => super::azure::target(),
            Some("file") => Self::file(),
            Some("ftp") => super::ftp::plain().await,
            Some("ftps_explicit") => super::ftp::explicit().await,
            Some("ftps_implicit") => super::ftp::implicit().await,
            Some("s3_path") => Self::s3("path").await,
            Some("s3_vhost") => Self::s3("vhost").await,
            Some("google_storage") => super::vendors::target::<CloudStorage>().await,
            Some("google_drive") => super::vendors::target::<Drive>().await,
            Some("nginx") => Self::nginx().await,
            Some("http_base64") => Self::recorder(json!({"base64_encode_data": true, "verb": "post"})).await,
            Some("http_multipart") => Self::recorder(json!({"send_multipart": true})).await,
            Some("dropbox") => super::vendors::target::<Dropbox>().await,
            Some("onedrive") => super::vendors::target::<OneDrive>().await,
            _ => panic!("{module} is no target"),
        }
    }

    fn file() -> Self {
        let root = tempfile::tempdir().expect("a temporary folder");
        let settings = json!({"directory": "recordings"});
        let around = Around::root(root.path());
        Self::open("file", settings, &around, BUDGET, Box::new(Files { root }))
    }

    async fn s3(method: &str) -> Self {
        let server = S3Server::start().await;
        server.make_bucket(BUCKET);
        let mut target = Self::open("s3", s3_settings(&server, method), &Around::default(), BUDGET, Box::new(server));
        target.secrets = vec![SECRET_KEY.to_owned(), ACCESS_KEY.to_owned()];
        target
    }

    /// A real web server with a password.
    async fn nginx() -> Self {
        let (user, password) = ("canary-user".to_owned(), "canary-password".to_owned());
        let basic = Some((user.clone(), password.clone()));
        let server = Nginx::with(nginx::Options { basic, tls: None }).await;
        let url = format!("http://{user}:{password}@{}/recordings", server.address());
        let mut target = Self::open("http", json!({"url": url}), &Around::default(), BUDGET, Box::new(server));
        target.secrets = vec![user, password];
        target.not_exclusive = Some(ASKED_FIRST);
        target
    }

    /// The tests' own web server, for bodies in forms that nginx does not support.
    async fn recorder(form: Value) -> Self {
        let server = Recorder::start().await;
        let mut settings = form;
        settings["url"] = server.url("/recordings").into();
        settings["headers"] = json!({"X-Token": "canary-token"});
        let mut target = Self::open("http", settings, &Around::default(), BUDGET, Box::new(server));
        target.secrets = vec!["canary-token".to_owned()];
        target.not_exclusive = Some(ASKED_FIRST);
        target
    }

    /// Opens a driver.
    pub fn open(handler: &str, settings: Value, around: &Around, budget: u64, world: Box<dyn World>) -> Self {
        let (tasks, budget) = (Tasks::default(), Budget::new(budget));
        let backend = try_open(handler, settings, around, &tasks, &budget).expect("settings");
        Self {
            backend,
            tasks,
            budget,
            world,
            secrets: Vec::new(),
            not_exclusive: None,
            by_id: None,
            by_url: handler == "http",
            unfit: &[],
        }
    }

    /// Sets another budget.
    pub fn with_budget(mut self, bytes: u64) -> Self {
        self.budget = Budget::new(bytes);
        self
    }

    /// Builds an upload of a body.
    pub fn upload(&self, body: Body) -> Upload {
        Upload::new(body, LIMIT, self.budget.clone())
    }

    pub async fn put(&self, object: &Object, body: Body) -> Result<Stored> {
        self.backend.put(object, self.upload(body)).await
    }

    pub async fn get(&self, location: &Location, range: Option<ByteRange>, length: u64) -> Result<Download> {
        self.backend.get(location, Fetch { range, length: Some(length), metadata: &Map::new() }).await
    }

    /// Reads a whole object.
    pub async fn read(&self, location: &Location, length: usize) -> Vec<u8> {
        let download = self.get(location, None, length as u64).await.expect("an object");
        collect(download.body, LIMIT).await.expect("its bytes").to_vec()
    }

    /// Waits until the driver's own tasks have ended.
    pub async fn idle(&self) {
        assert_eq!(self.tasks.drain(Duration::from_secs(60)).await, 0, "tasks that do not end");
    }

    /// Checks that no object or leftover exists, and no memory is held.
    pub async fn assert_empty(&self, what: &str) {
        self.idle().await;
        assert_eq!(self.world.objects(), [""; 0], "{what}");
        self.assert_clean(what).await;
    }

    /// Checks that there are no leftovers, and no memory is held.
    pub async fn assert_clean(&self, what: &str) {
        self.idle().await;
        assert_eq!(self.world.leftovers(), [""; 0], "{what}");
        // A connection drops its body in a separate task.
        let released = async {
            while self.budget.held() > 0 {
                tokio::task::yield_now().await;
            }
        };
        let released = tokio::time::timeout(Duration::from_secs(10), released).await;
        assert!(released.is_ok(), "{} bytes are held: {what}", self.budget.held());
    }
}

/// Opens a driver with possibly invalid settings.
pub fn try_open(
    handler: &str,
    settings: Value,
    around: &Around,
    tasks: &Tasks,
    budget: &Budget,
) -> Result<Arc<dyn Backend>> {
    let Value::Object(members) = settings else { panic!("settings are an object") };
    let breakers = Breakers { failures: 0, in_flight: 1000 };
    let registry = Registry::new(around.context(tasks, budget), breakers, budget.clone());
    Ok(registry.open(&Settings::new("storage1", handler, members))?)
}

/// Returns the settings for a server of `support`.
pub fn s3_settings(server: &S3Server, method: &str) -> Value {
    json!({
        "host": "localhost", "port": server.address().port(), "scheme": "http", "bucket": BUCKET,
        "key": ACCESS_KEY, "secret": SECRET_KEY, "bucket_access_method": method,
    })
}

/// Builds an object of this name.
pub fn object(name: &str) -> Object {
    Object {
        name: name.to_owned(),
        spare: format!("{name}.1f6c2a9e"),
        taken: false,
        content_type: "audio/mpeg".to_owned(),
        document: Map::new(),
        leftovers: Leftovers::default(),
    }
}

/// Returns the kind of an error.
pub fn kind<T>(outcome: std::result::Result<T, Error>) -> Option<Kind> {
    outcome.err().map(|error| error.kind())
}

struct Files {
    root: TempDir,
}

impl World for Files {
    fn objects(&self) -> Vec<String> {
        tree(&self.root.path().join("recordings"))
    }

    fn leftovers(&self) -> Vec<String> {
        tree(&self.root.path().join(".stowage-tmp"))
    }
}

impl World for S3Server {
    fn objects(&self) -> Vec<String> {
        self.objects(BUCKET).into_keys().collect()
    }

    fn leftovers(&self) -> Vec<String> {
        self.pending()
    }
}

impl<W: World> World for Arc<W> {
    fn objects(&self) -> Vec<String> {
        (**self).objects()
    }

    fn leftovers(&self) -> Vec<String> {
        (**self).leftovers()
    }
}

impl World for Nginx {
    fn objects(&self) -> Vec<String> {
        stowage_testing::files(&self.files().join("recordings"))
    }

    fn leftovers(&self) -> Vec<String> {
        Vec::new()
    }
}

impl World for Recorder {
    fn objects(&self) -> Vec<String> {
        let stored = self.stored();
        stored.iter().map(|target| target.trim_start_matches("/recordings/").to_owned()).collect()
    }

    fn leftovers(&self) -> Vec<String> {
        Vec::new()
    }
}
