//! Websockets of a whole gateway.

mod scene;

use driftless_gateway::{CoreSettings, Settings};
use driftless_schemas::proto::{self, Have, RefusalCode, TrackRejectCode, event, outcome, request};
use driftless_schemas::{WriterId, close};
use futures_util::{SinkExt as _, StreamExt as _};
use scene::*;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, Once};
use std::time::Duration;
use tokio::io::AsyncReadExt as _;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::CloseFrame;

const C: &str = "canvas/0/0";
const STRANGER: WriterId = WriterId([0xee; 16]);

#[tokio::test(flavor = "multi_thread")]
async fn a_client_follows_a_chunk_after_hello() {
    let mut town = Town::new().await;
    let running = town.gateway(settings()).await;
    let mut client = running.socket().await;
    client.send([hello(&town.token("ann")), track(C, None), track("canvas/0/5000", None)]).await;
    client.welcome().await;
    assert_eq!(client.tracked_or_rejected().await, Err(TrackRejectCode::OutOfBounds));
    assert_eq!(client.tracked().await.version, 0);
    let mut replica = client.chunk(&town.world).await;

    let own = client.writer;
    town.decide(C, STRANGER, cells(0..3, 7, None)).await;
    town.decide(C, own, cells(0..1, 8, Some(1))).await;
    town.decide(C, own, cells(3..4, 8, None)).await;
    replica.apply(&client.updates().await).unwrap();
    let event::Body::Outcomes(outcomes) = client.event().await else { panic!("no outcomes") };
    assert_eq!(outcomes.outcomes[0].seq, 1);
    assert!(matches!(outcomes.outcomes[0].outcome, Some(outcome::Outcome::Discarded(_))));
    replica.apply(&client.updates().await).unwrap();
    assert_eq!(replica.hash(), town.live(C).replica.hash());

    // A second client that has the newest state gets no content.
    let mut second = running.greeted(&town.token("bob")).await;
    let have = Have { version: replica.version().0, hash: replica.hash().to_bytes(), ..Have::default() };
    second.send([track(C, Some(have))]).await;
    assert_eq!(second.tracked().await.version, 2);
    second.send([request::Body::Ping(proto::Ping { nonce: 5 })]).await;
    assert_eq!(second.event().await, event::Body::Pong(proto::Pong { nonce: 5 }));
}

#[tokio::test(flavor = "multi_thread")]
async fn sockets_and_event_streams_of_a_denied_user_are_closed_at_once() {
    let town = Town::new().await;
    let running = town.gateway(settings()).await;
    let mut denied = running.greeted(&town.token("mallory")).await;
    let mut other = running.greeted(&town.token("ann")).await;
    let path = format!("/v1/chunks/{C}/events?token={}", town.token("mallory"));
    let mut stream = running.stream(&path, &[]).await;
    let mut answer = Vec::new();
    while !String::from_utf8_lossy(&answer).contains("event:tracked") {
        let read = tokio::time::timeout(PATIENCE, stream.read_buf(&mut answer)).await.unwrap().unwrap();
        assert!(read > 0, "the stream ended: {}", String::from_utf8_lossy(&answer));
    }
    town.deny("sub mallory\n");
    // The websocket and the event stream are closed well before the next ping, although their
    // clients send nothing.
    assert_eq!(denied.closed().await, close::TOKEN);
    tokio::time::timeout(PATIENCE, stream.read_to_end(&mut answer)).await.unwrap().unwrap();
    let answer = String::from_utf8(answer).unwrap();
    assert!(answer.contains("event:closed") && answer.contains("4502") && answer.contains("denied"), "{answer}");
    assert_eq!(running.http(&path, &[]).await.status, 401);
    other.send([request::Body::Ping(proto::Ping { nonce: 5 })]).await;
    assert_eq!(other.event().await, event::Body::Pong(proto::Pong { nonce: 5 }));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_socket_is_closed_when_the_key_of_its_token_is_removed() {
    let town = Town::new().await;
    let running = town.gateway(settings()).await;
    let mut ann = running.greeted(&town.token("ann")).await;
    town.change_key();
    // The socket is closed although its client sends nothing, well before the next ping.
    assert_eq!(ann.closed().await, close::TOKEN);
    let mut again = running.socket().await;
    again.send([hello(&town.token("ann"))]).await;
    assert_eq!(again.closed().await, close::TOKEN);
}

#[tokio::test(flavor = "multi_thread")]
async fn each_user_has_its_own_limit_of_sockets_and_streams() {
    let town = Town::new().await;
    let running = town.gateway(Settings { connections_per_user: 2, ..settings() }).await;
    let first = running.greeted(&town.token("ann")).await;
    let path = format!("/v1/chunks/{C}/events?token={}", town.token("ann"));
    let mut stream = running.stream(&path, &[]).await;
    let mut head = [0; 15];
    stream.read_exact(&mut head).await.unwrap();
    assert_eq!(&head, b"HTTP/1.1 200 OK");
    let mut third = running.socket().await;
    third.send([hello(&town.token("ann")), track(C, None)]).await;
    assert_eq!(third.closed().await, close::TOO_MANY);
    let answer = running.http(&path, &[]).await;
    assert_eq!(
        (answer.status, answer.json()["type"].as_str()),
        (429, Some("urn:driftless:problem:too_many_connections"))
    );
    assert!(answer.headers.contains_key("retry-after"));
    running.greeted(&town.token("bob")).await;
    drop(first);
    // The user may connect again once the gateway has noticed that the first socket is gone.
    tokio::time::timeout(PATIENCE, async {
        loop {
            let mut again = running.socket().await;
            again.send([hello(&town.token("ann")), request::Body::Ping(proto::Ping { nonce: 1 })]).await;
            if matches!(again.socket.next().await, Some(Ok(Message::Binary(_)))) {
                break;
            }
        }
    })
    .await
    .expect("the place of the first socket becomes free");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_user_over_its_rate_is_throttled_and_loses_no_request() {
    let town = Town::new().await;
    let running = town.gateway(Settings { requests_per_second: 100, requests_burst: 10, ..settings() }).await;
    let mut client = running.greeted(&town.token("ann")).await;
    let began = std::time::Instant::now();
    // The client sends two frames. The gateway does not read the second frame before the excess of
    // the first one has drained.
    for round in 0..2 {
        client.send((0..30).map(|i| track(&format!("canvas/{round}/{i}"), None))).await;
    }
    let mut tracked = 0;
    while tracked < 60 {
        if matches!(client.event().await, event::Body::Tracked(_)) {
            tracked += 1;
        }
    }
    assert!(began.elapsed() >= Duration::from_millis(190), "{:?}", began.elapsed());
    // The user's requests over HTTP count against the same rate.
    let token = format!("Bearer {}", town.token("ann"));
    let answer = running.http(&format!("/v1/chunks/{C}"), &[("Authorization", &token)]).await;
    assert_eq!((answer.status, answer.json()["type"].as_str()), (429, Some("urn:driftless:problem:rate_limited")));
    let token = format!("Bearer {}", town.token("bob"));
    assert_eq!(running.http(&format!("/v1/chunks/{C}"), &[("Authorization", &token)]).await.status, 200);
}

impl Client {
    async fn tracked_or_rejected(&mut self) -> Result<proto::Tracked, TrackRejectCode> {
        match self.event().await {
            event::Body::Tracked(tracked) => Ok(tracked),
            event::Body::TrackRejected(rejected) => Err(rejected.code()),
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_starts_from_the_checkpoint_and_serves_the_stored_snapshot() {
    let mut town = Town::new().await;
    for i in 0..5 {
        town.decide(C, STRANGER, cells(i..i + 1, 9, None)).await;
    }
    town.snapshot(C).await;
    town.decide(C, STRANGER, cells(9..10, 9, None)).await;
    // A record of a replaced owner does not count.
    let partition = town.world.place(&id(C)).unwrap().partition;
    let body = Some(proto::updates_record::Body::Decisions(proto::Decisions {
        chunk_id: "junk".into(),
        ..Default::default()
    }));
    town.send(partition, proto::UpdatesRecord { epoch: 0, n: 8, body });

    let running = town.gateway(settings()).await;
    let mut client = running.greeted(&town.token("ann")).await;
    client.send([track(C, None)]).await;
    assert_eq!(client.tracked().await.version, 6);
    let mut replica = client.chunk(&town.world).await;
    assert_eq!(replica.version().0, 5, "the version of the stored snapshot");
    replica.apply(&client.updates().await).unwrap();
    assert_eq!(replica.hash(), town.live(C).replica.hash());
    town.snapshot(C).await;
    town.decide(C, STRANGER, cells(10..11, 9, None)).await;
    replica.apply(&client.updates().await).unwrap();
    let positions = running.positions(&town.token_for_all("ann")).await;
    let at = &positions["positions"][usize::try_from(partition.0).unwrap()];
    assert_eq!((at["offset"].as_i64(), at["epoch"].as_u64(), at["n"].as_u64()), (Some(11), Some(1), Some(9)));
}

/// The client reads nothing while many updates are sent. When it reads again, it sees no gap.
#[tokio::test(flavor = "multi_thread")]
async fn r9_a_slow_client_lags_and_catches_up_without_a_gap() {
    let mut town = Town::new().await;
    let core = CoreSettings { socket_queue_bytes_max: 64 * 1024, ..settings().core };
    // A long timeout: the client is not closed, however long the decisions take on this machine.
    let running = town.gateway(Settings { core, write_timeout_ms: 600_000, ..settings() }).await;
    let mut client = running.greeted(&town.token("ann")).await;
    client.send([track(C, None)]).await;
    client.tracked().await;
    let mut replica = client.chunk(&town.world).await;
    for i in 0..3000 {
        if i % 100 == 0 {
            client.send([request::Body::Ping(proto::Ping { nonce: u64::from(i) })]).await;
        }
        town.decide(C, STRANGER, cells(0..1000, i % 250, None)).await;
    }
    let mut lagged = 0;
    let mut is_followed = true;
    while replica.version() != town.live(C).replica.version() {
        match client.event().await {
            event::Body::Updates(bytes) => {
                assert!(is_followed);
                replica.apply(&prost::Message::decode(bytes).unwrap()).unwrap();
            }
            event::Body::Chunk(chunk) => {
                assert!(is_followed && chunk.version >= replica.version().0);
                replica = scene::replica(&town.world, &chunk);
            }
            event::Body::Lagging(_) => {
                lagged += 1;
                is_followed = false;
            }
            event::Body::Tracked(_) => is_followed = true,
            event::Body::Pong(_) => {}
            other => panic!("{other:?}"),
        }
    }
    assert!(lagged > 0, "no client lagged: the socket buffers of this machine hold everything, so this proves nothing");
    assert_eq!(replica.hash(), town.live(C).replica.hash());
}

/// Runs once with io_uring, which writes to many sockets with one call, and once without.
#[tokio::test(flavor = "multi_thread")]
async fn r9_clients_get_all_updates_in_order_while_others_take_nothing() {
    for io_uring in [true, false] {
        let mut town = Town::new().await;
        let core = CoreSettings { socket_queue_bytes_max: 64 * 1024, ..settings().core };
        let running =
            town.gateway(Settings { core, io_uring, shards: 1, write_timeout_ms: 600_000, ..settings() }).await;
        let mut clients = Vec::new();
        for i in 0..40 {
            let mut client = running.greeted(&town.token(&format!("user-{i}"))).await;
            client.send([track(C, None)]).await;
            client.tracked().await;
            let replica = client.chunk(&town.world).await;
            clients.push((client, replica));
        }
        // Every tenth client reads nothing from here on.
        for round in 0..300 {
            town.decide(C, STRANGER, cells(0..1000, round % 250, None)).await;
            for (_, (client, replica)) in clients.iter_mut().enumerate().filter(|(i, _)| i % 10 != 0) {
                replica.apply(&client.updates().await).unwrap();
            }
        }
        let newest = town.live(C).replica.version();
        let mut lagged = 0;
        for (mut client, mut replica) in clients {
            while replica.version() != newest {
                match client.event().await {
                    event::Body::Updates(bytes) => {
                        replica.apply(&prost::Message::decode(bytes).unwrap()).unwrap();
                    }
                    event::Body::Chunk(chunk) => replica = scene::replica(&town.world, &chunk),
                    event::Body::Lagging(_) => lagged += 1,
                    event::Body::Tracked(_) => {}
                    other => panic!("{other:?}"),
                }
            }
            assert_eq!(replica.hash(), town.live(C).replica.hash());
        }
        assert!(
            lagged >= 4,
            "no client lagged: the socket buffers of this machine hold everything, so this proves nothing"
        );
    }
}

/// Counts the sockets that the gateways of this process close, by reason, as the metric
/// `driftless_gateway_closed_total` does.
struct ClosedSockets;

static CLOSED: Mutex<BTreeMap<String, Arc<AtomicU64>>> = Mutex::new(BTreeMap::new());

impl ClosedSockets {
    fn install() {
        static INSTALLED: Once = Once::new();
        INSTALLED.call_once(|| metrics::set_global_recorder(Self).map_err(drop).expect("no other recorder"));
    }

    fn by_reason(reason: &str) -> u64 {
        CLOSED.lock().unwrap().get(reason).map_or(0, |count| count.load(Ordering::Relaxed))
    }
}

impl metrics::Recorder for ClosedSockets {
    fn describe_counter(&self, _: metrics::KeyName, _: Option<metrics::Unit>, _: metrics::SharedString) {}

    fn describe_gauge(&self, _: metrics::KeyName, _: Option<metrics::Unit>, _: metrics::SharedString) {}

    fn describe_histogram(&self, _: metrics::KeyName, _: Option<metrics::Unit>, _: metrics::SharedString) {}

    fn register_counter(&self, key: &metrics::Key, _: &metrics::Metadata<'_>) -> metrics::Counter {
        if key.name() != "driftless_gateway_closed_total" {
            return metrics::Counter::noop();
        }
        let reason = key.labels().map(metrics::Label::value).collect();
        metrics::Counter::from_arc(Arc::clone(CLOSED.lock().unwrap().entry(reason).or_default()))
    }

    fn register_gauge(&self, _: &metrics::Key, _: &metrics::Metadata<'_>) -> metrics::Gauge {
        metrics::Gauge::noop()
    }

    fn register_histogram(&self, _: &metrics::Key, _: &metrics::Metadata<'_>) -> metrics::Histogram {
        metrics::Histogram::noop()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn r9_a_client_that_takes_no_bytes_is_closed_after_the_write_timeout() {
    ClosedSockets::install();
    let mut town = Town::new().await;
    let core = CoreSettings { socket_queue_bytes_max: 64 * 1024, ..settings().core };
    let running = town.gateway(Settings { core, write_timeout_ms: 300, ..settings() }).await;
    let mut client = running.greeted(&town.token("ann")).await;
    client.send([track(C, None)]).await;
    client.tracked().await;
    for i in 0..3000 {
        town.decide(C, STRANGER, cells(0..1000, i % 250, None)).await;
    }
    let reason = close::name(close::WRITE_TIMEOUT);
    let closed = async {
        while ClosedSockets::by_reason(reason) == 0 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    let waited = tokio::time::timeout(PATIENCE, closed).await;
    waited.unwrap_or_else(|_| panic!("not closed for {reason}, but {:?}", CLOSED.lock().unwrap()));
    // Bytes in the kernel's buffers still arrive, then the connection ends.
    loop {
        match client.message().await {
            Some(Ok(Message::Close(frame))) => assert_eq!(u16::from(frame.unwrap().code), close::WRITE_TIMEOUT),
            Some(Ok(_)) => {}
            Some(Err(_)) | None => break,
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_expired_token_reads_nothing_new_until_it_is_renewed() {
    let town = Town::new().await;
    let running = town.gateway(settings()).await;
    let mut client = running.socket().await;
    client.send([hello(&town.token_of("ann", &["canvas/"], 5))]).await;
    let ends_ms = client.welcome().await.token_expires_at * 1000;
    let track_now = |chunk: &str| track(chunk, None);
    client.send([track_now(C), track_now("canvas/0/1")]).await;
    for _ in 0..2 {
        client.tracked().await;
        client.chunk(&town.world).await;
    }
    while now_ms() < ends_ms {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    client.send([track_now("canvas/0/2")]).await;
    let event::Body::Refused(refused) = client.event().await else { panic!("not refused") };
    assert_eq!(refused.code(), RefusalCode::Token);
    let renew = |token: String| request::Body::Renew(proto::Renew { token });
    client.send([renew(town.token("bob"))]).await;
    assert!(matches!(client.event().await, event::Body::Refused(_)), "the token of another user");
    client.send([renew(town.token_of("ann", &[C, "canvas/0/2"], 60)), track_now("canvas/0/2")]).await;
    let mut names = Vec::new();
    for _ in 0..4 {
        names.push(match client.event().await {
            event::Body::Renewed(_) => "renewed".to_owned(),
            event::Body::TrackRejected(r) => format!("rejected {}", r.chunk_id),
            event::Body::Tracked(t) => format!("tracked {}", t.chunk_id),
            event::Body::Chunk(c) => format!("chunk {}", c.chunk_id),
            other => panic!("{other:?}"),
        });
    }
    assert_eq!(names, ["renewed", "rejected canvas/0/1", "tracked canvas/0/2", "chunk canvas/0/2"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_close_code_reaches_the_client() {
    let town = Town::new().await;
    let running = town.gateway(settings()).await;
    // More bytes follow the wrong message: a TCP reset must not overtake the close frame.
    let mut client = running.greeted(&town.token("ann")).await;
    client.socket.feed(Message::Text("{}".into())).await.unwrap();
    client.socket.feed(Message::Binary(vec![1; 200_000].into())).await.unwrap();
    client.socket.flush().await.unwrap();
    assert_eq!(client.closed().await, close::FRAME_UNTRUSTED);

    let mut client = running.greeted(&town.token("ann")).await;
    client.socket.send(Message::Binary(vec![1; 300_000].into())).await.unwrap();
    assert_eq!(client.closed().await, close::FRAME_UNTRUSTED);

    let mut client = running.socket().await;
    client.send([hello("no token"), track(C, None)]).await;
    assert_eq!(client.closed().await, close::TOKEN);

    // The gateway answers a close frame of the client.
    let mut client = running.greeted(&town.token("ann")).await;
    let frame = CloseFrame { code: 1000.into(), reason: "bye".into() };
    client.socket.send(Message::Close(Some(frame))).await.unwrap();
    match client.message().await {
        Some(Ok(Message::Close(Some(frame)))) => assert_eq!(u16::from(frame.code), 1000),
        other => panic!("{other:?}"),
    }

    let mut client = running.greeted(&town.token("ann")).await;
    client.send([track(C, None)]).await;
    client.tracked().await;
    let Running { shutdown, gateway, .. } = running;
    let ended = tokio::spawn(shutdown.end());
    assert_eq!(client.closed().await, close::SHUTTING_DOWN);
    drop(client);
    gateway.join().await.unwrap();
    tokio::time::timeout(PATIENCE, ended).await.expect("the shutdown completes").unwrap();
}

/// In a rolling deployment, a gateway that shuts down closes its sockets one after the other. It
/// serves each socket until that socket is closed.
#[tokio::test(flavor = "multi_thread")]
async fn a_draining_gateway_closes_its_sockets_one_by_one() {
    let mut town = Town::new().await;
    let running = town.gateway(Settings { drain_ms: 600_000, shards: 1, ..settings() }).await;
    let mut clients = Vec::new();
    for name in ["ann", "bob", "cid"] {
        let mut client = running.greeted(&town.token(name)).await;
        client.send([track(C, None)]).await;
        client.tracked().await;
        client.chunk(&town.world).await;
        clients.push(client);
    }
    let Running { shutdown, gateway, .. } = running;
    let ended = tokio::spawn(shutdown.end());
    let (mut last, mut first) = (clients.pop().unwrap(), clients.remove(0));
    assert_eq!(first.closed().await, close::SHUTTING_DOWN);
    town.decide(C, STRANGER, cells(0..1, 5, None)).await;
    assert_eq!(last.updates().await.first_version, 1);
    // The gateway ends once all sockets are gone.
    drop((first, last, clients));
    gateway.join().await.unwrap();
    tokio::time::timeout(PATIENCE, ended).await.expect("the shutdown completes").unwrap();
}

/// After a restart all clients connect at once. They are admitted one after the other, and each
/// resumes without missing or doubling an update.
#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_is_not_admitted_is_told_when_to_retry_and_resumes_then() {
    let mut town = Town::new().await;
    let Running { shutdown, gateway, .. } = town.gateway(settings()).await;
    let ended = tokio::spawn(shutdown.end());
    gateway.join().await.unwrap();
    tokio::time::timeout(PATIENCE, ended).await.expect("the shutdown completes").unwrap();
    town.decide(C, STRANGER, cells(0..1, 4, None)).await;
    let replica = town.live(C).replica.clone();
    let have = Have { version: replica.version().0, hash: replica.clone().hash().to_bytes(), ..Have::default() };
    town.decide(C, STRANGER, cells(0..1, 5, None)).await;

    // Six sockets of one address are admitted at once, then four a second.
    let running = town.gateway(Settings { admissions_per_second: 4, ..settings() }).await;
    let mut waiting = std::collections::VecDeque::from([tokio::time::Instant::now(); 14]);
    let mut told = Vec::new();
    while let Some(at) = waiting.pop_front() {
        tokio::time::sleep_until(at).await;
        let mut client = running.socket().await;
        client.send([hello(&town.token("ann")), track(C, Some(have.clone()))]).await;
        match client.welcome_or_closed().await {
            Ok(()) => {}
            Err((code, reason)) => {
                assert_eq!(code, close::OVERLOADED);
                let after_ms = close::retry_after_ms(&reason).expect("the reason names the time to retry after");
                told.push(after_ms);
                waiting.push_back(tokio::time::Instant::now() + Duration::from_millis(after_ms.into()));
                continue;
            }
        }
        let mut replica = replica.clone();
        assert_eq!(client.tracked().await.version, 2);
        replica.apply(&client.updates().await).unwrap();
        assert_eq!(replica.version().0, 2);
    }
    assert!(!told.is_empty(), "fourteen clients are more than the six that are admitted at once");
    let distinct: std::collections::BTreeSet<u32> = told.iter().copied().collect();
    assert_eq!(distinct.len(), told.len(), "each client is told a different time: {told:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn r12_a_client_that_is_ahead_is_sent_to_another_gateway() {
    let town = Town::new().await;
    let core = CoreSettings { behind_max_ms: 300, ..settings().core };
    let running = town.gateway(Settings { core, ..settings() }).await;
    let mut client = running.greeted(&town.token("ann")).await;
    client.send([track(C, Some(Have { version: 3, hash: vec![1; 32].into(), ..Have::default() }))]).await;
    assert_eq!(client.closed().await, close::BEHIND);
}

/// The client pipelines many requests, and the gateway answers each one.
#[tokio::test(flavor = "multi_thread")]
async fn a_flood_of_requests_is_answered_in_order() {
    let town = Town::new().await;
    let running = town.gateway(settings()).await;
    let mut client = running.greeted(&town.token("ann")).await;
    for round in 0..50u64 {
        let requests = (0..100).map(|_| request::Body::Untrack(proto::Untrack { chunk_id: "no id".into() }));
        let ping = request::Body::Ping(proto::Ping { nonce: round });
        client.send(requests.chain([ping])).await;
    }
    let (mut refused, mut pongs) = (0, 0);
    while refused < 5000 || pongs < 50 {
        match client.event().await {
            event::Body::Refused(_) => refused += 1,
            event::Body::Pong(pong) => {
                assert_eq!(pong.nonce, pongs);
                pongs += 1;
            }
            other => panic!("{other:?}"),
        }
    }
}
