//! A replayer that does not belong to the world: it has a copy of the world's store, and joins the
//! same group.

use crate::cluster::Cluster;
use crate::index_copy;
use crate::service::Service;
use anyhow::{Context, Result};
use std::path::PathBuf;

/// The name of every such replayer begins with this text, and so does its bucket.
pub const STRANGER: &str = "stranger-";

/// Copies the bucket while all replayers are paused, and starts a replayer with the copy.
///
/// # Errors
/// If the bucket cannot be copied, or the replayer does not start.
pub(crate) async fn join(cluster: &Cluster, number: u64) -> Result<Service> {
    let name = format!("{STRANGER}{number}");
    let mut replayers = cluster.all_replayers().await;
    replayers.iter_mut().try_for_each(|replayer| replayer.pause())?;
    let bucket = cluster.bucket();
    let copied = index_copy::copy(&bucket, &bucket.with_file_name(&name)).await;
    replayers.iter_mut().try_for_each(|replayer| replayer.resume())?;
    drop(replayers);
    copied?;
    let mut stranger = cluster.stranger(&name);
    stranger.start(&cluster.journal).await.with_context(|| format!("{name} does not start"))?;
    Ok(stranger)
}

/// The buckets of all strangers of a run.
///
/// # Errors
/// If the folder of the S3 server cannot be read.
pub(crate) fn buckets(cluster: &Cluster) -> Result<Vec<PathBuf>> {
    let bucket = cluster.bucket();
    let all = std::fs::read_dir(bucket.parent().context("a bucket lies in a folder")?)?;
    let mut found = Vec::new();
    for entry in all {
        let entry = entry?;
        if entry.file_name().to_string_lossy().starts_with(STRANGER) {
            found.push(entry.path());
        }
    }
    found.sort();
    Ok(found)
}

/// Ends the replayer: by SIGKILL, so that its membership times out, or by SIGTERM.
///
/// # Errors
/// If the kernel refuses.
pub(crate) async fn leave(cluster: &Cluster, mut stranger: Service, is_killed: bool) -> Result<()> {
    if let Some(ended) = stranger.ended()? {
        cluster.journal.ended_by_itself(ended);
    }
    cluster.journal.note(&format!("{} leaves{}", stranger.name, if is_killed { " by SIGKILL" } else { "" }));
    match is_killed {
        true => stranger.kill(),
        false => stranger.terminate(&cluster.journal).await,
    }
}
