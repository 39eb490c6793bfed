//! The behaviour of a client's socket, from Hello to its end: commands, receipts, pings, and the
//! expiry of its token.
//!
//! [`Connection::handle`] takes one input and appends to [`Outputs`]: events for the client,
//! records for the log, or the end of the socket. All events join into one frame, so that the
//! answers to many inputs are one message. Once the session's `close` is set, the connection sends
//! no more answers.
//!
//! Each Submit is either produced (handed to the log) or rejected. The client gets a receipt once
//! the log has acknowledged the record. After a time-out the log may or may not have the record;
//! then the client gets no answer and sends the command again (docs/design.md#ingest).

use crate::admission::{Admission, Admitted, Body, Submission};
use crate::numbers::{Numbers, fingerprint};
use crate::rate::{Bucket, Rates};
use crate::rejection::Rejection;
use bytes::Bytes;
use driftless_runtime_core::{Environment, Identity, Outputs as SessionOutputs, Session};
use driftless_schemas::proto::{self, RefusalCode, RejectCode, event, request};
use driftless_schemas::time::{MonotonicMs, Now};
use driftless_schemas::{ChunkId, Partition, Seq, close, limits};
use std::collections::BTreeMap;
use std::sync::Arc;

/// An event that a connection handles.
#[derive(Clone, Debug)]
pub enum Input<'a> {
    /// A binary websocket message arrived.
    Frame(Bytes),
    /// A message arrived that breaks the protocol, such as a text message or one that is too
    /// large. The string is the reason.
    Untrusted(&'a str),
    /// A long message cannot be held, because those of all connections together take too much
    /// memory. The string says so.
    NoRoom(&'a str),
    /// The client showed that it is alive: it sent a websocket ping or pong, or received bytes that
    /// were queued for it.
    Heard,
    /// The log has acknowledged the record with this token.
    Acknowledged(u32),
    /// The log does not have the record with this token and never will. The string is the reason.
    Refused(u32, &'a str),
    /// The log may or may not have the record with this token.
    Unknown(u32),
    /// The record with this token could not be handed to the log.
    Unsent(u32),
    /// Time has passed; see [`Connection::wake_at`].
    Tick,
}

/// A record to append to `commands`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Produce {
    /// Identifies the record: the shell passes the token back in [`Input::Acknowledged`],
    /// [`Input::Refused`], [`Input::Unknown`] or [`Input::Unsent`]. No two records in flight on a
    /// connection have the same token.
    pub token: u32,
    /// The partition of the topic `commands`.
    pub partition: Partition,
    /// The record's key in Kafka.
    pub key: Bytes,
    /// The record's value: an encoded `CommandRecord`.
    pub record: Bytes,
}

/// The outputs of a connection, which the shell must carry out.
#[derive(Debug, Default)]
pub struct Outputs {
    /// The frame of events for the client (those of the session and those of ingest), the codes of
    /// the refusals in it, and the end of the socket. The shell closes the socket after it has sent
    /// the frame.
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

/// The state of a client's socket: its session, and the commands that it submits.
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
    /// The user's bucket in `rates`; `None` before the first command.
    bucket: Option<Bucket>,
    numbers: Numbers,
    in_flight: BTreeMap<u32, (ChunkId, Seq)>,
    next_token: u32,
}

impl Connection {
    /// Creates the state of a socket that was just opened.
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

    /// Handles one input and appends the results to `out`.
    pub fn handle(&mut self, input: Input<'_>, now: Now, environment: &dyn Environment, out: &mut Outputs) {
        match input {
            Input::Frame(bytes) => self.frame(bytes, now, environment, out),
            Input::Untrusted(why) => out.session.end(close::FRAME_UNTRUSTED, why),
            Input::NoRoom(why) => {
                out.session.end(close::OVERLOADED, close::come_again(why, limits::ROOM_WAIT_MS as u32));
            }
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
                // The shell does not read from a full socket, so the client may have sent a message
                // that is still unread. The client therefore counts as alive.
                if self.is_full() {
                    self.session.heard(now.monotonic);
                }
                self.session.tick(now, environment, &mut out.session);
            }
        }
    }

    /// The number of commands that were handed to the log and whose outcome is not known yet.
    #[must_use]
    pub fn in_flight(&self) -> usize {
        self.intake.in_flight.len()
    }

    /// Returns true if too many commands are in flight: the shell then must not read from the
    /// socket until the log reports the outcome of one.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.in_flight() >= self.intake.admission.policy().in_flight_max
    }

    /// The time at which the shell must pass [`Input::Tick`] at the latest.
    #[must_use]
    pub fn wake_at(&self, now: Now) -> MonotonicMs {
        self.session.wake_at(now)
    }

    /// The client's identity; `None` before the client's Hello was accepted.
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
