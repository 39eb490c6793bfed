//! The data folder of `driftless dev`: its files, and the log to which the folder is bound.
//!
//! Refs and checkpoints in the object store hold offsets, and an offset identifies a record in one
//! log only. The file `log.json` therefore names the log to which the folder is bound, and `dev`
//! refuses another log before it starts anything.
//!
//! Only one `dev` process at a time uses the folder, whichever log it runs on. The process holds a
//! file lock on `dev.lock`, and the operating system releases the lock when the process ends.

use anyhow::{Context, Result, bail};
use serde::{Deserialize, Serialize};
use std::fs::{File, TryLockError};
use std::path::{Path, PathBuf};

/// The log to which a data folder is bound.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "log", rename_all = "lowercase")]
pub(crate) enum LogName {
    /// The embedded log: the file `log.db` in the folder.
    Embedded,
    /// The Apache Kafka that `dev --kafka` starts. Its data lives in the folder.
    Kafka,
    /// A Kafka that runs elsewhere (`dev --brokers`).
    Brokers {
        /// The bootstrap servers. Different lists may lead to the same cluster.
        brokers: String,
        /// The id that Kafka gave the cluster; `None` until `dev` has asked the cluster.
        cluster_id: Option<String>,
    },
}

impl LogName {
    /// Returns true if both name the same log, as far as the cluster ids are known.
    fn is(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Brokers { cluster_id: Some(ours), .. }, Self::Brokers { cluster_id: Some(theirs), .. }) => {
                ours == theirs
            }
            // A cluster id is still unknown, so both may name the same cluster. `bind` checks again
            // when it knows the id.
            (Self::Brokers { .. }, Self::Brokers { .. }) => true,
            (ours, theirs) => ours == theirs,
        }
    }
}

impl std::fmt::Display for LogName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Embedded => f.write_str("the embedded log (log.db)"),
            Self::Kafka => f.write_str("the Apache Kafka of `dev --kafka`"),
            Self::Brokers { brokers, cluster_id: None } => write!(f, "the Kafka at {brokers}"),
            Self::Brokers { brokers, cluster_id: Some(id) } => write!(f, "the Kafka at {brokers} (cluster {id})"),
        }
    }
}

/// A data folder, which may not exist yet.
#[derive(Clone, Debug)]
pub(crate) struct DataFolder(PathBuf);

impl DataFolder {
    pub fn new(path: &Path) -> Self {
        Self(path.to_owned())
    }

    /// Path of the embedded log's file.
    pub fn log_db(&self) -> PathBuf {
        self.0.join("log.db")
    }

    /// Path of the object store's folder.
    pub fn store(&self) -> PathBuf {
        self.0.join("store")
    }

    /// Path of the folder with data, settings and logs of the Kafka of `dev --kafka`.
    pub fn kafka(&self) -> PathBuf {
        self.0.join("kafka")
    }

    /// Path of the file with the key that signs tokens.
    pub fn key(&self) -> PathBuf {
        self.0.join("dev.key")
    }

    /// Makes the folder if it is missing, and locks it against every other `dev` until the returned
    /// file is dropped.
    ///
    /// No code deletes the lock file. After a deletion, a process that had opened the old file
    /// would hold a lock on it, while the next process would create and lock a new file.
    pub fn lock(&self) -> Result<File> {
        let folder = self.0.display();
        make_private(&self.0)
            .with_context(|| format!("cannot make the data folder {folder}: choose another with --data"))?;
        let path = self.0.join("dev.lock");
        let cannot = || format!("cannot lock {}: choose another data folder with --data", path.display());
        let file = File::options().create(true).truncate(false).write(true).open(&path).with_context(cannot)?;
        match file.try_lock() {
            Ok(()) => Ok(file),
            Err(TryLockError::WouldBlock) => bail!(
                "the data folder {folder} is in use by another `driftless dev`: end that one, or take another folder, such \
                 as --data {folder}-2"
            ),
            Err(TryLockError::Error(error)) => Err(error).with_context(cannot),
        }
    }

    fn note(&self) -> PathBuf {
        self.0.join("log.json")
    }

    /// Returns the log to which the folder is bound, or `None` for a folder without a world.
    pub fn log(&self) -> Result<Option<LogName>> {
        let note = self.note();
        match std::fs::read(&note) {
            Ok(bytes) => serde_json::from_slice(&bytes)
                .map(Some)
                .with_context(|| format!("{} does not name the log of its folder", note.display())),
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(self.guess()),
            Err(e) => Err(e).with_context(|| format!("cannot read {}", note.display())),
        }
    }

    /// Guesses the log from the files of a folder that an older version made without a `log.json`.
    fn guess(&self) -> Option<LogName> {
        if !self.store().join("world.json").exists() {
            return None;
        }
        match (self.log_db().exists(), self.kafka().exists()) {
            (true, _) => Some(LogName::Embedded),
            (false, true) => Some(LogName::Kafka),
            (false, false) => None,
        }
    }

    /// Fails if the folder is bound to another log than `wanted`.
    pub fn check(&self, wanted: &LogName) -> Result<()> {
        match self.log()? {
            Some(found) if !found.is(wanted) => {
                let folder = self.0.display();
                bail!(
                    "the data folder {folder} belongs to {found}: its snapshots hold offsets of that log, which mean other \
                     records in {wanted}. Keep it and take another folder, such as --data {folder}-2, or begin anew in \
                     this one with --fresh, which deletes what is in it"
                )
            }
            _ => Ok(()),
        }
    }

    /// Binds the folder to this log from now on. Fails if the folder is bound to another log.
    pub fn bind(&self, log: &LogName) -> Result<()> {
        self.check(log)?;
        let note = self.note();
        let partial = self.0.join("log.json.partial");
        std::fs::write(&partial, serde_json::to_vec(log)?)
            .and_then(|()| std::fs::rename(&partial, &note))
            .with_context(|| format!("cannot write {}", note.display()))
    }

    /// Deletes the files that `dev` made, except the lock files. Files that `dev` did not make
    /// stay. The caller must hold the [`DataFolder::lock`].
    pub fn clear(&self) -> Result<()> {
        for folder in [self.store(), self.kafka()] {
            remove(&folder, |path| std::fs::remove_dir_all(path))?;
        }
        for name in ["log.db", "log.db-wal", "log.db-shm", "log.json", "dev.key"] {
            remove(&self.0.join(name), |path| std::fs::remove_file(path))?;
        }
        Ok(())
    }
}

fn remove(path: &Path, remove: impl Fn(&Path) -> std::io::Result<()>) -> Result<()> {
    match remove(path) {
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => {
            Err(e).with_context(|| format!("cannot delete {}", path.display()))
        }
        _ => Ok(()),
    }
}

/// Makes a folder that other users of the machine cannot read. It holds a key that signs tokens. A
/// folder that exists keeps its permissions.
fn make_private(folder: &Path) -> std::io::Result<()> {
    let mut builder = std::fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(folder)
}

#[cfg(test)]
mod tests {
    use super::*;
    use driftless_testbed::RunDir;

    fn brokers(list: &str, id: Option<&str>) -> LogName {
        LogName::Brokers { brokers: list.into(), cluster_id: id.map(str::to_owned) }
    }

    #[test]
    fn a_folder_stays_with_its_log_until_it_is_cleared() {
        let run = RunDir::new("data-folder").unwrap();
        let folder = DataFolder::new(run.path());
        assert_eq!(folder.log().unwrap(), None);
        folder.bind(&LogName::Embedded).unwrap();
        folder.bind(&LogName::Embedded).unwrap();
        let error = folder.check(&LogName::Kafka).unwrap_err().to_string();
        for word in [&run.path().display().to_string()[..], "embedded log", "--data", "--fresh"] {
            assert!(error.contains(word), "nothing of {word} in: {error}");
        }
        assert!(folder.bind(&brokers("a:1", Some("x"))).is_err());
        folder.clear().unwrap();
        folder.bind(&LogName::Kafka).unwrap();
        assert_eq!(folder.log().unwrap(), Some(LogName::Kafka));
    }

    #[test]
    fn a_folder_is_locked_also_while_it_is_cleared() {
        let run = RunDir::new("data-folder-lock").unwrap();
        let folder = DataFolder::new(&run.path().join("data"));
        let held = folder.lock().unwrap();
        folder.clear().unwrap();
        let error = folder.lock().unwrap_err().to_string();
        for word in [&run.path().display().to_string()[..], "in use", "--data"] {
            assert!(error.contains(word), "nothing of {word} in: {error}");
        }
        drop(held);
        folder.lock().unwrap();
    }

    #[test]
    fn a_cluster_is_known_by_its_id_and_not_by_its_addresses() {
        let run = RunDir::new("data-folder-brokers").unwrap();
        let folder = DataFolder::new(run.path());
        folder.bind(&brokers("a:1", Some("x"))).unwrap();
        folder.check(&brokers("b:2", None)).unwrap();
        folder.bind(&brokers("b:2", Some("x"))).unwrap();
        let error = folder.bind(&brokers("b:2", Some("y"))).unwrap_err().to_string();
        assert!(error.contains("cluster x") && error.contains("cluster y"), "{error}");
        assert!(folder.check(&LogName::Embedded).is_err());
    }

    #[test]
    fn a_folder_of_an_older_version_belongs_to_the_log_in_it() {
        let run = RunDir::new("data-folder-older").unwrap();
        let folder = DataFolder::new(run.path());
        std::fs::write(folder.log_db(), "").unwrap();
        // Without a stored world the folder belongs to no log.
        assert_eq!(folder.log().unwrap(), None);
        std::fs::create_dir(folder.store()).unwrap();
        std::fs::write(folder.store().join("world.json"), "{}").unwrap();
        assert_eq!(folder.log().unwrap(), Some(LogName::Embedded));
    }
}
