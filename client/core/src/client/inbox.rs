//! Dispatch of the servers' events to the session and to the chunks.

use super::ClientCore;
use crate::event::{Event, ReconnectReason, Socket};
use driftless_schemas::proto::{self, Pong, event, request};
use driftless_schemas::time::MonotonicMs;
use driftless_schemas::{Seq, wire};

impl ClientCore {
    /// Handles one event of a server.
    pub(super) fn handle(&mut self, now: MonotonicMs, socket: Socket, body: event::Body) {
        match (socket, body) {
            (_, event::Body::Welcome(welcome)) => self.welcome(now, socket, welcome),
            (_, event::Body::Renewed(renewed)) => self.renewed(now, renewed.token_expires_at),
            (_, event::Body::Ping(ping)) => {
                self.connection(socket).push(request::Body::Pong(Pong { nonce: ping.nonce }));
            }
            (_, event::Body::Pong(_)) => {}
            (_, event::Body::Refused(refused)) => {
                let code = refused.code();
                self.events.push_back(Event::Refused { socket, code, message: refused.message });
            }
            (Socket::Ingest, event::Body::Rejected(rejected)) => {
                if rejected.retry() == proto::Retry::Reauthenticate {
                    self.request_token(now);
                }
                let id = rejected.chunk_id.clone();
                self.with_named(now, &id, |chunk, turn| chunk.rejected(rejected, turn));
            }
            // A receipt is not a decision: the outbox resends the command until a decision arrives.
            (Socket::Ingest, event::Body::Receipt(receipt)) => self.receipted(&receipt),
            // Before Welcome a gateway has no reason to send anything else, because the client has
            // sent no Track. The client ignores such a message: it could not send a request in
            // response.
            (Socket::Gateway, body) if self.gateway.is_welcomed() => self.handle_gateway(now, body),
            (Socket::Ingest | Socket::Gateway, _) => {}
        }
    }

    fn receipted(&mut self, receipt: &proto::Receipt) {
        let chunk = receipt.chunk_id.parse().ok().and_then(|id| self.chunks.get_mut(&id));
        if let Some(chunk) = chunk {
            chunk.outbox.receipted(Seq(receipt.seq));
        }
    }

    fn handle_gateway(&mut self, now: MonotonicMs, body: event::Body) {
        match body {
            event::Body::Tracked(m) => self.with_named(now, &m.chunk_id, |chunk, turn| chunk.tracked(&m, turn)),
            event::Body::TrackRejected(m) => {
                let id = m.chunk_id.clone();
                self.with_named(now, &id, |chunk, turn| chunk.track_rejected(m, turn));
            }
            event::Body::Chunk(m) => self.with_named(now, &m.chunk_id, |chunk, turn| chunk.chunk(&m, turn)),
            event::Body::Updates(bytes) => match wire::decode_shared::<proto::Updates>(&bytes) {
                Ok(m) => self.with_named(now, &m.chunk_id, |chunk, turn| chunk.updates(&m, turn)),
                Err(_) => self.reconnect(now, Socket::Gateway, ReconnectReason::Undecodable),
            },
            event::Body::Outcomes(m) => {
                let id = m.chunk_id.clone();
                self.with_named(now, &id, |chunk, turn| chunk.outcomes(m, turn));
            }
            event::Body::Beacons(m) => {
                for beacon in &m.beacons {
                    self.with_named(now, &beacon.chunk_id, |chunk, turn| chunk.beacon(beacon, turn));
                }
            }
            event::Body::Lagging(m) => self.with_named(now, &m.chunk_id, |chunk, turn| chunk.lagging(turn)),
            _ => {}
        }
    }
}
