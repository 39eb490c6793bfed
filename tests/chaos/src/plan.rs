//! The plan of faults, drawn from a seed before anything runs.
//!
//! Every target has its own lane: one fault after the other, each with a wait before it. So two
//! faults never meet on one target, and faults of different targets overlap freely. All brokers
//! share a lane, because only one of them may be away at a time. The seed fixes the plan; it does
//! not fix the reactions of real processes.

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use std::fmt;
use std::ops::RangeInclusive;
use std::time::Duration;

/// The target of a fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Target {
    /// A service, by its index in the list of its kind.
    Service(Kind, usize),
    /// The brokers, one after the other.
    Brokers,
    /// The connections to the object store.
    Store,
    /// The connections of clients to one of the services.
    Clients,
}

/// The services that run as processes of their own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// A replayer.
    Replayer,
    /// A gateway.
    Gateway,
    /// An ingest.
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

/// The kinds of faults.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Fault {
    /// SIGKILL, and a new start at the end of the fault.
    Kill,
    /// SIGSTOP, and SIGCONT at the end of the fault.
    Pause,
    /// SIGTERM. The process shuts down gracefully and is started again.
    Terminate,
    /// All connections end, and new ones are refused. For a service: its connections to Kafka.
    Refuse,
    /// Connections stay open, and no byte passes. For a service: its connections to Kafka.
    Stall,
    /// The appends of a process are held on their way while it goes on; then the process is paused.
    /// When others have taken over, its appends arrive, and then it wakes up.
    Zombie,
    /// All connections end once.
    Cut,
}

impl Fault {
    /// The fault's name in reports.
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

/// A planned fault of a lane.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Planned {
    /// The wait after the lane has healed from the previous fault.
    pub wait: Duration,
    /// The fault.
    pub fault: Fault,
    /// The broker or the connection; meaningless for a service.
    pub which: usize,
    /// The duration of the fault.
    pub lasts: Duration,
}

/// A target with its faults.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lane {
    /// The target.
    pub target: Target,
    /// The faults in order.
    pub faults: Vec<Planned>,
}

/// The number of targets of each kind.
#[derive(Clone, Copy, Debug)]
pub struct Cast {
    /// The number of replayers, of gateways, and of ingests.
    pub services: usize,
    /// The number of brokers. A single broker is never hit, because the whole system would stand
    /// still.
    pub brokers: usize,
}

/// Draws the lanes. The waits and faults of each lane together take about `length`.
#[must_use]
pub fn draw(seed: u64, cast: Cast, length: Duration) -> Vec<Lane> {
    let kinds = [Kind::Replayer, Kind::Gateway, Kind::Ingest];
    let services = kinds.into_iter().flat_map(|kind| (0..cast.services).map(move |n| Target::Service(kind, n)));
    let brokers = (cast.brokers >= 3).then_some(Target::Brokers);
    let targets = services.chain(brokers).chain([Target::Store, Target::Clients]);
    let lane = |(stream, target)| {
        // Each lane has its own random stream, so that more faults in one lane change no other
        // lane.
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
        // Long enough for another replayer to take over.
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
        // Connections to ingests and to gateways.
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
    fn the_same_seed_gives_the_same_plan() {
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
