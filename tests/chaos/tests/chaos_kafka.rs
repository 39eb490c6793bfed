//! The short version of `cargo xtask chaos`. Every kind of fault happens once, with real processes,
//! one Kafka broker and an S3 server. The test waits for conditions and never for a time. After
//! each fault, another process must take over, or the same process must continue after its return.

use anyhow::Result;
use driftless_chaos::cluster::{Cluster, KafkaChoice, Options};
use driftless_chaos::plan::{Fault, Kind, Target};
use driftless_chaos::report::Report;
use driftless_chaos::story::{Studio, conclude};
use driftless_chaos::{checker, strike};
use driftless_e2e_tests::wait::{is_quick, say};
use driftless_testbed::{RunDir, shared_kafka};
use std::path::PathBuf;
use std::time::Duration;

const SEED: u64 = 1;
/// The number of versions that every chunk must gain after a fault.
const STEPS: u64 = 3;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r2_r8_r10_kills_zombies_and_outages_lose_and_double_nothing() {
    if is_quick() {
        say("left out: it needs Apache Kafka and S3 (DRIFTLESS_TEST_QUICK=1)");
        return;
    }
    let python = checker::python();
    let folder = RunDir::new("chaos").unwrap();
    let options = Options {
        dir: folder.path().to_owned(),
        program: PathBuf::from(env!("CARGO_BIN_EXE_driftless-under-chaos")),
        services: 2,
        kafka: kafka(),
        partitions: 3,
        shim: None,
    };
    let cluster = Cluster::start(options).await.unwrap();
    let studio = Studio::open(&cluster, 4, SEED).await.unwrap();
    let mut report = Report { seed: SEED, folder: folder.path().to_owned(), ..Report::default() };
    let told = async {
        story(&cluster, &studio).await?;
        conclude(&cluster, studio, &python, folder.path(), &mut report).await
    };
    tokio::select! {
        told = told => told.unwrap(),
        failed = cluster.supervise() => panic!("{failed:#}"),
    }
    say(&report.table());
    assert!(report.is_ok(), "{}\n{}", report.table(), faults(&folder));
    assert!(report.edits.committed > 0 && report.edits.discarded > 0, "{}", report.table());
    // If the run did not start Kafka, there are no gates that hold appends.
    if matches!(kafka(), KafkaChoice::Own(_)) {
        assert!(report.log.invalid > 0, "no zombie wrote: {}", report.table());
    }
    // Each partition had an owner before, during and after the pause, so there are more than three
    // fences.
    assert!(report.log.fences > 3, "{}", report.table());
}

/// A Kafka with one node that the run starts, or the Kafka that `DRIFTLESS_TEST_BROKERS` names.
fn kafka() -> KafkaChoice {
    let runs = std::env::var("DRIFTLESS_TEST_BROKERS").is_ok_and(|brokers| !brokers.is_empty());
    if runs { KafkaChoice::At(shared_kafka().unwrap().to_owned()) } else { KafkaChoice::Own(1) }
}

/// Causes the faults one by one. Each is over or healed when the next begins.
async fn story(cluster: &Cluster, studio: &Studio) -> Result<()> {
    studio.moves_on(STEPS).await?;

    // First the zombies. The other replayer takes over, then the held appends of the first one
    // arrive, and then the first one wakes up and believes that it still owns its partitions.
    for number in 0..2 {
        let mut replayer = cluster.service(Kind::Replayer, number)?.lock().await;
        cluster.journal.fault("replayer", &replayer.name, Fault::Zombie, "until all chunks go on without it");
        strike::become_a_zombie(&mut replayer).await?;
        studio.moves_on(STEPS).await?;
        strike::wake_up(&mut replayer)?;
        drop(replayer);
        studio.moves_on(STEPS).await?;
    }

    // The store is away. Snapshots of decided commands must wait, and the partitions of a killed
    // owner have no owner until the store is back.
    cluster.journal.fault("s3", "s3", Fault::Refuse, "while edits go on");
    cluster.store.refuse();
    studio.moves_on(STEPS).await?;
    {
        let mut replayer = cluster.service(Kind::Replayer, 0)?.lock().await;
        cluster.journal.fault("replayer", &replayer.name, Fault::Kill, "during the outage");
        replayer.kill()?;
        cluster.store.open();
        replayer.start(&cluster.journal).await?;
    }
    studio.moves_on(STEPS).await?;

    for (kind, fault) in [
        (Kind::Gateway, Fault::Kill),
        (Kind::Ingest, Fault::Kill),
        (Kind::Ingest, Fault::Terminate),
        (Kind::Gateway, Fault::Terminate),
        (Kind::Replayer, Fault::Terminate),
    ] {
        for number in 0..2 {
            let planned = strike::of(fault, Duration::ZERO);
            let target = Target::Service(kind, number);
            strike::one(cluster, target, planned).await?;
            studio.moves_on(1).await?;
        }
    }
    for (name, gate) in cluster.gates() {
        cluster.journal.fault("clients", &name, Fault::Cut, "once");
        gate.cut();
    }
    studio.moves_on(STEPS).await
}

fn faults(folder: &RunDir) -> String {
    std::fs::read_to_string(folder.path().join("faults.log")).unwrap_or_default()
}
