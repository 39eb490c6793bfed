//! Explores configurations with small bounds exhaustively. No rule may be violated, and the events
//! that the rules are made for must occur.

use driftless_model_tests::configurations::{Configuration, Setup, quick};
use driftless_model_tests::ownership::{self, Ownership};
use driftless_model_tests::writer::{self, Writing};
use stateright::{Checker, Model};

fn explore_all(configurations: impl Iterator<Item = Configuration>) -> usize {
    let mut states = 0;
    for Configuration { name, setup } in configurations {
        let explored = setup.explore(1, |_| ());
        assert!(explored.violation.is_none(), "{name}: {:#?}", explored.violation);
        assert!(explored.absent.is_empty(), "{name}: never occurs: {:?}", explored.absent);
        assert!(explored.states > 2_000, "{name}: only {} states were explored", explored.states);
        states += explored.states;
    }
    states
}

#[test]
fn r2_to_r6_hold_in_every_state_of_ownership() {
    let states = explore_all(quick().into_iter().filter(|c| matches!(c.setup, Setup::Ownership(..))));
    assert!(states > 75_000, "{states} states");
}

#[test]
fn r8_holds_in_every_state_of_writing() {
    let states = explore_all(quick().into_iter().filter(|c| matches!(c.setup, Setup::Writing(..))));
    assert!(states > 40_000, "{states} states");
}

/// An exploration that uses more threads, and so another order, must find the same number of
/// states. This shows that no exploration is cut short.
#[test]
fn exploring_in_another_order_finds_the_same_states() {
    fn counts<M>(model: impl Fn() -> M) -> [usize; 3]
    where
        M: Model + Send + Sync + 'static,
        M::State: Clone + std::hash::Hash + PartialEq + Send + Sync,
        M::Action: Clone + PartialEq,
    {
        [
            model().checker().spawn_bfs().join().unique_state_count(),
            model().checker().threads(2).spawn_bfs().join().unique_state_count(),
            model().checker().spawn_dfs().join().unique_state_count(),
        ]
    }
    let owners = || {
        let bounds = ownership::Bounds { in_flight: 1, snapshots: 1, ..ownership::Bounds::plain(&[0], 2) };
        Ownership::new(bounds, None)
    };
    let writing = || Writing::new(writer::Bounds { cancels: 1, ..writer::Bounds::plain(2, 1) }, None);
    for [one, two, depth_first] in [counts(owners), counts(writing)] {
        assert!(one > 400, "{one} states");
        assert_eq!([two, depth_first], [one, one]);
    }
}
