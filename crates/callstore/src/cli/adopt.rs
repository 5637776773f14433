//! `callstore adopt`: adopts another site, so that its calls are finished here, or hands it back.

use bytes::Bytes;
use http::Method;
use stowage_base::console::say;
use stowage_http::body::BoxError;
use stowage_http::target::encode;

use super::running::Running;
use super::serve::block_on;

#[derive(Debug, clap::Args)]
pub(super) struct Adopt {
    #[command(flatten)]
    running: Running,
    /// The site, as named in `[[sites]]` of the running call store
    site: String,
    /// Hand the site back: it finishes its calls itself again
    #[arg(long)]
    back: bool,
}

impl Adopt {
    /// Sends the request to a running call store, which appends it to the journal for all instances.
    pub(super) fn run(&self) -> Result<(), BoxError> {
        block_on(async {
            let method = if self.back { Method::DELETE } else { Method::POST };
            let target = format!("/v1/sites/{}/adopt", encode(&self.site));
            self.running.talker()?.ask(method, &target, "application/json", Bytes::new()).await?;
            let site = &self.site;
            Ok(say(&if self.back {
                format!("{site} finishes its calls itself again")
            } else {
                format!("the calls of {site} are finished here")
            })?)
        })
    }
}
