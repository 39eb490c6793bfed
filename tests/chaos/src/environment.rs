//! Carries out the faults of the environment: things on which the services rely and which no
//! service can see while they change.
//!
//! Each fault happens alone. Faults of targets end first and do not begin meanwhile, so the run can
//! measure how soon edits go on: 15 s after the replayers are ready, every chunk must have a new
//! commit.

use crate::cluster::{Cluster, WELL_WITHIN};
use crate::index_copy::{self, IndexCopy};
use crate::plan::{Fault, Kind, Lane, Planned};
use crate::service::Service;
use crate::story::Studio;
use crate::{forger, stranger};
use anyhow::{Result, bail};
use std::path::Path;
use std::time::Duration;
use tokio::sync::MutexGuard;
use tokio::time::{Instant, sleep_until};

/// The deadline for a new commit in every chunk after a fault.
pub const GOES_ON_WITHIN: Duration = Duration::from_secs(15);
/// The deadline for all services to be ready after a fault. Until then they say what they wait for.
const READY_WITHIN: Duration = Duration::from_secs(60);
/// The folder of the copy of the index.
pub const INDEX_COPY: &str = "index-copy";
/// The least time that must be left for a fault to begin. So the end of the last fault does not
/// make a run much longer.
const TIME_LEFT_MIN: Duration = Duration::from_secs(20);

/// Runs the lane of the environment until the time is up.
///
/// # Errors
/// If a fault cannot be made or healed. Edits that go on late are no error, because the journal
/// has them.
pub async fn all(cluster: &Cluster, studio: &Studio, lane: Lane, until: Instant) -> Result<()> {
    let backup = cluster.folder(INDEX_COPY);
    let mut copy: Option<IndexCopy> = None;
    for planned in lane.faults {
        sleep_until(until.min(Instant::now() + planned.wait)).await;
        let _alone = cluster.calm.write().await;
        if Instant::now() + TIME_LEFT_MIN > until {
            break;
        }
        // Every other target has healed. The system must also have recovered, so that this fault
        // alone accounts for what follows.
        cluster.all_ready().await?;
        cluster.all_shared_out(None, WELL_WITHIN).await?;
        studio.moves_on(1).await?;
        let older = match copy.take() {
            Some(older) => older,
            None => IndexCopy::take(cluster, &backup).await?,
        };
        copy = Some(one(cluster, studio, older, planned, &backup).await?);
    }
    Ok(())
}

/// Makes one fault, and measures how soon edits go on. Returns the copy of the index for a later
/// fault.
async fn one(
    cluster: &Cluster,
    studio: &Studio,
    older: IndexCopy,
    planned: Planned,
    backup: &Path,
) -> Result<IndexCopy> {
    match planned.fault {
        Fault::IndexRestored => {
            let mut replayers = end_replayers(cluster, planned).await?;
            cluster.journal.fault("environment", "every index", planned.fault, "to the state of the last copy");
            older.put_back(cluster).await?;
            start(cluster, &mut replayers).await?;
            drop(replayers);
            goes_on_once_shared_out(cluster, studio, None, planned.fault).await;
            return IndexCopy::take(cluster, backup).await;
        }
        Fault::IndexDeleted => {
            let mut replayers = end_replayers(cluster, planned).await?;
            let name = format!("the index of partition {}", planned.which);
            cluster.journal.fault("environment", &name, planned.fault, "while no replayer runs");
            index_copy::delete(cluster, planned.which).await?;
            start(cluster, &mut replayers).await?;
            drop(replayers);
            goes_on_once_shared_out(cluster, studio, None, planned.fault).await;
        }
        Fault::StoreCopied => store_copied(cluster, studio, planned).await?,
        Fault::ClockAhead | Fault::ClockBack => {
            clock_wrong(cluster, studio, planned).await?;
            goes_on(cluster, studio, planned.fault).await;
        }
        Fault::Forged => {
            let chunk = studio.chunk_of(cluster, planned.which)?;
            cluster.journal.fault("environment", &format!("the partition of {chunk}"), planned.fault, "");
            let count = forger::forge(&cluster.brokers, &cluster.world, &chunk, &cluster.folder("")).await?;
            cluster.journal.forged(count);
            goes_on(cluster, studio, planned.fault).await;
        }
        other => bail!("{} is no fault of the lane of the environment", other.name()),
    }
    Ok(older)
}

/// A replayer with a copy of the store joins the group, and leaves it again. Every chunk must go on
/// in between, too.
async fn store_copied(cluster: &Cluster, studio: &Studio, planned: Planned) -> Result<()> {
    let number =
        cluster.journal.counts().faults.get(&("environment", planned.fault.name())).map_or(1, |count| count + 1);
    let lasts = format!("for {} ms", planned.lasts.as_millis());
    cluster.journal.fault("environment", &format!("{}{number}", stranger::STRANGER), planned.fault, &lasts);
    let stranger = stranger::join(cluster, number).await?;
    goes_on_once_shared_out(cluster, studio, Some(&stranger), planned.fault).await;
    tokio::time::sleep(planned.lasts).await;
    stranger::leave(cluster, stranger, planned.is_killed).await?;
    goes_on_once_shared_out(cluster, studio, None, planned.fault).await;
    Ok(())
}

/// The clock of a service is wrong for a while. Every chunk must go on meanwhile. Half of the times
/// the process is killed while its clock is wrong, so that another one takes over from it.
async fn clock_wrong(cluster: &Cluster, studio: &Studio, planned: Planned) -> Result<()> {
    let Some((kind, number, clock)) = cluster.clock(planned.which) else { return Ok(()) };
    let (name, shift) = (format!("{}-{number}", kind.name()), Duration::from_secs(planned.minutes * 60));
    let detail = format!("by {} minutes for {} ms", planned.minutes, planned.lasts.as_millis());
    cluster.journal.fault("environment", &name, planned.fault, &detail);
    let from = Instant::now();
    match planned.fault {
        Fault::ClockAhead => clock.set_ahead(shift)?,
        _ => clock.set_back(shift)?,
    }
    goes_on(cluster, studio, planned.fault).await;
    tokio::time::sleep(planned.lasts).await;
    if planned.is_killed {
        let service = cluster.service(kind, number)?;
        cluster.journal.note(&format!("{name} is killed while its clock is wrong"));
        service.lock().await.kill()?;
        clock.set_right()?;
        taken_over(cluster, studio, planned.fault).await;
        service.lock().await.start(&cluster.journal).await?;
    }
    clock.set_right()?;
    cluster.journal.note(&format!("the clock of {name} is right again"));
    if kind != Kind::Replayer {
        // Clients that the service has refused may still be on their way to another one.
        cluster.journal.clock_was_wrong(from.into_std(), (Instant::now() + GOES_ON_WITHIN).into_std());
    }
    Ok(())
}

/// Waits until every service is ready, and then until every chunk has a new commit. Records how
/// long the second took, or that it took too long.
async fn goes_on(cluster: &Cluster, studio: &Studio, fault: Fault) {
    match cluster.all_ready_within(READY_WITHIN).await {
        Ok(()) => goes_on_at_once(cluster, studio, fault).await,
        Err(e) => cluster.journal.late(fault, &format!("{e:#}")),
    }
}

/// Waits like [`goes_on`] after replayers have joined or left the group. They are ready when they
/// decide for all partitions; until then `/readyz` says for which they do not decide.
async fn goes_on_once_shared_out(cluster: &Cluster, studio: &Studio, guest: Option<&Service>, fault: Fault) {
    let began = Instant::now();
    if let Err(e) = cluster.all_shared_out(guest, READY_WITHIN).await {
        return cluster.journal.late(fault, &format!("{e:#}"));
    }
    cluster.journal.note(&format!("all partitions have an owner {} ms later", began.elapsed().as_millis()));
    goes_on(cluster, studio, fault).await;
}

/// Waits until the replayers that answer decide for all partitions, and then until every chunk has
/// a new commit, while a service is away.
async fn taken_over(cluster: &Cluster, studio: &Studio, fault: Fault) {
    match cluster.all_shared_out(None, READY_WITHIN).await {
        Ok(()) => goes_on_at_once(cluster, studio, fault).await,
        Err(e) => cluster.journal.late(fault, &format!("{e:#}")),
    }
}

/// Waits until every chunk has a new commit, while a service may be away.
async fn goes_on_at_once(cluster: &Cluster, studio: &Studio, fault: Fault) {
    let ready = Instant::now();
    match studio.moves_on_within(1, GOES_ON_WITHIN).await {
        Ok(()) => cluster.journal.recovered(fault, ready.elapsed()),
        Err(e) => cluster.journal.late(fault, &format!("{e:#}")),
    }
}

/// All replayers, locked.
type Replayers<'a> = Vec<MutexGuard<'a, Service>>;

/// Ends all replayers: half of the times by SIGTERM, so that each writes a last checkpoint, and
/// half of the times by SIGKILL. Holding the result keeps the supervisor from restarting them.
async fn end_replayers(cluster: &Cluster, planned: Planned) -> Result<Replayers<'_>> {
    let mut replayers = cluster.all_replayers().await;
    cluster.journal.note(if planned.is_killed { "all replayers are killed" } else { "all replayers shut down" });
    for replayer in &mut replayers {
        match planned.is_killed {
            true => replayer.kill()?,
            false => replayer.terminate(&cluster.journal).await?,
        }
    }
    Ok(replayers)
}

/// Starts all replayers again.
///
/// # Errors
/// If one does not come up.
pub(crate) async fn start(cluster: &Cluster, replayers: &mut Replayers<'_>) -> Result<()> {
    let starts = replayers.iter_mut().map(|replayer| replayer.start(&cluster.journal));
    futures_util::future::try_join_all(starts).await.map(drop)
}
