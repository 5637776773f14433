//! The job queue: lists, retries and drops jobs.

use std::collections::BTreeMap;
use std::time::SystemTime;

use futures_util::future::try_join_all;
use serde_json::{Value, json};

use super::Api;
use super::envelope::{Failure, Success};
use super::request::Query;
use super::route::OfQueue;
use crate::jobs::{AT_ONCE, Job, Kind, LONG_PAGE, Page};

/// The waiting jobs of a kind.
#[derive(Default)]
struct Waiting {
    jobs: u64,
    in_work: u64,
    stuck: u64,
    oldest: Option<Job>,
}

impl Api {
    pub(super) async fn queue(&self, operation: &OfQueue, query: &Query) -> Result<Success, Failure> {
        match operation {
            OfQueue::Summary => self.waiting().await,
            OfQueue::List => {
                let page = self.page(query).await?;
                Ok(Success::new(json!({ "jobs": page.jobs, "next_start_key": page.next }), None))
            }
            OfQueue::Read(id) => Ok(Success::new(json!(self.job(id).await?), None)),
            OfQueue::Retry(id) | OfQueue::Drop(id) => {
                let job = self.act(operation, self.job(id).await?).await?;
                job.map(|job| Success::new(json!(job), None)).ok_or_else(|| Failure::bad_identifier(id))
            }
            OfQueue::RetryAll | OfQueue::DropAll => self.all_jobs(operation, query).await,
        }
    }

    /// Retries or drops a page of jobs, so that the response is not delayed.
    async fn all_jobs(&self, operation: &OfQueue, query: &Query) -> Result<Success, Failure> {
        if query.get("all") != Some("true") {
            // A path with a missing id must not apply to all jobs.
            return Err(Failure::wrong("all", "required", "All jobs are meant only with all=true"));
        }
        let page = self.page(query).await?;
        let mut count = 0;
        for some in page.jobs.chunks(AT_ONCE) {
            let done = try_join_all(some.iter().map(|job| self.act(operation, job.clone()))).await?;
            count += done.iter().flatten().count();
        }
        Ok(Success::new(json!({ "count": count, "next_start_key": page.next }), None))
    }

    /// Retries or drops a job; `None` if it no longer exists.
    async fn act(&self, operation: &OfQueue, job: Job) -> Result<Option<Job>, Failure> {
        let jobs = &self.0.gateway.jobs;
        let done = match operation {
            OfQueue::Retry(_) | OfQueue::RetryAll => jobs.retry(job).await,
            _ => jobs.forget(job).await,
        };
        done.map_err(Failure::queue)
    }

    /// Counts the waiting jobs of each kind, and returns the oldest of each.
    async fn waiting(&self) -> Result<Success, Failure> {
        let (jobs, now) = (&self.0.gateway.jobs, SystemTime::now());
        let mut kinds: BTreeMap<&str, Waiting> =
            Kind::ALL.iter().map(|kind| (kind.as_str(), Waiting::default())).collect();
        let mut from = Some(String::new());
        for _ in 0..MOST_PAGES {
            let Some(start) = from.take() else { break };
            let page = jobs.page(&start, LONG_PAGE).await.map_err(Failure::queue)?;
            for job in page.jobs {
                let waiting = kinds.entry(job.kind.as_str()).or_default();
                waiting.jobs += 1;
                waiting.in_work += u64::from(job.holder.as_ref().is_some_and(|holder| holder.until > now));
                let age = now.duration_since(job.since).unwrap_or_default();
                waiting.stuck += u64::from(age > jobs.config().dead_after);
                if waiting.oldest.as_ref().is_none_or(|oldest| job.since < oldest.since) {
                    waiting.oldest = Some(job);
                }
            }
            from = page.next;
        }
        let shown: Value = kinds
            .into_iter()
            .map(|(kind, Waiting { jobs, in_work, stuck, oldest })| {
                json!({ "kind": kind, "jobs": jobs, "in_work": in_work, "stuck": stuck, "oldest": oldest })
            })
            .collect();
        Ok(Success::new(json!({ "kinds": shown, "is_whole": from.is_none() }), None))
    }

    /// Returns a page of jobs, ordered by id; `start_key` is where the previous page ended.
    async fn page(&self, query: &Query) -> Result<Page, Failure> {
        let from = query.get("start_key").unwrap_or_default();
        self.0.gateway.jobs.page(from, PAGE).await.map_err(Failure::queue)
    }

    async fn job(&self, id: &str) -> Result<Job, Failure> {
        self.0.gateway.jobs.read(id).await.map_err(Failure::queue)?.ok_or_else(|| Failure::bad_identifier(id))
    }
}

/// The number of pages that are counted: 5,000 jobs.
const MOST_PAGES: usize = 10;
/// The number of jobs in a response.
const PAGE: usize = 100;
