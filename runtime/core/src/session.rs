//! A socket's session: Hello first, pings both ways, the token's end: by its time, because it is denied, or with its key.

use crate::hello::{Environment, Greeter};
use crate::places::Place;
use crate::requests::{FrameError, take_apart};
use crate::text::bounded;
use bytes::{Bytes, BytesMut};
use driftless_schemas::access::Claims;
use driftless_schemas::proto::{self, RefusalCode, event, request};
use driftless_schemas::time::{MonotonicMs, Now, UnixMs};
use driftless_schemas::{SessionId, WriterId, close, format, limits};
use std::collections::BTreeSet;

/// Who is at the other end.
#[derive(Clone, Debug)]
pub struct Identity {
    /// The checked token.
    pub claims: Claims,
    /// The session.
    pub session: SessionId,
    /// The session in this user's hands.
    pub writer: WriterId,
    /// The families that were offered; `None` is all of them.
    pub offered: Option<BTreeSet<String>>,
}

/// The end of a socket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Close {
    /// One of [`driftless_schemas::close`].
    pub code: u16,
    /// For people.
    pub reason: String,
}

/// What is to happen.
#[derive(Debug, Default)]
pub struct Outputs {
    /// Encoded events; together a `ServerFrame`.
    pub frame: BytesMut,
    /// Refusals in the frame.
    pub refused: Vec<RefusalCode>,
    /// The identity has just become known.
    pub is_greeted: bool,
    /// The token was renewed.
    pub is_renewed: bool,
    /// Set when the socket is to be closed, after the frame. Nothing more is answered then.
    pub close: Option<Close>,
}

/// One socket's session.
#[derive(Debug)]
pub struct Session {
    greeter: Greeter,
    opened: MonotonicMs,
    heard: MonotonicMs,
    pinged: MonotonicMs,
    pings: u64,
    identity: Option<Identity>,
    /// Its user's; free when the session is dropped.
    place: Option<Place<String>>,
}

impl Close {
    /// A code and its reason.
    #[must_use]
    pub fn new(code: u16, reason: impl Into<String>) -> Self {
        Self { code, reason: reason.into() }
    }
}

impl Outputs {
    /// Adds an event.
    pub fn event(&mut self, body: event::Body) {
        format::push_event(&mut self.frame, body);
    }

    /// Adds a refusal; its message is [`bounded`].
    pub fn refuse(&mut self, code: RefusalCode, message: impl Into<String>) {
        self.refused.push(code);
        let message = bounded(message.into());
        self.event(event::Body::Refused(proto::Refused { code: code.into(), message }));
    }

    /// Ends the socket; the first reason stays.
    pub fn end(&mut self, code: u16, reason: impl Into<String>) {
        self.close.get_or_insert_with(|| Close::new(code, reason));
    }
}

impl Session {
    /// A socket that was just opened.
    #[must_use]
    pub fn new(greeter: Greeter, now: MonotonicMs) -> Self {
        Self { greeter, opened: now, heard: now, pinged: now, pings: 0, identity: None, place: None }
    }

    /// Who is at the other end, once it has said so.
    #[must_use]
    pub fn identity(&self) -> Option<&Identity> {
        self.identity.as_ref()
    }

    /// A sign of life.
    pub fn heard(&mut self, now: MonotonicMs) {
        self.heard = self.heard.max(now);
    }

    /// Takes a binary message. The requests that are the service's own go to `own`, each in its place among the others,
    /// with who asks by the token of that moment; none before Hello.
    pub fn frame(
        &mut self,
        bytes: Bytes,
        now: Now,
        environment: &dyn Environment,
        out: &mut Outputs,
        own: &mut dyn FnMut(&Identity, request::Body, &mut Outputs),
    ) {
        self.heard(now.monotonic);
        if let Some(why) = self.denial(environment) {
            return out.end(close::TOKEN, why);
        }
        let requests = match take_apart(bytes) {
            Ok(requests) => requests,
            Err(e @ FrameError::TooMany) => return out.refuse(RefusalCode::Limit, e.to_string()),
            Err(e) => return out.end(close::FRAME_UNTRUSTED, e.to_string()),
        };
        for request in requests {
            if out.close.is_some() {
                return;
            }
            match request {
                Ok(request) => self.request(request.body, now, environment, out, own),
                Err(e) => out.refuse(RefusalCode::Undecodable, format!("a request cannot be decoded: {e}")),
            }
        }
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

    /// When [`Session::tick`] is due at the latest.
    ///
    /// The token's end is a wall time; this function converts it with the clocks of `now`. A wall
    /// clock that steps afterwards is noticed at the next ping, which is never further away than
    /// [`limits::PING_INTERVAL_MS`].
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

    /// Time has passed, or keys or deny list have changed: pings, or the end of a silent socket, an expired or a denied token.
    pub fn tick(&mut self, now: Now, environment: &dyn Environment, out: &mut Outputs) {
        if let Some(why) = self.denial(environment) {
            return out.end(close::TOKEN, why);
        }
        if now.monotonic.ms_since(self.heard) >= limits::DEAD_AFTER_MS {
            return out.end(close::DEAD_PEER, format!("nothing was heard for {} ms", limits::DEAD_AFTER_MS));
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

    fn denial(&self, environment: &dyn Environment) -> Option<String> {
        environment.denied(&self.identity.as_ref()?.claims)
    }

    /// When the socket is closed for its token: at the token's end and the grace for a renewal.
    fn token_ends(&self, claims: &Claims) -> UnixMs {
        UnixMs::from_seconds(claims.expires_at).plus_ms(i64::from(self.greeter.renewal_grace_ms))
    }
}

impl Identity {
    /// Whether the token has ended.
    #[must_use]
    pub fn is_expired(&self, now: UnixMs) -> bool {
        now >= UnixMs::from_seconds(self.claims.expires_at)
    }

    fn renew(&mut self, token: &str, now: UnixMs, environment: &dyn Environment, out: &mut Outputs) {
        match environment.verify(token, now) {
            Ok(claims) if claims.sub == self.claims.sub => {
                self.claims = claims;
                out.is_renewed = true;
                out.event(event::Body::Renewed(proto::Renewed { token_expires_at: self.claims.expires_at }));
            }
            Ok(claims) => {
                let (new, old) = (&claims.sub, &self.claims.sub);
                let message = format!("the token is of {new:?}, but this socket is {old:?}'s; open another socket");
                out.refuse(RefusalCode::Token, message);
            }
            Err(message) => out.refuse(RefusalCode::Token, message),
        }
    }
}
