//! The log contract against the log in memory.

use async_trait::async_trait;
use driftless_contract_tests::{FullLog, Subject};
use driftless_log::memory::MemoryLog;
use driftless_log::{Log, QueueLimits};
use driftless_schemas::{Offset, Partition};
use std::sync::Arc;

struct Memory(MemoryLog);

#[async_trait]
impl Subject for Memory {
    fn log(&self) -> Arc<dyn Log> {
        Arc::new(self.0.clone())
    }

    async fn truncate_before(&self, topic: &str, partition: Partition, before: Offset) {
        self.0.truncate_before(topic, partition, before).expect("the topic exists");
    }
}

impl FullLog for Memory {
    fn log_with_queue(&self, queue: QueueLimits) -> Arc<dyn Log> {
        Arc::new(self.0.clone().with_queue(queue))
    }

    fn too_large_bytes(&self) -> usize {
        300 << 10
    }
}

driftless_contract_tests::log_contract!(Memory(MemoryLog::new()));
