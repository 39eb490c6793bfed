//! A command of this client without an outcome: its transmissions, what is known about them, and
//! its outcome.
//!
//! R8 from the writer's side: the outcome is given once it is certain, and never changes.

use crate::event::{CommandId, Outcome};
use bytes::Bytes;
use driftless_chunk::mutant::Mutant;
use driftless_schemas::proto::{self, DiscardReason, RejectCode, Submit, submit};
use driftless_schemas::time::UnixMs;
use driftless_schemas::{ChunkId, Seq, Version};

/// How a number was resolved.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Resolution {
    /// The command is committed. A replica shows its effect from the version `visible_at` on.
    Committed { version: Option<Version>, visible_at: Version },
    /// The command is not committed and never will be. The decider's reason, if it is known.
    NotCommitted(Option<(DiscardReason, String)>),
    /// The outcome can no longer be found out. Says why, for people.
    Unknown(String),
}

/// How much of the log the user can see in the confirmed replica.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Visible {
    /// The replica is healthy and at this version.
    UpTo(Version),
    /// There is no replica, or it cannot be trusted.
    Nothing,
    /// No replica will ever show more: commands are concluded without waiting for it.
    Everything,
}

/// A command of the user that has its outcome.
pub(crate) struct ConcludedCommand {
    pub id: CommandId,
    pub outcome: Outcome,
    pub seq: Option<Seq>,
    pub is_receipted: bool,
}

/// A command of the user, or a `Settle` of the outbox, that has no outcome yet.
pub(crate) struct PendingCommand {
    /// `None` for a `Settle`, which the user does not see.
    pub id: Option<CommandId>,
    pub command: Bytes,
    /// When the user submitted it, as predictions see it. Not used for a `Settle`.
    pub submitted_at: UnixMs,
    /// Set when the command is first sent.
    pub seq: Option<Seq>,
    /// The number of transmissions.
    pub sent: u32,
    /// Transmissions that ingest rejected: they are not in the log. A transmission without an
    /// answer may be in it.
    pub rejected: u32,
    /// The number of final rejections among them.
    pub finals: u32,
    /// Ingest confirmed that a transmission is in the log. The outbox does not act on it: it only
    /// tells the user.
    pub is_receipted: bool,
    /// The user cancelled the command.
    pub is_cancelled: bool,
    /// Ingest finally rejected the command: the code, and a text for people.
    pub refused: Option<(RejectCode, String)>,
    pub resolution: Option<Resolution>,
}

impl PendingCommand {
    pub fn command(id: CommandId, command: Bytes, submitted_at: UnixMs) -> Self {
        Self { id: Some(id), command, submitted_at, ..Self::settle() }
    }

    pub fn settle() -> Self {
        Self {
            id: None,
            command: Bytes::new(),
            submitted_at: UnixMs(0),
            seq: None,
            sent: 0,
            rejected: 0,
            finals: 0,
            is_receipted: false,
            is_cancelled: false,
            refused: None,
            resolution: None,
        }
    }

    /// Whether the outbox skips the command: no resend, no place in the view, and `after` of later
    /// commands points before it.
    pub fn is_skipped(&self) -> bool {
        self.is_cancelled || self.refused.is_some()
    }

    /// Whether the view shows the command.
    pub fn is_predicted(&self) -> bool {
        let is_lost = matches!(self.resolution, Some(Resolution::NotCommitted(_) | Resolution::Unknown(_)));
        self.id.is_some() && !self.is_skipped() && !is_lost
    }

    /// Records a resolution. The first one stands; a later one may only add a version or a reason.
    pub fn resolve(&mut self, resolution: Resolution) {
        match (&mut self.resolution, resolution) {
            (known @ None, resolution) => *known = Some(resolution),
            (Some(Resolution::Committed { version: known @ None, .. }), Resolution::Committed { version, .. }) => {
                *known = version
            }
            (Some(Resolution::NotCommitted(known @ None)), Resolution::NotCommitted(reason)) => *known = reason,
            (Some(_), _) => {}
        }
    }

    /// Forgets the number and its transmissions, because they are not in the log: a new session
    /// numbers the command anew.
    pub fn forget_number(&mut self) {
        self.seq = None;
        self.sent = 0;
        self.rejected = 0;
        self.finals = 0;
        self.is_receipted = false;
    }

    /// The command with its outcome; `None` for a `Settle`.
    pub fn concluded(&self, outcome: Outcome) -> Option<ConcludedCommand> {
        Some(ConcludedCommand { id: self.id?, outcome, seq: self.seq, is_receipted: self.is_receipted })
    }

    /// The outcome, if it is certain.
    pub fn outcome(&self, visible: Visible) -> Option<Outcome> {
        match &self.resolution {
            Some(Resolution::Committed { version, visible_at }) => {
                let is_shown = match visible {
                    Visible::Everything => true,
                    Visible::Nothing => false,
                    Visible::UpTo(version) => version >= *visible_at,
                };
                is_shown.then_some(Outcome::Committed { version: *version })
            }
            Some(Resolution::NotCommitted(Some((reason, detail)))) => {
                Some(Outcome::Discarded { reason: *reason, detail: detail.clone() })
            }
            Some(Resolution::NotCommitted(None)) => Some(self.skipped_outcome().unwrap_or(Outcome::Discarded {
                reason: DiscardReason::Unspecified,
                detail: "the command was not committed; the reason is no longer known".into(),
            })),
            Some(Resolution::Unknown(reason)) => Some(Outcome::Unknown { reason: reason.clone() }),
            // Every transmission was rejected, and no other will follow.
            None if self.seq.is_some() && self.sent == self.rejected => self.skipped_outcome(),
            None if self.refused.is_some() && Mutant::FinalResend.is_on() => self.skipped_outcome(),
            None => None,
        }
    }

    /// The outcome of a skipped command that is certainly not committed.
    fn skipped_outcome(&self) -> Option<Outcome> {
        match &self.refused {
            Some((code, message)) => Some(Outcome::Rejected { code: *code, message: message.clone() }),
            None => self.is_cancelled.then_some(Outcome::Withdrawn),
        }
    }

    /// The message that sends the command under the number `seq`.
    pub fn message(&self, chunk: &ChunkId, seq: Seq, after: Seq) -> Submit {
        let body = match self.id {
            Some(_) => submit::Body::Command(self.command.clone()),
            None => submit::Body::Settle(proto::Settle {}),
        };
        Submit { chunk_id: chunk.to_string(), seq: seq.0, after: after.0, body: Some(body) }
    }
}
