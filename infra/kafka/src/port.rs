//! Free TCP ports on 127.0.0.1.
//!
//! The module takes ports from *below* the range that the kernel uses for outgoing connections. A
//! server that is killed and restarted needs its port again. If the port were in that range, the
//! kernel could give it to any client on this machine meanwhile. A client that reconnects to the
//! server could even connect to itself and keep the port busy.

use std::fs;
use std::hash::{BuildHasher, RandomState};
use std::net::{Ipv4Addr, TcpListener};

use anyhow::{Context, Result};

/// The lowest port that this module chooses. Well-known services use lower ports.
const LOWEST: u16 = 12_000;

/// Returns `count` different ports that are free now. Another process may take one before the
/// server binds it; the server then says so in its log.
pub fn free_ports(count: usize) -> Result<Vec<u16>> {
    // All listeners stay open until the last port is chosen, so that the ports differ.
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

/// Returns the lowest port that the system gives to outgoing connections. Linux names it in a file.
/// On other systems the result is 32768, which is below the usual 49152.
fn lowest_outgoing_port() -> u16 {
    fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range")
        .ok()
        .and_then(|range| range.split_whitespace().next()?.parse().ok())
        .unwrap_or(32_768)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;
    use std::time::Duration;

    #[test]
    fn ports_taken_together_differ_and_are_free() {
        let ports = free_ports(20).unwrap();
        assert_eq!(ports.iter().collect::<BTreeSet<_>>().len(), 20);
        // Another test of this program may start a process now. Between fork and exec the child
        // holds every socket of this process, even after this process has closed them.
        crate::wait::until(Duration::from_secs(10), "20 ports to be free", || {
            let is_free = |port: &u16| TcpListener::bind((Ipv4Addr::LOCALHOST, *port)).is_ok();
            ports.iter().all(is_free).then_some(())
        })
        .unwrap();
    }
}
