//! The Rust SDK: edit Driftless chunks together with other clients.
//!
//! ```no_run
//! # async fn run() -> Result<(), Box<dyn std::error::Error>> {
//! use driftless_client::{Client, Settings};
//!
//! // Where `driftless dev` listens; the token is the one that it prints.
//! let settings = Settings::new("ws://127.0.0.1:8080/v1/ingest", "ws://127.0.0.1:8080/v1/gateway", "token");
//! let client = Client::connect(settings).await?;
//! let canvas = client.track(&"canvas/0/0".parse()?);
//! canvas.ready().await?;
//! let command: Vec<u8> = Vec::new(); // in the encoding of the chunk's model
//! let outcome = canvas.submit(command)?.await;
//! println!("{outcome:?}");
//! # Ok(())
//! # }
//! ```
//!
//! The view shows an edit at once; its outcome follows when the log has decided it. All protocol
//! rules are in [`driftless_client_core`], and this crate is the shell around that core. A
//! background task moves bytes between the core and two websockets, reconnects them, and fetches
//! tokens. Handles reach the core through a lock that is never held across an await.

#![forbid(unsafe_code)]

mod conclusion;
mod handles;
mod settings;
mod shared;
mod sockets;

pub use conclusion::Conclusion;
pub use driftless_chunk::model::{AnyModel, Content, Models};
pub use driftless_client_core::{ChunkStatus, CommandId, Event, Number, Outcome, Socket, SubmitError};
pub use driftless_schemas::{ChunkId, Hash, HistoryId, Seq, Version, WorldId, WriterId};
pub use handles::{Chunk, Client, Error, Pending, Snapshot, View};
pub use settings::{Settings, Token, TokenFuture};
pub use shared::Status;
