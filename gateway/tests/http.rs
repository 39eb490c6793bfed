//! The HTTP API of a whole gateway, and the events of one chunk.

mod scene;

use driftless_gateway::Settings;
use driftless_schemas::{Hash, SessionId, limits};
use scene::*;
use serde_json::{Value, json};
use tokio::io::AsyncReadExt as _;
use tokio::net::TcpStream;

const C: &str = "canvas/0/0";

#[tokio::test(flavor = "multi_thread")]
async fn content_is_served_in_the_requested_form_and_revalidated_by_its_etag() {
    let mut town = Town::new().await;
    let writer = SessionId::new(now_ms() as u64, [1; 10]).writer("ann");
    town.decide(C, writer, cells(0..2, 7, None)).await;
    let hash = town.live(C).replica.hash();
    let running = town.gateway(settings()).await;
    let bearer = format!("Bearer {}", town.token("ann"));
    let get = async |path: &str, accept: &str, known: &str| {
        let mut headers = vec![("authorization", bearer.as_str())];
        headers.extend([("accept", accept)].into_iter().filter(|(_, v)| !v.is_empty()));
        headers.extend([("if-none-match", known)].into_iter().filter(|(_, v)| !v.is_empty()));
        running.http(&format!("/v1/chunks/{path}"), &headers).await
    };
    let strong = format!("\"{hash}\"");
    let weak = format!("W/{strong}");
    for (path, accept, kind, tag) in [
        (C, "", "application/json", &weak),
        (C, "text/html, */*;q=0.8", "application/json", &weak),
        (C, "application/octet-stream", "application/octet-stream", &strong),
        (C, "image/avif,image/*,*/*;q=0.8", "image/png", &weak),
        ("canvas/0/0.json", "image/png", "application/json", &weak),
        ("canvas/0/0.bin", "", "application/octet-stream", &strong),
        ("canvas/0/0.png", "", "image/png", &weak),
    ] {
        let answer = get(path, accept, "").await;
        assert_eq!((answer.status, answer.headers["content-type"].as_str()), (200, kind), "{path} {accept}");
        assert_eq!((&answer.headers["etag"], answer.headers["driftless-version"].as_str()), (tag, "1"));
        assert_eq!(answer.headers["vary"], "accept, authorization, origin");
        assert_eq!(answer.headers["cache-control"], "private, no-cache");
        match kind {
            "application/octet-stream" => assert_eq!(Hash::of(&answer.body), hash),
            "application/json" => assert_eq!(answer.json()["hash"], json!(hash)),
            _ => assert!(answer.body.starts_with(b"\x89PNG")),
        }
        for known in [strong.as_str(), &weak, "*", &format!("\"other\", {strong}")] {
            let answer = get(path, accept, known).await;
            assert_eq!((answer.status, answer.body.len()), (304, 0), "{known}");
            assert_eq!(
                (&answer.headers["etag"], answer.headers["vary"].as_str()),
                (tag, "accept, authorization, origin")
            );
        }
        assert_eq!(get(path, accept, "\"other\"").await.status, 200);
    }
    for (path, accept, status, code) in [
        (C, "text/html", 406, "not_acceptable"),
        ("canvas/0/0.gif", "", 404, "unknown_extension"),
        ("canvas/0/5000", "", 404, "out_of_bounds"),
        ("town/0/0", "", 404, "unknown_family"),
        ("things/0/0", "", 403, "no_read_access"),
    ] {
        let answer = get(path, accept, "").await;
        assert_eq!(answer.status, status, "{path}");
        assert!(String::from_utf8_lossy(&answer.body).contains(code), "{path}");
    }
    assert_eq!(running.http("/v1/chunks/canvas/0/0", &[]).await.status, 401);
}

/// A picture keeps a core busy for milliseconds, so it counts as several requests.
#[tokio::test(flavor = "multi_thread")]
async fn pictures_and_json_cost_their_user_what_they_cost() {
    let mut town = Town::new().await;
    town.decide(C, SessionId::new(now_ms() as u64, [1; 10]).writer("ann"), cells(0..2, 7, None)).await;
    let each = 1 + town.live(C).replica.encoding().len() / limits::FORM_BYTES_PER_REQUEST;
    assert!(each > 2, "{each}");
    let set = Settings { requests_per_second: 1, requests_burst: 3 * each as u32, ..settings() };
    let running = town.gateway(set).await;
    let get = async |user: &str, form: &str| {
        let bearer = format!("Bearer {}", town.token(user));
        running.http(&format!("/v1/chunks/{C}.{form}"), &[("authorization", bearer.as_str())]).await.status
    };
    assert_eq!([get("ann", "png").await, get("ann", "json").await, get("ann", "png").await], [200; 3]);
    assert_eq!([get("ann", "png").await, get("ben", "png").await], [429, 200], "each user pays for itself");
}

#[tokio::test(flavor = "multi_thread")]
async fn only_the_canonical_encoding_is_served_in_ranges() {
    let mut town = Town::new().await;
    town.decide(C, SessionId::new(now_ms() as u64, [1; 10]).writer("ann"), cells(0..2, 7, None)).await;
    let encoding = town.live(C).replica.encoding().into_owned();
    let etag = format!("\"{}\"", town.live(C).replica.hash());
    let running = town.gateway(settings()).await;
    let token = town.token("ann");
    let ask = async |method: &str, form: &str, headers: &[(&str, &str)]| {
        running.ask(method, &format!("/v1/chunks/{C}.{form}?token={token}"), headers).await
    };
    let whole = ask("GET", "bin", &[]).await;
    assert_eq!((whole.status, &whole.headers["accept-ranges"][..]), (200, "bytes"));
    for (range, part) in [("bytes=0-3", 0..4), ("bytes=32770-", 32_770..32_780), ("bytes=-4", 32_776..32_780)] {
        let answer = ask("GET", "bin", &[("range", range), ("if-range", &etag)]).await;
        assert_eq!((answer.status, &answer.body[..]), (206, &encoding[part.clone()]), "{range}");
        let content_range = format!("bytes {}-{}/32780", part.start, part.end - 1);
        assert_eq!((&answer.headers["content-range"], &answer.headers["etag"]), (&content_range, &etag));
    }
    let behind = ask("GET", "bin", &[("range", "bytes=32780-")]).await;
    assert_eq!((behind.status, &behind.headers["content-range"][..]), (416, "bytes */32780"));
    assert_eq!(behind.json()["type"], "urn:driftless:problem:range_not_satisfiable");
    for (form, headers) in [
        ("bin", &[("range", "bytes=0-3"), ("if-range", "\"other\"")][..]),
        ("bin", &[("range", "bytes=0-3,8-9")]),
        ("json", &[("range", "bytes=0-3")]),
        ("png", &[("range", "bytes=0-3")]),
    ] {
        let answer = ask("GET", form, headers).await;
        assert_eq!((answer.status, answer.headers.get("content-range")), (200, None), "{form} {headers:?}");
    }
    let same = ask("GET", "bin", &[("range", "bytes=0-3"), ("if-none-match", &etag)]).await;
    assert_eq!(same.status, 304, "a matching ETag wins over a range");
    let head = ask("HEAD", "bin", &[]).await;
    assert_eq!((head.status, &head.headers["content-length"][..], head.body.len()), (200, "32780", 0));
    for (path, allow) in [(format!("/v1/chunks/{C}.bin"), "GET, HEAD"), ("/v1/world".into(), "GET, HEAD")] {
        for method in ["POST", "DELETE", "PUT", "OPTIONS"] {
            let answer = running.ask(method, &path, &[]).await;
            assert_eq!((answer.status, &answer.headers["allow"][..]), (405, allow), "{method} {path}");
            assert_eq!(answer.json()["type"], "urn:driftless:problem:method_not_allowed");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_forgotten_command_has_no_definite_status() {
    let mut town = Town::new().await;
    let now = now_ms() as u64;
    let session = SessionId::new(now, [1; 10]);
    for _ in 0..65 {
        town.decide(C, session.writer("ann"), cells(0..1, 7, None)).await;
    }
    // There are more writers than a ledger holds, so the ledger evicts the oldest writer. Its floor
    // rises to the time of that writer's session: older unknown sessions are expired.
    let other = "canvas/1/0";
    for i in 0..1025_u64 {
        let mut tail = [2; 10];
        tail[..8].copy_from_slice(&i.to_be_bytes());
        town.decide(other, SessionId::new(now - 2000 + i, tail).writer("ann"), cells(0..1, 7, None)).await;
    }
    let running = town.gateway(settings()).await;
    let token = town.token("ann");
    let status = async |chunk: &str, session: SessionId, seq: u64| {
        let path = format!("/v1/chunks/{chunk}/commands/{session}/{seq}?token={token}");
        running.http(&path, &[]).await.json()["status"].clone()
    };
    assert_eq!(status(C, session, 1).await, "beyond_window");
    assert_eq!(status(C, session, 2).await, "committed");
    assert_eq!(status(C, session, 66).await, "unresolved");
    assert_eq!(status(other, SessionId::new(now - 3000, [3; 10]), 1).await, "expired");
    assert_eq!(status(other, session, 1).await, "unresolved", "above the floor, it may still come");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_author_gets_the_status_of_its_command() {
    let mut town = Town::new().await;
    let session = SessionId::new(now_ms() as u64, [1; 10]);
    let writer = session.writer("ann");
    town.decide(C, writer, cells(0..2, 7, None)).await;
    town.decide(C, writer, cells(0..2, 8, Some(1))).await;
    let running = town.gateway(settings()).await;
    let status = async |who: &str, seq: &str| {
        let path = format!("/v1/chunks/{C}/commands/{session}/{seq}?token={}", town.token(who));
        let answer = running.http(&path, &[]).await;
        (answer.status, answer.json())
    };
    assert_eq!(status("ann", "1").await, (200, json!({"status": "committed", "version": 1, "history": ""})));
    let (code, body) = status("ann", "2").await;
    assert_eq!(
        (code, &body["status"], &body["discarded"]["reason"]),
        (200, &json!("not_committed"), &json!("DISCARD_REASON_CONFLICT"))
    );
    assert_eq!(status("ann", "3").await, (200, json!({"status": "unresolved", "history": ""})));
    assert_eq!(
        status("bob", "1").await,
        (200, json!({"status": "unresolved", "history": ""})),
        "the same session id, but another user"
    );
    for seq in ["0", "-1", "x"] {
        assert_eq!(status("ann", seq).await.0, 400, "{seq}");
    }
}

/// Reads the stream until it has `count` events, and returns them as (name, id, data).
async fn events(stream: &mut TcpStream, count: usize) -> Vec<(String, String, Value)> {
    let mut text = String::new();
    let mut buffer = [0; 4096];
    loop {
        let events: Vec<_> = text.replace("\r\n", "\n").split("\n\n").filter_map(event).collect();
        // The last event may be incomplete.
        if events.len() > count || (events.len() == count && text.ends_with("\n\n\r\n")) {
            return events.into_iter().take(count).collect();
        }
        let n = tokio::time::timeout(PATIENCE, stream.read(&mut buffer)).await.unwrap().unwrap();
        assert!(n > 0, "the stream ended: {text}");
        text.push_str(std::str::from_utf8(&buffer[..n]).unwrap());
    }
}

fn event(block: &str) -> Option<(String, String, Value)> {
    let field = |name: &str| block.lines().find_map(|line| line.strip_prefix(name)).map(|v| v.trim().to_owned());
    let data = field("data:")?;
    Some((field("event:")?, field("id:").unwrap_or_default(), serde_json::from_str(&data).ok()?))
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_stream_resumes_after_its_last_event() {
    let mut town = Town::new().await;
    let session = SessionId::new(now_ms() as u64, [1; 10]);
    let writer = session.writer("ann");
    town.decide(C, writer, cells(0..2, 7, None)).await;
    let running = town.gateway(settings()).await;
    let path = format!("/v1/chunks/{C}/events?session={session}&token={}", town.token("ann"));
    let mut stream = running.stream(&path, &[]).await;
    let got = events(&mut stream, 2).await;
    let names: Vec<&str> = got.iter().map(|(name, ..)| name.as_str()).collect();
    assert_eq!(names, ["tracked", "chunk"]);
    assert_eq!(got[0].1, "", "Tracked has no id: the content that it announces is still to come");
    assert_eq!(got[0].2["resolved"], json!({"seq": 1, "committed_bits": "0000000000000001"}));
    let hash = |town: &mut Town| town.live(C).replica.hash();
    assert_eq!(got[1].1, format!("1:{}", hash(&mut town)));

    town.decide(C, writer, cells(0..2, 8, Some(1))).await;
    town.decide(C, writer, cells(0..2, 8, None)).await;
    let more = events(&mut stream, 2).await;
    assert_eq!((more[0].0.as_str(), &more[0].2["outcomes"][0]["seq"]), ("outcomes", &json!(2)));
    assert_eq!((more[1].0.as_str(), &more[1].1), ("updates", &format!("2:{}", hash(&mut town))));
    drop(stream);

    town.decide(C, writer, cells(0..2, 9, None)).await;
    let mut resumed = running.stream(&path, &[("last-event-id", &more[1].1)]).await;
    let got = events(&mut resumed, 2).await;
    assert_eq!((got[0].0.as_str(), got[1].0.as_str()), ("tracked", "updates"));
    assert_eq!(got[1].1, format!("3:{}", hash(&mut town)));
    // `have` in the query resumes a stream too. The gateway ignores a malformed id, and such a
    // stream begins with a Chunk.
    for (id, second) in [(&got[1].1, None), (&"1:00".to_owned(), Some("chunk"))] {
        let mut stream = running.stream(&format!("{path}&have={id}"), &[]).await;
        town.decide(C, writer, cells(5..6, 9, None)).await;
        let got = events(&mut stream, 2).await;
        assert_eq!(got[0].0, "tracked");
        assert_eq!(got[1].0, second.unwrap_or("updates"), "{got:?}");
    }
}

#[tokio::test]
async fn positions_are_for_tokens_that_may_read_the_whole_world() {
    let town = Town::new().await;
    let running = town.gateway(settings()).await;
    let status = async |token: Option<String>| {
        let authorization = token.map(|token| format!("Bearer {token}"));
        let headers: Vec<_> = authorization.iter().map(|text| ("authorization", text.as_str())).collect();
        let answer = running.http("/v1/partitions", &headers).await;
        (answer.status, answer.json())
    };
    assert_eq!(status(None).await.0, 401);
    let families: Vec<_> = town.world.families().iter().map(|family| format!("{}/", family.spec.name)).collect();
    assert!(families.len() > 1, "a token for one of them would be one for all");
    for family in &families {
        let (code, problem) = status(Some(town.token_of("ann", &[family], 60))).await;
        assert_eq!((code, &problem["type"]), (403, &"urn:driftless:problem:no_read_access".into()), "{family}");
        let missing = families.iter().find(|other| *other != family).unwrap();
        assert!(problem["detail"].as_str().unwrap().contains(missing), "{problem}");
    }
    let (code, positions) = status(Some(town.token_for_all("ann"))).await;
    assert_eq!(code, 200);
    assert_eq!(positions["positions"].as_array().unwrap().len(), town.world.partitions().count());
}
