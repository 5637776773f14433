//! Plans that CouchDB does not give.

use stowage_testing::gateway::Setup;

use crate::faults::gate::answer;
use crate::faults::world::World;

/// Returns the start of the targets of requests for plans.
fn plans(world: &World) -> String {
    format!("/{}/", world.gateway.couch.plans)
}

/// A proxy in front of CouchDB may answer 404 for a moment: the plan is not gone.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_404_that_is_not_couchdbs_leaves_the_known_plan() {
    let world = World::with(Setup::default().set("plans.refresh", "1ms")).await;
    world.with_attachment("before", b"bytes").await;
    world.store.rule("GET", &plans(&world), 1000, answer(404, "not here"));
    world.with_attachment("doc", b"bytes").await;
    assert!(world.whole_or_nothing("doc", "call.mp3", b"bytes").await, "it is in the storage");
    world.store.relent();
    world.audit_and_stop(&["before", "doc"]).await;
}
