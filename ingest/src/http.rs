//! Commands without a websocket: for services, scripts and `curl`.
//!
//! `POST /v1/sessions` gives out a session, `POST /v1/chunks/{id}/commands` takes commands and answers when the log has
//! acknowledged them. The checks are the same as on a websocket.

use crate::Shared;
use crate::handover::Mailbox;
use crate::results::{Accepted, Outcome, answer, rejected, unacknowledged};
use crate::submission::{Batch, Item};
use bytes::Bytes;
use driftless_auth::Claims;
use driftless_ingest_core::rate::Bucket;
use driftless_ingest_core::{Admitted, Produce, Rejection};
use driftless_log::AppendError;
use driftless_runtime_core::{Environment as _, Identity, ids};
use driftless_schemas::{ChunkId, Partition, Seq, SessionId, limits};
use driftless_web::http::{ChunkPath, Problem, Response, Routes, body, chunk_path, json, query_value, token};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;
use warp::Filter;
use warp::http::{HeaderMap, HeaderValue, StatusCode, header};

/// How much longer than the producer a request waits: what the log gives up on is told, so this is never the reason.
const ANSWER_GRACE: Duration = Duration::from_secs(2);

pub(crate) fn routes(shared: &Arc<Shared>) -> Routes {
    let with = |shared: Arc<Shared>| warp::any().map(move || Arc::clone(&shared));
    let sessions = warp::path!("v1" / "sessions")
        .and(warp::post())
        .and(with(Arc::clone(shared)))
        .and(token())
        .and(body(limits::CLIENT_FRAME_BYTES_MAX))
        .map(|shared: Arc<Shared>, token, body: Bytes| {
            new_session(&shared, token, &body).unwrap_or_else(Problem::response)
        });
    let commands = chunk_path()
        .and_then(|path: ChunkPath| async move {
            let is_ours = path.extension.is_empty() && path.suffix() == ["commands"];
            if is_ours { Ok(path.chunk) } else { Err(warp::reject::not_found()) }
        })
        .and(warp::post())
        .and(with(Arc::clone(shared)))
        .and(token())
        .and(warp::header::headers_cloned())
        .and(warp::query::raw().or(warp::any().map(String::new)).unify())
        .and(body(limits::CLIENT_FRAME_BYTES_MAX))
        .then(|chunk: ChunkId, shared: Arc<Shared>, token, headers, query: String, body| async move {
            let request = Request { chunk, headers, query, body };
            commands(&shared, token, request).await.unwrap_or_else(Problem::response)
        });
    sessions.or(commands).unify().boxed()
}

fn check_token(shared: &Shared, token: Option<String>) -> Result<Claims, Problem> {
    let token = token.ok_or_else(Problem::no_token)?;
    shared.verifier.verify(&token, shared.clock.now().unix).map_err(|e| Problem::token(&e))
}

/// The body of `POST /v1/sessions`; it may be empty.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Wanted {
    /// The session's time will be above this.
    session_after_ms: u64,
}

#[derive(Serialize)]
struct NewSession {
    session: SessionId,
    writer: driftless_schemas::WriterId,
    /// After this no server takes the session any more.
    expires_at_ms: u64,
    /// Seconds since the Unix epoch.
    token_expires_at: i64,
}

fn new_session(shared: &Shared, token: Option<String>, body: &[u8]) -> Result<Response, Problem> {
    let claims = check_token(shared, token)?;
    let wanted: Wanted = match body {
        [] => Wanted::default(),
        json => serde_json::from_slice(json).map_err(|e| {
            let detail = format!("{e}; the body may be empty, or {{\"session_after_ms\": <milliseconds>}}");
            Problem::new(StatusCode::BAD_REQUEST, "bad_body", detail)
        })?,
    };
    let now = shared.clock.now().unix;
    let session = ids::issue(wanted.session_after_ms, now, shared.verifier.random()).map_err(|e| {
        // What no clock of a server says is no session's time, and waiting for it helps nobody.
        let wait_ms = wanted.session_after_ms.saturating_sub(u64::try_from(now.0).unwrap_or(0));
        if wait_ms > limits::SESSION_WAIT_MS_MAX {
            let detail =
                format!("{e}; session_after_ms is the largest `floor_ms` that was seen, and no floor is so far ahead");
            return Problem::new(StatusCode::BAD_REQUEST, "bad_body", detail);
        }
        let wait_ms = u32::try_from(wait_ms.saturating_sub(limits::SESSION_AHEAD_MAX_MS)).unwrap_or(u32::MAX).max(1000);
        Problem::new(StatusCode::SERVICE_UNAVAILABLE, "session_not_yet", e.to_string()).with_retry_after_ms(wait_ms)
    })?;
    let new = NewSession {
        session,
        writer: session.writer(&claims.sub),
        expires_at_ms: session.time_ms().saturating_add(shared.settings.policy.session_age_max_ms),
        token_expires_at: claims.expires_at,
    };
    Ok(no_store(json(StatusCode::CREATED, &new)))
}

struct Request {
    chunk: ChunkId,
    headers: HeaderMap,
    query: String,
    body: Bytes,
}

impl Request {
    fn batch(&self) -> Result<Batch, Problem> {
        let text = |name: &str| self.headers.get(name).and_then(|value| value.to_str().ok()).map(str::to_owned);
        let session = text("driftless-session").or_else(|| query_value(&self.query, "session"));
        let session = session
            .map(|hex| hex.parse::<SessionId>())
            .transpose()
            .map_err(|e| Problem::new(StatusCode::BAD_REQUEST, "bad_session", e))?;
        let content_type = text(header::CONTENT_TYPE.as_str()).unwrap_or_default();
        Batch::read(&self.chunk, &content_type, &self.body, session)
    }
}

async fn commands(shared: &Shared, token: Option<String>, request: Request) -> Result<Response, Problem> {
    let claims = check_token(shared, token)?;
    shared.metrics.received_bytes.increment(request.body.len() as u64);
    let batch = request.batch()?;
    let outcomes = Submitting::new(shared, &request.chunk, claims).submit(&batch.items).await?;
    Ok(no_store(answer(outcomes, batch.is_array)))
}

fn no_store(mut response: Response) -> Response {
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

/// One request on its way through the log.
struct Submitting<'a> {
    shared: &'a Shared,
    chunk: &'a ChunkId,
    claims: Claims,
    bucket: Bucket,
    outcomes: Vec<Option<Outcome>>,
    /// By token, which is the command's place in the request.
    in_flight: BTreeMap<u32, (Seq, Partition)>,
}

impl<'a> Submitting<'a> {
    fn new(shared: &'a Shared, chunk: &'a ChunkId, claims: Claims) -> Self {
        let bucket = shared.rates.of(&claims.sub, shared.clock.monotonic());
        Self { shared, chunk, claims, bucket, outcomes: Vec::new(), in_flight: BTreeMap::new() }
    }

    async fn submit(mut self, items: &[Item]) -> Result<Vec<Outcome>, Problem> {
        let mut mailbox = self.shared.handover.mailbox();
        let records = self.admit_all(items)?;
        let count = records.len();
        let unsent = self.shared.handover.append(&mailbox, records);
        self.shared.metrics.produced.increment((count - unsent.len()) as u64);
        for record in unsent {
            let rejection = self.shared.admission.unavailable();
            self.not_in_log(record.token, &rejection);
        }
        self.await_answers(&mut mailbox).await;
        // Every command has its outcome now; `internal` would say otherwise aloud.
        Ok(self.outcomes.into_iter().map(|o| o.unwrap_or_else(|| Outcome::Failed(Problem::internal()))).collect())
    }

    fn admit_all(&mut self, items: &[Item]) -> Result<Vec<Produce>, Problem> {
        let mut records = Vec::new();
        for (i, item) in items.iter().enumerate() {
            let identity = self.identity(item.session)?;
            let is_reused = items[..i].iter().any(|earlier| {
                earlier.session == item.session && earlier.seq == item.seq && !earlier.has_same_body(item)
            });
            let submission = item.submission(self.chunk);
            let admission = &self.shared.admission;
            match admission.admit(&identity, submission, &self.bucket, self.shared.clock.now(), |_| is_reused) {
                Ok(Admitted { seq, partition, key, record, .. }) => {
                    // A request has at most HTTP_COMMANDS_MAX commands.
                    let token = i as u32;
                    self.in_flight.insert(token, (seq, partition));
                    self.outcomes.push(None);
                    records.push(Produce { token, partition, key, record });
                }
                Err(rejection) => {
                    let outcome = self.rejected(item.seq, &rejection);
                    self.outcomes.push(Some(outcome));
                }
            }
        }
        Ok(records)
    }

    fn identity(&self, session: SessionId) -> Result<Identity, Problem> {
        let age_max_ms = self.shared.settings.policy.session_age_max_ms;
        let session = ids::accept(&session.0, self.shared.clock.now().unix, age_max_ms).map_err(|e| {
            let detail = format!("{e} (POST /v1/sessions)");
            Problem::new(StatusCode::BAD_REQUEST, "bad_session", detail)
        })?;
        let writer = session.writer(&self.claims.sub);
        Ok(Identity { claims: self.claims.clone(), session, writer, offered: None })
    }

    async fn await_answers(&mut self, mailbox: &mut Mailbox) {
        let deadline = Instant::now() + self.shared.settings.waits.acknowledgement() + ANSWER_GRACE;
        while !self.in_flight.is_empty() {
            match tokio::time::timeout_at(deadline, mailbox.next()).await {
                Ok(answers) => {
                    for answer in answers {
                        match answer.result {
                            Ok(offset) => self.accepted(answer.token, offset),
                            Err(AppendError::Refused(reason)) => {
                                let rejection = self.shared.admission.refused_by_log(&reason);
                                self.not_in_log(answer.token, &rejection);
                            }
                            Err(error) => self.nobody_knows(answer.token, &error),
                        }
                    }
                }
                Err(_) => {
                    let error = AppendError::Unknown("no acknowledgement came in time".into());
                    let tokens: Vec<u32> = self.in_flight.keys().copied().collect();
                    tokens.into_iter().for_each(|token| self.nobody_knows(token, &error));
                }
            }
        }
    }

    fn accepted(&mut self, token: u32, offset: Option<driftless_schemas::Offset>) {
        if let Some((seq, partition)) = self.in_flight.remove(&token) {
            self.shared.metrics.receipts.increment(1);
            let accepted = Accepted { chunk_id: self.chunk.to_string(), seq: seq.0, partition, offset };
            self.settle(token, Outcome::Accepted(accepted));
        }
    }

    fn not_in_log(&mut self, token: u32, rejection: &Rejection) {
        if let Some((seq, _)) = self.in_flight.remove(&token) {
            let outcome = self.rejected(seq.0, rejection);
            self.settle(token, outcome);
        }
    }

    fn nobody_knows(&mut self, token: u32, error: &AppendError) {
        if let Some((seq, _)) = self.in_flight.remove(&token) {
            self.shared.metrics.unacknowledged.increment(1);
            self.settle(token, Outcome::Failed(unacknowledged(self.chunk, seq.0, error)));
        }
    }

    fn rejected(&self, seq: u64, rejection: &Rejection) -> Outcome {
        self.shared.metrics.rejected(rejection.code);
        Outcome::Failed(rejected(self.chunk, seq, rejection))
    }

    fn settle(&mut self, token: u32, outcome: Outcome) {
        if let Some(place) = self.outcomes.get_mut(token as usize) {
            *place = Some(outcome);
        }
    }
}
