//! Carries a plan out: one task per lane, each hits its target and heals it again.

use crate::cluster::Cluster;
use crate::gate::Gate;
use crate::plan::{Fault, Kind, Lane, Planned, Target};
use anyhow::{Result, bail};
use driftless_testbed::kafka::Kafka;
use std::time::Duration;
use tokio::time::{Instant, sleep_until};

/// Runs all lanes until the time is up. Everything is healed when it returns.
///
/// # Errors
/// Where something cannot be healed.
pub async fn all(cluster: &Cluster, lanes: Vec<Lane>, until: Instant) -> Result<()> {
    let lanes = lanes.into_iter().map(async |lane| {
        for planned in lane.faults {
            sleep_until(until.min(Instant::now() + planned.wait)).await;
            if Instant::now() >= until {
                break;
            }
            let planned = Planned { lasts: planned.lasts.min(until - Instant::now()), ..planned };
            one(cluster, lane.target, planned).await?;
        }
        Ok(())
    });
    futures_util::future::try_join_all(lanes).await.map(drop)
}

/// Hits and heals.
///
/// # Errors
/// Where it cannot be healed.
pub async fn one(cluster: &Cluster, target: Target, planned: Planned) -> Result<()> {
    let heal_at = Instant::now() + planned.lasts;
    match target {
        Target::Service(kind, number) => service(cluster, kind, number, planned, heal_at).await,
        Target::Brokers => broker(cluster, planned, heal_at).await,
        Target::Store => {
            cluster.journal.fault("s3", "s3", planned.fault, &lasts(planned));
            gate(&cluster.store, planned.fault, heal_at).await?;
            cluster.journal.note("s3 is well");
            Ok(())
        }
        Target::Clients => {
            let Some((name, way)) = cluster.gates().nth(planned.which) else { return Ok(()) };
            cluster.journal.fault("clients", &format!("clients of {name}"), planned.fault, &lasts(planned));
            gate(way, planned.fault, heal_at).await
        }
    }
}

fn lasts(planned: Planned) -> String {
    format!("for {} ms", planned.lasts.as_millis())
}

async fn service(cluster: &Cluster, kind: Kind, number: usize, planned: Planned, heal_at: Instant) -> Result<()> {
    let mut service = cluster.service(kind, number)?.lock().await;
    cluster.journal.fault(kind.name(), &service.name, planned.fault, &lasts(planned));
    match planned.fault {
        Fault::Pause => {
            service.pause()?;
            sleep_until(heal_at).await;
            cluster.journal.note(&format!("{} goes on", service.name));
            service.resume()
        }
        Fault::Kill => {
            service.kill()?;
            sleep_until(heal_at).await;
            service.start(&cluster.journal).await
        }
        Fault::Terminate => {
            service.terminate(&cluster.journal).await?;
            sleep_until(heal_at).await;
            service.start(&cluster.journal).await
        }
        Fault::Refuse | Fault::Stall | Fault::Cut => {
            let way = service.way_to_kafka();
            for gate in way {
                match planned.fault {
                    // It still gets answers, so that it goes on: what it sends arrives late, when others have taken over.
                    Fault::Stall => gate.hold(),
                    fault => close(gate, fault)?,
                }
            }
            sleep_until(heal_at).await;
            way.iter().for_each(|gate| gate.open());
            cluster.journal.note(&format!("{} has its way to Kafka again", service.name));
            Ok(())
        }
    }
}

async fn broker(cluster: &Cluster, planned: Planned, heal_at: Instant) -> Result<()> {
    let node = planned.which + 1;
    cluster.journal.fault("kafka", &format!("kafka node {node}"), planned.fault, &lasts(planned));
    let (hit, heal): (Act, Act) = match planned.fault {
        Fault::Kill => (Kafka::kill, Kafka::restart),
        Fault::Terminate => (Kafka::stop, Kafka::restart),
        Fault::Pause => (Kafka::pause, Kafka::resume),
        Fault::Refuse | Fault::Stall | Fault::Cut => bail!("a broker cannot {}", planned.fault.name()),
    };
    cluster.with_kafka(move |kafka| hit(kafka, node)).await?;
    sleep_until(heal_at).await;
    cluster.with_kafka(move |kafka| heal(kafka, node)).await?;
    cluster.in_sync().await?;
    cluster.journal.note(&format!("kafka node {node} is in sync"));
    Ok(())
}

type Act = fn(&mut Kafka, usize) -> Result<()>;

async fn gate(way: &Gate, fault: Fault, heal_at: Instant) -> Result<()> {
    close(way, fault)?;
    sleep_until(heal_at).await;
    way.open();
    Ok(())
}

fn close(way: &Gate, fault: Fault) -> Result<()> {
    match fault {
        Fault::Cut => way.cut(),
        Fault::Refuse => way.refuse(),
        Fault::Stall => way.stall(),
        Fault::Kill | Fault::Pause | Fault::Terminate => bail!("a way cannot {}", fault.name()),
    }
    Ok(())
}

/// A fault for a story that is told by hand.
#[must_use]
pub fn of(fault: Fault, lasts: Duration) -> Planned {
    Planned { wait: Duration::ZERO, fault, which: 0, lasts }
}
