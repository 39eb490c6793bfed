//! A whole gateway over a log in memory, an owner that writes decisions into that log as a replayer
//! does, and real connections.

#![allow(dead_code, reason = "each test file uses a part of it")]

use bytes::{Bytes, BytesMut};
use driftless_auth::{self as auth, KeyKind, Signer, Verifier, generate_key};
use driftless_chunk::live::{Asked, AskedBody, LiveChunk};
use driftless_chunk::model::Models;
use driftless_chunk::replica::Replica;
use driftless_chunk::world::World;
use driftless_gateway::{CoreSettings, Error, Gateway, Settings, Standings};
use driftless_log::memory::MemoryLog;
use driftless_log::{Append, Delivery, Log, Producer, TopicSpec};
use driftless_runtime::clock::unix_now;
use driftless_runtime::shutdown::ShutdownSource;
use driftless_schemas::access::Access;
use driftless_schemas::proto::{
    self, Decisions, Fence, SnapshotStored, Updates, UpdatesRecord, event, request, updates_record::Body,
};
use driftless_schemas::stored::{Checkpoint, IndexEntry, Location, StoredRef};
use driftless_schemas::world::WorldSpec;
use driftless_schemas::{
    ChunkId, Epoch, Hash, Offset, Partition, Seq, SessionId, Version, WorldId, WriterId, close, format, limits,
};
use driftless_store::Store;
use driftless_store::index::{Index, Indexes};
use driftless_web::http::{Origins, ServerOptions, readyz_with_notes, serve};
use driftless_web::socket::GATEWAY;
use futures_util::{SinkExt as _, StreamExt as _};
use prost::Message as _;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream};
use warp::Filter as _;

/// A step of these tests that takes this long has failed.
pub const PATIENCE: Duration = Duration::from_secs(20);

pub fn id(text: &str) -> ChunkId {
    text.parse().unwrap()
}

/// A deployment without its gateways: log, store, keys, and the owner of all partitions.
pub struct Town {
    pub world: Arc<World>,
    pub log: Arc<dyn Log>,
    pub store: Store,
    pub signer: Signer,
    verifier: Verifier,
    producer: Arc<dyn Producer>,
    /// By partition: the owner's epoch, the number n of its last record, and its claimed index.
    owned: BTreeMap<Partition, (u64, u64, Index)>,
    pub live: BTreeMap<ChunkId, LiveChunk>,
    offsets: i64,
    seqs: BTreeMap<(ChunkId, WriterId), u64>,
    folder: tempfile::TempDir,
}

pub struct Running {
    pub address: SocketAddr,
    pub shutdown: ShutdownSource,
    pub gateway: Gateway,
}

pub fn now_ms() -> i64 {
    unix_now().0
}

impl Town {
    pub async fn new() -> Self {
        let world = World::new("dev", WorldSpec::dev(), &Models::builtin()).unwrap();
        let world = Arc::new(world.with_id(Some(WorldId([1; 16]))));
        let log: Arc<dyn Log> = Arc::new(MemoryLog::new());
        let spec = TopicSpec {
            name: world.topics().updates.to_string(),
            partitions: world.spec().partitions,
            retention_ms: None,
            record_bytes_max: limits::RECORD_BYTES_MAX,
        };
        log.create_topic(&spec).await.unwrap();
        let folder = tempfile::tempdir().unwrap();
        let key = folder.path().join("key");
        let key_file = generate_key(&key, KeyKind::Secret).unwrap();
        let deny = folder.path().join("deny");
        std::fs::write(&deny, "").unwrap();
        let settings = auth::Settings { deny_file: Some(deny), ..auth::Settings::with_key_file(key_file) };
        let verifier = Verifier::new(settings).unwrap();
        let producer = log.producer(Delivery::Gapless, Arc::new(|_| {})).unwrap();
        Self {
            world,
            log,
            store: Store::memory(),
            signer: Signer::from_file(&key).unwrap(),
            verifier,
            producer,
            owned: BTreeMap::new(),
            live: BTreeMap::new(),
            offsets: 0,
            seqs: BTreeMap::new(),
            folder,
        }
    }

    pub async fn start(&self, settings: Settings, shutdown: &ShutdownSource) -> Result<Gateway, Error> {
        let (world, log) = (Arc::clone(&self.world), Arc::clone(&self.log));
        let (store, verifier, origins) = (self.store.clone(), self.verifier.clone(), Origins::default());
        Gateway::start(settings, world, log, store, verifier, origins, shutdown.handle()).await
    }

    pub async fn gateway(&self, settings: Settings) -> Running {
        self.gateway_within(settings, PATIENCE).await
    }

    /// A gateway whose server cuts off readers that take no bytes of an answer for `write_timeout`.
    pub async fn gateway_within(&self, settings: Settings, write_timeout: Duration) -> Running {
        let (shutdown, origins) = (ShutdownSource::new(), Origins::default());
        let gateway = self.start(settings, &shutdown).await.unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let options = ServerOptions::new(100).with_write_timeout(write_timeout);
        let (standings, mut ready) = (gateway.readiness(), gateway.readiness());
        let readyz = readyz_with_notes(move || standings.borrow().readiness());
        let routes = gateway.routes().or(readyz).unify().boxed();
        tokio::spawn(serve(listener, routes, origins, options, shutdown.handle()));
        tokio::time::timeout(PATIENCE, ready.wait_for(Standings::is_ready)).await.unwrap().unwrap();
        Running { address, shutdown, gateway }
    }

    /// Replaces the deny list.
    pub fn deny(&self, text: &str) {
        self.write("deny", text);
    }

    /// Replaces the key that tokens are verified with.
    pub fn change_key(&self) {
        self.write("key", "another secret, of more than 32 bytes too");
    }

    fn write(&self, file: &str, text: &str) {
        std::fs::write(self.folder.path().join(file), text).unwrap();
        self.verifier.reloaders().iter_mut().for_each(|file| drop(file.reload()));
    }

    /// A token that reads all canvases, for an hour.
    pub fn token(&self, sub: &str) -> String {
        self.token_of(sub, &["canvas/"], 3600)
    }

    /// A token that may read all families.
    pub fn token_for_all(&self, sub: &str) -> String {
        let families: Vec<String> =
            self.world.families().iter().map(|family| format!("{}/", family.spec.name)).collect();
        self.token_of(sub, &families.iter().map(String::as_str).collect::<Vec<_>>(), 3600)
    }

    pub fn token_of(&self, sub: &str, read: &[&str], lifetime_s: u32) -> String {
        let read = read.iter().map(|&entry| entry.to_owned()).collect();
        self.signer.issue(sub, &Access { read, ..Access::default() }, unix_now(), lifetime_s).unwrap()
    }

    pub fn live(&mut self, chunk: &str) -> &mut LiveChunk {
        let place = self.world.place(&id(chunk)).unwrap();
        self.live.entry(id(chunk)).or_insert_with(|| LiveChunk::initial(Arc::clone(&place.family.model), &id(chunk)))
    }

    async fn append(&mut self, chunk: &str, body: Body) {
        let partition = self.world.place(&id(chunk)).unwrap().partition;
        if !self.owned.contains_key(&partition) {
            let indexes = Indexes::new(self.store.object_store(), self.world.spec().generation);
            let (index, checkpoint) = indexes.claim(partition).await.unwrap();
            let fence = Body::Fence(Fence { owner: "test".into(), ..Fence::default() });
            self.send(partition, UpdatesRecord { epoch: checkpoint.epoch.0, n: 0, body: Some(fence) });
            self.owned.insert(partition, (checkpoint.epoch.0, 0, index));
        }
        let (epoch, n, _) = self.owned.get_mut(&partition).unwrap();
        *n += 1;
        let record = UpdatesRecord { epoch: *epoch, n: *n, body: Some(body) };
        self.send(partition, record);
    }

    /// Appends any record to `updates`.
    pub fn send(&self, partition: Partition, record: UpdatesRecord) {
        self.send_bytes(partition, record.encode_to_vec().into());
    }

    /// Appends any bytes to `updates`.
    pub fn send_bytes(&self, partition: Partition, value: Bytes) {
        let append = Append {
            topic: Arc::clone(&self.world.topics().updates),
            partition,
            key: Bytes::new(),
            value,
            headers: vec![],
            token: 0,
        };
        assert!(self.producer.append(vec![append]).is_empty());
    }

    /// Decides a command and appends the decision. Returns the command's sequence number.
    pub async fn decide(&mut self, chunk: &str, writer: WriterId, command: Vec<u8>) -> u64 {
        let seq = self.seqs.entry((id(chunk), writer)).or_default();
        *seq += 1;
        let seq = *seq;
        let partition = self.world.place(&id(chunk)).unwrap().partition;
        let asked = Asked {
            offset: Offset(self.offsets),
            writer,
            seq: Seq(seq),
            after: Seq(seq - 1),
            author: "ann".into(),
            received_at_ms: 0,
            roles: vec![],
            body: AskedBody::Command(command.into()),
        };
        self.offsets += 1;
        let live = self.live(chunk);
        let first_version = live.replica.version().0 + 1;
        let decided = live.decide(&id(chunk), partition, &asked).unwrap();
        let updates = match decided.entry {
            None => Bytes::new(),
            Some(entry) => {
                let state_hash = live.replica.hash().to_bytes();
                let entries = vec![entry];
                Updates { chunk_id: chunk.into(), first_version, entries, state_hash }.encode_to_vec().into()
            }
        };
        let decisions = Decisions { chunk_id: chunk.into(), updates, marks: vec![decided.mark] };
        self.append(chunk, Body::Decisions(decisions)).await;
        seq
    }

    /// Stores a snapshot, writes its ref to the index, and appends `SnapshotStored` (R6).
    pub async fn snapshot(&mut self, chunk: &str) {
        let live = self.live(chunk);
        let encoding = live.replica.encoding().into_owned();
        let stored = StoredRef {
            version: live.replica.version(),
            hash: live.replica.hash(),
            location: Location::Object,
            through_offset: live.through_offset,
            model_revision: 1,
            bytes: encoding.len() as u64,
            ledger: Some(live.ledger.to_stored()),
        };
        let hash = Hash::of(&encoding);
        self.store.put_snapshot(hash, &encoding).await.unwrap();
        let partition = self.world.place(&id(chunk)).unwrap().partition;
        let topic = Arc::clone(&self.world.topics().updates);
        let (_, high) = self.log.watermarks(&topic, partition).await.unwrap();
        let (epoch, n, index) = &self.owned[&partition];
        let checkpoint = Checkpoint {
            epoch: Epoch(*epoch),
            commands_next: Offset(self.offsets),
            updates_low: high,
            updates_low_epoch: Epoch(*epoch),
            updates_low_n: *n,
            ..Checkpoint::default()
        };
        let entry = IndexEntry { newest: stored.clone(), older: vec![] };
        index.write(&checkpoint, &[(id(chunk), entry)]).await.unwrap();
        let notice = SnapshotStored { chunk_id: chunk.into(), r#ref: Some(stored.to_proto()) };
        self.append(chunk, Body::SnapshotStored(notice)).await;
    }
}

/// A command that sets the cells `at` of a canvas to `value`. With a `guard`, the command is
/// discarded unless all these cells have the value `guard`.
pub fn cells(at: std::ops::Range<u32>, value: u32, guard: Option<u32>) -> Vec<u8> {
    let cells: Vec<u32> = at.collect();
    let values = vec![value; cells.len()];
    let guards = guard.map(|guard| vec![guard + 1; cells.len()]).unwrap_or_default();
    let set = proto::SetCells { cells, values, guards };
    proto::GridCommand { body: Some(proto::grid_command::Body::Set(set)) }.encode_to_vec()
}

pub fn hello(token: &str) -> request::Body {
    request::Body::Hello(proto::Hello { token: token.into(), ..Default::default() })
}

pub fn track(chunk: &str, have: Option<proto::Have>) -> request::Body {
    request::Body::Track(proto::Track { chunk_id: chunk.into(), have })
}

pub fn settings() -> Settings {
    // One beacon an hour, which is practically none, because only tests of beacons expect them.
    Settings { core: CoreSettings { beacon_interval_ms: 3_600_000, ..CoreSettings::default() }, ..Settings::default() }
}

impl Running {
    pub async fn socket(&self) -> Client {
        let mut request = format!("ws://{}/v1/gateway", self.address).into_client_request().unwrap();
        request.headers_mut().insert("sec-websocket-protocol", GATEWAY.parse().unwrap());
        let (socket, _) = tokio_tungstenite::connect_async(request).await.unwrap();
        Client { socket, events: Vec::new(), session: SessionId([0; 16]), writer: WriterId([0; 16]) }
    }

    pub async fn greeted(&self, token: &str) -> Client {
        let mut client = self.socket().await;
        client.send([hello(token)]).await;
        client.welcome().await;
        client
    }

    /// Waits until `/readyz` answers 200 with this text below the first line, which is `ready`.
    pub async fn ready_with(&self, is_expected: impl Fn(&str) -> bool) -> String {
        let deadline = tokio::time::Instant::now() + PATIENCE;
        loop {
            let answer = self.http("/readyz", &[]).await;
            let body = String::from_utf8(answer.body).unwrap();
            let notes = body.strip_prefix("ready\n").filter(|_| answer.status == 200);
            if let Some(notes) = notes.filter(|notes| is_expected(notes)) {
                return notes.to_owned();
            }
            assert!(tokio::time::Instant::now() < deadline, "/readyz: {} {body}", answer.status);
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// The answer to `GET /v1/partitions`.
    pub async fn positions(&self, token: &str) -> serde_json::Value {
        let authorization = format!("Bearer {token}");
        let answer = self.http("/v1/partitions", &[("authorization", &authorization)]).await;
        assert_eq!(answer.status, 200, "{}", answer.json());
        answer.json()
    }

    /// A GET request.
    pub async fn http(&self, path: &str, headers: &[(&str, &str)]) -> Answer {
        self.ask("GET", path, headers).await
    }

    pub async fn ask(&self, method: &str, path: &str, headers: &[(&str, &str)]) -> Answer {
        let mut stream = self.begin(method, path, headers).await;
        let mut bytes = Vec::new();
        tokio::time::timeout(PATIENCE, stream.read_to_end(&mut bytes)).await.unwrap().unwrap();
        let end = bytes.windows(4).position(|four| four == b"\r\n\r\n").unwrap();
        let head = String::from_utf8(bytes[..end].to_vec()).unwrap();
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        let headers = head.lines().skip(1).filter_map(|line| line.split_once(": "));
        let headers = headers.map(|(name, value)| (name.to_lowercase(), value.to_owned())).collect();
        Answer { status, headers, body: bytes.split_off(end + 4) }
    }

    pub async fn stream(&self, path: &str, headers: &[(&str, &str)]) -> TcpStream {
        self.begin("GET", path, headers).await
    }

    async fn begin(&self, method: &str, path: &str, headers: &[(&str, &str)]) -> TcpStream {
        let mut stream = TcpStream::connect(self.address).await.unwrap();
        let headers: String = headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
        let request = format!("{method} {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{headers}\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        stream
    }
}

pub struct Answer {
    pub status: u16,
    pub headers: BTreeMap<String, String>,
    pub body: Vec<u8>,
}

impl Answer {
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap()
    }
}

pub struct Client {
    pub socket: WebSocketStream<MaybeTlsStream<TcpStream>>,
    /// Events that were received and not yet returned, newest first.
    events: Vec<event::Body>,
    pub session: SessionId,
    pub writer: WriterId,
}

impl Client {
    pub async fn send(&mut self, requests: impl IntoIterator<Item = request::Body>) {
        let mut frame = BytesMut::new();
        requests.into_iter().for_each(|body| format::push_request(&mut frame, body));
        self.socket.send(Message::Binary(frame.freeze())).await.unwrap();
    }

    pub async fn message(&mut self) -> Option<Result<Message, tokio_tungstenite::tungstenite::Error>> {
        tokio::time::timeout(PATIENCE, self.socket.next()).await.expect("a message comes in time")
    }

    /// The next event that is not a ping; pings are answered.
    pub async fn event(&mut self) -> event::Body {
        loop {
            match self.events.pop() {
                Some(event::Body::Ping(ping)) => {
                    self.send([request::Body::Pong(proto::Pong { nonce: ping.nonce })]).await;
                }
                Some(body) => return body,
                None => match self.message().await {
                    Some(Ok(Message::Binary(bytes))) => {
                        let frame = proto::ServerFrame::decode(bytes).unwrap();
                        self.events = frame.events.into_iter().rev().map(|event| event.body.unwrap()).collect();
                    }
                    other => panic!("no event: {other:?}"),
                },
            }
        }
    }

    pub async fn welcome(&mut self) -> proto::Welcome {
        let event::Body::Welcome(welcome) = self.event().await else { panic!("no welcome") };
        self.session = SessionId::from_slice(&welcome.session).unwrap();
        self.writer = WriterId::from_slice(&welcome.writer).unwrap();
        welcome
    }

    pub async fn tracked(&mut self) -> proto::Tracked {
        match self.event().await {
            event::Body::Tracked(tracked) => tracked,
            other => panic!("no Tracked: {other:?}"),
        }
    }

    pub async fn updates(&mut self) -> Updates {
        match self.event().await {
            event::Body::Updates(bytes) => Updates::decode(bytes).unwrap(),
            other => panic!("no Updates: {other:?}"),
        }
    }

    /// The next event, a Chunk, as a verified replica.
    pub async fn chunk(&mut self, world: &World) -> Replica {
        match self.event().await {
            event::Body::Chunk(chunk) => replica(world, &chunk),
            other => panic!("no Chunk: {other:?}"),
        }
    }

    /// The Welcome, or code and reason of the close frame.
    pub async fn welcome_or_closed(&mut self) -> Result<(), (u16, String)> {
        match self.message().await {
            Some(Ok(Message::Close(Some(frame)))) => Err((frame.code.into(), frame.reason.to_string())),
            Some(Ok(Message::Binary(bytes))) => {
                let frame = proto::ServerFrame::decode(bytes).unwrap();
                self.events = frame.events.into_iter().rev().map(|event| event.body.unwrap()).collect();
                self.welcome().await;
                Ok(())
            }
            other => panic!("neither Welcome nor a close frame: {other:?}"),
        }
    }

    /// Waits for the close frame and returns its code.
    pub async fn closed(&mut self) -> u16 {
        self.close_frame().await.0
    }

    /// Waits for the close frame and returns its code and reason.
    pub async fn close_frame(&mut self) -> (u16, String) {
        loop {
            match self.message().await {
                Some(Ok(Message::Close(Some(frame)))) => {
                    assert_ne!(close::name(u16::from(frame.code)), "other", "{frame:?}");
                    return (u16::from(frame.code), frame.reason.to_string());
                }
                Some(Ok(_)) => {}
                other => panic!("no close frame: {other:?}"),
            }
        }
    }
}

pub fn replica(world: &World, chunk: &proto::Chunk) -> Replica {
    let model = Arc::clone(&world.place(&id(&chunk.chunk_id)).unwrap().family.model);
    let encoding = zstd::bulk::decompress(&chunk.data, limits::CONTENT_BYTES_MAX).unwrap();
    Replica::restore(model, &encoding, Version(chunk.version), Hash::from_slice(&chunk.hash).unwrap()).unwrap()
}
