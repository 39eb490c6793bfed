//! Runs the rows one after the other: first those that attack `driftless dev`, then the floods.
//! Rows that wait for a time limit run beside the others. After each of them the honest client
//! makes an edit.

use crate::attack::Attack;
use crate::floods::{Figures, Floods};
use crate::honest::Honest;
use crate::report::{Line, LogSays, Report, Verdict};
use crate::rows::{How, ROWS, Row, Scene};
use crate::target::Target;
use anyhow::{Context as _, Result, anyhow, bail, ensure};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::task::JoinHandle;

/// The deadline for the end of each row.
const ROW_WITHIN: Duration = Duration::from_secs(75);

/// The deadline for a flood with its control, and for the time until the services are calm again.
const FLOOD_WITHIN: Duration = Duration::from_secs(120);

/// The rows to run, and what the run needs.
pub struct Options<'a> {
    /// The `driftless` program.
    pub program: &'a Path,
    /// The `driftless-attack` program, which runs the honest clients of floods and the sink.
    pub helper: &'a Path,
    /// Latencies of floods are measured and compared with a control. Otherwise only memory and lost
    /// connections count, because the build or the machine is slow.
    pub is_measured: bool,
    /// Defences that the services do without, separated by commas. Only debug builds can.
    pub switched_off: &'a str,
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

/// Starts what is attacked, attacks, and returns the report.
///
/// # Errors
/// If the services or the honest clients could not start.
pub async fn run(options: &Options<'_>) -> Result<Report> {
    let begun = Instant::now();
    let rows = chosen(options.only)?;
    let mut report = Report::default();
    if rows.iter().any(|row| matches!(row.how, How::Now(_) | How::Beside(_))) {
        attack(options, &rows, &mut report).await?;
    }
    if rows.iter().any(|row| matches!(row.how, How::Flood(_))) {
        flood(options, &rows, &mut report).await?;
    }
    for row in &rows {
        match row.how {
            How::ByTests => report.lines.push(Line::new(row, Verdict::ByTests, String::new(), Duration::ZERO)),
            How::Argued(why) => report.lines.push(Line::new(row, Verdict::Argued, why.to_owned(), Duration::ZERO)),
            _ => {}
        }
    }
    let place = |line: &Line| rows.iter().position(|row| row.id == line.row);
    report.lines.sort_by_key(place);
    report.seconds = begun.elapsed().as_secs_f64();
    Ok(report)
}

/// Floods the services as operators run them.
async fn flood(options: &Options<'_>, rows: &[Row], report: &mut Report) -> Result<()> {
    (options.progress)("starting the services that are flooded");
    let started = Floods::start(options.program, options.helper, options.is_measured, options.switched_off);
    let mut floods = started.await.context("the services that are flooded")?;
    for row in rows {
        let How::Flood(attack) = row.how else { continue };
        (options.progress)(row.id);
        let begun = Instant::now();
        let ended = tokio::time::timeout(FLOOD_WITHIN, floods.send(attack)).await;
        let ended = ended.unwrap_or_else(|_| Err(anyhow!("not over within {FLOOD_WITHIN:?}")));
        let (verdict, seen, figures): (_, _, Option<Figures>) = match ended {
            Ok((figures, seen)) => (Verdict::Held, seen, Some(figures)),
            Err(e) => (Verdict::NotHeld(format!("{e:#}")), String::new(), None),
        };
        report.lines.push(Line { figures, ..Line::new(row, verdict, seen, begun.elapsed()) });
    }
    (options.progress)("asking the log of the services that were flooded");
    let finished = tokio::time::timeout(FLOOD_WITHIN, tokio::spawn(floods.finish())).await;
    report.flooded_log = Some(match finished {
        Ok(Ok(Ok((edits, commands)))) => LogSays { verdict: Verdict::Held, edits, commands },
        Ok(Ok(Err(e))) => Verdict::NotHeld(format!("{e:#}")).into(),
        Ok(Err(panic)) => Verdict::NotHeld(message(panic)).into(),
        Err(_) => Verdict::NotHeld(format!("not read within {FLOOD_WITHIN:?}")).into(),
    });
    Ok(())
}

/// Attacks `driftless dev`.
async fn attack(options: &Options<'_>, rows: &[Row], report: &mut Report) -> Result<()> {
    (options.progress)("starting what is attacked");
    let target = Target::start(options.program, options.switched_off).await?;
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
    for row in rows {
        if let How::Now(attack) = row.how {
            (options.progress)(row.id);
            let ended = end_of(begin(attack(scene.clone()))).await;
            report.lines.push(line(row, ended, &scene).await);
        }
    }
    for (row, beside) in rows.iter().zip(beside) {
        if let Some(attack) = beside {
            (options.progress)(row.id);
            let ended = end_of(attack).await;
            report.lines.push(line(row, ended, &scene).await);
        }
    }
    (options.progress)("asking the log");
    report.log = Some(log(&scene).await.unwrap_or_else(|e| Verdict::NotHeld(format!("{e:#}")).into()));
    Ok(())
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
async fn log(scene: &Scene) -> Result<LogSays> {
    scene.honest.close();
    let target = Arc::clone(&scene.target);
    let history = tokio::spawn(async move { target.history().await }).await;
    let history = history.map_err(|panic| anyhow!("{}", message(panic))).context("a rule is broken")??;
    let edits = scene.honest.compare(&history)?;
    Ok(LogSays { verdict: Verdict::Held, edits, commands: history.commands })
}
