//! A process that cannot start must say what is wrong, where, and how to mend it.

use driftless_e2e_tests::edits::chunk;
use driftless_e2e_tests::process::{Env, arguments, run};
use driftless_e2e_tests::scenarios;
use driftless_e2e_tests::stack::{Dev, Stack as _, world_file};
use driftless_schemas::world::WorldSpec;
use driftless_testbed::RunDir;
use std::net::TcpListener;

/// Runs the program, which must fail and print all texts in `says`.
async fn fails(list: &[&str], says: &[&str]) {
    let ended = run(&arguments(list), &Env::new()).await;
    assert!(!ended.status.success(), "{list:?} did not fail: {ended:?}");
    let error =
        ended.error.lines().find(|line| line.starts_with("error: ")).unwrap_or_else(|| panic!("{list:?}: {ended:?}"));
    for word in says {
        assert!(ended.error.contains(word), "{list:?}: nothing of {word:?} in: {error}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_world_that_differs_from_the_stored_one_is_named_by_file_key_and_both_values() {
    let mut dev = Dev::embedded().await;
    dev.stop().await;
    let folder = RunDir::new("worlds").unwrap();
    let mut spec = WorldSpec::dev();
    spec.families[0].bounds = 77;
    let file = world_file(folder.path(), &spec).display().to_string();
    let data = dev.data().display().to_string();
    let flags = ["dev", "--data", &data, "--http", "127.0.0.1:0", "--world", &file];
    fails(&flags, &[&file, "world.json", "family[0].bounds is 77 here, and 1024 there", "driftless init --update"])
        .await;
    // The failed attempt must not have changed anything, so a normal start works.
    dev.start().await;
    dev.stop().await;

    // The same log is started with a world that has another partition count (R1).
    std::fs::remove_dir_all(dev.data().join("store")).unwrap();
    let file = world_file(folder.path(), &WorldSpec { partitions: 5, ..WorldSpec::dev() }).display().to_string();
    let flags = ["dev", "--data", &data, "--http", "127.0.0.1:0", "--world", &file];
    fails(&flags, &["dev.1.commands", "12 partitions", "5", "log.db", "start a new generation"]).await;
    // The log belongs to a world that this store does not know.
    let flags = ["dev", "--data", &data, "--http", "127.0.0.1:0"];
    fails(&flags, &["dev.1.commands", "log.db", "world.json", &data, "--store", "--fresh"]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_port_in_use_is_named_before_anything_else_happens() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let folder = RunDir::new("port").unwrap();
    let data = folder.path().join("data");
    fails(&["dev", "--data", &data.display().to_string(), "--http", &address], &[&address, "--http"]).await;
    assert!(!data.join("log.db").exists());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn plain_text_that_others_can_reach_is_refused_with_both_ways_out() {
    let folder = RunDir::new("plain").unwrap();
    let data = folder.path().join("data");
    let says = ["0.0.0.0:0", "--tls-cert", "--tls-key", "--insecure"];
    fails(&["dev", "--data", &data.display().to_string(), "--http", "0.0.0.0:0"], &says).await;
    assert!(!data.exists());
    let key = folder.path().join("key").display().to_string();
    for service in ["ingest", "gateway"] {
        fails(&[service, "--http", "0.0.0.0:0", "--store", "file:///nowhere", "--key-file", &key], &says).await;
    }
    let half = ["dev", "--data", &data.display().to_string(), "--tls-cert", "cert.pem"];
    fails(&half, &["--tls-key"]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_data_folder_in_use_is_named_and_left_alone() {
    let mut dev = Dev::embedded().await;
    let id = chunk("canvas/0/0");
    scenarios::burst_commits_in_order(dev.entrance(), &id, "ann").await;
    let data = dev.data().display().to_string();
    let flags = ["dev", "--data", &data, "--http", "127.0.0.1:0"];
    for more in [&[][..], &["--fresh"], &["--fresh", "--kafka"], &["--fresh", "--brokers", "127.0.0.1:1"]] {
        fails(&[&flags[..], more].concat(), &[&data, "in use", "--data"]).await;
    }
    assert!(dev.data().join("store/world.json").exists() && dev.data().join("dev.key").exists());
    // A killed process does not keep the folder locked, and every acknowledged command is still
    // there.
    dev.kill();
    dev.start().await;
    let (_client, replica) = dev.entrance().follower("bob", &id).await;
    dev.entrance().converge(50, &[&replica]).await;
    scenarios::burst_is_in_the_log(&mut dev, &id, "ann").await;
}

/// A store refers to offsets of one log, so a folder with another log must be refused.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_data_folder_of_another_log_is_refused_before_anything_starts() {
    let mut dev = Dev::embedded().await;
    dev.stop().await;
    let data = dev.data().display().to_string();
    let flags = ["dev", "--data", &data, "--http", "127.0.0.1:0"];
    for other in [&["--kafka"][..], &["--brokers", "127.0.0.1:1"]] {
        let said = [&data[..], "belongs to the embedded log", "--data", "--fresh"];
        fails(&[&flags[..], other].concat(), &said).await;
    }
    assert!(!dev.data().join("kafka").exists(), "nothing was started");
    dev.start().await;
    dev.stop().await;
}

/// If recovery cannot read a partition, `driftless dev` ends. It ends long before the time limit
/// for becoming ready.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replayer_that_cannot_recover_a_partition_says_why() {
    let mut dev = Dev::embedded().await;
    scenarios::burst_commits_in_order(dev.entrance(), &chunk("canvas/0/0"), "ann").await;
    dev.stop().await;
    let data = dev.data();
    // The store refers to offsets that a new log does not have.
    for name in ["log.db", "log.db-wal", "log.db-shm"] {
        let _ = std::fs::remove_file(data.join(name));
    }
    let data = data.display().to_string();
    let flags = ["dev", "--data", &data, "--http", "127.0.0.1:0"];
    fails(&flags, &["error: the replayer cannot decide: ", "ERROR", "driftless recover plan"]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_missing_key_world_or_argument_is_named_with_the_way_out() {
    let folder = RunDir::new("keys").unwrap();
    let store = format!("file://{}", folder.path().join("store").display());
    let nobody = ["--brokers", "127.0.0.1:1", "--store", &store];
    let with = |first: &[&str]| -> Vec<String> { [arguments(first), arguments(&nobody)].concat() };
    let check = async |first: &[&str], says: &[&str]| {
        let all = with(first);
        fails(&all.iter().map(String::as_str).collect::<Vec<_>>(), says).await;
    };
    for service in ["ingest", "gateway"] {
        check(&[service], &["--key-file", "driftless token --new-key"]).await;
        let missing = folder.path().join("no.key").display().to_string();
        check(&[service, "--key-file", &missing], &[&missing]).await;
    }
    check(&["replayer"], &["no world in", &store, "driftless init"]).await;
    check(&["init"], &["--world"]).await;
    let bad = folder.path().join("bad.toml");
    std::fs::write(&bad, "name = \"Town\"\npartitions = 4\n[[family]]\nname = \"a\"\nmodel = \"grid\"\nbounds = 1\n")
        .unwrap();
    let bad = bad.display().to_string();
    check(&["init", "--world", &bad], &[&bad, "name = \"Town\"", "lower-case"]).await;
    let config = folder.path().join("driftless.toml");
    std::fs::write(&config, "[replayer]\nmembre = \"a\"\n").unwrap();
    let config = config.display().to_string();
    check(&["replayer", "--config", &config], &[&config, "membre"]).await;
    fails(&["token", "--sub", "ann"], &["--key-file"]).await;
}

/// The error of each service names the brokers that do not answer.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broker_that_is_not_there_is_named() {
    let folder = RunDir::new("brokers").unwrap();
    let key = folder.path().join("test.key").display().to_string();
    assert!(run(&arguments(&["token", "--new-key", &key]), &Env::new()).await.status.success());
    let store = format!("file://{}", folder.path().join("store").display());
    let file = world_file(folder.path(), &WorldSpec::dev()).display().to_string();
    let config = folder.path().join("driftless.toml").display().to_string();
    std::fs::write(&config, "[kafka]\nrequest_timeout_ms = 500\n[ingest.waits]\nstart_ms = 500\n").unwrap();
    let nobody = ["--brokers", "127.0.0.1:1", "--store", &store, "--config", &config, "--world", &file];
    let of = |first: &[&'static str]| [first, &nobody[..]].concat();
    fails(&of(&["init"]), &["127.0.0.1:1", "check that the brokers run"]).await;
    // The test writes the world by hand, so that the services get as far as opening the log.
    let stored = driftless_schemas::world::StoredWorld { revision: 1, spec: WorldSpec::dev(), id: None };
    std::fs::write(folder.path().join("store/world.json"), serde_json::to_string(&stored).unwrap()).unwrap();
    for service in ["ingest", "replayer", "gateway"] {
        let mut all = of(&[service]);
        if service != "replayer" {
            all.extend(["--key-file", &key]);
        }
        fails(&all, &["127.0.0.1:1", "check that the brokers run"]).await;
    }
}
