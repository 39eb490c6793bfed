//! The web page of `driftless dev`. The binary contains the page's files, which `npm run build`
//! makes from `web/`.

use driftless_web::http::{Routes, bytes_response, only};
use warp::Filter;
use warp::http::{HeaderValue, Method, StatusCode};

const JS: &str = "text/javascript; charset=utf-8";
const WASM: &str = "application/wasm";

/// The content security policy: the page may talk to this host only.
const POLICY: &str = "default-src 'none'; script-src 'self' 'wasm-unsafe-eval'; worker-src 'self'; style-src 'self'; \
    img-src 'self' data: blob:; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// Path, content type and content of each file of the page.
const FILES: &[(&str, &str, &[u8])] = &[
    ("", "text/html; charset=utf-8", include_bytes!("../../web/dist/index.html")),
    ("style.css", "text/css; charset=utf-8", include_bytes!("../../web/dist/style.css")),
    ("favicon.svg", "image/svg+xml", include_bytes!("../../web/dist/favicon.svg")),
    ("app.js", JS, include_bytes!("../../web/dist/app.js")),
    ("bots.js", JS, include_bytes!("../../web/dist/bots.js")),
    ("driftless_core.wasm", WASM, include_bytes!("../../client/js/core/driftless_core.wasm")),
    ("driftless_core_simd.wasm", WASM, include_bytes!("../../client/js/core/driftless_core_simd.wasm")),
];

/// Serves the page at `/`.
pub(crate) fn routes() -> Routes {
    let file = |tail: warp::path::Tail| async move {
        let file = FILES.iter().find(|(name, ..)| *name == tail.as_str());
        file.ok_or_else(warp::reject::not_found)
    };
    warp::path::tail()
        .and_then(file)
        .and(only(&[Method::GET]))
        .map(|(_, content_type, bytes): &(&str, &'static str, &'static [u8])| {
            let mut response = bytes_response(StatusCode::OK, content_type, bytes::Bytes::from_static(bytes));
            let headers = response.headers_mut();
            headers.insert("cache-control", HeaderValue::from_static("no-cache"));
            headers.insert("content-security-policy", HeaderValue::from_static(POLICY));
            response
        })
        .boxed()
}
