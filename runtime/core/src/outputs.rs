//! What a session wants done: events for the client, and the end of the socket.

use crate::text::bounded;
use bytes::BytesMut;
use driftless_schemas::format;
use driftless_schemas::proto::{self, RefusalCode, event};

/// The end of a socket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Close {
    /// One of [`driftless_schemas::close`].
    pub code: u16,
    /// The reason, for people.
    pub reason: String,
}

/// What a session wants done.
#[derive(Debug, Default)]
pub struct Outputs {
    /// Encoded events; together a `ServerFrame`.
    pub frame: BytesMut,
    /// The codes of the refusals in the frame.
    pub refused: Vec<RefusalCode>,
    /// Whether the client's identity has just become known.
    pub is_greeted: bool,
    /// Whether the token was renewed.
    pub is_renewed: bool,
    /// Set if the socket is to be closed, after the frame. The session answers nothing more then.
    pub close: Option<Close>,
}

impl Close {
    /// A code and its reason.
    #[must_use]
    pub fn new(code: u16, reason: impl Into<String>) -> Self {
        Self { code, reason: reason.into() }
    }
}

impl Outputs {
    /// Appends an event.
    pub fn event(&mut self, body: event::Body) {
        format::push_event(&mut self.frame, body);
    }

    /// Appends a refusal; its message is [`bounded`].
    pub fn refuse(&mut self, code: RefusalCode, message: impl Into<String>) {
        self.refused.push(code);
        let message = bounded(message.into());
        self.event(event::Body::Refused(proto::Refused { code: code.into(), message }));
    }

    /// Closes the socket. The first reason stays.
    pub fn end(&mut self, code: u16, reason: impl Into<String>) {
        self.close.get_or_insert_with(|| Close::new(code, reason));
    }
}
