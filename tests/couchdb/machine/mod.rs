//! Generated sequences of requests, to CouchDB directly and to a gateway that keeps attachments outside: a client must not be able to tell them
//! apart. A difference is shrunk to the shortest sequence that shows it.
//!
//! Also with a storage that goes down and comes back: CouchDB keeps what the storage cannot take, clients see no difference, and in the end
//! everything is in the storage. Requests for bytes that only the storage has may fail meanwhile.
//!
//! `PROPTEST_CASES` sets the number of sequences; `./test --long` runs twenty times as many.

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

/// The number of sequences per test.
const SEQUENCES: u32 = 100;

/// The number of sequences with outages, which are slow because of silent storages.
const OUTAGES: u32 = 10;

/// The maximum length of a sequence.
const STEPS: usize = 40;

/// The reference state of a sequence: empty, since the documents are learned from the direct side while it runs.
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

/// A sequence with a storage that goes down and comes back.
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
    // If timing matters, `./test` uses fixed sequences, and `./test --long` random ones.
    let is_fixed = TypeId::of::<M>() == TypeId::of::<InOutages>()
        && !stowage_testing::is_long()
        && std::env::var_os("PROPTEST_CASES").is_none();
    let mut runner = if is_fixed {
        TestRunner::new_with_rng(config, TestRng::deterministic_rng(RngAlgorithm::ChaCha))
    } else {
        TestRunner::new(config)
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
