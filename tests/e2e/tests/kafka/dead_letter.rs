//! R9: an unreadable record is put aside with its reason, and the chunk's later commands are
//! decided.

use bytes::Bytes;
use driftless_client::Outcome;
use driftless_e2e_tests::edits::{chunk, set};
use driftless_e2e_tests::history::read_all;
use driftless_e2e_tests::process::{arguments, run};
use driftless_e2e_tests::stack::{Apart, Stack};
use driftless_e2e_tests::wait::{eventually, soon};
use driftless_log::{Append, Delivery, Log as _};
use driftless_schemas::Partition;
use std::sync::Arc;
use std::time::Duration;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r9_a_record_that_cannot_be_decoded_goes_to_dead_letter_and_the_chunk_lives_on() {
    if super::is_left_out() {
        return;
    }
    let mut stack = Apart::start().await;
    let (log, world) = (stack.log(), Arc::clone(&stack.entrance().world));
    let id = chunk("canvas/0/0");
    let partition = world.place(&id).unwrap().partition;
    let (_ann, replica) = stack.entrance().follower("ann", &id).await;
    let edit = async |value| {
        let outcome = soon("a commit", replica.submit(set(0, value)).unwrap()).await;
        assert!(matches!(outcome, Outcome::Committed { .. }), "{outcome:?}");
    };
    edit(1).await;

    let (acknowledged, mut acks) = tokio::sync::mpsc::unbounded_channel();
    let sink = Arc::new(move |batch: Vec<driftless_log::Ack>| {
        for ack in batch {
            let _ = acknowledged.send(ack.result.unwrap().unwrap());
        }
    });
    let producer = log.producer(Delivery::Bounded(Duration::from_secs(60)), sink).unwrap();
    let garbage = Bytes::from_static(b"\xff\xff\xffgarbage that nobody can read");
    let append = Append {
        topic: Arc::clone(&world.topics().commands),
        partition,
        key: Bytes::from_static(b"canvas/0/0"),
        value: garbage.clone(),
        headers: Vec::new(),
        token: 0,
    };
    assert!(producer.append(vec![append]).is_empty());
    let offset = soon("an acknowledgement", acks.recv()).await.unwrap();

    edit(2).await;
    edit(3).await;
    let letter = eventually("a dead letter", || async {
        let letters = read_all(&log, &world.topics().dead_letter, Partition(0)).await;
        letters.into_iter().next().ok_or("none")
    })
    .await;
    assert_eq!(letter.value, garbage, "byte for byte");
    let header = |name: &str| {
        let found = letter.headers.iter().find(|(header, _)| header == name);
        String::from_utf8(found.unwrap_or_else(|| panic!("no header {name}")).1.to_vec()).unwrap()
    };
    assert!(!header("reason").is_empty());
    let origin = (header("topic"), header("partition"), header("offset"));
    assert_eq!(origin, (world.topics().commands.to_string(), partition.to_string(), offset.to_string()));

    // An operator finds the record in `dead-letter`, and learns that it cannot be replayed.
    let (flags, env) = (stack.deployment().flags(), stack.deployment().env.clone());
    let tool = async |first: &[&str]| run(&[arguments(first), flags.clone()].concat(), &env).await;
    let at = letter.offset.to_string();
    let listed = tool(&["dead-letter", "list"]).await;
    let line = format!("{}[{partition}] at {offset}", world.topics().commands);
    assert!(listed.status.success() && listed.output.contains(&line), "nothing of {line} in {listed:?}");
    let shown = tool(&["dead-letter", "show", &at]).await;
    assert!(shown.output.contains("ffffff67617262616765") && shown.output.contains("refused"), "{shown:?}");
    let replayed = tool(&["dead-letter", "replay", &at]).await;
    assert!(!replayed.status.success() && replayed.output.contains("refused"), "{replayed:?}");
    let all = tool(&["dead-letter", "replay", "--all"]).await;
    assert!(all.status.success() && all.error.contains("0 replayed"), "{all:?}");

    // The same must hold after a restart. The replayer then reads the unreadable record again, or
    // knows that it lies behind.
    stack.kill("replayer");
    stack.restart("replayer").await;
    edit(4).await;
    let end = stack.entrance().converge(4, &[&replica]).await;
    let history = stack.history().await;
    assert_eq!((history.end(&id), history.of(&id, "ann").len()), (Some(end), 4));
}
