//! Copies of the index, as an operator's backup has them: the folder `index` of the bucket.
//!
//! SlateDB never changes an object, and only its manifest names the objects of a state. So a copy
//! that is taken while no replayer writes is a state in which the index once was.

use crate::cluster::Cluster;
use anyhow::{Context, Result, ensure};
use std::path::{Path, PathBuf};
use tokio::process::Command;

/// A copy of the whole index in a folder of the run.
pub(crate) struct IndexCopy {
    folder: PathBuf,
}

impl IndexCopy {
    /// Copies the index while all replayers are paused, and replaces an older copy in `folder`.
    ///
    /// # Errors
    /// If the copy fails, or if a replayer cannot be paused.
    pub async fn take(cluster: &Cluster, folder: &Path) -> Result<Self> {
        let mut replayers = cluster.all_replayers().await;
        replayers.iter_mut().try_for_each(|replayer| replayer.pause())?;
        let copied = async {
            remove(folder).await?;
            copy(&index(cluster), folder).await
        };
        let copied = copied.await;
        replayers.iter_mut().try_for_each(|replayer| replayer.resume())?;
        copied?;
        cluster.journal.note("the index is copied");
        Ok(Self { folder: folder.to_owned() })
    }

    /// Puts the copy in the place of the index. No replayer may run.
    ///
    /// # Errors
    /// If a file cannot be removed or copied.
    pub async fn put_back(&self, cluster: &Cluster) -> Result<()> {
        remove(&index(cluster)).await?;
        copy(&self.folder, &index(cluster)).await
    }
}

/// Deletes the index of one partition. No replayer may run.
///
/// # Errors
/// If a file cannot be removed.
pub(crate) async fn delete(cluster: &Cluster, partition: usize) -> Result<()> {
    let generation = cluster.world.spec().generation;
    remove(&index(cluster).join(generation.to_string()).join(partition.to_string())).await
}

fn index(cluster: &Cluster) -> PathBuf {
    cluster.bucket().join("index")
}

async fn remove(folder: &Path) -> Result<()> {
    match tokio::fs::remove_dir_all(folder).await {
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => {
            Err(e).with_context(|| format!("cannot remove {}", folder.display()))
        }
        _ => Ok(()),
    }
}

/// Copies a folder. The S3 server keeps the ETags of objects in extended attributes, so these are
/// copied too.
///
/// # Errors
/// If the folder cannot be copied.
pub(crate) async fn copy(from: &Path, to: &Path) -> Result<()> {
    let copied = Command::new("cp").arg("--archive").arg("--no-target-directory").arg(from).arg(to).output().await?;
    let said = String::from_utf8_lossy(&copied.stderr);
    ensure!(copied.status.success(), "cannot copy {} to {}: {said}", from.display(), to.display());
    Ok(())
}
