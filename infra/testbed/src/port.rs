//! Free TCP ports on 127.0.0.1.
//!
//! Ports are taken from *below* the range that the kernel gives to outgoing connections. A server that is killed and
//! restarted must find its port again; were it in that range, any client on this machine could be given it meanwhile, and a
//! client that keeps reconnecting to it could even connect to itself and keep it busy.

use std::fs;
use std::hash::{BuildHasher, RandomState};
use std::net::{Ipv4Addr, TcpListener};

use anyhow::{Context, Result};

/// Below this live well-known services.
const LOWEST: u16 = 12_000;

/// `count` different ports that are free now. The last moment between taking and using them is a race that nobody can win
/// for sure; a server that loses it says so in its log.
pub(crate) fn free_ports(count: usize) -> Result<Vec<u16>> {
    // Held until all are chosen, so that they differ.
    let listeners = (0..count).map(|_| free_listener()).collect::<Result<Vec<_>>>()?;
    listeners.iter().map(|listener| Ok(listener.local_addr()?.port())).collect()
}

fn free_listener() -> Result<TcpListener> {
    let highest = lowest_outgoing_port();
    if highest > LOWEST {
        let span = u64::from(highest - LOWEST);
        let draw = RandomState::new();
        for attempt in 0..64u32 {
            let step = (draw.hash_one(attempt) % span) as u16;
            if let Ok(listener) = TcpListener::bind((Ipv4Addr::LOCALHOST, LOWEST + step)) {
                return Ok(listener);
            }
        }
    }
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).context("no free port on 127.0.0.1")
}

/// Where the range for outgoing connections begins (Linux says; elsewhere 32768 is below the usual 49152).
fn lowest_outgoing_port() -> u16 {
    fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range")
        .ok()
        .and_then(|range| range.split_whitespace().next()?.parse().ok())
        .unwrap_or(32_768)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wait::until;
    use std::collections::BTreeSet;
    use std::time::Duration;

    #[test]
    fn ports_taken_together_differ_and_are_free() {
        let ports = free_ports(20).unwrap();
        assert_eq!(ports.iter().collect::<BTreeSet<_>>().len(), 20);
        // A child that another test forks just now has our listeners too, until it becomes another program.
        for port in ports {
            let bind = || TcpListener::bind((Ipv4Addr::LOCALHOST, port)).ok();
            until(Duration::from_secs(10), &format!("port {port} to be free"), bind).unwrap();
        }
    }
}
