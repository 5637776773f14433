//! `stowage jobs`: lists, retries and drops jobs.

use std::time::{Duration, SystemTime};

use clap::Subcommand;
use futures_util::stream::{self, StreamExt as _, TryStreamExt as _};
use serde_json::json;
use stowage_base::console::say;
use stowage_base::log;
use stowage_http::body::BoxError;

use super::ConfigFile;
use super::serve::block_on;
use super::shown::Format;
use crate::app::gateway_of;
use crate::config::Config;
use crate::jobs::{AT_ONCE, Job, Jobs as Queue, LONG_PAGE};

#[derive(Debug, clap::Args)]
pub(super) struct Jobs {
    #[command(flatten)]
    pub(super) file: ConfigFile,
    /// The output format
    #[arg(long, value_enum, default_value_t = Format::Text, global = true)]
    format: Format,
    #[command(subcommand)]
    what: Option<What>,
}

#[derive(Debug, Subcommand)]
enum What {
    /// List jobs (the default)
    List,
    /// Make jobs due at once; the first gateway to claim a job runs it
    Retry(Ids),
    /// Drop jobs without touching their attachments
    Drop(Ids),
}

#[derive(Debug, clap::Args)]
struct Ids {
    /// Job ids, as listed
    #[arg(required_unless_present = "all", conflicts_with = "all")]
    ids: Vec<String>,
    /// All jobs
    #[arg(long)]
    all: bool,
}

impl Jobs {
    pub(super) fn run(self, config: Config) -> Result<(), BoxError> {
        log::start(config.log.format, config.log.level);
        block_on(async {
            let queue = gateway_of(&config)?.jobs;
            match &self.what {
                None | Some(What::List) => list(&queue, self.format).await,
                Some(What::Retry(ids)) => {
                    let count = each(&queue, ids, async |job: Job| Ok(queue.retry(job).await?.is_some()));
                    Ok(say(&format!("{} jobs are tried", count.await?))?)
                }
                Some(What::Drop(ids)) => {
                    let count = each(&queue, ids, async |job: Job| Ok(queue.forget(job).await?.is_some()));
                    Ok(say(&format!("{} jobs are dropped", count.await?))?)
                }
            }
        })
    }
}

/// Applies an action to the named jobs; returns how many it changed.
async fn each(queue: &Queue, ids: &Ids, act: impl AsyncFn(Job) -> Result<bool, BoxError>) -> Result<u64, BoxError> {
    let mut count = 0;
    for id in &ids.ids {
        let job = queue.read(id).await?.ok_or_else(|| format!("there is no job {id}"))?;
        count += u64::from(act(job).await?);
    }
    let mut from = ids.all.then(String::new);
    while let Some(start) = from {
        let page = queue.page(&start, LONG_PAGE).await?;
        let mut acts = stream::iter(page.jobs).map(|job| act(job)).buffer_unordered(AT_ONCE);
        while let Some(done) = acts.try_next().await? {
            count += u64::from(done);
        }
        from = page.next;
    }
    Ok(count)
}

async fn list(queue: &Queue, format: Format) -> Result<(), BoxError> {
    let (mut from, mut count) = (Some(String::new()), 0);
    while let Some(start) = from {
        let page = queue.page(&start, LONG_PAGE).await?;
        for job in &page.jobs {
            count += 1;
            say(&match format {
                Format::Json => json!(job).to_string(),
                Format::Text => line(job, SystemTime::now()),
            })?;
        }
        from = page.next;
    }
    if format == Format::Text {
        say(&format!("{count} jobs wait"))?;
    }
    Ok(())
}

fn line(job: &Job, now: SystemTime) -> String {
    let Job { id, kind, database, document, attachment, storage, tries, .. } = job;
    let age = Duration::from_secs(now.duration_since(job.since).unwrap_or_default().as_secs());
    let state = match (&job.holder, &job.error) {
        (Some(holder), _) if holder.until > now => "in work".to_owned(),
        (_, Some(error)) => format!("{tries} tries, {error}"),
        (_, None) => "waits".to_owned(),
    };
    let (kind, age) = (kind.as_str(), humantime::format_duration(age));
    format!("{id}  {kind}  {database} {document} {attachment}  storage {storage}  for {age}: {state}")
}
