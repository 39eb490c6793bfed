//! The plan of faults, drawn from a seed before anything runs.
//!
//! Every target has its own lane, in which one fault follows another, each after a wait. So two
//! faults never overlap on one target, and faults of different targets overlap freely. All brokers
//! share a lane, because only one of them may be away at a time. The seed fixes the plan, but not
//! the reactions of real processes.

use rand::rngs::StdRng;
use rand::seq::SliceRandom as _;
use rand::{RngExt, SeedableRng};
use std::fmt;
use std::ops::RangeInclusive;
use std::time::Duration;

/// The target of a fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Target {
    /// A service, by its kind and its index among services of that kind.
    Service(Kind, usize),
    /// The brokers. Each fault hits one of them.
    Brokers,
    /// The connections to the object store.
    Store,
    /// The connections of clients to one service. Each fault hits one service's.
    Clients,
    /// The things on which the services rely and that they cannot see: the state of the index and
    /// other programs. Each fault happens while no other target is hit.
    Environment,
}

/// The kinds of services. Each service is a process.
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
    /// The subcommand of `driftless` that runs this kind.
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
            Self::Environment => f.write_str("environment"),
        }
    }
}

/// The kinds of faults.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Fault {
    /// SIGKILL. The process is started again at the end of the fault.
    Kill,
    /// SIGSTOP. The process gets SIGCONT at the end of the fault.
    Pause,
    /// SIGTERM. The process shuts down gracefully and is started again.
    Terminate,
    /// All connections end, and new ones are refused. If the target is a service, these are its
    /// connections to Kafka.
    Refuse,
    /// All connections stay open, and no byte passes. If the target is a service, these are its
    /// connections to Kafka.
    Stall,
    /// A replayer becomes a zombie. First its appends are held on their way while it runs, and then
    /// it is paused. When other replayers have taken over, its held appends arrive, and then it
    /// wakes up.
    Zombie,
    /// All connections of the target are ended once, and new ones are accepted.
    Cut,
    /// All replayers end, the index of every partition is put back to an older state, and the
    /// replayers start again.
    IndexRestored,
    /// All replayers end, the index of one partition is deleted, and the replayers start again.
    IndexDeleted,
    /// The store is copied, and one more replayer joins the group with the copy for a while.
    StoreCopied,
    /// The wall clock of a service is some minutes ahead for a while.
    ClockAhead,
    /// The wall clock of a service is some minutes behind for a while.
    ClockBack,
    /// Another program appends records to `commands` and `updates`.
    Forged,
    /// The topic `updates` is deleted and made anew while the services run. It is in no lane,
    /// because it destroys a history: it is the last fault of a run.
    TopicRemade,
}

/// The faults of the lane of the environment. Each occurs once before one of them occurs again.
pub const OF_ENVIRONMENT: [Fault; 6] =
    [Fault::IndexRestored, Fault::IndexDeleted, Fault::StoreCopied, Fault::ClockAhead, Fault::ClockBack, Fault::Forged];

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
            Self::IndexRestored => "index_restored",
            Self::IndexDeleted => "index_deleted",
            Self::StoreCopied => "store_copied",
            Self::ClockAhead => "clock_ahead",
            Self::ClockBack => "clock_back",
            Self::Forged => "forged",
            Self::TopicRemade => "topic_remade",
        }
    }
}

/// A planned fault in a lane.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Planned {
    /// The wait before the fault, counted from the time when the lane has healed from the previous
    /// fault.
    pub wait: Duration,
    /// The kind of fault.
    pub fault: Fault,
    /// The index of the broker, of the connection's service, of the service whose clock is shifted,
    /// or of the partition. It has no meaning if the target is a service.
    pub which: usize,
    /// True if the processes that the fault ends get SIGKILL, and false if they get SIGTERM. It has
    /// a meaning only for faults of the environment.
    pub is_killed: bool,
    /// By how many minutes a clock is shifted.
    pub minutes: u64,
    /// How long the fault lasts.
    pub lasts: Duration,
}

/// A target with the faults that hit it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lane {
    /// The target.
    pub target: Target,
    /// The faults in the order in which they happen.
    pub faults: Vec<Planned>,
}

/// The sizes of a cluster, which determine its lanes.
#[derive(Clone, Copy, Debug)]
pub struct Cast {
    /// The number of replayers, of gateways, and of ingests.
    pub services: usize,
    /// The number of brokers. A single broker is never hit, because without it the whole system
    /// would stop.
    pub brokers: usize,
    /// The number of partitions of the world.
    pub partitions: usize,
}

/// By how many minutes clocks are shifted. S3 servers refuse requests whose time is a quarter of an
/// hour off, so the shift is below that.
const SHIFT_MINUTES: RangeInclusive<u64> = 2..=10;

/// Draws the lanes of a run. In each lane, the waits and the faults together take about `length`.
#[must_use]
pub fn draw(seed: u64, cast: Cast, length: Duration) -> Vec<Lane> {
    let kinds = [Kind::Replayer, Kind::Gateway, Kind::Ingest];
    let services = kinds.into_iter().flat_map(|kind| (0..cast.services).map(move |n| Target::Service(kind, n)));
    let brokers = (cast.brokers >= 3).then_some(Target::Brokers);
    let targets = services.chain(brokers).chain([Target::Store, Target::Clients, Target::Environment]);
    let lane = |(stream, target)| {
        // Each lane has its own random stream, so that more faults in one lane change no other
        // lane.
        let mut rng = StdRng::seed_from_u64(seed ^ (stream as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15));
        let mut faults = Vec::new();
        let (mut at, mut deck) = (Duration::ZERO, Vec::new());
        while at < length {
            let planned = one(&mut rng, target, cast, &mut deck);
            at += planned.wait + planned.lasts;
            faults.push(planned);
        }
        Lane { target, faults }
    };
    targets.enumerate().map(lane).collect()
}

/// Draws a fault of a target. `deck` holds the faults of the environment that are still to occur.
fn one(rng: &mut StdRng, target: Target, cast: Cast, deck: &mut Vec<Fault>) -> Planned {
    let dice = rng.random_range(0..100);
    let (wait, fault, lasts) = match target {
        // The fault lasts long enough for another replayer to take over.
        Target::Service(Kind::Replayer, _) if dice < 25 => (2_000..=12_000, Fault::Zombie, 8_000..=15_000),
        // Some pauses and absences are shorter than the group's session time-out of 6 s, and some
        // are longer.
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
        Target::Environment => (4_000..=10_000, next_of(deck, rng), 4_000..=10_000),
    };
    let ways = match target {
        Target::Brokers => cast.brokers,
        // The clients connect to each ingest and to each gateway. A fault hits one of these.
        Target::Clients => 2 * cast.services,
        Target::Environment if matches!(fault, Fault::ClockAhead | Fault::ClockBack) => 3 * cast.services,
        Target::Environment => cast.partitions,
        Target::Service(..) | Target::Store => 1,
    };
    let mut time = |range: RangeInclusive<u64>| Duration::from_millis(rng.random_range(range));
    let (wait, lasts) = (time(wait), time(lasts));
    let (which, is_killed) = (rng.random_range(0..ways), rng.random_bool(0.5));
    Planned { wait, fault, which, is_killed, minutes: rng.random_range(SHIFT_MINUTES), lasts }
}

/// Takes the next fault of the environment from the deck. An empty deck is filled and shuffled
/// first.
fn next_of(deck: &mut Vec<Fault>, rng: &mut StdRng) -> Fault {
    if deck.is_empty() {
        deck.extend(OF_ENVIRONMENT);
        deck.shuffle(rng);
    }
    deck.pop().unwrap_or(OF_ENVIRONMENT[0])
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    const CAST: Cast = Cast { services: 2, brokers: 3, partitions: 8 };
    const LENGTH: Duration = Duration::from_secs(600);

    #[test]
    fn the_same_seed_gives_the_same_plan() {
        assert_eq!(draw(7, CAST, LENGTH), draw(7, CAST, LENGTH));
        assert_ne!(draw(7, CAST, LENGTH), draw(8, CAST, LENGTH));
    }

    #[test]
    fn every_target_gets_its_kinds_of_faults_and_no_fault_is_longer_than_20_s() {
        let lanes = draw(1, CAST, LENGTH);
        assert_eq!(lanes.len(), 10);
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
                Target::Environment => OF_ENVIRONMENT.to_vec(),
            };
            assert_eq!(kinds, BTreeSet::from_iter(expected), "{target}");
            assert!(faults.iter().all(|planned| planned.lasts <= Duration::from_secs(20)), "{target}");
            let is_zombie = |p: &Planned| p.fault == Fault::Pause && p.lasts > Duration::from_secs(6);
            assert!(!matches!(target, Target::Service(Kind::Replayer, _)) || faults.iter().any(is_zombie));
        }
    }

    #[test]
    fn every_fault_of_the_environment_occurs_before_one_of_them_occurs_again() {
        for seed in 1..20 {
            let lanes = draw(seed, CAST, LENGTH);
            let lane = lanes.iter().find(|lane| lane.target == Target::Environment).unwrap();
            let faults: Vec<Fault> = lane.faults.iter().map(|planned| planned.fault).collect();
            let round = &faults[..OF_ENVIRONMENT.len()];
            assert_eq!(BTreeSet::from_iter(round), BTreeSet::from_iter(&OF_ENVIRONMENT), "seed {seed}");
        }
    }

    #[test]
    fn a_single_broker_is_left_alone() {
        let lanes = draw(1, Cast { services: 1, brokers: 1, partitions: 3 }, LENGTH);
        assert!(lanes.iter().all(|lane| lane.target != Target::Brokers));
    }
}
