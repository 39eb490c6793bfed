//! Quantiles of measured latencies.

use serde::Serialize;
use std::time::Duration;

/// Quantiles of latencies, in milliseconds. `count` is the number of latencies.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub(crate) struct Quantiles {
    pub count: usize,
    pub p50_ms: f64,
    pub p99_ms: f64,
    pub p999_ms: f64,
    pub max_ms: f64,
}

impl Quantiles {
    /// Computes the quantiles. The latencies may have any order.
    pub fn of(mut latencies: Vec<Duration>) -> Self {
        latencies.sort_unstable();
        let at = |q: f64| {
            // The nearest-rank method: the quantile is always one of the latencies.
            let rank = (q * latencies.len() as f64).ceil() as usize;
            latencies.get(rank.saturating_sub(1)).map_or(0.0, |d| d.as_secs_f64() * 1e3)
        };
        Self { count: latencies.len(), p50_ms: at(0.5), p99_ms: at(0.99), p999_ms: at(0.999), max_ms: at(1.0) }
    }

    /// Returns the median of each quantile over several rounds, and the sum of their counts.
    pub fn median(rounds: &[Self]) -> Self {
        let middle = |pick: fn(&Self) -> f64| median(rounds.iter().map(pick).collect());
        Self {
            count: rounds.iter().map(|round| round.count).sum(),
            p50_ms: middle(|q| q.p50_ms),
            p99_ms: middle(|q| q.p99_ms),
            p999_ms: middle(|q| q.p999_ms),
            max_ms: middle(|q| q.max_ms),
        }
    }
}

/// Returns the median: of an even number of values, the upper of the two in the middle. Returns 0
/// for no values.
pub(crate) fn median(mut values: Vec<f64>) -> f64 {
    values.sort_unstable_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_by_nearest_rank() {
        let q = Quantiles::of((1..=1000).rev().map(Duration::from_millis).collect());
        assert_eq!((q.count, q.p50_ms, q.p99_ms, q.p999_ms, q.max_ms), (1000, 500.0, 990.0, 999.0, 1000.0));
        assert_eq!(Quantiles::of(vec![]), Quantiles::default());
    }
}
