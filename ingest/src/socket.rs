//! One websocket, one task.
//!
//! A turn takes everything that is there: acknowledgements and messages. Then records are handed over, and what there is to say
//! goes out as one message. While the log has no room for this socket's records, or too many are in flight, the socket is not
//! read: TCP tells the client (back-pressure, no loss).

use crate::Shared;
use crate::handover::{Answer, Mailbox};
use bytes::Bytes;
use driftless_ingest_core::{Connection, Input, Outputs, Produce};
use driftless_log::AppendError;
use driftless_runtime_core::Close;
use driftless_schemas::time::MonotonicMs;
use driftless_web::http::ConnectionPermit;
use driftless_web::socket::{Socket, close, end};
use futures_util::{FutureExt as _, SinkExt as _, StreamExt as _};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;
use tokio_tungstenite::tungstenite::{Error as SocketError, Message};

/// Messages that are taken in one turn.
const TURN_MESSAGES_MAX: usize = 64;
/// A turn ends when there is so much to say, or to hand over.
const TURN_BYTES_MAX: usize = 256 * 1024;
const TURN_RECORDS_MAX: usize = 4096;
/// Clients of an ingest that ends come again within this, milliseconds.
const RECONNECT_SPREAD_MS: u32 = 1_000;

/// Serves until the client goes, the core closes, or the end is asked for.
pub(crate) async fn serve(socket: Socket, permit: Option<ConnectionPermit>, shared: Arc<Shared>) {
    let _open = Open::new(&shared);
    let opened = shared.clock.monotonic();
    let connection = Connection::new(Arc::clone(&shared.admission), Arc::clone(&shared.rates), opened);
    let mailbox = shared.handover.mailbox();
    let mut task = Task {
        socket,
        connection,
        permit,
        mailbox,
        shared: &shared,
        out: Outputs::default(),
        unsent: Vec::new(),
        unsent_since: Instant::now(),
        attempts: 0,
        sample: None,
    };
    let ending = task.run().await;
    let Task { socket, .. } = task;
    if let Some(Close { code, reason }) = ending {
        shared.metrics.closed(code);
        tracing::debug!(code, reason, "websocket closed");
        end(socket, code, &reason).await;
    }
}

/// Counts an open socket, also if its task should panic.
struct Open<'a>(&'a Shared);

impl<'a> Open<'a> {
    fn new(shared: &'a Shared) -> Self {
        shared.metrics.sockets.increment(1);
        Self(shared)
    }
}

impl Drop for Open<'_> {
    fn drop(&mut self) {
        self.0.metrics.sockets.decrement(1);
    }
}

struct Task<'a> {
    socket: Socket,
    connection: Connection,
    /// Until it has said who it is.
    permit: Option<ConnectionPermit>,
    mailbox: Mailbox,
    shared: &'a Arc<Shared>,
    out: Outputs,
    /// Records that the log had no room for, in order.
    unsent: Vec<Produce>,
    unsent_since: Instant,
    /// How often room was looked for since there was some.
    attempts: u32,
    /// One record whose way to its acknowledgement is measured.
    sample: Option<(u32, Instant)>,
}

/// What ended the wait between two turns.
enum Event {
    Answers(Vec<Answer>),
    Message(Option<Result<Message, SocketError>>),
    Time,
    Shutdown,
}

impl Task<'_> {
    /// `None` when the client has gone.
    async fn run(&mut self) -> Option<Close> {
        let shutdown = self.shared.shutdown.clone();
        let mut asked = std::pin::pin!(shutdown.wait());
        let mut changes = self.shared.verifier.changes();
        let mut timer = std::pin::pin!(tokio::time::sleep(Duration::ZERO));
        let mut wakes_at = MonotonicMs(0);
        loop {
            // The timer is set anew only where it would ring too late: most turns move the deadline away.
            let now = self.shared.clock.now();
            let wake_at = self.connection.wake_at(now);
            if timer.is_elapsed() || wake_at < wakes_at {
                wakes_at = wake_at;
                timer.as_mut().reset(Instant::now() + now.monotonic.until(wake_at));
            }
            let reads = self.unsent.is_empty() && !self.connection.is_full();
            let event = tokio::select! {
                biased;
                () = &mut asked => Event::Shutdown,
                answers = self.mailbox.next() => Event::Answers(answers),
                message = self.socket.next(), if reads => Event::Message(message),
                () = self.shared.handover.room(self.attempts), if !self.unsent.is_empty() => Event::Time,
                () = &mut timer => Event::Time,
                // The verifier lives as long as this.
                _ = changes.changed() => Event::Time,
            };
            match event {
                Event::Shutdown => return self.drain().await,
                Event::Answers(answers) => self.answers(answers),
                Event::Message(message) => self.message(message)?,
                Event::Time => self.input(Input::Tick),
            }
            self.take_what_is_there()?;
            self.hand_over();
            self.write().await?;
            if let Some(close) = self.out.session.close.take() {
                return Some(close);
            }
        }
    }

    fn input(&mut self, input: Input<'_>) {
        self.connection.handle(input, self.shared.clock.now(), &self.shared.verifier, &mut self.out);
    }

    /// More answers and messages, without waiting.
    fn take_what_is_there(&mut self) -> Option<()> {
        while let Some(answers) = self.mailbox.try_next() {
            self.answers(answers);
        }
        for _ in 0..TURN_MESSAGES_MAX {
            let has_room = self.out.session.frame.len() < TURN_BYTES_MAX && self.out.produce.len() < TURN_RECORDS_MAX;
            if !has_room || !self.unsent.is_empty() || self.connection.is_full() || self.out.session.close.is_some() {
                break;
            }
            match self.socket.next().now_or_never() {
                Some(message) => self.message(message)?,
                None => break,
            }
        }
        Some(())
    }

    /// `None` when the client has gone.
    fn message(&mut self, message: Option<Result<Message, SocketError>>) -> Option<()> {
        match message? {
            Ok(Message::Binary(bytes)) => {
                self.shared.metrics.received_bytes.increment(bytes.len() as u64);
                self.input(Input::Frame(bytes));
            }
            Ok(Message::Text(_)) => {
                self.input(Input::Untrusted("a text message came; messages are binary ClientFrames"))
            }
            Ok(Message::Ping(_) | Message::Pong(_) | Message::Frame(_)) => self.input(Input::Heard),
            Ok(Message::Close(_)) => {
                // The answer to a close is queued already; it goes out now or not at all.
                let _ = self.socket.flush().now_or_never();
                return None;
            }
            Err(SocketError::Capacity(e)) => self.input(Input::Untrusted(&format!("too large: {e}"))),
            Err(SocketError::Protocol(e)) => self.input(Input::Untrusted(&format!("no websocket frame: {e}"))),
            Err(_) => return None,
        }
        Some(())
    }

    fn answers(&mut self, answers: Vec<Answer>) {
        let now = self.shared.clock.now();
        for Answer { token, result } in answers {
            if let Some((_, since)) = self.sample.take_if(|(sampled, _)| *sampled == token) {
                self.shared.metrics.receipt_seconds.record(since.elapsed());
            }
            let input = match &result {
                Ok(_) => Input::Acknowledged(token),
                Err(AppendError::Refused(reason)) => {
                    if let Some(others) = self.shared.refused.due(Instant::now().into_std()) {
                        tracing::error!(reason, others, "the log refuses a command; its client was told");
                    }
                    Input::Refused(token, reason)
                }
                Err(AppendError::Unknown(reason)) => {
                    self.shared.metrics.unacknowledged.increment(1);
                    if let Some(others) = self.shared.unacknowledged.due(Instant::now().into_std()) {
                        tracing::warn!(reason, others, "a command was not acknowledged; its client sends it again");
                    }
                    Input::Unknown(token)
                }
            };
            self.connection.handle(input, now, &self.shared.verifier, &mut self.out);
        }
    }

    fn hand_over(&mut self) {
        let was_waiting = !self.unsent.is_empty();
        let mut records = std::mem::take(&mut self.unsent);
        records.append(&mut self.out.produce);
        if records.is_empty() {
            return;
        }
        let (count, last) = (records.len(), records.last().map(|record| record.token));
        self.unsent = self.shared.handover.append(&self.mailbox, records);
        let metrics = &self.shared.metrics;
        metrics.produced.increment((count - self.unsent.len()) as u64);
        metrics.in_flight.set(self.shared.handover.in_flight() as f64);
        if self.unsent.is_empty() {
            self.attempts = 0;
            self.sample = self.sample.or_else(|| last.map(|token| (token, Instant::now())));
        } else if !was_waiting || self.unsent.len() < count {
            // The wait begins, or there was room for some.
            self.attempts = 0;
            self.unsent_since = Instant::now();
            metrics.back_pressure.increment(u64::from(!was_waiting));
        } else if self.unsent_since.elapsed() >= self.shared.settings.waits.room() {
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

    /// One message with all that there is to say. `None` when the client has gone or takes nothing.
    async fn write(&mut self) -> Option<()> {
        self.count();
        if std::mem::take(&mut self.out.session.is_greeted)
            && let Some(permit) = self.permit.take()
        {
            permit.release_address();
        }
        if self.out.session.frame.is_empty() {
            return Some(());
        }
        let frame: Bytes = self.out.session.frame.split().freeze();
        match tokio::time::timeout(self.shared.settings.waits.write(), self.socket.send(Message::Binary(frame))).await {
            Ok(Ok(())) => Some(()),
            Ok(Err(_)) => None,
            Err(_) => {
                // A close frame would only queue behind what is not taken.
                self.shared.metrics.closed(close::WRITE_TIMEOUT);
                None
            }
        }
    }

    fn count(&mut self) {
        let metrics = &self.shared.metrics;
        if self.out.receipts > 0 {
            metrics.receipts.increment(u64::from(std::mem::take(&mut self.out.receipts)));
        }
        self.out.rejected.drain(..).for_each(|code| metrics.rejected(code));
        self.out.session.refused.drain(..).for_each(|code| metrics.refused(code));
    }

    /// The end, in order: nothing more is read, what is in flight gets its receipts, then the client is sent elsewhere.
    async fn drain(&mut self) -> Option<Close> {
        self.give_up_unsent();
        self.write().await?;
        let deadline = Instant::now() + self.shared.settings.waits.drain();
        while self.connection.in_flight() > 0 {
            match tokio::time::timeout_at(deadline, self.mailbox.next()).await {
                Ok(answers) => self.answers(answers),
                // Their clients ask elsewhere.
                Err(_) => break,
            }
            self.write().await?;
        }
        let after_ms = rand::random_range(0..=RECONNECT_SPREAD_MS);
        let reason = close::come_again("this server is shutting down; connect again", after_ms);
        Some(Close { code: close::SHUTTING_DOWN, reason })
    }
}
