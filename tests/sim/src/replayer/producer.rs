//! The producer of a replayer process: records land, are acknowledged, fail, or are appended again.

use super::Process;
use crate::log::Log;
use crate::log::OrphanRecord;
use crate::rng::Rng;
use driftless_chunk::mutant::Mutant;
use driftless_replayer_core::Input;
use driftless_schemas::Partition;
use std::collections::BTreeSet;

impl Process {
    /// Lets the next record of a random partition land in the log. Returns false if no record
    /// waits.
    pub fn land(&mut self, log: &mut Log, rng: &mut Rng) -> bool {
        self.land_next(Partition(rng.below(log.updates.len()) as i32), log)
    }

    /// Lets the next record of this partition land in the log.
    pub fn land_in(&mut self, partition: Partition, log: &mut Log) {
        self.land_next(partition, log);
    }

    /// Loses all records of the partition that are in flight, and ends the ownerships that sent
    /// them. Ends the ownerships of other epochs than `epoch`, too.
    pub fn lose_appends(&mut self, partition: Partition, epoch: u64, now: u64) {
        let failed: Vec<(u64, u64)> =
            self.sent.extract_if(.., |sent| sent.partition == partition).map(|sent| (sent.ownership, sent.n)).collect();
        for (id, n) in failed {
            if let Some(i) = self.ownerships.iter().position(|own| own.id == id && !own.is_stopped) {
                self.give(i, Input::AppendFailed(n, "the topic has lost it".into()), now);
            }
        }
        self.sweep();
        self.ownerships.retain(|own| own.partition != partition || own.core.known().epoch.0 == epoch);
    }

    fn land_next(&mut self, partition: Partition, log: &mut Log) -> bool {
        let mut open = self.sent.iter_mut().filter(|s| s.partition == partition && s.landed.is_none());
        let Some(mut sent) = open.next() else { return false };
        if self.lands_second
            && let Some(second) = open.next()
        {
            self.lands_second = false;
            sent = second;
        }
        sent.landed = Some(log.updates[partition.0 as usize].append(sent.key.clone(), sent.value.clone()));
        true
    }

    /// Begins a new producer epoch, as librdkafka does (docs/decisions/0012). The producer then
    /// does not know which unacknowledged records have landed, so it appends all of them again, in
    /// order, before later records. In each partition the first of them lands at once, and is
    /// acknowledged if `is_heard`. Returns false if no landed record was unacknowledged.
    pub fn write_again(&mut self, log: &mut Log, is_heard: bool, now: u64) -> bool {
        let unknown = self.sent.iter_mut().filter(|sent| sent.landed.is_some());
        let again: BTreeSet<Partition> = unknown.map(|sent| (sent.landed = None, sent.partition).1).collect();
        for partition in &again {
            self.land_next(*partition, log);
            if is_heard {
                self.ack(*partition, true, now);
            }
        }
        !again.is_empty()
    }

    /// Acknowledges the oldest record of a partition. Returns false if the record has not landed.
    /// If `knows` is false, the acknowledgement has no offset, as when the broker reports a
    /// duplicate.
    pub fn ack(&mut self, partition: Partition, knows: bool, now: u64) -> bool {
        let Some(at) = self.sent.iter().position(|sent| sent.partition == partition) else { return false };
        let Some(offset) = self.sent[at].landed else { return false };
        let sent = self.sent.remove(at);
        if let Some(i) = self.ownerships.iter().position(|own| own.id == sent.ownership) {
            self.give(i, Input::Acked(sent.n, knows.then_some(offset)), now);
        }
        true
    }

    /// Lets a delivery fail. The failure ends the gapless producer, and each ownership with a
    /// record in flight. Returns the records that may still land, or `None` if no record is in
    /// flight.
    pub fn fail(&mut self, now: u64) -> Option<Vec<OrphanRecord>> {
        if self.sent.is_empty() {
            return None;
        }
        if Mutant::ProduceAgain.is_on() {
            // The mutant lets the second record land before the oldest one, as if the producer had
            // appended the oldest record again. Both are acknowledged.
            self.lands_second = true;
            return Some(Vec::new());
        }
        let failed: Vec<(u64, u64)> = self.sent.iter().map(|sent| (sent.ownership, sent.n)).collect();
        let orphans = self.abandon();
        for (id, n) in failed {
            if let Some(i) = self.ownerships.iter().position(|own| own.id == id) {
                self.give(i, Input::AppendFailed(n, "the simulation says so".into()), now);
            }
        }
        Some(orphans)
    }

    pub(super) fn abandon(&mut self) -> Vec<OrphanRecord> {
        let open = std::mem::take(&mut self.sent).into_iter().filter(|sent| sent.landed.is_none());
        open.map(|sent| (sent.partition, sent.key, sent.value)).collect()
    }
}
