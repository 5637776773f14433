//! `callstore show`: prints a call or dialog with its full story.

use stowage_base::console::say;
use stowage_http::body::BoxError;
use stowage_http::target::encode;

use super::running::Running;
use super::serve::block_on;

#[derive(Debug, clap::Args)]
pub(super) struct Show {
    #[command(flatten)]
    running: Running,
    /// The id of a dialog or of a call
    id: String,
}

impl Show {
    /// Prints the item as JSON.
    pub(super) fn run(&self) -> Result<(), BoxError> {
        block_on(async {
            let talker = self.running.talker()?;
            let id = encode(&self.id);
            let shown = match talker.get(&format!("/v1/dialogs/{id}")).await {
                Ok(shown) => shown,
                Err(_) => talker.get(&format!("/v1/calls/{id}")).await?,
            };
            Ok(say(&serde_json::to_string_pretty(&shown)?)?)
        })
    }
}
