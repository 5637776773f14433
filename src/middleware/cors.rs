//! Adds CouchDB's CORS headers to the gateway's own responses: without `Access-Control-*`, a browser hides even the status from scripts of other
//! origins.
//!
//! Only CouchDB knows its rules, which depend on the origin and the host (`chttpd_cors`). The headers of its responses are cached; for an origin
//! without a recent response, the gateway requests CouchDB's root. All CouchDB servers behind one gateway are assumed to share the configured
//! server's rules. CouchDB itself answers preflights.

use std::convert::Infallible;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_util::FutureExt;
use futures_util::future::{BoxFuture, Either};
use http::header::{ACCESS_CONTROL_ALLOW_ORIGIN, HOST, HeaderMap, HeaderName, HeaderValue, ORIGIN, SERVER};
use http::{Method, Request};
use moka::sync::Cache;
use stowage_base::activity::Activity;
use stowage_couch::Couch;
use stowage_http::body::Body;
use tower::Service;

use crate::exchange::{Answered, Exchange};

/// Adds `Access-Control-*` to responses that are not CouchDB's.
#[derive(Debug, Clone)]
pub struct Cors<S> {
    pub(super) inner: S,
    pub(super) rules: Rules,
}

impl<S> Service<Exchange> for Cors<S>
where
    S: Service<Exchange, Response = Answered, Error = Infallible>,
    S::Future: Send + 'static,
{
    type Response = Answered;
    type Error = Infallible;
    type Future = Either<S::Future, BoxFuture<'static, Result<Answered, Infallible>>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, exchange: Exchange) -> Self::Future {
        let Some(asked) = Asked::of(&exchange.request) else { return Either::Left(self.inner.call(exchange)) };
        let (answering, rules) = (self.inner.call(exchange), self.rules.clone());
        let done = async move {
            let Ok(mut answered) = answering.await;
            rules.apply(asked, answered.response.headers_mut()).await;
            Ok(answered)
        };
        Either::Right(done.boxed())
    }
}

/// The request headers that CouchDB's rules depend on.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Asked {
    origin: HeaderValue,
    host: Option<HeaderValue>,
    forwarded_host: Option<HeaderValue>,
}

impl Asked {
    fn of(request: &Request<Body>) -> Option<Self> {
        let headers = request.headers();
        let origin = headers.get(ORIGIN).filter(|_| *request.method() != Method::OPTIONS)?.clone();
        let (host, forwarded_host) = (headers.get(HOST).cloned(), headers.get(&FORWARDED_HOST).cloned());
        Some(Self { origin, host, forwarded_host })
    }

    fn headers(&self) -> HeaderMap {
        let host = self.host.iter().map(|host| (HOST, host.clone()));
        let forwarded = self.forwarded_host.iter().map(|host| (FORWARDED_HOST.clone(), host.clone()));
        [(ORIGIN, self.origin.clone())].into_iter().chain(host).chain(forwarded).collect()
    }
}

/// The rules of a CouchDB, as far as they are known.
#[derive(Debug, Clone)]
pub(super) struct Rules {
    couch: Couch,
    known: Cache<Asked, Arc<Known>>,
}

/// CouchDB's CORS headers for an origin; empty if the origin is not allowed.
#[derive(Debug)]
struct Known {
    headers: HeaderMap,
    since: Instant,
}

impl Rules {
    pub(super) fn new(couch: &Couch) -> Self {
        let known = Cache::builder().max_capacity(MOST_KNOWN).time_to_live(KNOWN_FOR).build();
        Self { couch: couch.clone(), known }
    }

    async fn apply(&self, asked: Asked, headers: &mut HeaderMap) {
        let known = self.known.get(&asked);
        let fresh = known.as_ref().is_some_and(|known| known.since.elapsed() < FRESH_FOR);
        if headers.contains_key(ACCESS_CONTROL_ALLOW_ORIGIN) {
            if !fresh {
                self.learn(asked, headers);
            }
            return;
        }
        // A `Server` header marks CouchDB's own responses, and those the gateway derives from them: CouchDB has already decided.
        if headers.contains_key(SERVER) {
            return;
        }
        let known = match known {
            Some(known) if fresh => Some(known),
            old => self.ask(asked).await.or(old),
        };
        headers.extend(known.into_iter().flat_map(|known| known.headers.clone()));
    }

    async fn ask(&self, asked: Asked) -> Option<Arc<Known>> {
        let caller = self.couch.client(&asked.headers(), &Activity::default());
        let asking = caller.send(Method::GET, "", Bytes::new());
        let answer = tokio::time::timeout(ANSWER_WITHIN, asking).await.ok()?.ok()?;
        Some(self.learn(asked, answer.headers()))
    }

    fn learn(&self, asked: Asked, headers: &HeaderMap) -> Arc<Known> {
        let rules = headers.iter().filter(|(name, _)| name.as_str().starts_with("access-control-"));
        let headers = rules.map(|(name, value)| (name.clone(), value.clone())).collect();
        let known = Arc::new(Known { headers, since: Instant::now() });
        self.known.insert(asked, Arc::clone(&known));
        known
    }
}

static FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
/// The age after which CouchDB is asked again.
const FRESH_FOR: Duration = Duration::from_secs(60);
/// How long an old answer is used while CouchDB does not respond.
const KNOWN_FOR: Duration = Duration::from_secs(3600);
/// The cache size: clients choose the origins.
const MOST_KNOWN: u64 = 1000;
/// How long a response waits for the rules: anything slower delays an already late error.
const ANSWER_WITHIN: Duration = Duration::from_secs(1);
