//! Writes `Audit` records to `commands`: requests to the owner of a chunk to check its state. A
//! gateway writes nothing else to the log.
//!
//! An audit may be lost. The hub repeats it as long as the gateway cannot rebuild the chunk to the
//! hash that the log says.

use bytes::Bytes;
use driftless_chunk::world::World;
use driftless_log::{self as log, Ack, Append, AppendError, Delivery, Headers, Log, Producer};
use driftless_schemas::proto::{Audit, CommandRecord, command_record};
use driftless_schemas::{ChunkId, Hash, Version};
use prost::Message as _;
use std::sync::Arc;
use std::time::Duration;

/// How long the producer tries to deliver an audit. A failure needs no handling, because the hub
/// asks for the audit again later.
const DELIVERY_TIMEOUT: Duration = Duration::from_secs(10);

/// Writes audits.
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
                    tracing::warn!("an audit did not reach the log and is asked for again: {reason}");
                }
            }
        });
        let producer = log.producer(Delivery::Bounded(DELIVERY_TIMEOUT), sink)?;
        Ok(Self { world: Arc::clone(world), producer, reporter: format!("gateway {}", std::process::id()) })
    }

    /// Asks the owner to check a chunk whose replica here has `hash` at `version`.
    pub fn ask(&self, chunk: &ChunkId, version: Version, hash: Hash) {
        // The hub knows only chunks that the world places, so this does not fail.
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
            tracing::warn!(%chunk, "cannot enqueue an audit: the producer's queue is full; it is asked for again");
        }
    }
}
