//! One websocket: its session, its requests to the hub, and what the hub has for it.
//!
//! Reading and writing take turns in one task; frames that are ready together leave in one message, because the
//! concatenation of encoded frames is a frame. While a write is stuck nothing is read either, nor while the hub has not
//! looked at the last requests: nobody can fill its queue. A socket that takes nothing for `write_timeout` is closed with
//! a code that says "reconnect".

use crate::hub::{HubHandle, Member, Out};
use crate::metrics;
use bytes::{Bytes, BytesMut};
use driftless_gateway_core::Joined;
use driftless_runtime::auth::Verifier;
use driftless_runtime::shutdown::Shutdown;
use driftless_runtime::socket::{Socket, close, end};
use driftless_runtime_core::{Greeter, Outputs, Outside, Session};
use driftless_schemas::access::Claims;
use driftless_schemas::limits;
use driftless_schemas::proto::{RefusalCode, request};
use futures_util::{FutureExt, SinkExt, StreamExt};
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tokio_tungstenite::tungstenite::Message;

/// Frames are joined up to this, so that it shows soon whether a socket takes anything; a large Chunk goes alone.
const JOINED_BYTES_MAX: usize = 64 * 1024;
const _: () = assert!(JOINED_BYTES_MAX <= limits::SERVER_FRAME_BYTES_MAX);
/// The slowest line that is served: 16 KiB/s.
const SLOWEST_BYTES_PER_MS: usize = 16;

/// What every connection needs.
#[derive(Clone)]
pub(crate) struct Context {
    pub hub: HubHandle,
    pub verifier: Verifier,
    pub greeter: Greeter,
    pub write_timeout: Duration,
    pub shutdown: Shutdown,
}

impl Outside for Context {
    fn verify(&self, token: &str, now_ms: i64) -> Result<Claims, String> {
        self.verifier.verify(token, now_ms).map_err(|e| e.to_string())
    }

    fn random(&self) -> [u8; 10] {
        rand::random()
    }
}

/// Milliseconds since the Unix epoch.
pub(crate) fn now_ms() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| i64::try_from(d.as_millis()).unwrap_or(i64::MAX))
}

/// Serves a socket until its end.
pub(crate) async fn serve(socket: Socket, context: Context) {
    let session = Session::new(context.greeter.clone(), now_ms());
    let mut connection = Connection { socket, session, member: None, context };
    let ended = connection.run().await;
    let Connection { socket, member, .. } = connection;
    // The hub need not wait for the farewell.
    drop(member);
    if let Some((code, reason)) = ended {
        metrics::closed(code);
        end(socket, code, &reason).await;
    }
}

struct Connection {
    socket: Socket,
    session: Session,
    member: Option<Member>,
    context: Context,
}

/// How a socket ends: our code and reason, or nothing where the peer has ended it.
type Ended = Option<(u16, String)>;

impl Connection {
    async fn run(&mut self) -> Ended {
        loop {
            let now = now_ms();
            let pause = u64::try_from(self.session.wake_at_ms().saturating_sub(now)).unwrap_or(0).max(10);
            let taken = self.member.as_ref().map(Member::taken);
            let done = tokio::select! {
                message = next_message(taken, &mut self.socket) => self.take_message(message).await,
                out = next_out(&mut self.member) => self.take_out(out).await,
                () = tokio::time::sleep(Duration::from_millis(pause)) => {
                    let mut outputs = Outputs::default();
                    self.session.tick(now_ms(), &mut outputs);
                    self.carry_out(outputs).await
                }
                () = self.context.shutdown.wait() => {
                    Err(Some((close::SHUTTING_DOWN, "the server is shutting down: connect to another one".into())))
                }
            };
            if let Err(ended) = done {
                return ended;
            }
        }
    }

    async fn take_message(
        &mut self,
        message: Option<Result<Message, tokio_tungstenite::tungstenite::Error>>,
    ) -> Result<(), Ended> {
        use tokio_tungstenite::tungstenite::Error;
        let bytes = match message {
            Some(Ok(Message::Binary(bytes))) => bytes,
            Some(Ok(Message::Ping(_) | Message::Pong(_))) => {
                self.session.heard(now_ms());
                return Ok(());
            }
            Some(Ok(Message::Text(_))) => {
                let reason = "messages are binary protobuf, not text";
                return Err(Some((close::FRAME_UNTRUSTED, reason.into())));
            }
            Some(Err(Error::Capacity(e))) => return Err(Some((close::FRAME_UNTRUSTED, e.to_string()))),
            Some(Err(Error::Protocol(e))) => return Err(Some((close::FRAME_UNTRUSTED, e.to_string()))),
            Some(Ok(Message::Close(_))) => {
                // The answer to a close is queued already; it goes out now or not at all.
                let _ = self.socket.flush().now_or_never();
                return Err(None);
            }
            Some(Ok(Message::Frame(_)) | Err(_)) | None => return Err(None),
        };
        let mut outputs = Outputs::default();
        let mut requests = Vec::new();
        let now = now_ms();
        self.session.frame(bytes, now, &self.context, &mut outputs, &mut |who, request, out| {
            let reads = matches!(request, request::Body::Track(_) | request::Body::Refresh(_));
            if reads && now >= who.claims.expires_at.saturating_mul(1000) {
                let expired = who.claims.expires_at;
                out.refuse(
                    RefusalCode::Token,
                    format!("the token expired at {expired} (seconds since 1970): renew it"),
                );
            } else {
                requests.push(request);
            }
        });
        if outputs.is_greeted
            && let Some(identity) = self.session.identity()
        {
            let joined = Joined {
                writer: identity.writer,
                access: identity.claims.access.clone(),
                families: identity.offered.clone(),
            };
            self.member = Some(self.context.hub.join(joined));
        }
        if let (true, Some(member), Some(identity)) = (outputs.is_renewed, &self.member, self.session.identity()) {
            member.renewed(identity.claims.access.clone());
        }
        let done = self.carry_out(outputs).await;
        if let (false, Some(member)) = (requests.is_empty(), &self.member) {
            member.requests(requests);
        }
        done
    }

    async fn carry_out(&mut self, outputs: Outputs) -> Result<(), Ended> {
        if !outputs.frame.is_empty() {
            self.write(outputs.frame.freeze()).await?;
        }
        match outputs.close {
            Some(end) => Err(Some((end.code, end.reason))),
            None => Ok(()),
        }
    }

    /// Writes all that the hub has by now, joined into messages.
    async fn take_out(&mut self, first: Option<Out>) -> Result<(), Ended> {
        let mut frames = Vec::new();
        let mut end = None;
        let mut next = first;
        while let Some(out) = next {
            match out {
                Out::Frames(more) => frames.extend(more),
                Out::Close(code, why) => {
                    end = Some((code, why));
                    break;
                }
            }
            next = self.member.as_mut().and_then(|member| member.out.try_recv().ok());
        }
        for message in join(frames) {
            let length = message.len();
            self.write(message).await?;
            if let Some(member) = &self.member {
                member.written(length);
            }
        }
        end.map_or(Ok(()), |end| Err(Some(end)))
    }

    async fn write(&mut self, bytes: Bytes) -> Result<(), Ended> {
        // A thin line gets the time that a large message needs on it: how far the kernel is with one is not told.
        let patience = self.context.write_timeout + Duration::from_millis((bytes.len() / SLOWEST_BYTES_PER_MS) as u64);
        match tokio::time::timeout(patience, self.socket.send(Message::Binary(bytes))).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) => Err(None),
            Err(_) => {
                let reason = format!("the socket did not take what it was sent within {patience:?}");
                Err(Some((close::WRITE_TIMEOUT, reason)))
            }
        }
    }
}

/// The next message, once the hub has looked at the requests of the one before. Cancel-safe.
async fn next_message(
    taken: Option<impl Future<Output = ()>>,
    socket: &mut Socket,
) -> Option<Result<Message, tokio_tungstenite::tungstenite::Error>> {
    if let Some(taken) = taken {
        taken.await;
    }
    socket.next().await
}

async fn next_out(member: &mut Option<Member>) -> Option<Out> {
    match member {
        Some(member) => match member.out.recv().await {
            Some(out) => Some(out),
            // The hub has ended: so does the gateway, and with it this socket.
            None => std::future::pending().await,
        },
        None => std::future::pending().await,
    }
}

/// Joins frames into messages that stay below the limit, where a single frame does.
fn join(frames: Vec<Bytes>) -> Vec<Bytes> {
    let mut messages = Vec::new();
    let mut joined = BytesMut::new();
    let mut rest = frames.into_iter().peekable();
    while let Some(frame) = rest.next() {
        if joined.is_empty() && rest.peek().is_none() {
            // One alone is passed on as it is: no copy.
            messages.push(frame);
            break;
        }
        if joined.len() + frame.len() > JOINED_BYTES_MAX && !joined.is_empty() {
            messages.push(joined.split().freeze());
        }
        joined.extend_from_slice(&frame);
    }
    if !joined.is_empty() {
        messages.push(joined.freeze());
    }
    messages
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_are_joined_up_to_the_limit() {
        let frame = |n: usize| Bytes::from(vec![7; n]);
        let sizes = |frames: Vec<Bytes>| join(frames).iter().map(Bytes::len).collect::<Vec<_>>();
        assert_eq!(sizes(vec![]), Vec::<usize>::new());
        assert_eq!(sizes(vec![frame(5)]), [5]);
        assert_eq!(sizes(vec![frame(5), frame(6), frame(7)]), [18]);
        let most = JOINED_BYTES_MAX;
        assert_eq!(sizes(vec![frame(most - 1), frame(1), frame(1), frame(2)]), [most, 3]);
        assert_eq!(sizes(vec![frame(1), frame(most), frame(most + 1), frame(2)]), [1, most, most + 1, 2]);
    }
}
