//! A CouchDB with OAuth documents, a token endpoint, a vendor, and the gateway's client.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http::StatusCode;
use http_body_util::Full;
use hyper::service::service_fn;
use stowage_base::tasks::Tasks;
use stowage_storage::steps::GrantedCalls;
use stowage_storage::{Budget, Context, Error, Kind};

use super::around::Around;
use stowage_testing::gateway::Couch;
use stowage_testing::serve::{Served, listen, serve};
use stowage_testing::tokens::{GRANT, TokenServer, Tokens};
use stowage_testing::upstream::until;

/// The environment of a driver with a grant.
pub struct World {
    pub couch: Couch,
    pub provider: TokenServer,
    pub vendor: Vendor,
    pub tasks: Tasks,
    pub context: Context,
}

/// A vendor's API, which accepts valid tokens.
pub struct Vendor {
    served: Served,
    seen: Arc<AtomicUsize>,
    refuses: Arc<AtomicBool>,
}

impl Vendor {
    pub async fn start(tokens: &Tokens) -> Self {
        let (listener, _) = listen().await;
        let (seen, refuses, tokens) = (Arc::<AtomicUsize>::default(), Arc::<AtomicBool>::default(), tokens.clone());
        let (counted, refused) = (Arc::clone(&seen), Arc::clone(&refuses));
        let served = serve(listener, move |_| {
            let (tokens, seen, refuses) = (tokens.clone(), Arc::clone(&counted), Arc::clone(&refused));
            service_fn(move |request: hyper::Request<hyper::body::Incoming>| {
                seen.fetch_add(1, Ordering::SeqCst);
                let admitted = tokens.admit(request.headers()) && !refuses.load(Ordering::SeqCst);
                let mut response = hyper::Response::new(Full::<Bytes>::default());
                *response.status_mut() = if admitted { StatusCode::OK } else { StatusCode::UNAUTHORIZED };
                std::future::ready(Ok::<_, Infallible>(response))
            })
        });
        Self { served, seen, refuses }
    }

    pub fn url(&self) -> String {
        format!("http://{}/files", self.served.address())
    }

    /// Returns the number of requests.
    pub fn seen(&self) -> usize {
        self.seen.load(Ordering::SeqCst)
    }

    /// Refuses valid tokens, too, from now on.
    pub fn refuse(&self) {
        self.refuses.store(true, Ordering::SeqCst);
    }
}

impl World {
    /// Starts with a grant's documents, which are read for every request.
    pub async fn start() -> Self {
        Self::looking_every(Duration::ZERO).await
    }

    pub async fn looking_every(pause: Duration) -> Self {
        Self::over(Couch::start().await, pause).await
    }

    /// Starts over a running CouchDB.
    pub async fn over(couch: Couch, pause: Duration) -> Self {
        let provider = TokenServer::start().await;
        provider.documents(&couch).await;
        let vendor = Vendor::start(&provider.tokens).await;
        let mut around = Around::couch(&couch);
        around.looking_every = Some(pause);
        let tasks = Tasks::default();
        let context = around.context(&tasks, &Budget::new(1 << 20));
        Self { couch, provider, vendor, tasks, context }
    }

    pub fn tokens(&self) -> &Tokens {
        &self.provider.tokens
    }

    /// Returns the context of another gateway, or of a restarted one.
    pub fn again(&self) -> Context {
        Around::couch(&self.couch).context(&self.tasks, &Budget::new(1 << 20))
    }

    /// Returns the grant's calls.
    pub fn calls(&self) -> GrantedCalls {
        GrantedCalls::of_document(&self.context, GRANT, None)
    }

    /// Makes one call with the grant; returns its status.
    pub async fn call(&self) -> Result<u16, Error> {
        self.calls().get(&self.vendor.url()).await.map(|(status, _)| status.as_u16())
    }

    /// Makes one call that fails; returns the error's kind and message.
    pub async fn failure(&self) -> (Kind, String) {
        let error = self.call().await.expect_err("no token");
        (error.kind(), error.to_string())
    }

    /// Waits until a condition holds.
    pub async fn until(&self, what: &str, holds: impl Fn(&Self) -> bool) {
        until(what, async || holds(self)).await;
    }
}
