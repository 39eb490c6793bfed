//! Honest clients in a process of their own: some SDK clients that edit one after the other, and
//! newcomers that connect and load a chunk.
//!
//! The process obeys lines on its standard input: `begin` forgets what was measured, `end` prints
//! [`Seen`] as JSON, and `finish` closes the clients and prints what they were told.

use super::services::Services;
use anyhow::{Context as _, Result, bail, ensure};
use driftless_client::{Client, Event, Outcome, Settings, Token};
use driftless_e2e_tests::edits::{chunk, set};
use driftless_e2e_tests::history::History;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::Stdio;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};
use tokio::sync::{broadcast, mpsc, watch};

/// The number of clients that edit.
pub const EDITORS: usize = 4;
/// The pause of an editor after each edit.
const EDIT_PAUSE: Duration = Duration::from_millis(25);
/// The pause after each newcomer.
const NEWCOMER_PAUSE: Duration = Duration::from_millis(400);
/// An edit that still waits at the end of a measurement counts if it has waited for so long.
const LONG: Duration = Duration::from_millis(200);
/// A newcomer that still waits at the end of a measurement is lost if it has waited for so long.
const NEWCOMER_LONG: Duration = Duration::from_secs(5);
/// The key of the newcomer among those who wait.
const NEWCOMER: usize = usize::MAX;
/// How long an edit may take before its client counts as lost.
const EDIT_WITHIN: Duration = Duration::from_secs(20);
const ANSWER_WITHIN: Duration = Duration::from_secs(60);

/// The measurements of the honest clients between `begin` and `end`.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub struct Seen {
    /// The number of edits that were committed, and of those that waited for long at the end.
    pub edits: usize,
    /// The number of editors with such edits.
    pub editors: usize,
    /// The median time from an edit to its commit, milliseconds.
    pub p50_ms: f64,
    /// The 99th percentile of it.
    pub p99_ms: f64,
    /// The longest time.
    pub max_ms: f64,
    /// How often an editor lost a connection, or a newcomer got none.
    pub lost: usize,
    /// The number of newcomers that connected and loaded a chunk.
    pub newcomers: usize,
    /// The longest time of a newcomer, milliseconds.
    pub newcomer_max_ms: f64,
}

impl std::fmt::Display for Seen {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { edits, p50_ms, p99_ms, max_ms, newcomers, newcomer_max_ms, .. } = self;
        write!(
            f,
            "p50 {p50_ms:.0}, p99 {p99_ms:.0}, most {max_ms:.0} ms of {edits} edits, {newcomers} newcomers within \
             {newcomer_max_ms:.0} ms"
        )
    }
}

/// An edit of an honest client, and what the client was told about it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Told {
    /// The number of the editor.
    pub editor: usize,
    /// The number of the edit, from 0.
    pub edit: u32,
    /// True if it was committed, false if its outcome is unknown.
    pub is_committed: bool,
}

fn name(editor: usize) -> String {
    format!("honest-{editor}")
}

fn home(editor: usize) -> String {
    format!("canvas/{editor}/0")
}

/// The command of an edit. Each edit of an editor is another one, so that the log can be searched.
fn edit(number: u32) -> Vec<u8> {
    let cells = 128 * 128;
    set(number % cells, 1 + number / cells % 255)
}

/// The process with the honest clients.
pub struct Crowd {
    process: Child,
    orders: ChildStdin,
    answers: Lines<BufReader<ChildStdout>>,
}

impl Crowd {
    /// Starts the process: `helper` with the argument `crowd`. Waits until its clients have edited.
    ///
    /// # Errors
    /// If the clients cannot edit.
    pub async fn start(helper: &Path, services: &Services) -> Result<Self> {
        let mut command = Command::new(helper);
        command.args(["crowd", &services.ingest.to_string(), &services.gateway.to_string()]);
        for editor in 0..EDITORS {
            command.arg(services.token(&name(editor)));
        }
        command.arg(services.token("newcomer"));
        let mut process = command.stdin(Stdio::piped()).stdout(Stdio::piped()).kill_on_drop(true).spawn()?;
        let orders = process.stdin.take().context("the honest clients take orders")?;
        let output = process.stdout.take().context("the honest clients answer")?;
        let mut crowd = Self { process, orders, answers: BufReader::new(output).lines() };
        let first = crowd.answer().await?;
        ensure!(first == "ready", "the honest clients say {first:?}");
        Ok(crowd)
    }

    /// Begins a measurement.
    ///
    /// # Errors
    /// If the process has ended.
    pub async fn begin(&mut self) -> Result<()> {
        self.order("begin").await.map(drop)
    }

    /// Ends a measurement.
    ///
    /// # Errors
    /// If the process has ended.
    pub async fn end(&mut self) -> Result<Seen> {
        Ok(serde_json::from_str(&self.order("end").await?)?)
    }

    /// Closes the clients. Returns what they were told about all their edits.
    ///
    /// # Errors
    /// If the process has ended, or an edit has no outcome.
    pub async fn finish(mut self) -> Result<Vec<Told>> {
        let told = serde_json::from_str(&self.order("finish").await?)?;
        let _ = self.process.wait().await;
        Ok(told)
    }

    async fn order(&mut self, order: &str) -> Result<String> {
        self.orders.write_all(format!("{order}\n").as_bytes()).await?;
        self.answer().await
    }

    async fn answer(&mut self) -> Result<String> {
        let line = tokio::time::timeout(ANSWER_WITHIN, self.answers.next_line()).await;
        line.context("the honest clients do not answer")??.context("the honest clients have ended")
    }
}

/// Compares what the honest clients were told with the log.
///
/// # Errors
/// If an edit that was told as committed is not in the log, or one is there twice.
pub fn compare(told: &[Told], history: &History) -> Result<()> {
    for editor in 0..EDITORS {
        let mut counts: BTreeMap<Vec<u8>, usize> = BTreeMap::new();
        for effect in history.commits(&chunk(&home(editor)), &name(editor)) {
            *counts.entry(effect.to_vec()).or_default() += 1;
        }
        for one in told.iter().filter(|one| one.editor == editor) {
            let count = counts.remove(&edit(one.edit)).unwrap_or(0);
            ensure!(count <= 1, "{}: an edit was committed {count} times", name(editor));
            ensure!(count == 1 || !one.is_committed, "{}: a committed edit is not in the log", name(editor));
        }
        ensure!(counts.is_empty(), "the log has {} edits that {} was not told of", counts.len(), name(editor));
    }
    Ok(())
}

/// The measurements of all clients since `begin`.
#[derive(Default)]
struct Measured {
    edits: Vec<Duration>,
    editors: BTreeSet<usize>,
    lost: usize,
    newcomers: Vec<Duration>,
}

impl Measured {
    /// `waiting` has the editors whose edits wait, and the newcomer, with the time since when.
    fn seen(&mut self, waiting: &BTreeMap<usize, Instant>) -> Seen {
        for (client, since) in waiting {
            match *client {
                NEWCOMER => self.lost += usize::from(since.elapsed() >= NEWCOMER_LONG),
                editor if since.elapsed() >= LONG => {
                    self.edits.push(since.elapsed());
                    self.editors.insert(editor);
                }
                _ => {}
            }
        }
        self.edits.sort_unstable();
        let ms = |at: f64| {
            let index = ((self.edits.len() as f64 * at) as usize).min(self.edits.len().saturating_sub(1));
            self.edits.get(index).map_or(0.0, |took| took.as_secs_f64() * 1000.0)
        };
        Seen {
            edits: self.edits.len(),
            editors: self.editors.len(),
            p50_ms: ms(0.5),
            p99_ms: ms(0.99),
            max_ms: ms(1.0),
            lost: self.lost,
            newcomers: self.newcomers.len(),
            newcomer_max_ms: self.newcomers.iter().max().map_or(0.0, |took| took.as_secs_f64() * 1000.0),
        }
    }
}

/// Runs the honest clients in this process until `finish`. `tokens` has one for each editor, and
/// then that of the newcomers.
///
/// # Errors
/// If the clients cannot edit.
pub async fn run(ingest: &str, gateway: &str, tokens: &[String]) -> Result<()> {
    let [editors @ .., newcomer] = tokens else { bail!("the honest clients need tokens") };
    let (measured, told) = (Arc::new(Mutex::new(Measured::default())), Arc::new(Mutex::new(Vec::new())));
    let waiting = Arc::new(Mutex::new(BTreeMap::new()));
    let (end, ended) = watch::channel(false);
    let settings = |token: &String| {
        Settings::new(
            format!("ws://{ingest}/v1/ingest"),
            format!("ws://{gateway}/v1/gateway"),
            Token::from(token.as_str()),
        )
    };
    let mut tasks = Vec::new();
    for (number, token) in editors.iter().enumerate() {
        let client = Client::connect(settings(token)).await?;
        let tracked = client.track(&chunk(&home(number)));
        tokio::time::timeout(ANSWER_WITHIN, tracked.ready()).await.context("a chunk")??;
        let editor = Editor {
            number,
            client,
            measured: Arc::clone(&measured),
            told: Arc::clone(&told),
            waiting: Arc::clone(&waiting),
            next: 0,
        };
        tasks.push(tokio::spawn(editor.run(ended.clone())));
    }
    let newcomers = newcomers(settings(newcomer), Arc::clone(&measured), Arc::clone(&waiting), ended);
    tasks.push(tokio::spawn(newcomers));
    tokio::time::sleep(Duration::from_secs(1)).await;
    println!("ready");
    let (order, mut orders) = mpsc::channel(1);
    // A thread, because reading the standard input blocks.
    std::thread::spawn(move || {
        for line in std::io::stdin().lines().map_while(Result::ok) {
            if order.blocking_send(line).is_err() {
                break;
            }
        }
    });
    while let Some(order) = orders.recv().await {
        match order.as_str() {
            "begin" => {
                *measured.lock().unwrap_or_else(PoisonError::into_inner) = Measured::default();
                println!("begun");
            }
            "end" => {
                let seen = measured
                    .lock()
                    .unwrap_or_else(PoisonError::into_inner)
                    .seen(&waiting.lock().unwrap_or_else(PoisonError::into_inner));
                println!("{}", serde_json::to_string(&seen)?);
            }
            _ => break,
        }
    }
    end.send_replace(true);
    for task in tasks {
        task.await??;
    }
    println!("{}", serde_json::to_string(&*told.lock().unwrap_or_else(PoisonError::into_inner))?);
    Ok(())
}

/// An honest client that edits its own chunk.
struct Editor {
    number: usize,
    client: Client,
    measured: Arc<Mutex<Measured>>,
    told: Arc<Mutex<Vec<Told>>>,
    /// Since when the edits of editors wait, and the newcomer.
    waiting: Arc<Mutex<BTreeMap<usize, Instant>>>,
    next: u32,
}

impl Editor {
    async fn run(mut self, ended: watch::Receiver<bool>) -> Result<()> {
        let mut events = self.client.events();
        let tracked = self.client.track(&chunk(&home(self.number)));
        while events.try_recv().is_ok() {}
        while !*ended.borrow() {
            let (number, begun) = (self.next, Instant::now());
            self.next += 1;
            self.waiting.lock().unwrap_or_else(PoisonError::into_inner).insert(self.number, begun);
            let outcome = tokio::time::timeout(EDIT_WITHIN, tracked.submit(edit(number))?).await;
            let is_committed = match outcome {
                Ok(Outcome::Committed { .. }) => true,
                Ok(Outcome::Unknown { .. }) => false,
                Ok(other) => bail!("an honest edit ended as {other:?}"),
                Err(_) => bail!("an honest edit has no outcome within {EDIT_WITHIN:?}"),
            };
            let told = Told { editor: self.number, edit: number, is_committed };
            self.told.lock().unwrap_or_else(PoisonError::into_inner).push(told);
            self.note(begun.elapsed(), &mut events);
            tokio::time::sleep(EDIT_PAUSE).await;
        }
        self.client.close();
        Ok(())
    }

    fn note(&self, took: Duration, events: &mut broadcast::Receiver<Event>) {
        let mut measured = self.measured.lock().unwrap_or_else(PoisonError::into_inner);
        measured.edits.push(took);
        measured.editors.insert(self.number);
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.number);
        while let Ok(event) = events.try_recv() {
            measured.lost += usize::from(matches!(event, Event::Welcomed { .. }));
        }
    }
}

/// Clients that come one after the other. Each connects, and loads a chunk without any command.
async fn newcomers(
    settings: Settings,
    measured: Arc<Mutex<Measured>>,
    waiting: Arc<Mutex<BTreeMap<usize, Instant>>>,
    ended: watch::Receiver<bool>,
) -> Result<()> {
    let mut number = 0_u32;
    while !*ended.borrow() {
        number += 1;
        let begun = Instant::now();
        waiting.lock().unwrap_or_else(PoisonError::into_inner).insert(NEWCOMER, begun);
        let arrives = async {
            let client = Client::connect(settings.clone()).await?;
            let id = chunk(&format!("things/{}/{}", number / 1000, number % 1000));
            let tracked = client.track(&id);
            tracked.ready().await?;
            client.close();
            Ok::<_, anyhow::Error>(())
        };
        let arrived = tokio::time::timeout(EDIT_WITHIN, arrives).await;
        let note = |measured: &mut Measured| match arrived {
            Ok(Ok(())) => measured.newcomers.push(begun.elapsed()),
            Ok(Err(_)) | Err(_) => measured.lost += 1,
        };
        note(&mut measured.lock().unwrap_or_else(PoisonError::into_inner));
        waiting.lock().unwrap_or_else(PoisonError::into_inner).remove(&NEWCOMER);
        tokio::time::sleep(NEWCOMER_PAUSE).await;
    }
    Ok(())
}
