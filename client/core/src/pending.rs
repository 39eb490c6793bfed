//! One own command on its way: what was sent, what is known about it, and the outcome that follows from it.

use crate::event::{CommandId, Outcome};
use bytes::Bytes;
use driftless_chunk::mutant::Mutant;
use driftless_schemas::proto::{self, DiscardReason, RejectCode, Submit, submit};
use driftless_schemas::time::UnixMs;
use driftless_schemas::{ChunkId, Seq, Version};

/// What the log says about a number.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Resolution {
    /// It is committed; the replica shows it from `visible_at` on.
    Committed { version: Option<Version>, visible_at: Version },
    /// It is not and never will be; with the decider's reason where that is known.
    NotCommitted(Option<(DiscardReason, String)>),
    /// Nobody can say any more.
    Unknown(String),
}

/// What the user sees of a chunk's confirmed state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Visible {
    /// A healthy replica at this version.
    UpTo(Version),
    /// Nothing yet, or nothing to be trusted.
    Nothing,
    /// Nothing more is to come: do not wait for it.
    Everything,
}

/// A command of the user that leaves the outbox.
pub(crate) struct ConcludedCommand {
    pub id: CommandId,
    pub outcome: Outcome,
    pub seq: Option<Seq>,
    pub is_receipted: bool,
}

/// An own command, or a `Settle`.
pub(crate) struct PendingCommand {
    /// None for a `Settle`, which the user does not know of.
    pub id: Option<CommandId>,
    pub command: Bytes,
    /// The time that predictions see; a `Settle` has none.
    pub submitted_at: UnixMs,
    /// Since it was first sent.
    pub seq: Option<Seq>,
    /// Transmissions.
    pub sent: u32,
    /// Transmissions that ingest said are not in the log. What is not answered may be in it.
    pub rejected: u32,
    /// How many of them for good.
    pub finals: u32,
    /// Ingest said of one that it is in the log. No decision, and nothing follows from it; for the user.
    pub is_receipted: bool,
    /// The user does not want it any more.
    pub is_cancelled: bool,
    /// Ingest will never take it.
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

    /// It is not sent again, later ones point before it, and it has left the view.
    pub fn is_skipped(&self) -> bool {
        self.is_cancelled || self.refused.is_some()
    }

    /// Whether it belongs into the view.
    pub fn is_predicted(&self) -> bool {
        let is_lost = matches!(self.resolution, Some(Resolution::NotCommitted(_) | Resolution::Unknown(_)));
        self.id.is_some() && !self.is_skipped() && !is_lost
    }

    /// The first fact stands; a later one may only add what was not known.
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

    /// It gets another number, in another session. Nothing of the old one is in the log.
    pub fn forget_number(&mut self) {
        self.seq = None;
        self.sent = 0;
        self.rejected = 0;
        self.finals = 0;
        self.is_receipted = false;
    }

    /// With this outcome. `None` for a `Settle`.
    pub fn concluded(&self, outcome: Outcome) -> Option<ConcludedCommand> {
        Some(ConcludedCommand { id: self.id?, outcome, seq: self.seq, is_receipted: self.is_receipted })
    }

    /// The outcome, where it is certain.
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
                detail: "it was not committed; the reason is not known any more".into(),
            })),
            Some(Resolution::Unknown(reason)) => Some(Outcome::Unknown { reason: reason.clone() }),
            // No transmission is in the log, and none will follow.
            None if self.seq.is_some() && self.sent == self.rejected => self.skipped_outcome(),
            None if self.refused.is_some() && Mutant::FinalResend.is_on() => self.skipped_outcome(),
            None => None,
        }
    }

    /// What a skipped command ends with, once it is certain that it is not committed.
    fn skipped_outcome(&self) -> Option<Outcome> {
        match &self.refused {
            Some((code, message)) => Some(Outcome::Rejected { code: *code, message: message.clone() }),
            None => self.is_cancelled.then_some(Outcome::Withdrawn),
        }
    }

    /// The message that sends it under `seq`, behind `after`.
    pub fn message(&self, chunk: &ChunkId, seq: Seq, after: Seq) -> Submit {
        let body = match self.id {
            Some(_) => submit::Body::Command(self.command.clone()),
            None => submit::Body::Settle(proto::Settle {}),
        };
        Submit { chunk_id: chunk.to_string(), seq: seq.0, after: after.0, body: Some(body) }
    }
}
