//! The embedded log of `driftless dev`: one SQLite file, for one process on one machine
//! (docs/design.md#the-log-seam).
//!
//! A single thread writes. It commits all queued appends in one transaction, adds them to the
//! tails, wakes the readers, and acknowledges. An acknowledged record survives a killed process and
//! a power cut, and all queued appends share the cost of one commit. Readers read from the tails; a
//! second thread reads older records for readers that lag. A lock on a file beside the database
//! keeps a second process out; the system releases the lock when the process ends. This log is not
//! a broker and will not become one.

mod history;
mod schema;
mod writer;

use super::local::groups::Groups;
use super::local::reader::{History, HistoryRequest, LocalReader};
use super::local::tails::{Tail, Topics};
use super::outbox::{Outbox, QueueLimits};
use super::{AckSink, Append, Delivery, Error, Log, Membership, Producer, Reader, TopicSpec};
use async_trait::async_trait;
use driftless_schemas::{Offset, Partition};
use std::fs::{File, TryLockError};
use std::io::{Read, Seek, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::thread::JoinHandle;
use std::time::Duration;
use tokio::sync::oneshot;
use writer::{Job, Queue};

/// Settings of the embedded log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SqliteSettings {
    /// Limits on the records that a producer holds in memory.
    pub queue: QueueLimits,
    /// The limit on the bytes of records of each partition that stay in memory for readers. The
    /// newest records stay.
    pub tail_bytes_max: usize,
    /// How often the writer deletes records that are past their retention.
    pub retention_every: Duration,
}

impl Default for SqliteSettings {
    fn default() -> Self {
        Self { queue: QueueLimits::default(), tail_bytes_max: 4 << 20, retention_every: Duration::from_secs(60) }
    }
}

/// The embedded log. Clones are handles to the same file. The file closes when the last handle,
/// producer and reader is dropped.
#[derive(Clone)]
pub struct SqliteLog {
    file: Arc<LogFile>,
    queue: QueueLimits,
}

/// The open file and its threads.
struct LogFile {
    path: PathBuf,
    topics: Arc<Topics>,
    groups: Groups,
    queue: Arc<Queue>,
    /// The channel to the history thread; `None` once that thread must end.
    requests: Mutex<Option<mpsc::Sender<HistoryRequest>>>,
    threads: Mutex<Vec<JoinHandle<()>>>,
    /// The file lock, held until the threads have ended.
    _lock: File,
}

impl SqliteLog {
    /// Opens or creates the log at `path` with [`SqliteSettings::default`].
    ///
    /// # Errors
    /// [`Error::Unavailable`] if another process has the file open, if the file is not a log, or if
    /// it is damaged.
    pub fn open(path: &Path) -> Result<Self, Error> {
        Self::open_with(path, SqliteSettings::default())
    }

    /// Opens or creates the log at `path`. Blocks for some milliseconds.
    ///
    /// # Errors
    /// As [`SqliteLog::open`].
    pub fn open_with(path: &Path, settings: SqliteSettings) -> Result<Self, Error> {
        let lock = lock(path)?;
        let connection = schema::open_writer(path)?;
        let unusable = |reason: String| Error::Unavailable { at: path.display().to_string(), reason };
        let topics = schema::load_topics(&connection, settings.tail_bytes_max).map_err(|error| {
            unusable(format!("cannot read the list of topics: {error}; if the file is damaged, move it away and start with an empty log"))
        })?;
        let topics = Arc::new(topics);
        let old = schema::open_history(path)?;

        let queue = Arc::new(Queue::default());
        let (requests, waiting) = mpsc::channel();
        let writer = writer::Writer::new(connection, Arc::clone(&topics), &settings, path);
        let work = Arc::clone(&queue);
        let threads = vec![
            std::thread::Builder::new().name("sqlite-log-writer".into()).spawn(move || writer.run(&work)),
            std::thread::Builder::new().name("sqlite-log-history".into()).spawn(move || history::run(&old, waiting)),
        ];
        let threads = threads
            .into_iter()
            .collect::<Result<Vec<_>, _>>()
            .map_err(|error| unusable(format!("cannot start a thread: {error}")))?;
        Ok(Self {
            queue: settings.queue,
            file: Arc::new(LogFile {
                path: path.to_owned(),
                topics,
                groups: Groups::default(),
                queue,
                requests: Mutex::new(Some(requests)),
                threads: Mutex::new(threads),
                _lock: lock,
            }),
        })
    }

    /// Returns a handle whose producers use these limits on the records that they hold.
    #[must_use]
    pub fn with_queue(mut self, queue: QueueLimits) -> Self {
        self.queue = queue;
        self
    }

    /// Deletes all records below `offset`, as retention would.
    ///
    /// # Errors
    /// [`Error::NoSuchTopic`], [`Error::Unavailable`].
    pub async fn truncate_before(&self, topic: &str, partition: Partition, offset: Offset) -> Result<(), Error> {
        self.tail(topic, partition)?;
        let (reply, done) = oneshot::channel();
        self.file.queue.push(Job::Truncate { topic: topic.into(), partition, before: offset.0, reply });
        self.answer(done).await
    }

    async fn answer(&self, done: oneshot::Receiver<Result<(), Error>>) -> Result<(), Error> {
        done.await.unwrap_or_else(|_| {
            Err(Error::Unavailable { at: self.file.path.display().to_string(), reason: "the log was closed".into() })
        })
    }

    fn tail(&self, topic: &str, partition: Partition) -> Result<Arc<Tail>, Error> {
        self.file.topics.tail(topic, partition).ok_or_else(|| Error::NoSuchTopic { topic: topic.to_owned() })
    }

    fn count(&self, topic: &str) -> Option<i32> {
        self.file.topics.get(topic).map(|topic| topic.partitions())
    }
}

/// Locks the file `<path>.lock` and writes the process id into it. The lock lasts until the
/// returned file is dropped.
fn lock(path: &Path) -> Result<File, Error> {
    let mut beside = path.as_os_str().to_owned();
    beside.push(".lock");
    let beside = PathBuf::from(beside);
    let unusable = |reason: String| Error::Unavailable { at: path.display().to_string(), reason };
    let cannot = |error: std::io::Error| unusable(format!("cannot lock {}: {error}", beside.display()));
    let mut file = File::options().create(true).truncate(false).read(true).write(true).open(&beside).map_err(cannot)?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            let mut holder = String::new();
            // The process id is only for the message, so a failed read is ignored.
            let _ = file.read_to_string(&mut holder);
            return Err(unusable(format!(
                "process {} has it open, and only one process can; stop that process, or choose another path",
                holder.trim()
            )));
        }
        Err(TryLockError::Error(error)) => return Err(cannot(error)),
    }
    file.set_len(0).map_err(cannot)?;
    file.rewind().map_err(cannot)?;
    writeln!(file, "{}", std::process::id()).map_err(cannot)?;
    Ok(file)
}

impl Drop for LogFile {
    fn drop(&mut self) {
        self.queue.close();
        *self.requests.lock().unwrap_or_else(PoisonError::into_inner) = None;
        let threads = std::mem::take(&mut *self.threads.lock().unwrap_or_else(PoisonError::into_inner));
        for thread in threads {
            // Sinks run on the writer's thread, and a sink may drop the last handle. This code then
            // runs on the writer's thread, which cannot join itself.
            if thread.thread().id() != std::thread::current().id() && thread.join().is_err() {
                tracing::error!(path = %self.path.display(), "a thread of the embedded log panicked");
            }
        }
    }
}

impl History for LogFile {
    fn read(&self, request: HistoryRequest) {
        if let Some(requests) = &*self.requests.lock().unwrap_or_else(PoisonError::into_inner) {
            // If the thread has ended, the reader sees its dropped request.
            let _ = requests.send(request);
        }
    }
}

#[async_trait]
impl Log for SqliteLog {
    fn describe(&self) -> String {
        format!("sqlite {}", self.file.path.display())
    }

    async fn partitions(&self, topic: &str) -> Result<Option<i32>, Error> {
        Ok(self.count(topic))
    }

    async fn create_topic(&self, spec: &TopicSpec) -> Result<(), Error> {
        if spec.is_satisfied_by(self.count(&spec.name))? {
            return Ok(());
        }
        let (reply, done) = oneshot::channel();
        self.file.queue.push(Job::CreateTopic { spec: spec.clone(), reply });
        self.answer(done).await
    }

    async fn watermarks(&self, topic: &str, partition: Partition) -> Result<(Offset, Offset), Error> {
        let (low, high) = self.tail(topic, partition)?.watermarks();
        Ok((Offset(low), Offset(high)))
    }

    fn producer(&self, delivery: Delivery, acks: AckSink) -> Result<Arc<dyn Producer>, Error> {
        let outbox = Arc::new(Outbox::new(self.queue, delivery, acks));
        Ok(Arc::new(SqliteProducer { file: Arc::clone(&self.file), outbox }))
    }

    fn reader(&self) -> Result<Box<dyn Reader>, Error> {
        let history: Arc<dyn History> = Arc::clone(&self.file) as Arc<dyn History>;
        Ok(Box::new(LocalReader::new(Arc::clone(&self.file.topics), Some(history))))
    }

    fn join(&self, group: &str, topic: &str, member: &str) -> Result<Membership, Error> {
        let count = self.count(topic).ok_or_else(|| Error::NoSuchTopic { topic: topic.to_owned() })?;
        self.file.groups.join(group, topic, count, member)
    }
}

struct SqliteProducer {
    file: Arc<LogFile>,
    outbox: Arc<Outbox>,
}

#[async_trait]
impl Producer for SqliteProducer {
    fn append(&self, mut batch: Vec<Append>) -> Vec<Append> {
        let rest = self.outbox.admit(&mut batch);
        if !batch.is_empty() {
            self.file.queue.push(Job::Append { outbox: Arc::clone(&self.outbox), batch });
        }
        rest
    }

    fn in_flight(&self) -> usize {
        self.outbox.in_flight()
    }

    async fn flush(&self, timeout: Duration) -> bool {
        self.outbox.flush(timeout).await
    }

    fn abandon(&self) {
        self.outbox.end(|| "the producer was abandoned".to_owned());
    }
}
