//! What only the `onedrive` driver does.

use std::sync::Arc;

use serde_json::json;

use super::around::Around;
use super::support::gateway::Couch;
use super::support::graph::Graph;
use super::support::tokens::{GRANT, REFRESH, SECRET, TokenServer};
use super::targets::{BUDGET, Target, World};

/// The double, and what issues its tokens.
pub struct Double {
    pub vendor: Graph,
    pub provider: TokenServer,
    couch: Couch,
}

impl Double {
    async fn start() -> Arc<Self> {
        let (provider, couch) = (TokenServer::start().await, Couch::start().await);
        provider.documents(&couch).await;
        let vendor = Graph::start(provider.tokens.clone()).await;
        Arc::new(Self { vendor, provider, couch })
    }

    fn open(self: &Arc<Self>, graph: std::net::SocketAddr) -> Target {
        let mut around = Around::couch(&self.couch);
        around.endpoints.graph = format!("http://{graph}");
        let settings = json!({"oauth_doc_id": GRANT});
        let mut target = Target::open("onedrive", settings, &around, BUDGET, Box::new(Arc::clone(self)));
        let canaries = ["canary-access", "canary-upload", "canary-download", "canary message"];
        target.secrets = [SECRET, REFRESH].into_iter().chain(canaries).map(str::to_owned).collect();
        // Characters that no name there may have, a dot at the end, and names that differ in case only.
        target.unfit =
            &["a\"b'c", "a?b=c&d", "a;b,c:d@e!$*()", "[x]{y}|~^`", "back\\slash", "..dots..", "a%2fb"];
        target
    }
}

impl World for Arc<Double> {
    fn objects(&self) -> Vec<String> {
        self.vendor.paths()
    }

    fn leftovers(&self) -> Vec<String> {
        self.vendor.sessions()
    }
}

/// The target for the common rules.
pub async fn target() -> Target {
    let double = Double::start().await;
    double.open(double.vendor.address())
}
