//! What the drivers of vendors do alike: the rules are once, in `rules.rs`, `answers.rs` and `lost.rs`, and run for each row of a table.
//!
//! A row, and what only that driver does, is in the vendor's own file or folder and in `sessions.rs`.

mod answers;
mod dropbox;
mod lost;
mod onedrive;
mod rules;
mod sessions;

use crate::conformance::prelude::*;
use std::net::SocketAddr;

use stowage_storage::Endpoints;

use super::google;
use super::targets::World;
use stowage_testing::gateway::Couch;
use stowage_testing::tokens::{GRANT, REFRESH, SECRET, TokenServer};
use stowage_testing::trouble::Double;

pub use self::dropbox::Dropbox;
pub use self::onedrive::OneDrive;
pub use super::google::{CloudStorage, Drive};

/// A row of the table: a vendor's double, and what the rules have to know of it.
pub trait Vendor: Double + Sized + 'static {
    /// The driver.
    const DRIVER: &'static str;
    /// The smallest body here that goes in a session.
    const LARGE: usize;
    /// The routes of a small upload; what completes it is the last.
    const UPLOAD: &'static [&'static str];
    /// The routes of an upload in a session: the look at the name first, where there is one, what completes it last.
    const SESSION: &'static [&'static str];
    /// The route of a removal.
    const DELETE: &'static str;
    /// What must never be seen, besides the grant's secrets.
    const CANARIES: &'static [&'static str];
    /// Names of `names.rs` that the vendor does not take.
    const UNFIT: &'static [&'static str];
    /// The word of [`Vendor::busy`].
    const BUSY: &'static str;
    /// Why an object's name may be another's too.
    const BY_ID: Option<&'static str> = None;

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
    /// Settings that work.
    fn settings() -> Value {
        json!({"oauth_doc_id": GRANT})
    }
    /// A failure that passes.
    fn busy() -> Trouble;
    /// Too many requests, with a pause in seconds.
    fn too_many(pause: u32) -> Trouble;
    /// Other failures that pass.
    fn unavailable() -> Vec<Trouble>;
    /// Nothing is there.
    fn nothing() -> Trouble;
    /// What damages bytes on their way, in how many requests, and how the driver calls it.
    fn damage() -> (Trouble, u32, Kind) {
        (Trouble::Damages, 1, Kind::Refused)
    }
    /// There is no more room, or the like: the answer, the routes that give it, and the end of the error.
    fn refusals() -> Vec<(Trouble, &'static [&'static str], &'static str)>;
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
        self.with(edge, V::settings())
    }

    /// Another driver for the same server.
    pub fn again(self: &Arc<Self>, settings: Value) -> Target {
        self.with(self.vendor.edge(), settings)
    }

    fn with(self: &Arc<Self>, edge: SocketAddr, settings: Value) -> Target {
        let mut around = Around::couch(&self.couch);
        around.endpoints.set("google_oauth", self.provider.url());
        self.vendor.endpoints(edge, &mut around.endpoints);
        let mut target = Target::open(V::DRIVER, settings, &around, BUDGET, Box::new(Arc::clone(self)));
        target.secrets = [SECRET, REFRESH].iter().chain(V::CANARIES).map(|secret| (*secret).to_owned()).collect();
        target.unfit = V::UNFIT;
        target.by_id = V::BY_ID;
        target
    }

    pub fn plan(&self, route: &str, times: u32, trouble: Trouble) {
        self.vendor.troubles().plan(route, times, trouble);
    }

    pub fn count(&self, route: &str) -> usize {
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

pub async fn start<V: Vendor>() -> (Arc<Scene<V>>, Target) {
    let scene = Scene::<V>::start().await;
    let target = scene.open(scene.vendor.edge());
    (scene, target)
}

/// The same, with an object `x`.
pub async fn stored<V: Vendor>(length: usize) -> (Arc<Scene<V>>, Target, Location) {
    let (scene, target) = start().await;
    let stored = target.put(&object("x"), Body::full(bytes(length))).await.expect("stored");
    (scene, target, stored.location)
}

/// Routes of an upload of this length.
fn routes<V: Vendor>(length: usize) -> &'static [&'static str] {
    if length < V::LARGE { V::UPLOAD } else { V::SESSION }
}

/// A length for an upload that goes by a route.
fn length<V: Vendor>(route: &str) -> usize {
    if V::UPLOAD.contains(&route) { 10 } else { V::LARGE }
}

/// Where the object went: the composed name or the spare.
fn name(name: &str, is_free: bool) -> String {
    format!("{name}{}", if is_free { "" } else { ".1f6c2a9e" })
}

macro_rules! rules {
    ($vendor:ident: $($($group:ident)::+: $($rule:ident),* $(,)?;)*) => {$(rules! { @ $vendor ($($group)::+) $($rule)* })*};
    (@ $vendor:ident $group:tt $($rule:ident)*) => {$(rules! { = $vendor $group $rule })*};
    (= $vendor:ident ($($group:ident)::+) $rule:ident) => {
        #[tokio::test]
        async fn $rule() {
            super::$($group)::+::$rule::<super::$vendor>().await;
        }
    };
}
/// One module for each vendor, one test in it for each rule of all of them and for those that it names.
macro_rules! vendors {
    ($($module:ident: $vendor:ident $(, $own:ident)?;)*) => {$(
        mod $module {
            rules! {
                $vendor:
                rules: an_expired_token_is_renewed_once, what_passes_is_tried_again, a_pause_is_respected,
                    what_does_not_pass_in_time_is_told_as_passing, a_real_refusal_is_not_repeated;
                answers: only_what_is_said_to_be_gone_is_missing_or_removed,
                    a_name_that_cannot_be_looked_up_is_left_alone, a_name_that_may_be_taken_is_left_alone;
                lost: a_lost_answer_is_found_out, what_is_in_doubt_is_removed_later, a_session_that_has_expired_is_passing,
                    damaged_bytes_are_noticed_and_go, what_kazoo_kept_is_a_location;
            }
            $($own! { $vendor })?
        }
    )*};
}
macro_rules! grants {
    ($vendor:ident) => {
        rules! { $vendor: rules: a_grant_is_needed; }
    };
}
macro_rules! googles {
    ($vendor:ident) => {
        rules! {
            $vendor:
            google::session: what_a_session_did_not_take_is_sent_again, a_session_that_takes_nothing_is_given_up,
                a_session_that_is_gone_at_its_first_chunk_is_begun_anew, a_session_that_is_gone_later_is_passing,
                a_session_that_wants_the_token_gets_it, a_lost_answer_to_the_last_chunk_is_found_out,
                a_session_is_asked_before_anything_is_sent_again, a_lost_beginning_leaves_a_session_and_no_object,
                answers_of_a_session_that_are_lost_for_ever_leave_nothing;
            google::long: a_long_body_is_one_request_inside_two_chunks_of_memory,
                a_request_that_breaks_goes_on_where_the_session_is, an_answer_that_is_lost_is_asked_for,
                bytes_that_a_session_loses_are_passing_and_leave_nothing, a_client_that_leaves_or_breaks_leaves_nothing;
        }
    };
}

vendors! {
    of_dropbox: Dropbox, grants;
    of_onedrive: OneDrive, grants;
    of_google_storage: CloudStorage, googles;
    of_google_drive: Drive, googles;
}
