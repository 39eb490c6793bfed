//! A process that cannot start must say what is wrong, where, and how to mend it.

use driftless_e2e_tests::process::{arguments, run};
use driftless_e2e_tests::stack::{Apart, Deployment, Stack as _, kafka_log, small_world, world_file};
use driftless_log::{Log as _, TopicSpec};
use driftless_schemas::world::WorldSpec;

async fn fails(deployment: &Deployment, first: &[&str], says: &[&str]) {
    let all = [arguments(first), deployment.flags()].concat();
    let ended = run(&all, &deployment.env).await;
    assert!(!ended.status.success(), "{first:?} did not fail: {ended:?}");
    for word in says {
        assert!(ended.error.contains(word), "{first:?}: nothing of {word:?} in: {}", ended.error);
    }
}

/// R1: every service refuses to run if a topic's partition count differs from the world's.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r1_a_topic_with_another_partition_count_is_named_by_every_service() {
    if super::is_left_out() {
        return;
    }
    let deployment = Deployment::new("").await;
    let (spec, key) = (deployment.spec(), deployment.key.display().to_string());
    let file = deployment.world_file.display().to_string();
    let log = kafka_log(&deployment.brokers);
    for topic in [spec.topics().commands, spec.topics().updates] {
        let topic = TopicSpec { name: topic.to_string(), partitions: 7, retention_ms: None, record_bytes_max: 2 << 20 };
        log.create_topic(&topic).await.unwrap();
    }
    let topic = spec.topics().commands.to_string();
    let said = [&topic[..], "7 partitions", "3", "generation"];
    fails(&deployment, &["init", "--world", &file], &said).await;
    // The services still refuse if world.json was written by hand.
    let twin = driftless_e2e_tests::stack::unique_world();
    let other = Deployment::new("").await;
    let mut renamed = small_world(&twin);
    renamed.partitions = 7;
    let seven = world_file(other.folder.path(), &renamed);
    let made =
        run(&[arguments(&["init", "--world", &seven.display().to_string()]), other.flags()].concat(), &other.env).await;
    assert!(made.status.success(), "{made:?}");
    put_world(&other, &WorldSpec { partitions: 3, ..renamed.clone() }).await;
    let topic = renamed.topics().commands.to_string();
    for service in ["ingest", "replayer", "gateway"] {
        let mut flags = vec![service];
        if service != "replayer" {
            flags.extend(["--key-file", &key]);
        }
        let topic = if service == "gateway" { renamed.topics().updates.to_string() } else { topic.clone() };
        fails(&other, &flags, &[&topic, "7 partitions", "3"]).await;
    }
}

async fn put_world(deployment: &Deployment, spec: &WorldSpec) {
    use object_store::ObjectStoreExt as _;
    let (bucket, prefix) = deployment.store.strip_prefix("s3://").unwrap().split_once('/').unwrap();
    let mut s3 = object_store::aws::AmazonS3Builder::new().with_bucket_name(bucket);
    for (name, value) in &deployment.env {
        if let Ok(key) = name.to_ascii_lowercase().parse() {
            s3 = s3.with_config(key, value);
        }
    }
    let stored = driftless_schemas::world::StoredWorld { revision: 2, spec: spec.clone(), id: None };
    let bytes = serde_json::to_vec(&stored).unwrap();
    let path = object_store::path::Path::from(prefix).join("world.json");
    s3.build().unwrap().put(&path, bytes.into()).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_world_than_the_stored_one_or_a_port_in_use_stops_every_service_and_is_named() {
    if super::is_left_out() {
        return;
    }
    let deployment = Deployment::new("").await;
    deployment.init().await;
    let mut other = deployment.spec();
    other.families[1].bounds = 5;
    other.name = format!("{}-changed", other.name);
    let file = world_file(deployment.folder.path(), &WorldSpec { name: deployment.spec().name, ..other.clone() });
    let (file, key) = (file.display().to_string(), deployment.key.display().to_string());
    let said = [&file[..], "world.json", &deployment.store, "family[1].bounds is 5 here, and 1024 there", "--update"];
    fails(&deployment, &["init", "--world", &file], &said).await;
    fails(&deployment, &["replayer", "--world", &file], &said).await;
    for service in ["ingest", "gateway"] {
        fails(&deployment, &[service, "--key-file", &key, "--world", &file], &said).await;
    }

    // Another process listens on this port.
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    fails(&deployment, &["replayer", "--internal", &address], &[&address, "--internal"]).await;
    for service in ["ingest", "gateway"] {
        for (flag, other) in [("--http", "--internal"), ("--internal", "--http")] {
            let flags = [service, "--key-file", &key, flag, &address, other, "127.0.0.1:0"];
            fails(&deployment, &flags, &[&address, &format!("another address with {flag}")]).await;
        }
    }
}

/// Clients reach the public port, and operators the internal one.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn metrics_and_readiness_are_not_on_the_port_for_clients() {
    if super::is_left_out() {
        return;
    }
    let stack = Apart::start().await;
    let status = async |base: &str, path: &str| reqwest::get(format!("{base}{path}")).await.unwrap().status().as_u16();
    for (name, addresses) in stack.addresses() {
        let internal = format!("http://{}", addresses.internal);
        assert_eq!(addresses.public.is_some(), *name != "replayer", "{name}");
        stack.ready(name).await;
        for path in ["/healthz", "/metrics"] {
            assert_eq!(status(&internal, path).await, 200, "{name}: {path}");
        }
        for path in ["/v1/world", "/v1/openapi.json", "/v1/gateway", "/v1/ingest"] {
            assert_eq!(status(&internal, path).await, 404, "{name}: {path} on the internal listener");
        }
        let Some(public) = addresses.public.map(|address| format!("http://{address}")) else { continue };
        assert_eq!(status(&public, "/healthz").await, 200, "{name}");
        for path in ["/readyz", "/metrics", "/debug/damage/gateway"] {
            assert_eq!(status(&public, path).await, 404, "{name}: {path} on the port for clients");
        }
        let document = reqwest::get(format!("{public}/v1/openapi.json")).await.unwrap().text().await.unwrap();
        assert!(!document.contains("/metrics"), "{name} documents a path that it does not have");
    }
}

/// The tools take one address, and users easily give an ingest's where a gateway's is needed.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tools_that_are_aimed_at_an_ingest_alone_say_that_a_gateway_is_meant() {
    if super::is_left_out() {
        return;
    }
    let stack = Apart::start().await;
    let (ingest, token) = (stack.entrance().ingest_http(), stack.entrance().tokens.for_all("ann"));
    let photo = driftless_e2e_tests::scenarios::photo();
    for (first, flag) in [(["watch", "canvas/0/0"], "with --http"), (["paint", &photo], "with --gateway-http")] {
        let all = [&first[..], &["--http", &ingest, "--token", &token]].concat();
        let ended = run(&arguments(&all), &Vec::new()).await;
        assert!(!ended.status.success(), "{ended:?}");
        for word in ["is no gateway", flag] {
            assert!(ended.error.contains(word), "{first:?}: nothing of {word} in: {}", ended.error);
        }
    }
}
