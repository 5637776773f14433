//! What the drivers of two vendors do alike: the rules are once, in `rules.rs`, `answers.rs` and `lost.rs`, and run for each row of a table.
//!
//! A row, and what only that driver does, is in the vendor's own file and in `sessions.rs`.

mod answers;
mod dropbox;
mod lost;
mod onedrive;
mod rules;
mod sessions;

use crate::conformance::prelude::*;
use std::net::SocketAddr;

use stowage_storage::Endpoints;

use super::targets::World;
use stowage_testing::gateway::Couch;
use stowage_testing::tokens::{GRANT, REFRESH, SECRET, TokenServer};
use stowage_testing::trouble::Double;

pub use self::dropbox::Dropbox;
pub use self::onedrive::OneDrive;

/// A row of the table: a vendor's double, and what the rules have to know of it.
pub trait Vendor: Double + Sized + 'static {
    /// The driver.
    const DRIVER: &'static str;
    /// The smallest body here that goes in a session.
    const LARGE: usize;
    /// The route of an upload in one request.
    const UPLOAD: &'static str;
    /// The routes of an upload in a session: the look at the name first, what completes it last.
    const SESSION: &'static [&'static str];
    /// The route of a removal.
    const DELETE: &'static str;
    /// What must never be seen, besides the grant's secrets.
    const CANARIES: &'static [&'static str];
    /// Names of `names.rs` that the vendor does not take.
    const UNFIT: &'static [&'static str];
    /// The word of [`Vendor::busy`].
    const BUSY: &'static str;

    /// Routes and lengths of uploads whose answer may be lost: what was done is found out.
    const LOST: &'static [(&'static str, usize)];
    /// Routes that complete an upload, where nothing else can have the name; then it is asked by these routes.
    const DOUBTED: (&'static [(&'static str, usize)], &'static [&'static str]);
    /// Routes and lengths of uploads whose bytes may be damaged on their way.
    const DAMAGED: &'static [(&'static str, usize)];

    async fn start(provider: &TokenServer) -> Self;
    /// Where sessions and downloads are.
    fn edge(&self) -> SocketAddr;
    /// Where the driver finds the double, with another place for sessions and downloads.
    fn endpoints(&self, edge: SocketAddr, endpoints: &mut Endpoints);
    /// A failure that passes.
    fn busy() -> Trouble;
    /// Too many requests, with a pause in seconds.
    fn too_many(pause: u32) -> Trouble;
    /// Another failure that passes.
    fn unavailable() -> Trouble;
    /// Nothing is there.
    fn nothing() -> Trouble;
    /// There is no more room: the answer, the routes that give it, and the end of the error.
    fn full() -> (Trouble, &'static [&'static str], &'static str);
    /// Answers to reading and to removing; `None`: the object is gone.
    fn gone() -> Vec<([Trouble; 2], Option<Kind>)>;
    /// Answers to the look at the name, and what becomes of the upload: `true` is the name, `false` the spare.
    fn looks() -> Vec<(Trouble, Result<bool, Kind>)>;
    /// Routes that make an object, and their answers; `None`: the spare is tried.
    fn conflicts() -> Vec<(&'static [&'static str], Trouble, Option<Kind>)>;
    /// The form of KAZOO's pointers.
    fn kazoo(location: &mut Location);
}

/// A double, and what issues its tokens.
pub struct Scene<V> {
    pub vendor: V,
    pub provider: TokenServer,
    couch: Couch,
}

impl<V: Vendor> Scene<V> {
    pub async fn start() -> Arc<Self> {
        let (provider, couch) = (TokenServer::start().await, Couch::start().await);
        provider.documents(&couch).await;
        Arc::new(Self { vendor: V::start(&provider).await, provider, couch })
    }

    /// A driver that finds sessions and downloads there.
    pub fn open(self: &Arc<Self>, edge: SocketAddr) -> Target {
        let mut around = Around::couch(&self.couch);
        self.vendor.endpoints(edge, &mut around.endpoints);
        let settings = json!({"oauth_doc_id": GRANT});
        let mut target = Target::open(V::DRIVER, settings, &around, BUDGET, Box::new(Arc::clone(self)));
        target.secrets = [SECRET, REFRESH].iter().chain(V::CANARIES).map(|secret| (*secret).to_owned()).collect();
        target.unfit = V::UNFIT;
        target
    }

    fn plan(&self, route: &str, times: u32, trouble: Trouble) {
        self.vendor.troubles().plan(route, times, trouble);
    }

    fn count(&self, route: &str) -> usize {
        self.vendor.troubles().count(route)
    }
}

impl<V: Vendor> World for Scene<V> {
    fn objects(&self) -> Vec<String> {
        self.vendor.paths()
    }

    fn leftovers(&self) -> Vec<String> {
        self.vendor.sessions()
    }
}

/// The target for the rules of all drivers.
pub async fn target<V: Vendor>() -> Target {
    start::<V>().await.1
}

async fn start<V: Vendor>() -> (Arc<Scene<V>>, Target) {
    let scene = Scene::<V>::start().await;
    let target = scene.open(scene.vendor.edge());
    (scene, target)
}

/// The same, with an object `x`.
async fn stored<V: Vendor>(length: usize) -> (Arc<Scene<V>>, Target, Location) {
    let (scene, target) = start().await;
    let stored = target.put(&object("x"), Body::full(bytes(length))).await.expect("stored");
    (scene, target, stored.location)
}

/// Routes of an upload of this length.
fn routes<V: Vendor>(length: usize) -> &'static [&'static str] {
    if length < V::LARGE { std::slice::from_ref(&V::UPLOAD) } else { V::SESSION }
}

/// A length for an upload that goes by a route.
fn length<V: Vendor>(route: &str) -> usize {
    if route == V::UPLOAD { 10 } else { V::LARGE }
}

/// Where the object went: the composed name or the spare.
fn path(name: &str, is_free: bool) -> Value {
    json!(format!("/{name}{}", if is_free { "" } else { ".1f6c2a9e" }))
}

macro_rules! rules {
    ($vendor:ident: $($group:ident: $($rule:ident),* $(,)?;)*) => {$($(
        #[tokio::test]
        async fn $rule() {
            super::$group::$rule::<super::$vendor>().await;
        }
    )*)*};
}
/// One module for each vendor, one test in it for each rule.
macro_rules! vendors {
    ($($module:ident: $vendor:ident),* $(,)?) => {$(
        mod $module {
            rules! {
                $vendor:
                rules: a_grant_is_needed, an_expired_token_is_renewed_once, what_passes_is_tried_again,
                    what_does_not_pass_in_time_is_told_as_passing, a_real_refusal_is_not_repeated;
                answers: only_what_is_said_to_be_gone_is_missing_or_removed,
                    a_name_that_cannot_be_looked_up_is_left_alone, a_name_that_may_be_taken_is_left_alone;
                lost: a_lost_answer_is_found_out, what_is_in_doubt_is_removed_later, a_session_that_has_expired_is_passing,
                    damaged_bytes_are_noticed_and_go, what_kazoo_kept_is_a_location;
            }
        }
    )*};
}

vendors! {
    of_dropbox: Dropbox,
    of_onedrive: OneDrive,
}
