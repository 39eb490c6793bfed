use super::Input;
use crate::policy::Policy;
use crate::scene::*;
use driftless_schemas::proto::{self, RefusalCode, RejectCode, Retry, event, request};
use driftless_schemas::{SessionId, close, limits};
use prost::Message as _;

fn receipt(chunk: &str, seq: u64) -> event::Body {
    event::Body::Receipt(proto::Receipt { chunk_id: chunk.into(), seq })
}

fn refusals(events: &[event::Body]) -> Vec<RefusalCode> {
    let code = |e: &event::Body| match e {
        event::Body::Refused(refused) => refused.code(),
        other => panic!("{other:?}"),
    };
    events.iter().map(code).collect()
}

/// The record for the log has the numbers and the body of the request. The receipt follows the
/// log's acknowledgement, and a second acknowledgement has no effect.
#[test]
fn a_command_is_produced_as_it_came_and_receipted_when_the_log_has_it() {
    let mut scene = Scene::greeted(Policy::default());
    scene.send([submit("canvas/0/1", 3, 1, cell(5, 7))]);
    assert!(scene.events().is_empty(), "no receipt before the log has the record");
    let produce = scene.out.produce[0].clone();
    let place = admission(Policy::default()).world().place(&"canvas/0/1".parse().unwrap()).unwrap();
    assert_eq!((produce.partition, &produce.key[..]), (place.partition, &b"canvas/0/1"[..]));
    let (token, record) = scene.produced().remove(0);
    let Some(proto::command_record::Body::Command(command)) = record.body else { panic!("no command") };
    let Some(proto::submit::Body::Command(body)) = cell(5, 7) else { unreachable!() };
    let expected = proto::Command {
        writer: writer().to_bytes(),
        author: "ann".into(),
        seq: 3,
        after: 1,
        received_at_ms: NOW,
        body: Some(proto::command::Body::Command(body)),
        roles: vec!["r".into()],
    };
    assert_eq!(command, expected);
    scene.input(Input::Acknowledged(token));
    assert_eq!(scene.events(), [receipt("canvas/0/1", 3)]);
    scene.input(Input::Acknowledged(token));
    assert!(scene.events().is_empty(), "one receipt for each transmission");
}

#[test]
fn each_bad_command_has_its_own_rejection_and_its_neighbours_are_accepted() {
    let outside_palette = cell(5, 256);
    let outside_grid = cell(128 * 128, 1);
    for (bad, code, hint) in [
        (submit("canvas/01/1", 1, 0, cell(5, 7)), RejectCode::BadChunkId, "leading zero"),
        (submit("", 1, 0, cell(5, 7)), RejectCode::BadChunkId, "looks like canvas/0/-1"),
        (submit("town/0/1", 1, 0, cell(5, 7)), RejectCode::UnknownFamily, "canvas, things"),
        (submit("canvas/0/1025", 1, 0, cell(5, 7)), RejectCode::OutOfBounds, "-1024..=1024"),
        (submit("canvas/0", 1, 0, cell(5, 7)), RejectCode::OutOfBounds, "2 coordinates"),
        (submit("canvas/1/0", 1, 0, cell(5, 7)), RejectCode::NoWriteAccess, "canvas/0/, things/"),
        (submit("canvas/0/1", 0, 0, cell(5, 7)), RejectCode::BadSeq, "begin with 1"),
        (submit("canvas/0/1", 2, 2, cell(5, 7)), RejectCode::BadSeq, "below seq 2"),
        (submit("canvas/0/1", 1, 0, None), RejectCode::BadCommand, "neither"),
        (submit("canvas/0/1", 1, 0, bytes("garbage")), RejectCode::BadCommand, ""),
        (submit("canvas/0/1", 1, 0, outside_palette), RejectCode::BadCommand, "256"),
        (submit("canvas/0/1", 1, 0, outside_grid), RejectCode::BadCommand, "16384"),
        (
            submit("canvas/0/1", 1, 0, bytes(vec![0; limits::COMMAND_BYTES_MAX + 1])),
            RejectCode::CommandTooLarge,
            "the limit is 16384",
        ),
    ] {
        let mut scene = Scene::greeted(Policy::default());
        scene.send([bad.clone(), submit("canvas/0/2", 1, 0, cell(1, 1)), submit("canvas/0/1", 9, 0, settle())]);
        let rejected = scene.rejection();
        assert_eq!(rejected.code(), code, "{bad:?}");
        assert_eq!((rejected.retry(), rejected.retry_after_ms), (Retry::Final, 0), "{bad:?}");
        assert!(rejected.message.contains(hint), "{bad:?}: {}", rejected.message);
        assert_eq!(scene.produced().len(), 2, "{bad:?}");
        assert!(scene.out.session.close.is_none());
    }
}

#[test]
fn the_checks_run_in_the_order_that_the_design_names() {
    // Each request fails the check for the code in its row, and all later checks. Rights come
    // before the rate, and the rate before the work on the command, unless it has enough commands
    // left.
    for (left, request, code) in [
        (0, submit("Canvas", 0, 0, bytes("x")), RejectCode::BadChunkId),
        (0, submit("town/0/0", 0, 0, bytes("x")), RejectCode::UnknownFamily),
        (0, submit("canvas/5/0", 0, 0, bytes("x")), RejectCode::NoWriteAccess),
        (0, submit("canvas/0/1", 0, 0, bytes("x")), RejectCode::BadSeq),
        (0, submit("canvas/0/1", 1, 0, bytes("x")), RejectCode::RateLimited),
        (1, submit("canvas/0/1", 1, 0, bytes("x")), RejectCode::BadCommand),
        (1, submit("canvas/0/1", 1, 0, cell(2, 2)), RejectCode::SeqReused),
    ] {
        let policy = Policy { commands_burst: 1 + left, commands_per_second: 1, ..Policy::default() };
        let mut scene = Scene::greeted(policy);
        scene.send([submit("canvas/0/1", 1, 0, cell(1, 1))]);
        scene.produced();
        scene.send([request]);
        assert_eq!(scene.rejection().code(), code);
    }
}

/// Work on commands that are rejected is work, too.
#[test]
fn rejected_commands_count_for_the_rate() {
    let mut scene = Scene::greeted(Policy { commands_per_second: 10, commands_burst: 5, ..Policy::default() });
    scene.send((1..=7).map(|seq| submit("canvas/0/1", seq, seq - 1, bytes("garbage"))));
    let codes: Vec<RejectCode> = scene
        .events()
        .into_iter()
        .map(|event| match event {
            event::Body::Rejected(rejected) => rejected.code(),
            other => panic!("{other:?}"),
        })
        .collect();
    let (bad, limited) = (RejectCode::BadCommand, RejectCode::RateLimited);
    assert_eq!(codes, [bad, bad, bad, bad, bad, limited, limited]);
}

/// A resend (the same number and body) is accepted. The same number with another body is rejected.
#[test]
fn a_number_is_not_used_twice_but_may_be_sent_twice() {
    let mut scene = Scene::greeted(Policy::default());
    scene.send([submit("canvas/0/1", 5, 2, cell(1, 1))]);
    scene.send([submit("canvas/0/1", 5, 4, cell(1, 1)), submit("canvas/0/2", 5, 0, cell(2, 2))]);
    assert_eq!(scene.produced().len(), 3, "a resend with another `after`, and the same number for another chunk");
    scene.send([submit("canvas/0/1", 5, 2, cell(1, 2))]);
    assert_eq!(scene.rejection().code(), RejectCode::SeqReused);
    scene.send([submit("canvas/0/1", 5, 2, settle())]);
    assert_eq!(scene.rejection().code(), RejectCode::SeqReused);
}

#[test]
fn a_user_above_its_rate_is_told_how_long_to_wait() {
    let mut scene = Scene::greeted(Policy { commands_per_second: 10, commands_burst: 2, ..Policy::default() });
    let many: Vec<_> = (1..=4).map(|seq| submit("canvas/0/1", seq, seq - 1, settle())).collect();
    scene.send(many);
    assert_eq!(scene.produced().len(), 2);
    let events = scene.events();
    assert_eq!(events.len(), 2);
    for event in events {
        let event::Body::Rejected(rejected) = event else { panic!("{event:?}") };
        assert_eq!(
            (rejected.code(), rejected.retry(), rejected.retry_after_ms),
            (RejectCode::RateLimited, Retry::After, 100)
        );
    }
    scene.pass(100);
    scene.send([submit("canvas/0/1", 3, 2, settle())]);
    assert_eq!(scene.produced().len(), 1);
}

/// A wall clock jumps when an administrator corrects it. Rates use the monotonic clock, so that a
/// jump neither refuses an active user nor forgives a user above its rate.
#[test]
fn a_step_of_the_wall_clock_refuses_no_user_and_forgives_none() {
    for step_ms in [-3_600_000, 3_600_000 / 2] {
        let mut scene = Scene::greeted(Policy { commands_per_second: 10, commands_burst: 2, ..Policy::default() });
        scene.send((1..=2).map(|seq| submit("canvas/0/1", seq, seq - 1, settle())));
        assert_eq!(scene.produced().len(), 2);
        scene.now.unix = scene.now.unix.plus_ms(step_ms);
        scene.send([submit("canvas/0/1", 3, 2, settle())]);
        assert_eq!(scene.rejection().retry_after_ms, 100, "{step_ms}");
        scene.pass(100);
        scene.send([submit("canvas/0/1", 3, 2, settle())]);
        assert_eq!(scene.produced().len(), 1, "{step_ms}");
    }
}

/// A fill is one command of a few bytes that writes thousands of cells, so limits on commands and
/// bytes alone would not limit its work.
#[test]
fn one_fill_costs_as_much_as_the_cells_that_it_writes() {
    let policy = || Policy { cost_per_second: 1_000, cost_burst: 4_096, ..Policy::default() };
    let fill = |seq: u64| {
        let fill = proto::FillBox { width: 64, height: 64, value: 1, ..Default::default() };
        let command = proto::GridCommand { body: Some(proto::grid_command::Body::Fill(fill)) };
        submit("canvas/0/1", seq, seq - 1, bytes(command.encode_to_vec()))
    };
    let mut cells = Scene::greeted(policy());
    cells.send((1..=4_096).map(|seq| submit("canvas/0/1", seq, seq - 1, cell(1, 1))).take(4_000));
    cells.send((4_001..=4_096).map(|seq| submit("canvas/0/1", seq, seq - 1, cell(1, 1))));
    assert_eq!(cells.produced().len(), 4_096);
    cells.send([submit("canvas/0/1", 4_097, 4_096, cell(1, 1))]);
    assert_eq!(cells.rejection().code(), RejectCode::RateLimited);

    let mut fills = Scene::greeted(policy());
    fills.send([fill(1), fill(2)]);
    assert_eq!(fills.produced().len(), 1);
    let rejected = fills.rejection();
    assert_eq!((rejected.code(), rejected.retry()), (RejectCode::RateLimited, Retry::After));
    assert_eq!(rejected.retry_after_ms, 4_096);
    assert!(rejected.message.contains("costs 4096"), "{}", rejected.message);
    fills.pass(4_096);
    fills.send([fill(2)]);
    assert_eq!(fills.produced().len(), 1);
}

/// A command of a few bytes makes the owner load and store a whole content, unless the chunk is in
/// use.
#[test]
fn a_command_costs_the_content_that_it_wakes() {
    const BURST: usize = 40_000;
    let policy = Policy { wake_bytes_per_second: 1, wake_bytes_burst: BURST as u32, ..Policy::default() };
    let mut scene = Scene::greeted(policy);
    let id = |i: usize| format!("canvas/0/{i}");
    let mut woken = 0;
    let rejected = loop {
        scene.send([submit(&id(woken), 1, 0, cell(1, 1))]);
        match scene.produced().len() {
            0 => break scene.rejection(),
            _ => woken += 1,
        }
        scene.events();
    };
    assert_eq!((rejected.code(), rejected.retry()), (RejectCode::RateLimited, Retry::After));
    let said = rejected.message.split("wakes ").nth(2).unwrap_or_default();
    let each: usize = said.split(' ').next().unwrap().parse().unwrap();
    assert!(each >= limits::WAKE_BYTES_MIN && woken == BURST / each, "{woken} of {each} bytes: {}", rejected.message);
    scene.send([submit(&id(0), 2, 1, cell(1, 2)), submit(&id(woken), 2, 1, cell(1, 2))]);
    assert_eq!(scene.produced().len(), 1, "only the chunk in use takes a command");
}

#[test]
fn a_refusal_by_the_log_is_final_a_time_out_gets_no_answer_and_a_full_log_is_retried() {
    let mut scene = Scene::greeted(Policy::default());
    scene.send((1..=3).map(|seq| submit("canvas/0/1", seq, seq - 1, settle())));
    let tokens: Vec<_> = scene.produced().into_iter().map(|(token, _)| token).collect();
    scene.input(Input::Refused(tokens[0], "too large"));
    let rejected = scene.rejection();
    assert_eq!((rejected.seq, rejected.code(), rejected.retry()), (1, RejectCode::Unavailable, Retry::Final));
    scene.input(Input::Unknown(tokens[1]));
    assert!(scene.events().is_empty());
    scene.input(Input::Unsent(tokens[2]));
    let rejected = scene.rejection();
    assert_eq!((rejected.seq, rejected.code(), rejected.retry()), (3, RejectCode::Unavailable, Retry::After));
    assert!(rejected.retry_after_ms > 0);
    assert_eq!(scene.connection.in_flight(), 0);
}

#[test]
fn a_socket_with_too_many_commands_in_flight_is_not_to_be_read() {
    let mut scene = Scene::greeted(Policy { in_flight_max: 2, ..Policy::default() });
    scene.send((1..=2).map(|seq| submit("canvas/0/1", seq, seq - 1, settle())));
    assert!(scene.connection.is_full());
    // A socket that is not read, because too many commands are in flight, is not closed as dead.
    scene.tick_at(NOW + 2 * limits::DEAD_AFTER_MS as i64);
    assert!(scene.out.session.close.is_none());
    let (token, _) = scene.produced().remove(0);
    scene.input(Input::Acknowledged(token));
    assert!(!scene.connection.is_full());
}

/// The longest answer to one message of a client fits into one message of the server.
#[test]
fn the_answer_to_a_frame_of_wrong_commands_fits_into_a_frame() {
    let worst_name = "\u{1}".repeat(limits::AUTHOR_BYTES_MAX);
    let mut scene = Scene::with(Policy::default());
    scene.send([hello(&worst_name)]);
    scene.events();
    let bytes_each = limits::CLIENT_FRAME_BYTES_MAX / limits::CLIENT_FRAME_REQUESTS_MAX - 8;
    let longest_id = format!("{:a<width$}/0/0", "a", width = bytes_each - 20);
    for chunk in ["canvas/7/7", "", longest_id.as_str()] {
        scene.send(vec![submit(chunk, 1, 0, None); limits::CLIENT_FRAME_REQUESTS_MAX]);
        assert!(
            scene.out.session.frame.len() < limits::SERVER_FRAME_BYTES_MAX / 2,
            "{}",
            scene.out.session.frame.len()
        );
        assert_eq!(scene.events().len(), limits::CLIENT_FRAME_REQUESTS_MAX);
    }
}

/// `driftless-runtime-core` tests the session itself; this test checks that ingest configures it.
#[test]
fn the_policy_sets_the_limits_of_a_session() {
    let policy =
        Policy { commands_per_second: 77, session_age_max_ms: 60_000, renewal_grace_ms: 3000, ..Policy::default() };
    let ends = NOW / 1000 + 10;
    let mut scene = Scene::with(policy.clone());
    scene.send([hello(&format!("ann@{ends}")), submit("canvas/0/1", 1, 0, settle())]);
    let event::Body::Welcome(welcome) = scene.events().remove(0) else { panic!("no welcome") };
    assert_eq!(welcome.limits.unwrap().commands_per_second, 77);
    assert_eq!(scene.produced().len(), 1, "the first commands may come with Hello");
    scene.tick_at(ends * 1000 + 2_999);
    assert!(scene.out.session.close.is_none());
    scene.tick_at(ends * 1000 + 3000);
    assert_eq!(scene.closed(), close::TOKEN);

    let old = SessionId::new(NOW as u64 - 60_001, [1; 10]).to_bytes();
    let mut scene = Scene::with(policy);
    let hello = proto::Hello { token: "ann".into(), session: old, ..Default::default() };
    scene.send([request::Body::Hello(hello), submit("canvas/0/1", 1, 0, settle())]);
    assert_eq!(scene.closed(), close::SESSION);
    assert!(scene.produced().is_empty() && scene.events().is_empty(), "no answer after the close");
}

#[test]
fn commands_before_hello_are_refused() {
    let mut scene = Scene::with(Policy::default());
    scene.send([submit("canvas/0/1", 1, 0, settle())]);
    assert_eq!(refusals(&scene.events()), [RefusalCode::HelloExpected]);
    assert!(scene.produced().is_empty());
}

/// A client that names its models in Hello may write only to the families of these models.
#[test]
fn a_family_that_was_not_offered_accepts_no_commands() {
    let mut scene = Scene::with(Policy::default());
    let grid = admission(Policy::default()).world().families()[0].revision;
    let models = vec![proto::ModelRevision { id: "grid".into(), revision: grid }];
    scene.send([request::Body::Hello(proto::Hello { token: "ann".into(), models, ..Default::default() })]);
    scene.events();
    scene.send([submit("things/0/0", 1, 0, settle())]);
    let rejected = scene.rejection();
    assert_eq!(rejected.code(), RejectCode::UnknownFamily);
    assert!(rejected.message.contains("upgrade the client"));
}

/// A command after the token's expiry is rejected. A renewal in the same frame applies to the
/// commands behind it.
#[test]
fn a_command_is_checked_against_the_token_of_its_moment() {
    let ends = NOW / 1000 + 10;
    let mut scene = Scene::with(Policy::default());
    scene.send([hello(&format!("ann@{ends}"))]);
    scene.events();
    scene.send([submit("canvas/0/1", 1, 0, settle())]);
    let (token, _) = scene.produced().remove(0);

    scene.pass(10_000);
    let renew = request::Body::Renew(proto::Renew { token: format!("ann@{}", ends + 60) });
    scene.send([submit("canvas/0/1", 2, 1, settle()), renew, submit("canvas/0/1", 3, 1, settle())]);
    let events = scene.events();
    let [event::Body::Rejected(rejected), event::Body::Renewed(renewed)] = &events[..] else { panic!("{events:?}") };
    assert_eq!((rejected.seq, rejected.code()), (2, RejectCode::TokenExpired));
    assert_eq!(rejected.retry(), Retry::Reauthenticate);
    assert_eq!(renewed.token_expires_at, ends + 60);
    assert_eq!(scene.produced().len(), 1);
    scene.input(Input::Acknowledged(token));
    assert_eq!(
        scene.events(),
        [receipt("canvas/0/1", 1)],
        "a produced command is receipted although the token expired"
    );
}

#[test]
fn answers_come_in_the_order_of_the_requests() {
    let mut scene = Scene::greeted(Policy::default());
    let ping = |nonce| request::Body::Ping(proto::Ping { nonce });
    scene.send([ping(1), submit("", 1, 0, None), request::Body::Track(proto::Track::default()), ping(2)]);
    let events = scene.events();
    assert!(
        matches!(
            &events[..],
            [event::Body::Pong(_), event::Body::Rejected(_), event::Body::Refused(r), event::Body::Pong(_)]
                if r.code() == RefusalCode::WrongService
        ),
        "{events:?}"
    );
}

#[test]
fn bytes_that_cannot_be_trusted_end_the_socket() {
    let mut scene = Scene::greeted(Policy::default());
    scene.input(Input::Untrusted("a text message"));
    assert_eq!(scene.closed(), close::FRAME_UNTRUSTED);
}
