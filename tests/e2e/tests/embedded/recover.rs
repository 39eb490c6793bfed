//! A world that version 0.1.0 made, and a world whose log is lost, as an operator sees them.

use driftless_client::{Event, Outcome};
use driftless_e2e_tests::edits::{chunk, set};
use driftless_e2e_tests::process::{Ended, Env, arguments, run};
use driftless_e2e_tests::proxy::Proxy;
use driftless_e2e_tests::stack::{Dev, Stack as _};
use driftless_e2e_tests::wait::{eventually, soon};
use driftless_schemas::Version;
use driftless_schemas::world::{StoredWorld, WorldSpec};
use driftless_testbed::RunDir;
use serde_json::Value;

/// Makes one edit, and returns its version.
async fn edit(dev: &Dev, user: &str, cell: u32) -> Version {
    let (_client, replica) = dev.entrance().follower(user, &chunk("canvas/0/0")).await;
    match soon("a commit", replica.submit(set(cell, 7)).unwrap()).await {
        Outcome::Committed { version: Some(version) } => version,
        other => panic!("{other:?}"),
    }
}

/// Deletes the log of a `dev` that is not running.
fn lose_log(dev: &Dev) {
    for file in ["log.db", "log.db-wal", "log.db-shm"] {
        let _ = std::fs::remove_file(dev.data().join(file));
    }
}

/// Runs `driftless recover` on the data folder.
async fn recover(dev: &Dev, what: &str, flags: &[&str]) -> Ended {
    let data = dev.data().display().to_string();
    run(&arguments(&[&["recover", what, "--data", &data], flags].concat()), &Env::new()).await
}

/// The id in a data folder's `world.json`.
fn id_of(dev: &Dev) -> Option<Value> {
    let text = std::fs::read_to_string(dev.data().join("store/world.json")).unwrap();
    serde_json::from_str::<Value>(&text).unwrap()["spec"].get("id").cloned()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_world_that_version_0_1_0_made_is_edited_and_gets_an_id_on_request() {
    let folder = RunDir::new("old").unwrap();
    let data = folder.path().join("data");
    std::fs::create_dir_all(data.join("store")).unwrap();
    let old = StoredWorld { revision: 1, spec: WorldSpec::dev(), id: None };
    std::fs::write(data.join("store/world.json"), serde_json::to_string(&old).unwrap()).unwrap();
    let mut dev = Dev::in_folder(data.clone()).await;
    assert_eq!(edit(&dev, "ann", 1).await, Version(1));
    dev.stop().await;
    dev.start().await;
    assert_eq!(edit(&dev, "ann", 2).await, Version(2));
    assert_eq!(id_of(&dev), None, "nothing but --update gives it an id");
    dev.stop().await;

    let mut dev = Dev::in_folder_with(data, &["--update"]).await;
    let id = id_of(&dev).expect("it has an id");
    assert_eq!(edit(&dev, "ann", 3).await, Version(3));
    dev.stop().await;
    dev.start().await;
    assert_eq!(edit(&dev, "ann", 4).await, Version(4));
    assert_eq!(id_of(&dev), Some(id), "a world keeps its id");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lost_log_is_planned_and_accepted_and_edits_go_on() {
    let mut dev = Dev::embedded().await;
    for cell in 0..3 {
        edit(&dev, "ann", cell).await;
    }
    dev.stop().await;
    lose_log(&dev);
    let data = dev.data().display().to_string();
    let started = run(&arguments(&["dev", "--data", &data, "--http", "127.0.0.1:0"]), &Env::new()).await;
    assert!(!started.status.success() && started.error.contains("driftless recover plan"), "{started:?}");

    let plan = recover(&dev, "plan", &["--json"]).await;
    let unsound: Vec<Value> = plan.output.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!((plan.status.success(), unsound.len()), (false, 12), "{plan:?}");
    let lost = unsound.iter().filter(|partition| partition["updates"]["state"] == "another").count();
    assert!(lost > 0 && plan.error.contains("driftless recover apply"), "{plan:?}");
    let again = recover(&dev, "plan", &["--json"]).await;
    assert_eq!(again.output, plan.output, "a plan changes nothing");
    let applied = recover(&dev, "apply", &[]).await;
    assert!(applied.status.success() && applied.output.contains(" begins; commands are decided"), "{applied:?}");
    let sound = recover(&dev, "plan", &[]).await;
    assert!(sound.status.success() && sound.output.contains("nothing is lost"), "{sound:?}");

    dev.start().await;
    let first = edit(&dev, "bob", 9).await;
    assert_eq!(edit(&dev, "bob", 8).await, first.next());
    dev.stop().await;
    dev.start().await;
    assert_eq!(edit(&dev, "bob", 7).await, first.next().next());
}

fn is_change(event: &Event) -> bool {
    matches!(event, Event::HistoryChanged { history: Some(_), .. })
}

/// The client holds versions that are gone. Without histories, the gateway would send it away again
/// and again, and its next command would be out of order for ever.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r12_a_client_that_holds_lost_versions_is_told_once_and_goes_on() {
    let mut dev = Dev::embedded().await;
    let (client, replica) = dev.entrance().follower("ann", &chunk("canvas/0/0")).await;
    for cell in 0..3 {
        soon("a commit", replica.submit(set(cell, 7)).unwrap()).await;
    }
    let held = replica.version().unwrap();
    let mut events = client.events();
    // A command that reaches ingest before a gateway has named the new history counts as sent, and
    // ends as unknown. So ingest is out of reach until the client knows of the new history.
    dev.entrance().ingests.iter().for_each(Proxy::close);
    eventually("ingest to be away", || async { (!client.status().is_ingest_up).then_some(()).ok_or(client.status()) })
        .await;
    let offline = replica.submit(set(9, 9)).unwrap();
    dev.stop().await;
    lose_log(&dev);
    let applied = recover(&dev, "apply", &[]).await;
    assert!(applied.status.success(), "{applied:?}");
    dev.start().await;
    let mut changes = 0;
    while changes == 0 {
        changes += usize::from(is_change(&soon("the change", events.recv()).await.unwrap()));
    }
    dev.entrance().ingests.iter().for_each(Proxy::open);
    let Outcome::Committed { version: Some(version) } = soon("the edit that was never sent", offline).await else {
        panic!("it is submitted in the new history")
    };
    assert!(version <= held, "{version} of the new history, {held} of the old one");
    let next = soon("a later edit", replica.submit(set(8, 8)).unwrap()).await;
    assert_eq!(next, Outcome::Committed { version: Some(version.next()) });
    changes += std::iter::from_fn(|| events.try_recv().ok()).filter(is_change).count();
    assert_eq!(changes, 1, "the change is reported once");
}
