//! Drives the hub input by input. Each module tests one part of the hub's work.

mod track;
mod records;
mod lagging;
mod order;
mod memory;
mod beacons;
mod behind;
mod drift;
mod degraded;
mod histories;

use driftless_gateway_core::Settings;
use driftless_scenes::gateway::*;

const C: &str = "tape/1";

/// A log with versions 1 to `count` of [`C`], each in its own record, by writer 1.
fn log(count: u64) -> (Log, Owner) {
    let mut log = Log::new();
    let mut owner = log.owner();
    for i in 1..=count {
        write(&mut log, &mut owner, C, writer(1), &[&format!("w{i}")]);
    }
    (log, owner)
}

/// A gateway that has read the whole log.
fn all(log: &Log, settings: Settings) -> Gateway {
    let mut gateway = Gateway::new(log, settings, 0);
    gateway.read(log, usize::MAX);
    gateway
}
