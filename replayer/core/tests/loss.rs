//! Retention took what recovery needs: without an operator's word an owner does not go on; with it, versions go on, content
//! falls back to what is stored, and everybody is told.

use bytes::Bytes;
use driftless_chunk::live::LiveChunk;
use driftless_replayer_core::{Input, Output, PartitionCore, Settings, Stored};
use driftless_scenes::replayer::{self as scene, PARTITION, Wish, command, world};
use driftless_schemas::proto::{
    Checkpoint, Command, Committed, Decisions, Entry, Fence, IndexEntry, Mark, Ref, StoredObject, Updates,
    UpdatesRecord, mark::Outcome, r#ref, updates_record::Body,
};
use driftless_schemas::{ChunkId, Hash, Offset, WriterId};
use prost::Message;

fn chunk() -> ChunkId {
    let world = world();
    let ids = (0..100).map(|i| format!("things/{i}").parse::<ChunkId>().unwrap());
    ids.into_iter().find(|id| world.place(id).unwrap().partition == PARTITION).unwrap()
}

/// A record that commits version `first` of the chunk with the command of `seq`.
fn committed(n: u64, first: u64, offset: i64, command: &Command) -> Bytes {
    let Some(driftless_schemas::proto::command::Body::Command(effect)) = &command.body else { panic!() };
    let entry = Entry { writer: command.writer.clone(), seq: command.seq, effect: effect.clone() };
    let updates = Updates {
        chunk_id: chunk().to_string(),
        first_version: first,
        entries: vec![entry],
        state_hash: vec![7; 32].into(),
    };
    let mark = Mark {
        source_offset: offset,
        writer: command.writer.clone(),
        seq: command.seq,
        outcome: Some(Outcome::Committed(Committed {})),
        ..Mark::default()
    };
    let decisions =
        Decisions { chunk_id: chunk().to_string(), updates: updates.encode_to_vec().into(), marks: vec![mark] };
    UpdatesRecord { epoch: 1, n, body: Some(Body::Decisions(decisions)) }.encode_to_vec().into()
}

fn outputs(core: &mut PartitionCore) -> Vec<Output> {
    std::iter::from_fn(|| core.poll_output()).collect()
}

#[test]
fn r3_accepted_loss_never_gives_a_version_twice() {
    let (world, chunk) = (world(), chunk());
    let model = world.place(&chunk).unwrap().family.model.clone();
    let mut live = LiveChunk::initial(model, &chunk);
    let encoding = Bytes::from(live.replica.encoding().into_owned());
    let newest = Ref {
        version: 0,
        hash: live.replica.hash().to_bytes(),
        location: Some(r#ref::Location::Object(StoredObject {})),
        through_offset: 0,
        ledger: Some(live.ledger.to_proto()),
        ..Ref::default()
    };
    let stored = Stored { entry: IndexEntry { newest: Some(newest), older: vec![] }, encoding };
    let checkpoint = Checkpoint { epoch: 2, commands_next: 9, updates_low: 1, updates_low_epoch: 1, updates_low_n: 0 };
    let settings = Settings { accept_loss: true, ..scene::settings() };
    let mut core = PartitionCore::new(world, PARTITION, "b", checkpoint, settings, 0);
    assert!(outputs(&mut core).iter().any(|output| matches!(output, Output::ReadUpdates(Offset(1)))));

    // Versions 1 to 4 are gone; 5 is there.
    core.handle(Input::UpdatesCut(Offset(5)), 0);
    assert!(matches!(outputs(&mut core)[..], [Output::ReadUpdates(Offset(5))]));
    let last = command(WriterId([1; 16]), 5, 4, Wish::Put(1));
    let fence = UpdatesRecord { epoch: 2, n: 0, body: Some(Body::Fence(Fence::default())) }.encode_to_vec().into();
    core.handle(Input::Updates(vec![(Offset(5), committed(5, 5, 8, &last)), (Offset(6), fence)]), 0);
    core.handle(Input::Loaded(chunk.clone(), Ok(Some(stored))), 0);
    assert!(core.is_running());
    let told = outputs(&mut core);
    let lost = told.iter().find_map(|output| match output {
        Output::Lost(of, reason) if *of == chunk => Some(reason),
        _ => None,
    });
    assert!(lost.expect("it is told").contains("5 commits up to version 5"), "{told:?}");

    // The next commit is version 6, on the stored content; the lost numbers are not decided again.
    let record = |offset, command| (Offset(offset), scene::record(&chunk, command));
    let again = command(WriterId([1; 16]), 5, 4, Wish::Put(1));
    let next = command(WriterId([1; 16]), 6, 5, Wish::Put(2));
    core.handle(Input::Commands(vec![record(9, again), record(10, next)]), 0);
    let decisions = outputs(&mut core).into_iter().find_map(|output| match output {
        Output::Append { value, .. } => match UpdatesRecord::decode(value).unwrap().body {
            Some(Body::Decisions(decisions)) => Some(decisions),
            _ => None,
        },
        _ => None,
    });
    let decisions = decisions.expect("the next command is decided");
    assert_eq!(decisions.marks.len(), 1);
    let updates = Updates::decode(decisions.updates).unwrap();
    assert_eq!((updates.first_version, updates.entries.len()), (6, 1));
    assert!(Hash::from_slice(&updates.state_hash).is_some());

    // And the state that is left is stored at once.
    core.handle(Input::Acked(0, Some(Offset(6))), 0);
    core.handle(Input::Tick, 1);
    assert!(
        outputs(&mut core).iter().any(|output| matches!(output, Output::PutSnapshot { chunk: of, .. } if *of == chunk))
    );

    // Until it is, the next owner begins where the epoch is known: what is left of the log goes on to count (R4).
    core.handle(Input::Tick, 100_000);
    let checkpoint = outputs(&mut core).into_iter().find_map(|output| match output {
        Output::WriteCheckpoint { checkpoint, .. } => Some(checkpoint),
        _ => None,
    });
    let checkpoint = checkpoint.expect("one is written");
    assert_eq!((checkpoint.updates_low, checkpoint.updates_low_epoch, checkpoint.updates_low_n), (5, 1, 4));
}

#[test]
fn accepted_loss_of_commands_is_accepted_once() {
    let checkpoint = Checkpoint { epoch: 2, ..Checkpoint::default() };
    let settings = Settings { accept_loss: true, ..scene::settings() };
    let mut core = PartitionCore::new(world(), PARTITION, "b", checkpoint, settings, 0);
    let fence = UpdatesRecord { epoch: 2, n: 0, body: Some(Body::Fence(Fence::default())) }.encode_to_vec().into();
    core.handle(Input::Updates(vec![(Offset(0), fence)]), 0);
    core.handle(Input::CommandsCut(Offset(70)), 0);
    assert_eq!(core.commands_next(), Offset(70));
}

#[test]
fn without_an_operators_word_nothing_is_accepted() {
    let checkpoint = Checkpoint { epoch: 2, updates_low: 1, ..Checkpoint::default() };
    let mut core = PartitionCore::new(world(), PARTITION, "b", checkpoint, scene::settings(), 0);
    outputs(&mut core);
    core.handle(Input::UpdatesCut(Offset(5)), 0);
    assert!(outputs(&mut core).is_empty());
}
