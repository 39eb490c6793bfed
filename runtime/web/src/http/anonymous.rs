//! Rates for strangers, by address: how many requests without a token, how many bytes of responses
//! to them, and how many websockets that end without a valid Hello. Requests with a token count for
//! their user; a request whose token was refused counts here too.

use super::{Problem, Response, token_of};
use driftless_runtime::clock::Clock;
use driftless_runtime_core::rate::{Allowance, Rates};
use driftless_schemas::limits;
use driftless_schemas::time::MonotonicMs;
use hyper::body::Body as _;
use std::net::IpAddr;
use std::sync::Arc;
use warp::http::{Request, StatusCode, header};

/// The rates of all addresses: [requests, bytes, websockets without Hello].
#[derive(Clone, Debug)]
pub(super) struct Anonymous {
    rates: Arc<Rates<3>>,
    clock: Clock,
}

impl Default for Anonymous {
    fn default() -> Self {
        let requests =
            Allowance { per_second: limits::ANONYMOUS_REQUESTS_PER_SECOND, burst: limits::ANONYMOUS_REQUESTS_BURST };
        let bytes = Allowance { per_second: limits::ANONYMOUS_BYTES_PER_SECOND, burst: limits::ANONYMOUS_BYTES_BURST };
        let sockets =
            Allowance { per_second: limits::STRANGE_SOCKETS_PER_SECOND, burst: limits::STRANGE_SOCKETS_BURST };
        Self { rates: Arc::new(Rates::new([requests, bytes, sockets])), clock: Clock::default() }
    }
}

impl Anonymous {
    /// Checks the rate of an address before a request is served. Returns the response 429 if the
    /// request has no token and the address has used up its rate.
    pub fn refuses<B>(&self, address: &IpAddr, request: &Request<B>) -> Option<Response> {
        self.refuses_at(self.clock.monotonic(), address, request)
    }

    fn refuses_at<B>(&self, now: MonotonicMs, address: &IpAddr, request: &Request<B>) -> Option<Response> {
        // A websocket says in its Hello who it is. Only those that ended without one count.
        let (amounts, what) = match request.headers().contains_key(header::UPGRADE) {
            true => ([0, 0, 1], "opens more websockets without a valid Hello"),
            false if has_token(request) => return None,
            false => ([1, 1, 0], "sends more requests without a token"),
        };
        let wait_ms = self.rates.of(&address.to_string(), now).check(amounts, now).err()?;
        let detail = format!("your address {what} than it may; wait {wait_ms} ms");
        let problem = Problem::new(StatusCode::TOO_MANY_REQUESTS, "rate_limited", detail);
        Some(problem.with_retry_after_ms(wait_ms).response())
    }

    /// Counts a websocket of the address that has ended without a valid Hello.
    pub fn charge_socket(&self, address: &IpAddr) {
        self.charge_socket_at(self.clock.monotonic(), address);
    }

    fn charge_socket_at(&self, now: MonotonicMs, address: &IpAddr) {
        let _ = self.rates.of(&address.to_string(), now).owe([0, 0, 1], now);
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
        let amounts = [1, usize::try_from(bytes).unwrap_or(usize::MAX), 0];
        let bucket = self.rates.of(&address.to_string(), now);
        // A response is charged in any case, so that no response is free because it is larger than
        // what is left. Refused tokens are not: they must not keep other users of the address out
        // for longer.
        if had_token {
            let _ = bucket.take(amounts, now);
        } else {
            let _ = bucket.owe(amounts, now);
        }
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

    /// Each response is larger than what is left of the rate at the end. All of them count.
    #[test]
    fn responses_of_any_size_use_the_rate_up() {
        let (anonymous, one) = (Anonymous::default(), IpAddr::from([127, 0, 0, 2]));
        let (bytes, mut count) = (700_000, 0);
        while anonymous.refuses_at(NOW, &one, &request(None)).is_none() {
            anonymous.charge_at(NOW, &one, false, &response(StatusCode::OK, bytes));
            count += 1;
            assert!(count < 1_000, "{count} responses are free");
        }
        let burst = usize::try_from(limits::ANONYMOUS_BYTES_BURST).unwrap();
        assert_eq!(count, burst / bytes + 1);
    }

    #[test]
    fn an_address_may_open_few_websockets_without_a_hello() {
        let (anonymous, one, two) = (Anonymous::default(), IpAddr::from([127, 0, 0, 2]), IpAddr::from([127, 0, 0, 3]));
        let upgrade = || Request::builder().uri("/v1/gateway").header(header::UPGRADE, "websocket").body(()).unwrap();
        for _ in 0..limits::STRANGE_SOCKETS_BURST {
            assert!(anonymous.refuses_at(NOW, &one, &upgrade()).is_none());
            anonymous.charge_socket_at(NOW, &one);
        }
        let refused = anonymous.refuses_at(NOW, &one, &upgrade()).unwrap();
        assert_eq!(refused.status(), StatusCode::TOO_MANY_REQUESTS);
        assert!(anonymous.refuses_at(NOW, &two, &upgrade()).is_none(), "other addresses have their own rate");
        assert!(anonymous.refuses_at(NOW, &one, &request(None)).is_none(), "documents have another rate");
        let later = NOW.plus_ms(1_000);
        assert!(anonymous.refuses_at(later, &one, &upgrade()).is_none(), "the rate comes back");
    }
}
