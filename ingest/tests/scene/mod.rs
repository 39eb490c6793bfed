//! Test support: a whole ingest service over a log in memory, and clients that connect to it.

#![allow(dead_code, reason = "each test file uses a part of it")]

use bytes::{Bytes, BytesMut};
use driftless_auth::{self as auth, Access, KeyKind, Signer, Verifier};
use driftless_chunk::model::Models;
use driftless_chunk::world::World;
use driftless_ingest::{Ingest, Settings};
use driftless_log::memory::MemoryLog;
use driftless_log::{Log, Record, TopicSpec};
use driftless_runtime::shutdown::ShutdownSource;
use driftless_schemas::proto::{self, event, request, submit};
use driftless_schemas::world::WorldSpec;
use driftless_schemas::{Offset, SessionId, close, format, limits};
use driftless_web::http::{ServerOptions, serve};
use driftless_web::socket::INGEST;
use futures_util::{SinkExt as _, StreamExt as _};
use prost::Message as _;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tokio::net::{TcpListener, TcpStream};
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
use tokio_tungstenite::tungstenite::{Error, Message};
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream};

/// The deadline of each wait in these tests; only a broken service reaches it.
pub const PATIENCE: Duration = Duration::from_secs(10);

pub struct Scene {
    pub address: SocketAddr,
    pub log: Arc<dyn Log>,
    pub world: Arc<World>,
    pub signer: Signer,
    pub forger: Signer,
    pub shutdown: ShutdownSource,
    verifier: Verifier,
    folder: tempfile::TempDir,
}

pub fn now_ms() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis() as i64
}

pub fn access() -> Access {
    Access { read: vec![], write: vec!["canvas/0/".into(), "things/".into()], roles: vec![] }
}

pub fn world() -> Arc<World> {
    Arc::new(World::new("dev", WorldSpec::dev(), &Models::builtin()).unwrap())
}

pub async fn create_topic(log: &dyn Log, world: &World) {
    let spec = TopicSpec {
        name: world.topics().commands.to_string(),
        partitions: world.spec().partitions,
        retention_ms: None,
        record_bytes_max: limits::RECORD_BYTES_MAX,
    };
    log.create_topic(&spec).await.unwrap();
}

pub fn keys(folder: &tempfile::TempDir) -> (Signer, Signer, Verifier) {
    let path = folder.path().join("key");
    let other = folder.path().join("other");
    auth::generate_key(&path, KeyKind::Secret).unwrap();
    auth::generate_key(&other, KeyKind::Secret).unwrap();
    let deny = folder.path().join("deny");
    std::fs::write(&deny, "").unwrap();
    let settings = auth::Settings { deny_file: Some(deny), ..auth::Settings::with_key_file(&path) };
    let verifier = Verifier::new(settings).unwrap();
    (Signer::from_file(&path).unwrap(), Signer::from_file(&other).unwrap(), verifier)
}

impl Scene {
    pub async fn new() -> Self {
        Self::with(Settings::default(), Arc::new(MemoryLog::new())).await
    }

    pub async fn with(settings: Settings, log: Arc<dyn Log>) -> Self {
        let world = world();
        create_topic(&*log, &world).await;
        let folder = tempfile::tempdir().unwrap();
        let (signer, forger, verifier) = keys(&folder);
        let shutdown = ShutdownSource::new();
        let origins = settings.http.origins().unwrap();
        let ingest = Ingest::start(settings, Arc::clone(&world), Arc::clone(&log), verifier.clone(), shutdown.handle())
            .await
            .unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(serve(listener, ingest.routes(), origins, ServerOptions::new(1000), shutdown.handle()));
        Self { address, log, world, signer, forger, verifier, shutdown, folder }
    }

    /// Replaces the content of the deny file by `text`.
    pub fn deny(&self, text: &str) {
        std::fs::write(self.folder.path().join("deny"), text).unwrap();
        self.verifier.reloaders().iter_mut().for_each(|file| drop(file.reload()));
    }

    pub fn token(&self, sub: &str) -> String {
        self.signer.issue(sub, &access(), driftless_schemas::time::UnixMs(now_ms()), 3600).unwrap()
    }

    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    pub async fn socket(&self) -> Client {
        self.socket_with(INGEST).await.unwrap()
    }

    pub async fn socket_with(&self, subprotocol: &'static str) -> Result<Client, Error> {
        let mut request = format!("ws://{}/v1/ingest", self.address).into_client_request()?;
        request.headers_mut().insert("sec-websocket-protocol", subprotocol.parse().unwrap());
        let (socket, _) = tokio_tungstenite::connect_async(request).await?;
        Ok(Client { socket, events: Vec::new() })
    }

    /// Connects as user `sub` and says Hello. Returns the socket and its session.
    pub async fn greeted(&self, sub: &str) -> (Client, SessionId) {
        let mut client = self.socket().await;
        client.send([hello(self.token(sub))]).await;
        match client.event().await {
            event::Body::Welcome(welcome) => (client, SessionId::from_slice(&welcome.session).unwrap()),
            other => panic!("no welcome: {other:?}"),
        }
    }

    /// Returns all records in the partition of a chunk.
    pub async fn records(&self, chunk: &str) -> Vec<(Record, proto::CommandRecord)> {
        let topic = &self.world.topics().commands;
        let partition = self.world.place(&chunk.parse().unwrap()).unwrap().partition;
        let (low, high) = self.log.watermarks(topic, partition).await.unwrap();
        let mut reader = self.log.reader().unwrap();
        reader.assign(topic, partition, low);
        let mut records = Vec::new();
        while low.0 + (records.len() as i64) < high.0 {
            let batches = tokio::time::timeout(PATIENCE, reader.next()).await.unwrap().unwrap();
            for record in batches.into_iter().flat_map(|batch| batch.records) {
                let command = proto::CommandRecord::decode(record.value.clone()).unwrap();
                records.push((record, command));
            }
        }
        records
    }

    /// Returns the number of records in all partitions of `commands`.
    pub async fn count(&self) -> i64 {
        let mut count = 0;
        for partition in self.world.partitions() {
            let (low, Offset(high)) = self.log.watermarks(&self.world.topics().commands, partition).await.unwrap();
            count += high - low.0;
        }
        count
    }
}

pub struct Client {
    pub socket: WebSocketStream<MaybeTlsStream<TcpStream>>,
    /// Events that were received and that the test has not taken yet, newest first.
    events: Vec<event::Body>,
}

impl Client {
    pub async fn send(&mut self, requests: impl IntoIterator<Item = request::Body>) {
        let mut frame = BytesMut::new();
        requests.into_iter().for_each(|body| format::push_request(&mut frame, body));
        self.send_bytes(frame.freeze()).await;
    }

    pub async fn send_bytes(&mut self, bytes: impl Into<Bytes>) {
        self.socket.send(Message::Binary(bytes.into())).await.unwrap();
    }

    async fn message(&mut self) -> Option<Result<Message, Error>> {
        tokio::time::timeout(PATIENCE, self.socket.next()).await.expect("a message comes in time")
    }

    /// Waits for the next event and returns it. Pings are answered and not returned.
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

    pub async fn rejected(&mut self) -> proto::Rejected {
        match self.event().await {
            event::Body::Rejected(rejected) => rejected,
            other => panic!("not rejected: {other:?}"),
        }
    }

    /// Waits for `count` receipts and returns each as (chunk, seq).
    pub async fn receipts(&mut self, count: usize) -> Vec<(String, u64)> {
        let mut receipts = Vec::new();
        while receipts.len() < count {
            match self.event().await {
                event::Body::Receipt(receipt) => receipts.push((receipt.chunk_id, receipt.seq)),
                other => panic!("no receipt: {other:?}"),
            }
        }
        receipts
    }

    /// Waits until the server closes the socket and returns its close code.
    pub async fn closed(&mut self) -> u16 {
        loop {
            match self.message().await {
                Some(Ok(Message::Close(Some(frame)))) => {
                    let code = u16::from(frame.code);
                    assert_ne!(close::name(code), "other", "{frame:?}");
                    return code;
                }
                Some(Ok(_)) => {}
                other => panic!("no close frame: {other:?}"),
            }
        }
    }

    /// Checks that the socket is alive: sends a ping and waits for its answer, which comes after
    /// all earlier answers.
    pub async fn is_alive(&mut self) {
        self.send([request::Body::Ping(proto::Ping { nonce: 77 })]).await;
        assert_eq!(self.event().await, event::Body::Pong(proto::Pong { nonce: 77 }));
    }
}

pub fn hello(token: String) -> request::Body {
    request::Body::Hello(proto::Hello { token, ..Default::default() })
}

pub fn submit(chunk: &str, seq: u64, after: u64, body: Option<submit::Body>) -> request::Body {
    request::Body::Submit(proto::Submit { chunk_id: chunk.into(), seq, after, body })
}

pub fn settle() -> Option<submit::Body> {
    Some(submit::Body::Settle(proto::Settle {}))
}

pub fn cell_command(cell: u32, value: u32) -> Vec<u8> {
    let set = proto::SetCells { cells: vec![cell], values: vec![value], guards: vec![] };
    proto::GridCommand { body: Some(proto::grid_command::Body::Set(set)) }.encode_to_vec()
}

/// Sets one cell of the canvas.
pub fn cell(cell: u32, value: u32) -> Option<submit::Body> {
    Some(submit::Body::Command(cell_command(cell, value).into()))
}
