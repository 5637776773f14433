//! Common tests of the vendors' drivers: the rules are in `rules.rs`, `answers.rs` and `lost.rs`, and run for each row of a table.
//!
//! A row, and a driver's own tests, are in the vendor's file or folder and in `sessions.rs`.

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

/// A row of the table: a vendor's double, and the parameters of the rules.
pub trait Vendor: Double + Sized + 'static {
    /// The driver's name.
    const DRIVER: &'static str;
    /// The smallest body in the tests that is stored with a session.
    const LARGE: usize;
    /// The routes of a small upload; the last one completes it.
    const UPLOAD: &'static [&'static str];
    /// The routes of an upload with a session: first the query of the name, if there is one; the last one completes it.
    const SESSION: &'static [&'static str];
    /// The route of a removal.
    const DELETE: &'static str;
    /// Secrets that must never be shown, in addition to the grant's.
    const CANARIES: &'static [&'static str];
    /// Names in `names.rs` that the vendor rejects.
    const UNFIT: &'static [&'static str];
    /// The code of [`Vendor::busy`].
    const BUSY: &'static str;
    /// Why several objects may share a name, if so.
    const BY_ID: Option<&'static str> = None;

    /// Routes and lengths of uploads whose response may be lost: the outcome is determined.
    const LOST: &'static [(&'static str, usize)];
    /// Routes that complete an upload under a name that only it can have, and the routes of the check after a lost response.
    const DOUBTED: (&'static [(&'static str, usize)], &'static [&'static str]);
    /// Routes and lengths of uploads whose bytes may be damaged in transit.
    const DAMAGED: &'static [(&'static str, usize)];

    async fn start(provider: &TokenServer) -> Self;
    /// Returns the address for sessions and downloads.
    fn edge(&self) -> SocketAddr;
    /// Sets the endpoints of the double, with another address for sessions and downloads.
    fn endpoints(&self, edge: SocketAddr, endpoints: &mut Endpoints);
    /// Returns valid settings.
    fn settings() -> Value {
        json!({"oauth_doc_id": GRANT})
    }
    /// Returns a transient failure.
    fn busy() -> Trouble;
    /// Returns a failure for too many requests, with a pause in seconds.
    fn too_many(pause: u32) -> Trouble;
    /// Returns other transient failures.
    fn unavailable() -> Vec<Trouble>;
    /// Returns a response for a missing object.
    fn nothing() -> Trouble;
    /// Returns how to damage bytes in transit, the number of requests, and the kind of the driver's error.
    fn damage() -> (Trouble, u32, Kind) {
        (Trouble::Damages, 1, Kind::Refused)
    }
    /// Returns refusals such as a lack of space: the response, its routes, and the end of the error.
    fn refusals() -> Vec<(Trouble, &'static [&'static str], &'static str)>;
    /// Returns responses to reading and removing; `None` if the object counts as gone.
    fn gone() -> Vec<([Trouble; 2], Option<Kind>)>;
    /// Returns responses to the query of the name, and the outcome of the upload: `true` for the name, `false` for the spare.
    fn looks() -> Vec<(Trouble, Result<bool, Kind>)>;
    /// Returns routes that create an object, with their responses; `None` if the spare is tried.
    fn conflicts() -> Vec<(&'static [&'static str], Trouble, Option<Kind>)>;
    /// Converts a location to the form of KAZOO's pointers.
    fn kazoo(location: &mut Location);
}

/// A double, and the issuer of its tokens.
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

    /// Opens a driver with this address for sessions and downloads.
    pub fn open(self: &Arc<Self>, edge: SocketAddr) -> Target {
        self.with(edge, V::settings())
    }

    /// Opens another driver for the same server.
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

/// Returns the target for the rules of all drivers.
pub async fn target<V: Vendor>() -> Target {
    start::<V>().await.1
}

pub async fn start<V: Vendor>() -> (Arc<Scene<V>>, Target) {
    let scene = Scene::<V>::start().await;
    let target = scene.open(scene.vendor.edge());
    (scene, target)
}

/// Starts a scene with an object `x`.
pub async fn stored<V: Vendor>(length: usize) -> (Arc<Scene<V>>, Target, Location) {
    let (scene, target) = start().await;
    let stored = target.put(&object("x"), Body::full(bytes(length))).await.expect("stored");
    (scene, target, stored.location)
}

/// Returns the routes of an upload of this length.
fn routes<V: Vendor>(length: usize) -> &'static [&'static str] {
    if length < V::LARGE { V::UPLOAD } else { V::SESSION }
}

/// Returns a length for which an upload uses a route.
fn length<V: Vendor>(route: &str) -> usize {
    if V::UPLOAD.contains(&route) { 10 } else { V::LARGE }
}

/// Returns the object's name: the composed one or the spare.
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
/// Generates a module per vendor, with a test per common rule and per own rule.
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
