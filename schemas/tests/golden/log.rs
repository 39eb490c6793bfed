//! `log.proto`: the values of `commands` and `updates`.

use crate::{Golden, golden, hash, writer};
use bytes::Bytes;
use driftless_schemas::proto::{
    Audit, Command, CommandRecord, Committed, Decisions, DiscardReason, Discarded, Entry, Fence, Mark, OutOfOrder,
    SessionExpired, Settle, SnapshotStored, Updates, UpdatesRecord, command, command_record, mark, updates_record,
};
use prost::Message;

pub fn goldens() -> Vec<Golden> {
    let commands = [
        command_record::Body::Command(self::command(command::Body::Command(Bytes::from_static(&[1, 2, 255])))),
        command_record::Body::Command(self::command(command::Body::Settle(Settle {}))),
        command_record::Body::Audit(Audit { version: 300, hash: hash(3), reporter: "gateway-1".into() }),
    ]
    .map(|body| golden(command_name(&body), CommandRecord { chunk_id: "canvas/0/-1".into(), body: Some(body) }));
    let records = [
        (0, updates_record::Body::Fence(fence())),
        (1, updates_record::Body::Decisions(decisions())),
        (2, updates_record::Body::SnapshotStored(snapshot_stored())),
    ]
    .map(|(n, body)| golden(updates_name(&body), UpdatesRecord { epoch: 7, n, body: Some(body) }));
    let mut all: Vec<Golden> = commands.into_iter().chain(records).collect();
    for (reason, name) in reasons() {
        let discarded = Discarded { reason: reason.into(), detail: format!("because of {name}") };
        all.push(golden(format!("discarded.{name}"), discarded));
    }
    all.extend(marks().into_iter().map(|mark| golden(mark_name(mark.outcome.as_ref().unwrap()), mark)));
    for (name, history) in [("world", Bytes::new()), ("history", crate::history())] {
        let fence = Fence { world_id: crate::world_id(), history, ..fence() };
        let record = UpdatesRecord { epoch: 7, n: 0, body: Some(updates_record::Body::Fence(fence)) };
        all.push(golden(format!("updates_record.fence.{name}"), record));
    }
    all.push(golden("updates", updates()));
    all.push(golden("updates_record.decisions_without_commits", discards_only()));
    all
}

fn fence() -> Fence {
    Fence { owner: "replayer-2".into(), ..Fence::default() }
}

fn command_name(body: &command_record::Body) -> &'static str {
    match body {
        command_record::Body::Command(Command { body: Some(command::Body::Command(_)), .. }) => {
            "command_record.command"
        }
        command_record::Body::Command(Command { body: Some(command::Body::Settle(_)), .. }) => "command_record.settle",
        command_record::Body::Command(Command { body: None, .. }) => unreachable!("no golden without a body"),
        command_record::Body::Audit(_) => "command_record.audit",
    }
}

fn updates_name(body: &updates_record::Body) -> &'static str {
    match body {
        updates_record::Body::Fence(_) => "updates_record.fence",
        updates_record::Body::Decisions(_) => "updates_record.decisions",
        updates_record::Body::SnapshotStored(_) => "updates_record.snapshot_stored",
    }
}

fn mark_name(outcome: &mark::Outcome) -> &'static str {
    match outcome {
        mark::Outcome::Committed(_) => "mark.committed",
        mark::Outcome::Discarded(_) => "mark.discarded",
        mark::Outcome::OutOfOrder(_) => "mark.out_of_order",
        mark::Outcome::SessionExpired(_) => "mark.session_expired",
    }
}

fn reasons() -> Vec<(DiscardReason, &'static str)> {
    (1..=6)
        .map(|number| {
            let reason = DiscardReason::try_from(number).unwrap();
            let name = match reason {
                DiscardReason::Unspecified => unreachable!("0 is never written"),
                DiscardReason::Conflict => "conflict",
                DiscardReason::Full => "full",
                DiscardReason::Invalid => "invalid",
                DiscardReason::Undecodable => "undecodable",
                DiscardReason::ModelFault => "model_fault",
                DiscardReason::Settled => "settled",
            };
            (reason, name)
        })
        .collect()
}

fn command(body: command::Body) -> Command {
    Command {
        writer: writer(),
        author: "ann".into(),
        seq: 130,
        after: 128,
        received_at_ms: 1_763_900_000_123,
        body: Some(body),
        roles: vec!["mason".into(), "guest".into()],
    }
}

pub fn marks() -> Vec<Mark> {
    let outcomes = [
        mark::Outcome::Committed(Committed {}),
        mark::Outcome::Discarded(Discarded { reason: DiscardReason::Conflict.into(), detail: "cell 5 holds 3".into() }),
        mark::Outcome::OutOfOrder(OutOfOrder {}),
        mark::Outcome::SessionExpired(SessionExpired { floor_ms: 1_763_900_000_000 }),
    ];
    (1000..)
        .zip(outcomes)
        .map(|(source_offset, outcome)| Mark {
            source_offset,
            author: "ann".into(),
            received_at_ms: 1_763_900_000_123,
            writer: writer(),
            seq: 130,
            outcome: Some(outcome),
        })
        .collect()
}

pub fn updates() -> Updates {
    let entry = Entry { writer: writer(), seq: 130, effect: Bytes::from_static(&[1, 2, 255]) };
    Updates { chunk_id: "canvas/0/-1".into(), first_version: 300, entries: vec![entry], state_hash: hash(0) }
}

fn decisions() -> Decisions {
    let updates = updates().encode_to_vec().into();
    Decisions { chunk_id: "canvas/0/-1".into(), updates, marks: marks() }
}

fn discards_only() -> UpdatesRecord {
    let decisions = Decisions { updates: Bytes::new(), marks: marks()[1..].to_vec(), ..decisions() };
    UpdatesRecord { epoch: 7, n: 3, body: Some(updates_record::Body::Decisions(decisions)) }
}

fn snapshot_stored() -> SnapshotStored {
    SnapshotStored { chunk_id: "canvas/0/-1".into(), r#ref: Some(crate::store::in_an_object()) }
}
