//! Client for etcd's JSON gateway (`/v3/…`, <https://etcd.io/docs/v3.4/dev-guide/api_grpc_gateway/>): keys and values are base64, 64-bit
//! numbers are strings.

use std::fmt;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use http::header::{AUTHORIZATION, CONTENT_TYPE, HOST, HeaderValue};
use http::{Request, StatusCode};
use serde_json::{Value, json};
use stowage_base::secret::Secret;
use stowage_http::body::{Body, BoxError, collect};
use stowage_http::client::{Client, Patience, Server};
use stowage_http::connect::Reach;
use stowage_http::target::Origin;

/// How to reach etcd.
#[derive(Debug, Clone)]
pub struct Endpoints {
    /// The members of one cluster; at least one.
    pub nodes: Vec<Origin>,
    /// User name and password, if etcd requires them.
    pub account: Option<(String, Secret)>,
}

/// An etcd cluster.
pub(super) struct Etcd {
    servers: Vec<Server>,
    account: Option<(String, Secret)>,
    token: Mutex<Option<HeaderValue>>,
    /// The member to try first for the next request.
    next: AtomicUsize,
    /// Timeout per member.
    patience: Duration,
}

/// Why a request to etcd failed.
#[derive(Debug, thiserror::Error)]
pub enum EtcdError {
    /// The lease does not exist, or no longer exists.
    #[error("etcd has no such lease")]
    NoLease,
    /// etcd rejected the request, with this message.
    #[error("etcd refuses it: {0}")]
    Refused(String),
    /// No member responded in time; with the last member's error.
    #[error("etcd does not answer")]
    Unreachable(#[source] BoxError),
}

impl fmt::Debug for Etcd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Etcd").field("servers", &self.servers).finish_non_exhaustive()
    }
}

impl Etcd {
    pub(super) fn new(client: &Client, endpoints: Endpoints, patience: Duration) -> Self {
        let servers = endpoints.nodes.into_iter().map(|node| client.server(node, Reach::Operator)).collect();
        Self { servers, account: endpoints.account, token: Mutex::new(None), next: AtomicUsize::new(0), patience }
    }

    /// Sends a request to the cluster, trying the members in turn, starting with the last that responded.
    ///
    /// The request must be idempotent.
    pub(super) async fn ask(&self, path: &str, question: &Value) -> Result<Value, EtcdError> {
        let mut last = EtcdError::Unreachable("no member of etcd is configured".into());
        let first = self.next.load(Ordering::Relaxed);
        for turn in 0..self.servers.len() {
            let index = first.wrapping_add(turn) % self.servers.len();
            let Some(server) = self.servers.get(index) else { continue };
            match self.ask_as_user(server, path, question).await {
                Err(error @ EtcdError::Unreachable(_)) => last = error,
                answered => {
                    self.next.store(index, Ordering::Relaxed);
                    return answered;
                }
            }
        }
        Err(last)
    }

    /// Authenticates with a token if there is an account; tokens expire, and a change of users invalidates them.
    async fn ask_as_user(&self, server: &Server, path: &str, question: &Value) -> Result<Value, EtcdError> {
        let Some((name, password)) = &self.account else { return self.answer(server, path, question, None).await };
        let known = self.token().clone();
        if let Some(token) = known {
            match self.answer(server, path, question, Some(token)).await {
                Err(EtcdError::Refused(said)) if is_token_fault(&said) => {}
                answered => return answered,
            }
        }
        let credentials = json!({ "name": name, "password": password.expose() });
        let granted = self.answer(server, "/v3/auth/authenticate", &credentials, None).await?;
        let token = at(&granted, "/token").as_str().and_then(|token| HeaderValue::from_str(token).ok());
        let mut token = token.ok_or_else(|| EtcdError::Refused("a token that is none".to_owned()))?;
        token.set_sensitive(true);
        *self.token() = Some(token.clone());
        match self.answer(server, path, question, Some(token)).await {
            // The member does not know the token that it has just granted: another member may be able to respond.
            Err(EtcdError::Refused(said)) if is_token_fault(&said) => {
                Err(EtcdError::Unreachable(format!("{}: {said}", server.origin()).into()))
            }
            answered => answered,
        }
    }

    fn token(&self) -> std::sync::MutexGuard<'_, Option<HeaderValue>> {
        self.token.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn answer(
        &self,
        server: &Server,
        path: &str,
        question: &Value,
        token: Option<HeaderValue>,
    ) -> Result<Value, EtcdError> {
        let asked = tokio::time::timeout(self.patience, exchange(server, path, question, token, self.patience));
        let late = || format!("{}: nothing came within {:?}", server.origin(), self.patience);
        let (status, answer) = match asked.await {
            Err(_) => return Err(EtcdError::Unreachable(late().into())),
            Ok(Err(error)) => return Err(EtcdError::Unreachable(error)),
            Ok(Ok(answered)) => answered,
        };
        // Errors of a stream come with status 200.
        let fault = answer.get("error").or_else(|| answer.get("message"));
        if status.is_success() && fault.is_none() {
            return Ok(answer);
        }
        let said = match fault {
            Some(Value::Object(fault)) => fault.get("message").and_then(Value::as_str),
            fault => fault.and_then(Value::as_str),
        };
        let said = said.map_or_else(|| status.to_string(), str::to_owned);
        match said.as_str() {
            said if said.contains(NO_LEASE) => Err(EtcdError::NoLease),
            // The member has no leader, is starting or is overloaded: another member may be able to respond.
            _ if status.is_server_error() => Err(EtcdError::Unreachable(format!("{}: {said}", server.origin()).into())),
            _ => Err(EtcdError::Refused(said)),
        }
    }
}

/// Returns a member of a response by JSON pointer (RFC 6901); null if it is missing.
pub(super) fn at<'a>(answer: &'a Value, path: &str) -> &'a Value {
    answer.pointer(path).unwrap_or(&Value::Null)
}

fn is_token_fault(said: &str) -> bool {
    TOKEN_FAULTS.iter().any(|fault| said.contains(fault))
}

async fn exchange(
    server: &Server,
    path: &str,
    question: &Value,
    token: Option<HeaderValue>,
    patience: Duration,
) -> Result<(StatusCode, Value), BoxError> {
    let mut request = Request::post(path).header(HOST, server.origin().authority());
    request = request.header(CONTENT_TYPE, "application/json");
    if let Some(token) = token {
        request = request.header(AUTHORIZATION, token);
    }
    let request = request.body(Body::full(serde_json::to_vec(question)?))?;
    let response = server.send(request, Patience { head: Some(patience), idle: Some(patience) }).await?;
    let status = response.status();
    let body = collect(response.into_body(), ANSWER_BYTES).await?;
    Ok((status, serde_json::from_slice(&body).unwrap_or(Value::Null)))
}

/// etcd's messages for tokens that are no longer valid (`etcdserver/api/v3rpc/rpctypes/error.go`).
const TOKEN_FAULTS: [&str; 2] = ["invalid auth token", "revision of auth store is old"];
const NO_LEASE: &str = "requested lease not found";
/// Maximum response size: a group has only a few keys.
const ANSWER_BYTES: u64 = 1 << 20;
