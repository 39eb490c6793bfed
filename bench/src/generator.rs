//! Minimal websocket clients for benchmarks: they submit edits and read commits.
//!
//! The sockets do less than the SDK on purpose, because the benchmark measures the servers and not
//! the client.

use anyhow::{Context, Result, bail};
use bytes::Bytes;
use driftless_schemas::proto::{
    GridCommand, Hello, Ping, Pong, ServerFrame, SetCells, Submit, Track, Updates, event, grid_command, request, submit,
};
use driftless_schemas::{ChunkId, WriterId, format};
use futures_util::stream::{SplitSink, SplitStream};
use futures_util::{SinkExt, StreamExt};
use prost::Message as _;
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream};

type Socket = WebSocketStream<MaybeTlsStream<TcpStream>>;

/// A socket on which the client has sent Hello and received Welcome.
pub(crate) struct Connected {
    pub out: SplitSink<Socket, Message>,
    pub events: SplitStream<Socket>,
    pub writer: WriterId,
}

/// Connects, sends Hello, and waits for Welcome.
pub(crate) async fn connect(url: &str, subprotocol: &'static str, token: String) -> Result<Connected> {
    let mut request = url.into_client_request()?;
    request.headers_mut().insert("sec-websocket-protocol", subprotocol.parse()?);
    let (socket, _) = tokio_tungstenite::connect_async(request).await?;
    let (mut out, mut events) = socket.split();
    let hello = format::request(request::Body::Hello(Hello { token, ..Hello::default() }));
    out.send(Message::Binary(hello)).await?;
    while let Some(message) = events.next().await {
        for event in decode(message?)? {
            if let event::Body::Welcome(welcome) = event {
                let writer = WriterId::from_slice(&welcome.writer).context("a writer id has 16 bytes")?;
                return Ok(Connected { out, events, writer });
            }
        }
    }
    bail!("{url} closed the socket instead of welcoming it")
}

/// Decodes the events of a message.
pub(crate) fn decode(message: Message) -> Result<Vec<event::Body>> {
    match message {
        Message::Binary(bytes) => {
            let frame: ServerFrame = format::decode("ServerFrame", bytes)?;
            Ok(frame.events.into_iter().filter_map(|event| event.body).collect())
        }
        Message::Close(frame) => bail!("the socket was closed: {frame:?}"),
        _ => Ok(Vec::new()),
    }
}

/// Encodes a request that sets one cell.
pub(crate) fn edit(chunk: &ChunkId, seq: u64, cell: u32) -> Bytes {
    let set = SetCells { cells: vec![cell], values: vec![1 + (seq % 252) as u32], guards: Vec::new() };
    let command = GridCommand { body: Some(grid_command::Body::Set(set)) }.encode_to_vec();
    format::request(request::Body::Submit(Submit {
        chunk_id: chunk.to_string(),
        seq,
        after: seq - 1,
        body: Some(submit::Body::Command(command.into())),
    }))
}

/// Encodes the answer to a ping.
pub(crate) fn pong(ping: &Ping) -> Bytes {
    format::request(request::Body::Pong(Pong { nonce: ping.nonce }))
}

/// Tracks chunks, and waits for the answer to each.
pub(crate) async fn track(connected: &mut Connected, chunks: &[ChunkId]) -> Result<()> {
    for chunk in chunks {
        let track = Track { chunk_id: chunk.to_string(), have: None };
        connected.out.feed(Message::Binary(format::request(request::Body::Track(track)))).await?;
    }
    connected.out.flush().await?;
    let mut waiting = chunks.len();
    while waiting > 0 {
        let message = connected.events.next().await.context("the gateway closed the socket")??;
        for event in decode(message)? {
            match event {
                event::Body::Tracked(_) => waiting -= 1,
                event::Body::TrackRejected(rejected) => bail!("{}: {}", rejected.chunk_id, rejected.message),
                _ => {}
            }
        }
    }
    Ok(())
}

/// Returns the commits in an event, as (writer, chunk, sequence number).
pub(crate) fn commits(event: event::Body) -> Result<Vec<(WriterId, String, u64)>> {
    let event::Body::Updates(bytes) = event else { return Ok(Vec::new()) };
    let updates: Updates = format::decode("Updates", bytes)?;
    let chunk = updates.chunk_id;
    let commit =
        |entry: driftless_schemas::proto::Entry| Some((WriterId::from_slice(&entry.writer)?, chunk.clone(), entry.seq));
    Ok(updates.entries.into_iter().filter_map(commit).collect())
}
