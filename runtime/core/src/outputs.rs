//! The outputs of a session: events for the client, and the end of the socket.

use crate::text::bounded;
use bytes::BytesMut;
use driftless_schemas::format;
use driftless_schemas::proto::{self, RefusalCode, event};

/// The code and the reason with which a socket is closed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Close {
    /// The close code: one of [`driftless_schemas::close`].
    pub code: u16,
    /// The reason, a text for people.
    pub reason: String,
}

/// The outputs of a session, which the shell carries out.
#[derive(Debug, Default)]
pub struct Outputs {
    /// The encoded events, which together are one `ServerFrame`.
    pub frame: BytesMut,
    /// The codes of the refusals in the frame.
    pub refused: Vec<RefusalCode>,
    /// True if the client's Hello was accepted, so that its identity is known. The caller
    /// resets this.
    pub is_greeted: bool,
    /// True if the client has renewed its token.
    pub is_renewed: bool,
    /// Set if the shell must close the socket after it has sent the frame. The session then sends
    /// no more answers.
    pub close: Option<Close>,
}

impl Close {
    /// Creates a close from a code and a reason.
    #[must_use]
    pub fn new(code: u16, reason: impl Into<String>) -> Self {
        Self { code, reason: reason.into() }
    }
}

impl Outputs {
    /// Appends an event to the frame.
    pub fn event(&mut self, body: event::Body) {
        format::push_event(&mut self.frame, body);
    }

    /// Appends the refusal of a request to the frame. The message is cut to a bounded length
    /// ([`bounded`]).
    pub fn refuse(&mut self, code: RefusalCode, message: impl Into<String>) {
        self.refused.push(code);
        let message = bounded(message.into());
        self.event(event::Body::Refused(proto::Refused { code: code.into(), message }));
    }

    /// Closes the socket. If a close is set already, it is kept.
    pub fn end(&mut self, code: u16, reason: impl Into<String>) {
        self.close.get_or_insert_with(|| Close::new(code, reason));
    }
}
