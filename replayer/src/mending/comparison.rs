//! Compares the refs in a partition's index with `updates`.
//!
//! An owner of version 0.1.0 did not notice that its records do not count (docs/decisions/0016),
//! and wrote refs of such decisions. Such a ref names a state that no reader of the log has.

use crate::context::Context;
use crate::whole_log::read_all;
use driftless_chunk::live::read_updates;
use driftless_chunk::position::{Position, Validity};
use driftless_schemas::proto::{Decisions, updates_record::Body};
use driftless_schemas::stored::StoredRef;
use driftless_schemas::{ChunkId, Hash, Offset, Partition, Version};
use std::collections::BTreeMap;

/// The result of the comparison.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Compared {
    /// The refs that agree with the log.
    pub agreeing: usize,
    /// The refs whose decisions the log does not have any more, so that nothing is known.
    pub unknown: usize,
    /// The chunks whose ref contradicts the log, each with the contradiction.
    pub foreign: Vec<(ChunkId, String)>,
}

/// The state of a chunk after a record, as far as the log says it.
#[derive(Clone, Copy)]
struct Standing {
    version: Version,
    /// The hash in the record; `None` if the record commits nothing.
    hash: Option<Hash>,
}

/// The states of one chunk, as `updates` shows them.
#[derive(Default)]
struct Logged {
    /// The version after the last record, if it is known.
    version: Option<Version>,
    /// The states by the offset of the newest command that each record decides.
    states: BTreeMap<Offset, Option<Standing>>,
}

impl Logged {
    fn take(&mut self, decisions: &Decisions) -> Result<(), String> {
        let updates = read_updates(decisions).map_err(|e| e.to_string())?;
        let hash = updates.as_ref().and_then(|updates| Hash::from_slice(&updates.state_hash));
        if let Some(updates) = &updates {
            self.version = Some(Version(updates.first_version + updates.entries.len() as u64 - 1));
        }
        if let Some(last) = decisions.marks.last() {
            let standing = self.version.map(|version| Standing { version, hash });
            self.states.insert(Offset(last.source_offset), standing);
        }
        Ok(())
    }

    /// Compares a ref with the log. `Ok(false)` means that the log does not go back far enough.
    fn compare(&self, stored: &StoredRef, is_complete: bool) -> Result<bool, String> {
        let through = stored.through_offset;
        let Some(standing) = self.states.get(&through) else {
            let is_older = self.states.first_key_value().is_none_or(|(first, _)| through < *first);
            return match through == Offset::NONE || (is_older && !is_complete) {
                true => Ok(false),
                false => Err(format!("no valid record of updates ends with offset {through} of commands")),
            };
        };
        let Some(Standing { version, hash }) = *standing else { return Ok(false) };
        if version != stored.version || hash.is_some_and(|hash| hash != stored.hash) {
            return Err(format!(
                "its version {} with the hash {} is not the one that the log has after offset {through} of commands, which is {version}",
                stored.version, stored.hash
            ));
        }
        Ok(true)
    }
}

pub(super) async fn compare(context: &Context, partition: Partition) -> Result<Compared, String> {
    // The view is opened before the log is read, so the log has the decisions of all its refs.
    let view = context.indexes.view(partition).await.map_err(|e| e.to_string())?;
    let mut chunks: BTreeMap<ChunkId, Logged> = BTreeMap::new();
    let mut position = Position::START;
    let (mut is_first, mut is_complete) = (true, true);
    read_all(&*context.log, &context.world.topics().updates, partition, |offset, record| {
        if std::mem::take(&mut is_first) && offset > Offset(0) {
            is_complete = false;
            position = position.adopting(&record);
        }
        let history = position.history;
        match (position.judge(offset, &record), &record.body) {
            (Validity::Fence, _) if position.history > history => {
                // Refs may be ahead of what is left of the old history.
                is_complete = false;
                chunks.clear();
            }
            (Validity::Valid, Some(Body::Decisions(decisions))) => {
                let chunk = decisions.chunk_id.parse();
                let chunk: ChunkId = chunk.map_err(|e: driftless_schemas::ChunkIdError| e.to_string())?;
                let logged = chunks
                    .entry(chunk)
                    .or_insert_with(|| Logged { version: is_complete.then_some(Version(0)), ..Logged::default() });
                logged.take(decisions)?;
            }
            _ => {}
        }
        Ok(())
    })
    .await?;
    let mut compared = Compared::default();
    for (chunk, logged) in chunks {
        let Some(entry) = view.entry(&chunk).await.map_err(|e| e.to_string())? else { continue };
        match logged.compare(&entry.newest, is_complete) {
            Ok(true) => compared.agreeing += 1,
            Ok(false) => compared.unknown += 1,
            Err(contradiction) => compared.foreign.push((chunk, contradiction)),
        }
    }
    Ok(compared)
}

#[cfg(test)]
mod tests {
    use super::*;
    use driftless_schemas::WriterId;
    use driftless_schemas::proto::{Committed, Discarded, Entry, Mark, Updates, mark::Outcome};
    use driftless_schemas::stored::Location;
    use prost::Message as _;

    fn decisions(through: i64, commits: Option<u64>) -> Decisions {
        let updates = commits.map(|first_version| Updates {
            first_version,
            entries: vec![Entry { writer: WriterId([1; 16]).to_bytes(), seq: 1, ..Entry::default() }],
            state_hash: Hash([1; 32]).to_bytes(),
            ..Updates::default()
        });
        let outcome = match commits {
            Some(_) => Outcome::Committed(Committed {}),
            None => Outcome::Discarded(Discarded { reason: 1, ..Discarded::default() }),
        };
        let marks = vec![Mark {
            source_offset: through,
            writer: WriterId([1; 16]).to_bytes(),
            seq: 1,
            outcome: Some(outcome),
            ..Mark::default()
        }];
        Decisions {
            updates: updates.map(|u| u.encode_to_vec().into()).unwrap_or_default(),
            marks,
            ..Decisions::default()
        }
    }

    fn stored(through: i64, version: u64, hash: Hash) -> StoredRef {
        StoredRef {
            version: Version(version),
            hash,
            location: Location::Object,
            through_offset: Offset(through),
            model_revision: 1,
            bytes: 1,
            ledger: None,
        }
    }

    #[test]
    fn r6_a_ref_of_decisions_that_do_not_count_is_found() {
        let mut logged = Logged { version: Some(Version(0)), ..Logged::default() };
        for (through, commits) in [(3, Some(1)), (5, None), (8, Some(2))] {
            logged.take(&decisions(through, commits)).unwrap();
        }
        let right = Hash([1; 32]);
        for (through, version, hash, expected) in [
            (3, 1, right, Ok(true)),
            (5, 1, right, Ok(true)),
            (8, 2, right, Ok(true)),
            (8, 3, right, Err(())),
            (8, 2, Hash([2; 32]), Err(())),
            (7, 1, right, Err(())),
            (9, 3, right, Err(())),
            (2, 0, right, Err(())),
            (-1, 0, right, Ok(false)),
        ] {
            let found = logged.compare(&stored(through, version, hash), true).map_err(drop);
            assert_eq!(found, expected, "version {version} through {through}");
        }
        assert_eq!(logged.compare(&stored(2, 0, right), false), Ok(false), "the log begins later");
    }
}
