//! Address and credentials of a running call store, as arguments of commands.

use stowage_http::body::BoxError;
use stowage_http::talker::Talker;
use url::Url;

/// Address and credentials of a running call store.
#[derive(Debug, clap::Args)]
pub(super) struct Running {
    /// The URL of the running call store
    #[arg(long, value_name = "URL", default_value = "http://127.0.0.1:5987")]
    url: Url,
    /// A token of listen.tokens, if there are any; all users of this machine see it here [default: CALLSTORE_TOKEN]
    #[arg(long)]
    token: Option<String>,
}

impl Running {
    pub(super) fn talker(&self) -> Result<Talker, BoxError> {
        let token = self.token.clone().or_else(|| std::env::var("CALLSTORE_TOKEN").ok());
        Talker::new(&self.url, token.map(|token| format!("Bearer {token}")))
    }
}
