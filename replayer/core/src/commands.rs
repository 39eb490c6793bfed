//! Reads records of `commands`: the request in a record, or the reason why the record is copied to
//! `dead-letter` (R9).

use bytes::Bytes;
use driftless_chunk::live::{Asked, AskedBody};
use driftless_chunk::world::{Place, World};
use driftless_schemas::proto::{self, command_record::Body};
use driftless_schemas::{ChunkId, Offset, Partition, format, limits};

/// A record whose chunk lies in this partition.
pub(crate) struct Placed {
    pub chunk: ChunkId,
    pub place: Place,
    pub ask: Ask,
}

/// The request in a record of `commands`.
pub(crate) enum Ask {
    Command(Asked),
    Audit(proto::Audit),
}

/// Reads a record of `commands`.
///
/// # Errors
/// Why the owner cannot make a decision for this record: the record cannot be decoded, has no body
/// that this version knows, or its chunk does not belong to this partition.
pub(crate) fn read(world: &World, partition: Partition, offset: Offset, value: &Bytes) -> Result<Placed, String> {
    let record: proto::CommandRecord = format::decode("CommandRecord", value.clone()).map_err(|e| e.to_string())?;
    let chunk: ChunkId = record.chunk_id.parse().map_err(|e: driftless_schemas::ChunkIdError| e.to_string())?;
    let place = world.place(&chunk).map_err(|e| e.to_string())?;
    if place.partition != partition {
        return Err(format!("{chunk} belongs to partition {}, not to {partition} (R1)", place.partition));
    }
    let ask = match record.body {
        None => return Err("it has no body that this version knows".into()),
        Some(Body::Audit(audit)) => Ask::Audit(audit),
        Some(Body::Command(command)) => {
            let mut asked = Asked::from_proto(offset, command).map_err(|e| e.to_string())?;
            if asked.author.len() > limits::AUTHOR_BYTES_MAX {
                // The command's mark in `updates` repeats the author. With a very long author, that
                // record would be too large for the log, and each owner in turn would end at it. So
                // the author is left out, and the command counts as undecodable.
                let problem =
                    format!("an author of {} bytes: at most {}", asked.author.len(), limits::AUTHOR_BYTES_MAX);
                asked.author = String::new();
                asked.body = AskedBody::Undecodable(problem);
            }
            if let AskedBody::Command(bytes) = &asked.body
                && bytes.len() > limits::COMMAND_BYTES_MAX
            {
                let problem = format!("a command of {} bytes: at most {}", bytes.len(), limits::COMMAND_BYTES_MAX);
                asked.body = AskedBody::Undecodable(problem);
            }
            Ask::Command(asked)
        }
    };
    Ok(Placed { chunk, place, ask })
}
