//! Generated sequences of requests to a CouchDB directly, and to a gateway that keeps attachments elsewhere: a client must not be
//! able to tell which is which. A difference is shrunk to the shortest sequence that shows it.
//!
//! The same while the storage goes down and comes back: CouchDB keeps what it cannot take, clients see no difference, and in the end
//! everything is in the storage. What needs bytes that only the storage has may fail meanwhile.
//!
//! `PROPTEST_CASES` says how many sequences there are; in `./test --long` there are twenty times as many.

#![expect(clippy::result_large_err, reason = "the error type of the property tests is proptest's own")]

mod compare;
mod features;
mod memory;
mod operation;
mod outages;
mod queries;
mod request;
mod run;
mod shown;

use std::any::TypeId;
use std::sync::atomic::Ordering;

use proptest::prelude::*;
use proptest::test_runner::{Config, RngAlgorithm, TestError, TestRng, TestRunner};
use proptest_state_machine::ReferenceStateMachine;

use operation::Operation;
use run::World;

/// How many sequences each of the tests runs.
const SEQUENCES: u32 = 100;

/// How many there are with outages: a storage that is silent costs time.
const OUTAGES: u32 = 10;

/// The longest sequence.
const STEPS: usize = 40;

/// All that a sequence has to know: what the documents are like is learnt while it runs, from the side without the gateway.
struct Client;

impl ReferenceStateMachine for Client {
    type State = ();
    type Transition = Operation;

    fn init_state() -> BoxedStrategy<()> {
        Just(()).boxed()
    }

    fn transitions((): &()) -> BoxedStrategy<Operation> {
        operation::any()
    }

    fn apply((): (), _: &Operation) {}
}

/// The same, with a storage that goes down and comes back.
struct InOutages;

impl ReferenceStateMachine for InOutages {
    type State = ();
    type Transition = Operation;

    fn init_state() -> BoxedStrategy<()> {
        Just(()).boxed()
    }

    fn transitions((): &()) -> BoxedStrategy<Operation> {
        outages::any_in_outages()
    }

    fn apply((): (), _: &Operation) {}
}

#[test]
fn a_gateway_answers_as_couchdb_does() {
    check::<Client>(SEQUENCES, World::start());
}

#[test]
fn a_second_crowd_of_sequences_for_the_second_core() {
    check::<Client>(SEQUENCES, World::start());
}

#[test]
fn a_gateway_answers_as_couchdb_does_although_its_storage_goes_down() {
    check::<InOutages>(OUTAGES, World::with_outages("couchdb", 0));
}

#[test]
fn a_gateway_with_a_breaker_answers_as_couchdb_does_although_its_storage_goes_down() {
    check::<InOutages>(OUTAGES, World::with_outages("couchdb", 3));
}

#[test]
fn a_gateway_that_must_not_use_couchdb_refuses_what_its_storage_cannot_take_and_nothing_else() {
    check::<InOutages>(OUTAGES, World::with_outages("refuse", 3));
}

fn check<M: ReferenceStateMachine<State = (), Transition = Operation> + 'static>(
    sequences: u32,
    world: impl Future<Output = World>,
) where
    M::Transition: 'static,
{
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let world = runtime.block_on(world);
    let cases = std::env::var("PROPTEST_CASES").ok().and_then(|text| text.parse().ok());
    let cases = cases.unwrap_or_else(|| if stowage_testing::is_long() { 20 * sequences } else { sequences });
    let config = Config {
        cases,
        max_shrink_iters: 2000,
        max_shrink_time: 120_000,
        failure_persistence: None,
        ..Config::default()
    };
    let strategy = M::sequential_strategy(1..STEPS);
    // Where time has a part in what happens, `./test` goes the same way each time, and `./test --long` others.
    let is_fixed = TypeId::of::<M>() == TypeId::of::<InOutages>()
        && !stowage_testing::is_long()
        && std::env::var_os("PROPTEST_CASES").is_none();
    let mut runner = match is_fixed {
        true => TestRunner::new_with_rng(config, TestRng::deterministic_rng(RngAlgorithm::ChaCha)),
        false => TestRunner::new(config),
    };
    let outcome = runner.run(&strategy, |((), operations, seen)| {
        let count = || {
            if let Some(seen) = &seen {
                seen.fetch_add(1, Ordering::SeqCst);
            }
        };
        runtime.block_on(world.run(&operations, count)).map_err(TestCaseError::fail)
    });
    match outcome {
        Ok(()) => runtime.block_on(world.stop()),
        Err(TestError::Fail(difference, _)) => panic!("the gateway differs:\n{difference}"),
        Err(TestError::Abort(why)) => panic!("{why}"),
    }
}
