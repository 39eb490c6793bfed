//! The query of a request for an event stream: chunks, and the state that the reader has of each.

use driftless_schemas::limits::EVENT_CHUNKS_MAX;
use driftless_schemas::proto::{Have, Track};
use driftless_schemas::{ChunkId, ChunkIdError, Hash, HistoryId};
use driftless_web::http::Problem;
use std::collections::BTreeSet;
use warp::http::StatusCode;

/// Parses an event id, `<version>:<hash>`, followed by `:<history>` except in the first history;
/// `None` if it is malformed.
pub(crate) fn parse_id(id: &str) -> Option<Have> {
    let (version, rest) = id.split_once(':')?;
    let (hash, history) = match rest.split_once(':') {
        Some((_, "")) => return None,
        Some((hash, history)) => (hash, HistoryId::from_text(history)?),
        None => (rest, HistoryId::FIRST),
    };
    let hash: Hash = hash.parse().ok()?;
    Some(Have { version: version.parse().ok()?, hash: hash.to_bytes(), history: history.to_field() })
}

/// Reads `chunks=<id>,<id>,…` with `have=<version>:<hash>,,…` (event ids). `have` has one place for
/// each chunk, in the same order. The place is empty if the reader has no state of the chunk.
pub(crate) fn parse_tracks(chunks: &str, have: Option<&str>) -> Result<Vec<Track>, Problem> {
    let bad = |code: &str, detail: String| Problem::new(StatusCode::BAD_REQUEST, code, detail);
    let chunks = unescape(chunks);
    let count = chunks.split(',').count();
    if chunks.is_empty() || count > EVENT_CHUNKS_MAX {
        let named = if chunks.is_empty() { 0 } else { count };
        let detail = format!("chunks names {named} chunks; 1 to {EVENT_CHUNKS_MAX} are taken");
        return Err(bad("bad_chunks", detail));
    }
    let have = unescape(have.unwrap_or_default());
    let haves: Vec<&str> = if have.is_empty() { vec![""; count] } else { have.split(',').collect() };
    if haves.len() != count {
        let places = haves.len();
        let detail = format!(
            "have has {places} places for {count} chunks; leave the place of a chunk empty if you have no state"
        );
        return Err(bad("bad_have", detail));
    }
    let mut named = BTreeSet::new();
    let mut tracks = Vec::new();
    for (id, have) in chunks.split(',').zip(haves) {
        let id: ChunkId = id.parse().map_err(|e: ChunkIdError| bad("bad_chunk_id", e.to_string()))?;
        let have = match have {
            "" => None,
            have => Some(parse_id(have).ok_or_else(|| bad("bad_have", format!("{have:?} is not <version>:<hash>")))?),
        };
        let track = Track { chunk_id: id.to_string(), have };
        if !named.insert(id) {
            return Err(bad("bad_chunks", format!("{} is named twice", track.chunk_id)));
        }
        tracks.push(track);
    }
    Ok(tracks)
}

/// Undoes the escapes that URL encoders in pages use for the characters of ids and lists.
fn unescape(text: &str) -> String {
    let mut text = text.to_owned();
    for (escape, plain) in [("%2C", ","), ("%2F", "/"), ("%3A", ":")] {
        text = text.replace(escape, plain).replace(&escape.to_lowercase(), plain);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_id_is_read_back() {
        let hash = Hash::of(b"x");
        let have = parse_id(&format!("12:{hash}")).unwrap();
        assert_eq!((have.version, &have.hash[..]), (12, &hash.0[..]));
        let history = HistoryId::new(7, [1; 10], HistoryId::FIRST);
        let have = parse_id(&format!("12:{hash}:{history}")).unwrap();
        assert_eq!((have.version, have.history), (12, history.to_field()));
        for bad in ["", "12", "12:", "12:00", ":aa", "x:y", &format!("12:{hash}:"), &format!("12:{hash}:07")] {
            assert_eq!(parse_id(bad), None, "{bad:?}");
        }
    }

    #[test]
    fn a_list_of_chunks_is_read_with_the_readers_state_of_each() {
        let hash = Hash::of(b"x");
        let read = |chunks: &str, have: Option<&str>| {
            parse_tracks(chunks, have).map(|tracks| {
                tracks.into_iter().map(|t| (t.chunk_id, t.have.map(|have| have.version))).collect::<Vec<_>>()
            })
        };
        let both = |versions: [Option<u64>; 2]| Ok(vec![("a/0/-1".into(), versions[0]), ("a/1/0".into(), versions[1])]);
        assert_eq!(read("a/0/-1,a/1/0", None), both([None, None]));
        assert_eq!(read("a/0/-1,a/1/0", Some(&format!("7:{hash},"))), both([Some(7), None]));
        assert_eq!(read("a%2F0%2f-1%2Ca%2F1%2F0", Some(&format!("%2C9%3A{hash}"))), both([None, Some(9)]));
        let ids = |count: usize| (0..count).map(|i| format!("a/{i}/0")).collect::<Vec<_>>().join(",");
        assert_eq!(read(&ids(EVENT_CHUNKS_MAX), None).map(|tracks| tracks.len()), Ok(EVENT_CHUNKS_MAX));
        for (chunks, have, code) in [
            ("", None, "bad_chunks"),
            (&*ids(EVENT_CHUNKS_MAX + 1), None, "bad_chunks"),
            ("a/0/0,a/0/0", None, "bad_chunks"),
            ("a/0/0,", None, "bad_chunk_id"),
            ("a/0/+0", None, "bad_chunk_id"),
            ("a/0/0", Some("1:aa"), "bad_have"),
            ("a/0/0,a/1/0", Some("1:aa"), "bad_have"),
        ] {
            let problem = read(chunks, have).unwrap_err();
            assert_eq!((problem.status, &*problem.code), (400, code), "{chunks:?} {have:?}");
        }
    }
}
