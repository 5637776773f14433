//! When the silence of a switch, or of its trackers, proves a death.

use crate::dead::Scene;
use crate::events::{BEGIN, SECOND, begun};

/// The broker and all trackers start together: at first no tracker answers.
#[test]
fn no_switch_is_silent_before_a_complete_sweep_after_the_inlet_is_back() {
    let mut scene = Scene::new(&begun("a1", "b1"));
    scene.watchdog.inlet(false, BEGIN + 50 * SECOND);
    scene.watchdog.inlet(true, BEGIN + 60 * SECOND);
    for seconds in (60..=200).step_by(5) {
        assert_eq!(scene.swept(&[], false, BEGIN + seconds * SECOND), []);
        assert_eq!(scene.look(seconds + 1), []);
    }
    // The trackers are back, but the switch is not. Then its only tracker dies.
    for (seconds, is_complete) in [(205, true), (210, false), (215, false)] {
        scene.swept(&[], is_complete, BEGIN + seconds * SECOND);
    }
    assert_eq!(scene.look(216), []);
    assert_eq!(scene.look(231), []);
    assert_eq!(scene.look(232).len(), 2);
}
