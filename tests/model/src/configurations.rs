//! The configurations that a run explores, each with its bounds.
//!
//! Each configuration allows much of one kind of failure and little of the others, because
//! exploring all of them at once would not end. The report prints each configuration's bounds in
//! full.

use crate::explore::{Explored, explore};
use crate::{ownership, writer};

/// One of the two models with its bounds. The option is a mutant, which breaks one rule.
#[derive(Clone, Debug)]
pub enum Setup {
    Ownership(ownership::Bounds, Option<ownership::mutant::Mutant>),
    Writing(writer::Bounds, Option<writer::mutant::Mutant>),
}

/// An exploration with a name, by which the command line selects it.
#[derive(Clone, Debug)]
pub struct Configuration {
    pub name: &'static str,
    pub setup: Setup,
}

impl Setup {
    /// Explores all states within the bounds. `progress` gets the number of states found so far.
    pub fn explore(&self, threads: usize, progress: impl FnMut(usize)) -> Explored {
        match self.clone() {
            Self::Ownership(bounds, mutant) => explore(ownership::Ownership::new(bounds, mutant), threads, progress),
            Self::Writing(bounds, mutant) => explore(writer::Writing::new(bounds, mutant), threads, progress),
        }
    }

    /// The bounds as text, for the report.
    #[must_use]
    pub fn bounds(&self) -> String {
        match self {
            Self::Ownership(bounds, _) => bounds.to_string(),
            Self::Writing(bounds, _) => bounds.to_string(),
        }
    }
}

fn ownership(name: &'static str, bounds: ownership::Bounds) -> Configuration {
    Configuration { name, setup: Setup::Ownership(bounds, None) }
}

fn writing(name: &'static str, bounds: writer::Bounds) -> Configuration {
    Configuration { name, setup: Setup::Writing(bounds, None) }
}

/// Configurations with small bounds. They take seconds, even without optimisation.
#[must_use]
pub fn quick() -> Vec<Configuration> {
    use crate::ownership::Bounds as O;
    use crate::writer::Bounds as W;
    vec![
        ownership("owners", O { in_flight: 2, snapshots: 1, ..O::plain(&[0, 0], 2) }),
        ownership("unreduced", O { in_flight: 1, losses: 0, snapshots: 1, is_reduced: false, ..O::plain(&[0, 0], 2) }),
        ownership("chunks", O { in_flight: 1, losses: 0, snapshots: 1, ..O::plain(&[0, 1], 2) }),
        ownership("three-owners", O { in_flight: 1, losses: 0, snapshots: 0, ..O::plain(&[0], 3) }),
        ownership(
            "flushes",
            O {
                in_flight: 1,
                snapshots: 1,
                is_frozen_early: true,
                is_flush_split: true,
                has_blind_acks: true,
                ..O::plain(&[0], 2)
            },
        ),
        ownership("rewrites", O { losses: 0, rewrites: 2, has_blind_acks: true, ..O::plain(&[0, 1], 1) }),
        ownership("gateways", O { in_flight: 1, losses: 0, snapshots: 2, views: 1, ..O::plain(&[0, 0], 1) }),
        ownership("cut-logs", O { in_flight: 1, losses: 0, snapshots: 1, cuts: 1, ..O::plain(&[0], 2) }),
        ownership("backups", O { in_flight: 1, losses: 0, snapshots: 1, backups: 1, ..O::plain(&[0], 3) }),
        ownership("copies", O { in_flight: 1, losses: 0, snapshots: 1, copies: 1, ..O::plain(&[0, 0], 2) }),
        writing("connections", W { reconnects: 1, cancels: 1, tracks: 1, ..W::plain(2, 1) }),
        writing("rejections", W { retryable: 1, finals: 1, cancels: 1, ..W::plain(2, 1) }),
        writing("doubles", W { doubles: 1, reconnects: 1, tracks: 1, ..W::plain(2, 1) }),
        writing("eviction", W { others: vec![15, 5], ledger_writers: 1, tracks: 1, ..W::plain(2, 1) }),
    ]
}

/// The configurations that `docs/decisions/0005-models.md` reports. They take minutes.
#[must_use]
pub fn full() -> Vec<Configuration> {
    use crate::ownership::Bounds as O;
    use crate::writer::Bounds as W;
    // Each owner has at most one decision in flight, and no append is lost.
    let calm = |chunk_of: &[u8]| O { in_flight: 1, losses: 0, snapshots: 1, ..O::plain(chunk_of, 2) };
    vec![
        ownership("owners", O::plain(&[0, 0, 0], 2)),
        ownership(
            "unreduced",
            O { snapshots: 1, is_frozen_early: true, is_flush_split: true, is_reduced: false, ..O::plain(&[0, 0], 2) },
        ),
        ownership("chunks", O { snapshots: 1, ..O::plain(&[0, 0, 1], 2) }),
        ownership("three-owners", O { snapshots: 1, ..O::plain(&[0, 0], 3) }),
        ownership(
            "flushes",
            O { is_frozen_early: true, is_flush_split: true, has_blind_acks: true, ..O::plain(&[0, 0], 2) },
        ),
        ownership("rewrites", O { losses: 0, rewrites: 2, has_blind_acks: true, ..O::plain(&[0, 1], 2) }),
        ownership("gateways", O { is_flush_split: true, views: 1, ..calm(&[0, 0]) }),
        ownership("views", O { snapshots: 2, views: 2, ..calm(&[0, 0]) }),
        ownership("gateway-chunks", O { views: 1, ..calm(&[0, 1]) }),
        ownership("cut-logs", O { views: 1, cuts: 1, ..calm(&[0, 0]) }),
        ownership("backups", O { backups: 1, ..calm(&[0, 0]) }),
        ownership("backups-three", O { in_flight: 1, losses: 0, snapshots: 1, backups: 1, ..O::plain(&[0], 4) }),
        ownership("copies", O { copies: 1, snapshots: 2, ..calm(&[0, 0]) }),
        ownership("restores", O { backups: 1, copies: 1, rewrites: 1, ..calm(&[0]) }),
        writing("connections", W { cancels: 1, reconnects: 1, doubles: 1, tracks: 1, ..W::plain(3, 2) }),
        writing("rejections", W { cancels: 2, retryable: 1, finals: 1, tracks: 1, ..W::plain(3, 2) }),
        writing(
            "all-troubles",
            W { cancels: 1, reconnects: 1, doubles: 1, retryable: 1, finals: 1, tracks: 1, ..W::plain(2, 2) },
        ),
        writing("eviction", W { reconnects: 1, others: vec![15, 5], ledger_writers: 1, tracks: 1, ..W::plain(2, 2) }),
        writing(
            "eviction-late",
            W { cancels: 1, reconnects: 1, others: vec![15, 5], ledger_writers: 1, tracks: 1, ..W::plain(2, 1) },
        ),
    ]
}
