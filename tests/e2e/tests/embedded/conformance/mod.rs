//! Runs the scenarios that every client must pass (`tests/conformance`) with the Rust SDK.

mod step;
mod verbs;
mod wire;

use bytes::Bytes;
use driftless_client::{Chunk, Client, CommandId, Event, Outcome};
use driftless_e2e_tests::edits;
use driftless_e2e_tests::stack::{Dev, Stack};
use driftless_e2e_tests::wait::soon;
use driftless_schemas::format::plain_name;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use step::Step;
use tokio::sync::broadcast;
use wire::Wire;

/// The state of a scenario that is being run.
struct Story {
    /// The chunk that a step means if it names none.
    chunk: String,
    clients: BTreeMap<String, Member>,
    edits: BTreeMap<String, Vec<Edit>>,
}

/// A client of the scenario.
struct Member {
    client: Client,
    wire: Wire,
    chunks: BTreeMap<String, Chunk>,
    events: broadcast::Receiver<Event>,
    /// The outcomes that the client has reported, in order.
    told: Vec<String>,
    /// The number of drifts that the client has reported since the last `corrupt` step.
    drifts: usize,
    /// The number of times that the client has reported another history.
    histories: u64,
}

/// A command that a step submitted.
struct Edit {
    by: String,
    chunk: Chunk,
    id: CommandId,
    /// The outcome of the command; `None` until a step has asked for it.
    outcome: Option<Outcome>,
    pending: Option<driftless_client::Pending>,
}

impl Member {
    /// Records the outcomes, drifts and changes of history that the client has reported since the
    /// last call.
    fn listen(&mut self) {
        loop {
            match self.events.try_recv() {
                Ok(Event::Outcome { outcome, .. }) => {
                    self.told.push(members(&outcome)["outcome"].as_str().expect("a text").to_owned())
                }
                Ok(Event::Drift { .. }) => self.drifts += 1,
                Ok(Event::HistoryChanged { .. }) => self.histories += 1,
                Ok(_) => {}
                Err(broadcast::error::TryRecvError::Lagged(n)) => panic!("{n} events were missed"),
                Err(_) => return,
            }
        }
    }
}

impl Story {
    fn member(&mut self, name: &str) -> &mut Member {
        self.clients.get_mut(name).unwrap_or_else(|| panic!("there is no client {name}"))
    }

    /// The chunk that a step means.
    fn chunk_of(&self, step: &Step) -> String {
        step.get("chunk").map_or(self.chunk.clone(), |chunk| chunk.as_str().expect("a chunk's id").to_owned())
    }

    /// The replica that a client has of the step's chunk.
    fn of(&mut self, name: &str, step: &Step) -> Chunk {
        let id = self.chunk_of(step);
        self.member(name).chunks.get(&id).unwrap_or_else(|| panic!("{name} does not track {id}")).clone()
    }

    fn submit(&mut self, name: &str, step: &Step, commands: Vec<Bytes>) {
        let chunk = self.of(name, step);
        self.member(name).wire.forget("receipt");
        let pendings = commands.into_iter().map(|command| chunk.submit(command).expect("it is taken")).collect();
        self.label(step, name, &chunk, pendings);
    }

    fn label(&mut self, step: &Step, by: &str, chunk: &Chunk, pendings: Vec<driftless_client::Pending>) {
        let edit = |pending: driftless_client::Pending| Edit {
            by: by.to_owned(),
            chunk: chunk.clone(),
            id: pending.id(),
            outcome: None,
            pending: Some(pending),
        };
        let edits = pendings.into_iter().map(edit).collect();
        let label = step.text("as");
        assert!(self.edits.insert(label.to_owned(), edits).is_none(), "two edits are called {label}");
    }

    fn edits(&mut self, label: &str) -> &mut Vec<Edit> {
        self.edits.get_mut(label).unwrap_or_else(|| panic!("there is no edit {label}"))
    }
}

/// The JSON members by which scenarios describe an outcome.
fn members(outcome: &Outcome) -> Value {
    match outcome {
        Outcome::Committed { version } => json!({ "outcome": "committed", "version": version.map(|v| v.0) }),
        Outcome::Discarded { reason, .. } => {
            json!({ "outcome": "discarded", "reason": plain_name(reason.as_str_name(), "DISCARD_REASON_") })
        }
        Outcome::Rejected { code, .. } => {
            json!({ "outcome": "rejected", "code": plain_name(code.as_str_name(), "REJECT_CODE_") })
        }
        Outcome::Withdrawn => json!({ "outcome": "withdrawn" }),
        Outcome::Unknown { .. } => json!({ "outcome": "unknown" }),
    }
}

/// Reads the list of scenarios.
fn scenarios() -> Vec<Value> {
    let file = driftless_e2e_tests::python::folder().join("../conformance/scenarios.json");
    let text = std::fs::read_to_string(&file).unwrap_or_else(|e| panic!("{}: {e}", file.display()));
    let list: Value = serde_json::from_str(&text).expect("JSON");
    assert_eq!(list["format"], 1, "this driver knows another format");
    list["scenarios"].as_array().expect("a list").clone()
}

#[test]
fn the_list_names_only_steps_that_this_driver_knows() {
    let all = scenarios();
    assert!(all.len() >= 14, "{} scenarios", all.len());
    let mut names = BTreeSet::new();
    for scenario in &all {
        assert!(names.insert(scenario["name"].as_str().unwrap().to_owned()), "{} is there twice", scenario["name"]);
        scenario["steps"].as_array().unwrap().iter().for_each(|step| drop(Step::new(step)));
    }
    assert!(std::panic::catch_unwind(|| drop(Step::new(&json!({ "fly": "ann" })))).is_err());
    assert!(std::panic::catch_unwind(|| drop(Step::new(&json!({ "cancel": "one", "at": 3 })))).is_err());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_rust_client_passes_every_scenario() {
    let mut dev = Dev::embedded().await;
    for scenario in scenarios() {
        let chunk = scenario["chunk"].as_str().expect("a chunk").to_owned();
        // Rust's test harness shows this line only if the scenario fails.
        println!("{}", scenario["name"]);
        let mut story = Story { chunk, clients: BTreeMap::new(), edits: BTreeMap::new() };
        for step in scenario["steps"].as_array().expect("a list") {
            println!("  {step}");
            soon(&step.to_string(), verbs::run(&mut story, &mut dev, &Step::new(step))).await;
        }
        story.clients.values().for_each(|member| member.client.close());
    }
    dev.entrance().pass_all();
}

/// Connects a client through a wire of its own, which can break its connections.
async fn join(dev: &Dev, name: &str, read: &[&str], write: &[&str]) -> Member {
    let entrance = dev.entrance();
    let wire = Wire::to(entrance).await;
    let mut settings = entrance.settings(name);
    settings.token = entrance.tokens.issue(name, read, write).into();
    settings.author = name.to_owned();
    (settings.ingest_urls, settings.gateway_urls) = wire.urls();
    let client = Client::start(settings);
    let events = client.events();
    client.connected().await.expect("it may connect");
    Member { client, wire, chunks: BTreeMap::new(), events, told: Vec::new(), drifts: 0, histories: 0 }
}

/// Encodes a step's command, which is the JSON form of a model's command.
fn encoded(chunk: &Chunk, command: &Value) -> Bytes {
    let encoded = chunk.with_view(|view| view.model.command_from_json(command)).expect("there is a view");
    encoded.unwrap_or_else(|e| panic!("{command}: {e}")).into()
}

/// Sets one cell on the condition that its value is `now`.
fn guarded([x, y]: [u32; 2], value: u32, now: u32) -> Bytes {
    edits::set_if(y * 128 + x, value, now).into()
}
