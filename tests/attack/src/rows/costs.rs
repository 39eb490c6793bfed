//! Little work for the attacker that was much work, or much memory, for a service. The attacker
//! does not wait for answers, and does not read them.

use super::Scene;
use crate::honest::Honest;
use crate::target::MEMORY_MAX;
use crate::wire::{Socket, connect_from, frame};
use anyhow::{Context as _, Result, ensure};
use driftless_e2e_tests::raw::hello;
use driftless_schemas::{close, format, limits};
use std::future::Future;
use std::net::Ipv4Addr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::io::AsyncWriteExt as _;
use tokio::time::{Instant, timeout};

/// How long a flood lasts.
const LENGTH: Duration = Duration::from_secs(3);
/// The limit on the memory that a flood may cost the attacked process, in bytes.
const GROWTH_MAX: u64 = 64 << 20;
/// The address of the attacker, another one than that of the honest client.
const MALLORY: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 2);

/// The observations of the honest client and of the attacked process during a flood.
struct Meanwhile {
    edits: usize,
    slowest: Duration,
    grown: u64,
}

/// Lets the honest client edit while `attack` runs, and looks at the memory of the attacked
/// process.
///
/// # Errors
/// If an edit is late, or the process takes more than [`GROWTH_MAX`], or
/// [`MEMORY_MAX`] in all.
async fn meanwhile<T>(scene: &Scene, attack: impl Future<Output = Result<T>>) -> Result<(T, Meanwhile)> {
    let before = scene.target.memory();
    let is_over = AtomicBool::new(false);
    let attack = async {
        let done = attack.await;
        is_over.store(true, Ordering::Relaxed);
        done
    };
    let editing = async {
        let (mut edits, mut slowest, mut most) = (0, Duration::ZERO, before);
        // An edit that has begun is waited for: the log must have it once.
        while !is_over.load(Ordering::Relaxed) {
            slowest = slowest.max(scene.honest.edit(Honest::HOME).await?);
            edits += 1;
            most = most.max(scene.target.memory());
        }
        Ok::<_, anyhow::Error>((edits, slowest, most))
    };
    let (done, editing) = tokio::join!(attack, editing);
    let (done, (edits, slowest, most)) = (done?, editing?);
    let grown = most.saturating_sub(before);
    ensure!(grown <= GROWTH_MAX, "the process took {} MiB more", grown >> 20);
    ensure!(most <= MEMORY_MAX, "the process took {} MiB", most >> 20);
    Ok((done, Meanwhile { edits, slowest, grown }))
}

impl std::fmt::Display for Meanwhile {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { edits, slowest, grown } = self;
        write!(
            f,
            "meanwhile {edits} edits, the slowest {} ms, and {} MiB more memory",
            slowest.as_millis(),
            grown >> 20
        )
    }
}

/// Sends these bytes again and again without reading, until the length of a flood has passed or the
/// peer is gone. Returns how many bytes the kernel has taken.
async fn pour(socket: &mut Socket, bytes: &[u8], until: Instant) -> u64 {
    let mut poured = 0;
    while Instant::now() < until {
        match timeout(until - Instant::now(), socket.stream.write_all(bytes)).await {
            Ok(Ok(())) => poured += bytes.len() as u64,
            Ok(Err(_)) | Err(_) => break,
        }
    }
    poured
}

/// Websockets without a token send messages of 4,096 empty requests, and open again when they are
/// closed.
pub async fn before_hello(scene: Scene) -> Result<String> {
    let empty = frame(0x82, &[0x0a, 0].repeat(limits::CLIENT_FRAME_REQUESTS_MAX), None);
    let attacker = async |service: &str| -> Result<(u64, u64)> {
        let until = Instant::now() + LENGTH;
        let (mut sockets, mut poured) = (0, 0);
        while Instant::now() < until {
            let mut socket = Socket::open_from(MALLORY, scene.target.address, service, "").await?;
            let bytes = pour(&mut socket, &empty, until).await;
            (sockets, poured) = (sockets + 1, poured + bytes);
        }
        Ok((sockets, poured))
    };
    let attack = async { tokio::try_join!(attacker("gateway"), attacker("gateway"), attacker("ingest")) };
    let ((one, two, three), seen) = meanwhile(&scene, attack).await?;
    // A client that reads sees why it is closed.
    let mut socket = Socket::open_from(MALLORY, scene.target.address, "gateway", "").await?;
    socket.send(&empty).await;
    let code = socket.close_code(Duration::from_secs(5)).await?;
    ensure!(code == close::NO_HELLO, "closed with {code}");
    let (sockets, bytes) = (one.0 + two.0 + three.0, one.1 + two.1 + three.1);
    Ok(format!("{code} for each of {sockets} sockets, which sent {} KiB; {seen}", bytes >> 10))
}

/// Sockets of a user send pings, and read no pongs.
pub async fn pings(scene: Scene) -> Result<String> {
    let ping = frame(0x89, &[7; 125], None).repeat(512);
    let token = scene.target.tokens.for_all("pinger");
    let attacker = async |service: &str, with_hello: bool| -> Result<u64> {
        let mut socket = Socket::open_from(MALLORY, scene.target.address, service, "").await?;
        if with_hello {
            socket.send(&frame(0x82, &format::request(hello(&token, &[])), None)).await;
        }
        Ok(pour(&mut socket, &ping, Instant::now() + LENGTH).await)
    };
    let attack = async {
        tokio::try_join!(
            attacker("gateway", true),
            attacker("ingest", true),
            attacker("gateway", false),
            attacker("ingest", false)
        )
    };
    let (poured, seen) = meanwhile(&scene, attack).await?;
    let mib = [poured.0, poured.1, poured.2, poured.3].map(|bytes| bytes >> 20);
    Ok(format!("{mib:?} MiB of pings were taken; {seen}"))
}

/// Requests of a user who may not write, each with 1,024 equal commands in JSON.
pub async fn equal_commands(scene: Scene) -> Result<String> {
    let target = &*scene.target;
    let token = target.token_with(&serde_json::json!({"sub": "reader", "driftless": {"read": ["canvas/"]}}))?;
    let (status, new) = target.http().post("/v1/sessions", Some(&token), b"{}".to_vec()).await?;
    ensure!(status == 201, "a session: {status}");
    let session = serde_json::from_str::<serde_json::Value>(&new)?["session"].clone();
    let cells: Vec<[u32; 2]> = (0..8).map(|cell| [cell, 1]).collect();
    let one = serde_json::json!({"session": session, "seq": 1, "command": {"set": cells}});
    let body = serde_json::to_vec(&vec![one; limits::HTTP_COMMANDS_MAX])?;
    let attacker = async || -> Result<(usize, usize)> {
        let (until, http) = (Instant::now() + LENGTH, target.http());
        let (mut worked, mut limited) = (0, 0);
        while Instant::now() < until {
            match http.post("/v1/chunks/canvas/4/4/commands", Some(&token), body.clone()).await?.0 {
                429 => limited += 1,
                _ => worked += 1,
            }
        }
        Ok((worked, limited))
    };
    let health = async || -> Result<Duration> {
        let (until, mut slowest) = (Instant::now() + LENGTH, Duration::ZERO);
        while Instant::now() < until {
            let asked = Instant::now();
            ensure!(target.http().get("/healthz", None).await? == 200, "/healthz is not 200");
            slowest = slowest.max(asked.elapsed());
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        Ok(slowest)
    };
    let attack = async { tokio::try_join!(attacker(), attacker(), health()) };
    let ((one, two, slowest), seen) = meanwhile(&scene, attack).await?;
    let (worked, limited) = (one.0 + two.0, one.1 + two.1);
    ensure!(
        limited > 0,
        "{worked} requests of {} KB were worked on, and none was refused for its rate",
        body.len() / 1000
    );
    ensure!(slowest < Duration::from_secs(1), "/healthz took {slowest:?}");
    Ok(format!("429 after {worked} requests ({limited} times); /healthz at most {} ms; {seen}", slowest.as_millis()))
}

/// Bodies of requests with a bad token, kept open one byte before their end.
pub async fn bodies(scene: Scene) -> Result<String> {
    const COUNT: usize = 400;
    let length = limits::CLIENT_FRAME_BYTES_MAX;
    let head = format!(
        "POST /v1/chunks/canvas/4/4/commands HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer nobody\r\n\
         Content-Type: application/json\r\nContent-Length: {length}\r\n\r\n"
    );
    let bytes = [head.as_bytes(), &vec![b' '; length - 1]].concat();
    let attack = async {
        let mut held = Vec::new();
        for _ in 0..COUNT {
            let mut stream = connect_from(MALLORY, scene.target.address).await?;
            let sent = timeout(LENGTH, stream.write_all(&bytes)).await;
            // The service may close the connection early.
            held.extend(sent.is_ok_and(|sent| sent.is_ok()).then_some(stream));
        }
        tokio::time::sleep(Duration::from_secs(1)).await;
        Ok(held.len())
    };
    let (held, seen) = meanwhile(&scene, attack).await?;
    Ok(format!("{held} of {COUNT} bodies were read and dropped; {seen}"))
}

/// Fixed documents, requested without a token as fast as they come.
pub async fn documents(scene: Scene) -> Result<String> {
    let address = scene.target.address;
    let http = crate::wire::Http::from(MALLORY, format!("http://{address}"));
    let attack = async {
        let until = Instant::now() + LENGTH;
        let (mut served, mut limited) = (0_u32, 0_u32);
        while Instant::now() < until && limited < 100 {
            for path in ["/v1/world", "/v1/openapi.json"] {
                match http.get(path, None).await? {
                    429 => limited += 1,
                    _ => served += 1,
                }
            }
        }
        Ok((served, limited))
    };
    let ((served, limited), seen) = meanwhile(&scene, attack).await?;
    ensure!(limited > 0 || served < limits::ANONYMOUS_REQUESTS_BURST, "{served} documents, and no 429");
    let own = scene.target.http().get("/v1/world", None).await.context("another address")?;
    ensure!(own == 200, "another address gets {own}");
    Ok(format!("429 after {served} documents ({limited} times), and 200 for other addresses; {seen}"))
}
