//! A pending command of this client: its number, the answers to its transmissions, and the rules by
//! which it gets its outcome.
//!
//! These rules are the writer's side of R8: a command gets its outcome when the outcome is certain,
//! and the outcome never changes.

use crate::event::{CommandId, Outcome};
use bytes::Bytes;
use driftless_chunk::mutant::Mutant;
use driftless_schemas::proto::{self, DiscardReason, RejectCode, Submit, submit};
use driftless_schemas::time::UnixMs;
use driftless_schemas::{ChunkId, Seq, Version};

/// The resolution of a command's number: whether the log has committed the command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Resolution {
    /// The command is committed. A replica shows its effect from the version `visible_at` on.
    Committed { version: Option<Version>, visible_at: Version },
    /// The command is not committed and never will be. The content is the decider's reason and its
    /// details; `None` if they are not known.
    NotCommitted(Option<(DiscardReason, String)>),
    /// The outcome can no longer be found out. The text says why, for people.
    Unknown(String),
}

/// The versions whose effects the user can see in the confirmed replica.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Visible {
    /// The replica is healthy and at this version.
    UpTo(Version),
    /// There is no replica, or the replica differs from the log.
    Nothing,
    /// No replica will be loaded any more, so commands are concluded without waiting for one.
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
    /// When the user submitted the command. Predictions take this as the time of receipt. Not used
    /// for a `Settle`.
    pub submitted_at: UnixMs,
    /// The command's number; `None` until the command is first sent.
    pub seq: Option<Seq>,
    /// The number of transmissions under this number.
    pub sent: u32,
    /// The number of transmissions that ingest rejected, so that they are not in the log. A
    /// transmission without an answer may be in the log.
    pub rejected: u32,
    /// The number of final rejections among the rejected transmissions.
    pub finals: u32,
    /// True if ingest confirmed that a transmission is in the log. The outbox only reports this to
    /// the user, and sends the command again until it is decided.
    pub is_receipted: bool,
    /// True if the user cancelled the command.
    pub is_cancelled: bool,
    /// The code of ingest's final rejection, and a text for people. `None` without a final
    /// rejection.
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

    /// Whether the outbox skips the command. The outbox does not send a skipped command again, the
    /// view does not show it, and `after` of a later command never names its number.
    pub fn is_skipped(&self) -> bool {
        self.is_cancelled || self.refused.is_some()
    }

    /// Whether the view shows the command.
    pub fn is_predicted(&self) -> bool {
        let is_lost = matches!(self.resolution, Some(Resolution::NotCommitted(_) | Resolution::Unknown(_)));
        self.id.is_some() && !self.is_skipped() && !is_lost
    }

    /// Records a resolution. The first resolution is final. A later one may only add a version or a
    /// reason that the first one lacks.
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

    /// Removes the number. The caller knows that no transmission under it will be committed, so a
    /// new session may give the command another number.
    pub fn forget_number(&mut self) {
        self.seq = None;
        self.sent = 0;
        self.rejected = 0;
        self.finals = 0;
        self.is_receipted = false;
    }

    /// Makes the concluded command for the user; `None` for a `Settle`, which the user does not
    /// see.
    pub fn concluded(&self, outcome: Outcome) -> Option<ConcludedCommand> {
        Some(ConcludedCommand { id: self.id?, outcome, seq: self.seq, is_receipted: self.is_receipted })
    }

    /// The outcome; `None` while it is not certain, or while the user cannot see the commit yet.
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
            // If ingest rejected every transmission of a skipped command, the command is not in the
            // log, and no transmission will follow.
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

    /// Makes the message that sends the command under the number `seq`. `after` is the number that
    /// the decider must have resolved before.
    pub fn message(&self, chunk: &ChunkId, seq: Seq, after: Seq) -> Submit {
        let body = match self.id {
            Some(_) => submit::Body::Command(self.command.clone()),
            None => submit::Body::Settle(proto::Settle {}),
        };
        Submit { chunk_id: chunk.to_string(), seq: seq.0, after: after.0, body: Some(body) }
    }
}
