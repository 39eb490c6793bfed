//! Replayer, gateway and ingest in one process, with the routes of all three on one port.

use super::Site;
use crate::config::MemoryArgs;
use crate::page;
use anyhow::{Context as _, Result, bail};
use driftless_gateway::{Gateway, Standings};
use driftless_ingest::Ingest;
use driftless_replayer::{CoreSettings, Replayer};
use driftless_runtime::memory;
use driftless_runtime::shutdown::ShutdownSource;
use driftless_runtime::telemetry::Metrics;
use driftless_web::http::openapi::{openapi, operators};
use driftless_web::http::{self, Origins, Routes};
use std::fmt::Display;
use std::sync::Arc;
use std::time::Duration;
use tokio::task::JoinError;
use warp::Filter;

/// Time limit for all services to become ready. No recovery of a world on one machine should take
/// longer.
const READY_WITHIN: Duration = Duration::from_secs(120);

/// The settings of the services, which divide the memory of the process among them.
pub(super) struct Memory {
    ingest: driftless_ingest::Settings,
    replayer: driftless_replayer::Settings,
    gateway: driftless_gateway::Settings,
    /// The memory for connections, bytes: the services share one port.
    connections: usize,
}

impl Memory {
    /// Divides the memory that the argument allows, or a default.
    pub fn of_process(args: MemoryArgs) -> Result<Self> {
        let max = memory::max_or_default(args.bytes().unwrap_or(0), 60);
        let percent = |part: usize| max / 100 * part;
        let replayer = driftless_replayer::Settings { core: CoreSettings::dev(), ..Default::default() };
        let ingest = driftless_ingest::Settings { memory_max: percent(25), ..Default::default() };
        let replayer = driftless_replayer::Settings { memory_max: percent(35), ..replayer };
        let gateway = driftless_gateway::Settings { memory_max: percent(40), ..Default::default() };
        let connections = ingest.memory().context("ingest, which has a quarter of the memory")?.of("connections")
            + replayer.memory().context("the replayer, which has 35 % of the memory")?.of("connections")
            + gateway.memory().context("the gateway, which has 40 % of the memory")?.of("connections");
        Ok(Self { ingest, replayer, gateway, connections })
    }

    /// The memory for connections, bytes.
    pub fn connections(&self) -> usize {
        self.connections
    }
}

/// The running services.
pub(super) struct Stack {
    partitions: usize,
    replayer: Replayer,
    gateway: Gateway,
    ingest: Ingest,
}

/// A service that will not become ready.
enum Ended {
    /// The replayer will not decide for all partitions by itself, for this reason.
    Replayer(String),
    Gateway,
}

impl Stack {
    /// Starts the services. `front` is the shutdown signal of gateway and ingest; `back` is that of
    /// the replayer.
    pub async fn start(
        site: &Site,
        memory: Memory,
        origins: &Origins,
        front: &ShutdownSource,
        back: &ShutdownSource,
    ) -> Result<Self> {
        let (world, log) = (|| Arc::clone(&site.world), || Arc::clone(&site.opened.log));
        let replayer = Replayer::start(memory.replayer, world(), log(), site.store.clone(), back.handle()).await?;
        let gateway = Gateway::start(
            memory.gateway,
            world(),
            log(),
            site.store.clone(),
            site.verifier.clone(),
            origins.clone(),
            front.handle(),
        )
        .await?;
        let ingest = Ingest::start(memory.ingest, world(), log(), site.verifier.clone(), front.handle()).await?;
        let partitions = usize::try_from(site.world.spec().partitions).unwrap_or(usize::MAX);
        Ok(Self { partitions, replayer, gateway, ingest })
    }

    /// Waits until replayer and gateway are ready. A service that ends by itself fails the wait at
    /// once.
    pub async fn ready(self) -> Result<Self> {
        let mut readiness = self.gateway.readiness();
        let replayer = async { self.replayer.ready(self.partitions).await.map_err(Ended::Replayer) };
        let gateway = async { readiness.wait_for(Standings::is_ready).await.map(drop).map_err(|_| Ended::Gateway) };
        let both = async { tokio::try_join!(replayer, gateway) };
        let waited = tokio::time::timeout(READY_WITHIN, both).await;
        match waited {
            Ok(Ok(_)) => Ok(self),
            Ok(Err(Ended::Replayer(reason))) => {
                bail!("the replayer cannot decide: {reason}; or begin with an empty world: driftless dev --fresh")
            }
            Ok(Err(Ended::Gateway)) => Err(by_itself("the gateway", Ok(self.gateway.join().await))),
            Err(_) => bail!("not ready within {READY_WITHIN:?}: the log of the services above says why"),
        }
    }

    /// Returns the routes of all services, with health, metrics and the page.
    pub fn routes(&self, metrics: &Metrics) -> Routes {
        let routes = self.gateway.routes().or(self.ingest.routes()).unify().boxed();
        #[cfg(debug_assertions)]
        let routes = {
            let damage = crate::damage::route("replayer", self.replayer.damage());
            let damage = damage.or(crate::damage::route("gateway", self.gateway.damage())).unify();
            damage.or(routes).unify().boxed()
        };
        let standings = self.gateway.readiness();
        let ready = move || standings.borrow().readiness();
        let document = Gateway::document().and(Ingest::document()).and(operators());
        let routes = routes.or(http::healthz()).unify().or(http::readyz_with_notes(ready)).unify();
        let routes = routes.or(openapi(&document)).unify();
        routes.or(http::metrics(metrics.clone())).unify().or(page::routes()).unify().boxed()
    }

    /// Runs until `asked` completes, and then returns `None`. If a service ends by itself first,
    /// returns an error that names the service.
    pub async fn run_until(self, asked: impl Future<Output = ()>) -> Option<anyhow::Error> {
        let Self { replayer, gateway, ingest, .. } = self;
        // The sockets of ingest continue without this handle. Keeping the handle would delay the
        // shutdown.
        drop(ingest);
        let mut replaying = tokio::spawn(replayer.join());
        let mut following = tokio::spawn(gateway.join());
        tokio::select! {
            () = asked => None,
            ended = &mut replaying => Some(by_itself("the replayer", ended)),
            ended = &mut following => Some(by_itself("the gateway", ended)),
        }
    }
}

fn by_itself<E: Display>(service: &str, ended: Result<Result<(), E>, JoinError>) -> anyhow::Error {
    match ended {
        Ok(Ok(())) => anyhow::anyhow!("{service} ended by itself"),
        Ok(Err(e)) => anyhow::anyhow!("{service} ended: {e}"),
        Err(e) => anyhow::anyhow!("{service} ended: {e}"),
    }
}
