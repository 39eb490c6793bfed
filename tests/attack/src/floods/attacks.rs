//! The floods: the bytes that each one sends, and to whom.

use super::Flood;
use super::pour::{Pour, Poured, get, handshake, message, post, pour};
use super::services::{LARGE_CHUNKS, NOISY_CHUNKS, large, noisy};
use crate::wire::{Http, Socket, frame};
use anyhow::{Result, bail, ensure};
use bytes::Bytes;
use driftless_e2e_tests::edits::{put, set};
use driftless_e2e_tests::raw::{hello, submit};
use driftless_schemas::proto::{Refresh, Track, request};
use driftless_schemas::{close, limits};
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;
use tokio::time::Instant;

/// The last octet of the first attacker's address.
const MALLORY: u8 = 2;

fn families() -> [&'static str; 3] {
    ["canvas/", "things/", "large/"]
}

impl Flood {
    /// A token of an attacker who may write everything.
    fn token(&self, user: &str) -> String {
        self.tokens.issue(user, &[], &families())
    }

    /// A token of an attacker who may read everything.
    fn reading_token(&self, user: &str) -> String {
        self.tokens.issue(user, &families(), &[])
    }

    /// The bytes that open a websocket to `ingest` or `gateway` and say Hello.
    fn socket(service: &str, token: &str) -> Vec<u8> {
        [handshake(service), message([hello(token, &[])])].concat()
    }

    /// Checks that the attacker is refused for its rate after at most `most` further requests. A
    /// slow service has not served as many as the rate allows during the flood.
    async fn is_limited(&self, path: &str, token: Option<&str>, most: u32) -> Result<()> {
        if self.is_control {
            return Ok(());
        }
        let http = Http::from(Ipv4Addr::new(127, 0, 0, MALLORY), format!("http://{}", self.gateway));
        for _ in 0..most {
            match http.get(path, token).await? {
                429 => return Ok(()),
                200 => {}
                other => bail!("GET {path} is answered with {other}"),
            }
        }
        bail!("after the flood, {most} more GET {path} are answered with 200")
    }

    async fn pour(&self, pours: impl IntoIterator<Item = Pour>) -> Poured {
        let pours: Vec<Pour> = pours.into_iter().collect();
        self.begins.notify_one();
        let poured = pour(pours, Instant::now() + self.length).await;
        self.ends.notify_one();
        poured
    }
}

/// A connection that sends `then` again and again, and leaves the answers unread.
fn endless(to: SocketAddr, first: impl Into<Bytes>, then: impl Into<Bytes>) -> Pour {
    Pour { from: MALLORY, to, first: first.into(), then: then.into(), times: None, reads: false, reopens: true }
}

/// A connection that sends `first` and then stays open.
fn held(to: SocketAddr, from: u8, first: impl Into<Bytes>) -> Pour {
    Pour { from, to, first: first.into(), then: Bytes::new(), times: Some(0), reads: false, reopens: false }
}

fn track(chunk: &str) -> request::Body {
    request::Body::Track(Track { chunk_id: chunk.to_owned(), have: None })
}

/// Track requests for these chunks, in messages of bounded size.
fn tracks(chunks: impl Iterator<Item = String>) -> Vec<u8> {
    let all: Vec<String> = chunks.collect();
    all.chunks(1024).flat_map(|part| message(part.iter().map(|chunk| track(chunk)))).collect()
}

/// Requests on websockets without a token, whose answers are not read.
pub async fn before_hello(flood: Flood) -> Result<String> {
    let empty: Bytes = frame(0x82, &[0x0a, 0].repeat(limits::CLIENT_FRAME_REQUESTS_MAX), None).into();
    let at = |to, service| endless(to, handshake(service), empty.clone());
    let (gateway, ingest) = (at(flood.gateway, "gateway"), at(flood.ingest, "ingest"));
    let sent = flood.pour([gateway.clone(), gateway, ingest]).await;
    if !flood.is_control {
        // A client that reads sees why it is closed. It comes from another address, because the
        // attacker's may not open websockets for a while.
        let own = Ipv4Addr::new(127, 0, 0, MALLORY + 100);
        let mut socket = Socket::open_from(own, flood.gateway, "gateway", "").await?;
        socket.send(&empty).await;
        let code = socket.close_code(Duration::from_secs(5)).await?;
        ensure!(code == close::NO_HELLO, "a socket without Hello is closed with {code}");
    }
    Ok(format!("{sent} of empty requests"))
}

/// Pings whose pongs are not read, with a Hello and without.
pub async fn pings(flood: Flood) -> Result<String> {
    let pings: Bytes = frame(0x89, &[7; 125], None).repeat(512).into();
    let token = flood.token("pinger");
    let mut pours = Vec::new();
    for (to, service) in [(flood.gateway, "gateway"), (flood.ingest, "ingest")] {
        pours.push(endless(to, handshake(service), pings.clone()));
        pours.push(endless(to, Flood::socket(service, &token), pings.clone()));
    }
    Ok(format!("{} of pings", flood.pour(pours).await))
}

/// Small commands to many large chunks that have had no command before.
pub async fn dirty(flood: Flood) -> Result<String> {
    const OF_EACH: u32 = 500;
    let pours = (0..3).map(|user| {
        let first = 10_000 + flood.number * 10_000 + user * OF_EACH;
        let chunks: Vec<_> = (first..first + OF_EACH).map(large).collect();
        let commands = chunks
            .chunks(100)
            .flat_map(|part| message(part.iter().map(|chunk| submit(chunk.as_str(), 1, 0, set(user, 1)))));
        let first = Flood::socket("ingest", &flood.token(&format!("waker-{}-{user}", flood.number)));
        let first = [first, commands.collect()].concat();
        Pour { reads: true, ..held(flood.ingest, MALLORY, first) }
    });
    Ok(format!("{} of commands to {} large chunks", flood.pour(pours).await, 3 * OF_EACH))
}

/// Tracks of more large chunks than a gateway has memory for.
pub async fn replicas(flood: Flood) -> Result<String> {
    let token = flood.reading_token("collector");
    let all = tracks((0..LARGE_CHUNKS).map(|number| large(number).to_string()));
    let first = [Flood::socket("gateway", &token), all].concat();
    let unread = held(flood.gateway, MALLORY, first);
    let sent = flood.pour([Pour { reads: true, ..unread.clone() }, unread]).await;
    Ok(format!("{sent}, Track of {LARGE_CHUNKS} large chunks on each"))
}

/// Very many equal commands in JSON, from a user who may not write.
pub async fn equal_commands(flood: Flood) -> Result<String> {
    let session = driftless_schemas::SessionId::new(u64::try_from(driftless_e2e_tests::people::now_ms())?, [1; 10]);
    let cells: Vec<[u32; 2]> = (0..8).map(|cell| [cell, 1]).collect();
    let one = serde_json::json!({"session": session, "seq": 1, "command": {"set": cells}});
    let body = serde_json::to_vec(&vec![one; limits::HTTP_COMMANDS_MAX])?;
    let request = post("/v1/chunks/canvas/4/4/commands", &flood.reading_token("reader"), &body, body.len());
    let one = Pour { reads: true, ..endless(flood.ingest, Vec::new(), request) };
    Ok(format!("{} of equal commands", flood.pour([one.clone(), one]).await))
}

/// More silent connections than the services may have.
pub async fn descriptors(flood: Flood) -> Result<String> {
    let silent = [flood.ingest, flood.gateway]
        .into_iter()
        .flat_map(|to| (0..4).flat_map(move |address| (0..1100).map(move |_| held(to, MALLORY + address, Vec::new()))));
    Ok(format!("{}: silent, from 4 addresses", flood.pour(silent).await))
}

/// Bodies of requests with a bad token, one byte before their end.
pub async fn bodies(flood: Flood) -> Result<String> {
    let length = limits::CLIENT_FRAME_BYTES_MAX;
    let first: Bytes = post("/v1/chunks/canvas/4/4/commands", "nobody", &vec![b' '; length - 1], length).into();
    let pours =
        (0..3).flat_map(|address| std::iter::repeat_n(held(flood.ingest, MALLORY + address, first.clone()), 400));
    Ok(format!("{} of bodies without a token", flood.pour(pours).await))
}

/// Documents for everybody, as fast as they come.
pub async fn documents(flood: Flood) -> Result<String> {
    let requests = [get("/v1/world", None), get("/v1/openapi.json", None)].concat().repeat(16);
    let one = Pour { reads: true, ..endless(flood.gateway, Vec::new(), requests) };
    let sent = flood.pour(vec![one; 4]).await;
    flood.is_limited("/v1/world", None, 2 * limits::ANONYMOUS_REQUESTS_BURST).await?;
    Ok(format!("{sent} of GET"))
}

/// Refresh of a large chunk, with answers that are read and answers that are not.
pub async fn refreshes(flood: Flood) -> Result<String> {
    let chunk = large(1).to_string();
    let refresh = request::Body::Refresh(Refresh { chunk_id: chunk.clone(), version: 0 });
    let many: Bytes = message(vec![refresh; 512]).into();
    let pours = ["one", "two"].map(|user| {
        let token = flood.reading_token(&format!("asker-{user}"));
        let first = [Flood::socket("gateway", &token), message([track(&chunk)])].concat();
        Pour { reads: user == "one", ..endless(flood.gateway, first, many.clone()) }
    });
    Ok(format!("{} of Refresh", flood.pour(pours).await))
}

/// Pictures and JSON of large chunks.
pub async fn pictures(flood: Flood) -> Result<String> {
    let token = flood.reading_token("critic");
    let paths = (0..8).flat_map(|number| {
        let chunk = large(number);
        [format!("/v1/chunks/{chunk}.png"), format!("/v1/chunks/{chunk}.json")]
    });
    let requests: Vec<u8> = paths.flat_map(|path| get(&path, Some(&token))).collect();
    let one = Pour { reads: true, ..endless(flood.gateway, Vec::new(), requests) };
    let sent = flood.pour(vec![one; 8]).await;
    flood.is_limited(&format!("/v1/chunks/{}.png", large(0)), Some(&token), 200).await?;
    Ok(format!("{sent} of GET"))
}

/// Websockets that say Hello and are gone, from one address, as fast as they open.
pub async fn admissions(flood: Flood) -> Result<String> {
    let token = flood.reading_token("visitor");
    let pours = [(flood.gateway, "gateway"), (flood.ingest, "ingest")].into_iter().flat_map(|(to, service)| {
        let once = Pour { reopens: true, ..held(to, MALLORY, Flood::socket(service, &token)) };
        vec![once; 4]
    });
    Ok(format!("{}: Hello, and gone", flood.pour(pours).await))
}

/// One user tracks as many chunks that are not in memory as it may.
pub async fn loads(flood: Flood) -> Result<String> {
    let token = flood.reading_token("explorer");
    let pours = (0..4).map(|socket| {
        let first = flood.number * 20_000 + socket * 4_096;
        let ids = (first..first + 4_096).map(|id| format!("things/{}/{}", id / 1000, id % 1000));
        let first = [Flood::socket("gateway", &token), tracks(ids)].concat();
        Pour { reads: true, ..held(flood.gateway, MALLORY, first) }
    });
    Ok(format!("{} of Track", flood.pour(pours).await))
}

/// Messages whose last byte does not come, of users and of strangers.
pub async fn partial(flood: Flood) -> Result<String> {
    let whole = |bytes| frame(0x82, &vec![0; bytes], None);
    let (long, short) = (whole(limits::CLIENT_FRAME_BYTES_MAX), whole(limits::BEFORE_HELLO_BYTES_MAX));
    let mut pours = Vec::new();
    for (to, service) in [(flood.gateway, "gateway"), (flood.ingest, "ingest")] {
        for user in 0..8 {
            let token = flood.token(&format!("stutterer-{user}"));
            let first = Bytes::from([Flood::socket(service, &token), long[..long.len() - 1].to_vec()].concat());
            pours.extend((0..120).map(|_| held(to, MALLORY, first.clone())));
        }
        let first = Bytes::from([handshake(service), short[..short.len() - 1].to_vec()].concat());
        pours.extend((0..400).map(|_| held(to, MALLORY + 1, first.clone())));
    }
    Ok(format!("{} of unfinished messages", flood.pour(pours).await))
}

/// Very many sockets that track chunks which do not compress, and read nothing.
pub async fn unread(flood: Flood) -> Result<String> {
    let pours = (0..4).flat_map(|user| {
        let token = flood.reading_token(&format!("sleeper-{user}"));
        let first: Bytes = [Flood::socket("gateway", &token), tracks((0..NOISY_CHUNKS).map(noisy))].concat().into();
        std::iter::repeat_n(first, 110)
    });
    let gateway = flood.gateway;
    let pours = pours.map(|first| held(gateway, MALLORY, first));
    Ok(format!("{} of Track, and reads nothing", flood.pour(pours).await))
}

/// Long commands as fast as they go, to chunks that others track without reading; receipts are not
/// read either.
pub async fn bytes(flood: Flood) -> Result<String> {
    let value = "7".repeat(limits::COMMAND_BYTES_MAX - 100);
    let mut pours = Vec::new();
    for user in 0..4 {
        let chunk = format!("things/{}/{}", 20 + user, flood.number);
        let token = flood.token(&format!("shouter-{user}-{}", flood.number));
        let first = Flood::socket("ingest", &token);
        let commands = (1..=800_u64).flat_map(|seq| message([submit(&chunk, seq, seq - 1, put("same", &value))]));
        let first = [first, commands.collect()].concat();
        pours.push(held(flood.ingest, MALLORY, first));
        let listens: Bytes = [Flood::socket("gateway", &token), message([track(&chunk)])].concat().into();
        pours.extend((0..20).map(|_| held(flood.gateway, MALLORY, listens.clone())));
    }
    Ok(format!("{} of long commands", flood.pour(pours).await))
}

/// Event streams of a busy chunk and of large ones, which are not read.
pub async fn streams(flood: Flood) -> Result<String> {
    let pours = (0..4).flat_map(|user| {
        let token = flood.reading_token(&format!("listener-{user}"));
        (0..120).map(move |stream| {
            let path = format!("/v1/events?chunks=canvas/0/0,{}", large(user * 120 + stream));
            get(&path, Some(&token))
        })
    });
    let gateway = flood.gateway;
    Ok(format!("{} for event streams", flood.pour(pours.map(|first| held(gateway, MALLORY, first))).await))
}

/// Small commands as fast as they go, with receipts that are not read.
pub async fn receipts(flood: Flood) -> Result<String> {
    let pours = (0..8).map(|user| {
        let chunk = format!("canvas/{}/{}", 40 + user, flood.number);
        let first = Flood::socket("ingest", &flood.token(&format!("hurrier-{user}-{}", flood.number)));
        let commands = (1..=20_000_u64).map(|seq| submit(&chunk, seq, seq - 1, set(0, 1)));
        let commands: Vec<_> = commands.collect();
        let commands = commands.chunks(1024).flat_map(|part| message(part.iter().cloned()));
        held(flood.ingest, MALLORY, [first, commands.collect()].concat())
    });
    Ok(format!("{} of commands, and reads no receipt", flood.pour(pours).await))
}
