//! The storage API on the admin listener: creates, reads, changes and removes plans, compatibly with the platform's own API.
//!
//! | file | contents |
//! |---|---|
//! | `route` | maps a path and a method to an operation (pure) |
//! | `envelope` | the form of responses |
//! | `request` | parses the body and the query of a request |
//! | `documents` | plan documents in CouchDB |
//! | `edit` | creates, replaces, patches and removes a plan |
//! | `secrets` | masks secrets, and restores them |
//! | `validate` | the steps that validate a plan before it is saved |
//! | `schema`, `schemas/` | each member by itself |
//! | `validate::references` | the ids that the plan names, and the drivers' view of the settings |
//! | `validate::connections` | who may define connections |
//! | `validate::addresses` | the egress policy |
//! | `check` | the credential check |
//! | `explain` | what a plan says about an attachment |
//! | `records` | failure records, newest first |
//! | `jobs` | the job queue |
//! | `runs` | migrations and verifications: starts, watches and stops them |

mod check;
mod documents;
mod edit;
mod envelope;
mod explain;
mod jobs;
mod outages;
mod records;
mod request;
mod route;
mod runs;
mod schema;
mod secrets;
mod validate;

use std::sync::Arc;

use http::{Request, Response};

use self::documents::PlanDocuments;
use self::edit::Change;
use self::envelope::{Failure, Success};
use self::route::{OfRuns, Operation};
use self::runs::Runs;
use self::schema::Schemas;
use crate::config::Config;
use crate::error::Error;
use crate::gateway::Gateway;
use stowage_base::log::RequestId;
use stowage_base::token::{self, Tokens};
use stowage_http::body::{Body, BoxError};
use tokio_util::sync::CancellationToken;

/// The storage API; cheap to clone.
#[derive(Debug, Clone)]
pub struct Api(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    gateway: Arc<Gateway>,
    tokens: Tokens,
    documents: PlanDocuments,
    schemas: Schemas,
    runs: Runs,
    document_bytes: u64,
    allow_unvalidated: bool,
}

impl Api {
    /// Creates the API of a running gateway. Runs end when `stopping` is cancelled.
    ///
    /// # Errors
    /// Never fails: only a broken built-in schema would.
    pub fn new(gateway: Arc<Gateway>, config: &Config, stopping: CancellationToken) -> Result<Self, BoxError> {
        let tokens = Tokens::new(&config.admin.tokens);
        let documents = PlanDocuments::new(gateway.couch.clone(), &config.plans.database);
        Ok(Self(Arc::new(Shared {
            runs: Runs::new(Arc::clone(&gateway), stopping),
            gateway,
            tokens,
            documents,
            schemas: Schemas::new()?,
            document_bytes: config.limits.document_bytes,
            allow_unvalidated: config.plans.allow_unvalidated,
        })))
    }

    /// Returns whether a path belongs to this API.
    #[must_use]
    pub fn owns(path: &str) -> bool {
        path == "/v2" || path.starts_with("/v2/")
    }

    /// Returns whether the API can be used: it has tokens.
    #[must_use]
    pub fn is_open(&self) -> bool {
        !self.0.tokens.is_empty()
    }

    /// Handles a request.
    pub async fn answer(&self, request: Request<Body>) -> Response<Body> {
        let (api, id) = (self.clone(), RequestId::next());
        // Shutdown waits for the task, and a client that leaves does not stop it half-way.
        let performing = async move { api.perform(request, &id).await };
        let performed = self.0.gateway.tasks.spawn("storage API request", performing).await.ok().flatten();
        let answer = match performed.unwrap_or_else(|| Err(Error::Bug("the request panicked").into())) {
            Ok(success) => success.into_response(&id),
            Err(failure) => {
                failure.log(&id);
                failure.into_response(&id)
            }
        };
        tracing::info!(request = %id, status = answer.status().as_u16(), "the storage API answered");
        answer
    }

    async fn perform(&self, request: Request<Body>, id: &RequestId) -> Result<Success, Failure> {
        let (parts, body) = request.into_parts();
        let bearer = token::given(&parts.headers);
        let holder = self.0.tokens.holder(bearer).ok_or_else(Failure::unauthorized)?;
        let operation = route::route(&parts.method, parts.uri.path())?;
        if !operation.is_within_reach(&holder) {
            return Err(Failure::forbidden());
        }
        let query = request::Query::parse(parts.uri.query());
        match operation {
            Operation::Explain(account) => self.explain(account.as_ref(), &query).await,
            Operation::Queue(operation) => self.queue(&operation, &query).await,
            Operation::Runs(operation) => self.runs(operation, body, *id).await,
            Operation::Schema => Ok(Success::new(schema::shown(), None)),
            Operation::Health => Ok(Success::new(outages::health(&self.0.gateway), None)),
            Operation::Failures => Ok(Success::new(self.0.gateway.records.last().into(), None)),
            Operation::Errors(account) => self.records(&account, &query).await,
            Operation::List(scope) => self.list(&scope).await,
            Operation::Read(scope) => self.read(&scope).await,
            Operation::Remove(scope) => self.remove(&scope).await,
            Operation::Create(_) | Operation::Replace(_) | Operation::Patch(_) | Operation::Check(_) => {
                let data = request::data(body, self.0.document_bytes).await?;
                let is_operator = holder == token::Holder::Operator;
                let change = Change { data: &data, query: &query, request: id, is_operator };
                match operation {
                    Operation::Create(scope) => self.create(&scope, change).await,
                    Operation::Replace(scope) => self.replace(&scope, change).await,
                    Operation::Patch(scope) => self.patch(&scope, change).await,
                    Operation::Check(scope) => self.check_only(&scope, change).await,
                    _ => Err(Failure::bad_identifier(parts.uri.path())),
                }
            }
        }
    }

    async fn runs(&self, operation: OfRuns, body: Body, id: RequestId) -> Result<Success, Failure> {
        let runs = &self.0.runs;
        match operation {
            OfRuns::List(kind) => Ok(Success::new(runs.list(kind), None)),
            OfRuns::Start(kind) => {
                let options = request::data(body, self.0.document_bytes).await?.members;
                Ok(Success::created(runs.start(kind, &options, &self.0.schemas, id)?, None))
            }
            OfRuns::Read(kind, run) => Ok(Success::new(runs.read(kind, &run)?, None)),
            OfRuns::Stop(kind, run) => Ok(Success::new(runs.stop(kind, &run)?, None)),
            OfRuns::Watch(kind, run) => Ok(Success::events(runs.watch(kind, &run)?)),
        }
    }
}
