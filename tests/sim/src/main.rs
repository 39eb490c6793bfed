use driftless_chunk::mutant::Mutant;
use std::collections::BTreeMap;
fn main() {
    let mut args = std::env::args().skip(1);
    let first: u64 = args.next().and_then(|a| a.parse().ok()).unwrap_or(0);
    let count: u64 = args.next().and_then(|a| a.parse().ok()).unwrap_or(100);
    let mutants = args.next().is_some();
    std::panic::set_hook(Box::new(|_| {}));
    if mutants {
        for m in Mutant::ALL {
            let mut found = None;
            let start = std::time::Instant::now();
            driftless_sim::seeds::run_many(
                first,
                2,
                Some(m),
                |seed| seed < first + count,
                |report| {
                    if report.violation.is_some() && found.is_none() {
                        found = Some(report);
                    }
                },
            );
            match found {
                Some(r) => println!(
                    "{m:?}: seed {} {} {:?}",
                    r.seed,
                    r.violation.unwrap().to_string().chars().take(150).collect::<String>(),
                    start.elapsed()
                ),
                None => println!("{m:?}: SURVIVED {:?}", start.elapsed()),
            }
        }
        return;
    }
    let (mut edits, mut steps, mut n, mut faults, mut outcomes) = (0, 0, 0, BTreeMap::new(), [0u64; 5]);
    let mut seen = driftless_sim::oracle::Seen::default();
    let start = std::time::Instant::now();
    driftless_sim::seeds::run_many(
        first,
        2,
        None,
        |seed| seed < first + count,
        |report| {
            n += 1;
            edits += report.edits;
            steps += report.steps;
            for (k, v) in &report.faults {
                *faults.entry(k.name()).or_insert(0) += v;
            }
            for i in 0..5 {
                outcomes[i] += report.outcomes[i];
            }
            seen.committed += report.seen.committed;
            seen.discarded += report.seen.discarded;
            seen.out_of_order += report.seen.out_of_order;
            seen.expired += report.seen.expired;
            seen.resends += report.seen.resends;
            seen.invalid += report.seen.invalid;
            seen.refs += report.seen.refs;
            seen.checkpoints += report.seen.checkpoints;
            seen.frames += report.seen.frames;
            if let Some(violation) = &report.violation {
                println!("seed {}: {violation} after {} steps", report.seed, report.steps);
            }
        },
    );
    println!("{n} seeds, {edits} edits, {steps} steps, {:?}\n{faults:?}\n{outcomes:?}\n{seen:?}", start.elapsed());
}
