//! Logs and metrics of a process, installed once by `main` or by a test.
//!
//! Logs go to stderr so that stdout stays free for a command's output. Each crate describes its own
//! metrics in its `metrics.rs`; this module only installs the recorder.

use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};
use tracing_subscriber::EnvFilter;

/// Histogram buckets for metrics in seconds: from a tenth of a millisecond to half a minute.
const SECONDS: [f64; 17] =
    [0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0];
/// Histogram buckets for sizes and counts: powers of four.
const SIZES: [f64; 11] = [1.0, 4.0, 16.0, 64.0, 256.0, 1024.0, 4096.0, 16384.0, 65536.0, 262_144.0, 1_048_576.0];

/// The format of log lines.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LogFormat {
    /// Readable lines, with colours on a terminal.
    #[default]
    Text,
    /// A JSON object per line (`--log-json`).
    Json,
}

/// Installs logging. The filter is the value of `DRIFTLESS_LOG`, or else of `RUST_LOG`, in the
/// syntax of `tracing_subscriber::EnvFilter`. Without either the level is `info`, and `warn` for
/// slatedb and rdkafka. A second call has no effect.
pub fn install_logging(format: LogFormat) {
    let wanted = ["DRIFTLESS_LOG", "RUST_LOG"].iter().find_map(|name| std::env::var(name).ok());
    // At `info`, slatedb and rdkafka log details that only their own developers need.
    let default = "info,slatedb=warn,rdkafka=warn,librdkafka=warn";
    let filter = EnvFilter::builder().parse_lossy(wanted.as_deref().unwrap_or(default));
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    // An error means that a subscriber is installed already, for example by a test; that
    // subscriber stays in use.
    let _ = match format {
        LogFormat::Text => builder.with_ansi(std::io::IsTerminal::is_terminal(&std::io::stderr())).try_init(),
        LogFormat::Json => builder.json().flatten_event(true).try_init(),
    };
}

/// Limits a log line that thousands of clients may trigger at once to one line per second, and
/// counts the suppressed lines.
#[derive(Debug, Default)]
pub struct LogThrottle(Mutex<(Option<Instant>, u64)>);

impl LogThrottle {
    /// Returns `Some` if a line may be logged now, with the number of lines that were suppressed
    /// since the last logged line. Returns `None` if this line must be suppressed.
    #[must_use]
    pub fn due(&self, now: Instant) -> Option<u64> {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (logged, suppressed) = &mut *state;
        if logged.is_some_and(|logged| now.saturating_duration_since(logged) < Duration::from_secs(1)) {
            *suppressed += 1;
            return None;
        }
        *logged = Some(now);
        Some(std::mem::take(suppressed))
    }
}

/// The error of a metrics recorder that cannot be installed.
#[derive(Clone, Debug, thiserror::Error)]
#[error("cannot install the metrics recorder: {0}")]
pub struct InstallError(String);

/// The metrics recorder of the process.
#[derive(Clone)]
pub struct Metrics(PrometheusHandle);

impl Metrics {
    /// Installs the recorder for the whole process, or returns the one that is installed already.
    ///
    /// # Errors
    /// [`InstallError`] if other code has installed a recorder.
    pub fn install() -> Result<Self, InstallError> {
        static INSTALLED: OnceLock<Result<PrometheusHandle, InstallError>> = OnceLock::new();
        INSTALLED.get_or_init(install).clone().map(Self)
    }

    /// Renders all metrics in the Prometheus text format.
    #[must_use]
    pub fn render(&self) -> String {
        self.0.render()
    }

    /// Drains histogram samples every five seconds until shutdown. Without this upkeep the samples
    /// would accumulate until the next scrape.
    pub async fn upkeep(self, shutdown: crate::shutdown::Shutdown) {
        loop {
            tokio::select! {
                () = shutdown.wait() => return,
                () = tokio::time::sleep(std::time::Duration::from_secs(5)) => self.0.run_upkeep(),
            }
        }
    }
}

impl std::fmt::Debug for Metrics {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Metrics")
    }
}

fn install() -> Result<PrometheusHandle, InstallError> {
    let installed = PrometheusBuilder::new()
        .set_buckets_for_metric(Matcher::Suffix("_seconds".into()), &SECONDS)
        .and_then(|builder| builder.set_buckets(&SIZES))
        .and_then(PrometheusBuilder::install_recorder)
        .map_err(|e| InstallError(e.to_string()))?;
    crate::metrics::describe();
    Ok(installed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frequent_line_is_logged_once_a_second_and_the_rest_is_counted() {
        let (throttle, begun) = (LogThrottle::default(), Instant::now());
        let due = [0, 1, 999, 1_000, 1_500, 5_000].map(|ms| throttle.due(begun + Duration::from_millis(ms)));
        assert_eq!(due, [Some(0), None, None, Some(2), None, Some(1)]);
    }
}
