//! A socket's whole life: Hello, commands, receipts, pings, the token's end.
//!
//! [`Connection::handle`] takes one input and appends what is to happen to [`Outputs`]: events in one encoded frame, so
//! that a turn of many inputs is one message; records to produce; or the end. After the session's `close` is
//! set, nothing more is answered.
//!
//! Each accepted Submit ends in exactly one of: produced, or rejected. A produced one is receipted when the log has it;
//! where the log cannot say (a time-out), nothing is said: the client sends again (section 8).

use crate::admission::{Admission, Admitted, Body, Submission};
use crate::numbers::{Numbers, fingerprint};
use crate::rate::{Bucket, Rates};
use crate::rejection::Rejection;
use bytes::Bytes;
use driftless_runtime_core::{Environment, Identity, Outputs as SessionOutputs, Session};
use driftless_schemas::proto::{self, RefusalCode, RejectCode, event, request};
use driftless_schemas::time::{MonotonicMs, Now};
use driftless_schemas::{ChunkId, Partition, Seq, close};
use std::collections::BTreeMap;
use std::sync::Arc;

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
    /// Time has passed; see [`Connection::wake_at`].
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

/// What is to happen.
#[derive(Debug, Default)]
pub struct Outputs {
    /// What the session says: events (ours are among them), refusals, and the end, after the frame.
    pub session: SessionOutputs,
    /// To append, in order.
    pub produce: Vec<Produce>,
    /// Receipts in the frame.
    pub receipts: u32,
    /// Rejections in the frame.
    pub rejected: Vec<RejectCode>,
}

impl Outputs {
    fn reject(&mut self, chunk_id: String, seq: u64, rejection: Rejection) {
        self.rejected.push(rejection.code);
        self.session.event(event::Body::Rejected(rejection.event(chunk_id, seq)));
    }
}

/// One socket.
#[derive(Debug)]
pub struct Connection {
    session: Session,
    intake: Intake,
}

/// What takes the commands of one socket.
#[derive(Debug)]
struct Intake {
    admission: Arc<Admission>,
    rates: Arc<Rates>,
    /// The user's, once it has said who it is.
    bucket: Option<Bucket>,
    numbers: Numbers,
    in_flight: BTreeMap<u32, (ChunkId, Seq)>,
    next_token: u32,
}

impl Connection {
    /// A socket that was just opened.
    #[must_use]
    pub fn new(admission: Arc<Admission>, rates: Arc<Rates>, now: MonotonicMs) -> Self {
        let session = Session::new(admission.greeter(), now);
        let intake = Intake {
            admission,
            rates,
            bucket: None,
            numbers: Numbers::default(),
            in_flight: BTreeMap::new(),
            next_token: 0,
        };
        Self { session, intake }
    }

    /// Takes one input.
    pub fn handle(&mut self, input: Input<'_>, now: Now, environment: &dyn Environment, out: &mut Outputs) {
        match input {
            Input::Frame(bytes) => self.frame(bytes, now, environment, out),
            Input::Untrusted(why) => out.session.end(close::FRAME_UNTRUSTED, why),
            Input::Heard => self.session.heard(now.monotonic),
            Input::Acknowledged(token) => {
                if let Some((chunk, seq)) = self.intake.in_flight.remove(&token) {
                    out.receipts += 1;
                    let receipt = proto::Receipt { chunk_id: chunk.to_string(), seq: seq.0 };
                    out.session.event(event::Body::Receipt(receipt));
                }
            }
            Input::Refused(token, reason) => {
                let rejection = self.intake.admission.refused_by_log(reason);
                self.intake.not_in_log(token, rejection, out);
            }
            Input::Unsent(token) => {
                let rejection = self.intake.admission.unavailable();
                self.intake.not_in_log(token, rejection, out);
            }
            Input::Unknown(token) => drop(self.intake.in_flight.remove(&token)),
            Input::Tick => {
                // The silence of a socket that we do not read is not the client's.
                if self.is_full() {
                    self.session.heard(now.monotonic);
                }
                self.session.tick(now, environment, &mut out.session);
            }
        }
    }

    /// Commands that the log has not answered for.
    #[must_use]
    pub fn in_flight(&self) -> usize {
        self.intake.in_flight.len()
    }

    /// Whether the socket should not be read until something in flight is answered for.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.in_flight() >= self.intake.admission.policy().in_flight_max
    }

    /// When [`Input::Tick`] is due at the latest.
    #[must_use]
    pub fn wake_at(&self, now: Now) -> MonotonicMs {
        self.session.wake_at(now)
    }

    /// Who is at the other end, once it has said so.
    #[must_use]
    pub fn identity(&self) -> Option<&Identity> {
        self.session.identity()
    }

    fn frame(&mut self, bytes: Bytes, now: Now, environment: &dyn Environment, out: &mut Outputs) {
        let Self { session, intake } = self;
        let Outputs { session: said, produce, rejected, .. } = out;
        session.frame(bytes, now, environment, said, &mut |who, request, said| match request {
            request::Body::Submit(submit) => match intake.submit(who, &submit, now) {
                Ok(command) => produce.push(command),
                Err(rejection) => {
                    rejected.push(rejection.code);
                    said.event(event::Body::Rejected(rejection.event(submit.chunk_id, submit.seq)));
                }
            },
            _ => said.refuse(RefusalCode::WrongService, "this is ingest; the gateway takes this request"),
        });
    }
}

impl Intake {
    fn submit(&mut self, who: &Identity, submit: &proto::Submit, now: Now) -> Result<Produce, Rejection> {
        let body = submit.body.as_ref().map(|body| match body {
            proto::submit::Body::Command(bytes) => Body::Command(bytes.clone()),
            proto::submit::Body::Settle(_) => Body::Settle,
        });
        let mark = fingerprint(submit.body.as_ref());
        let submission = Submission { chunk_id: &submit.chunk_id, seq: submit.seq, after: submit.after, body };
        let bucket = self.bucket.get_or_insert_with(|| self.rates.of(&who.claims.sub, now.monotonic));
        let numbers = &self.numbers;
        let Admitted { chunk, seq, partition, key, record } =
            self.admission.admit(who, submission, bucket, now, |chunk| numbers.is_reused(chunk, submit.seq, mark))?;
        self.numbers.remember(&chunk, submit.seq, mark);
        let token = self.next_token;
        self.next_token = token.wrapping_add(1);
        self.in_flight.insert(token, (chunk, seq));
        Ok(Produce { token, partition, key, record })
    }

    fn not_in_log(&mut self, token: u32, rejection: Rejection, out: &mut Outputs) {
        if let Some((chunk, seq)) = self.in_flight.remove(&token) {
            out.reject(chunk.to_string(), seq.0, rejection);
        }
    }
}
