//! The one thing that a gateway writes: an `Audit` in `commands`, which asks the owner of a chunk to check it.
//!
//! It is a request and no more: it may be lost, and comes again as long as the gateway cannot bring the chunk in line with the
//! log.

use bytes::Bytes;
use driftless_chunk::world::World;
use driftless_log::{self as log, Ack, Append, AppendError, Delivery, Headers, Log, Producer};
use driftless_schemas::proto::{Audit, CommandRecord, command_record};
use driftless_schemas::{ChunkId, Hash, Version};
use prost::Message as _;
use std::sync::Arc;
use std::time::Duration;

/// After this an audit is given up; the gateway asks again by itself.
const PATIENCE: Duration = Duration::from_secs(10);

/// Asks owners.
pub(crate) struct Auditor {
    world: Arc<World>,
    producer: Arc<dyn Producer>,
    reporter: String,
}

impl Auditor {
    pub fn start(world: &Arc<World>, log: &dyn Log) -> Result<Self, log::Error> {
        let sink = Arc::new(|acks: Vec<Ack>| {
            for Ack { result, .. } in acks {
                if let Err(AppendError::Refused(reason) | AppendError::Unknown(reason)) = result {
                    tracing::warn!("an audit did not reach the log: {reason}");
                }
            }
        });
        let producer = log.producer(Delivery::Bounded(PATIENCE), sink)?;
        Ok(Self { world: Arc::clone(world), producer, reporter: format!("gateway {}", std::process::id()) })
    }

    /// Asks the owner to check a chunk which this gateway folded to `hash` at `version`.
    pub fn ask(&self, chunk: &ChunkId, version: Version, hash: Hash) {
        // A chunk that the hub knows has a place.
        let Ok(place) = self.world.place(chunk) else { return };
        let audit = Audit { version: version.0, hash: hash.to_bytes(), reporter: self.reporter.clone() };
        let body = Some(command_record::Body::Audit(audit));
        let record = CommandRecord { chunk_id: chunk.to_string(), body };
        let append = Append {
            topic: Arc::clone(&self.world.topics().commands),
            partition: place.partition,
            key: place.key.into(),
            value: Bytes::from(record.encode_to_vec()),
            headers: Headers::new(),
            token: 0,
        };
        if !self.producer.append(vec![append]).is_empty() {
            tracing::warn!(%chunk, "the log takes no audit at present");
        }
    }
}
