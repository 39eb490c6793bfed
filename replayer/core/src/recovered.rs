//! Valid records of `updates`, as recovery and checks read them, and how they are folded (R5).

use driftless_chunk::live::{LiveChunk, read_updates};
use driftless_chunk::replica::ApplyError;
use driftless_schemas::proto::{Decisions, DiscardReason, Mark, Updates, UpdatesRecord, mark, updates_record::Body};
use driftless_schemas::stored::StoredRef;
use driftless_schemas::{ChunkId, Hash, Offset, Version, format};

/// A valid record about a chunk.
pub(crate) enum Recovered {
    /// Decisions, with the updates of those that are committed.
    Decisions(Decisions, Option<Updates>),
    /// A snapshot of this version was stored under this hash.
    Stored(Version, Hash),
}

/// The result of folding records into a live chunk.
#[derive(Default)]
pub(crate) struct Folded {
    /// Decisions that the chunk's ref did not contain.
    pub decisions: u64,
    /// The newest version whose hash the log says, and that hash.
    pub published: Option<(Version, Hash)>,
    /// Commits whose content is lost, which an operator has accepted. These are all commits after a
    /// gap in the log, because they were decided on a content that is gone.
    pub lost: u64,
}

/// Decodes a record of `updates`.
///
/// # Errors
/// Why this version cannot read the record.
pub(crate) fn read_record(value: bytes::Bytes) -> Result<UpdatesRecord, String> {
    match format::decode_known("UpdatesRecord", value) {
        Ok(UpdatesRecord { body: None, .. }) => {
            Err("it has no body that this version knows; upgrade this process".into())
        }
        Ok(record) => Ok(record),
        Err(e) => Err(e.to_string()),
    }
}

impl Recovered {
    /// Reads a valid record. Returns the chunk that the record is about, and the record's decisions
    /// or notice. `None`: the record is about no chunk.
    ///
    /// # Errors
    /// Why the record cannot be read: the field and its value.
    pub fn read(record: UpdatesRecord) -> Result<Option<(ChunkId, Self)>, String> {
        let (chunk_id, recovered) = match record.body {
            Some(Body::Decisions(decisions)) => {
                let updates = read_updates(&decisions).map_err(|e| e.to_string())?;
                (decisions.chunk_id.clone(), Self::Decisions(decisions, updates))
            }
            Some(Body::SnapshotStored(notice)) => {
                let stored = notice.r#ref.ok_or("SnapshotStored.ref is not valid: there is none")?;
                let stored = StoredRef::from_proto(stored).map_err(|e| e.to_string())?;
                (notice.chunk_id, Self::Stored(stored.version, stored.hash))
            }
            _ => return Ok(None),
        };
        let chunk = chunk_id.parse().map_err(|e: driftless_schemas::ChunkIdError| e.to_string())?;
        Ok(Some((chunk, recovered)))
    }

    /// The offsets of commands that were discarded because a model failed.
    pub fn model_faults(&self) -> impl Iterator<Item = Offset> {
        let marks = match self {
            Self::Decisions(decisions, _) => &decisions.marks[..],
            Self::Stored(..) => &[],
        };
        let is_fault = |mark: &&Mark| matches!(&mark.outcome, Some(mark::Outcome::Discarded(d)) if d.reason() == DiscardReason::ModelFault);
        marks.iter().filter(is_fault).map(|mark| Offset(mark.source_offset))
    }

    /// The offsets of `commands` that the record decides, in the order of its marks.
    pub fn sources(&self) -> impl Iterator<Item = Offset> {
        let marks = match self {
            Self::Decisions(decisions, _) => &decisions.marks[..],
            Self::Stored(..) => &[],
        };
        marks.iter().map(|mark| Offset(mark.source_offset))
    }
}

impl Folded {
    /// Folds the decisions of earlier owners, in order (R5).
    ///
    /// # Errors
    /// [`ApplyError`] if a record cannot be folded. The chunk must not be used then.
    pub fn fold(&mut self, live: &mut LiveChunk, records: &[Recovered], accept_loss: bool) -> Result<(), ApplyError> {
        for record in records {
            let said = match record {
                Recovered::Decisions(decisions, updates) => {
                    self.fold_decisions(live, decisions, updates.as_ref(), accept_loss)?
                }
                Recovered::Stored(version, hash) => Some((*version, *hash)),
            };
            if let Some((version, hash)) = said {
                self.publish(version, hash);
            }
        }
        Ok(())
    }

    /// Notes that the log names this hash for this version, unless it names one for a later version
    /// already.
    pub fn publish(&mut self, version: Version, hash: Hash) {
        if self.published.is_none_or(|(known, _)| known <= version) {
            self.published = Some((version, hash));
        }
    }

    fn fold_decisions(
        &mut self,
        live: &mut LiveChunk,
        decisions: &Decisions,
        updates: Option<&Updates>,
        accept_loss: bool,
    ) -> Result<Option<(Version, Hash)>, ApplyError> {
        let before = live.replica.version();
        let whole = match self.lost {
            0 => match live.fold_effects(decisions, updates) {
                Err(ApplyError::Gap { .. }) if accept_loss => None,
                folded => Some(folded?),
            },
            _ => None,
        };
        let is_lost = whole.is_none();
        let folded = match whole {
            Some(folded) => folded,
            None => live.fold_without_content(decisions, updates)?,
        };
        if is_lost {
            self.lost += live.replica.version().0 - before.0;
        }
        if folded.is_news {
            self.decisions += decisions.marks.len() as u64;
        }
        Ok(folded.published.map(|hash| (live.replica.version(), hash)))
    }
}
