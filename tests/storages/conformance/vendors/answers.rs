//! The meaning of responses: which of them say that an object is gone, or a name taken.

use super::{Vendor, length, name, start, stored};
use crate::conformance::prelude::*;

pub async fn only_what_is_said_to_be_gone_is_missing_or_removed<V: Vendor>() {
    together(V::gone(), async |([reading, removing], failure)| {
        let (scene, target, location) = stored::<V>(1).await;
        scene.plan("download", 3, reading.clone());
        let got = kind(target.get(&location, None, 1).await);
        assert_eq!(got, Some(failure.unwrap_or(Kind::Missing)), "{reading:?}");
        scene.plan(V::DELETE, 3, removing.clone());
        assert_eq!(kind(target.backend.delete(&location).await), failure, "{removing:?}");
        assert_eq!(scene.vendor.paths(), ["x"]);
    })
    .await;
}

/// The response to the query of the name before a session: the name only counts as free if it is certainly unused.
pub async fn a_name_that_cannot_be_looked_up_is_left_alone<V: Vendor>() {
    together(V::looks(), async |(trouble, outcome)| {
        let (scene, target) = start::<V>().await;
        scene.plan(V::SESSION[0], 3, trouble.clone());
        let stored = target.put(&object("x"), Body::full(bytes(V::LARGE))).await;
        let found = stored.map(|_| scene.vendor.paths()).map_err(|error| error.kind());
        assert_eq!(found, outcome.map(|is_free| vec![name("x", is_free)]), "{trouble:?}");
        target.assert_clean("after all").await;
    })
    .await;
}

pub async fn a_name_that_may_be_taken_is_left_alone<V: Vendor>() {
    together(V::conflicts(), async |(routes, trouble, failure)| {
        for route in routes {
            let (scene, target) = start::<V>().await;
            scene.plan(route, if failure == Some(Kind::Passing) { 3 } else { 1 }, trouble.clone());
            let outcome = target.put(&object("x"), Body::full(bytes(length::<V>(route)))).await;
            match failure {
                Some(failure) => {
                    assert_eq!(kind(outcome), Some(failure), "{route} {trouble:?}");
                    target.assert_empty(route).await;
                }
                None => {
                    outcome.expect("stored");
                    assert_eq!(scene.vendor.paths(), [name("x", false)], "{route} {trouble:?}");
                    target.assert_clean(route).await;
                }
            }
        }
    })
    .await;
}
