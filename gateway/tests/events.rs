//! Server-sent events of several chunks in one stream, through a real server over an empty log in
//! memory.

use driftless_auth::{self as auth, KeyKind, Signer, Verifier, generate_key};
use driftless_chunk::model::Models;
use driftless_chunk::world::World;
use driftless_gateway::{CoreSettings, Gateway, Settings};
use driftless_log::memory::MemoryLog;
use driftless_log::{Log, TopicSpec};
use driftless_runtime::shutdown::ShutdownSource;
use driftless_schemas::access::Access;
use driftless_schemas::world::WorldSpec;
use driftless_store::Store;
use driftless_web::http::{Origins, ServerOptions, serve};
use serde_json::Value;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// A step of these tests that takes this long has failed.
const PATIENCE: Duration = Duration::from_secs(60);

struct Running {
    address: SocketAddr,
    signer: Signer,
    _trigger: ShutdownSource,
    _folder: tempfile::TempDir,
}

async fn start() -> Running {
    let world = Arc::new(World::new("dev", WorldSpec::dev(), &Models::builtin()).unwrap());
    let log: Arc<dyn Log> = Arc::new(MemoryLog::new());
    let topics = world.topics();
    for topic in [&topics.commands, &topics.updates] {
        let partitions = world.spec().partitions;
        let spec = TopicSpec { name: topic.to_string(), partitions, retention_ms: None, record_bytes_max: 1 << 20 };
        log.create_topic(&spec).await.unwrap();
    }
    let folder = tempfile::tempdir().unwrap();
    let key = folder.path().join("key");
    let verifier = Verifier::new(auth::Settings::with_key_file(generate_key(&key, KeyKind::Secret).unwrap())).unwrap();
    let trigger = ShutdownSource::new();
    let core = CoreSettings { beacon_interval_ms: 100, ..CoreSettings::default() };
    let settings = Settings { core, ..Settings::default() };
    let origins = Origins::default();
    let gateway = Gateway::start(settings, world, log, Store::memory(), verifier, origins.clone(), trigger.handle())
        .await
        .unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(serve(listener, gateway.routes(), origins, ServerOptions::new(16), trigger.handle()));
    Running { address, signer: Signer::from_file(&key).unwrap(), _trigger: trigger, _folder: folder }
}

impl Running {
    fn token(&self, lifetime_s: u32) -> String {
        let now_ms = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis() as i64;
        let access = Access { read: vec!["canvas/".into()], ..Access::default() };
        self.signer.issue("ann", &access, driftless_schemas::time::UnixMs(now_ms), lifetime_s).unwrap()
    }

    async fn ask(&self, path: &str) -> TcpStream {
        let mut stream = TcpStream::connect(self.address).await.unwrap();
        let request = format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        stream
    }

    /// The whole answer, until the server ends it.
    async fn get(&self, path: &str) -> String {
        let mut answer = Vec::new();
        let mut stream = self.ask(path).await;
        tokio::time::timeout(PATIENCE, stream.read_to_end(&mut answer)).await.expect("the answer ends").unwrap();
        String::from_utf8(answer).unwrap()
    }

    /// The answer until each of these chunks had a beacon, which comes after everything else.
    async fn until_beacons(&self, path: &str, chunks: &[&str]) -> String {
        let (mut answer, mut stream) = (Vec::new(), self.ask(path).await);
        loop {
            // Look only at complete events.
            let whole = answer.windows(2).rposition(|pair| pair == b"\n\n").map_or(0, |end| end + 2);
            let text = std::str::from_utf8(&answer[..whole]).unwrap();
            let has_beacon =
                |chunk: &&str| events(text).iter().any(|(e, data)| e == "beacon" && data["chunk"] == **chunk);
            if chunks.iter().all(has_beacon) {
                return text.to_owned();
            }
            let more = tokio::time::timeout(PATIENCE, stream.read_buf(&mut answer)).await;
            assert!(
                more.expect("the stream sends more in time").unwrap() > 0,
                "the stream ended: {}",
                String::from_utf8_lossy(&answer)
            );
        }
    }
}

/// All events: (name, data).
fn events(answer: &str) -> Vec<(String, Value)> {
    let mut events = Vec::new();
    let mut name = String::new();
    for line in answer.lines() {
        if let Some(event) = line.strip_prefix("event:") {
            event.trim().clone_into(&mut name);
        } else if let Some(data) = line.strip_prefix("data:") {
            events.push((name.clone(), serde_json::from_str(data).unwrap()));
        }
    }
    events
}

#[tokio::test]
async fn one_stream_serves_several_chunks_and_rejects_only_the_wrong_one() {
    let running = start().await;
    let token = running.token(3600);
    let path = format!("/v1/events?chunks=canvas/0/0,canvas/0/2000,things/0/0,canvas/1/0&token={token}");
    let both = ["canvas/0/0", "canvas/1/0"];
    let answer = running.until_beacons(&path, &both).await;
    assert!(answer.starts_with("HTTP/1.1 200") && answer.contains("text/event-stream"), "{answer}");
    assert!(!answer.lines().any(|line| line.starts_with("id:")), "one id cannot name the state of several chunks");
    let events = events(&answer);
    let chunks_of = |name: &str| {
        let mut chunks: Vec<&str> =
            events.iter().filter(|(event, _)| event == name).filter_map(|(_, data)| data["chunk"].as_str()).collect();
        chunks.sort_unstable();
        chunks.dedup();
        chunks
    };
    assert_eq!(chunks_of("tracked"), both);
    assert_eq!(chunks_of("chunk"), both);
    assert_eq!(chunks_of("beacon"), both, "each chunk has its own beacons");
    assert_eq!(chunks_of("rejected"), ["canvas/0/2000", "things/0/0"]);

    // A stream that is resumed for one chunk does not send that chunk's content again.
    let tracked = |chunk: &str| {
        let (_, data) = events.iter().find(|(event, data)| event == "tracked" && data["chunk"] == chunk).unwrap();
        format!("{}:{}", data["version"], data["hash"].as_str().unwrap())
    };
    let have = tracked("canvas/1/0");
    let path = format!("/v1/events?chunks=canvas/0/0,canvas/1/0&have=,{have}&token={token}");
    let answer = running.until_beacons(&path, &both).await;
    let names = |chunk: &str| {
        let of = |(event, data): (String, Value)| (data["chunk"] == chunk && event != "beacon").then_some(event);
        self::events(&answer).into_iter().filter_map(of).collect::<Vec<_>>()
    };
    assert_eq!(names("canvas/0/0"), ["tracked", "chunk"]);
    assert_eq!(names("canvas/1/0"), ["tracked"]);
}

#[tokio::test]
async fn a_stream_ends_with_its_token() {
    let running = start().await;
    let token = running.token(5);
    let answer = running.get(&format!("/v1/events?chunks=canvas/0/0,canvas/1/0&token={token}")).await;
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    let (last, why) = events(&answer).pop().unwrap();
    assert_eq!((last.as_str(), why["code"].as_u64()), ("closed", Some(4502)));
}

#[tokio::test]
async fn a_stream_with_a_malformed_list_is_refused_as_a_whole() {
    let running = start().await;
    let token = running.token(60);
    let expired = running.signer.issue("ann", &Access::default(), driftless_schemas::time::UnixMs(0), 1).unwrap();
    for (path, status, code) in [
        ("/v1/events?chunks=canvas/0/0".into(), 401, "token_missing"),
        (format!("/v1/events?chunks=canvas/0/0&token={expired}"), 401, "token_expired"),
        (format!("/v1/events?token={token}"), 400, "bad_chunks"),
        (format!("/v1/events?chunks=canvas/0/0,canvas/0/0&token={token}"), 400, "bad_chunks"),
        (format!("/v1/events?chunks=canvas/0/0&have=1:2&token={token}"), 400, "bad_have"),
        (format!("/v1/events?chunks=canvas/0/0&session=no&token={token}"), 400, "bad_session"),
    ] {
        let answer = running.get(&path).await;
        assert!(answer.starts_with(&format!("HTTP/1.1 {status}")) && answer.contains(code), "{path}: {answer}");
    }
}
