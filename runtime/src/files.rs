//! Reloads files that may change while a service runs: keys, deny lists, certificates.
//!
//! The last usable content stays in force until new usable content replaces it. A missing,
//! oversized or broken file therefore changes nothing: it is logged once, with its path and the
//! problem, and counted. Files are polled every few seconds instead of watched: polling works on
//! every file system, and through the symbolic links that Kubernetes swaps.

use crate::metrics;
use crate::shutdown::Shutdown;
use driftless_schemas::Hash;
use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

/// A file that was modified more recently than this is read again at each poll, because two changes
/// within the granularity of a file's modification time look like one.
const SETTLED_AFTER: Duration = Duration::from_secs(3);

/// Reads a file of at most `bytes_max` bytes.
///
/// # Errors
/// A description of the problem for an operator. It does not name the path.
pub fn read_bounded(path: &Path, bytes_max: usize) -> Result<Vec<u8>, String> {
    let mut bytes = Vec::new();
    let read = File::open(path).and_then(|file| file.take(bytes_max as u64 + 1).read_to_end(&mut bytes));
    match read {
        Err(e) => Err(format!("cannot be read: {e}")),
        Ok(count) if count > bytes_max => Err(format!("is larger than {bytes_max} bytes")),
        Ok(_) => Ok(bytes),
    }
}

/// Applies the new content of the files. Returns a summary of it for the log, or the reason why it
/// is not usable.
type Apply = Box<dyn FnMut(&[Vec<u8>]) -> Result<String, String> + Send>;

/// Keeps a value up to date with one file, or with several files that belong together.
pub struct Reloader {
    /// The name in logs and in the metric's label.
    name: &'static str,
    paths: Vec<PathBuf>,
    bytes_max: usize,
    apply: Apply,
    /// The content at the last successful read; `None` before the first.
    seen: Option<Seen>,
    /// The fault that was logged last, until the files are usable again.
    fault: Option<Fault>,
}

/// The result of one poll.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reload {
    /// The files have not changed.
    Unchanged,
    /// New content was read and is now in force.
    Applied,
    /// The files changed or disappeared and are not usable; the old content stays in force.
    Refused(String),
}

/// The reason why the files are not usable.
#[derive(PartialEq, Eq)]
struct Fault {
    /// True if a file does not exist. If that file comes back unchanged, the fault is over.
    is_missing: bool,
    problem: String,
}

/// The files as they were when they were last read.
struct Seen {
    stamps: Vec<Stamp>,
    /// True if the modification times are old enough that any later change must alter the stamps.
    is_settled: bool,
    digest: Hash,
}

#[derive(PartialEq, Eq)]
/// The metadata by which a change of a file is detected without reading it.
struct Stamp {
    modified: Option<SystemTime>,
    bytes: u64,
    inode: u64,
}

impl Reloader {
    /// Creates a reloader for `paths`, each of at most `bytes_max` bytes.
    pub fn new(
        name: &'static str,
        paths: impl IntoIterator<Item = PathBuf>,
        bytes_max: usize,
        apply: impl FnMut(&[Vec<u8>]) -> Result<String, String> + Send + 'static,
    ) -> Self {
        let paths = paths.into_iter().collect();
        Self { name, paths, bytes_max, apply: Box::new(apply), seen: None, fault: None }
    }

    /// Polls the files and applies them if they changed. The first poll applies the present
    /// content. Blocks on file reads, so async tasks must not call this directly.
    pub fn reload(&mut self) -> Reload {
        let is_first = self.seen.is_none();
        let taken = match self.changed() {
            Ok(None) => return Reload::Unchanged,
            Ok(Some(files)) => (self.apply)(&files).map_err(Fault::unusable),
            Err(fault) => Err(fault),
        };
        match taken {
            Ok(has) => {
                self.fault = None;
                if !is_first {
                    metrics::reload(self.name, "taken");
                    tracing::info!(files = %self.named(), "{} reloaded: {has} from now on", self.name);
                }
                Reload::Applied
            }
            Err(fault) if self.fault.as_ref() == Some(&fault) => Reload::Unchanged,
            Err(fault) => {
                let problem = fault.problem.clone();
                metrics::reload(self.name, "refused");
                tracing::error!(files = %self.named(), "{} not reloaded: {problem}; the previous content stays in force", self.name);
                self.fault = Some(fault);
                Reload::Refused(problem)
            }
        }
    }

    fn named(&self) -> String {
        let names: Vec<_> = self.paths.iter().map(|path| path.display().to_string()).collect();
        names.join(", ")
    }

    /// Returns the content of all files if any of them changed since the last poll.
    fn changed(&mut self) -> Result<Option<Vec<Vec<u8>>>, Fault> {
        let stamps = self.paths.iter().map(|path| stamp(path)).collect::<Result<Vec<_>, _>>()?;
        if self.seen.as_ref().is_some_and(|seen| seen.is_settled && seen.stamps == stamps) {
            // The file was missing and has come back unchanged: its content is in force already.
            self.fault.take_if(|fault| fault.is_missing);
            return Ok(None);
        }
        let read = |path: &PathBuf| {
            read_bounded(path, self.bytes_max)
                .map_err(|problem| Fault::unusable(format!("{} {problem}", path.display())))
        };
        let files = self.paths.iter().map(read).collect::<Result<Vec<_>, _>>()?;
        let lengths = files.iter().flat_map(|file| file.len().to_le_bytes());
        let digest = Hash::of(&lengths.chain(files.iter().flatten().copied()).collect::<Vec<_>>());
        let before = SystemTime::now().checked_sub(SETTLED_AFTER);
        let is_settled = stamps.iter().all(|stamp| stamp.modified.is_some() && stamp.modified < before);
        let is_same = self.seen.as_ref().is_some_and(|seen| seen.digest == digest);
        self.seen = Some(Seen { stamps, is_settled, digest });
        Ok((!is_same).then_some(files))
    }
}

impl Fault {
    fn unusable(problem: String) -> Self {
        Self { is_missing: false, problem }
    }
}

fn stamp(path: &Path) -> Result<Stamp, Fault> {
    let missing =
        |e: std::io::Error| Fault { is_missing: true, problem: format!("there is no {}: {e}", path.display()) };
    let metadata = std::fs::metadata(path).map_err(missing)?;
    #[cfg(unix)]
    let inode = std::os::unix::fs::MetadataExt::ino(&metadata);
    #[cfg(not(unix))]
    let inode = 0;
    Ok(Stamp { modified: metadata.modified().ok(), bytes: metadata.len(), inode })
}

/// Polls all files at the interval `every`, until shutdown.
pub async fn keep_reloading(mut files: Vec<Reloader>, every: Duration, shutdown: Shutdown) {
    loop {
        let looked = tokio::task::spawn_blocking(move || {
            files.iter_mut().for_each(|file| drop(file.reload()));
            files
        });
        files = match looked.await {
            Ok(files) => files,
            Err(error) => {
                return tracing::error!(%error, "reloading stopped because its task failed: restart the service to apply changed files");
            }
        };
        tokio::select! {
            () = shutdown.wait() => return,
            () = tokio::time::sleep(every) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::{Arc, Mutex};

    fn reloader(path: &Path) -> (Reloader, Arc<Mutex<Vec<String>>>) {
        let taken = Arc::new(Mutex::new(Vec::new()));
        let to = Arc::clone(&taken);
        let reloader = Reloader::new("test", [path.to_owned()], 16, move |files| {
            let text = String::from_utf8_lossy(&files[0]).into_owned();
            if text.starts_with("bad") {
                return Err(format!("it says {text:?}"));
            }
            to.lock().unwrap().push(text.clone());
            Ok(text)
        });
        (reloader, taken)
    }

    #[test]
    fn the_last_usable_content_stays_in_force() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        std::fs::write(&path, "one").unwrap();
        let (mut reloader, taken) = reloader(&path);
        assert_eq!((reloader.reload(), reloader.reload()), (Reload::Applied, Reload::Unchanged));
        std::fs::write(&path, "bad").unwrap();
        let Reload::Refused(problem) = reloader.reload() else { panic!("taken") };
        assert!(problem.contains("bad"), "{problem}");
        assert_eq!(reloader.reload(), Reload::Unchanged, "said once");
        std::fs::write(&path, "much longer than sixteen").unwrap();
        let Reload::Refused(problem) = reloader.reload() else { panic!("taken") };
        assert!(problem.contains("16 bytes") && problem.contains("file"), "{problem}");
        std::fs::remove_file(&path).unwrap();
        assert!(matches!(reloader.reload(), Reload::Refused(_)));
        assert_eq!(reloader.reload(), Reload::Unchanged, "said once");
        // The new content has the same length and is written within the granularity of the
        // modification time.
        std::fs::write(&path, "two").unwrap();
        assert_eq!(reloader.reload(), Reload::Applied);
        std::fs::write(&path, "six").unwrap();
        assert_eq!(reloader.reload(), Reload::Applied);
        assert_eq!(*taken.lock().unwrap(), ["one", "two", "six"]);
    }

    #[test]
    fn a_file_that_has_settled_is_not_read_again() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        std::fs::write(&path, "one").unwrap();
        let old = SystemTime::now() - Duration::from_secs(60);
        let age = |text: &str| {
            std::fs::write(&path, text).unwrap();
            File::options().write(true).open(&path).unwrap().set_modified(old).unwrap();
        };
        age("one");
        let (mut reloader, taken) = reloader(&path);
        assert_eq!(reloader.reload(), Reload::Applied);
        age("two");
        assert_eq!(reloader.reload(), Reload::Unchanged, "time, length and inode are what they were");
        age("seven");
        assert_eq!(reloader.reload(), Reload::Applied);
        assert_eq!(*taken.lock().unwrap(), ["one", "seven"]);
    }
}
