//! Tests in which retention has deleted records that recovery needs. Unless an operator accepts the
//! loss, the owner ends. If an operator accepts it, version numbers go on, the content falls back
//! to the stored state, and that content is announced to every gateway.

use bytes::Bytes;
use driftless_chunk::live::LiveChunk;
use driftless_replayer_core::{AcceptedLoss, End, Input, OutOfRange, Output, PartitionCore, Settings, Stored, Stream};
use driftless_scenes::replayer::{self as scene, PARTITION, Wish, chunk, command, outputs, world};
use driftless_schemas::proto::{
    Command, Committed, Decisions, Entry, Fence, Mark, Updates, UpdatesRecord, mark::Outcome, updates_record::Body,
};
use driftless_schemas::stored::{Checkpoint, IndexEntry, Location, StoredRef};
use driftless_schemas::time::MonotonicMs;
use driftless_schemas::{Epoch, Hash, HistoryId, Offset, Print, Version, WriterId};
use prost::Message;
use std::collections::BTreeSet;

/// A record `n` that commits one command of the chunk as version `first`. The command has the
/// offset `offset` in `commands`.
fn committed(n: u64, first: u64, offset: i64, command: &Command) -> Bytes {
    record_of(n, decisions(first, offset, command, Hash([7; 32])))
}

/// Like [`committed`], for the first command of the chunk, with the right hash.
fn first_committed(command: &Command) -> Bytes {
    let unhashed = decisions(1, 8, command, Hash([7; 32]));
    let updates = Updates::decode(unhashed.updates.clone()).unwrap();
    let mut live = LiveChunk::initial(world().place(&chunk()).unwrap().family.model.clone(), &chunk());
    live.fold_effects(&unhashed, Some(&updates)).unwrap();
    record_of(1, decisions(1, 8, command, live.replica.hash()))
}

fn record_of(n: u64, decisions: Decisions) -> Bytes {
    UpdatesRecord { epoch: 1, n, body: Some(Body::Decisions(decisions)) }.encode_to_vec().into()
}

fn decisions(first: u64, offset: i64, command: &Command, hash: Hash) -> Decisions {
    let Some(driftless_schemas::proto::command::Body::Command(effect)) = &command.body else { panic!() };
    let entry = Entry { writer: command.writer.clone(), seq: command.seq, effect: effect.clone() };
    let updates = Updates {
        chunk_id: chunk().to_string(),
        first_version: first,
        entries: vec![entry],
        state_hash: hash.to_bytes(),
    };
    let mark = Mark {
        source_offset: offset,
        writer: command.writer.clone(),
        seq: command.seq,
        outcome: Some(Outcome::Committed(Committed {})),
        ..Mark::default()
    };
    Decisions { chunk_id: chunk().to_string(), updates: updates.encode_to_vec().into(), marks: vec![mark] }
}

/// The shell's report that retention has deleted the records from offset `wanted` to before `low`.
fn cut(stream: Stream, wanted: i64, low: i64) -> Input {
    Input::OutOfRange(OutOfRange { stream, wanted: Offset(wanted), low: Offset(low), high: Offset(90) })
}

#[test]
fn r3_accepted_loss_never_gives_a_version_twice() {
    let (world, chunk) = (world(), chunk());
    let model = world.place(&chunk).unwrap().family.model.clone();
    let mut live = LiveChunk::initial(model, &chunk);
    let encoding = Bytes::from(live.replica.encoding().into_owned());
    let newest = StoredRef {
        version: Version(0),
        hash: live.replica.hash(),
        location: Location::Object,
        through_offset: Offset(0),
        model_revision: 1,
        bytes: encoding.len() as u64,
        ledger: Some(live.ledger.to_stored()),
    };
    let stored = Stored { entry: IndexEntry { newest, older: vec![] }, encoding };
    let checkpoint = Checkpoint {
        epoch: Epoch(2),
        commands_next: Offset(9),
        updates_low: Offset(1),
        updates_low_epoch: Epoch(1),
        updates_low_n: 0,
        ..Checkpoint::default()
    };
    let settings = Settings { accept_loss: true, ..scene::settings() };
    // The records of versions 1 to 4 are lost, and the log still has the record of version 5.
    let history = HistoryId::new(7, [1; 10], HistoryId::FIRST);
    let loss = AcceptedLoss { history, updates_from: Some(Offset(5)), commands_from: None };
    let mut core = PartitionCore::with_loss(world, PARTITION, ("b", loss), checkpoint, settings, MonotonicMs(0));
    let told = outputs(&mut core);
    assert!(told.iter().any(|output| matches!(output, Output::ReadUpdates(Offset(5)))));
    let fence = told.into_iter().find_map(|output| match output {
        Output::Append { n: 0, value, .. } => Some(value),
        _ => None,
    });
    let fence = fence.expect("the fence is the first record");
    let last = command(WriterId([1; 16]), 5, 4, Wish::Put(1));
    core.handle(Input::Updates(vec![(Offset(5), committed(5, 5, 8, &last)), (Offset(6), fence)]), MonotonicMs(0));
    core.handle(Input::Loaded(chunk.clone(), Ok(Some(stored))), MonotonicMs(0));
    assert!(core.is_running());
    let told = outputs(&mut core);
    let lost = told.iter().find_map(|output| match output {
        Output::Lost(of, reason) if *of == chunk => Some(reason),
        _ => None,
    });
    assert!(lost.expect("the operator is told").contains("5 commits up to version 5"), "{told:?}");

    // The next commit is version 6, on the stored content. Commands whose decisions were lost are
    // not decided again.
    let record = |offset, command| (Offset(offset), scene::record(&chunk, command));
    let again = command(WriterId([1; 16]), 5, 4, Wish::Put(1));
    let next = command(WriterId([1; 16]), 6, 5, Wish::Put(2));
    core.handle(Input::Commands(vec![record(9, again), record(10, next)]), MonotonicMs(0));
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

    // The content that is left is stored at once.
    core.handle(Input::Acked(0, Some(Offset(6))), MonotonicMs(0));
    core.handle(Input::Tick, MonotonicMs(1));
    assert!(
        outputs(&mut core).iter().any(|output| matches!(output, Output::PutSnapshot { chunk: of, .. } if *of == chunk))
    );

    // Until that content is durable, the checkpoint's `updates_low` is a position whose epoch is
    // known, so that the next owner can judge the rest of the log (R4).
    core.handle(Input::Tick, MonotonicMs(100_000));
    let checkpoint = outputs(&mut core).into_iter().find_map(|output| match output {
        Output::WriteCheckpoint { checkpoint, .. } => Some(checkpoint),
        _ => None,
    });
    let checkpoint = checkpoint.expect("one is written");
    assert_eq!(
        (checkpoint.updates_low, checkpoint.updates_low_epoch, checkpoint.updates_low_n),
        (Offset(5), Epoch(1), 4)
    );
    assert_eq!(checkpoint.history, HistoryId::FIRST, "the new history begins with the fence, at offset 6");
}

/// A ref that is not stored yet keeps `updates_low` below the fence. So a chunk that recovery has
/// folded is stored at once, although it has lost nothing.
#[test]
fn after_an_accepted_loss_the_checkpoint_passes_the_fence_soon() {
    let (world, chunk) = (world(), chunk());
    let checkpoint = Checkpoint { epoch: Epoch(2), updates_low: Offset(200), ..Checkpoint::default() };
    let history = HistoryId::new(7, [1; 10], HistoryId::FIRST);
    let loss = AcceptedLoss { history, updates_from: Some(Offset(1)), commands_from: None };
    let settings = Settings { snapshot_max_age_ms: 1_000_000, ..scene::settings() };
    let mut core = PartitionCore::with_loss(world, PARTITION, ("b", loss), checkpoint, settings, MonotonicMs(0));
    let fence = outputs(&mut core).into_iter().find_map(|output| match output {
        Output::Append { value, .. } => Some(value),
        _ => None,
    });
    let first = first_committed(&command(WriterId([1; 16]), 1, 0, Wish::Put(1)));
    core.handle(Input::Updates(vec![(Offset(1), first), (Offset(2), fence.unwrap())]), MonotonicMs(0));
    core.handle(Input::Loaded(chunk.clone(), Ok(None)), MonotonicMs(0));
    core.handle(Input::Acked(0, Some(Offset(2))), MonotonicMs(0));
    core.handle(Input::CommandsEnd(Offset(9)), MonotonicMs(0));
    core.handle(Input::Tick, MonotonicMs(1));
    let put = outputs(&mut core).into_iter().find_map(|output| match output {
        Output::PutSnapshot { hash, .. } => Some(hash),
        _ => None,
    });
    core.handle(Input::SnapshotPut(chunk, put.expect("the chunk is stored at once"), Ok(())), MonotonicMs(2));
    core.handle(Input::Tick, MonotonicMs(3));
    let checkpoint = outputs(&mut core).into_iter().find_map(|output| match output {
        Output::WriteCheckpoint { checkpoint, entries } => Some((checkpoint, entries.len())),
        _ => None,
    });
    let (checkpoint, entries) = checkpoint.expect("the ref is written at once");
    assert_eq!((checkpoint.history, checkpoint.updates_low, entries), (history, Offset(3), 1));
}

#[test]
fn a_fence_that_begins_no_later_history_ends_the_ownership() {
    let later = HistoryId::new(9, [1; 10], HistoryId::FIRST);
    let checkpoint = Checkpoint { epoch: Epoch(2), updates_low: Offset(200), ..Checkpoint::default() };
    let loss = AcceptedLoss {
        history: HistoryId::new(7, [1; 10], HistoryId::FIRST),
        updates_from: Some(Offset(0)),
        commands_from: None,
    };
    let mut core =
        PartitionCore::with_loss(world(), PARTITION, ("b", loss), checkpoint, scene::settings(), MonotonicMs(0));
    let own = outputs(&mut core).into_iter().find_map(|output| match output {
        Output::Append { value, .. } => Some(value),
        _ => None,
    });
    let other = Fence { owner: "a".into(), history: later.to_field(), ..Fence::default() };
    let other = UpdatesRecord { epoch: 1, n: 0, body: Some(Body::Fence(other)) }.encode_to_vec().into();
    core.handle(Input::Updates(vec![(Offset(0), other), (Offset(1), own.unwrap())]), MonotonicMs(0));
    let ended = End::HistoryTooOld { epoch: Epoch(2), history: loss.history, current: later };
    assert!(matches!(&outputs(&mut core)[..], [Output::Ended(end)] if *end == ended));
}

#[test]
fn accepted_loss_of_commands_is_accepted_once() {
    let checkpoint = Checkpoint { epoch: Epoch(2), ..Checkpoint::default() };
    let settings = Settings { accept_loss: true, ..scene::settings() };
    let mut core = PartitionCore::new(world(), PARTITION, "b", checkpoint, settings, MonotonicMs(0));
    let fence =
        UpdatesRecord { epoch: 2, n: 0, body: Some(Body::Fence(Fence { owner: "b".into(), ..Fence::default() })) }
            .encode_to_vec()
            .into();
    core.handle(Input::Updates(vec![(Offset(0), fence)]), MonotonicMs(0));
    outputs(&mut core);
    core.handle(cut(Stream::Commands, 0, 70), MonotonicMs(0));
    assert_eq!(core.commands_next(), Offset(70));
    assert!(matches!(outputs(&mut core)[..], [Output::LossAccepted(_), Output::ReadCommands(Offset(70))]));
}

#[test]
fn without_an_operators_acceptance_an_owner_ends() {
    let checkpoint = Checkpoint { epoch: Epoch(2), updates_low: Offset(1), ..Checkpoint::default() };
    let mut core = PartitionCore::new(world(), PARTITION, "b", checkpoint, scene::settings(), MonotonicMs(0));
    outputs(&mut core);
    core.handle(cut(Stream::Updates, 1, 5), MonotonicMs(0));
    let told = outputs(&mut core);
    let Output::Ended(End::OutOfRange(range)) = &told[..][0] else { panic!("{told:?}") };
    assert_eq!(range.to_string(), "updates holds offsets 5..90, but 1 is wanted");
}

/// An index that is ahead of the log belongs to another log. An operator's acceptance must not make
/// the owner go on.
#[test]
fn an_operators_acceptance_does_not_help_if_the_log_is_another_one() {
    let checkpoint = Checkpoint { epoch: Epoch(2), updates_low: Offset(200), ..Checkpoint::default() };
    let settings = Settings { accept_loss: true, ..scene::settings() };
    let mut core = PartitionCore::new(world(), PARTITION, "b", checkpoint, settings, MonotonicMs(0));
    outputs(&mut core);
    core.handle(cut(Stream::Updates, 200, 0), MonotonicMs(0));
    assert!(matches!(outputs(&mut core)[..], [Output::Ended(End::OutOfRange(_))]));
}

/// The shell has read some commands before it learns that the commands behind them are lost. The
/// core must decide those commands first, and then the commands after the lost ones.
#[test]
fn r2_commands_before_a_cut_are_not_lost_with_it() {
    let chunk = chunk();
    let settings = Settings { accept_loss: true, ..scene::settings() };
    let checkpoint = Checkpoint { epoch: Epoch(2), ..Checkpoint::default() };
    let mut core = PartitionCore::new(world(), PARTITION, "b", checkpoint, settings, MonotonicMs(0));
    let fence =
        UpdatesRecord { epoch: 2, n: 0, body: Some(Body::Fence(Fence { owner: "b".into(), ..Fence::default() })) }
            .encode_to_vec()
            .into();
    core.handle(Input::Updates(vec![(Offset(0), fence)]), MonotonicMs(0));
    core.handle(Input::Acked(0, Some(Offset(0))), MonotonicMs(0));
    core.handle(cut(Stream::Commands, 1, 70), MonotonicMs(0));
    assert_eq!(core.commands_next(), Offset(0), "command 0 is not decided yet");
    let put = (Offset(0), scene::record(&chunk, command(WriterId([1; 16]), 1, 0, Wish::Put(1))));
    core.handle(Input::Commands(vec![put]), MonotonicMs(0));
    core.handle(Input::Loaded(chunk, Ok(None)), MonotonicMs(0));
    assert_eq!(core.commands_next(), Offset(0));
    core.handle(Input::Acked(1, Some(Offset(1))), MonotonicMs(0));
    assert_eq!(core.commands_next(), Offset(70));
}

/// The commands topic was made anew, so the marks of earlier decisions name offsets that it does
/// not have. An ownership that mends stores those decisions, and reads no commands.
#[test]
fn an_ownership_that_mends_stores_what_it_recovers_and_reads_no_commands() {
    let chunk = chunk();
    let checkpoint = Checkpoint { epoch: Epoch(2), commands_next: Offset(9), ..Checkpoint::default() };
    let settings = Settings { snapshot_max_age_ms: 0, snapshot_min_interval_ms: 0, ..scene::settings() };
    let mut core = PartitionCore::new(world(), PARTITION, "b", checkpoint, settings, MonotonicMs(0))
        .without_commands(BTreeSet::new());
    let fence = outputs(&mut core).into_iter().find_map(|output| match output {
        Output::Append { value, .. } => Some(value),
        _ => None,
    });
    let first = UpdatesRecord { epoch: 1, n: 0, body: Some(Body::Fence(Fence::default())) }.encode_to_vec().into();
    let decided = first_committed(&command(WriterId([1; 16]), 1, 0, Wish::Put(1)));
    let read = vec![(Offset(0), first), (Offset(1), decided), (Offset(2), fence.unwrap())];
    core.handle(Input::Updates(read), MonotonicMs(0));
    core.handle(Input::Acked(0, Some(Offset(2))), MonotonicMs(0));
    assert!(core.is_running() && !core.is_settled() && !core.wants_commands());
    core.handle(Input::Loaded(chunk.clone(), Ok(None)), MonotonicMs(0));
    core.handle(Input::Tick, MonotonicMs(1));
    let told = outputs(&mut core);
    assert!(!told.iter().any(|output| matches!(output, Output::ReadCommands(_) | Output::AskCommandsEnd)), "{told:?}");
    let put = told.into_iter().find_map(|output| match output {
        Output::PutSnapshot { hash, .. } => Some(hash),
        _ => None,
    });
    core.handle(Input::SnapshotPut(chunk, put.expect("the chunk is stored"), Ok(())), MonotonicMs(2));
    core.handle(Input::Tick, MonotonicMs(100_000));
    assert!(outputs(&mut core).iter().any(|output| matches!(output, Output::WriteCheckpoint { .. })));
    assert!(!core.is_settled());
    core.handle(Input::CheckpointWritten(Ok(())), MonotonicMs(4));
    assert!(core.is_settled());
}

#[test]
fn an_index_from_before_another_commands_topic_is_refused_and_one_that_forgot_the_old_is_not() {
    let history = HistoryId::new(7, [1; 10], HistoryId::FIRST);
    let other = Fence { owner: "a".into(), history: history.to_field(), commands_anew: true, ..Fence::default() };
    let other: Bytes = UpdatesRecord { epoch: 1, n: 0, body: Some(Body::Fence(other)) }.encode_to_vec().into();
    for (known, is_refused) in [(HistoryId::FIRST, true), (history, false)] {
        let checkpoint = Checkpoint { epoch: Epoch(2), history: known, ..Checkpoint::default() };
        let mut core = PartitionCore::new(world(), PARTITION, "b", checkpoint, scene::settings(), MonotonicMs(0));
        let own = outputs(&mut core).into_iter().find_map(|output| match output {
            Output::Append { value, .. } => Some(value),
            _ => None,
        });
        let read = vec![(Offset(0), other.clone()), (Offset(1), own.unwrap())];
        core.handle(Input::Updates(read), MonotonicMs(0));
        let told = outputs(&mut core);
        let was_refused = matches!(&told[..], [Output::Ended(End::IndexTooOld { offset: Offset(0) })]);
        assert_eq!((was_refused, core.is_running()), (is_refused, !is_refused), "{told:?}");
    }
}

/// The log ends at offset 10, and recovery begins at 11. The fence stands at 10, so the reader
/// finds nothing wrong with offset 11, and waits for a record there.
#[test]
fn a_fence_below_the_offset_at_which_recovery_begins_ends_the_ownership() {
    for (at, is_missed) in [(9, true), (10, true), (11, false), (12, false)] {
        let checkpoint = Checkpoint { epoch: Epoch(2), updates_low: Offset(11), ..Checkpoint::default() };
        let mut core = PartitionCore::new(world(), PARTITION, "b", checkpoint, scene::settings(), MonotonicMs(0));
        outputs(&mut core);
        core.handle(Input::Acked(0, Some(Offset(at))), MonotonicMs(1));
        let told = outputs(&mut core);
        let is_ended = told.iter().any(|output| matches!(output, Output::Ended(End::OutOfRange(_))));
        assert_eq!(is_ended, is_missed, "offset {at}: {told:?}");
    }
}

/// The record of the fence that the core has appended.
fn own_fence(core: &mut PartitionCore) -> Bytes {
    let fence = outputs(core).into_iter().find_map(|output| match output {
        Output::Append { n: 0, value, .. } => Some(value),
        _ => None,
    });
    fence.expect("the fence is the first record")
}

fn fence_of(epoch: u64, owner: &str) -> Bytes {
    let fence = Fence { owner: owner.into(), ..Fence::default() };
    UpdatesRecord { epoch, n: 0, body: Some(Body::Fence(fence)) }.encode_to_vec().into()
}

/// The index knows the log up to offset 2, above `updates_low`. An owner that went on with a
/// shorter log, or with other records there, would decide on contents that the log does not lead
/// to.
#[test]
fn r4_a_log_that_has_lost_its_end_is_refused_unless_an_operator_accepts_it() {
    let [first, second, third] = [fence_of(1, "a"), fence_of(2, "b"), fence_of(3, "c")];
    let checkpoint = Checkpoint {
        epoch: Epoch(4),
        updates_end: Offset(3),
        updates_print: Some(Print::of(&third)),
        ..Checkpoint::default()
    };
    let history = HistoryId::new(7, [1; 10], HistoryId::FIRST);
    let loss = AcceptedLoss { history, updates_from: None, commands_from: Some(Offset(0)) };
    let recovered = |loss: Option<AcceptedLoss>, records: &[&Bytes]| {
        let (settings, now) = (scene::settings(), MonotonicMs(0));
        let mut core = match loss {
            None => PartitionCore::new(world(), PARTITION, "d", checkpoint, settings, now),
            Some(loss) => PartitionCore::with_loss(world(), PARTITION, ("d", loss), checkpoint, settings, now),
        };
        let own = own_fence(&mut core);
        let records = records.iter().copied().chain([&own]).cloned().zip(0..);
        core.handle(Input::Updates(records.map(|(value, offset)| (Offset(offset), value)).collect()), now);
        let ended = outputs(&mut core).into_iter().find_map(|output| match output {
            Output::Ended(end) => Some(end),
            _ => None,
        });
        (core.is_running(), ended)
    };
    assert_eq!(recovered(None, &[&first, &second, &third]), (true, None));
    let shorter = OutOfRange { stream: Stream::Updates, wanted: Offset(3), low: Offset(0), high: Offset(2) };
    assert_eq!(recovered(None, &[&first]), (false, Some(End::OutOfRange(shorter))));
    // The own fence stands in the place of the third record; then another record does.
    for records in [&[&first, &second][..], &[&first, &second, &first]] {
        let (is_running, ended) = recovered(None, records);
        let is_refused =
            matches!(ended, Some(End::AnotherLog { offset: Offset(2), known, .. }) if known == Print::of(&third));
        assert!(is_refused && !is_running, "{ended:?}");
    }
    for records in [&[&first][..], &[&first, &second, &first]] {
        assert_eq!(recovered(Some(loss), records), (true, None));
    }
}

/// `updates` was made anew, and a record of an old owner is its first one. No fence stands before
/// it, so no reader counts it.
#[test]
fn r4_the_first_record_of_a_topic_that_was_made_anew_is_not_taken_on_trust() {
    let first = first_committed(&command(WriterId([1; 16]), 1, 0, Wish::Put(1)));
    let history = HistoryId::new(7, [1; 10], HistoryId::FIRST);
    for (from, is_taken) in [(0, false), (5, true)] {
        let checkpoint = Checkpoint { epoch: Epoch(2), updates_low: Offset(200), ..Checkpoint::default() };
        let loss = AcceptedLoss { history, updates_from: Some(Offset(from)), commands_from: None };
        let (settings, now) = (scene::settings(), MonotonicMs(0));
        let mut core = PartitionCore::with_loss(world(), PARTITION, ("b", loss), checkpoint, settings, now);
        let own = own_fence(&mut core);
        core.handle(Input::Updates(vec![(Offset(from), first.clone()), (Offset(from + 1), own)]), now);
        assert_eq!(core.stats().chunks > 0, is_taken, "offset {from}");
    }
}

/// An operator's order was carried out up to the index: it has forgotten the offsets of an old
/// topic of `commands`. The next owner tells every reader, also if it is not the operator's
/// process.
#[test]
fn the_next_fence_takes_up_another_commands_topic_that_the_index_names() {
    let history = HistoryId::new(7, [1; 10], HistoryId::FIRST);
    let checkpoint = Checkpoint { epoch: Epoch(2), history, commands_anew: true, ..Checkpoint::default() };
    let mut core = PartitionCore::new(world(), PARTITION, "b", checkpoint, scene::settings(), MonotonicMs(0));
    let own = own_fence(&mut core);
    let Some(Body::Fence(fence)) = UpdatesRecord::decode(own.clone()).unwrap().body else { panic!() };
    assert_eq!((fence.history, fence.commands_anew), (history.to_field(), true));
    core.handle(Input::Updates(vec![(Offset(0), own)]), MonotonicMs(0));
    core.handle(Input::Acked(0, Some(Offset(0))), MonotonicMs(0));
    core.handle(Input::Tick, MonotonicMs(100_000));
    let written = outputs(&mut core).into_iter().find_map(|output| match output {
        Output::WriteCheckpoint { checkpoint, .. } => Some(checkpoint),
        _ => None,
    });
    let written = written.expect("a checkpoint is written");
    assert_eq!((written.history, written.commands_anew, written.updates_end), (history, false, Offset(1)));
}
