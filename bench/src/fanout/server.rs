//! The measured process of `fanout`: a whole gateway, which reads the records of a log and sends
//! updates to sockets, and a publisher. The publisher appends records to the log when the control
//! connection asks for it.

use super::crowd::PREPARED;
use super::dialect::chunk;
use super::{Ready, ServeArgs};
use crate::resident::resident;
use anyhow::{Context, Result, bail};
use bytes::Bytes;
use driftless_auth::{self as auth, KeyKind, Signer, Verifier, generate_key};
use driftless_chunk::live::{Asked, AskedBody, LiveChunk};
use driftless_chunk::model::Models;
use driftless_chunk::world::World;
use driftless_gateway::{Gateway, Settings};
use driftless_log::kafka::{KafkaLog, KafkaSettings};
use driftless_log::memory::MemoryLog;
use driftless_log::{Append, Delivery, Headers, Log, Producer, TopicSpec};
use driftless_runtime::clock::unix_now;
use driftless_runtime::shutdown::ShutdownSource;
use driftless_schemas::access::Access;
use driftless_schemas::proto::{
    Decisions, Fence, MapCommand, PutKey, Updates, UpdatesRecord, map_command, updates_record::Body,
};
use driftless_schemas::world::WorldSpec;
use driftless_schemas::{ChunkId, Offset, Partition, Seq, WriterId, limits};
use driftless_store::Store;
use driftless_web::http::{Origins, ServerOptions, serve};
use prost::Message as _;
use std::collections::VecDeque;
use std::sync::Arc;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};

/// Length of the value that each update sets. An update is then as long as a chat message.
const VALUE_BYTES: usize = 100;

/// Serves until the control connection is closed.
pub(super) async fn run(args: ServeArgs) -> Result<()> {
    let mut spec = WorldSpec::dev();
    spec.name = format!("fanout-{}", std::process::id());
    spec.partitions = 1;
    let world = Arc::new(World::new("the bench's world", spec, &Models::builtin())?);
    let log: Arc<dyn Log> = match &args.brokers {
        None => Arc::new(MemoryLog::new()),
        Some(brokers) => {
            Arc::new(KafkaLog::new(KafkaSettings { brokers: brokers.clone(), ..KafkaSettings::default() })?)
        }
    };
    let topic = TopicSpec {
        name: world.topics().updates.to_string(),
        partitions: 1,
        retention_ms: None,
        record_bytes_max: limits::RECORD_BYTES_MAX,
    };
    log.create_topic(&topic).await?;
    let folder = std::env::temp_dir().join(format!("driftless-fanout-{}", std::process::id()));
    std::fs::create_dir_all(&folder)?;
    let key = folder.join("key");
    let verifier = Verifier::new(auth::Settings::with_key_file(generate_key(&key, KeyKind::Secret)?))?;
    let access = Access { read: vec!["things/".into()], ..Access::default() };
    let token = Signer::from_file(&key)?.issue("crowd", &access, unix_now(), 24 * 3600)?;
    std::fs::remove_dir_all(&folder)?;

    let shutdown = ShutdownSource::new();
    let settings = Settings {
        shards: args.shards,
        io_uring: !args.one_by_one,
        // The crowd is one user whose clients connect all at once.
        admissions_per_second: 0,
        connections_per_user: 0,
        requests_per_second: u32::MAX,
        requests_burst: u32::MAX,
        ..Settings::default()
    };
    let gateway = Gateway::start(
        settings,
        Arc::clone(&world),
        Arc::clone(&log),
        Store::memory(),
        verifier,
        Origins::default(),
        shutdown.handle(),
    )
    .await?;
    let sockets = TcpListener::bind("127.0.0.1:0").await?;
    let control = TcpListener::bind("127.0.0.1:0").await?;
    let ready = Ready { address: sockets.local_addr()?, control: control.local_addr()?, token: Some(token) };
    tokio::spawn(serve(
        sockets,
        gateway.routes(),
        Origins::default(),
        ServerOptions::new(usize::MAX),
        shutdown.handle(),
    ));
    let mut publisher = Publisher::new(&world, &*log, args.chunks)?;
    println!("{}", serde_json::to_string(&ready)?);
    let (control, _) = control.accept().await?;
    control.set_nodelay(true)?;
    serve_requests(control, &mut publisher).await
}

async fn serve_requests(control: TcpStream, publisher: &mut Publisher) -> Result<()> {
    let (requests, mut answers) = control.into_split();
    let mut requests = BufReader::new(requests).lines();
    while let Some(request) = requests.next_line().await? {
        match request.split_once(' ') {
            Some(("publish", count)) => publisher.publish(count.parse()?)?,
            None if request == "prepare" => {
                publisher.decide_ahead()?;
                answers.write_all(b"prepared\n").await?;
            }
            None if request == "resident" => {
                answers.write_all(format!("{}\n", resident(std::process::id())?).as_bytes()).await?;
            }
            _ => bail!("{request:?} is not a request of the benchmark"),
        }
    }
    Ok(())
}

/// Appends valid records to `updates`, like the owner of the partition.
struct Publisher {
    world: Arc<World>,
    producer: Arc<dyn Producer>,
    chunks: Vec<(ChunkId, LiveChunk)>,
    /// Number of commands decided so far. It selects the chunk of the next command.
    next: usize,
    /// The record number `n` of the newest decided record.
    n: u64,
    /// The offset in `commands` that the newest decision names. No such record exists.
    offset: i64,
    /// Records decided in advance, so that deciding is not part of the measurement.
    ahead: VecDeque<Append>,
}

impl Publisher {
    fn new(world: &Arc<World>, log: &dyn Log, chunks: usize) -> Result<Self> {
        let producer = log.producer(Delivery::Gapless, Arc::new(|_| {}))?;
        let mut lives = Vec::new();
        for number in 0..chunks {
            let id: ChunkId = chunk(number).parse()?;
            let model = Arc::clone(&world.place(&id)?.family.model);
            let live = LiveChunk::initial(model, &id);
            lives.push((id, live));
        }
        let publisher = Self {
            world: Arc::clone(world),
            producer,
            chunks: lives,
            next: 0,
            n: 0,
            offset: 0,
            ahead: VecDeque::new(),
        };
        let fence = publisher.record(0, Body::Fence(Fence { owner: "bench".into(), ..Fence::default() }));
        publisher.append(vec![fence])?;
        Ok(publisher)
    }

    /// Appends the next `count` records.
    fn publish(&mut self, count: usize) -> Result<()> {
        if self.ahead.len() < count {
            self.decide_ahead()?;
        }
        let appends: Vec<Append> = self.ahead.drain(..count.min(self.ahead.len())).collect();
        self.append(appends)
    }

    fn append(&self, appends: Vec<Append>) -> Result<()> {
        match self.producer.append(appends).len() {
            0 => Ok(()),
            left => bail!("{left} records do not fit into the producer's queue"),
        }
    }

    fn record(&self, n: u64, body: Body) -> Append {
        Append {
            topic: Arc::clone(&self.world.topics().updates),
            partition: Partition(0),
            key: Bytes::new(),
            value: UpdatesRecord { epoch: 1, n, body: Some(body) }.encode_to_vec().into(),
            headers: Headers::new(),
            token: 0,
        }
    }

    /// Decides commands until [`PREPARED`] records are ready.
    fn decide_ahead(&mut self) -> Result<()> {
        while self.ahead.len() < PREPARED {
            self.n += 1;
            self.offset += 1;
            let at = self.next % self.chunks.len();
            let seq = (self.next / self.chunks.len()) as u64 + 1;
            self.next += 1;
            let (id, live) = &mut self.chunks[at];
            let value = Bytes::from(format!("{:0>VALUE_BYTES$}", self.n));
            let put = PutKey { key: "said".into(), value, guard: None };
            let command = MapCommand { body: Some(map_command::Body::Put(put)) }.encode_to_vec();
            let asked = Asked {
                offset: Offset(self.offset),
                writer: WriterId([1; 16]),
                seq: Seq(seq),
                after: Seq(seq - 1),
                author: "bench".into(),
                received_at_ms: 0,
                roles: vec![],
                body: AskedBody::Command(command.into()),
            };
            let decided = live.decide(id, Partition(0), &asked).context("the command is decided")?;
            let entry = decided.entry.context("the command is committed")?;
            let updates = Updates {
                chunk_id: id.to_string(),
                first_version: live.replica.version().0,
                entries: vec![entry],
                state_hash: live.replica.hash().to_bytes(),
            };
            let decisions = Decisions {
                chunk_id: id.to_string(),
                updates: updates.encode_to_vec().into(),
                marks: vec![decided.mark],
            };
            let record = self.record(self.n, Body::Decisions(decisions));
            self.ahead.push_back(record);
        }
        Ok(())
    }
}
