//! Each mutant violates the property that is named for it.

use driftless_model_tests::mutants::all;
use driftless_model_tests::report::is_caught;
use std::collections::BTreeSet;

#[test]
fn every_broken_rule_is_caught() {
    let mutants = all();
    let names: BTreeSet<&str> = mutants.iter().map(|mutant| mutant.name.as_str()).collect();
    assert_eq!(names.len(), mutants.len());
    assert!(mutants.len() >= 38, "{} mutants", mutants.len());
    for mutant in &mutants {
        let explored = mutant.setup.explore(1, |_| ());
        assert!(is_caught(mutant, &explored), "{} should fail {}: {explored:#?}", mutant.name, mutant.property);
    }
}

/// Under the bounds of each mutant, the unbroken rule violates nothing.
#[test]
fn every_rule_holds_under_the_bounds_of_its_mutant() {
    use driftless_model_tests::configurations::Setup;
    let mut seen: Vec<String> = Vec::new();
    for mutant in all() {
        let setup = match mutant.setup {
            Setup::Ownership(bounds, _) => Setup::Ownership(bounds, None),
            Setup::Writing(bounds, _) => Setup::Writing(bounds, None),
        };
        if seen.contains(&setup.bounds()) {
            continue;
        }
        seen.push(setup.bounds());
        let explored = setup.explore(1, |_| ());
        assert!(explored.violation.is_none(), "{}: {:#?}", mutant.name, explored.violation);
    }
}
