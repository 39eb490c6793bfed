//! The HTTP interface of a service as an OpenAPI 3.1 document, written beside the routes and served
//! at `GET /v1/openapi.json`. The server enforces the document.
//!
//! A service mounts its routes behind its own document ([`Document::guard`]). A path that the
//! document does not name is not reachable, and a method that the document does not name gets 405
//! and `Allow`. A route that is missing in the document therefore cannot be used. A test of the
//! whole system (`tests/e2e`) checks that each operation answers as documented.

mod operation;
mod schemas;

pub use operation::{Operation, example, header, parameter, reference};
pub use schemas::{chunk_id_pattern, operators};

use super::path::split;
use super::{FixedJson, Problem, Routes, only};
use serde_json::{Map, Value, json as value};
use std::str::FromStr as _;
use std::sync::Arc;
use warp::http::{HeaderMap, Method};
use warp::path::FullPath;
use warp::{Filter, Rejection};

/// The operations and schemas of one service.
#[derive(Clone, Debug, Default)]
pub struct Document {
    /// Operations by path, then by method in lower case.
    paths: Map<String, Value>,
    schemas: Map<String, Value>,
}

impl Document {
    /// Creates a document from operations: (method, path, operation). A path may occur with several
    /// methods.
    #[must_use]
    pub fn new(operations: impl IntoIterator<Item = (Method, &'static str, Operation)>) -> Self {
        let mut document = Self::default();
        for (method, path, operation) in operations {
            let item = document.paths.entry(path).or_insert_with(|| Value::Object(Map::new()));
            item[method.as_str().to_ascii_lowercase()] = operation.into_value();
        }
        document
    }

    /// Adds a schema, to which operations refer as `#/components/schemas/<name>`.
    #[must_use]
    pub fn with_schema(mut self, name: &str, schema: Value) -> Self {
        self.schemas.insert(name.to_owned(), schema);
        self
    }

    /// Adds the operations and schemas of another document.
    #[must_use]
    pub fn and(mut self, other: Self) -> Self {
        self.paths.extend(other.paths);
        self.schemas.extend(other.schemas);
        self
    }

    /// Returns the document as it is served. It includes the operations and schemas that all
    /// services have.
    #[must_use]
    pub fn to_json(&self) -> Value {
        let whole = schemas::common().and(self.clone());
        value!({
            "openapi": "3.1.0",
            "info": {
                "title": "Driftless",
                "version": "1",
                "description": "Queries and commands over HTTP; docs/protocol.md describes the rest. HEAD is answered wherever GET \
                                is, and every error is a problem document (RFC 9457), including those that are not listed with an \
                                operation: 403 for a page of another origin, 405 with Allow, 414 and 431.",
                "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
            },
            "servers": [{"url": "/"}],
            "paths": whole.paths,
            "components": {
                "schemas": whole.schemas,
                "securitySchemes": {
                    "header": {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"},
                    "query": {"type": "apiKey", "in": "query", "name": "token",
                              "description": "The same token, for browsers and links."},
                },
            },
        })
    }

    /// Puts a check before `routes`: only requests whose path and method the document names reach
    /// them.
    #[must_use]
    pub fn guard(&self, routes: Routes) -> Routes {
        let resources: Arc<[(String, Vec<Method>)]> =
            self.paths.iter().map(|(path, item)| (path.clone(), methods(item))).collect();
        let check = move |method: Method, path: FullPath| {
            let resources = Arc::clone(&resources);
            async move { check(&resources, &method, path.as_str()).map_err(|refused| refused.unwrap_or_else(not_found)) }
        };
        warp::method().and(warp::path::full()).and_then(check).untuple_one().and(routes).boxed()
    }
}

fn not_found() -> Rejection {
    warp::reject::not_found()
}

fn methods(item: &Value) -> Vec<Method> {
    let names = item.as_object().into_iter().flat_map(Map::keys);
    names.filter_map(|name| Method::from_str(&name.to_ascii_uppercase()).ok()).collect()
}

fn check(resources: &[(String, Vec<Method>)], method: &Method, path: &str) -> Result<(), Option<Rejection>> {
    let mut allowed: Vec<Method> = Vec::new();
    for (_, methods) in resources.iter().filter(|(template, _)| matches(template, path)) {
        if methods.contains(method) {
            return Ok(());
        }
        allowed.extend(methods.iter().filter(|method| !allowed.contains(method)).cloned().collect::<Vec<_>>());
    }
    match allowed[..] {
        [] => Err(None),
        _ => Err(Some(Problem::method_not_allowed(method, &allowed).into())),
    }
}

/// Returns true if the path template matches the path. The chunk id in a path contains slashes,
/// which may be escaped.
fn matches(template: &str, path: &str) -> bool {
    const CHUNK: &str = "/v1/chunks/{chunk}";
    let Some(below) = template.strip_prefix(CHUNK) else { return same_segments(template, path) };
    let Some(tail) = path.strip_prefix("/v1/chunks/").filter(|tail| !tail.is_empty()) else { return false };
    let (_, extension, rest) = split(tail);
    // A path with an unknown extension matches the template without an extension, so that the route
    // can report the unknown extension.
    if below.is_empty() {
        return rest.is_empty();
    }
    let dot = if extension.is_empty() { "" } else { "." };
    let rest: String = rest.iter().map(|segment| format!("/{segment}")).collect();
    same_segments(below, &format!("{dot}{extension}{rest}"))
}

fn same_segments(template: &str, path: &str) -> bool {
    let (mut template, mut path) = (template.split('/'), path.split('/'));
    loop {
        match (template.next(), path.next()) {
            (None, None) => return true,
            (Some(wanted), Some(found)) if wanted == found || (wanted.starts_with('{') && !found.is_empty()) => {}
            _ => return false,
        }
    }
}

/// The route `GET /v1/openapi.json`, which answers with the document.
#[must_use]
pub fn openapi(document: &Document) -> Routes {
    let document = FixedJson::new(&document.to_json());
    warp::path!("v1" / "openapi.json")
        .and(only(&[Method::GET]))
        .and(warp::header::headers_cloned())
        .map(move |headers: HeaderMap| document.response(&headers))
        .boxed()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_template_matches_only_its_own_paths() {
        for (template, path, is_one) in [
            ("/v1/world", "/v1/world", true),
            ("/v1/world", "/v1/world/", false),
            ("/v1/world", "/v1/worlds", false),
            ("/v1/chunks/{chunk}", "/v1/chunks/canvas/0/-1", true),
            ("/v1/chunks/{chunk}", "/v1/chunks/canvas%2F0%2F-1", true),
            ("/v1/chunks/{chunk}", "/v1/chunks/canvas/0/-1.gif", true),
            ("/v1/chunks/{chunk}", "/v1/chunks/", false),
            ("/v1/chunks/{chunk}", "/v1/chunks/canvas/0/-1/events", false),
            ("/v1/chunks/{chunk}.bin", "/v1/chunks/canvas/0/-1.bin", true),
            ("/v1/chunks/{chunk}.bin", "/v1/chunks/canvas/0.bin/1", false),
            ("/v1/chunks/{chunk}/events", "/v1/chunks/canvas%2f0%2f1/events", true),
            ("/v1/chunks/{chunk}/events", "/v1/chunks/canvas/0/1.bin/events", false),
            ("/v1/chunks/{chunk}/commands/{session}/{seq}", "/v1/chunks/canvas/0/1/commands/ab/7", true),
            ("/v1/chunks/{chunk}/commands/{session}/{seq}", "/v1/chunks/canvas/0/1/commands/ab", false),
            ("/v1/chunks/{chunk}/commands/{session}/{seq}", "/v1/chunks/canvas/0/1/commands//7", false),
        ] {
            assert_eq!(matches(template, path), is_one, "{template} {path}");
        }
    }
}
