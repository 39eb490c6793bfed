//! The action of each verb, and the condition for which the verb waits.

use super::step::Step;
use super::wire::Kind;
use super::{Story, encoded, guarded, join, members};
use driftless_chunk::grid::Cells;
use driftless_chunk::map::Entries;
use driftless_client::{Chunk, ChunkStatus, Error};
use driftless_e2e_tests::edits;
use driftless_e2e_tests::stack::Dev;
use driftless_e2e_tests::wait::eventually;
use driftless_schemas::format::plain_name;
use serde_json::Value;

pub async fn run(story: &mut Story, dev: &mut Dev, step: &Step) {
    match step.verb {
        "client" => {
            let list = |member: &str| step.get(member).map(|_| step.texts(member));
            let write = list("write").unwrap_or_else(|| vec!["canvas/", "things/"]);
            let member = join(dev, step.name(), &list("read").unwrap_or_default(), &write).await;
            story.clients.insert(step.name().to_owned(), member);
        }
        "track" => track(story, step).await,
        "submit" => {
            let chunk = story.of(step.name(), step);
            let command = match step.get("command") {
                Some(command) => encoded(&chunk, command),
                None => hex(step.text("bytes")).into(),
            };
            story.submit(step.name(), step, vec![command]);
        }
        "fill" => {
            let value = u32::try_from(step.number("value")).expect("a value");
            story.submit(step.name(), step, vec![edits::fill([0, 0], [128, 128], value).into()]);
        }
        "burst" => {
            let (cell, count) = (step.place("cell"), u32::try_from(step.number("count")).expect("a count"));
            story.submit(step.name(), step, (1..=count).map(|i| guarded(cell, i, i - 1)).collect());
        }
        "cancel" => story.edits(step.name()).iter().for_each(|edit| {
            edit.pending.as_ref().expect("it has no outcome yet").cancel();
        }),
        "undo" => {
            let edits = story.edits(step.name());
            let (by, chunk) = (edits[0].by.clone(), edits[0].chunk.clone());
            let ids: Vec<_> = edits.iter().map(|edit| edit.id).collect();
            let back: Vec<_> = ids.into_iter().flat_map(|id| chunk.take_back(id).expect("it is taken")).collect();
            assert!(!back.is_empty(), "nothing is taken back");
            story.label(step, &by, &chunk, back);
        }
        "corrupt" => {
            let chunk = story.of(step.name(), step);
            let member = story.member(step.name());
            member.listen();
            member.drifts = 0;
            assert!(chunk.damage(), "there is nothing to damage");
        }
        "offline" => {
            let member = story.member(step.name());
            member.wire.go_offline();
            eventually("the client knows", || async {
                let status = member.client.status();
                if status.is_ingest_up || status.is_gateway_up { Err(status) } else { Ok(()) }
            })
            .await;
        }
        "online" | "admit" => story.member(step.name()).wire.admit(),
        "expect" => expect(story, step).await,
        "converge" => converge(story, step).await,
        "cell" => {
            let ([x, y], is) = (step.place("at"), step.number("is"));
            let chunk = story.of(step.name(), step);
            eventually(&format!("cell {x}, {y} to be {is}"), || async {
                let found = cell(&chunk, x, y);
                if found == Some(is) { Ok(()) } else { Err(found) }
            })
            .await;
        }
        "entry" => {
            let chunk = story.of(step.name(), step);
            eventually("an entry", || async {
                let found = chunk.with_view(|view| {
                    let entries = view.content.get::<Entries>().expect("a map");
                    entries.get(step.text("key")).map(|value| String::from_utf8_lossy(value).into_owned())
                });
                let found = found.map(Value::from);
                if found.as_ref() == step.get("is") { Ok(()) } else { Err(found) }
            })
            .await;
        }
        "told" => {
            let wanted: Vec<String> = step.texts("outcomes").into_iter().map(str::to_owned).collect();
            let histories = step.get("histories").map_or(0, |_| step.number("histories"));
            let member = story.member(step.name());
            member.listen();
            assert_eq!((&member.told, member.histories), (&wanted, histories));
        }
        "cut" => {
            let bars = step.get("until_admitted") == Some(&true.into());
            story.member(step.name()).wire.cut(step.text("server"), step.text("at"), bars);
        }
        "hold" => story.member(step.name()).wire.hold(Kind::named(step.text("event"))),
        "release" => story.member(step.name()).wire.release(),
        "double" => story.member(step.name()).wire.double(),
        "put_off" => {
            let after_ms = u32::try_from(step.number("after_ms")).expect("milliseconds");
            story.member(step.name()).wire.put_off(step.numbers("seqs"), after_ms);
        }
        "await" => happen(story, step).await,
        "kill" => dev.kill(),
        "start" => {
            if step.get("fresh") == Some(&true.into()) {
                dev.forget_world();
            }
            dev.start().await;
        }
        verb => unreachable!("{verb} is known, and nothing is done"),
    }
}

async fn track(story: &mut Story, step: &Step) {
    let id = story.chunk_of(step);
    let member = story.member(step.name());
    let chunk = member.client.track(&edits::chunk(&id));
    let ready = chunk.ready().await;
    match step.get("rejected") {
        None => ready.expect("it is served"),
        Some(code) => {
            let Err(Error::Chunk(ChunkStatus::Rejected { code: found, .. })) = &ready else {
                panic!("{id} is not rejected: {ready:?}");
            };
            assert_eq!(*code, plain_name(found.as_str_name(), "TRACK_REJECT_CODE_"));
        }
    }
    member.chunks.insert(id, chunk);
}

async fn expect(story: &mut Story, step: &Step) {
    for edit in story.edits(step.name()) {
        if let Some(pending) = edit.pending.take() {
            edit.outcome = Some(pending.await);
        }
        let found = members(edit.outcome.as_ref().expect("it was asked for"));
        for member in ["outcome", "version", "reason", "code"] {
            if let Some(wanted) = step.get(member) {
                assert_eq!(found[member], *wanted, "{member} of {found}");
            }
        }
    }
}

async fn converge(story: &mut Story, step: &Step) {
    let names = step.texts("converge");
    let chunks: Vec<Chunk> = names.iter().map(|name| story.of(name, step)).collect();
    let version = step.number("version");
    eventually(&format!("all of {names:?} at {version}"), || async {
        let seen: Vec<_> = chunks.iter().map(|chunk| (chunk.status(), chunk.confirmed())).collect();
        let is_there = |(status, confirmed): &(ChunkStatus, Option<_>)| {
            *status == ChunkStatus::Live && confirmed.is_some_and(|(at, _)| at == driftless_schemas::Version(version))
        };
        if seen.iter().all(is_there) && seen.windows(2).all(|two| two[0] == two[1]) { Ok(()) } else { Err(seen) }
    })
    .await;
}

/// Waits until an event has happened as many times as the step says.
async fn happen(story: &mut Story, step: &Step) {
    let (event, wanted) = (step.text("event"), step.get("count").map_or(1, |_| step.number("count")));
    assert!(["cut", "put_off", "drift", "receipt"].contains(&event), "{event} is nothing that can be waited for");
    let member = story.member(step.name());
    loop {
        member.listen();
        let count = if event == "drift" { member.drifts as u64 } else { member.wire.count(event) };
        if count >= wanted {
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
}

fn cell(chunk: &Chunk, x: u32, y: u32) -> Option<u64> {
    chunk.with_view(|view| {
        let cells = view.content.get::<Cells>().expect("a grid");
        let [width, height, _] = cells.size().map(u32::from);
        assert!(x < width && y < height, "{x}, {y} is outside of {width} × {height}");
        cells.values().nth((y * width + x) as usize).map(u64::from)
    })?
}

fn hex(text: &str) -> Vec<u8> {
    assert!(text.len().is_multiple_of(2) && text.is_ascii(), "{text} is no hex");
    let byte = |i: usize| u8::from_str_radix(&text[i..i + 2], 16).expect("hex");
    (0..text.len()).step_by(2).map(byte).collect()
}
