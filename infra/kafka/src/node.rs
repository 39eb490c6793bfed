//! A node of the cluster: a JVM that is both broker and controller, and the node's files.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use crate::metadata::ask_metadata;
use crate::process::Process;

/// A node, and its JVM while it runs. Ids count from 1 and are Kafka's own `node.id`.
#[derive(Debug)]
pub(crate) struct Node {
    pub id: usize,
    pub addr: String,
    pub listeners: Vec<Listener>,
    pub dir: PathBuf,
    pub process: Option<Process>,
}

/// A listener in addition to the plain one, for clients that connect through a proxy.
#[derive(Debug)]
pub(crate) struct Listener {
    pub name: String,
    /// The address on which the node listens.
    pub addr: String,
    /// The address that the node names to clients.
    pub advertised: String,
}

impl Node {
    pub fn config(&self) -> PathBuf {
        self.dir.join("server.properties")
    }

    pub fn log_config(&self) -> PathBuf {
        self.dir.join("log4j2.properties")
    }

    pub fn data(&self) -> PathBuf {
        self.dir.join("data")
    }

    /// The file that marks the storage as formatted.
    pub fn formatted(&self) -> PathBuf {
        self.dir.join("formatted")
    }

    /// Waits until this node answers, knows a controller, and lists itself among at least `count`
    /// brokers.
    pub fn wait_ready(&mut self, count: usize, within: Duration) -> Result<()> {
        let process = self.process.as_mut().context("the node does not run")?;
        let (id, addr) = (self.id, &self.addr);
        process.ready(within, || {
            let seen = ask_metadata(addr)?;
            let has_itself = seen.brokers.iter().any(|broker| broker.id as usize == id);
            ensure!(
                has_itself && seen.brokers.len() >= count && seen.controller_id >= 0,
                "node {id} answers, but has not joined the cluster yet: {seen:?}"
            );
            Ok(())
        })
    }
}
