//! Websockets against a whole gateway.

mod scene;

use driftless_gateway::{CoreSettings, Settings};
use driftless_schemas::proto::{self, Have, RefusalCode, TrackRejectCode, event, outcome, request};
use driftless_schemas::{WriterId, close};
use futures_util::{SinkExt as _, StreamExt as _};
use scene::*;
use std::time::Duration;
use tokio::io::AsyncReadExt as _;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::CloseFrame;

const C: &str = "canvas/0/0";
const STRANGER: WriterId = WriterId([0xee; 16]);

#[tokio::test(flavor = "multi_thread")]
async fn a_client_follows_a_chunk_from_hello_on() {
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

    // Another one, with what is had.
    let mut second = running.greeted(&town.token("bob")).await;
    let have = Have { version: replica.version().0, hash: replica.hash().to_bytes() };
    second.send([track(C, Some(have))]).await;
    assert_eq!(second.tracked().await.version, 2);
    second.send([request::Body::Ping(proto::Ping { nonce: 5 })]).await;
    assert_eq!(second.event().await, event::Body::Pong(proto::Pong { nonce: 5 }));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_denied_user_is_closed_at_once_and_its_event_stream_too() {
    let town = Town::new().await;
    let running = town.gateway(settings()).await;
    let mut denied = running.greeted(&town.token("mallory")).await;
    let mut other = running.greeted(&town.token("ann")).await;
    let path = format!("/v1/chunks/{C}/events?token={}", town.token("mallory"));
    let mut stream = running.stream(&path, &[]).await;
    let mut answer = Vec::new();
    while !String::from_utf8_lossy(&answer).contains("event:tracked") {
        let read = tokio::time::timeout(PATIENCE, stream.read_buf(&mut answer)).await.unwrap().unwrap();
        assert!(read > 0, "it ended: {}", String::from_utf8_lossy(&answer));
    }
    town.deny("sub mallory\n");
    // Neither says anything; both are ended well before the next ping.
    assert_eq!(denied.closed().await, close::TOKEN);
    tokio::time::timeout(PATIENCE, stream.read_to_end(&mut answer)).await.unwrap().unwrap();
    let answer = String::from_utf8(answer).unwrap();
    assert!(answer.contains("event:closed") && answer.contains("4502") && answer.contains("denied"), "{answer}");
    assert_eq!(running.http(&path, &[]).await.status, 401);
    other.send([request::Body::Ping(proto::Ping { nonce: 5 })]).await;
    assert_eq!(other.event().await, event::Body::Pong(proto::Pong { nonce: 5 }));
}

#[tokio::test(flavor = "multi_thread")]
async fn who_came_in_by_a_key_that_is_taken_out_is_closed() {
    let town = Town::new().await;
    let running = town.gateway(settings()).await;
    let mut ann = running.greeted(&town.token("ann")).await;
    town.change_key();
    // It says nothing, and is closed all the same: well before the next ping.
    assert_eq!(ann.closed().await, close::TOKEN);
    let mut again = running.socket().await;
    again.send([hello(&town.token("ann"))]).await;
    assert_eq!(again.closed().await, close::TOKEN);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_user_has_so_many_sockets_and_streams_and_others_have_theirs() {
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
    // The place is free as soon as the gateway has seen the end.
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
    .expect("a place");
}

#[tokio::test(flavor = "multi_thread")]
async fn who_asks_for_too_much_is_not_read_for_a_while_and_loses_nothing() {
    let town = Town::new().await;
    let running = town.gateway(Settings { requests_per_second: 100, requests_burst: 10, ..settings() }).await;
    let mut client = running.greeted(&town.token("ann")).await;
    let began = std::time::Instant::now();
    // Two frames: the second one is not read before the first is worked off.
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
    // The user's requests over HTTP come out of the same bucket.
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
    // What a replaced owner writes counts for nobody.
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
    assert_eq!(replica.version().0, 5, "as it is stored");
    replica.apply(&client.updates().await).unwrap();
    assert_eq!(replica.hash(), town.live(C).replica.hash());
    town.snapshot(C).await;
    town.decide(C, STRANGER, cells(10..11, 9, None)).await;
    replica.apply(&client.updates().await).unwrap();
    let positions = running.http("/v1/partitions", &[]).await.json();
    let at = &positions["positions"][usize::try_from(partition.0).unwrap()];
    assert_eq!((at["offset"].as_i64(), at["epoch"].as_u64(), at["n"].as_u64()), (Some(11), Some(1), Some(9)));
}

/// R9: nothing is read for a while, although much is sent; then everything is there, without a gap.
#[tokio::test(flavor = "multi_thread")]
async fn r9_a_slow_client_lags_and_gets_everything_in_the_end() {
    let mut town = Town::new().await;
    let core = CoreSettings { socket_queue_bytes_max: 64 * 1024, ..settings().core };
    // However long it takes to decide all that: who is slow and alive is not closed.
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
    assert!(lagged > 0, "the buffers of this machine took all of it: the test says nothing");
    assert_eq!(replica.hash(), town.live(C).replica.hash());
}

/// Whether they are written to together or one by one.
#[tokio::test(flavor = "multi_thread")]
async fn r9_many_clients_get_everything_in_order_while_some_take_nothing() {
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
        // Every tenth hears nothing from here on.
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
        assert!(lagged >= 4, "the buffers of this machine took all of it: the test says nothing");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_takes_nothing_is_let_go() {
    let mut town = Town::new().await;
    let core = CoreSettings { socket_queue_bytes_max: 64 * 1024, ..settings().core };
    let running = town.gateway(Settings { core, write_timeout_ms: 300, ..settings() }).await;
    let mut client = running.greeted(&town.token("ann")).await;
    client.send([track(C, None)]).await;
    client.tracked().await;
    for i in 0..3000 {
        town.decide(C, STRANGER, cells(0..1000, i % 250, None)).await;
    }
    // 64 KiB may take 4 s more on the slowest line that is served, and the farewell takes 2 s.
    tokio::time::sleep(Duration::from_secs(8)).await;
    // What the buffers held still comes, and then the end: nobody was there any more.
    loop {
        match client.message().await {
            // It answers no pings either: where the decisions take longer than 25 s, that is noticed first.
            Some(Ok(Message::Close(frame))) => {
                let code = u16::from(frame.unwrap().code);
                break assert!([close::WRITE_TIMEOUT, close::DEAD_PEER].contains(&code), "{code}");
            }
            Some(Ok(_)) => {}
            Some(Err(_)) | None => break,
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_is_renewed_or_reads_nothing_new() {
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
    assert!(matches!(client.event().await, event::Body::Refused(_)), "another user's");
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
async fn sockets_end_with_a_code_that_arrives() {
    let town = Town::new().await;
    let running = town.gateway(settings()).await;
    // With more bytes behind what is wrong: a reset must not overtake the close frame.
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

    // The peer's own close is answered.
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
    tokio::time::timeout(PATIENCE, ended).await.expect("nobody holds on").unwrap();
}

/// A rolling deploy: sockets are closed one after the other, and those that wait for it are served.
#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_that_ends_lets_its_sockets_go_one_by_one() {
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
    // Nobody is left to wait for.
    drop((first, last, clients));
    gateway.join().await.unwrap();
    tokio::time::timeout(PATIENCE, ended).await.expect("nobody holds on").unwrap();
}

/// After a restart all come at once: they are let in one after the other, and none misses or doubles an update.
#[tokio::test(flavor = "multi_thread")]
async fn who_comes_too_soon_is_told_when_to_come_again_and_resumes_then() {
    let mut town = Town::new().await;
    let Running { shutdown, gateway, .. } = town.gateway(settings()).await;
    let ended = tokio::spawn(shutdown.end());
    gateway.join().await.unwrap();
    tokio::time::timeout(PATIENCE, ended).await.expect("nobody holds on").unwrap();
    town.decide(C, STRANGER, cells(0..1, 4, None)).await;
    let replica = town.live(C).replica.clone();
    let have = Have { version: replica.version().0, hash: replica.clone().hash().to_bytes() };
    town.decide(C, STRANGER, cells(0..1, 5, None)).await;

    // Eight at once, then four a second.
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
                let after_ms = close::retry_after_ms(&reason).expect("the reason says when");
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
    assert!(!told.is_empty(), "fourteen are more than eight");
    let distinct: std::collections::BTreeSet<u32> = told.iter().copied().collect();
    assert_eq!(distinct.len(), told.len(), "each is told another time: {told:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn r12_a_client_that_is_ahead_is_sent_elsewhere() {
    let town = Town::new().await;
    let core = CoreSettings { behind_max_ms: 300, ..settings().core };
    let running = town.gateway(Settings { core, ..settings() }).await;
    let mut client = running.greeted(&town.token("ann")).await;
    client.send([track(C, Some(Have { version: 3, hash: vec![1; 32].into() }))]).await;
    assert_eq!(client.closed().await, close::BEHIND);
}

/// Many requests, pipelined: the hub takes them as fast as it can, and every one is answered.
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
