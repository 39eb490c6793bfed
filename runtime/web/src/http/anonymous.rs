//! A rate for requests without a token, by address: how many, and how many bytes of responses.
//! Requests with a token count for their user; a request whose token was refused counts here too.

use super::{Problem, Response, token_of};
use driftless_runtime::clock::Clock;
use driftless_runtime_core::rate::{Allowance, Rates};
use driftless_schemas::limits;
use driftless_schemas::time::MonotonicMs;
use hyper::body::Body as _;
use std::net::IpAddr;
use std::sync::Arc;
use warp::http::{Request, StatusCode, header};

/// The rates of all addresses: [requests, bytes].
#[derive(Clone, Debug)]
pub(super) struct Anonymous {
    rates: Arc<Rates<2>>,
    clock: Clock,
}

impl Default for Anonymous {
    fn default() -> Self {
        let requests =
            Allowance { per_second: limits::ANONYMOUS_REQUESTS_PER_SECOND, burst: limits::ANONYMOUS_REQUESTS_BURST };
        let bytes = Allowance { per_second: limits::ANONYMOUS_BYTES_PER_SECOND, burst: limits::ANONYMOUS_BYTES_BURST };
        Self { rates: Arc::new(Rates::new([requests, bytes])), clock: Clock::default() }
    }
}

impl Anonymous {
    /// Checks the rate of an address before a request is served. Returns the response 429 if the
    /// request has no token and the address has used up its rate.
    pub fn refuses<B>(&self, address: &IpAddr, request: &Request<B>) -> Option<Response> {
        self.refuses_at(self.clock.monotonic(), address, request)
    }

    fn refuses_at<B>(&self, now: MonotonicMs, address: &IpAddr, request: &Request<B>) -> Option<Response> {
        // A websocket says in its Hello who it is, and the number of new ones has its own limit.
        if has_token(request) || request.headers().contains_key(header::UPGRADE) {
            return None;
        }
        let wait_ms = self.rates.of(&address.to_string(), now).check([1, 1], now).err()?;
        let detail = format!("your address sends more requests without a token than it may; wait {wait_ms} ms");
        let problem = Problem::new(StatusCode::TOO_MANY_REQUESTS, "rate_limited", detail);
        Some(problem.with_retry_after_ms(wait_ms).response())
    }

    /// Counts a request and its response for the address, unless a user has paid for them.
    pub fn charge(&self, address: &IpAddr, had_token: bool, response: &Response) {
        self.charge_at(self.clock.monotonic(), address, had_token, response);
    }

    fn charge_at(&self, now: MonotonicMs, address: &IpAddr, had_token: bool, response: &Response) {
        let is_paid = had_token && response.status() != StatusCode::UNAUTHORIZED;
        if is_paid || response.status() == StatusCode::SWITCHING_PROTOCOLS {
            return;
        }
        // The length of an endless response is not known; only users may have one.
        let bytes = response.body().size_hint().exact().unwrap_or(0);
        let amounts = [1, usize::try_from(bytes).unwrap_or(usize::MAX)];
        // If the rate is used up already, the next request without a token is refused. Refused
        // tokens must not make that last longer for other users of the address.
        let _ = self.rates.of(&address.to_string(), now).take(amounts, now);
    }
}

/// True if the request brings a token, which may be unusable.
pub(super) fn has_token<B>(request: &Request<B>) -> bool {
    token_of(request.headers(), request.uri().query().unwrap_or_default()).is_some()
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;

    const NOW: MonotonicMs = MonotonicMs(5_000);

    fn request(token: Option<&str>) -> Request<()> {
        let mut request = Request::builder().uri("/v1/world");
        if let Some(token) = token {
            request = request.header(header::AUTHORIZATION, format!("Bearer {token}"));
        }
        request.body(()).unwrap()
    }

    fn response(status: StatusCode, bytes: usize) -> Response {
        let mut response = Response::new(Bytes::from(vec![0; bytes]).into());
        *response.status_mut() = status;
        response
    }

    #[test]
    fn an_address_without_a_token_has_a_rate_of_requests_and_of_bytes() {
        let (one, two) = ([127, 0, 0, 2].into(), [127, 0, 0, 3].into());
        let large = usize::try_from(limits::ANONYMOUS_BYTES_BURST).unwrap() + 1;
        let many = usize::try_from(limits::ANONYMOUS_REQUESTS_BURST).unwrap();
        for (count, had_token, status, bytes) in [
            (many + 1, false, StatusCode::OK, 10),
            (1, false, StatusCode::OK, large),
            (many + 1, true, StatusCode::UNAUTHORIZED, 10),
        ] {
            let anonymous = Anonymous::default();
            let refuses = |at, address, token| anonymous.refuses_at(at, address, &request(token));
            for _ in 0..count {
                anonymous.charge_at(NOW, &one, had_token, &response(status, bytes));
            }
            let refused = refuses(NOW, &one, None).unwrap();
            assert_eq!(refused.status(), StatusCode::TOO_MANY_REQUESTS);
            assert!(refused.headers().contains_key(header::RETRY_AFTER));
            assert!(refuses(NOW, &one, Some("t")).is_none(), "users of this address are served");
            assert!(refuses(NOW, &two, None).is_none(), "other addresses are served");
            assert!(refuses(NOW.plus_ms(1_000), &one, None).is_none(), "a second later there is room again");
        }
        let anonymous = Anonymous::default();
        anonymous.charge_at(NOW, &one, true, &response(StatusCode::OK, large));
        assert!(anonymous.refuses_at(NOW, &one, &request(None)).is_none(), "a user has paid");
    }
}
