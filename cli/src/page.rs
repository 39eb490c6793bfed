//! The page of `driftless dev`: a few files that are part of the binary.

use driftless_runtime::http::{Routes, bytes_response, only};
use warp::Filter;
use warp::http::{Method, StatusCode};

const JS: &str = "text/javascript; charset=utf-8";

/// Path, content type, bytes.
const FILES: &[(&str, &str, &[u8])] = &[
    ("", "text/html; charset=utf-8", include_bytes!("../page/index.html")),
    ("style.css", "text/css; charset=utf-8", include_bytes!("../page/style.css")),
    ("favicon.svg", "image/svg+xml", include_bytes!("../page/favicon.svg")),
    ("app.js", JS, include_bytes!("../page/app.js")),
    ("board.js", JS, include_bytes!("../page/board.js")),
    ("chunk.js", JS, include_bytes!("../page/chunk.js")),
    ("link.js", JS, include_bytes!("../page/link.js")),
    ("outbox.js", JS, include_bytes!("../page/outbox.js")),
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
            let no_cache = warp::http::HeaderValue::from_static("no-cache");
            response.headers_mut().insert("cache-control", no_cache);
            response
        })
        .boxed()
}
