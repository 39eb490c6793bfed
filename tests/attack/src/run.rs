//! Runs the rows one after the other. Rows that wait for a time limit run beside them. After each
//! row the honest client makes an edit.

use crate::honest::Honest;
use crate::report::{Line, Report, Verdict};
use crate::rows::{Attack, How, ROWS, Row, Scene};
use crate::target::Target;
use anyhow::{Context as _, Result, anyhow, bail, ensure};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::task::JoinHandle;

/// The deadline for the end of each row.
const ROW_WITHIN: Duration = Duration::from_secs(75);

/// The rows to run, and what the run needs.
pub struct Options<'a> {
    /// The `driftless` program.
    pub program: &'a Path,
    /// The ids of the rows to run; empty for all rows.
    pub only: &'a [String],
    /// Gets a line of text about each row when it has ended.
    pub progress: &'a dyn Fn(&str),
}

/// Returns the rows with these ids, or all rows if there are none.
///
/// # Errors
/// If an id is unknown.
pub fn chosen(only: &[String]) -> Result<Vec<Row>> {
    for id in only {
        if !ROWS.iter().any(|row| row.id == id) {
            let ids: Vec<&str> = ROWS.iter().map(|row| row.id).collect();
            bail!("{id:?} is no row; these are: {}", ids.join(", "));
        }
    }
    Ok(ROWS.iter().filter(|row| only.is_empty() || only.iter().any(|id| id == row.id)).copied().collect())
}

/// Starts the services and the honest client, attacks, and returns the report.
///
/// # Errors
/// If the services or the honest client could not start.
pub async fn run(options: &Options<'_>) -> Result<Report> {
    let begun = Instant::now();
    let rows = chosen(options.only)?;
    (options.progress)("starting what is attacked");
    let target = Target::start(options.program).await?;
    let honest = Arc::new(Honest::connect(&target).await?);
    // The first edit takes longer, because the service has decided nothing yet. So it is not
    // measured.
    honest.submit(&driftless_e2e_tests::edits::chunk(Honest::HOME)).await?;
    honest.reconnects().await?;
    let scene = Scene { target: Arc::clone(&target), honest: Arc::clone(&honest) };
    let start = |row: &Row| match row.how {
        How::Beside(attack) => Some(begin(attack(scene.clone()))),
        _ => None,
    };
    let beside: Vec<_> = rows.iter().map(start).collect();
    let mut lines: Vec<Option<Line>> = Vec::new();
    for row in &rows {
        lines.push(match row.how {
            How::Now(attack) => {
                (options.progress)(row.id);
                let ended = end_of(begin(attack(scene.clone()))).await;
                Some(line(row, ended, &scene).await)
            }
            How::ByTests => Some(Line::new(row, Verdict::ByTests, String::new(), Duration::ZERO)),
            How::Argued(why) => Some(Line::new(row, Verdict::Argued, why.to_owned(), Duration::ZERO)),
            How::Beside(_) => None,
        });
    }
    for ((row, beside), slot) in rows.iter().zip(beside).zip(&mut lines) {
        if let Some(attack) = beside {
            (options.progress)(row.id);
            let ended = end_of(attack).await;
            *slot = Some(line(row, ended, &scene).await);
        }
    }
    let mut report = Report { lines: lines.into_iter().flatten().collect(), ..Report::default() };
    (options.progress)("asking the log");
    report.log = Some(log(&scene).await.unwrap_or_else(|e| Verdict::NotHeld(format!("{e:#}")).into()));
    report.seconds = begun.elapsed().as_secs_f64();
    Ok(report)
}

/// The result of an attack, and how long it took.
type Seen = (Result<String>, Duration);

fn begin(attack: Attack) -> JoinHandle<Seen> {
    tokio::spawn(async move {
        let started = Instant::now();
        let ended = attack.await;
        (ended, started.elapsed())
    })
}

/// Waits for the end of an attack. An attack that panics or exceeds [`ROW_WITHIN`] fails.
async fn end_of(mut attack: JoinHandle<Seen>) -> Seen {
    match tokio::time::timeout(ROW_WITHIN, &mut attack).await {
        Ok(Ok(seen)) => seen,
        Ok(Err(panic)) => (Err(anyhow!("{}", message(panic))), Duration::ZERO),
        Err(_) => {
            attack.abort();
            (Err(anyhow!("not over within {ROW_WITHIN:?}")), ROW_WITHIN)
        }
    }
}

fn message(error: tokio::task::JoinError) -> String {
    let Ok(panic) = error.try_into_panic() else { return "it was ended".to_owned() };
    let text = panic.downcast_ref::<String>().cloned();
    text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()))
        .unwrap_or_else(|| "it panicked".to_owned())
}

async fn line(row: &Row, (ended, took): Seen, scene: &Scene) -> Line {
    let unharmed = async {
        scene.target.lives()?;
        let edit = scene.honest.edit(Honest::HOME).await?;
        let reconnects = scene.honest.reconnects().await?;
        ensure!(reconnects == 0, "the honest client had to connect again {reconnects} times");
        Ok::<_, anyhow::Error>(edit)
    };
    let unharmed = unharmed.await;
    let (verdict, seen) = match (ended, &unharmed) {
        (Ok(seen), Ok(_)) => (Verdict::Held, seen),
        (Err(e), _) => (Verdict::NotHeld(format!("{e:#}")), String::new()),
        (Ok(seen), Err(e)) => (Verdict::NotHeld(format!("{e:#}")), seen),
    };
    Line { edit: unharmed.ok(), ..Line::new(row, verdict, seen, took) }
}

/// Checks R2, R3, R8 and R10 over all decisions in the log, and compares the log with the outcomes
/// that the honest client got.
async fn log(scene: &Scene) -> Result<crate::report::LogSays> {
    scene.honest.close();
    let target = Arc::clone(&scene.target);
    let history = tokio::spawn(async move { target.history().await }).await;
    let history = history.map_err(|panic| anyhow!("{}", message(panic))).context("a rule is broken")??;
    let edits = scene.honest.compare(&history)?;
    Ok(crate::report::LogSays { verdict: Verdict::Held, edits, commands: history.commands })
}
