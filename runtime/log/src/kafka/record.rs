//! The conversion of a librdkafka message to a record.

use super::super::{Headers, Record};
use bytes::Bytes;
use driftless_schemas::Offset;
use driftless_schemas::time::UnixMs;
use rdkafka::message::{BorrowedMessage, Headers as _, Message as _};
use std::panic::{AssertUnwindSafe, catch_unwind};

/// Copies a message out of librdkafka.
pub(super) fn record(message: &BorrowedMessage<'_>) -> Record {
    let bytes = |bytes: Option<&[u8]>| bytes.map_or_else(Bytes::new, Bytes::copy_from_slice);
    Record {
        offset: Offset(message.offset()),
        timestamp: UnixMs(message.timestamp().to_millis().unwrap_or_default()),
        key: bytes(message.key()),
        value: bytes(message.payload()),
        headers: headers(message),
    }
}

fn headers(message: &BorrowedMessage<'_>) -> Headers {
    let Some(headers) = message.headers() else { return Headers::new() };
    // rdkafka 0.39 panics on a header name that is not UTF-8, and any producer with access can
    // write one. Such a record is read without headers.
    let read = || {
        let header = |header: rdkafka::message::Header<'_, &[u8]>| {
            let value = header.value.map_or_else(Bytes::new, Bytes::copy_from_slice);
            (header.key.to_owned(), value)
        };
        headers.iter().map(header).collect()
    };
    catch_unwind(AssertUnwindSafe(read)).unwrap_or_default()
}
