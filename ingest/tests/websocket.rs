//! Tests of a whole ingest service over websockets.

mod scene;

use async_trait::async_trait;
use driftless_auth::Verifier;
use driftless_ingest::{Error as StartError, Ingest, Policy, Settings};
use driftless_log::memory::MemoryLog;
use driftless_log::{
    self as log, Ack, AckSink, Append, AppendError, Delivery, Log, Membership, Producer, Reader, TopicSpec,
};
use driftless_runtime::shutdown::ShutdownSource;
use driftless_schemas::proto::{self, RefusalCode, RejectCode, Retry, event, request};
use driftless_schemas::{Offset, Partition, SessionId, close, limits};
use futures_util::SinkExt as _;
use scene::*;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio_tungstenite::tungstenite::{Error, Message};

#[tokio::test]
async fn a_command_goes_to_its_partition_and_is_receipted_when_the_log_has_it() {
    let scene = Scene::new().await;
    let (mut client, session) = scene.greeted("ann").await;
    client.send([submit("canvas/0/1", 1, 0, cell(5, 7)), submit("canvas/0/-7", 1, 0, settle())]).await;
    let mut receipts = client.receipts(2).await;
    receipts.sort();
    assert_eq!(receipts, [("canvas/0/-7".into(), 1), ("canvas/0/1".into(), 1)]);
    let (record, command) = scene.records("canvas/0/1").await.pop().unwrap();
    assert_eq!(&record.key[..], b"canvas/0/1");
    let Some(proto::command_record::Body::Command(command)) = command.body else { panic!("no command") };
    assert_eq!(command.writer, session.writer("ann").to_bytes());
    assert_eq!((command.author.as_str(), command.seq, command.after), ("ann", 1, 0));
    assert!((now_ms() - command.received_at_ms).abs() < 10_000);
}

#[tokio::test]
async fn a_denied_user_is_closed_at_once_and_does_not_come_back() {
    let scene = Scene::new().await;
    let (mut denied, session) = scene.greeted("mallory").await;
    let (mut other, _) = scene.greeted("ann").await;
    let token = scene.token("mallory");
    scene.deny("sub mallory\n");
    // The denied client sends nothing, and its socket is closed all the same, long before the next
    // ping is due.
    assert_eq!(denied.closed().await, close::TOKEN);
    let mut again = scene.socket().await;
    again.send([hello(token.clone())]).await;
    assert_eq!(again.closed().await, close::TOKEN);
    let answer = reqwest::Client::new()
        .post(scene.url("/v1/chunks/canvas/0/1/commands"))
        .bearer_auth(token)
        .json(&serde_json::json!({"session": session, "seq": 1, "settle": true}))
        .send()
        .await
        .unwrap();
    assert_eq!(answer.status(), 401);
    let problem: serde_json::Value = answer.json().await.unwrap();
    assert_eq!(problem["type"], "urn:driftless:problem:token_denied");
    other.is_alive().await;
    assert_eq!(scene.count().await, 0);
}

/// A user has at most as many sockets as the policy allows for the user's roles, and `Welcome`
/// announces the limits.
#[tokio::test]
async fn a_user_has_so_many_sockets_and_hears_its_limits() {
    let policy = Policy {
        connections_per_user: 1,
        connections_of_role: [("service".to_owned(), 2)].into(),
        cost_per_second: 7,
        ..Policy::default()
    };
    let scene = Scene::with(Settings { policy, ..Settings::default() }, Arc::new(MemoryLog::new())).await;
    let access = driftless_schemas::access::Access { roles: vec!["service".into()], ..access() };
    let service = scene.signer.issue("bot", &access, driftless_schemas::time::UnixMs(now_ms()), 3600).unwrap();
    let mut sockets = Vec::new();
    for (token, connections_max, fits) in [
        (scene.token("ann"), 1, true),
        (scene.token("ann"), 1, false),
        (service.clone(), 2, true),
        (service.clone(), 2, true),
        (service, 2, false),
        (scene.token("bob"), 1, true),
    ] {
        let mut client = scene.socket().await;
        client.send([hello(token)]).await;
        if fits {
            let event::Body::Welcome(welcome) = client.event().await else { panic!("no welcome") };
            let limits = welcome.limits.unwrap();
            assert_eq!((limits.connections_max, limits.cost_per_second), (connections_max, 7));
            sockets.push(client);
        } else {
            assert_eq!(client.closed().await, close::TOO_MANY);
        }
    }
}

#[tokio::test]
async fn many_commands_of_one_turn_are_receipted_in_few_messages() {
    let scene = Scene::new().await;
    let (mut client, _) = scene.greeted("ann").await;
    client.send((1..=1000).map(|seq| submit("canvas/0/1", seq, seq - 1, cell(seq as u32, 1)))).await;
    let receipts = client.receipts(1000).await;
    assert!(receipts.iter().map(|(_, seq)| *seq).eq(1..=1000), "in order");
    assert_eq!(scene.records("canvas/0/1").await.len(), 1000);
}

/// Each bad input gets an answer of its own, and a client on another socket is not affected (issue
/// "Bad input").
#[tokio::test]
async fn bad_input_is_named_and_costs_nobody_else_anything() {
    let scene = Scene::new().await;
    let (mut neighbour, _) = scene.greeted("bob").await;
    let (mut client, _) = scene.greeted("ann").await;
    for (bad, code) in [
        (submit("canvas/x/1", 1, 0, cell(5, 7)), RejectCode::BadChunkId),
        (submit("town/0/1", 1, 0, cell(5, 7)), RejectCode::UnknownFamily),
        (submit("canvas/0/9999", 1, 0, cell(5, 7)), RejectCode::OutOfBounds),
        (submit("canvas/7/1", 1, 0, cell(5, 7)), RejectCode::NoWriteAccess),
        (submit("canvas/0/1", 1, 0, cell(5, 999)), RejectCode::BadCommand),
        (submit("canvas/0/1", 1, 1, cell(5, 7)), RejectCode::BadSeq),
    ] {
        client.send([bad]).await;
        let rejected = client.rejected().await;
        assert_eq!((rejected.code(), rejected.retry()), (code, Retry::Final), "{}", rejected.message);
    }
    // A request for the gateway, and a request that no service knows.
    client.send([request::Body::Untrack(proto::Untrack { chunk_id: "canvas/0/1".into() })]).await;
    client.send_bytes(vec![0x0a, 3, 0xfa, 1, 0]).await;
    for code in [RefusalCode::WrongService, RefusalCode::Undecodable] {
        let event::Body::Refused(refused) = client.event().await else { panic!("not refused") };
        assert_eq!(refused.code(), code);
    }
    client.send([submit("canvas/0/1", 1, 0, cell(5, 7))]).await;
    assert_eq!(client.receipts(1).await, [("canvas/0/1".into(), 1)], "the socket lives on");
    client.send([submit("canvas/0/1", 1, 0, cell(5, 8))]).await;
    assert_eq!(client.rejected().await.code(), RejectCode::SeqReused);

    neighbour.send([submit("canvas/0/2", 1, 0, cell(5, 7))]).await;
    assert_eq!(neighbour.receipts(1).await, [("canvas/0/2".into(), 1)]);
    assert_eq!(scene.count().await, 2);
}

#[tokio::test]
async fn bytes_that_cannot_be_trusted_end_their_socket_only() {
    let scene = Scene::new().await;
    let (mut neighbour, _) = scene.greeted("bob").await;
    for message in [
        Message::binary(b"GET / HTTP/1.1".to_vec()),
        Message::binary(vec![0; limits::CLIENT_FRAME_BYTES_MAX + 1]),
        Message::text("{}"),
    ] {
        let (mut client, _) = scene.greeted("ann").await;
        client.socket.send(message).await.unwrap();
        assert_eq!(client.closed().await, close::FRAME_UNTRUSTED);
    }
    neighbour.is_alive().await;
    assert_eq!(scene.count().await, 0);
}

#[tokio::test]
async fn an_unusable_token_or_session_closes_with_a_code_of_its_own() {
    let scene = Scene::new().await;
    let expired =
        scene.signer.issue("ann", &access(), driftless_schemas::time::UnixMs(now_ms() - 120_000), 60).unwrap();
    let forged = scene.forger.issue("ann", &access(), driftless_schemas::time::UnixMs(now_ms()), 60).unwrap();
    let old = SessionId::new(now_ms() as u64 - limits::SESSION_AGE_MAX_MS - 10_000, [1; 10]).to_bytes();
    let ahead = SessionId::new(now_ms() as u64 + 120_000, [1; 10]).to_bytes();
    let base = || proto::Hello { token: scene.token("ann"), ..Default::default() };
    for (hello, code) in [
        (proto::Hello { token: expired, ..base() }, close::TOKEN),
        (proto::Hello { token: forged, ..base() }, close::TOKEN),
        (proto::Hello { token: String::new(), ..base() }, close::TOKEN),
        (proto::Hello { session: old, ..base() }, close::SESSION),
        (proto::Hello { session: ahead, ..base() }, close::SESSION),
    ] {
        let mut client = scene.socket().await;
        client.send([request::Body::Hello(hello)]).await;
        assert_eq!(client.closed().await, code);
    }
}

/// A client may continue its session on a new socket, and stays the same writer.
#[tokio::test]
async fn a_session_survives_its_socket() {
    let scene = Scene::new().await;
    let (client, session) = scene.greeted("ann").await;
    drop(client);
    let mut client = scene.socket().await;
    let hello = proto::Hello { token: scene.token("ann"), session: session.to_bytes(), ..Default::default() };
    client.send([request::Body::Hello(hello)]).await;
    let event::Body::Welcome(welcome) = client.event().await else { panic!("no welcome") };
    assert_eq!((welcome.session, welcome.writer), (session.to_bytes(), session.writer("ann").to_bytes()));
}

#[tokio::test]
async fn a_wrong_subprotocol_is_a_problem_before_it_is_a_socket() {
    let scene = Scene::new().await;
    let Err(Error::Http(response)) = scene.socket_with("driftless.gateway.v1").await else { panic!("it connected") };
    assert_eq!(response.status(), 400);
    assert_eq!(response.headers()["content-type"], "application/problem+json");
}

/// All sockets of a user share one rate. Commands above it are rejected with the time to wait, and
/// other users are not affected.
#[tokio::test]
async fn who_is_too_fast_is_told_when_to_come_again_over_all_sockets() {
    // The burst is large, so that the one command a second that the rate allows during the test
    // does not matter.
    let burst = 1000;
    let policy = Policy { commands_per_second: 1, commands_burst: burst, ..Policy::default() };
    let scene = Scene::with(Settings { policy, ..Settings::default() }, Arc::new(MemoryLog::new())).await;
    let (mut one, _) = scene.greeted("ann").await;
    let (mut two, _) = scene.greeted("ann").await;
    let seqs = 1..=u64::from(burst);
    one.send(seqs.clone().map(|seq| submit("canvas/0/1", seq, seq - 1, settle()))).await;
    one.receipts(burst as usize).await;
    two.send(seqs.map(|seq| submit("canvas/0/2", seq, seq - 1, settle()))).await;
    let mut rejections = Vec::new();
    for _ in 0..burst {
        match two.event().await {
            event::Body::Receipt(_) => {}
            event::Body::Rejected(no) => rejections.push(no),
            other => panic!("{other:?}"),
        }
    }
    assert!(!rejections.is_empty(), "the other socket had a burst of its own");
    for rejected in rejections {
        assert_eq!((rejected.code(), rejected.retry()), (RejectCode::RateLimited, Retry::After));
        assert!((1..=1000).contains(&rejected.retry_after_ms));
    }
    let (mut other, _) = scene.greeted("bob").await;
    other.send([submit("canvas/0/3", 1, 0, settle())]).await;
    other.receipts(1).await;
}

/// A log whose producer acknowledges only when the test says so, through a [`Hand`].
struct Puppet {
    inner: MemoryLog,
    strings: Arc<Mutex<Strings>>,
}

#[derive(Default)]
struct Strings {
    has_room: bool,
    /// Appends that wait for their acknowledgement, in order.
    held: Vec<Append>,
    sink: Option<AckSink>,
}

struct PuppetProducer(Arc<Mutex<Strings>>);

#[async_trait]
impl Producer for PuppetProducer {
    fn append(&self, batch: Vec<Append>) -> Vec<Append> {
        let mut strings = self.0.lock().unwrap();
        if !strings.has_room {
            return batch;
        }
        strings.held.extend(batch);
        Vec::new()
    }
    fn in_flight(&self) -> usize {
        self.0.lock().unwrap().held.len()
    }
    async fn flush(&self, _timeout: Duration) -> bool {
        self.in_flight() == 0
    }
    fn abandon(&self) {}
}

#[async_trait]
impl Log for Puppet {
    fn describe(&self) -> String {
        "puppet".into()
    }
    async fn partitions(&self, topic: &str) -> Result<Option<i32>, log::Error> {
        self.inner.partitions(topic).await
    }
    async fn create_topic(&self, spec: &TopicSpec) -> Result<(), log::Error> {
        self.inner.create_topic(spec).await
    }
    async fn watermarks(&self, topic: &str, partition: Partition) -> Result<(Offset, Offset), log::Error> {
        self.inner.watermarks(topic, partition).await
    }
    fn producer(&self, _delivery: Delivery, acks: AckSink) -> Result<Arc<dyn Producer>, log::Error> {
        self.strings.lock().unwrap().sink = Some(acks);
        Ok(Arc::new(PuppetProducer(Arc::clone(&self.strings))))
    }
    fn reader(&self) -> Result<Box<dyn Reader>, log::Error> {
        self.inner.reader()
    }
    fn join(&self, group: &str, topic: &str, member: &str) -> Result<Membership, log::Error> {
        self.inner.join(group, topic, member)
    }
}

/// Controls the producer of a [`Puppet`].
struct Hand(Arc<Mutex<Strings>>);

impl Hand {
    fn new() -> (Self, Arc<dyn Log>) {
        let strings = Arc::new(Mutex::new(Strings { has_room: true, ..Strings::default() }));
        (Self(Arc::clone(&strings)), Arc::new(Puppet { inner: MemoryLog::new(), strings }))
    }

    fn has_room(&self, has_room: bool) {
        self.0.lock().unwrap().has_room = has_room;
    }

    /// Waits until the producer holds `count` appends.
    async fn holds(&self, count: usize) {
        let deadline = tokio::time::Instant::now() + PATIENCE;
        while self.0.lock().unwrap().held.len() < count {
            assert!(tokio::time::Instant::now() < deadline, "{} are held", self.0.lock().unwrap().held.len());
            tokio::task::yield_now().await;
        }
    }

    /// Reports `result` for the oldest append that the producer holds.
    fn answer(&self, result: Result<Option<Offset>, AppendError>) {
        let (ack, sink) = {
            let mut strings = self.0.lock().unwrap();
            let append = strings.held.remove(0);
            (Ack { token: append.token, result }, strings.sink.clone().unwrap())
        };
        sink(vec![ack]);
    }
}

/// A client gets a receipt only after the log's acknowledgement. It gets no answer at all if the
/// log may or may not have the record.
#[tokio::test]
async fn a_receipt_waits_for_the_log_and_a_failed_produce_is_no_rejection() {
    let (hand, log) = Hand::new();
    let scene = Scene::with(Settings::default(), log).await;
    let (mut client, _) = scene.greeted("ann").await;
    client.send((1..=4).map(|seq| submit("canvas/0/1", seq, seq - 1, settle()))).await;
    hand.holds(4).await;
    client.is_alive().await; // No receipt came before this pong.
    hand.answer(Err(AppendError::Unknown("timed out".into())));
    client.is_alive().await; // No answer to the first command came before this pong.
    hand.answer(Err(AppendError::Refused("too large".into())));
    hand.answer(Ok(None));
    hand.answer(Ok(Some(Offset(7))));
    let rejected = client.rejected().await;
    assert_eq!((rejected.seq, rejected.code(), rejected.retry()), (2, RejectCode::Unavailable, Retry::Final));
    assert_eq!(client.receipts(2).await, [("canvas/0/1".into(), 3), ("canvas/0/1".into(), 4)]);
}

#[tokio::test]
async fn while_the_log_has_no_room_sockets_are_not_read_and_nothing_is_lost() {
    let (hand, log) = Hand::new();
    let mut settings = Settings::default();
    // The wait for room is long, so that it does not end before the test's check, even on a busy
    // machine.
    settings.waits.room_ms = 600_000;
    let scene = Scene::with(settings, log).await;
    let (mut client, _) = scene.greeted("ann").await;
    hand.has_room(false);
    client.send([submit("canvas/0/1", 1, 0, settle())]).await;
    client.send([submit("canvas/0/1", 2, 1, settle()), request::Body::Ping(proto::Ping { nonce: 1 })]).await;
    let quiet = tokio::time::timeout(Duration::from_millis(300), client.event()).await;
    assert!(quiet.is_err(), "the second message was read: {quiet:?}");
    hand.has_room(true);
    hand.holds(2).await;
    assert_eq!(client.event().await, event::Body::Pong(proto::Pong { nonce: 1 }));
    hand.answer(Ok(Some(Offset(0))));
    hand.answer(Ok(Some(Offset(1))));
    assert_eq!(client.receipts(2).await, [("canvas/0/1".into(), 1), ("canvas/0/1".into(), 2)]);
}

/// If the log has no room for a command within the time limit, the command is rejected with a time
/// to wait, and its resend is accepted.
#[tokio::test]
async fn what_cannot_be_handed_to_the_log_is_rejected_for_later() {
    let (hand, log) = Hand::new();
    let mut settings = Settings::default();
    settings.waits.room_ms = 100;
    let scene = Scene::with(settings, log).await;
    let (mut client, _) = scene.greeted("ann").await;
    hand.has_room(false);
    client.send([submit("canvas/0/1", 1, 0, settle())]).await;
    let rejected = client.rejected().await;
    assert_eq!((rejected.code(), rejected.retry()), (RejectCode::Unavailable, Retry::After));
    assert_eq!(rejected.retry_after_ms, 1000);
    hand.has_room(true);
    client.send([submit("canvas/0/1", 1, 0, settle())]).await;
    hand.holds(1).await;
    hand.answer(Ok(Some(Offset(0))));
    client.receipts(1).await;
}

#[tokio::test]
async fn a_shutdown_sends_the_receipts_of_what_is_in_flight_first() {
    let (hand, log) = Hand::new();
    let scene = Scene::with(Settings::default(), log).await;
    let (mut client, _) = scene.greeted("ann").await;
    client.send([submit("canvas/0/1", 1, 0, settle())]).await;
    hand.holds(1).await;
    let ended = tokio::spawn(scene.shutdown.end());
    // The listener is closed at once.
    let deadline = tokio::time::Instant::now() + PATIENCE;
    while tokio::net::TcpStream::connect(scene.address).await.is_ok() {
        assert!(tokio::time::Instant::now() < deadline, "it still accepts");
        tokio::task::yield_now().await;
    }
    hand.answer(Ok(Some(Offset(0))));
    client.receipts(1).await;
    assert_eq!(client.closed().await, close::SHUTTING_DOWN);
    drop(client);
    tokio::time::timeout(PATIENCE, ended).await.expect("it ends").unwrap();
}

#[tokio::test]
async fn a_log_without_the_right_topic_is_refused_at_the_start() {
    let folder = tempfile::tempdir().unwrap();
    let (_, _, verifier) = keys(&folder);
    let start = |log: Arc<dyn Log>, verifier: Verifier| async move {
        let shutdown = ShutdownSource::new();
        Ingest::start(Settings::default(), world(), log, verifier, shutdown.handle()).await.err().unwrap()
    };
    let error = start(Arc::new(MemoryLog::new()), verifier.clone()).await;
    assert!(
        matches!(error, StartError::Log(log::Error::NoTopic { .. })) && error.to_string().contains("driftless init"),
        "{error}"
    );

    let log = MemoryLog::new();
    let spec = TopicSpec {
        name: world().topics().commands.to_string(),
        partitions: 3,
        retention_ms: None,
        record_bytes_max: limits::RECORD_BYTES_MAX,
    };
    log.create_topic(&spec).await.unwrap();
    let error = start(Arc::new(log), verifier).await;
    assert!(matches!(error, StartError::Log(log::Error::PartitionCount { found: 3, wanted: 12, .. })), "{error}");
    assert!(error.to_string().contains("driftless init"), "{error}");
}
