//! The Python interpreter for programs that share no code with the services: the client of
//! `tests/e2e/python`, and checks of stored bytes.

use driftless_testbed::cache_dir;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The folder of these tests.
#[must_use]
pub fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// Returns a Python interpreter with the packages of `python/requirements.txt`. This is the
/// interpreter that `DRIFTLESS_TEST_PYTHON` names (`cargo xtask test` sets the variable). Without
/// the variable it is a virtual environment in the cache.
///
/// # Panics
/// If the environment cannot be made.
#[must_use]
pub fn python() -> PathBuf {
    match std::env::var_os("DRIFTLESS_TEST_PYTHON").filter(|path| !path.is_empty()) {
        Some(python) => python.into(),
        None => environment("python-of-tests", &folder().join("python/requirements.txt")),
    }
}

/// Returns the interpreter of a virtual environment in the cache that has the packages of this
/// `requirements.txt`. The environment is made if it is missing.
///
/// # Panics
/// If it cannot be made.
#[must_use]
pub fn environment(name: &str, requirements: &Path) -> PathBuf {
    let wanted = std::fs::read_to_string(requirements).expect("requirements.txt");
    let cache = cache_dir().expect("a cache folder");
    std::fs::create_dir_all(&cache).expect("the cache folder");
    let lock = std::fs::File::create(cache.join(format!("{name}.lock"))).expect("a lock file");
    lock.lock().expect("the lock");
    let home = cache.join(name);
    let (python, stamp) = (home.join("bin/python"), home.join("installed"));
    if std::fs::read_to_string(&stamp).is_ok_and(|installed| installed == wanted) {
        return python;
    }
    check(Command::new("python3").args(["-m", "venv", "--clear"]).arg(&home));
    let mut pip = Command::new(&python);
    pip.args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--require-hashes", "--requirement"]);
    check(pip.arg(requirements));
    std::fs::write(stamp, wanted).expect("a stamp");
    python
}

fn check(command: &mut Command) {
    let ended = command.output().unwrap_or_else(|e| panic!("{command:?}: {e}"));
    assert!(ended.status.success(), "{command:?}: {}", String::from_utf8_lossy(&ended.stderr));
}

/// Runs a script, which must succeed, and returns its output.
///
/// # Panics
/// If the script fails.
pub async fn run_script(script: &Path, arguments: &[String]) -> String {
    let mut command = tokio::process::Command::new(tokio::task::block_in_place(python));
    command.arg(script).args(arguments).kill_on_drop(true);
    let ended = crate::wait::soon(&format!("the end of {}", script.display()), command.output()).await;
    let ended = ended.expect("Python starts");
    let output = String::from_utf8_lossy(&ended.stdout).into_owned();
    let error = String::from_utf8_lossy(&ended.stderr);
    assert!(ended.status.success(), "{} failed:\n{output}\n{error}", script.display());
    output
}
