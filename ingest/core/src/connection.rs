//! A socket's whole life: Hello, commands, receipts, pings, the token's end.
//!
//! [`Connection::handle`] takes one input and appends what is to happen to [`Outputs`]: events in one encoded frame, so
//! that a turn of many inputs is one message; records to produce; or the end. After [`Outputs::close`] is set, nothing
//! more is answered.
//!
//! Each accepted Submit ends in exactly one of: produced, or rejected. A produced one is receipted when the log has it;
//! where the log cannot say (a time-out), nothing is said: the client sends again (section 8).

use crate::admission::{Admission, Admitted, Body, Identity, Submission};
use crate::hello::greet;
use crate::numbers::{Numbers, fingerprint};
use crate::rate::{Bucket, Rates};
use crate::rejection::{Rejection, bounded};
use crate::requests::{FrameError, take_apart};
use bytes::{Bytes, BytesMut};
use driftless_schemas::access::Claims;
use driftless_schemas::proto::{self, RefusalCode, RejectCode, event, request};
use driftless_schemas::{ChunkId, Partition, Seq, close, format, limits};
use std::collections::BTreeMap;
use std::sync::Arc;

/// What a connection asks of the world around it.
pub trait Outside {
    /// Checks a token.
    ///
    /// # Errors
    /// What is wrong with it, for people.
    fn verify(&self, token: &str, now_ms: i64) -> Result<Claims, String>;
    /// Randomness for a new session.
    fn random(&self) -> [u8; 10];
}

/// What happens to a connection.
#[derive(Clone, Debug)]
pub enum Input<'a> {
    /// A binary message.
    Frame(Bytes),
    /// A message that cannot be one of ours: a text, or more than the socket takes.
    Untrusted(&'a str),
    /// A sign of life without content.
    Heard,
    /// The log has the record with this token.
    Acknowledged(u32),
    /// The log does not have it and never will.
    Refused(u32, &'a str),
    /// The log may or may not have it.
    Unknown(u32),
    /// It could not be handed to the log.
    Unsent(u32),
    /// Time has passed; see [`Connection::wake_at_ms`].
    Tick,
}

/// A record to append to `commands`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Produce {
    /// Comes back in [`Input::Acknowledged`] and its siblings. Unique among what is in flight on this connection.
    pub token: u32,
    /// Partition of `commands`.
    pub partition: Partition,
    /// The Kafka key.
    pub key: Bytes,
    /// An encoded `CommandRecord`.
    pub record: Bytes,
}

/// The end of a socket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Close {
    /// One of [`driftless_schemas::close`].
    pub code: u16,
    /// For people.
    pub reason: String,
}

impl Close {
    pub(crate) fn new(code: u16, reason: impl Into<String>) -> Self {
        Self { code, reason: reason.into() }
    }
}

/// What is to happen.
#[derive(Debug, Default)]
pub struct Outputs {
    /// Encoded events; together a `ServerFrame`.
    pub frame: BytesMut,
    /// To append, in order.
    pub produce: Vec<Produce>,
    /// Set when the socket is to be closed, after the frame.
    pub close: Option<Close>,
    /// Receipts in the frame.
    pub receipts: u32,
    /// Rejections in the frame.
    pub rejected: Vec<RejectCode>,
    /// Refusals in the frame.
    pub refused: Vec<RefusalCode>,
}

impl Outputs {
    fn event(&mut self, body: event::Body) {
        format::push_event(&mut self.frame, body);
    }

    fn refuse(&mut self, code: RefusalCode, message: impl Into<String>) {
        self.refused.push(code);
        let message = bounded(message.into());
        self.event(event::Body::Refused(proto::Refused { code: code.into(), message }));
    }

    fn reject(&mut self, chunk_id: String, seq: u64, rejection: Rejection) {
        self.rejected.push(rejection.code);
        self.event(event::Body::Rejected(rejection.event(chunk_id, seq)));
    }

    fn end(&mut self, code: u16, reason: impl Into<String>) {
        self.close.get_or_insert_with(|| Close::new(code, reason));
    }
}

/// One socket.
#[derive(Debug)]
pub struct Connection {
    admission: Arc<Admission>,
    rates: Arc<Rates>,
    opened_ms: i64,
    heard_ms: i64,
    pinged_ms: i64,
    pings: u64,
    client: Option<Client>,
    in_flight: BTreeMap<u32, (ChunkId, Seq)>,
    next_token: u32,
}

/// Who is at the other end, once it has said so.
#[derive(Debug)]
struct Client {
    identity: Identity,
    bucket: Bucket,
    numbers: Numbers,
}

impl Connection {
    /// A socket that was just opened.
    #[must_use]
    pub fn new(admission: Arc<Admission>, rates: Arc<Rates>, now_ms: i64) -> Self {
        Self {
            admission,
            rates,
            opened_ms: now_ms,
            heard_ms: now_ms,
            pinged_ms: now_ms,
            pings: 0,
            client: None,
            in_flight: BTreeMap::new(),
            next_token: 0,
        }
    }

    /// Takes one input.
    pub fn handle(&mut self, input: Input<'_>, now_ms: i64, outside: &dyn Outside, out: &mut Outputs) {
        match input {
            Input::Frame(bytes) => self.frame(bytes, now_ms, outside, out),
            Input::Untrusted(why) => out.end(close::FRAME_UNTRUSTED, why),
            Input::Heard => self.heard_ms = now_ms,
            Input::Acknowledged(token) => {
                if let Some((chunk, seq)) = self.in_flight.remove(&token) {
                    out.receipts += 1;
                    out.event(event::Body::Receipt(proto::Receipt { chunk_id: chunk.to_string(), seq: seq.0 }));
                }
            }
            Input::Refused(token, reason) => {
                let rejection = self.admission.refused_by_log(reason);
                self.not_in_log(token, rejection, out);
            }
            Input::Unsent(token) => {
                let rejection = self.admission.unavailable();
                self.not_in_log(token, rejection, out);
            }
            Input::Unknown(token) => drop(self.in_flight.remove(&token)),
            Input::Tick => self.tick(now_ms, out),
        }
    }

    /// Commands that the log has not answered for.
    #[must_use]
    pub fn in_flight(&self) -> usize {
        self.in_flight.len()
    }

    /// Whether the socket should not be read until something in flight is answered for.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.in_flight.len() >= self.admission.policy().in_flight_max
    }

    /// When [`Input::Tick`] is due at the latest.
    #[must_use]
    pub fn wake_at_ms(&self) -> i64 {
        let dead = self.heard_ms.saturating_add(limits::DEAD_AFTER_MS as i64);
        let other = match &self.client {
            None => self.opened_ms.saturating_add(limits::HELLO_TIMEOUT_MS as i64),
            Some(client) => {
                let ping = self.pinged_ms.saturating_add(limits::PING_INTERVAL_MS as i64);
                ping.min(self.token_ends_ms(&client.identity.claims))
            }
        };
        dead.min(other)
    }

    /// Who is at the other end, once it has said so.
    #[must_use]
    pub fn identity(&self) -> Option<&Identity> {
        self.client.as_ref().map(|client| &client.identity)
    }

    fn token_ends_ms(&self, claims: &Claims) -> i64 {
        let grace_ms = i64::from(self.admission.policy().renewal_grace_ms);
        claims.expires_at.saturating_mul(1000).saturating_add(grace_ms)
    }

    fn not_in_log(&mut self, token: u32, rejection: Rejection, out: &mut Outputs) {
        if let Some((chunk, seq)) = self.in_flight.remove(&token) {
            out.reject(chunk.to_string(), seq.0, rejection);
        }
    }

    fn tick(&mut self, now_ms: i64, out: &mut Outputs) {
        // The silence of a socket that we do not read is not the client's.
        if self.is_full() {
            self.heard_ms = self.heard_ms.max(now_ms);
        }
        if now_ms.saturating_sub(self.heard_ms) >= limits::DEAD_AFTER_MS as i64 {
            return out.end(close::DEAD_PEER, format!("nothing was heard for {} ms", limits::DEAD_AFTER_MS));
        }
        let Some(client) = &self.client else {
            if now_ms.saturating_sub(self.opened_ms) >= limits::HELLO_TIMEOUT_MS as i64 {
                out.end(close::NO_HELLO, format!("no Hello came within {} ms", limits::HELLO_TIMEOUT_MS));
            }
            return;
        };
        let claims = &client.identity.claims;
        if now_ms >= self.token_ends_ms(claims) {
            let reason = format!("the token expired at {} (seconds since 1970) and was not renewed", claims.expires_at);
            return out.end(close::TOKEN, reason);
        }
        if now_ms.saturating_sub(self.pinged_ms) >= limits::PING_INTERVAL_MS as i64 {
            self.pinged_ms = now_ms;
            self.pings += 1;
            out.event(event::Body::Ping(proto::Ping { nonce: self.pings }));
        }
    }

    fn frame(&mut self, bytes: Bytes, now_ms: i64, outside: &dyn Outside, out: &mut Outputs) {
        self.heard_ms = now_ms;
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
                Ok(request) => self.request(request.body, now_ms, outside, out),
                Err(e) => out.refuse(RefusalCode::Undecodable, format!("a request cannot be decoded: {e}")),
            }
        }
    }

    fn request(&mut self, body: Option<request::Body>, now_ms: i64, outside: &dyn Outside, out: &mut Outputs) {
        use request::Body as Request;
        match (body, self.client.as_mut()) {
            (None, _) => out.refuse(
                RefusalCode::Undecodable,
                "a request has no body that this version knows; is the client newer than the server?",
            ),
            (Some(Request::Ping(ping)), _) => out.event(event::Body::Pong(proto::Pong { nonce: ping.nonce })),
            (Some(Request::Pong(_)), _) => {}
            (Some(Request::Hello(_)), Some(_)) => {
                out.refuse(RefusalCode::HelloRepeated, "this socket had its Hello; use Renew for a fresh token");
            }
            (Some(Request::Hello(hello)), None) => self.hello(&hello, now_ms, outside, out),
            (Some(_), None) => out.refuse(RefusalCode::HelloExpected, "Hello must come first"),
            (Some(Request::Renew(renew)), Some(client)) => client.renew(&renew.token, now_ms, outside, out),
            (Some(Request::Submit(submit)), Some(_)) => self.submit(submit, now_ms, out),
            (
                Some(Request::Track(_) | Request::Untrack(_) | Request::Refresh(_) | Request::DriftReport(_)),
                Some(_),
            ) => out.refuse(RefusalCode::WrongService, "this is ingest; the gateway takes this request"),
        }
    }

    fn hello(&mut self, hello: &proto::Hello, now_ms: i64, outside: &dyn Outside, out: &mut Outputs) {
        match greet(&self.admission, hello, now_ms, outside) {
            Ok((identity, welcome)) => {
                let bucket = self.rates.of(&identity.claims.sub, now_ms);
                self.client = Some(Client { identity, bucket, numbers: Numbers::default() });
                self.pinged_ms = now_ms;
                out.event(event::Body::Welcome(welcome));
            }
            Err(Close { code, reason }) => out.end(code, reason),
        }
    }

    fn submit(&mut self, submit: proto::Submit, now_ms: i64, out: &mut Outputs) {
        let Some(client) = self.client.as_mut() else { return };
        match client.admit(&self.admission, &submit, now_ms) {
            Ok(Admitted { chunk, seq, partition, key, record }) => {
                let token = self.next_token;
                self.next_token = token.wrapping_add(1);
                self.in_flight.insert(token, (chunk, seq));
                out.produce.push(Produce { token, partition, key, record });
            }
            Err(rejection) => out.reject(submit.chunk_id, submit.seq, rejection),
        }
    }
}

impl Client {
    fn admit(&mut self, admission: &Admission, submit: &proto::Submit, now_ms: i64) -> Result<Admitted, Rejection> {
        let body = submit.body.as_ref().map(|body| match body {
            proto::submit::Body::Command(bytes) => Body::Command(bytes.clone()),
            proto::submit::Body::Settle(_) => Body::Settle,
        });
        let mark = fingerprint(submit.body.as_ref());
        let submission = Submission { chunk_id: &submit.chunk_id, seq: submit.seq, after: submit.after, body };
        let numbers = &self.numbers;
        let admitted = admission.admit(&self.identity, submission, &self.bucket, now_ms, |chunk| {
            numbers.is_reused(chunk, submit.seq, mark)
        })?;
        self.numbers.remember(&admitted.chunk, submit.seq, mark);
        Ok(admitted)
    }

    fn renew(&mut self, token: &str, now_ms: i64, outside: &dyn Outside, out: &mut Outputs) {
        match outside.verify(token, now_ms) {
            Ok(claims) if claims.sub == self.identity.claims.sub => self.identity.claims = claims,
            Ok(claims) => {
                let message = format!(
                    "the token is of {:?}, but this socket is {:?}'s; open another socket",
                    claims.sub, self.identity.claims.sub
                );
                out.refuse(RefusalCode::Token, message);
            }
            Err(message) => out.refuse(RefusalCode::Token, message),
        }
    }
}
