//! One socket from Hello to its end: commands, receipts, pings, the expiry of its token.
//!
//! [`Connection::handle`] takes one input and appends to [`Outputs`]: events, which join into one
//! frame, so that a turn of many inputs is one message; records for the log; or the end of the
//! socket. The connection answers nothing more once the session's `close` is set.
//!
//! Each Submit is either produced (handed to the log) or rejected. The client gets a receipt once
//! the log has acknowledged the record. If the log does not say whether it has the record (a
//! time-out), the client hears nothing and sends the command again (docs/design.md#ingest).

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
    /// A binary websocket message arrived.
    Frame(Bytes),
    /// A message arrived that breaks the protocol: a text, or one that is too large. The text says
    /// how.
    Untrusted(&'a str),
    /// The client showed a sign of life: a websocket ping or pong, or it took bytes that waited.
    Heard,
    /// The log has acknowledged the record with this token.
    Acknowledged(u32),
    /// The log does not have the record and never will; the text says why.
    Refused(u32, &'a str),
    /// The log may or may not have the record.
    Unknown(u32),
    /// The record could not be handed to the log.
    Unsent(u32),
    /// Time has passed; see [`Connection::wake_at`].
    Tick,
}

/// A record to append to `commands`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Produce {
    /// The shell repeats the token in [`Input::Acknowledged`], [`Input::Refused`],
    /// [`Input::Unknown`] or [`Input::Unsent`]. No two records in flight on a connection have the
    /// same token.
    pub token: u32,
    /// Partition of `commands`.
    pub partition: Partition,
    /// The Kafka key.
    pub key: Bytes,
    /// An encoded `CommandRecord`.
    pub record: Bytes,
}

/// What a connection wants done.
#[derive(Debug, Default)]
pub struct Outputs {
    /// Events for the client (the session's and ingest's own), refusals, and the end of the socket,
    /// which comes after the frame.
    pub session: SessionOutputs,
    /// Records to append to the log, in order.
    pub produce: Vec<Produce>,
    /// The number of receipts in the frame.
    pub receipts: u32,
    /// The codes of the rejections in the frame.
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

/// Accepts or rejects the commands of one socket.
#[derive(Debug)]
struct Intake {
    admission: Arc<Admission>,
    rates: Arc<Rates>,
    /// The user's share of `rates`; `None` before the first command.
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

    /// Handles one input.
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
                // A full socket is not read, so the client may well have sent something.
                if self.is_full() {
                    self.session.heard(now.monotonic);
                }
                self.session.tick(now, environment, &mut out.session);
            }
        }
    }

    /// Commands handed to the log whose outcome the log has not said.
    #[must_use]
    pub fn in_flight(&self) -> usize {
        self.intake.in_flight.len()
    }

    /// Whether the socket is not to be read until the log has answered for a command in flight.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.in_flight() >= self.intake.admission.policy().in_flight_max
    }

    /// When [`Input::Tick`] is due at the latest.
    #[must_use]
    pub fn wake_at(&self, now: Now) -> MonotonicMs {
        self.session.wake_at(now)
    }

    /// The client's identity, once it has said Hello.
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
            _ => said.refuse(RefusalCode::WrongService, "ingest does not serve this request; send it to the gateway"),
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

#[cfg(test)]
mod tests;
