//! The log of `driftless dev`: the embedded one, a Kafka of its own, or a Kafka that runs already.

use crate::data_folder::{DataFolder, LogName};
use anyhow::Result;
use driftless_local_kafka::{Kafka, KafkaDist, KafkaOptions};
use driftless_log::Log;
use driftless_log::kafka::{KafkaLog, KafkaSettings};
use driftless_log::sqlite::SqliteLog;
use std::sync::Arc;

/// The opened log, with the broker process of `--kafka`.
pub(super) struct OpenedLog {
    pub log: Arc<dyn Log>,
    pub name: LogName,
    /// The bootstrap servers, if the log is a Kafka.
    pub brokers: Option<String>,
    /// The broker process of `--kafka`. Dropping it stops the process.
    broker: Option<Kafka>,
}

impl OpenedLog {
    /// Opens the log `name`; with `--kafka` it first starts the broker, on `kafka_port` or a free
    /// port.
    pub async fn open(name: LogName, folder: &DataFolder, kafka_port: Option<u16>) -> Result<Self> {
        match &name {
            LogName::Brokers { brokers, .. } => {
                let log = kafka_log(brokers)?;
                let name = LogName::Brokers { brokers: brokers.clone(), cluster_id: Some(log.cluster_id().await?) };
                Ok(Self { log: Arc::new(log), name, brokers: Some(brokers.clone()), broker: None })
            }
            LogName::Kafka => {
                // The first start on a machine also fetches Kafka, and says so.
                eprintln!("starting Apache Kafka {} …", KafkaDist::VERSION);
                let options = KafkaOptions::new(std::path::absolute(folder.kafka())?).port(kafka_port);
                let broker = tokio::task::spawn_blocking(move || Kafka::start(options)).await??;
                let brokers = broker.brokers().to_owned();
                let log = Arc::new(kafka_log(&brokers)?);
                Ok(Self { log, name, brokers: Some(brokers), broker: Some(broker) })
            }
            LogName::Embedded => {
                let path = folder.log_db();
                let log = tokio::task::spawn_blocking(move || SqliteLog::open(&path)).await??;
                Ok(Self { log: Arc::new(log), name, brokers: None, broker: None })
            }
        }
    }

    /// Closes the log, then stops the broker.
    pub async fn close(self) -> Result<()> {
        drop(self.log);
        if let Some(broker) = self.broker {
            tokio::task::spawn_blocking(move || drop(broker)).await?;
        }
        Ok(())
    }
}

fn kafka_log(brokers: &str) -> Result<KafkaLog> {
    Ok(KafkaLog::new(KafkaSettings { brokers: brokers.to_owned(), ..KafkaSettings::default() })?)
}
