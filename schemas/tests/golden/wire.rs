//! `wire.proto`: every request and event, in its frame, and the numbers of every code.

use crate::{Golden, golden, hash, writer};
use bytes::Bytes;
use driftless_schemas::format;
use driftless_schemas::proto::{
    Beacon, Beacons, Chunk, ClientFrame, DiscardReason, Discarded, DriftReport, Event, Family, Have, Hello, Lagging,
    Limits, ModelRevision, OutOfOrder, Outcome, Outcomes, Ping, Pong, Receipt, Refresh, RefusalCode, Refused,
    RejectCode, Rejected, Renew, Renewed, Request, Resolved, ResolvedExpired, Retry, ServerFrame, SessionExpired,
    Settle, Submit, Track, TrackRejectCode, TrackRejected, Tracked, Untrack, Welcome, event, outcome, request, submit,
    tracked,
};
use prost::Message;

const CHUNK: &str = "canvas/0/-1";

pub fn goldens() -> Vec<Golden> {
    let mut all: Vec<Golden> = Vec::new();
    for body in requests() {
        let frame = ClientFrame { requests: vec![Request { body: Some(body.clone()) }] };
        assert_eq!(format::request(body.clone()), frame.encode_to_vec());
        all.push(golden(format!("client_frame.{}", request_name(&body)), frame));
    }
    for body in events() {
        let frame = ServerFrame { events: vec![Event { body: Some(body.clone()) }] };
        assert_eq!(format::event(body.clone()), frame.encode_to_vec());
        all.push(golden(format!("server_frame.{}", event_name(&body)), frame));
    }
    for (name, body) in requests_of_format_2() {
        let frame = ClientFrame { requests: vec![Request { body: Some(body) }] };
        all.push(golden(format!("client_frame.{name}"), frame));
    }
    for (name, body) in events_of_format_2() {
        let frame = ServerFrame { events: vec![Event { body: Some(body) }] };
        all.push(golden(format!("server_frame.{name}"), frame));
    }
    let batch = requests().into_iter().map(|body| Request { body: Some(body) }).collect();
    all.push(golden("client_frame", ClientFrame { requests: batch }));
    let batch = events().into_iter().map(|body| Event { body: Some(body) }).collect();
    all.push(golden("server_frame", ServerFrame { events: batch }));
    all
}

fn request_name(body: &request::Body) -> &'static str {
    match body {
        request::Body::Hello(_) => "hello",
        request::Body::Renew(_) => "renew",
        request::Body::Ping(_) => "ping",
        request::Body::Pong(_) => "pong",
        request::Body::Submit(Submit { body: Some(submit::Body::Command(_)), .. }) => "submit",
        request::Body::Submit(Submit { body: Some(submit::Body::Settle(_)), .. }) => "submit_settle",
        request::Body::Submit(Submit { body: None, .. }) => unreachable!("no golden without a body"),
        request::Body::Track(Track { have: Some(_), .. }) => "track",
        request::Body::Track(Track { have: None, .. }) => "track_anew",
        request::Body::Untrack(_) => "untrack",
        request::Body::Refresh(_) => "refresh",
        request::Body::DriftReport(_) => "drift_report",
    }
}

fn event_name(body: &event::Body) -> &'static str {
    match body {
        event::Body::Welcome(_) => "welcome",
        event::Body::Pong(_) => "pong",
        event::Body::Ping(_) => "ping",
        event::Body::Refused(_) => "refused",
        event::Body::Renewed(_) => "renewed",
        event::Body::Receipt(_) => "receipt",
        event::Body::Rejected(_) => "rejected",
        event::Body::Tracked(Tracked { resolved: Some(tracked::Resolved::Ledger(_)), .. }) => "tracked",
        event::Body::Tracked(Tracked { resolved: Some(tracked::Resolved::Expired(_)), .. }) => "tracked_expired",
        event::Body::Tracked(Tracked { resolved: None, .. }) => unreachable!("no golden without it"),
        event::Body::TrackRejected(_) => "track_rejected",
        event::Body::Chunk(_) => "chunk",
        event::Body::Updates(_) => "updates",
        event::Body::Outcomes(_) => "outcomes",
        event::Body::Beacons(_) => "beacons",
        event::Body::Lagging(_) => "lagging",
    }
}

fn requests() -> Vec<request::Body> {
    let chunk_id = || CHUNK.to_owned();
    let submit = |body| request::Body::Submit(Submit { chunk_id: chunk_id(), seq: 130, after: 128, body: Some(body) });
    vec![
        request::Body::Hello(Hello {
            token: "a.b.c".into(),
            session: writer(),
            models: vec![
                ModelRevision { id: "grid".into(), revision: 1 },
                ModelRevision { id: "map".into(), revision: 1 },
            ],
            session_after_ms: 1_763_900_000_000,
            ..Hello::default()
        }),
        request::Body::Renew(Renew { token: "d.e.f".into() }),
        request::Body::Ping(Ping { nonce: 42 }),
        request::Body::Pong(Pong { nonce: 43 }),
        submit(submit::Body::Command(Bytes::from_static(&[1, 2, 255]))),
        submit(submit::Body::Settle(Settle {})),
        request::Body::Track(Track { chunk_id: chunk_id(), have: Some(have()) }),
        request::Body::Track(Track { chunk_id: chunk_id(), have: None }),
        request::Body::Untrack(Untrack { chunk_id: chunk_id() }),
        request::Body::Refresh(Refresh { chunk_id: chunk_id(), version: 299 }),
        request::Body::DriftReport(DriftReport {
            chunk_id: chunk_id(),
            version: 300,
            expected_hash: hash(0),
            found_hash: hash(1),
        }),
    ]
}

fn have() -> Have {
    Have { version: 300, hash: hash(0), ..Have::default() }
}

/// Requests of a client that knows histories.
fn requests_of_format_2() -> Vec<(&'static str, request::Body)> {
    let have = Have { history: crate::history(), ..have() };
    let hello = Hello { token: "a.b.c".into(), features: 1, ..Hello::default() };
    vec![
        ("hello.features", request::Body::Hello(hello)),
        ("track.history", request::Body::Track(Track { chunk_id: CHUNK.into(), have: Some(have) })),
    ]
}

/// Events in a world with an id, and of a chunk whose history has changed.
fn events_of_format_2() -> Vec<(&'static str, event::Body)> {
    let resolved = Some(tracked::Resolved::Ledger(Resolved { seq: 130, committed_bits: 5 }));
    let history = crate::history();
    let tracked = Tracked { chunk_id: CHUNK.into(), version: 300, hash: hash(0), resolved, history };
    vec![
        ("welcome.world", event::Body::Welcome(Welcome { world_id: crate::world_id(), ..welcome() })),
        ("tracked.history", event::Body::Tracked(tracked)),
    ]
}

fn events() -> Vec<event::Body> {
    let chunk_id = || CHUNK.to_owned();
    let tracked = |resolved| {
        let resolved = Some(resolved);
        event::Body::Tracked(Tracked {
            chunk_id: chunk_id(),
            version: 300,
            hash: hash(0),
            resolved,
            ..Tracked::default()
        })
    };
    vec![
        event::Body::Welcome(welcome()),
        event::Body::Pong(Pong { nonce: 42 }),
        event::Body::Ping(Ping { nonce: 43 }),
        event::Body::Renewed(Renewed { token_expires_at: 1_800_000_000 }),
        event::Body::Refused(Refused { code: RefusalCode::HelloExpected.into(), message: "say Hello first".into() }),
        event::Body::Receipt(Receipt { chunk_id: chunk_id(), seq: 130 }),
        event::Body::Rejected(Rejected {
            chunk_id: chunk_id(),
            seq: 130,
            code: RejectCode::RateLimited.into(),
            retry: Retry::After.into(),
            retry_after_ms: 250,
            message: "2000 commands a second".into(),
        }),
        tracked(tracked::Resolved::Ledger(Resolved { seq: 130, committed_bits: 0x8000_0000_0000_0005 })),
        tracked(tracked::Resolved::Expired(ResolvedExpired {})),
        event::Body::TrackRejected(TrackRejected {
            chunk_id: chunk_id(),
            code: TrackRejectCode::NoReadAccess.into(),
            message: "your token reads things/".into(),
        }),
        event::Body::Chunk(Chunk {
            chunk_id: chunk_id(),
            version: 300,
            hash: hash(0),
            model: "grid".into(),
            revision: 1,
            data: Bytes::from_static(&[0x28, 0xb5, 0x2f, 0xfd]),
        }),
        event::Body::Updates(crate::log::updates().encode_to_vec().into()),
        event::Body::Outcomes(outcomes()),
        event::Body::Beacons(Beacons {
            beacons: vec![
                Beacon { chunk_id: chunk_id(), version: 300, hash: hash(0) },
                Beacon { chunk_id: "things/3/4".into(), version: 0, hash: hash(9) },
            ],
        }),
        event::Body::Lagging(Lagging { chunk_id: chunk_id() }),
    ]
}

fn welcome() -> Welcome {
    Welcome {
        session: writer(),
        writer: hash(0).slice(..16),
        limits: Some(Limits {
            frame_bytes_max: 262_144,
            command_bytes_max: 16_384,
            commands_per_second: 2_000,
            tracked_chunks_max: 4_096,
            ping_interval_ms: 10_000,
            dead_after_ms: 25_000,
            ..Limits::default()
        }),
        families: vec![Family {
            name: "canvas".into(),
            model: "grid".into(),
            model_revision: 1,
            parameters: r#"{"palette":256,"size":[128,128,1]}"#.into(),
            coordinates: 2,
            coordinate_min: -1024,
            coordinate_max: 1024,
            region: 2,
        }],
        token_expires_at: 1_763_903_600,
        world: "dev".into(),
        generation: 1,
        server_time_ms: 1_763_900_000_123,
        ..Welcome::default()
    }
}

fn outcomes() -> Outcomes {
    let all = [
        outcome::Outcome::Discarded(Discarded { reason: DiscardReason::Full.into(), detail: "4096 of 4096".into() }),
        outcome::Outcome::OutOfOrder(OutOfOrder {}),
        outcome::Outcome::SessionExpired(SessionExpired { floor_ms: 1_763_900_000_000 }),
    ];
    let outcomes = (130..).zip(all).map(|(seq, outcome)| Outcome { seq, outcome: Some(outcome) }).collect();
    Outcomes { chunk_id: CHUNK.into(), outcomes }
}

#[test]
fn codes_keep_their_numbers() {
    fn numbered<T: TryFrom<i32>>(name: impl Fn(&T) -> &'static str) -> Vec<&'static str> {
        (0..).map_while(|number| T::try_from(number).ok()).map(|code| name(&code)).collect()
    }
    assert_eq!(
        numbered(RejectCode::as_str_name),
        [
            "REJECT_CODE_UNSPECIFIED",
            "REJECT_CODE_COMMAND_TOO_LARGE",
            "REJECT_CODE_BAD_CHUNK_ID",
            "REJECT_CODE_UNKNOWN_FAMILY",
            "REJECT_CODE_OUT_OF_BOUNDS",
            "REJECT_CODE_NO_WRITE_ACCESS",
            "REJECT_CODE_BAD_COMMAND",
            "REJECT_CODE_BAD_SEQ",
            "REJECT_CODE_SEQ_REUSED",
            "REJECT_CODE_RATE_LIMITED",
            "REJECT_CODE_UNAVAILABLE",
            "REJECT_CODE_TOKEN_EXPIRED",
        ]
    );
    assert_eq!(
        numbered(TrackRejectCode::as_str_name),
        [
            "TRACK_REJECT_CODE_UNSPECIFIED",
            "TRACK_REJECT_CODE_BAD_CHUNK_ID",
            "TRACK_REJECT_CODE_UNKNOWN_FAMILY",
            "TRACK_REJECT_CODE_OUT_OF_BOUNDS",
            "TRACK_REJECT_CODE_NO_READ_ACCESS",
            "TRACK_REJECT_CODE_TOO_MANY",
            "TRACK_REJECT_CODE_MODEL",
            "TRACK_REJECT_CODE_UNAVAILABLE",
        ]
    );
    assert_eq!(
        numbered(RefusalCode::as_str_name),
        [
            "REFUSAL_CODE_UNSPECIFIED",
            "REFUSAL_CODE_UNDECODABLE",
            "REFUSAL_CODE_HELLO_EXPECTED",
            "REFUSAL_CODE_HELLO_REPEATED",
            "REFUSAL_CODE_WRONG_SERVICE",
            "REFUSAL_CODE_TOKEN",
            "REFUSAL_CODE_NOT_TRACKED",
            "REFUSAL_CODE_LIMIT",
        ]
    );
    assert_eq!(
        numbered(Retry::as_str_name),
        ["RETRY_UNSPECIFIED", "RETRY_FINAL", "RETRY_AFTER", "RETRY_REAUTHENTICATE"]
    );
}
