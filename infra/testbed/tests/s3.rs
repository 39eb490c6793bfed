//! Starts a real S3 server, kills it, and starts it again. The first run on a machine builds it.

use std::fs;
use std::time::Instant;

use driftless_testbed::s3::{S3, S3Options};
use driftless_testbed::{RunDir, shared_s3};

#[test]
fn a_server_answers_and_is_itself_again_after_a_kill() {
    let dir = RunDir::new("test").unwrap();
    let start = Instant::now();
    let mut s3 = S3::start(S3Options::new(dir.path())).unwrap();
    println!("start: {:?}", start.elapsed());
    assert_eq!(s3.url(), "s3://driftless");
    assert!(s3.dir().is_dir());
    let env = s3.env();
    assert!(env.contains(&("AWS_ENDPOINT_URL".to_owned(), s3.endpoint().to_owned())));

    let (pid, endpoint) = (s3.pid(), s3.endpoint().to_owned());
    fs::write(s3.dir().join("object"), "kept").unwrap();
    s3.kill().unwrap();
    assert_eq!(s3.pid(), None);

    let start = Instant::now();
    s3.restart().unwrap();
    println!("restart after SIGKILL: {:?}", start.elapsed());
    assert_ne!(s3.pid(), pid);
    assert_eq!(s3.endpoint(), endpoint);
    assert_eq!(fs::read_to_string(s3.dir().join("object")).unwrap(), "kept");
    s3.check().unwrap();
    s3.stop().unwrap();
}

#[test]
fn a_taken_port_is_told_with_the_servers_own_words() {
    let dir = RunDir::new("test").unwrap();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port();
    let error = S3::start(S3Options::new(dir.path()).port(Some(port))).unwrap_err();
    let error = format!("{error:#}");
    assert!(error.contains("address already in use"), "{error}");
}

#[test]
fn the_shared_bucket_is_the_same_for_all() {
    let access = shared_s3().unwrap();
    assert!(access.url.starts_with("s3://"));
    assert_eq!(shared_s3().unwrap(), access);
}
