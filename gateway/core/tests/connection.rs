//! A websocket's connection: what it passes to the hub, in which order, and what it refuses.

use bytes::BytesMut;
use driftless_gateway_core::connection::{Connection, Input, Outputs, Shared};
use driftless_gateway_core::{Input as HubInput, SocketId};
use driftless_runtime_core::admission::Admission;
use driftless_runtime_core::rate::{Allowance, Rates};
use driftless_runtime_core::{Environment, Greeter, TokenRefused};
use driftless_scenes::gateway::{refresh, track, untrack, world};
use driftless_schemas::access::{Access, Claims};
use driftless_schemas::proto::{self, Ping, RefusalCode, request};
use driftless_schemas::time::{MonotonicMs, Now, UnixMs};
use driftless_schemas::{close, format};
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::Duration;

const START: Now = Now { unix: UnixMs(1_800_000_000_000), monotonic: MonotonicMs(5_000) };
const EXPIRES_S: i64 = 1_800_000_060;

/// Accepts tokens of the form `<expires_at> <chunk>`: the token may read only `<chunk>`, and
/// expires at `<expires_at>`, in seconds since 1970.
struct Verifier;

impl Environment for Verifier {
    fn verify(&self, token: &str, _now: UnixMs) -> Result<Claims, TokenRefused> {
        let malformed = || TokenRefused("malformed".into());
        let (expires_at, chunk) = token.split_once(' ').ok_or_else(malformed)?;
        let access = Access { read: vec![chunk.into()], ..Access::default() };
        let expires_at = expires_at.parse().map_err(|_| malformed())?;
        Ok(Claims { sub: "ann".into(), jti: None, expires_at, access, key: Default::default() })
    }

    fn recheck(&self, _claims: &Claims) -> Result<(), TokenRefused> {
        Ok(())
    }

    fn random(&self) -> [u8; 10] {
        [7; 10]
    }
}

/// The client's address.
const PEER: Option<IpAddr> = Some(IpAddr::V4(Ipv4Addr::new(192, 0, 2, 7)));

fn shared(admissions_per_second: u32, allowance: Allowance) -> Arc<Shared> {
    Arc::new(Shared {
        greeter: Greeter::new(world()),
        admission: Admission::new(admissions_per_second),
        requests: Rates::new([allowance, Allowance::UNLIMITED]),
    })
}

fn token(expires_s: i64, chunk: &str) -> String {
    format!("{expires_s} {chunk}")
}

fn hello(token: String) -> request::Body {
    request::Body::Hello(proto::Hello { token, ..proto::Hello::default() })
}

fn renew(token: String) -> request::Body {
    request::Body::Renew(proto::Renew { token })
}

/// A connection, and the time of its gateway.
struct Socket {
    connection: Connection,
    now: Now,
}

impl Socket {
    fn open(shared: &Arc<Shared>) -> (Self, Outputs) {
        let mut out = Outputs::default();
        let connection = Connection::open(SocketId(3), Arc::clone(shared), PEER, START, &mut out);
        (Self { connection, now: START }, out)
    }

    fn greeted() -> Self {
        let (mut socket, _) = Self::open(&shared(0, Allowance { per_second: 10, burst: 5 }));
        let out = socket.send([hello(token(EXPIRES_S, "tape/1"))]);
        assert_eq!(told(&out), ["joined tape/1"]);
        socket
    }

    fn at(&mut self, unix: UnixMs) {
        self.now = Now { unix, monotonic: START.monotonic.plus_ms(unix.ms_since(START.unix) as u64) };
    }

    fn handle(&mut self, input: Input<'_>) -> Outputs {
        let mut out = Outputs::default();
        self.connection.handle(input, self.now, &Verifier, &mut out);
        out
    }

    /// Sends all requests in one websocket message, and returns the outputs.
    fn send(&mut self, requests: impl IntoIterator<Item = request::Body>) -> Outputs {
        let mut frame = BytesMut::new();
        requests.into_iter().for_each(|body| format::push_request(&mut frame, body));
        self.handle(Input::Frame(frame.freeze()))
    }
}

/// The hub's inputs in words: kind, and the chunk that the access or the request names.
fn told(out: &Outputs) -> Vec<String> {
    let of = |input: &HubInput| match input {
        HubInput::Joined(SocketId(3), joined) => format!("joined {}", joined.access.read.join(",")),
        HubInput::Renewed(SocketId(3), access) => format!("renewed {}", access.read.join(",")),
        HubInput::Request(SocketId(3), request::Body::Track(t)) => format!("track {}", t.chunk_id),
        HubInput::Request(SocketId(3), request::Body::Refresh(r)) => format!("refresh {}", r.chunk_id),
        HubInput::Request(SocketId(3), request::Body::Untrack(u)) => format!("untrack {}", u.chunk_id),
        other => panic!("{other:?}"),
    };
    out.hub.iter().map(of).collect()
}

#[test]
fn the_hub_is_told_identity_renewals_and_requests_in_the_order_of_the_client() {
    let (mut socket, _) = Socket::open(&shared(0, Allowance { per_second: 10, burst: 5 }));
    let out = socket.send([
        hello(token(EXPIRES_S, "tape/1")),
        track("tape/1", None),
        renew(token(EXPIRES_S, "tape/2")),
        renew(token(EXPIRES_S, "tape/3")),
        track("tape/3", None),
    ]);
    assert_eq!(told(&out), ["joined tape/1", "track tape/1", "renewed tape/3", "track tape/3"]);
    let out = socket.send([untrack("tape/3"), renew(token(EXPIRES_S, "tape/4"))]);
    assert_eq!(told(&out), ["untrack tape/3", "renewed tape/4"]);
}

#[test]
fn an_expired_token_reads_nothing_until_it_is_renewed() {
    let mut socket = Socket::greeted();
    let all = || [track("tape/1", None), refresh("tape/1", 0), untrack("tape/1")];
    socket.at(UnixMs::from_seconds(EXPIRES_S).plus_ms(-1));
    let out = socket.send(all());
    assert_eq!((told(&out).len(), out.session.refused.len()), (3, 0), "valid for one more millisecond");
    socket.at(UnixMs::from_seconds(EXPIRES_S));
    let out = socket.send(all());
    assert_eq!(told(&out), ["untrack tape/1"]);
    assert_eq!(out.session.refused, [RefusalCode::Token, RefusalCode::Token]);
    let out = socket.send([refresh("tape/1", 0), renew(token(EXPIRES_S + 60, "tape/1")), refresh("tape/1", 0)]);
    assert_eq!(told(&out), ["renewed tape/1", "refresh tape/1"]);
    assert_eq!(out.session.refused, [RefusalCode::Token]);
}

#[test]
fn a_throttled_socket_is_not_closed_as_dead() {
    let mut socket = Socket::greeted();
    let out = socket.send((0..305).map(|_| untrack("tape/1")));
    assert_eq!((out.hub.len(), out.was_throttled), (305, true));
    // All requests are handled, but the rate admits 5 at once and then 10 a second: the other 300
    // throttle the socket for 30 seconds. The gateway does not read it meanwhile, so that the
    // silence says nothing about the client.
    assert!(socket.connection.is_throttled(socket.now.monotonic));
    socket.at(START.unix.plus_ms(29_999));
    assert!(socket.connection.is_throttled(socket.now.monotonic));
    assert_eq!(socket.handle(Input::Tick).session.close, None, "closed as a dead peer, although it was only throttled");
    socket.at(START.unix.plus_ms(30_000));
    assert!(!socket.connection.is_throttled(socket.now.monotonic));
    socket.at(START.unix.plus_ms(54_999));
    assert_eq!(socket.handle(Input::Tick).session.close, None);
    socket.at(START.unix.plus_ms(55_000));
    assert_eq!(socket.handle(Input::Tick).session.close.map(|end| end.code), Some(close::DEAD_PEER));
}

/// A refused request is work, too, and so are pings. Equal refusals in a row are one answer.
#[test]
fn refused_requests_and_pings_count_for_the_rate() {
    let ping = || request::Body::Ping(Ping { nonce: 1 });
    let again = || hello(token(EXPIRES_S, "tape/1"));
    for refused in [ping as fn() -> request::Body, again] {
        let mut socket = Socket::greeted();
        let out = socket.send((0..5).map(|_| refused()));
        assert!(!out.was_throttled);
        let out = socket.send((0..300).map(|_| refused()));
        assert!(out.was_throttled && socket.connection.is_throttled(socket.now.monotonic.plus_ms(29_999)));
        assert!(out.session.frame.len() < 300 * 8, "{} bytes", out.session.frame.len());
    }
}

#[test]
fn bytes_that_the_client_takes_are_a_sign_of_life() {
    let mut socket = Socket::greeted();
    socket.at(START.unix.plus_ms(24_000));
    socket.handle(Input::Heard(START.monotonic.plus_ms(20_000)));
    socket.at(START.unix.plus_ms(44_999));
    assert_eq!(socket.handle(Input::Tick).session.close, None);
    assert_eq!(socket.connection.wake_in(socket.now), Duration::from_millis(1));
    socket.at(START.unix.plus_ms(45_000));
    assert_eq!(socket.connection.wake_in(socket.now), Duration::ZERO);
    assert_eq!(socket.handle(Input::Tick).session.close.map(|end| end.code), Some(close::DEAD_PEER));
}

#[test]
fn a_socket_above_the_limit_of_new_sockets_is_told_when_to_come_again() {
    let shared = shared(1, Allowance { per_second: 10, burst: 5 });
    let closed = || Socket::open(&shared).1.session.close;
    assert_eq!([closed(), closed()], [None, None], "the limit admits the sockets of two seconds at once, here two");
    let end = closed().unwrap();
    assert_eq!(end.code, close::OVERLOADED);
    assert_eq!(close::retry_after_ms(&end.reason), Some(2_500));
}

#[test]
fn a_message_that_breaks_the_protocol_ends_the_socket() {
    let mut socket = Socket::greeted();
    let end = socket.handle(Input::Untrusted("a text")).session.close.unwrap();
    assert_eq!((end.code, end.reason.as_str()), (close::FRAME_UNTRUSTED, "a text"));
}
