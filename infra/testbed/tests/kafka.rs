//! Starts a real Apache Kafka, kills it, and starts it again. The first run on a machine downloads
//! it.

use std::process::Command;
use std::time::{Duration, Instant};

use driftless_testbed::kafka::{Kafka, KafkaOptions, ask_metadata, install};
use driftless_testbed::{RunDir, shared_kafka, until};

/// Returns true if a process with this id exists and is no zombie.
fn is_alive(pid: u32) -> bool {
    let state = Command::new("ps").args(["-o", "stat=", "-p", &pid.to_string()]).output().unwrap();
    let state = String::from_utf8(state.stdout).unwrap();
    !state.trim().is_empty() && !state.starts_with('Z')
}

#[test]
fn a_node_answers_and_is_itself_again_after_a_kill_and_after_a_new_start() {
    let dir = RunDir::new("test").unwrap();
    let start = Instant::now();
    let mut kafka = Kafka::start(KafkaOptions::new(dir.path())).unwrap();
    println!("fresh start: {:?}", start.elapsed());
    let first = kafka.metadata().unwrap();
    assert_eq!(first.cluster_id.as_deref(), Some(kafka.cluster_id()));
    assert_eq!(first.brokers.len(), 1);
    assert_eq!(kafka.brokers(), format!("{}:{}", first.brokers[0].host, first.brokers[0].port));

    let pid = kafka.pid(1).unwrap();
    kafka.kill(1).unwrap();
    assert!(!is_alive(pid));
    assert_eq!(kafka.pid(1), None);
    ask_metadata(kafka.brokers()).unwrap_err();

    let start = Instant::now();
    kafka.restart(1).unwrap();
    println!("restart after SIGKILL: {:?}", start.elapsed());
    assert_ne!(kafka.pid(1), Some(pid));
    assert_eq!(kafka.metadata().unwrap(), first);

    let start = Instant::now();
    let pid = kafka.pid(1).unwrap();
    drop(kafka);
    println!("stop: {:?}", start.elapsed());
    assert!(!is_alive(pid));

    let start = Instant::now();
    let kafka = Kafka::start(KafkaOptions::new(dir.path())).unwrap();
    println!("start on old data: {:?}", start.elapsed());
    assert_eq!(kafka.metadata().unwrap().cluster_id, first.cluster_id);
}

#[test]
fn three_nodes_go_on_without_one_of_them() {
    let dir = RunDir::new("test").unwrap();
    let start = Instant::now();
    let mut kafka = Kafka::start(KafkaOptions::new(dir.path()).nodes(3)).unwrap();
    println!("three nodes: {:?}", start.elapsed());
    assert_eq!(kafka.brokers().split(',').count(), 3);
    assert_eq!(kafka.metadata().unwrap().brokers.len(), 3);

    kafka.kill(2).unwrap();
    let start = Instant::now();
    until(Duration::from_secs(30), "the controller to notice the loss", || {
        let seen = kafka.metadata().ok()?;
        (seen.brokers.len() == 2).then_some(())
    })
    .unwrap();
    println!("one of three missed: {:?}", start.elapsed());

    let start = Instant::now();
    kafka.restart(2).unwrap();
    println!("one of three is back: {:?}", start.elapsed());
    until(Duration::from_secs(30), "all three", || {
        let seen = kafka.metadata().ok()?;
        (seen.brokers.len() == 3).then_some(())
    })
    .unwrap();

    let start = Instant::now();
    drop(kafka);
    println!("three nodes stopped: {:?}", start.elapsed());
}

#[test]
fn a_further_listener_sends_clients_to_the_address_that_it_was_given() {
    let dir = RunDir::new("test").unwrap();
    let options = KafkaOptions::new(dir.path()).listener("PROXIED", vec!["127.0.0.1:4242".to_owned()]);
    let kafka = Kafka::start(options).unwrap();
    let port = |addr: &str| ask_metadata(addr).unwrap().brokers[0].port;
    assert_eq!(port(kafka.listener("PROXIED", 1).unwrap()), 4242);
    assert_eq!(format!("127.0.0.1:{}", port(kafka.brokers())), kafka.brokers());
    assert_eq!((kafka.listener("PROXIED", 2), kafka.listener("OTHER", 1)), (None, None));
}

#[test]
fn a_start_that_cannot_succeed_shows_the_log() {
    let dir = RunDir::new("test").unwrap();
    let options = KafkaOptions::new(dir.path()).property("log.segment.bytes", "nonsense");
    let error = format!("{:#}", Kafka::start(options).unwrap_err());
    assert!(error.contains("log.segment.bytes"), "{error}");
}

#[test]
fn a_folder_keeps_its_number_of_nodes() {
    let dir = RunDir::new("test").unwrap();
    std::fs::write(dir.path().join("cluster.json"), r#"{"cluster_id":"x","nodes":3}"#).unwrap();
    let error = Kafka::start(KafkaOptions::new(dir.path())).unwrap_err();
    let error = format!("{error:#}");
    assert!(error.contains("3 nodes, not 1"), "{error}");
}

#[test]
fn the_class_path_holds_the_java_client() {
    let dist = install().unwrap();
    let clients = dist.classpath().split(':').find(|jar| jar.contains("kafka-clients-"));
    assert!(std::path::Path::new(clients.unwrap()).exists());
}

#[test]
fn the_shared_node_is_the_same_for_all() {
    let brokers = shared_kafka().unwrap();
    let first = brokers.split(',').next().unwrap();
    assert!(!ask_metadata(first).unwrap().brokers.is_empty());
    assert_eq!(shared_kafka().unwrap(), brokers);
}
