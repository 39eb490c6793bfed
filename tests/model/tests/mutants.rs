//! Every rule that is broken is missed, by the property that is there for it.

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

/// The bounds under which a mutant fails are no reason for it to fail.
#[test]
fn the_rule_itself_holds_where_its_mutant_fails() {
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
