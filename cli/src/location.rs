//! Opens a world for an operator's command: over its brokers and store, or in the data folder of a
//! `driftless dev` that is not running.

use crate::config::{Config, ConfigFile, file_url};
use crate::data_folder::{DataFolder, LogName};
use crate::deployment::DeploymentArgs;
use anyhow::{Context, Result, bail};
use driftless_chunk::world::World;
use driftless_log::Log;
use driftless_log::sqlite::SqliteLog;
use driftless_store::Store;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The location of log and world.
#[derive(clap::Args)]
pub(crate) struct LocationArgs {
    #[command(flatten)]
    deployment: DeploymentArgs,
    #[command(flatten)]
    config: ConfigFile,
    /// The data folder of a `driftless dev` with an embedded log, instead of --brokers and --store.
    /// That `dev` must not be running.
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
}

/// An opened log, the world whose topics it holds, and the world's store.
pub(crate) struct Place {
    pub log: Arc<dyn Log>,
    pub world: Arc<World>,
    pub store: Store,
    pub config: Config,
}

impl LocationArgs {
    /// Opens the log and the world.
    pub async fn open(&self) -> Result<Place> {
        let mut config = self.config.read()?;
        if let Some(data) = &self.data {
            return open_data(data, config).await;
        }
        if !self.deployment.is_named() {
            bail!(
                "name the log: --data DIR for the embedded one of `driftless dev`, or --brokers LIST and --store URL (or \
                 DRIFTLESS_BROKERS and DRIFTLESS_STORE)"
            );
        }
        let deployment = self.deployment.open(&mut config).await?;
        Ok(Place { log: deployment.log, world: deployment.world, store: deployment.store, config })
    }
}

async fn open_data(data: &Path, config: Config) -> Result<Place> {
    let (folder, name) = (DataFolder::new(data), data.display());
    match folder.log()? {
        Some(LogName::Embedded) => {}
        Some(other) => bail!(
            "the log of {name} is {other}: while it runs, give --brokers with its address and --store {}",
            file_url(&folder.store())?
        ),
        None => bail!("there is no world in {name}: give the data folder of a `driftless dev`"),
    }
    let path = folder.log_db();
    let log = tokio::task::spawn_blocking(move || SqliteLog::open(&path)).await?.with_context(|| {
        format!("cannot open the embedded log of {name}; if `driftless dev` runs over it, end that first (Ctrl-C)")
    })?;
    let store = Store::open(&file_url(&folder.store())?)?;
    let file = format!("world.json in {}", store.url());
    let stored = store.world().await?.with_context(|| format!("there is no {file}"))?;
    let world = World::new(&file, stored.spec, &crate::models())?.with_id(stored.id);
    Ok(Place { log: Arc::new(log), world: Arc::new(world), store, config })
}
