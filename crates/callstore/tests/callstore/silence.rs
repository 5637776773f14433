//! When the silence of a switch, or of its trackers, proves a death.

use crate::dead::{Scene, answer, dead};
use crate::events::{BEGIN, SECOND, begun, disconnected, kazoo};

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

/// No tracker answers again: they have died with the switch.
#[test]
fn a_switch_is_silent_at_last_if_no_tracker_answers_again() {
    let mut scene = Scene::new(&begun("a1", "b1"));
    scene.watchdog.inlet(false, BEGIN + 50 * SECOND);
    scene.watchdog.inlet(true, BEGIN + 60 * SECOND);
    for seconds in (60..=250).step_by(5) {
        scene.swept(&[], false, BEGIN + seconds * SECOND);
    }
    assert_eq!(scene.look(251), []);
    assert_eq!(scene.look(266), []);
    assert_eq!(scene.look(267).len(), 2);
}

/// The end of its last call was lost. Later calls begin and end between two sweeps: the switch is not silent.
#[test]
fn the_last_call_of_a_switch_is_missed_where_its_trackers_list_none() {
    let mut scene = Scene::new(&begun("a1", "b1"));
    assert_eq!(scene.swept(&[answer(10, &["a1", "b1"], true)], true, BEGIN + 10 * SECOND), []);
    for seconds in [15, 20, 25, 30, 35] {
        let at = f64::from(i32::try_from(seconds).unwrap());
        scene.happens(&[kazoo("CHANNEL_CREATE", "a2", at - 2.0), kazoo("CHANNEL_DESTROY", "a2", at - 1.0)]);
        assert_eq!(scene.swept(&[answer(seconds, &[], true)], true, BEGIN + seconds * SECOND), []);
        assert_eq!(scene.look(seconds + 1), [], "a tracker that has just started lists none, either");
    }
    let found = scene.swept(&[answer(40, &[], true)], true, BEGIN + 40 * SECOND);
    assert_eq!(found, [dead("leg/a1", "dead missing", 6.0), dead("leg/b1", "dead missing", 6.0)]);
}

/// The tracker has just started, and learns of the switch's calls one after the other.
#[test]
fn empty_answers_do_not_count_where_the_trackers_list_other_calls_again() {
    let mut scene = Scene::new(&begun("a1", "b1"));
    let mut asked =
        |seconds, channels: &[&str]| scene.swept(&[answer(seconds, channels, true)], true, BEGIN + seconds * SECOND);
    assert_eq!(asked(10, &["a1", "b1"]), []);
    for seconds in [15, 20, 25, 30, 35] {
        assert_eq!(asked(seconds, &[]), []);
    }
    assert_eq!(asked(40, &["c1"]), [], "missing once among others");
    assert_eq!(asked(45, &["c1", "b1"]), [dead("leg/a1", "dead missing", 10.0)]);
    assert_eq!(
        asked(50, &[]),
        [dead("leg/a1", "dead missing", 6.0)],
        "the other one was listed, which ended both counts"
    );
}

/// A tracker lists no call of a switch that died, either: how its calls end is told by what it says of each.
#[test]
fn an_empty_answer_is_no_sign_of_life_and_hastens_no_death() {
    let mut scene = Scene::new(&begun("a1", "b1"));
    scene.happens(&[disconnected("a1", 40)]);
    assert_eq!(scene.look(41), []);
    for seconds in [45, 50, 55] {
        assert_eq!(scene.swept(&[answer(seconds, &[], true)], true, BEGIN + seconds * SECOND), []);
    }
    assert_eq!(scene.look(56), [dead("leg/a1", "dead disconnected", 27.0)]);
    assert_eq!(scene.look(72), [dead("leg/a1", "dead disconnected", 27.0), dead("leg/b1", "dead silent", 5.002)]);
}
