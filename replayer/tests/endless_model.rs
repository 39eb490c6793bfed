//! Tests with a model that never returns from a crafted command. The process ends, and the next
//! process discards that command and no other.

mod scene;

use driftless_chunk::model::{Context, Decision, Fault, Model, Models, Refusal};
use driftless_replayer::{Settings, WhenStuck};
use driftless_schemas::proto::{DiscardReason, Mark, mark::Outcome};
use driftless_schemas::storage::Unanswered;
use driftless_schemas::{ChunkId, Offset};
use scene::{PATIENCE, Process, Scene, settings};
use serde_json::{Value, json};
use std::borrow::Cow;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

const NEVER_DECIDED: &[u8] = b"endless in decide";
const NEVER_ENCODED: &[u8] = b"endless in encode";

/// A model whose content is the newest command.
struct Last;

fn endless() -> ! {
    loop {
        std::thread::sleep(Duration::from_millis(1));
    }
}

impl Model for Last {
    type State = Vec<u8>;

    fn initial(&self, _chunk: &ChunkId) -> Vec<u8> {
        Vec::new()
    }

    fn check(&self, _command: &[u8]) -> Result<(), Refusal> {
        Ok(())
    }

    fn decide<'c>(&self, _content: &Vec<u8>, _context: &Context<'_>, command: &'c [u8]) -> Decision<'c> {
        if command == NEVER_DECIDED {
            endless();
        }
        Decision::Committed(Cow::Borrowed(command))
    }

    fn fold(&self, content: &mut Vec<u8>, effect: &[u8]) -> Result<(), Fault> {
        effect.clone_into(content);
        Ok(())
    }

    fn fold_is_atomic(&self) -> bool {
        true
    }

    fn encode<'s>(&self, content: &'s Vec<u8>) -> Cow<'s, [u8]> {
        if content == NEVER_ENCODED {
            endless();
        }
        Cow::Borrowed(content)
    }

    fn decode(&self, bytes: &[u8]) -> Result<Vec<u8>, Fault> {
        Ok(bytes.to_vec())
    }

    fn command_from_json(&self, _json: &Value) -> Result<Vec<u8>, Refusal> {
        Err(Refusal("it has no JSON".into()))
    }

    fn command_to_json(&self, _command: &[u8]) -> Result<Value, Refusal> {
        Err(Refusal("it has no JSON".into()))
    }

    fn content_to_json(&self, content: &Vec<u8>) -> Value {
        json!(content)
    }
}

async fn scene() -> Scene {
    let mut models = Models::builtin();
    models.register("last", 1, |_| Ok(Last));
    Scene::with(&models, "last").await
}

/// Starts a process, always under the same name. The receiver gets a message at the moment when a
/// real process would be aborted.
async fn start(scene: &Scene) -> (Process, Receiver<()>) {
    let (tell, told) = channel();
    let when_stuck = WhenStuck::Call(Arc::new(move |_| {
        let _ = tell.send(());
    }));
    let settings = Settings { model_call_ms_max: 300, when_stuck, ..settings("a") };
    (scene.start_with(settings).await, told)
}

/// Waits until the process would be aborted, kills it, and returns the model calls that it has
/// noted in the store.
async fn ends_with(scene: &Scene, process: Process, told: Receiver<()>) -> Vec<Unanswered> {
    let told = tokio::task::spawn_blocking(move || told.recv_timeout(PATIENCE)).await.unwrap();
    told.expect("the process would be aborted");
    process.kill();
    let partition = scene.world.place(&scene.chunk(0)).unwrap().partition;
    scene.store.unanswered(1, partition).await.unwrap()
}

fn faults(marks: &[Mark]) -> Vec<u64> {
    let is_fault = |mark: &&Mark| matches!(&mark.outcome, Some(Outcome::Discarded(why)) if why.reason() == DiscardReason::ModelFault);
    marks.iter().filter(is_fault).map(|mark| mark.seq).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn r2_a_command_that_is_never_decided_is_discarded_by_the_next_owner() {
    let mut scene = scene().await;
    for command in [b"one", NEVER_DECIDED, b"three"] {
        scene.submit_command(0, command.to_vec());
    }
    let (first, told) = start(&scene).await;
    assert_eq!(ends_with(&scene, first, told).await, [Unanswered::Command(Offset(1))]);

    let (second, _told) = start(&scene).await;
    scene.all_decided().await;
    assert_eq!(faults(&scene.decided().await[&scene.chunk(0)]), [2]);
    assert_eq!(scene.records(&scene.world.topics().dead_letter, driftless_schemas::Partition(0)).await.len(), 1);
    second.end().await.unwrap();

    // The noted command is decided by now, so the next owner deletes its note.
    let (third, _told) = start(&scene).await;
    scene.submit_command(0, NEVER_DECIDED.to_vec());
    assert_eq!(ends_with(&scene, third, _told).await, [Unanswered::Command(Offset(3))]);
    let (fourth, _told) = start(&scene).await;
    scene.all_decided().await;
    assert_eq!(faults(&scene.decided().await[&scene.chunk(0)]), [2, 4]);
    fourth.end().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn r2_a_command_whose_content_is_never_encoded_is_found_among_others() {
    let mut scene = scene().await;
    let submit = |scene: &mut Scene| {
        for command in [b"one", b"two", NEVER_ENCODED] {
            scene.submit_command(0, command.to_vec());
        }
    };
    submit(&mut scene);
    let (first, told) = start(&scene).await;
    assert_eq!(ends_with(&scene, first, told).await, [Unanswered::Chunk(scene.chunk(0))]);
    // The second process is careful: it encodes the content after each command.
    let (second, told) = start(&scene).await;
    assert_eq!(ends_with(&scene, second, told).await, [Unanswered::Command(Offset(2))]);
    let (third, _told) = start(&scene).await;
    scene.all_decided().await;
    assert_eq!(faults(&scene.decided().await[&scene.chunk(0)]), [3]);
    third.end().await.unwrap();
}
