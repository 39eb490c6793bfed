//! Opens a deployment: the object store, the world in it, and the log. Every service does this
//! first.

use crate::config::Config;
use anyhow::{Context, Result, bail};
use driftless_chunk::world::World;
use driftless_log::kafka::KafkaLog;
use driftless_log::{self as log, Log, TopicSpec};
use driftless_schemas::world::{StoredWorld, WorldSpec};
use driftless_schemas::{Offset, Partition, WorldId, limits};
use driftless_store::Store;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Time limit for reaching the object store at the start. After it the service ends with an error.
const STORE_PATIENCE: Duration = Duration::from_secs(60);

/// The addresses of a deployment.
#[derive(clap::Args, Clone, Debug)]
pub(crate) struct DeploymentArgs {
    /// Kafka's (or Redpanda's) bootstrap servers, `host:port,…`.
    #[arg(long, value_name = "LIST", env = "DRIFTLESS_BROKERS")]
    brokers: Option<String>,
    /// The object store: `file:///path`, or `s3://bucket/prefix` with the usual AWS_… variables.
    #[arg(long, value_name = "URL", env = "DRIFTLESS_STORE")]
    store: Option<String>,
    /// A world.toml to compare with the stored world; the service uses the stored world in any
    /// case.
    #[arg(long, value_name = "FILE")]
    world: Option<PathBuf>,
}

/// An opened deployment.
pub(crate) struct Deployment {
    pub world: Arc<World>,
    pub log: Arc<dyn Log>,
    pub store: Store,
}

impl DeploymentArgs {
    /// Returns true if the arguments name an object store.
    pub fn is_named(&self) -> bool {
        self.store.is_some()
    }

    /// Opens the store and the log, without reading the world.
    pub fn parts(&self, config: &mut Config) -> Result<(Arc<dyn Log>, Store)> {
        if let Some(brokers) = &self.brokers {
            config.kafka.brokers.clone_from(brokers);
        }
        let store = self.store.as_ref().context("name the object store: --store URL, or DRIFTLESS_STORE")?;
        let log = KafkaLog::new(config.kafka.clone())?;
        Ok((Arc::new(log), Store::open(store)?))
    }

    /// Reads the world.toml of `--world`. Returns its name and contents, or `None` without the
    /// flag.
    pub fn spec(&self) -> Result<Option<(String, WorldSpec)>> {
        let Some(path) = &self.world else { return Ok(None) };
        let name = path.display().to_string();
        let text = std::fs::read_to_string(path).with_context(|| format!("cannot read {name}"))?;
        let spec = WorldSpec::from_toml(&name, &text)?;
        Ok(Some((name, spec)))
    }

    /// Opens the deployment, and checks that a named world.toml equals the stored world.
    pub async fn open(&self, config: &mut Config) -> Result<Deployment> {
        let (log, store) = self.parts(config)?;
        let stored = stored_world(&store).await?.with_context(|| {
            format!(
                "there is no world in {}: make one with `driftless init --world world.toml --store {} --brokers …`",
                store.url(),
                store.url()
            )
        })?;
        if let Some((file, spec)) = self.spec()? {
            compare(&file, &spec, &stored, &store)?;
        }
        let world = World::new(&format!("world.json in {}", store.url()), stored.spec, &crate::models())?;
        Ok(Deployment { world: Arc::new(world.with_id(stored.id)), log, store })
    }
}

/// Reads the stored world. The function retries while the store is unreachable, because a
/// deployment starts services and store at the same time.
async fn stored_world(store: &Store) -> Result<Option<StoredWorld>> {
    let begin = Instant::now();
    let mut pause = Duration::from_millis(250);
    loop {
        match store.world().await {
            Err(e) if e.is_transient() && begin.elapsed() < STORE_PATIENCE => {
                tracing::warn!("waiting for the object store: {e}");
                tokio::time::sleep(pause).await;
                pause = (pause * 2).min(Duration::from_secs(5));
            }
            world => return Ok(world?),
        }
    }
}

/// Fails if a spec differs from the stored world. The error names the difference and what to do.
pub(crate) fn compare(file: &str, spec: &WorldSpec, stored: &StoredWorld, store: &Store) -> Result<()> {
    let Some((key, ours, theirs)) = first_difference(spec, &stored.spec)? else { return Ok(()) };
    bail!(
        "{file} differs from world.json (revision {}) in {}: {key} is {ours} here, and {theirs} there. \
         Correct the file, or, if the change is meant and only adds to the world, run `driftless init --update --world {file}`; \
         for another partition count or other chunks, start a new generation",
        stored.revision,
        store.url()
    );
}

/// Returns the first key with different values, and both values: (key, ours, theirs).
fn first_difference(ours: &WorldSpec, theirs: &WorldSpec) -> Result<Option<(String, String, String)>> {
    use serde_json::Value;
    fn walk(path: &str, a: &Value, b: &Value) -> Option<(String, String, String)> {
        let at = |key: &str| if path.is_empty() { key.to_owned() } else { format!("{path}.{key}") };
        match (a, b) {
            (Value::Object(a), Value::Object(b)) => {
                let keys: std::collections::BTreeSet<_> = a.keys().chain(b.keys()).collect();
                keys.into_iter().find_map(|key| {
                    walk(&at(key), a.get(key).unwrap_or(&Value::Null), b.get(key).unwrap_or(&Value::Null))
                })
            }
            (Value::Array(a), Value::Array(b)) => (0..a.len().max(b.len())).find_map(|i| {
                walk(&format!("{path}[{i}]"), a.get(i).unwrap_or(&Value::Null), b.get(i).unwrap_or(&Value::Null))
            }),
            (a, b) if a == b => None,
            (a, b) => Some((path.to_owned(), a.to_string(), b.to_string())),
        }
    }
    Ok(walk("", &serde_json::to_value(ours)?, &serde_json::to_value(theirs)?))
}

/// How to treat topics that exist although the store has no world.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum StrayTopics<'a> {
    /// Refuse them, because they may belong to another world. `remedy` tells the operator what to
    /// do.
    Refused { remedy: &'a str },
    /// Use them if they never held a record: an operator may have created them by hand for this
    /// world.
    TakenIfEmpty,
}

/// Stores a new world with a new id, then creates its topics. Returns the stored world.
///
/// The order matters. A crash between the two leaves a world without topics, and the next run
/// completes it. Topics without a world could belong to any world, and their offsets mean nothing
/// to this store.
pub(crate) async fn create_world(
    log: &dyn Log,
    store: &Store,
    spec: &WorldSpec,
    stray: StrayTopics<'_>,
) -> Result<StoredWorld> {
    let mut present = Vec::new();
    for topic in topics(spec) {
        match log.partitions(&topic.name).await.with_context(|| cannot_create(log, &topic))? {
            None => {}
            Some(found) if found != topic.partitions => {
                let (topic, wanted) = (topic.name, topic.partitions);
                return Err(log::Error::PartitionCount { topic, found, wanted }).context(log.describe());
            }
            Some(_) => present.push(topic),
        }
    }
    match stray {
        StrayTopics::Refused { remedy } if !present.is_empty() => {
            let names: Vec<_> = present.iter().map(|topic| topic.name.as_str()).collect();
            bail!(
                "{} has {} already, but {} has no world.json: another store's world may live there, and its offsets mean \
                 nothing to this store. {remedy}",
                log.describe(),
                names.join(", "),
                store.url()
            );
        }
        StrayTopics::Refused { .. } => {}
        StrayTopics::TakenIfEmpty => check_empty(log, &present).await?,
    }
    let world = StoredWorld { revision: 1, spec: spec.clone(), id: Some(new_id()) };
    store.put_world(&world).await?;
    create_topics(log, spec).await?;
    Ok(world)
}

/// Stores the next revision of a world, with this spec. A world without an id gets one. Returns the
/// stored world.
pub(crate) async fn update_world(store: &Store, stored: StoredWorld, spec: &WorldSpec) -> Result<StoredWorld> {
    let id = Some(stored.id.unwrap_or_else(new_id));
    let world = StoredWorld { revision: stored.revision + 1, spec: spec.clone(), id };
    store.put_world(&world).await?;
    Ok(world)
}

fn new_id() -> WorldId {
    WorldId(rand::random())
}

async fn check_empty(log: &dyn Log, present: &[TopicSpec]) -> Result<()> {
    for topic in present {
        for partition in (0..topic.partitions).map(Partition) {
            let (_, high) = log.watermarks(&topic.name, partition).await?;
            if high > Offset(0) {
                bail!(
                    "{}[{partition}] in {} has held {high} records: it was not made for this world alone. \
                     Give the world another name or generation",
                    topic.name,
                    log.describe()
                );
            }
        }
    }
    Ok(())
}

/// The topics of a world: `commands`, `updates` and `dead-letter`.
fn topics(spec: &WorldSpec) -> [TopicSpec; 3] {
    const HOUR_MS: i64 = 3_600_000;
    let topics = spec.topics();
    let commands_ms = i64::from(spec.commands_retention_hours) * HOUR_MS;
    let updates_ms = spec.updates_retention_hours.map(|hours| i64::from(hours) * HOUR_MS);
    [
        (topics.commands, spec.partitions, Some(commands_ms)),
        (topics.updates, spec.partitions, updates_ms),
        (topics.dead_letter, 1, updates_ms),
    ]
    .map(|(name, partitions, retention_ms)| TopicSpec {
        name: name.to_string(),
        partitions,
        retention_ms,
        record_bytes_max: limits::RECORD_BYTES_MAX,
    })
}

/// Creates the topics of a world. An existing topic must have the right number of partitions (R1).
pub(crate) async fn create_topics(log: &dyn Log, spec: &WorldSpec) -> Result<()> {
    for topic in topics(spec) {
        log.create_topic(&topic).await.with_context(|| cannot_create(log, &topic))?;
    }
    Ok(())
}

fn cannot_create(log: &dyn Log, topic: &TopicSpec) -> String {
    format!("cannot create topic {} in {}", topic.name, log.describe())
}

#[cfg(test)]
mod tests {
    use super::*;
    use driftless_log::memory::MemoryLog;

    const REFUSED: StrayTopics<'_> = StrayTopics::Refused { remedy: "go elsewhere" };

    #[tokio::test]
    async fn topics_without_a_stored_world_are_refused() {
        let (log, store, spec) = (MemoryLog::new(), Store::memory(), WorldSpec::dev());
        create_world(&log, &store, &spec, REFUSED).await.unwrap();
        assert_eq!(store.world().await.unwrap().unwrap().spec, spec);

        let other = Store::memory();
        let error = create_world(&log, &other, &spec, REFUSED).await.unwrap_err().to_string();
        for word in ["dev.1.commands", "dev.1.updates", "dev.1.dead-letter", "memory", "world.json", "go elsewhere"] {
            assert!(error.contains(word), "nothing of {word} in: {error}");
        }
        assert!(other.world().await.unwrap().is_none(), "nothing was changed");
        // In the case `TakenIfEmpty` the topics are used as long as they are empty.
        create_world(&log, &other, &spec, StrayTopics::TakenIfEmpty).await.unwrap();
        let (sink, topic) = (Arc::new(|_| ()), topics(&spec)[0].name.clone());
        let producer = log.producer(log::Delivery::Gapless, sink).unwrap();
        let append = log::Append {
            topic: topic.as_str().into(),
            partition: Partition(3),
            key: "".into(),
            value: "x".into(),
            headers: Vec::new(),
            token: 0,
        };
        assert!(producer.append(vec![append]).is_empty());
        assert!(producer.flush(std::time::Duration::from_secs(60)).await);
        let error =
            create_world(&log, &Store::memory(), &spec, StrayTopics::TakenIfEmpty).await.unwrap_err().to_string();
        assert!(error.contains(&format!("{topic}[3]")) && error.contains("1 records"), "{error}");
    }

    #[test]
    fn a_difference_is_named_by_key_and_both_values() {
        let ours = WorldSpec::dev();
        assert_eq!(first_difference(&ours, &ours).unwrap(), None);
        let mut theirs = ours.clone();
        theirs.families[0].bounds = 5;
        let found = first_difference(&ours, &theirs).unwrap();
        assert_eq!(found, Some(("family[0].bounds".into(), "1024".into(), "5".into())));
    }
}
