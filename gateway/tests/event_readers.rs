//! Readers of server-sent events that are slow, stall, or come back (R9).

mod scene;

use driftless_gateway::{CoreSettings, Settings};
use driftless_schemas::proto::{GridCommand, SetCells, grid_command};
use driftless_schemas::{Hash, SessionId, WriterId};
use prost::Message as _;
use scene::*;
use serde_json::Value;
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpSocket, TcpStream};

const C: &str = "canvas/0/0";
const SIDE: usize = 128;

fn ann() -> WriterId {
    SessionId::new(now_ms() as u64, [1; 10]).writer("ann")
}

/// Settings with a short queue for each reader.
fn narrow(event_streams_max: usize) -> Settings {
    let settings = settings();
    let core = CoreSettings { socket_queue_bytes_max: 16 * 1024, ..settings.core };
    Settings { core, event_streams_max, ..settings }
}

/// An event stream with a small receive buffer, so that the test decides how fast it is read.
struct Reader {
    stream: TcpStream,
    got: Vec<u8>,
}

impl Reader {
    async fn open(running: &Running, path: &str, last_id: Option<&str>) -> Self {
        let socket = TcpSocket::new_v4().unwrap();
        socket.set_recv_buffer_size(4096).unwrap();
        let mut stream = socket.connect(running.address).await.unwrap();
        let last_id = last_id.map(|id| format!("Last-Event-ID: {id}\r\n")).unwrap_or_default();
        // HTTP 1.0, so that the body is not chunked.
        let request = format!("GET {path} HTTP/1.0\r\nHost: x\r\n{last_id}\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut reader = Self { stream, got: Vec::new() };
        let head = reader.until(b"\r\n\r\n").await.expect("the head of the answer");
        assert!(head.starts_with("HTTP/1.0 200"), "{head}");
        reader
    }

    /// Reads up to `end` and returns the text before it, without `end`; `None` if the stream ends
    /// first.
    async fn until(&mut self, end: &[u8]) -> Option<String> {
        loop {
            if let Some(at) = self.got.windows(end.len()).position(|part| part == end) {
                let rest = self.got.split_off(at + end.len());
                let mut taken = std::mem::replace(&mut self.got, rest);
                taken.truncate(at);
                return Some(String::from_utf8(taken).unwrap());
            }
            let read = tokio::time::timeout(PATIENCE, self.stream.read_buf(&mut self.got)).await;
            if read.expect("the stream sends more in time").unwrap() == 0 {
                return None;
            }
        }
    }

    /// The next event: name, id and data.
    async fn event(&mut self) -> Option<(String, Option<String>, Value)> {
        loop {
            let block = self.until(b"\n\n").await?;
            let field = |name: &str| block.lines().find_map(|line| line.strip_prefix(name));
            if let (Some(name), Some(data)) = (field("event:"), field("data:")) {
                let id = field("id:").map(str::to_owned);
                return Some((name.to_owned(), id, serde_json::from_str(data).unwrap()));
            }
        }
    }
}

/// A page that shows a canvas by events alone.
#[derive(Default)]
struct Page {
    version: u64,
    hash: String,
    cells: Vec<u16>,
    /// The id to resume the stream with.
    last_id: Option<String>,
    is_lagging: bool,
    lagged: usize,
    /// Number of Chunk events that the page received.
    chunks: usize,
}

impl Page {
    fn take(&mut self, (name, id, data): (String, Option<String>, Value)) {
        let number = |value: &Value| value.as_u64().unwrap();
        match &*name {
            "lagging" => {
                assert!(!self.is_lagging, "lagging is said once");
                (self.is_lagging, self.lagged) = (true, self.lagged + 1);
            }
            "tracked" => self.is_lagging = false,
            "chunk" => {
                assert!(!self.is_lagging, "what ends the lagging begins with `tracked`");
                self.version = number(&data["version"]);
                let cells = data["content"]["cells"].as_array().unwrap();
                self.cells = cells.iter().map(|cell| number(cell) as u16).collect();
                self.chunks += 1;
            }
            "updates" => {
                assert!(!self.is_lagging, "a lagging chunk gets no updates");
                assert_eq!(number(&data["first_version"]), self.version + 1, "none is missed, and none comes twice");
                for entry in data["entries"].as_array().unwrap() {
                    self.version += 1;
                    assert_eq!(number(&entry["version"]), self.version);
                    for cell in entry["effect"]["set"].as_array().unwrap() {
                        let at = number(&cell["x"]) as usize + SIDE * number(&cell["y"]) as usize;
                        self.cells[at] = number(&cell["value"]) as u16;
                    }
                }
            }
            other => panic!("{other}: {data}"),
        }
        if matches!(&*name, "chunk" | "updates") {
            data["hash"].as_str().unwrap().clone_into(&mut self.hash);
            assert_eq!(Hash::of(&self.encoding()).to_string(), self.hash, "at version {}", self.version);
            self.last_id = id;
        }
    }

    /// The canonical encoding, as docs/protocol.md describes it.
    fn encoding(&self) -> Vec<u8> {
        let mut bytes = b"DLG1\x80\0\x80\0\x01\0\0\0".to_vec();
        bytes.extend(self.cells.iter().flat_map(|cell| cell.to_le_bytes()));
        bytes
    }

    async fn read_to(&mut self, reader: &mut Reader, version: u64) {
        while self.version < version {
            self.take(reader.event().await.expect("the stream continues"));
        }
    }
}

/// Decides commands that set 512 cells each: about 15 KB of JSON.
async fn paint(town: &mut Town, times: u32) {
    for i in 0..times {
        let first = i * 512 % (SIDE * SIDE) as u32;
        town.decide(C, ann(), cells(first..first + 512, i % 200 + 1, None)).await;
    }
}

/// Waits until the gateway has read this version.
async fn seen(running: &Running, token: &str, version: u64) {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let answer = running.http(&format!("/v1/chunks/{C}.bin?token={token}"), &[]).await;
        let at: u64 = answer.headers["driftless-version"].parse().unwrap();
        if at >= version {
            return;
        }
        assert!(Instant::now() < deadline, "the gateway is at {at}, not at {version}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn r9_the_chunk_of_a_slow_reader_lags_and_catches_up() {
    let mut town = Town::new().await;
    let running = town.gateway(narrow(8)).await;
    let token = town.token("ann");
    let mut reader = Reader::open(&running, &format!("/v1/chunks/{C}/events?token={token}"), None).await;
    let mut page = Page::default();
    page.take(reader.event().await.unwrap());
    page.take(reader.event().await.unwrap());
    // The reader reads nothing now, and the buffers of kernel, server and hub cannot hold all 120
    // updates.
    paint(&mut town, 120).await;
    seen(&running, &token, 120).await;
    page.read_to(&mut reader, 120).await;
    assert!(page.lagged > 0, "1.8 MB of events waited for it");
    assert_eq!(page.hash, town.live(C).replica.hash().to_string());
    let (lagged, chunks) = (page.lagged, page.chunks);
    // Later updates arrive as before.
    paint(&mut town, 1).await;
    page.read_to(&mut reader, 121).await;
    assert_eq!((page.lagged, page.chunks), (lagged, chunks));
    assert_eq!(page.hash, town.live(C).replica.hash().to_string());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_that_takes_no_bytes_is_cut_off_and_frees_its_place() {
    let mut town = Town::new().await;
    let running = town.gateway_within(narrow(1), Duration::from_millis(300)).await;
    let path = format!("/v1/chunks/{C}/events?token={}", town.token("ann"));
    let mut stalled = Reader::open(&running, &path, None).await;
    let refused = running.http(&path, &[]).await;
    assert_eq!(refused.status, 503);
    assert_eq!(refused.json()["type"], "urn:driftless:problem:too_many_streams");
    assert!(refused.headers.contains_key("retry-after"));
    // The write timeout counts only while bytes wait for the reader.
    paint(&mut town, 40).await;
    let began = Instant::now();
    let mut status = 503;
    while status != 200 {
        assert!(began.elapsed() < PATIENCE, "the place of the stalled reader is not free");
        let mut head = [0; 12];
        let mut stream = running.stream(&path, &[]).await;
        stream.read_exact(&mut head).await.unwrap();
        status = std::str::from_utf8(&head[9..]).unwrap().parse().unwrap();
    }
    // Bytes in flight still arrive, then the stream ends, perhaps within an event.
    let ended = async {
        let mut rest = [0; 4096];
        while stalled.stream.read(&mut rest).await.is_ok_and(|bytes| bytes > 0) {}
    };
    tokio::time::timeout(PATIENCE, ended).await.expect("the stream ends");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_that_breaks_again_and_again_neither_misses_nor_doubles_an_update() {
    let mut town = Town::new().await;
    let running = town.gateway(settings()).await;
    let path = format!("/v1/chunks/{C}/events?token={}", town.token("ann"));
    // The content does not compress, so the missing updates are always smaller than a whole chunk.
    for first in (0..(SIDE * SIDE) as u32).step_by(1024) {
        let noise = (first..first + 1024).map(|i| i.wrapping_mul(2_654_435_761) >> 24).collect();
        let set = SetCells { cells: (first..first + 1024).collect(), values: noise, guards: vec![] };
        let command = GridCommand { body: Some(grid_command::Body::Set(set)) };
        town.decide(C, ann(), command.encode_to_vec()).await;
    }
    let mut page = Page::default();
    for round in 0..20_u32 {
        let last_id = page.last_id.clone();
        let mut reader = Reader::open(&running, &path, last_id.as_deref()).await;
        // The page drops each stream before it has read all updates, so the next stream must resume
        // and send the rest. A stream may break anywhere, even within an event.
        for edit in 0..3 {
            town.decide(C, ann(), cells(round..round + 2, edit, None)).await;
            if edit == 1 {
                page.read_to(&mut reader, 16 + u64::from(round) * 3 + 1).await;
                reader = Reader::open(&running, &path, page.last_id.clone().as_deref()).await;
            }
        }
    }
    let mut reader = Reader::open(&running, &path, page.last_id.clone().as_deref()).await;
    page.read_to(&mut reader, 16 + 60).await;
    assert_eq!(page.hash, town.live(C).replica.hash().to_string());
    assert_eq!(page.chunks, 1, "a resumed stream sends no content again");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_that_shuts_down_tells_readers_when_to_come_back() {
    let town = Town::new().await;
    let running = town.gateway(settings()).await;
    let path = format!("/v1/chunks/{C}/events?token={}", town.token("ann"));
    let mut reader = Reader::open(&running, &path, None).await;
    assert_eq!(reader.event().await.unwrap().0, "tracked");
    assert_eq!(reader.event().await.unwrap().0, "chunk");
    // Not awaited, because the gateway is still in use.
    tokio::spawn(running.shutdown.end());
    let retry = reader.until(b"\n\n").await.unwrap();
    let ms: u64 = retry.trim().strip_prefix("retry:").unwrap().trim().parse().unwrap();
    assert!((1000..=5000).contains(&ms), "{retry}");
    let (name, _, why) = reader.event().await.unwrap();
    assert_eq!((&*name, &why["code"]), ("closed", &Value::from(4000)));
    assert!(reader.event().await.is_none(), "the stream ends after the closed event");
}
