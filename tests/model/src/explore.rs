//! Explores a model with stateright's breadth-first search.
//!
//! A run that finds no violation has visited every state. The run sets no target, depth or time
//! limit, so a thread of stateright's breadth-first checker ends only when no state is left.
//! `explore` joins all threads. The models do not use stateright's `eventually`, because stateright
//! checks it only on paths without cycles.

use stateright::{Checker, Expectation, HasDiscoveries, Model};
use std::fmt::Debug;
use std::hash::Hash;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// Reports only the first violation. stateright would replace the first violation by later ones,
/// whose traces are longer. With one thread, the first trace is one of the shortest.
#[derive(Debug, Default)]
pub struct First(AtomicBool);

impl First {
    pub fn claim(&self) -> bool {
        !self.0.swap(true, Ordering::Relaxed)
    }
}

/// The result of an exploration.
#[derive(Clone, Debug)]
pub struct Explored {
    /// The number of distinct states.
    pub states: usize,
    /// The number of steps taken. Each step makes a state, which may have been seen before.
    pub steps: usize,
    /// The number of steps on the longest of the traces by which the search reached states. With
    /// several threads this may be a little more than necessary.
    pub depth: usize,
    pub took: Duration,
    pub violation: Option<Violation>,
    /// Events that must occur in some state and that occurred in none.
    pub absent: Vec<&'static str>,
}

#[derive(Clone, Debug)]
pub struct Violation {
    pub property: &'static str,
    /// The steps that lead to the violation, one a line.
    pub trace: Vec<String>,
}

impl Explored {
    /// True if no property is violated and every expected event occurred in some state.
    pub fn is_ok(&self) -> bool {
        self.violation.is_none() && self.absent.is_empty()
    }
}

/// Explores all states of a model, or stops soon after the first violation. `progress` gets the
/// number of states found so far, twice a second.
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
    let mut reported = start;
    while handles.iter().any(|handle| !handle.is_finished()) {
        std::thread::sleep(Duration::from_millis(5));
        if reported.elapsed() >= Duration::from_millis(500) {
            reported = Instant::now();
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
