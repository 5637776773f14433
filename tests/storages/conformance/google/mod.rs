//! What only the Google drivers do, against a double of Google's servers.

mod answers;
mod both;
mod drive;
mod long;
mod lost;
mod storage;

use super::targets::{BUCKET, World};
use crate::conformance::prelude::*;
use stowage_testing::gateway::Couch;
use stowage_testing::google::GoogleServer;
use stowage_testing::tokens::{GRANT, REFRESH, SECRET, TokenServer};

/// More than two chunks.
const LARGE: usize = 2 * CHUNK_BYTES + 70_000;

/// A driver, and what is behind it.
pub struct Google {
    pub target: Target,
    pub server: Arc<GoogleServer>,
    pub tokens: Arc<TokenServer>,
    /// To open another driver for the same server.
    around: Around,
    couch: Arc<Couch>,
    is_drive: bool,
}

struct Behind {
    server: Arc<GoogleServer>,
    is_drive: bool,
    _running: (Arc<TokenServer>, Arc<Couch>),
}

impl World for Behind {
    fn objects(&self) -> Vec<String> {
        if self.is_drive { self.server.files() } else { self.server.objects(BUCKET) }
    }

    fn leftovers(&self) -> Vec<String> {
        self.server.pending()
    }
}

/// `google_storage` with a bucket.
pub async fn storage() -> Google {
    start(false, json!({ "bucket": BUCKET, "oauth_doc_id": GRANT })).await
}

/// `google_drive` with folders by name.
pub async fn drive() -> Google {
    start(true, json!({ "oauth_doc_id": GRANT })).await
}

/// Both, one after the other.
async fn each() -> [Google; 2] {
    [storage().await, drive().await]
}

async fn start(is_drive: bool, settings: Value) -> Google {
    let (tokens, couch) = (Arc::new(TokenServer::start().await), Arc::new(Couch::start().await));
    tokens.documents(&couch).await;
    let server = Arc::new(GoogleServer::start(tokens.tokens.clone(), BUCKET).await);
    let mut around = Around::couch(&couch);
    around.endpoints.set("google_api", format!("http://{}", server.address()));
    around.endpoints.set("google_oauth", tokens.url());
    open(Parts { is_drive, server, tokens, couch, around }, settings)
}

struct Parts {
    is_drive: bool,
    server: Arc<GoogleServer>,
    tokens: Arc<TokenServer>,
    couch: Arc<Couch>,
    around: Around,
}

fn open(parts: Parts, settings: Value) -> Google {
    let Parts { is_drive, server, tokens, couch, around } = parts;
    let world = Behind { server: Arc::clone(&server), is_drive, _running: (Arc::clone(&tokens), Arc::clone(&couch)) };
    let handler = if is_drive { "google_drive" } else { "google_storage" };
    let mut target = Target::open(handler, settings, &around, BUDGET, Box::new(world));
    let secrets = [SECRET, REFRESH, "canary-access-", "canary-session-", "canary-message"];
    target.secrets = secrets.map(str::to_owned).to_vec();
    target.by_id = is_drive.then_some("a file of a Drive is found by its id, and its name may be another's too");
    Google { target, server, tokens, around, couch, is_drive }
}

impl Google {
    /// The same driver with another budget of memory.
    pub fn again_with(&self, budget: u64) -> Self {
        let settings = match self.is_drive {
            true => json!({ "oauth_doc_id": GRANT }),
            false => json!({ "bucket": BUCKET, "oauth_doc_id": GRANT }),
        };
        let mut again = self.again(settings);
        again.target = again.target.with_budget(budget);
        again
    }

    /// Another driver for the same server.
    pub fn again(&self, settings: Value) -> Self {
        let (server, tokens) = (Arc::clone(&self.server), Arc::clone(&self.tokens));
        let (couch, around) = (Arc::clone(&self.couch), self.around.clone());
        open(Parts { is_drive: self.is_drive, server, tokens, couch, around }, settings)
    }
}
