//! The report of `fanout`: medians over the rounds, ratios to the peer, and missed aims.

use super::{IN_FLIGHT, MANY_CHUNKS, ONE_CHUNK_SOCKETS, SOCKETS_OF_EACH, UPDATES_PER_SECOND};
use crate::quantiles::{self, Quantiles};
use anyhow::Result;
use serde::Serialize;
use std::collections::BTreeMap;
use std::fmt;

/// The figures of one server: those of one round, or the medians over the rounds.
#[derive(Debug, Default, Serialize)]
pub(super) struct Row {
    /// Deliveries a second with 1,000 sockets on one chunk, by updates in flight.
    pub one_chunk: BTreeMap<usize, f64>,
    /// Deliveries a second with 500 chunks of 10 sockets each and 64 updates in flight.
    pub many_chunks: f64,
    /// Latency with 1,000 sockets on one chunk and 20 updates a second.
    pub latency: Quantiles,
    /// Bytes of resident memory per idle socket, by the number of sockets.
    pub idle_bytes: BTreeMap<usize, f64>,
}

#[derive(Serialize)]
pub(super) struct Report {
    rounds: u16,
    driftless: Row,
    #[serde(skip_serializing_if = "Option::is_none")]
    peer: Option<Row>,
    /// Our figures divided by the peer's.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    ratios: BTreeMap<String, f64>,
    /// Keys of the aims that are missed.
    pub missed: Vec<String>,
    /// True if no aim is missed.
    pub holds: bool,
}

/// A line of the table: a figure with its key, its label and its aim.
struct Figure {
    key: String,
    words: String,
    value: Box<dyn Fn(&Row) -> f64>,
    aim: Option<Aim>,
}

/// A target for a figure.
#[derive(Clone, Copy)]
enum Aim {
    /// The ratio to the peer is at least this.
    AtLeast(f64),
    /// The ratio to the peer is at most this.
    AtMost(f64),
    /// Our own value is at most this, whatever the peer's is.
    Below(f64),
}

impl Aim {
    fn is_reached(self, ours: f64, ratio: f64) -> bool {
        match self {
            Self::AtLeast(aim) => ratio >= aim,
            Self::AtMost(aim) => ratio <= aim,
            Self::Below(aim) => ours <= aim,
        }
    }
}

impl fmt::Display for Aim {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AtLeast(aim) => write!(f, "≥ {aim}×"),
            Self::AtMost(aim) => write!(f, "≤ {aim}×"),
            Self::Below(aim) => write!(f, "≤ {aim}"),
        }
    }
}

/// The aims by the key of their figure. They are set for a comparison with centrifuge 0.40.1, with
/// one core for the server.
const AIMS: [(&str, Aim); 7] = [
    ("w1", Aim::AtLeast(2.0)),
    ("w8", Aim::AtLeast(2.3)),
    ("w64", Aim::AtLeast(5.5)),
    ("many_w64", Aim::AtLeast(1.4)),
    ("p99", Aim::AtMost(0.6)),
    ("idle_5000", Aim::Below(6.0)),
    ("idle_10000", Aim::Below(6.0)),
];

impl Report {
    /// Makes the report from our rows and, if a peer was measured, the peer's rows. Each list has
    /// one row for each round.
    pub fn of(rounds: u16, rows: &[Vec<Row>], idle: &[usize]) -> Self {
        let figures = figures(idle);
        let mut medians = rows.iter().map(|rows| median(rows));
        let (driftless, peer) = (medians.next().unwrap_or_default(), medians.next());
        let ratio = |figure: &Figure, theirs| (figure.key.clone(), (figure.value)(&driftless) / (figure.value)(theirs));
        let ratios: BTreeMap<String, f64> =
            peer.iter().flat_map(|theirs| figures.iter().map(move |figure| ratio(figure, theirs))).collect();
        let is_missed = |figure: &&Figure| {
            // Without a peer there are no ratios, and no aim is missed.
            let Some((aim, ratio)) = figure.aim.zip(ratios.get(&figure.key)) else { return false };
            !aim.is_reached((figure.value)(&driftless), *ratio)
        };
        let missed: Vec<String> = figures.iter().filter(is_missed).map(|figure| figure.key.clone()).collect();
        let holds = missed.is_empty();
        Self { rounds, driftless, peer, ratios, missed, holds }
    }

    /// Prints one JSON object, or the table.
    pub fn print(&self, json: bool, idle: &[usize]) -> Result<()> {
        if json {
            println!("{}", serde_json::to_string(self)?);
        } else {
            print(self, &figures(idle));
        }
        Ok(())
    }
}

/// Returns the median of each figure over the rounds.
fn median(rows: &[Row]) -> Row {
    let middle = |pick: &dyn Fn(&Row) -> Option<f64>| quantiles::median(rows.iter().filter_map(pick).collect());
    let keys = |pick: &dyn Fn(&Row) -> Vec<usize>| rows.first().map(pick).unwrap_or_default();
    let by = |keys: Vec<usize>, pick: &dyn Fn(&Row, usize) -> Option<f64>| {
        keys.into_iter().map(|key| (key, middle(&|row| pick(row, key)))).collect()
    };
    let latencies: Vec<Quantiles> = rows.iter().map(|row| row.latency).collect();
    Row {
        one_chunk: by(keys(&|row| row.one_chunk.keys().copied().collect()), &|row, key| {
            row.one_chunk.get(&key).copied()
        }),
        many_chunks: middle(&|row| Some(row.many_chunks)),
        latency: Quantiles::median(&latencies),
        idle_bytes: by(keys(&|row| row.idle_bytes.keys().copied().collect()), &|row, key| {
            row.idle_bytes.get(&key).copied()
        }),
    }
}

/// Returns the lines of the table, in their order.
fn figures(idle: &[usize]) -> Vec<Figure> {
    let mut figures = Vec::new();
    for in_flight in IN_FLIGHT {
        let words = format!("{ONE_CHUNK_SOCKETS} sockets, W{in_flight}: thousand deliveries/s");
        let value = move |row: &Row| row.one_chunk.get(&in_flight).copied().unwrap_or_default() / 1e3;
        figures.push(Figure::new(&format!("w{in_flight}"), words, value));
    }
    let words = format!("{MANY_CHUNKS} × {SOCKETS_OF_EACH} sockets, W64: thousand deliveries/s");
    figures.push(Figure::new("many_w64", words, |row| row.many_chunks / 1e3));
    let words = |what| format!("{UPDATES_PER_SECOND} updates/s to {ONE_CHUNK_SOCKETS} sockets: {what} ms");
    figures.push(Figure::new("p50", words("p50"), |row| row.latency.p50_ms));
    figures.push(Figure::new("p99", words("p99"), |row| row.latency.p99_ms));
    for count in idle.iter().copied().filter(|count| *count > 0) {
        let value = move |row: &Row| row.idle_bytes.get(&count).copied().unwrap_or_default() / 1024.0;
        figures.push(Figure::new(&format!("idle_{count}"), format!("{count} idle sockets: KB each"), value));
    }
    figures
}

impl Figure {
    fn new(key: &str, words: String, value: impl Fn(&Row) -> f64 + 'static) -> Self {
        let aim = AIMS.iter().find(|(of, _)| *of == key).map(|(_, aim)| *aim);
        Self { key: key.to_owned(), words, value: Box::new(value), aim }
    }
}

fn print(report: &Report, figures: &[Figure]) {
    let Report { rounds, driftless, peer, ratios, missed, .. } = report;
    println!("medians of {rounds} rounds; one core for the server        driftless       peer     ratio  aim");
    for Figure { key, words, value, aim } in figures {
        let ours = value(driftless);
        let Some(theirs) = peer.as_ref().map(value) else {
            println!("{words:55} {ours:12.1}");
            continue;
        };
        let aim = aim.map_or(String::new(), |aim| aim.to_string());
        let word = if missed.contains(key) { "  missed" } else { "" };
        println!(
            "{words:55} {ours:12.1} {theirs:10.1} {:8.2}×  {aim}{word}",
            ratios.get(key).copied().unwrap_or_default()
        );
    }
}
