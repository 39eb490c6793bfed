//! Which fault comes when: drawn from a seed before anything runs.
//!
//! Every target has a lane of its own: one fault after the other, each with the wait before it. So no fault meets another
//! one on the same target, and faults of different targets overlap as they come. All brokers share a lane: only one of
//! them may be away at a time. The plan is the seed's; what real processes make of it is not.

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use std::fmt;
use std::ops::RangeInclusive;
use std::time::Duration;

/// What a fault hits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Target {
    /// One of the processes, by its place in the list of its kind.
    Service(Kind, usize),
    /// One broker after the other.
    Brokers,
    /// The way to the object store.
    Store,
    /// The way of the clients to one of the services.
    Clients,
}

/// The services that run as processes of their own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// Decides.
    Replayer,
    /// Serves replicas.
    Gateway,
    /// Takes commands.
    Ingest,
}

impl Kind {
    /// The subcommand.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Replayer => "replayer",
            Self::Gateway => "gateway",
            Self::Ingest => "ingest",
        }
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Service(kind, number) => write!(f, "{}-{number}", kind.name()),
            Self::Brokers => f.write_str("kafka"),
            Self::Store => f.write_str("s3"),
            Self::Clients => f.write_str("clients"),
        }
    }
}

/// What happens.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Fault {
    /// SIGKILL, and a new start when it has lasted.
    Kill,
    /// SIGSTOP, and SIGCONT when it has lasted.
    Pause,
    /// SIGTERM; the process ends in order and is started again.
    Terminate,
    /// All connections end, and no new one is taken. Of a service: those to Kafka.
    Refuse,
    /// Connections stay, and nothing passes. Of a service: those to Kafka.
    Stall,
    /// What a process appends is held on its way while it goes on; then the process is paused. When others have taken over,
    /// what it appended arrives, and then it wakes up.
    Zombie,
    /// All connections end once.
    Cut,
}

impl Fault {
    /// As reports count it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Kill => "kill",
            Self::Pause => "pause",
            Self::Terminate => "terminate",
            Self::Refuse => "refuse",
            Self::Stall => "stall",
            Self::Zombie => "zombie",
            Self::Cut => "cut",
        }
    }
}

/// One fault of a lane.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Planned {
    /// After the lane has healed from the one before.
    pub wait: Duration,
    /// What.
    pub fault: Fault,
    /// Which broker, or which way; meaningless for a service.
    pub which: usize,
    /// How long until it is healed.
    pub lasts: Duration,
}

/// A target with its faults.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lane {
    /// What they hit.
    pub target: Target,
    /// In their order.
    pub faults: Vec<Planned>,
}

/// How many of each there are.
#[derive(Clone, Copy, Debug)]
pub struct Cast {
    /// Replayers, gateways and ingests each.
    pub services: usize,
    /// Brokers. A single one is never hit: nothing would be left to test.
    pub brokers: usize,
}

/// Draws the lanes; together the waits and faults of each take about as long as `length`.
#[must_use]
pub fn draw(seed: u64, cast: Cast, length: Duration) -> Vec<Lane> {
    let kinds = [Kind::Replayer, Kind::Gateway, Kind::Ingest];
    let services = kinds.into_iter().flat_map(|kind| (0..cast.services).map(move |n| Target::Service(kind, n)));
    let brokers = (cast.brokers >= 3).then_some(Target::Brokers);
    let targets = services.chain(brokers).chain([Target::Store, Target::Clients]);
    let lane = |(stream, target)| {
        // A stream of its own for each: more faults in one lane change no other.
        let mut rng = StdRng::seed_from_u64(seed ^ (stream as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15));
        let mut faults = Vec::new();
        let mut at = Duration::ZERO;
        while at < length {
            let planned = one(&mut rng, target, cast);
            at += planned.wait + planned.lasts;
            faults.push(planned);
        }
        Lane { target, faults }
    };
    targets.enumerate().map(lane).collect()
}

fn one(rng: &mut StdRng, target: Target, cast: Cast) -> Planned {
    let dice = rng.random_range(0..100);
    let (wait, fault, lasts) = match target {
        // Long enough that the other one has taken over.
        Target::Service(Kind::Replayer, _) if dice < 25 => (2_000..=12_000, Fault::Zombie, 8_000..=15_000),
        // Pauses and absences on both sides of the group's session time-out of 6 s.
        Target::Service(..) => {
            let long = rng.random_range(0..100) < 50;
            let (fault, lasts) = match rng.random_range(0..100) {
                0..25 => (Fault::Kill, if long { 7_000..=10_000 } else { 0..=3_000 }),
                25..47 => (Fault::Pause, if long { 7_000..=15_000 } else { 100..=4_000 }),
                47..73 => (Fault::Stall, if long { 7_000..=15_000 } else { 100..=4_000 }),
                73..80 => (Fault::Refuse, 100..=8_000),
                _ => (Fault::Terminate, 0..=2_000),
            };
            (2_000..=16_000, fault, lasts)
        }
        Target::Brokers => match dice {
            0..45 => (8_000..=25_000, Fault::Kill, 0..=8_000),
            45..85 => (8_000..=25_000, Fault::Pause, 500..=15_000),
            _ => (8_000..=25_000, Fault::Terminate, 0..=4_000),
        },
        Target::Store => match dice {
            0..40 => (4_000..=20_000, Fault::Refuse, 1_000..=20_000),
            40..80 => (4_000..=20_000, Fault::Stall, 1_000..=20_000),
            _ => (4_000..=20_000, Fault::Cut, 0..=0),
        },
        Target::Clients => match dice {
            0..60 => (1_000..=8_000, Fault::Cut, 0..=0),
            60..80 => (1_000..=8_000, Fault::Refuse, 200..=5_000),
            _ => (1_000..=8_000, Fault::Stall, 200..=5_000),
        },
    };
    let ways = match target {
        Target::Brokers => cast.brokers,
        // To ingests and gateways.
        Target::Clients => 2 * cast.services,
        Target::Service(..) | Target::Store => 1,
    };
    let mut time = |range: RangeInclusive<u64>| Duration::from_millis(rng.random_range(range));
    let (wait, lasts) = (time(wait), time(lasts));
    Planned { wait, fault, which: rng.random_range(0..ways), lasts }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    const CAST: Cast = Cast { services: 2, brokers: 3 };
    const LENGTH: Duration = Duration::from_secs(600);

    #[test]
    fn a_seed_is_a_plan() {
        assert_eq!(draw(7, CAST, LENGTH), draw(7, CAST, LENGTH));
        assert_ne!(draw(7, CAST, LENGTH), draw(8, CAST, LENGTH));
    }

    #[test]
    fn every_target_gets_its_kinds_of_faults_and_no_fault_is_longer_than_20_s() {
        let lanes = draw(1, CAST, LENGTH);
        assert_eq!(lanes.len(), 9);
        for Lane { target, faults } in lanes {
            let kinds: BTreeSet<Fault> = faults.iter().map(|planned| planned.fault).collect();
            let expected = match target {
                Target::Service(Kind::Replayer, _) => {
                    let processes = [Fault::Kill, Fault::Pause, Fault::Terminate];
                    [&processes[..], &[Fault::Refuse, Fault::Stall, Fault::Zombie]].concat()
                }
                Target::Service(..) => vec![Fault::Kill, Fault::Pause, Fault::Terminate, Fault::Refuse, Fault::Stall],
                Target::Brokers => vec![Fault::Kill, Fault::Pause, Fault::Terminate],
                Target::Store | Target::Clients => vec![Fault::Refuse, Fault::Stall, Fault::Cut],
            };
            assert_eq!(kinds, BTreeSet::from_iter(expected), "{target}");
            assert!(faults.iter().all(|planned| planned.lasts <= Duration::from_secs(20)), "{target}");
            let is_zombie = |p: &Planned| p.fault == Fault::Pause && p.lasts > Duration::from_secs(6);
            assert!(!matches!(target, Target::Service(Kind::Replayer, _)) || faults.iter().any(is_zombie));
        }
    }

    #[test]
    fn a_single_broker_is_left_alone() {
        let lanes = draw(1, Cast { services: 1, brokers: 1 }, LENGTH);
        assert!(lanes.iter().all(|lane| lane.target != Target::Brokers));
    }
}
