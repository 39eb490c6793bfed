//! What every service of a deployment opens first: the store, the world in it, the log.

use crate::config::Config;
use anyhow::{Context, Result, bail};
use driftless_chunk::model::Models;
use driftless_chunk::world::World;
use driftless_runtime::log::kafka::KafkaLog;
use driftless_runtime::log::{Log, TopicSpec};
use driftless_runtime::store::Store;
use driftless_schemas::limits;
use driftless_schemas::world::{StoredWorld, WorldSpec};
use std::path::PathBuf;
use std::sync::Arc;

/// Where a deployment lies.
#[derive(clap::Args, Clone, Debug)]
pub(crate) struct DeploymentArgs {
    /// Kafka's (or Redpanda's) bootstrap servers, `host:port,…`.
    #[arg(long, value_name = "LIST", env = "DRIFTLESS_BROKERS")]
    brokers: Option<String>,
    /// The object store: `file:///path`, or `s3://bucket/prefix` with the usual AWS_… variables.
    #[arg(long, value_name = "URL", env = "DRIFTLESS_STORE")]
    store: String,
    /// A world.toml to compare with what is stored; the stored world alone is used without it.
    #[arg(long, value_name = "FILE")]
    world: Option<PathBuf>,
}

/// A deployment, opened.
pub(crate) struct Deployment {
    pub world: Arc<World>,
    pub log: Arc<dyn Log>,
    pub store: Store,
}

impl DeploymentArgs {
    /// Opens the store and the log; reads nothing of the world yet.
    pub fn parts(&self, config: &mut Config) -> Result<(Arc<dyn Log>, Store)> {
        if let Some(brokers) = &self.brokers {
            config.kafka.brokers.clone_from(brokers);
        }
        let log = KafkaLog::new(config.kafka.clone())?;
        Ok((Arc::new(log), Store::open(&self.store)?))
    }

    /// The world.toml that was named.
    pub fn spec(&self) -> Result<Option<(String, WorldSpec)>> {
        let Some(path) = &self.world else { return Ok(None) };
        let name = path.display().to_string();
        let text = std::fs::read_to_string(path).with_context(|| format!("cannot read {name}"))?;
        let spec = WorldSpec::from_toml(&name, &text)?;
        Ok(Some((name, spec)))
    }

    /// Opens everything, and checks that the world is the stored one.
    pub async fn open(&self, config: &mut Config) -> Result<Deployment> {
        let (log, store) = self.parts(config)?;
        let stored = store.world().await?.with_context(|| {
            format!(
                "there is no world in {}: make one with `driftless init --world world.toml --store {} --brokers …`",
                store.url(),
                store.url()
            )
        })?;
        if let Some((file, spec)) = self.spec()? {
            compare(&file, &spec, &stored, &store)?;
        }
        let world = World::new(&format!("world.json in {}", store.url()), stored.spec, &Models::builtin())?;
        Ok(Deployment { world: Arc::new(world), log, store })
    }
}

/// Fails where a spec differs from the stored one, and says where and how to mend it.
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

/// The first key whose value differs: (key, ours, theirs).
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

/// Creates the topics of a world, or finds them as they should be (R1).
pub(crate) async fn create_topics(log: &dyn Log, spec: &WorldSpec) -> Result<()> {
    const HOUR_MS: i64 = 3_600_000;
    let topics = spec.topics();
    let commands_ms = i64::from(spec.commands_retention_hours) * HOUR_MS;
    let updates_ms = spec.updates_retention_hours.map(|hours| i64::from(hours) * HOUR_MS);
    for (name, partitions, retention_ms) in [
        (&topics.commands, spec.partitions, Some(commands_ms)),
        (&topics.updates, spec.partitions, updates_ms),
        (&topics.dead_letter, 1, updates_ms),
    ] {
        let topic =
            TopicSpec { name: name.to_string(), partitions, retention_ms, record_bytes_max: limits::RECORD_BYTES_MAX };
        log.create_topic(&topic).await.with_context(|| format!("cannot create topic {name} in {}", log.describe()))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

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
