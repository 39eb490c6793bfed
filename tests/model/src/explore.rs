//! Runs a model through stateright's breadth-first search, to the end.
//!
//! A run without a violation is exhaustive: no target, depth or time limit is set, no property is found violated, so that a
//! checker's thread can only end when no state is left (`stateright/src/checker/bfs.rs`), and all threads are joined.
//! `eventually` is not used: stateright checks it on acyclic paths only.

use stateright::{Checker, Expectation, HasDiscoveries, Model};
use std::fmt::Debug;
use std::hash::Hash;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// Lets only the first violation that is found be reported: stateright would replace it by later ones, which have longer
/// traces. With one thread it is one of the shortest.
#[derive(Debug, Default)]
pub struct First(AtomicBool);

impl First {
    pub fn claim(&self) -> bool {
        !self.0.swap(true, Ordering::Relaxed)
    }
}

/// What an exploration found.
#[derive(Clone, Debug)]
pub struct Explored {
    /// Different states.
    pub states: usize,
    /// States made, repeats included: steps looked at.
    pub steps: usize,
    /// Of the longest of the shortest paths; with several threads it may be a little more.
    pub depth: usize,
    pub took: Duration,
    pub violation: Option<Violation>,
    /// What should occur somewhere and does not.
    pub absent: Vec<&'static str>,
}

#[derive(Clone, Debug)]
pub struct Violation {
    pub property: &'static str,
    /// The steps that lead there, one a line.
    pub trace: Vec<String>,
}

impl Explored {
    /// All states were visited, nothing is violated, and what makes the rules matter did occur.
    pub fn is_ok(&self) -> bool {
        self.violation.is_none() && self.absent.is_empty()
    }
}

/// Explores all of a model, or stops soon after the first violation. `progress` gets the states found so far, twice a
/// second.
pub fn explore<M>(model: M, threads: usize, mut progress: impl FnMut(usize)) -> Explored
where
    M: Model + Send + Sync + 'static,
    M::State: Clone + Hash + PartialEq + Send + Sync,
    M::Action: Clone + Debug + PartialEq,
{
    let start = Instant::now();
    let properties: Vec<_> = model.properties().into_iter().map(|p| (p.name, p.expectation)).collect();
    let mut checker = model.checker().threads(threads).finish_when(HasDiscoveries::AnyFailures).spawn_bfs();
    let handles = checker.handles();
    let mut told = start;
    while handles.iter().any(|handle| !handle.is_finished()) {
        std::thread::sleep(Duration::from_millis(5));
        if told.elapsed() >= Duration::from_millis(500) {
            told = Instant::now();
            progress(checker.unique_state_count());
        }
    }
    for handle in handles {
        if let Err(panic) = handle.join() {
            std::panic::resume_unwind(panic);
        }
    }
    let took = start.elapsed();
    let mut discoveries = checker.discoveries();
    let mut violation = None;
    let mut absent = Vec::new();
    for (name, expectation) in properties {
        match (expectation, discoveries.remove(name)) {
            (Expectation::Sometimes, None) => absent.push(name),
            (Expectation::Sometimes, Some(_)) | (_, None) => {}
            (_, Some(path)) => {
                let trace = path.into_actions().iter().map(|action| format!("{action:?}")).collect();
                violation = Some(Violation { property: name, trace });
            }
        }
    }
    Explored {
        states: checker.unique_state_count(),
        steps: checker.state_count(),
        depth: checker.max_depth(),
        took,
        violation,
        absent,
    }
}
