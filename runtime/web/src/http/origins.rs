//! Decides which web pages may send requests to a service.
//!
//! A page's own code sends the token, and the browser adds no credentials. A foreign page therefore
//! gains nothing from a visitor's cookies. Services check the origin all the same: a page must not
//! use a visitor's browser to reach a service in the visitor's network, and browsers require CORS
//! headers.

use driftless_runtime::settings::SettingError;
use std::net::IpAddr;
use std::sync::Arc;
use warp::http::{HeaderMap, HeaderValue, Uri, header};

/// The origins of web pages that may send requests. Clones are cheap.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Origins(Arc<Allowed>);

#[derive(Debug, PartialEq, Eq, Default)]
enum Allowed {
    /// A page is allowed if its origin is the service's own, or a loopback address.
    #[default]
    SameOrLoopback,
    Listed(Vec<String>),
    All,
}

impl Origins {
    /// Reads the setting `http.allowed_origins`.
    ///
    /// # Errors
    /// [`SettingError`] if an entry is not an origin.
    pub fn new(allowed: &[String]) -> Result<Self, SettingError> {
        if allowed.is_empty() {
            return Ok(Self::default());
        }
        if allowed.iter().any(|origin| origin == "*") {
            return Ok(Self(Arc::new(Allowed::All)));
        }
        for origin in allowed {
            let is_origin = origin.parse::<Uri>().is_ok_and(|uri| {
                matches!(uri.scheme_str(), Some("http" | "https")) && uri.authority().is_some() && uri.path() == "/"
            });
            if !is_origin || origin.ends_with('/') {
                return Err(SettingError {
                    key: "http.allowed_origins".into(),
                    value: format!("{origin:?}"),
                    problem: "an origin looks like https://play.example.com or http://localhost:5173, without a path"
                        .into(),
                });
            }
        }
        Ok(Self(Arc::new(Allowed::Listed(allowed.iter().map(|origin| origin.to_ascii_lowercase()).collect()))))
    }

    /// Checks the header `Origin` of a request, and returns its value if the origin is allowed. A
    /// request without that header does not come from a web page, and is allowed (`None`).
    ///
    /// # Errors
    /// The origin that is not allowed.
    pub fn check(&self, headers: &HeaderMap) -> Result<Option<HeaderValue>, String> {
        let Some(origin) = headers.get(header::ORIGIN) else { return Ok(None) };
        let text = origin.to_str().unwrap_or_default();
        let allowed = match &*self.0 {
            Allowed::All => true,
            Allowed::Listed(list) => list.contains(&text.to_ascii_lowercase()),
            Allowed::SameOrLoopback => {
                let host = headers.get(header::HOST).and_then(|host| host.to_str().ok());
                is_same_or_loopback(text, host)
            }
        };
        if allowed { Ok(Some(origin.clone())) } else { Err(text.to_owned()) }
    }
}

fn is_same_or_loopback(origin: &str, host: Option<&str>) -> bool {
    let Ok(uri) = origin.parse::<Uri>() else { return false };
    let Some(authority) = uri.authority() else { return false };
    if host.is_some_and(|host| authority.as_str().eq_ignore_ascii_case(host)) {
        return true;
    }
    let name = authority.host().trim_start_matches('[').trim_end_matches(']');
    name.eq_ignore_ascii_case("localhost")
        || name.to_ascii_lowercase().ends_with(".localhost")
        || name.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
}
