//! Floods: attacks that cost their sender little and could cost a service much.
//!
//! A flood hits the services as operators run them: ingest, replayer and gateway as processes over
//! Kafka and S3, each with [`services::MEMORY_MAX`] and few file descriptors. The attacker pours
//! bytes, waits for no answer, and may not even read. Honest clients edit from a process of their
//! own meanwhile ([`crowd`]).
//!
//! Each flood is sent twice: to a process that discards everything ([`sink`]), which shows what the
//! load of the attacker alone costs the honest clients on this machine, and to the services.

pub mod attacks;
pub mod crowd;
pub mod pour;
pub mod services;
pub mod sink;

use self::crowd::{Crowd, EDITORS, Seen};
use self::services::{MEMORY_MAX, Services};
use self::sink::Sink;
use crate::attack::Attack;
use anyhow::{Context as _, Result, ensure};
use driftless_e2e_tests::people::Tokens;
use serde::Serialize;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Notify;
use tokio::time::Instant;

/// How long a flood lasts when latencies are measured.
const LENGTH: Duration = Duration::from_secs(5);
/// How long a flood lasts otherwise.
const SHORT: Duration = Duration::from_secs(3);
/// How long a flood lasts that should do harm, because a defence is switched off. A debug build
/// takes its time.
const UNDEFENDED: Duration = Duration::from_secs(12);
/// The pause after a flood until the next measurement begins, so that its sockets are gone.
const PAUSE: Duration = Duration::from_millis(500);
/// The 99th percentile of honest edits during an attack may be this many times that of the control.
const RATIO_MAX: f64 = 2.0;
/// That percentile may also be this much above that of the control, milliseconds.
const MORE_MS_MAX: f64 = 50.0;
/// The percentile during an attack may never be more than this, milliseconds.
const P99_MS_MAX: f64 = 250.0;

/// Where a flood goes, and how long it lasts.
#[derive(Clone)]
pub struct Flood {
    /// The address of ingest for clients, or of the sink.
    pub ingest: SocketAddr,
    /// The address of the gateway for clients, or of the sink.
    pub gateway: SocketAddr,
    /// Signs the attackers' tokens.
    pub tokens: Arc<Tokens>,
    /// How long the flood lasts.
    pub length: Duration,
    /// Told when the flood begins. What is sent is prepared before that.
    pub begins: Arc<Notify>,
    /// Told when the flood ends.
    pub ends: Arc<Notify>,
    /// A number that no other flood of this run has, for chunks without any command.
    pub number: u32,
    /// True if this goes to the sink, which answers nothing.
    pub is_control: bool,
}

/// The figures of one flood: its bytes, the honest clients, and the services.
#[derive(Clone, Debug, Serialize)]
pub struct Figures {
    /// A text about the attacker's connections and bytes.
    pub sent: String,
    /// The honest clients while the sink was flooded; `None` if only memory was measured.
    pub control: Option<Seen>,
    /// The honest clients while the services were flooded.
    pub attack: Seen,
    /// The most anonymous memory of each service during the flood, MiB.
    pub peak_mib: Vec<(String, u64)>,
}

/// The services under floods, and the honest clients.
pub struct Floods {
    services: Services,
    crowd: Crowd,
    sink: Option<Sink>,
    length: Duration,
    count: u32,
}

impl Floods {
    /// Starts the services, writes the chunks that floods ask for, and connects the honest clients.
    /// With `is_measured` there is a sink, and latencies count.
    ///
    /// # Errors
    /// If something does not start.
    pub async fn start(program: &Path, helper: &Path, is_measured: bool, switched_off: &str) -> Result<Self> {
        // The attackers' own sockets must not run out of descriptors.
        let _ = driftless_runtime::descriptors::raise();
        let services = Services::start(program, switched_off).await?;
        services.write_chunks().await?;
        let sink = if is_measured { Some(Sink::start(helper).await?) } else { None };
        let crowd = Crowd::start(helper, &services).await?;
        let length = match (is_measured, switched_off) {
            (true, _) => LENGTH,
            (false, "") => SHORT,
            (false, _) => UNDEFENDED,
        };
        Ok(Self { services, crowd, sink, length, count: 0 })
    }

    /// Sends a flood, and says what was seen.
    ///
    /// # Errors
    /// If the flood did harm. The error says which figure exceeds its bound.
    pub async fn send(&mut self, attack: fn(Flood) -> Attack) -> Result<(Figures, String)> {
        let figures = self.measure(attack).await?;
        let seen = judge(&figures);
        self.calm().await?;
        seen.map(|seen| (figures, seen))
    }

    async fn measure(&mut self, attack: fn(Flood) -> Attack) -> Result<Figures> {
        let sink = self.sink.as_ref().map(|sink| sink.address);
        let control = match sink {
            Some(sink) => {
                let flood = self.flood(sink, sink);
                let (_, seen) = self.watch(flood, attack).await.context("the control")?;
                tokio::time::sleep(PAUSE).await;
                Some(seen)
            }
            None => None,
        };
        let (ingest, gateway) = (self.services.ingest, self.services.gateway);
        let peaks = self.services.watch_memory();
        let flood = self.flood(ingest, gateway);
        let (sent, attack) = self.watch(flood, attack).await?;
        let peak_mib = peaks.end().await.into_iter().map(|(name, bytes)| (name, bytes >> 20)).collect();
        self.services.live()?;
        Ok(Figures { sent, control, attack, peak_mib })
    }

    /// Runs an attack, and measures the honest clients while it floods.
    async fn watch(&mut self, flood: Flood, attack: fn(Flood) -> Attack) -> Result<(String, Seen)> {
        let (begins, ends) = (Arc::clone(&flood.begins), Arc::clone(&flood.ends));
        let watching = async {
            begins.notified().await;
            self.crowd.begin().await?;
            ends.notified().await;
            self.crowd.end().await
        };
        tokio::try_join!(attack(flood), watching)
    }

    fn flood(&mut self, ingest: SocketAddr, gateway: SocketAddr) -> Flood {
        self.count += 1;
        let tokens = Arc::clone(&self.services.tokens);
        let is_control = self.sink.as_ref().is_some_and(|sink| sink.address == gateway);
        let (begins, ends, length) = (Arc::default(), Arc::default(), self.length);
        Flood { ingest, gateway, tokens, length, begins, ends, number: self.count, is_control }
    }

    /// Waits until the work that a flood has left is done, so that the next flood begins on an idle
    /// machine.
    async fn calm(&mut self) -> Result<()> {
        let deadline = Instant::now() + Duration::from_secs(30);
        loop {
            self.crowd.begin().await?;
            tokio::time::sleep(PAUSE).await;
            let seen = self.crowd.end().await?;
            if seen.editors == EDITORS && seen.p99_ms < P99_MS_MAX {
                return Ok(());
            }
            ensure!(Instant::now() < deadline, "half a minute after the flood, honest edits still take {seen}");
        }
    }

    /// Ends the honest clients, and checks the log against what they were told.
    ///
    /// # Errors
    /// If an outcome is not that of the log.
    pub async fn finish(self) -> Result<(usize, usize)> {
        let told = self.crowd.finish().await?;
        let history = self.services.history().await;
        crowd::compare(&told, &history)?;
        Ok((told.len(), history.commands))
    }
}

/// Says what was seen, if the flood did no harm.
fn judge(figures: &Figures) -> Result<String> {
    let Figures { sent, control, attack, peak_mib } = figures;
    ensure!(attack.edits > 0, "no honest edit was committed meanwhile; the attacker sent {sent}");
    ensure!(attack.lost == 0, "{} honest connections were lost; the attacker sent {sent}", attack.lost);
    for (name, mib) in peak_mib {
        let max = MEMORY_MAX >> 20;
        ensure!(*mib <= max, "{name} took {mib} MiB, and may take {max}; the attacker sent {sent}");
    }
    let peaks: Vec<String> = peak_mib.iter().map(|(name, mib)| format!("{name} {mib}")).collect();
    let peaks = format!("peaks in MiB: {}", peaks.join(", "));
    let Some(control) = control else { return Ok(format!("{sent}; {attack}; {peaks}")) };
    let bound = (RATIO_MAX * control.p99_ms).max(control.p99_ms + MORE_MS_MAX).min(P99_MS_MAX);
    ensure!(
        attack.p99_ms <= bound,
        "honest edits took {attack}, control {control}: p99 may be {bound:.0} ms; {peaks}; the attacker sent {sent}"
    );
    Ok(format!("{attack}; control {control}; {peaks}; {sent}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(p99_ms: f64) -> Seen {
        Seen {
            edits: 100,
            editors: EDITORS,
            p50_ms: 5.0,
            p99_ms,
            max_ms: p99_ms,
            lost: 0,
            newcomers: 5,
            newcomer_max_ms: 9.0,
        }
    }

    #[test]
    fn a_flood_is_judged_by_latency_connections_and_memory() {
        let figures = |control: Option<f64>, attack: f64| Figures {
            sent: "much".into(),
            control: control.map(seen),
            attack: seen(attack),
            peak_mib: vec![("gateway".into(), 200)],
        };
        for (control, attack, holds) in [
            (Some(10.0), 60.0, true),
            (Some(10.0), 61.0, false),
            (Some(100.0), 200.0, true),
            (Some(200.0), 251.0, false),
            (None, 9000.0, true),
        ] {
            assert_eq!(judge(&figures(control, attack)).is_ok(), holds, "{control:?} {attack}");
        }
        let large = Figures { peak_mib: vec![("gateway".into(), 257)], ..figures(None, 1.0) };
        assert!(judge(&large).unwrap_err().to_string().contains("gateway took 257 MiB"));
        let lost = Figures { attack: Seen { lost: 1, ..seen(1.0) }, ..figures(None, 1.0) };
        assert!(judge(&lost).is_err());
        let silent = Figures { attack: Seen { edits: 0, ..seen(0.0) }, ..figures(None, 1.0) };
        assert!(judge(&silent).is_err(), "no edit at all is no good latency");
    }
}
