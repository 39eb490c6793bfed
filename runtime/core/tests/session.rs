//! Tests of a socket's session from Hello to its end. `Submit` is the example of a request that the
//! session passes on to the service.

use bytes::{Bytes, BytesMut};
use driftless_chunk::model::Models;
use driftless_chunk::world::World;
use driftless_runtime_core::admission::Admission;
use driftless_runtime_core::places::Users;
use driftless_runtime_core::rate::{Allowance, Rates};
use driftless_runtime_core::{Close, Environment, Greeter, Outputs, Session, TokenRefused, announced};
use driftless_schemas::access::{Access, Claims};
use driftless_schemas::proto::{self, RefusalCode, event, request};
use driftless_schemas::time::{MonotonicMs, Now, UnixMs};
use driftless_schemas::world::WorldSpec;
use driftless_schemas::{SessionId, close, format, limits};
use proptest::collection::vec;
use proptest::prelude::*;
use prost::Message as _;
use std::sync::Arc;

const NOW: i64 = 1_800_000_000_000;
const EXPIRES_S: i64 = NOW / 1000 + 3600;
/// Both clocks when a scene begins.
const START: Now = Now { unix: UnixMs(NOW), monotonic: MonotonicMs(5_000) };
const SESSION: SessionId = SessionId([1, 0xa3, 0x18, 0x5c, 0x50, 0, 0x70, 1, 0x80, 1, 1, 1, 1, 1, 1, 1]);

/// A fake verifier. A token is `<sub>` or `<sub>@<expires_at>`; `<sub>` may be `<sub>#<jti>`, which
/// gives the token an id. A token with a `!` is refused.
struct Verifier;

thread_local! {
    /// The `sub` or `jti` that the fake verifier denies.
    static DENIED: std::cell::RefCell<Option<String>> = const { std::cell::RefCell::new(None) };
}

fn deny(who: &str) {
    DENIED.set(Some(who.to_owned()));
}

impl Environment for Verifier {
    fn verify(&self, token: &str, _now: UnixMs) -> Result<Claims, TokenRefused> {
        if token.contains('!') || token.is_empty() {
            return Err(TokenRefused(format!("the token {token:?} is forged")));
        }
        let (sub, expires_at) = token.split_once('@').unwrap_or((token, ""));
        let expires_at = expires_at.parse().unwrap_or(EXPIRES_S);
        let (sub, jti) = sub.split_once('#').map_or((sub, None), |(sub, jti)| (sub, Some(jti.to_owned())));
        Ok(Claims { sub: sub.into(), jti, expires_at, access: Access::default(), key: Default::default() })
    }

    fn recheck(&self, claims: &Claims) -> Result<(), TokenRefused> {
        match DENIED.with_borrow(Clone::clone) {
            Some(denied) if denied == claims.sub || Some(&denied) == claims.jti.as_ref() => {
                Err(TokenRefused(format!("{denied} is denied")))
            }
            _ => Ok(()),
        }
    }

    fn random(&self) -> [u8; 10] {
        [9; 10]
    }
}

fn greeter() -> Greeter {
    Greeter::new(Arc::new(World::new("dev", WorldSpec::dev(), &Models::builtin()).unwrap()))
}

/// A session under test, its clocks and its outputs.
struct Scene {
    session: Session,
    now: Now,
    out: Outputs,
    /// The requests passed to the service: the user, and when the user's token expires.
    own: Vec<(String, i64)>,
}

impl Scene {
    fn with(greeter: Greeter) -> Self {
        Self { session: Session::new(greeter, START.monotonic), now: START, out: Outputs::default(), own: Vec::new() }
    }

    fn new() -> Self {
        Self::with(greeter())
    }

    /// Returns a session whose Hello was accepted, with the id [`SESSION`].
    fn greeted() -> Self {
        let mut scene = Self::new();
        scene.send([hello("ann")]);
        assert!(matches!(scene.events()[..], [event::Body::Welcome(_)]));
        scene
    }

    fn bytes(&mut self, bytes: impl Into<Bytes>) {
        let own = &mut self.own;
        self.session.frame(bytes.into(), self.now, &Verifier, &mut self.out, &mut |who, _, out| {
            own.push((who.claims.sub.clone(), who.claims.expires_at));
            out.event(event::Body::Receipt(proto::Receipt::default()));
        });
    }

    fn send(&mut self, requests: impl IntoIterator<Item = request::Body>) {
        let mut frame = BytesMut::new();
        requests.into_iter().for_each(|body| format::push_request(&mut frame, body));
        self.bytes(frame.freeze());
    }

    /// Advances the wall clock and the monotonic clock by `ms` milliseconds.
    fn pass(&mut self, ms: u64) {
        self.now.unix = self.now.unix.plus_ms(ms as i64);
        self.now.monotonic = self.now.monotonic.plus_ms(ms);
    }

    /// Advances both clocks until the wall clock reads `unix_ms`; then the session ticks.
    fn tick_at(&mut self, unix_ms: i64) {
        self.pass(u64::try_from(UnixMs(unix_ms).ms_since(self.now.unix)).expect("time does not run backwards"));
        self.tick();
    }

    fn tick(&mut self) {
        self.session.tick(self.now, &Verifier, &mut self.out);
    }

    /// Returns the milliseconds until the session's next tick is due.
    fn wakes_in(&self) -> u64 {
        self.session.wake_at(self.now).ms_since(self.now.monotonic)
    }

    fn events(&mut self) -> Vec<event::Body> {
        let frame = proto::ServerFrame::decode(self.out.frame.split().freeze()).unwrap();
        frame.events.into_iter().map(|event| event.body.unwrap()).collect()
    }

    fn welcome(&mut self) -> proto::Welcome {
        match self.events().remove(0) {
            event::Body::Welcome(welcome) => welcome,
            other => panic!("no welcome: {other:?}"),
        }
    }

    /// The codes of the refusals; panics on any other event.
    fn refusals(&mut self) -> Vec<RefusalCode> {
        let code = |e: event::Body| match e {
            event::Body::Refused(refused) => refused.code(),
            other => panic!("{other:?}"),
        };
        self.events().into_iter().map(code).collect()
    }

    fn closed(&self) -> u16 {
        self.out.close.as_ref().expect("the socket is to be closed").code
    }
}

fn hello(token: &str) -> request::Body {
    request::Body::Hello(proto::Hello { token: token.into(), session: SESSION.to_bytes(), ..Default::default() })
}

fn renew(token: &str) -> request::Body {
    request::Body::Renew(proto::Renew { token: token.into() })
}

fn submit() -> request::Body {
    request::Body::Submit(proto::Submit::default())
}

/// A client that has not said Hello costs the service little: a few requests and bytes, and one
/// answer for equal refusals in a row.
#[test]
fn a_client_that_does_not_say_hello_is_soon_closed() {
    let ping = || request::Body::Ping(proto::Ping { nonce: 7 });
    let end = |scene: &mut Scene| scene.out.close.take().map(|end| (end.code, end.reason));
    let mut scene = Scene::new();
    scene.send((0..limits::BEFORE_HELLO_REQUESTS_MAX).map(|_| ping()));
    assert_eq!((scene.events().len(), end(&mut scene)), (limits::BEFORE_HELLO_REQUESTS_MAX, None));
    scene.send([hello("ann")]);
    assert!(matches!(scene.events()[..], [event::Body::Welcome(_)]), "a Hello that comes late is welcome");
    scene.send((0..100).map(|_| ping()));
    assert_eq!((scene.events().len(), end(&mut scene)), (100, None));

    let mut scene = Scene::new();
    scene.bytes([0x0a, 0].repeat(limits::CLIENT_FRAME_REQUESTS_MAX));
    assert_eq!(scene.events().len(), 1, "equal refusals are one answer");
    let said = "more than 16 requests came before a Hello";
    assert_eq!(end(&mut scene), Some((close::NO_HELLO, said.into())));

    let mut scene = Scene::new();
    let unknown = [&[0x12, 0x80, 0x80, 1][..], &[0; 16 * 1024]].concat();
    scene.bytes(unknown.clone());
    assert_eq!(end(&mut scene), None, "a frame with an unknown field");
    scene.bytes(unknown);
    let said = "more than 32768 bytes came before a Hello was accepted";
    assert_eq!(end(&mut scene), Some((close::NO_HELLO, said.into())));
}

#[test]
fn hello_comes_first_and_once() {
    let mut scene = Scene::new();
    scene.send([submit(), renew("ann")]);
    assert_eq!(scene.out.refused, [RefusalCode::HelloExpected, RefusalCode::HelloExpected]);
    assert_eq!(scene.refusals(), [RefusalCode::HelloExpected], "equal refusals are one answer");
    assert!(!scene.out.is_greeted && scene.session.identity().is_none() && scene.own.is_empty());
    scene.send([hello("ann")]);
    assert!(scene.out.is_greeted);
    let welcome = scene.welcome();
    assert_eq!(welcome.session, SESSION.to_bytes());
    assert_eq!(welcome.writer, SESSION.writer("ann").to_bytes());
    assert_eq!((welcome.world.as_str(), welcome.generation, welcome.token_expires_at), ("dev", 1, EXPIRES_S));
    assert_eq!(welcome.families.len(), 2);
    assert_eq!(welcome.limits.unwrap().commands_per_second, limits::COMMANDS_PER_SECOND);
    scene.send([hello("bob")]);
    assert_eq!(scene.refusals(), [RefusalCode::HelloRepeated]);
    assert_eq!(scene.session.identity().unwrap().claims.sub, "ann");
    scene.tick_at(NOW + limits::HELLO_TIMEOUT_MS as i64 + 1);
    assert!(scene.out.close.is_none());
}

#[test]
fn a_socket_without_hello_is_closed() {
    let mut scene = Scene::new();
    assert_eq!(scene.wakes_in(), limits::HELLO_TIMEOUT_MS);
    scene.pass(5000);
    scene.send([request::Body::Ping(proto::Ping { nonce: 4 })]);
    assert!(matches!(scene.events()[..], [event::Body::Pong(proto::Pong { nonce: 4 })]));
    scene.pass(scene.wakes_in());
    scene.tick();
    assert_eq!(scene.closed(), close::NO_HELLO);
}

#[test]
fn an_unusable_hello_closes_with_a_code_of_its_own() {
    let session = |time_ms| SessionId::new(time_ms, [1; 10]).to_bytes();
    let now = NOW as u64;
    let grid = vec![proto::ModelRevision { id: "grid".into(), revision: 999 }];
    let base = || proto::Hello { token: "ann".into(), ..Default::default() };
    for (hello, code, hint) in [
        (proto::Hello { token: "!".into(), ..base() }, close::TOKEN, "forged"),
        (proto::Hello { session: vec![1; 15].into(), ..base() }, close::SESSION, "16 bytes"),
        (proto::Hello { session: session(now + 60_001), ..base() }, close::SESSION, "from now"),
        (proto::Hello { session: session(now - limits::SESSION_AGE_MAX_MS - 1), ..base() }, close::SESSION, "old"),
        (proto::Hello { session_after_ms: now + 60_000, ..base() }, close::INTERNAL, "come again later"),
        (proto::Hello { models: grid, ..base() }, close::UPGRADE_NEEDED, "grid revision"),
    ] {
        let mut scene = Scene::new();
        scene.send([request::Body::Hello(hello), submit(), request::Body::Ping(proto::Ping::default())]);
        assert_eq!(scene.closed(), code);
        let Some(Close { reason, .. }) = &scene.out.close else { unreachable!() };
        assert!(reason.contains(hint), "{reason}");
        assert!(scene.own.is_empty() && scene.events().is_empty(), "no answer after the close");
    }
}

/// The time of a new session is above `Hello.session_after_ms`.
#[test]
fn a_new_session_is_above_what_was_asked_for() {
    let mut scene = Scene::new();
    let session_after_ms = NOW as u64 + 10;
    scene.send([request::Body::Hello(proto::Hello { token: "ann".into(), session_after_ms, ..Default::default() })]);
    let welcome = scene.welcome();
    let session = SessionId::from_slice(&welcome.session).unwrap();
    assert_eq!(session.time_ms(), session_after_ms + 1);
    assert_eq!(welcome.writer, session.writer("ann").to_bytes());
}

#[test]
fn the_greeter_sets_the_age_of_sessions_and_the_grace_for_a_renewal() {
    let set = || Greeter {
        session_age_max_ms: 1000,
        renewal_grace_ms: 3000,
        limits: proto::Limits { commands_per_second: 5, ..announced() },
        ..greeter()
    };
    let mut scene = Scene::with(set());
    let session = SessionId::new(NOW as u64 - 1001, [1; 10]).to_bytes();
    scene.send([request::Body::Hello(proto::Hello { token: "ann".into(), session, ..Default::default() })]);
    assert_eq!(scene.closed(), close::SESSION);

    let ends = NOW / 1000 + 10;
    let mut scene = Scene::with(set());
    let token = format!("ann@{ends}");
    scene.send([request::Body::Hello(proto::Hello { token, ..Default::default() })]);
    assert_eq!(scene.welcome().limits.unwrap().commands_per_second, 5);
    scene.tick_at(ends * 1000 + 2_999);
    assert!(scene.out.close.is_none());
    assert_eq!(scene.wakes_in(), 1);
    scene.tick_at(ends * 1000 + 3000);
    assert_eq!(scene.closed(), close::TOKEN);
}

#[test]
fn families_whose_model_a_client_lacks_are_not_offered() {
    let revision = greeter().world.families()[0].revision;
    let model = |id: &str, revision| proto::ModelRevision { id: id.into(), revision };
    let models = vec![model("grid", revision), model("map", 999)];
    let mut scene = Scene::new();
    scene.send([request::Body::Hello(proto::Hello { token: "ann".into(), models, ..Default::default() })]);
    assert_eq!(scene.welcome().families.iter().map(|f| f.name.as_str()).collect::<Vec<_>>(), ["canvas"]);
    assert_eq!(scene.session.identity().unwrap().offered, Some(["canvas".to_owned()].into()));
}

#[test]
fn a_token_may_be_renewed_by_its_user_and_by_nobody_else() {
    let ends = NOW / 1000 + 10;
    let mut scene = Scene::new();
    scene.send([hello(&format!("ann@{ends}"))]);
    scene.events();
    scene.send([renew("!"), renew("bob")]);
    assert_eq!(scene.refusals(), [RefusalCode::Token, RefusalCode::Token]);
    assert!(!scene.out.is_renewed);
    scene.send([submit(), renew(&format!("ann@{}", ends + 60)), submit()]);
    assert!(scene.out.is_renewed);
    let by = |expires| ("ann".to_owned(), expires);
    assert_eq!(scene.own, [by(ends), by(ends + 60)], "each request is judged by the token of its moment");
    scene.pass(10_000);
    scene.send([request::Body::Pong(proto::Pong::default())]);
    scene.tick_at((ends + 20) * 1000);
    assert!(scene.out.close.is_none());
}

#[test]
fn a_denied_token_ends_its_socket_with_the_next_message_or_tick() {
    for denied in ["ann", "7"] {
        let mut scene = Scene::new();
        scene.send([hello("ann#7")]);
        scene.events();
        deny("bob");
        scene.send([submit()]);
        scene.tick_at(NOW + 1);
        assert!(scene.out.close.is_none() && scene.own.len() == 1);
        scene.events();
        deny(denied);
        let mut other = Scene::new();
        other.send([hello("ann#8")]);
        match denied {
            "ann" => scene.send([renew("ann#9"), submit()]),
            _ => scene.tick_at(NOW + 2),
        }
        assert_eq!(scene.closed(), close::TOKEN);
        assert!(!close::may_reconnect(scene.closed()));
        assert!(scene.own.len() == 1 && scene.events().is_empty(), "no answer after the close");
        other.send([submit()]);
        assert_eq!(other.out.close.is_some(), denied == "ann", "denying one token does not deny its user");
    }
}

#[test]
fn a_user_opens_sockets_up_to_the_limit_and_a_closed_one_frees_its_place() {
    let users = Users::new(3, [("service".to_owned(), 10)].into());
    let greeter = Greeter { users, ..greeter() };
    let scene = || Scene::with(greeter.clone());
    let mut sockets: Vec<Scene> = (0..3).map(|_| scene()).collect();
    for socket in &mut sockets {
        socket.send([hello("ann")]);
        assert_eq!(socket.welcome().limits.unwrap().connections_max, 3);
    }
    let mut fourth = scene();
    fourth.send([hello("ann"), submit()]);
    assert_eq!(fourth.closed(), close::TOO_MANY);
    assert!(close::may_reconnect(fourth.closed()));
    assert!(fourth.own.is_empty() && fourth.events().is_empty() && !fourth.out.is_greeted, "no Welcome before the end");
    let mut other = scene();
    other.send([hello("bob")]);
    assert!(other.out.is_greeted);
    drop(sockets.pop());
    let mut again = scene();
    again.send([hello("ann")]);
    assert!(again.out.is_greeted);
}

#[test]
fn pings_are_sent_and_a_silent_socket_is_closed() {
    let mut scene = Scene::greeted();
    scene.tick_at(NOW + 9_999);
    assert!(scene.events().is_empty());
    for i in 1..=2 {
        scene.tick_at(NOW + 10_000 * i);
        assert_eq!(scene.events(), [event::Body::Ping(proto::Ping { nonce: i as u64 })]);
    }
    scene.send([request::Body::Pong(proto::Pong { nonce: 2 })]);
    scene.tick_at(NOW + 20_000 + 24_999);
    scene.events();
    assert!(scene.out.close.is_none());
    assert_eq!(scene.wakes_in(), 1);
    scene.session.heard(START.monotonic.plus_ms(30_000));
    scene.session.heard(START.monotonic.plus_ms(29_000));
    scene.tick_at(NOW + 54_999);
    assert!(scene.out.close.is_none(), "a sign of life counts, and time does not run backwards");
    scene.tick_at(NOW + 55_000);
    assert_eq!(scene.closed(), close::DEAD_PEER);
}

/// A wall clock jumps when an administrator corrects it. Pings and the time limits for Hello and
/// for silence use monotonic time, so a jump does not change them. A token expires by wall time,
/// because its issuer wrote its expiry in wall time.
#[test]
fn a_step_of_the_wall_clock_changes_no_timer_but_a_token_ends_by_wall_time() {
    const HOUR_MS: i64 = 3_600_000;
    for step_ms in [HOUR_MS, -HOUR_MS] {
        let mut scene = Scene::new();
        scene.now.unix = scene.now.unix.plus_ms(step_ms);
        scene.pass(limits::HELLO_TIMEOUT_MS - 1);
        scene.tick();
        assert!(scene.out.close.is_none(), "{step_ms}");
        scene.pass(1);
        scene.tick();
        assert_eq!(scene.closed(), close::NO_HELLO, "{step_ms}");

        let mut scene = Scene::new();
        let ends = NOW / 1000 + 2 * 3600;
        scene.send([hello(&format!("ann@{ends}"))]);
        scene.events();
        scene.now.unix = scene.now.unix.plus_ms(step_ms);
        assert_eq!(scene.wakes_in(), limits::PING_INTERVAL_MS, "{step_ms}");
        scene.pass(limits::PING_INTERVAL_MS - 1);
        scene.tick();
        assert!(scene.events().is_empty(), "a ping came early after a step of {step_ms} ms");
        scene.pass(1);
        scene.tick();
        assert_eq!(scene.events(), [event::Body::Ping(proto::Ping { nonce: 1 })], "{step_ms}");
        scene.pass(limits::DEAD_AFTER_MS - limits::PING_INTERVAL_MS - 1);
        scene.tick();
        assert!(scene.out.close.is_none(), "{step_ms}");
        scene.pass(1);
        scene.tick();
        assert_eq!(scene.closed(), close::DEAD_PEER, "{step_ms}");

        // The clients' own seconds until the token ends are an hour more or fewer than ours.
        let mut scene = Scene::new();
        scene.send([hello(&format!("ann@{ends}"))]);
        scene.events();
        scene.now.unix = UnixMs::from_seconds(ends).plus_ms(10_000 - 1);
        scene.tick();
        assert!(scene.out.close.is_none(), "the grace for a renewal has not passed");
        assert_eq!(scene.wakes_in(), 1);
        scene.now.unix = scene.now.unix.plus_ms(1);
        scene.tick();
        assert_eq!(scene.closed(), close::TOKEN);
    }
}

#[test]
fn a_step_of_the_wall_clock_changes_no_rate_and_admits_as_many_sockets() {
    // Rates and admission take monotonic time only, which the types prove. This test shows the
    // consequence: an active user gets the same answers, however the wall clock jumps between the
    // requests.
    let answers = |steps_ms: [i64; 3]| {
        let rates = Rates::new([Allowance { per_second: 10, burst: 2 }]);
        let (admission, address) = (Admission::new(1), Some([192, 0, 2, 7].into()));
        let mut now = START;
        let bucket = rates.of("ann", now.monotonic);
        steps_ms.map(|step_ms| {
            now.unix = now.unix.plus_ms(step_ms);
            now.monotonic = now.monotonic.plus_ms(10);
            (bucket.take([1], now.monotonic), admission.admit(address, now.monotonic))
        })
    };
    let steady = answers([10, 10, 10]);
    assert_eq!(steady, [(Ok(()), Ok(())), (Ok(()), Ok(())), (Err(80), Err(2_500))]);
    assert_eq!(answers([10, -3_600_000, 10]), steady);
    assert_eq!(answers([10, 3_600_000, 10]), steady);
}

#[test]
fn a_bad_request_is_refused_alone_and_a_broken_frame_ends_the_socket() {
    let good = format::request(submit());
    // A request with broken content: field 8 (Submit) claims 5 bytes and has 1.
    let broken_request = [&[0x0a, 3, 0x42, 5, 1][..], &good].concat();
    // A body that this version does not know.
    let unknown_body = [&[0x0a, 3, 0xfa, 1, 0][..], &good].concat();
    for frame in [broken_request, unknown_body] {
        let mut scene = Scene::greeted();
        scene.bytes(frame);
        let events = scene.events();
        let [event::Body::Refused(refused), event::Body::Receipt(_)] = &events[..] else { panic!("{events:?}") };
        assert_eq!(refused.code(), RefusalCode::Undecodable);
        assert!(scene.own.len() == 1 && scene.out.close.is_none());
    }
    let cut_off = good[..good.len() - 1].to_vec();
    for frame in [b"{\"hello\": 1}".to_vec(), cut_off, vec![0; limits::CLIENT_FRAME_BYTES_MAX + 1], vec![0xff; 20]] {
        let mut scene = Scene::greeted();
        scene.bytes(frame);
        assert_eq!(scene.closed(), close::FRAME_UNTRUSTED);
        assert!(scene.own.is_empty());
    }
}

#[test]
fn a_frame_with_too_many_requests_is_refused_whole() {
    let mut scene = Scene::greeted();
    let many = [0x0a, 0].repeat(limits::CLIENT_FRAME_REQUESTS_MAX);
    scene.bytes([&format::request(submit())[..], &many].concat());
    assert_eq!(scene.refusals(), [RefusalCode::Limit]);
    assert!(scene.own.is_empty() && scene.out.close.is_none());
}

/// The longest answer to one message of a client fits into one message of the server.
#[test]
fn the_answer_to_a_frame_of_wrong_requests_fits_into_a_frame() {
    let worst_name = "\u{1}".repeat(limits::AUTHOR_BYTES_MAX);
    let mut scene = Scene::new();
    scene.send([hello(&worst_name)]);
    scene.events();
    for request in [renew(&"\u{2}".repeat(40)), renew("!"), hello("ann")] {
        // Every second request is another one, so that no two refusals in a row are equal.
        let pairs = limits::CLIENT_FRAME_REQUESTS_MAX / 2;
        scene.send(vec![[request, request::Body::Hello(proto::Hello::default())]; pairs].into_iter().flatten());
        assert!(scene.out.frame.len() < limits::SERVER_FRAME_BYTES_MAX / 2, "{}", scene.out.frame.len());
        assert_eq!(scene.out.refused.len(), limits::CLIENT_FRAME_REQUESTS_MAX);
        assert!((1..=2 * pairs).contains(&scene.refusals().len()));
        scene.out.refused.clear();
    }
}

/// Each renewal verifies a signature, so a message may have a few only.
#[test]
fn a_message_with_many_renewals_verifies_few_of_them() {
    let mut scene = Scene::greeted();
    let most = limits::FRAME_RENEWALS_MAX;
    scene.send((0..most + 2).map(|i| renew(&format!("ann@{}", EXPIRES_S + 1 + i as i64))));
    assert_eq!(scene.session.identity().unwrap().claims.expires_at, EXPIRES_S + most as i64);
    assert_eq!(scene.out.refused, [RefusalCode::Limit, RefusalCode::Limit]);
    scene.send([renew(&format!("ann@{}", EXPIRES_S + 99))]);
    assert_eq!(scene.session.identity().unwrap().claims.expires_at, EXPIRES_S + 99, "another message");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    /// No bytes make the session panic, and the size of its answers is bounded by the size of the
    /// input.
    #[test]
    fn any_bytes_leave_a_socket_that_answers_within_bounds(frames in vec(vec(any::<u8>(), 0..300), 1..8), greeted: bool) {
        let mut scene = if greeted { Scene::greeted() } else { Scene::new() };
        for frame in frames {
            if scene.out.close.is_some() {
                break;
            }
            let length = frame.len();
            scene.bytes(frame);
            // A request takes at least two bytes, and a refusal repeats none of them.
            prop_assert!(scene.out.frame.len() <= 512 * (length / 2 + 1));
            scene.events();
        }
    }

    #[test]
    fn the_next_wake_up_is_never_too_late(steps in vec(1..30_000u64, 1..12), greeted: bool) {
        let mut scene = if greeted { Scene::greeted() } else { Scene::new() };
        for step in steps {
            let wakes_in = scene.wakes_in();
            prop_assert!(wakes_in <= limits::PING_INTERVAL_MS);
            scene.pass(wakes_in.min(step));
            scene.tick();
            if scene.out.close.is_some() {
                break;
            }
            scene.events();
        }
    }
}
