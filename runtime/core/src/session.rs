//! The state of one socket: Hello first, then pings both ways, until the socket closes.
//!
//! This state machine closes the socket when its token expires and is not renewed in time, when the
//! token is denied, or when the key that signed it is removed.

use crate::defences::Defence;
use crate::environment::{Environment, TokenRefused};
use crate::hello::{Greeter, Identity};
use crate::outputs::{Close, Outputs};
use crate::places::Place;
use crate::requests::{FrameError, take_apart};
use bytes::Bytes;
use driftless_schemas::access::Claims;
use driftless_schemas::proto::{self, RefusalCode, event, request};
use driftless_schemas::time::{MonotonicMs, Now, UnixMs};
use driftless_schemas::{close, limits};

/// The state of a session on one socket.
#[derive(Debug)]
pub struct Session {
    greeter: Greeter,
    opened: MonotonicMs,
    /// When the client last gave a sign of life.
    heard: MonotonicMs,
    /// When the last ping was sent.
    pinged: MonotonicMs,
    /// The number of pings that were sent so far.
    pings: u64,
    /// The bytes and the requests that came before a Hello was accepted.
    early: (usize, usize),
    identity: Option<Identity>,
    /// The connection's place in the user's count of connections; freed when the session is
    /// dropped.
    place: Option<Place<String>>,
}

impl Session {
    /// Creates the session of a socket that was just opened.
    #[must_use]
    pub fn new(greeter: Greeter, now: MonotonicMs) -> Self {
        Self { greeter, opened: now, heard: now, pinged: now, pings: 0, early: (0, 0), identity: None, place: None }
    }

    /// The client's identity; `None` before the client's Hello was accepted.
    #[must_use]
    pub fn identity(&self) -> Option<&Identity> {
        self.identity.as_ref()
    }

    /// Records a sign of life of the client. Calls may come out of order; the latest time counts.
    pub fn heard(&mut self, now: MonotonicMs) {
        self.heard = self.heard.max(now);
    }

    /// Handles a binary message. The session answers its own requests, such as Hello and Renew. It
    /// passes all other requests to `own`, in order, with the client's current identity. Before
    /// Hello it refuses them. Returns the number of requests after Hello, whatever became of them.
    pub fn frame(
        &mut self,
        bytes: Bytes,
        now: Now,
        environment: &dyn Environment,
        out: &mut Outputs,
        own: &mut dyn FnMut(&Identity, request::Body, &mut Outputs),
    ) -> usize {
        self.heard(now.monotonic);
        if let Err(e) = self.recheck(environment) {
            out.end(close::TOKEN, e.to_string());
            return 0;
        }
        if self.identity.is_none() {
            self.early.0 += bytes.len();
            if self.early.0 > Defence::BeforeHello.limit(limits::BEFORE_HELLO_BYTES_MAX) {
                let max = limits::BEFORE_HELLO_BYTES_MAX;
                out.end(close::NO_HELLO, format!("more than {max} bytes came before a Hello was accepted"));
                return 0;
            }
        }
        let requests = match take_apart(bytes) {
            Ok(requests) => requests,
            Err(e @ FrameError::TooMany) => {
                out.refuse(RefusalCode::Limit, e.to_string());
                return limits::CLIENT_FRAME_REQUESTS_MAX;
            }
            Err(e) => {
                out.end(close::FRAME_UNTRUSTED, e.to_string());
                return 0;
            }
        };
        let (mut count, mut renewals) = (0, 0);
        for request in requests {
            if out.close.is_some() {
                break;
            }
            count += usize::from(self.identity.is_some());
            let is_renewal = matches!(&request, Ok(proto::Request { body: Some(request::Body::Renew(_)) }));
            renewals += usize::from(is_renewal);
            match request {
                Ok(_) if is_renewal && renewals > limits::FRAME_RENEWALS_MAX => {
                    let max = limits::FRAME_RENEWALS_MAX;
                    out.refuse(RefusalCode::Limit, format!("a message may have {max} Renew; send the newest token"));
                }
                Ok(request) => self.request(request.body, now, environment, out, own),
                Err(e) => out.refuse(RefusalCode::Undecodable, format!("a request cannot be decoded: {e}")),
            }
            if self.identity.is_none() && out.close.is_none() {
                self.early.1 += 1;
                if self.early.1 > Defence::BeforeHello.limit(limits::BEFORE_HELLO_REQUESTS_MAX) {
                    let max = limits::BEFORE_HELLO_REQUESTS_MAX;
                    out.end(close::NO_HELLO, format!("more than {max} requests came before a Hello"));
                }
            }
        }
        count
    }

    fn request(
        &mut self,
        body: Option<request::Body>,
        now: Now,
        environment: &dyn Environment,
        out: &mut Outputs,
        own: &mut dyn FnMut(&Identity, request::Body, &mut Outputs),
    ) {
        use request::Body as Request;
        match (body, self.identity.as_mut()) {
            (None, _) => out.refuse(
                RefusalCode::Undecodable,
                "a request has no body that this version knows; is the client newer than the server?",
            ),
            (Some(Request::Ping(ping)), _) => out.event(event::Body::Pong(proto::Pong { nonce: ping.nonce })),
            (Some(Request::Pong(_)), _) => {}
            (Some(Request::Hello(_)), Some(_)) => {
                out.refuse(RefusalCode::HelloRepeated, "this socket had its Hello; use Renew for a fresh token");
            }
            (Some(Request::Hello(hello)), None) => self.hello(&hello, now, environment, out),
            (Some(_), None) => out.refuse(RefusalCode::HelloExpected, "Hello must come first"),
            (Some(Request::Renew(renew)), Some(identity)) => identity.renew(&renew.token, now.unix, environment, out),
            (Some(request), Some(identity)) => own(identity, request, out),
        }
    }

    fn hello(&mut self, hello: &proto::Hello, now: Now, environment: &dyn Environment, out: &mut Outputs) {
        match self.greeter.greet(hello, now.unix, environment) {
            Ok((identity, welcome, place)) => {
                self.place = Some(place);
                self.identity = Some(identity);
                self.pinged = now.monotonic;
                out.is_greeted = true;
                out.event(event::Body::Welcome(welcome));
            }
            Err(Close { code, reason }) => out.end(code, reason),
        }
    }

    /// The time at which [`Session::tick`] must be called at the latest.
    ///
    /// The token's end is a wall time, which this function converts to monotonic time with the
    /// clocks of `now`. If the wall clock jumps afterwards, the result is wrong until the next
    /// ping, at most [`limits::PING_INTERVAL_MS`] later.
    #[must_use]
    pub fn wake_at(&self, now: Now) -> MonotonicMs {
        let dead = self.heard.plus_ms(limits::DEAD_AFTER_MS);
        let other = match &self.identity {
            None => self.opened.plus_ms(limits::HELLO_TIMEOUT_MS),
            Some(identity) => {
                let ping = self.pinged.plus_ms(limits::PING_INTERVAL_MS);
                let token_left_ms = self.token_ends(&identity.claims).ms_since(now.unix);
                ping.min(now.monotonic.plus_ms(u64::try_from(token_left_ms).unwrap_or(0)))
            }
        };
        dead.min(other)
    }

    /// Call this when time has passed, or when the keys or the deny list have changed. Sends a ping
    /// if one is due. Closes the socket if the client has been silent for too long, has not sent
    /// Hello in time, or has a token that is no longer valid.
    pub fn tick(&mut self, now: Now, environment: &dyn Environment, out: &mut Outputs) {
        if let Err(e) = self.recheck(environment) {
            return out.end(close::TOKEN, e.to_string());
        }
        if now.monotonic.ms_since(self.heard) >= limits::DEAD_AFTER_MS {
            return out.end(close::DEAD_PEER, format!("no message came for {} ms", limits::DEAD_AFTER_MS));
        }
        let Some(identity) = &self.identity else {
            if now.monotonic.ms_since(self.opened) >= limits::HELLO_TIMEOUT_MS {
                out.end(close::NO_HELLO, format!("no Hello came within {} ms", limits::HELLO_TIMEOUT_MS));
            }
            return;
        };
        if now.unix >= self.token_ends(&identity.claims) {
            let expired = identity.claims.expires_at;
            let reason = format!("the token expired at {expired} (seconds since 1970) and was not renewed");
            return out.end(close::TOKEN, reason);
        }
        if now.monotonic.ms_since(self.pinged) >= limits::PING_INTERVAL_MS {
            self.pinged = now.monotonic;
            self.pings += 1;
            out.event(event::Body::Ping(proto::Ping { nonce: self.pings }));
        }
    }

    fn recheck(&self, environment: &dyn Environment) -> Result<(), TokenRefused> {
        self.identity.as_ref().map_or(Ok(()), |identity| environment.recheck(&identity.claims))
    }

    /// Returns the time at which the socket is closed because of its token: the token's expiry plus
    /// the grace for a renewal.
    fn token_ends(&self, claims: &Claims) -> UnixMs {
        UnixMs::from_seconds(claims.expires_at).plus_ms(i64::from(self.greeter.renewal_grace_ms))
    }
}
