//! Websockets of clients, each served by a task of its own.
//!
//! A task works in turns. A turn handles all acknowledgements and messages that are ready. Then the
//! task hands the resulting records to the log and enqueues its answers as one message.
//!
//! The task does not read from the socket while the log has no room for its records, while too many
//! of its commands are in flight, or while more than [`limits::UNSENT_BYTES_MAX`] of its output
//! waits for the client; less if the output of all clients uses its budget up. TCP backpressure
//! then reaches the client, nothing is lost, and no queue of ingest grows.

use crate::context::Context;
use crate::producer::{Answer, Mailbox};
use bytes::Bytes;
use driftless_ingest_core::{Connection, Input, Outputs, Produce};
use driftless_log::AppendError;
use driftless_runtime_core::Close;
use driftless_runtime_core::pings::Pings;
use driftless_runtime_core::pool::Charge;
use driftless_schemas::time::MonotonicMs;
use driftless_schemas::{close, limits};
use driftless_web::http::ConnectionPermit;
use driftless_web::socket::{Inbound, InboundError, Reader, SendQueue, close_payload, finish};
use driftless_web::stream::Stream;
use std::collections::VecDeque;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// The largest number of messages that one turn handles.
const TURN_MESSAGES_MAX: usize = 64;
/// A turn handles no more messages once its answers have this many bytes.
const TURN_BYTES_MAX: usize = 256 * 1024;
/// A turn handles no more messages once their bytes are this many. Then other tasks run, so that a
/// client which sends as fast as it can keeps no worker.
const TURN_INPUT_MAX: usize = 64 * 1024;
/// A turn handles no more messages once it has this many records for the log.
const TURN_RECORDS_MAX: usize = 4096;
/// Ingest spreads the reconnections of its clients at a shutdown: each client is told to wait for a
/// random time up to this many milliseconds.
const RECONNECT_SPREAD_MS: u32 = 1_000;

/// Serves a socket until the client leaves, the core closes the socket, or ingest shuts down.
/// `begun` holds the bytes of the websocket that the HTTP connection has read already. `peer` is
/// the client's address, if it is known.
pub(crate) async fn serve(
    stream: Stream,
    begun: Bytes,
    permit: Option<ConnectionPermit>,
    peer: Option<IpAddr>,
    context: Arc<Context>,
) {
    let _open = Open::new(&context);
    let opened = context.clock.monotonic();
    let connection = Connection::new(Arc::clone(&context.admission), Arc::clone(&context.rates), opened);
    let mut task = Task {
        stream,
        reader: Reader::new(&context.input),
        inbox: VecDeque::new(),
        output: SendQueue::default(),
        charge: context.output.charge(),
        ping: None,
        pings: Pings::default(),
        is_greeted: false,
        write_deadline: None,
        connection,
        permit,
        peer,
        mailbox: context.producer.open_mailbox(),
        context: &context,
        out: Outputs::default(),
        unsent: Vec::new(),
        unsent_since: Instant::now(),
        attempts: 0,
        sample: None,
    };
    task.read(&begun);
    // Dropping `begun` frees the buffer of the HTTP connection, the largest allocation that an
    // idle socket would otherwise keep.
    drop(begun);
    let ending = task.run().await;
    let is_greeted = task.is_greeted;
    let Task { stream, output, .. } = task;
    if let Some(Close { code, reason }) = ending {
        context.metrics.closed(code);
        tracing::debug!(code, reason, "websocket closed");
        finish(stream, output, close_payload(code, &reason), is_greeted).await;
    }
}

/// Counts one open socket in the metric. `Drop` ends the count, so that it is correct even if the
/// socket's task panics.
struct Open<'a>(&'a Context);

impl<'a> Open<'a> {
    fn new(context: &'a Context) -> Self {
        context.metrics.sockets.increment(1);
        Self(context)
    }
}

impl Drop for Open<'_> {
    fn drop(&mut self) {
        self.0.metrics.sockets.decrement(1);
    }
}

struct Task<'a> {
    stream: Stream,
    reader: Reader,
    /// Messages that were read and not handled yet; they all come from a single read.
    inbox: VecDeque<Result<Inbound, InboundError>>,
    /// Messages to the client that the socket has not accepted yet.
    output: SendQueue,
    /// The charge of the output on the budget of all sockets.
    charge: Charge,
    /// The payload of the newest ping that has no pong yet. RFC 6455 allows one pong for several
    /// pings, so never more than one waits.
    ping: Option<Bytes>,
    pings: Pings,
    /// True once the client's Hello is accepted.
    is_greeted: bool,
    /// When the socket is closed if the message that is being written is not complete by then.
    /// `None` while the output queue is empty.
    write_deadline: Option<Instant>,
    connection: Connection,
    /// The permit of this connection. Once the client's Hello is accepted, the connection no longer
    /// counts for its address.
    permit: Option<ConnectionPermit>,
    /// The client's address, for the log.
    peer: Option<IpAddr>,
    mailbox: Mailbox,
    context: &'a Context,
    out: Outputs,
    /// Records that the log had no room for, in order.
    unsent: Vec<Produce>,
    unsent_since: Instant,
    /// How often in a row the task has found no room for `unsent`.
    attempts: u32,
    /// The record (token, time of the append) whose time until its acknowledgement is measured for
    /// the metric; one at a time.
    sample: Option<(u32, Instant)>,
}

/// The event that ended the wait between two turns.
enum Event {
    Answers(Vec<Answer>),
    Readable,
    Writable,
    WriteTimeout,
    Time,
    Shutdown,
}

impl Task<'_> {
    /// Runs turns until the socket must be closed. Returns the code and reason for the client, or
    /// `None` if no close frame is to be sent, because the client has left or receives nothing.
    async fn run(&mut self) -> Option<Close> {
        let shutdown = self.context.shutdown.clone();
        let mut asked = std::pin::pin!(shutdown.wait());
        let mut changes = self.context.verifier.changes();
        let mut timer = std::pin::pin!(tokio::time::sleep(Duration::ZERO));
        let mut wakes_at = MonotonicMs(0);
        loop {
            // Most turns move the deadline further away. The timer is reset only if it would fire
            // too late; firing too early costs only an extra tick.
            let now = self.context.clock.now();
            let wake_at = self.connection.wake_at(now);
            if timer.is_elapsed() || wake_at < wakes_at {
                wakes_at = wake_at;
                timer.as_mut().reset(Instant::now() + now.monotonic.until(wake_at));
            }
            let reads = self.may_read();
            let write_deadline = self.write_deadline;
            let event = tokio::select! {
                biased;
                () = &mut asked => Event::Shutdown,
                answers = self.mailbox.next() => Event::Answers(answers),
                _ = self.stream.writable(), if write_deadline.is_some() => Event::Writable,
                () = std::future::ready(()), if reads && !self.inbox.is_empty() => Event::Readable,
                // The result is ignored: if the socket is broken, the read below returns the error.
                _ = self.stream.readable(), if reads => Event::Readable,
                () = sleep_until(write_deadline), if write_deadline.is_some() => Event::WriteTimeout,
                () = self.context.producer.wait_for_room(self.attempts), if !self.unsent.is_empty() => Event::Time,
                () = &mut timer => Event::Time,
                // The keys or the deny list have changed, so the session must check its token
                // again.
                _ = changes.changed() => Event::Time,
            };
            match event {
                Event::Shutdown => return self.drain().await,
                Event::Answers(answers) => self.answers(answers),
                Event::WriteTimeout => return self.write_timeout(),
                Event::Time => self.input(Input::Tick),
                Event::Readable | Event::Writable => {}
            }
            if self.handle_what_is_ready()? {
                // A socket that always has bytes is always ready, so that this loop would never
                // wait.
                tokio::task::yield_now().await;
            }
            self.hand_over();
            self.send()?;
            if let Some(close) = self.out.session.close.take() {
                self.flush_all().await?;
                return Some(close);
            }
        }
    }

    fn input(&mut self, input: Input<'_>) {
        let verifier = self.context.verifier.at(self.peer);
        self.connection.handle(input, self.context.clock.now(), &verifier, &mut self.out);
    }

    /// Returns true if the next message may be read and handled.
    fn may_read(&self) -> bool {
        let is_over = self.output.bytes() > limits::OUTPUT_FREE_BYTES && !self.context.output.has_room(0);
        if is_over {
            return false;
        }
        self.unsent.is_empty() && !self.connection.is_full() && self.output.bytes() <= limits::UNSENT_BYTES_MAX
    }

    /// Handles answers and messages that are ready, without waiting, up to the limits of a turn.
    /// Returns true if there were messages, and `None` if the client has left.
    fn handle_what_is_ready(&mut self) -> Option<bool> {
        while let Some(answers) = self.mailbox.try_next() {
            self.answers(answers);
        }
        let (mut count, mut input) = (0, 0);
        while count < TURN_MESSAGES_MAX && input < TURN_INPUT_MAX {
            let has_room = self.out.session.frame.len() < TURN_BYTES_MAX && self.out.produce.len() < TURN_RECORDS_MAX;
            if !has_room || !self.may_read() || self.out.session.close.is_some() {
                break;
            }
            match self.next_message()? {
                Some(message) => {
                    input += message.as_ref().map_or(0, Inbound::len);
                    count += 1;
                    self.message(message)?;
                }
                None => break,
            }
        }
        Some(count > 0)
    }

    /// Returns the next message and reads from the socket if the inbox is empty. Returns
    /// `Some(None)` if no message is ready, and `None` if the client has left.
    fn next_message(&mut self) -> Option<Option<Result<Inbound, InboundError>>> {
        loop {
            if let Some(message) = self.inbox.pop_front() {
                return Some(Some(message));
            }
            let Self { stream, reader, inbox, .. } = self;
            match stream.read_ready(|bytes| feed(reader, bytes, inbox)) {
                Ok(Some(())) => {}
                Ok(None) => return Some(None),
                Err(_) => return None,
            }
        }
    }

    fn read(&mut self, bytes: &[u8]) {
        feed(&mut self.reader, bytes, &mut self.inbox);
    }

    /// Handles one message. Returns `None` if the client has left.
    fn message(&mut self, message: Result<Inbound, InboundError>) -> Option<()> {
        match message {
            Ok(Inbound::Binary(bytes)) => {
                self.context.metrics.received_bytes.increment(bytes.len() as u64);
                self.input(Input::Frame(bytes));
            }
            Ok(Inbound::Text) => self.input(Input::Untrusted("a text message came; messages are binary ClientFrames")),
            Ok(Inbound::Ping(payload)) => {
                if let Err(why) = self.pings.take(self.context.clock.monotonic()) {
                    self.input(Input::Untrusted(&why));
                    return Some(());
                }
                self.ping = Some(payload);
                self.input(Input::Heard);
            }
            Ok(Inbound::Pong) => self.input(Input::Heard),
            Ok(Inbound::Close(payload)) => {
                // The client leaves and waits only for the close frame. One attempt to write it is
                // enough: if the socket accepts nothing now, the frame is dropped.
                self.output.push_close(payload);
                let _ = self.output.flush(&self.stream);
                return None;
            }
            Err(error) => self.input(Input::Untrusted(&error.to_string())),
        }
        Some(())
    }

    fn answers(&mut self, answers: Vec<Answer>) {
        let now = self.context.clock.now();
        for Answer { token, result } in answers {
            if let Some((_, since)) = self.sample.take_if(|(sampled, _)| *sampled == token) {
                self.context.metrics.receipt_seconds.record(since.elapsed());
            }
            let input = match &result {
                Ok(_) => Input::Acknowledged(token),
                Err(AppendError::Refused(reason)) => {
                    if let Some(others) = self.context.refused_log.due(Instant::now().into_std()) {
                        tracing::error!(reason, others, "the log refuses a command; its client was told");
                    }
                    Input::Refused(token, reason)
                }
                Err(AppendError::Unknown(reason)) => {
                    self.context.metrics.unacknowledged.increment(1);
                    if let Some(others) = self.context.unacknowledged_log.due(Instant::now().into_std()) {
                        tracing::warn!(reason, others, "a command was not acknowledged; its client sends it again");
                    }
                    Input::Unknown(token)
                }
            };
            self.connection.handle(input, now, &self.context.verifier.at(self.peer), &mut self.out);
        }
    }

    /// Hands the turn's records to the log. Records that the log has no room for stay in `unsent`.
    fn hand_over(&mut self) {
        let was_waiting = !self.unsent.is_empty();
        let mut records = std::mem::take(&mut self.unsent);
        records.append(&mut self.out.produce);
        if records.is_empty() {
            return;
        }
        let (count, last) = (records.len(), records.last().map(|record| record.token));
        self.unsent = self.context.producer.append(&self.mailbox, records);
        let metrics = &self.context.metrics;
        metrics.produced.increment((count - self.unsent.len()) as u64);
        metrics.in_flight.set(self.context.producer.in_flight() as f64);
        if self.unsent.is_empty() {
            self.attempts = 0;
            self.sample = self.sample.or_else(|| last.map(|token| (token, Instant::now())));
        } else if !was_waiting || self.unsent.len() < count {
            // The wait begins, or there was room for some records.
            self.attempts = 0;
            self.unsent_since = Instant::now();
            metrics.back_pressure.increment(u64::from(!was_waiting));
        } else if self.unsent_since.elapsed() >= self.context.settings.waits.room() {
            self.give_up_unsent();
        } else {
            self.attempts = self.attempts.saturating_add(1);
        }
    }

    fn give_up_unsent(&mut self) {
        for record in std::mem::take(&mut self.unsent) {
            self.input(Input::Unsent(record.token));
        }
    }

    /// Enqueues the turn's answers as one message and writes as many bytes as the socket accepts
    /// now. Returns `None` if the client has left.
    fn send(&mut self) -> Option<()> {
        self.count();
        if std::mem::take(&mut self.out.session.is_greeted) {
            self.reader.greeted();
            self.is_greeted = true;
            self.permit.take().iter().for_each(ConnectionPermit::release_address);
        }
        if !self.out.session.frame.is_empty() {
            self.output.push_binary(self.out.session.frame.split().freeze());
        }
        self.flush()?;
        // Behind other output the pong waits, so that pings cannot make the queue longer.
        if self.output.is_empty()
            && let Some(payload) = self.ping.take()
        {
            self.output.push_pong(payload);
            self.flush()?;
        }
        Some(())
    }

    fn flush(&mut self) -> Option<()> {
        let was_blocked = self.write_deadline.is_some();
        let flushed = self.output.flush(&self.stream).ok()?;
        if was_blocked && flushed.bytes > 0 {
            // A client that receives bytes is alive, even while ingest does not read from its
            // socket.
            self.input(Input::Heard);
        }
        if self.charge.bytes() != self.output.bytes() {
            self.charge.set(self.output.bytes());
        }
        if self.output.is_empty() {
            self.write_deadline = None;
        } else if !was_blocked || flushed.messages > 0 {
            self.write_deadline = Some(Instant::now() + self.context.settings.waits.write());
        }
        Some(())
    }

    /// Waits until all output is written. Returns `None` if that takes too long, or if the client
    /// has left.
    async fn flush_all(&mut self) -> Option<()> {
        let drained = self.output.drain(&self.stream);
        match tokio::time::timeout(self.context.settings.waits.write(), drained).await {
            Ok(result) => result.ok(),
            Err(_) => {
                self.write_timeout();
                None
            }
        }
    }

    /// Counts the end of a socket whose client receives nothing. Returns `None`, because a close
    /// frame would only queue up behind the other output.
    fn write_timeout(&self) -> Option<Close> {
        self.context.metrics.closed(close::WRITE_TIMEOUT);
        None
    }

    fn count(&mut self) {
        let metrics = &self.context.metrics;
        if self.out.receipts > 0 {
            metrics.receipts.increment(u64::from(std::mem::take(&mut self.out.receipts)));
        }
        self.out.rejected.drain(..).for_each(|code| metrics.rejected(code));
        self.out.session.refused.drain(..).for_each(|code| metrics.refused(code));
    }

    /// Shuts the socket down gracefully: stops reading, sends the receipts for the commands in
    /// flight, and then closes with a code that tells the client to connect again.
    async fn drain(&mut self) -> Option<Close> {
        self.give_up_unsent();
        self.send()?;
        self.flush_all().await?;
        let deadline = Instant::now() + self.context.settings.waits.drain();
        while self.connection.in_flight() > 0 {
            match tokio::time::timeout_at(deadline, self.mailbox.next()).await {
                Ok(answers) => self.answers(answers),
                // The client gets no receipts for the remaining commands, so it resends them to
                // another ingest process.
                Err(_) => break,
            }
            self.send()?;
            self.flush_all().await?;
        }
        let after_ms = rand::random_range(0..=RECONNECT_SPREAD_MS);
        let reason = close::come_again("this server is shutting down; connect again", after_ms);
        Some(Close { code: close::SHUTTING_DOWN, reason })
    }
}

/// Feeds bytes to the reader. Appends each message that they complete to `inbox`, and then the
/// error if the bytes are invalid.
fn feed(reader: &mut Reader, bytes: &[u8], inbox: &mut VecDeque<Result<Inbound, InboundError>>) {
    if let Err(error) = reader.feed(bytes, &mut |message| inbox.push_back(Ok(message))) {
        inbox.push_back(Err(error));
    }
}

async fn sleep_until(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => tokio::time::sleep_until(deadline).await,
        None => std::future::pending().await,
    }
}
