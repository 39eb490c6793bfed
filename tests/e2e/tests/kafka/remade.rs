//! The topics of a world are deleted and made anew under running services.

use driftless_client::{Event, Outcome};
use driftless_e2e_tests::edits::{chunk, set};
use driftless_e2e_tests::process::{arguments, run};
use driftless_e2e_tests::stack::{Apart, Stack as _};
use driftless_e2e_tests::wait::{eventually, soon};
use driftless_log::Log as _;
use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions};
use rdkafka::client::DefaultClientContext;

/// Deletes the topics `commands` and `updates`, and lets `driftless init` make them anew.
async fn remake_topics(stack: &Apart) {
    let admin: AdminClient<DefaultClientContext> =
        ClientConfig::new().set("bootstrap.servers", &stack.deployment().brokers).create().unwrap();
    let topics = stack.entrance().world.topics().clone();
    let names = [&*topics.commands, &*topics.updates];
    for deleted in admin.delete_topics(&names, &AdminOptions::new()).await.unwrap() {
        deleted.unwrap();
    }
    let log = stack.log();
    eventually("topics that are gone", || async {
        for name in names {
            if log.partitions(name).await.map_err(|e| e.to_string())?.is_some() {
                return Err(format!("{name} is there"));
            }
        }
        Ok(())
    })
    .await;
    stack.deployment().init().await;
}

/// The services notice it, and no replayer decides anything before an operator has accepted the
/// loss. Then a client that held a version of the lost log is told once, and edits go on.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn topics_that_are_made_anew_are_noticed_and_edits_go_on_once_an_operator_has_accepted_that() {
    if super::is_left_out() {
        return;
    }
    // The index must know the log: without a checkpoint, nothing but the gateways remembers it.
    let frequent =
        "[replayer.core]\nsnapshot_max_age_ms = 300\nsnapshot_min_interval_ms = 100\ncheckpoint_interval_ms = 100\n";
    let mut stack = Apart::with(frequent).await;
    let id = chunk("canvas/0/0");
    let (client, replica) = stack.entrance().follower("ann", &id).await;
    for i in 0..40 {
        let outcome = soon("a commit", replica.submit(set(i, 1)).unwrap()).await;
        assert!(matches!(outcome, Outcome::Committed { .. }), "{outcome:?}");
    }
    eventually("a checkpoint behind the edits", || async {
        let mut all = arguments(&["recover", "plan", "--json"]);
        all.extend(stack.deployment().flags());
        let planned = run(&all, &stack.deployment().env).await;
        tokio::time::sleep(std::time::Duration::from_secs(2)).await;
        planned.status.success().then_some(()).ok_or(planned.error)
    })
    .await;
    let mut events = client.events();
    remake_topics(&stack).await;
    let lost = replica.submit(set(50, 5)).unwrap();
    stack.logged("replayer", "no owner decides").await;

    // It may go on running, but then its next try can be a minute away.
    stack.stop("replayer").await;
    let mut all = arguments(&["recover", "apply"]);
    all.extend(stack.deployment().flags());
    let applied = run(&all, &stack.deployment().env).await;
    assert!(applied.status.success() && applied.output.contains(" begins; commands are decided"), "{applied:?}");
    stack.restart("replayer").await;
    // What was in flight is committed in the new history, or its outcome is unknown; it is never
    // told as committed and then lost.
    let outcome = soon("the outcome of the edit in flight", lost).await;
    assert!(matches!(outcome, Outcome::Committed { .. } | Outcome::Unknown { .. }), "{outcome:?}");
    let next = soon("a later edit", replica.submit(set(51, 5)).unwrap()).await;
    assert!(matches!(next, Outcome::Committed { version: Some(_) }), "{next:?}");
    let changes = std::iter::from_fn(|| events.try_recv().ok())
        .filter(|event| matches!(event, Event::HistoryChanged { .. }))
        .count();
    // `updates` is lost, and `commands` is another topic: each begins a history.
    assert!((1..=2).contains(&changes), "{changes} changes are reported");
}
