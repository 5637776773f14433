//! What only the `dropbox` driver does.

use std::sync::Arc;

use serde_json::json;

use super::around::Around;
use super::support::dropbox::Dropbox;
use super::support::gateway::Couch;
use super::support::tokens::{GRANT, REFRESH, SECRET, TokenServer};
use super::targets::{BUDGET, Target, World};

/// The double, and what issues its tokens.
pub struct Double {
    pub vendor: Dropbox,
    pub provider: TokenServer,
    couch: Couch,
}

impl Double {
    async fn start() -> Arc<Self> {
        let (provider, couch) = (TokenServer::start().await, Couch::start().await);
        provider.documents(&couch).await;
        let vendor = Dropbox::start(provider.tokens.clone()).await;
        Arc::new(Self { vendor, provider, couch })
    }

    fn open(self: &Arc<Self>, content: std::net::SocketAddr) -> Target {
        let mut around = Around::couch(&self.couch);
        around.endpoints.dropbox_content = format!("http://{content}");
        around.endpoints.dropbox_api = format!("http://{}", self.vendor.rpc());
        let settings = json!({"oauth_doc_id": GRANT});
        let mut target = Target::open("dropbox", settings, &around, BUDGET, Box::new(Arc::clone(self)));
        target.secrets = vec![SECRET.to_owned(), REFRESH.to_owned(), "canary-access".to_owned()];
        // A backslash is no part of a name there, and names do not tell case apart.
        target.unfit = &["back\\slash", "a%2fb"];
        target
    }
}

impl World for Arc<Double> {
    fn objects(&self) -> Vec<String> {
        self.vendor.paths()
    }

    /// Sessions that are not finished show nowhere, and cannot be ended.
    fn leftovers(&self) -> Vec<String> {
        Vec::new()
    }
}

/// The target for the common rules.
pub async fn target() -> Target {
    let double = Double::start().await;
    double.open(double.vendor.content())
}
