//! The faults of a step: which of them occur, and how each changes the world.

use super::Sim;
use super::network::link;
use crate::faults::Fault;
use crate::setting;
use crate::store::Store;
use crate::violation::Verdict;
use bytes::Bytes;
use driftless_client_core::Socket;
use driftless_schemas::proto::{
    Command, CommandRecord, Decisions, Fence, Settle, UpdatesRecord, command, command_record, updates_record::Body,
};
use driftless_schemas::{ChunkId, Partition, SessionId};
use prost::Message as _;

impl Sim {
    pub(super) fn faults(&mut self) -> Verdict {
        if self.chance.permille(self.likelihoods.processes) {
            self.process_fault()?;
        }
        if self.chance.permille(self.likelihoods.sockets) {
            self.socket_fault()?;
        }
        if self.chance.permille(self.likelihoods.delivery / 4) {
            let r = self.chance.below(self.replayers.len());
            if self.replayers[r].is_awake()
                && let Some(orphans) = self.replayers[r].fail(self.now)
            {
                self.oracle.lost_an_owner();
                self.count(Fault::DeliveryFailed);
                self.late_updates.push(orphans.into());
                self.replayers[r].sweep();
            }
        }
        if self.again.permille(self.likelihoods.written_again) {
            let r = self.again.below(self.replayers.len());
            let is_heard = self.again.permille(500);
            if self.replayers[r].is_awake() && self.replayers[r].write_again(&mut self.log, is_heard, self.now) {
                self.count(Fault::WrittenAgain);
            }
        }
        if self.tokens.permille(self.likelihoods.renewals) {
            self.renew_token();
        }
        if self.restores.permille(self.likelihoods.index_rollbacks) {
            self.restore_an_index();
        }
        if self.restores.permille(self.likelihoods.foreign_updates) {
            self.write_to_updates()?;
        }
        if self.incidents.permille(self.likelihoods.log_losses) {
            self.lose_a_log()?;
        }
        if self.copies.permille(self.likelihoods.copies) {
            self.copy_the_store();
        }
        if self.store.is_away {
            self.store.is_away = !self.chance.permille(15);
        } else if self.chance.permille(self.likelihoods.store / 30) {
            self.store.is_away = true;
            self.count(Fault::StoreAway);
        }
        if self.chance.permille(self.likelihoods.strangers) {
            self.other_users_write();
        }
        if self.chance.permille(self.likelihoods.damage) {
            let i = self.chance.below(self.peers.len());
            let which = self.chance.below(8);
            if self.peers[i].damage(which) {
                self.count(Fault::ClientDamaged);
            }
            let g = self.chance.below(self.gateways.len());
            let chunk = self.a_chunk();
            self.gateways[g].damage(&chunk, self.now)?;
            self.count(Fault::GatewayDamaged);
        }
        if self.chance.permille(self.likelihoods.owner_damage) {
            self.damage_an_owner();
        }
        if self.chance.permille(self.likelihoods.losses) {
            let which = self.chance.below(self.store.objects().max(1));
            if self.store.damage(which).is_some() {
                self.count(Fault::ObjectLost);
            }
        }
        if self.likelihoods.losses == 0 && self.likelihoods.owner_damage == 0 && self.chance.permille(2) {
            self.cut_log();
        }
        if self.chance.permille(2) {
            self.append_foreign_record();
        }
        if self.chance.permille(1) {
            self.now += 4_000;
            self.count(Fault::TimeJump);
        }
        Ok(())
    }

    fn process_fault(&mut self) -> Verdict {
        let r = self.chance.below(self.replayers.len());
        match self.chance.below(13) {
            0..3 => {
                let had_checkpoint = self.replayers[r].has_unheard_checkpoint();
                self.kill_replayer(r);
                self.replayers[r].is_down = self.chance.permille(700);
                self.count(Fault::ReplayerKilled);
                if had_checkpoint {
                    self.count(Fault::TornCheckpoint);
                }
            }
            3 | 4 => {
                self.oracle.lost_an_owner();
                self.replayers[r].is_paused = true;
                self.count(Fault::ReplayerPaused);
            }
            5 | 6 => {
                let p = self.chance.below(self.owners.len());
                let (partition, from) = (Partition(p as i32), self.owners[p]);
                let to = (from + 1) % self.replayers.len();
                let is_moving = self.moves.iter().any(|(moved, ..)| *moved == partition);
                if !is_moving && self.replayers[from].is_awake() && self.replayers[to].is_awake() {
                    self.replayers[from].revoke(partition, self.now);
                    self.moves.push((partition, from, to));
                    self.count(Fault::HandOver);
                }
            }
            7 => {
                let p = self.chance.below(self.owners.len());
                let from = self.owners[p];
                let to = (from + 1) % self.replayers.len();
                if self.replayers[to].is_awake() {
                    self.oracle.lost_an_owner();
                    self.late_losses.push((from, Partition(p as i32)));
                    self.owners[p] = to;
                    self.count(Fault::Stolen);
                }
            }
            8 => {
                let g = self.chance.below(self.gateways.len());
                self.restart_gateway(g);
                self.count(Fault::GatewayKilled);
            }
            9 => {
                let g = self.chance.below(self.gateways.len());
                let partition = Partition(self.chance.below(self.owners.len()) as i32);
                self.gateways[g].renew_view(partition, &self.store, self.now);
                self.count(Fault::StaleView);
            }
            10 => {
                let g = self.chance.below(self.gateways.len());
                let partition = Partition(self.chance.below(self.owners.len()) as i32);
                self.gateways[g].fail(partition, self.now)?;
                self.count(Fault::GatewayPartitionFailed);
            }
            _ => {
                let at = self.chance.below(self.ingests.len());
                let (orphans, peers) = self.ingests[at].crash();
                self.late_commands.extend(orphans);
                for i in peers {
                    if self.peers[i].ingest.is_some_and(|(process, _)| process == at) {
                        self.disconnect(i, Socket::Ingest, None);
                    }
                }
                self.count(Fault::IngestKilled);
            }
        }
        for process in &mut self.replayers {
            if process.is_down && self.chance.permille(500) {
                process.is_down = false;
            }
            if process.is_paused && self.chance.permille(500) {
                process.is_paused = false;
            }
        }
        Ok(())
    }

    fn socket_fault(&mut self) -> Verdict {
        let i = self.chance.below(self.peers.len());
        let socket = if self.chance.permille(500) { Socket::Ingest } else { Socket::Gateway };
        let Some((at, id)) = *self.peers[i].connection(socket) else { return Ok(()) };
        if self.chance.permille(300) {
            // The server does not notice the break, so messages in flight still arrive at the
            // server.
            if let Some(link) = link(&mut self.ingests, &mut self.gateways, socket, (at, id)) {
                link.peer = None;
            }
            self.count(Fault::HalfOpen);
        } else {
            self.close(socket, at, id)?;
            self.count(Fault::SocketCut);
        }
        self.disconnect(i, socket, None);
        Ok(())
    }

    /// Lets records of dead producers land late or never. They keep their order, but some are left
    /// out.
    pub(super) fn land_late_records(&mut self) {
        if !self.late_updates.is_empty() {
            let at = self.chance.below(self.late_updates.len());
            match self.late_updates[at].pop_front() {
                None => drop(self.late_updates.swap_remove(at)),
                Some((partition, key, value)) if self.chance.permille(600) => {
                    self.log.updates[partition.0 as usize].append(key, value);
                    self.count(Fault::LateRecord);
                }
                Some(_) => {}
            }
        }
        if !self.late_commands.is_empty() {
            let at = self.chance.below(self.late_commands.len());
            let (partition, key, value) = self.late_commands.swap_remove(at);
            if self.chance.permille(600) {
                self.log.commands[partition.0 as usize].append(key, value);
                self.count(Fault::LateRecord);
            }
        }
    }

    /// Other users write to a chunk, so that its ledger evicts writers.
    fn other_users_write(&mut self) {
        let chunk = &self.a_chunk();
        for _ in 0..1 + self.chance.below(5) {
            self.strangers += 1;
            let mut random = [0; 10];
            random[..8].copy_from_slice(&self.strangers.to_be_bytes());
            let age = self.chance.below(60_000) as u64;
            let writer = SessionId::new(self.now - age, random).writer("stranger");
            let body = match self.chance.below(4) {
                0 => Some(command::Body::Settle(Settle {})),
                // The command has a writer, `seq` and `after` that can be decoded, and a body that
                // cannot.
                1 => None,
                _ => {
                    self.unique += 1;
                    Some(command::Body::Command(setting::command(chunk, self.unique, &mut self.chance)))
                }
            };
            let after = self.chance.below(2) as u64;
            let writer = writer.to_bytes();
            let command = Command { writer, author: "stranger".into(), seq: 2, after, body, ..Command::default() };
            self.append_command(chunk, command_record::Body::Command(command));
        }
        self.count(Fault::Strangers);
    }

    fn a_chunk(&mut self) -> ChunkId {
        let chunks = setting::chunks();
        let which = self.chance.below(chunks.len());
        chunks[which].clone()
    }

    fn damage_an_owner(&mut self) {
        let r = self.chance.below(self.replayers.len());
        let chunk = self.a_chunk();
        let partition = self.world.place(&chunk).expect("a chunk of the simulated world").partition;
        let Some(i) = self.replayers[r].ownerships.iter().position(|own| own.partition == partition) else { return };
        // Each chunk is damaged at most once in a run. Damage that no check finds gets into later
        // snapshots. An owner could then heal a second damage only to the first damaged state, and
        // the oracle would report a violation although the owner did nothing wrong.
        if self.oracle.chunks.get(&chunk).is_some_and(|truth| truth.is_damaged) {
            return;
        }
        self.replayers[r].damage(i, &chunk, self.now);
        self.oracle.damaged(&chunk);
        self.count(Fault::OwnerDamaged);
    }

    /// Appends a record to `commands` that is no command of any chunk.
    fn append_foreign_record(&mut self) {
        let p = self.chance.below(self.log.commands.len());
        let value: Bytes = match self.chance.below(3) {
            0 => Bytes::from_static(b"\xff\xff\xff"),
            1 => CommandRecord { chunk_id: "nowhere/0".into(), body: None }.encode_to_vec().into(),
            _ => Bytes::new(),
        };
        self.log.commands[p].append(Bytes::new(), value);
        self.count(Fault::Rubbish);
    }

    /// Puts the index of a partition back to an older state, or deletes it. The log must still hold
    /// what an owner has to read from there.
    fn restore_an_index(&mut self) {
        let p = self.restores.below(self.log.updates.len());
        let partition = Partition(p as i32);
        let which = self.restores.below(self.store.states(partition) + 1);
        let oldest = self.backups_from[p];
        if self.oracle.is_lost(p) || which < oldest || (oldest > 0 && which == self.store.states(partition)) {
            return;
        }
        let state = self.store.state(partition, which);
        let checkpoint = state.map(|state| state.checkpoint).unwrap_or_default();
        if checkpoint.updates_low < self.log.updates[p].low() || checkpoint.commands_next < self.log.commands[p].low() {
            return;
        }
        let which = state.is_some().then_some(which);
        self.store.roll_back(partition, which);
        let chunks = setting::chunks();
        let of_partition = chunks.iter().filter(|id| self.world.place(id).is_ok_and(|at| at.partition == partition));
        self.oracle.index_restored(of_partition, &self.store.view(partition, 0));
        self.count(if which.is_some() { Fault::IndexRolledBack } else { Fault::IndexLost });
    }

    /// Restarts a replayer with a copy of the store, or with an empty store of the same world, as
    /// an operator does who tests a backup or mistypes a name. Another time, restarts it with the
    /// world's store.
    fn copy_the_store(&mut self) {
        if let Some(r) = self.replayers.iter().position(|process| process.other_store.is_some()) {
            self.return_to_the_store(r);
            return;
        }
        let r = self.copies.below(self.replayers.len());
        let is_empty = self.copies.permille(250);
        self.kill_replayer(r);
        let mut copy = if is_empty { Store::new(setting::PARTITIONS) } else { self.store.clone() };
        copy.is_away = false;
        self.replayers[r].other_store = Some(copy);
        self.count(Fault::StoreCopied);
    }

    /// Restarts a replayer that uses another store, with the world's store.
    pub(super) fn return_to_the_store(&mut self, r: usize) {
        if self.replayers[r].other_store.is_some() {
            self.kill_replayer(r);
            self.replayers[r].other_store = None;
        }
    }

    fn kill_replayer(&mut self, r: usize) {
        self.oracle.lost_an_owner();
        let orphans = self.replayers[r].crash();
        self.late_updates.push(orphans.into());
    }

    /// Lets a program that is no owner write to `updates`: a fence that counts, a fence that does
    /// not, or a record behind a hole.
    fn write_to_updates(&mut self) -> Verdict {
        let p = self.restores.below(self.log.updates.len());
        self.oracle.check_log(&self.log)?;
        let (epoch, n) = self.oracle.position(p);
        let fence = Body::Fence(Fence { owner: "another program".into(), ..Fence::default() });
        let above = self.restores.below(3) as u64;
        let (epoch, n, body) = match self.restores.below(3) {
            0 => (epoch + 1 + above, 0, fence),
            1 => (epoch.saturating_sub(above), 0, fence),
            _ => (epoch, n + 2 + above, Body::Decisions(Decisions::default())),
        };
        let is_valid = epoch > self.oracle.position(p).0;
        if is_valid {
            self.oracle.lost_an_owner();
        }
        let value = UpdatesRecord { epoch, n, body: Some(body) }.encode_to_vec();
        self.log.updates[p].append(Bytes::new(), value.into());
        self.count(if is_valid { Fault::ForeignFence } else { Fault::ForeignRecord });
        Ok(())
    }

    /// Lets retention delete as much as the checkpoint allows: `updates` below `updates_low`, and
    /// `commands` below `commands_next`.
    fn cut_log(&mut self) {
        let p = self.chance.below(self.log.updates.len());
        if self.likelihoods.log_losses > 0 || self.likelihoods.copies > 0 {
            return;
        }
        let checkpoint = self.store.view(Partition(p as i32), 0).checkpoint;
        self.log.updates[p].cut(checkpoint.updates_low);
        self.log.commands[p].cut(checkpoint.commands_next);
        self.count(Fault::LogCut);
    }
}
