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
    /// The codes of the refusals in the frame, also of those that were left out because the same
    /// refusal stands just before them.
    pub refused: Vec<RefusalCode>,
    /// The newest refusal, and the length of the frame just behind it.
    newest_refusal: Option<(proto::Refused, usize)>,
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
    /// ([`bounded`]). A refusal that equals the one just before it is left out, so that many small
    /// requests do not cause a large answer.
    pub fn refuse(&mut self, code: RefusalCode, message: impl Into<String>) {
        self.refused.push(code);
        let refused = proto::Refused { code: code.into(), message: bounded(message.into()) };
        let is_again = |(newest, end): &(proto::Refused, usize)| *end == self.frame.len() && *newest == refused;
        if self.newest_refusal.as_ref().is_some_and(is_again) {
            return;
        }
        self.event(event::Body::Refused(refused.clone()));
        self.newest_refusal = Some((refused, self.frame.len()));
    }

    /// Closes the socket. If a close is set already, it is kept.
    pub fn end(&mut self, code: u16, reason: impl Into<String>) {
        self.close.get_or_insert_with(|| Close::new(code, reason));
    }
}
