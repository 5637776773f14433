//! `stowage explain`: prints what the plan says about an attachment, without touching it.

use clap::builder::NonEmptyStringValueParser;
use stowage_base::console::say;
use stowage_base::log;
use stowage_couch::{Answer, DocumentPath};
use stowage_http::body::BoxError;
use stowage_http::target::encode;

use super::ConfigFile;
use super::serve::block_on;
use crate::admin::explain::{Question, explain};
use crate::app::gateway_of;
use crate::config::Config;
use crate::plan::stand_in;

#[derive(Debug, clap::Args)]
pub(super) struct Explain {
    #[command(flatten)]
    pub(super) file: ConfigFile,
    /// The database's name, decoded
    #[arg(long)]
    db: String,
    /// The document's id; the document is read with the gateway's own account. Without an id or a type, explain the plan for the
    /// database's class
    #[arg(long, conflicts_with_all = ["document_type", "owner"], value_parser = NonEmptyStringValueParser::new())]
    doc: Option<String>,
    /// The document's type (`pvt_type`), if no document is named
    #[arg(long = "type", value_name = "TYPE")]
    document_type: Option<String>,
    /// The document's owner (`owner_id`)
    #[arg(long)]
    owner: Option<String>,
    /// The attachment's name
    #[arg(long, value_name = "NAME")]
    attachment: Option<String>,
}

impl Explain {
    /// Prints the answer.
    pub(super) fn run(self, config: Config) -> Result<(), BoxError> {
        log::start(config.log.format, config.log.level);
        let text = block_on(async {
            let gateway = gateway_of(&config)?;
            let document = match &self.doc {
                None => stand_in(self.document_type.as_deref(), self.owner.as_deref()),
                Some(id) => {
                    gateway.plans.read_once().await?;
                    let path = DocumentPath { database: encode(&self.db), document: encode(id) };
                    match gateway.homes.of_name(&self.db).await?.own_document(&path).await? {
                        Answer::Found(document, _) => document,
                        Answer::Missing(answer) | Answer::Refused(answer) => {
                            let code = answer.status().as_u16();
                            return Err(format!("CouchDB answered {code} to the document").into());
                        }
                    }
                }
            };
            let question = Question { database: self.db, document_id: self.doc, document, attachment: self.attachment };
            let answer = explain(&gateway, &question).await?;
            // A running gateway serves without the plans; here, their absence would look like an answer.
            if gateway.plans.is_any_unread() {
                let text = "the storage plans cannot be read: CouchDB does not answer, or refuses `couchdb.username`";
                return Err(text.into());
            }
            serde_json::to_string_pretty(&answer).map_err(BoxError::from)
        })?;
        Ok(say(&text)?)
    }
}
