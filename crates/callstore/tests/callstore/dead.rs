//! The table «The dead», with a clock that the tests move.

use std::time::Duration;

use callstore::clock::Moment;
use callstore::dead::{Answer, Rules, Sweep, Watchdog};
use callstore::decision::What;
use callstore::fold::Key;
use callstore::state::State;

use crate::events::{BEGIN, NODE, SECOND, begun, disconnected, ended, entries, era, kazoo};

const NOW: i64 = BEGIN + 60 * SECOND;

fn rules() -> Rules {
    Rules {
        hold_off: Duration::from_secs(15),
        max_call: Duration::from_secs(2 * 3600),
        sweep: Duration::from_secs(5),
        sweeps: 3,
        collect: Duration::from_secs(1),
        grace: Duration::from_secs(13),
    }
}

pub struct Scene {
    state: State,
    pub watchdog: Watchdog,
    offset: u64,
    _folder: tempfile::TempDir,
}

/// A death in short: the item, the kind and cause, and the end in seconds after the beginning.
pub type Death = (String, String, f64);

impl Scene {
    /// Starts with an inlet that has long been open, and a complete sweep.
    pub fn new(events: &[serde_json::Value]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let state = State::open(&folder.path().join("state.redb"), Duration::from_secs(3)).unwrap();
        let watchdog = Watchdog::new(rules(), Moment::at(0));
        let mut scene = Self { state, watchdog, offset: 0, _folder: folder };
        scene.happens(events);
        assert_eq!(scene.swept(&[], true, BEGIN), []);
        scene
    }

    pub fn happens(&mut self, events: &[serde_json::Value]) {
        self.state.apply(&entries(self.offset, events), NOW).unwrap();
        self.offset += events.len() as u64;
    }

    pub fn look(&mut self, seconds: i64) -> Vec<Death> {
        let decided = self.watchdog.look(&self.state.index(), Moment::at(BEGIN + seconds * SECOND));
        deaths(&decided)
    }

    /// Looks with the wall clock set off by this many seconds.
    fn look_with(&mut self, seconds: i64, set: i64) -> Vec<Death> {
        let moment = Moment::at(BEGIN + seconds * SECOND);
        let decided = self.watchdog.look(&self.state.index(), Moment { day: moment.day + set * SECOND, ..moment });
        deaths(&decided)
    }

    pub fn swept(&mut self, answers: &[Answer], is_complete: bool, now: i64) -> Vec<Death> {
        let sweep = Sweep { answers: answers.to_vec(), is_complete };
        deaths(&self.watchdog.swept(&sweep, &self.state.index(), now))
    }
}

fn deaths(decided: &[What]) -> Vec<Death> {
    let deaths = decided.iter().filter_map(|what| match what {
        #[expect(clippy::cast_precision_loss, reason = "small numbers of tests")]
        What::DlgDead { key, end, .. } => {
            Some((key.as_str().to_owned(), format!("{} {}", end.kind, end.cause), (end.ended - BEGIN) as f64 / 1e6))
        }
        _ => None,
    });
    deaths.collect()
}

pub fn answer(seconds: i64, channels: &[&str], is_whole: bool) -> Answer {
    let channels = channels.iter().map(|id| (*id).into()).collect();
    Answer { node: NODE.into(), at: BEGIN + seconds * SECOND, channels, is_whole }
}

pub fn dead(id: &str, why: &str, ended: f64) -> Death {
    (id.to_owned(), why.to_owned(), ended)
}

#[test]
fn a_normal_end_is_no_death() {
    let mut scene = Scene::new(&[begun("a1", "b1"), ended("a1", "b1")].concat());
    assert_eq!(scene.look(100), []);
    assert_eq!(scene.look(100_000), []);
}

#[test]
fn a_disconnected_channel_is_dead_after_the_hold_off() {
    let mut scene = Scene::new(&begun("a1", "b1"));
    scene.happens(&[kazoo("CALL_UPDATE", "a2", 20.0), disconnected("a1", 40)]);
    assert_eq!(scene.look(41), []);
    assert_eq!(scene.look(54), []);
    // KAZOO reports the loss 13 s late; the switch's last event, at 20 s, is earlier than that.
    assert_eq!(scene.look(55), [dead("leg/a1", "dead disconnected", 27.0)]);
}

#[test]
fn the_end_is_the_switch_s_last_sign_where_that_is_later() {
    let mut scene = Scene::new(&begun("a1", "b1"));
    scene.happens(&[kazoo("CALL_UPDATE", "a2", 33.5), disconnected("a1", 40)]);
    scene.look(41);
    assert_eq!(scene.look(56), [dead("leg/a1", "dead disconnected", 33.5)]);
}

#[test]
fn a_switch_that_came_back_without_the_call_does_not_prolong_it() {
    let mut scene = Scene::new(&begun("a1", "b1"));
    scene.happens(&[disconnected("a1", 40), kazoo("CALL_UPDATE", "a2", 50.0)]);
    scene.look(51);
    assert_eq!(scene.look(60), [dead("leg/a1", "dead disconnected", 27.0)]);
}

#[test]
fn a_newer_event_within_the_hold_off_ends_the_doubt() {
    let mut scene = Scene::new(&begun("a1", "b1"));
    scene.happens(&[disconnected("a1", 40)]);
    assert_eq!(scene.look(50), []);
    scene.happens(&[kazoo("CALL_UPDATE", "a1", 52.0)]);
    assert_eq!(scene.look(60), []);
    assert_eq!(scene.look(600), []);
}

/// The link between a tracker and its switch returns without an event: the tracker only lists the call again.
#[test]
fn a_suspected_call_that_is_listed_lives_until_it_is_listed_no_more() {
    let mut scene = Scene::new(&begun("a1", "b1"));
    scene.happens(&[disconnected("a1", 40)]);
    assert_eq!(scene.look(41), []);
    for seconds in (45..=100).step_by(5) {
        assert_eq!(scene.swept(&[answer(seconds, &["a1", "b1"], true)], true, BEGIN + seconds * SECOND), []);
        assert_eq!(scene.look(seconds + 4), []);
    }
    assert_eq!(scene.look(114), []);
    assert_eq!(scene.look(115), [dead("leg/a1", "dead disconnected", 87.0)], "what the last list says less the grace");
}

#[test]
fn a_switch_that_leaves_three_sweeps_unanswered_loses_all_its_calls_together() {
    let mut scene =
        Scene::new(&[begun("a1", "b1"), begun("a2", "b2"), vec![kazoo("CALL_UPDATE", "a2", 20.0)]].concat());
    for seconds in [25, 30] {
        assert_eq!(scene.swept(&[], true, BEGIN + seconds * SECOND), []);
        assert_eq!(scene.look(seconds), []);
    }
    assert_eq!(scene.look(100), [], "two sweeps are not three");
    assert_eq!(scene.swept(&[], true, BEGIN + 135 * SECOND), []);
    assert_eq!(scene.look(135), []);
    assert_eq!(scene.look(150), [], "further losses are gathered for a second");
    let found = scene.look(151);
    assert_eq!(found.len(), 4);
    assert!(found.iter().all(|(_, why, ended)| why == "dead silent" && (*ended - 20.0).abs() < 0.01), "{found:?}");
}

#[test]
fn a_switch_that_sends_events_is_not_silent() {
    let mut scene = Scene::new(&begun("a1", "b1"));
    for seconds in [25, 30, 35, 40] {
        scene.swept(&[], true, BEGIN + seconds * SECOND);
        scene.happens(&[kazoo("CALL_UPDATE", "a2", f64::from(i32::try_from(seconds).unwrap()) + 1.0)]);
        scene.look(seconds + 2);
    }
    assert_eq!(scene.look(60), []);
}

#[test]
fn an_answer_ends_the_silence() {
    let mut scene = Scene::new(&begun("a1", "b1"));
    for seconds in [25, 30, 35] {
        scene.swept(&[], true, BEGIN + seconds * SECOND);
    }
    assert_eq!(scene.look(36), []);
    assert_eq!(scene.swept(&[answer(40, &["a1", "b1"], true)], true, BEGIN + 40 * SECOND), []);
    assert_eq!(scene.look(60), []);
}

#[test]
fn a_call_that_is_missing_twice_in_full_answers_is_dead() {
    let mut scene = Scene::new(&begun("a1", "b1"));
    let mut asked = |seconds, channels: &[&str], is_whole| {
        scene.swept(&[answer(seconds, channels, is_whole)], true, BEGIN + seconds * SECOND)
    };
    assert_eq!(asked(10, &["a1", "b1"], true), []);
    assert_eq!(asked(15, &["b1"], true), []);
    assert_eq!(asked(20, &["a1", "b1"], true), [], "it is there again");
    assert_eq!(asked(25, &["b1"], false), [], "an answer that is cut off proves nothing");
    assert_eq!(asked(30, &["b1"], true), []);
    assert_eq!(asked(35, &["b1"], true), [dead("leg/a1", "dead missing", 20.0)]);
}

#[test]
fn an_event_that_is_newer_than_the_answer_counts_more() {
    let mut scene = Scene::new(&begun("a1", "b1"));
    for seconds in [1, 2, 3, 4] {
        // Queried before the legs existed, answered late.
        assert_eq!(scene.swept(&[answer(seconds, &[], true)], true, BEGIN + 10 * SECOND), []);
    }
}

#[test]
fn the_longest_call_is_closed_as_timeout() {
    let mut scene = Scene::new(&begun("a1", "b1"));
    assert_eq!(scene.look(6), []);
    assert_eq!(scene.look(7199), []);
    let found = scene.look(7203);
    assert_eq!(
        found.iter().map(|(key, why, _)| (key.as_str(), why.as_str())).collect::<Vec<_>>(),
        [("leg/a1", "timeout max_call"), ("leg/b1", "timeout max_call")]
    );
}

#[test]
fn nobody_is_dead_while_the_inlet_is_away_nor_before_a_sweep_after_it_is_back() {
    let mut scene = Scene::new(&begun("a1", "b1"));
    scene.happens(&[disconnected("a1", 40)]);
    scene.look(41);
    scene.watchdog.inlet(false, BEGIN + 50 * SECOND);
    assert_eq!(scene.look(60), []);
    assert_eq!(scene.look(10_000), [], "not even for its age");
    scene.watchdog.inlet(true, BEGIN + 100 * SECOND);
    assert_eq!(scene.look(101), []);
    assert_eq!(scene.look(114), []);
    // The sweep shows that the call lives: only its events were missed.
    scene.happens(&[kazoo("CALL_UPDATE", "a1", 112.0)]);
    assert_eq!(scene.swept(&[answer(113, &["a1", "b1"], true)], true, BEGIN + 113 * SECOND), []);
    assert_eq!(scene.look(200), []);
}

/// If the clock is set, a suspected call stays suspected, or is declared dead a little early, with the last sign of its switch as its end.
#[test]
fn a_clock_that_jumps_moves_no_end() {
    for (seconds, dies) in [(-3600, false), (3600, true)] {
        let mut scene = Scene::new(&begun("a1", "b1"));
        scene.happens(&[disconnected("a1", 40)]);
        assert_eq!(scene.look(41), []);
        let found = scene.look_with(41, seconds);
        assert_eq!(found, if dies { vec![dead("leg/a1", "dead disconnected", 27.0)] } else { vec![] });
        assert_eq!(scene.look(56), [dead("leg/a1", "dead disconnected", 27.0)], "and it is set right again");
    }
}

/// A clock set ahead or back by a day, even from the start, makes no young call old, and no old one young.
#[test]
fn a_clock_that_is_set_closes_no_young_call() {
    for set in [86_400, -86_400] {
        let mut scene = Scene::new(&begun("a1", "b1"));
        assert_eq!(scene.look(60), []);
        assert_eq!(scene.look_with(120, set), []);
        assert_eq!(scene.look_with(7190, set), []);
        assert_eq!(scene.look_with(7300, set).len(), 2, "and what is old is old");
        let mut wrong = Scene::new(&begun("a1", "b1"));
        assert_eq!(wrong.look_with(120, set), [], "wrong from the start");
        wrong.happens(&[kazoo("CALL_UPDATE", "a2", 7195.0)]);
        assert_eq!(wrong.look_with(7195, set), []);
        wrong.happens(&[kazoo("CALL_UPDATE", "a2", 7202.0)]);
        assert_eq!(wrong.look_with(7202, set).len(), 2, "its switch tells the time");
    }
    // ERA's calls name no switch: the steady time here counts.
    let mut scene = Scene::new(&[era("invite", 0), era("dlg_start", 5)]);
    assert_eq!(scene.look(60), []);
    assert_eq!(scene.look_with(120, 86_400), []);
    assert_eq!(scene.look_with(7300, 86_400).len(), 1);
}

#[test]
fn a_death_is_declared_once_while_the_fold_is_behind() {
    let mut scene = Scene::new(&begun("a1", "b1"));
    scene.happens(&[disconnected("a1", 40)]);
    scene.look(41);
    let decided = scene.watchdog.look(&scene.state.index(), Moment::at(BEGIN + 56 * SECOND));
    assert_eq!(deaths(&decided), scene.look(57), "again, until the journal has taken it");
    scene.watchdog.declared(&decided, Moment::at(BEGIN + 57 * SECOND));
    assert_eq!(scene.look(58), []);
    assert_eq!(scene.look(357).len(), 1, "the journal may have lost it");
}

/// ecallmgr's timestamps are in whole seconds.
#[test]
fn a_doubt_in_the_second_of_the_last_event_counts() {
    let mut scene = Scene::new(&begun("a1", "b1"));
    scene.happens(&[kazoo("CALL_UPDATE", "a1", 40.5), disconnected("a1", 40)]);
    assert_eq!(scene.look(41), []);
    assert_eq!(scene.look(56), [dead("leg/a1", "dead disconnected", 40.5)]);
    let mut scene = Scene::new(&begun("a1", "b1"));
    scene.happens(&[disconnected("a1", 40), kazoo("CALL_UPDATE", "a1", 41.0)]);
    assert_eq!(scene.look(42), []);
    assert_eq!(scene.look(600), [], "an event of the next second ends it");
}

/// A tracker lists the calls of a dead switch for its grace period.
#[test]
fn the_end_is_at_most_ten_seconds_from_the_truth() {
    let answered = |scene: &mut Scene, until: i64| {
        for seconds in (20..=until).step_by(5) {
            scene.swept(&[answer(seconds, &["a1", "b1"], true)], true, BEGIN + seconds * SECOND);
        }
    };
    // The switch died at 22 s, which the tracker reported at 35 s; until then it listed the calls.
    let mut scene = Scene::new(&begun("a1", "b1"));
    answered(&mut scene, 30);
    scene.happens(&[disconnected("a1", 35)]);
    scene.look(36);
    assert_eq!(scene.look(51), [dead("leg/a1", "dead disconnected", 22.0)]);
    // The same with the report lost; or the tracker died together with the switch, between two sweeps.
    for (last, truth) in [(35, 22.0), (30, 35.0)] {
        let mut scene = Scene::new(&begun("a1", "b1"));
        answered(&mut scene, last);
        for sweep in 1..=3 {
            scene.swept(&[], true, BEGIN + (last + sweep * 5) * SECOND);
        }
        scene.look(last + 15);
        let found = scene.look(last + 60);
        assert_eq!(found.len(), 2, "{found:?}");
        assert!(found.iter().all(|(_, _, ended)| (ended - truth).abs() <= 10.0), "{found:?} and not {truth}");
    }
}

#[test]
fn era_dialogs_die_whole_and_their_legs_with_them() {
    let mut scene = Scene::new(&[era("invite", 0), era("dlg_start", 5), era("dlg_down", 40)]);
    assert_eq!(scene.look(41), []);
    let decided = scene.watchdog.look(&scene.state.index(), Moment::at(BEGIN + 60 * SECOND));
    assert_eq!(deaths(&decided), [dead("dialog/era-dialog", "dead disconnected", 27.0)]);
    let draft =
        callstore::decision::Decision { group: 0, epoch: 1, by: "x".into(), site: None, what: decided[0].clone() }
            .draft()
            .unwrap();
    let entry = callstore::journal::Entry { offset: scene.offset, taken: 0, body: draft.body, is_decision: true };
    scene.state.apply(&[entry], NOW).unwrap();
    for key in [Key::leg("era-a"), Key::leg("era-b"), Key::dialog("era-dialog")] {
        let standing = scene.state.item(&key).unwrap().unwrap().item.standing();
        assert_eq!(standing, callstore::fold::Standing::Dead, "{key:?}");
    }
    assert_eq!(scene.look(100_000), []);
}
