//! The errors of the object store.

use driftless_schemas::limits;
use std::sync::Arc;

/// An error of the object store.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The URL is not supported or not complete.
    #[error(
        "object store {url}: {problem}; use file:///absolute/path, or s3://bucket/prefix with AWS_ENDPOINT_URL, AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and AWS_REGION set as needed"
    )]
    Url {
        /// The URL as given.
        url: String,
        /// The problem.
        problem: String,
    },
    /// The object does not exist.
    #[error("{key} is not in {url}")]
    Missing {
        /// The object's key.
        key: String,
        /// The store's URL.
        url: Arc<str>,
    },
    /// The object exists, but its content does not match its name (R7).
    #[error("{key} in {url} is damaged: {problem}")]
    Damaged {
        /// The object's key.
        key: String,
        /// The store's URL.
        url: Arc<str>,
        /// The problem.
        problem: String,
    },
    /// The content of a chunk exceeds the limit. It is not stored, because no process could load it
    /// again.
    #[error("{key}: a content of {bytes} bytes exceeds the limit of {max}: the model must bound its content", max = limits::CONTENT_BYTES_MAX)]
    TooLarge {
        /// The object's key.
        key: String,
        /// The length of the canonical encoding.
        bytes: usize,
    },
    /// The snapshot was not stored, because zstd could not allocate memory to compress it.
    #[error(
        "{key} cannot be compressed: {source}; give this process more memory, or reduce the number of chunks that it holds"
    )]
    Compression {
        /// The object's key.
        key: String,
        /// The error of zstd.
        source: std::io::Error,
    },
    /// Another process has changed the object since this process read it.
    #[error("{key} in {url} was changed by another process meanwhile: review the change, and try again")]
    Raced {
        /// The object's key.
        key: String,
        /// The store's URL.
        url: Arc<str>,
    },
    /// The store does not answer, or refuses the request.
    #[error("{key} in {url}: {source}")]
    Unavailable {
        /// The object's key.
        key: String,
        /// The store's URL.
        url: Arc<str>,
        /// The store's error.
        source: object_store::Error,
    },
}

impl Error {
    /// Returns true if the object does not exist or is damaged, so that loading it again does not
    /// help.
    #[must_use]
    pub fn is_lost(&self) -> bool {
        matches!(self, Self::Missing { .. } | Self::Damaged { .. })
    }

    /// Returns true if a retry may succeed, as when the store does not answer. A store that refuses
    /// a request would refuse the retry too.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        use object_store::Error as Source;
        let Self::Unavailable { source, .. } = self else { return false };
        !matches!(source, Source::PermissionDenied { .. } | Source::Unauthenticated { .. } | Source::InvalidPath { .. })
    }
}
