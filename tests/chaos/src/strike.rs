//! Carries out a plan. One task for each lane hits the lane's target and heals it again. The module
//! `environment` carries out the lane of the environment.

use crate::cluster::Cluster;
use crate::gate::Gate;
use crate::plan::{Fault, Kind, Lane, Planned, Target};
use crate::service::Service;
use anyhow::{Result, bail};
use driftless_testbed::kafka::Kafka;
use std::time::Duration;
use tokio::time::{Instant, sleep_until};

/// How long a zombie's first append is awaited. A replayer that owns no partition appends nothing.
const SOMETHING_TO_APPEND_WITHIN: Duration = Duration::from_secs(3);
const BETWEEN_LOOKS: Duration = Duration::from_millis(5);

/// Runs all lanes until the time is up. All targets are healed when this returns.
///
/// # Errors
/// If a target cannot be healed.
pub async fn all(cluster: &Cluster, lanes: Vec<Lane>, until: Instant) -> Result<()> {
    let lanes = lanes.into_iter().map(async |lane| {
        for planned in lane.faults {
            sleep_until(until.min(Instant::now() + planned.wait)).await;
            if Instant::now() >= until {
                break;
            }
            // A fault of the environment happens while no other target is hit.
            let _shared = cluster.calm.read().await;
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

/// Hits a target with one fault and heals it when the fault is over.
///
/// # Errors
/// If the target cannot be healed.
pub async fn one(cluster: &Cluster, target: Target, planned: Planned) -> Result<()> {
    let heal_at = Instant::now() + planned.lasts;
    match target {
        Target::Service(Kind::Replayer, number) if planned.fault == Fault::Zombie => {
            zombie(cluster, number, planned).await
        }
        Target::Service(kind, number) => service(cluster, kind, number, planned).await,
        Target::Brokers => broker(cluster, planned, heal_at).await,
        Target::Store => {
            let _turn = cluster.store_turn.lock().await;
            let heal_at = Instant::now() + planned.lasts;
            cluster.journal.fault("s3", "s3", planned.fault, &lasts(planned));
            gate(&cluster.store, planned.fault, heal_at).await?;
            cluster.journal.note("s3 is well");
            Ok(())
        }
        Target::Environment => bail!("a fault of the environment needs painters that show when edits go on"),
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

async fn service(cluster: &Cluster, kind: Kind, number: usize, planned: Planned) -> Result<()> {
    let mut service = cluster.service(kind, number)?.lock().await;
    let heal_at = Instant::now() + planned.lasts;
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
            way.iter().try_for_each(|gate| close(gate, planned.fault))?;
            sleep_until(heal_at).await;
            way.iter().for_each(|gate| gate.open());
            cluster.journal.note(&format!("{} has its way to Kafka again", service.name));
            Ok(())
        }
        other => bail!("a {} cannot get the fault {}", kind.name(), other.name()),
    }
}

/// Makes a replayer a zombie and wakes it up later. Meanwhile no other task disturbs the other
/// replayers or the store, so that a replayer can take over.
async fn zombie(cluster: &Cluster, number: usize, planned: Planned) -> Result<()> {
    let _turn = cluster.store_turn.lock().await;
    let mut replayers = cluster.all_replayers().await;
    let Some(service) = replayers.get_mut(number) else { return Ok(()) };
    cluster.journal.fault(Kind::Replayer.name(), &service.name, planned.fault, &lasts(planned));
    become_a_zombie(service).await?;
    tokio::time::sleep(planned.lasts).await;
    cluster.journal.note(&format!("{} wakes up", service.name));
    wake_up(service)
}

/// Holds the replayer's appends. Pauses the process at its next append, or after some time without
/// an append.
///
/// # Errors
/// If the kernel refuses.
pub async fn become_a_zombie(service: &mut Service) -> Result<()> {
    let held = |service: &Service| service.way_to_kafka().iter().map(Gate::held).sum::<usize>();
    let before = held(service);
    service.way_to_kafka().iter().for_each(Gate::hold_appends);
    let deadline = Instant::now() + SOMETHING_TO_APPEND_WITHIN;
    while held(service) == before && Instant::now() < deadline {
        tokio::time::sleep(BETWEEN_LOOKS).await;
    }
    service.pause()
}

/// Lets the held appends pass, and then wakes up the process.
///
/// # Errors
/// If the kernel refuses.
pub fn wake_up(service: &mut Service) -> Result<()> {
    service.way_to_kafka().iter().for_each(Gate::open);
    service.resume()
}

async fn broker(cluster: &Cluster, planned: Planned, heal_at: Instant) -> Result<()> {
    let node = planned.which + 1;
    cluster.journal.fault("kafka", &format!("kafka node {node}"), planned.fault, &lasts(planned));
    let (hit, heal): (Act, Act) = match planned.fault {
        Fault::Kill => (Kafka::kill, Kafka::restart),
        Fault::Terminate => (Kafka::stop, Kafka::restart),
        Fault::Pause => (Kafka::pause, Kafka::resume),
        _ => bail!("a broker cannot {}", planned.fault.name()),
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
        _ => bail!("a proxy in front of a server cannot make the fault {}", fault.name()),
    }
    Ok(())
}

/// Makes a fault for a test that is scripted by hand.
#[must_use]
pub fn of(fault: Fault, lasts: Duration) -> Planned {
    Planned { wait: Duration::ZERO, fault, which: 0, is_killed: true, minutes: 0, lasts }
}
