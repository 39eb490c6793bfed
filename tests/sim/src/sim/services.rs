//! The steps of the services, and the group that assigns partitions to replayers.

use super::Sim;
use crate::faults::Fault;
use crate::gateway;
use crate::setting;
use crate::store::{IndexState, Store};
use crate::violation::Verdict;
use driftless_client_core::Socket;
use driftless_schemas::proto::{self, CommandRecord, command_record};
use driftless_schemas::{ChunkId, Partition};
use prost::Message as _;
use std::rc::Rc;

impl Sim {
    pub(super) fn ingest_produces(&mut self) {
        let at = self.schedule.below(self.ingests.len());
        let fault = if self.is_faulty { self.likelihoods.ingest } else { 0 };
        for _ in 0..1 + self.schedule.below(8) {
            match self.ingests[at].produce(&mut self.log, self.now, fault, &mut self.chance) {
                None => return,
                Some(None) => {}
                Some(Some(orphan)) => self.late_commands.push(orphan),
            }
        }
    }

    pub(super) fn replayer_works(&mut self) -> Verdict {
        let r = self.schedule.below(self.replayers.len());
        if self.replayers[r].is_down {
            return Ok(());
        }
        let is_slow = self.is_faulty && self.chance.permille(self.likelihoods.slow_log);
        // Records that the producer has sent may land even while its process is paused.
        for _ in 0..if is_slow { 0 } else { 1 + self.schedule.below(3) } {
            self.replayers[r].land(&mut self.log, &mut self.schedule);
        }
        if self.replayers[r].is_paused {
            return Ok(());
        }
        self.oracle.check_log(&self.log)?;
        let mut other = self.replayers[r].other_store.take();
        let done = self.ownerships_work(r, is_slow, &mut other);
        self.replayers[r].other_store = other;
        self.replayers[r].sweep();
        done
    }

    /// Gives each ownership of a process a step. The process uses the world's store unless it has
    /// another one.
    fn ownerships_work(&mut self, r: usize, is_slow: bool, other: &mut Option<Store>) -> Verdict {
        let store = other.as_mut().unwrap_or(&mut self.store);
        if let Some((partition, state)) = self.replayers[r].begin_assigned(self.now, store, &self.log) {
            self.trace.note("claim", r as u64, partition.0 as u64);
            self.check_index(partition, &state, other)?;
        }
        for p in 0..setting::PARTITIONS {
            for _ in 0..if is_slow { 0 } else { self.schedule.below(4) } {
                let knows = !(self.is_faulty && self.chance.permille(self.likelihoods.delivery / 2));
                if self.replayers[r].ack(Partition(p), knows, self.now) && !knows {
                    self.count(Fault::UnknownOffset);
                }
            }
        }
        for i in 0..self.replayers[r].ownerships.len() {
            self.ownership_works(r, i, other)?;
        }
        Ok(())
    }

    fn ownership_works(&mut self, r: usize, i: usize, other: &mut Option<Store>) -> Verdict {
        let works = !(self.is_faulty && self.chance.permille(self.likelihoods.store));
        if !works {
            // A failed checkpoint ends the ownership.
            self.oracle.lost_an_owner();
        }
        let count = 1 + self.schedule.below(12);
        let process = &mut self.replayers[r];
        let store = other.as_mut().unwrap_or(&mut self.store);
        process.open_late(i, store);
        let now = self.now;
        let failed = match self.schedule.below(9) {
            0..3 => {
                process.read(i, count, now, &self.log);
                process.read_back(i, count, now, &self.log);
                false
            }
            8 => process.read_history(i, 4 * count, works, now, store, &self.log) && !works,
            3 => process.load(i, works, now, store) && !works,
            4 => process.put(i, works, now, store) && !works,
            5 => {
                let index_works = works || self.chance.permille(700);
                let partition = process.ownerships[i].partition;
                if let Some((_, state)) = process.write(i, index_works, store) {
                    self.check_index(partition, &state, other)?;
                    self.trace.note("checkpoint", r as u64, state.checkpoint.updates_low.0 as u64);
                } else if !index_works {
                    self.count(Fault::IndexError);
                }
                false
            }
            6 => {
                process.say_commands_end(i, now, &self.log);
                process.report_checkpoint(i, now);
                process.copy_dead_letter(i, now, &mut self.log);
                false
            }
            _ => {
                process.tick(i, now);
                false
            }
        };
        if failed {
            self.count(Fault::StoreError);
        }
        Ok(())
    }

    fn check_index(&mut self, partition: Partition, state: &Rc<IndexState>, other: &Option<Store>) -> Verdict {
        match other {
            None => self.oracle.check_index(partition, state, &self.store, &self.log),
            Some(store) => self.oracle.check_other_index(partition, state, store),
        }
    }

    pub(super) fn gateway_works(&mut self) -> Verdict {
        let g = self.schedule.below(self.gateways.len());
        let works = !(self.is_faulty && self.chance.permille(self.likelihoods.store));
        let is_slow = self.is_faulty && self.chance.permille(self.likelihoods.slow_gateways[g]);
        match self.schedule.below(4) {
            0 | 1 if is_slow => {}
            0 => {
                let partition = Partition(self.schedule.below(setting::PARTITIONS as usize) as i32);
                let count = 1 + self.schedule.below(6);
                if self.gateways[g].read(partition, count, self.now, &self.log)?.is_none() {
                    // Retention deleted records that the gateway still needs.
                    self.gateways[g].fail(partition, self.now)?;
                }
            }
            1 => {
                self.gateways[g].load(works, self.now, &self.store, &self.log)?;
            }
            2 => {
                let ids: Vec<u64> = self.gateways[g].sockets.keys().copied().collect();
                for id in ids {
                    let count = self.schedule.below(4);
                    self.gateways[g].write(id, count, self.now)?;
                }
            }
            _ => {
                self.gateways[g].tick(self.now)?;
                self.gateways[g].open(&self.store, &self.log, &mut self.chance, self.now)?;
            }
        }
        for (chunk, version, hash) in std::mem::take(&mut self.gateways[g].audits) {
            self.oracle.audited(&chunk);
            let audit = proto::Audit { version: version.0, hash: hash.to_bytes(), reporter: format!("g{g}") };
            self.append_command(&chunk, command_record::Body::Audit(audit));
        }
        Ok(())
    }

    pub(super) fn restart_gateway(&mut self, g: usize) {
        let peers = self.gateways[g].peers();
        self.past_drifts += self.gateways[g].drifts;
        let skew = self.gateways[g].skew_ms;
        let seed = self.chance.next();
        self.gateways[g] = gateway::Process::new(&self.world, &self.log, skew, seed);
        for i in peers {
            if self.peers[i].gateway.is_some_and(|(at, _)| at == g) {
                self.disconnect(i, Socket::Gateway, None);
            }
        }
    }

    pub(super) fn group(&mut self) {
        for p in 0..self.owners.len() {
            let partition = Partition(p as i32);
            let owner = self.owners[p];
            if self.moves.iter().any(|(moved, ..)| *moved == partition) {
                continue;
            }
            if self.replayers[owner].is_awake() {
                self.replayers[owner].assigned.entry(partition).or_insert(self.now);
            } else if self.schedule.permille(30) || !self.is_faulty {
                // The process was silent for too long, so the group gives its partition to the
                // other process.
                let other = (owner + 1) % self.replayers.len();
                if self.replayers[other].is_awake() {
                    if self.replayers[owner].assigned.contains_key(&partition) {
                        self.late_losses.push((owner, partition));
                    }
                    self.owners[p] = other;
                    self.trace.note("owner", p as u64, other as u64);
                }
            }
        }
        let (replayers, owners) = (&self.replayers, &mut self.owners);
        self.moves.retain(|(partition, from, to)| {
            let is_over = !replayers[*from].is_awake()
                || !replayers[*from].ownerships.iter().any(|own| own.partition == *partition);
            if is_over {
                owners[partition.0 as usize] = *to;
            }
            !is_over
        });
        if !self.late_losses.is_empty() && self.schedule.permille(20) {
            let at = self.schedule.below(self.late_losses.len());
            let (process, partition) = self.late_losses[at];
            if self.replayers[process].is_awake() {
                self.late_losses.swap_remove(at);
                if self.owners[partition.0 as usize] != process {
                    self.replayers[process].lose(partition);
                }
            }
        }
    }

    pub(super) fn append_command(&mut self, chunk: &ChunkId, body: command_record::Body) {
        let place = self.world.place(chunk).expect("a chunk of the simulated world");
        let record = CommandRecord { chunk_id: chunk.to_string(), body: Some(body) }.encode_to_vec();
        self.log.commands[place.partition.0 as usize].append(place.key.into(), record.into());
    }
}
