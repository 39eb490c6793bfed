//! What the three services share: the log seam and its implementations, tokens, HTTP and websockets, telemetry and the
//! orderly end. It knows of no service (arrows go one way), and of chunks only their ids.

pub mod log;

pub mod auth;
pub mod batch;
pub mod clock;
pub mod files;
pub mod http;
pub mod index;
pub mod metrics;
pub mod settings;
pub mod shutdown;
pub mod socket;
pub mod store;
pub mod stream;
pub mod telemetry;
pub mod tls;
