//! Opens partitions, and stops serving the chunks of a partition that cannot be read.

use super::Hub;
use crate::answer::Answer;
use crate::chunk::{Chunk, Load};
use crate::messages::Output;
use crate::partitions::{Fault, Opened, PartitionState, Standing, Standings};
use crate::socket::SocketId;
use driftless_schemas::proto::TrackRejectCode;
use driftless_schemas::{ChunkId, HistoryId, Partition, close, features};
use std::collections::BTreeSet;

/// The reason with which a socket is closed whose client does not know histories.
pub(super) const HISTORY_CHANGED: &str =
    "the history of a tracked chunk has changed: drop its replica and start again, or upgrade this client";

impl Hub {
    /// True if the socket's client compares the histories of chunks.
    pub(super) fn knows_histories(&self, socket: SocketId) -> bool {
        self.sockets.get(&socket).is_some_and(|socket| socket.joined.features & features::HISTORIES != 0)
    }

    /// The history of a partition, up to where the hub has read.
    pub(super) fn history(&self, partition: Partition) -> HistoryId {
        self.partition(partition).map(|state| state.position.history).unwrap_or_default()
    }

    /// The history of a chunk's partition, if the hub has the chunk.
    pub(super) fn history_of(&self, chunk: &ChunkId) -> Option<HistoryId> {
        self.chunks.get(chunk).map(|chunk| self.history(chunk.partition))
    }

    pub(super) fn partition(&self, partition: Partition) -> Option<&PartitionState> {
        self.partitions.get(usize::try_from(partition.0).ok()?)
    }

    pub(super) fn partition_mut(&mut self, partition: Partition) -> Option<&mut PartitionState> {
        self.partitions.get_mut(usize::try_from(partition.0).ok()?)
    }

    /// The standing of each partition.
    #[must_use]
    pub fn standings(&self) -> Standings {
        Standings(self.partitions.iter().map(|state| state.standing.clone()).collect())
    }

    /// Returns true if the hub takes records of the partition.
    #[must_use]
    pub fn is_reading(&self, partition: Partition) -> bool {
        self.partition(partition).is_some_and(PartitionState::is_reading)
    }

    /// Returns true if the hub takes records of any partition.
    #[must_use]
    pub fn is_reading_any(&self) -> bool {
        self.partitions.iter().any(PartitionState::is_reading)
    }

    /// The text for clients whose chunk is in a degraded partition; `None` if the partition is not
    /// degraded. The reason is for operators, so the text does not have it.
    pub(super) fn unavailable(&self, partition: Partition) -> Option<String> {
        let is_degraded = self.partition(partition).is_some_and(PartitionState::is_degraded);
        is_degraded.then(|| {
            format!(
                "this gateway cannot read partition {partition} now, so the chunk is unavailable: ask again after \
                 some seconds, or ask another gateway"
            )
        })
    }

    /// Asks the shell to open the partitions that are due.
    pub(super) fn open_due(&mut self) {
        let now = self.now;
        for (state, partition) in self.partitions.iter_mut().zip((0..).map(Partition)) {
            if state.begin_opening(now) {
                self.outputs.push_back(Output::Open(partition));
            }
        }
    }

    pub(super) fn take_opened(&mut self, partition: Partition, opened: Opened) {
        let Some(state) = self.partition_mut(partition).filter(|state| !state.is_reading()) else { return };
        match state.opened(opened) {
            Ok(()) => self.notice_caught_up(partition),
            Err(fault) => self.degrade(partition, fault),
        }
    }

    /// Serves the partition if the hub has read all records that the log held when the partition
    /// was opened.
    pub(super) fn notice_caught_up(&mut self, partition: Partition) {
        let now = self.now;
        let served = self.partition_mut(partition).and_then(|state| state.serve_if_caught_up(now));
        let Some(before) = served else { return };
        if matches!(before, Standing::Degraded(_)) {
            self.outputs.push_back(Output::Recovered(partition));
        }
        self.outputs.push_back(Output::Standings(self.standings()));
    }

    /// Stops reading a partition, and serves none of its chunks until it has recovered.
    pub(super) fn degrade(&mut self, partition: Partition, fault: Fault) {
        let (now, retry_max_ms) = (self.now, self.settings.partition_retry_max_ms);
        let Some(state) = self.partition_mut(partition).filter(|state| !state.is_closed()) else { return };
        let reason = fault.to_string();
        let is_news = state.fail(fault, now, retry_max_ms);
        self.outputs.push_back(Output::StopReading(partition));
        if is_news {
            self.outputs.push_back(Output::Degraded(partition, reason));
        }
        self.outputs.push_back(Output::Standings(self.standings()));
        self.withdraw(partition);
    }

    /// Drops the chunks of a degraded partition. Tells every client that tracks one of them, and
    /// answers the questions about them (R9). The clients keep their replicas, track the chunks
    /// again later, and then wait for this gateway to catch up with what they have (R12).
    fn withdraw(&mut self, partition: Partition) {
        let Some(reason) = self.unavailable(partition) else { return };
        let is_new_history = self.partition(partition).is_some_and(PartitionState::awaits_history);
        let mut ids: Vec<ChunkId> =
            self.chunks.iter().filter(|(_, chunk)| chunk.partition == partition).map(|(id, _)| id.clone()).collect();
        // The order of the map is random, and equal inputs must give equal outputs.
        ids.sort_unstable();
        let mut unblocked = BTreeSet::new();
        for id in &ids {
            // The records before the fault count, and their updates precede the rejection.
            self.flush_updates(id);
            let Some(chunk) = self.chunks.remove(id) else { continue };
            self.ring_bytes -= chunk.ring.bytes();
            self.watched.remove(id);
            for (ask_id, _) in chunk.asks {
                self.outputs.push_back(Output::Answer(ask_id, Answer::Degraded(reason.clone())));
            }
            let sockets: BTreeSet<SocketId> = chunk.trackers.into_iter().chain(chunk.waiting.into_keys()).collect();
            for socket in &sockets {
                if is_new_history && !self.knows_histories(*socket) {
                    self.close(*socket, close::HISTORY, HISTORY_CHANGED);
                    continue;
                }
                self.reject_track(*socket, id.as_str(), TrackRejectCode::Unavailable, reason.clone());
            }
            unblocked.extend(sockets);
            if matches!(chunk.load, Load::InFlight | Load::Retrying { .. } | Load::Abandoned)
                && let Ok(place) = self.world.place(id)
            {
                self.chunks.insert(id.clone(), Chunk { load: Load::Abandoned, ..Chunk::new(place) });
            }
        }
        let chunks = &self.chunks;
        self.eviction_order.retain(|id| chunks.get(id).is_some_and(|chunk| chunk.is_in_eviction_order));
        unblocked.into_iter().for_each(|socket| self.answer_in_order(socket));
    }
}
