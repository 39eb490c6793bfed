//! Topics that lose records, and the operator who mends partitions.

use super::Sim;
use crate::faults::Fault;
use crate::replayer::Loss;
use crate::violation::{Verdict, hold};
use driftless_schemas::{Offset, Partition};

/// How often the operator tries to mend a partition at a time.
const TRIES: usize = 6;
/// The most steps of one try.
const STEPS_MAX: usize = 4_000;

impl Sim {
    /// A partition loses records that its index knows: `updates` loses its end or is made anew,
    /// `commands` is made anew, or both are. Losses of younger records cannot be noticed, so the
    /// simulation has none.
    pub(super) fn lose_a_log(&mut self) -> Verdict {
        let p = self.incidents.below(self.owners.len());
        let kind = ["cut", "cut", "cut", "updates", "commands", "both"][self.incidents.below(6)];
        let part = self.incidents.below(1 << 20);
        self.oracle.check_log(&self.log)?;
        let checkpoint = self.store.view(Partition(p as i32), 0).checkpoint;
        if self.oracle.is_lost(p) || self.store.is_away {
            return Ok(());
        }
        let known_end = checkpoint.updates_end.0;
        let is_noticed =
            checkpoint.commands_print.is_some() && self.oracle.is_command(p, checkpoint.commands_next.0 - 1);
        match kind {
            "commands" if is_noticed => self.remake_commands(p),
            "cut" | "updates" | "both" if known_end > 0 && (kind != "both" || is_noticed) => {
                // Half of the shorter logs still hold the offset at which recovery begins.
                let (low, part) = (checkpoint.updates_low.0, part as i64);
                let end = match kind {
                    "updates" | "both" => Offset(0),
                    _ if part % 2 == 0 && low < known_end => Offset(low + part / 2 % (known_end - low)),
                    _ => Offset(part % known_end),
                };
                if !self.oracle.loses_by(p, end) {
                    return Ok(());
                }
                self.end_appends(p)?;
                self.log.updates[p].lose_from(end);
                self.oracle.updates_lost(p, end);
                self.count(if end > Offset(0) { Fault::UpdatesTruncated } else { Fault::UpdatesRemade });
                if kind == "both" {
                    self.remake_commands(p);
                }
            }
            _ => return Ok(()),
        }
        self.was_lost[p] = true;
        for gateway in &mut self.gateways {
            gateway.may_fail(Partition(p as i32));
        }
        Ok(())
    }

    fn remake_commands(&mut self, p: usize) {
        self.log.commands[p].lose_from(Offset(0));
        self.oracle.commands_lost(p);
        self.count(Fault::CommandsRemade);
    }

    /// Records of the partition that are in flight get lost, too. Replaced owners that have not
    /// noticed it end: for them a shorter log may be the one that they know.
    fn end_appends(&mut self, p: usize) -> Verdict {
        let partition = Partition(p as i32);
        let (epoch, _) = self.oracle.position(p);
        for queue in &mut self.late_updates {
            queue.retain(|(of, ..)| *of != partition);
        }
        self.oracle.lost_an_owner();
        for replayer in &mut self.replayers {
            replayer.lose_appends(partition, epoch, self.now);
        }
        self.oracle.check_log(&self.log)
    }

    /// Lets the operator mend a partition that has lost records.
    pub(super) fn operate(&mut self) -> Verdict {
        for p in 0..self.owners.len() {
            let is_time = !self.is_faulty || self.incidents.permille(10);
            if self.oracle.is_lost(p) && is_time && !self.store.is_away {
                self.mend(Partition(p as i32))?;
            }
            // A replayer may have carried out what the operator has ordered.
            if std::mem::replace(&mut self.was_lost[p], self.oracle.is_lost(p)) && !self.was_lost[p] {
                self.backups_from[p] = self.store.states(Partition(p as i32));
            }
        }
        Ok(())
    }

    /// `driftless recover apply` for one partition.
    fn mend(&mut self, partition: Partition) -> Verdict {
        let checkpoint = self.store.view(partition, 0).checkpoint;
        let loss = Loss::find(&checkpoint, partition, &self.log);
        let is_found = loss.is_of_updates() || loss.is_of_commands() || checkpoint.commands_anew;
        hold(is_found, "R4", || format!("partition {partition} has lost records, but an examination finds nothing"))?;
        if loss.is_of_updates() || loss.is_of_commands() {
            // If only `commands` is lost, this stores the decisions that no ref contains.
            if !self.own_as_operator(partition)? {
                return Ok(());
            }
        }
        if loss.is_of_commands() {
            let random = self.random();
            self.operator.move_commands(partition, random, self.now, &mut self.store, &self.log);
        }
        if !self.store.view(partition, 0).checkpoint.commands_anew {
            return Ok(());
        }
        if self.is_faulty && self.incidents.permille(300) {
            self.count(Fault::MendingCrashed);
            return Ok(());
        }
        self.own_as_operator(partition).map(drop)
    }

    /// Runs an ownership that mends, with no other process in between. Returns false if it did not
    /// come to its end.
    fn own_as_operator(&mut self, partition: Partition) -> Result<bool, crate::violation::Violation> {
        for _ in 0..TRIES {
            let drained = self.operator.drained();
            let random = self.random();
            self.operator.begin_mending(partition, random, self.now, &mut self.store, &self.log);
            let mut steps = 0;
            while self.operator.mend_on(self.now) {
                steps += 1;
                self.now += 20;
                hold(steps < STEPS_MAX, "liveness", || {
                    format!("partition {partition} is not mended after {steps} steps: {}", self.operator.state())
                })?;
                self.operator_works(partition)?;
            }
            if self.operator.drained() > drained {
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn operator_works(&mut self, partition: Partition) -> Verdict {
        let (operator, now) = (&mut self.operator, self.now);
        operator.land_in(partition, &mut self.log);
        self.oracle.check_log(&self.log)?;
        operator.ack(partition, true, now);
        operator.read(0, 16, now, &self.log);
        operator.mend_on(now);
        if operator.ownerships.is_empty() {
            return Ok(());
        }
        operator.read_back(0, 16, now, &self.log);
        operator.load(0, true, now, &self.store);
        operator.put(0, true, now, &mut self.store);
        if let Some((partition, state)) = operator.write(0, true, &mut self.store) {
            self.oracle.check_index(partition, &state, &self.store, &self.log)?;
        }
        operator.report_checkpoint(0, now);
        operator.tick(0, now);
        Ok(())
    }

    fn random(&mut self) -> [u8; 10] {
        let mut random = [0; 10];
        random[..8].copy_from_slice(&self.incidents.next().to_be_bytes());
        random
    }
}
