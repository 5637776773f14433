//! Connections: plans that send databases, or documents of some types, to other CouchDB servers.

mod changes;
mod classes;
mod created;
mod credentials;
mod failures;
mod own;
mod types;
mod written;

use serde_json::{Value, json};

use stowage_testing::gateway::{Couch, Running, STORAGE, Setup, exchange, json as parsed};
use stowage_testing::raw::RawResponse;
use stowage_testing::spy::Spy;

/// The id of a class's connection.
const FIRST: &str = "11111111111111111111111111111111";
/// The id of a type's connection.
const SECOND: &str = "22222222222222222222222222222222";
/// The type of the documents on [`SECOND`].
const CDR: &str = "cdr";
/// A token of the storage API.
const OPERATOR: &str = "operator-token";

/// A gateway with three CouchDB servers, each behind a spy.
struct World {
    gateway: Running,
    /// The spy of the configured server.
    local: Spy,
    /// The spy of [`FIRST`].
    first: Spy,
    /// The spy of [`SECOND`].
    second: Spy,
    /// The server of [`FIRST`].
    first_couch: Couch,
    /// The server of [`SECOND`].
    second_couch: Couch,
}

impl World {
    async fn start() -> Self {
        Self::start_with(Setup::default()).await
    }

    /// Starts servers that have the same users.
    async fn start_with(setup: Setup) -> Self {
        let couch = Couch::start().await;
        let first_couch = Couch::embedded(couch.admin.clone()).await;
        let second_couch = Couch::embedded(couch.admin.clone()).await;
        let local = Spy::start(&couch.url).await;
        let first = Spy::start(&first_couch.url).await;
        let second = Spy::start(&second_couch.url).await;
        let setup = setup.upstream(&local.url()).set("admin.tokens", OPERATOR);
        let gateway = setup.start_over(couch).await;
        Self { gateway, local, first, second, first_couch, second_couch }
    }

    /// Returns the definitions of both connections.
    fn connections(&self) -> Value {
        json!({ FIRST: connection(&self.first.url()), SECOND: connection(&self.second.url()) })
    }

    /// Saves the account's plan.
    async fn plan(&self, mut plan: Value) {
        plan["pvt_type"] = json!("storage");
        if plan["connections"].is_null() {
            plan["connections"] = self.connections();
        }
        self.gateway.save_plan(&self.gateway.account.clone(), plan).await;
    }

    /// Saves a plan with month databases on [`FIRST`], and documents of type [`CDR`] on [`SECOND`]; with `stores`, attachments of both go to a
    /// directory.
    async fn plan_with_types(&self, stores: bool) {
        let mut plan = json!({"plan": {"modb": {"connection": FIRST, "types": {CDR: {"connection": SECOND}}}}});
        if stores {
            plan["attachments"] = json!({STORAGE: {"handler": "file", "settings": {"directory": "d"}}});
            plan["plan"]["modb"]["attachments"] = json!({"handler": STORAGE});
        }
        self.plan(plan).await;
    }

    /// Returns the number of requests for account databases to each server: configured, first, second.
    fn counts(&self) -> [usize; 3] {
        [&self.local, &self.first, &self.second]
            .map(|spy| spy.seen().iter().filter(|line| line.contains("/account%2F")).count())
    }

    /// Saves a document directly on a server; returns its revision.
    async fn save(&self, couch: &Couch, id: &str, document: Value) -> String {
        let target = format!("/{}/{id}", self.gateway.path());
        couch.save(&target, document).await
    }

    /// Creates the month database on a server.
    async fn database_at(&self, couch: &Couch) {
        let made = couch.request("PUT", &format!("/{}", self.gateway.path()), "", b"").await;
        assert!(matches!(made.status, 201 | 412), "{made:?}");
    }
}

/// Builds a connection's definition.
fn connection(url: &str) -> Value {
    let (host, port) = url.trim_start_matches("http://").split_once(':').unwrap();
    json!({"driver": "kazoo_couch", "name": "n", "settings": {"ip": host, "port": port.parse::<u16>().unwrap()}})
}

/// Returns status, error and reason of a refusal.
fn refusal(answer: &RawResponse) -> (u16, String, String) {
    let body = parsed(answer);
    let text = |key: &str| body[key].as_str().unwrap_or_default().to_owned();
    (answer.status, text("error"), text("reason"))
}

/// Sends a request to the storage API as the operator.
async fn ask(gateway: &Running, method: &str, path: &str, data: Option<Value>) -> (u16, Value) {
    let body = data.map(|data| json!({"data": data}).to_string()).unwrap_or_default();
    let token = ("X-Auth-Token".to_owned(), OPERATOR.to_owned());
    let answer = exchange(gateway.app.admin.unwrap(), method, path, &[token], body.as_bytes()).await;
    (answer.status, parsed(&answer))
}
