//! The users, and the messages between clients and servers.

use super::Sim;
use crate::faults::Fault;
use crate::link::Link;
use crate::peer::Connected;
use crate::violation::{Verdict, Violation};
use crate::{gateway, ingest};
use bytes::Bytes;
use driftless_client_core::{ChunkStatus, Socket};
use driftless_schemas::format;
use driftless_schemas::proto::{self, request};
use prost::Message as _;

impl Sim {
    pub(super) fn act_as_user(&mut self) {
        let i = self.work.below(self.peers.len());
        if self.work.permille(self.likelihoods.cancels) {
            let count = if self.work.permille(100) { 70 } else { 2 };
            for _ in 0..count {
                let back = self.work.below(count);
                self.peers[i].cancel(back, self.now);
            }
            return;
        }
        let count =
            if self.work.permille(self.likelihoods.bursts) { 40 + self.work.below(50) } else { 1 + self.work.below(3) };
        for _ in 0..count {
            self.peers[i].edit(&mut self.unique, self.now, &mut self.work);
        }
    }

    pub(super) fn connect(&mut self) {
        let i = self.schedule.below(self.peers.len());
        let now = self.peers[i].clock(self.now);
        let mut token = self.peers[i].name.clone();
        if self.peers[i].ingest.is_none() {
            let at = self.schedule.below(self.ingests.len());
            let id = self.next_socket();
            self.ingests[at].accept(id, i, self.now);
            self.peers[i].ingest = Some((at, id));
            if self.is_faulty && self.chance.permille(self.likelihoods.read_only) {
                self.count(Fault::ReadOnly);
                token.push('!');
            }
            self.peers[i].core.connected(now, Socket::Ingest, token);
        } else if self.peers[i].gateway.is_none() {
            let at = self.schedule.below(self.gateways.len());
            let id = self.next_socket();
            self.gateways[at].accept(id, i, self.now);
            self.peers[i].gateway = Some((at, id));
            let token = self.gateway_token(i);
            self.peers[i].core.connected(now, Socket::Gateway, token);
        } else if !self.is_faulty {
            // A client whose token allows only reading cannot send its pending commands. So its
            // socket is closed, and it reconnects with a token that allows writing.
            let Some((at, id)) = self.peers[i].ingest else { return };
            if self.peers[i].core.pending() > 0 && self.schedule.permille(5) {
                self.ingests[at].sockets.remove(&id);
                self.disconnect(i, Socket::Ingest, None);
            }
        }
    }

    /// Makes the token of a client for a gateway. In the last phase, which has no faults, the token
    /// outlives the run, so that the gateway refuses no Track.
    fn gateway_token(&self, i: usize) -> String {
        let name = &self.peers[i].name;
        match self.likelihoods.token_life_s.filter(|_| self.is_faulty) {
            Some(life_s) => format!("{name}@{life_s}"),
            None => name.clone(),
        }
    }

    /// Lets a random client renew the token of its gateway socket.
    pub(super) fn renew_token(&mut self) {
        let i = self.tokens.below(self.peers.len());
        let Some((at, id)) = self.peers[i].gateway.filter(|(at, id)| self.gateways[*at].is_welcomed(*id)) else {
            return;
        };
        let renew = proto::Renew { token: self.gateway_token(i) };
        if let Some(socket) = self.gateways[at].sockets.get_mut(&id) {
            socket.link.up.push_back(format::request(request::Body::Renew(renew)));
        }
    }

    fn next_socket(&mut self) -> u64 {
        self.next_socket += 1;
        self.next_socket
    }

    /// Closes the client's end of a socket, and informs the client's core.
    pub(super) fn disconnect(&mut self, i: usize, socket: Socket, code: Option<u16>) {
        let peer = &mut self.peers[i];
        if peer.connection(socket).take().is_some() {
            peer.core.disconnected(peer.clock(self.now), socket, code);
        }
    }

    pub(super) fn deliver_to_ingest(&mut self) {
        let at = self.schedule.below(self.ingests.len());
        let ids: Vec<u64> = self.ingests[at].sockets.keys().copied().collect();
        if ids.is_empty() {
            return;
        }
        let id = ids[self.schedule.below(ids.len())];
        if self.schedule.permille(100) {
            self.ingests[at].tick(id, self.now);
        }
        self.ingests[at].receive(id, self.now);
    }

    pub(super) fn deliver_to_gateway(&mut self) -> Verdict {
        let at = self.schedule.below(self.gateways.len());
        let ids: Vec<u64> = self.gateways[at].sockets.keys().copied().collect();
        if ids.is_empty() {
            return Ok(());
        }
        let id = ids[self.schedule.below(ids.len())];
        self.gateways[at].receive(id, self.now)?;
        for _ in 0..std::mem::take(&mut self.gateways[at].refused_expired) {
            self.count(Fault::TokenExpired);
        }
        Ok(())
    }

    /// Delivers a message to a client. Several frames may arrive as one message, because
    /// concatenated frames are a valid frame.
    pub(super) fn deliver_to_client(&mut self, socket: Socket) -> Verdict {
        let i = self.schedule.below(self.peers.len());
        let Some((at, id)) = *self.peers[i].connection(socket) else { return Ok(()) };
        let Some(link) = link(&mut self.ingests, &mut self.gateways, socket, (at, id)) else {
            self.disconnect(i, socket, None);
            return Ok(());
        };
        let count = 1 + self.schedule.below(4);
        let messages: Vec<Bytes> = (0..count).map_while(|_| link.down.pop_front()).collect();
        if messages.is_empty() {
            if let Some(code) = link.close {
                self.close(socket, at, id)?;
                self.disconnect(i, socket, Some(code));
            }
            return Ok(());
        }
        let message: Bytes = messages.concat().into();
        let frame = proto::ServerFrame::decode(message.clone())
            .map_err(|e| Violation::new("protocol", format!("a frame cannot be decoded: {e}")))?;
        for event in frame.events.iter().filter_map(|event| event.body.as_ref()) {
            self.oracle.check_event(event)?;
            self.peers[i].check_event(event)?;
        }
        self.trace.note("deliver", i as u64, message.len() as u64);
        let peer = &mut self.peers[i];
        peer.core.received(peer.clock(self.now), socket, message);
        Ok(())
    }

    pub(super) fn close(&mut self, socket: Socket, at: usize, id: u64) -> Verdict {
        match socket {
            Socket::Ingest => drop(self.ingests[at].sockets.remove(&id)),
            Socket::Gateway => self.gateways[at].leave(id, self.now)?,
        }
        Ok(())
    }

    pub(super) fn peers_turn(&mut self) -> Verdict {
        for i in 0..self.peers.len() {
            for socket in self.peers[i].turn(self.now, &self.oracle)? {
                if let Some((at, id)) = self.peers[i].connection(socket).take() {
                    self.close(socket, at, id)?;
                }
            }
            self.send(i);
            let now = self.now;
            let peer = &mut self.peers[i];
            for chunk in &peer.chunks {
                // A user who sees an error tracks the chunk again.
                if matches!(peer.core.status(chunk), Some(ChunkStatus::Failed { .. } | ChunkStatus::Rejected { .. })) {
                    peer.core.track(peer.clock(now), chunk);
                }
            }
        }
        Ok(())
    }

    fn send(&mut self, i: usize) {
        for socket in [Socket::Ingest, Socket::Gateway] {
            let peer = &mut self.peers[i];
            let connected = *peer.connection(socket);
            while let Some(message) = peer.core.poll_send(socket) {
                let Some((at, id)) = connected else { continue };
                if let Some(link) = link(&mut self.ingests, &mut self.gateways, socket, (at, id)) {
                    link.up.push_back(message);
                }
            }
        }
    }
}

/// Returns the server's end of a socket; `None` if the server has dropped the socket.
pub(super) fn link<'s>(
    ingests: &'s mut [ingest::Process],
    gateways: &'s mut [gateway::Process],
    socket: Socket,
    (at, id): Connected,
) -> Option<&'s mut Link> {
    match socket {
        Socket::Ingest => ingests[at].sockets.get_mut(&id).map(|socket| &mut socket.link),
        Socket::Gateway => gateways[at].sockets.get_mut(&id).map(|socket| &mut socket.link),
    }
}
